/*
 * hear.h - inside of sched: what a push says of its host and of its jobs
 *
 * Everything is taken as possibly hostile: a record can only concern a job in that push's hand,
 * and what it makes us log has no control bytes.
 */
#ifndef DAEMON_HEAR_H
#define DAEMON_HEAR_H

#include "daemon/sched.h"

/* Takes in the records of a packet; *fd: a descriptor that came with it, set to -1 when it is
 * taken over. now: seconds of the real clock. */
void hear_packet(struct route *r, const struct sched *s, struct str text, int *fd,
                 int64_t now);
/* Appends a text of push's for the log or the state file: control bytes become "?". */
void hear_clean(struct buf *b, struct str text);
/* sched.c: the host is in trouble, "stage code text": nothing goes to it until its backoff is
 * over. */
void route_down(struct route *r, struct str why, int64_t now);

#endif
