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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(state_line, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(clock_back, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(golden, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
