/* What a route waits for: hold and who asks, rates, a host that throttles; its words, and its lines
 * in the state file. */
#include "schedbed.h"
#include "daemon/hear.h"

/* The state file's line of a route that is down: taken and printed back; and what is none. */
static void state_line(void **state)
{
	static const struct {
		const char *name, *line;
		int64_t now;
		bool down,
		    known; /* it is tried now; what is known of its trouble stays */
	} rows[] = {
		{ "as written", "down hub 1800000000 1800000160 5 AUTH 535 535 no",
		  1800000100, true, false },
		{ "its time has come", "down hub 1800000000 1800000160 5 x", 1800000160,
		  false, true },
		{ "the clock was set back", "down hub 1800000000 1800000160 5 x",
		  1700000000, false, true },
		{ "another route", "down other 1800000000 1800000160 5 x", 1800000100,
		  false, false },
		{ "no number", "down hub 1800000000 soon 5 x", 1800000100, false, false },
		{ "absurd", "down hub 18446744073709551615 9223372036854775808 5 x",
		  1800000100, false, false },
		{ "cut", "down hub 18000", 1800000100, false, false },
		{ "empty", "", 1800000100, false, false },
	};
	struct hub u;

	hub_begin(&u, *state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		struct route r;

		hub_open(&u, &r);
		route_state_take(&r, str_z(rows[i].line), rows[i].now);
		if ((r.state == ROUTE_DOWN) != rows[i].down)
			fail_msg("%s", rows[i].name);
		route_state_print(&r, &out);
		if (rows[i].down &&
		    (strncmp(out.p, rows[i].line, strlen(rows[i].line)) != 0 ||
		     route_next(&r, rows[i].now) != 1800000160))
			fail_msg("%s: %s", rows[i].name, out.p);
		if (!rows[i].down && (out.n > 0) != rows[i].known)
			fail_msg("%s: %s", rows[i].name, out.n ? out.p : "");
		if (rows[i].known && (r.step != 5 || r.down_since != 1800000000))
			fail_msg("%s: since when it is down is forgotten", rows[i].name);
		route_close(&r);
	}
	hub_end(&u);
}

static void golden(void **state)
{
	struct hub u;
	_cleanup_buf_ struct buf file = BUF_INIT, path = BUF_INIT, out = BUF_INIT;
	struct str rest, line;
	struct route r;

	hub_begin(&u, *state);
	buf_fmt(&path, "%s/test/golden/state-1", ((struct bed *)*state)->top);
	assert_int_equal(io_slurp_at(AT_FDCWD, path.p, &file, 65536), 0);
	rest = buf_view(&file);
	assert_true(str_cut(&rest, '\n', &line));
	buf_str(&out, line);
	buf_c(&out, '\n');
	hub_open(&u, &r);
	while (rest.n && str_cut(&rest, '\n', &line))
		route_state_take(&r, line, 1800000100);
	assert_true(r.breaker.open);
	assert_int_equal(r.window, 1);
	route_state_print(&r, &out);
	assert_string_equal(out.p, file.p);
	route_close(&r);
	hub_end(&u);
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
	struct hub u;

	hub_begin(&u, *state);
	u.h.rates = 1;
	u.h.rate[0] = (struct conf_rate){ .n = 10, .seconds = 60 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		struct route r;

		hub_open(&u, &r);
		route_state_take(&r, str_z(rows[i].line), 1800000100);
		route_state_print(&r, &out);
		if (strcmp(out.n ? out.p : "", rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, out.p);
		route_close(&r);
	}
	hub_end(&u);
}

/* What a route waits for, when it goes on, and that a flush does not wait with it. */
static void waits(void **state)
{
	struct hub u;
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct route r;

	hub_begin(&u, *state);
	u.h.rates = 1;
	u.h.rate[0] = (struct conf_rate){ .n = 3, .seconds = 60 };
	hub_open(&u, &r);
	put("queue/new/0123456789abcdef", STR("x"), 0600);
	route_news(&r);
	budget_took(&r.budget, 1800000000, 3, 3);
	route_work(&r, &u.s, 1800000000); /* would start push, which is not there */
	assert_int_equal(r.wait, WAIT_RATE);
	assert_int_equal(route_next(&r, 1800000000), 1800000061);
	assert_true(route_is_quiet(&r));
	route_words(&r, false, &out);
	assert_non_null(strstr(out.p, "; hub: rate 3/1m is used up"));
	/* The clock is set back: no longer than that. */
	assert_true(route_next(&r, 1500000000) <= 1500000061);
	r.slow_until = 1800000400;
	route_work(&r, &u.s, 1800000200);
	assert_int_equal(r.wait, WAIT_SLOW);
	assert_int_equal(route_next(&r, 1800000200), 1800000400);
	u.h.hold = true;
	route_work(&r, &u.s, 1800000500);
	assert_int_equal(r.wait, WAIT_HOLD);
	assert_int_equal(route_next(&r, 1800000500), -1);
	buf_reset(&out);
	route_state_print(&r, &out);
	assert_non_null(strstr(out.p, "waits hub 0 on hold until somebody asks"));
	route_try_now(&r, 1800000500, false);
	u.h.hold = false;
	assert_true(route_next(&r, 1800000500) != -1 || r.wait == WAIT_NONE);
	route_close(&r);
	hub_end(&u);
}

/* What a route waits for is a reason only for mail that could go but for it. */
static void waits_without_mail(void **state)
{
	static const struct {
		const char *name, *path; /* the message; NULL: none */
		unsigned reads;
		bool said;
	} rows[] = {
		{ "no mail", NULL, QUEUE_READS_NEW | QUEUE_READS_DUE, false },
		{ "new", "queue/new/" MESSAGE, QUEUE_READS_NEW | QUEUE_READS_DUE, true },
		{ "new, of the router", "queue/new/" MESSAGE, QUEUE_READS_DUE, false },
		{ "due", "queue/hub/00000001/" MESSAGE, QUEUE_READS_DUE, true },
		{ "put off because of the host", "queue/hub/81000000/" MESSAGE,
		  QUEUE_READS_DUE, true },
		{ "in an hour", NULL, QUEUE_READS_DUE, false },
	};
	_cleanup_buf_ struct buf later = BUF_INIT;
	struct hub u;

	hub_begin(&u, *state);
	u.h.hold = true;
	u.h.retry_max = 7200;
	buf_fmt(&later, "queue/hub/%08x", (unsigned)(clock_real() / 64 + 60));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf flush = BUF_INIT, alert = BUF_INIT,
		                         path = BUF_INIT;
		struct route r;

		assert_int_equal(route_open(&r, &u.s, &u.h, rows[i].reads), 0);
		if (strcmp(rows[i].name, "in an hour") == 0)
			buf_fmt(&path, "%s/" MESSAGE, later.p);
		else if (rows[i].path)
			buf_z(&path, rows[i].path);
		if (path.n) {
			*strrchr(path.p, '/') = '\0';
			assert_true(mkdir(path.p, 0700) == 0 || errno == EEXIST);
			path.p[strlen(path.p)] = '/';
			put(path.p, STR("x"), 0600);
		}
		route_work(&r, &u.s, clock_real());
		assert_int_equal(r.wait, WAIT_HOLD);
		route_words(&r, true, &flush);
		route_trouble(&r, &alert);
		if ((flush.n > 0) != rows[i].said || (alert.n > 0) != rows[i].said)
			fail_msg("%s: \"%s\", \"%s\"", rows[i].name,
			         flush.n ? flush.p : "", alert.n ? alert.p : "");
		if (path.n)
			unlink(path.p);
		route_close(&r);
	}
	hub_end(&u);
}

/* A host on hold that was asked for: how long for. */
static void asked(void **state)
{
	static const struct {
		const char *name, *says;
		bool asked;
	} rows[] = {
		{ "not reached", "printf 'host connect 0 x\\n' >&3", true },
		{ "refuses the login", "printf 'host AUTH 535 x\\n' >&3", false },
	};
	struct hub u;

	hub_begin(&u, *state);
	u.h.hold = true;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		struct route r;
		int64_t then;

		hub_open(&u, &r);
		push_says(rows[i].says);
		put("queue/new/" MESSAGE, STR("x"), 0600);
		route_news(&r);
		route_work(&r, &u.s, NOW);
		assert_int_equal(r.pid, 0);
		route_try_now(&r, NOW, false);
		route_work(&r, &u.s, NOW);
		hear_all(&r, &u.s, NOW, 3000);
		assert_int_equal(r.state, ROUTE_DOWN);
		route_state_print(&r, &out);
		if ((strstr(out.p, "waits hub 0 on hold") == NULL) != rows[i].asked)
			fail_msg("%s: %s", rows[i].name, out.p);
		then = route_next(&r, NOW);
		route_work(&r, &u.s, then);
		if ((r.pid > 0) != rows[i].asked)
			fail_msg("%s: tried: %d", rows[i].name, r.pid > 0);
		/* Ten minutes later it is over. */
		r.asked_until = 0;
		hear_all(&r, &u.s, then, 3000);
		route_work(&r, &u.s, then + 3600);
		assert_int_equal(r.pid, 0);
		assert_int_equal(r.wait, WAIT_HOLD);
		unlink("queue/new/" MESSAGE);
		route_close(&r);
	}
	hub_end(&u);
}

/* One message was asked for: not a way to try a wrong password, or a host that refuses all, as often
 * as messages are asked for, whoever asks. */
static void asked_for_one(void **state)
{
	static const struct {
		const char *name, *line;
		int64_t since; /* the last try */
		bool fault, root, tried;
	} rows[] = {
		{ "just tried", "", 5, false, false, false },
		{ "just tried, root", "", 5, false, true, true },
		{ "a minute ago", "", 60, false, false, true },
		{ "down", "down hub 1800000000 1800000160 5 connect 0 x", 5, false, true,
		  true },
		{ "login", "down hub 1800000000 1800000160 5 AUTH 535 x", 60, false,
		  false, false },
		{ "login, root", "down hub 1800000000 1800000160 5 AUTH 535 x", 5, false,
		  true, false },
		{ "refuses all, root", "", 5, true, true, false },
	};
	struct hub u;

	hub_begin(&u, *state);
	u.h.hold = true;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum route_state before;
		struct route r;
		unsigned step;

		hub_open(&u, &r);
		route_state_take(&r, str_z(rows[i].line), 1800000100);
		r.breaker.open = rows[i].fault;
		r.last_try = 1800000100 - rows[i].since;
		r.slow_until = 1800000500;
		before = r.state;
		step = r.step;
		route_asked(&r, 1800000100, rows[i].root);
		if (r.asked != rows[i].tried)
			fail_msg("%s: asked: %d", rows[i].name, r.asked);
		if (r.state != (rows[i].tried ? ROUTE_READY : before))
			fail_msg("%s: state %d", rows[i].name, (int)r.state);
		/* What is not due stays so, and the host's wish is respected. */
		if (r.queue.all || r.step != step || r.slow_until != 1800000500)
			fail_msg("%s: as by SIGHUP", rows[i].name);
		route_close(&r);
	}
	hub_end(&u);
}

/* Asked for too soon after the last try: that is kept in mind, said, and carried out when it may be. */
static void asked_soon(void **state)
{
	static const struct {
		const char *name, *line;
		bool hold, fault;
		int64_t next; /* after NOW; -1: never */
		const char *says, *prints;
	} rows[] = {
		{ "on hold", "", true, false, 37, "; hub: asked for; it is tried ",
		  "asked hub 1800000137\n" },
		{ "on hold and down", "down hub 1799999000 1800000500 9 connect 0 x",
		  true, false, 37, "; hub: connect: x (asked for; it is tried ",
		  "asked hub 1800000137\n" },
		{ "down", "down hub 1799999000 1800000500 9 connect 0 x", false, false,
		  37, "; hub: connect: x",
		  "down hub 1799999000 1800000137 9 connect 0 x\n" },
		{ "down, tried sooner", "down hub 1799999000 1800000110 1 connect 0 x",
		  false, false, 10, "; hub: connect: x",
		  "down hub 1799999000 1800000110 1 connect 0 x\n" },
		{ "it refuses the login", "down hub 1799999000 1800000500 9 AUTH 535 x",
		  true, false, 400, "; hub: AUTH: x", "waits hub 0 on hold" },
		{ "it refuses all", "", true, true, -1, "; hub: on hold",
		  "waits hub 0 on hold" },
	};
	const int64_t now = 1800000100;
	struct hub u;

	hub_begin(&u, *state);
	push_says("exit 0");
	put("queue/new/" MESSAGE, STR("x"), 0600);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT, file = BUF_INIT;
		int64_t want = rows[i].next < 0 ? -1 : now + rows[i].next;
		struct route r;

		u.h.hold = rows[i].hold;
		hub_open(&u, &r);
		route_state_take(&r, str_z(rows[i].line), now);
		r.breaker.open = rows[i].fault;
		r.last_try = now - 23;
		route_work(&r, &u.s, now);
		route_try_now(&r, now, false);
		route_work(&r, &u.s, now);
		if (r.pid || !route_is_quiet(&r))
			fail_msg("%s: flush does not end", rows[i].name);
		if (route_next(&r, now) != want)
			fail_msg("%s: next %lld", rows[i].name,
			         (long long)route_next(&r, now));
		route_words(&r, true, &out);
		if (!str_starts(buf_view(&out), str_z(rows[i].says)))
			fail_msg("%s: %s", rows[i].name, out.p);
		route_state_print(&r, &file);
		if (!strstr(file.p, rows[i].prints))
			fail_msg("%s: %s", rows[i].name, file.p);
		/* A clock that is set back makes it no longer. */
		assert_true(!r.ask_at || route_next(&r, now - 100000) <= now);
		route_work(&r, &u.s, now + 36);
		if (want != now + 10 && r.pid)
			fail_msg("%s: too soon", rows[i].name);
		route_work(&r, &u.s, now + 37);
		if ((r.pid > 0) != (want > 0 && want <= now + 37))
			fail_msg("%s: tried: %d", rows[i].name, r.pid > 0);
		hear_all(&r, &u.s, now + 37, 3000);
		assert_int_equal(r.ask_at, 0);
		route_close(&r);
	}
	hub_end(&u);
}

/* Asked for too soon, and then the host is down: that is when it is tried, but no asking makes a
 * refused login tried sooner. */
static void asked_and_down(void **state)
{
	static const struct {
		const char *why;
		int64_t next, tried_in;
	} rows[] = {
		{ "MAIL 421 4.7.0 bye", NOW + 40, 40 },
		{ "AUTH 535 5.7.8 no", NOW + 1 + 60, 0 },
	};
	struct hub u;

	hub_begin(&u, *state);
	u.h.hold = true;
	put("queue/new/" MESSAGE, STR("x"), 0600);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route r;

		hub_open(&u, &r);
		r.last_try = NOW - 20;
		route_work(&r, &u.s, NOW);
		route_try_now(&r, NOW, false);
		assert_int_equal(r.ask_at, NOW + 40);
		route_down(&r, str_z(rows[i].why), NOW + 1);
		assert_int_equal(route_next(&r, NOW + 1), rows[i].next);
		route_work(&r, &u.s, NOW + 41);
		if ((r.pid > 0) != (rows[i].tried_in > 0) ||
		    (r.state == ROUTE_DOWN) != (rows[i].tried_in == 0))
			fail_msg("%s: state %d, pid %d", rows[i].why, (int)r.state,
			         r.pid);
		hear_all(&r, &u.s, NOW + 41, 3000);
		route_close(&r);
	}
	hub_end(&u);
}

/* On hold and with a rate: what is over the rate when somebody asks waits for the next time. */
static void asked_and_rate(void **state)
{
	struct hub u;
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct route r;

	hub_begin(&u, *state);
	u.h.hold = true;
	u.h.rates = 1;
	u.h.rate[0] = (struct conf_rate){ .n = 3, .seconds = 60 };
	hub_open(&u, &r);
	put("queue/new/" MESSAGE, STR("x"), 0600);
	route_news(&r);
	budget_took(&r.budget, NOW, 3, 3);
	route_try_now(&r, NOW, true);
	route_work(&r, &u.s, NOW);
	assert_int_equal(route_next(&r, NOW), -1);
	assert_int_equal(r.wait, WAIT_HOLD);
	route_words(&r, false, &out);
	assert_non_null(strstr(out.p,
	                       "; hub: on hold until somebody asks (mailchute flush, "
	                       "sendmail -q), and rate 3/1m is used up"));
	buf_reset(&out);
	route_state_print(&r, &out);
	assert_non_null(strstr(out.p,
	                       "waits hub 0 on hold until somebody asks (mailchute "
	                       "flush, sendmail -q)\n"));
	route_work(&r, &u.s, NOW + 100);
	assert_int_equal(r.wait, WAIT_HOLD);
	route_close(&r);
	hub_end(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(state_line, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(golden, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(state_more, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(waits, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(waits_without_mail, bed_setup,
		                                bed_teardown),
		cmocka_unit_test_setup_teardown(asked, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked_for_one, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked_soon, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked_and_down, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked_and_rate, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
