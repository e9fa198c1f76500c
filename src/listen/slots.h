/*
 * slots.h - the sessions there are: who may come in, and who goes for it
 *
 * Pure: no descriptors, no clock, no processes. Memory and time are bounded by the number of
 * slots that the caller lets be.
 *
 * One more than the limits allow is let in at somebody's cost when there is one whose cost
 * is small. A client that has no slot takes it from anybody; another one from clients that
 * hold more slots than it would, or from itself one that was silent for SLOTS_SLOW_MS: a crowd
 * must not make processes faster than they fall idle. Of those left it is, first, one
 * without a transaction: of the client with the most slots; of its sessions first one that
 * has finished no message in SLOTS_GRACE_MS; then the one longest idle. If all have a
 * transaction: first those that wait for a client that was silent for SLOTS_SILENT_MS, by
 * the same rules as those without one: or whoever names a recipient and says no more would
 * keep a slot until he is idle for too long. Then one that is SLOTS_SLOW_MS old, of a client
 * that holds more slots than the newcomer would; so a client that sends many large messages
 * at once keeps them.
 * A client with as many as it may have loses one that has no transaction, or is silent as
 * above, and has finished no message in SLOTS_GRACE_MS; without such a one it gets no more.
 */
#ifndef LISTEN_SLOTS_H
#define LISTEN_SLOTS_H

#include "base/base.h"
#include <sys/socket.h>
#include <sys/types.h>

enum {
	SLOTS_GRACE_MS = 60000,
	SLOTS_SLOW_MS = 5000,
	SLOTS_SILENT_MS = 10000,
};

/* Who is counted as one: an address of IPv4, a /64 of IPv6, a user at a unix socket. */
struct slots_client {
	int family; /* AF_INET, AF_INET6, AF_UNIX */
	uint64_t who;
};
/* addr: as accept(2) gave it; uid: for AF_UNIX. */
struct slots_client slots_client_of(const struct sockaddr *addr, uid_t uid);

/* What the caller knows of a session, times in monotonic milliseconds. */
struct slot {
	pid_t pid;
	unsigned section; /* whose limits it counts for */
	struct slots_client client;
	int64_t begun;
	bool leaving; /* told to go: counts for nothing */
	/* As the session says: no more than a hint. */
	int64_t heard;   /* the last octet from the client; now while it waits for us */
	int64_t busy;    /* since when there is a transaction; 0: there is none */
	uint64_t stored; /* messages */
	void *arg;       /* the caller's */
};

struct slots {
	struct slot *v;
	size_t n, room;
};

/* Takes a slot into the list. */
void slots_add(struct slots *s, const struct slot *slot);
/* Takes the i-th out; the last one comes in its place. */
void slots_remove(struct slots *s, size_t i);
/* The index of the one with this pid, or -1. */
ptrdiff_t slots_find(const struct slots *s, pid_t pid);
void slots_free(struct slots *s);

enum slots_say {
	SLOTS_COME,   /* there is room */
	SLOTS_EVICT,  /* there is when *ret_victim goes */
	SLOTS_CLIENT, /* not one more of this client */
	SLOTS_FULL,   /* nobody can go */
};

/* May one more of client come to section, of which at most max, and at most per_client of
 * one client, may be? */
enum slots_say slots_ask(const struct slots *s, unsigned section,
                         struct slots_client client, int64_t max, int64_t per_client,
                         int64_t now, size_t *ret_victim);

#endif
