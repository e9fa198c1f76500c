#include "daemon/answers.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/apply.h"
#include "prog/who.h"

/* What somebody does with one message: then the dial-up line is wanted, too. */
static void news(void *arg, uid_t by)
{
	struct answers *a = arg;

	routes_asked(a->routes, clock_real(), by == 0);
	routes_news(a->routes);
}

static void gone(void *arg, uid_t uid, int64_t octets)
{
	const struct answers *a = arg;

	intake_count(a->intake, uid, octets, -1);
}

static void back(void *arg, uid_t uid, int64_t octets)
{
	const struct answers *a = arg;

	intake_count(a->intake, uid, octets, 1);
}

static int64_t listener(void *arg)
{
	const struct answers *a = arg;

	return a->conf->listener_uid;
}

static bool may(void *arg, uid_t uid, int64_t *ret_max, struct buf *ret_words)
{
	struct answers *a = arg;

	*ret_max = a->conf->max_message_size ? a->conf->max_message_size : INT64_MAX;
	if (!intake_may(a->intake, uid, ret_words))
		return false;
	if (intake_room(a->intake, uid, 0))
		return true;
	buf_z(ret_words, "the spool's disk is nearly full (min-free)");
	return false;
}

static void submitted(void *arg, const struct id *id, uid_t uid, struct str login,
                      int64_t size)
{
	struct answers *a = arg;
	_cleanup_buf_ struct buf line = BUF_INIT;

	log_value(&line, "login", login);
	intake_client(a->intake, id, uid, &line);
	log_line(LOG_LEVEL_INFO, "adopted id=%s uid=%u%s size=%lld drop=socket", id->c,
	         (unsigned)uid, line.n ? line.p : "", (long long)size);
	a->intake->adopted++;
	intake_count(a->intake, uid, size, 1);
	routes_news(a->routes);
}

static bool flush(void *arg, uid_t uid, struct str route, struct buf *ret_words)
{
	struct answers *a = arg;

	if (!routes_try_now(a->routes, route, clock_real(), uid == 0)) {
		buf_z(ret_words, "there is no such route");
		return false;
	}
	if (!desk_flushing(a->desk))
		a->flush_from = routes_removed_ever(a->routes);
	intake_poke(a->intake);
	return true;
}

static bool in_hand(void *arg, const struct id *id, enum verb v, uid_t by)
{
	struct answers *a = arg;

	return routes_in_hand(a->routes, id, v, by);
}

static bool settle(void *arg)
{
	struct answers *a = arg;

	return journals_settle(a->sched, clock_real()) < JOURNAL_STUCK;
}

void answers_flush(struct answers *a)
{
	_cleanup_buf_ struct buf words = BUF_INIT, others = BUF_INIT;

	if (!desk_flushing(a->desk) || (a->intake->scan && !a->intake->stopped) ||
	    !routes_quiet(a->routes))
		return;
	buf_fmt(&words, "%lu done with", routes_removed_ever(a->routes) - a->flush_from);
	if (a->intake->stopped)
		buf_z(&words, "; what was dropped cannot be taken in at present");
	buf_str(&others, buf_view(&words));
	routes_words(a->routes, true, &words);
	routes_words(a->routes, false, &others);
	desk_answer(a->desk, buf_view(&words), buf_view(&others));
}

void answers_open(struct answers *a, const char *socket, const char *libexec)
{
	int e = 0;

	a->ops = (struct desk_ops){ .who = who_op,
		                    .groups = who_op_groups,
		                    .listener = listener,
		                    .may = may,
		                    .submitted = submitted,
		                    .flush = flush,
		                    .verbs = { .in_hand = in_hand,
		                               .settle = settle,
		                               .news = news,
		                               .gone = gone,
		                               .back = back,
		                               .arg = a },
		                    .arg = a };
	a->desk = desk_open(socket, a->intake->spool, libexec, &a->ops, &e);
	if (!a->desk)
		log_line(LOG_LEVEL_WARNING,
		         "no-socket path=%s why=\"%s; mailq, and programs that may not "
		         "write to the spool, do without\"",
		         socket, strerror(e < 0 ? -e : e));
}

void answers_close(struct answers *a)
{
	desk_close(a->desk);
	a->desk = NULL;
}
