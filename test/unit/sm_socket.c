#include "inject/sm_socket.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { SHORT_MS = 30, LONG_MS = 5000 };

/* ---- the answer ---- */

static void test_answer(void **state)
{
	static const struct {
		const char *name;
		struct str in;
		const char *lines;
		int code; /* -1: not complete */
		const char *words;
	} rows[] = {
#define IN(s) { s, sizeof(s) - 1 }
		{ "done", IN("0 done\n"), "", 0, "done" },
		{ "only a code", IN("0\n"), "", 0, "" },
		{ "no words", IN("75 \n"), "", 75, "" },
		{ "refused", IN("69 too large: 5\n"), "", 69, "too large: 5" },
		{ "lines", IN("\ta\n\tb\n0 2\n"), "a\nb\n", 0, "2" },
		{ "tabs in a line", IN("\t\t\tTotal requests: 0\n0 x\n"),
		  "\t\tTotal requests: 0\n", 0, "x" },
		{ "an empty line", IN("\t\n0 x\n"), "\n", 0, "x" },
		{ "a line like the last", IN("\t0 done\n75 no\n"), "0 done\n", 75, "no" },
		{ "controls", IN("\ta\033[1m\r\b\0\177\233\303\244z\n0 x\n"),
		  "a?[1m???????z\n", 0, "x" },
		{ "more behind it", IN("75 no\n0 done\n\tx\n"), "", 75, "no" },
		{ "no end", IN("0 done"), "", -1, "" },
		{ "no end of a line", IN("\tab"), "ab", -1, "" },
		{ "nothing", IN(""), "", -1, "" },
		{ "an empty last line", IN("\n"), "", -EBADMSG, "" },
		{ "no code", IN("done\n"), "", -EBADMSG, "" },
		{ "not of sysexits", IN("1 no\n"), "", -EBADMSG, "" },
		{ "just below", IN("63 no\n"), "", -EBADMSG, "" },
		{ "just above", IN("79 no\n"), "", -EBADMSG, "" },
		{ "negative", IN("-1 no\n"), "", -EBADMSG, "" },
		{ "signed", IN("+0 no\n"), "", -EBADMSG, "" },
		{ "many digits", IN("0000 no\n"), "", -EBADMSG, "" },
		{ "over 64 bits", IN("18446744073709551616 no\n"), "", -EBADMSG, "" },
		{ "a blank in front", IN(" 0 done\n"), "", -EBADMSG, "" },
		{ "CRLF", IN("0\r\n"), "", -EBADMSG, "" },
		{ "NUL", IN("0\0 x\n"), "", -EBADMSG, "" },
		{ "SMTP", IN("220 hello\n"), "", -EBADMSG, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t cut = 0; cut <= rows[i].in.n; cut++) {
			_cleanup_buf_ struct buf out = BUF_INIT;
			struct sm_answer a = { .done = false };
			struct str words = STR("");
			bool done = sm_answer_feed(&a, str_head(rows[i].in, cut), &out);
			int code = -1;

			if (!done)
				done =
				    sm_answer_feed(&a, str_from(rows[i].in, cut), &out);
			if (done)
				code = sm_answer_code(&a, &words);
			if (code != rows[i].code ||
			    !str_eq(words, str_z(rows[i].words)) ||
			    !str_eq(buf_view(&out), str_z(rows[i].lines)))
				fail_msg("%s, cut %d: code %d, words %.*s, lines %.*s",
				         rows[i].name, (int)cut, code, (int)words.n,
				         words.p, (int)out.n, out.n ? out.p : "");
		}
	}
}

/* A last line without end takes no memory, and what was kept of it still counts. */
static void test_long_answer(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct sm_answer a = { .done = false };
	struct str words;

	(void)state;
	assert_false(sm_answer_feed(&a, STR("75 "), &out));
	for (int i = 0; i < 100000; i++)
		assert_false(sm_answer_feed(&a, STR("xxxxxxxxxx"), &out));
	assert_true(sm_answer_feed(&a, STR("\n"), &out));
	assert_int_equal(sm_answer_code(&a, &words), 75);
	assert_int_equal(words.n, SM_LAST_MAX - 3);
	assert_int_equal(out.n, 0);
}

/* ---- a connection ---- */

struct line {
	struct sm_socket s;
	int peer;
};

static int setup(void **state)
{
	static struct line l;
	int pair[2];

	l = (struct line){ .s = SM_SOCKET_INIT, .peer = -1 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
		return -1;
	l.s.fd = pair[0];
	l.peer = pair[1];
	l.s.limit_ms = LONG_MS;
	*state = &l;
	return 0;
}

static int teardown(void **state)
{
	struct line *l = *state;

	sm_socket_close(&l->s);
	cleanup_fd(&l->peer);
	return 0;
}

static void say(const struct line *l, struct str words)
{
	assert_int_equal(io_write(l->peer, words.p, words.n), 0);
}

static void test_chunks(void **state)
{
	enum { MANY = SM_CHUNK_MAX + 5 };
	struct line *l = *state;
	_cleanup_buf_ struct buf data = BUF_INIT, want = BUF_INIT, got = BUF_INIT;
	int room = 4 * MANY;

	assert_int_equal(setsockopt(l->s.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)),
	                 0);
	for (int i = 0; i < MANY; i++)
		buf_c(&data, (char)(i * 7));
	assert_int_equal(sm_socket_chunks(&l->s, "x", 0), 0);
	assert_int_equal(sm_socket_chunks(&l->s, "\n", 1), 0);
	assert_int_equal(sm_socket_chunks(&l->s, data.p, data.n), 0);
	assert_int_equal(sm_socket_send(&l->s, "00000000\n", 9), 0);
	sm_socket_close(&l->s);
	buf_z(&want, "00000001\n\n00010000\n");
	buf_add(&want, data.p, SM_CHUNK_MAX);
	buf_z(&want, "00000005\n");
	buf_add(&want, data.p + SM_CHUNK_MAX, 5);
	buf_z(&want, "00000000\n");
	assert_int_equal(io_slurp(l->peer, &got, 4 * MANY), 0);
	assert_true(str_eq(buf_view(&got), buf_view(&want)));
}

static void test_answered(void **state)
{
	struct line *l = *state;
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct sm_answer a;
	struct str words;
	int out[2];

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	say(l, STR("\tone\n\ttwo\n0 two"));
	say(l, STR(" lines\n"));
	assert_int_equal(sm_socket_answer(&l->s, out[1], &a), 0);
	assert_int_equal(sm_answer_code(&a, &words), 0);
	assert_true(str_eq(words, STR("two lines")));
	close(out[1]);
	assert_int_equal(io_slurp(out[0], &text, 100), 0);
	assert_true(str_eq(buf_view(&text), STR("one\ntwo\n")));
	close(out[0]);
	/* Nobody reads the lines. */
	say(l, STR("\tone\n0 done\n"));
	assert_int_equal(sm_socket_answer(&l->s, -1, &a), 0);
	say(l, STR("\tone\n0 done\n"));
	assert_int_equal(sm_socket_answer(&l->s, l->peer + 100, &a), -EIO);
	assert_int_equal(a.output, -EBADF);
}

static void test_lost(void **state)
{
	struct line *l = *state;
	struct sm_answer a;

	say(l, STR("\tone\n0 do"));
	cleanup_fd(&l->peer);
	l->peer = -1;
	assert_int_equal(sm_socket_answer(&l->s, -1, &a), -ECONNRESET);
	/* Not SIGPIPE. */
	assert_int_equal(sm_socket_send(&l->s, "x", 1), -EPIPE);
}

/* A peer that ends the connection with a word: it is heard after the failure to send. */
static void test_refused(void **state)
{
	struct line *l = *state;
	struct sm_answer a;
	struct str words;

	assert_int_equal(sm_socket_send(&l->s, "unread", 6), 0);
	say(l, STR("75 too many connections\n"));
	cleanup_fd(&l->peer);
	l->peer = -1;
	assert_int_equal(sm_socket_send(&l->s, "x", 1), -EPIPE);
	assert_int_equal(sm_socket_answer(&l->s, -1, &a), 0);
	assert_int_equal(sm_answer_code(&a, &words), 75);
	assert_true(str_eq(words, STR("too many connections")));
}

/* Sends until that fails. */
static int fill(struct line *l)
{
	static const char block[SM_CHUNK_MAX];

	for (int i = 0; i < 10000; i++) {
		int e = sm_socket_chunks(&l->s, block, sizeof(block));

		if (e < 0)
			return e;
	}
	return 0;
}

static void test_silent(void **state)
{
	struct line *l = *state;
	struct sm_answer a;

	l->s.limit_ms = SHORT_MS;
	assert_int_equal(sm_socket_answer(&l->s, -1, &a), -ETIMEDOUT);
	say(l, STR("\tone\n0 do"));
	assert_int_equal(sm_socket_answer(&l->s, -1, &a), -ETIMEDOUT);
	assert_int_equal(fill(l), -ETIMEDOUT);
	/* It reads no more, but says why. */
	l->s.limit_ms = LONG_MS;
	say(l, STR("69 too large\n"));
	assert_int_equal(fill(l), -EPIPE);
	assert_int_equal(sm_socket_answer(&l->s, -1, &a), 0);
}

static void test_stopped(void **state)
{
	struct line *l = *state;
	struct sm_answer a;
	int stop[2];

	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	l->s.stop_fd = stop[0];
	assert_int_equal(write(stop[1], "x", 1), 1);
	assert_int_equal(sm_socket_send(&l->s, "x", 1), 0);
	assert_int_equal(fill(l), -ECANCELED);
	assert_int_equal(sm_socket_answer(&l->s, -1, &a), -ECANCELED);
	close(stop[0]);
	close(stop[1]);
}

/* ---- connecting ---- */

static int open_at(const char *spool, int64_t ms)
{
	struct sm_socket s = SM_SOCKET_INIT;
	int e;

	s.limit_ms = ms;
	e = sm_socket_open(&s, spool);
	assert_true((e == 0) == (s.fd >= 0));
	sm_socket_close(&s);
	return e;
}

static void test_open(void **state)
{
	char spool[] = "/tmp/mailchute-socket-XXXXXX";
	_cleanup_buf_ struct buf longest = BUF_INIT;
	struct sockaddr_un a;
	int fd, e = 0;

	(void)state;
	assert_int_equal(sm_socket_path(SPOOL_PATH, &a), 0);
	assert_string_equal(a.sun_path, SOCKET_PATH);
	for (size_t i = 0; i < sizeof(a.sun_path) - 1 - strlen("/socket"); i++)
		buf_c(&longest, 'x');
	assert_int_equal(sm_socket_path(longest.p, &a), 0);
	buf_c(&longest, 'x');
	assert_int_equal(sm_socket_path(longest.p, &a), -ENAMETOOLONG);
	assert_int_equal(open_at(longest.p, LONG_MS), -ENAMETOOLONG);

	assert_non_null(mkdtemp(spool));
	assert_int_equal(open_at("/nonexistent", LONG_MS), -ENOENT);
	assert_int_equal(open_at(spool, LONG_MS), -ENOENT);
	assert_int_equal(sm_socket_path(spool, &a), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(open_at(spool, LONG_MS), -ECONNREFUSED);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(open_at(spool, LONG_MS), 0);
	for (int i = 0; e == 0 && i < 10; i++)
		e = open_at(spool, SHORT_MS);
	assert_int_equal(e, -ETIMEDOUT); /* the backlog is full */
	if (geteuid() == 0) {
		assert_int_equal(chown(spool, 1, (gid_t)-1), 0);
		assert_int_equal(open_at(spool, LONG_MS), -EPERM);
	}
	close(fd);
	assert_int_equal(unlink(a.sun_path), 0);
	assert_int_equal(rmdir(spool), 0);
}

#define ON_LINE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_long_answer),
		ON_LINE(test_chunks),
		ON_LINE(test_answered),
		ON_LINE(test_lost),
		ON_LINE(test_refused),
		ON_LINE(test_silent),
		ON_LINE(test_stopped),
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
