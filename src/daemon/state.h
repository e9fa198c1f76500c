/*
 * state.h - when what is known of the routes is written to the file state, and read again
 */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include "daemon/alert.h"

struct state {
	struct buf text; /* as last written */
	size_t down;     /* routes that were down then */
	int64_t at;      /* monotonic ms: what changed is written then; 0: nothing did */
	int64_t next;    /* not before */
};

/* Writes what changed: when a route went down or is back it is at once, since who asks is told
 * what is written here; else at most once a second, since budgets change with every message.
 * at_once: whatever changed. Nothing is said of what cannot be written. */
void state_save(struct state *st, struct spool *s, const struct routes *r,
                const struct alert *a, bool at_once);
/* Gives the routes what they were known for, and whether somebody was told. A file that is missing
 * or of another kind is nothing to know. */
void state_load(struct spool *s, struct routes *r, struct alert *a, int64_t now);

#endif
