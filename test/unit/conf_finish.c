#include "confbed.h"

#define H "smarthost isp { }\n"

static const struct {
	const char *name, *in, *want;
} bad[] = {
	{ "count", H "queue { max-messages = x }",
	  ":2: max-messages \"x\" is no number; write one as 500, 100K or 1M, or 0" },
	{ "count unit", H "queue { max-per-user = 1G }", "is no number" },
	{ "count minus", H "queue { max-per-user = -1 }", "is no number" },
	{ "count large", H "queue { max-messages = 1001M }", "is out of range" },
	{ "count huge", H "queue { max-messages = 999999999999M }", "is out of range" },
	{ "count too long", H "queue { max-messages = 99999999999999999999 }",
	  "is no number" },
	{ "bytes", H "queue { max-bytes = 5 }", "is out of range; give at least 1K" },
	{ "bytes unit", H "queue { max-bytes = 5T }",
	  "is no size; write a number and a unit, as 100K, 50M or 1G, or \"0\"" },
	{ "message size 0", H "queue { max-message-size = 0 }", "is out of range" },
	{ "min-free", H "queue { min-free = \"5%\" }", "is no size" },

	{ "notify", H "bounce { notify = success }",
	  ":2: notify \"success\" is nothing to be told of; use failure, delay, or" },
	{ "notify mixed", H "bounce { notify = { failure, never } }",
	  "has \"never\" among other values" },
	{ "return", H "bounce { return = full }", "is nothing to return; use headers" },
	{ "to", H "bounce { to = nobody }",
	  "to \"nobody\" has no domain; it would look like eddy@example.org, or be "
	  "\"sender\" or \"admin\"" },
	{ "to, illegal", H "bounce { to = \"a b@c\" }", "is no mail address" },
	{ "to admin, unknown", H "bounce {\n to = admin }",
	  ":3: to is admin, but there is none; set admin =" },
	{ "bounce-from", H "bounce { bounce-from = \"<>\" }", "is no mail address" },
	{ "bounce-from bare", H "bounce { bounce-from = root }", "has no domain" },
	{ "template", H "bounce {\n template = \"x\" }",
	  ":3: template \"x\" is no whole" },
	{ "template missing", H "bounce { template = \"@/none\" }",
	  "cannot be opened: No such file" },
	{ "template folder", H "bounce { template = \"@/\" }", "is no regular file" },
	{ "template large", H "bounce { template = \"@/big\" }",
	  "is larger than 64 KiB" },
	{ "template device", H "bounce { template = \"/dev/null\" }", "no regular file" },
	{ "template wrong", H "bounce {\n\ntemplate = \"@/bad-words\" }",
	  ":4: template: /" },
	{ "template wrong, line", H "bounce { template = \"@/bad-words\" }",
	  "/bad-words:3: " },
};

static void refused(void **state)
{
	_cleanup_buf_ struct buf big = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < (64 << 10) / 2 + 1; i++)
		buf_z(&big, "#\n");
	put("big", buf_view(&big), 0644);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused_row(bad[i].name, bad[i].in, bad[i].want);
}

static void limits(void **state)
{
	static const struct {
		const char *name, *in;
		int64_t messages, bytes, user, free;
	} rows[] = {
		{ "none", "", 0, 0, 100000, 16 << 20 },
		{ "no limits",
		  "max-messages = 0 max-bytes = 0 max-per-user = 0 min-free = 0", 0, 0, 0,
		  0 },
		{ "units",
		  "max-messages = 2M max-bytes = \"1G\" max-per-user = 5K min-free = 4K",
		  2000000, 1 << 30, 5000, 4096 },
		{ "plain", "max-messages = 1 max-bytes = 1024 max-per-user = 7", 1, 1024,
		  7, 16 << 20 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, text = BUF_INIT;
		struct conf c;

		buf_fmt(&text, H "queue { %s }\n", rows[i].in);
		if (load(text.p, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].name, err.p);
		if (c.max_messages != rows[i].messages || c.max_bytes != rows[i].bytes ||
		    c.max_per_user != rows[i].user || c.min_free != rows[i].free)
			fail_msg("%s: %lld %lld %lld %lld", rows[i].name,
			         (long long)c.max_messages, (long long)c.max_bytes,
			         (long long)c.max_per_user, (long long)c.min_free);
		conf_free(&c);
	}
}

static void notify(void **state)
{
	static const struct {
		const char *name, *in;
		bool failure, delay;
	} rows[] = {
		{ "none", "", true, true },
		{ "both", "notify = { delay, failure }", true, true },
		{ "failure", "notify = failure", true, false },
		{ "delay", "notify = { delay }", false, true },
		{ "never", "notify = never", false, false },
		{ "empty", "notify = { }", false, false },
		{ "empty word", "notify = \"\"", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, text = BUF_INIT,
		                         packed = BUF_INIT;
		struct conf c, u;

		buf_fmt(&text, H "bounce { %s }\n", rows[i].in);
		if (load(text.p, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].name, err.p);
		conf_pack(&c, &packed);
		assert_int_equal(conf_unpack(buf_view(&packed), &u), 0);
		if (u.notify_failure != rows[i].failure ||
		    u.notify_delay != rows[i].delay)
			fail_msg("%s: %d %d", rows[i].name, u.notify_failure,
			         u.notify_delay);
		conf_free(&c);
		conf_free(&u);
	}
}

#define RULE(match, as) "masquerade { match = \"" match "\" as = \"" as "\" }\n"

static void admin(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "none", "", "" },
		{ "given", "admin = \"a@x\"\n" RULE("*", "e@x"), "a@x" },
		{ "star", RULE("*", "e@x.example"), "e@x.example" },
		{ "star@star", RULE("root@*", "r@x") RULE("*@*", "e@x"), "e@x" },
		{ "the first", RULE("*", "e@x") RULE("*", "f@x"), "e@x" },
		{ "other pattern", RULE("*@lan", "e@x") RULE("?*", "f@x"), "" },
		{ "letters", RULE("*", "%u@x"), "" },
		{ "letters, then none", RULE("*", "%u@x") RULE("*@*", "e@x"), "e@x" },
		{ "user", "masquerade { match = \"*\" as = \"e@x\" user = ann }\n", "" },
		{ "only to", "masquerade { match = \"*\" as = \"e@x\" rewrite = to }\n",
		  "" },
		{ "only from",
		  "masquerade { match = \"*\" as = \"e@x\" rewrite = from }\n", "e@x" },
		{ "quoted", RULE("*", "e e@x"), "\"e e\"@x" },
		{ "map", "masquerade { map = \"@/map\" }\n" RULE("*", "e@x"), "e@x" },
		{ "client", "masquerade { match = \"*\" as = \"e@x\" client = \"*\" }\n",
		  "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, text = BUF_INIT;
		struct conf c;

		buf_fmt(&text, H "%s", rows[i].in);
		if (load(text.p, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].name, err.p);
		if (strcmp(c.admin, rows[i].want) != 0)
			fail_msg("%s: \"%s\"", rows[i].name, c.admin);
		conf_free(&c);
	}
}

static void override(void **state)
{
	static const struct {
		const char *name, *in;
		enum masq_override want;
		size_t users;
	} rows[] = {
		{ "none", "", MASQ_OVERRIDE_YES, 0 },
		{ "yes", "sender-override = yes\n", MASQ_OVERRIDE_YES, 0 },
		{ "no", "sender-override = { no }\n", MASQ_OVERRIDE_NO, 0 },
		{ "list", "sender-override = { ann, \"@mail\", \"uid:7\" }\n",
		  MASQ_OVERRIDE_LIST, 3 },
		{ "one", "sender-override = ann\n", MASQ_OVERRIDE_LIST, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, text = BUF_INIT;
		struct conf c;

		buf_fmt(&text, H "%s", rows[i].in);
		if (load(text.p, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].name, err.p);
		if (c.override != rows[i].want || c.override_user.n != rows[i].users)
			fail_msg("%s: %d, %zu", rows[i].name, (int)c.override,
			         c.override_user.n);
		conf_free(&c);
	}
}

static void aliases(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "", "/etc/aliases" },
		{ "aliases = \"\"\n", "" },
		{ "aliases = \"/dev/../etc/passwd\"\n", "/dev/../etc/passwd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, text = BUF_INIT;
		struct conf c;

		buf_fmt(&text, H "%s", rows[i].in);
		if (load(text.p, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].want, err.p);
		assert_string_equal(c.aliases, rows[i].want);
		conf_free(&c);
	}
}

static void bounce(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;

	(void)state;
	if (load(H "bounce { to = admin template = \"@/words\" return = headers }\n" RULE(
	             "*", "e@x"),
	         &c, &err) < 0)
		fail_msg("%s", err.p);
	assert_string_equal(c.bounce_to, "admin");
	assert_false(c.bounce_whole);
	conf_free(&c);
	if (load(H "bounce { to = \"desk@x.example\" return = message }\n", &c, &err) < 0)
		fail_msg("%s", err.p);
	assert_string_equal(c.bounce_to, "desk@x.example");
	assert_true(c.bounce_whole);
	conf_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused), cmocka_unit_test(limits),
		cmocka_unit_test(notify),  cmocka_unit_test(admin),
		cmocka_unit_test(bounce),  cmocka_unit_test(override),
		cmocka_unit_test(aliases),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
