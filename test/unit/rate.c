#include "daemon/rate.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define T0 INT64_C(1800000000)

/* What was used is used for a span, and a piece of it longer at most. */
static void slides(void **state)
{
	static const int64_t spans[] = { 1, 2, 60, 63, 64, 100, 3600, 86400, 31536000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
		int64_t span = spans[i], piece = (span + 62) / 63;
		struct rate r;

		rate_init(&r, span);
		rate_add(&r, T0, 5);
		if (rate_used(&r, T0) != 5 || rate_used(&r, T0 + span - 1) != 5)
			fail_msg("%lld: gone too early", (long long)span);
		if (rate_free_at(&r, T0, 5) != T0 ||
		    rate_free_at(&r, T0, 4) < T0 + span ||
		    rate_free_at(&r, T0, 4) > T0 + span + piece)
			fail_msg("%lld: free at %lld", (long long)span,
			         (long long)rate_free_at(&r, T0, 4) - T0);
		if (rate_used(&r, T0 + span + piece) != 0)
			fail_msg("%lld: never gone", (long long)span);
	}
}

/* Whatever comes when: never more than the limit in any span, by a model that keeps all. */
static void never_more(void **state)
{
	enum { EVENTS = 3000, LIMIT = 30 };
	static int64_t at[EVENTS];
	static const int64_t spans[] = { 1, 7, 60, 200, 3600 };
	unsigned seed = 1;

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(spans); k++) {
		struct rate r;
		int64_t now = T0;
		unsigned n = 0, first = 0;

		rate_init(&r, spans[k]);
		while (n < EVENTS) {
			int64_t free_at;

			seed = seed * 1103515245u + 12345u;
			now += seed >> 16 & 1 ? 0 : (seed >> 17) % (spans[k] / 8 + 2);
			free_at = rate_free_at(&r, now, LIMIT - 1);
			if (free_at > now + spans[k] + (spans[k] + 62) / 63)
				fail_msg("waits too long");
			now = free_at;
			if (rate_used(&r, now) >= LIMIT)
				fail_msg("not free when it said so");
			rate_add(&r, now, 1);
			at[n++] = now;
			while (at[first] <= now - spans[k])
				first++;
			if (n - first > LIMIT)
				fail_msg("%u in %lld s", n - first, (long long)spans[k]);
		}
	}
}

static void clock_jumps(void **state)
{
	struct rate r;

	(void)state;
	rate_init(&r, 3600);
	rate_add(&r, T0, 10);
	/* Back by a year: it is of now, and goes as if it were. */
	assert_int_equal(rate_used(&r, T0 - 31536000), 10);
	assert_true(rate_free_at(&r, T0 - 31536000, 9) <= T0 - 31536000 + 3600 + 58);
	assert_int_equal(rate_used(&r, T0 - 31536000 + 3700), 0);
	/* Ahead by a year: it is over. */
	rate_add(&r, T0, 10);
	assert_int_equal(rate_used(&r, T0 + 31536000), 0);
	/* A start in 1970, with what was kept, and then the clock is set. */
	rate_init(&r, 3600);
	assert_true(rate_take(&r, STR(" 1800000000:7"), 30));
	rate_add(&r, 40, 3);
	assert_int_equal(rate_used(&r, 50), 10);
	assert_int_equal(rate_used(&r, T0 + 10), 10);
	assert_int_equal(rate_used(&r, T0 + 10 + 3700), 0);
	/* Times that no clock has. */
	rate_add(&r, INT64_MAX, INT64_MAX);
	rate_add(&r, INT64_MAX, INT64_MAX);
	assert_true(rate_used(&r, INT64_MAX) > 0);
	rate_add(&r, INT64_MIN, -5);
	assert_true(rate_used(&r, INT64_MIN) >= 0);
}

static void kept(void **state)
{
	static const struct {
		const char *name, *text;
		bool ok;
		int64_t used;
	} rows[] = {
		{ "nothing", "", true, 0 },
		{ "as written", " 1799999990:3 1799999999:4", true, 7 },
		{ "over", " 1799990000:3 1799999999:4", true, 4 },
		{ "of the future", " 1900000000:3", true, 3 },
		{ "many", " 1799999999:99999999999999999", true, 1000000000000 },
		{ "no number", " 1799999999:x", false, 0 },
		{ "no time", " :1", false, 0 },
		{ "three", " 1799999999:1:1", false, 0 },
		{ "the good part", " 1799999999:1 x", false, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rate r;

		rate_init(&r, 60);
		if (rate_take(&r, str_z(rows[i].text), T0) != rows[i].ok ||
		    rate_used(&r, T0) != rows[i].used)
			fail_msg("%s: %lld", rows[i].name, (long long)rate_used(&r, T0));
	}
}

/* What is printed is taken back; more pieces than there can be do no harm. */
static void kept_again(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT, junk = BUF_INIT;
	struct rate r, again;

	(void)state;
	rate_init(&r, 86400);
	for (int64_t i = 0; i < 500; i++)
		rate_add(&r, T0 + i * 400, 1 + i);
	rate_print(&r, &b);
	assert_true(b.n < 64 * 20);
	rate_init(&again, 86400);
	assert_true(rate_take(&again, buf_view(&b), T0 + 500 * 400));
	assert_int_equal(rate_used(&again, T0 + 500 * 400),
	                 rate_used(&r, T0 + 500 * 400));
	for (int64_t i = 0; i < 500; i++)
		buf_fmt(&junk, " %lld:1", (long long)(T0 - i * 200));
	rate_init(&again, 86400);
	assert_true(rate_take(&again, buf_view(&junk), T0));
	assert_true(rate_used(&again, T0) >= 432 && rate_used(&again, T0) <= 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slides),      cmocka_unit_test(never_more),
		cmocka_unit_test(clock_jumps), cmocka_unit_test(kept),
		cmocka_unit_test(kept_again),
	};

	return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
