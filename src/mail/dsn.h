/*
 * dsn.h - delivery status notifications (RFC 3461, 3464, 3462)
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "mail/note.h"

struct template; /* mail/template.h */

enum dsn_action {
	DSN_FAILED,
	DSN_DELAYED, /* tries go on */
	DSN_RELAYED, /* handed to a host that makes no reports (RFC 3461 5.2.2) */
};

struct dsn_rcpt {
	enum dsn_action action;
	struct str addr, orcpt;
	int code;        /* SMTP reply; 0: none (expired) */
	struct str text; /* what the smart host said, or our words; hostile */
};

struct dsn {
	const struct compose_conf *conf;
	struct str id; /* the message's queue id */
	struct str to; /* who is told: the message's sender, or the administrator; never
	                * empty */
	struct str
	    from; /* the message's sender when somebody else is told (bounce.to); n ==
	                  * 0: it is "your message" */
	struct str envid;
	bool full; /* return the whole message (RET=FULL) if it failed, else its header */
	int64_t arrived, now; /* seconds */
	struct str remote;    /* the smart host's name */
	bool expired;         /* given up after lifetime, else refused */
	int64_t lifetime;
	int64_t until;  /* delayed: when it will be given up; 0: not known */
	bool for_admin; /* the message had no sender: it is told to the administrator */
	const struct template *template; /* NULL: our own words */
	const struct dsn_rcpt *rcpt;
	size_t rcpts;
	struct str original_header; /* as sent; LF line ends */
};

/* Appends a drop (envelope.h: null sender, one recipient) that tells of failed, delayed and
 * relayed recipients, at least one: multipart/report with plain words first (which
 * recipient, the smart host's words, what to do; where d->template has words, those),
 * message/delivery-status, then text/rfc822-headers; or, when d->full and a recipient
 * failed, message/rfc822 with *ret_append_body true: the caller appends the original
 * body's bytes, and after them dsn_end(). The boundary comes from the id and does not
 * occur in the header. */
void dsn_print(struct buf *b, const struct dsn *d, bool *ret_append_body);
void dsn_end(struct buf *b, const struct dsn *d);

#endif
