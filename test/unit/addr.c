#include "mail/addr.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* What a walk gives, in one line: for each mailbox "plain|phrase|comment", ";" between,
 * "!" at the end when something was bad. */
static void walk(struct buf *b, struct str text)
{
	struct addr_list l;
	struct addr a;

	addr_list_start(&l, text);
	while (addr_list_next(&l, &a)) {
		if (b->n)
			buf_c(b, ';');
		if (a.angled && a.spec.n == 0)
			buf_z(b, "<>");
		addr_plain(b, &a);
		buf_c(b, '|');
		buf_str(b, a.phrase);
		buf_c(b, '|');
		buf_str(b, a.comment);
	}
	if (l.bad)
		buf_c(b, '!');
}

static void check_row(const char *name, const char *want, struct buf *got)
{
	if (!str_eq(buf_view(got), str_z(want)))
		fail_msg("%s: want %s, got %.*s", name, want, (int)got->n,
		         got->n ? got->p : "");
}

static void test_list(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "bare", "root", "root||" },
		{ "plain", "a@b.c", "a@b.c||" },
		{ "angled", "<a@b>", "a@b||" },
		{ "name", "Eddy D. Moe <a@b>", "a@b|Eddy D. Moe|" },
		{ "quoted name", "\"Moe, Eddy\" <a@b>, c@d", "a@b|\"Moe, Eddy\"|;c@d||" },
		{ "quoted escape", "\"a\\\"b, \" <a@b>", "a@b|\"a\\\"b, \"|" },
		{ "comment", "root (Cron Daemon)", "root||Cron Daemon" },
		{ "nested comment", "root (a (b, c) d)", "root||a (b, c) d" },
		{ "comment escape", "root (a \\) b)", "root||a \\) b" },
		{ "comment in front", "(x, y) a@b", "a@b||x, y" },
		{ "comments inside", "a (1) . b @ (2) c . d", "a.b@c.d||2" },
		{ "only a comment", "(nobody)", "" },
		{ "group", "Team: a@b, \"x\" <c@d>;, e@f", "a@b||;c@d|\"x\"|;e@f||" },
		{ "empty group", "undisclosed-recipients:;", "" },
		{ "group then more", "A: a@b; c@d", "a@b||;c@d||" },
		{ "semicolons", "a@b; c@d", "a@b||;c@d||" },
		{ "empty members", ", a@b,, ,c@d,", "a@b||;c@d||" },
		{ "empty", "", "" },
		{ "folded", "Eddy\r\n Moe\n\t<a@b>,\n c@d\n", "a@b|Eddy\r\n Moe|;c@d||" },
		{ "route", "<@x,@y.z:a@b>", "a@b||" },
		{ "null", "<>", "<>||" },
		{ "null with blanks", "< >", "<>||" },
		{ "bare in angles", "Root <root>", "root|Root|" },
		{ "quoted local", "\"a b\"@c", "\"a b\"@c||" },
		{ "needless quotes", "\"a.b\"@c", "a.b@c||" },
		{ "quoted at", "\"a@b\"@c", "\"a@b\"@c||" },
		{ "quoted word in words", "a.\"b c\".d@e", "\"a.b c.d\"@e||" },
		{ "empty quotes", "\"\"@c", "\"\"@c||" },
		{ "two dots", "a..b@c", "\"a..b\"@c||" },
		{ "last dot", "a.@c", "\"a.\"@c||" },
		{ "root dot", "a@c.org.", "a@c.org||" },
		{ "literal", "a@[192.0.2.1]", "a@[192.0.2.1]||" },
		{ "literal v6", "<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]||" },
		{ "8 bit", "J\xc3\xbcrgen <j\xc3\xbc@b>", "j\xc3\xbc@b|J\xc3\xbcrgen|" },
		{ "encoded word", "=?utf-8?q?J=C3=BC?= <a@b>",
		  "a@b|=?utf-8?q?J=C3=BC?=|" },
		{ "brackets in name", "[list] x@y (z) <a@b>", "a@b|[list] x@y|z" },
		{ "backslash", "\\root", "root||" },
		{ "backslash in domain", "a@\\., d", "d||!" },
		{ "unclosed comment", "root (Cron Daemon", "!" },
		{ "unclosed quotes", "\"Eddy <a@b>, c@d", "!" },
		{ "unclosed angle", "<a@b, c@d", "c@d||!" },
		{ "words", "John Smith, a@b", "a@b||!" },
		{ "words behind", "<a@b> x, c@d", "c@d||!" },
		{ "double angle", "<<a@b>>, c@d", "c@d||!" },
		{ "two at", "a@b@c, d", "d||!" },
		{ "no local", "@c, d", "d||!" },
		{ "no domain", "a@, d", "d||!" },
		{ "stray bracket", "a], d", "d||!" },
		{ "no v6 outside brackets", "a@::1, d", "d||!" },
		{ "mailto", "mailto:a@b", "a@b||" },
		{ "colon alone", ": a@b, c", "c||!" },
		{ "unclosed literal", "a@[1.2, d", "d||!" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;

		walk(&got, str_z(rows[i].in));
		check_row(rows[i].name, rows[i].want, &got);
	}
}

static void test_spans(void **state)
{
	struct str in = STR(" Team: (x) \"Moe\" <@r:a@b> (y) , c (q) ;");
	struct addr_list l;
	struct addr a;

	(void)state;
	addr_list_start(&l, in);
	assert_true(addr_list_next(&l, &a));
	assert_true(str_eq(a.whole, STR("(x) \"Moe\" <@r:a@b> (y)")));
	assert_true(str_eq(a.spec, STR("@r:a@b")));
	assert_true(str_eq(a.local, STR("a")));
	assert_true(str_eq(a.domain, STR("b")));
	assert_true(a.angled);
	assert_true(addr_list_next(&l, &a));
	assert_true(str_eq(a.whole, STR("c (q)")));
	assert_true(str_eq(a.spec, STR("c")));
	assert_false(a.angled);
	assert_false(addr_list_next(&l, &a));
	assert_false(l.bad);
}

static void test_depth(void **state)
{
	(void)state;
	for (size_t depth = ADDR_DEPTH_MAX - 1; depth < ADDR_DEPTH_MAX + 2; depth++) {
		_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT;

		buf_z(&in, "a@b ");
		for (size_t i = 0; i < depth; i++)
			buf_c(&in, '(');
		for (size_t i = 0; i < depth; i++)
			buf_c(&in, ')');
		walk(&got, buf_view(&in));
		assert_int_equal(got.p[got.n - 1] == '!', depth > ADDR_DEPTH_MAX);
	}
}

/* A megabyte of the openings that a parser could go back for. */
static void test_linear(void **state)
{
	static const char *const units[] = {
		"<,", "[,", "(,", "\",", "a:", "<@",   "<@,",
		"[",  "<",  "a ", ";",   "a<", "<a@[", "\\"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT;

		while (in.n < (1 << 20))
			buf_z(&in, units[i]);
		walk(&got, buf_view(&in));
	}
}

static void test_envelope(void **state)
{
	static const struct {
		const char *in;
		bool want;
	} rows[] = {
		{ "a@b", true },
		{ "root", true },
		{ "a.b+c%d@b-c_d.e", true },
		{ "\"a b\"@c", true },
		{ "\"a@b\"@c", true },
		{ "\"a\\\"b\"@c", true },
		{ "\"a>b\"@c", true },
		{ "a@[IPv6:::1]", true },
		{ "-x@b", true },
		{ "j\xc3\xbc@b\xc3\xbc", true },
		{ "a.\"b c\"@d", true },
		{ "\"a\".b@d", true },
		{ "\"\"@b", true },
		{ "", false },
		{ "@b", false },
		{ "a@", false },
		{ "@", false },
		{ "a b@c", false },
		{ "a@b c", false },
		{ "a@b\n", false },
		{ "a\x01@b", false },
		{ "a\x7f@b", false },
		{ "\"a\n\"@b", false },
		{ "a@b> SIZE=1", false },
		{ "<a@b>", false },
		{ "a<b@c", false },
		{ "a,b@c", false },
		{ "a(b)@c", false },
		{ "a;b@c", false },
		{ "\"a@b", false },
		{ "a\"b\"@c", false },
		{ "\"a\"b@c", false },
		{ "a\\b@c", false },
		{ "\"a\\\"@c", false },
		{ "a@b/c", false },
		{ "a@\"b\"", false },
		{ "a@b,c", false },
		{ "a@b(c)", false },
		{ "\"", false },
		{ "\"a\" @b", false },
	};
	_cleanup_buf_ struct buf b = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (addr_envelope_ok(str_z(rows[i].in)) != rows[i].want)
			fail_msg("%s: want %d", rows[i].in, rows[i].want);
	assert_false(addr_envelope_ok((struct str){ "a\0@b", 4 }));
	assert_false(addr_envelope_ok((struct str){ "a@b\0", 4 }));
	for (size_t i = 0; i < ADDR_LENGTH_MAX; i++)
		buf_c(&b, 'a');
	assert_true(addr_envelope_ok(buf_view(&b)));
	buf_c(&b, 'a');
	assert_false(addr_envelope_ok(buf_view(&b)));
}

/* Every byte at every place of an address: accepted ones cannot end the SMTP path. */
static void test_envelope_bytes(void **state)
{
	static const char base[] = "ab@cd.e";

	(void)state;
	for (size_t at = 0; at < sizeof(base) - 1; at++) {
		for (int c = 0; c < 256; c++) {
			char a[sizeof(base)];

			memcpy(a, base, sizeof(base));
			a[at] = (char)c;
			if (addr_envelope_ok((struct str){ a, sizeof(base) - 1 }) &&
			    (c <= 0x20 || c == 0x7f || strchr("<>\\\"(),;", c)))
				fail_msg("byte %d at %zu", c, at);
		}
	}
}

static void test_split(void **state)
{
	static const struct {
		const char *in, *local, *domain;
	} rows[] = {
		{ "a@b", "a", "b" },
		{ "root", "root", "" },
		{ "\"a@b\"@c", "\"a@b\"", "c" },
		{ "\"a@b\"", "\"a@b\"", "" },
		{ "a@b@c", "a@b", "c" },
	};
	struct str local, domain;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		addr_split(str_z(rows[i].in), &local, &domain);
		if (!str_eq(local, str_z(rows[i].local)) ||
		    !str_eq(domain, str_z(rows[i].domain)))
			fail_msg("%s", rows[i].in);
	}
}

static void test_glob(void **state)
{
	static const struct {
		const char *pattern, *in;
		bool want;
	} rows[] = {
		{ "*", "", true },
		{ "*", "a@b", true },
		{ "", "", true },
		{ "", "a", false },
		{ "root@*", "ROOT@box", true },
		{ "root@*", "rooty@box", false },
		{ "*@*.lan", "a@b.LAN", true },
		{ "*@*.lan", "a@lan", false },
		{ "?@b", "a@b", true },
		{ "?@b", "aa@b", false },
		{ "a*b*c", "abxbxc", true },
		{ "a*b*c", "abxbx", false },
		{ "a**", "a", true },
		{ "a?", "a", false },
	};
	_cleanup_buf_ struct buf p = BUF_INIT, a = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (addr_glob(str_z(rows[i].pattern), str_z(rows[i].in)) != rows[i].want)
			fail_msg("%s %s: want %d", rows[i].pattern, rows[i].in,
			         rows[i].want);
	for (size_t i = 0; i < 1000; i++) {
		buf_z(&p, "*a");
		buf_c(&a, 'a');
	}
	buf_c(&p, 'b');
	assert_false(addr_glob(buf_view(&p), buf_view(&a)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),     cmocka_unit_test(test_spans),
		cmocka_unit_test(test_depth),    cmocka_unit_test(test_linear),
		cmocka_unit_test(test_envelope), cmocka_unit_test(test_envelope_bytes),
		cmocka_unit_test(test_split),    cmocka_unit_test(test_glob),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
