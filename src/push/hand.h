/*
 * hand.h - the messages in push's hand
 *
 * A message comes as a job and stays one, two descriptors, until somebody asks for the next
 * to send: then it becomes a try, which is read and composed. A try is in flight, or it waits
 * to be sent again: before all that never were, in the order in which they came. It ends when
 * it is settled. Tries never move.
 */
#ifndef PUSH_HAND_H
#define PUSH_HAND_H

#include "push/mending.h"
#include "push/report.h"

enum {
	HAND_MAX = 1024, /* jobs */
	HAND_OCTETS_MAX =
	    16 << 20, /* texts and headers of tries; above that none begins */
};

struct queued {
	struct id id;
	uint32_t due;
	int fd, note; /* note: -1: there is none */
};

struct
try {
	struct message m;
	struct result *res; /* of each recipient of the plan */
	/* As it is sent; what is in it is of one connection. */
	struct client_msg msg;
	size_t *number;          /* of each client_rcpt: index in the plan */
	struct mending *mending; /* NULL: it goes as it is */
	struct client_body body; /* from m.text, when that is whole */
	size_t given;            /* of the body */
	void *owner;
	unsigned
	    not_on;    /* the number of a connection that it must not be tried on again */
	bool by_admin; /* a report that goes from bounce-from, since <> was refused */
	/* inside of hand */
	uint64_t seq;
	size_t octets;
	struct try *before, *behind;
};

struct hand {
	struct queued queued[HAND_MAX];
	size_t at, n;             /* of queued: a ring */
	struct try *first, *last; /* to be sent again */
	size_t tries;             /* in flight, to be sent again, or being made */
	size_t octets;            /* of all of them */
	uint64_t seq;
};

/* Takes the descriptors over. False: there is no room; nothing was taken. */
bool hand_put(struct hand *h, const struct queued *q);
size_t hand_room(const struct hand *h);
/* The next job that was never tried becomes a try, not loaded yet; the descriptors in *ret are
 * the caller's. NULL: there is none. */
struct try *hand_begin(struct hand *h, struct queued *ret);
/* The try was loaded: counts what it holds in memory. */
void hand_weigh(struct hand *h, struct try *t);
/* The try is to be sent again: on connection not_on no more (0: any will do). */
void hand_back(struct hand *h, struct try *t, unsigned not_on);
/* The first that is to be sent again, removed from those that wait. NULL: there is none, or it
 * must wait for another connection than this one. */
struct try *hand_again(struct hand *h, unsigned connection);
/* Must the first wait for another connection than this one? */
bool hand_waits(const struct hand *h, unsigned connection);
/* Takes a waiting try out of turn. */
void hand_pick(struct hand *h, struct try *t);
/* It is settled, or let be: frees it and closes its file. It must not wait. */
void hand_end(struct hand *h, struct try *t);
/* Frees what was made for one connection; verdicts must have been taken. */
void hand_unmake(struct try *t);
/* Is anything else in hand? */
bool hand_others(const struct hand *h);
bool hand_is_empty(const struct hand *h);

#endif
