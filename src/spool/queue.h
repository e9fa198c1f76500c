/*
 * queue.h - the messages of one route, read through a small window
 *
 * queue/new/<id> holds what was adopted and not yet tried, queue/<route>/<due>/<id> what
 * waits for its time; <due> is %08x of the due time / 64 s, rounded up. Memory does not
 * depend on how many messages there are: names are read a window at a time, and a route
 * that is down is not read at all.
 */
#ifndef SPOOL_QUEUE_H
#define SPOOL_QUEUE_H

#include "spool/spool.h"

enum {
	QUEUE_BUCKET_SECONDS = 64,
	QUEUE_LOOK_AGAIN = 10,
	QUEUE_WINDOW = 256,
	QUEUE_ROUTE_MAX = 64
};

/* Where a message stands. due 0: queue/new. */
struct place {
	struct id id;
	uint32_t due;
};

struct queue_source;
struct queue {
	struct spool *s;
	char route[QUEUE_ROUTE_MAX + 1];
	int dir;                          /* queue/<route> */
	struct queue_source *fresh, *due; /* the two windows; NULL when closed */
	uint32_t bucket;                  /* that due reads; 0: none yet in this pass */
	bool all;      /* this pass takes buckets of the future too, latest first */
	bool due_done; /* nothing due any more in this pass */
	bool news;     /* queue/new is to be read once more */
	bool turn;
	unsigned removed;  /* names removed since the last sync */
	uint32_t dirty[8]; /* buckets to sync; dirty_all when more */
	unsigned dirty_n;
	bool dirty_new, dirty_all;
};

/* Opens (and makes, durably) queue/<route>. 0 or -errno. */
int queue_open(struct queue *q, struct spool *s, const char *route);
void queue_close(struct queue *q);
/* Takes over what waits in the folders of routes that are not configured (any more): their
 * buckets become q's. Durable on return. Returns how many routes there were, or -errno. */
int queue_inherit(struct queue *q);
/* Begins a pass: everything is looked at afresh. all: also what is not due yet. */
void queue_rewind(struct queue *q, bool all);
/* Something came into queue/new: the pass goes on with it. */
void queue_news(struct queue *q);
/* The next message of this pass, oldest bucket first, by age within the window; new ones
 * and due ones in turn. longest: seconds; a due time further ahead than that is
 * due now (the clock was wrong). A name may come twice; the caller passes over what it
 * has in hand. False: nothing more is due now. */
bool queue_next(struct queue *q, int64_t now, int64_t longest, struct place *ret);
/* When the next bucket falls due (seconds, real clock), or -1: nothing waits. One that fell
 * due after this pass had looked is due QUEUE_LOOK_AGAIN seconds from now. */
int64_t queue_next_due(struct queue *q, int64_t now, int64_t longest);
/* Gives back the memory of the windows. */
void queue_idle(struct queue *q);

/* Opens a message, and its note (*ret_note -1: it has none). 0, -ENOENT: gone, -errno. */
int queue_get(struct queue *q, const struct place *p, int *ret_fd, int *ret_note);
/* Removes a message and (noted) its note; durable after queue_sync(). */
int queue_remove(struct queue *q, const struct place *p, bool noted);
/* Moves a message to the bucket of a due time; durable on return. In an `all` pass never
 * to one that this pass still comes to. */
int queue_defer(struct queue *q, struct place *p, int64_t due);
/* Moves a message, and its note as <id>.note, to hold/ or bad/ (a descriptor of spool's);
 * durable on return. */
int queue_put_aside(struct queue *q, const struct place *p, int dir);
/* Makes removals durable. */
int queue_sync(struct queue *q);
/* Is there anything in the route's folders or queue/new? */
bool queue_empty(struct queue *q);

#endif
