/*
 * tally.h - how often a client did something lately, over all sessions
 *
 * One table that the acceptor makes and its children share; each makes its own of it: wrong
 * passwords (users.h), lines of the log (quiet.h). A client is a session's, as for its limits
 * (slots.h), or what the caller makes of one.
 *
 * It is full for a client when that did it as often as the table allows within TALLY_SECONDS of
 * the first time, and then for TALLY_SECONDS. The table has TALLY_PLACES places; when those for
 * a client are taken, whoever did it the longest ago is forgotten. Processes that count in the
 * same moment may lose one, and nothing else.
 */
#ifndef LISTEN_TALLY_H
#define LISTEN_TALLY_H

#include "listen/slots.h"

enum {
	TALLY_SECONDS = 60,
	TALLY_PLACES = 1024,
	TALLY_WAYS = 8, /* places that a client's may be in */
};

struct tally;

/* Memory that children share, for at most max (< 65536) of a client; NULL: there is none, and
 * nothing is counted. */
struct tally *tally_new(unsigned max);
/* Takes it out of this process alone. NULL is fine. */
void tally_close(struct tally *t);

/* All t may be NULL. now: seconds of clock_ms(). */
/* Did this client do it as often as it may? */
bool tally_full(struct tally *t, const struct slots_client *who, int64_t now);
/* Once more. True: it is the one that makes it full. */
bool tally_add(struct tally *t, const struct slots_client *who, int64_t now);

#endif
