/* What `mailchute explain` says: every change with its reason, bounded, whatever comes. */
#include "push/explain.h"
#include "base/io.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define ID "0123456789abcdef"
#define TOP "mailchute 1\nU1000 eddy Eddy\nT900000\nmailchute-drop 1\n"
#define TO "To: ann@far.example\n"
#define FROM "From: e@x.example\n"
#define MADE "Date: Sun, 11 Jan 1970 10:00:00 +0000\nMessage-ID: <1@x.example>\n"

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X1000 X100 X100 X100 X100 X100 X100 X100 X100 X100 X100

#define Z(text) ((char[]){ text }) /* of static duration: outside of functions only */

static char *corp[] = { Z("nobody.example"), Z("*.corp.example") };
static char *lists[] = { Z("*@lists.example") };
static char *exposed[] = { Z("postmaster@*") };
static struct smarthost hosts[] = {
	{ .name = Z("isp"), .line = 3 },
	{ .name = Z("corp"), .for_ = { corp, 2 }, .line = 5 },
	{ .name = Z("lists"), .from = { lists, 1 }, .line = 7 },
};
static struct masq_rule rules[] = {
	{ .match = Z("root@*"),
	  .as = Z("alerts+%h@isp.example"),
	  .map = Z(""),
	  .name = Z("%n at %h"),
	  .rewrite = MASQ_DEFAULT,
	  .line = 9 },
	{ .match = Z("*@x.example"),
	  .as = Z("%u@isp.example"),
	  .map = Z(""),
	  .rewrite = MASQ_ENVELOPE,
	  .line = 11 },
};

static int memory(struct str text)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text.p, text.n), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static int explained(struct str file, const char *note, size_t smarthosts, bool json,
                     struct buf *ret)
{
	const struct conf conf = { .smarthost = hosts,
		                   .smarthosts = smarthosts,
		                   .rule = rules,
		                   .rules = 2,
		                   .max_message_size = 1000 };
	struct trace trace = { .conf = "C" };
	const struct compose_conf c = { .hostname = STR("box.x.example"),
		                        .domain = STR("x.example"),
		                        .domain_given = true,
		                        .rules = rules,
		                        .rules_n = 2,
		                        .expose = { exposed, 1 },
		                        .override = MASQ_OVERRIDE_YES,
		                        .trace = &trace };
	struct explain x = {
		.conf = &conf, .conf_path = "C", .compose = &c, .json = json
	};
	const char *why = "";
	int e;

	assert_true(id_from(STR(ID), &x.id));
	e = explain_message(&x, memory(file), note ? memory(str_z(note)) : -1, ret, &why);
	trace_free(&trace);
	return e;
}

/* All of it, once. */
static void test_whole(void **state)
{
	static const char file[] = TOP
	    "Rann\nR\"b b\"@a.corp.example\n\n"
	    "Return-Path: <x@y>\nFrom: root (Cron Daemon)\r\nTo: ann,\r\n b@y.example\r\n"
	    "Subject: s\n\nbody\n";
	static const char want[] =
	    "envelope sender\n"
	    "    - eddy\n"
	    "    + eddy@isp.example\n"
	    "        no -f: the submitter's login\n"
	    "        eddy -> eddy@x.example: it has no domain: gets `domain`\n"
	    "        eddy@x.example -> eddy@isp.example: masquerade, C:11: match = "
	    "\"*@x.example\", as = \"%u@isp.example\"\n"
	    "recipients\n"
	    "    - ann\n"
	    "    - \"b b\"@a.corp.example\n"
	    "        ann -> ann@x.example: it has no domain, or that of this machine: "
	    "gets "
	    "`domain`\n"
	    "    + ann@x.example\n"
	    "        by smarthost \"isp\" (C:3): the first smart host: no other one's "
	    "for and "
	    "from match\n"
	    "    + \"b b\"@a.corp.example\n"
	    "        by smarthost \"corp\" (C:5): for = \"*.corp.example\" matches the "
	    "recipient\n"
	    "header\n"
	    "    - Return-Path: <x@y>\n"
	    "        left out: it is not for others to see\n"
	    "    + Received: by box.x.example (mailchute, from userid 1000)\n"
	    "    + \tid " ID "; Sun, 11 Jan 1970 10:00:00 +0000\n"
	    "        every relay adds one (RFC 5321 4.4)\n"
	    "    - From: root (Cron Daemon)\n"
	    "    + From: \"Cron Daemon at box.x.example\" "
	    "<alerts+box.x.example@isp.example>\n"
	    "        root -> root@x.example: it has no domain: gets `domain`\n"
	    "        root@x.example -> alerts+box.x.example@isp.example: masquerade, "
	    "C:9: "
	    "match = \"root@*\", as = \"alerts+%h@isp.example\", name = \"%n at %h\"\n"
	    "    - To: ann,\n"
	    "    -  b@y.example\n"
	    "    + To: ann@x.example,\n"
	    "    +  b@y.example\n"
	    "        ann -> ann@x.example: it has no domain: gets `domain`\n"
	    "      Subject: s\n"
	    "    + Date: Sun, 11 Jan 1970 10:00:00 +0000\n"
	    "        there was none: when it was submitted\n"
	    "    + Message-ID: <" ID "@box.x.example>\n"
	    "        there was none: made of the id\n"
	    "    + Auto-Submitted: auto-generated\n"
	    "        cron wrote it (RFC 3834)\n"
	    "for a host that offers nothing\n"
	    "      nothing has to be mended\n";
	_cleanup_buf_ struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(explained(str_z(file), NULL, 3, false, &out), 0);
	if (out.n > sizeof(want) - 1)
		buf_cut(&out, sizeof(want) - 1);
	assert_string_equal(out.p, want);
}

/* What must be there, and, behind a '!', what must not. */
static void test_parts(void **state)
{
	static const struct {
		const char *name, *file, *note;
		size_t smarthosts;
		const char *want[5];
	} rows[] = {
		{ "null sender",
		  TOP "F\nRa@y.example\n\n" FROM TO "\n",
		  NULL,
		  1,
		  { "envelope sender\n      <>\nrecipients", "the only smart host",
		    "      To: ann@far.example\n", "!no -f" } },
		{ "exposed",
		  TOP "Fpostmaster@x.example\nRa@y.example\n\n" TO "\n",
		  NULL,
		  1,
		  { "envelope sender\n      postmaster@x.example\n        "
		    "postmaster@x.example -> "
		    "postmaster@x.example: `expose` has it\n" } },
		{ "by the sender",
		  TOP "Fnews@lists.example\nRa@y.example\nRb@z.corp.example\n\n" TO "\n",
		  NULL,
		  3,
		  { "by smarthost \"lists\" (C:7): from = \"*@lists.example\" matches "
		    "the sender",
		    "by smarthost \"corp\" (C:5): for = \"*.corp.example\" matches" } },
		{ "the same twice",
		  TOP "Fa@y.example\nRa@y.example\nRa@Y.example\n\n" TO "\n",
		  NULL,
		  1,
		  { "a@Y.example: it is there already", "!+ a@Y.example" } },
		{ "made",
		  TOP "Fa@y.example\nRa@y.example\n\nSubject: x\n\n",
		  NULL,
		  1,
		  { "+ From: \"Eddy\" <a@y.example>\n        a@y.example: there was none",
		    "+ To: undisclosed-recipients:;\n        there was neither To, Cc "
		    "nor Bcc\n",
		    "      Subject: x\n", "!- Subject" } },
		{ "no address in From",
		  TOP "Fa@y.example\nRa@y.example\n\nFrom: (nobody)\n" TO "\n",
		  NULL,
		  1,
		  { "- From: (nobody)\n",
		    "kept as X-Original-From: there is no address in it",
		    "+ X-Original-From: (nobody)\n" } },
		{ "fields that are there twice",
		  TOP "Fa@y.example\nRa@y.example\n\n" FROM "Subject: a\nSubject: b\n" TO
		      "\n",
		  NULL,
		  1,
		  { "      Subject: a\n", "- Subject: b\n",
		    "X-Original-Subject: there is one already (RFC 5322 3.6)" } },
		{ "nothing changes but Received",
		  TOP "Fa@y.example\nRa@y.example\n\n" FROM TO MADE "\n",
		  NULL,
		  1,
		  { "!    - F",
		    "      From: e@x.example\n      To: ann@far.example\n      Date: ",
		    "may pass" } },
		{ "planned before",
		  TOP "Fold@x.example\nRa@y.example\n\n" FROM TO "\n",
		  "mailchute-note 1\nSold@z.example\nPcorp a@y.example\n.\n",
		  3,
		  { "+ old@z.example\n", "by smarthost \"corp\" (C:5): decided when",
		    "planned when it was first tried", "!masquerade, C:11" } },
		{ "to be mended",
		  TOP "Fa@y.example\nRa@y.example\n\nSubject: \xe9\n" FROM TO
		      "\n\xc3\xa9\rx\n",
		  NULL,
		  1,
		  { "8-bit, bare CR", "      + Content-Transfer-Encoding: ",
		    "      + Subject: =?", "!nothing has to be" } },
		{ "not to be mended",
		  TOP "Fa@y.example\nRa@y.example\n\n" FROM TO
		      "MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=b\n\n"
		      "--b\n\n\xe9\n--b\nContent-Type: "
		      "application/pgp-signature\n\nx\n--b--\n",
		  NULL,
		  1,
		  { "refused, 5.6." } },
		{ "NUL in the header",
		  TOP "Fa@y.example\nRa@y.example\n\nSubject: a@b\n" FROM TO "\n",
		  NULL,
		  1,
		  { "      header: header\n      - Subject: a@b\n      + Subject: a "
		    "b\n" } },
		{ "a subject without blanks",
		  TOP "Fa@y.example\nRa@y.example\n\n" FROM TO MADE "Subject: " X1000
		      "\n\n",
		  NULL,
		  1,
		  { "    + Subject: =?", "in encoded words (RFC 2047)",
		    "nothing has to be mended" } },
		{ "each field has its own reasons",
		  TOP
		  "Fa@y.example\nRa@y.example\n\nFrom: (x)\nFrom: root\nSender: ann\n" TO
		      MADE "\n",
		  NULL,
		  1,
		  { "sender\n      a@y.example\nrecipients",
		    "    - From: (x)\n    + X-Original-From: (x)\n        kept as "
		    "X-Original-From: there is no address in it\n    - From: root\n",
		    "+ From: \"Eddy at box.x.example\" "
		    "<alerts+box.x.example@isp.example>\n        root -> root@x.example: "
		    "it",
		    "+ Sender: ann@x.example\n        ann -> ann@x.example: it has" } },
		{ "one that was left out, and one that was made",
		  TOP "Fa@y.example\nRa@y.example\n\nFrom: (x)\n" TO MADE "\n",
		  NULL,
		  1,
		  { "    + X-Original-From: (x)\n        kept as X-Original-From: there "
		    "is no "
		    "address in it\n      To: ",
		    "+ From: \"Eddy\" <a@y.example>\n        a@y.example: there was "
		    "none: who" } },
		{ "one that was empty, and is made",
		  TOP "Fa@y.example\nRa@y.example\n\n" FROM TO "Message-ID:\nDate:\n\n",
		  NULL,
		  1,
		  { "    - Message-ID:\n", "it is empty\n",
		    "there was none: made of the id\n", "!made for every" } },
		{ "without SMTPUTF8: a header",
		  TOP "Fa@y.example\nRa@y.example\n\n" FROM
		      "To: b@b\xc3\xbc.example\n" MADE "\n",
		  NULL,
		  1,
		  { "      - To: b@b\xc3\xbc.example\n      + To: "
		    "b@xn--b-eha.example\n" } },
		{ "without SMTPUTF8: the envelope",
		  TOP "Fa@b\xc3\xbc.example\nRj\xc3\xb6@y.example\nRb@b\xc3\xbc."
		      "example\n\n" FROM TO MADE "\n",
		  NULL,
		  1,
		  { "nothing\n    - a@b\xc3\xbc.example\n    + a@xn--b-eha.example\n"
		    "    - j\xc3\xb6@y.example\n        refused: 553 5.6.7 the address "
		    "needs "
		    "SMTPUTF8\n    - b@b\xc3\xbc.example\n    + "
		    "b@xn--b-eha.example\nsize",
		    "!nothing has to be" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT, file = BUF_INIT;
		char *nul;
		int e;

		buf_z(&file, rows[i].file);
		nul = strstr(file.p, "a@b\n");
		if (nul)
			nul[1] = '\0';
		e = explained(buf_view(&file), rows[i].note, rows[i].smarthosts, false,
		              &out);
		if (e)
			fail_msg("%s: %d", rows[i].name, e);
		for (size_t k = 0; k < out.n; k++)
			if (out.p[k] == '\0')
				out.p[k] = '@';
		for (size_t k = 0; k < 5 && rows[i].want[k]; k++) {
			bool not = rows[i].want[k][0] == '!';
			const char *text = rows[i].want[k] + not ;

			if (!strstr(out.p, text) != not )
				fail_msg("%s: %s'%s' in\n%s", rows[i].name,
				         not ? "there is " : "no ", text, out.p);
		}
	}
}

static void test_json(void **state)
{
	static const char file[] = TOP
	    "Ra@y.example\n\nSubject: \"\\\xc3\xa9\xff\xf0\x9f\x98\x80\n" FROM "\nx\n";
	static const char *const want[] = {
		"{\"sender\":{\"before\":\"eddy\",\"after\":\"eddy@isp.example\",\"why\":"
		"[{"
		"\"from\":\"eddy\",\"to\":\"eddy@x.example\",\"reason\":\"it has no "
		"domain",
		"\"submitted\":[\"a@y.example\"]",
		"\"recipients\":[{\"address\":\"a@y.example\",\"route\":\"isp\",\"line\":"
		"3,"
		"\"reason\":\"the only smart host\"}]",
		"{\"field\":\"Subject\",\"before\":\"Subject: "
		"\\\"\\\\\\u00e9\\\\xff\\ud83d\\ude00\\u000a\",",
		"\"mendable\":true,",
		"\"max_message_size\":1000}"
	};
	_cleanup_buf_ struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(explained(str_z(file), NULL, 1, true, &out), 0);
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		if (!strstr(out.p, want[i]))
			fail_msg("no %s in\n%s", want[i], out.p);
	for (size_t i = 0; i < out.n; i++)
		assert_in_range((unsigned char)out.p[i], 0x20, 0x7e);
}

static void test_damaged(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(explained(STR("mailchute 1\nU1\n"), NULL, 1, false, &out),
	                 -EBADMSG);
	assert_int_equal(
	    explained(STR(TOP "Ra@y.example\n\n\n"), "no note", 1, false, &out),
	    -EBADMSG);
	assert_int_equal(out.n, 0);
}

/* What a hostile message could make long stays short, and quick. */
static void test_bounds(void **state)
{
	static const char *const lines[] = { "Bcc: a@y.example\n", "X: y\n",
		                             "To: a, b, c\n", "Subject: x\n",
		                             "From: a\nBcc: b\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		_cleanup_buf_ struct buf file = BUF_INIT, out = BUF_INIT;

		buf_z(&file, TOP);
		for (int n = 0; n < 20000; n++)
			buf_fmt(&file, "Rr%d\n", n);
		buf_c(&file, '\n');
		for (int n = 0; n < 20000; n++)
			buf_z(&file, lines[i]);
		buf_z(&file, "\nbody\n");
		assert_int_equal(explained(buf_view(&file), NULL, 3, i & 1, &out), 0);
		assert_true(out.n < EXPLAIN_OUT_MAX);
	}
}

static void test_trace(void **state)
{
	struct trace t = { .conf = "C" };
	_cleanup_buf_ struct buf big = BUF_INIT;

	(void)state;
	trace_at(NULL, STR("x"));
	trace_add(NULL, STR("x"), STR("y"), "z");
	trace_change(NULL, STR("x"), STR("y"), "z");
	trace_rule(NULL, NULL, STR("x"), STR("y"));
	trace_cut(NULL, 0);
	for (int i = 0; i < 3000; i++)
		buf_c(&big, 'x');
	trace_at(&t, STR("here"));
	trace_change(&t, STR("a"), STR("a"), "not at all");
	assert_int_equal(t.n, 0);
	for (int i = 0; i < TRACE_MAX + 5; i++)
		trace_add(&t, STR("a"), buf_view(&big), "%s", big.p);
	assert_int_equal(t.n, TRACE_MAX);
	assert_int_equal(t.lost, 5);
	assert_string_equal(t.entry[0].place, "here");
	assert_int_equal(strlen(t.entry[0].new), TRACE_TEXT_MAX);
	assert_int_equal(strlen(t.entry[TRACE_MAX - 1].why), TRACE_TEXT_MAX);
	trace_cut(&t, 1);
	assert_int_equal(t.n, 1);
	trace_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),  cmocka_unit_test(test_parts),
		cmocka_unit_test(test_json),   cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_bounds), cmocka_unit_test(test_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
