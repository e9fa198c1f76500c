#include "inject/sm_args.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sysexits.h>

enum { WORDS_MAX = 16 };

/* Everything that was understood, in one line. */
static void show(struct buf *b, const struct sm_args *a)
{
	static const char *const mode[] = { [SM_SEND] = "send",
		                            [SM_ALIASES] = "aliases",
		                            [SM_VERIFY] = "verify",
		                            [SM_FLUSH] = "flush",
		                            [SM_LIST] = "list",
		                            [SM_SMTP] = "smtp",
		                            [SM_UNAVAILABLE] = "unavailable" };

	buf_z(b, mode[a->mode]);
	if (a->mode != SM_SEND)
		return;
	buf_z(b, a->take_from_header ? " t" : "");
	buf_z(b, a->dot_is_data ? " i" : "");
	if (a->has_sender)
		buf_fmt(b, " F<%.*s>", (int)a->sender.n, a->sender.n ? a->sender.p : "");
	if (a->full_name.n)
		buf_fmt(b, " N<%.*s>", (int)a->full_name.n, a->full_name.p);
	if (a->notify.n)
		buf_fmt(b, " NOTIFY=%s", a->notify.p);
	if (a->ret.n)
		buf_fmt(b, " RET=%s", a->ret.p);
	if (a->envid.n)
		buf_fmt(b, " ENVID=%s", a->envid.p);
	for (size_t i = 0; i < a->rcpts.n; i++) {
		struct str s = sm_rcpts_at(&a->rcpts, i);

		buf_fmt(b, " R<%.*s>", (int)s.n, s.p);
	}
}

struct row {
	const char *name;
	const char *argv[WORDS_MAX];
	const char *want;
};

static int parse(const char *const argv[], struct sm_args *a, struct buf *why)
{
	char *words[WORDS_MAX];
	int argc = 0, e;

	while (argc < WORDS_MAX && argv[argc]) {
		words[argc] = str_dup(str_z(argv[argc]));
		argc++;
	}
	e = sm_args_parse(argc, words, a, why);
	if (e == 0 && a->mode == SM_SEND) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		show(&b, a);
		buf_reset(why);
		buf_str(why, buf_view(&b));
	} else if (e == 0) {
		buf_reset(why);
		show(why, a);
	}
	while (argc > 0)
		free(words[--argc]);
	return e;
}

static void check(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct sm_args a;
		int e = parse(rows[i].argv, &a, &got);

		if (e != 0)
			fail_msg("%s: ends with %d: %s", rows[i].name, e, got.p);
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: want %s, got %s", rows[i].name, rows[i].want,
			         got.p);
		sm_args_free(&a);
	}
}

#define S "/usr/sbin/sendmail"

static void test_letters(void **state)
{
	static const struct row rows[] = {
		{ "recipients", { S, "a@x", "b@x" }, "send R<a@x> R<b@x>" },
		{ "a list in one", { S, "a@x,b@x" }, "send R<a@x> R<b@x>" },
		{ "a name", { S, "Bob <a@x>" }, "send R<a@x>" },
		{ "a comma in a name", { S, "\"Moe, B\" <a@x>" }, "send R<a@x>" },
		{ "a group", { S, "team: a@x, b@x;" }, "send R<a@x> R<b@x>" },
		{ "bare", { S, "root" }, "send R<root>" },
		{ "twice", { S, "a@x", "a@X", "A@x" }, "send R<a@x> R<A@x>" },
		{ "an empty one", { S, "", "a@x" }, "send R<a@x>" },
		{ "after --", { S, "--", "-a@x" }, "send R<-a@x>" },
		{ "-- among", { S, "a@x", "--", "-t" }, "send R<a@x> R<-t>" },
		{ "options after", { S, "a@x", "-i" }, "send i R<a@x>" },
		{ "-ti", { S, "-ti" }, "send t i" },
		{ "-it", { S, "-it" }, "send t i" },
		{ "-tif", { S, "-tifa@x" }, "send t i F<a@x>" },
		{ "-tif next", { S, "-tif", "a@x" }, "send t i F<a@x>" },
		{ "-o i", { S, "-o", "i", "-t" }, "send t i" },
		{ "-oi", { S, "-oi", "-t" }, "send t i" },
		{ "-oem is not -i", { S, "-oem", "-t" }, "send t" },
		{ "-f attached", { S, "-fa@x", "b" }, "send F<a@x> R<b>" },
		{ "-r", { S, "-r", "a@x", "b" }, "send F<a@x> R<b>" },
		{ "the last -f", { S, "-fa@x", "-f", "c@x", "b" }, "send F<c@x> R<b>" },
		{ "a bad one, then", { S, "-f@", "-f", "c@x", "b" }, "send F<c@x> R<b>" },
		{ "-f <>", { S, "-f", "<>", "b" }, "send F<> R<b>" },
		{ "-f<>", { S, "-f<>", "b" }, "send F<> R<b>" },
		{ "-f empty", { S, "-f", "", "b" }, "send F<> R<b>" },
		{ "-f empty, then",
		  { S, "-f", "", "-f", "a@x", "b" },
		  "send F<a@x> R<b>" },
		{ "-f name", { S, "-f", "Al B <a@x>", "b" }, "send F<a@x> R<b>" },
		{ "-f <a>", { S, "-f", "<a@x>", "b" }, "send F<a@x> R<b>" },
		{ "-f bare", { S, "-froot", "b" }, "send F<root> R<b>" },
		{ "-f an option", { S, "-f", "-oQ/tmp", "b" }, "send F<-oQ/tmp> R<b>" },
		{ "-f the next", { S, "-f", "--", "b" }, "send F<--> R<b>" },
		{ "-F", { S, "-FCronDaemon", "b" }, "send N<CronDaemon> R<b>" },
		{ "-F next", { S, "-F", "A B", "b" }, "send N<A B> R<b>" },
		{ "-F empty", { S, "-F", "", "b" }, "send R<b>" },
		{ "-N never", { S, "-N", "never", "b" }, "send NOTIFY=NEVER R<b>" },
		{ "-N list",
		  { S, "-Ndelay,failure", "b" },
		  "send NOTIFY=FAILURE,DELAY R<b>" },
		{ "-R -V",
		  { S, "-R", "hdrs", "-Vq+2B1", "b" },
		  "send RET=HDRS ENVID=q+2B1 R<b>" },
		{ "-Rfull", { S, "-RFull", "b" }, "send RET=FULL R<b>" },
		{ "-B attached", { S, "-B8BITMIME", "b" }, "send R<b>" },
		{ "-B next", { S, "-B", "8BITMIME", "b" }, "send R<b>" },
		{ "with values",
		  { S, "-Am", "-C", "/f", "-D", "/f", "-L", "tag", "-h", "3", "b" },
		  "send R<b>" },
		{ "more with values",
		  { S, "-M", "x", "-O", "A=b", "-p", "p", "-X", "/f", "-e", "m", "b" },
		  "send R<b>" },
		{ "without", { S, "-cGmnsTUv", "b" }, "send R<b>" },
		{ "-d attached", { S, "-d0.1", "b" }, "send R<b>" },
		{ "-d alone", { S, "-d", "b" }, "send R<b>" },
		{ "-bm", { S, "-bm", "b" }, "send R<b>" },
		{ "a dash", { S, "-" }, "send R<->" },
	};

	(void)state;
	check(rows, ARRAY_LEN(rows));
}

static void test_modes(void **state)
{
	static const struct row rows[] = {
		{ "-bi", { S, "-bi" }, "aliases" },
		{ "-I", { S, "-I" }, "aliases" },
		{ "-bv", { S, "-bv", "a@x" }, "verify" },
		{ "-bv -t", { S, "-i", "-t", "-bv" }, "verify" },
		{ "-bp", { S, "-bp" }, "list" },
		{ "-b p", { S, "-b", "p" }, "list" },
		{ "-bp -q", { S, "-bp", "-q" }, "list" },
		{ "-qRx -bp -v", { S, "-qRx", "-bp", "-v" }, "list" },
		{ "-bs", { S, "-bs" }, "smtp" },
		{ "-bs of pine", { S, "-bs", "-odb", "-oem" }, "smtp" },
		{ "-bS", { S, "-bS" }, "unavailable" },
		{ "-bt", { S, "-bt" }, "unavailable" },
		{ "-bd -q", { S, "-bd", "-q15m" }, "unavailable" },
		{ "-bD", { S, "-bD" }, "unavailable" },
		{ "-bh", { S, "-bh" }, "unavailable" },
		{ "-bH", { S, "-bH" }, "unavailable" },
		{ "-q", { S, "-q" }, "flush" },
		{ "-q is alone", { S, "-q", "-bi" }, "aliases" },
		{ "-q30m", { S, "-q30m" }, "flush" },
		{ "-qf", { S, "-qf" }, "flush" },
		{ "-qRhost", { S, "-qRhost", "-v" }, "flush" },
		{ "-qSme@x", { S, "-qSme@x" }, "flush" },
		{ "-qI", { S, "-qI0123" }, "flush" },
		{ "-qR, a word", { S, "-qR", "host" }, "flush" },
		{ "-q!R", { S, "-q!Rhost" }, "flush" },
		{ "-qG -qp", { S, "-qGgroup", "-qp30m" }, "flush" },
		{ "-q of ip-up", { S, "-v", "-q" }, "flush" },
		{ "-Q", { S, "-Q" }, "flush" },
		{ "-q a@x", { S, "-q", "a@x" }, "flush" },
		{ "mailq", { "mailq" }, "list" },
		{ "path of mailq", { "/usr/bin/mailq", "-v" }, "list" },
		{ "mailq -Ac -q", { "mailq", "-Ac", "-q" }, "list" },
		{ "mailq -bi", { "mailq", "-bi" }, "aliases" },
		{ "newaliases", { "/usr/bin/newaliases" }, "aliases" },
		{ "runq", { "runq" }, "flush" },
		{ "rmail", { "rmail", "a" }, "unavailable" },
		{ "send-mail", { "/usr/lib/send-mail", "a" }, "send R<a>" },
		{ "no name", { "", "a" }, "send R<a>" },
	};

	(void)state;
	check(rows, ARRAY_LEN(rows));
}

static void test_refused(void **state)
{
	static const struct row rows[] = {
		{ "nothing", { S }, "no recipients" },
		{ "only --", { S, "--" }, "no recipients" },
		{ "only empty", { S, "" }, "no recipients" },
		{ "empty group", { S, "x:;" }, "no recipients" },
		{ "no argv", { NULL }, "no recipients" },
		{ "letter", { S, "-Z", "a" }, "unknown option \"-Z\"" },
		{ "letter in a bundle", { S, "-tZ", "a" }, "unknown option \"-tZ\"" },
		{ "long option", { S, "--help" }, "unknown option \"--help\"" },
		{ "mode", { S, "-bz" }, "unknown mode -b \"z\"" },
		{ "no value", { S, "a", "-f" }, "no value after \"-f\"" },
		{ "no value in a bundle", { S, "-tif" }, "no value after \"-tif\"" },
		{ "no value, ignored", { S, "a", "-X" }, "no value after \"-X\"" },
		{ "two words", { S, "a b" }, "not a recipient: \"a b\"" },
		{ "no domain", { S, "a@" }, "not a recipient: \"a@\"" },
		{ "null recipient", { S, "<>" }, "not a recipient: \"<>\"" },
		{ "parameters",
		  { S, "a@b> SIZE=1 X=<y" },
		  "not a recipient: \"a@b> SIZE=1 X=<y\"" },
		{ "LF", { S, "a@x\nRb@x" }, "not a recipient: \"a@x\\x0aRb@x\"" },
		{ "LF in quotes",
		  { S, "\"a\nb\\\nc\"@x y" },
		  "not a recipient: \"\"a\\x0ab\\x5c\\x0ac\"@x y\"" },
		{ "control", { S, "a\x01@x" }, "not a recipient: \"a\\x01@x\"" },
		{ "one of a list",
		  { S, "a@x, b@, c@x" },
		  "not a recipient: \"a@x, b@, c@x\"" },
		{ "-f LF",
		  { S, "-fa@x\nRb@x", "a" },
		  "-f: not one address: \"a@x\\x0aRb@x\"" },
		{ "-f two", { S, "-fa@x,b@x", "a" }, "-f: not one address: \"a@x,b@x\"" },
		{ "-f comment", { S, "-f(x)", "a" }, "-f: not one address: \"(x)\"" },
		{ "-F LF", { S, "-FN\nRb@x", "a" }, "-F: not a name: \"N\\x0aRb@x\"" },
		{ "-F TAB", { S, "-FN\tb", "a" }, "-F: not a name: \"N\\x09b\"" },
		{ "-N",
		  { S, "-N", "no", "a" },
		  "-N: not never, success, failure or delay: \"no\"" },
		{ "-N never and",
		  { S, "-Nnever,delay", "a" },
		  "-N: not never, success, failure or delay: \"never,delay\"" },
		{ "-N empty",
		  { S, "-N", "", "a" },
		  "-N: not never, success, failure or delay: \"\"" },
		{ "-R", { S, "-Rx", "a" }, "-R: not full or hdrs: \"x\"" },
		{ "-V blank",
		  { S, "-V", "a b", "a" },
		  "-V: not an envelope id (RFC 3461 xtext): \"a b\"" },
		{ "-V plus",
		  { S, "-V", "a+2", "a" },
		  "-V: not an envelope id (RFC 3461 xtext): \"a+2\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct sm_args a;
		int e = parse(rows[i].argv, &a, &got);

		if (e != EX_USAGE)
			fail_msg("%s: ends with %d: %s", rows[i].name, e, got.p);
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: want %s, got %s", rows[i].name, rows[i].want,
			         got.p);
		sm_args_free(&a);
	}
}

/* No byte at any place of a value makes a line or an address of its own. */
static void test_every_byte(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		for (int at = 0; at < 4; at++) {
			_cleanup_buf_ struct buf why = BUF_INIT;
			char f[] = "-fa@x", r[] = "a@xy", n[] = "-Fname", s[] = S;
			char *argv[] = { s, f, n, r };
			struct sm_args a;

			f[2 + (at > 2 ? 2 : at)] = (char)c;
			n[2 + at] = (char)c;
			r[at] = (char)c;
			if (sm_args_parse(4, argv, &a, &why) == 0) {
				_cleanup_buf_ struct buf b = BUF_INIT;

				assert_true(a.sender.n == 0 ||
				            str_chr(buf_view(&a.sender), '\n') < 0);
				for (size_t i = 0; i < a.rcpts.n; i++)
					buf_str(&b, sm_rcpts_at(&a.rcpts, i));
				buf_str(&b, a.full_name);
				buf_str(&b, buf_view(&a.sender));
				if (!envelope_value_ok(buf_view(&b)))
					fail_msg("byte %d at %d: %s", c, at, b.p);
			}
			sm_args_free(&a);
		}
	}
}

static void test_many(void **state)
{
	_cleanup_buf_ struct buf list = BUF_INIT;
	struct sm_rcpts r = SM_RCPTS_INIT;
	struct str bad = STR("x");

	(void)state;
	for (int i = 0; i < ENVELOPE_RCPT_MAX; i++)
		buf_fmt(&list, "r%d@x,", i);
	assert_true(sm_rcpts_add(&r, buf_view(&list), &bad));
	assert_true(sm_rcpts_add(&r, buf_view(&list), &bad));
	assert_int_equal(r.n, ENVELOPE_RCPT_MAX);
	assert_true(str_eq(sm_rcpts_at(&r, 49999), STR("r49999@x")));
	assert_false(sm_rcpts_add(&r, STR("one-more@x"), &bad));
	assert_int_equal(bad.n, 0);
	sm_rcpts_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_letters), cmocka_unit_test(test_modes),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
