#include "daemon/budget.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define T0 INT64_C(1800000000)

static int64_t room(struct budget *b, int64_t now, unsigned in_hand, int64_t *ret_until)
{
	const struct conf_rate *row;

	return budget_room(b, now, in_hand, 0, ret_until, &row);
}

static void messages(void **state)
{
	struct smarthost h = { .rate = { { .n = 30, .seconds = 60 },
		                         { .n = 40, .seconds = 3600 } },
		               .rates = 2 };
	struct budget b = { .row = NULL };
	int64_t until;

	(void)state;
	assert_int_equal(room(&b, T0, 5, &until), INT64_MAX); /* no limits */
	budget_conf(&b, &h);
	budget_run(&b);
	assert_int_equal(room(&b, T0, 0, &until), 30);
	assert_int_equal(room(&b, T0, 10, &until), 20);
	/* All of it may be in hand: nothing to wait for but that. */
	assert_int_equal(room(&b, T0, 30, &until), 0);
	assert_int_equal(until, 0);
	for (int i = 0; i < 20; i++)
		budget_tried(&b, T0, 1, 0);
	assert_int_equal(room(&b, T0, 0, &until), 10);
	budget_took(&b, T0 + 1, 20, 20); /* the same ones */
	assert_int_equal(room(&b, T0 + 1, 0, &until), 10);
	budget_took(&b, T0 + 1, 10, 10); /* some were accepted for some recipients only */
	assert_int_equal(room(&b, T0 + 1, 0, &until), 0);
	assert_int_equal(until, T0 + 61);
	assert_int_equal(room(&b, T0 + 61, 0, &until), 10); /* the hour's, now */
	/* A limit that stays is not forgotten, one that is new begins with nothing. */
	h.rate[0].seconds = 7200;
	budget_conf(&b, &h);
	assert_int_equal(room(&b, T0 + 61, 0, &until), 10);
	h.rate[1].seconds = 7000;
	budget_conf(&b, &h);
	assert_int_equal(room(&b, T0 + 61, 0, &until), 30);
	budget_conf(&b, NULL);
	assert_int_equal(room(&b, T0 + 61, 0, &until), INT64_MAX);
	budget_free(&b);
}

static void recipients(void **state)
{
	struct smarthost h = {
		.rate = { { .n = 100, .seconds = 86400, .recipients = true } }, .rates = 1
	};
	struct budget b = { .row = NULL };
	int64_t until;

	(void)state;
	budget_conf(&b, &h);
	/* What aliases make of a message is not known: one at a time. */
	assert_true(room(&b, T0, 0, &until) > 0);
	assert_int_equal(room(&b, T0, 1, &until), 0);
	assert_int_equal(until, 0);
	budget_tried(&b, T0, 2, 0);
	budget_took(&b, T0, 1, 10);
	assert_int_equal(room(&b, T0, 0, &until), 90);
	assert_int_equal(room(&b, T0, 4, &until), 50); /* each as the last one */
	/* One whose "took" is still to come may have had as many; refusals are none more. */
	budget_tried(&b, T0, 1, 0);
	assert_int_equal(room(&b, T0, 0, &until), 80);
	budget_tried(&b, T0, 0, 5);
	assert_int_equal(room(&b, T0, 0, &until), 75);
	budget_took(&b, T0, 1, 1);
	assert_int_equal(room(&b, T0, 0, &until), 84);
	budget_tried(&b, T0, 83, 0);
	budget_took(&b, T0, 1, 83);
	assert_int_equal(room(&b, T0, 0, &until), 1);
	budget_took(&b, T0, UINT64_MAX, UINT64_MAX);
	assert_int_equal(room(&b, T0, 0, &until), 0);
	assert_true(until >= T0 + 86400);
	budget_free(&b);
}

/* One small message, then large ones: what is in hand counts with its envelope's recipients. */
static void reserved(void **state)
{
	struct smarthost h = {
		.rate = { { .n = 100, .seconds = 86400, .recipients = true } }, .rates = 1
	};
	struct budget b = { .row = NULL };
	const struct conf_rate *row;
	int64_t until;
	unsigned n = 0;

	(void)state;
	assert_false(budget_of_recipients(&b));
	budget_conf(&b, &h);
	assert_true(budget_of_recipients(&b));
	budget_tried(&b, T0, 1, 0);
	budget_took(&b, T0, 1, 1);
	while (n < 60 && budget_room(&b, T0, n, n * 50, &until, &row) > 0)
		n++;
	assert_int_equal(n, 2);
	for (unsigned i = 0; i < n; i++)
		budget_tried(&b, T0, 49, 1);
	assert_int_equal(budget_room(&b, T0, 0, 0, &until, &row), 0);
	assert_true(until > T0);
	budget_free(&b);
}

static void state_lines(void **state)
{
	struct smarthost h = {
		.rate = { { .n = 30, .seconds = 60 },
		          { .n = 500, .seconds = 86400, .recipients = true } },
		.rates = 2
	};
	struct budget b = { .row = NULL }, again = { .row = NULL };
	_cleanup_buf_ struct buf text = BUF_INIT, second = BUF_INIT;
	struct str rest, line;

	(void)state;
	budget_conf(&b, &h);
	budget_conf(&again, &h);
	budget_print(&b, "hub", &text);
	assert_int_equal(text.n, 0);
	budget_took(&b, T0, 3, 8);
	budget_print(&b, "hub", &text);
	assert_string_equal(text.p, "rate hub messages 60 1800000000:3\n"
	                            "rate hub recipients 86400 1799999516:8\n");
	rest = buf_view(&text);
	while (rest.n && str_cut(&rest, '\n', &line))
		budget_take(&again, str_from(line, 9), T0 + 10);
	budget_print(&again, "hub", &second);
	assert_string_equal(text.p, second.p);
	budget_take(&again, STR(""), T0);
	budget_take(&again, STR("messages"), T0);
	budget_take(&again, STR("messages 61 1800000000:3"), T0);
	budget_take(&again, STR("recipients 60 1800000000:3"), T0);
	buf_reset(&second);
	budget_print(&again, "hub", &second);
	assert_string_equal(text.p, second.p);
	budget_free(&b);
	budget_free(&again);
}

static void words(void **state)
{
	static const struct {
		struct conf_rate c;
		const char *want;
	} rows[] = { { { 30, 60, false }, "30/1m" },
		     { { 500, 86400, true }, "500 recipients/1d" },
		     { { 1, 90, false }, "1/90s" },
		     { { 7, 7200, false }, "7/2h" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		budget_words(&rows[i].c, &b);
		assert_string_equal(b.p, rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages), cmocka_unit_test(recipients),
		cmocka_unit_test(reserved), cmocka_unit_test(state_lines),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
