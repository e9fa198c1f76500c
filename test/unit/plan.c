#include "base/io.h"
#include "mail/addr.h"
#include "mail/alias.h"
#include "mail/compose.h"
#include "mail/note.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void aliases(struct alias_table *t, const char *text)
{
	struct buf b = BUF_INIT;

	*t = (struct alias_table){ .entries = 0 };
	buf_z(&b, text);
	alias_parse(t, "/a", &b);
	for (size_t i = 0; i < t->lists; i++)
		alias_list_unreadable(t, i, "gone");
}

static void check(const char *name, const struct buf *got, const char *want)
{
	if (!str_eq(buf_view(got), str_z(want)))
		fail_msg("%s: want %s, got %s", name, want, got->n ? got->p : "");
}

static void print_rcpts(struct buf *b, const struct plan *p)
{
	for (size_t i = 0; i < p->rcpts; i++)
		buf_fmt(b, "%s%s%s", i ? " " : "", p->rcpt[i].refused ? "!" : "",
		        p->rcpt[i].addr);
}

/* Recipients by blanks. */
static void plan_of(const struct compose_conf *c, const char *in, struct plan *p)
{
	struct env_rcpt rcpt[20];
	struct envelope e = { .uid = 1000, .login = STR("eddy"), .rcpt = rcpt };
	struct str rest = str_z(in), one;

	while (str_cut(&rest, ' ', &one))
		rcpt[e.rcpts++] = (struct env_rcpt){ .addr = one };
	compose_plan(c, &e, p);
}

/* given: the domain was configured. */
static void test_local(void **state)
{
	static const struct {
		const char *name, *domain;
		bool given;
		const char *admin, *in, *want;
	} rows[] = {
		{ "nothing known", "", false, "", "root eddy", "root eddy" },
		{ "nothing known, at localhost", "", false, "", "root@localhost",
		  "root@localhost" },
		{ "domain by default", "box.d", false, "", "root eddy",
		  "root@box.d eddy@box.d" },
		{ "domain by default, at localhost", "box.d", false, "", "eddy@localhost",
		  "eddy@box.d" },
		{ "admin", "box.d", false, "a@f", "root x@y eddy eddy@localhost Eddy@BOX",
		  "a@f x@y" },
		{ "admin without domain", "", false, "a@f", "root eddy", "a@f" },
		{ "domain", "d", true, "", "root eddy eddy@localhost eddy@box joe@box.d",
		  "root@d eddy@d joe@d" },
		{ "domain and admin", "d", true, "a@f",
		  "root PostMaster abuse mailer-daemon root+cron@box eddy",
		  "a@f eddy@d" },
		{ "a name like a role", "d", true, "a@f", "roots +root rootx",
		  "roots@d +root@d rootx@d" },
		{ "detail goes on", "d", true, "", "eddy+x@box", "eddy+x@d" },
		{ "the domain's own", "d", true, "a@f", "root@d eddy@d",
		  "root@d eddy@d" },
		{ "the domain is this host", "box.d", false, "a@f",
		  "eddy@box.d eddy root@box.d", "eddy@box.d a@f" },
		{ "the domain is this host, and configured", "box.d", true, "a@f",
		  "root@box.d eddy@box.d root eddy", "root@box.d eddy@box.d a@f" },
		{ "admin without a domain", "d", true, "ann", "root", "ann@d" },
		{ "quoted", "d", true, "a@f", "\"root\"@localhost \"a@b\"",
		  "a@f \"a@b\"@d" },
		{ "elsewhere", "d", true, "a@f", "root@far.example", "root@far.example" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct compose_conf c = { .hostname = STR("box.d"),
			                  .nodename = STR("box") };
		struct plan p;

		c.domain = str_z(rows[i].domain);
		c.domain_given = rows[i].given;
		c.admin = str_z(rows[i].admin);
		plan_of(&c, rows[i].in, &p);
		print_rcpts(&got, &p);
		plan_free(&p);
		check(rows[i].name, &got, rows[i].want);
	}
}

static void test_aliases(void **state)
{
	static const struct {
		const char *name, *file, *in, *want;
	} rows[] = {
		{ "alias before admin", "root: e@f\n", "root postmaster", "e@f a@f" },
		{ "in their order", "root: 1@f, 2@f\n", "x@y root z@y",
		  "x@y 1@f 2@f z@y" },
		{ "folded", "a: x@f, y@f\nb: y@F, z@f\n", "z@f a b x@f", "z@f x@f y@f" },
		{ "leads to root", "eddy: root\n", "eddy", "a@f" },
		{ "unknown behind it", "root: eddy\n", "root", "eddy@d" },
		{ "at localhost", "root: eddy@localhost\n", "root", "eddy@d" },
		{ "literal", "root: \\root, e@f\n", "root", "a@f e@f" },
		{ "loop", "a: b\nb: a\n", "a", "a@d" },
		{ "at the domain: another host's", "root: e@f\n", "root@d root@box.d",
		  "root@d e@f" },
		{ "program", "v: |p\n", "v x@y", "!v@d x@y" },
		{ "program beside its own name", "v: \\v, |p\n", "v", "v@d" },
		{ "program in front of its own name", "v: |p, \\v\n", "v", "v@d" },
		{ "two programs", "v: |p, |q\n", "v", "!v@d" },
		{ "list", "l: :include:/l\n", "l", "!l@d" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct alias_table t;
		struct compose_conf c = { .hostname = STR("box.d"),
			                  .nodename = STR("box"),
			                  .domain = STR("d"),
			                  .domain_given = true,
			                  .admin = STR("a@f"),
			                  .aliases = &t };
		struct plan p;

		aliases(&t, rows[i].file);
		plan_of(&c, rows[i].in, &p);
		print_rcpts(&got, &p);
		plan_free(&p);
		alias_free(&t);
		check(rows[i].name, &got, rows[i].want);
	}
}

/* RFC 3461 5.2.7: whom the sender meant, and what he wants to be told. */
static void test_dsn_parameters(void **state)
{
	static const struct {
		const char *name, *addr, *notify, *orcpt, *want; /* of the first one */
	} rows[] = {
		{ "given", "root", "NEVER", "rfc822;root@x", "NEVER rfc822;root@x" },
		{ "made", "root", "", "", " rfc822;root@d" },
		{ "made of what was written", "Root@localhost", "DELAY", "",
		  "DELAY rfc822;Root@localhost" },
		{ "xtext", "\"a =+b\"@box", "", "", " rfc822;\"a+20+3D+2Bb\"@box" },
		{ "no change", "x@y", "", "", " " },
		{ "completed is no change", "eddy", "", "", " " },
		{ "8-bit", "j\xc3\xb6@localhost", "", "", " " },
		{ "refused", "v", "FAILURE", "", "FAILURE " },
	};
	struct alias_table t;
	const struct compose_conf c = { .hostname = STR("box.d"),
		                        .nodename = STR("box"),
		                        .domain = STR("d"),
		                        .domain_given = true,
		                        .aliases = &t };

	(void)state;
	aliases(&t, "root: e@f, g@h\n\"a =+b\": e@f\nv: |p\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct env_rcpt rcpt = { .addr = str_z(rows[i].addr),
			                 .notify = str_z(rows[i].notify),
			                 .orcpt = str_z(rows[i].orcpt) };
		struct envelope e = { .login = STR("eddy"), .rcpt = &rcpt, .rcpts = 1 };
		struct plan p;

		compose_plan(&c, &e, &p);
		for (size_t k = 0; k < p.rcpts; k++) {
			buf_reset(&got);
			buf_fmt(&got, "%s %s", p.rcpt[k].notify, p.rcpt[k].orcpt);
			check(rows[i].name, &got, rows[i].want);
		}
		plan_free(&p);
	}
	alias_free(&t);
}

/* Rules for recipients see them behind aliases, but none that is refused. */
static void test_masquerade(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT;
	char match[] = "*@d", as[] = "%u@far.example", none[] = "";
	struct masq_rule rule = {
		.match = match, .as = as, .map = none, .rewrite = MASQ_RECIPIENT
	};
	struct alias_table t;
	const struct compose_conf c = { .domain = STR("d"),
		                        .domain_given = true,
		                        .rules = &rule,
		                        .rules_n = 1,
		                        .aliases = &t };
	struct plan p;

	(void)state;
	aliases(&t, "root: eddy\nv: |p\n");
	plan_of(&c, "root v x@y eddy@far.example", &p);
	print_rcpts(&got, &p);
	check("recipients", &got, "eddy@far.example !v@d x@y");
	plan_free(&p);
	alias_free(&t);
}

/* Never more than a note can hold, and every recipient has its place. */
static void test_many(void **state)
{
	static char names[ENVELOPE_RCPT_MAX][16];
	struct buf text = BUF_INIT;
	struct alias_table t = { .entries = 0 };
	struct compose_conf c = { .domain = STR("d"),
		                  .domain_given = true,
		                  .aliases = &t };
	struct envelope e = { .login = STR("eddy") };
	struct plan p;
	size_t refused = 0;

	(void)state;
	buf_z(&text, "big:");
	for (size_t i = 0; i < 30000; i++)
		buf_fmt(&text, "%s b%zu@f", i ? "," : "", i);
	buf_z(&text, "\nother:");
	for (size_t i = 0; i < 30000; i++)
		buf_fmt(&text, "%s o%zu@f", i ? "," : "", i);
	buf_z(&text, "\nsmall: s@f\n");
	alias_parse(&t, "/a", &text);
	e.rcpt = calloc(ENVELOPE_RCPT_MAX, sizeof(*e.rcpt));
	assert_non_null(e.rcpt);

	e.rcpt[0].addr = STR("big");
	e.rcpt[1].addr = STR("other");
	e.rcpt[2].addr = STR("small");
	e.rcpts = 3;
	compose_plan(&c, &e, &p);
	assert_int_equal(p.rcpts, 30002);
	assert_string_equal(p.rcpt[30000].addr, "other@d");
	assert_non_null(p.rcpt[30000].refused);
	plan_free(&p);

	for (size_t i = 0; i < ENVELOPE_RCPT_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), i % 3 ? "big+%zu" : "r%zu@f", i);
		e.rcpt[i].addr = str_z(names[i]);
	}
	e.rcpts = ENVELOPE_RCPT_MAX;
	compose_plan(&c, &e, &p);
	assert_true(p.rcpts <= ENVELOPE_RCPT_MAX);
	for (size_t i = 0; i < p.rcpts; i++)
		refused += p.rcpt[i].refused != NULL;
	assert_int_equal(refused, 1); /* big, once */
	plan_free(&p);
	envelope_free(&e);
	alias_free(&t);
}

/* Of a part of a split message: the ones that wait are looked up again, the rest stays. */
static void test_again(void **state)
{
	_cleanup_buf_ struct buf before = BUF_INIT, still = BUF_INIT, after = BUF_INIT;
	struct alias_table t;
	struct compose_conf c = { .hostname = STR("box.d"),
		                  .domain = STR("d"),
		                  .domain_given = true,
		                  .aliases = &t };
	const struct envelope e = { .login = STR("eddy") };
	struct plan p, q = { .rcpts = 0 }, r = { .rcpts = 0 };
	struct buf list = BUF_INIT;

	(void)state;
	aliases(&t, "l: :include:/l\nv: |p\nx: y@z\n");
	plan_of(&c, "l v x@d", &p);
	print_rcpts(&before, &p);
	check("before", &before, "!l@d !v@d x@d");
	assert_true(plan_waits_for_alias(&p.rcpt[0]));
	assert_false(plan_waits_for_alias(&p.rcpt[1]));
	assert_false(plan_waits_for_alias(&p.rcpt[2]));
	plan_rcpts_again(&c, &e, &p, &q);
	print_rcpts(&still, &q);
	check("still", &still, before.p);
	assert_string_equal(q.rcpt[0].refused, "451 4.2.4 alias l: /l: gone");
	free(t.list[0].why);
	t.list[0].why = NULL;
	buf_z(&list, "m@f\nx@d\n");
	alias_list_parse(&t, 0, &list);
	plan_rcpts_again(&c, &e, &p, &r);
	print_rcpts(&after, &r);
	check("after", &after, "m@f x@d !v@d");
	plan_free(&p);
	plan_free(&q);
	plan_free(&r);
	alias_free(&t);
}

static void test_note(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT, again = BUF_INIT;
	static const struct {
		const char *name, *in;
	} bad[] = {
		{ "empty", "REFUSED=" },
		{ "no code", "REFUSED=5xx no" },
		{ "no error", "REFUSED=250 fine" },
		{ "no text", "REFUSED=550" },
		{ "twice", "REFUSED=550 a\tREFUSED=550 a" },
		{ "not last", "REFUSED=550 a\tNOTIFY=NEVER" },
	};
	struct note n;
	const char *why;

	(void)state;
	assert_int_equal(
	    io_slurp_at(AT_FDCWD, "test/golden/note-1-refused", &file, 65536), 0);
	assert_int_equal(note_parse(buf_view(&file), &n, &why), 0);
	assert_int_equal(n.pending, 1);
	assert_true(n.recompose);
	assert_true(plan_waits_for_alias(&n.plan.rcpt[0]));
	assert_null(n.plan.rcpt[1].refused);
	assert_string_equal(n.plan.rcpt[2].refused,
	                    "550 5.3.5 alias vacation: mailchute runs no programs");
	note_print_plan(&again, &n.plan, n.route, n.origin);
	assert_true(str_eq(buf_view(&again), str_head(buf_view(&file), again.n)));
	note_free(&n);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		buf_fmt(&b, "mailchute-note 1\nSa@b\nPhub c@d\t%s\n.\n", bad[i].in);
		if (note_parse(buf_view(&b), &n, &why) == 0) {
			note_free(&n);
			fail_msg("%s: accepted", bad[i].name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_local),          cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_dsn_parameters), cmocka_unit_test(test_masquerade),
		cmocka_unit_test(test_many),           cmocka_unit_test(test_again),
		cmocka_unit_test(test_note),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
