/*
 * rate.h - how much was used of "at most n in a span"
 *
 * A sliding window in at most RATE_SLOTS pieces: never more than n in any span, at the price
 * that what was used frees itself up to a piece (a sixty-third of the span) late. Pure state,
 * no I/O. Times are seconds of the real clock, so that it survives a restart; what lies in
 * the future, since the clock was set back, counts as now, as does what was used before it was
 * set for the first time (1970).
 */
#ifndef DAEMON_RATE_H
#define DAEMON_RATE_H

#include "base/str.h"

enum { RATE_SLOTS = 64 };

struct rate {
	int64_t span; /* seconds; at least 1 */
	struct rate_slot {
		int64_t at, n; /* begins at; used: n > 0 */
	} slot[RATE_SLOTS];
};

void rate_init(struct rate *r, int64_t span);
/* n more were used. */
void rate_add(struct rate *r, int64_t now, int64_t n);
/* Used in the span that ends now. */
int64_t rate_used(struct rate *r, int64_t now);
/* When at most limit will have been used of the span, if nothing is added: now, or later. */
int64_t rate_free_at(struct rate *r, int64_t now, int64_t limit);
/* Appends " <time>:<n>" for each piece; nothing when nothing was used. */
void rate_print(const struct rate *r, struct buf *b);
/* Takes that back, added to what there is. False: it is damaged; the good part counts. Input
 * may be hostile. */
bool rate_take(struct rate *r, struct str text, int64_t now);

#endif
