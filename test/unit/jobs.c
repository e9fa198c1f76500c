#include "daemon/jobs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct place nth(unsigned i)
{
	struct place p = { .due = i };

	snprintf(p.id.c, sizeof(p.id.c), "%016x", i * 7u + 1);
	return p;
}

/* A thousand at a time, in and out in many orders, against a table of flags. */
static void many(void **state)
{
	static bool in[3 * JOBS_MAX];
	struct jobs h = { .v = NULL };
	const struct place first = nth(1);
	unsigned seed = 7, n = 0, full = 0;

	(void)state;
	assert_null(jobs_find(&h, &first.id));
	assert_null(jobs_next(&h, NULL));
	for (unsigned round = 0; round < 60000; round++) {
		struct place p;
		struct job *j;
		unsigned at;

		seed = seed * 1103515245u + 12345u;
		at = (seed >> 8) % (3 * JOBS_MAX);
		p = nth(at);
		j = jobs_find_place(&h, &p.id, p.due);
		if ((j != NULL) != in[at])
			fail_msg("%u is %s", at, j ? "there" : "not there");
		if (j) {
			assert_null(jobs_add(&h, &p));
			assert_null(jobs_find_place(&h, &p.id, p.due + 1));
			if (seed >> 4 & 1)
				continue;
			jobs_drop(&h, j);
			n--;
			in[at] = false;
		} else {
			j = jobs_add(&h, &p);
			if ((j != NULL) != (n < JOBS_MAX))
				fail_msg("%u in hand, one more: %s", n, j ? "yes" : "no");
			full += !j;
			if (!j)
				continue;
			assert_true(j->used && j->dsn == -1 && j->lines.n == 0);
			in[at] = true;
			n++;
		}
		assert_int_equal(h.n, n);
	}
	assert_true(full > 0);
	for (const struct job *j = jobs_next(&h, NULL); j; j = jobs_next(&h, j))
		n--;
	assert_int_equal(n, 0);
	jobs_free(&h);
	assert_int_equal(h.n + h.room, 0);
}

/* Idle it takes nothing; a few take little. */
static void small(void **state)
{
	struct jobs h = { .v = NULL };

	(void)state;
	for (unsigned i = 0; i < 32; i++) {
		struct place p = nth(i);

		assert_non_null(jobs_add(&h, &p));
	}
	assert_int_equal(h.room, 32);
	jobs_free(&h);
	assert_null(h.v);
}

static void octets(void **state)
{
	struct jobs h = { .v = NULL };
	struct place a = nth(1), b = nth(2);

	(void)state;
	jobs_size(&h, jobs_add(&h, &a), JOBS_BIG);
	jobs_rcpts(&h, jobs_find(&h, &a.id), 5, false);
	jobs_rcpts(&h, jobs_find(&h, &a.id), 3, true);
	assert_int_equal(h.rcpts, 3);
	assert_int_equal(h.more, 1);
	assert_int_equal(h.octets, 0);
	jobs_size(&h, jobs_add(&h, &b), JOBS_BIG + 1);
	assert_int_equal(h.octets, JOBS_BIG + 1);
	jobs_drop(&h, jobs_find(&h, &a.id));
	jobs_drop(&h, jobs_find(&h, &b.id));
	assert_int_equal(h.octets, 0);
	assert_int_equal(h.rcpts, 0);
	assert_int_equal(h.more, 0);
	jobs_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many),
		cmocka_unit_test(small),
		cmocka_unit_test(octets),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
