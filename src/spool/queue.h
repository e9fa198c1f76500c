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

#include "mail/envelope.h"
#include "spool/dir.h"
#include "spool/spool.h"

enum {
	QUEUE_BUCKET_SECONDS = 64,
	QUEUE_LOOK_AGAIN = 10,
	QUEUE_WINDOW = DIR_WINDOW,
	QUEUE_ROUTE_MAX = 64
};
/* From this bucket on: what was put off only because of the host. So far ahead that it is
 * always due, and behind all others: when the host is back it goes at once. */
#define QUEUE_PUT_OFF UINT32_C(0x80000000)

/* Where a message stands. due 0: queue/new. */
struct place {
	struct id id;
	uint32_t due;
};

struct queue {
	struct spool *s;
	char route[QUEUE_ROUTE_MAX + 1];
	unsigned reads;             /* QUEUE_READS_ bits */
	int dir;                    /* queue/<route> */
	struct window *fresh, *due; /* NULL when closed */
	uint32_t bucket;            /* that due reads; 0: none yet in this pass */
	bool all;         /* this pass takes buckets of the future too, latest first */
	bool due_done;    /* nothing due any more in this pass */
	bool news;        /* what came meanwhile is to be looked for once more */
	bool failed;      /* a folder could not be read in this pass ... */
	int64_t again_at; /* ... so another one is due then; 0: that is not decided yet */
	bool turn;
	bool next_known; /* next_at holds until a bucket is added */
	int64_t next_at;
	unsigned removed;  /* names removed since the last sync */
	uint32_t dirty[8]; /* buckets to sync; dirty_all when more */
	unsigned dirty_n;
	bool dirty_new, dirty_all;
	bool unsynced; /* a queue_sync() failed since the caller made this false */
};

/* What a queue reads: the only route of all reads both; with several, queue/new belongs to
 * the router, whose route is called "new" and has no buckets. */
enum { QUEUE_READS_NEW = 1, QUEUE_READS_DUE = 2 };

/* Opens (and makes, durably) queue/<route>. reads: what passes look at; 0: there are no
 * passes, it is only to move messages. 0 or -errno. */
int queue_open(struct queue *q, struct spool *s, const char *route, unsigned reads);
void queue_close(struct queue *q);
/* Takes over what waits in the folders of routes that are not configured (any more): their
 * buckets become q's. Durable on return. Returns how many routes there were, or -errno. */
int queue_inherit(struct queue *q);
/* The same with several routes: what waits in folders that known() does not know goes back
 * to queue/new, one by one; its notes stay. Takes a window of names at a time. Killed in
 * between, the rest is where it was. Durable on return. How many routes there were, or
 * -errno. */
int queue_disown(struct spool *s, bool (*known)(void *arg, const char *route), void *arg);
/* Begins a pass: everything is looked at afresh. all: also what is not due yet. */
void queue_rewind(struct queue *q, bool all);
/* Something came into queue/new: the pass goes on with it. A queue that does not read
 * queue/new: something was routed here: what is due is looked at once more, and an `all`
 * pass that is at its end becomes a usual one. */
void queue_news(struct queue *q);
/* The next message of this pass, oldest bucket first, by age within the window; new ones
 * and due ones in turn. longest: seconds; a due time further ahead than that is
 * due now (the clock was wrong). A name may come twice; the caller passes over what it
 * has in hand. False: nothing more is due now. */
bool queue_next(struct queue *q, int64_t now, int64_t longest, struct place *ret);
/* When the next bucket falls due (seconds, real clock), or -1: nothing waits. One that fell
 * due after this pass had looked is due QUEUE_LOOK_AGAIN seconds from now, and so is
 * everything when a folder could not be read (EMFILE). */
int64_t queue_next_due(struct queue *q, int64_t now, int64_t longest);
/* Messages were put into its buckets by other means than this queue: forgets what
 * queue_next_due() remembers. */
void queue_changed(struct queue *q);
/* Gives back the memory of the windows. */
void queue_idle(struct queue *q);

/* Opens a message, and its note (*ret_note -1: it has none). 0, -ENOENT: gone, -errno. */
int queue_get(struct queue *q, const struct place *p, int *ret_fd, int *ret_note);
/* Removes a message and (noted) its note; durable after queue_sync(). */
int queue_remove(struct queue *q, const struct place *p, bool noted);
/* Moves a message to the bucket of a due time; durable on return. In an `all` pass never
 * to one that this pass still comes to. */
int queue_defer(struct queue *q, struct place *p, int64_t due);
/* Moves a message to another route, which need not be open, to be tried at once: to its
 * bucket of `now` rounded down. Durable after queue_sync(): before, and after a power cut,
 * it is in one of the two places. -ENOENT: it is gone; -EEXIST. */
int queue_route(struct queue *q, const struct place *p, const char *route, int64_t now);
/* Moves a message (of any place but queue/new, where it stays) to queue/new: it is tried
 * next. Durable on return. -ENOENT, -EEXIST, -errno: it is where it was. */
int queue_renew(struct queue *q, const struct place *p);
/* Finds a message in queue/: *ret_route ("new" for queue/new) and *ret. -ENOENT: it is
 * certainly not there. Reads no folder of messages: asks each bucket for the name. */
int queue_find(struct spool *s, const struct id *id,
               char ret_route[static QUEUE_ROUTE_MAX + 1], struct place *ret);
/* Whose message is it? From the attested lines, which mailchuted wrote, of an open queue
 * file, whose offset stays. *ret_size: octets of the file. -EBADMSG: damaged; -errno. */
int queue_owner(int fd, uid_t *ret_uid, int64_t *ret_size);
/* Reads and parses the envelope of an open queue file, whose offset stays. *text is empty, or has
 * the attested lines that are missing in front of a drop; it gets what was read, of which *ret is.
 * 0, and the caller frees *ret; -EBADMSG: damaged or cut short, *ret_why says how; -errno. */
int queue_envelope(int fd, struct buf *text, struct envelope *ret, size_t *ret_used,
                   const char **ret_why);
/* Moves a message, and its note as <id>.note, to hold/ or bad/ (a descriptor of spool's);
 * durable on return. Killed in between, the message is there and its note still in note/,
 * which aside.h and list.h know. */
int queue_put_aside(struct queue *q, const struct place *p, int dir);
/* Makes removals, and what queue_route() moved, durable. */
int queue_sync(struct queue *q);
/* Something was removed from <due> (0: new), by whomever: for queue_sync(). */
void queue_dirty(struct queue *q, uint32_t due);

#endif
