#include "mail/alias.h"
#include "mail/addr.h"
#include "mail/alias_value.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct alias_here here = { .hostname = { "box.example.org", 15 },
	                                .nodename = { "box", 3 } };

/* A table of one file; lists have the texts of list, by their order. */
static void table_make(struct alias_table *t, const char *text, const char *const *list)
{
	struct buf b = BUF_INIT;

	*t = (struct alias_table){ .entries = 0 };
	buf_z(&b, text);
	alias_parse(t, "/a", &b);
	for (size_t i = 0; i < t->lists; i++) {
		struct buf l = BUF_INIT;

		if (!list || !list[i]) {
			alias_list_unreadable(t, i, "No such file or directory");
			continue;
		}
		buf_z(&l, list[i]);
		alias_list_parse(t, i, &l);
	}
}

/* "addr" of another machine, "=addr" local, "!addr reply" refused; by blanks. */
static void print_targets(struct buf *b, const struct alias_run *r)
{
	for (size_t i = 0; i < r->targets; i++) {
		const struct alias_target *t = &r->target[i];

		buf_fmt(b, "%s%s%s", b->n ? " " : "",
		        t->refused ? "!"
		        : t->local ? "="
		                   : "",
		        t->addr);
		if (t->refused)
			buf_fmt(b, " [%s]", t->refused);
	}
}

static void check(const char *name, const struct buf *got, const char *want)
{
	if (!str_eq(buf_view(got), str_z(want)))
		fail_msg("%s: want %s, got %s", name, want, got->n ? got->p : "");
}

/* ---- Reading ---- */

static void test_values(void **state)
{
	static const char kinds[] = "aliPF?";
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "one", "eddy", "a:eddy" },
		{ "two", "eddy, joe@far.example", "a:eddy a:joe@far.example" },
		{ "empty ones", " ,, eddy , ,", "a:eddy" },
		{ "nothing", "", "" },
		{ "CRLF", "eddy,\r\n\tjoe\r\n", "a:eddy a:joe" },
		{ "backslash", "eddy,\\\n joe, \\\n ann\\\n", "a:eddy a:joe a:ann" },
		{ "backslash and CRLF", "eddy,\\\r\n joe, \\\r\n ann\\\r\n",
		  "a:eddy a:joe a:ann" },
		{ "blanks", " \t\n ", "" },
		{ "comment", "eddy # the boss, joe\n , ann", "a:eddy a:ann" },
		{ "only a comment", "# eddy", "" },
		{ "comment line", "eddy,\n# joe's\n ann", "a:eddy a:ann" },
		{ "a number sign in a name", "a#b", "a:a#b" },
		{ "parentheses", "eddy (the, boss), joe", "a:eddy a:joe" },
		{ "nested", "eddy (a (b) , c), joe", "a:eddy a:joe" },
		{ "display name", "\"Moe, Eddy\" <eddy@far.example>",
		  "a:eddy@far.example" },
		{ "literal", "\\eddy, joe", "l:eddy a:joe" },
		{ "literal, quoted", "\"\\eddy\"", "l:eddy" },
		{ "quoted name", "\"john doe\"", "a:\"john doe\"" },
		{ "quoted for nothing", "\"eddy\"", "a:eddy" },
		{ "quoted address", "\"eddy@far.example\"", "a:eddy@far.example" },
		{ "quoted local part", "\"john doe\"@far.example",
		  "a:\"john doe\"@far.example" },
		{ "program", "|/bin/prog", "P:" },
		{ "program, quoted", "\"|/bin/prog -a, b\", eddy", "P: a:eddy" },
		{ "program with quotes", "|\"/bin/prog a, b\", eddy", "P: a:eddy" },
		{ "quotes in quotes", "\"|/bin/prog \\\"a, b\\\"\", eddy", "P: a:eddy" },
		{ "file", "/var/mail/eddy", "F:" },
		{ "file, quoted", "\"/var/mail/a b\"", "F:" },
		{ "no mail", "/dev/null", "F:" },
		{ "list", ":include:/etc/list", "i:/etc/list" },
		{ "list with a blank", ":include: /etc/list", "i:/etc/list" },
		{ "list in capitals", ":INCLUDE:/etc/list", "i:/etc/list" },
		{ "list, quoted", "\":include:/etc/a list\"", "i:/etc/a list" },
		{ "list, its name quoted", ":include:\"/etc/a list\"", "i:/etc/a list" },
		{ "list without a root", ":include:list", "?" },
		{ "list without a name", ":include:", "?" },
		{ "open quote", "\"eddy, joe", "?" },
		{ "open quote in front", "ann, \"eddy, joe", "a:ann ?" },
		{ "open comment", "eddy (boss, joe", "?" },
		{ "two words", "eddy joe", "?" },
		{ "two ats", "a@b@c", "?" },
		{ "no name", "@far.example", "?" },
		{ "no domain", "eddy@", "?" },
		{ "Exim's", ":fail: no such user", "?" },
		{ "sendmail's error", "error:5.1.1 gone", "?" },
		{ "a bad one between", "eddy, a@b@c, joe", "a:eddy ? a:joe" },
		{ "the line goes on", "eddy,\\\njoe", "a:eddy a:joe" },
		{ "the line goes on in front of a comma", "eddy\\\n, joe",
		  "a:eddy a:joe" },
		{ "8-bit", "j\xc3\xb6rg@far.example", "a:j\xc3\xb6rg@far.example" },
		{ "control character", "ed\x01y", "?" },
		{ "CR LF", "eddy,\r\n joe\r", "a:eddy a:joe" },
		{ "lone backslash", "\\", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct alias_value v = { .text = BUF_INIT };
		struct str rest = str_z(rows[i].in);

		while (alias_value_next(&rest, false, &v)) {
			buf_fmt(&got, "%s%c", got.n ? " " : "", kinds[v.kind]);
			if (v.kind == ALIAS_BAD)
				assert_non_null(v.why);
			else
				buf_c(&got, ':');
			if (v.kind <= ALIAS_INCLUDE)
				buf_str(&got, buf_view(&v.text));
		}
		buf_free(&v.text);
		check(rows[i].name, &got, rows[i].want);
	}
}

static void test_lists(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "lines", "a@x\nb@x, c@x\n\n# d@x\n  e@x # f@x\n", "a@x b@x c@x e@x" },
		{ "no last line end", "a@x\nb@x", "a@x b@x" },
		{ "an open quote ends with its line", "\"a\nb@x\n", "? b@x" },
		{ "CR LF", "a@x\r\nb@x\r\n", "a@x b@x" },
		{ "a backslash at the end", "a@x\\\nb@x\n", "? b@x" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct alias_value v = { .text = BUF_INIT };
		struct str rest = str_z(rows[i].in);

		while (alias_value_next(&rest, true, &v)) {
			buf_z(&got, got.n ? " " : "");
			if (v.kind == ALIAS_BAD)
				buf_c(&got, '?');
			else
				buf_str(&got, buf_view(&v.text));
		}
		buf_free(&v.text);
		check(rows[i].name, &got, rows[i].want);
	}
}

/* "name line;" for each alias, "!line;" for each fault. */
static void test_parse(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "nothing", "", "" },
		{ "one", "root: eddy\n", "root 1;" },
		{ "no line end", "root: eddy", "root 1;" },
		{ "comments and empty lines", "# a: b\n\n  \n \t# c\nroot: eddy\n",
		  "root 5;" },
		{ "continuation", "root: eddy,\n\tjoe\n  ann\nx: y\n", "root 1;x 4;!2;" },
		{ "continuation behind a comment", "root: eddy,\n# why\n\n  joe\nx: y\n",
		  "root 1;x 5;" },
		{ "value on the next line", "root:\n  eddy\n", "root 1;" },
		{ "backslash", "root: eddy,\\\njoe\nx: y\n", "root 1;x 3;" },
		{ "backslash in front of a comment", "root: eddy,\\\n# joe\nx: y\n",
		  "root 1;x 3;" },
		{ "case", "Root: eddy\n", "root 1;" },
		{ "blanks around the colon", "root : eddy\n", "root 1;" },
		{ "no blank", "root:eddy\n", "root 1;" },
		{ "quoted name", "\"john doe\": eddy\n\"a:b\" : c\n",
		  "a:b 2;john doe 1;" },
		{ "CR LF", "root: eddy\r\nx: y,\r\n\tz\r\n", "root 1;x 2;" },
		{ "list", "x: :include:/l\n", "x 1;" },
		{ "8-bit", "j\xc3\xb6rg: eddy\n", "j\xc3\xb6rg 1;" },
		{ "twice", "root: eddy\nx: y\nROOT: joe\n", "root 1;x 2;!3;" },
		{ "no colon", "root eddy\nx: y\n", "x 2;!1;" },
		{ "no name", ": eddy\nx: y\n", "x 2;!1;" },
		{ "no value", "root:\nx: y\n", "x 2;!1;" },
		{ "only a comment", "root: # eddy\nx: y\n", "x 2;!1;" },
		{ "two words", "root eddy: z\nx: y\n", "x 2;!1;" },
		{ "with a domain", "root@box: z\nx: y\n", "x 2;!1;" },
		{ "open quote", "\"root: z\nx: y\n", "x 2;!1;" },
		{ "open quote in a value", "root: \"z\nx: y\n", "x 2;!1;" },
		{ "no colon behind quotes", "\"root\" z\nx: y\n", "x 2;!1;" },
		{ "nothing to go on with", "  root: z\nx: y\n", "x 2;!1;" },
		{ "one bad value", "root: eddy,\n a@b@c,\n joe\n", "root 1;!2;" },
		{ "only bad values", "root: a@b@c\nx: y\n", "x 2;!1;" },
		{ "program", "x: eddy, |/bin/a\n", "x 1;!1;" },
		{ "control character", "a\x01: b\nx: y\n", "x 2;!1;" },
		{ "a list that is not there", "x: :include:/0\n", "x 1;!0;" },
	};
	static const char *const list[] = { "a@x\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct alias_table t;

		table_make(&t, rows[i].in, strstr(rows[i].in, "/0") ? NULL : list);
		for (size_t k = 0; k < t.entries; k++)
			buf_fmt(&got, "%s %zu;", t.entry[k].name, t.entry[k].line);
		for (size_t k = 0; k < t.faults; k++)
			buf_fmt(&got, "!%zu;", t.fault[k].line);
		alias_free(&t);
		check(rows[i].name, &got, rows[i].want);
	}
}

static void test_find(void **state)
{
	static const struct {
		const char *name, *want; /* line; NULL: none */
	} rows[] = {
		{ "eddy", "1" },     { "EDDY", "1" },   { "eddy+x", "2" },
		{ "Eddy+X", "2" },   { "eddy+y", "1" }, { "eddy+x+y", "1" },
		{ "eddy+", "1" },    { "edd", NULL },   { "eddyy", NULL },
		{ "", NULL },        { "+eddy", NULL }, { "+", NULL },
		{ "john doe", "3" }, { "zed", "4" },
	};
	struct alias_table t;

	(void)state;
	table_make(&t, "eddy: a\neddy+x: b\n\"John Doe\": c\nzed: d\n", NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct alias_entry *e = alias_find(&t, str_z(rows[i].name));

		if (!e != !rows[i].want || (e && e->line != (size_t)atol(rows[i].want)))
			fail_msg("%s: got %zu", rows[i].name, e ? e->line : 0);
	}
	alias_free(&t);
}

static void test_here(void **state)
{
	static const struct {
		const char *addr;
		bool want;
	} rows[] = {
		{ "root", true },
		{ "root@localhost", true },
		{ "root@LOCALHOST.LocalDomain", true },
		{ "root@Box.Example.Org", true },
		{ "root@box.example.org.", true },
		{ "root@box", true },
		{ "\"a@b\"", true },
		{ "root@example.org", false },
		{ "root@xbox", false },
		{ "root@box.example.com", false },
		{ "\"root@box\"@far.example", false },
	};
	const struct alias_here none = { .nodename = STR_NONE };
	struct alias_here given = here;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (alias_is_here(&here, str_z(rows[i].addr)) != rows[i].want)
			fail_msg("%s", rows[i].addr);
	assert_false(alias_is_here(&none, STR("root@box")));
	assert_true(alias_is_here(&none, STR("root@localhost")));
	given.elsewhere = STR("BOX.example.org");
	assert_false(alias_is_here(&given, STR("root@box.example.org")));
	assert_true(alias_is_here(&given, STR("root@box")));
}

/* ---- Expansion ---- */

#define REFUSED(name, what) "!" name " [550 5.3.5 alias " name ": mailchute " what "]"
#define NOBODY(name) "!" name " [550 5.2.4 alias " name ": it leads to nobody]"

static void test_expand(void **state)
{
	static const struct {
		const char *name, *file, *list[3], *in, *want;
	} rows[] = {
		{ "none", "", { NULL }, "root", "=root" },
		{ "elsewhere",
		  "root: x\n",
		  { NULL },
		  "root@far.example",
		  "root@far.example" },
		{ "no alias", "a: x@y\n", { NULL }, "root@localhost", "=root@localhost" },
		{ "one", "root: e@far.example\n", { NULL }, "root", "e@far.example" },
		{ "at this host", "root: e@f\n", { NULL }, "Root@BOX", "e@f" },
		{ "detail", "root: e@f\n", { NULL }, "root+cron", "e@f" },
		{ "detail of its own",
		  "root: e@f\nroot+cron: c@f\n",
		  { NULL },
		  "root+cron",
		  "c@f" },
		{ "local", "root: eddy\n", { NULL }, "root", "=eddy" },
		{ "chain", "root: a\na: b\nb: e@f\n", { NULL }, "root", "e@f" },
		{ "several",
		  "root: a, b, e@f\na: x@f\n",
		  { NULL },
		  "root",
		  "x@f =b e@f" },
		{ "two messages' worth",
		  "root: e@f\n",
		  { NULL },
		  "root Root root+x z",
		  "e@f =z" },
		{ "shared",
		  "a: c, x@f\nb: c, y@f\nc: z@f\n",
		  { NULL },
		  "a b",
		  "z@f x@f y@f" },
		{ "literal", "eddy: \\eddy, e@f\n", { NULL }, "eddy", "=eddy e@f" },
		{ "literal of another", "root: \\a\na: x@f\n", { NULL }, "root", "=a" },
		{ "literal elsewhere", "root: \\a@f\n", { NULL }, "root", "a@f" },
		{ "itself", "eddy: eddy, e@f\n", { NULL }, "eddy", "=eddy e@f" },
		{ "itself alone", "eddy: EDDY\n", { NULL }, "eddy", "=EDDY" },
		{ "itself at this host",
		  "eddy: eddy@localhost\n",
		  { NULL },
		  "eddy",
		  "=eddy@localhost" },
		{ "loop", "a: b\nb: a\n", { NULL }, "a", "=a" },
		{ "loop, both", "a: b\nb: a\n", { NULL }, "a b", "=a" },
		{ "loop, the other first", "a: b\nb: a\n", { NULL }, "b a", "=b" },
		{ "loop of three",
		  "a: b, x@f\nb: c, y@f\nc: a, z@f\n",
		  { NULL },
		  "b",
		  "=b x@f z@f y@f" },
		{ "detail is no way out", "a: a+x\n", { NULL }, "a", "=a+x" },
		{ "list", "t: :include:/l\n", { "x@f\ny@f, z@f\n" }, "t", "x@f y@f z@f" },
		{ "list of aliases",
		  "t: :include:/l\na: x@f\n",
		  { "a\nb\n" },
		  "t",
		  "x@f =b" },
		{ "list of lists",
		  "t: :include:/1, w@f\n",
		  { "x@f\n:include:/2\n", "y@f\n" },
		  "t",
		  "x@f y@f w@f" },
		{ "list of itself",
		  "t: :include:/1\n",
		  { ":include:/1\nx@f\n" },
		  "t",
		  "x@f" },
		{ "list of nothing but itself",
		  "t: :include:/1\n",
		  { ":include:/1\n" },
		  "t",
		  NOBODY("t") },
		{ "lists in a circle",
		  "t: :include:/1\n",
		  { ":include:/2\nx@f\n", ":include:/1\ny@f\n" },
		  "t",
		  "y@f x@f" },
		{ "empty list", "t: :include:/1\n", { "# nobody\n" }, "t", NOBODY("t") },
		{ "empty list beside", "t: :include:/1, x@f\n", { "" }, "t", "x@f" },
		{ "empty list, twice",
		  "t: :include:/1\nu: :include:/1\n",
		  { "" },
		  "t u",
		  NOBODY("t") " " NOBODY("u") },
		{ "empty below",
		  "t: u, x@f\nu: :include:/1\n",
		  { "" },
		  "t u",
		  NOBODY("u") " x@f" },
		{ "list with the alias in it",
		  "t: :include:/1\n",
		  { "t\nx@f\n" },
		  "t",
		  "=t x@f" },
		{ "no list",
		  "t: :include:/1, x@f\n",
		  { NULL },
		  "t",
		  "!t [451 4.2.4 alias t: /1: No such file or directory] x@f" },
		{ "program",
		  "t: |/bin/a\n",
		  { NULL },
		  "t",
		  REFUSED("t", "runs no programs") },
		{ "file",
		  "t: /dev/null\n",
		  { NULL },
		  "t",
		  REFUSED("t", "writes no files") },
		{ "both, and somebody",
		  "t: /a, |b, x@f\n",
		  { NULL },
		  "t",
		  REFUSED("t", "writes no files") " " REFUSED(
		      "t", "runs no programs") " x@f" },
		{ "program behind an alias",
		  "root: t\nt: |/bin/a\n",
		  { NULL },
		  "root",
		  REFUSED("t", "runs no programs") },
		{ "program in a list",
		  "t: :include:/1\n",
		  { "|/bin/a\n" },
		  "t",
		  REFUSED("t", "runs no programs") },
		{ "a bad value is passed over", "t: a@b@c, x@f\n", { NULL }, "t", "x@f" },
		{ "a list of bad ones",
		  "t: :include:/1\n",
		  { "a@b@c\n" },
		  "t",
		  NOBODY("t") },
		{ "quoted", "\"a b\": x@f\n", { NULL }, "\"A B\"@localhost", "x@f" },
		{ "quoted, refused",
		  "\"a b\": |p\n",
		  { NULL },
		  "\"A B\"",
		  "!\"a b\" [550 5.3.5 alias a b: mailchute runs no programs]" },
		{ "ten",
		  "a: b\nb: c\nc: d\nd: e\ne: f\nf: g\ng: h\nh: i\ni: j\nj: x@f\n",
		  { NULL },
		  "a",
		  "x@f" },
		{ "eleven",
		  "a: b\nb: c\nc: d\nd: e\ne: f\nf: g\ng: h\nh: i\ni: j\nj: k\nk: x@f\n",
		  { NULL },
		  "a",
		  "!j [550 5.4.6 alias j: more than 10 aliases lead to one another]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct str rest = str_z(rows[i].in), one;
		struct alias_table t;
		struct alias_run r;

		table_make(&t, rows[i].file, rows[i].list);
		alias_begin(&r, &t, &here);
		/* Words of "in" are recipients, but for a blank in quotes. */
		if (rest.p[0] == '"')
			alias_expand(&r, rest, 100);
		else
			while (str_cut(&rest, ' ', &one))
				alias_expand(&r, one, 100);
		print_targets(&got, &r);
		alias_end(&r);
		alias_free(&t);
		check(rows[i].name, &got, rows[i].want);
	}
}

static void test_unreadable(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT;
	struct alias_table t = { .entries = 0 };
	struct alias_run r;

	(void)state;
	alias_unreadable(&t, "/etc/aliases", "Permission denied");
	assert_int_equal(t.faults, 1);
	alias_begin(&r, &t, &here);
	alias_expand(&r, STR("root"), 5);
	alias_expand(&r, STR("x@far.example"), 5);
	print_targets(&got, &r);
	check("unreadable", &got,
	      "!root [451 4.3.5 /etc/aliases: Permission denied] x@far.example");
	alias_end(&r);
	alias_free(&t);
}

static void test_no_table(void **state)
{
	_cleanup_buf_ struct buf got = BUF_INIT;
	struct alias_run r;

	(void)state;
	alias_begin(&r, NULL, &here);
	alias_expand(&r, STR("root"), 1);
	alias_expand(&r, STR("x@far.example"), 1);
	print_targets(&got, &r);
	check("no table", &got, "=root x@far.example");
	alias_end(&r);
}

/* ---- Limits ---- */

#define FULL(name)                                                              \
	"!" name " [550 5.5.3 alias " name ": the message would have too many " \
	"recipients]"

static void test_room(void **state)
{
	static const struct {
		const char *name, *in;
		size_t room;
		const char *want;
	} rows[] = {
		{ "fits", "a", 3, "1@f 2@f 3@f" },
		{ "one too many", "a", 2, FULL("a") },
		{ "nothing of it is left", "b", 3, FULL("b") },
		{ "what it had touched is free", "b+ c", 3, FULL("b") " " FULL("c") },
		{ "what came before needs no room", "c b", 3, "4@f 1@f 2@f 3@f" },
		{ "others go on", "b x@y", 3, FULL("b") " x@y" },
	};
	struct alias_table t;

	(void)state;
	table_make(&t, "a: 1@f, 2@f, 3@f\nb: c, a\nc: 4@f\n", NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct str rest = str_z(rows[i].in), one;
		struct alias_run r;

		alias_begin(&r, &t, &here);
		while (str_cut(&rest, ' ', &one))
			alias_expand(&r, one, rows[i].room);
		print_targets(&got, &r);
		alias_end(&r);
		check(rows[i].name, &got, rows[i].want);
	}
	alias_free(&t);
}

static void test_limits(void **state)
{
	struct alias_table t = { .entries = 0 };
	struct buf b = BUF_INIT;

	(void)state;
	for (size_t i = 0; i <= ALIAS_ENTRIES_MAX; i++)
		buf_fmt(&b, "n%zu: x@f\n", i);
	alias_parse(&t, "/a", &b);
	assert_int_equal(t.entries, ALIAS_ENTRIES_MAX);
	assert_int_equal(t.faults, 1);
	assert_int_equal(t.fault[0].line, ALIAS_ENTRIES_MAX + 1);
	alias_free(&t);

	memset(buf_room(&b, ALIAS_FILE_MAX + 1), 'x', ALIAS_FILE_MAX + 1);
	b.n = ALIAS_FILE_MAX + 1;
	alias_parse(&t, "/a", &b);
	assert_non_null(t.why);
	assert_int_equal(t.entries, 0);
	alias_free(&t);

	buf_z(&b, "t: x");
	for (size_t i = 0; i <= ALIAS_LISTS_MAX; i++)
		buf_fmt(&b, ", :include:/%zu", i);
	alias_parse(&t, "/a", &b);
	assert_int_equal(t.lists, ALIAS_LISTS_MAX);
	assert_int_equal(t.faults, 1);
	alias_free(&t);

	for (size_t i = 0; i < 1000; i++)
		buf_z(&b, "bad\n");
	alias_parse(&t, "/a", &b);
	assert_int_equal(t.faults, 1000);
	assert_int_equal(t.fault[ALIAS_FAULTS_MAX - 1].line, ALIAS_FAULTS_MAX);
	alias_free(&t);
}

/* Shapes that a careless reader takes long for: 4 MiB of each must be done in a moment. */
static void test_linear(void **state)
{
	static const char *const shape[] = { "(",
		                             "\"",
		                             "\\\n",
		                             ",",
		                             "a,",
		                             "<",
		                             "\\",
		                             "a:\n",
		                             ":\n",
		                             " \n",
		                             "a#b ",
		                             "#",
		                             "a: |b, :include:/c, \"d\" ,\n " };
	clock_t start = clock();

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(shape); i++) {
		const char *s = shape[i / 2];
		struct alias_table t = { .entries = 0 };
		struct buf b = BUF_INIT;

		buf_z(&b, i % 2 ? "x: " : "");
		while (b.n + strlen(s) <= (1 << 20))
			buf_z(&b, s);
		alias_parse(&t, "/a", &b);
		alias_free(&t);
	}
	if (clock() - start > 8 * CLOCKS_PER_SEC)
		fail_msg("%g s", (double)(clock() - start) / CLOCKS_PER_SEC);
}

/* A thousand random files: expansion ends, gives somebody, and with everybody as recipient
 * no more than there can be. */
static uint32_t seed = 1;
static unsigned dice(unsigned n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % n;
}

static void random_file(struct buf *b, unsigned names)
{
	static const char *const more[] = { "x@f", "y@f", "\\a",         "|p",
		                            "/f",  "a@@", ":include:/1", ":include:/2" };

	for (unsigned i = 0; i < names; i++) {
		buf_fmt(b, "%c:", 'a' + (int)i);
		for (unsigned k = 0, n = 1 + dice(4); k < n; k++) {
			buf_z(b, k ? ", " : " ");
			if (dice(3))
				buf_fmt(b, "%c", 'a' + (int)dice(names));
			else
				buf_z(b, more[dice(ARRAY_LEN(more))]);
		}
		buf_c(b, '\n');
	}
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		_cleanup_buf_ struct buf file = BUF_INIT, l1 = BUF_INIT, l2 = BUF_INIT;
		unsigned names = 1 + dice(20);
		const char *lists[ALIAS_LISTS_MAX] = { NULL };
		struct alias_table t;
		struct alias_run r;

		random_file(&file, names);
		buf_fmt(&l1, "%c\n:include:/2\n", 'a' + (int)dice(names));
		buf_fmt(&l2, "%c\n:include:/1\n", 'a' + (int)dice(names));
		lists[0] = l1.p;
		lists[1] = l2.p;
		table_make(&t, file.p, lists);
		for (unsigned i = 0; i < names; i++) {
			char name[2] = { (char)('a' + (int)i), '\0' };

			/* Alone it leads to somebody; every result is there once. */
			alias_begin(&r, &t, &here);
			alias_expand(&r, str_z(name), 50000);
			if (r.targets == 0)
				fail_msg("round %u: %s leads to nobody in\n%s", round,
				         name, file.p);
			alias_end(&r);
		}
		alias_begin(&r, &t, &here);
		for (unsigned i = 0; i < names; i++) {
			char name[2] = { (char)('a' + (int)i), '\0' };

			alias_expand(&r, str_z(name), 50000);
		}
		/* Each value at most once. */
		assert_true(r.targets > 0 && r.targets <= names * 5 + 4);
		alias_end(&r);
		alias_free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),     cmocka_unit_test(test_lists),
		cmocka_unit_test(test_parse),      cmocka_unit_test(test_find),
		cmocka_unit_test(test_here),       cmocka_unit_test(test_expand),
		cmocka_unit_test(test_unreadable), cmocka_unit_test(test_no_table),
		cmocka_unit_test(test_room),       cmocka_unit_test(test_limits),
		cmocka_unit_test(test_linear),     cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
