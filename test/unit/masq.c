#include "mail/masq.h"
#include "mail/masq_map.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char any[] = "*", root_any[] = "root@*", lan[] = "*@*.lan";
static char www[] = "www-data", as[] = "eddy@isp.example";
static char *www_users[] = { www };

/* The rule that masq_find() gives; its template is the rule's. */
static const struct masq_rule *find(const struct masq_rule *rules, size_t n,
                                    unsigned where, struct str addr,
                                    const struct masq_who *who)
{
	const char *template = NULL;
	const struct masq_rule *r = masq_find(rules, n, where, addr, who, &template);
	int line;

	if (r)
		assert_ptr_equal(template, masq_template(r, addr, &line));
	return r;
}

/* What the rule makes of addr. */
static int make(struct buf *b, const struct masq_rule *rule, struct str addr,
                const struct masq_who *who)
{
	int line;
	const char *template = masq_template(rule, addr, &line);

	return template ? masq_expand(b, template, addr, who) : -EINVAL;
}

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
		const struct masq_rule *r = find(rules, ARRAY_LEN(rules), rows[i].where,
		                                 str_z(rows[i].addr), &who);

		if ((r ? (int)(r - rules) : -1) != rows[i].want)
			fail_msg("%s: got %d", rows[i].name, r ? (int)(r - rules) : -1);
	}
}

/* Who a rule is for. */
static void test_users(void **state)
{
	static const struct {
		const char *name, *user, *login, *groups;
		uint64_t uid;
		bool want;
	} rows[] = {
		{ "login", "ann", "ann", "", 5, true },
		{ "other login", "ann", "anna", "", 5, false },
		{ "no login", "ann", "", "", 5, false },
		{ "group", "@staff", "ann", "staff", 5, true },
		{ "group among others", "@staff", "ann", "adm,staff,x", 5, true },
		{ "not in it", "@staff", "ann", "adm,staffs", 5, false },
		{ "no groups", "@staff", "staff", "", 5, false },
		{ "several are no group", "@a,b", "ann", "a,b", 5, false },
		{ "a login is no group", "staff", "ann", "staff", 5, false },
		{ "login like a group", "@staff", "@staff", "", 5, false },
		{ "nothing", "@", "ann", "", 5, false },
		{ "uid", "uid:5", "ann", "", 5, true },
		{ "uid without login", "uid:5", "", "", 5, true },
		{ "other uid", "uid:5", "ann", "", 50, false },
		{ "login like a uid", "uid:5", "uid:5", "", 6, false },
		{ "bad uid", "uid:x", "uid:x", "", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct masq_who who = { .login = str_z(rows[i].login),
			                      .groups = str_z(rows[i].groups),
			                      .uid = rows[i].uid };
		struct strv users = { .n = 0 };

		strv_add(&users, STR("nobody-else"));
		strv_add(&users, str_z(rows[i].user));
		if (masq_user_listed(&users, &who) != rows[i].want)
			fail_msg("%s", rows[i].name);
		strv_free(&users);
	}
}

/* Mail of a listener's clients only, and which of them. */
static void test_client(void **state)
{
	static char lab[] = "192.0.2.*", scanner[] = "auth=scan?";
	char *globs[] = { lab, scanner };
	const struct masq_rule rules[] = {
		{ .match = any,
		  .as = as,
		  .rewrite = MASQ_FROM,
		  .client = { .v = globs, .n = 2 } },
		{ .match = any, .as = as, .rewrite = MASQ_FROM },
	};
	static const struct {
		const char *client;
		int want;
	} rows[] = { { "ip=192.0.2.7 helo=x port=25", 0 },
		     { "ip=192.0.20.7 helo=x port=25", 1 },
		     { "ip=192.0.20.7 helo=ip=192.0.2.7 port=25", 1 },
		     { "ip=192.0.20.7 helo=192.0.2.7 port=25", 1 },
		     { "ip=192.0.20.7 auth=scan1 port=25", 0 },
		     { "ip=192.0.20.7 auth=scan10", 1 },
		     { "192.0.2.7", 1 },
		     { "", 1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct masq_who who = { .client = str_z(rows[i].client) };
		const struct masq_rule *r =
		    find(rules, ARRAY_LEN(rules), MASQ_FROM, STR("a@b"), &who);

		if (r != &rules[rows[i].want])
			fail_msg("%s", rows[i].client);
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
		{ "base", "%b@c", "old+x+y@box", "old@c" },
		{ "base alone", "%b@c", "old@box", "old@c" },
		{ "detail", "new+%t@c", "old+x+y@box", "new+x+y@c" },
		{ "no detail", "new+%t@c", "old@box", "new+@c" },
		{ "empty detail", "new%+@c", "old+@box", "new@c" },
		{ "plus", "new%+@c", "old+x@box", "new+x@c" },
		{ "no plus", "new%+@c", "old@box", "new@c" },
		{ "plus first", "%b-%t@c", "+x@box", "+x-@c" },
		{ "quoted detail", "%t@c", "\"a+b c\"@box", "\"b c\"@c" },
		{ "identity", "%u@%d", "\"a b\"@box", "\"a b\"@box" },
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
		r = make(&b, &rule, str_z(rows[i].addr), &who);
		free(template);
		if (r != (rows[i].want ? 0 : -EINVAL) ||
		    !str_eq(str_from(buf_view(&b), 1), str_z(rows[i].want)))
			fail_msg("%s: got %d %s", rows[i].name, r, b.p);
	}
}

/* ---- Maps ---- */

static const char map_text[] = "# a comment\n"
                               "\n"
                               "ann@Box.example   Ann.Smith@example.org\t# her\n"
                               "\"bob b\"@box.example bob@example.org\n"
                               "old+*@foo.example new+%t@example.org\n"
                               "old@foo.example new@example.org\n"
                               "old+spam@foo.example junk@example.org\n"
                               "?@lab.example one@example.org\n"
                               "*@lab.example %u@example.org\n"
                               "*@*.lab.example %u@%d.example.org\n"
                               "carl@lab.example carl@example.com\n"
                               "*+*@det.example %b@example.org";

static void test_map(void **state)
{
	static const struct {
		const char *addr, *want; /* NULL: nothing is found */
		int line;
	} rows[] = {
		{ "ann@box.example", "Ann.Smith@example.org", 3 },
		{ "ANN@BOX.EXAMPLE", "Ann.Smith@example.org", 3 },
		{ "ann+x@box.example", "Ann.Smith@example.org", 3 },
		{ "ann@box.example.org", NULL, 0 },
		{ "\"bob b\"@box.example", "bob@example.org", 4 },
		{ "\"ann+x\"@box.example", NULL, 0 },
		{ "old@foo.example", "new@example.org", 6 },
		{ "old+a@foo.example", "new+%t@example.org", 5 },
		{ "old+*@foo.example", "new+%t@example.org", 5 },
		{ "old+spam@foo.example", "junk@example.org", 7 },
		{ "x@lab.example", "one@example.org", 8 },
		{ "xy@lab.example", "%u@example.org", 9 },
		{ "carl@lab.example", "carl@example.com", 11 },
		{ "x@a.lab.example", "%u@%d.example.org", 10 },
		{ "a+b@det.example", "%b@example.org", 12 },
		{ "a@det.example", NULL, 0 },
		{ "", NULL, 0 },
		{ "root", NULL, 0 },
	};
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct masq_map *m = NULL;
	int line = 0;

	(void)state;
	if (masq_map_parse(str_z(map_text), &m, &line, &why) < 0)
		fail_msg("%d: %s", line, why.p);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got;

		line = 0;
		got = masq_map_find(m, str_z(rows[i].addr), &line);
		if (!got != !rows[i].want || (got && strcmp(got, rows[i].want) != 0) ||
		    line != rows[i].line)
			fail_msg("%s: %s (line %d)", rows[i].addr, got ? got : "none",
			         line);
	}
	masq_map_free(m);
	masq_map_free(NULL);
}

/* A rule with a map matches what its own match and the map do. */
static void test_map_rule(void **state)
{
	static char path[] = "/map", foo[] = "*@foo.example", none[] = "";
	struct masq_rule rules[] = {
		{ .match = foo, .as = none, .map = path, .rewrite = MASQ_FROM },
		{ .match = any, .as = as, .rewrite = MASQ_FROM },
	};
	_cleanup_buf_ struct buf why = BUF_INIT, b = BUF_INIT;
	const struct masq_who who = { .login = STR("l"), .host = STR("h.x") };
	int line;

	(void)state;
	/* Not read: it matches nothing. */
	assert_ptr_equal(find(rules, 2, MASQ_FROM, STR("old@foo.example"), &who),
	                 &rules[1]);
	assert_int_equal(masq_map_parse(str_z(map_text), &rules[0].table, &line, &why),
	                 0);
	assert_ptr_equal(find(rules, 2, MASQ_FROM, STR("old@foo.example"), &who),
	                 &rules[0]);
	assert_ptr_equal(find(rules, 2, MASQ_FROM, STR("x@lab.example"), &who),
	                 &rules[1]);
	assert_ptr_equal(find(rules, 2, MASQ_FROM, STR("no@foo.example"), &who),
	                 &rules[1]);
	assert_int_equal(make(&b, &rules[0], STR("old+7@foo.example"), &who), 0);
	assert_true(str_eq(buf_view(&b), STR("new+7@example.org")));
	assert_int_equal(make(&b, &rules[0], STR("no@foo.example"), &who), -EINVAL);
	masq_map_free(rules[0].table);
}

static void test_map_bad(void **state)
{
	static const struct {
		const char *name, *in, *want;
		int line;
	} rows[] = {
		{ "one word", "\na@b\n", "only one word", 2 },
		{ "one word, comment", "a@b # x\n", "only one word", 1 },
		{ "three words", "a@b c@d e\n", "more than two words", 1 },
		{ "bare", "root c@d\n", "without a domain; write root@*", 1 },
		{ "domain", "@b %u@d\n", "begins with @; for a whole domain write *@",
		  1 },
		{ "no address", "a<b@c x@d\n", "is no address", 1 },
		{ "no domain", "a@ x@d\n", "is no address", 1 },
		{ "template", "a@b %x@d\n", "makes no mail address", 1 },
		{ "bare template", "a@b c\n", "makes no mail address", 1 },
		{ "twice", "a@b c@d\n\nA@B c@d\n", "stands in line 1 already", 3 },
		{ "CR", "a@b c@d\r\n", "a carriage return", 1 },
		{ "control", "a@b c@d\001\n", "a control character", 1 },
		{ "open quote", "\"a@b c@d\n", "only one word", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf why = BUF_INIT;
		struct masq_map *m = NULL;
		int line = 0, e = masq_map_parse(str_z(rows[i].in), &m, &line, &why);

		if (e != -EINVAL || m || line != rows[i].line ||
		    !strstr(why.p, rows[i].want))
			fail_msg("%s: %d, line %d: %s", rows[i].name, e, line,
			         why.n ? why.p : "");
	}
}

static void parse(struct str text, int want, const char *what)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct masq_map *m = NULL;
	int line, e = masq_map_parse(text, &m, &line, &why);

	if (e != want)
		fail_msg("%s: %d, line %d: %s", what, e, line, why.n ? why.p : "");
	masq_map_free(m);
}

static void test_map_limits(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT, why = BUF_INIT;
	struct masq_map *m = NULL;
	int line = 0;

	(void)state;
	parse(STR(""), 0, "empty");
	parse(STR("\n"), 0, "empty line");
	parse(STR("\xef\xbb\xbf"
	          "a@b c@d"),
	      0, "byte order mark");
	parse((struct str){ "a@b c@\0d\n", 10 }, -EINVAL, "NUL");
	for (int i = 0; i < MASQ_MAP_LINES; i++)
		buf_fmt(&b, "user%d@box.example u%d@example.org\n", i, i);
	assert_int_equal(masq_map_parse(buf_view(&b), &m, &line, &why), 0);
	assert_string_equal(masq_map_find(m, STR("user99999@box.example"), &line),
	                    "u99999@example.org");
	assert_int_equal(line, 100000);
	assert_null(masq_map_find(m, STR("user100000@box.example"), &line));
	masq_map_free(m);
	buf_z(&b, "#\n");
	parse(buf_view(&b), -EINVAL, "a line too many");
	buf_reset(&b);
	for (int i = 0; i < MASQ_MAP_GLOBS; i++)
		buf_fmt(&b, "*@box%d.example u@example.org\n", i);
	parse(buf_view(&b), 0, "globs");
	buf_z(&b, "?@x u@example.org\n");
	parse(buf_view(&b), -EINVAL, "a glob too many");
	buf_reset(&b);
	while (b.n < MASQ_MAP_LINE_MAX)
		buf_c(&b, '#');
	parse(buf_view(&b), 0, "long line");
	buf_c(&b, '#');
	parse(buf_view(&b), -EINVAL, "longer line");
	buf_reset(&b);
	while (b.n <= MASQ_MAP_MAX)
		buf_z(&b, "########\n");
	parse(buf_view(&b), -EINVAL, "large file");
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
		cmocka_unit_test(test_find),    cmocka_unit_test(test_users),
		cmocka_unit_test(test_client),  cmocka_unit_test(test_address),
		cmocka_unit_test(test_map),     cmocka_unit_test(test_map_rule),
		cmocka_unit_test(test_map_bad), cmocka_unit_test(test_map_limits),
		cmocka_unit_test(test_name),    cmocka_unit_test(test_name_limit),
	};

	return cmocka_run_group_tests_name("masq", tests, NULL, NULL);
}
