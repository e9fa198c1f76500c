#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <time.h>

/* Days of every kind of year, against the library's calendar. */
static void test_rfc5322(void **state)
{
	(void)state;
	for (int64_t t = -86400; t < CLOCK_MAX + 2 * 86400; t += 86400 * 3 + 4567) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		time_t at = t < 0 || t > CLOCK_MAX ? 0 : (time_t)t;
		char want[64];
		struct tm tm;

		assert_non_null(gmtime_r(&at, &tm));
		strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S +0000", &tm);
		clock_rfc5322(&got, t);
		if (!str_eq(buf_view(&got), str_z(want)))
			fail_msg("%lld: want %s, got %s", (long long)t, want, got.p);
	}
}

static void test_ends(void **state)
{
	static const struct {
		int64_t t;
		const char *want;
	} rows[] = {
		{ 0, "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ -1, "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ INT64_MAX, "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ CLOCK_MAX, "Fri, 31 Dec 9999 23:59:59 +0000" },
		{ 1795311960, "Sun, 22 Nov 2026 01:46:00 +0000" },
		{ 951782399, "Mon, 28 Feb 2000 23:59:59 +0000" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 +0000" },
		{ 4107542399, "Sun, 28 Feb 2100 23:59:59 +0000" },
		{ 4107542400, "Mon, 01 Mar 2100 00:00:00 +0000" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;

		clock_rfc5322(&got, rows[i].t);
		assert_string_equal(got.p, rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc5322),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
