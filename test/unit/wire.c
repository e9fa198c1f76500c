/* The wire encoder: all short inputs, all splits of them, and long lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "smtp/wire.h"

enum { ALL_MAX = 8, SPLIT_MAX = 6 };

static const char alphabet[] = { 'x', '.', '\r', '\n', '\0' };

/* What must hold of everything that goes out; NULL, or what is wrong. Written without
 * looking at the encoder. */
static const char *broken_rule(struct str out, bool stuff)
{
	size_t start = 0;

	if (out.n && (out.n < 2 || memcmp(out.p + out.n - 2, "\r\n", 2) != 0))
		return "does not end in CRLF";
	for (size_t i = 0; i < out.n; i++) {
		size_t dot;

		if (out.p[i] == '\0')
			return "NUL";
		if (out.p[i] == '\r' && (i + 1 == out.n || out.p[i + 1] != '\n'))
			return "bare CR";
		if (out.p[i] != '\n')
			continue;
		if (i == 0 || out.p[i - 1] != '\r')
			return "bare LF";
		dot = stuff && out.p[start] == '.';
		if (dot && out.p[start + 1] != '.')
			return "unstuffed dot";
		if (i - 1 - start > WIRE_LINE_MAX + dot)
			return "line too long";
		start = i + 1;
	}
	return NULL;
}

/* What a server stores: without the doubled dots. */
static void unstuff(struct str wire, struct buf *ret)
{
	bool begin = true;

	for (size_t i = 0; i < wire.n; i++) {
		if (!(begin && wire.p[i] == '.'))
			buf_c(ret, wire.p[i]);
		begin = wire.p[i] == '\n';
	}
}

/* The meaning, by another way: LF ends a line, CRs before it are part of that, other CRs
 * and NULs are blanks, and the last line ends. (Inputs too short to be cut.) */
static void plain(struct str in, struct buf *ret)
{
	buf_reset(ret);
	for (size_t i = 0; i < in.n; i++) {
		size_t k = i;

		while (k < in.n && in.p[k] == '\r')
			k++;
		if (k < in.n && in.p[k] == '\n') {
			buf_z(ret, "\r\n");
			i = k;
		} else {
			buf_c(ret, in.p[i] == '\r' || in.p[i] == '\0' ? ' ' : in.p[i]);
		}
	}
	if (ret->n && ret->p[ret->n - 1] != '\n')
		buf_z(ret, "\r\n");
}

static void encode(struct str a, struct str b, bool stuff, struct buf *ret)
{
	struct wire w = { .stuff = stuff };

	buf_reset(ret);
	wire_encode(&w, a, ret);
	wire_encode(&w, b, ret);
	wire_end(&w, ret);
}

static void fail_with(const char *why, struct str in)
{
	_cleanup_buf_ struct buf shown = BUF_INIT;

	buf_escape(&shown, in, 200);
	fail_msg("%s: %s", why, shown.p);
}

static void check_one(struct str in, bool stuff, struct buf t[3])
{
	const char *why;

	encode(in, STR_NONE, stuff, &t[0]);
	why = broken_rule(buf_view(&t[0]), stuff);
	if (why)
		fail_with(why, in);
	if (stuff) {
		buf_reset(&t[1]);
		unstuff(buf_view(&t[0]), &t[1]);
	} else {
		buf_reset(&t[1]);
		buf_str(&t[1], buf_view(&t[0]));
	}
	plain(in, &t[2]);
	if (!str_eq(buf_view(&t[1]), buf_view(&t[2])))
		fail_with("means something else", in);
	encode(buf_view(&t[1]), STR_NONE, stuff, &t[2]);
	if (!str_eq(buf_view(&t[0]), buf_view(&t[2])))
		fail_with("not idempotent", in);
	if (in.n > SPLIT_MAX)
		return;
	for (size_t at = 0; at <= in.n; at++) {
		encode(str_head(in, at), str_from(in, at), stuff, &t[1]);
		if (!str_eq(buf_view(&t[0]), buf_view(&t[1])))
			fail_with("depends on the split", in);
	}
}

static void test_all_short(void **state)
{
	struct buf t[3] = { BUF_INIT, BUF_INIT, BUF_INIT };
	size_t all = 1, cases = 0;

	(void)state;
	for (size_t n = 0; n <= ALL_MAX; n++, all *= ARRAY_LEN(alphabet)) {
		for (size_t k = 0; k < all; k++) {
			char in[ALL_MAX];
			size_t v = k;

			for (size_t i = 0; i < n; i++, v /= ARRAY_LEN(alphabet))
				in[i] = alphabet[v % ARRAY_LEN(alphabet)];
			check_one((struct str){ in, n }, true, t);
			check_one((struct str){ in, n }, false, t);
			cases++;
		}
	}
	assert_int_equal(cases, 488281);
	for (size_t i = 0; i < 3; i++)
		buf_free(&t[i]);
}

/* The oracle itself must see what is wrong. */
static void test_oracle(void **state)
{
	static const struct {
		const char *name;
		struct str out;
		bool bad;
	} rows[] = {
		{ "empty", { "", 0 }, false },
		{ "good", { "a\r\n..\r\n", 7 }, false },
		{ "open", { "a", 1 }, true },
		{ "bare CR", { "a\rb\r\n", 5 }, true },
		{ "bare LF", { "a\nb\r\n", 5 }, true },
		{ "NUL", { "\0\r\n", 3 }, true },
		{ "dot", { "a\r\n.\r\n", 6 }, true },
		{ "LF first", { "\n\r\n", 3 }, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if ((broken_rule(rows[i].out, true) != NULL) != rows[i].bad)
			fail_msg("%s", rows[i].name);
}

static void test_long_lines(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT, again = BUF_INIT;
	static const size_t around[] = { 1, 997, 998, 999, 1000, 1995, 1996, 1997, 5000 };
	static const char fill[] = { 'x', '.', '\r', '\0', ' ' };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(around) * ARRAY_LEN(fill) * 2; i++) {
		size_t n = around[i / 2 % ARRAY_LEN(around)];
		char c = fill[i / 2 / ARRAY_LEN(around)];
		const char *why;

		buf_reset(&in);
		memset(buf_room(&in, n), c, n);
		in.n = n;
		if (i % 2)
			buf_z(&in, "\n.\n");
		encode(buf_view(&in), STR_NONE, true, &out);
		why = broken_rule(buf_view(&out), true);
		if (why)
			fail_msg("%zu of %02x: %s", n, (unsigned)c, why);
		for (size_t at = 0; at <= n; at += at + 3 < n && at > 3 ? 97 : 1) {
			encode(str_head(buf_view(&in), at), str_from(buf_view(&in), at),
			       true, &again);
			if (!str_eq(buf_view(&out), buf_view(&again)))
				fail_msg("%zu of %02x: split at %zu", n, (unsigned)c, at);
		}
	}
}

/* A legal line is not cut, not even one that begins with a dot. */
static void test_legal_line(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;

	(void)state;
	memset(buf_room(&in, 998), '.', 998);
	in.n = 998;
	buf_z(&in, "\r\n");
	encode(buf_view(&in), STR_NONE, true, &out);
	assert_int_equal(out.n, 1001);
	encode(buf_view(&in), STR_NONE, false, &out);
	assert_int_equal(out.n, 1000);
}

/* Fast enough: 40 MB/s would do for 20,000 messages a second. */
static void test_speed(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;
	int64_t start;

	(void)state;
	while (in.n < 60000)
		buf_z(&in,
		      "The quick brown fox jumps over the lazy dog, and goes home.\n");
	start = clock_ms();
	for (int i = 0; i < 200; i++)
		encode(buf_view(&in), STR_NONE, true, &out);
	print_message("12 MB in %lld ms\n", (long long)(clock_ms() - start));
	assert_true(clock_ms() - start < 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle),     cmocka_unit_test(test_all_short),
		cmocka_unit_test(test_long_lines), cmocka_unit_test(test_legal_line),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
