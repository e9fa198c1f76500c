/* What a route waits for and what is known of its host: for people, and for the next start */
#include "base/clock.h"
#include "daemon/sched.h"

enum { START_EVERY = 60 /* seconds between tries, over restarts */ };

/* Why it waits, in words that end well before "; more in 5m". */
static void wait_words(const struct route *r, enum route_wait wait, struct buf *b)
{
	if (wait == WAIT_HOLD) {
		buf_z(b, "on hold until somebody asks (mailchute flush, sendmail -q)");
	} else if (wait == WAIT_SLOW) {
		buf_z(b, "the host asks us to slow down");
	} else if (wait == WAIT_RATE) {
		buf_z(b, "rate ");
		budget_words(&r->rate, b);
		buf_z(b, " is used up");
	}
}

static void down_words(const struct route *r, bool admin, struct buf *b)
{
	struct str rest = buf_view(&r->why), stage = STR(""), code = STR("");

	str_cut(&rest, ' ', &stage);
	str_cut(&rest, ' ', &code);
	buf_str(b, stage);
	if (admin) {
		buf_z(b, ": ");
		buf_str(b, rest.p ? rest : STR(""));
	} else if (code.n && !str_eq(code, STR("0"))) {
		buf_c(b, ' ');
		buf_str(b, code);
	}
}

/* As serve_list.c has it. What it says is of a file here, and where. */
static void router_words(const struct route *r, bool admin, struct buf *b)
{
	struct str rest = buf_view(&r->why), skipped = STR("");

	buf_z(b, "new (mailchute-route, which chooses the smart host)");
	str_cut(&rest, ' ', &skipped);
	str_cut(&rest, ' ', &skipped);
	buf_z(b, admin && rest.n ? ": " : " fails");
	if (admin && rest.n)
		buf_str(b, rest);
}

/* As serve_list.c has it. */
static void ask_words(const struct route *r, int64_t now, struct buf *b)
{
	buf_z(b, "asked for; it is tried ");
	if (r->ask_at > now)
		buf_fmt(b, "in %lld s", (long long)(r->ask_at - now));
	else
		buf_z(b, "now");
}

static void words(const struct route *r, bool down, bool admin, struct buf *b)
{
	int64_t now = clock_real();

	if (route_is_router(r)) {
		router_words(r, admin, b);
		return;
	}
	buf_fmt(b, "%s: ", r->queue.route);
	if (down) {
		down_words(r, admin, b);
		if (r->ask_at) {
			buf_z(b, " (");
			ask_words(r, now, b);
			buf_c(b, ')');
		}
		return;
	}
	if (r->wait == WAIT_HOLD && r->ask_at)
		ask_words(r, now, b);
	else
		wait_words(r, r->wait, b);
	if (r->wait == WAIT_HOLD && r->besides != WAIT_NONE) {
		buf_z(b, ", and ");
		wait_words(r, r->besides, b);
	}
	if ((r->wait != WAIT_HOLD || r->besides != WAIT_NONE) && r->wait_until > now)
		buf_fmt(b, " for %lld s", (long long)(r->wait_until - now));
}

/* Is there mail that could go but for what the route waits for? One name is looked for, in a
 * pass of its own. */
static bool keeps_mail(const struct route *r)
{
	int64_t longest = r->host ? r->host->retry_max : 0;
	struct queue q;
	struct place p;
	bool any;

	if (r->wait == WAIT_NONE)
		return false;
	/* Who cannot look says what there is to say. */
	any = queue_open(&q, r->queue.s, r->queue.route, r->queue.reads) < 0 ||
	      queue_next(&q, clock_real(), longest, &p) || q.failed;
	queue_close(&q);
	return any;
}

void route_words(const struct route *r, bool admin, struct buf *b)
{
	if (r->state != ROUTE_DOWN && !keeps_mail(r))
		return;
	buf_z(b, "; ");
	words(r, r->state == ROUTE_DOWN, admin, b);
}

void route_trouble(const struct route *r, struct buf *b)
{
	/* Why is kept until a session begins: without mail that may be an old story. Not so while the
	 * push is still leaving that found it, and the next try waits for that. */
	bool trying = r->state == ROUTE_AT_WORK ? !r->reached : r->pid != 0;
	bool down = r->state == ROUTE_DOWN || (trying && r->why.n);

	if (down || keeps_mail(r))
		words(r, down, true, b);
}

bool route_learn(struct buf *b, struct str text, size_t max)
{
	if (text.n > max)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= 0x20 || text.p[i] >= 0x7f)
			return false;
	buf_reset(b);
	buf_str(b, text);
	return true;
}

/* A host that is down and on hold is not tried until somebody asks, either. */
static enum route_wait waits_for(const struct route *r)
{
	if (r->state != ROUTE_DOWN)
		return r->wait;
	if (route_on_hold(r))
		return WAIT_HOLD;
	/* As route_down() found it: then that is what the next try waits for. */
	return r->wait != WAIT_HOLD && r->wait_until > r->next_try ? r->wait : WAIT_NONE;
}

void route_state_print(const struct route *r, struct buf *b)
{
	enum route_wait wait = waits_for(r);
	const char *name = r->queue.route;

	if (r->breaker.open)
		buf_fmt(b, "fault %s\n", name);
	if (r->step)
		buf_fmt(b, "down %s %lld %lld %u %s\n", name, (long long)r->down_since,
		        (long long)r->next_try, r->step, r->why.n ? r->why.p : "-");
	if (route_is_router(r))
		return; /* for mailq; not taken back */
	if (r->step && r->last_try)
		buf_fmt(b, "tried %s %lld\n", name, (long long)r->last_try);
	if (r->learned.n)
		buf_fmt(b, "learned %s %s\n", name, r->learned.p);
	if (r->slow_until)
		buf_fmt(b, "slow %s %lld\n", name, (long long)r->slow_until);
	budget_print(&r->budget, name, b);
	/* For mailq; not taken back. */
	if (wait == WAIT_HOLD && r->ask_at) {
		buf_fmt(b, "asked %s %lld\n", name, (long long)r->ask_at);
	} else if (wait != WAIT_NONE) {
		buf_fmt(b, "waits %s %lld ", name,
		        (long long)(wait == WAIT_HOLD ? 0 : r->wait_until));
		wait_words(r, wait, b);
		buf_c(b, '\n');
	}
}

/* Later times are nobody's, and sums with them would not stay in range. */
#define TIMES_MAX UINT64_C(1000000000000)

static void take_down(struct route *r, struct str rest, int64_t now)
{
	struct str f[3] = { STR(""), STR(""), STR("") };
	uint64_t since, next, step;

	for (size_t i = 0; i < ARRAY_LEN(f); i++)
		str_cut(&rest, ' ', &f[i]);
	if (!str_u64(f[0], &since) || !str_u64(f[1], &next) || !str_u64(f[2], &step) ||
	    since > TIMES_MAX || next > TIMES_MAX)
		return;
	/* Its time has come, or the clock was set back: it is tried now. But since when it is
	 * down, for give-up, and how often it was tried, so that a wrong password is not given
	 * more often because of restarts, still holds. */
	if ((int64_t)next > now && (int64_t)next <= now + ROUTE_DOWN_MAX)
		r->state = ROUTE_DOWN;
	r->down_since = (int64_t)since;
	r->next_try = (int64_t)next;
	r->step = (unsigned)(step < 32 ? step : 32);
	buf_reset(&r->why);
	buf_str(&r->why, rest.p ? rest : STR("-"));
}

void route_state_take(struct route *r, struct str line, int64_t now)
{
	struct str verb = STR(""), route = STR("");
	uint64_t t;

	str_cut(&line, ' ', &verb);
	str_cut(&line, ' ', &route);
	line.p = line.p ? line.p : "";
	if (!str_eq(route, str_z(r->queue.route)))
		return;
	if (str_eq(verb, STR("fault"))) {
		r->breaker.open = true;
		r->window = 1;
	} else if (str_eq(verb, STR("down"))) {
		take_down(r, line, now);
	} else if (str_eq(verb, STR("tried"))) {
		if (str_u64(line, &t) && t <= TIMES_MAX)
			r->last_try = (int64_t)t;
	} else if (str_eq(verb, STR("learned"))) {
		route_learn(&r->learned, line, JOB_LEARNED_MAX);
	} else if (str_eq(verb, STR("rate"))) {
		budget_take(&r->budget, line, now);
	} else if (str_eq(verb, STR("slow")) && str_u64(line, &t) && (int64_t)t > now &&
	           (int64_t)t <= now + JOB_SLOW_MAX) {
		r->slow_until = (int64_t)t;
	}
}

void route_state_taken(struct route *r, int64_t now)
{
	int64_t soonest = r->last_try + START_EVERY;

	if (r->state != ROUTE_DOWN)
		return;
	/* Who corrects something and starts us anew is not to wait; who is restarted again and
	 * again is no reason to try a password so often. */
	if (now >= soonest || now < r->last_try)
		r->state = ROUTE_READY;
	else if (soonest < r->next_try)
		r->next_try = soonest;
}

/* Or being tried again, and the try may end with that. */
bool route_is_cut_off(const struct route *r)
{
	return (r->state == ROUTE_DOWN ||
	        (r->state == ROUTE_AT_WORK && r->step && !r->reached)) &&
	       !r->gone && route_unreached(buf_view(&r->why)) && !route_on_hold(r);
}

void route_reach(struct route *r)
{
	if (!route_is_cut_off(r))
		return;
	/* An address may come a moment after its link: soon again, if it fails. */
	r->step = r->step > 1 ? 1 : r->step;
	if (r->state == ROUTE_AT_WORK)
		return;
	r->state = ROUTE_READY;
	queue_rewind(&r->queue, false);
}
