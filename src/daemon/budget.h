/*
 * budget.h - what a smart host may get in a span of time (`rate` of the configuration)
 *
 * Pure state, no I/O. What counts is what the host was asked to take, also what it refused. A
 * message is handed out with the recipients of its envelope; aliases may make more of them,
 * which push says afterwards: so one to names of this machine goes alone, and all go one by one
 * until push has said something. A budget of recipients is overrun by those of one message at
 * most.
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
	int64_t counted, counted_rcpts; /* accepted since the last "took": in `used` */
	int64_t unsure;                 /* recipients that those may have had besides */
	int64_t each; /* recipients of a message, lately; 0: not known */
};

/* Takes the limits of the configuration; what was used of limits that stay is kept. h may be
 * NULL. */
void budget_conf(struct budget *b, const struct smarthost *h);
void budget_free(struct budget *b);
/* A run has ended. */
void budget_run(struct budget *b);
/* Does it matter how many recipients a message has? */
bool budget_of_recipients(const struct budget *b);
/* A message came back: for so many recipients the host took it, so many it refused. */
void budget_tried(struct budget *b, int64_t now, int64_t accepted, int64_t refused);
/* What push says of those that were: so many since it last said so. Numbers may be hostile. */
void budget_took(struct budget *b, int64_t now, uint64_t messages, uint64_t recipients);
/* How much more may be handed out (a message if it is not 0), with so many messages to so many
 * recipients in hand. 0 and *ret_until: a limit (*ret_row) is used up until then; 0 and
 * *ret_until 0: what is in hand may use it up. */
int64_t budget_room(struct budget *b, int64_t now, unsigned in_hand, int64_t rcpts,
                    int64_t *ret_until, const struct conf_rate **ret_row);
/* "30/1m", "500 recipients/1d". */
void budget_words(const struct conf_rate *c, struct buf *b);
/* Lines of the state file, and the part behind "rate <route> ". */
void budget_print(const struct budget *b, const char *route, struct buf *out);
void budget_take(struct budget *b, struct str text, int64_t now);

#endif
