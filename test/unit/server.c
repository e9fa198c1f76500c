/* The server session: dialogues, each also cut at every octet; arguments; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>

#include "serverbed.h"

enum {
	TLS_OFFERED = 1,
	AUTH_OFFERED = 2,
	TLS = 4,
	STRANGER = 8,
	FEW_ERRORS = 16,
	BYTEWISE = 32,
	TLS_DOWN = 64,
	INSECURE = 128,
};

static void setup(struct serverbed *b, unsigned how)
{
	bed_open(b);
	b->conf.tls_offered = how & TLS_OFFERED;
	b->conf.tls_down = how & TLS_DOWN;
	b->conf.auth_insecure = how & INSECURE;
	b->conf.auth_offered = how & AUTH_OFFERED;
	b->conf.tls = how & TLS;
	b->conf.trusted = !(how & STRANGER);
	b->conf.errors_max = how & FEW_ERRORS ? 3 : 0;
	b->conf.size_max = 1000;
	b->conf.rcpt_max = 3;
	bed_start(b);
}

/* Codes of the replies, the last line of each; for EHLO's list that is enough. */
static void codes(struct str out, struct buf *ret)
{
	struct str line;

	buf_reset(ret);
	while (out.n && str_cut(&out, '\n', &line)) {
		if (line.n < 4 || line.p[3] != ' ')
			continue;
		if (ret->n)
			buf_c(ret, ' ');
		buf_str(ret, str_head(line, 3));
	}
}

static const struct {
	const char *name;
	unsigned how;
	const char *in, *want; /* codes */
	const char *calls;     /* what was asked */
} dialogues[] = {
	{ "a message", 0,
	  "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
	  "250 250 250 354 250 221", "mail a@b\nrcpt c@d\n" },
	{ "two messages", 0,
	  "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n"
	  "MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n.\r\nQUIT\r\n",
	  "250 250 250 354 250 250 250 250 354 250 221",
	  "mail \nrcpt c@d\nmail \nrcpt c@d\nrcpt e@f\n" },
	{ "an old device", 0, "mail from: a@b\nrcpt to: c@d\ndata\nhi\r\n.\r\nquit\n",
	  "250 250 354 250 221", "mail a@b\nrcpt c@d\n" },
	{ "blanks", 0,
	  "helo  x \r\nMail  From : < a@b > \r\nRCPT\tTO:\t<c@d>\t\r\nRSET  \r\n",
	  "250 250 250 250", "mail a@b\nrcpt c@d\n" },
	{ "quoted local parts", 0,
	  "MAIL FROM:<\"a>b \\\" c\"@d>\r\nRCPT TO:<\"x y\"@z>\r\nRCPT TO:\"p q\"@r\r\n",
	  "250 250 250", "mail \"a>b \\x5c\" c\"@d\nrcpt \"x y\"@z\nrcpt \"p q\"@r\n" },
	{ "a source route is the callee's", 0, "MAIL FROM:<@x,@y:a@b>\r\n", "250",
	  "mail @x,@y:a@b\n" },
	{ "parameters of MAIL", 0,
	  "MAIL FROM:<a@b> size=99 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb "
	  "AUTH=<>\r\n",
	  "250", "mail a@b size=99 body8 utf8 ret=HDRS envid=a+2Bb\n" },
	{ "parameters without brackets", 0, "MAIL FROM: a@b SIZE=9\r\n", "250",
	  "mail a@b size=9\n" },
	{ "parameters of RCPT", 0,
	  "MAIL FROM:<>\r\nRCPT TO:<c@d> NOTIFY=delay,Success,FAILURE "
	  "ORCPT=rfc822;c@d\r\n"
	  "RCPT TO:<e@f> notify=never\r\n",
	  "250 250 250",
	  "mail \nrcpt c@d notify=DELAY,SUCCESS,FAILURE orcpt=rfc822;c@d\n"
	  "rcpt e@f notify=NEVER\n" },
	{ "out of order", BYTEWISE, /* what follows a refused DATA: test_behind */
	  "RCPT TO:<c@d>\r\nDATA\r\nMAIL FROM:<>\r\nDATA\r\nMAIL FROM:<>\r\n"
	  "RCPT TO:<a@b>\r\nRSET\r\nRCPT TO:<a@b>\r\nMAIL FROM:<>\r\nHELO x\r\nDATA\r\n",
	  "503 503 250 554 503 250 250 503 250 250 503", "mail \nrcpt a@b\nmail \n" },
	{ "nothing behind", 0,
	  "RSET x\r\nQUIT x\r\nSTARTTLS x\r\nEHLO\r\nHELO\r\nVRFY\r\n",
	  "501 501 501 501 501 501", "" },
	{ "the rest", 0, "NOOP\r\nNOOP x\r\nHELP\r\nHELP MAIL\r\nVRFY a@b\r\nRSET\r\n",
	  "250 250 214 214 252 250", "" },
	{ "not offered", 0,
	  "EXPN x\r\nLHLO x\r\nETRN x\r\nTURN\r\nSEND x\r\nAUTH PLAIN\r\nSTARTTLS\r\n",
	  "502 502 502 502 502 502 502", "" },
	{ "no commands", 0, "\r\n\n \r\nX\r\nMAILFROM:<>\r\n220 y\r\nNO\rOP\r\n NOOP\r\n",
	  "500 500 500 500 500 500 500 500", "" },
	{ "BDAT", 0, "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n",
	  "250 250 502", "mail \nrcpt a@b\n" },
	{ "a web browser", 0, "POST / HTTP/1.1\r\nMAIL FROM:<>\r\n", "502", "" },
	{ "another one", 0, "GET / HTTP/1.1\r\nMAIL FROM:<>\r\n", "502", "" },
	{ "behind QUIT", 0, "QUIT\r\nMAIL FROM:<>\r\n", "221", "" },
	{ "bad senders", 0,
	  "MAIL\r\nMAIL FROM\r\nMAIL FROM:\r\nMAIL FROM:<a\r\nMAIL FROM:<a>b\r\n"
	  "MAIL FROM:a>\r\nMAIL FROM:<\"a>\r\nMAIL TO:<a>\r\nMAIL FROM<a>\r\n",
	  "501 501 501 501 501 501 501 501 501", "" },
	{ "bad recipients", 0,
	  "MAIL FROM:<>\r\nRCPT TO:<>\r\nRCPT TO:\r\nRCPT FROM:<a>\r\nRCPT TO:<a> "
	  "<b>\r\n",
	  "250 501 501 501 555", "mail \n" },
	{ "bad values", 0,
	  "MAIL FROM:<> SIZE\r\nMAIL FROM:<> SIZE=\r\nMAIL FROM:<> SIZE=-1\r\n"
	  "MAIL FROM:<> SIZE=1 SIZE=1\r\nMAIL FROM:<> SIZE=99999999999999999999\r\n"
	  "MAIL FROM:<> BODY=BINARYMIME\r\nMAIL FROM:<> BODY\r\nMAIL FROM:<> RET=ALL\r\n"
	  "MAIL FROM:<> SMTPUTF8=1\r\nMAIL FROM:<> ENVID=a+b\r\nMAIL FROM:<> "
	  "ENVID=a=b\r\n"
	  "MAIL FROM:<> =\r\nMAIL FROM:<> AUTH\r\n",
	  "501 501 501 501 501 501 501 501 501 501 501 501 501", "" },
	{ "unknown parameters", 0, "MAIL FROM:<> X=1\r\nMAIL FROM:<> NOTIFY=NEVER\r\n",
	  "555 555", "" },
	{ "bad values of RCPT", 0,
	  "MAIL FROM:<>\r\nRCPT TO:<a> NOTIFY=\r\nRCPT TO:<a> NOTIFY=NEVER,DELAY\r\n"
	  "RCPT TO:<a> NOTIFY=DELAY,DELAY\r\nRCPT TO:<a> NOTIFY=DELAY,\r\n"
	  "RCPT TO:<a> ORCPT=a\r\nRCPT TO:<a> ORCPT=;a\r\nRCPT TO:<a> ORCPT=r;\r\n"
	  "RCPT TO:<a> ORCPT=r;a+0a\r\nRCPT TO:<a> ORCPT=r;a ORCPT=r;a\r\n"
	  "RCPT TO:<a> NOTIFY=NEVER NOTIFY=NEVER\r\nRCPT TO:<a> SIZE=1\r\n",
	  "250 501 501 501 501 501 501 501 501 501 501 555", "mail \n" },
	{ "too big", 0, "MAIL FROM:<> SIZE=1001\r\nMAIL FROM:<> SIZE=1000\r\n", "552 250",
	  "mail  size=1000\n" },
	{ "too many recipients", 0,
	  "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nRCPT "
	  "TO:<d>\r\nRSET\r\n"
	  "MAIL FROM:<>\r\nRCPT TO:<e>\r\n",
	  "250 250 250 250 452 250 250 250",
	  "mail \nrcpt a\nrcpt b\nrcpt c\nmail \nrcpt e\n" },
	{ "a stranger", STRANGER, "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\n",
	  "250 550 550", "mail \n" },
	{ "many errors", FEW_ERRORS, "A\r\nNOOP\r\nB\r\nC\r\nNOOP\r\n", "500 250 500 421",
	  "" },
	{ "errors before a message", FEW_ERRORS,
	  "A\r\nB\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n.\r\nA\r\nB\r\nC\r\n",
	  "500 500 250 250 354 250 500 500 421", "mail \nrcpt a\n" },
	{ "no login without TLS", AUTH_OFFERED, "AUTH PLAIN AHVzZXIAcHc=\r\n", "538",
	  "" },
	{ "a stranger while TLS is down", TLS_DOWN | STRANGER,
	  "STARTTLS\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\n", "454 250 550", "mail \n" },
	{ "a user while TLS is down", TLS_DOWN | AUTH_OFFERED | STRANGER,
	  "AUTH PLAIN AHVzZXIAcHc=\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\n", "454 250 451",
	  "mail \n" },
	{ "a user who waits for TLS", TLS_DOWN | AUTH_OFFERED | STRANGER | INSECURE,
	  "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRSET\r\nAUTH PLAIN AHVzZXIAcHc=\r\n",
	  "250 451 250 235", "mail \nauth user pw\n" },
	{ "PLAIN", AUTH_OFFERED | TLS | STRANGER,
	  "EHLO x\r\nAUTH PLAIN AHVzZXIAcHc=\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\n"
	  "AUTH PLAIN AHVzZXIAcHc=\r\nRSET\r\nAUTH PLAIN AHVzZXIAcHc=\r\n",
	  "250 235 250 250 503 250 503", "auth user pw\nmail \nrcpt a\n" },
	{ "PLAIN in two steps", AUTH_OFFERED | TLS,
	  "auth plain\r\nAHVzZXIAcHc=\r\nNOOP\r\n", "334 235 250", "auth user pw\n" },
	{ "PLAIN for oneself", AUTH_OFFERED | TLS, "AUTH PLAIN dXNlcgB1c2VyAHB3\r\n",
	  "235", "auth user pw\n" },
	{ "PLAIN for somebody else", AUTH_OFFERED | TLS,
	  "AUTH PLAIN cm9vdAB1c2VyAHB3\r\n", "535", "" },
	{ "LOGIN", AUTH_OFFERED | TLS, "AUTH LOGIN\r\ndXNlcg==\r\ncHc=\r\nNOOP\r\n",
	  "334 334 235 250", "auth user pw\n" },
	{ "LOGIN with a name", AUTH_OFFERED | TLS, "AUTH LOGIN dXNlcg==\r\ncHc=\r\n",
	  "334 235", "auth user pw\n" },
	{ "a wrong password", AUTH_OFFERED | TLS,
	  "AUTH LOGIN\r\ndXNlcg==\r\ncHd4\r\nAUTH PLAIN AHVzZXIAcHc=\r\n",
	  "334 334 535 235", "auth user pwx\nauth user pw\n" },
	{ "given up", AUTH_OFFERED | TLS,
	  "AUTH LOGIN\r\n*\r\nAUTH PLAIN\r\n*\r\nNOOP\r\n", "334 501 334 501 250", "" },
	{ "no base64", AUTH_OFFERED | TLS,
	  "AUTH PLAIN x\r\nAUTH LOGIN\r\n!\r\nAUTH PLAIN\r\nAAA\r\nNOOP\r\n",
	  "501 334 501 334 501 250", "" },
	{ "no PLAIN inside", AUTH_OFFERED | TLS,
	  "AUTH PLAIN =\r\nAUTH PLAIN dXNlcg==\r\nAUTH PLAIN AHVzZXI=\r\n"
	  "AUTH PLAIN AHVzZXIAcHcA\r\nAUTH PLAIN AAAA\r\nAUTH PLAIN AHUKAHB3\r\n",
	  "501 501 501 501 501 535", "" },
	{ "unknown mechanisms", AUTH_OFFERED | TLS,
	  "AUTH CRAM-MD5\r\nAUTH\r\nAUTH PLAIN a b\r\nAUTH XOAUTH2 x\r\n",
	  "504 501 501 504", "" },
	{ "it cannot be told", AUTH_OFFERED | TLS, "AUTH PLAIN AGxhdGVyAHB3\r\n", "454",
	  "auth later pw\n" },
	{ "five wrong ones", AUTH_OFFERED | TLS,
	  "AUTH LOGIN YQ==\r\nYQ==\r\nAUTH LOGIN YQ==\r\nYQ==\r\nAUTH LOGIN "
	  "YQ==\r\nYQ==\r\n"
	  "AUTH LOGIN YQ==\r\nYQ==\r\nAUTH LOGIN YQ==\r\nYQ==\r\nNOOP\r\n",
	  "334 535 334 535 334 535 334 535 334 421",
	  "auth a a\nauth a a\nauth a a\nauth a a\nauth a a\n" },
	{ "STARTTLS under TLS", TLS_OFFERED | TLS, "STARTTLS\r\n", "503", "" },
};

/* In two pieces cut at at; SIZE_MAX: octet by octet. */
static void run(struct serverbed *b, struct str in, size_t at)
{
	if (at != SIZE_MAX) {
		bed_say(b, str_head(in, at));
		bed_say(b, str_from(in, at));
		return;
	}
	for (size_t i = 0; i < in.n; i++)
		bed_say(b, str_head(str_from(in, i), 1));
}

static void test_dialogues(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(dialogues); i++) {
		struct str in = str_z(dialogues[i].in);
		struct serverbed b;

		for (size_t at = dialogues[i].how & BYTEWISE ? in.n + 1 : 0;
		     at <= in.n + 1; at++) {
			const char *why;

			setup(&b, dialogues[i].how);
			run(&b, in, at <= in.n ? at : SIZE_MAX);
			codes(buf_view(&b.out), &got);
			if (strcmp(got.p, dialogues[i].want) != 0)
				fail_msg("%s, cut at %zu: %s", dialogues[i].name, at,
				         got.p);
			buf_c(&b.calls, '\0');
			if (strcmp(b.calls.p, dialogues[i].calls) != 0)
				fail_msg("%s, cut at %zu: asked %s", dialogues[i].name,
				         at, b.calls.p);
			why = bed_bad_replies(buf_view(&b.out));
			if (why || b.wrong)
				fail_msg("%s: %s", dialogues[i].name,
				         why ? why : b.wrong);
			bed_close(&b);
		}
	}
}

static const struct {
	const char *name;
	unsigned how;
	const char *want;
} greetings[] = {
	{ "plain", 0,
	  "220 box.example ESMTP mailchute\r\n250-box.example\r\n250-PIPELINING\r\n"
	  "250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
	  "250-LIMITS RCPTMAX=3\r\n250 SIZE 1000\r\n" },
	{ "before TLS", TLS_OFFERED | AUTH_OFFERED,
	  "220 box.example ESMTP mailchute\r\n250-box.example\r\n250-PIPELINING\r\n"
	  "250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
	  "250-LIMITS RCPTMAX=3\r\n250-STARTTLS\r\n250 SIZE 1000\r\n" },
	{ "under TLS", TLS_OFFERED | AUTH_OFFERED | TLS,
	  "220 box.example ESMTP mailchute\r\n250-box.example\r\n250-PIPELINING\r\n"
	  "250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
	  "250-LIMITS RCPTMAX=3\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000\r\n" },
};

static void test_ehlo(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(greetings); i++) {
		struct serverbed b;

		setup(&b, greetings[i].how);
		server_greet(&b.s, &b.out);
		bed_say(&b, STR("EHLO [192.0.2.1] x\r\n"));
		if (strcmp(b.out.p, greetings[i].want) != 0)
			fail_msg("%s: %s", greetings[i].name, b.out.p);
		assert_string_equal(b.s.helo.p, "[192.0.2.1] x");
		assert_true(b.s.esmtp);
		bed_say(&b, STR("HELO y\r\n"));
		assert_string_equal(b.s.helo.p, "y");
		assert_false(b.s.esmtp);
		bed_close(&b);
	}
}

static void test_starttls(void **state)
{
	struct serverbed b;

	(void)state;
	setup(&b, TLS_OFFERED | AUTH_OFFERED);
	bed_say(&b, STR("EHLO x\r\nMAIL FROM:<a@b>\r\n"));
	assert_int_equal(bed_say(&b, STR("STARTTLS\r\n")), SERVER_STARTTLS);
	assert_int_equal(b.resets, 1);
	server_tls(&b.s);
	assert_int_equal(b.s.helo.n, 0);
	buf_reset(&b.out);
	assert_int_equal(bed_say(&b, STR("RCPT TO:<c@d>\r\nAUTH PLAIN AHVzZXIAcHc=\r\n")),
	                 SERVER_GO_ON);
	assert_string_equal(b.out.p, "503 5.5.1 MAIL first\r\n"
	                             "235 2.7.0 You are logged in\r\n");
	assert_string_equal(b.s.user.p, "user");
	bed_close(&b);
}

/* Octets that came with a command which had to be waited for are no commands. */
static const struct {
	const char *name, *in, *behind, *want;
} behinds[] = {
	{ "STARTTLS", "STARTTLS\r\n", "NOOP\r\n", "421" },
	{ "STARTTLS and an octet", "STARTTLS\r\n", "\n", "421" },
	{ "DATA without a sender", "DATA\r\n", "MAIL FROM:<evil@x>\r\n", "503 421" },
	{ "DATA without a recipient", "MAIL FROM:<>\r\nDATA\r\n",
	  "Subject: x\r\n\r\n.\r\nMAIL FROM:<evil@x>\r\n", "250 554 421" },
	{ "DATA with an argument", "DATA x\r\n", "MAIL FROM:<evil@x>\r\n", "501 421" },
};

static void test_behind(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(behinds); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT;
		struct serverbed b;
		enum server_event e;

		setup(&b, TLS_OFFERED);
		buf_z(&in, behinds[i].in);
		buf_z(&in, behinds[i].behind);
		e = bed_say(&b, buf_view(&in));
		codes(buf_view(&b.out), &got);
		if (e != SERVER_CLOSE || strcmp(got.p, behinds[i].want) != 0)
			fail_msg("%s: %s", behinds[i].name, got.p);
		if (strstr(b.calls.n ? b.calls.p : "", "evil") || b.wrong)
			fail_msg("%s: obeyed", behinds[i].name);
		bed_close(&b);
		/* Without them it goes on. */
		setup(&b, TLS_OFFERED);
		e = bed_say(&b, str_z(behinds[i].in));
		if (e == SERVER_CLOSE)
			fail_msg("%s: closed", behinds[i].name);
		bed_close(&b);
	}
	{
		/* The client that came too early, when the room is gone. */
		struct serverbed b;

		setup(&b, 0);
		b.begin_says = 452;
		bed_say(&b, STR("MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n"));
		assert_int_equal(b.s.state, SERVER_COMMAND);
		b.begin_says = 0;
		bed_say(&b, STR("DATA\r\nx\r\n.\r\n"));
		assert_int_equal(b.committed, 1);
		bed_close(&b);
	}
}

static const struct {
	const char *name;
	const char *start;
	size_t fill; /* octets in all, without line end */
	const char *want;
} lines[] = {
	{ "NOOP that fits", "NOOP ", SERVER_LINE_MAX, "250" },
	{ "NOOP too long", "NOOP ", SERVER_LINE_MAX + 1, "500" },
	{ "NOOP far too long", "NOOP ", 3 * SERVER_LINE_MAX, "500" },
	{ "NOOP endless", "NOOP ", 1000000, "500" },
	{ "AUTH that fits", "AUTH X ", SERVER_LINE_MAX + SERVER_AUTH_MAX, "504" },
	{ "AUTH too long", "AUTH X ", SERVER_LINE_MAX + SERVER_AUTH_MAX + 1, "500" },
	{ "EHLO too long", "EHLO ", 5 + SERVER_HELO_MAX + 1, "501" },
	{ "EHLO that fits", "EHLO ", 5 + SERVER_HELO_MAX, "250" },
};

static void test_long_lines(void **state)
{
	static const size_t reads[] = { 1, 100, 2049, SIZE_MAX };
	static const char *const eols[] = { "\r\nNOOP\r\n", "\nNOOP\r\n" };
	_cleanup_buf_ struct buf got = BUF_INIT, want = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines) * 2 * ARRAY_LEN(reads); i++) {
		size_t k = i / 2 / ARRAY_LEN(reads),
		       read = reads[i / 2 % ARRAY_LEN(reads)];
		_cleanup_buf_ struct buf in = BUF_INIT;
		struct serverbed b;
		struct str rest;

		setup(&b, AUTH_OFFERED | TLS);
		buf_z(&in, lines[k].start);
		while (in.n < lines[k].fill)
			buf_c(&in, 'x');
		buf_z(&in, eols[i % 2]);
		for (rest = buf_view(&in); rest.n; rest = str_from(rest, read)) {
			bed_say(&b, str_head(rest, read));
			assert_true(b.s.line.cap <=
			            2 * (SERVER_LINE_MAX + SERVER_AUTH_MAX));
		}
		codes(buf_view(&b.out), &got);
		buf_reset(&want);
		buf_fmt(&want, "%s 250", lines[k].want);
		if (strcmp(got.p, want.p) != 0)
			fail_msg("%s, %zu at a time: %s", lines[k].name, read, got.p);
		bed_close(&b);
	}
}

/* A CR where the line is cut does not make it a short one. */
static void test_long_line_with_cr(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT;
	struct serverbed b;

	(void)state;
	setup(&b, 0);
	buf_z(&in, "NOOP ");
	while (in.n < SERVER_LINE_MAX)
		buf_c(&in, 'x');
	buf_z(&in, "\rand more\r\n");
	bed_say(&b, buf_view(&in));
	assert_string_equal(b.out.p, "500 5.5.2 Line too long\r\n");
	bed_close(&b);
}

/* A password is nowhere: not in a reply, not in what is kept. */
static void test_no_echo(void **state)
{
	static const char secret[] = "c2VjcmV0c2VjcmV0";
	static const char *const in[] = {
		"AUTH PLAIN c2VjcmV0c2VjcmV0\r\n",
		"AUTH PLAIN\r\nc2VjcmV0c2VjcmV0\r\n",
		"AUTH LOGIN\r\nYQ==\r\nc2VjcmV0c2VjcmV0\r\n",
		"AUTH LOGIN c2VjcmV0c2VjcmV0 c2VjcmV0c2VjcmV0\r\n",
		"AUTH c2VjcmV0c2VjcmV0\r\n",
		"c2VjcmV0c2VjcmV0\r\n",
		"AUTH LOGIN\r\nc2VjcmV0c2VjcmV0\r\n*\r\nc2VjcmV0c2VjcmV0\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(in); i++) {
		struct serverbed b;

		setup(&b, AUTH_OFFERED | TLS);
		bed_say(&b, str_z(in[i]));
		if (strstr(b.out.p, secret) || strstr(b.out.p, "secret"))
			fail_msg("%s: %s", in[i], b.out.p);
		for (size_t k = 0; b.s.line.n == 0 && k + 16 <= b.s.line.cap && k < 64;
		     k++)
			if (memcmp(b.s.line.p + k, secret, 16) == 0)
				fail_msg("%s: kept", in[i]);
		bed_close(&b);
	}
}

/* What the caller says to MAIL, RCPT and DATA. */
static void test_refusals(void **state)
{
	static const struct {
		const char *name;
		int mail, rcpt, begin;
		const char *words, *want;
	} rows[] = {
		{ "sender", 550, 0, 0, "5.7.1 not you",
		  "550 5.7.1 not you\r\n503 5.5.1 MAIL first\r\n503 5.5.1 MAIL "
		  "first\r\n" },
		{ "door", 452, 0, 0, "full",
		  "452 4.3.1 full\r\n"
		  "503 5.5.1 MAIL first\r\n503 5.5.1 MAIL first\r\n" },
		{ "recipient", 0, 553, 0, NULL,
		  "250 2.1.0 Sender accepted\r\n553 5.1.3 This is no address\r\n"
		  "554 5.5.1 No recipient was accepted\r\n" },
		{ "data", 0, 0, -ENOSPC, NULL,
		  "250 2.1.0 Sender accepted\r\n250 2.1.5 Recipient accepted\r\n"
		  "452 4.3.1 No room now, try again later\r\n" },
		{ "the end", 0, 421, 0, NULL,
		  "250 2.1.0 Sender accepted\r\n"
		  "421 4.3.2 box.example Closing, come back later\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct serverbed b;

		setup(&b, 0);
		b.mail_says = rows[i].mail;
		b.rcpt_says = rows[i].rcpt;
		b.begin_says = rows[i].begin;
		b.words = rows[i].words;
		bed_say(&b, STR("MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"));
		if (strcmp(b.out.p, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, b.out.p);
		bed_close(&b);
		assert_null(b.wrong);
	}
}

/* A long list of recipients that the caller refuses is not the end of the session. */
static void test_theirs_do_not_count(void **state)
{
	struct serverbed b;

	(void)state;
	setup(&b, FEW_ERRORS);
	b.rcpt_says = 550;
	bed_say(&b, STR("MAIL FROM:<a>\r\n"));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(bed_say(&b, STR("RCPT TO:<b>\r\n")), SERVER_GO_ON);
	assert_int_equal(b.refused, 1000);
	bed_close(&b);
}

static void test_bye(void **state)
{
	struct serverbed b;

	(void)state;
	setup(&b, 0);
	bed_say(&b, STR("MAIL FROM:<a>\r\n"));
	buf_reset(&b.out);
	server_bye(&b.s, STR("4.4.2 idle for too long"), &b.out);
	server_bye(&b.s, STR("4.4.2 idle for too long"), &b.out);
	assert_string_equal(b.out.p, "421 4.4.2 box.example idle for too long\r\n");
	assert_int_equal(b.resets, 1);
	assert_int_equal(bed_say(&b, STR("NOOP\r\n")), SERVER_CLOSE);
	bed_close(&b);
}

/* The checker itself must see what is wrong. */
static void test_checker(void **state)
{
	static const char *const bad[] = {
		"250 2.0.0 ok\n",
		"250 2.0.0 ok",
		"25 ok\r\n",
		"650 6.0.0 x\r\n",
		"250-x\r\n",
		"250-x\r\n251 y\r\n",
		"550 no code\r\n",
		"550 4.0.0 class\r\n",
		"250 a\rb\r\n",
		"250 2.0.0 \t x\r\n",
		"\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!bed_bad_replies(str_z(bad[i])))
			fail_msg("not seen: %s", bad[i]);
	assert_null(
	    bed_bad_replies(STR("250-a b\r\n250 SIZE 1\r\n550 5.1.1 no\r\n334 \r\n")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_ehlo),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_behind),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_long_line_with_cr),
		cmocka_unit_test(test_no_echo),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_theirs_do_not_count),
		cmocka_unit_test(test_bye),
		cmocka_unit_test(test_checker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
