/*
 * deal.h - inside of sched: handing messages to a push
 */
#ifndef DAEMON_DEAL_H
#define DAEMON_DEAL_H

#include "daemon/sched.h"

enum {
	DEAL_FIRST = 32, /* messages in hand while nothing is known of the host */
	DEAL_UP = 128,   /* when it is there */
};

/* The due time of what is put off only because of the host (queue.h). Later ones are behind
 * earlier ones. */
static inline int64_t deal_put_off_due(int64_t now)
{
	return (QUEUE_PUT_OFF + now / QUEUE_BUCKET_SECONDS) * QUEUE_BUCKET_SECONDS;
}

/* A run begins; it has ended. */
void deal_open(struct route *r);
void deal_close(struct route *r);
/* May push get more? False also: not one by one, a batch of room is awaited. Sets r->wait. */
bool deal_may(struct route *r, const struct sched *s, int64_t now);
/* What the route waits for, if it does: sets r->wait. True: it does. */
bool deal_waits(struct route *r, int64_t now);
/* Takes a message into the hand, to be sent. False: not now. */
bool deal_give(struct route *r, const struct sched *s, const struct place *p);
/* Sends what is in the outbox, as far as the socket has room; r->full: not now. */
void deal_send(struct route *r);
/* A message was settled: the window grows. */
void deal_settled(struct route *r, const struct sched *s);
/* The host is there: it may grow faster. */
void deal_up(struct route *r, const struct sched *s);
/* The host is down: it begins anew. */
void deal_down(struct route *r);

#endif
