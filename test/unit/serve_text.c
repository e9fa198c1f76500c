#include "servebed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ROW(name, in, want)                        \
	{                                          \
		name, { in, sizeof(in) - 1 }, want \
	}

static void json(void **state)
{
	static const struct {
		const char *name;
		struct str in;
		const char *want;
	} rows[] = {
		ROW("plain", "abc", "\"abc\""),
		ROW("empty", "", "\"\""),
		ROW("quote", "a\"b", "\"a\\\"b\""),
		ROW("backslash", "a\\b", "\"a\\\\b\""),
		ROW("LF", "a\nb", "\"a\\nb\""),
		ROW("NUL", "a\0b", "\"a\\u0000b\""),
		ROW("escape", "\x1b[2J", "\"\\u001b[2J\""),
		ROW("DEL", "\x7f", "\"\\u007f\""),
		ROW("two octets", "\xc3\xa4", "\"\\u00e4\""),
		ROW("C1 control", "\xc2\x9b", "\"\\u009b\""),
		ROW("three octets", "\xe2\x82\xac", "\"\\u20ac\""),
		ROW("four octets", "\xf0\x9f\x98\x80", "\"\\ud83d\\ude00\""),
		ROW("the last", "\xf4\x8f\xbf\xbf", "\"\\udbff\\udfff\""),
		ROW("beyond the last", "\xf4\x90\x80\x80",
		    "\"\\\\xf4\\\\x90\\\\x80\\\\x80\""),
		ROW("Latin-1", "J\xfcrgen", "\"J\\\\xfcrgen\""),
		ROW("cut", "\xe2\x82", "\"\\\\xe2\\\\x82\""),
		ROW("overlong", "\xc0\xaf", "\"\\\\xc0\\\\xaf\""),
		ROW("overlong, three", "\xe0\x80\xaf", "\"\\\\xe0\\\\x80\\\\xaf\""),
		ROW("surrogate", "\xed\xa0\x80", "\"\\\\xed\\\\xa0\\\\x80\""),
		ROW("tail alone", "\x80", "\"\\\\x80\""),
		ROW("no tail", "\xc3\x28", "\"\\\\xc3(\""),
		ROW("ff", "\xff", "\"\\\\xff\""),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		json_str(&b, rows[i].in);
		if (strcmp(b.p, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, b.p);
	}
}

static void numbers(void **state)
{
	static const struct {
		int64_t in;
		const char *size, *span;
	} rows[] = {
		{ 0, "0", "0s" },
		{ -5, "0", "0s" },
		{ 119, "119", "119s" },
		{ 120, "120", "2m" },
		{ 1023, "1023", "17m" },
		{ 1024, "1.0K", "17m" },
		{ 7200, "7.0K", "2h" },
		{ 10239, "9.9K", "2h" },
		{ 10240, "10K", "2h" },
		{ 172800, "168K", "2d" },
		{ 1048575, "1023K", "12d" },
		{ 1048576, "1.0M", "12d" },
		{ INT64_C(5) << 30, "5.0G", "62137d" },
		{ INT64_C(5) << 50, "5120T", "65156244608d" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf size = BUF_INIT, span = BUF_INIT;

		text_size(&size, rows[i].in);
		text_span(&span, rows[i].in);
		if (strcmp(size.p, rows[i].size) != 0 ||
		    strcmp(span.p, rows[i].span) != 0)
			fail_msg("%lld: %s %s", (long long)rows[i].in, size.p, span.p);
	}
}

static void times(void **state)
{
	static const struct {
		int64_t in;
		const char *time, *ctime;
	} rows[] = {
		{ 0, "1970-01-01 00:00:00 UTC", "Thu Jan  1 00:00" },
		{ 1795312800, "2026-11-22 02:00:00 UTC", "Sun Nov 22 02:00" },
		{ -1, "1970-01-01 00:00:00 UTC", "Thu Jan  1 00:00" },
		{ INT64_MAX, "9999-12-31 23:59:59 UTC", "Fri Dec 31 23:59" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;

		text_time(&a, rows[i].in);
		text_ctime(&b, rows[i].in);
		if (strcmp(a.p, rows[i].time) != 0 || strcmp(b.p, rows[i].ctime) != 0)
			fail_msg("%lld: %s %s", (long long)rows[i].in, a.p, b.p);
	}
}

struct sink {
	struct buf all;
	unsigned calls;
	size_t most;
	bool deaf;
};

static bool sink_send(void *arg, struct str s)
{
	struct sink *k = arg;

	buf_str(&k->all, s);
	k->calls++;
	k->most = s.n > k->most ? s.n : k->most;
	return !k->deaf;
}

/* A list longer than a piece: commas are right where it was cut, and not all is kept. */
static void pieces(void **state)
{
	struct sink k = { .all = BUF_INIT };
	struct out o = { .b = BUF_INIT, .send = sink_send, .arg = &k };
	_cleanup_buf_ struct buf want = BUF_INIT;

	(void)state;
	out_line(&o);
	buf_c(&o.b, '[');
	buf_z(&want, "\t[");
	for (unsigned i = 0; i < 100000; i++) {
		assert_true(out_more(&o));
		json_comma(&o.b);
		buf_fmt(&o.b, "%u", i);
		buf_fmt(&want, "%s%u", i ? "," : "", i);
	}
	buf_c(&o.b, ']');
	out_end(&o);
	buf_z(&want, "]\n");
	assert_true(out_flush(&o));
	assert_true(str_eq(buf_view(&want), buf_view(&k.all)));
	assert_true(k.calls > 10);
	assert_true(k.most < OUT_PIECE + 100);
	k.deaf = true;
	out_fmt(&o, "x");
	assert_false(out_flush(&o));
	k.calls = 0;
	for (unsigned i = 0; i < 100000; i++)
		out_fmt(&o, "nobody listens");
	assert_int_equal(k.calls, 0);
	assert_true(o.b.n <= OUT_PIECE);
	buf_free(&o.b);
	buf_free(&k.all);
}

static void safe(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	(void)state;
	text_safe(&b, STR("a\\xe9\x1b\xc3\xa4\x7f\n\tz"), 100);
	assert_string_equal(b.p, "a\\xe9\\x1b\\xc3\\xa4\\x7f\\x0a\\x09z");
	buf_reset(&b);
	text_safe(&b, STR("abcdef"), 3);
	assert_string_equal(b.p, "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json),  cmocka_unit_test(numbers),
		cmocka_unit_test(times), cmocka_unit_test(pieces),
		cmocka_unit_test(safe),
	};

	return cmocka_run_group_tests_name("serve_text", tests, NULL, NULL);
}
