#include "daemon/breaker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A story: small letters are messages that are refused, "+" is one that is accepted, "!" the
 * same refusal with another code; "O" after a refusal says that it opened the breaker, "C"
 * after "+" that it closed it. */
static void stories(void **state)
{
	static const char *const rows[] = {
		"a",       "aaaa",      "ab",           "abcO", "ab+c",       "abababab",
		"aabbcOc", "ab!c!d!eO", "abcOde+CabcO", "+++",  "abcO+CdefO", "ab!a!b!cO",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct breaker b = { .n = 0 };
		bool other = false;

		for (const char *c = rows[i]; *c; c++) {
			bool got;

			if (*c == '!') {
				other = true;
				continue;
			}
			if (*c == 'O' || *c == 'C')
				continue;
			if (*c == '+') {
				got = breaker_accepted(&b, 5);
				if (got != (c[1] == 'C') || b.open || b.accepted != 5)
					fail_msg("%s at %s", rows[i], c);
			} else {
				struct id id = id_make(1800000000000, (unsigned)*c);

				got = breaker_refused(&b, &id,
				                      other ? STR("MAIL 550 550 x")
				                            : STR("MAIL 553 553 me@x"));
				if (got != (c[1] == 'O'))
					fail_msg("%s at %s", rows[i], c);
			}
			other = false;
		}
	}
}

/* The words may differ, stage and code may not; and the same message does not count twice. */
static void keys(void **state)
{
	struct breaker b = { .n = 0 };
	struct id id[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		id[i] = id_make(1800000000000, i);
	assert_false(breaker_refused(&b, &id[0], STR("RCPT 554 554 5.7.1 <a@b>")));
	assert_false(breaker_refused(&b, &id[1], STR("RCPT 554 554 5.7.1 <c@d>")));
	assert_false(breaker_refused(&b, &id[1], STR("RCPT 554 554 5.7.1 <c@d>")));
	assert_false(breaker_refused(&b, &id[2], STR("RCPT 550 550 5.7.1 <c@d>")));
	assert_false(breaker_refused(&b, &id[3], STR("MAIL 550 550 5.7.1 <c@d>")));
	assert_false(b.open);
	assert_false(breaker_refused(&b, &id[0], STR("")));
	assert_false(breaker_refused(&b, &id[1], STR("")));
	assert_true(breaker_refused(&b, &id[2], STR("")));
	assert_true(b.open);
	assert_true(breaker_accepted(&b, 7));
	assert_false(breaker_accepted(&b, 8));
	assert_int_equal(b.accepted, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stories),
		cmocka_unit_test(keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
