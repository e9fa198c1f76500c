#include "servebed.h"
#include "serve/serve_run.h"
#include "prog/fence.h"
#include "spoolbed.h"
#include <signal.h>
#include <sys/wait.h>

#define ID "0123456789abcdef"
#define ID2 "fedcba9876543210"
#define DROP "mailchute-drop 1\nFa@example.org\nRbob@example.net\n\nhello\n"
#define CHUNKS                                       \
	"0000001f\nmailchute-drop 1\nFa@example.org" \
	"00000019\n\nRbob@example.net\n\nhello\n"
#define SUBMIT "mailchute-socket 1 submit\n"

/* A connection being served: we are its client and mailchuted. */
struct served {
	int conn, control;
	pid_t pid;
};

static struct served start(const struct bed *b, bool admin, int64_t idle_ms)
{
	int conn[2], control[2];
	struct served s;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, conn), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control),
	                 0);
	s.pid = fork();
	assert_true(s.pid >= 0);
	if (s.pid == 0) {
		const struct serve serve = {
			.conn = conn[1],
			.control = control[1],
			.root = b->s.root,
			.uid = 1000,
			.admin = admin,
			.limits = { .idle_ms = idle_ms,
			            .submit_ms = 5 * idle_ms,
			            .flush_ms = 10000,
			            .other_ms = 5 * idle_ms,
			            .linger_ms = 200 },
		};
		int r;

		close(conn[0]);
		close(control[0]);
		r = serve_run(&serve);
		_exit(r >= 0 ? r : 200);
	}
	close(conn[1]);
	close(control[1]);
	s.conn = conn[0];
	s.control = control[0];
	return s;
}

/* Its code; 200: the client was given none. */
static int end(struct served *s)
{
	int status = 0;

	cleanup_fd(&s->conn);
	cleanup_fd(&s->control);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void say(const struct served *s, const char *text)
{
	struct str t = str_z(text);

	while (t.n) {
		ssize_t n = send(s->conn, t.p, t.n, MSG_NOSIGNAL);

		assert_true(n > 0);
		t = str_from(t, (size_t)n);
	}
}

/* What mailchuted is asked; false: serve has gone. */
static bool asked(const struct served *s, const char *want)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int fds[JOB_FDS_MAX];
	ssize_t n = job_recv(s->control, &b, fds);

	if (n <= 0)
		return false;
	if (strcmp(b.p, want) != 0)
		fail_msg("asked '%s', not '%s'", b.p, want);
	return true;
}

static void reply(const struct served *s, const char *text)
{
	assert_int_equal(job_send(s->control, str_z(text), NULL, 0), 0);
}

static void give_file(const struct served *s, const char *text)
{
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, "attested\n", 9), 0);
	assert_int_equal(job_send(s->control, str_z(text), &fd, 1), 0);
	close(fd);
}

/* All that the client is told; valid until the next call. */
static const char *told(const struct served *s)
{
	static struct buf b = BUF_INIT;

	buf_reset(&b);
	buf_z(&b, "");
	if (io_slurp(s->conn, &b, 1 << 20) < 0 && b.n == 0)
		return "(error)";
	return b.p;
}

static void submit(void **state)
{
	struct served s = start(*state, false, 5000);
	int fd;

	say(&s, SUBMIT);
	assert_true(asked(&s, "submit"));
	give_file(&s, "file " ID " 1000");
	say(&s, CHUNKS "00000000\n");
	assert_true(asked(&s, "commit"));
	assert_string_equal(content("file"), "attested\n" DROP);
	/* Nobody can write to it any more: a lease is given. */
	fd = open("file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
	close(fd);
	reply(&s, "ok queued as " ID);
	assert_string_equal(told(&s), "0 queued as " ID "\n");
	assert_int_equal(end(&s), 0);
}

/* Everything at once, in front of the answers; and octet by octet. */
static void submit_pieces(void **state)
{
	static const char all[] = SUBMIT CHUNKS "00000000\n";
	struct served s = start(*state, false, 5000);

	say(&s, all);
	assert_true(asked(&s, "submit"));
	give_file(&s, "file " ID " 57");
	assert_true(asked(&s, "commit"));
	reply(&s, "ok");
	assert_string_equal(told(&s), "0 \n");
	assert_int_equal(end(&s), 0);

	s = start(*state, false, 5000);
	for (size_t i = 0; i < sizeof(SUBMIT) - 1; i++)
		say(&s, (char[]){ all[i], '\0' });
	assert_true(asked(&s, "submit"));
	give_file(&s, "file " ID " 57");
	for (size_t i = sizeof(SUBMIT) - 1; i < sizeof(all) - 1; i++)
		say(&s, (char[]){ all[i], '\0' });
	assert_true(asked(&s, "commit"));
	assert_string_equal(content("file"), "attested\n" DROP);
	reply(&s, "no 75 the disk\x1b[2J is full");
	assert_string_equal(told(&s), "75 the disk\\x1b[2J is full\n");
	assert_int_equal(end(&s), 75);
}

/* What is not committed: each ends without a commit, with these words. */
static void submit_refused(void **state)
{
	static const struct {
		const char *name, *in, *file, *want;
		bool close; /* the client's writing side */
	} rows[] = {
		{ "too large", CHUNKS "00000000\n", "file " ID " 54",
		  "69 the message is too large: at most 54 octets are taken\n", false },
		{ "far too large", "ffffffff\nxxxxxxxxxxxxxxxxxxxxxxxx", "file " ID " 10",
		  "69 the message is too large: at most 10 octets are taken\n", false },
		{ "no room at all", CHUNKS "00000000\n", "file " ID " 0",
		  "69 the message is too large: at most 0 octets are taken\n", false },
		{ "damaged", "00000005\nhello\n", "file " ID " 1000",
		  "65 the message is damaged: not a chunk\n", false },
		{ "no drop", "00000007\nhello\n\n00000000\n", "file " ID " 1000",
		  "65 the message is damaged: not a drop of version 1\n", false },
		{ "cut envelope", "00000011\nmailchute-drop 1\n00000000\n",
		  "file " ID " 1000",
		  "65 the message is damaged: the envelope is not complete\n", false },
		{ "nothing", "00000000\n", "file " ID " 1000",
		  "65 the message is damaged: the envelope is not complete\n", false },
		{ "no commit", CHUNKS, "file " ID " 1000", "", true },
		{ "half a commit", CHUNKS "0000", "file " ID " 1000", "", true },
		{ "no chunk", "x", "file " ID " 1000",
		  "65 the message is damaged: not a chunk\n", false },
		{ "silent", CHUNKS, "file " ID " 1000",
		  "75 too slow; nothing was stored\n", false },
		{ "not taken", CHUNKS, "no 75 closed until noon",
		  "75 closed until noon\n", false },
		{ "not allowed", CHUNKS, "no 77 you may not", "77 you may not\n", false },
		{ "bad code", CHUNKS, "no 0 thing", "75 thing\n", false },
		{ "not a file", CHUNKS, "file x 1000", "75 " ID "\n", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct served s = start(*state, false, 150);
		bool file = str_starts(str_z(rows[i].file), STR("file " ID));
		const char *got;

		say(&s, SUBMIT);
		assert_true(asked(&s, "submit"));
		if (file)
			give_file(&s, rows[i].file);
		else
			reply(&s, rows[i].file);
		say(&s, rows[i].in);
		if (rows[i].close)
			shutdown(s.conn, SHUT_WR);
		got = told(&s);
		if (strcmp(got, rows[i].want) != 0 &&
		    strcmp(rows[i].name, "not a file") != 0)
			fail_msg("%s: '%s'", rows[i].name, got);
		cleanup_fd(&s.conn);
		s.conn = -1;
		if (asked(&s, "") || end(&s) == 0)
			fail_msg("%s: it was committed", rows[i].name);
	}
}

/* A client that closes its connection at any octet stores nothing. */
static void submit_cut(void **state)
{
	static const char all[] = SUBMIT CHUNKS "00000000\n";

	for (size_t n = 0; n < sizeof(all) - 1; n++) {
		struct served s = start(*state, false, 5000);
		_cleanup_buf_ struct buf part = BUF_INIT;

		buf_add(&part, all, n);
		say(&s, part.p);
		if (n >= sizeof(SUBMIT) - 1) {
			assert_true(asked(&s, "submit"));
			give_file(&s, "file " ID " 1000");
		}
		close(s.conn);
		s.conn = -1;
		if (asked(&s, ""))
			fail_msg("cut at %zu: it asked for something", n);
		assert_int_equal(end(&s), 200);
	}
}

/* One octet now and then does not keep the connection for ever. */
static void submit_dripping(void **state)
{
	struct served s = start(*state, false, 100);
	int64_t before = clock_ms();
	unsigned n = 0;

	say(&s, SUBMIT "ffffffff\n");
	assert_true(asked(&s, "submit"));
	give_file(&s, "file " ID " 1000000");
	while (send(s.conn, "mailchute-drop 1\nR" + (n < 18 ? n : 17), 1, MSG_NOSIGNAL) ==
	           1 &&
	       n++ < 200)
		poll(NULL, 0, 20);
	assert_true(n < 200);
	assert_true(clock_ms() - before < 3000);
	assert_false(asked(&s, ""));
	assert_int_equal(end(&s), EX_TEMPFAIL);
}

/* mailchuted ends in the middle. */
static void daemon_gone(void **state)
{
	struct served s = start(*state, false, 5000);

	say(&s, SUBMIT CHUNKS "00000000\n");
	assert_true(asked(&s, "submit"));
	close(s.control);
	s.control = -1;
	assert_string_equal(told(&s), "75 mailchuted has gone\n");
	assert_int_equal(end(&s), EX_TEMPFAIL);

	s = start(*state, false, 5000);
	say(&s, SUBMIT CHUNKS "00000000\n");
	assert_true(asked(&s, "submit"));
	give_file(&s, "file " ID " 1000");
	assert_true(asked(&s, "commit"));
	close(s.control);
	s.control = -1;
	assert_string_equal(told(&s),
	                    "75 mailchuted has gone; the message may have been taken\n");
	assert_int_equal(end(&s), EX_TEMPFAIL);
}

static void requests_bad(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "HTTP", "GET / HTTP/1.1\r\n",
		  "64 a byte that is not printable ASCII\n" },
		{ "unknown", "mailchute-socket 1 x\n", "64 an unknown verb\n" },
		{ "version", "mailchute-socket 2 list\n",
		  "64 not version 1 of mailchute-socket\n" },
		{ "silent", "mailchute-socket 1 li", "75 no request came\n" },
	};
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct served s;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got;

		s = start(*state, false, 150);
		say(&s, rows[i].in);
		got = told(&s);
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%s: '%s'", rows[i].name, got);
		end(&s);
	}
	while (b.n < REQUEST_MAX + 10)
		buf_z(&b, "xxxxxxxxxx");
	s = start(*state, false, 5000);
	say(&s, b.p);
	assert_string_equal(told(&s), "64 the request is too long\n");
	assert_int_equal(end(&s), EX_USAGE);
}

static void flush(void **state)
{
	struct served s = start(*state, false, 50);

	say(&s, "mailchute-socket 1 flush hub\n");
	assert_true(asked(&s, "flush hub"));
	/* It waits, longer than a client may be silent; also for one that has ended its side. */
	shutdown(s.conn, SHUT_WR);
	poll(NULL, 0, 500);
	reply(&s, "ok 3 delivered");
	assert_string_equal(told(&s), "0 3 delivered\n");
	assert_int_equal(end(&s), 0);

	s = start(*state, false, 5000);
	say(&s, "mailchute-socket 1 flush\n");
	assert_true(asked(&s, "flush"));
	close(s.conn);
	s.conn = -1;
	assert_false(asked(&s, ""));
	assert_int_equal(end(&s), 200);
}

static void deeds(void **state)
{
	struct served s = start(*state, false, 5000);

	say(&s, "mailchute-socket 1 hold " ID "\n");
	assert_true(asked(&s, "hold " ID));
	reply(&s, "ok held");
	assert_string_equal(told(&s), "0 held\n");
	assert_int_equal(end(&s), 0);

	s = start(*state, false, 5000);
	say(&s, "mailchute-socket 1 retry recompose " ID " " ID2 "\n");
	assert_true(asked(&s, "retry " ID " recompose"));
	reply(&s, "ok tried again");
	assert_true(asked(&s, "retry " ID2 " recompose"));
	reply(&s, "no 66 no such message");
	assert_string_equal(told(&s), "\t" ID " tried again\n\t" ID2 " no such message\n"
	                              "66 1 done, 1 not\n");
	assert_int_equal(end(&s), 66);

	s = start(*state, false, 5000);
	say(&s, "mailchute-socket 1 delete all\n");
	assert_string_equal(told(&s), "77 only root may do that to all messages\n");
	assert_false(asked(&s, ""));
	end(&s);
}

/* all: what each verb is for. */
static void deeds_all(void **state)
{
	struct id new = nth(1), held = nth(2), bad_one = nth(3);
	struct str file = STR("mailchute 1\nU1 a\nT1\nmailchute-drop 1\nRa\n\n");
	struct served s;
	char want[64];

	put(in("queue/new", &new, ""), file, 0600);
	put(in("hold", &held, ""), file, 0600);
	put(in("bad", &bad_one, ""), file, 0600);
	s = start(*state, true, 5000);
	say(&s, "mailchute-socket 1 release all\n");
	snprintf(want, sizeof(want), "release %s", held.c);
	assert_true(asked(&s, want));
	reply(&s, "ok released");
	snprintf(want, sizeof(want), "\t%s released\n0 1 done\n", held.c);
	assert_string_equal(told(&s), want);
	end(&s);
	s = start(*state, true, 5000);
	say(&s, "mailchute-socket 1 delete all\n");
	snprintf(want, sizeof(want), "delete %s", new.c);
	assert_true(asked(&s, want));
	reply(&s, "ok deleted");
	snprintf(want, sizeof(want), "delete %s", held.c);
	assert_true(asked(&s, want));
	reply(&s, "ok deleted");
	assert_true(strstr(told(&s), "0 2 done\n"));
	end(&s);
}

static void lists(void **state)
{
	struct id id = nth(1);
	struct served s;
	const char *got;
	char line[100];

	put(in("queue/new", &id, ""),
	    STR("mailchute 1\nU1000 a\nT1\nmailchute-drop 1\nRa\n\nx"), 0600);
	s = start(*state, false, 5000);
	say(&s, "mailchute-socket 1 list json\n");
	snprintf(line, sizeof(line), "\t{\"id\":\"%s\"", id.c);
	got = told(&s);
	assert_true(str_starts(str_z(got), str_z(line)));
	assert_true(str_iends(str_z(got), STR("}\n0 1 message\n")));
	assert_int_equal(end(&s), 0);
	s = start(*state, false, 5000);
	say(&s, "mailchute-socket 1 list\n");
	assert_true(str_iends(str_z(told(&s)), STR("\n0 1 message\n")));
	assert_int_equal(end(&s), 0);
	s = start(*state, false, 5000);
	snprintf(line, sizeof(line), "mailchute-socket 1 show %s\n", id.c);
	say(&s, line);
	assert_true(str_iends(str_z(told(&s)), STR("\n0 shown\n")));
	assert_int_equal(end(&s), 0);
	s = start(*state, true, 5000);
	say(&s, "mailchute-socket 1 show " ID "\n");
	assert_string_equal(told(&s), "66 no such message\n");
	assert_int_equal(end(&s), EX_NOINPUT);
}

/* A client that asks and does not read is given up. */
static void list_unread(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	struct id id = nth(1);
	struct served s;
	int64_t before = clock_ms();
	int status;

	buf_z(&file, "mailchute 1\nU1000 a\nT1\nmailchute-drop 1\n");
	for (unsigned i = 0; i < 40000; i++)
		buf_fmt(&file, "Rr%u@example.net\n", i);
	buf_c(&file, '\n');
	put(in("queue/new", &id, ""), buf_view(&file), 0600);
	s = start(*state, false, 150);
	say(&s, "mailchute-socket 1 list json\n");
	assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 200);
	assert_true(clock_ms() - before < 3000);
	close(s.conn);
	close(s.control);
}

static bool opens(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_CLOEXEC, 0600);

	cleanup_fd(&fd);
	return fd >= 0;
}

/* Behind the fence: what is below the spool can be read, and nothing else. In a child, for
 * there is no way back. */
static void fence(void **state)
{
	const struct bed *b = *state;
	int status = 0;
	pid_t pid;

	put("state", STR("x"), 0600);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open("state", O_WRONLY | O_CLOEXEC), root = b->s.root;

		if (fence_serve(root) == 0)
			_exit(77);
		if (!opens(root, "state", O_RDONLY) ||
		    !opens(root, "queue/new", O_RDONLY | O_DIRECTORY))
			_exit(1);
		if (opens(AT_FDCWD, "/etc/passwd", O_RDONLY) ||
		    opens(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY))
			_exit(2);
		if (opens(root, "state", O_WRONLY) ||
		    opens(root, "more", O_RDWR | O_CREAT))
			_exit(3);
		if (unlinkat(root, "state", 0) == 0)
			_exit(4);
		/* What was open stays open. */
		_exit(io_write(fd, "y", 1) == 0 ? 0 : 5);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* a kernel without Landlock */
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(submit, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(submit_pieces, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(submit_refused, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(submit_cut, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(submit_dripping, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(daemon_gone, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(requests_bad, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(flush, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(deeds, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(deeds_all, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(lists, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(list_unread, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(fence, bed_setup, bed_teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("serve_run", tests, NULL, NULL);
}
