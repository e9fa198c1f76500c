/* guess: how many wrong passwords came from where */
#include "listen/guess.h"
#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Each row in a table of its own: letters are clients that are wrong, "+9" lets seconds pass,
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
		struct guesses *g = guesses_new(GUESS_MAX);
		int64_t now = 1000;

		for (const char *p = rows[i].does; *p; p++) {
			const struct slots_client who = { AF_INET, (uint64_t)*p };

			if (*p == ' ')
				continue;
			if (*p == '+') {
				now += strtol(p + 1, NULL, 10);
				p += strcspn(p, " ") - 1;
			} else if (p[1] == '?' || p[1] == '!') {
				if (guesses_enough(g, &who, now) != (p[1] == '?'))
					fail_msg("%s: at \"%s\"", rows[i].name, p);
				p++;
			} else {
				(void)guesses_wrong(g, &who, now);
			}
		}
		guesses_close(g);
	}
}

/* Said once, to the one that makes it enough. */
static void test_says(void **state)
{
	const struct slots_client who = { AF_INET6, 1 };
	struct guesses *g = guesses_new(GUESS_MAX);

	(void)state;
	for (int i = 1; i <= 2 * GUESS_MAX; i++)
		assert_true(guesses_wrong(g, &who, 5) == (i == GUESS_MAX));
	guesses_close(g);
	assert_false(guesses_wrong(NULL, &who, 5));
	assert_false(guesses_enough(NULL, &who, 5));
}

/* A crowd takes the places of those that were wrong the longest ago: who goes on guessing keeps
 * being counted. Families are told apart. */
static void test_crowd(void **state)
{
	const struct slots_client eve = { AF_INET, 1 }, six = { AF_INET6, 1 };
	struct guesses *g = guesses_new(GUESS_MAX);

	(void)state;
	for (int i = 0; i < GUESS_MAX; i++)
		(void)guesses_wrong(g, &eve, 2000);
	for (uint64_t i = 2; i < 100 * (uint64_t)GUESS_CLIENTS; i++)
		(void)guesses_wrong(g, &(struct slots_client){ AF_INET, i }, 1999);
	assert_true(guesses_enough(g, &eve, 2001));
	assert_false(guesses_enough(g, &six, 2001));
	guesses_close(g);
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
