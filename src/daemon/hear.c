#include "daemon/hear.h"
#include "base/io.h"
#include "base/log.h"
#include "daemon/apply.h"
#include "daemon/deal.h"
#include <unistd.h>

enum { RUN_MAX = 100000 /* messages settled in a run: its journal grows with them */ };

/* Values are escaped already; a push that was taken over gets no control bytes in. */
void hear_clean(struct buf *b, struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		buf_c(b, (unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f
		             ? '?'
		             : text.p[i]);
}

static void route_up(struct route *r, const struct sched *s, struct str facts)
{
	_cleanup_buf_ struct buf clean = BUF_INIT;

	hear_clean(&clean, facts);
	log_line(r->step ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "host-up route=%s %s",
	         r->queue.route, clean.n ? clean.p : "");
	r->reached = true;
	deal_up(r, s);
	buf_reset(&r->why);
}

/* Did this outcome show that the host takes mail? Not one in doubt, nor one put aside. */
static bool tells_of_host(const struct route *r, const struct job *j,
                          const struct job_record *rec)
{
	/* Also of a host that was given up messages come to an end. */
	if (r->host && !r->reached)
		return false;
	return !str_eq(rec->verb, STR("end")) || !str_starts(rec->rest, STR("later")) ||
	       (j->lines.n && !job_in_doubt(j));
}

static void job_settled(struct route *r, const struct sched *s, struct job *j,
                        const struct job_record *rec)
{
	struct id id = j->place.id;
	enum verb wish = j->left ? VERB_NONE : j->wish;
	uid_t by = j->wish_by;
	_cleanup_buf_ struct buf words = BUF_INIT;
	const struct verb_ops ops = { .gone = NULL };

	if (tells_of_host(r, j, rec) && !r->breaker.open)
		r->step = 0;
	if (j->left && s->count)
		s->count(s->arg, j->uid, j->size, -1);
	r->removed += j->left;
	if (wish == VERB_DELETE && s->count)
		s->count(s->arg, j->uid, j->size, -1);
	r->put_off |= j->put_off;
	jobs_drop(&r->jobs, j);
	if (wish)
		verb_do(s->spool, &ops, wish, by, &id, &words);
	r->settled++;
	r->crashes = 0;
	deal_settled(r, s);
	/* Another one has a journal of its own, and reads the aliases anew. */
	if (r->settled >= RUN_MAX && !r->stopping) {
		route_tell(r, false);
		r->stopping = true;
	}
}

static void log_of_push(struct str rest)
{
	_cleanup_buf_ struct buf clean = BUF_INIT;
	enum log_level level = LOG_LEVEL_INFO;
	struct str letter = STR("");

	str_cut(&rest, ' ', &letter);
	if (str_eq(letter, STR("a")))
		level = LOG_LEVEL_ALERT;
	else if (str_eq(letter, STR("w")))
		level = LOG_LEVEL_WARNING;
	else if (str_eq(letter, STR("d")))
		level = LOG_LEVEL_DEBUG;
	hear_clean(&clean, rest);
	if (clean.n)
		log_line(level, "%s", clean.p);
}

static void accepted(struct route *r, int64_t now)
{
	if (!breaker_accepted(&r->breaker, now))
		return;
	r->step = 0;
	r->window = DEAL_FIRST;
	log_line(LOG_LEVEL_INFO, "route-fault-over route=%s", r->queue.route);
}

/* A refusal that any message could have got. */
static void refused(struct route *r, const struct job_record *rec, int64_t now)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	bool probe = r->breaker.open;

	if (breaker_refused(&r->breaker, &rec->id, rec->rest)) {
		log_text(&text, "text", rec->rest);
		log_line(LOG_LEVEL_ALERT, "route-fault route=%s refused=%d%s",
		         r->queue.route, BREAKER_RUN, text.n ? text.p : "");
	}
	if (!r->breaker.open || r->state == ROUTE_DOWN)
		return;
	/* Its outcome comes with the next record; what else push has in hand it leaves. */
	if (!probe)
		r->step = 0;
	route_down(r, rec->rest, now);
	r->window = 1;
	route_tell(r, true);
}

/* The router has said where a message goes. */
static void job_placed(const struct sched *s, struct job *j, const struct job_record *rec)
{
	struct str rest = rec->rest, what = STR("");
	struct route *to;

	str_cut(&rest, ' ', &what);
	if (!str_eq(rec->verb, STR("end")) || !str_eq(what, STR("route")) || !s->placed)
		return;
	to = s->placed(s->routes, rest);
	j->target = to->queue.route;
	to->more = true;
	route_due(to);
}

/* What a try led to besides: messages that are new in the queue. */
static void job_brought(struct route *r, const struct sched *s, const struct job *j)
{
	if (j->dsn < 0 && j->parts == 0)
		return;
	route_news(r);
	if (s->news)
		s->news(s->arg);
	if (j->dsn >= 0 && s->count)
		s->count(s->arg, geteuid(), 0, 1);
	for (unsigned i = 0; i < j->parts && s->count; i++)
		s->count(s->arg, j->uid, j->size, 1);
}

/* job_take(), within what all jobs together may say. What is beyond is in the journal, which is
 * applied a message at a time. */
static bool take(struct jobs *h, struct job *j, const struct job_record *rec, int *fd)
{
	size_t before = j->lines.n;
	bool ends;

	j->cut |= h->lines > JOBS_LINES_MAX;
	ends = job_take(j, rec, fd);
	j->said += j->lines.n - before;
	h->lines += j->lines.n - before;
	return ends;
}

/* What a message that did not simply go has cost: the recipients that the host said something
 * to, or all of them when its last word was lost. */
static void spent(struct route *r, const struct job *j, int64_t now)
{
	struct str rest = buf_view(&j->lines), line, f[4];
	int64_t accepted = 0, refused = 0, all = j->rcpts > 1 ? j->rcpts : 1;
	uint64_t code;

	if (r->budget.rows == 0)
		return;
	while (rest.n && str_cut(&rest, '\n', &line)) {
		if (!str_starts(line, STR("r ")))
			continue;
		line = str_from(line, 2);
		for (size_t i = 0; i < ARRAY_LEN(f); i++)
			if (!str_cut(&line, ' ', &f[i]))
				f[i] = STR("");
		if (!str_u64(f[3], &code) || code == 0)
			continue;
		accepted += str_eq(f[1], STR("D"));
		refused += !str_eq(f[1], STR("D"));
	}
	if (job_in_doubt(j) && all > accepted + refused)
		refused = all - accepted;
	budget_tried(&r->budget, now, accepted, refused);
}

static void hear_of_job(struct route *r, const struct sched *s, struct job *j,
                        const struct job_record *rec, int *fd, int64_t now)
{
	if (str_eq(rec->verb, STR("refused")))
		refused(r, rec, now);
	if (str_eq(rec->verb, STR("ok"))) {
		accepted(r, now);
		budget_tried(&r->budget, now, j->rcpts > 1 ? j->rcpts : 1, 0);
	}
	if (str_eq(rec->verb, STR("part")) && route_is_router(r))
		job_part(j, s->spool, rec, *fd);
	if (!r->host && !r->gone)
		job_placed(s, j, rec);
	if (!take(&r->jobs, j, rec, fd))
		return;
	if (str_eq(rec->verb, STR("end")))
		spent(r, j, now);
	if (!job_apply(j, &r->queue, s->spool, rec, now))
		return;
	job_brought(r, s, j);
	job_settled(r, s, j, rec);
}

/* The host throttles. */
static void slowed(struct route *r, struct str text, int64_t now)
{
	uint64_t seconds;

	if (!str_u64(text, &seconds) || seconds == 0)
		return;
	seconds = seconds < JOB_SLOW_MAX ? seconds : JOB_SLOW_MAX;
	if (r->slow_until <= now)
		log_line(LOG_LEVEL_INFO, "host-slow route=%s next=%llus", r->queue.route,
		         (unsigned long long)seconds);
	r->slow_until = now + (int64_t)seconds;
}

static void took(struct route *r, struct str text, int64_t now)
{
	struct str messages = STR("");
	uint64_t m, n;

	if (str_cut(&text, ' ', &messages) && str_u64(messages, &m) && str_u64(text, &n))
		budget_took(&r->budget, now, m, n);
}

/* What concerns no message but the host. False: no such record. */
static bool hear_of_host(struct route *r, const struct sched *s,
                         const struct job_record *rec, int64_t now)
{
	if (str_eq(rec->verb, STR("log")))
		log_of_push(rec->rest);
	else if (str_eq(rec->verb, STR("up")))
		route_up(r, s, rec->rest);
	else if (str_eq(rec->verb, STR("host")))
		route_down(r, rec->rest, now);
	else if (str_eq(rec->verb, STR("good")))
		accepted(r, now);
	else if (str_eq(rec->verb, STR("learned")))
		route_learn(&r->learned, rec->rest, JOB_LEARNED_MAX);
	else if (str_eq(rec->verb, STR("ticket")))
		route_learn(&r->ticket, rec->rest, JOB_TICKET_MAX);
	else if (str_eq(rec->verb, STR("slow")))
		slowed(r, rec->rest, now);
	else if (str_eq(rec->verb, STR("took")))
		took(r, rec->rest, now);
	else
		return false;
	return true;
}

static void hear_line(struct route *r, const struct sched *s, struct str line, int *fd,
                      int64_t now)
{
	struct job_record rec;
	struct job *j;

	if (!job_parse(line, &rec)) {
		log_line(LOG_LEVEL_ALERT, "push-protocol route=%s", r->queue.route);
		return;
	}
	if (hear_of_host(r, s, &rec, now))
		return;
	j = jobs_find_place(&r->jobs, &rec.id, rec.due);
	if (j)
		hear_of_job(r, s, j, &rec, fd, now);
}

void hear_packet(struct route *r, const struct sched *s, struct str rest, int *fd,
                 int64_t now)
{
	struct str line;

	while (rest.n && str_cut(&rest, '\n', &line))
		if (line.n)
			hear_line(r, s, line, fd, now);
}
