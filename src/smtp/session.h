/*
 * session.h - the inside of struct client: replies expected, and the pump
 *
 * Commands are put into conn.out and into a FIFO of replies expected. One pump writes and
 * reads until the next reply is there. Lockstep and pipelining (RFC 2920) differ only in
 * how much is put in before waiting. For client.c and send.c only.
 */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include "smtp/client.h"
#include "smtp/conn.h"
#include "smtp/tls.h"

enum {
	SESSION_UNREAD_MAX = 50,    /* commands sent whose replies are outstanding */
	SESSION_BLOCK = 65536,      /* octets of a message read at a time */
	SESSION_CONTENT_BLOCK = 180 /* seconds without the kernel taking an octet */
};

struct expect {
	enum smtp_stage stage;
	size_t rcpt; /* with STAGE_RCPT: which */
};

/* What EHLO said. */
struct ehlo {
	bool starttls, pipelining, size, eightbit, smtputf8, dsn;
	uint64_t size_max; /* 0: no limit known */
	struct buf auth;   /* mechanisms, parted by blanks */
};

struct client {
	const struct client_conf *conf;
	struct tls *tls; /* NULL: never used */
	struct conn conn;
	bool open;
	struct reply reply; /* the last one */
	struct expect fifo[SESSION_UNREAD_MAX];
	size_t fifo_at, unread;
	struct ehlo ext;
	unsigned successes;    /* messages accepted on this connection */
	unsigned decided;      /* transactions that ended with a verdict on it */
	bool mailed;           /* there was a MAIL on it: RSET before the next */
	bool answered;         /* a reply has come since this transaction began */
	bool final;            /* the content's last octet is in conn.out, or out */
	int64_t progress;      /* clock_ms() of the last reply */
	struct verdict broken; /* why the connection was given up; valid when it was */
	bool is_broken;
	struct buf facts;
	char block[SESSION_BLOCK]; /* of the message's body */
};

/* Milliseconds that so many of RFC 5321's seconds last. */
int64_t session_ms(const struct client *c, int64_t seconds);
/* One more reply is expected. There must be room. */
void session_expect(struct client *c, enum smtp_stage stage, size_t rcpt);
/* Writes and reads until the next reply is in c->reply: 1, and *ret is whose it is. With
 * or_flushed also until all is written: 0. -1: broken; c->broken says why. */
int session_pump(struct client *c, bool or_flushed, struct expect *ret);
/* Waits for the reply to one command that is in conn.out. 0 or -1 (broken). */
int session_ask(struct client *c, enum smtp_stage stage);
/* Gives the connection up: closes it, notes why. Always -1. Only the first call counts.
 */
int session_break(struct client *c, enum verdict_kind kind, enum smtp_stage stage,
                  const char *fmt, ...) PRINTF_LIKE(4, 5);
/* The same for c->reply. */
int session_break_reply(struct client *c, enum verdict_kind kind, enum smtp_stage stage);
/* The same for an error of conn_step() and its like. */
int session_lost(struct client *c, int error, enum smtp_stage stage);
/* Logs in as the configuration says. 0 or -1 (broken). What the host says of the password
 * is never in the verdict. */
int session_login(struct client *c);
/* Closes and forgets all that belonged to the connection. */
void session_close(struct client *c);

#endif
