#include "mail/dsn.h"
#include "mail/envelope.h"
#include "mail/template.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct compose_conf conf = { .hostname = { "box.example.org", 15 },
	                                  .domain = { "example.org", 11 } };

static struct dsn basic(const struct dsn_rcpt *r, size_t n)
{
	return (struct dsn){
		.conf = &conf,
		.id = STR("0189abcdef012345"),
		.to = STR("eddy@example.org"),
		.arrived = 1795312000,
		.now = 1795312600,
		.remote = STR("smtp.isp.example"),
		.lifetime = 5 * 86400,
		.rcpt = r,
		.rcpts = n,
		.original_header =
		    STR("Received: x\nSubject: Hello\nFrom: eddy@example.org\n\n"),
	};
}

static void print(struct buf *b, const struct dsn *d)
{
	bool more;

	dsn_print(b, d, &more);
	if (more) {
		buf_z(b, "the body");
		dsn_end(b, d);
	}
}

/* Lines of at most 998 octets, printable ASCII. */
static void check_plain(const char *name, const struct buf *b)
{
	struct str rest = buf_view(b), line;

	while (str_cut(&rest, '\n', &line)) {
		if (line.n > 998)
			fail_msg("%s: a line of %zu octets", name, line.n);
		for (size_t i = 0; i < line.n; i++)
			if ((unsigned char)line.p[i] < 0x20 ||
			    (unsigned char)line.p[i] > 0x7e)
				fail_msg("%s: byte %02x", name, (unsigned char)line.p[i]);
	}
}

static void rows(void **state)
{
	static const struct {
		const char *name, *addr, *orcpt;
		int code;
		const char *text;
		bool expired;
		const char *want, *not ;
	} rows[] = {
		{ "recipient", "a@b", "", 550, "550 5.1.1 no", false,
		  "could not be delivered to:\n\n    <a@b>\n", NULL },
		{ "words", "a@b", "", 550, "550 5.1.1 no such user", false,
		  "smtp.isp.example said:\n        550 5.1.1 no such user\n", NULL },
		{ "status", "a@b", "", 550, "550 5.1.1 no", false, "\nStatus: 5.1.1\n",
		  NULL },
		{ "status without code", "a@b", "", 550, "5.1.1 no", false,
		  "\nStatus: 5.1.1\n", NULL },
		{ "diagnostic gets its code", "a@b", "", 550, "5.1.1 no", false,
		  "\nDiagnostic-Code: smtp; 550 5.1.1 no\n", NULL },
		{ "diagnostic has its code", "a@b", "", 550, "550 5.1.1 no", false,
		  "\nDiagnostic-Code: smtp; 550 5.1.1 no\n", "550 550" },
		{ "no enhanced code", "a@b", "", 550, "550 no", false,
		  "\nStatus: 5.0.0\n", NULL },
		{ "enhanced code of success", "a@b", "", 550, "550 2.1.1 no", false,
		  "\nStatus: 5.0.0\n", NULL },
		{ "too long a code", "a@b", "", 550, "550 5.1.1111 no", false,
		  "\nStatus: 5.0.0\n", NULL },
		{ "address for a code", "a@b", "", 550, "550 5.1.1.9 no", false,
		  "\nStatus: 5.0.0\n", NULL },
		{ "expired", "a@b", "", 450, "450 4.2.1 busy", true, "\nStatus: 4.4.7\n",
		  NULL },
		{ "expired words", "a@b", "", 450, "450 4.2.1 busy", true,
		  "This went on for 5 days. No more tries", NULL },
		{ "refused words", "a@b", "", 550, "no", false,
		  "No more tries will be made", "went on" },
		{ "own words", "a@b", "", 0, "too big", false,
		  "because:\n        too big\n", "Diagnostic-Code: smtp" },
		{ "own words, for programs", "a@b", "", 0, "too big", false,
		  "\nDiagnostic-Code: x-mailchute; too big\n", "Remote-MTA" },
		{ "orcpt", "a@b", "rfc822;a+2Bb@c", 550, "no", false,
		  "\nOriginal-Recipient: rfc822;a+b@c\nFinal-Recipient: rfc822;a@b\n",
		  NULL },
		{ "orcpt with LF", "a@b", "rfc822;a+0AX:+2", 550, "no", false,
		  "\nOriginal-Recipient: rfc822;a\\x0aX:+2\n", NULL },
		{ "control bytes", "a@b", "", 550, "550 no\r\nX-Evil: 1\xc3\xa9", false,
		  "550 no\\x0d\\x0aX-Evil: 1\\xc3\\xa9", "\nX-Evil" },
		{ "UTF-8 address", "\xc3\xa9@b", "", 550, "no", false, "<\\xc3\\xa9@b>",
		  NULL },
		{ "remote", "a@b", "", 550, "no", false,
		  "\nRemote-MTA: dns;smtp.isp.example\n", NULL },
		{ "from", "a@b", "", 550, "no", false,
		  "\nFrom: \"Mail Delivery System\" <MAILER-DAEMON@example.org>\n",
		  NULL },
		{ "subject", "a@b", "", 550, "no", false,
		  "\nSubject: Undelivered Mail: Hello\n", NULL },
		{ "arrival", "a@b", "", 550, "no", false, "\nArrival-Date: ", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct dsn_rcpt r = { DSN_FAILED, str_z(rows[i].addr),
			              str_z(rows[i].orcpt), rows[i].code,
			              str_z(rows[i].text) };
		struct dsn d = basic(&r, 1);

		d.expired = rows[i].expired;
		print(&b, &d);
		check_plain(rows[i].name, &b);
		if (!strstr(b.p, rows[i].want))
			fail_msg("%s: no \"%s\" in:\n%s", rows[i].name, rows[i].want,
			         b.p);
		if (rows[i].not &&strstr(b.p, rows[i].not ))
			fail_msg("%s: \"%s\" in:\n%s", rows[i].name, rows[i].not, b.p);
	}
}

static void as_a_drop(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT, queued = BUF_INIT;
	struct dsn_rcpt r = { DSN_FAILED, STR("a@b"), STR(""), 550, STR("no") };
	struct dsn d = basic(&r, 1);
	struct envelope e;
	size_t used;
	const char *why;

	(void)state;
	print(&b, &d);
	envelope_print_attested(&queued, 1, STR("mailchute"), STR(""), 5);
	buf_str(&queued, buf_view(&b));
	assert_int_equal(envelope_parse(buf_view(&queued), &e, &used, &why), 0);
	assert_true(e.has_sender);
	assert_int_equal(e.sender.n, 0);
	assert_int_equal(e.rcpts, 1);
	assert_true(str_eq(e.rcpt[0].addr, STR("eddy@example.org")));
	assert_true(str_starts(str_from(buf_view(&queued), used), STR("From: ")));
	envelope_free(&e);
}

static void full(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct dsn_rcpt r = { DSN_FAILED, STR("a@b"), STR(""), 550, STR("no") };
	struct dsn d = basic(&r, 1);

	(void)state;
	d.full = true;
	print(&b, &d);
	assert_non_null(strstr(b.p, "Content-Type: message/rfc822\n"));
	assert_non_null(strstr(b.p, "From: eddy@example.org\n\nthe body\n--=_"));
	assert_true(str_iends(buf_view(&b), STR("--\n")));
	/* A header that ends without its empty line gets one; one without LF too. */
	buf_reset(&b);
	d.original_header = STR("Subject: x");
	print(&b, &d);
	assert_non_null(strstr(b.p, "\n\nSubject: x\n\nthe body\n--=_"));
	buf_reset(&b);
	d.original_header = STR("\n");
	print(&b, &d);
	assert_non_null(strstr(b.p, "8bit\n\n\nthe body\n--=_"));
}

static void headers(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT, h = BUF_INIT;
	struct dsn_rcpt r = { DSN_FAILED, STR("a@b"), STR(""), 550, STR("no") };
	struct dsn d = basic(&r, 1);

	(void)state;
	print(&b, &d);
	assert_non_null(strstr(b.p, "rfc822-headers\n\nReceived: x\nSubject: "
	                            "Hello\nFrom: eddy@example.org\n\n--=_"));
	/* 8-bit bytes and long lines are encoded. */
	buf_reset(&b);
	d.original_header = STR("Subject: caf\xc3\xa9\n\n");
	print(&b, &d);
	check_plain("8-bit byte", &b);
	buf_reset(&b);
	buf_z(&h, "Subject: caf\xc3\xa9 = \nX: ");
	for (int i = 0; i < 3000; i++)
		buf_c(&h, 'x');
	buf_z(&h, "\n\n");
	d.original_header = buf_view(&h);
	print(&b, &d);
	check_plain("8-bit header", &b);
	assert_non_null(strstr(b.p, "Subject: caf=C3=A9 =3D=20\nX: xxx"));
	assert_non_null(
	    strstr(b.p, "\nSubject: Undelivered Mail: =?utf-8?q?caf=C3=A9?= =\n"));
	/* A huge one is cut at a line end. */
	buf_reset(&b);
	buf_reset(&h);
	for (int i = 0; i < 100000; i++)
		buf_z(&h, "X-Long: 1\n");
	d.original_header = buf_view(&h);
	print(&b, &d);
	assert_in_range(b.n, 60000, 80000);
	assert_non_null(strstr(b.p, "X-Long: 1\n\n--=_"));
}

static void boundaries(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct dsn_rcpt r = { DSN_FAILED, STR("a@b"), STR(""), 550, STR("no") };
	struct dsn d = basic(&r, 1);

	(void)state;
	d.original_header =
	    STR("X: --=_0189abcdef012345.0--\n--=_0189abcdef012345.1\n\n");
	print(&b, &d);
	assert_non_null(strstr(b.p, "boundary=\"=_0189abcdef012345.2\""));
	assert_true(str_iends(buf_view(&b), STR("\n--=_0189abcdef012345.2--\n")));
}

static void long_things(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT, x = BUF_INIT, words = BUF_INIT,
	                         h = BUF_INIT;
	struct dsn_rcpt r[300];
	struct dsn d = basic(r, ARRAY_LEN(r));

	(void)state;
	for (int i = 0; i < 995; i++)
		buf_c(&x, '\xff');
	buf_z(&x, "@a.b");
	for (int i = 0; i < 200; i++)
		buf_z(&words, "some words ");
	buf_fmt(&h, "Subject: %s\n\n", words.p);
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		r[i] = (struct dsn_rcpt){ DSN_FAILED, buf_view(&x), buf_view(&x), 550,
			                  i ? buf_view(&words) : buf_view(&x) };
	d.original_header = buf_view(&h);
	d.envid = buf_view(&x);
	d.remote = buf_view(&x);
	print(&b, &d);
	check_plain("long things", &b);
	assert_non_null(strstr(b.p, "and 200 others"));
	d.rcpts = 1;
	r[0].addr = r[0].orcpt = STR("a@b");
	r[0].text = buf_view(&words);
	d.envid = d.remote = STR("x");
	buf_reset(&b);
	print(&b, &d);
	for (struct str rest = str_head(buf_view(&b), 3000), line;
	     str_cut(&rest, '\n', &line);)
		if (line.n > 78)
			fail_msg("a line of %zu: %.*s", line.n, (int)line.n, line.p);
}

/* ---- What happened ---- */

enum { N = 3 };

static const struct dsn_rcpt
    failed = { DSN_FAILED, { "f@b", 3 }, { "", 0 }, 550, { "550 5.1.1 unknown", 17 } },
    delayed = { DSN_DELAYED, { "d@b", 3 }, { "", 0 }, 451, { "451 4.3.2 busy", 14 } },
    relayed = { DSN_RELAYED, { "r@b", 3 }, { "", 0 }, 250, { "250 2.0.0 queued", 16 } },
    unreached = { DSN_FAILED,
	          { "u@b", 3 },
	          { "", 0 },
	          0,
	          { "no answer for 5 days", 20 } },
    odd = { DSN_DELAYED, { "o@b", 3 }, { "", 0 }, 550, { "550 5.7.1 denied", 16 } },
    in_doubt = { DSN_DELAYED, { "q@b", 3 }, { "", 0 }, 0, { "", 0 } };

static void actions(void **state)
{
	static const struct {
		const char *name;
		const struct dsn_rcpt *r[N];
		bool admin;
		const char *want, *not ;
	} rows[] = {
		{ "failed", { &failed }, false, "\nAction: failed\n", "Will-Retry" },
		{ "delayed",
		  { &delayed },
		  false,
		  "\nAction: delayed\nStatus: 4.3.2\nWill-Retry-Until: Fri, 27 Nov 2026 "
		  "01:46:40 +0000\n",
		  "failed" },
		{ "delayed, in words",
		  { &delayed },
		  false,
		  "\nYour message has not been delivered yet to:\n\n    <d@b>\n      "
		  "smtp.isp.example said:\n        451 4.3.2 busy\n\nYou need not do",
		  "No more tries" },
		{ "delayed until",
		  { &delayed },
		  false,
		  "tried again and again until Fri, 27 Nov 2026\n01:46:40 +0000, and",
		  NULL },
		{ "delayed, subject",
		  { &delayed },
		  false,
		  "\nSubject: Delayed Mail (still being tried): Hello\n",
		  NULL },
		{ "a delay is of class 4",
		  { &odd },
		  false,
		  "\nStatus: 4.0.0\nWill-Retry-Until: ",
		  "Status: 5" },
		{ "delayed without a reply",
		  { &in_doubt },
		  false,
		  "\n    <q@b>\n\nYou need",
		  "said" },
		{ "delayed without a reply: status",
		  { &in_doubt },
		  false,
		  "\nStatus: 4.0.0\n",
		  "Remote-MTA" },
		{ "relayed",
		  { &relayed },
		  false,
		  "\nAction: relayed\nStatus: 2.0.0\nRemote-MTA: dns;smtp.isp.example\n",
		  "Diagnostic-Code" },
		{ "relayed, in words",
		  { &relayed },
		  false,
		  "\nYour message was handed to smtp.isp.example for:\n\n    <r@b>\n",
		  "No more tries" },
		{ "relayed, subject",
		  { &relayed },
		  false,
		  "\nSubject: Mail relayed: Hello\n",
		  NULL },
		{ "never reached",
		  { &unreached },
		  false,
		  "\n    <u@b>\n      because:\n        no answer for 5 days\n",
		  "said" },
		{ "never reached: no address to blame",
		  { &unreached },
		  false,
		  "No more tries will be made. The words above tell what was",
		  "mistake in the address" },
		{ "all: failures first",
		  { &relayed, &delayed, &failed },
		  false,
		  "could not be delivered to:\n\n    <f@b>\n",
		  NULL },
		{ "all: delays then",
		  { &relayed, &delayed, &failed },
		  false,
		  "machine.\n\nYour message has not been delivered yet to:\n\n    "
		  "<d@b>\n",
		  NULL },
		{ "all: relayed last",
		  { &relayed, &delayed, &failed },
		  false,
		  "twice.\n\nYour message was handed to smtp.isp.example for:\n\n    "
		  "<r@b>\n",
		  NULL },
		{ "all: subject",
		  { &relayed, &delayed, &failed },
		  false,
		  "\nSubject: Undelivered Mail: Hello\n",
		  NULL },
		{ "all: no more tries for some",
		  { &delayed, &failed },
		  false,
		  "No more tries will be made for the addresses above.",
		  NULL },
		{ "admin",
		  { &failed },
		  true,
		  "You are told as its\nadministrator.\n\nA message that has no sender",
		  "Your message" },
		{ "admin, subject",
		  { &failed },
		  true,
		  "\nSubject: Undelivered Mail without a sender: Hello\n",
		  NULL },
		{ "auto-submitted",
		  { &delayed },
		  false,
		  "\nAuto-Submitted: auto-replied\n",
		  NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct dsn_rcpt r[N];
		struct dsn d = basic(r, 0);

		while (d.rcpts < N && rows[i].r[d.rcpts]) {
			r[d.rcpts] = *rows[i].r[d.rcpts];
			d.rcpts++;
		}
		d.until = 1795744000;
		d.for_admin = rows[i].admin;
		print(&b, &d);
		check_plain(rows[i].name, &b);
		if (!strstr(b.p, rows[i].want))
			fail_msg("%s: no \"%s\" in:\n%s", rows[i].name, rows[i].want,
			         b.p);
		if (rows[i].not &&strstr(b.p, rows[i].not ))
			fail_msg("%s: \"%s\" in:\n%s", rows[i].name, rows[i].not, b.p);
	}
}

/* Only a report of a failure returns the message. */
static void whole(void **state)
{
	static const struct {
		const char *name;
		const struct dsn_rcpt *first, *second;
		bool full, want;
	} rows[] = {
		{ "failed", &failed, &failed, true, true },
		{ "failed, header", &failed, &failed, false, false },
		{ "delayed", &delayed, &delayed, true, false },
		{ "relayed", &relayed, &relayed, true, false },
		{ "delayed and failed", &delayed, &failed, true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		const struct dsn_rcpt r[] = { *rows[i].first, *rows[i].second };
		struct dsn d = basic(r, 2);
		bool more = !rows[i].want;

		d.full = rows[i].full;
		dsn_print(&b, &d, &more);
		if (more != rows[i].want)
			fail_msg("%s: %d", rows[i].name, more);
		if (!strstr(b.p, more ? "Content-Type: message/rfc822\n"
		                      : "Content-Type: text/rfc822-headers\n"))
			fail_msg("%s: %s", rows[i].name, b.p);
		if (!strstr(b.p, more ? "\nThe message itself is attached.\n"
		                      : "\nThe header of the message is attached.\n"))
			fail_msg("%s: %s", rows[i].name, b.p);
	}
}

/* bounce.to: somebody else is told, so it is not his message. */
static void not_the_sender(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct dsn d = basic(&failed, 1);

	(void)state;
	d.from = STR("ann@example.org");
	print(&b, &d);
	assert_non_null(strstr(b.p, "\nTo: <eddy@example.org>\n"));
	assert_non_null(strstr(
	    b.p, "\nA message from <ann@example.org> could not be delivered to:\n"));
	assert_null(strstr(b.p, "Your message"));
}

static void templates(void **state)
{
	static const struct {
		const char *name, *template, *header;
		bool admin;
		const char *want, *not ;
	} rows[] = {
		{ "words", "[failed]\nHello %s from %h, %i, %l, 100 %%:\n%r\nBye %a\n",
		  NULL, false,
		  "charset=us-ascii\n\nHello Hello from box.example.org, "
		  "0189abcdef012345, 5 days, 100 %:\n    <f@b>\n      "
		  "smtp.isp.example said:\n        550 5.1.1 unknown\nBye root@x\n\n--=_",
		  "mail relay" },
		{ "its subject", "[failed]\nSubject: Sorry: %s\nx\n", NULL, false,
		  "\nSubject: Sorry: Hello\n", "Undelivered Mail:" },
		{ "the fields stay", "[failed]\nx\n", NULL, false,
		  "\nAction: failed\nStatus: 5.1.1\n", NULL },
		{ "no %r", "[failed]\nSorry.\n", NULL, false, "\n\nSorry.\n\n    <f@b>\n",
		  NULL },
		{ "subject alone", "[failed]\nSubject: Sorry\n", NULL, false,
		  "\nYour message could not be delivered to:\n", NULL },
		{ "another block", "[delayed]\nSubject: x\nx\n", NULL, false,
		  "\nYour message could not be delivered to:\n", "Subject: x" },
		{ "UTF-8 words",
		  "[failed]\nGr\xc3\xbc\xc3\x9f"
		  "e = x\n%r\n",
		  NULL, false,
		  "charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
		  "Gr=C3=BC=C3=9Fe =3D x\n    <f@b>\n",
		  NULL },
		{ "UTF-8 subject",
		  "[failed]\nSubject: Gr\xc3\xbc\xc3\x9f"
		  "e: %s\n%r\n",
		  NULL, false, "\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe=3A?= Hello\n",
		  NULL },
		{ "encoded old subject", "[failed]\nSubject: F\xc3\xbcr %s\n(%s)\n%r\n",
		  "Subject: =?utf-8?B?w6k=?= x\n\n", false,
		  "\nSubject: =?utf-8?q?F=C3=BCr_?= =?utf-8?B?w6k=?= x\n", NULL },
		{ "encoded old subject in words", "[failed]\n(%s)\n%r\n",
		  "Subject: =?utf-8?B?w6k=?= x\n\n", false, "\n(=C3=A9 x)\n", NULL },
		{ "hostile subject", "[failed]\n(%s)\n%r\n",
		  "Subject: =?utf-8?q?a=0A--b=00=7F=FF?= %r%h\n\n", false,
		  "\n(a --b  ? %r%h)\n", NULL },
		{ "subject of no UTF-8", "[failed]\nx\n", "Subject: a\xe9z\n\n", false,
		  "\nSubject: Undelivered Mail: a?z\n", NULL },
		{ "admin has ours", "[failed]\nSubject: x\nx\n", NULL, true,
		  "\nSubject: Undelivered Mail without a sender: Hello\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct compose_conf own = conf;
		struct template t;
		struct dsn d = basic(&failed, 1);
		const char *why;
		int line;

		if (template_parse(str_z(rows[i].template), &t, &line, &why) < 0)
			fail_msg("%s: %s", rows[i].name, why);
		own.admin = STR("root@x");
		d.conf = &own;
		d.template = &t;
		d.for_admin = rows[i].admin;
		if (rows[i].header)
			d.original_header = str_z(rows[i].header);
		print(&b, &d);
		check_plain(rows[i].name, &b);
		if (!strstr(b.p, rows[i].want))
			fail_msg("%s: no \"%s\" in:\n%s", rows[i].name, rows[i].want,
			         b.p);
		if (rows[i].not &&strstr(b.p, rows[i].not ))
			fail_msg("%s: \"%s\" in:\n%s", rows[i].name, rows[i].not, b.p);
		template_free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),       cmocka_unit_test(as_a_drop),
		cmocka_unit_test(full),       cmocka_unit_test(headers),
		cmocka_unit_test(boundaries), cmocka_unit_test(long_things),
		cmocka_unit_test(actions),    cmocka_unit_test(whole),
		cmocka_unit_test(templates),  cmocka_unit_test(not_the_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
