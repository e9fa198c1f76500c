#include "props.h"
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ID "0123456789abcdef"
#define RECEIVED                                                       \
	"Received: by box.example.org (mailchute, from userid 1000)\n" \
	"\tid " ID "; Sun, 22 Nov 2026 01:46:00 +0000\n"
#define DATE "Date: Sun, 22 Nov 2026 01:46:00 +0000\n"
#define MESSAGE_ID "Message-ID: <" ID "@box.example.org>\n"
#define REST "Date: x\nMessage-ID: <x@y>\n"

/* What the tests start from; each row changes a little. */
static struct compose_conf conf_plain(void)
{
	return (struct compose_conf){ .hostname = STR("box.example.org"),
		                      .domain = STR("example.org") };
}

static struct envelope envelope_plain(void)
{
	return (struct envelope){ .uid = 1000,
		                  .login = STR("eddy"),
		                  .gecos = STR("Eddy Moe"),
		                  .time = 1795311960 };
}

static void compose(const struct compose_conf *c, const struct envelope *e,
                    struct str header, struct buf *out)
{
	compose_header(c, e, STR(ID), STR_NONE, header, out);
}

static void check_text(const char *name, const struct buf *got, const char *want)
{
	if (!str_eq(buf_view(got), str_z(want)))
		fail_msg("%s: want\n%s\ngot\n%.*s", name, want, (int)got->n,
		         got->n ? got->p : "");
}

/* A field in, the field out. rule: what is match "*"; name: its name template. */
static void test_fields(void **state)
{
	static const struct {
		const char *name, *rule, *as_name, *in, *want;
	} rows[] = {
		{ "cron", "e@i", NULL, "From: root (Cron Daemon)\n",
		  "From: e@i (Cron Daemon)\nAuto-Submitted: auto-generated\n" },
		{ "cronie", "e@i", NULL, "From: \"(Cron Daemon)\" <root>\n",
		  "From: \"(Cron Daemon)\" <e@i>\nAuto-Submitted: auto-generated\n" },
		{ "cron, named", "e@i", "%n at %h", "From: root (Cron Daemon)\n",
		  "From: \"Cron Daemon at box.example.org\" <e@i>\n"
		  "Auto-Submitted: auto-generated\n" },
		{ "cronie, named", "e@i", "%n at %h", "From: \"(Cron Daemon)\" <root>\n",
		  "From: \"Cron Daemon at box.example.org\" <e@i>\n"
		  "Auto-Submitted: auto-generated\n" },
		{ "cron by its fields", NULL, NULL,
		  "From: root@b\nX-Cron-Env: <HOME=/root>\nX-Cron-Env: <A=b>\n",
		  "From: root@b\nX-Cron-Env: <HOME=/root>\nX-Cron-Env: <A=b>\n"
		  "Auto-Submitted: auto-generated\n" },
		{ "anacron", NULL, NULL, "From: Anacron <root>\n",
		  "From: Anacron <root@example.org>\nAuto-Submitted: auto-generated\n" },
		{ "cron that says so", NULL, NULL,
		  "From: a@b (Cron Daemon)\nauto-submitted: auto-replied\n",
		  "From: a@b (Cron Daemon)\nauto-submitted: auto-replied\n" },
		{ "not cron", NULL, NULL, "From: Cron <a@b>\nSubject: (Cron Daemon)\n",
		  "From: Cron <a@b>\nSubject: (Cron Daemon)\n" },
		{ "open angle", NULL, NULL, "From: A <a@b\n", "From: A <a@b>\n" },
		{ "open angle, rule", "e@i", NULL, "From: A <@x:a@b (c)\nTo: <d@e , f\n",
		  "From: A <e@i> (c)\nTo: <d@e> , f@example.org\n" },
		{ "two authors", NULL, NULL, "From: a@b, C <c@d>\n",
		  "From: a@b, C <c@d>\nSender: \"Eddy Moe\" <eddy@example.org>\n" },
		{ "two authors, rule", "e@i", NULL, "From: a@b, C <c@d>\n",
		  "From: e@i, C <e@i>\nSender: \"Eddy Moe\" <e@i>\n" },
		{ "two authors in a group", NULL, NULL, "From: G: a@b, c@d;\n",
		  "From: G: a@b, c@d;\nSender: \"Eddy Moe\" <eddy@example.org>\n" },
		{ "two authors, a sender", NULL, NULL, "Sender: x@y\nFrom: a@b, c@d\n",
		  "Sender: x@y\nFrom: a@b, c@d\n" },
		{ "two authors, no sender in it", NULL, NULL,
		  "From: a@b, c@d\nSender: the boss\n",
		  "From: a@b, c@d\nX-Original-Sender: the boss\n"
		  "Sender: \"Eddy Moe\" <eddy@example.org>\n" },
		{ "two of each", NULL, NULL,
		  "From: a@b\nFrom: c@d\nDate: y\nDATE: z\nSender: a@b\nSender: c@d\n"
		  "Reply-To: a\nReply-To: b\nMessage-ID: <q>\nSubject: s\nSubject: t\n"
		  "In-Reply-To: <1>\nIn-Reply-To: <2>\nReferences: <1>\n"
		  "References:\n <2>\nContent-Type: text/plain\nContent-type: x/y\n"
		  "Comments: 1\nComments: 2\nReceived: 1\nReceived: 2\n",
		  "From: a@b\nX-Original-From: c@d\nX-Original-Date: y\n"
		  "X-Original-DATE: z\nSender: a@b\nX-Original-Sender: c@d\n"
		  "Reply-To: a@example.org\nX-Original-Reply-To: b\n"
		  "X-Original-Message-ID: <q>\nSubject: s\nX-Original-Subject: t\n"
		  "In-Reply-To: <1>\nX-Original-In-Reply-To: <2>\nReferences: <1>\n"
		  "X-Original-References:\n <2>\nContent-Type: text/plain\n"
		  "X-Original-Content-type: x/y\n"
		  "Comments: 1\nComments: 2\nReceived: 1\nReceived: 2\n" },
		{ "two of MIME's", NULL, NULL,
		  "From: a@b\nMIME-Version: 1.0\nmime-version: 1.0\n"
		  "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n",
		  "From: a@b\nMIME-Version: 1.0\nX-Original-mime-version: 1.0\n"
		  "Content-Transfer-Encoding: 7bit\n"
		  "X-Original-Content-Transfer-Encoding: base64\n" },
		{ "everything resent", NULL, NULL,
		  "From: a@b\nResent-From: r\nResent-Sender: s\nResent-Reply-To: t\n"
		  "Resent-To: u\nResent-Cc: v\nResent-To: w\n",
		  "From: a@b\nResent-From: r@example.org\nResent-Sender: s@example.org\n"
		  "Resent-Reply-To: t@example.org\nResent-To: u@example.org\n"
		  "Resent-Cc: v@example.org\nResent-To: w@example.org\n" },
		{ "joined, a backslash at the end", NULL, NULL,
		  "From: a@b\nTo: a@b, x\\ \nTo: c@d\n",
		  "From: a@b\nTo: c@d\nX-Original-To: a@b, x\\ \n" },
		{ "the first good From", NULL, NULL, "From: nobody here\nFrom: a@b\n",
		  "X-Original-From: nobody here\nFrom: a@b\n" },
		{ "empty ones go", NULL, NULL,
		  "From:\nSender: \nFrom: a@b\nReply-To:\n\t\nResent-To: ,\nSubject:\n",
		  "From: a@b\nSubject:\n" },
		{ "joined", NULL, NULL,
		  "From: a@b\nto: a, \n b (x)\nX: y\nTO:c@d,\nTo:\nTo: G: e;\n",
		  "From: a@b\nTo: a@example.org, \n b@example.org (x),\n c@d,\n "
		  "G: e@example.org;\nX: y\n" },
		{ "joined, with what is no list", NULL, NULL,
		  "From: a@b\nTo: \"c@d\nTo: e@f\nTo: g h\nTo: i@j (k\n",
		  "From: a@b\nTo: e@f\nX-Original-To: \"c@d\nX-Original-To: g h\n"
		  "X-Original-To: i@j (k\n" },
		{ "kept", NULL, NULL, "From: \"a, b\"\n\t<x@y>  (c)\n",
		  "From: \"a, b\"\n\t<x@y>  (c)\n" },
		{ "completed", NULL, NULL, "From:root\n", "From:root@example.org\n" },
		{ "completed, angled", NULL, NULL, "From: A <root> (b)\n",
		  "From: A <root@example.org> (b)\n" },
		{ "completed list", NULL, NULL,
		  "From: x\nTo: a, T: \"b c\" , d@e;,\n f (g)\n",
		  "From: x@example.org\nTo: a@example.org, T: \"b c\"@example.org , "
		  "d@e;,\n "
		  "f@example.org (g)\n" },
		{ "to not masqueraded", "e@i", NULL, "From: a@b\nTo: a@b\n",
		  "From: e@i\nTo: a@b\n" },
		{ "sender", "e@i", NULL, "From: a@b\nsender :  a@b\n",
		  "From: e@i\nsender :  e@i\n" },
		{ "resent", "e@i", NULL, "From: a@b\nResent-From: r\nResent-To: t\n",
		  "From: e@i\nResent-From: e@i\nResent-To: t@example.org\n" },
		{ "group", "e@i", NULL, "From: G: a@b, \"x\" <c@d> (q);\n",
		  "From: G: e@i, \"x\" <e@i> (q);\n"
		  "Sender: \"Eddy Moe\" <e@i>\n" },
		{ "encoded word", "e@i", NULL,
		  "From: =?utf-8?q?J=C3=BC?=\n =?utf-8?q?x?= <a@b>\n",
		  "From: =?utf-8?q?J=C3=BC?=\n =?utf-8?q?x?= <e@i>\n" },
		{ "route and comments", "e@i", NULL, "From: (1) A <@x:a@b> (2)\n",
		  "From: (1) A <e@i> (2)\n" },
		{ "crlf", "e@i", NULL, "From: A\r\n <a@b>\r\nX: y\r\r\n",
		  "From: A\n <e@i>\nX: y\n" },
		{ "no last line end", "e@i", NULL, "From: a@b", "From: e@i\n" },
		{ "dropped", NULL, NULL,
		  "Return-Path: <a@b>\nFrom: a@b\nBCC: c,\n d\nResent-Bcc : e\nX: y\n",
		  "From: a@b\nX: y\n" },
		{ "mbox", NULL, NULL, "From root Thu\nFrom: a@b\n", "From: a@b\n" },
		{ "user template", "%u@i", NULL, "From: root\n", "From: root@i\n" },
		{ "named", "e@i", "Box", "From: \"Old\" <a@b> (c)\n",
		  "From: \"Box\" <e@i>\n" },
		{ "named, bare", "e@i", "%n at %h", "From: root (Cron \\(x\\) Daemon)\n",
		  "From: \"Cron (x) Daemon at box.example.org\" <e@i>\n" },
		{ "named, phrase", "e@i", "%n at %u", "From: Ed \"D.\\\" x\" Moe <a@b>\n",
		  "From: \"Ed D.\\\" x Moe at a\" <e@i>\n" },
		{ "named, nameless", "e@i", "%n", "From: a@b\n",
		  "From: \"Eddy Moe\" <e@i>\n" },
		{ "named, 8 bit", "e@i", "J\xc3\xbcrgen %n", "From: x <a@b>\n",
		  "From: =?utf-8?q?J=C3=BCrgen_x?= <e@i>\n" },
		{ "named, encoded", "e@i", "%n at h", "From: =?utf-8?q?J=C3=BC?= <a@b>\n",
		  "From: =?utf-8?q?J=C3=BC?= \"at h\" <e@i>\n" },
		{ "named by completed parts", "e@i", "%u %d", "From: root\n",
		  "From: \"root example.org\" <e@i>\n" },
		{ "bad template", "%d@x y", NULL, "From: a\n", "From: a@example.org\n" },
		{ "bad template, named", "%d@x y", "Box", "From: A <a>\n",
		  "From: A <a@example.org>\n" },
		{ "two bad, one good", "e@i", NULL, "From: J Smith, Inc. <a@b>\n",
		  "From: J Smith, Inc. <e@i>\n" },
		{ "unclosed", NULL, NULL, "From: root (Cron Daemon\nX: y\n",
		  "X-Original-From: root (Cron Daemon\nX: y\n"
		  "From: \"Eddy Moe\" <eddy@example.org>\n" },
		{ "empty", NULL, NULL, "From:\n",
		  "From: \"Eddy Moe\" <eddy@example.org>\n" },
		{ "null", NULL, NULL, "From: <>\n",
		  "X-Original-From: <>\nFrom: \"Eddy Moe\" <eddy@example.org>\n" },
		{ "missing", "%u@i", NULL, "X: y\n",
		  "X: y\nFrom: \"Eddy Moe\" <eddy@i>\n" },
		{ "missing, named", "e@i", "%n at %h", "X: y\n",
		  "X: y\nFrom: \"Eddy Moe at box.example.org\" <e@i>\n" },
		{ "illegal stays", "e@i", NULL, "From: a@b\nSender: a\x01@b\n",
		  "From: e@i\nSender: a\x01@b\n" },
	};
	static char any[] = "*";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, want = BUF_INIT, got = BUF_INIT;
		char *as = str_dup(str_z(rows[i].rule)),
		     *name = str_dup(str_z(rows[i].as_name));
		const struct masq_rule rule = { .match = any,
			                        .as = as,
			                        .name = rows[i].as_name ? name : NULL,
			                        .rewrite = MASQ_DEFAULT };
		struct compose_conf c = conf_plain();
		struct envelope e = envelope_plain();

		c.rules = &rule;
		c.rules_n = rows[i].rule ? 1 : 0;
		buf_z(&in, REST "Cc: z@z\n");
		buf_z(&in, rows[i].in);
		buf_z(&want, RECEIVED REST "Cc: z@z\n");
		buf_z(&want, rows[i].want);
		buf_c(&want, '\n');
		compose(&c, &e, buf_view(&in), &got);
		free(as);
		free(name);
		check_text(rows[i].name, &got, want.p);
	}
}

static void test_missing(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "all", "",
		  DATE MESSAGE_ID "From: \"Eddy Moe\" <eddy@example.org>\n"
		                  "To: undisclosed-recipients:;\n" },
		{ "subject only", "Subject: x\n",
		  "Subject: x\n" DATE MESSAGE_ID "From: \"Eddy Moe\" <eddy@example.org>\n"
		  "To: undisclosed-recipients:;\n" },
		{ "date", REST "From: a@b\nTo: c@d\n", REST "From: a@b\nTo: c@d\n" },
		{ "bcc is not enough", REST "From: a@b\nBcc: c@d\n",
		  REST "From: a@b\nTo: undisclosed-recipients:;\n" },
		{ "cc is enough", REST "From: a@b\nCc: c@d\n",
		  REST "From: a@b\nCc: c@d\n" },
		{ "empty to", REST "From: a@b\nTo: ,\n",
		  REST "From: a@b\nTo: undisclosed-recipients:;\n" },
		{ "two to, both no lists", REST "From: a@b\nTo: a b\nTo: (c\n",
		  REST "From: a@b\nX-Original-To: a b\nX-Original-To: (c\n"
		       "To: undisclosed-recipients:;\n" },
		{ "two cc", REST "Cc: a@b\nFrom: a@b\nCc: c@d\nTo: e@f\nTo: g@h\n",
		  REST "Cc: a@b,\n c@d\nFrom: a@b\nTo: e@f,\n g@h\n" },
		{ "empty date and id", "Date:\nMessage-ID: \nFrom: a@b\nTo: c@d\n",
		  "From: a@b\nTo: c@d\n" DATE MESSAGE_ID },
		{ "case", "dAtE: x\nMESSAGE-id: <x@y>\nFROM: a@b\nCC: c@d\n",
		  "dAtE: x\nMESSAGE-id: <x@y>\nFROM: a@b\nCC: c@d\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf want = BUF_INIT, got = BUF_INIT;
		struct compose_conf c = conf_plain();
		struct envelope e = envelope_plain();

		buf_z(&want, RECEIVED);
		buf_z(&want, rows[i].want);
		buf_c(&want, '\n');
		compose(&c, &e, str_z(rows[i].in), &got);
		check_text(rows[i].name, &got, want.p);
	}
}

/* Sender of the envelope and the From that is made of it. */
static void test_sender(void **state)
{
	static const struct {
		const char *name, *login, *hint, *gecos, *full,
		    *f; /* f NULL: no F line */
		const char *domain, *want_sender, *want_from;
	} rows[] = {
		{ "login", "eddy", "", "", "", NULL, "d", "eddy@d", "eddy@d" },
		{ "hint", "", "joe", "", "", NULL, "d", "joe@d", "joe@d" },
		{ "uid", "", "", "", "", NULL, "d", "uid1000@d", "uid1000@d" },
		{ "no domain", "eddy", "", "", "", NULL, "", "eddy", "eddy" },
		{ "f", "eddy", "", "Eddy", "", "a@b", "d", "a@b", "\"Eddy\" <a@b>" },
		{ "f bare", "eddy", "", "", "", "root", "d", "root@d", "root@d" },
		{ "f null", "eddy", "", "Eddy", "", "", "d", "", "MAILER-DAEMON@d" },
		{ "f null, -F", "eddy", "", "", "N", "", "d", "",
		  "\"N\" <MAILER-DAEMON@d>" },
		{ "-F", "eddy", "", "Eddy", "Cron Daemon", NULL, "d", "eddy@d",
		  "\"Cron Daemon\" <eddy@d>" },
		{ "windows", "CORP\\ed", "", "", "", NULL, "d", "\"CORP\\\\ed\"@d",
		  "\"CORP\\\\ed\"@d" },
		{ "directory", "ed@corp.lan", "", "", "", NULL, "d", "ed@corp.lan",
		  "ed@corp.lan" },
		{ "blank in hint", "", "Joe User", "", "", NULL, "d", "\"Joe User\"@d",
		  "\"Joe User\"@d" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT, want = BUF_INIT;
		struct compose_conf c = conf_plain();
		struct envelope e = envelope_plain();
		struct plan p;

		c.domain = str_z(rows[i].domain);
		e.login = str_z(rows[i].login);
		e.hint = str_z(rows[i].hint);
		e.gecos = str_z(rows[i].gecos);
		e.full_name = str_z(rows[i].full);
		e.has_sender = rows[i].f != NULL;
		e.sender = str_z(rows[i].f);
		compose_plan(&c, &e, &p);
		if (strcmp(p.sender, rows[i].want_sender) != 0)
			fail_msg("%s: sender %s", rows[i].name, p.sender);
		compose_header(&c, &e, STR(ID), STR_NONE, STR(REST "To: a@b\n"), &got);
		plan_free(&p);
		buf_fmt(&want, RECEIVED REST "To: a@b\nFrom: %s\n\n", rows[i].want_from);
		check_text(rows[i].name, &got, want.p);
	}
}

static void test_masquerade(void **state)
{
	char any[] = "*", as[] = "e@i", expose[] = "postmaster@*", root[] = "root";
	char *exposed[] = { expose }, *users[] = { root };
	struct masq_rule rule = { .match = any, .as = as, .rewrite = MASQ_DEFAULT };
	struct compose_conf c = conf_plain();
	struct envelope e = envelope_plain();
	static const struct {
		const char *name, *f, *login, *hint;
		bool for_root;
		const char *want;
	} rows[] = {
		{ "rule", "a@b", "x", "", false, "e@i" },
		{ "null", "", "x", "", false, "" },
		{ "exposed", "Postmaster@b", "x", "", false, "Postmaster@b" },
		{ "exposed, bare", "postmaster", "x", "", false,
		  "postmaster@example.org" },
		{ "for root", "a@b", "root", "", true, "e@i" },
		{ "not for others", "a@b", "x", "", true, "a@b" },
		{ "a hint is not believed", "a@b", "", "root", true, "a@b" },
	};

	(void)state;
	c.rules = &rule;
	c.rules_n = 1;
	c.expose = (struct strv){ .v = exposed, .n = 1 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct plan p;

		rule.user = (struct strv){ .v = users, .n = rows[i].for_root };
		e.has_sender = true;
		e.sender = str_z(rows[i].f);
		e.login = str_z(rows[i].login);
		e.hint = str_z(rows[i].hint);
		compose_plan(&c, &e, &p);
		if (strcmp(p.sender, rows[i].want) != 0)
			fail_msg("%s: got %s", rows[i].name, p.sender);
		plan_free(&p);
	}
}

static void test_recipients(void **state)
{
	struct compose_conf c = conf_plain();
	struct envelope e = envelope_plain();
	struct env_rcpt rcpt[] = {
		{ .addr = STR("b@x.org") },
		{ .addr = STR("root"),
		  .notify = STR("NEVER"),
		  .orcpt = STR("rfc822;root") },
		{ .addr = STR("B@x.org") },
		{ .addr = STR("b@X.ORG"), .notify = STR("DELAY") },
		{ .addr = STR("root@Example.Org"), .notify = STR("DELAY") },
		{ .addr = STR("a@x.org") },
		{ .addr = STR("root") },
	};
	static const char *const want[] = { "b@x.org", "root@example.org", "B@x.org",
		                            "a@x.org" };
	struct plan p;

	(void)state;
	e.rcpt = rcpt;
	e.rcpts = ARRAY_LEN(rcpt);
	e.ret = STR("FULL");
	e.envid = STR("x");
	compose_plan(&c, &e, &p);
	assert_int_equal(p.rcpts, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_string_equal(p.rcpt[i].addr, want[i]);
	assert_string_equal(p.rcpt[0].notify, "");
	assert_string_equal(p.rcpt[1].notify, "NEVER");
	assert_string_equal(p.rcpt[1].orcpt, "rfc822;root");
	assert_string_equal(p.ret, "FULL");
	assert_string_equal(p.envid, "x");
	plan_free(&p);
	assert_int_equal(p.rcpts, 0);
}

static void test_many_recipients(void **state)
{
	struct compose_conf c = conf_plain();
	struct envelope e = envelope_plain();
	static char names[ENVELOPE_RCPT_MAX][24];
	struct plan p;

	(void)state;
	e.rcpts = ENVELOPE_RCPT_MAX;
	e.rcpt = calloc(e.rcpts, sizeof(*e.rcpt));
	assert_non_null(e.rcpt);
	for (size_t i = 0; i < e.rcpts; i++) {
		snprintf(names[i], sizeof(names[i]), "r%zu", i / 2);
		e.rcpt[i].addr = str_z(names[i]);
	}
	compose_plan(&c, &e, &p);
	assert_int_equal(p.rcpts, ENVELOPE_RCPT_MAX / 2);
	plan_free(&p);
	envelope_free(&e);
}

static void test_received(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT;
	struct compose_conf c = conf_plain();
	struct envelope e = envelope_plain();

	(void)state;
	c.hostname = STR("");
	c.domain = STR("bad domain");
	compose(&c, &e, STR("From: a\nTo: c\nDate: x\n"), &got);
	check_text(
	    "no host", &got,
	    "Received: by mailchute.invalid (mailchute, from userid 1000)\n\tid " ID
	    "; Sun, 22 Nov 2026 01:46:00 +0000\nFrom: a\nTo: c\nDate: x\n"
	    "Message-ID: <" ID "@mailchute.invalid>\n\n");
}

/* A whole header without anything to do is unchanged, whatever it holds, but for the
 * Received in front; also in CRLF. */
static void test_unchanged(void **state)
{
	static const char in[] =
	    "Received: from x\n\tby y; z\nDate:x\nMessage-Id:  <a@b>\nX-8bit: "
	    "\xc3\xbc\xff\n"
	    "From: \"A, B\" <a@b> (c (d)), e . f @ g (h)\nSender: <a@b>\nReply-To: G:;\n"
	    "To: =?utf-8?q?x?= <a@b>,,\n  c@d (),\n\t\"q\\\"\" <\"r s\"@t>\nCc: no "
	    "address here\n"
	    "Subject :\n X\n \n Y\nX-Empty:\nResent-To: <@r,@s:t@u>\nResent-To: "
	    "again@x\n";
	struct compose_conf c = conf_plain();
	struct envelope e = envelope_plain();
	_cleanup_buf_ struct buf got = BUF_INIT, crlf = BUF_INIT;

	(void)state;
	compose(&c, &e, str_z(in), &got);
	check_text("lf", &got,
	           (buf_reset(&crlf), buf_z(&crlf, RECEIVED), buf_z(&crlf, in),
	            buf_c(&crlf, '\n'), crlf.p));
	buf_reset(&crlf);
	for (const char *p = in; *p; p++) {
		if (*p == '\n')
			buf_c(&crlf, '\r');
		buf_c(&crlf, *p);
	}
	{
		_cleanup_buf_ struct buf again = BUF_INIT;

		compose(&c, &e, buf_view(&crlf), &again);
		check_text("crlf", &again, got.p);
	}
}

/* Whatever byte stands anywhere in what is not ours, the generated fields are these, and
 * no line is bare. */
static void test_injection(void **state)
{
	static const char *const texts[] = { "a%cBcc: evil@x", "%c", "a%c%c\n\nbody",
		                             "%c x%c" };
	static const char want[] = "Received|Date|Message-ID|From|To|";

	(void)state;
	for (size_t where = 0; where < 7; where++) {
		for (size_t i = 0; i < ARRAY_LEN(texts) * 256; i++) {
			_cleanup_buf_ struct buf hostile = BUF_INIT, got = BUF_INIT,
			                         names = BUF_INIT;
			struct compose_conf c = conf_plain();
			struct envelope e = envelope_plain();
			struct str *const place[] = { &c.hostname, &c.domain,
				                      &e.login,    &e.gecos,
				                      &e.hint,     &e.full_name,
				                      &e.client };
			char new_name[] = "%n %u %h";
			char any[] = "*", as[] = "%u@%h";
			const struct masq_rule rule = { .match = any,
				                        .as = as,
				                        .name = new_name,
				                        .rewrite = MASQ_DEFAULT };
			struct str rest;
			struct head_field f;
			size_t empty;

			for (const char *t = texts[i / 256]; *t; t++) {
				if (*t == '%')
					buf_c(&hostile, (char)(i % 256));
				else if (t == texts[i / 256] || t[-1] != '%')
					buf_c(&hostile, *t);
			}
			*place[where] = buf_view(&hostile);
			if (where == 4)
				e.login = STR("");
			c.rules = &rule;
			c.rules_n = i & 1;
			compose(&c, &e, STR(""), &got);
			rest = buf_view(&got);
			assert_int_equal(head_length(rest, true, &empty), got.n);
			assert_int_equal(empty, 1);
			while (head_next(&rest, &f)) {
				buf_str(&names, f.name);
				buf_c(&names, '|');
			}
			check_text("fields", &names, want);
			for (size_t k = 0; k < got.n; k++)
				if (((unsigned char)got.p[k] < 0x20 && got.p[k] != '\n' &&
				     got.p[k] != '\t') ||
				    got.p[k] == 0x7f)
					fail_msg("place %zu text %zu: byte %d", where, i,
					         got.p[k]);
		}
	}
}

/* Bare names that fill lines: completed, they must not pass what SMTP carries. */
static void test_long_lines(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT;
	struct compose_conf c = conf_plain();
	struct envelope e = envelope_plain();
	size_t line = 0, names = 0;
	struct str rest;
	struct head_field f;

	(void)state;
	buf_z(&in, REST "From: a@b\nTo: ");
	for (size_t i = 0; i < COMPOSE_MAILBOX_MAX - 10; i++)
		buf_z(&in, i % 100 == 99 ? "x,\n " : "x,");
	buf_z(&in, "x\n");
	compose(&c, &e, buf_view(&in), &got);
	for (size_t i = 0; i < got.n; i++) {
		line = got.p[i] == '\n' ? 0 : line + 1;
		assert_true(line < 998);
	}
	rest = buf_view(&got);
	while (head_next(&rest, &f)) {
		struct addr_list l;
		struct addr a;

		if (!str_eq(f.name, STR("To")))
			continue;
		addr_list_start(&l, f.body);
		while (addr_list_next(&l, &a)) {
			names++;
			assert_true(str_eq(a.domain, STR("example.org")));
		}
		assert_false(l.bad);
	}
	assert_int_equal(names, COMPOSE_MAILBOX_MAX - 9);
}

/* Adds n times c. */
static void run_of(struct buf *b, char c, size_t n)
{
	while (n--)
		buf_c(b, c);
}

/* Where the wire would cut a line of the header, it is folded: nothing becomes a field. */
static void test_folded(void **state)
{
	static const struct {
		const char *name, *front;
		char pad;
		size_t n;
		const char *back, *want; /* what stands at the end of the field */
	} rows[] = {
		{ "just fits", "X: ", 'a', 994, "z", "az\n" },
		{ "one over", "X: ", 'a', 995, "z", "a\n z\n" },
		{ "a field behind the cut", "X: ", 'a', 995, "Evil: y", "a\n Evil: y\n" },
		{ "at a blank", "X: ", 'a', 990, " Evil: y", "a\n Evil: y\n" },
		{ "at a TAB", "X: ", 'a', 990, "\tEvil: y", "a\n\tEvil: y\n" },
		{ "at the last blank", "X: ", 'a', 990, " b Evil: y", "a b\n Evil: y\n" },
		{ "not in a character", "X: ", 'a', 994, "\xc3\xbc", "a\n \xc3\xbc\n" },
		{ "tails for ever", "X: ", '\xbc', 1200, "", "\xbc\n" },
		{ "blanks at the end", "X: a", ' ', 2000, "", "X: a" },
		{ "blanks in front", "X:", ' ', 3000, "Evil: y", "\n Evil: y\n" },
		{ "lone CR", "X: ", '\r', 995, "Evil: y", "X: \n Evil: y\n" },
		{ "second line", "X: a\n ", 'a', 997, "Evil: y", "a\n Evil: y\n" },
	};
	struct compose_conf c = conf_plain();
	struct envelope e = envelope_plain();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT;
		struct str rest, line;
		struct head_field f;
		size_t fields = 0;

		buf_z(&in, REST "From: a@b\nTo: a@b\n");
		buf_z(&in, rows[i].front);
		run_of(&in, rows[i].pad, rows[i].n);
		buf_z(&in, rows[i].back);
		compose(&c, &e, buf_view(&in), &got);
		rest = buf_view(&got);
		while (head_next(&rest, &f)) {
			fields++;
			if (!str_eq(f.name, STR("X")))
				continue;
			if (!memmem(f.raw.p, f.raw.n, rows[i].want, strlen(rows[i].want)))
				fail_msg("%s: got %.*s", rows[i].name, (int)f.raw.n,
				         f.raw.p);
			while (f.raw.n && str_cut(&f.raw, '\n', &line))
				if (line.n > COMPOSE_LINE_MAX || !str_trim(line).n)
					fail_msg("%s: a line of %zu", rows[i].name,
					         line.n);
		}
		if (fields != 6 || !str_eq(rest, STR("\n")))
			fail_msg("%s: %zu fields", rows[i].name, fields);
	}
}

static void test_phrase(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} rows[] = {
		{ "none", "", "a@b" },
		{ "blank", " \n", "a@b" },
		{ "plain", "Eddy", "\"Eddy\" <a@b>" },
		{ "quotes", "E \"x\" \\", "\"E \\\"x\\\" \\\\\" <a@b>" },
		{ "controls", "a\r\nBcc: x\x7f", "\"a Bcc: x\" <a@b>" },
		{ "utf-8", "J\xc3\xbcrgen (x)", "=?utf-8?q?J=C3=BCrgen_=28x=29?= <a@b>" },
		{ "latin", "J\xfcrgen", "=?unknown-8bit?q?J=FCrgen?= <a@b>" },
		{ "encoded word", "x =?utf-8?q?y?= z",
		  "\"x\" =?utf-8?q?y?= \"z\" <a@b>" },
		{ "encoded beside 8 bit", "\xc3\xbc =?utf-8?q?y?= \xc3\xbc",
		  "=?utf-8?q?=C3=BC_?= =?utf-8?q?y?= =?utf-8?q?_=C3=BC?= <a@b>" },
		{ "not an encoded word",
		  "=?utf-8?q?<x@y>,?=", "\"=?utf-8?q?<x@y>,?=\" <a@b>" },
		{ "long",
		  "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3"
		  "\xbc\xc3\xbc"
		  "\xc3\xbc",
		  "=?utf-8?q?=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3="
		  "BC?=\n"
		  " =?utf-8?q?=C3=BC?= <a@b>" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;

		phrase_mailbox(&got, str_z(rows[i].text), STR("a@b"));
		check_text(rows[i].name, &got, rows[i].want);
	}
}

/* The parts of a message that was split have one Message-ID, and each its own Received. */
static void test_origin(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT;
	const struct compose_conf c = conf_plain();
	const struct envelope e = envelope_plain();

	(void)state;
	compose_header(&c, &e, STR(ID), STR("0000000000000abc"),
	               STR("From: a@b\nTo: a@b\n"), &got);
	check_text("origin", &got,
	           RECEIVED "From: a@b\nTo: a@b\n" DATE
	                    "Message-ID: <0000000000000abc@box.example.org>\n\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),     cmocka_unit_test(test_missing),
		cmocka_unit_test(test_sender),     cmocka_unit_test(test_masquerade),
		cmocka_unit_test(test_recipients), cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_received),   cmocka_unit_test(test_unchanged),
		cmocka_unit_test(test_injection),  cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_phrase),     cmocka_unit_test(test_folded),
		cmocka_unit_test(test_origin),
	};

	return cmocka_run_group_tests_name("compose", tests, NULL, NULL);
}
