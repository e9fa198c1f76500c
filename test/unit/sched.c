#include "daemon/sched.h"
#include "spoolbed.h"

/* The state file's line of a route that is down: taken and printed back; and what is none. */
static void state_line(void **state)
{
	static const struct {
		const char *name, *line;
		int64_t now;
		bool down;
	} rows[] = {
		{ "as written", "down hub 1800000000 1800000160 5 AUTH 535 535 no",
		  1800000100, true },
		{ "its time has come", "down hub 1800000000 1800000160 5 x", 1800000160,
		  false },
		{ "the clock was set back", "down hub 1800000000 1800000160 5 x",
		  1700000000, false },
		{ "another route", "down other 1800000000 1800000160 5 x", 1800000100,
		  false },
		{ "no number", "down hub 1800000000 soon 5 x", 1800000100, false },
		{ "cut", "down hub 18000", 1800000100, false },
		{ "empty", "", 1800000100, false },
	};
	struct bed *b = *state;
	struct smarthost h = { .name = str_dup(STR("hub")), .retry_max = 3600 };
	struct sched s = { .spool = &b->s };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		struct route r;

		assert_int_equal(
		    route_open(&r, &s, &h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
		route_state_take(&r, str_z(rows[i].line), rows[i].now);
		if ((r.state == ROUTE_DOWN) != rows[i].down)
			fail_msg("%s", rows[i].name);
		route_state_print(&r, &out);
		if (rows[i].down &&
		    (strncmp(out.p, rows[i].line, strlen(rows[i].line)) != 0 ||
		     route_next(&r, rows[i].now) != 1800000160))
			fail_msg("%s: %s", rows[i].name, out.p);
		if (!rows[i].down && out.n)
			fail_msg("%s: %s", rows[i].name, out.p);
		route_close(&r);
	}
	free(h.name);
}

/* A clock that is set back by years must neither stop a route that is down nor make its timer
 * ring for ever. */
static void clock_back(void **state)
{
	struct bed *b = *state;
	struct smarthost h = { .name = str_dup(STR("hub")), .retry_max = 3600 };
	struct sched s = { .spool = &b->s };
	struct route r;

	assert_int_equal(route_open(&r, &s, &h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
	route_state_take(&r, STR("down hub 1800000000 1800000160 5 x"), 1800000100);
	route_work(&r, &s, 1800000101);
	assert_int_equal(r.state, ROUTE_DOWN);
	route_work(&r, &s, 1500000000);
	assert_int_equal(r.state, ROUTE_READY);
	assert_int_equal(route_next(&r, 1500000000), -1);
	route_close(&r);
	free(h.name);
}

static void golden(void **state)
{
	struct bed *b = *state;
	struct smarthost h = { .name = str_dup(STR("hub")), .retry_max = 3600 };
	struct sched s = { .spool = &b->s };
	_cleanup_buf_ struct buf file = BUF_INIT, path = BUF_INIT, out = BUF_INIT;
	struct str rest, line;
	struct route r;

	buf_fmt(&path, "%s/test/golden/state-1", b->top);
	assert_int_equal(io_slurp_at(AT_FDCWD, path.p, &file, 65536), 0);
	rest = buf_view(&file);
	assert_true(str_cut(&rest, '\n', &line));
	buf_str(&out, line);
	buf_c(&out, '\n');
	assert_int_equal(route_open(&r, &s, &h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
	while (rest.n && str_cut(&rest, '\n', &line))
		route_state_take(&r, line, 1800000100);
	assert_true(r.breaker.open);
	assert_int_equal(r.window, 1);
	route_state_print(&r, &out);
	assert_string_equal(out.p, file.p);
	route_close(&r);
	free(h.name);
}

/* The other lines: what is kept, what is refused. Those who write them are we and push; who
 * edits the file may write anything. */
static void state_more(void **state)
{
	static const struct {
		const char *name, *line, *want;
	} rows[] = {
		{ "learned", "learned hub s=1,w=300", "learned hub s=1,w=300\n" },
		{ "with a blank", "learned hub s=1 w=300", "" },
		{ "not ASCII", "learned hub s=\xc3\xa4", "" },
		{ "control", "learned hub s=\x1b[2J", "" },
		{ "of another one", "learned other s=1", "" },
		{ "nothing", "learned hub", "" },
		{ "slow", "slow hub 1800000500", "slow hub 1800000500\n" },
		{ "over", "slow hub 1800000050", "" },
		{ "for too long", "slow hub 1800009999", "" },
		{ "rate", "rate hub messages 60 1800000099:7",
		  "rate hub messages 60 1800000099:7\n" },
		{ "of another span", "rate hub messages 61 1800000099:7", "" },
		{ "waits", "waits hub 1800000500 x", "" },
		{ "unknown", "later hub 1", "" },
	};
	struct bed *b = *state;
	struct smarthost h = { .name = str_dup(STR("hub")),
		               .retry_max = 3600,
		               .rate = { { .n = 10, .seconds = 60 } },
		               .rates = 1 };
	struct sched s = { .spool = &b->s };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		struct route r;

		assert_int_equal(
		    route_open(&r, &s, &h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
		route_state_take(&r, str_z(rows[i].line), 1800000100);
		route_state_print(&r, &out);
		if (strcmp(out.n ? out.p : "", rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, out.p);
		route_close(&r);
	}
	free(h.name);
}

/* What a route waits for, when it goes on, and that a flush does not wait with it. */
static void waits(void **state)
{
	struct bed *b = *state;
	struct smarthost h = { .name = str_dup(STR("hub")),
		               .retry_max = 3600,
		               .rate = { { .n = 3, .seconds = 60 } },
		               .rates = 1 };
	struct sched s = { .spool = &b->s };
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct route r;

	assert_int_equal(route_open(&r, &s, &h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
	put("queue/new/0123456789abcdef", STR("x"), 0600);
	route_news(&r);
	budget_took(&r.budget, 1800000000, 3, 3);
	route_work(&r, &s, 1800000000); /* would start push, which is not there */
	assert_int_equal(r.wait, WAIT_RATE);
	assert_int_equal(route_next(&r, 1800000000), 1800000061);
	assert_true(route_is_quiet(&r));
	route_words(&r, false, &out);
	assert_non_null(strstr(out.p, "; hub: rate 3/1m is used up"));
	/* The clock is set back: no longer than that. */
	assert_true(route_next(&r, 1500000000) <= 1500000061);
	r.slow_until = 1800000400;
	route_work(&r, &s, 1800000200);
	assert_int_equal(r.wait, WAIT_SLOW);
	assert_int_equal(route_next(&r, 1800000200), 1800000400);
	h.hold = true;
	route_work(&r, &s, 1800000500);
	assert_int_equal(r.wait, WAIT_HOLD);
	assert_int_equal(route_next(&r, 1800000500), -1);
	buf_reset(&out);
	route_state_print(&r, &out);
	assert_non_null(strstr(out.p, "waits hub 0 on hold until somebody asks"));
	route_try_now(&r, 1800000500, false);
	h.hold = false;
	assert_true(route_next(&r, 1800000500) != -1 || r.wait == WAIT_NONE);
	route_close(&r);
	free(h.name);
}

/* The network comes up: what could not be reached is tried; not who refused us. */
static void reach(void **state)
{
	static const struct {
		const char *name, *line;
		bool hold, want;
	} rows[] = {
		{ "not reached", "down hub 1800000000 1800000160 5 connect 0 x", false,
		  true },
		{ "on hold", "down hub 1800000000 1800000160 5 connect 0 x", true,
		  false },
		{ "login", "down hub 1800000000 1800000160 5 AUTH 535 x", false, false },
		{ "greeting", "down hub 1800000000 1800000160 5 greeting 0 x", false,
		  false },
		{ "up", "", false, false },
	};
	struct bed *b = *state;
	struct smarthost h = { .name = str_dup(STR("hub")), .retry_max = 3600 };
	struct sched s = { .spool = &b->s };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route r;

		h.hold = rows[i].hold;
		assert_int_equal(
		    route_open(&r, &s, &h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
		route_state_take(&r, str_z(rows[i].line), 1800000100);
		if (route_is_cut_off(&r) != rows[i].want)
			fail_msg("%s", rows[i].name);
		route_reach(&r);
		if (rows[i].want &&
		    (r.state != ROUTE_READY || r.down_since != 1800000000))
			fail_msg("%s: not tried", rows[i].name);
		if (!rows[i].want && rows[i].line[0] && r.state != ROUTE_DOWN)
			fail_msg("%s: tried", rows[i].name);
		route_close(&r);
	}
	free(h.name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(state_line, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(clock_back, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(golden, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(state_more, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(waits, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(reach, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
