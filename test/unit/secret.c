/* The helper that runs password-command and token-command */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "push/secret.h"

/* want: the secret, or !why. */
static const struct row {
	const char *name, *command, *want, *words;
} rows[] = {
	{ "a line", "echo secret", "secret", "" },
	{ "no line end", "printf secret", "secret", "" },
	{ "blanks are part of it", "printf ' a b \\r\\n'", " a b ", "" },
	{ "two lines", "echo first; echo second", "first", "" },
	{ "words besides", "echo secret; echo 'be careful' >&2", "secret", "be careful" },
	{ "words of a terminal", "echo secret; printf '\\033[2Jx' >&2", "secret",
	  "\\x1b[2Jx" },
	{ "words show it", "echo open-sesame-7; echo 'got open-sesame-7.' >&2",
	  "open-sesame-7", "(its words repeat what it printed, and are not shown)" },
	{ "words show a part of it", "echo open-sesame-7; echo '{\"tok\":\"n-sesame' >&2",
	  "open-sesame-7", "(its words repeat what it printed, and are not shown)" },
	{ "words show it, and a status",
	  "echo a-secret; echo '+ echo a-secret' >&2; exit 3",
	  "!ended with status 3: (its words", NULL },
	{ "words show it in base64",
	  "echo open-sesame-7; echo 'got b3Blbi1zZXNhbWUtNw==' >&2", "open-sesame-7",
	  "(its words repeat what it printed, and are not shown)" },
	{ "words show it and more in base64",
	  "echo open-sesame-7; echo open-sesame-7 | base64 >&2", "open-sesame-7",
	  "(its words repeat what it printed, and are not shown)" },
	{ "its own login",
	  "echo tok; printf '> GET /\\n> authorization: Basic a-secret\\r\\n> ok\\n' >&2",
	  "tok", "> GET /\\x0a> ok (how it logs in is not shown)" },
	{ "its own login, as JSON",
	  "echo '{\"Authorization\": \"a-secret\"}' >&2; exit 3",
	  "!ended with status 3: (how it logs in", NULL },
	{ "authorization failed", "echo 'Authorization failed: x' >&2; exit 3",
	  "!ended with status 3: Authorization failed: x", NULL },
	{ "a trace, nothing printed", "set -x; T=a-secret; exit 3",
	  "!ended with status 3: (its words are a trace of sh -x", NULL },
	{ "a trace of what it does not print", "set -x; echo `echo secret >/dev/null`x",
	  "x", "(its words are a trace of sh -x, and are not shown)" },
	{ "words show its second line",
	  "printf '\\na-secret\\n'; echo a-secret >&2; exit 3",
	  "!ended with status 3: (its words repeat", NULL },
	{ "words with a plus", "echo secret; echo '+1 -1' >&2", "secret", "+1 -1" },
	{ "status", "echo secret; echo 'no such entry' >&2; exit 3",
	  "!ended with status 3: no such entry", NULL },
	{ "status alone", "echo secret; exit 3", "!ended with status 3", NULL },
	{ "signal", "kill -9 $$", "!was ended by signal 9", NULL },
	{ "nothing", "true", "!printed nothing", NULL },
	{ "an empty line", "echo; echo secret", "!printed nothing", NULL },
	{ "no such program", "/nonexistent/x", "!ended with status 127: ", NULL },
	{ "hangs", "set -x; T=a-secret; echo $T; sleep 100",
	  "!took longer than 1 s: (its words are not shown, as it did not end)", NULL },
	{ "hangs, deaf", "trap '' TERM; echo secret; sleep 100; sleep 100",
	  "!took longer than 1 s", NULL },
	{ "endless", "yes", "!printed more than 65536 octets", NULL },
	{ "endless words", "yes >&2", "!took longer than 1 s: (its words are ", NULL },
	{ "leaves somebody behind", "sleep 4 & echo secret", "secret", "" },
	{ "input is empty", "cat; echo secret", "secret", "" },
	{ "environment", "env | cut -d= -f1 | sort | tr '\\n' ' '", "HOME PATH PWD USER ",
	  "" },
	{ "folder", "pwd", "/", "" },
	{ "mask", "umask", "0077", "" },
};

static void test_commands(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *t = &rows[i];
		_cleanup_buf_ struct buf got = BUF_INIT, why = BUF_INIT;
		struct secret s = SECRET_INIT;
		int e;

		assert_int_equal(secret_start(&s, t->command, 1), 0);
		e = secret_get(&s, -1, &got, &why);
		if (e == 0 ? !str_eq(buf_view(&got), str_z(t->want)) ||
		                 !str_eq(buf_view(&why), str_z(t->words))
		           : t->want[0] != '!' || got.n ||
		                 !str_starts(buf_view(&why), str_z(t->want + 1)) ||
		                 strstr(why.p, "secret")) {
			bad++;
			fprintf(stderr, "%s: %d, %s, %s\n", t->name, e,
			        got.n ? got.p : "", why.n ? why.p : "");
		}
		secret_stop(&s);
	}
	assert_int_equal(bad, 0);
}

/* It is kept while it holds, and asked for anew when it does not, or is forgotten. */
static void test_holds(void **state)
{
	char file[] = "/tmp/secret.XXXXXX", command[200];
	_cleanup_buf_ struct buf got = BUF_INIT, why = BUF_INIT;
	struct secret s = SECRET_INIT;
	int fd = mkstemp(file);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	snprintf(command, sizeof(command), "echo x >>%s; wc -l <%s; echo expires=3600",
	         file, file);
	assert_false(secret_holds(&s));
	assert_int_equal(secret_start(&s, command, 5), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(secret_get(&s, -1, &got, &why), 0);
	assert_string_equal(got.p, "1");
	assert_true(secret_holds(&s));
	secret_forget(&s);
	assert_int_equal(secret_get(&s, -1, &got, &why), 0);
	assert_string_equal(got.p, "2");
	secret_stop(&s);
	/* What ends within the margin is good for one login. */
	snprintf(command, sizeof(command), "echo x >>%s; wc -l <%s; echo expires=10",
	         file, file);
	assert_int_equal(secret_start(&s, command, 5), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(secret_get(&s, -1, &got, &why), 0);
		usleep(5000);
	}
	assert_string_equal(got.p, "4");
	secret_stop(&s);
	unlink(file);
}

/* What a later run takes back: while it holds, of the same command, and nothing malformed. */
static void test_kept(void **state)
{
	static const char *const commands[] = { "echo a-token; echo expires=3600",
		                                "echo a-token",
		                                "echo a-token; echo expires=20" };
	_cleanup_buf_ struct buf got = BUF_INIT, why = BUF_INIT, word = BUF_INIT,
	                         none = BUF_INIT, other = BUF_INIT;
	struct secret s = SECRET_INIT, t = SECRET_INIT;

	(void)state;
	for (size_t i = ARRAY_LEN(commands); i-- > 0;) {
		buf_reset(&word);
		assert_int_equal(secret_start(&s, commands[i], 5), 0);
		assert_int_equal(secret_get(&s, -1, &got, &why), 0);
		secret_print(&s, buf_view(&got), &word);
		/* Only the first says how long it holds, and that is longer than the margin. */
		assert_int_equal(word.n > 0, i == 0);
		secret_stop(&s);
	}
	assert_null(strstr(word.p, "a-token"));
	for (size_t i = 0; i < word.n; i++)
		assert_true(word.p[i] > ' ' && word.p[i] <= '~' && word.p[i] != ';');
	assert_int_equal(secret_start(&t, "false", 5), 0);
	assert_false(secret_recall(&t, buf_view(&word), &got));
	assert_int_equal(secret_get(&t, -1, &got, &why), -EACCES);
	secret_stop(&t);
	assert_int_equal(secret_start(&t, commands[0], 5), 0);
	for (size_t n = 0; n < word.n - 16; n++)
		assert_false(secret_recall(&t, str_head(buf_view(&word), n), &got));
	buf_fmt(&other, "1%s", word.p); /* for ever */
	assert_false(secret_recall(&t, buf_view(&other), &got));
	buf_reset(&other);
	buf_fmt(&other, "1700000000%s", strchr(word.p, ':')); /* past */
	assert_false(secret_recall(&t, buf_view(&other), &got));
	assert_false(secret_holds(&t));
	assert_true(secret_recall(&t, buf_view(&word), &got));
	assert_string_equal(got.p, "a-token");
	assert_true(secret_holds(&t));
	secret_print(&t, buf_view(&got), &none);
	assert_string_equal(none.p, word.p);
	secret_forget(&t);
	buf_reset(&none);
	secret_print(&t, buf_view(&got), &none);
	assert_int_equal(none.n, 0);
	secret_stop(&t);
}

/* mailchuted leaves while the command runs; nobody waits for it. */
static void test_cancel(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT, why = BUF_INIT;
	struct secret s = SECRET_INIT;
	int64_t since = clock_ms();
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(secret_start(&s, "sleep 100", 20), 0);
	close(pair[1]);
	assert_int_equal(secret_get(&s, pair[0], &got, &why), -ECANCELED);
	secret_stop(&s);
	assert_true(clock_ms() - since < 2000);
	close(pair[0]);
	assert_int_equal(secret_get(&s, -1, &got, &why), -EPIPE);
}

/* Push is killed while the command runs (mailchuted's watchdog does that): neither the helper
 * nor what the command has started stays behind. */
static void test_killed(void **state)
{
	char file[] = "/tmp/secret.XXXXXX", command[200];
	_cleanup_buf_ struct buf text = BUF_INIT;
	int fd = mkstemp(file);
	uint64_t child = 0;
	pid_t push;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	snprintf(command, sizeof(command), "sleep 100 & echo $! >%s; wait; true", file);
	push = fork();
	if (push == 0) {
		_cleanup_buf_ struct buf got = BUF_INIT, why = BUF_INIT;
		struct secret s = SECRET_INIT;

		if (secret_start(&s, command, 20) == 0)
			secret_get(&s, -1, &got, &why);
		_exit(0);
	}
	for (int i = 0; i < 300 && text.n == 0; i++) {
		usleep(10000);
		buf_reset(&text);
		assert_int_equal(io_slurp_at(AT_FDCWD, file, &text, 100), 0);
	}
	assert_true(str_u64(str_trim(buf_view(&text)), &child) && child > 1);
	assert_int_equal(kill((pid_t)child, 0), 0);
	kill(push, SIGKILL);
	waitpid(push, NULL, 0);
	for (int i = 0; i < 200 && kill((pid_t)child, 0) == 0; i++)
		usleep(10000);
	if (kill((pid_t)child, 0) == 0) {
		kill((pid_t)child, SIGKILL);
		fail_msg("what the command started is still there");
	}
	unlink(file);
}

static const struct parse_row {
	const char *printed, *secret;
	uint64_t seconds;
} parses[] = {
	{ "", "", 7 },
	{ "a", "a", 7 },
	{ "a\r\n", "a", 7 },
	{ "a\nexpires=3600\n", "a", 3600 },
	{ "a\nx\n expires=3600\r\n", "a", 3600 },
	{ "a\nexpires=soon\n", "a", 7 },
	{ "a\nexpires=-1\nexpires=99999999999999999999\n", "a", 7 },
	{ "expires=3600\n", "expires=3600", 7 },
	{ "\n\n", "", 7 },
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parses); i++) {
		const struct parse_row *t = &parses[i];
		struct str s = STR_NONE;
		uint64_t seconds = 7;
		bool ok = secret_parse(str_z(t->printed), &s, &seconds);

		if (ok != (t->secret[0] != '\0') || !str_eq(s, str_z(t->secret)) ||
		    seconds != t->seconds)
			fail_msg("row %zu: %s", i, t->printed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands), cmocka_unit_test(test_holds),
		cmocka_unit_test(test_kept),     cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_killed),   cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
