/*
 * sched.h - one route at work: which messages go to push when, and what comes of them
 *
 * Program code: logs. Everything push says is taken as possibly hostile: a record can
 * only concern a job that is in its hand.
 */
#ifndef PROG_SCHED_H
#define PROG_SCHED_H

#include "conf/conf.h"
#include "prog/breaker.h"
#include "prog/job.h"
#include "spool/queue.h"

enum { ROUTE_JOBS_MAX = 32 };

enum route_state {
	ROUTE_READY, /* no push; started when something is due */
	ROUTE_AT_WORK,
	ROUTE_DOWN, /* until next_try nothing of it is read */
};

/* A message in push's hand, and what was said of it so far. */
struct job {
	struct place place;
	bool used, noted;
	bool no_room;     /* for its note: to be applied again */
	bool plan;        /* lines begin a new note */
	struct buf lines; /* for the note */
	int dsn;          /* a drop, or -1 */
	unsigned dsn_n;   /* it is the n-th message derived from this one */
};

struct route {
	struct queue queue;
	const struct smarthost *host;
	enum route_state state;
	/* the run */
	pid_t pid;
	int sock;
	struct id journal;
	bool stopping; /* asked to leave: no more jobs */
	bool renamed;  /* the queue's folder changes when no push is at work */
	struct job job[ROUTE_JOBS_MAX];
	unsigned in_hand, settled, window;
	/* trouble; times are seconds of the real clock */
	int64_t down_since, next_try, last_try;
	unsigned step, crashes;
	struct breaker breaker;
	struct buf why; /* "stage code text" of the last host verdict */
};

/* What all routes share. */
struct sched {
	struct spool *spool;
	const char *libexec; /* folder of mailchute-push */
	struct str packed;   /* configuration for push */
	bool leaving;        /* no new jobs: mailchuted is about to end */
};

/* Opens the route's queue. 0 or -errno. */
int route_open(struct route *r, const struct sched *s, const struct smarthost *h);
void route_close(struct route *r);
/* Hands out what is due, starting push where there is need. Call after anything changed.
 */
void route_work(struct route *r, const struct sched *s, int64_t now);
/* Reads everything push has said, until it would block; handles its end. */
void route_hear(struct route *r, const struct sched *s, int64_t now);
/* New messages are in queue/new. */
void route_news(struct route *r);
/* Try now: all: also what is not due (root's SIGHUP); a poke of anybody (all false) is
 * heard at most once a minute. */
void route_try_now(struct route *r, int64_t now, bool all);
/* The new configuration holds for the next push; the one at work finishes what it has. */
void route_reload(struct route *r, const struct smarthost *h, int64_t now);
/* When route_work() must be called next (seconds, real clock), or -1. */
int64_t route_next(struct route *r, int64_t now);
/* The time of something that waited has come. */
void route_due(struct route *r);
/* The route's line of the state file; and taking it back. */
void route_state_print(const struct route *r, struct buf *b);
void route_state_take(struct route *r, struct str line, int64_t now);

#endif
