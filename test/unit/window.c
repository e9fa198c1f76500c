/* How many messages may be in flight */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "smtp/window.h"

/* Events: a accepted whole, l a 4xx to one sent now, o a 4xx to one sent before the last cut,
 * f nobody got it, s somebody did, t 100 ms pass; a number repeats the next one. */
static const struct row {
	const char *name;
	unsigned first, max;
	int64_t rtt;
	const char *events;
	unsigned want;
	bool careful;
} rows[] = {
	{ "starts", 4, 500, 100, "", 4, false },
	{ "starts within the limit", 100, 5, 100, "", 5, false },
	{ "starts with one at least", 0, 0, 100, "", 1, false },
	{ "three more for each", 4, 500, 100, "4a", 16, false },
	{ "four times in a round trip", 32, 500, 100, "32at128at", 500, false },
	{ "never over the limit", 32, 40, 100, "99a", 40, false },
	{ "a 4xx halves", 64, 500, 100, "l", 32, false },
	{ "once for all that was sent before", 64, 500, 100, "looooo", 32, false },
	{ "again for one sent after it", 64, 500, 100, "ll", 16, false },
	{ "never below one", 2, 500, 100, "llll", 1, false },
	{ "one failed", 64, 500, 100, "f", 64, false },
	{ "two in a row failed", 64, 500, 100, "ff", 1, true },
	{ "failed, not in a row", 64, 500, 100, "fsf", 64, false },
	{ "and it went on", 64, 500, 100, "ffsa", 4, false },
	/* 100 a round trip, whatever is sent: known after the second one, and then it stops. */
	{ "no faster, no larger", 32, 5000, 100, "100at100at100at100at100at", 632,
	  false },
	{ "far too fast for the clock", 32, 500, 0, "999a", 500, false },
};

static void play(const struct row *t)
{
	struct window w;
	int64_t now = 1000000;
	unsigned n = 0;

	window_start(&w, t->first, t->max, t->rtt);
	for (const char *p = t->events; *p; p++) {
		if (*p >= '0' && *p <= '9') {
			n = n * 10 + (unsigned)(*p - '0');
			continue;
		}
		for (n = n ? n : 1; n; n--) {
			uint64_t serial = window_begin(&w);

			if (*p == 'a') {
				window_ended(&w, true);
				window_accepted(&w, now);
			} else if (*p == 'l' || *p == 'o') {
				window_later(&w, *p == 'l' ? serial : 1);
				window_ended(&w, true);
			} else if (*p == 't') {
				now += 100;
			} else {
				window_ended(&w, *p == 's');
			}
		}
	}
	if (w.now != t->want || window_careful(&w) != t->careful)
		fail_msg("%s: %u, careful %d", t->name, w.now, window_careful(&w));
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		play(&rows[i]);
}

static void test_room(void **state)
{
	struct window w;

	(void)state;
	window_start(&w, 4, 500, 100);
	assert_true(window_room(&w, 1, UINT64_MAX, SIZE_MAX)); /* one alone */
	assert_true(window_room(&w, 4, WINDOW_OCTETS, WINDOW_REPLIES));
	assert_false(window_room(&w, 5, 0, 0));
	assert_false(window_room(&w, 2, WINDOW_OCTETS + 1, 0));
	assert_false(window_room(&w, 2, 0, WINDOW_REPLIES + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
