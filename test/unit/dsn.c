#include "mail/dsn.h"
#include "mail/envelope.h"
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
	assert_int_equal(more, d->full);
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
		  "because:\n        too big\n", "Diagnostic-Code" },
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
		struct dsn_rcpt r = { str_z(rows[i].addr), str_z(rows[i].orcpt),
			              rows[i].code, str_z(rows[i].text) };
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
	struct dsn_rcpt r = { STR("a@b"), STR(""), 550, STR("no") };
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
	struct dsn_rcpt r = { STR("a@b"), STR(""), 550, STR("no") };
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
	struct dsn_rcpt r = { STR("a@b"), STR(""), 550, STR("no") };
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
	assert_non_null(strstr(b.p, "\nSubject: Undelivered Mail: caf?? =\n"));
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
	struct dsn_rcpt r = { STR("a@b"), STR(""), 550, STR("no") };
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
		r[i] = (struct dsn_rcpt){ buf_view(&x), buf_view(&x), 550,
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),       cmocka_unit_test(as_a_drop),
		cmocka_unit_test(full),       cmocka_unit_test(headers),
		cmocka_unit_test(boundaries), cmocka_unit_test(long_things),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
