#include "mail/envelope.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define HEAD "mailchute 1\nU0 root Root\nT1\nmailchute-drop 1\n"

static void read_golden(struct buf *b, const char *path)
{
	if (io_slurp_at(AT_FDCWD, path, b, 1 << 20) < 0)
		fail_msg("%s cannot be read (run from the top of the tree)", path);
}

static void check_eq(struct str got, const char *want)
{
	if (!str_eq(got, str_z(want)))
		fail_msg("want \"%s\", got \"%.*s\"", want, (int)got.n,
		         got.n ? got.p : "");
}

static void print_back(const struct envelope *e, struct buf *out)
{
	envelope_print_attested(out, e->uid, e->login, e->gecos, e->time);
	envelope_print_drop(out, e);
}

static void test_golden(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, drop = BUF_INIT, out = BUF_INIT;
	struct envelope e;
	size_t used;
	const char *why = "";

	(void)state;
	read_golden(&in, "test/golden/queue-file-1");
	read_golden(&drop, "test/golden/drop-1");
	assert_int_equal(envelope_parse(buf_view(&in), &e, &used, &why), 0);
	assert_int_equal(e.uid, 1000);
	check_eq(e.login, "eddy");
	check_eq(e.gecos, "Eddy Moe, J\xc3\xbcrgen");
	assert_int_equal(e.time, 1795312800);
	check_eq(e.client, "192.0.2.7");
	check_eq(e.hint, "eddy");
	check_eq(e.full_name, "Eddy Moe");
	check_eq(e.ret, "HDRS");
	check_eq(e.envid, "QQ314159+2B");
	assert_true(e.has_sender);
	check_eq(e.sender, "\"eddy moe\"@example.org");
	assert_int_equal(e.rcpts, 3);
	check_eq(e.rcpt[0].addr, "root");
	assert_int_equal(e.rcpt[0].notify.n + e.rcpt[0].orcpt.n, 0);
	check_eq(e.rcpt[1].notify, "SUCCESS,DELAY");
	check_eq(e.rcpt[1].orcpt, "rfc822;bob+2Bx@example.net");
	check_eq(e.rcpt[2].notify, "NEVER");
	check_eq(str_from(buf_view(&in), used), "Subject: golden\n\nhello\n");
	print_back(&e, &out);
	check_eq(buf_view(&out), (in.p[used] = '\0', in.p));
	buf_reset(&out);
	envelope_print_drop(&out, &e);
	buf_z(&out, "Subject: golden\n\nhello\n");
	check_eq(buf_view(&out), drop.p);
	envelope_free(&e);
}

/* A queue file that says in which groups the submitter is. */
static void test_golden_groups(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;
	struct envelope e;
	size_t used;
	const char *why = "";

	(void)state;
	read_golden(&in, "test/golden/queue-file-1-groups");
	assert_int_equal(envelope_parse(buf_view(&in), &e, &used, &why), 0);
	check_eq(e.login, "eddy");
	check_eq(e.groups, "staff,domain users,www-data");
	check_eq(str_from(buf_view(&in), used), "Subject: golden\n\nhello\n");
	envelope_print_submitter(&out, e.uid, e.login, e.gecos, e.groups, e.time);
	envelope_print_drop(&out, &e);
	in.p[used] = '\0';
	check_eq(buf_view(&out), in.p);
	envelope_free(&e);
}

/* What cannot stand in the line is left out as a whole. */
static void test_groups(void **state)
{
	_cleanup_buf_ struct buf many = BUF_INIT;

	(void)state;
	assert_true(envelope_groups_ok(STR("a")));
	assert_true(envelope_groups_ok(STR("a,b")));
	assert_false(envelope_groups_ok(STR("")));
	assert_false(envelope_groups_ok(STR(",a")));
	assert_false(envelope_groups_ok(STR("a,")));
	assert_false(envelope_groups_ok(STR("a,,b")));
	assert_false(envelope_groups_ok(STR("a\nRx")));
	while (many.n <= ENVELOPE_GROUPS_MAX)
		buf_c(&many, 'g');
	assert_false(envelope_groups_ok(buf_view(&many)));
	buf_cut(&many, ENVELOPE_GROUPS_MAX);
	assert_true(envelope_groups_ok(buf_view(&many)));
	buf_reset(&many);
	envelope_print_submitter(&many, 1, STR("a"), STR(""), STR("x\nRx"), 2);
	check_eq(buf_view(&many), "mailchute 1\nU1 a\nT2\n");
}

/* Every beginning says "more"; every changed byte gives a legal envelope or a reason. */
static void test_damage(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT;
	struct envelope e;
	size_t used, whole, good = 0;
	const char *why;

	(void)state;
	read_golden(&in, "test/golden/queue-file-1");
	assert_int_equal(envelope_parse(buf_view(&in), &e, &whole, &why), 0);
	envelope_free(&e);
	for (size_t n = 0; n < whole; n++)
		assert_int_equal(
		    envelope_parse(str_head(buf_view(&in), n), &e, &used, &why), -EAGAIN);
	for (size_t i = 0; i < whole; i++) {
		char c = in.p[i];

		for (int x = 0; x < 256; x++) {
			_cleanup_buf_ struct buf out = BUF_INIT;
			int r;

			in.p[i] = (char)x;
			why = NULL;
			r = envelope_parse(buf_view(&in), &e, &used, &why);
			if (r == -EBADMSG)
				assert_non_null(why);
			if (r != 0)
				continue;
			good++;
			/* There is one way to write a drop's lines. */
			envelope_print_drop(&out, &e);
			if (out.n >= used ||
			    !str_eq(
			        buf_view(&out),
			        str_from(str_head(buf_view(&in), used), used - out.n)))
				fail_msg("byte %zu as %d", i, x);
			envelope_free(&e);
		}
		in.p[i] = c;
	}
	assert_true(good > whole);
}

static void test_parse(void **state)
{
	static const struct {
		const char *name, *in;
		int want;
	} rows[] = {
		{ "least", HEAD "Ra@b\n\n", 0 },
		{ "null sender", HEAD "F\nRa\n\n", 0 },
		{ "no full name", "mailchute 1\nU1 a\nT1\nmailchute-drop 1\nRa\n\n", 0 },
		{ "empty full name", "mailchute 1\nU1 a \nT1\nmailchute-drop 1\nRa\n\n",
		  0 },
		{ "no login", "mailchute 1\nU1 - x y\nT-5\nmailchute-drop 1\nRa\n\n", 0 },
		{ "only ret", HEAD "DRET=FULL\nRa\n\n", 0 },
		{ "only envid", HEAD "DENVID=x\nRa\n\n", 0 },
		{ "notify", HEAD "Ra\tNOTIFY=FAILURE\n\n", 0 },
		{ "orcpt", HEAD "Ra\tORCPT=rfc822;a\n\n", 0 },
		{ "empty", "", -EAGAIN },
		{ "part of a line", "mailch", -EAGAIN },
		{ "no empty line", HEAD "Ra@b\n", -EAGAIN },
		{ "other file", "hello", -EBADMSG },
		{ "version 2", "mailchute 2\n", -EBADMSG },
		{ "version 10", "mailchute 10", -EBADMSG },
		{ "crlf", "mailchute 1\r\n", -EBADMSG },
		{ "drop version", "mailchute 1\nU0 -\nT1\nmailchute-drop 2\nRa\n\n",
		  -EBADMSG },
		{ "a drop", "mailchute-drop 1\nRa\n\n", -EBADMSG },
		{ "no U", "mailchute 1\nT1\nmailchute-drop 1\nRa\n\n", -EBADMSG },
		{ "no T", "mailchute 1\nU0 -\nmailchute-drop 1\nRa\n\n", -EBADMSG },
		{ "U without login", "mailchute 1\nU0\nT1\nmailchute-drop 1\nRa\n\n",
		  -EBADMSG },
		{ "U empty login", "mailchute 1\nU0 \nT1\nmailchute-drop 1\nRa\n\n",
		  -EBADMSG },
		{ "U zeros", "mailchute 1\nU007 a\nT1\nmailchute-drop 1\nRa\n\n",
		  -EBADMSG },
		{ "U too big", "mailchute 1\nU4294967296 a\nT1\nx\n", -EBADMSG },
		{ "U no number", "mailchute 1\nU-1 a\nT1\nx\n", -EBADMSG },
		{ "U with TAB", "mailchute 1\nU1 a\tb\nT1\nx\n", -EBADMSG },
		{ "T no number", "mailchute 1\nU1 a\nT1x\nmailchute-drop 1\nRa\n\n",
		  -EBADMSG },
		{ "T empty", "mailchute 1\nU1 a\nT\nmailchute-drop 1\nRa\n\n", -EBADMSG },
		{ "no recipient", HEAD "Fa\n\n", -EBADMSG },
		{ "order", HEAD "Ra\nFa\n\n", -EBADMSG },
		{ "order of C and L", HEAD "La\nCb\nRa\n\n", -EBADMSG },
		{ "twice", HEAD "Fa\nFb\nRa\n\n", -EBADMSG },
		{ "groups", "mailchute 1\nU1 a\nGx,y z\nT1\nmailchute-drop 1\nRa\n\n",
		  0 },
		{ "no groups", "mailchute 1\nU1 a\nG\nT1\nmailchute-drop 1\nRa\n\n",
		  -EBADMSG },
		{ "empty group", "mailchute 1\nU1 a\nGx,\nT1\nmailchute-drop 1\nRa\n\n",
		  -EBADMSG },
		{ "groups twice",
		  "mailchute 1\nU1 a\nGx\nGy\nT1\nmailchute-drop 1\nRa\n\n", -EBADMSG },
		{ "groups behind T",
		  "mailchute 1\nU1 a\nT1\nGx\nmailchute-drop 1\nRa\n\n", -EBADMSG },
		{ "groups of the drop", HEAD "Groot\nRa\n\n", -EBADMSG },
		{ "groups in front of the drop's name",
		  "mailchute 1\nU1 a\nT1\nmailchute-drop 1\nFx\nGroot\nRa\n\n",
		  -EBADMSG },
		{ "second U", HEAD "U0 root\nRa\n\n", -EBADMSG },
		{ "unknown letter", HEAD "Xa\nRa\n\n", -EBADMSG },
		{ "empty name", HEAD "N\nRa\n\n", -EBADMSG },
		{ "TAB in name", HEAD "Na\tb\nRa\n\n", -EBADMSG },
		{ "control in name", HEAD "Na\x01\nRa\n\n", -EBADMSG },
		{ "del in name", HEAD "Na\x7f\nRa\n\n", -EBADMSG },
		{ "cr", HEAD "Ra\r\n\r\n", -EBADMSG },
		{ "bad sender", HEAD "Fa b\nRa\n\n", -EBADMSG },
		{ "angle sender", HEAD "F<>\nRa\n\n", -EBADMSG },
		{ "bad recipient", HEAD "Ra>b\n\n", -EBADMSG },
		{ "empty recipient", HEAD "R\n\n", -EBADMSG },
		{ "D empty", HEAD "D\nRa\n\n", -EBADMSG },
		{ "D order", HEAD "DENVID=x\tRET=FULL\nRa\n\n", -EBADMSG },
		{ "D word", HEAD "DRET=full\nRa\n\n", -EBADMSG },
		{ "D xtext", HEAD "DENVID=a=b\nRa\n\n", -EBADMSG },
		{ "D plus", HEAD "DENVID=a+2\nRa\n\n", -EBADMSG },
		{ "D lower hex", HEAD "DENVID=a+2b\nRa\n\n", -EBADMSG },
		{ "D more", HEAD "DRET=FULL\t\nRa\n\n", -EBADMSG },
		{ "R more", HEAD "Ra\tX=1\n\n", -EBADMSG },
		{ "R order", HEAD "Ra\tORCPT=rfc822;a\tNOTIFY=NEVER\n\n", -EBADMSG },
		{ "R trailing TAB", HEAD "Ra\t\n\n", -EBADMSG },
		{ "notify empty", HEAD "Ra\tNOTIFY=\n\n", -EBADMSG },
		{ "notify twice", HEAD "Ra\tNOTIFY=DELAY,DELAY\n\n", -EBADMSG },
		{ "notify never and", HEAD "Ra\tNOTIFY=NEVER,DELAY\n\n", -EBADMSG },
		{ "notify comma", HEAD "Ra\tNOTIFY=DELAY,\n\n", -EBADMSG },
		{ "orcpt type", HEAD "Ra\tORCPT=;a\n\n", -EBADMSG },
		{ "orcpt bare", HEAD "Ra\tORCPT=a\n\n", -EBADMSG },
		{ "orcpt blank", HEAD "Ra\tORCPT=rfc822;a b\n\n", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct envelope e;
		size_t used = 0;
		const char *why = NULL;
		int r = envelope_parse(str_z(rows[i].in), &e, &used, &why);

		if (r != rows[i].want || (r == -EBADMSG && !why))
			fail_msg("%s: got %d (%s)", rows[i].name, r, why ? why : "");
		if (r == 0) {
			assert_int_equal(used, strlen(rows[i].in));
			envelope_free(&e);
		}
	}
}

static void test_time(void **state)
{
	static const struct {
		const char *in;
		int64_t want;
	} rows[] = {
		{ "0", 0 },
		{ "-62135596800", 0 },
		{ "253402300799", ENVELOPE_TIME_MAX },
		{ "253402300800", ENVELOPE_TIME_MAX },
		{ "9223372036854775807", ENVELOPE_TIME_MAX },
		{ "-9223372036854775808", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct envelope e;
		size_t used;
		const char *why = "";

		buf_fmt(&b, "mailchute 1\nU0 -\nT%s\nmailchute-drop 1\nRa\n\n",
		        rows[i].in);
		if (envelope_parse(buf_view(&b), &e, &used, &why) ||
		    e.time != rows[i].want)
			fail_msg("%s %s", rows[i].in, why);
		envelope_free(&e);
	}
}

static void test_limits(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct envelope e;
	size_t used;
	const char *why;

	(void)state;
	buf_z(&b, HEAD);
	for (size_t i = 0; i < ENVELOPE_RCPT_MAX; i++)
		buf_fmt(&b, "Ra%zu\n", i);
	buf_c(&b, '\n');
	assert_int_equal(envelope_parse(buf_view(&b), &e, &used, &why), 0);
	assert_int_equal(e.rcpts, ENVELOPE_RCPT_MAX);
	envelope_free(&e);
	buf_cut(&b, b.n - 1);
	buf_z(&b, "Rx\n\n");
	assert_int_equal(envelope_parse(buf_view(&b), &e, &used, &why), -EBADMSG);
	buf_reset(&b);
	buf_z(&b, HEAD "N");
	while (b.n < ENVELOPE_MAX - 1)
		buf_z(&b, "x");
	assert_int_equal(envelope_parse(buf_view(&b), &e, &used, &why), -EAGAIN);
	buf_z(&b, "x");
	assert_int_equal(envelope_parse(buf_view(&b), &e, &used, &why), -EBADMSG);
}

/* Whatever NSS says, the attested lines parse and are only theirs. */
static void test_attested(void **state)
{
	const struct {
		struct str login, gecos;
		const char *want_login, *want_gecos;
	} rows[] = {
		{ STR("eddy"), STR("Eddy Moe"), "eddy", "Eddy Moe" },
		{ STR(""), STR(""), "", "" },
		{ STR("a b"), STR("x\nRevil@x\n"), "", "x Revil@x" },
		{ STR("a\nRx"), STR("x\0\ty"), "", "x  y" },
		{ STR("CORP\\eddy"), STR(" x "), "CORP\\eddy", "x" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct envelope e;
		size_t used;
		const char *why;

		envelope_print_attested(&b, 7, rows[i].login, rows[i].gecos, 9);
		buf_z(&b, "mailchute-drop 1\nRa\n\n");
		assert_int_equal(envelope_parse(buf_view(&b), &e, &used, &why), 0);
		check_eq(e.login, rows[i].want_login);
		check_eq(e.gecos, rows[i].want_gecos);
		assert_int_equal(e.uid, 7);
		assert_int_equal(e.rcpts, 1);
		envelope_free(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),        cmocka_unit_test(test_damage),
		cmocka_unit_test(test_golden_groups), cmocka_unit_test(test_groups),
		cmocka_unit_test(test_parse),         cmocka_unit_test(test_time),
		cmocka_unit_test(test_limits),        cmocka_unit_test(test_attested),
	};

	return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}
