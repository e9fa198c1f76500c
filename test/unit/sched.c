#include "base/clock.h"
#include "daemon/sched.h"
#include "spoolbed.h"
#include <poll.h>
#include <signal.h>

#define MESSAGE "0123456789abcdef"
#define SECOND "0123456789abcd00"

/* A smart host, and what mailchuted has around its route. */
struct hub {
	struct smarthost h;
	struct jobs stuck;
	enum journal_result replayed;
	struct sched s;
};

static void hub_begin(struct hub *u, struct bed *b)
{
	*u = (struct hub){ .h = { .name = str_dup(STR("hub")),
		                  .user = str_dup(STR("")),
		                  .password_file = str_dup(STR("")),
		                  .retry_max = 3600 },
		           .replayed = JOURNAL_DONE,
		           .s = { .spool = &b->s,
		                  .stuck = &u->stuck,
		                  .replayed = &u->replayed,
		                  .libexec = "." } };
}

static void hub_end(struct hub *u)
{
	free(u->h.name);
	free(u->h.user);
	free(u->h.password_file);
}

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

		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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

/* A clock that is set back by years must neither stop a route that is down nor make its timer
 * ring for ever. */
static void clock_back(void **state)
{
	struct hub u;
	struct route r;

	hub_begin(&u, *state);
	assert_int_equal(route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
	route_state_take(&r, STR("down hub 1800000000 1800000160 5 x"), 1800000100);
	route_work(&r, &u.s, 1800000101);
	assert_int_equal(r.state, ROUTE_DOWN);
	route_work(&r, &u.s, 1500000000);
	assert_int_equal(r.state, ROUTE_READY);
	assert_int_equal(route_next(&r, 1500000000), -1);
	route_close(&r);
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
	assert_int_equal(route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
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

		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
	assert_int_equal(route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
		route_state_take(&r, str_z(rows[i].line), 1800000100);
		r.state = ROUTE_AT_WORK;
		route_reach(&r);
		if (r.state != ROUTE_AT_WORK || (r.step == 1) != rows[i].want)
			fail_msg("%s: at work: step %u", rows[i].name, r.step);
		route_close(&r);
	}
	hub_end(&u);
}

/* ---- With a push: a script in its place, whose words are packets ---- */

static void push_says(const char *script)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_fmt(&b, "#!/bin/sh\n%s\n", script);
	unlink("mailchute-push");
	put("mailchute-push", buf_view(&b), 0700);
}

/* Hears it until it is gone, or for a while. */
static void hear_all(struct route *r, const struct sched *s, int64_t now, int wait_ms)
{
	struct pollfd p = { .events = POLLIN };

	while (r->pid && r->sock >= 0) {
		p.fd = r->sock;
		if (poll(&p, 1, wait_ms) <= 0)
			return;
		route_hear(r, s, now);
	}
}

/* What was put off because of the host, and nothing else, is tried when the next try of the
 * host is due: in the same life of mailchuted, with no other mail. */
static void put_off_again(void **state)
{
	struct hub u;
	struct route r;

	hub_begin(&u, *state);
	assert_int_equal(route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
		push_says("printf 'end " MESSAGE " 00000000 later 5 host\\n' >&3\n"
		          "exec sleep 20");
		put("queue/new/" MESSAGE, STR("x"), 0600);
		route_news(&r);
		route_work(&r, &u.s, NOW);
		hear_all(&r, &u.s, NOW, 2000);
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
	assert_int_equal(route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
	assert_int_equal(route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
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
		bool up, all;
	} rows[] = {
		{ "hangs", "read x <&3; true", false, false },
		{ "says that its host is down",
		  "read x <&3; printf 'host connect 0 x\\n' >&3", false, false },
		{ "is up, and finishes", "printf 'up x\\n' >&3; exec sleep 20", true,
		  false },
	};
	struct hub u;

	hub_begin(&u, *state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route r;
		struct pollfd p = { .events = POLLIN };

		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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

		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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

		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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

		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
	assert_int_equal(route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
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
		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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

		assert_int_equal(
		    route_open(&r, &u.s, &u.h, QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
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
		cmocka_unit_test_setup_teardown(state_line, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(clock_back, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(golden, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(state_more, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(waits, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(waits_without_mail, bed_setup,
		                                bed_teardown),
		cmocka_unit_test_setup_teardown(reach, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(put_off_again, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(next_in_log, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(put_off_and_new, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(clock_back_little, bed_setup,
		                                bed_teardown),
		cmocka_unit_test_setup_teardown(watchdog, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(watchdog_and_reload, bed_setup,
		                                bed_teardown),
		cmocka_unit_test_setup_teardown(hangs_on_it, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(reload_at_once, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(ticket, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked_for_one, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked_soon, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(asked_and_rate, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(how_many, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(started, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
