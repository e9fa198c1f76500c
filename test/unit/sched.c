/* Routes to a smart host: when it is tried, and again, and what is in a hand. */
#include "schedbed.h"

/* A clock that is set back by years must neither stop a route that is down nor make its timer
 * ring for ever. */
static void clock_back(void **state)
{
	struct hub u;
	struct route r;

	hub_begin(&u, *state);
	hub_open(&u, &r);
	route_state_take(&r, STR("down hub 1800000000 1800000160 5 x"), 1800000100);
	route_work(&r, &u.s, 1800000101);
	assert_int_equal(r.state, ROUTE_DOWN);
	route_work(&r, &u.s, 1500000000);
	assert_int_equal(r.state, ROUTE_READY);
	assert_int_equal(route_next(&r, 1500000000), -1);
	route_close(&r);
	hub_end(&u);
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
	struct hub u;

	hub_begin(&u, *state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route r;

		u.h.hold = rows[i].hold;
		hub_open(&u, &r);
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
		/* The same news while it is being tried: the next try comes soon. */
		hub_open(&u, &r);
		route_state_take(&r, str_z(rows[i].line), 1800000100);
		r.state = ROUTE_AT_WORK;
		route_reach(&r);
		if (r.state != ROUTE_AT_WORK || (r.step == 1) != rows[i].want)
			fail_msg("%s: at work: step %u", rows[i].name, r.step);
		route_close(&r);
	}
	hub_end(&u);
}

/* What was put off because of the host, and nothing else, is tried when the next try of the
 * host is due: in the same life of mailchuted, with no other mail. */
static void put_off_again(void **state)
{
	struct hub u;
	struct route r;

	hub_begin(&u, *state);
	hub_open(&u, &r);
	push_says("printf 'end " MESSAGE " 00000000 later 5 host\\nhost connect 0 x\\n' "
	          ">&3");
	put("queue/new/" MESSAGE, STR("x"), 0600);
	route_news(&r);
	route_work(&r, &u.s, NOW);
	assert_int_equal(r.state, ROUTE_AT_WORK);
	hear_all(&r, &u.s, NOW, 5000);
	assert_int_equal(r.pid, 0);
	assert_int_equal(r.state, ROUTE_DOWN);
	assert_true(access("queue/new/" MESSAGE, F_OK) < 0);
	for (int i = 1; i <= 3; i++) {
		int64_t then = route_next(&r, NOW);

		route_work(&r, &u.s, then);
		if (r.pid == 0)
			fail_msg("try %d: it is never tried again", i);
		assert_int_equal(r.jobs.n, 1);
		hear_all(&r, &u.s, then, 5000);
		/* The script names another place: it is still there. */
	}
	route_close(&r);
	hub_end(&u);
}

/* When a host that is down is tried again, as the log has it: not while it throttles, or a rate is
 * used up. */
static void next_in_log(void **state)
{
	static const struct {
		const char *name, *says;
		int64_t used; /* messages of the rate */
		const char *want;
	} rows[] = {
		{ "down", "host connect 0 x\n", 0, " next=5s\n" },
		{ "it throttles", "slow 60\nhost MAIL 450 4.7.1 slower\n", 0,
		  " next=60s\n" },
		{ "for a moment", "slow 2\nhost MAIL 450 4.7.1 slower\n", 0,
		  " next=5s\n" },
		{ "a rate is used up", "took 7 7\nhost MAIL 450 4.7.1 busy\n", 7,
		  " next=610s\n" },
	};
	const int err = dup(2);
	struct hub u;

	hub_begin(&u, *state);
	u.h.rates = 1;
	u.h.rate[0] = (struct conf_rate){ .n = 7, .seconds = 600 };
	put("queue/new/" MESSAGE, STR("x"), 0600);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf script = BUF_INIT, log = BUF_INIT;
		_cleanup_fd_ int fd = open("log", O_RDWR | O_CREAT | O_TRUNC, 0600);
		struct route r;

		buf_z(&script, "printf '");
		for (const char *p = rows[i].says; *p; p++) {
			if (*p == '\n')
				buf_z(&script, "\\n");
			else
				buf_c(&script, *p);
		}
		buf_z(&script, "' >&3");
		push_says(script.p);
		hub_open(&u, &r);
		assert_true(dup2(fd, 2) == 2);
		route_work(&r, &u.s, NOW);
		hear_all(&r, &u.s, NOW, 3000);
		dup2(err, 2);
		assert_int_equal(r.state, ROUTE_DOWN);
		assert_int_equal(io_slurp_at(AT_FDCWD, "log", &log, 4096), 0);
		if (!strstr(log.p, rows[i].want))
			fail_msg("%s: %s", rows[i].name, log.p);
		/* And mailq. */
		buf_reset(&log);
		route_state_print(&r, &log);
		if ((strstr(log.p, "\nwaits hub ") != NULL) !=
		    (strcmp(rows[i].want, " next=5s\n") != 0))
			fail_msg("%s: %s", rows[i].name, log.p);
		route_close(&r);
	}
	close(err);
	hub_end(&u);
}

/* New mail goes out although what this run has put off is met in the same pass. */
static void put_off_and_new(void **state)
{
	struct hub u;

	hub_begin(&u, *state);
	for (int turn = 0; turn < 2; turn++) {
		struct id id;
		struct route r;

		assert_true(id_from(STR(SECOND), &id));
		hub_open(&u, &r);
		push_says("printf 'end " MESSAGE " 00000000 later 5 host\\n' >&3\n"
		          "exec sleep 20");
		put("queue/new/" MESSAGE, STR("x"), 0600);
		route_news(&r);
		route_work(&r, &u.s, NOW);
		/* One packet; after that it would be waited for in vain. */
		assert_int_equal(
		    poll(&(struct pollfd){ .fd = r.sock, .events = POLLIN }, 1, 2000), 1);
		route_hear(&r, &u.s, NOW);
		assert_true(r.put_off && r.jobs.n == 0);
		put("queue/new/" SECOND, STR("y"), 0600);
		queue_rewind(&r.queue, false);
		r.queue.turn = turn;
		route_work(&r, &u.s, NOW + 1);
		if (!jobs_find(&r.jobs, &id))
			fail_msg("turn %d: new mail waits", turn);
		assert_int_equal(r.jobs.n, 1);
		kill(r.pid, SIGKILL);
		hear_all(&r, &u.s, NOW + 2, 2000);
		unlink("queue/new/" SECOND);
		route_close(&r);
		(void)!system("rm -rf queue/hub");
	}
	hub_end(&u);
}

/* A clock that is set back by less than the longest wait makes no wait longer. */
static void clock_back_little(void **state)
{
	struct hub u;
	struct route r;

	hub_begin(&u, *state);
	hub_open(&u, &r);
	push_says("printf 'host connect 0 x\\n' >&3");
	put("queue/new/" MESSAGE, STR("x"), 0600);
	route_news(&r);
	route_work(&r, &u.s, NOW);
	hear_all(&r, &u.s, NOW, 5000);
	assert_int_equal(route_next(&r, NOW), NOW + 5);
	assert_int_equal(route_next(&r, NOW - 1800), NOW - 1800);
	route_work(&r, &u.s, NOW - 1800);
	assert_true(r.pid > 0);
	hear_all(&r, &u.s, NOW - 1800, 5000);
	assert_int_equal(route_next(&r, NOW - 1800), NOW - 1800 + 10);
	route_close(&r);
	hub_end(&u);
}

/* A rate of recipients: a message that may be to an alias goes alone, whose recipients nobody knows
 * before; others go with the number of theirs. */
static void how_many(void **state)
{
	static const char result[] = "r 1 T 1700000000 450 450 4.2.1 busy\n";
	static const struct {
		const char *name, *rcpt, *elsewhere;
		size_t note; /* octets of results in its note; 0: it has none */
		int64_t rcpts;
		bool more;
	} rows[] = {
		{ "another machine's", "b@isp.example", "", 0, 2, false },
		{ "ours", "b@box.example.org", "", 0, 2, true },
		{ "ours by its own name", "b@node", "", 0, 2, true },
		{ "bare", "b", "", 0, 2, true },
		{ "our name is a domain of others'", "b@box.example.org",
		  "box.example.org", 0, 2, false },
		{ "note", "b@box.example.org", "", 1, 1, false },
		{ "large note", "b@box.example.org", "", ENVELOPE_MAX, 1, false },
	};
	struct hub u;

	hub_begin(&u, *state);
	u.h.rates = 1;
	u.h.rate[0] = (struct conf_rate){ .n = 500, .seconds = 60, .recipients = true };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf text = BUF_INIT;
		const struct job *j;
		struct route r;

		u.s.here = (struct alias_here){ .hostname = STR("box.example.org"),
			                        .nodename = STR("node"),
			                        .elsewhere = str_z(rows[i].elsewhere) };
		buf_fmt(&text,
		        "mailchute 1\nU1000 -\nT1700000000\nmailchute-drop 1\n"
		        "Fa@isp.example\nRc@isp.example\nR%s\n\nSubject: x\n\nx\n",
		        rows[i].rcpt);
		put("queue/new/" MESSAGE, buf_view(&text), 0600);
		buf_reset(&text);
		buf_z(&text, "mailchute-note 1\nSa@isp.example\n"
		             "Phub c@isp.example\nPhub b@isp.example\n.\n"
		             "r 2 D 1700000000 250 250 ok\n");
		for (size_t n = 0; n < rows[i].note; n += strlen(result))
			buf_z(&text, result);
		if (rows[i].note)
			put("note/" MESSAGE, buf_view(&text), 0600);
		push_says("exec sleep 20");
		hub_open(&u, &r);
		route_news(&r);
		route_work(&r, &u.s, NOW);
		assert_int_equal(r.jobs.n, 1);
		j = jobs_next(&r.jobs, NULL);
		if (j->rcpts != rows[i].rcpts || j->more_rcpts != rows[i].more)
			fail_msg("%s: %lld recipients%s", rows[i].name,
			         (long long)j->rcpts, j->more_rcpts ? ", or more" : "");
		kill(r.pid, SIGKILL);
		hear_all(&r, &u.s, NOW, 2000);
		assert_int_equal(r.pid, 0);
		unlink("queue/new/" MESSAGE);
		unlink("note/" MESSAGE);
		route_close(&r);
	}
	hub_end(&u);
}

/* A start tries what is down, but not within a minute after the last try. */
static void started(void **state)
{
	static const struct {
		const char *name, *lines[2];
		int64_t now, next; /* 0: at once */
	} rows[] = {
		{ "long ago",
		  { "down hub 1800000000 1800003600 7 AUTH 535 no",
		    "tried hub 1800000000" },
		  1800000060,
		  0 },
		{ "a moment ago",
		  { "down hub 1800000000 1800003600 7 AUTH 535 no",
		    "tried hub 1800000000" },
		  1800000010,
		  1800000060 },
		{ "sooner anyway",
		  { "down hub 1800000000 1800000020 2 connect 0 no",
		    "tried hub 1800000000" },
		  1800000010,
		  1800000020 },
		{ "not known",
		  { "down hub 1800000000 1800003600 7 x", "" },
		  1800000010,
		  0 },
		{ "the clock was set back",
		  { "down hub 1800000000 1800003600 7 AUTH 535 no",
		    "tried hub 1800003599" },
		  1800000010,
		  0 },
	};
	struct hub u;

	hub_begin(&u, *state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route r;

		hub_open(&u, &r);
		for (size_t k = 0; k < 2; k++)
			route_state_take(&r, str_z(rows[i].lines[k]), rows[i].now);
		route_state_taken(&r, rows[i].now);
		if ((r.state == ROUTE_DOWN) != (rows[i].next != 0))
			fail_msg("%s", rows[i].name);
		if (rows[i].next && route_next(&r, rows[i].now) != rows[i].next)
			fail_msg("%s: %lld", rows[i].name,
			         (long long)route_next(&r, rows[i].now));
		if (r.step != 7 && r.step != 2)
			fail_msg("%s: how often it was tried is forgotten", rows[i].name);
		route_close(&r);
	}
	hub_end(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(clock_back, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(reach, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(put_off_again, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(next_in_log, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(put_off_and_new, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(clock_back_little, bed_setup,
		                                bed_teardown),
		cmocka_unit_test_setup_teardown(how_many, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(started, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
