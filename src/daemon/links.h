/*
 * links.h - has the network come back? (rtnetlink)
 *
 * Listened to only while a host cannot be reached: asleep nothing wakes us. Where the system
 * does not let us, hosts are tried at their times, and nothing else changes.
 */
#ifndef DAEMON_LINKS_H
#define DAEMON_LINKS_H

#include "base/base.h"

enum {
	LINKS_SETTLE_MS = 1000, /* a link comes first, then its address, then a route */
	LINKS_EVERY_MS = 60000,
};

struct links {
	int fd;        /* -1: closed */
	bool refused;  /* it could not be opened; not again while it is wanted */
	int64_t due;   /* monotonic ms: when to act on what came up; -1: nothing did */
	int64_t acted; /* when that was last so; 0: never */
};

void links_init(struct links *l);
/* Opens or closes the socket. */
void links_want(struct links *l, bool want);
/* The socket is readable. Reads what there is, at most a little at a time. */
void links_hear(struct links *l, int64_t now);
/* Is it time to try what cannot be reached? True once; at most every LINKS_EVERY_MS. */
bool links_act(struct links *l, int64_t now);
/* Is there anything to learn from the socket? Not once something came up: that is acted on
 * in any case. */
bool links_listens(const struct links *l);
/* For unit tests: does this packet of the kernel say that something came up? */
bool links_came_up(const void *packet, size_t n);

#endif
