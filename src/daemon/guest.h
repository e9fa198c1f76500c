/*
 * guest.h - how often users come to the socket: tokens that grow back, for each uid
 *
 * Of at most GUESTS uids; a new one takes the place of the one that was not seen for the
 * longest time. Times are monotonic milliseconds. Allocates nothing.
 */
#ifndef DAEMON_GUEST_H
#define DAEMON_GUEST_H

#include "base/base.h"
#include <sys/types.h>

enum {
	GUESTS = 64,
	GUEST_TOLD_EVERY_MS = 60000, /* log lines about one uid */
};

/* Begins full: { burst * 1000, now }. */
struct tokens {
	int64_t thousandths;
	int64_t at; /* when that was true */
};
/* Takes one of those that grow by rate a second up to burst. False: there is none. */
bool tokens_take(struct tokens *t, int64_t now, int64_t rate, int64_t burst);
/* When there will be one, if none is taken. */
int64_t tokens_at(const struct tokens *t, int64_t rate);

struct guest {
	bool used;
	uid_t uid;
	int64_t seen, told;
	struct tokens conns, requests;
};
struct guests {
	int64_t conns, requests; /* what a new guest begins with */
	struct guest v[GUESTS];
};
/* What is remembered of this uid; a new guest when there is nothing. Good until the next
 * call. */
struct guest *guest_of(struct guests *g, uid_t uid, int64_t now);
/* NULL: nothing. */
const struct guest *guest_find(const struct guests *g, uid_t uid);
/* May something about this uid be logged? So no user can fill the log. */
bool guest_tell(struct guests *g, uid_t uid, int64_t now);

#endif
