#include "mail/compose.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define OWN_UID 107

static char ann[] = "ann", staff[] = "@staff", number[] = "uid:7";
static char *listed[] = { ann, staff, number };
static char web_match[] = "www@*", web_as[] = "web@isp.example", root_match[] = "root@*";
static char name_of[] = "%n at %h";
static const struct masq_rule rules[] = {
	{ .match = web_match, .as = web_as, .rewrite = MASQ_DEFAULT, .line = 3 },
	{ .match = root_match,
	  .as = web_as,
	  .name = name_of,
	  .rewrite = MASQ_DEFAULT,
	  .keep_original = true },
};

static struct compose_conf conf(enum masq_override override)
{
	return (struct compose_conf){ .hostname = STR("box.example.org"),
		                      .domain = STR("example.org"),
		                      .rules = rules,
		                      .rules_n = ARRAY_LEN(rules),
		                      .override = override,
		                      .override_user = { .v = listed, .n = 3 },
		                      .own_uid = OWN_UID };
}

static void may_override(void **state)
{
	static const struct {
		const char *name, *login, *hint, *groups;
		uint64_t uid;
		bool yes, no, list;
	} rows[] = {
		{ "listed", "ann", "", "", 5, true, false, true },
		{ "not listed", "bob", "", "", 5, true, false, false },
		{ "in a group", "bob", "", "adm,staff", 5, true, false, true },
		{ "by number", "", "", "", 7, true, false, true },
		{ "a hint is nothing", "", "ann", "", 5, true, false, false },
		{ "root", "root", "", "", 0, true, false, false },
		{ "ourselves", "", "", "", OWN_UID, true, true, true },
	};
	const struct compose_conf yes = conf(MASQ_OVERRIDE_YES);
	const struct compose_conf no = conf(MASQ_OVERRIDE_NO);
	const struct compose_conf list = conf(MASQ_OVERRIDE_LIST);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct envelope e = { .uid = rows[i].uid,
			                    .login = str_z(rows[i].login),
			                    .hint = str_z(rows[i].hint),
			                    .groups = str_z(rows[i].groups) };

		if (compose_may_override(&yes, &e) != rows[i].yes ||
		    compose_may_override(&no, &e) != rows[i].no ||
		    compose_may_override(&list, &e) != rows[i].list)
			fail_msg("%s", rows[i].name);
	}
}

static void is_own(void **state)
{
	static const struct {
		const char *name, *login, *addr;
		bool want;
	} rows[] = {
		{ "login", "ann", "ann", true },
		{ "completed", "ann", "ann@example.org", true },
		{ "domain's case", "ann", "ann@Example.ORG", true },
		{ "login's case", "ann", "Ann@example.org", false },
		{ "other domain", "ann", "ann@box.example.org", false },
		{ "other", "ann", "bob", false },
		{ "detail", "ann", "ann+x", false },
		{ "masqueraded", "www", "web@isp.example", true },
		{ "another's masquerade", "ann", "web@isp.example", false },
		{ "no login", "", "uid9@example.org", true },
		{ "the hint's", "", "root@example.org", false },
		{ "a login with a domain", "ann@corp.example", "ann@corp.example", true },
	};
	const struct compose_conf c = conf(MASQ_OVERRIDE_NO);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct envelope e = { .uid = 9,
			                    .login = str_z(rows[i].login),
			                    .hint = STR("root") };

		if (compose_is_own(&c, &e, MASQ_FROM, str_z(rows[i].addr)) !=
		    rows[i].want)
			fail_msg("%s", rows[i].name);
	}
}

/* What of the header changes. */
static void header(void **state)
{
	static const struct {
		const char *name, *login, *sender; /* NULL: no F line */
		const char *in, *want, *never;
	} rows[] = {
		{ "own", "ann", NULL, "From: Ann <ann>\n",
		  "\nFrom: Ann <ann@example.org>\n", "X-Original" },
		{ "other", "ann", NULL, "From: Boss <boss@corp.example>\n",
		  "\nX-Original-From: Boss <boss@corp.example>\n", "\nFrom: Boss" },
		{ "other, new From", "ann", "boss@corp.example",
		  "From: Boss <boss@corp.example>\n",
		  "\nFrom: \"Full Name\" <ann@example.org>\n", NULL },
		{ "own among others", "ann", NULL, "From: ann, boss@corp.example\n",
		  "\nX-Original-From: ann, boss@corp.example\n", "\nFrom: ann," },
		{ "twice, the second own", "ann", NULL,
		  "From: boss@corp.example\nFrom: ann\n", "\nFrom: ann@example.org\n",
		  NULL },
		{ "twice, the first own", "ann", NULL,
		  "From: ann\nFrom: boss@corp.example\n",
		  "\nX-Original-From: boss@corp.example\n", "\nFrom: boss" },
		{ "no From, sender", "ann", "boss@corp.example", "",
		  "\nFrom: \"Full Name\" <ann@example.org>\n", "boss" },
		{ "no From, null sender", "ann", "", "",
		  "\nFrom: \"Full Name\" <ann@example.org>\n", "MAILER-DAEMON" },
		{ "Sender", "ann", NULL, "From: ann\nSender: boss@corp.example\n",
		  "\nX-Original-Sender: boss@corp.example\n", "\nSender:" },
		{ "own Sender", "ann", NULL, "From: ann\nSender: <ann@example.org>\n",
		  "\nSender: <ann@example.org>\n", "X-Original" },
		{ "hint", "", NULL, "From: root\n",
		  "\nFrom: \"Full Name\" <uid9@example.org>\n", "\nFrom: root" },
		{ "masqueraded", "www", NULL, "From: Web <web@isp.example>\n",
		  "\nFrom: Web <web@isp.example>\n", "X-Original" },
		{ "kept", "root", NULL, "From: root (Cron Daemon)\n",
		  "\nFrom: \"Cron Daemon at box.example.org\" <web@isp.example>\n"
		  "X-Original-From: root@example.org (Cron Daemon)\n",
		  NULL },
		{ "kept, none was there", "root", NULL, "",
		  "\nFrom: \"Full Name at box.example.org\" <web@isp.example>\n"
		  "X-Original-From: \"Full Name\" <root@example.org>\n",
		  NULL },
		{ "kept, folded", "root", NULL,
		  "From: \"Long Name\"\n <root@example.org>\n",
		  "\nX-Original-From: \"Long Name\"\n <root@example.org>\n", NULL },
	};
	const struct compose_conf c = conf(MASQ_OVERRIDE_NO);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct envelope e = { .uid = 9,
			                    .login = str_z(rows[i].login),
			                    .hint = STR("root"),
			                    .gecos = STR("Full Name"),
			                    .has_sender = rows[i].sender != NULL,
			                    .sender = str_z(rows[i].sender) };
		_cleanup_buf_ struct buf out = BUF_INIT;

		compose_header(&c, &e, STR("0123456789abcdef"), STR(""),
		               str_z(rows[i].in), &out);
		if (!strstr(out.p, rows[i].want) ||
		    (rows[i].never && strstr(out.p, rows[i].never)))
			fail_msg("%s:\n%s", rows[i].name, out.p);
	}
}

/* Our own reports are left alone. (push/message.c says whose client is believed.) */
static void own_drops(void **state)
{
	const struct compose_conf c = conf(MASQ_OVERRIDE_NO);
	struct envelope e = { .uid = OWN_UID,
		              .client = STR("192.0.2.7"),
		              .has_sender = true,
		              .sender = STR("") };
	_cleanup_buf_ struct buf out = BUF_INIT;

	(void)state;
	compose_header(&c, &e, STR("0123456789abcdef"), STR(""),
	               STR("From: MAILER-DAEMON@example.org\n"), &out);
	assert_non_null(strstr(out.p, "\nFrom: MAILER-DAEMON@example.org\n"));
	assert_null(strstr(out.p, "X-Original"));
	assert_int_equal(compose_who(&c, &e).client.n, 9);
}

static void plan_sender(void **state)
{
	static const struct {
		const char *login, *sender, *want;
	} rows[] = {
		{ "ann", NULL, "ann@example.org" },
		{ "ann", "ann", "ann@example.org" },
		{ "ann", "boss@corp.example", "ann@example.org" },
		{ "ann", "", "" },
		{ "www", "boss@corp.example", "web@isp.example" },
		{ "www", "web@isp.example", "web@isp.example" },
		{ "", "boss@corp.example", "uid9@example.org" },
		{ "", NULL, "uid9@example.org" },
	};
	const struct compose_conf c = conf(MASQ_OVERRIDE_NO);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct env_rcpt rcpt = { .addr = STR("x@y.example") };
		const struct envelope e = { .uid = 9,
			                    .login = str_z(rows[i].login),
			                    .hint = STR("root"),
			                    .has_sender = rows[i].sender != NULL,
			                    .sender = str_z(rows[i].sender),
			                    .rcpt = &rcpt,
			                    .rcpts = 1 };
		struct plan p;

		compose_plan(&c, &e, &p);
		if (strcmp(p.sender, rows[i].want) != 0)
			fail_msg("%s, %s: %s", rows[i].login,
			         rows[i].sender ? rows[i].sender : "none", p.sender);
		plan_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(may_override), cmocka_unit_test(is_own),
		cmocka_unit_test(header),       cmocka_unit_test(own_drops),
		cmocka_unit_test(plan_sender),
	};

	return cmocka_run_group_tests_name("submitter", tests, NULL, NULL);
}
