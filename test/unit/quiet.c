/* quiet: how many lines of the log clients may cause */
#include "listen/quiet.h"
#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Each row with a log of its own: so many lines of a client each second, for so long. */
static void test_rows(void **state)
{
	static const struct {
		const char *name;
		uint64_t clients; /* in turn */
		unsigned lines, seconds;
		bool strangers;
		uint64_t logged;
	} rows[] = {
		{ "few", 1, 1, QUIET_CLIENT, false, QUIET_CLIENT },
		{ "a flood", 1, 20000, 5, false, QUIET_CLIENT },
		{ "of strangers", 1, 20000, 5, true, QUIET_CLIENT },
		{ "for two minutes", 1, 100, 2 * TALLY_SECONDS, false, 2 * QUIET_CLIENT },
		{ "of four", 4, 400, 5, true, 4 * QUIET_CLIENT },
		{ "a crowd", 500, 5000, 5, true, QUIET_STRANGERS },
		{ "a crowd of the house's", 20, 5000, 5, false, 20 * QUIET_CLIENT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct quiet *q = quiet_new();
		uint64_t logged = 0, out, all = rows[i].lines * rows[i].seconds;

		for (unsigned s = 0; s < rows[i].seconds; s++)
			for (unsigned n = 0; n < rows[i].lines; n++)
				logged += quiet_may(q,
				                    &(struct slots_client){
				                        AF_INET, n % rows[i].clients },
				                    rows[i].strangers, 1000 + s);
		out = quiet_left_out(q);
		if (logged != rows[i].logged || logged + out != all)
			fail_msg("%s: %llu logged, %llu left out", rows[i].name,
			         (unsigned long long)logged, (unsigned long long)out);
		assert_int_equal(quiet_left_out(q), 0);
		quiet_free(q);
	}
}

/* Strangers leave others their lines; processes count together. */
static void test_shared(void **state)
{
	struct slots_client who = { AF_INET, 0 };
	struct quiet *q = quiet_new();
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		for (; who.who < 1000; who.who++)
			(void)quiet_may(q, &who, true, 5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(quiet_left_out(q), 1000 - QUIET_STRANGERS);
	who.who = 2000;
	assert_false(quiet_may(q, &who, true, 6));
	assert_true(quiet_may(q, &who, false, 6));
	quiet_free(q);
	quiet_free(NULL);
	assert_true(quiet_may(NULL, &who, true, 6));
	assert_int_equal(quiet_left_out(NULL), 0);
}

/* What sessions find, in turn: is it news? All in one log, but the last in none. */
static void test_news(void **state)
{
	static const struct {
		const char *at, *words;
		bool want;
	} rows[] = {
		{ "a", "", false },     { "a", "bad", true },  { "a", "bad", false },
		{ "b", "", false },     { "a", "bad", false }, { "b", "bad", true },
		{ "a", "worse", true }, { "b", "bad", false }, { "a", "bad", true },
		{ "a", "", true },      { "a", "", false },    { "b", "bad", false },
		{ "", "bad", true },    { "", "bad", false },  { "a", "bad", true },
		{ "", "", true },       { "", "", false },
	};
	struct quiet *q = quiet_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct quiet_state s = { str_z(rows[i].at), str_z(rows[i].words) };
		const struct slots_client who = { AF_INET, i };

		if (quiet_news(q, &s, &who, false, 5) != rows[i].want)
			fail_msg("%zu: \"%s\" is \"%s\": not %d", i, rows[i].at,
			         rows[i].words, rows[i].want);
		if (quiet_news(NULL, &s, &who, false, 5) != (rows[i].words[0] != '\0'))
			fail_msg("%zu: without memory", i);
	}
	assert_int_equal(quiet_left_out(q), 0);
	quiet_free(q);
}

/* Who causes no more lines does not swallow it: the next one tells it. One of many tells it, and
 * more sections than there is room for are all told. */
static void test_news_shared(void **state)
{
	const struct quiet_state bad = { STR("a"), STR("bad") };
	struct slots_client loud = { AF_INET, 1 }, who = { AF_INET, 2 };
	struct quiet *q = quiet_new();
	int told = 0, status;

	(void)state;
	for (int i = 0; i < QUIET_CLIENT; i++)
		(void)quiet_may(q, &loud, false, 5);
	assert_false(quiet_news(q, &bad, &loud, false, 5));
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(quiet_news(q, &bad, &who, false, 6));
		assert_true(pid > 0);
	}
	while (wait(&status) > 0)
		told += WEXITSTATUS(status);
	assert_int_equal(told, 1);
	for (int round = 0; round < 2; round++)
		for (uint64_t i = 0; i < QUIET_PLACES + 9; i++) {
			char at[32];
			const struct quiet_state s = {
				{ at,
				  (size_t)snprintf(at, sizeof(at), "%u", (unsigned)i) },
				STR("bad")
			};

			who.who = 100 + i;
			told = quiet_news(q, &s, &who, false, 7);
			if (told != (round == 0 || i >= QUIET_PLACES - 1))
				fail_msg("round %d, %u: %d", round, (unsigned)i, told);
		}
	quiet_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_news_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
