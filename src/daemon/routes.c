#include "daemon/routes.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/apply.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SETTLE_FIRST = 10, SETTLE_MAX = 600 /* seconds */ };

static struct route *route_new(void)
{
	struct route *r = calloc(1, sizeof(*r));

	if (!r)
		die_oom();
	return r;
}

static struct route *by_name(const struct routes *rs, struct str name)
{
	for (size_t i = 0; i < rs->live; i++)
		if (str_eq(str_z(rs->v[i]->queue.route), name))
			return rs->v[i];
	return NULL;
}

/* Those that are leaving, too: they come back when the configuration has them again. */
static struct route *by_any_name(const struct routes *rs, struct str name)
{
	for (size_t i = 0; i < rs->n; i++)
		if (str_eq(str_z(rs->v[i]->queue.route), name))
			return rs->v[i];
	return NULL;
}

/* ---- Which routes there are ---- */

static int open_router(struct routes *rs, struct sched *s)
{
	struct route *r = route_new();
	int e = route_open(r, s, NULL, 0); /* see reader_begins() */

	if (e < 0)
		free(r);
	else
		rs->router = r;
	return e;
}

/* Opens routes for those smart hosts that have none; v[i] of the others is left NULL. */
static int open_missing(const struct routes *rs, const struct sched *s,
                        const struct conf *c, struct route **v, const char **ret_name)
{
	for (size_t i = 0; i < c->smarthosts; i++) {
		const struct smarthost *h = &c->smarthost[i];
		struct route *r;
		int e;

		*ret_name = h->name;
		if (by_any_name(rs, str_z(h->name)))
			continue;
		r = route_new();
		e = route_open(r, s, h, QUEUE_READS_DUE);
		v[i] = r;
		if (e < 0)
			return e;
	}
	return 0;
}

static struct route **route_list(size_t n)
{
	struct route **v = calloc(n + 1, sizeof(struct route *));

	if (!v)
		die_oom();
	return v;
}

/* Who reads queue/new from now on; not before the last one has nothing of it in hand. */
static void choose_reader(struct routes *rs)
{
	struct route *now = rs->router ? rs->router : rs->v[0];

	if (rs->reader == now)
		return;
	if (rs->reader && rs->reader->queue.reads & QUEUE_READS_NEW) {
		rs->reader->queue.reads &= ~(unsigned)QUEUE_READS_NEW;
		queue_rewind(&rs->reader->queue, false);
		if (rs->reader->pid)
			rs->last_reader = rs->reader;
	}
	rs->reader = now;
}

static void reader_begins(struct routes *rs)
{
	if (rs->last_reader && rs->last_reader->pid)
		return;
	rs->last_reader = NULL;
	if (rs->reader->queue.reads & QUEUE_READS_NEW)
		return;
	rs->reader->queue.reads |= QUEUE_READS_NEW;
	queue_rewind(&rs->reader->queue, false);
}

static bool is_live(void *arg, const char *name)
{
	return by_name(arg, str_z(name)) != NULL;
}

/* What waits in folders of routes that there are no more. */
static void take_over(struct routes *rs, struct sched *s)
{
	int n = rs->live == 1 ? queue_inherit(&rs->v[0]->queue)
	                      : queue_disown(s->spool, is_live, rs);

	rs->left_over = false;
	if (n != 0)
		log_line(n < 0 ? LOG_LEVEL_ALERT : LOG_LEVEL_INFO,
		         "inherited route=%s from=%d%s%s", rs->reader->queue.route,
		         n < 0 ? 0 : n, n < 0 ? " why=" : "", n < 0 ? strerror(-n) : "");
	if (n > 0) {
		route_news(rs->reader);
		route_due(rs->reader);
	}
}

int routes_open(struct routes *rs, struct sched *s, const struct conf *c,
                const char **ret_name)
{
	int e;

	*rs = (struct routes){ .left_over = true };
	links_init(&rs->links);
	rs->v = route_list(c->smarthosts);
	e = open_missing(rs, s, c, rs->v, ret_name);
	if (e < 0)
		return e;
	rs->n = rs->live = c->smarthosts;
	if (rs->live > 1) {
		*ret_name = "new";
		e = open_router(rs, s);
		if (e < 0)
			return e;
	}
	choose_reader(rs);
	reader_begins(rs);
	if (*s->replayed < JOURNAL_STUCK)
		take_over(rs, s);
	return 0;
}

static void free_one(struct route *r)
{
	route_close(r);
	free(r);
}

void routes_close(struct routes *rs)
{
	for (size_t i = 0; i < rs->n; i++)
		free_one(rs->v[i]);
	if (rs->router)
		free_one(rs->router);
	free(rs->v);
	links_want(&rs->links, false);
	*rs = (struct routes){ .links = rs->links };
}

/* Those that are leaving and have left. */
static void drop_gone(struct routes *rs)
{
	size_t n = rs->live;

	for (size_t i = rs->live; i < rs->n; i++) {
		if (rs->v[i]->pid) {
			rs->v[n++] = rs->v[i];
			continue;
		}
		if (rs->last_reader == rs->v[i])
			rs->last_reader = NULL;
		rs->removed += rs->v[i]->removed;
		free_one(rs->v[i]);
	}
	rs->n = n;
}

static void take_leave(struct route *r)
{
	route_leave(r);
	r->host = NULL;
	r->gone = true;
}

/* The routes of c in its order: old ones of the same name, or the fresh ones in v; then the
 * others. v has room for all. */
static void rearrange(struct routes *rs, const struct conf *c, struct route **v,
                      int64_t now)
{
	size_t n = c->smarthosts;

	for (size_t i = 0; i < c->smarthosts; i++) {
		if (v[i])
			continue;
		v[i] = by_any_name(rs, str_z(c->smarthost[i].name));
		v[i]->gone = false;
		v[i]->stopping &= v[i]->pid != 0; /* it left, and nothing ended since */
		route_reload(v[i], &c->smarthost[i], now);
	}
	for (size_t k = 0; k < rs->n; k++) {
		bool kept = false;

		for (size_t i = 0; i < c->smarthosts; i++)
			kept |= v[i] == rs->v[k];
		if (kept)
			continue;
		take_leave(rs->v[k]);
		v[n++] = rs->v[k];
	}
	free(rs->v);
	rs->v = v;
	rs->live = c->smarthosts;
	rs->n = n;
}

int routes_reload(struct routes *rs, struct sched *s, const struct conf *c, int64_t now)
{
	struct route **v = route_list(rs->n + c->smarthosts + 1);
	const char *name;
	int e = open_missing(rs, s, c, v, &name);

	if (e == 0 && c->smarthosts > 1 && !rs->router)
		e = open_router(rs, s);
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT, "route-error route=%s why=\"%s\"", name,
		         strerror(-e));
		for (size_t i = 0; i < c->smarthosts; i++)
			if (v[i])
				free_one(v[i]);
		free(v);
		return e;
	}
	rearrange(rs, c, v, now);
	if (rs->router && rs->live > 1)
		route_reload(rs->router, NULL, now);
	if (rs->router && rs->live == 1) {
		take_leave(rs->router);
		rs->v[rs->n++] = rs->router;
		rs->router = NULL;
	}
	rs->left_over = true;
	choose_reader(rs);
	return 0;
}

/* ---- Work ---- */

/* Calls f for every route there is. */
#define EACH(rs, r)                              \
	for (size_t i_ = 0; i_ <= (rs)->n; i_++) \
		if (((r) = i_ < (rs)->n ? (rs)->v[i_] : (rs)->router))

/* Listens to the network while a host cannot be reached. */
static void look_for_links(struct routes *rs)
{
	bool cut_off = false;
	struct route *r;

	EACH(rs, r)
	cut_off |= route_is_cut_off(r);
	links_want(&rs->links, cut_off);
}

/* What the monotonic clock governs. When to look again, or -1. */
static int64_t watch(struct routes *rs, int64_t now)
{
	int64_t next = rs->links.due;
	struct route *r;

	EACH(rs, r)
	{
		int64_t at = route_watch(r, now);

		if (at >= 0 && (next < 0 || at < next))
			next = at;
	}
	return next;
}

int64_t routes_watch(struct routes *rs)
{
	int64_t now = clock_ms();
	struct route *r;

	if (links_act(&rs->links, now)) {
		log_line(LOG_LEVEL_INFO, "network-changed");
		EACH(rs, r)
		route_reach(r);
		return now; /* there is work */
	}
	return watch(rs, now);
}

/* What could not be applied of journals is tried again, ever more seldom: going through a long
 * one takes a while. What was passed over is looked at then. */
static void settle(struct routes *rs, struct sched *s, int64_t now)
{
	struct route *r;

	if (*s->replayed < JOURNAL_STUCK) {
		rs->settle_at = 0;
		return;
	}
	if (rs->settle_at == 0)
		rs->settle_wait = SETTLE_FIRST;
	else if (now < rs->settle_at && rs->settle_at <= now + SETTLE_MAX)
		return;
	else if (journals_settle(s, now) < JOURNAL_STUCK)
		rs->settle_wait = 0;
	else if (rs->settle_wait < SETTLE_MAX)
		rs->settle_wait *= 2;
	rs->settle_at = rs->settle_wait ? now + rs->settle_wait : 0;
	EACH(rs, r)
	{
		r->more = true;
		route_due(r);
	}
}

void routes_work(struct routes *rs, struct sched *s, int64_t now)
{
	struct route *r;

	drop_gone(rs);
	settle(rs, s, now);
	if (rs->left_over && rs->n == rs->live && *s->replayed < JOURNAL_STUCK)
		take_over(rs, s);
	reader_begins(rs);
	EACH(rs, r)
	route_work(r, s, now);
	look_for_links(rs);
}

void routes_news(struct routes *rs)
{
	route_news(rs->reader);
}

bool routes_try_now(struct routes *rs, struct str route, int64_t now, bool all)
{
	struct route *r;

	if (route.n && !by_name(rs, route))
		return false;
	EACH(rs, r)
	if (!r->gone &&
	    (route.n == 0 || r == rs->router || str_eq(str_z(r->queue.route), route)))
		route_try_now(r, now, all);
	return true;
}

void routes_asked(struct routes *rs, int64_t now, bool root)
{
	for (size_t i = 0; i < rs->live; i++)
		if (rs->v[i]->host && rs->v[i]->host->hold)
			route_asked(rs->v[i], now, root);
}

void routes_due(struct routes *rs)
{
	struct route *r;

	EACH(rs, r)
	route_due(r);
}

int64_t routes_next(struct routes *rs, int64_t now)
{
	int64_t next = rs->settle_at > now ? rs->settle_at : rs->settle_at ? now + 1 : -1;
	struct route *r;

	EACH(rs, r)
	{
		int64_t at = r->gone ? -1 : route_next(r, now);

		if (at >= 0 && (next < 0 || at < next))
			next = at;
	}
	return next;
}

void routes_stop(struct routes *rs)
{
	struct route *r;

	EACH(rs, r)
	if (r->sock >= 0) {
		route_tell(r, false);
		/* A push that waits for a host is not listening; this it sees. It still says
		 * what came of what it had in the air. */
		(void)shutdown(r->sock, SHUT_WR);
	}
}

bool routes_at_work(const struct routes *rs)
{
	struct route *r;

	EACH(rs, r)
	if (r->sock >= 0)
		return true;
	return false;
}

size_t routes_polls_max(const struct routes *rs)
{
	return rs->n + 2;
}

size_t routes_polls(const struct routes *rs, struct pollfd *p)
{
	struct route *r;
	size_t n = 0;

	EACH(rs, r)
	if (r->sock >= 0)
		p[n++] = (struct pollfd){ .fd = r->sock,
			                  .events = r->full ? POLLIN | POLLOUT : POLLIN };
	if (links_listens(&rs->links))
		p[n++] = (struct pollfd){ .fd = rs->links.fd, .events = POLLIN };
	return n;
}

void routes_hear(struct routes *rs, struct sched *s, const struct pollfd *p, size_t n,
                 int64_t now)
{
	struct route *r;

	if (n && p[n - 1].revents && p[n - 1].fd == rs->links.fd)
		links_hear(&rs->links, clock_ms());
	EACH(rs, r)
	for (size_t i = 0; i < n; i++)
		if (p[i].revents && r->sock >= 0 && p[i].fd == r->sock) {
			if (p[i].revents & POLLOUT) {
				r->full = false;
				/* It has taken something, which is a sign of life, too. */
				r->heard = clock_ms();
				r->silent = 0;
			}
			route_hear(r, s, now);
			break;
		}
}

void routes_hear_all(struct routes *rs, const struct sched *s, int64_t now)
{
	struct route *r;

	EACH(rs, r)
	if (r->sock >= 0)
		route_hear(r, s, now);
}

unsigned routes_removed(const struct routes *rs)
{
	struct route *r;
	unsigned n = 0;

	EACH(rs, r)
	n += r->queue.removed;
	return n;
}

unsigned long routes_removed_ever(const struct routes *rs)
{
	struct route *r;
	unsigned long n = rs->removed;

	EACH(rs, r)
	n += r->removed;
	return n;
}

int routes_sync(struct routes *rs)
{
	struct route *r;
	int e = 0;

	EACH(rs, r)
	{
		int one = queue_sync(&r->queue);

		e = one < 0 ? one : e;
	}
	return e;
}

/* ---- For people ---- */

bool routes_quiet(struct routes *rs)
{
	struct route *r;
	bool quiet = rs->n == rs->live && !rs->left_over && !rs->last_reader;

	EACH(rs, r)
	{
		if (!route_is_quiet(r))
			quiet = false;
		else if (r->pid && !r->stopping) {
			route_tell(r, false);
			r->stopping = true;
		}
		quiet = quiet && r->pid == 0;
	}
	return quiet;
}

void routes_words(const struct routes *rs, bool admin, struct buf *b)
{
	if (rs->router)
		route_words(rs->router, admin, b);
	for (size_t i = 0; i < rs->live; i++)
		route_words(rs->v[i], admin, b);
}

bool routes_in_hand(struct routes *rs, const struct id *id, enum verb v, uid_t by)
{
	struct route *r;

	EACH(rs, r)
	if (route_in_hand(r, id, v, by))
		return true;
	return false;
}

void routes_trouble(const struct routes *rs, size_t max, size_t octets, struct buf *b)
{
	size_t lines = 0;

	for (size_t i = 0; i <= rs->live && lines < max; i++) {
		const struct route *r = i ? rs->v[i - 1] : rs->router;
		_cleanup_buf_ struct buf one = BUF_INIT;

		if (r)
			route_trouble(r, &one);
		if (!one.n)
			continue;
		buf_escape_rest(b, buf_view(&one), octets);
		buf_c(b, '\n');
		lines++;
	}
}

void routes_state_print(const struct routes *rs, struct buf *b)
{
	if (rs->router)
		route_state_print(rs->router, b);
	for (size_t i = 0; i < rs->live; i++)
		route_state_print(rs->v[i], b);
}

size_t routes_down(const struct routes *rs)
{
	size_t n = rs->router && rs->router->state == ROUTE_DOWN;

	for (size_t i = 0; i < rs->live; i++)
		n += rs->v[i]->state == ROUTE_DOWN;
	return n;
}

void routes_state_take(struct routes *rs, struct str line, int64_t now)
{
	for (size_t i = 0; i < rs->live; i++)
		route_state_take(rs->v[i], line, now);
}

void routes_state_taken(struct routes *rs, int64_t now)
{
	for (size_t i = 0; i < rs->live; i++)
		route_state_taken(rs->v[i], now);
}

struct route *routes_placed(void *routes, struct str name)
{
	struct routes *rs = routes;
	struct route *r = by_name(rs, name);

	return r ? r : rs->v[0];
}

bool routes_journal(void *routes, const struct id *journal)
{
	const struct routes *rs = routes;
	struct route *r;

	EACH(rs, r)
	if (r->pid && id_cmp(&r->journal, journal) == 0)
		return true;
	return false;
}
