/*
 * guess.h - how many wrong passwords came from where, over all sessions
 *
 * One table that the acceptor makes and the helpers of its sessions share (users.h): they alone
 * know which password was wrong, and meet no more of a client than a name and a password. A
 * client is a session's, as for its limits (slots.h).
 *
 * After so many wrong ones as the table allows, within GUESS_SECONDS of the first, no more are
 * looked at for GUESS_SECONDS, right or wrong. The table has GUESS_CLIENTS places; when those for a client
 * are taken, whoever was wrong the longest ago is forgotten. Processes that count in the same
 * moment may lose one wrong password, and nothing else.
 * quiet.h counts lines of the log in the same way.
 */
#ifndef LISTEN_GUESS_H
#define LISTEN_GUESS_H

#include "listen/slots.h"

enum {
	GUESS_MAX = 10, /* wrong passwords */
	GUESS_SECONDS = 60,
	GUESS_CLIENTS = 1024,
	GUESS_WAYS = 8, /* places that a client's may be in */
};

struct guesses;

/* Memory that children share, for at most max (< 65536) of a client; NULL: there is none, and
 * nothing is counted. */
struct guesses *guesses_new(unsigned max);
/* Takes it out of this process alone. NULL is fine. */
void guesses_close(struct guesses *g);

/* All g may be NULL. now: seconds of clock_ms(). */
/* Has this client had enough of them? */
bool guesses_enough(struct guesses *g, const struct slots_client *who, int64_t now);
/* One more was wrong. True: it is the one that makes it enough. */
bool guesses_wrong(struct guesses *g, const struct slots_client *who, int64_t now);

#endif
