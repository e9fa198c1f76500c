/*
 * usage.h - how much waits, in all and of each user
 */
#ifndef SPOOL_USAGE_H
#define SPOOL_USAGE_H

#include "spool/id.h"
#include <sys/types.h>

/* More users are counted together, as uid (uid_t)-1, and share what one may have. */
enum { USAGE_USERS_MAX = 1024, USAGE_AHEAD = 300 };

struct usage {
	int64_t messages, octets;
	struct usage_user {
		uid_t uid;
		int64_t messages, octets;
	} user[USAGE_USERS_MAX];
	size_t users;
};

/* Walks queue/ and hold/ and adds up. Takes a while: for a child. Needs no lock: what moves
 * meanwhile may be counted twice or not at all. What is damaged counts as
 * uid (uid_t)-1. Appends "uid messages octets" lines, for usage_take(). root: descriptor
 * of the spool's folder. 0 or -errno. */
int usage_count(int root, struct buf *ret);
/* Adds what usage_count() printed; lines that are none are passed over. */
void usage_take(struct usage *u, struct str text);
/* What waits in queue/. */
struct oldest {
	int64_t messages;
	struct id id;  /* the oldest; "": none waits */
	int64_t since; /* real seconds: from then on it has waited */
	int64_t
	    odd; /* messages whose time cannot be true, as far as they were asked for */
};

/* Finds the oldest message of queue/, not of hold/. The time of a message is that of its file,
 * since a report has an id as old as the message that it is about. A time before 2020, or more
 * than USAGE_AHEAD seconds ahead of now, is none (a clock was wrong): it counts as odd_since.
 * Reads all names, but asks for the times of few files: those that may be the oldest by their
 * ids. Takes a while: for a child. Needs no lock: what moves meanwhile may be counted twice or
 * not be seen. 0 or -errno. */
int usage_oldest(int root, int64_t now, int64_t odd_since, struct oldest *ret);
/* One message more (sign 1) or less (-1); never below 0. Users without messages are
 * forgotten. */
void usage_add(struct usage *u, uid_t uid, int64_t octets, int sign);
/* Messages of a uid; of one that is not told apart: of all of those. */
int64_t usage_of(const struct usage *u, uid_t uid);

#endif
