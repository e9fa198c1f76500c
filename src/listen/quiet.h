/*
 * quiet.h - how many lines of the log clients may cause, over all sessions
 *
 * The acceptor makes it and its sessions share it, also behind their fences: who takes one over
 * can keep lines out of the log by it, or let them in, and nothing else.
 *
 * A client (a session's, as for its limits: slots.h) causes at most QUIET_CLIENT lines within
 * TALLY_SECONDS of the first, and then none for TALLY_SECONDS. Those that may not relay without
 * logging in share QUIET_STRANGERS lines beside, so that many of them, too, leave room for others'.
 * What is left out is counted.
 *
 * What is wrong with a section's certificate is the same for each session: it is news once, and
 * again when it changes, or is over.
 */
#ifndef LISTEN_QUIET_H
#define LISTEN_QUIET_H

#include "base/str.h"
#include "listen/tally.h"

enum { QUIET_CLIENT = 30, QUIET_STRANGERS = 300, QUIET_PLACES = 1024 };

struct quiet;

struct quiet *quiet_new(void);
/* NULL is fine. */
void quiet_free(struct quiet *q);
/* May a line be logged that this client causes? Else it is counted as left out. q may be NULL: it
 * may. now: seconds of clock_ms(). */
bool quiet_may(const struct quiet *q, const struct slots_client *who, bool stranger,
               int64_t now);
/* A section's state, as a session has just found it. */
struct quiet_state {
	struct str at;    /* its title */
	struct str words; /* what is wrong; n == 0: nothing */
};
/* Is it another than the last one that was news, and may it be logged (quiet_may(), asked only
 * then)? From now on it is the last one, for all sessions. Where nothing was news yet, nothing is
 * wrong. q may be NULL, and QUIET_PLACES sections are remembered: otherwise whatever is wrong is
 * news, each time, and its end is not. */
bool quiet_news(const struct quiet *q, const struct quiet_state *state,
                const struct slots_client *who, bool stranger, int64_t now);
/* How many were left out; from now on 0 again. */
uint64_t quiet_left_out(const struct quiet *q);

#endif
