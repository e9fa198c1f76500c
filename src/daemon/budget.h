/*
 * budget.h - what a smart host may get in a span of time (`rate` of the configuration)
 *
 * Pure state, no I/O. mailchuted knows how many messages it handed out, and not how many
 * recipients they have: push says so afterwards. So a budget of recipients can be overrun by
 * those of the messages that were in hand last; it is handed out by what messages had lately,
 * and one by one until that is known.
 */
#ifndef DAEMON_BUDGET_H
#define DAEMON_BUDGET_H

#include "conf/conf.h"
#include "daemon/rate.h"

struct budget {
	struct budget_row {
		struct conf_rate limit;
		struct rate used;
	} * row; /* NULL: no limits */
	size_t rows;
	int64_t counted; /* "ok"s since the last "took": in `used`, with one recipient */
	int64_t each;    /* recipients of a message, lately; 0: not known */
};

/* Takes the limits of the configuration; what was used of limits that stay is kept. h may be
 * NULL. */
void budget_conf(struct budget *b, const struct smarthost *h);
void budget_free(struct budget *b);
/* A run begins. */
void budget_run(struct budget *b);
/* A message was accepted. */
void budget_ok(struct budget *b, int64_t now);
/* What push says of those that were: so many since it last said so. Numbers may be hostile. */
void budget_took(struct budget *b, int64_t now, uint64_t messages, uint64_t recipients);
/* How many more messages may be handed out, with so many in hand. 0 and *ret_until: a limit
 * (*ret_row) is used up until then; 0 and *ret_until 0: what is in hand may use it up. */
int64_t budget_room(struct budget *b, int64_t now, unsigned in_hand, int64_t *ret_until,
                    const struct conf_rate **ret_row);
/* "30/1m", "500 recipients/1d". */
void budget_words(const struct conf_rate *c, struct buf *b);
/* Lines of the state file, and the part behind "rate <route> ". */
void budget_print(const struct budget *b, const char *route, struct buf *out);
void budget_take(struct budget *b, struct str text, int64_t now);

#endif
