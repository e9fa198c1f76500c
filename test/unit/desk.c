/* The desk with a stand-in for mailchute-serve: this program under that name. */
#include "spoolbed.h"
#include "daemon/desk.h"
#include "daemon/guest.h"
#include "prog/job.h"
#include "base/clock.h"
#include "base/log.h"
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>

enum { STRANGER = 54321, WAIT_MS = 4000, CONNECTION = 3, CONTROL = 4 };

/* ---- The stand-in: does what the client writes, line by line ---- */

static int file = -1; /* what `submit` gave */

static void control(struct str line)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int fds[JOB_FDS_MAX];

	if (job_send(CONTROL, line, NULL, 0) < 0 || job_recv(CONTROL, &b, fds) <= 0)
		exit(0);
	if (fds[0] >= 0)
		file = fds[0];
	buf_c(&b, '\n');
	(void)io_write(CONNECTION, b.p, b.n);
}

static void obey(struct str line, char **argv)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (str_starts(line, STR("put "))) {
		(void)io_write(file, line.p + 4, line.n - 4);
	} else if (str_starts(line, STR("over "))) {
		(void)!pwrite(file, line.p + 5, line.n - 5, 12);
	} else if (str_eq(line, STR("close"))) {
		close(file);
	} else if (str_eq(line, STR("args"))) {
		buf_fmt(&b, "%s %s %d\n", argv[1], argv[2], fcntl(5, F_GETFD));
		(void)io_write(CONNECTION, b.p, b.n);
	} else if (str_eq(line, STR("die"))) {
		raise(SIGKILL);
	} else if (str_eq(line, STR("flood"))) {
		for (;;)
			if (job_send(CONTROL, STR("hold 0000000000000000"), NULL, 0) < 0)
				exit(0);
	} else if (str_eq(line, STR("deaf"))) {
		close(CONTROL);
		for (;;)
			pause();
	} else {
		control(line);
	}
}

static int stand_in(char **argv)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	for (;;) {
		struct pollfd p = { .fd = CONNECTION, .events = POLLIN };
		ptrdiff_t lf;
		char c[512];
		ssize_t n;

		poll(&p, 1, -1);
		n = recv(CONNECTION, c, sizeof(c), 0);
		if (n == 0)
			return 0;
		if (n > 0)
			buf_add(&b, c, (size_t)n);
		while ((lf = str_chr(buf_view(&b), '\n')) >= 0) {
			obey(str_head(buf_view(&b), (size_t)lf), argv);
			buf_drop(&b, (size_t)lf + 1);
		}
	}
}

/* ---- The daemon around the desk ---- */

struct world {
	struct bed *b;
	struct desk *d;
	bool may, flush, at_once;
	int64_t max;
	struct id id; /* submitted */
	uid_t uid;
	int64_t size;
	unsigned submitted;
	char path[100];
};

static void who(void *arg, uid_t uid, struct buf *ret_login, struct buf *ret_name)
{
	(void)arg, (void)uid;
	buf_z(ret_login, "eddy");
	buf_z(ret_name, "Eddy E");
}

static bool may(void *arg, uid_t uid, int64_t *ret_max, struct buf *ret_words)
{
	const struct world *w = arg;

	(void)uid;
	*ret_max = w->max;
	if (!w->may)
		buf_z(ret_words, "not now");
	return w->may;
}

static void submitted(void *arg, const struct id *id, uid_t uid, struct str login,
                      int64_t size)
{
	struct world *w = arg;

	assert_true(str_eq(login, STR("eddy")));
	w->id = *id;
	w->uid = uid;
	w->size = size;
	w->submitted++;
}

static bool flush(void *arg, uid_t uid, struct str route, struct buf *ret_words)
{
	const struct world *w = arg;

	(void)uid;
	if (str_eq(route, STR("nowhere"))) {
		buf_z(ret_words, "there is no such route");
		return false;
	}
	if (w->at_once)
		assert_false(desk_flushing(w->d));
	if (w->at_once)
		desk_answer(w->d, STR("nothing waits"), STR(""));
	return true;
}

static int stderr_was = -1;
#define FAIL(...)                      \
	do {                           \
		dup2(stderr_was, 2);   \
		fail_msg(__VA_ARGS__); \
	} while (0)

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	void *bed = NULL;
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int fd, e = 0;

	if (!w || n < 0 || bed_setup(&bed) < 0)
		return -1;
	self[n] = '\0';
	w->b = bed;
	w->may = w->flush = true;
	*state = w;
	stderr_was = dup(2);
	fd = open("log", O_RDWR | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, 2) < 0 || symlink(self, "mailchute-serve") < 0)
		return -1;
	close(fd);
	log_open("test", false, true);
	snprintf(w->path, sizeof(w->path), "%s/socket", w->b->root);
	w->d = desk_open(w->path, &w->b->s, w->b->root,
	                 &(struct desk_ops){ .who = who,
	                                     .may = may,
	                                     .submitted = submitted,
	                                     .flush = flush,
	                                     .verbs = { .arg = w },
	                                     .arg = w },
	                 &e);
	return w->d ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;
	void *bed = w->b;

	desk_close(w->d);
	dup2(stderr_was, 2);
	close(stderr_was);
	free(w);
	return bed_teardown(&bed);
}

/* ---- A client ---- */

static int dial(const struct world *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", w->path);
	assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Works at the desk for some time; until the descriptor can be read, when there is one. */
static void work(struct desk *d, int fd, int64_t ms)
{
	int64_t until = clock_ms() + ms;
	struct pollfd p[1 + DESK_POLLS] = { { .fd = fd, .events = POLLIN } };

	do {
		size_t n = desk_polls(d, p + 1);
		int64_t now = clock_ms(), next = desk_next(d);
		int64_t left = (next >= 0 && next < until ? next : until) - now;

		poll(p, 1 + n, left > 0 ? (int)left : 0);
		desk_hear(d, p + 1, n);
		if (p[0].revents)
			return;
	} while (clock_ms() < until);
}

/* What came: until there are so many lines, or the end ("#" behind what was read). */
static const char *hear(struct desk *d, int fd, unsigned lines)
{
	static struct buf b = BUF_INIT;
	int64_t until = clock_ms() + WAIT_MS;

	buf_reset(&b);
	buf_z(&b, "");
	while (lines && clock_ms() < until) {
		char c;
		ssize_t n;

		work(d, fd, 100);
		n = recv(fd, &c, 1, MSG_DONTWAIT); /* what follows is for the next call */
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0) {
			buf_c(&b, '#');
			return b.p;
		}
		buf_c(&b, c);
		lines -= c == '\n';
	}
	return b.p;
}

static void tell(int fd, const char *text)
{
	assert_int_equal(io_write(fd, text, strlen(text)), 0);
}

/* Until the desk has nobody left. */
static void empty(struct desk *d)
{
	int64_t until = clock_ms() + WAIT_MS;

	while (desk_busy(d) && clock_ms() < until)
		work(d, -1, 10);
	assert_false(desk_busy(d));
}

/* ---- Tests ---- */

static void requests(void **state)
{
	static const struct {
		const char *name, *in, *want, *log;
		unsigned lines;
	} rows[] = {
		{ "hold", "hold 0123456789abcdef\n", "no 66 no such message\n", NULL, 1 },
		{ "a verb with LF", "retry 0123456789abcdef recompose\n",
		  "no 66 no such message\n", NULL, 1 },
		{ "two", "delete 0123456789abcdef\nrelease 0123456789abcdef\n",
		  "no 66 no such message\nno 66 no such message\n", NULL, 2 },
		{ "flush nowhere", "flush nowhere\n", "no 75 there is no such route\n",
		  NULL, 1 },
		{ "flush a bad name", "flush ../x\n",
		  "no 64 that is no name of a route\n", NULL, 1 },
		{ "no id", "hold\n", "#", "serve-killed", 1 },
		{ "a bad id", "hold 0123456789ABCDEF\n", "#", NULL, 1 },
		{ "two ids", "hold 0123456789abcdef 0123456789abcdef\n", "#", NULL, 1 },
		{ "hold recompose", "hold 0123456789abcdef recompose\n", "#", NULL, 1 },
		{ "another verb", "exec x\n", "#", NULL, 1 },
		{ "commit nothing", "commit\n", "#", NULL, 1 },
		{ "submit more", "submit x\n", "#", NULL, 1 },
		{ "it dies", "die\n", "#", NULL, 1 },
		{ "it does not read", "flood\n", "#", NULL, 1 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = dial(w);
		const char *got;

		tell(fd, rows[i].in);
		got = hear(w->d, fd, rows[i].lines);
		if (strcmp(got, rows[i].want) != 0)
			FAIL("%s: %s", rows[i].name, got);
		if (rows[i].log && !strstr(content("log"), rows[i].log))
			FAIL("%s: log: %s", rows[i].name, content("log"));
		close(fd);
		empty(w->d);
	}
}

static void arguments(void **state)
{
	struct world *w = *state;
	char want[64];
	int fd = dial(w);

	tell(fd, "args\n");
	snprintf(want, sizeof(want), "%u 1 0\n", geteuid());
	assert_string_equal(hear(w->d, fd, 1), want);
	close(fd);
	empty(w->d);
}

static void submit(void **state)
{
	static const struct {
		const char *name, *in, *want;
		int64_t max;
		const char *file; /* behind the attested lines; NULL: nothing is stored */
	} rows[] = {
		{ "good", "submit\nput body\nclose\ncommit\n", "ok queued as ", 4,
		  "body" },
		{ "left open", "submit\nput body\ncommit\n", "ok queued as ", 4, "body" },
		{ "no limit", "submit\nput body\nclose\ncommit\n", "ok queued as ", 0,
		  "body" },
		{ "our lines changed", "submit\nput body\nover U666\nclose\ncommit\n",
		  "ok queued as ", 10, "body" },
		{ "changed and left open", "submit\nput body\nover U666\ncommit\n",
		  "ok queued as ", 10, "body" },
		{ "too large", "submit\nput body\nclose\ncommit\n",
		  "no 69 the message is too large\n", 3, NULL },
		{ "too large and open", "submit\nput body\ncommit\n",
		  "no 69 the message is too large\n", 3, NULL },
		{ "empty", "submit\nclose\ncommit\n", "no 65 there is no message\n", 10,
		  NULL },
		{ "not now", "submit\n", "no 75 not now\n", -1, NULL },
		{ "not committed", "submit\nput body\nhold 0123456789abcdef\n",
		  "no 66 no such message\n", 10, NULL },
		{ "it dies", "submit\nput body\ndie\n", "#", 10, NULL },
		{ "twice", "submit\nsubmit\n", "#", 10, NULL },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool stored = rows[i].file != NULL;
		const char *got, *text;
		int fd = dial(w);

		w->may = rows[i].max >= 0;
		w->max = rows[i].max;
		w->submitted = 0;
		tell(fd, rows[i].in);
		/* the first line says which file */
		got = hear(w->d, fd, 1);
		if (w->may && strncmp(got, "file ", 5) != 0)
			FAIL("%s: %s", rows[i].name, got);
		if (w->may)
			got = hear(w->d, fd, 1);
		if (strncmp(got, rows[i].want, strlen(rows[i].want)) != 0)
			FAIL("%s: %s", rows[i].name, got);
		if (stored &&
		    strncmp(got + strlen("ok queued as "), w->id.c, ID_LEN) != 0)
			FAIL("%s: another id: %s", rows[i].name, got);
		close(fd);
		empty(w->d);
		if (w->submitted != stored || count("queue/new") != stored)
			FAIL("%s: %zu stored", rows[i].name, count("queue/new"));
		if (!stored)
			continue;
		text = content(in("queue/new", &w->id, ""));
		if (w->size != (int64_t)strlen(text) || w->uid != geteuid())
			FAIL("%s: %lld octets", rows[i].name, (long long)w->size);
		if (strncmp(text, "mailchute 1\nU", 13) != 0 ||
		    strtoul(text + 13, NULL, 10) != geteuid() ||
		    !strstr(text, " eddy Eddy E\nT") ||
		    strcmp(strrchr(text, '\n') + 1, rows[i].file) != 0)
			FAIL("%s: %s", rows[i].name, text);
		assert_int_equal(unlink(in("queue/new", &w->id, "")), 0);
	}
}

static void flushes(void **state)
{
	struct world *w = *state;
	int a = dial(w), b = dial(w), c = dial(w);

	tell(a, "flush\n");
	tell(b, "flush isp\n");
	tell(c, "flush\nhold 0123456789abcdef\n");
	work(w->d, -1, 100);
	assert_true(desk_flushing(w->d));
	desk_answer(w->d, STR("isp: all\nsent"), STR(""));
	assert_false(desk_flushing(w->d));
	assert_string_equal(hear(w->d, a, 1), "ok isp: all\\x0asent\n");
	assert_string_equal(hear(w->d, b, 1), "ok isp: all\\x0asent\n");
	close(a);
	close(b);
	close(c);
	empty(w->d);
	w->at_once = true;
	a = dial(w);
	tell(a, "flush\n");
	assert_string_equal(hear(w->d, a, 1), "ok nothing waits\n");
	assert_false(desk_flushing(w->d));
	close(a);
	empty(w->d);
}

/* A flush that nobody waits for any more is not waited for. */
static void flush_given_up(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	tell(fd, "flush\n");
	work(w->d, -1, 100);
	assert_true(desk_flushing(w->d));
	tell(fd, "x\n"); /* stays unread: the stand-in waits for its answer */
	desk_answer(w->d, STR("done"), STR(""));
	close(fd);
	empty(w->d);
	assert_false(desk_flushing(w->d));
}

static void places(void **state)
{
	struct world *w = *state;
	int own = DESK_PER_UID + (geteuid() == 0 ? DESK_ROOT_MORE : 0), fd[40];
	const char *got;

	for (int i = 0; i < own; i++) {
		fd[i] = dial(w);
		tell(fd[i], "args\n");
		got = hear(w->d, fd[i], 1);
		if (got[0] == '7')
			FAIL("%d: %s", i, got);
	}
	fd[own] = dial(w);
	assert_string_equal(hear(w->d, fd[own], 1),
	                    "75 too many connections of this user\n");
	assert_string_equal(hear(w->d, fd[own], 1), "#");
	assert_non_null(strstr(content("log"), "socket-busy uid="));
	close(fd[own]);
	/* One that leaves makes room. */
	close(fd[0]);
	work(w->d, -1, 200);
	fd[0] = dial(w);
	tell(fd[0], "args\n");
	assert_int_not_equal(hear(w->d, fd[0], 1)[0], '7');
	for (int i = 0; i < own; i++)
		close(fd[i]);
	empty(w->d);
}

static void burst(void **state)
{
	struct world *w = *state;
	int refused = 0, calls = DESK_BURST + 30;
	int64_t began = clock_ms(), grown;
	size_t lines = 0;
	const char *log;

	/* The stand-in is not needed: what cannot be started is no connection. */
	assert_int_equal(unlink("mailchute-serve"), 0);
	for (int i = 0; i < calls; i++) {
		int fd = dial(w);

		refused +=
		    strcmp(hear(w->d, fd, 1), "75 too many connections a second\n") == 0;
		close(fd);
		empty(w->d);
	}
	grown = (clock_ms() - began) * DESK_PER_SECOND / 1000 + 1;
	if (refused < calls - DESK_BURST - grown || refused > calls - DESK_BURST)
		FAIL("%d refused, %lld grew", refused, (long long)grown);
	for (log = content("log"); (log = strstr(log, "uid=")); log++)
		lines++;
	assert_int_equal(lines, 1); /* the log is not filled */
}

/* Many requests of a user are heard one after the other, at their pace. */
static void pace(void **state)
{
	struct world *w = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	int64_t began = clock_ms();
	struct desk *d;
	int pair[2], e = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	d = desk_single(pair[1], STRANGER, &w->b->s, w->b->root,
	                &(struct desk_ops){ .arg = w }, &e);
	assert_non_null(d);
	close(pair[1]);
	tell(pair[0], "args\n");
	assert_string_equal(hear(d, pair[0], 1), "54321 0 0\n");
	for (int i = 0; i < 50; i++)
		buf_z(&b, "hold 0123456789abcdef\n");
	tell(pair[0], b.p);
	(void)hear(d, pair[0], 50);
	if (clock_ms() - began < 400)
		FAIL("in %lld ms", (long long)(clock_ms() - began));
	assert_true(desk_busy(d));
	close(pair[0]);
	empty(d);
	desk_close(d);
}

static void single(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = { { "submit\n", "no 75 mailchuted is not running\n" },
		     { "flush\n", "no 75 mailchuted is not running\n" },
		     { "delete 0123456789abcdef\n", "no 66 no such message\n" } };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int pair[2], e = 0;
		struct desk *d;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		                 0);
		d = desk_single(pair[1], 0, &w->b->s, w->b->root,
		                &(struct desk_ops){ .arg = NULL }, &e);
		close(pair[1]);
		tell(pair[0], rows[i].in);
		assert_string_equal(hear(d, pair[0], 1), rows[i].want);
		close(pair[0]);
		empty(d);
		desk_close(d);
	}
}

/* A child that closed its end and lives is ended with the desk. */
static void deaf(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	tell(fd, "deaf\n");
	work(w->d, -1, 200);
	assert_true(desk_busy(w->d));
	desk_close(w->d);
	w->d = NULL;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
	assert_false(there(w->path));
	close(fd);
}

static void sockets(void **state)
{
	struct world *w = *state;
	const struct desk_ops ops = { .arg = NULL };
	char path[200];
	struct desk *d;
	struct stat st;
	mode_t mask;
	int e = 0, fd;

	assert_int_equal(lstat(w->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0666);
	/* Left by a daemon that was killed. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd,
	                      (const struct sockaddr *)&(struct sockaddr_un){
	                          .sun_family = AF_UNIX, .sun_path = "old" },
	                      sizeof(struct sockaddr_un)),
	                 0);
	close(fd);
	mask = umask(0777);
	d = desk_open("old", &w->b->s, w->b->root, &ops, &e);
	assert_int_equal(umask(mask), 0777);
	assert_non_null(d);
	assert_int_equal(lstat("old", &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0666);
	desk_close(d);
	assert_false(there("old"));
	put("other", STR("x"), 0600);
	assert_null(desk_open("other", &w->b->s, w->b->root, &ops, &e));
	assert_int_equal(e, EEXIST);
	assert_string_equal(content("other"), "x");
	assert_null(desk_open("no/socket", &w->b->s, w->b->root, &ops, &e));
	assert_int_equal(e, ENOENT);
	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	assert_null(desk_open(path, &w->b->s, w->b->root, &ops, &e));
	assert_int_equal(e, ENAMETOOLONG);
	path[107] = '\0';
	d = desk_open(path, &w->b->s, w->b->root, &ops, &e);
	assert_non_null(d);
	desk_close(d);
	assert_false(there(path));
}

/* No desk is a desk at which nobody is. */
static void none(void **state)
{
	struct pollfd p[DESK_POLLS];

	(void)state;
	assert_int_equal(desk_polls(NULL, p), 0);
	assert_int_equal(desk_next(NULL), -1);
	assert_false(desk_busy(NULL));
	assert_false(desk_flushing(NULL));
	desk_hear(NULL, p, 0);
	desk_answer(NULL, STR("x"), STR(""));
	desk_close(NULL);
}

static void tokens(void **state)
{
	struct tokens t = { 3000, 1000 };

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(tokens_take(&t, 1000, 20, 3));
	assert_false(tokens_take(&t, 1000, 20, 3));
	assert_int_equal(tokens_at(&t, 20), 1050);
	assert_false(tokens_take(&t, 1049, 20, 3));
	assert_true(tokens_take(&t, 1050, 20, 3));
	/* never more than the burst, however long it takes; a clock may stand still */
	for (int i = 0; i < 3; i++)
		assert_true(tokens_take(&t, INT64_MAX / 4, 20, 3));
	assert_false(tokens_take(&t, INT64_MAX / 4, 20, 3));
}

static void guests(void **state)
{
	struct guests g = { .conns = 5, .requests = 7 };

	(void)state;
	assert_null(guest_find(&g, 0));
	assert_int_equal(guest_of(&g, 0, 1000000)->requests.thousandths, 7000);
	assert_true(guest_tell(&g, 0, 1000000));
	assert_false(guest_tell(&g, 0, 1000000 + GUEST_TOLD_EVERY_MS - 1));
	assert_true(guest_tell(&g, 0, 1000000 + GUEST_TOLD_EVERY_MS));
	for (uid_t u = 1; u < GUESTS; u++)
		guest_of(&g, u, 2000000 + (int64_t)u);
	assert_non_null(guest_find(&g, 0));
	guest_of(&g, 1, 3000000); /* seen again */
	guest_of(&g, 1000, 3000001);
	assert_null(guest_find(&g, 0)); /* the oldest went */
	guest_of(&g, 1001, 3000002);
	assert_non_null(guest_find(&g, 1));
	assert_null(guest_find(&g, 2));
	assert_non_null(guest_find(&g, 1000));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(requests),
		TEST(arguments),
		TEST(submit),
		TEST(flushes),
		TEST(flush_given_up),
		TEST(places),
		TEST(burst),
		TEST(pace),
		TEST(single),
		TEST(deaf),
		TEST(sockets),
		cmocka_unit_test(none),
		cmocka_unit_test(tokens),
		cmocka_unit_test(guests),
	};

	if (argc == 3 && strstr(argv[0], "/mailchute-serve"))
		return stand_in(argv);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
