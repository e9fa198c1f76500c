#include "props.h"
#include <time.h>
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
		{ "unclosed comment behind", "a@b, root (Cron Daemon", "a@b||!" },
		{ "unclosed quotes", "\"Eddy <a@b>, c@d", "!" },
		{ "unclosed angle", "<a@b, c@d", "a@b||;c@d||!" },
		{ "unclosed angle at the end", "Eddy <a@b", "a@b|Eddy|!" },
		{ "unclosed angle, comment", "E <a@b (x), c@d", "a@b|E|;c@d||!" },
		{ "unclosed angle, route", "<@x,@y:a@b", "a@b||!" },
		{ "unclosed angle, bare", "<root, c@d", "c@d||!" },
		{ "unclosed angle, nothing", "<, c@d", "c@d||!" },
		{ "route with empty members", "<,,@x,,@y:a@b>, c", "a@b||;c||" },
		{ "route with comments", "<(1),(2)@x(3),@y(4):a@b>", "a@b||" },
		{ "comma in an encoded word", "=?utf-8?Q?Moe,_Eddy?= <a@b>, c@d",
		  "a@b|=?utf-8?Q?Moe,_Eddy?=|;c@d||" },
		{ "colon in an encoded word", "=?utf-8?Q?a:b?= <a@b>",
		  "a@b|=?utf-8?Q?a:b?=|" },
		{ "address in an encoded word", "=?utf-8?Q?c@d?= x <a@b>",
		  "a@b|=?utf-8?Q?c@d?= x|" },
		{ "no encoded word by another address", "=?u?Q?a,b,c?=, d@e",
		  "\"=?u?Q?a,b,c?=\"||;d@e||" },
		{ "nor by one with a domain", "=?u?Q?a,b@c,d?=, e@f",
		  "=?u?Q?a||;b@c||;d?=||;e@f||" },
		{ "parentheses in an encoded word", "=?utf-8?Q?(c)?= <a@b>",
		  "a@b|=?utf-8?Q?(c)?=|" },
		{ "not an encoded word", "=?utf-8?Q?a,b c?= <a@b>",
		  "=?utf-8?Q?a||;a@b|b c?=|" },
		{ "encoded word that goes on", "=?u?q?a,b?=c@d", "=?u?q?a||;b?=c@d||" },
		{ "encoded local part", "=?u?q?a?=@d", "=?u?q?a?=@d||" },
		{ "quoted pair in a literal", "a@[1\\]2], d", "a@[1]2]||;d||" },
		{ "obs-phrase", "John Q. Public, Jr. <a@b>", "a@b|Jr.|!" },
		{ "raw latin-1", "J\xfcrgen <a@b>", "a@b|J\xfcrgen|" },
		{ "at in a name", "a@b <c@d>", "c@d|a@b|" },
		{ "empty groups", "a:;, b: , ;, c:(x);, d@e", "d@e||" },
		{ "folded quotes", "\"a\r\n b\"\r\n <a@b>", "a@b|\"a\r\n b\"|" },
		{ "blanks in an address", "< a . b @ c . d >", "a.b@c.d||" },
		{ "percent", "a%b@c, d!e!f", "a%b@c||;d!e!f||" },
		{ "trailing commas", "a@b,,,", "a@b||" },
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

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* A megabyte of the openings that a parser could go back for, each in less than 100 ms
 * (sanitizers make it slower). */
static void test_linear(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	const double most = 2000;
#else
	const double most = 100;
#endif
	static const char *const units[] = {
		"<,",
		"[,",
		"(,",
		"\",",
		"a:",
		"<@",
		"<@,",
		"[",
		"<",
		"a ",
		";",
		"a<",
		"<a@[",
		"\\",
		"((((((((((((((((",
		"(()",
		"()",
		"\"\"",
		"\"\\\"",
		"@",
		".",
		",",
		"<a@b",
		"<a@b,",
		"<a@b>,",
		"x <a@b> (c), ",
		"a@b ",
		"=?",
		"=?,",
		"=?u?q?",
		"=?u?q?,",
		"=?u?q?a?= ",
		"<,,",
		"<,(",
		"<(),",
		"<@a,",
		"a(b)",
		"[\\",
		"g:a@b;",
		"\r\n ",
		"\xc3",
		"a.",
		"<a@b (",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT;
		struct addr_list l;
		struct addr a;
		double start;

		while (in.n < (1 << 20))
			buf_z(&in, units[i]);
		start = cpu_ms();
		addr_list_start(&l, buf_view(&in));
		while (addr_list_next(&l, &a))
			;
		if (cpu_ms() - start > most)
			fail_msg("%s: %.0f ms", units[i], cpu_ms() - start);
	}
}

/* A walk with everything spelled out: "local|domain|phrase|comment" of each mailbox. */
static void spell(struct buf *b, struct str text)
{
	struct addr_list l;
	struct addr a;

	addr_list_start(&l, text);
	while (addr_list_next(&l, &a)) {
		if (b->n)
			buf_z(b, " ; ");
		buf_str(b, a.local);
		buf_c(b, '|');
		buf_str(b, a.domain);
		buf_c(b, '|');
		buf_str(b, a.phrase);
		buf_c(b, '|');
		buf_str(b, a.comment);
	}
	if (l.bad)
		buf_z(b, " !");
}

/* The RFCs' own examples of fields with addresses. */
static void test_rfc(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		/* RFC 5322 */
		{ "A.1.1 From", "John Doe <jdoe@machine.example>",
		  "jdoe|machine.example|John Doe|" },
		{ "A.1.1 To", "Mary Smith <mary@example.net>",
		  "mary|example.net|Mary Smith|" },
		{ "A.1.1 Sender", "Michael Jones <mjones@machine.example>",
		  "mjones|machine.example|Michael Jones|" },
		{ "A.1.2 From", "\"Joe Q. Public\" <john.q.public@example.com>",
		  "john.q.public|example.com|\"Joe Q. Public\"|" },
		{ "A.1.2 To",
		  "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
		  "mary|x.test|Mary Smith| ; jdoe|example.org|| ; one|y.test|Who?|" },
		{ "A.1.2 Cc",
		  "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
		  "boss|nil.test|| ; sysservices|example.net|\"Giant; \\\"Big\\\" "
		  "Box\"|" },
		{ "A.1.3 From", "Pete <pete@silly.example>", "pete|silly.example|Pete|" },
		{ "A.1.3 To",
		  "A Group:Ed Jones <joe@where.test>,joe@where.test,John "
		  "<jdoe@one.test>;",
		  "joe|where.test|Ed Jones| ; joe|where.test|| ; jdoe|one.test|John|" },
		{ "A.1.3 Cc", "Undisclosed recipients:;", "" },
		{ "A.2 Reply-To", "\"Mary Smith: Personal Account\" <smith@home.example>",
		  "smith|home.example|\"Mary Smith: Personal Account\"|" },
		{ "A.2 To", "John Doe <jdoe@machine.example>",
		  "jdoe|machine.example|John Doe|" },
		{ "A.3 Resent-From", "Mary Smith <mary@example.net>",
		  "mary|example.net|Mary Smith|" },
		{ "A.3 Resent-To", "Jane Brown <j-brown@other.example>",
		  "j-brown|other.example|Jane Brown|" },
		{ "A.4 From", "John Doe <jdoe@node.example>",
		  "jdoe|node.example|John Doe|" },
		{ "A.5 From",
		  "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
		  "pete|silly.test|Pete|A nice \\) chap" },
		{ "A.5 To",
		  "A Group(Some people)\r\n     :Chris Jones <c@(Chris's "
		  "host.)public.example>,\r\n         joe@example.org,\r\n  John "
		  "<jdoe@one.test> (my dear friend); (the end of the group)",
		  "c|public.example|Chris Jones| ; joe|example.org|| ; "
		  "jdoe|one.test|John|my dear friend" },
		{ "A.5 Cc",
		  "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "" },
		{ "A.6.1 From", "Joe Q. Public <john.q.public@example.com>",
		  "john.q.public|example.com|Joe Q. Public|" },
		{ "A.6.1 To",
		  "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
		  "mary|example.net|Mary Smith| ; jdoe|test  . example||" },
		{ "A.6.3 From", "John Doe <jdoe@machine(comment).  example>",
		  "jdoe|machine(comment).  example|John Doe|" },
		{ "A.6.3 To", "Mary Smith\r\n  \r\n          <mary@example.net>",
		  "mary|example.net|Mary Smith|" },
		/* RFC 2047 8 */
		{ "2047 From", "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>",
		  "moore|cs.utk.edu|=?US-ASCII?Q?Keith_Moore?=|" },
		{ "2047 To", "=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>",
		  "keld|dkuug.dk|=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=|" },
		{ "2047 Cc", "=?ISO-8859-1?Q?Andr=E9?= Pirard <PIRARD@vm1.ulg.ac.be>",
		  "PIRARD|vm1.ulg.ac.be|=?ISO-8859-1?Q?Andr=E9?= Pirard|" },
		{ "2047 From 2",
		  "=?ISO-8859-1?Q?Olle_J=E4rnefors?= <ojarnef@admin.kth.se>",
		  "ojarnef|admin.kth.se|=?ISO-8859-1?Q?Olle_J=E4rnefors?=|" },
		{ "2047 To 2", "ietf-822@dimacs.rutgers.edu, ojarnef@admin.kth.se",
		  "ietf-822|dimacs.rutgers.edu|| ; ojarnef|admin.kth.se||" },
		{ "2047 From 3",
		  "=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?= <paf@nada.kth.se>",
		  "paf|nada.kth.se|=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?=|" },
		{ "2047 From 4",
		  "Nathaniel Borenstein <nsb@thumper.bellcore.com>\r\n    "
		  "(=?iso-8859-8?b?7eXs+SDv4SDs6Oj08A==?=)",
		  "nsb|thumper.bellcore.com|Nathaniel Borenstein|"
		  "=?iso-8859-8?b?7eXs+SDv4SDs6Oj08A==?=" },
		{ "2047 To 4",
		  "Greg Vaudreuil <gvaudre@NRI.Reston.VA.US>, Ned Freed\r\n   "
		  "<ned@innosoft.com>, Keith Moore <moore@cs.utk.edu>",
		  "gvaudre|NRI.Reston.VA.US|Greg Vaudreuil| ; "
		  "ned|innosoft.com|Ned Freed| ; moore|cs.utk.edu|Keith Moore|" },
		/* RFC 6532 3.2: UTF-8 in atoms, quoted strings, comments and domains */
		{ "6532 atom", "J\xc3\xb8ran \xc3\x98ygard <j\xc3\xb8ran@example.no>",
		  "j\xc3\xb8ran|example.no|J\xc3\xb8ran \xc3\x98ygard|" },
		{ "6532 domain",
		  "\xe7\x94\xb2\xe6\x96\x90@\xe9\xbb\x91\xe5\xb7\x9d."
		  "\xe6\x97\xa5\xe6\x9c\xac",
		  "\xe7\x94\xb2\xe6\x96\x90|\xe9\xbb\x91\xe5\xb7\x9d."
		  "\xe6\x97\xa5\xe6\x9c\xac||" },
		{ "6532 quoted",
		  "\"J\xc3\xb8ran, \xc3\x98\" <\"\xc3\xa5 b\"@c> (\xc3\xa6)",
		  "\"\xc3\xa5 b\"|c|\"J\xc3\xb8ran, \xc3\x98\"|\xc3\xa6" },
		/* RFC 6854 5.1, 5.2 */
		{ "6854 group", "Managing Partners:ben@example.com,carol@example.com;",
		  "ben|example.com|| ; carol|example.com||" },
		{ "6854 empty", "Nobody:;", "" },
		{ "6854 group of one", "Automated: \"Box\" <box@example.com> (x);",
		  "box|example.com|\"Box\"|x" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;

		spell(&got, str_z(rows[i].in));
		check_row(rows[i].name, rows[i].want, &got);
		props_addr(str_z(rows[i].in));
	}
}

/* Whatever is between them, spans and gaps are the text: all short strings of what means
 * something to the parser. */
static void test_short(void **state)
{
	static const char bytes[] = "a<>@,:;(\"\\[] .=?";
	const size_t n = sizeof(bytes) - 1;
	char text[5];

	(void)state;
	for (size_t length = 0; length <= sizeof(text); length++) {
		size_t all = 1;

		for (size_t i = 0; i < length; i++)
			all *= n;
#ifdef __SANITIZE_ADDRESS__
		if (length == sizeof(text))
			continue; /* a minute of it: make million does more */
#endif
		for (size_t k = 0; k < all; k += length == sizeof(text) ? 7 : 1) {
			size_t rest = k;

			for (size_t i = 0; i < length; i++, rest /= n)
				text[i] = bytes[rest % n];
			props_addr((struct str){ text, length });
		}
	}
}

static void test_bytes(void **state)
{
	static const char in[] = "A \"b\" (c) <@d,@e:f.g@h.i> , J <k@[1.2]>, G: l@m;";

	(void)state;
	for (size_t at = 0; at < sizeof(in) - 1; at++) {
		for (int c = 0; c < 256; c++) {
			char text[sizeof(in)];

			memcpy(text, in, sizeof(in));
			text[at] = (char)c;
			props_addr((struct str){ text, sizeof(in) - 1 });
		}
	}
}

static void test_many(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT;
	struct addr_list l;
	struct addr a;
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < 50000; i++)
		buf_fmt(&in, "\"Moe, %u\" <m%u@example.org> (%u),\n ", i, i, i);
	addr_list_start(&l, buf_view(&in));
	while (addr_list_next(&l, &a))
		n++;
	assert_int_equal(n, 50000);
	assert_false(l.bad);
	assert_int_equal(props_addr(buf_view(&in)), 50000);
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
		{ "a@b@c", false },
		{ "a[b@c", false },
		{ "a:b@c", false },
		{ "a]b", false },
		{ "a@b..c", false },
		{ "a@.b", false },
		{ "a@b.", true },
		{ "\"a@b\".c@d", true },
		{ "\"a@b\".c@d@e", false },
		{ "a@b:25", false },
		{ "a@[1", false },
		{ "a@1]", false },
		{ "a@[1]2]", false },
		{ "a@[]", false },
		{ "a@x[1]", false },
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

/* What is judged apart comes to the same as judged at once: all short strings. */
static void test_simple(void **state)
{
	static const char bytes[] = "ab.@\"[]:+= \\\x7f\xc3";
	const size_t n = sizeof(bytes) - 1;
	size_t simple = 0, bare = 0, all = 1;
	char text[7];

	(void)state;
	for (size_t length = 0; length <= 5; length++, all *= n) {
		for (size_t k = 0; k < all; k += length < 5 ? 1 : 11) {
			const struct str s = { text, length };
			struct str local, domain;
			size_t rest = k;
			bool ok;

			for (size_t i = 0; i < length; i++, rest /= n)
				text[i] = bytes[rest % n];
			text[length] = '\0';
			ok = addr_envelope_ok(s);
			if (addr_is_simple(s)) {
				_cleanup_buf_ struct buf plain = BUF_INIT;
				struct addr_list l;
				struct addr a;

				simple++;
				addr_list_start(&l, s);
				if (!ok || !addr_list_next(&l, &a))
					fail_msg("%s: simple, and none", text);
				addr_plain(&plain, &a);
				if (!str_eq(buf_view(&plain), s))
					fail_msg("%s: becomes %s", text, plain.p);
			}
			addr_split(s, &local, &domain);
			if (ok && addr_has_domain(s) != (domain.n > 0))
				fail_msg("%s: has it a domain?", text);
			if (ok && domain.n && !addr_domain_ok(domain))
				fail_msg("%s: its domain is refused", text);
			if (!ok || domain.n || length + 2 > sizeof(text))
				continue;
			bare++;
			text[length] = '@';
			text[length + 1] = 'b';
			if (!addr_envelope_ok((struct str){ text, length + 2 }))
				fail_msg("%.*s: refused", (int)length + 2, text);
		}
	}
	assert_true(simple > 1000 && bare > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),     cmocka_unit_test(test_spans),
		cmocka_unit_test(test_depth),    cmocka_unit_test(test_linear),
		cmocka_unit_test(test_envelope), cmocka_unit_test(test_envelope_bytes),
		cmocka_unit_test(test_split),    cmocka_unit_test(test_glob),
		cmocka_unit_test(test_rfc),      cmocka_unit_test(test_short),
		cmocka_unit_test(test_bytes),    cmocka_unit_test(test_many),
		cmocka_unit_test(test_simple),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
