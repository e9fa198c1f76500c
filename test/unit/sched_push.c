/* A push that hangs, is told to leave by a reload, or leaves a ticket. */
#include "schedbed.h"

/* A push that says nothing: which is ended, and when. */
static void watchdog(void **state)
{
	enum { HOUR = 3600 * 1000, GRACE = 600 * 1000 };
	struct hub u;
	static const struct {
		const char *name, *says;
		int64_t octets;
		bool gone;
		int64_t least; /* ms of silence that it may keep */
	} rows[] = {
		{ "hangs", "", 1, false, HOUR + GRACE },
		{ "50 MB over a slow line", "", 50 * 1000 * 1000, false,
		  HOUR + GRACE + 50 * 1000 * 1000 },
		{ "its route is gone", "", 1, true, HOUR + GRACE },
		{ "has spoken, and we were asleep", "printf 'good\\n' >&3", 1, false,
		  INT64_MAX },
	};

	hub_begin(&u, *state);
	u.h.session_max = 3600;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf script = BUF_INIT, file = BUF_INIT;
		int64_t now, at, begun;
		struct route r;

		buf_fmt(&script, "%s\nexec sleep 20", rows[i].says);
		push_says(script.p);
		hub_open(&u, &r);
		buf_reset(&script);
		buf_fmt(&script, "%s/test/golden/queue-file-1",
		        ((struct bed *)*state)->top);
		assert_int_equal(io_slurp_at(AT_FDCWD, script.p, &file, 65536), 0);
		put("queue/new/" MESSAGE, buf_view(&file), 0600);
		assert_int_equal(
		    truncate("queue/new/" MESSAGE, (off_t)file.n + rows[i].octets), 0);
		route_news(&r);
		route_work(&r, &u.s, NOW);
		assert_int_equal(r.jobs.n, 1);
		if (rows[i].gone)
			r.host = NULL;
		poll(NULL, 0, 300);
		begun = r.heard;
		/* mailchuted looks when it said it would; once it was asleep for a day. */
		at = route_watch(&r, begun);
		if (rows[i].least == INT64_MAX) {
			at = route_watch(&r, begun + 24 * HOUR);
			hear_all(&r, &u.s, NOW, 100);
			assert_true(at > begun + 24 * HOUR);
			assert_true(route_watch(&r, begun + 1000) > begun + HOUR);
			assert_true(r.pid > 0 && kill(r.pid, 0) == 0);
			kill(r.pid, SIGKILL);
		} else {
			for (now = begun; !r.hung; now = at) {
				at = route_watch(&r, now);
				assert_true(at > now);
				if (r.hung && now - begun < rows[i].least)
					fail_msg("%s: killed after %lld ms", rows[i].name,
					         (long long)(now - begun));
				if (now - begun > 100 * HOUR)
					fail_msg("%s: never killed", rows[i].name);
			}
		}
		hear_all(&r, &u.s, NOW, 2000);
		assert_int_equal(r.pid, 0);
		unlink("queue/new/" MESSAGE);
		route_close(&r);
	}
	hub_end(&u);
}

/* All are heard at a SIGHUP: who has nothing to say has not spoken by that. */
static void watchdog_and_reload(void **state)
{
	static const struct {
		const char *name, *says;
		bool spoke;
	} rows[] = { { "silent", "", false },
		     { "speaks", "printf 'good\\n' >&3", true } };
	struct hub u;

	hub_begin(&u, *state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf script = BUF_INIT;
		int64_t heard, silent;
		struct route r;

		buf_fmt(&script, "%s\nexec sleep 20", rows[i].says);
		push_says(script.p);
		hub_open(&u, &r);
		put("queue/new/" MESSAGE, STR("x"), 0600);
		route_news(&r);
		route_work(&r, &u.s, NOW);
		assert_int_equal(r.jobs.n, 1);
		poll(&(struct pollfd){ .fd = r.sock, .events = POLLIN }, 1,
		     rows[i].spoke ? 5000 : 50);
		heard = r.heard -= 1000000;
		silent = r.silent = heard + 999000;
		route_hear(&r, &u.s, NOW);
		if ((r.heard != heard) != rows[i].spoke ||
		    (r.silent != silent) != rows[i].spoke)
			fail_msg("%s: heard %lld ms later, silent %lld", rows[i].name,
			         (long long)(r.heard - heard), (long long)r.silent);
		kill(r.pid, SIGKILL);
		hear_all(&r, &u.s, NOW, 2000);
		assert_int_equal(r.pid, 0);
		unlink("queue/new/" MESSAGE);
		route_close(&r);
	}
	hub_end(&u);
}

/* A message that push hangs on, alone in its hand, three times: it must not keep all others
 * waiting for ever. */
static void hangs_on_it(void **state)
{
	struct hub u;
	int64_t now = NOW;
	struct route r;

	hub_begin(&u, *state);
	hub_open(&u, &r);
	push_says("exec sleep 20");
	put("queue/new/" MESSAGE, STR("x"), 0600);
	for (int i = 0; i < 3; i++) {
		route_news(&r);
		route_work(&r, &u.s, now);
		assert_int_equal(r.jobs.n, 1);
		for (int64_t t = r.heard; !r.hung; t = route_watch(&r, t))
			;
		hear_all(&r, &u.s, now, 2000);
		assert_int_equal(r.pid, 0);
		now = route_next(&r, now);
		now = now < NOW ? NOW : now;
	}
	assert_int_equal(access("bad/" MESSAGE, F_OK), 0);
	route_close(&r);
	hub_end(&u);
}

/* A push that is told to leave by a reload, and what its host had said: the new configuration
 * is tried at once. One that was not "up" sees the end of what it is sent. */
static void reload_at_once(void **state)
{
	static const struct {
		const char *name, *says;
		bool up;
	} rows[] = {
		{ "hangs", "read x <&3; true", false },
		{ "says that its host is down",
		  "read x <&3; printf 'host connect 0 x\\n' >&3", false },
		{ "is up, and finishes", "printf 'up x\\n' >&3; exec sleep 20", true },
	};
	struct hub u;

	hub_begin(&u, *state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route r;
		struct pollfd p = { .events = POLLIN };

		hub_open(&u, &r);
		push_says(rows[i].says);
		put("queue/new/" MESSAGE, STR("x"), 0600);
		route_news(&r);
		route_work(&r, &u.s, NOW);
		assert_true(r.pid > 0);
		p.fd = r.sock;
		if (rows[i].up && poll(&p, 1, 5000) == 1)
			route_hear(&r, &u.s, NOW);
		route_reload(&r, &u.h, NOW);
		if (rows[i].up) {
			hear_all(&r, &u.s, NOW, 300);
			if (r.pid == 0)
				fail_msg("%s: it was ended", rows[i].name);
			kill(r.pid, SIGKILL);
		}
		hear_all(&r, &u.s, NOW, 3000);
		if (r.pid != 0)
			fail_msg("%s: it is still there", rows[i].name);
		if (!rows[i].up) {
			route_work(&r, &u.s, NOW);
			if (r.pid == 0 || r.step != 0)
				fail_msg("%s: not tried at once", rows[i].name);
			kill(r.pid, SIGKILL);
			hear_all(&r, &u.s, NOW, 3000);
		}
		unlink("queue/new/" MESSAGE);
		route_close(&r);
	}
	hub_end(&u);
}

/* What a push gives to be kept, and no next one could get up with. */
static void ticket(void **state)
{
	static const struct {
		const char *name, *says;
		bool kept;
	} rows[] = {
		{ "not reached", "printf 'host connect 0 x\\n' >&3", true },
		{ "breaks off", "printf 'host greeting 0 x\\n' >&3", false },
		{ "and gives it again", "printf 'host EHLO 0 x\\nticket old\\n' >&3",
		  false },
		{ "up", "printf 'up x\\nhost MAIL 421 x\\n' >&3", true },
	};
	struct hub u;

	hub_begin(&u, *state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route r;

		hub_open(&u, &r);
		push_says(rows[i].says);
		put("queue/new/" MESSAGE, STR("x"), 0600);
		assert_true(route_learn(&r.ticket, STR("old"), 100));
		route_news(&r);
		route_work(&r, &u.s, NOW);
		hear_all(&r, &u.s, NOW, 3000);
		assert_int_equal(r.pid, 0);
		if ((r.ticket.n > 0) != rows[i].kept)
			fail_msg("%s: kept: %d", rows[i].name, r.ticket.n > 0);
		unlink("queue/new/" MESSAGE);
		route_close(&r);
	}
	hub_end(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(watchdog, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(watchdog_and_reload, bed_setup,
		                                bed_teardown),
		cmocka_unit_test_setup_teardown(hangs_on_it, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(reload_at_once, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(ticket, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
