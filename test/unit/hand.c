/* The messages in push's hand: jobs in a ring, tries that wait in their order. */
#include "push/hand.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct queued job(unsigned n)
{
	struct queued q = { .due = n, .fd = -1, .note = -1 };

	return q;
}

static void test_ring(void **state)
{
	struct hand *h = calloc(1, sizeof(*h));
	struct queued q;
	unsigned in = 0, out = 0;

	(void)state;
	assert_non_null(h);
	assert_null(hand_begin(h, &q));
	for (int round = 0; round < 5; round++) {
		while (hand_room(h)) {
			q = job(in++);
			assert_true(hand_put(h, &q));
		}
		q = job(99);
		assert_false(hand_put(h, &q));
		for (int i = 0; i < 700; i++) {
			struct try *t = hand_begin(h, &q);

			assert_non_null(t);
			assert_int_equal(q.due, out++);
			hand_end(h, t);
		}
	}
	while (hand_room(h) < HAND_MAX) {
		hand_end(h, hand_begin(h, &q));
		assert_int_equal(q.due, out++);
	}
	assert_int_equal(in, out);
	assert_true(hand_is_empty(h));
	free(h);
}

/* Tries go out as they came: "0 1 2"; they come back as letters say; what is offered then, on
 * connection 1 ("|": on 2 from here on). */
static void test_again(void **state)
{
	static const struct {
		const char *name;
		const char *back; /* digits; "+" in front: on any connection */
		const char *want; /* digits, and "-" where there is none */
	} rows[] = {
		{ "in order", "012", "-|012-" },
		{ "reversed", "3210", "-|0123-" },
		{ "any", "20413", "-|01234-" },
		{ "at once", "+1+0", "01-|-" },
		{ "at once, and behind", "+02", "0-|2-" },
		{ "the first waits", "0+1", "-|01-" },
		{ "one", "4", "-|4-" },
	};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct hand *h = calloc(1, sizeof(*h));
		struct try *try[5];
		_cleanup_buf_ struct buf got = BUF_INIT;
		unsigned connection = 1;

		assert_non_null(h);
		for (unsigned i = 0; i < ARRAY_LEN(try); i++) {
			struct queued q = job(i);

			hand_put(h, &q);
			try[i] = hand_begin(h, &q);
			try[i]->m.due = i;
		}
		for (const char *p = rows[r].back; *p; p++) {
			bool any = *p == '+';

			p += any;
			hand_back(h, try[*p - '0'], any ? 0 : 1);
			try[*p - '0'] = NULL;
		}
		for (const char *p = rows[r].want; *p; p++) {
			struct try *t;

			if (*p == '|') {
				connection++;
				buf_c(&got, '|');
				continue;
			}
			t = hand_again(h, connection);
			buf_c(&got, t ? (char)('0' + t->m.due) : '-');
			if (t)
				hand_end(h, t);
		}
		if (strcmp(got.p, rows[r].want) != 0)
			fail_msg("%s: want %s, got %s", rows[r].name, rows[r].want,
			         got.p);
		for (unsigned i = 0; i < ARRAY_LEN(try); i++)
			if (try[i])
				hand_end(h, try[i]);
		assert_true(hand_is_empty(h));
		free(h);
	}
}

static void test_others(void **state)
{
	struct hand *h = calloc(1, sizeof(*h));
	struct queued q = job(1);
	struct try *t, *u;

	(void)state;
	assert_non_null(h);
	hand_put(h, &q);
	hand_put(h, &q);
	t = hand_begin(h, &q);
	assert_true(hand_others(h)); /* one more job */
	u = hand_begin(h, &q);
	assert_true(hand_others(h)); /* one in flight */
	hand_back(h, u, 1);
	assert_true(hand_others(h)); /* one that waits */
	hand_pick(h, u);
	buf_add(&u->m.header, "0123456789", 10);
	hand_weigh(h, u);
	hand_weigh(h, u);
	assert_int_equal(h->octets, u->m.header.cap);
	hand_end(h, u);
	assert_int_equal(h->octets, 0);
	assert_false(hand_others(h));
	hand_end(h, t);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
