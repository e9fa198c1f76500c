#include "confbed.h"

/* Which smart host takes what. */
static const char several[] =
    "smarthost isp { }\n"
    "smarthost corp { for = { \"corp.example\", \"*.Corp.example\" } }\n"
    "smarthost lists { from = { \"*@lists.example.org\", \"ann+?@*\" } }\n"
    "smarthost both { for = \"both.example\" from = \"b.example\" }\n"
    "smarthost one { for = { \"Bob@one.example\", \"root@*.one.example\" } }\n"
    "smarthost late { for = \"corp.example\" }\n"
    "smarthost odd { for = { \"[192.0.2.7]\", \"\\\"a b\\\"@q.example\", \"x.*\" } }\n"
    "smarthost idn { for = \"b\xc3\xbc"
    "cher.example\" }\n"
    "smarthost rest { for = \"*\" from = \"*@rest.example\" }\n";

static const struct {
	const char *name, *sender, *rcpt, *want;
} rows[] = {
	{ "none", "a@x.example", "b@y.example", "isp" },
	{ "domain", "a@x.example", "b@corp.example", "corp" },
	{ "below", "a@x.example", "b@a.b.corp.example", "corp" },
	{ "not its end", "a@x.example", "b@evilcorp.example", "isp" },
	{ "not its beginning", "a@x.example", "b@corp.example.com", "isp" },
	{ "case", "a@x.example", "B@CORP.Example", "corp" },
	{ "dot at the end", "a@x.example", "b@corp.example.", "corp" },
	{ "two dots", "a@x.example", "b@corp.example..", "isp" },
	{ "domain as local part", "a@x.example", "corp.example@y.example", "isp" },
	{ "quoted @", "a@x.example", "\"b@corp.example\"@y.example", "isp" },
	{ "quoted local part", "a@x.example", "\"@\"@corp.example", "corp" },
	{ "bare recipient", "a@x.example", "corp.example", "isp" },
	{ "sender", "owner@lists.example.org", "b@y.example", "lists" },
	{ "sender's case", "owner@LISTS.example.org", "b@y.example", "lists" },
	{ "sender's domain is none", "\"x@lists.example.org\"@y", "b@y.example", "isp" },
	{ "first match", "owner@lists.example.org", "b@corp.example", "corp" },
	{ "? is one", "ann+1@x.example", "b@y.example", "lists" },
	{ "? is not two", "ann+12@x.example", "b@y.example", "isp" },
	{ "star does not cross @", "ann+1", "b@y.example", "isp" },
	{ "null sender", "", "b@y.example", "isp" },
	{ "null sender, for", "", "b@corp.example", "corp" },
	{ "null sender, both", "", "b@both.example", "isp" },
	{ "both", "a@b.example", "b@both.example", "both" },
	{ "both, only from", "a@b.example", "b@y.example", "isp" },
	{ "both, only for", "a@x.example", "b@both.example", "isp" },
	{ "address", "a@x.example", "bob@one.example", "one" },
	{ "other address", "a@x.example", "bob2@one.example", "isp" },
	{ "address, domain", "a@x.example", "root@a.one.example", "one" },
	{ "literal", "a@x.example", "b@[192.0.2.7]", "odd" },
	{ "quoted pattern", "a@x.example", "\"a b\"@q.example", "odd" },
	{ "stars", "a@x.example", "b@x.y.z", "odd" },
	{ "UTF-8", "a@x.example",
	  "b@b\xc3\xbc"
	  "cher.example",
	  "idn" },
	{ "star, from", "a@rest.example", "b@y.example", "rest" },
	{ "star, from, bare", "a@rest.example", "b", "rest" },
	{ "empty", "", "", "isp" },
	{ "broken quotes", "\"a@lists.example.org", "\"b@corp.example", "isp" },
	{ "only @", "@", "@", "isp" },
};

static void matching(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT, packed = BUF_INIT;
	struct conf c, u;

	(void)state;
	if (load(several, &c, &err) < 0)
		fail_msg("%s", err.p);
	conf_pack(&c, &packed);
	assert_int_equal(conf_unpack(buf_view(&packed), &u), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str s = str_z(rows[i].sender), r = str_z(rows[i].rcpt);
		size_t n = conf_route(&c, s, r);

		if (n >= c.smarthosts)
			fail_msg("%s: %zu is out of range", rows[i].name, n);
		if (strcmp(c.smarthost[n].name, rows[i].want) != 0)
			fail_msg("%s: goes to %s, wanted %s", rows[i].name,
			         c.smarthost[n].name, rows[i].want);
		if (conf_route(&u, s, r) != n)
			fail_msg("%s: other when unpacked", rows[i].name);
	}
	conf_free(&u);
	conf_free(&c);
}

/* One smart host takes all, and none is asked for nothing. */
static void single(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c, none = { .hostname = NULL };

	(void)state;
	assert_int_equal(conf_route(&none, STR("a@b"), STR("c@d")), 0);
	if (load("smarthost isp { }\n", &c, &err) < 0)
		fail_msg("%s", err.p);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
		    conf_route(&c, str_z(rows[i].sender), str_z(rows[i].rcpt)), 0);
	conf_free(&c);
}

/* Every address of few letters: never out of range, the same in capitals, and a null sender
 * never through from. */
static void all_short(void **state)
{
	static const char letters[] = "ab@.\"\\*";
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;
	size_t total = 1;

	(void)state;
	if (load("smarthost isp { }\n"
	         "smarthost f { for = \"a\" }\nsmarthost g { for = \"b@*.a\" }\n"
	         "smarthost h { from = \"?@b\" }\nsmarthost i { from = \"*\" }\n",
	         &c, &err) < 0)
		fail_msg("%s", err.p);
	for (size_t n = 0; n <= 6; n++, total *= sizeof(letters) - 1) {
		for (size_t code = 0; code < total; code++) {
			char low[6], high[6];
			size_t left = code, got;

			for (size_t i = 0; i < n; i++, left /= sizeof(letters) - 1) {
				low[i] = letters[left % (sizeof(letters) - 1)];
				high[i] = low[i];
				if (low[i] == 'a' || low[i] == 'b')
					high[i] = (char)(low[i] - 'a' + 'A');
			}
			got = conf_route(&c, STR(""), (struct str){ low, n });
			assert_true(got <= 2);
			assert_int_equal(
			    got, conf_route(&c, STR(""), (struct str){ high, n }));
			got = conf_route(&c, (struct str){ low, n }, STR("x@y"));
			assert_true(got == 3 || got == 4 || (got == 0 && n == 0));
			assert_int_equal(
			    got, conf_route(&c, (struct str){ high, n }, STR("x@y")));
		}
	}
	conf_free(&c);
}

#define H "smarthost isp { }\nsmarthost b { "

/* want: how the first line of errors goes on behind the file's name. */
static const struct {
	const char *name, *in, *want;
} bad[] = {
	{ "neither", "smarthost isp { }\n\nsmarthost \"b\" {\n port = 25 }\n",
	  ":3: smarthost \"b\" would never be used, as it is not the first; add for" },
	{ "third", H "for = \"x\" }\nsmarthost c { }",
	  ":3: smarthost \"c\" would never" },
	{ "for in the first", "smarthost isp {\n for = \"x.example\" }\n",
	  ":2: for in the first smarthost, which takes all that no other is for" },
	{ "from in the first", "smarthost isp { port = 25\n from = \"x\" }\n",
	  ":2: from in the first smarthost" },
	{ "empty for", H "\nfor = { } }", ":3: the list for is empty" },
	{ "twice", H "for = \"x.example\"\nfor = \"y.example\" }",
	  ":3: for is given twice, first in line 2" },
	{ "same name", H "for = x }\nsmarthost b { for = y }",
	  ":3: found duplicate title" },
	{ "dot first", H "\nfor = \".x.example\" }",
	  ":3: for \".x.example\" has a domain that begins with a dot" },
	{ "dot first behind @", H "from = \"*@.x.example\" }", "begins with a dot" },
	{ "dot last", H "for = \"x.example.\" }", "is no pattern; it would look like" },
	{ "two dots", H "for = \"x..example\" }", "is no pattern" },
	{ "@ first", H "for = \"@x.example\" }", "begins with @; for a whole domain" },
	{ "@ last", H "from = \"root@\" }", "has nothing behind its @" },
	{ "only @", H "from = \"@\" }", "begins with @" },
	{ "null sender", H "from = \"<>\" }", "is no pattern" },
	{ "brackets", H "from = \"<a@b>\" }", "is no pattern" },
	{ "blank", H "for = \"a.example b.example\" }", "is no pattern" },
	{ "comma", H "for = \"a.example,b.example\" }", "is no pattern" },
	{ "port", H "for = \"x.example:25\" }", "is no pattern" },
	{ "regex", H "for = \"(x|y).example\" }", "is no pattern" },
	{ "local part", H "for = \"a b@x.example\" }", "is no pattern of an address" },
	{ "local part, quotes", H "for = \"\\\"a@x.example\" }",
	  "is no pattern of an address" },
	{ "second of a list", H "for = { \"x\",\n \"y z\" } }", ":3: for \"y z\" is no" },
	{ "secret of the second", H "for = x user = x\npassword-file = \"@/none\" }",
	  ":3: password-file: /" },
	{ "warn-after", H "for = x warn-after = 4 }",
	  "warn-after \"4\" is no time; write a number and a unit, as 30s, 5m, 4h or "
	  "5d, or \"never\"" },
	{ "warn-after nine",
	  H "for = x warn-after = { 1h, 2h, 3h, 4h, 5h, 6h, 7h, 8h, 9h } }",
	  ":2: warn-after has too many values; at most 8 are" },
	{ "warn-after never and", H "for = x warn-after = { never, 4h } }",
	  "has \"never\" among other values" },
	{ "warn-after and never", H "for = x warn-after = { 1h, 4h, \"\" } }",
	  "has \"never\" among other values" },
	{ "give-up", H "for = x give-up = 0 }", "is no time; write a number" },
	{ "give-up 0s", H "for = x give-up = 0s }", "is out of range; give at least 1s" },
	{ "give-up empty", H "for = x give-up = \"\" }", "is empty" },
	{ "give-up list", H "for = x give-up = { 1d } }", "unexpected token" },
};

static void refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused_row(bad[i].name, bad[i].in, bad[i].want);
}

/* One mistake, one line: the last value of a list in braces is looked at twice. */
static void told_once(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;
	const char *end;

	(void)state;
	assert_int_equal(load(H "for = { \"x y\" } }", &c, &err), -EINVAL);
	end = strchr(err.p, '\n');
	assert_true(end && end[1] == '\0');
}

static void times(void **state)
{
	static const struct {
		const char *name, *in;
		int64_t give_up;
		size_t n;
		int64_t v[3];
	} good[] = {
		{ "default", "for = x", 432000, 1, { 14400 } },
		{ "lifetime", "for = x lifetime = 2d", 172800, 1, { 14400 } },
		{ "given", "for = x lifetime = 2d give-up = 1h", 3600, 1, { 14400 } },
		{ "never", "for = x give-up = never", 0, 1, { 14400 } },
		{ "no warning", "for = x warn-after = { }", 432000, 0, { 0 } },
		{ "no warning, empty", "for = x warn-after = \"\"", 432000, 0, { 0 } },
		{ "no warning, never", "for = x warn-after = never", 432000, 0, { 0 } },
		{ "no warning, list",
		  "for = x warn-after = { never }",
		  432000,
		  0,
		  { 0 } },
		{ "one", "for = x warn-after = 1d", 432000, 1, { 86400 } },
		{ "sorted",
		  "for = x warn-after = { 1d, 4h, 240m, 2d }",
		  432000,
		  3,
		  { 14400, 86400, 172800 } },
		{ "eight",
		  "for = x warn-after = { 8h, 8h, 8h, 8h, 8h, 8h, 8h, 8h }",
		  432000,
		  1,
		  { 28800 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, text = BUF_INIT;
		const struct conf_spans *w;
		struct conf c;

		buf_fmt(&text, "smarthost isp { }\nsmarthost b { %s }\n", good[i].in);
		if (load(text.p, &c, &err) < 0)
			fail_msg("%s: %s", good[i].name, err.p);
		w = &c.smarthost[1].warn_after;
		if (c.smarthost[1].give_up != good[i].give_up || w->n != good[i].n ||
		    memcmp(w->v, good[i].v, w->n * sizeof(w->v[0])) != 0)
			fail_msg("%s: give-up %d, %zu times, the first %d", good[i].name,
			         (int)c.smarthost[1].give_up, w->n, (int)w->v[0]);
		assert_int_equal(c.smarthost[0].give_up, 0);
		conf_free(&c);
	}
}

/* What conf_load() keeps in order is taken in no other. */
static void packed_times(void **state)
{
	static const struct {
		const char *name;
		struct conf_spans v;
		int want;
	} spans[] = {
		{ "none", { { 0 }, 0 }, 0 },
		{ "ascending", { { 1, 2 }, 2 }, 0 },
		{ "equal", { { 2, 2 }, 2 }, -EBADMSG },
		{ "descending", { { 2, 1 }, 2 }, -EBADMSG },
		{ "zero", { { 0 }, 1 }, -EBADMSG },
		{ "negative", { { -1 }, 1 }, -EBADMSG },
	};
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c, u;

	(void)state;
	if (load("smarthost isp { }\n", &c, &err) < 0)
		fail_msg("%s", err.p);
	for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
		_cleanup_buf_ struct buf packed = BUF_INIT;
		int e;

		c.smarthost[0].warn_after = spans[i].v;
		conf_pack(&c, &packed);
		e = conf_unpack(buf_view(&packed), &u);
		if (e != spans[i].want)
			fail_msg("%s: %d", spans[i].name, e);
		if (e == 0)
			conf_free(&u);
	}
	conf_free(&c);
}

/* The examples of the sample file, without their comment signs. */
static void sample(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT, err = BUF_INIT, mine = BUF_INIT;
	struct str rest, line;
	struct conf c;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "etc/mailchute.conf", &text, 1 << 20), 0);
	buf_z(&mine, "smarthost isp { }\n");
	rest = buf_view(&text);
	while (str_cut(&rest, '\n', &line)) {
		bool host = str_starts(line, STR("# smarthost"));

		buf_reset(&err);
		buf_str(&err, line);
		if ((host && (strstr(err.p, " for = ") || strstr(err.p, " from = "))) ||
		    str_starts(line, STR("# bounce {")) ||
		    str_starts(line, STR("# queue {"))) {
			buf_str(&mine, str_from(line, 1));
			buf_c(&mine, '\n');
		}
	}
	buf_reset(&err);
	if (load(mine.p, &c, &err) < 0)
		fail_msg("%s", err.p);
	assert_int_equal(c.smarthosts, 3);
	assert_int_equal(conf_route(&c, STR("a@x"), STR("b@a.corp.example")), 1);
	assert_int_equal(conf_route(&c, STR("a@lists.example.org"), STR("b@x")), 2);
	assert_true(c.bounce_from[0] != '\0');
	conf_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matching),     cmocka_unit_test(single),
		cmocka_unit_test(all_short),    cmocka_unit_test(refused),
		cmocka_unit_test(told_once),    cmocka_unit_test(times),
		cmocka_unit_test(packed_times), cmocka_unit_test(sample),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
