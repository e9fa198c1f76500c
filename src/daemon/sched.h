/*
 * sched.h - one route at work: which messages go to push when, and what comes of them
 *
 * Program code: logs. Everything push says is taken as possibly hostile: a record can
 * only concern a job that is in its hand.
 */
#ifndef DAEMON_SCHED_H
#define DAEMON_SCHED_H

#include "conf/conf.h"
#include "daemon/breaker.h"
#include "daemon/budget.h"
#include "daemon/jobs.h"
#include "mail/alias.h"
#include "prog/job.h"

enum { ROUTE_JOBS_MAX = JOBS_MAX, ROUTE_PARTS_MAX = 1000 };

enum route_state {
	ROUTE_READY, /* no push; started when something is due */
	ROUTE_AT_WORK,
	ROUTE_DOWN, /* until next_try nothing of it is read */
};

/* Why nothing is handed out, with the host up. */
enum route_wait {
	WAIT_NONE,
	WAIT_HOLD, /* for somebody to ask */
	WAIT_SLOW, /* the host throttles */
	WAIT_RATE, /* a budget is used up */
};

struct outbox; /* deal.h */

struct route {
	struct queue queue;
	const struct smarthost *host; /* NULL: the router, or gone */
	bool gone;                    /* the configuration has it no more */
	enum route_state state;
	/* the run */
	pid_t pid;
	int sock;
	struct id journal;
	int list;          /* of what push was given (journal.h), or -1 */
	struct buf listed; /* its lines that are not written yet */
	bool stopping;     /* asked to leave: no more jobs */
	bool reached;      /* a session with the host was ready in this run */
	bool more;         /* the pass has passed what was put here meanwhile */
	bool idle;         /* the pass found nothing more that is due */
	bool put_off;      /* the host was given up: messages went behind all others */
	struct jobs jobs;
	struct outbox *out; /* what the socket had no room for; NULL: no run */
	const char *tell;   /* "stop\n", "halt\n": the same */
	struct buf packet;  /* room for what it says */
	bool full;          /* the socket is; until it can be written to */
	int64_t crowded;    /* real seconds: too many descriptors until then; 0: not */
	int64_t heard;      /* monotonic ms: push's last sign of life, or its begin */
	int64_t patience;   /* ms that it may say nothing, but for large messages */
	int64_t silent;     /* the same clock: when that was found to be over; 0: not */
	bool hung;          /* it was ended for that */
	unsigned settled, window;
	unsigned long removed; /* messages that were done with, ever */
	/* trouble; times are seconds of the real clock */
	int64_t down_since, next_try, last_try;
	unsigned step, crashes;
	struct breaker breaker;
	struct buf why; /* "stage code text" of the last host verdict */
	/* what else is known of the host */
	struct buf learned, ticket; /* push's; opaque */
	int64_t slow_until;
	struct budget budget;
	bool asked;          /* somebody asked for what is on hold */
	int64_t asked_until; /* monotonic ms: then no more if it cannot be reached */
	int64_t ask_at; /* asked too soon, which is carried out then (real s); 0: not */
	enum route_wait wait, besides; /* besides: what WAIT_HOLD hides */
	int64_t wait_until;            /* WAIT_SLOW, WAIT_RATE */
	struct conf_rate rate;         /* WAIT_RATE: the one that is used up */
};

/* Down or not, it waits for somebody to ask. */
static inline bool route_on_hold(const struct route *r)
{
	return r->host && r->host->hold && !r->asked;
}

/* Also one that the configuration has no more. No smart host can have that name. */
static inline bool route_is_router(const struct route *r)
{
	return !r->host && str_eq(str_z(r->queue.route), STR("new"));
}

/* Of route.why: could the host not be reached? */
static inline bool route_unreached(struct str why)
{
	return str_starts(why, STR("connect "));
}

/* What came of a journal, or of several. */
enum journal_result {
	JOURNAL_DONE,
	/* All is applied, but may not outlast a power cut: the next start applies it again. A sync
	 * that succeeds after one that failed would prove nothing: the kernel forgets. */
	JOURNAL_KEPT,
	/* For some messages the spool failed: the journal must be kept, and be applied before they
	 * are sent again, or recipients get them twice. */
	JOURNAL_STUCK,
	JOURNAL_UNREAD, /* the same; which ones, nobody knows */
};

/* What all routes share. */
struct sched {
	struct spool *spool;
	const char *libexec;    /* folder of mailchute-push */
	struct str packed;      /* configuration for push */
	struct alias_here here; /* of it: this machine's names */
	unsigned jobs_max;      /* of one push, as descriptors allow; 0: JOBS_MAX */
	bool leaving;           /* no new jobs: mailchuted is about to end */
	/* Messages of which a journal has more to say than could be applied: not to be sent. */
	struct jobs *stuck;
	enum journal_result *replayed; /* what came of the journals that are kept */
	/* The route of that name, or the default one. */
	struct route *(*placed)(void *routes, struct str name);
	/* Is this the journal of a push at work? */
	bool (*at_work)(void *routes, const struct id *journal);
	void *routes;
	/* A message came into the queue (sign 1) or left it (-1). */
	void (*count)(void *arg, uid_t uid, int64_t octets, int sign);
	/* Something is in queue/new. */
	void (*news)(void *arg);
	void *arg;
};

/* Opens the route's queue. h NULL: the router. reads: see queue.h. 0 or -errno. */
int route_open(struct route *r, const struct sched *s, const struct smarthost *h,
               unsigned reads);
void route_close(struct route *r);
/* Hands out what is due, starting push where there is need. Call after anything changed.
 */
void route_work(struct route *r, const struct sched *s, int64_t now);
/* Reads what push has said, for a while or until it would block; handles its end. */
void route_hear(struct route *r, const struct sched *s, int64_t now);
/* New messages are in queue/new. */
void route_news(struct route *r);
/* Try now: all: also what is not due (root's SIGHUP); a poke of anybody (all false) is
 * carried out at most once a minute, and kept in mind until then. Either is what a route on hold
 * waits for. */
void route_try_now(struct route *r, int64_t now, bool all);
/* Somebody asked for one message: a poke as above; root's is heard however often. Who refuses our
 * login, or all we send, is not tried for that. */
void route_asked(struct route *r, int64_t now, bool root);
/* The new configuration holds for the next push; the one at work finishes what it has. h:
 * the smart host of the same name; NULL for the router. */
void route_reload(struct route *r, const struct smarthost *h, int64_t now);
/* Asks push to leave when it has settled what is in its hand, at once if no host has let it in:
 * the configuration that it has is not in force any more. */
void route_leave(struct route *r);
/* deal.c: asks push to leave when it has settled what is in its hand; halt: to leave that, too. */
void route_tell(struct route *r, bool halt);
/* Ends a push that has said nothing for longer than a session may last; now in monotonic ms.
 * When to look again (the same clock), or -1. */
int64_t route_watch(struct route *r, int64_t now);
/* When route_work() must be called next (seconds, real clock), or -1. */
int64_t route_next(struct route *r, int64_t now);
/* The time of something that waited has come. */
void route_due(struct route *r);
/* Has everything been tried that can be tried now? (Its push may linger.) */
bool route_is_quiet(const struct route *r);
/* waits.c: the network has changed: a host that could not be reached is tried now. */
void route_reach(struct route *r);
/* Is it down because the host could not be reached? */
bool route_is_cut_off(const struct route *r);
/* Appends a clause when it is down: "; isp: connect: connection refused", or waits while it has
 * mail that could go: "; isp: rate 30/1m is used up". The host's words may name the account:
 * others than administrators get the stage and the code. */
void route_words(const struct route *r, bool admin, struct buf *b);
/* The same for an administrator, without "; ", and also while a host that was down is being
 * tried again, which may take minutes. */
void route_trouble(const struct route *r, struct buf *b);
/* Is this message in its push's hand? Then v, which by asks for, is remembered (retry is
 * not; release makes it forgotten). */
bool route_in_hand(struct route *r, const struct id *id, enum verb v, uid_t by);
/* waits.c: the route's lines of the state file (of the router what mailq says); and taking one
 * back, which is what was written before a restart, or anything. */
void route_state_print(const struct route *r, struct buf *b);
void route_state_take(struct route *r, struct str line, int64_t now);
/* All of that was taken, mailchuted begins: what is down is tried at once, but not sooner than a
 * minute after the last try. */
void route_state_taken(struct route *r, int64_t now);
/* The same of what push says ("learned", "ticket"): false: it is not what it may be. */
bool route_learn(struct buf *b, struct str text, size_t max);

/* The longest wait of a route that is down, in seconds. */
enum { ROUTE_DOWN_MAX = 3600 };

#endif
