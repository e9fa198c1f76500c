#include "daemon/sched.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "daemon/apply.h"
#include "daemon/deal.h"
#include "daemon/hear.h"
#include "daemon/start.h"
#include "spool/journal.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	BACKOFF_FIRST = 5, /* seconds to the second try of a host that is down */
	BACKOFF_MAX = 600,
	BACKOFF_LOGIN_FIRST = 60, /* when it refused our login */
	BACKOFF_LOGIN_MAX = ROUTE_DOWN_MAX,
	POKE_EVERY = 60,
	REAP_WAIT_MS = 2000,
	PACKETS_AT_ONCE =
	    32, /* then others have their turn: a push may talk without end */
	ASKED_MS = 600 * 1000, /* so long a host that cannot be reached is asked for */
	CROWDED_WAIT = 1,      /* seconds */
	CRASHES_MAX = 3, /* of push with one and the same message: it goes to bad/ */
};

int route_open(struct route *r, const struct sched *s, const struct smarthost *h,
               unsigned reads)
{
	*r = (struct route){ .host = h, .sock = -1, .list = -1, .window = DEAL_FIRST };
	budget_conf(&r->budget, h);
	return queue_open(&r->queue, s->spool, h ? h->name : "new", reads);
}

void route_close(struct route *r)
{
	deal_close(r);
	cleanup_fd(&r->sock);
	cleanup_fd(&r->list);
	r->sock = r->list = -1;
	queue_close(&r->queue);
	budget_free(&r->budget);
	buf_free(&r->why);
	buf_free(&r->learned);
	buf_free(&r->ticket);
}

/* "AUTH 535 ...": the stage's name, and the code. */
static bool refuses_login(struct str why)
{
	struct str stage = STR(""), code = STR("");
	uint64_t n;

	str_cut(&why, ' ', &stage);
	str_cut(&why, ' ', &code);
	return str_eq(stage, STR("AUTH")) && str_u64(code, &n) && job_refuses_login(n);
}

/* Its next try, but for what waits besides: the host throttles, a rate is used up. */
static int64_t next_of_down(struct route *r, int64_t now)
{
	int64_t next = r->next_try;

	if (deal_waits(r, now) && (r->wait != WAIT_HOLD || r->besides != WAIT_NONE) &&
	    r->wait_until > next)
		next = r->wait_until;
	r->besides = WAIT_NONE;
	return next;
}

void route_down(struct route *r, struct str why, int64_t now)
{
	/* Who refuses our login, or all we send, is asked seldom. */
	bool login = refuses_login(why) || r->breaker.open;
	int64_t first = login ? BACKOFF_LOGIN_FIRST : BACKOFF_FIRST;
	int64_t max = login ? BACKOFF_LOGIN_MAX : BACKOFF_MAX, wait = first, next;
	_cleanup_buf_ struct buf line = BUF_INIT;
	struct str rest = why, stage = STR(""), code = STR("");

	for (unsigned i = 0; i < r->step && wait < max; i++)
		wait *= 2;
	/* A push that is to leave had the old configuration: the new one is tried at once. */
	wait = r->stopping ? 0 : wait < max ? wait : max;
	if (r->step == 0)
		r->down_since = now;
	r->step += !r->stopping;
	r->state = ROUTE_DOWN;
	r->next_try = now + wait;
	buf_reset(&r->why);
	hear_clean(&r->why, str_head(why, 400));
	str_cut(&rest, ' ', &stage);
	str_cut(&rest, ' ', &code);
	log_value(&line, "route", str_z(r->queue.route));
	log_value(&line, "stage", stage);
	log_value(&line, "code", code);
	log_text(&line, "text", rest.p ? rest : STR(""));
	/* Who asks when a line has just come up asks before all of it is there. */
	r->asked &= r->stopping ||
	            (route_unreached(why) && clock_ms() + wait * 1000 < r->asked_until);
	if (login)
		r->ask_at = 0; /* no asking makes that sooner */
	next = next_of_down(r, now);
	if (r->ask_at)
		next = r->ask_at;
	if (route_on_hold(r) && !r->ask_at)
		buf_z(&line, " next=when-asked");
	else
		buf_fmt(&line, " next=%llds", (long long)(next - now));
	log_line(LOG_LEVEL_WARNING, "host-down%s", line.p);
	deal_down(r);
	queue_idle(&r->queue);
}

/* Push closed its end: it is leaving. One that does not is ended. */
static int reap(pid_t pid)
{
	int status = 0;

	for (int i = 0; i < REAP_WAIT_MS / 10; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		poll(NULL, 0, 10);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Jobs without an outcome; what people wished for them is done now. */
static void jobs_given_up(struct route *r, const struct sched *s)
{
	const struct verb_ops ops = { .gone = NULL };

	for (struct job *j = jobs_next(&r->jobs, NULL), *next; j; j = next) {
		_cleanup_buf_ struct buf words = BUF_INIT;

		next = jobs_next(&r->jobs, j);
		/* What a journal still has to say of it would not find it elsewhere. */
		if (j->wish &&
		    (j->wish != VERB_HOLD || (*s->replayed != JOURNAL_UNREAD &&
		                              !jobs_find(s->stuck, &j->place.id))))
			verb_do(s->spool, &ops, j->wish, j->wish_by, &j->place.id,
			        &words);
		if (j->wish == VERB_DELETE && s->count)
			s->count(s->arg, j->uid, j->size, -1);
	}
	deal_close(r);
}

/* Was it nobody else who ended it, but for the watchdog? */
static bool died_by_itself(const struct route *r, int status)
{
	return WIFSIGNALED(status) &&
	       (r->hung || (WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM));
}

/* Push has left: what it had in hand and the journal does not settle was not tried. */
static void run_ended(struct route *r, const struct sched *s, int64_t now)
{
	int status;
	unsigned left = r->jobs.n;
	const struct job *only = left == 1 ? jobs_next(&r->jobs, NULL) : NULL;
	enum journal_result journal;
	bool told = r->stopping; /* to leave */

	close(r->sock);
	r->sock = -1;
	cleanup_fd(&r->list);
	r->list = -1;
	status = reap(r->pid);
	r->pid = 0;
	r->stopping = false;
	/* It may have died of that, or its host may break off when it sees it: so would the
	 * next. */
	if (status != 0 || (!r->reached && !route_unreached(buf_view(&r->why))))
		buf_reset(&r->ticket);
	if (r->state == ROUTE_AT_WORK && died_by_itself(r, status) && only &&
	    ++r->crashes >= CRASHES_MAX) {
		log_line(LOG_LEVEL_ALERT,
		         "bad id=%s why=\"push died of it %u times, signal %d\"",
		         only->place.id.c, r->crashes, WTERMSIG(status));
		if (queue_put_aside(&r->queue, &only->place, s->spool->bad) == 0 &&
		    s->count)
			s->count(s->arg, only->uid, only->size, -1);
		r->crashes = 0;
	}
	queue_changed(&r->queue); /* the journal may say more than we have heard */
	journal = journal_apply(s->spool, &r->journal, &r->jobs, s->stuck, now);
	budget_run(&r->budget);
	/* What it says was done is done for good before it goes. */
	if (journal == JOURNAL_DONE && queue_sync(&r->queue) == 0 && !r->queue.unsynced)
		journal_remove(s->spool, &r->journal);
	if (journal > *s->replayed)
		*s->replayed = journal;
	jobs_given_up(r, s);
	if (r->state == ROUTE_AT_WORK) {
		r->state = ROUTE_READY;
		if (status != 0)
			log_line(LOG_LEVEL_ALERT,
			         "push-died route=%s status=%d in-hand=%u",
			         r->queue.route, status, left);
		/* One at a time from now on, to find out which message it dies of. */
		if (status != 0 && left)
			r->window = 1;
		if (left && r->settled == 0 && !s->leaving && !(told && status == 0))
			route_down(r, STR("push 0 mailchute-push left without a result"),
			           now);
	}
	if (r->state == ROUTE_READY && left)
		queue_rewind(&r->queue, r->queue.all && !r->queue.due_done);
}

void route_hear(struct route *r, const struct sched *s, int64_t now)
{
	int fds[JOB_FDS_MAX];
	bool reset = false;

	for (int i = 0; i < PACKETS_AT_ONCE; i++) {
		ssize_t n = job_recv(r->sock, &r->packet, fds);

		/* A push that died with jobs unread shows as a reset, once, in front of
		 * what it still said. */
		if (n == -ECONNRESET && !reset) {
			reset = true;
			continue;
		}
		if (n == -EAGAIN)
			return;
		r->heard = clock_ms();
		r->silent = 0;
		if (n <= 0) {
			run_ended(r, s, now);
			return;
		}
		hear_packet(r, s, buf_view(&r->packet), &fds[0], now);
		for (size_t k = 0; k < JOB_FDS_MAX; k++)
			cleanup_fd(&fds[k]);
	}
}

static int64_t longest(const struct route *r)
{
	return r->host ? r->host->retry_max : 0;
}

static bool next_of_pass(struct route *r, const struct sched *s, int64_t now,
                         struct place *p)
{
	int64_t circle = deal_put_off_due(r->last_try) / QUEUE_BUCKET_SECONDS;

	while (queue_next(&r->queue, now, longest(r), p)) {
		if (jobs_find(s->stuck, &p->id))
			continue;
		if (!r->put_off || p->due < circle)
			return true;
		/* What this very run has put off is not to go round in a circle. It is the
		 * last of a usual pass; new messages may be there all the same. */
		r->queue.due_done |= !r->queue.all;
	}
	return false;
}

static bool next_place(struct route *r, const struct sched *s, int64_t now,
                       struct place *p)
{
	r->idle = false;
	if (next_of_pass(r, s, now, p))
		return true;
	if (r->more) {
		r->more = false;
		queue_rewind(&r->queue, false);
		if (next_of_pass(r, s, now, p))
			return true;
	}
	r->idle = true;
	return false;
}

/* False: push cannot be started. */
static bool run_begin(struct route *r, const struct sched *s, int64_t now)
{
	r->last_try = now;
	queue_changed(&r->queue);
	r->queue.unsynced = false;
	if (push_start(r, s) < 0) {
		route_down(r, STR("push 0 mailchute-push cannot be started"), now);
		return false;
	}
	deal_open(r);
	r->state = ROUTE_AT_WORK;
	r->reached = false;
	r->heard = clock_ms();
	return true;
}

/* A full hand is filled up a batch at a time, not one by one. */
static bool worth_it(const struct route *r)
{
	unsigned some = r->window / 8;

	return some == 0 ||
	       r->jobs.n + (some < JOB_MANY_MAX ? some : JOB_MANY_MAX) <= r->window;
}

void route_work(struct route *r, const struct sched *s, int64_t now)
{
	struct place p;

	/* Also after the clock was set back. */
	if (now >= r->crowded || r->crowded > now + CROWDED_WAIT)
		r->crowded = 0;
	if (r->sock >= 0)
		deal_send(r);
	if (s->leaving || r->stopping || r->gone || (r->pid && r->state != ROUTE_AT_WORK))
		return; /* a push that has no more to do is still leaving */
	/* The same after the clock was set back, as route_next() has it. */
	if (r->state == ROUTE_DOWN && route_next(r, now) <= now) {
		r->state = ROUTE_READY;
		queue_rewind(&r->queue, false);
	}
	/* The same. */
	if (r->ask_at && (now >= r->ask_at || r->ask_at > now + POKE_EVERY))
		route_asked(r, now, true);
	if (r->state == ROUTE_DOWN || !worth_it(r))
		return;
	while (deal_may(r, s, now) && next_place(r, s, now, &p)) {
		if (r->state == ROUTE_READY && !run_begin(r, s, now))
			return;
		if (!deal_give(r, s, &p)) {
			queue_rewind(&r->queue, r->queue.all);
			break;
		}
	}
	deal_send(r);
	if (r->jobs.n == 0) {
		queue_idle(&r->queue);
		/* What the host or a rate does not let go now is not asked for later. */
		r->asked &= !r->idle && r->wait != WAIT_SLOW && r->wait != WAIT_RATE;
	}
}

/* Was a message what the trouble came with? Then another one may pass. */
static bool met_message(const struct route *r)
{
	struct str why = buf_view(&r->why);

	return str_starts(why, STR("MAIL ")) || str_starts(why, STR("RCPT ")) ||
	       str_starts(why, STR("DATA ")) || str_starts(why, STR("content "));
}

void route_news(struct route *r)
{
	if (r->state != ROUTE_DOWN)
		queue_news(&r->queue);
	else if (met_message(r) && !r->breaker.open &&
	         r->next_try > r->last_try + POKE_EVERY)
		r->next_try = r->last_try + POKE_EVERY;
}

static void try_it(struct route *r, bool all)
{
	if (r->state == ROUTE_DOWN)
		r->state = ROUTE_READY;
	r->asked = true;
	r->asked_until = clock_ms() + ASKED_MS;
	r->ask_at = 0;
	r->idle = false;
	queue_rewind(&r->queue, all);
}

/* Within a minute after the last try: to be carried out when that is over. What is asked for
 * already is tried, and so is what is not on hold: if it is down, soon enough. */
static void ask_later(struct route *r)
{
	int64_t then = r->last_try + POKE_EVERY;

	if (route_on_hold(r))
		r->ask_at = then;
	else if (r->state == ROUTE_DOWN && r->next_try > then)
		r->next_try = then;
	if (r->asked)
		r->asked_until = clock_ms() + ASKED_MS;
}

void route_asked(struct route *r, int64_t now, bool root)
{
	r->ask_at = 0;
	if (refuses_login(buf_view(&r->why)) || r->breaker.open)
		return;
	if (!root && now - r->last_try < POKE_EVERY && now >= r->last_try)
		ask_later(r);
	else
		try_it(r, false);
}

void route_try_now(struct route *r, int64_t now, bool all)
{
	if (!all) {
		route_asked(r, now, false);
		return;
	}
	/* An administrator may know better than the host's last word. */
	r->step = 0;
	r->slow_until = 0;
	try_it(r, true);
}

/* What was learned of a host is not true of another one. */
static bool same_host(const struct smarthost *a, const struct smarthost *b)
{
	if (!a || !b || a->port != b->port || a->tls != b->tls ||
	    a->host.n != b->host.n || strcmp(a->user, b->user) != 0)
		return false;
	for (size_t i = 0; i < a->host.n; i++)
		if (strcmp(a->host.v[i], b->host.v[i]) != 0)
			return false;
	return true;
}

void route_leave(struct route *r)
{
	if (r->sock >= 0 && !r->stopping)
		route_tell(r, false);
	/* It hears nobody but its host, but this it sees. */
	if (r->sock >= 0 && r->host && !r->reached)
		(void)shutdown(r->sock, SHUT_WR);
	r->stopping = true;
}

void route_reload(struct route *r, const struct smarthost *h, int64_t now)
{
	if (!same_host(r->host, h)) {
		buf_reset(&r->learned);
		buf_reset(&r->ticket);
		r->slow_until = 0;
	}
	if (r->state == ROUTE_AT_WORK)
		route_leave(r);
	r->host = h;
	budget_conf(&r->budget, h);
	route_try_now(r, now, true);
}

int64_t route_next(struct route *r, int64_t now)
{
	if (r->pid && r->state != ROUTE_AT_WORK)
		return -1;
	/* A clock that was set back must not make the wait longer. */
	if (r->ask_at)
		return r->stopping ? -1 : r->ask_at > now + POKE_EVERY ? now : r->ask_at;
	if (r->state == ROUTE_DOWN)
		return r->next_try > now + BACKOFF_LOGIN_MAX || now < r->last_try
		           ? now
		           : r->next_try;
	if (r->crowded)
		return r->crowded;
	if (deal_waits(r, now))
		return r->wait == WAIT_HOLD ? -1 : r->wait_until;
	if (r->state == ROUTE_AT_WORK && (r->full || !worth_it(r)))
		return -1;
	return queue_next_due(&r->queue, now, longest(r));
}

void route_due(struct route *r)
{
	/* A pass that takes everything takes this too, and is not to be cut short. */
	if (r->state != ROUTE_DOWN && !(r->queue.all && !r->queue.due_done))
		queue_rewind(&r->queue, false);
}

bool route_is_quiet(const struct route *r)
{
	if (r->gone || r->state == ROUTE_DOWN)
		return true;
	return r->jobs.n == 0 && (r->wait != WAIT_NONE || (r->idle && !r->more));
}

bool route_in_hand(struct route *r, const struct id *id, enum verb v, uid_t by)
{
	struct job *j = jobs_find(&r->jobs, id);

	if (!j)
		return false;
	j->wish_by = by;
	if (v == VERB_HOLD || v == VERB_DELETE)
		j->wish = v;
	else if (v == VERB_RELEASE)
		j->wish = VERB_NONE;
	return true;
}
