/*
 * verdict.h - whom a reply is about (design: "never blame a message for the relay")
 *
 * One table, in verdict.c, read by its test.
 */
#ifndef SMTP_VERDICT_H
#define SMTP_VERDICT_H

#include "smtp/reply.h"

enum smtp_stage {
	STAGE_CONNECT, /* also name resolution */
	STAGE_GREETING,
	STAGE_EHLO,
	STAGE_TLS, /* STARTTLS and the handshake */
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,    /* the reply to DATA itself */
	STAGE_CONTENT, /* the reply to the last dot */
	STAGE_RSET,
	STAGE_QUIT,
};

enum verdict_kind {
	VERDICT_DONE,   /* accepted */
	VERDICT_LATER,  /* temporary, of this recipient or message */
	VERDICT_FAILED, /* permanent, of this recipient or message */
	VERDICT_HOST,   /* of the host, the account or the network: touches no message */
	VERDICT_RECONNECT, /* this connection is used up (421, 452 4.5.3 at MAIL after a
	                    * success): again on a new one, touches no message */
	VERDICT_REST, /* 452 4.5.3 at RCPT after at least one was accepted: this recipient
	               * in another transaction */
	VERDICT_DOUBT, /* connection lost after the last octet, before the reply */
};

struct verdict {
	enum verdict_kind kind;
	enum smtp_stage stage;
	int code;        /* reply code; 0: none (silence, closed, TLS failure) */
	struct buf text; /* reply_line() or our own words */
};

/* successes: messages accepted on this connection before; accepted_rcpts: recipients
 * accepted in this transaction. Never gives DOUBT (that is not a reply). */
enum verdict_kind verdict_of(enum smtp_stage stage, const struct reply *r,
                             unsigned successes, unsigned accepted_rcpts);
/* Could every message from here get this refusal, for its sender or what it is? True of
 * LATER or FAILED at MAIL, and of FAILED at RCPT when it is about relaying or policy (x.7.x), and after
 * content; but not of a size (x.3.4) or of characters (x.6.x), which are the message's own.
 * One such refusal proves nothing against a message: see the breaker in the design. */
bool verdict_is_common(const struct verdict *v);
const char *smtp_stage_name(enum smtp_stage stage); /* "connect", "MAIL", ... */

#endif
