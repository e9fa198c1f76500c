/*
 * dsn.h - delivery status notifications (RFC 3461, 3464, 3462)
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "mail/note.h"

struct dsn_rcpt {
	struct str addr, orcpt;
	int code;        /* SMTP reply; 0: none (expired) */
	struct str text; /* what the smart host said, or our words; hostile */
};

struct dsn {
	const struct compose_conf *conf;
	struct str id; /* the message's queue id */
	struct str to; /* the message's envelope sender: never empty */
	struct str envid;
	bool full;            /* return the whole message (RET=FULL), else its header */
	int64_t arrived, now; /* seconds */
	struct str remote;    /* the smart host's name */
	bool expired;         /* given up after lifetime, else refused */
	int64_t lifetime;
	const struct dsn_rcpt *rcpt;
	size_t rcpts;
	struct str original_header; /* as sent; LF line ends */
};

/* Appends a drop (envelope.h: null sender, one recipient) that tells of failed
 * recipients: multipart/report with plain words first (which recipient, the smart host's
 * words, what to do), message/delivery-status, then text/rfc822-headers, or
 * message/rfc822 with *ret_append_body true: the caller appends the original body's
 * bytes, and after them dsn_end(). The boundary comes from the id and does not occur in
 * the header. */
void dsn_print(struct buf *b, const struct dsn *d, bool *ret_append_body);
void dsn_end(struct buf *b, const struct dsn *d);

#endif
