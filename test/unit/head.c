#include "base/io.h"
#include "mail/fold.h"
#include "props.h"
#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_length(void **state)
{
	static const struct {
		const char *name, *in;
		size_t want, empty;      /* of a whole message */
		size_t part, part_empty; /* of its beginning */
	} rows[] = {
		{ "plain", "A: b\n\nbody", 6, 1, 6, 1 },
		{ "crlf", "A: b\r\n\r\nbody", 8, 2, 8, 2 },
		{ "cr cr lf", "A: b\r\r\n\r\r\nbody", 10, 3, 10, 3 },
		{ "no body", "A: b\n\n", 6, 1, 6, 1 },
		{ "no empty line", "A: b\n", 5, 0, 5, 0 },
		{ "no last newline", "A: b", 4, 0, 4, 0 },
		{ "text behind", "A: b\nnot a field\n\n", 5, 0, 5, 0 },
		{ "text behind, cut", "A: b\nnot", 5, 0, 8, 0 },
		{ "folded", "A: b\n c\n\td: e\n\nx", 15, 1, 15, 1 },
		{ "blank line in field", "A: b\n \n c\n\nx", 11, 1, 11, 1 },
		{ "no header", "hello there\n\nx", 0, 0, 0, 0 },
		{ "no header, cut", "hello", 0, 0, 5, 0 },
		{ "no header, cut, blank", "hello t", 0, 0, 0, 0 },
		{ "begins with blank", " A: b\n\n", 0, 0, 0, 0 },
		{ "begins with empty line", "\nA: b\n\n", 1, 1, 1, 1 },
		{ "begins with crlf", "\r\nA: b\n\n", 2, 2, 2, 2 },
		{ "empty", "", 0, 0, 0, 0 },
		{ "mbox", "From root Thu Jan  1\nA: b\n\nx", 27, 1, 27, 1 },
		{ "quoted mbox", ">From root\nA: b\n\nx", 17, 1, 17, 1 },
		{ "mbox later", "A: b\nFrom root\n\nx", 5, 0, 5, 0 },
		{ "mbox folded", "From root\n more\n\nx", 10, 0, 10, 0 },
		{ "From with blank", "From : a@b\n\nx", 12, 1, 12, 1 },
		{ "blank before colon", "Subject \t: x\n\ny", 14, 1, 14, 1 },
		{ "blank in name", "Sub ject: x\n\ny", 0, 0, 0, 0 },
		{ "no name", ": x\n\ny", 0, 0, 0, 0 },
		{ "8 bit name", "S\xc3\xbc: x\n\ny", 0, 0, 0, 0 },
		{ "url", "http://x\n", 9, 0, 9, 0 },
		{ "lone cr", "A: b\r\n\r", 6, 0, 7, 0 },
	};
	size_t empty;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = head_length(str_z(rows[i].in), true, &empty);

		if (n != rows[i].want || empty != rows[i].empty)
			fail_msg("%s: whole: got %zu %zu", rows[i].name, n, empty);
		n = head_length(str_z(rows[i].in), false, &empty);
		if (n != rows[i].part || empty != rows[i].part_empty)
			fail_msg("%s: part: got %zu %zu", rows[i].name, n, empty);
	}
}

/* Whatever a prefix decides, the whole decides too. */
static void test_prefixes(void **state)
{
	static const char *const in[] = {
		"From root\nA: b\r\n c\nFrom : x\n\nbody",
		"A: b\r\r\n\r\r\nx",
		"A : b\nhello there\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(in); i++) {
		struct str s = str_z(in[i]);
		size_t empty, whole_empty, whole = head_length(s, true, &whole_empty);

		for (size_t n = 0; n <= s.n; n++) {
			size_t got = head_length(str_head(s, n), false, &empty);

			if (got < n || empty) {
				assert_int_equal(got, whole);
				assert_int_equal(empty, whole_empty);
			}
		}
	}
}

static void test_next(void **state)
{
	static const struct {
		const char *name, *in, *want; /* "name=body|" each */
	} rows[] = {
		{ "plain", "A: b\nC:d\n\nE: f\n", "A= b|C=d|" },
		{ "crlf", "A: b\r\nC: d\r\n\r\n", "A= b|C= d|" },
		{ "cr cr lf", "A: b\r\r\nC: d\r\r\n\r\r\nE: f", "A= b|C= d|" },
		{ "folded", "A: b\n c\r\n\td\nE: f\n", "A= b\n c\r\n\td|E= f|" },
		{ "blank before colon", "Subject \t: x\n", "Subject= x|" },
		{ "no line end", "A: b\nC: d", "A= b|C= d|" },
		{ "empty body", "A:\nB: \n", "A=|B= |" },
		{ "mbox", "From x y\nA: b\n>From z\nC: d\n", "A= b|C= d|" },
		{ "no colon", "A: b\nhello\nC: d\n", "A= b|" },
		{ "colon in body", "A: b: c\n", "A= b: c|" },
		{ "nothing", "", "" },
		{ "empty line", "\nA: b\n", "" },
		{ "cut name", "A: b\nFro", "A= b|" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct str rest = str_z(rows[i].in);
		struct head_field f;

		while (head_next(&rest, &f)) {
			buf_str(&got, f.name);
			buf_c(&got, '=');
			buf_str(&got, f.body);
			buf_c(&got, '|');
			assert_ptr_equal(f.raw.p + f.raw.n, rest.p);
		}
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: got %.*s", rows[i].name, (int)got.n,
			         got.n ? got.p : "");
	}
}

static void test_long(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT;
	struct str rest;
	struct head_field f;
	size_t empty, fields = 0;

	(void)state;
	buf_z(&in, "A: ");
	for (size_t i = 0; i < 1 << 20; i++)
		buf_c(&in, 'x');
	for (size_t i = 0; i < 1 << 18; i++)
		buf_z(&in, "\n ");
	for (size_t i = 0; i < 1 << 18; i++)
		buf_z(&in, "\nB:\r\r");
	assert_int_equal(head_length(buf_view(&in), true, &empty), in.n);
	rest = buf_view(&in);
	while (head_next(&rest, &f))
		fields++;
	assert_int_equal(fields, 1 + (1 << 18));
	assert_int_equal(rest.n, 0);
}

static void test_unfold(void **state)
{
	const struct {
		const char *name;
		struct str in;
		const char *want;
	} rows[] = {
		{ "plain", STR(" a b"), " a b" },
		{ "folded", STR("a\n b\r\n\tc\r\r\n d"), "a b c d" },
		{ "controls", STR("a\0b\rc\x7f"), "a b c " },
		{ "crs", STR("a\r\rb"), "a  b" },
		{ "8 bit", STR("\xc3\xbc"), "\xc3\xbc" },
		{ "last cr", STR("a\r"), "a " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;

		head_unfold(&got, rows[i].in);
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: got %.*s", rows[i].name, (int)got.n,
			         got.n ? got.p : "");
	}
}

/* test/data/mail: the RFCs' examples and mail like it: nothing is to do but Received, and
 * addresses are found wherever they should be. */
static void test_mail(void **state)
{
	const struct compose_conf c = { .hostname = STR("box.example.org"),
		                        .domain = STR("example.org") };
	const struct envelope e = { .login = STR("eddy") };
	DIR *d = opendir("test/data/mail");
	const struct dirent *one;
	size_t files = 0;

	(void)state;
	assert_non_null(d);
	while ((one = readdir(d))) {
		_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT, want = BUF_INIT;
		struct str header, rest;
		struct head_field f;

		if (one->d_name[0] == '.')
			continue;
		files++;
		assert_int_equal(io_slurp_at(dirfd(d), one->d_name, &in, 1 << 16), 0);
		header = rest = props_head(buf_view(&in));
		while (head_next(&rest, &f))
			props_addr(f.body);
		if (rest.n)
			fail_msg("%s: the header ends before its end", one->d_name);
		props_compose(&c, &e, header);
		compose_header(&c, &e, STR("0123456789abcdef"), STR_NONE, header, &got);
		fold_text(&want, header);
		buf_c(&want, '\n');
		if (got.n < want.n ||
		    !str_eq(str_from(buf_view(&got), got.n - want.n), buf_view(&want)))
			fail_msg("%s: changed to\n%s", one->d_name, got.p);
	}
	closedir(d);
	assert_true(files >= 10);
}

/* Lines, names and foldings without end: a megabyte of each. */
static void test_linear(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	const double most = 3000;
#else
	const double most = 250; /* 100 where nothing else runs */
#endif
	static const struct {
		const char *name, *start, *unit, *end;
	} rows[] = {
		{ "fields", "", "A: b\n", "" },
		{ "short fields", "", "A:\n", "" },
		{ "folding", "A: b", "\n ", "" },
		{ "one line", "A: ", "x", "" },
		{ "blanks", "A: ", " ", "x" },
		{ "blanks behind", "A: x", " ", "" },
		{ "half blanks", "A: x", "y     ", "" },
		{ "CRs", "A: ", "\r", "\n" },
		{ "CRs in lines", "A: ", "x\r\r", "\n" },
		{ "To", "", "To: a\n", "" },
		{ "To and Cc", "", "To: a\nCc: b\n", "" },
		{ "To that is no list", "", "To: (\nTo: a\n", "" },
		{ "From", "", "From: a\n", "" },
		{ "bad From", "", "From: x y\n", "" },
		{ "one To", "To: ", "a,", "" },
		{ "one To, open", "To: ", "<a@b,", "" },
		{ "one To, comments", "To: ", "((((((((((((((((a))))))))))))))))", "" },
		{ "one To, too deep", "To: ", "(", "" },
		{ "one To, quotes", "To: ", "\"a\"", "" },
		{ "one To, encoded words", "To: ", "=?u?q?a", "" },
		{ "Subject", "", "Subject: a\n", "" },
		{ "tails of UTF-8", "X: ", "\xbc", "" },
	};
	const struct compose_conf c = { .hostname = STR("h"), .domain = STR("d") };
	const struct envelope e = { .login = STR("eddy") };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;
		clock_t start;
		double ms;
		size_t empty;

		buf_z(&in, rows[i].start);
		while (in.n < 1 << 20)
			buf_z(&in, rows[i].unit);
		buf_z(&in, rows[i].end);
		start = clock();
		head_length(buf_view(&in), true, &empty);
		compose_header(&c, &e, STR("0123456789abcdef"), STR_NONE, buf_view(&in),
		               &out);
		ms = (double)(clock() - start) * 1e3 / CLOCKS_PER_SEC;
		if (ms > most)
			fail_msg("%s: %.0f ms", rows[i].name, ms);
	}
}

/* Every octet at every place of names that are shorter and longer than what is looked at in one
 * go. */
static void test_name_octets(void **state)
{
	enum { LONGEST = 20 };

	(void)state;
	for (size_t n = 1; n <= LONGEST; n++)
		for (size_t i = 0; i < n * 256; i++) {
			const size_t at = i / 256;
			const char c = (char)i;
			const bool blank =
			    (c == ' ' || c == '\t') && at > 0 && at == n - 1;
			size_t want = c > ' ' && c < 0x7f ? n : 0;
			char text[LONGEST + 4];
			struct str rest = { text, n + 4 };
			struct head_field f = { .raw = STR_NONE };

			if (c == ':' || blank)
				want = at;
			memset(text, 'x', n);
			memcpy(text + n, ": v\n", 4);
			text[at] = c;
			if (head_next(&rest, &f) != (want > 0) || f.name.n != want ||
			    rest.n != (want ? 0 : n + 4))
				fail_msg("%zu octets, 0x%02zx at %zu: got a name of %zu",
				         n, i % 256, at, f.name.n);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_length), cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_next),   cmocka_unit_test(test_name_octets),
		cmocka_unit_test(test_long),   cmocka_unit_test(test_unfold),
		cmocka_unit_test(test_mail),   cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests_name("head", tests, NULL, NULL);
}
