/* quiet: how many lines of the log clients may cause */
#include "listen/quiet.h"
#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
