#include "mail/masq.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char any[] = "*", root_any[] = "root@*", lan[] = "*@*.lan";
static char www[] = "www-data", as[] = "eddy@isp.example";
static char *www_users[] = { www };

static void test_find(void **state)
{
	const struct masq_rule rules[] = {
		{ .match = root_any, .as = as, .rewrite = MASQ_DEFAULT },
		{ .match = lan,
		  .as = as,
		  .rewrite = MASQ_TO,
		  .user = { .v = www_users, .n = 1 } },
		{ .match = lan, .as = as, .rewrite = MASQ_TO | MASQ_CC },
		{ .match = any, .as = as, .rewrite = MASQ_ENVELOPE },
	};
	static const struct {
		const char *name, *addr, *login;
		unsigned where;
		int want; /* -1: none */
	} rows[] = {
		{ "first wins", "root@a.lan", "x", MASQ_ENVELOPE, 0 },
		{ "one bit is enough", "root@a.lan", "x", MASQ_FROM, 0 },
		{ "bit not there", "root@a.lan", "x", MASQ_CC, 2 },
		{ "user", "a@b.lan", "www-data", MASQ_TO, 1 },
		{ "other user", "a@b.lan", "www", MASQ_TO, 2 },
		{ "user's case", "a@b.lan", "WWW-data", MASQ_TO, 2 },
		{ "last", "a@b", "x", MASQ_ENVELOPE, 3 },
		{ "none", "a@b", "x", MASQ_FROM, -1 },
		{ "null sender", "", "x", MASQ_ENVELOPE, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct masq_who who = { .login = str_z(rows[i].login) };
		const struct masq_rule *r = masq_find(
		    rules, ARRAY_LEN(rules), rows[i].where, str_z(rows[i].addr), &who);

		if ((r ? (int)(r - rules) : -1) != rows[i].want)
			fail_msg("%s: got %d", rows[i].name, r ? (int)(r - rules) : -1);
	}
}

static void test_address(void **state)
{
	static const struct {
		const char *name, *as, *addr, *want; /* NULL: refused */
	} rows[] = {
		{ "plain", "eddy@isp.example", "root@box", "eddy@isp.example" },
		{ "user", "%u@isp.example", "root@box", "root@isp.example" },
		{ "all", "%u+%h=%d@isp.example", "root@box", "root+h.x=box@isp.example" },
		{ "domain", "a@%d", "root@box", "a@box" },
		{ "host", "a@%h", "root@box", "a@h.x" },
		{ "percent", "a%%b@c", "root@box", "a%b@c" },
		{ "quoted", "%u+x@c", "\"a b\"@box", "\"a b+x\"@c" },
		{ "quoted at", "%u@c", "\"a@b\"@box", "\"a@b\"@c" },
		{ "quotes in template", "\"%u x\"@c", "root@box", "\"root x\"@c" },
		{ "bare", "%u", "root@box", "root" },
		{ "no domain", "%u@%d", "root", NULL },
		{ "unknown letter", "%x@c", "root@box", NULL },
		{ "name letter", "%n@c", "root@box", NULL },
		{ "last percent", "a@c%", "root@box", NULL },
		{ "empty", "", "root@box", NULL },
		{ "no local", "@c", "root@box", NULL },
		{ "bad domain", "a@c d", "root@box", NULL },
	};
	const struct masq_who who = { .login = STR("l"), .host = STR("h.x") };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *template = str_dup(str_z(rows[i].as));
		const struct masq_rule rule = { .match = any, .as = template };
		_cleanup_buf_ struct buf b = BUF_INIT;
		int r;

		buf_c(&b, '>');
		r = masq_address(&b, &rule, str_z(rows[i].addr), &who);
		free(template);
		if (r != (rows[i].want ? 0 : -EINVAL) ||
		    !str_eq(str_from(buf_view(&b), 1), str_z(rows[i].want)))
			fail_msg("%s: got %d %s", rows[i].name, r, b.p);
	}
}

static void test_name(void **state)
{
	static const struct {
		const char *name, *as, *old, *full, *want;
	} rows[] = {
		{ "old", "%n at %h", "Cron Daemon", "Root", "Cron Daemon at h.x" },
		{ "full name", "%n at %h", "", "Root", "Root at h.x" },
		{ "login", "%n", "", "", "l" },
		{ "parts", "%u %d %%", "", "", "root box %" },
		{ "controls", "%n", "a\nb\x7f", "", "a b " },
		{ "no template", "%x", "a", "", "a" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *template = str_dup(str_z(rows[i].as));
		const struct masq_rule rule = { .match = any, .name = template };
		const struct masq_who who = { .login = STR("l"),
			                      .full_name = str_z(rows[i].full),
			                      .host = STR("h.x") };
		_cleanup_buf_ struct buf b = BUF_INIT;

		masq_name(&b, &rule, STR("root@box"), str_z(rows[i].old), &who);
		free(template);
		if (!str_eq(buf_view(&b), str_z(rows[i].want)))
			fail_msg("%s: got %.*s", rows[i].name, (int)b.n, b.n ? b.p : "");
	}
}

/* A name of any length stays in its limit, and whole characters of it. */
static void test_name_limit(void **state)
{
	char template[] = "%n%n%n";
	const struct masq_rule rule = { .match = any, .name = template };
	const struct masq_who who = { .login = STR("l") };

	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		_cleanup_buf_ struct buf old = BUF_INIT, b = BUF_INIT;

		for (size_t i = 0; i < shift; i++)
			buf_c(&old, 'x');
		for (size_t i = 0; i < 1000; i++)
			buf_z(&old, "\xe2\x82\xac");
		masq_name(&b, &rule, STR("root@box"), buf_view(&old), &who);
		assert_true(b.n <= MASQ_NAME_MAX && b.n > MASQ_NAME_MAX - 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_name_limit),
	};

	return cmocka_run_group_tests_name("masq", tests, NULL, NULL);
}
