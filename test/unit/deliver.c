/* Push with many messages in flight: an engine that takes up to 500 before it gives any back,
 * gives them back in any order, and whose host refuses, hangs up, and loses replies. Compared:
 * what the host took with what mailchuted was told. */
#include "push/push.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { MESSAGES = 300, FLIGHT_MAX = 500 };

/* What a recipient's first letter means (D, H: not only the first time):
 * o accepted	f 550 5.1.1 at RCPT	t 450 4.2.1 at RCPT	d reply lost, the first time
 * r 421 after a success, the first time	h 451 4.3.0 to the content, the first time
 * u cannot be read	n <> is refused	m 432
 * b two recipients, one accepted, the other 450
 * U two recipients, one accepted, then it cannot be read for the other */
struct letter {
	char kind;
	unsigned sent, accepted, finals, later, doubts, put_off;
	bool in_journal; /* its "s" */
	bool noted;      /* there is a line of the first recipient */
};

struct scene {
	const char *kinds; /* of messages, round and round */
	unsigned n, flight;
	bool shuffle, flushes, halt;
	unsigned seed;
	struct letter *letter;
	int daemon; /* its end of the socket */
	int journal;
	/* the engine */
	struct client_msg *in[FLIGHT_MAX];
	unsigned in_n, written, connections, order_broken, unsafe, successes, most;
	unsigned expect[MESSAGES + 1]; /* that must come first on the next connection */
	size_t expects, expect_at;
	bool open;
	/* said */
	bool host, end;
	struct buf learned;
	unsigned refused, packets, took, slow;
};
static struct scene *now; /* the engine's interface has no place for it */

static unsigned roll(struct scene *s, unsigned n)
{
	s->seed = s->seed * 1103515245u + 12345u;
	return (s->seed >> 16) % n;
}

static unsigned number_of(struct str addr)
{
	uint64_t n = 0;
	struct str part;

	assert_true(str_cut(&addr, '@', &part));
	assert_true(str_u64(str_from(part, 1), &n));
	return (unsigned)n;
}

/* ---- The engine ---- */

bool client_is_open(const struct client *c)
{
	(void)c;
	return now->open;
}

int client_open_any(struct client *c, struct client_way *way, struct verdict *ret_why)
{
	(void)c;
	(void)way;
	(void)ret_why;
	now->open = true;
	now->connections++;
	now->successes = 0;
	now->expect_at = 0;
	return 0;
}

struct str client_facts(const struct client *c)
{
	(void)c;
	return STR("tls=none");
}

bool client_offers_8bit(const struct client *c)
{
	(void)c;
	return true;
}

bool client_offers_utf8(const struct client *c)
{
	(void)c;
	return true;
}

void client_quit(struct client *c)
{
	(void)c;
	now->open = false;
}

void client_learned(const struct client *c, struct buf *b)
{
	(void)c;
	buf_fmt(b, "v1,%u", now->connections);
}

struct str client_passed(const struct client *c)
{
	(void)c;
	return STR("");
}

void client_ticket(const struct client *c, struct buf *b)
{
	(void)c;
	(void)b;
}

static void say(struct client_msg *m, size_t rcpt, enum verdict_kind kind,
                enum smtp_stage stage, const char *text)
{
	struct verdict *v = &m->rcpt[rcpt].verdict;
	uint64_t code = 0;

	str_u64(str_head(str_z(text), 3), &code);
	*v = (struct verdict){ .kind = kind, .stage = stage, .code = (int)code };
	buf_z(&v->text, text);
}

static void say_all(struct client_msg *m, enum verdict_kind kind, enum smtp_stage stage,
                    const char *text)
{
	for (size_t i = 0; i < m->rcpts; i++)
		say(m, i, kind, stage, text);
}

static bool in_journal(const struct scene *s, unsigned n)
{
	char text[32];
	_cleanup_buf_ struct buf b = BUF_INIT;
	off_t size = lseek(s->journal, 0, SEEK_END);
	ssize_t r = pread(s->journal, buf_room(&b, (size_t)size), (size_t)size, 0);

	assert_int_equal(r, size);
	b.n = (size_t)size;
	b.p[b.n] = '\0';
	snprintf(text, sizeof(text), "s %016x ", n + 1);
	return strstr(b.p, text) != NULL;
}

/* The last octets are about to go out. */
static void write_one(struct client_msg *m)
{
	char octet[64];
	size_t octets = 0;
	ssize_t r;

	assert_int_equal(m->body->rewind(m->body->arg), 0);
	while ((r = m->body->read(m->body->arg, octet, sizeof(octet))) > 0)
		octets += (size_t)r;
	assert_int_equal(octets, 5);
	m->on_commit(m->arg);
}

static void write_out(struct scene *s, const struct client_feed *feed)
{
	for (unsigned i = s->written; i < s->in_n; i++)
		write_one(s->in[i]);
	if (s->flushes)
		feed->flush(feed->arg);
	for (unsigned i = s->written; i < s->in_n; i += 5)
		s->unsafe += !in_journal(s, number_of(s->in[i]->rcpt[0].addr));
	s->written = s->in_n;
}

static void take(struct scene *s, struct client_msg *m)
{
	unsigned n = number_of(m->rcpt[0].addr);

	s->letter[n].sent++;
	/* Those that were undone come first, in their order. (Reports that <> was refused for
	 * may be among them.) */
	if (s->letter[n].kind != 'n' && s->expect_at < s->expects &&
	    s->expect[s->expect_at++] != n)
		s->order_broken++;
	s->in[s->in_n++] = m;
	s->most = s->in_n > s->most ? s->in_n : s->most;
}

static void accept_it(struct scene *s, struct client_msg *m, unsigned n, size_t rcpt)
{
	s->letter[n].accepted++;
	s->successes++;
	say(m, rcpt, VERDICT_DONE, STAGE_CONTENT, "250 2.0.0 ok");
	m->dsn_offered = true;
}

/* What the host says. False: the connection ends with it. */
static bool answer(struct scene *s, struct client_msg *m, int *ret_error)
{
	unsigned n = number_of(m->rcpt[0].addr);
	struct letter *l = &s->letter[n];
	bool first = l->sent == 1;

	*ret_error = 0;
	switch (l->kind) {
	case 'f':
		say_all(m, VERDICT_FAILED, STAGE_RCPT, "550 5.1.1 no such user");
		return true;
	case 't':
		say_all(m, VERDICT_LATER, STAGE_RCPT, "450 4.2.1 busy");
		return true;
	case 'b':
		accept_it(s, m, n, 0);
		say(m, 1, VERDICT_LATER, STAGE_RCPT, "450 4.2.1 busy");
		return true;
	case 'd':
	case 'D':
		if (!first && l->kind == 'd')
			break;
		l->accepted++;
		say_all(m, VERDICT_DOUBT, STAGE_CONTENT, "connection lost");
		return false;
	case 'r':
		if (!first || !s->successes)
			break;
		say_all(m, VERDICT_RECONNECT, STAGE_MAIL, "421 4.3.2 enough");
		return false;
	case 'h':
	case 'H':
		/* (Without a neighbour it would be the host's trouble.) */
		if (l->kind == 'h' && (!first || s->in_n == 0))
			break;
		say_all(m, VERDICT_HOST, STAGE_CONTENT, "451 4.3.0 trouble");
		return false;
	case 'n':
		if (m->sender.n)
			break;
		say_all(m, VERDICT_FAILED, STAGE_MAIL, "550 5.7.1 no reports");
		return true;
	case 'u':
		*ret_error = -EIO;
		return false;
	case 'U':
		if (!first)
			break;
		accept_it(s, m, n, 0);
		say(m, 1, VERDICT_HOST, STAGE_CONTENT, "cannot read the message");
		*ret_error = -EIO;
		return false;
	case 'm':
		say_all(m, VERDICT_HOST, STAGE_MAIL, "432 4.3.2 30 a minute");
		return false;
	default:
		break;
	}
	accept_it(s, m, n, 0);
	return true;
}

static int by_number(const void *a, const void *b)
{
	return (int)*(const unsigned *)a - (int)*(const unsigned *)b;
}

/* One comes back; when the connection ends with it, all do. */
static void give_back(struct scene *s, const struct client_feed *feed)
{
	unsigned at = s->shuffle ? roll(s, s->in_n) : 0;
	struct client_msg *m = s->in[at];
	unsigned n = number_of(m->rcpt[0].addr);
	int error;

	memmove(&s->in[at], &s->in[at + 1], (--s->in_n - at) * sizeof(s->in[0]));
	s->written--;
	s->open = answer(s, m, &error);
	if (!s->open) {
		s->expects = 0;
		if (error == 0 && m->rcpt[0].verdict.kind == VERDICT_RECONNECT)
			s->expect[s->expects++] = n;
	}
	feed->done(feed->arg, m, error);
	while (!s->open && s->in_n) {
		m = s->in[--s->in_n];
		n = number_of(m->rcpt[0].addr);
		if (s->letter[n].kind != 'n')
			s->expect[s->expects++] = n;
		say_all(m, VERDICT_RECONNECT, STAGE_MAIL, "the connection has ended");
		feed->done(feed->arg, m, 0);
	}
	if (s->open)
		return;
	qsort(s->expect, s->expects, sizeof(s->expect[0]), by_number);
	s->written = 0;
}

void client_stream(struct client *c, const struct client_feed *feed)
{
	struct scene *s = now;

	(void)c;
	while (s->open) {
		struct client_msg *m = NULL;

		while (s->in_n < s->flight && (m = feed->next(feed->arg, s->in_n == 0)))
			take(s, m);
		if (!m && s->in_n == 0)
			return;
		write_out(s, feed);
		for (unsigned i = roll(s, s->in_n) + 1; i && s->in_n; i--)
			give_back(s, feed);
	}
}

/* ---- mailchuted ---- */

static int memory(const char *text)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text, strlen(text)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* False: push has left. */
static bool give_job(const struct scene *s, unsigned n)
{
	char text[300], job[64];
	char k = s->letter[n].kind;
	int fd, e;

	snprintf(text, sizeof(text),
	         "mailchute 1\nU1000 eddy Eddy\nT900000\nmailchute-drop 1\nF%s\n"
	         "R%c%u@far.example\n%s\nSubject: s\n\nbody\n",
	         k == 'n' ? "" : "e@x.example", k, n,
	         k == 'b' || k == 'U' ? "Rother@far.example\n" : "");
	snprintf(job, sizeof(job), "job %016x 00000007\n", n + 1);
	fd = memory(text);
	e = job_send(s->daemon, str_z(job), &fd, 1);
	close(fd);
	return e == 0;
}

static void hear_record(struct scene *s, struct str line)
{
	struct job_record rec;
	struct letter *l;

	assert_true(job_parse(line, &rec));
	s->host |= str_eq(rec.verb, STR("host"));
	s->took += str_eq(rec.verb, STR("took"));
	s->slow += str_eq(rec.verb, STR("slow"));
	if (str_eq(rec.verb, STR("learned"))) {
		buf_reset(&s->learned);
		buf_str(&s->learned, rec.rest);
	}
	if (rec.id.c[0] == '\0')
		return;
	l = &s->letter[strtoul(rec.id.c, NULL, 16) - 1];
	if (str_eq(rec.verb, STR("n")) && str_starts(rec.rest, STR("d ")))
		l->doubts++;
	l->noted |= str_eq(rec.verb, STR("n")) && str_starts(rec.rest, STR("r 1 "));
	if (str_eq(rec.verb, STR("ok")) ||
	    (str_eq(rec.verb, STR("end")) && str_eq(rec.rest, STR("done"))))
		l->finals++;
	if (str_eq(rec.verb, STR("end")) && str_starts(rec.rest, STR("later "))) {
		l->later++;
		/* It would come back at once, round and round. */
		if (l->kind == 'u' && str_iends(rec.rest, STR(" host")))
			fail_msg("unreadable, and put off because of the host");
	}
}

static void *mailchuted(void *arg)
{
	struct scene *s = arg;
	_cleanup_buf_ struct buf packet = BUF_INIT;
	unsigned given = 0, reset = 0;
	int fds[JOB_FDS_MAX];
	ssize_t got;

	/* The first job may come some time behind the first words. */
	if (s->flight == 1) {
		job_send(s->daemon, STR("known 1000000000 0 0\n"), NULL, 0);
		poll(NULL, 0, 50);
	}
	for (;;) {
		struct pollfd pfd = { .fd = s->daemon, .events = POLLIN | POLLOUT };
		struct str rest, line;

		if (given > s->n)
			pfd.events = POLLIN;
		poll(&pfd, 1, 5000);
		if (pfd.revents & POLLOUT) {
			if (given < s->n)
				given = give_job(s, given) ? given + 1 : s->n + 1;
			else if (given++ == s->n)
				job_send(s->daemon, STR("stop\n"), NULL, 0);
		}
		if (!(pfd.revents & (POLLIN | POLLHUP)))
			continue;
		got = job_recv(s->daemon, &packet, fds);
		/* Once, when push has left jobs unread: its last words are behind it. */
		if (got == -ECONNRESET && !reset++)
			continue;
		if (got <= 0)
			return NULL;
		s->packets++;
		rest = buf_view(&packet);
		while (rest.n && str_cut(&rest, '\n', &line))
			if (line.n)
				hear_record(s, line);
		for (size_t i = 0; i < JOB_FDS_MAX; i++)
			cleanup_fd(&fds[i]);
	}
}

/* ---- One run ---- */

static struct push *push_make(struct scene *s, struct smarthost *host)
{
	static char isp[] = "isp", sender[] = "sender", none[] = "", relay[] = "mx";
	static char *hosts[] = { relay };
	struct push *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	*host = (struct smarthost){ .name = isp,
		                    .host = { hosts, 1 },
		                    .lifetime = 5 * 86400,
		                    .retry = 300,
		                    .retry_max = 14400,
		                    .rates = 1 };
	p->conf = (struct conf){ .admin = none,
		                 .bounce_to = sender,
		                 .bounce_from = none,
		                 .notify_failure = true,
		                 .notify_delay = true };
	p->host = host;
	p->compose = (struct compose_conf){ .hostname = STR("box.example.org"),
		                            .domain = STR("x.example") };
	buf_z(&p->bounce_from, "bounce@x.example");
	p->targets = 1;
	p->accepted = 1000000000;
	p->report = (struct reporter){ .sock = JOB_FD_SOCKET,
		                       .journal = s->journal,
		                       .conf = &p->conf,
		                       .host = host,
		                       .compose = &p->compose,
		                       .remote = "mx" };
	return p;
}

static void push_unmake(struct push *p)
{
	assert_true(hand_is_empty(&p->hand));
	assert_int_equal(p->hand.octets, 0);
	buf_free(&p->bounce_from);
	buf_free(&p->learned);
	buf_free(&p->report.up);
	buf_free(&p->report.file);
	job_batch_free(p->batch);
	free(p);
}

static void scene_run(struct scene *s)
{
	struct smarthost host;
	struct push *p;
	pthread_t other;
	int pair[2];

	s->letter = calloc(s->n, sizeof(*s->letter));
	assert_non_null(s->letter);
	for (unsigned i = 0; i < s->n; i++)
		s->letter[i].kind = s->kinds[i % strlen(s->kinds)];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	s->daemon = fcntl(pair[1], F_DUPFD_CLOEXEC, 20);
	s->journal = fcntl(memory(""), F_DUPFD_CLOEXEC, 20);
	close(pair[1]);
	if (pair[0] != JOB_FD_SOCKET) {
		assert_int_equal(dup2(pair[0], JOB_FD_SOCKET), JOB_FD_SOCKET);
		close(pair[0]);
	}
	now = s;
	p = push_make(s, &host);
	assert_int_equal(pthread_create(&other, NULL, mailchuted, s), 0);
	push_serve(p);
	close(JOB_FD_SOCKET);
	pthread_join(other, NULL);
	s->end = true;
	push_unmake(p);
	close(s->daemon);
	close(s->journal);
}

static void scene_free(struct scene *s)
{
	free(s->letter);
	buf_free(&s->learned);
}

/* Nothing lost, nothing twice, nothing said that is not so. */
static void check(const char *name, const struct scene *s)
{
	if (s->order_broken)
		fail_msg("%s: %u messages out of their order", name, s->order_broken);
	if (s->unsafe)
		fail_msg("%s: last octets went out %u times before the journal had it",
		         name, s->unsafe);
	for (unsigned i = 0; i < s->n; i++) {
		const struct letter *l = &s->letter[i];

		if (l->finals && l->accepted == 0 && l->kind != 'f')
			fail_msg("%s: %c%u is done, but nobody took it", name, l->kind,
			         i);
		if (l->accepted > 1 && l->doubts == 0)
			fail_msg("%s: %c%u was taken %u times", name, l->kind, i,
			         l->accepted);
		if (l->kind == 'U' && l->accepted && !l->noted)
			fail_msg("%s: %c%u was taken for one, and it is not noted", name,
			         l->kind, i);
		if (l->accepted && !l->doubts && l->finals + l->later != 1)
			fail_msg("%s: %c%u was taken, and %u times told", name, l->kind,
			         i, l->finals + l->later);
		if (l->finals + l->later > 1)
			fail_msg("%s: %c%u ended %u times", name, l->kind, i,
			         l->finals + l->later);
		if (!s->host && l->finals + l->later != 1)
			fail_msg("%s: %c%u did not end", name, l->kind, i);
	}
}

static void test_outcomes(void **state)
{
	static const struct {
		const char *name, *kinds;
		unsigned flight, most_connections;
		bool shuffle, host; /* push leaves with the host's trouble */
	} rows[] = {
		{ "one at a time", "o", 1, 1, false, false },
		{ "all", "o", 500, 1, false, false },
		{ "all, any order", "o", 500, 1, true, false },
		{ "refusals", "oftob", 50, 1, true, false },
		{ "421 in between", "oooooooooooooooooooor", 40, 20, false, false },
		{ "doubts", "ooooooooooooooooooooooood", 30, 20, false, false },
		{ "451 4.3.0 to some", "oooooooooooooooooooooooh", 60, 20, false, false },
		{ "unreadable", "oooooooooooooooooooooooooooooou", 20, 20, true, false },
		{ "unreadable for the second", "oooooooooooooooooooU", 1, 40, true,
		  false },
		{ "reports refused", "oooon", 20, 1, true, false },
		{ "all of it", "ooooooooooofoootoooboooroooohooonoooodoooou", 100, 60,
		  false, false },
		{ "nothing but 451", "H", 20, 3, false, true },
		{ "nothing but doubt", "D", 20, 2, false, true },
		{ "throttled", "om", 20, 200, false, true },
		{ "throttled from the start", "m", 20, 3, false, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int flushes = 0; flushes < 2; flushes++) {
			struct scene *s = calloc(1, sizeof(*s));

			assert_non_null(s);
			s->kinds = rows[i].kinds;
			s->n = MESSAGES;
			s->flight = rows[i].flight;
			s->shuffle = rows[i].shuffle;
			s->flushes = flushes;
			scene_run(s);
			check(rows[i].name, s);
			if (s->host != rows[i].host)
				fail_msg("%s: host %d", rows[i].name, s->host);
			if (s->connections > rows[i].most_connections)
				fail_msg("%s: %u connections", rows[i].name,
				         s->connections);
			if (s->slow != (strcmp(rows[i].kinds, "om") == 0))
				fail_msg("%s: slow %u times", rows[i].name, s->slow);
			if (flushes && strcmp(rows[i].kinds, "o") == 0 &&
			    rows[i].flight == 500 && s->packets > 120)
				fail_msg("%s: %u packets", rows[i].name, s->packets);
			if (s->learned.n == 0 || (!s->host && s->took == 0))
				fail_msg("%s: learned %s, took %u", rows[i].name,
				         s->learned.p, s->took);
			scene_free(s);
			free(s);
		}
}

/* Any order, any number in flight, any mix. */
static void test_random(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct scene *s = calloc(1, sizeof(*s));
		char kinds[64], name[32];

		assert_non_null(s);
		s->seed = seed;
		for (size_t i = 0; i < sizeof(kinds) - 1; i++)
			kinds[i] = roll(s, 3) ? 'o' : "oftdrhnbu"[roll(s, 9)];
		kinds[sizeof(kinds) - 1] = '\0';
		s->kinds = kinds;
		s->n = 120;
		s->flight = 1 + roll(s, roll(s, 2) ? 500 : 10);
		s->shuffle = roll(s, 2);
		s->flushes = roll(s, 2);
		snprintf(name, sizeof(name), "seed %u", seed);
		scene_run(s);
		check(name, s);
		scene_free(s);
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
