/* tally: how often a client did something lately */
#include "listen/tally.h"
#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MOST = 10 };

/* Each row in a table of its own: letters are clients that did it, "+9" lets seconds pass,
 * "a?" must be enough, "a!" must not. */
static void test_rows(void **state)
{
	static const struct {
		const char *name, *does;
	} rows[] = {
		{ "nobody", "a!" },
		{ "one less", "aaaaaaaaa a!" },
		{ "enough", "aaaaaaaaaa a?" },
		{ "others are not meant", "aaaaaaaaaa b! a?" },
		{ "in turn", "abababababababababab a? b?" },
		{ "for a while from the last", "aaaaa +30 aaaaa +40 a? +19 a? +1 a!" },
		{ "then from the beginning", "aaaaaaaaaa +60 a! aaaaaaaaa a! a a?" },
		{ "a minute from the first", "a +59 aaaaaaaa +1 a a!" },
		{ "more does not make it longer", "aaaaaaaaaa +59 aaaa a? +1 a!" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tally *t = tally_new(MOST);
		int64_t now = 1000;

		for (const char *p = rows[i].does; *p; p++) {
			const struct slots_client who = { AF_INET, (uint64_t)*p };

			if (*p == ' ')
				continue;
			if (*p == '+') {
				now += strtol(p + 1, NULL, 10);
				p += strcspn(p, " ") - 1;
			} else if (p[1] == '?' || p[1] == '!') {
				if (tally_full(t, &who, now) != (p[1] == '?'))
					fail_msg("%s: at \"%s\"", rows[i].name, p);
				p++;
			} else {
				(void)tally_add(t, &who, now);
			}
		}
		tally_close(t);
	}
}

/* Said once, to the one that makes it enough. */
static void test_says(void **state)
{
	const struct slots_client who = { AF_INET6, 1 };
	struct tally *t = tally_new(MOST);

	(void)state;
	for (int i = 1; i <= 2 * MOST; i++)
		assert_true(tally_add(t, &who, 5) == (i == MOST));
	tally_close(t);
	assert_false(tally_add(NULL, &who, 5));
	assert_false(tally_full(NULL, &who, 5));
}

/* A crowd takes the places of those that were wrong the longest ago: who goes on guessing keeps
 * being counted. Families are told apart. */
static void test_crowd(void **state)
{
	const struct slots_client eve = { AF_INET, 1 }, six = { AF_INET6, 1 };
	struct tally *t = tally_new(MOST);

	(void)state;
	for (int i = 0; i < MOST; i++)
		(void)tally_add(t, &eve, 2000);
	for (uint64_t i = 2; i < 100 * (uint64_t)TALLY_PLACES; i++)
		(void)tally_add(t, &(struct slots_client){ AF_INET, i }, 1999);
	assert_true(tally_full(t, &eve, 2001));
	assert_false(tally_full(t, &six, 2001));
	tally_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_says),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
