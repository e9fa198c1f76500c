/*
 * flight.h - one message in hand: its transactions, and what each reply means for it
 *
 * A message goes out in one transaction after the other until each recipient has a verdict
 * (usually in one). The result of a transaction is its first failure in causal order: MAIL,
 * the recipient's RCPT, the content. What a host says to later commands of the same group is
 * only the echo. For the client's own files only.
 */
#ifndef SMTP_FLIGHT_H
#define SMTP_FLIGHT_H

#include "smtp/session.h"
#include "smtp/wire.h"

enum {
	/* What a host must take in one transaction (RFC 5321 4.5.3.1.8). */
	FLIGHT_RCPT_MAX = 100,
	FLIGHT_RCPTS_FEW = 16, /* recipients whose states need no memory of their own */
};

enum rcpt_state {
	RCPT_TODO, /* not in this transaction yet */
	RCPT_SENT,
	RCPT_ACCEPTED,
	RCPT_DECIDED,
};

/* What goes out next. */
enum phase {
	PHASE_RSET,
	PHASE_MAIL,
	PHASE_RCPT,
	PHASE_ASK, /* DATA, or BDAT with the content */
	PHASE_GO,  /* nothing: 354 is awaited */
	PHASE_CONTENT,
	PHASE_SENT, /* nothing: the last reply is awaited */
};

/* A walk over a message's octets, header first, in constant memory. */
struct walk {
	struct wire wire;
	size_t header; /* octets of the header done */
	int64_t body;  /* octets of the body done */
	uint64_t put;  /* octets of the encoded form, without doubled dots where !stuff */
	bool end;
};

struct flight {
	struct client_msg *m;
	unsigned char *state; /* enum rcpt_state of each recipient */
	unsigned char few[FLIGHT_RCPTS_FEW];
	uint64_t size; /* octets of the encoded form (RFC 1870) */
	int64_t body;  /* octets of the body as it is read */
	bool eightbit, utf8;
	bool committed; /* on_commit was called */
	int error;      /* -errno: the body cannot be read */
	/* Of this transaction: */
	enum phase phase;
	struct walk walk;
	uint64_t serial; /* of the window */
	size_t next;     /* recipient that is looked at next */
	size_t sent;     /* recipients in it */
	size_t due;      /* replies outstanding */
	unsigned accepted;
	bool bdat;           /* the content by BDAT, else by DATA */
	bool careful;        /* no content before the recipients' replies are there */
	bool rest;           /* the host wants no more recipients */
	bool refused;        /* MAIL was: the later replies say nothing */
	bool go;             /* 354 */
	bool answered;       /* there is the reply to the content */
	bool later;          /* there was a 4xx */
	bool partial;        /* a recipient was refused */
	bool done;           /* somebody has the message */
	uint64_t end;        /* with PHASE_SENT: where its last octet is (conn_put()) */
	struct flight *link; /* the next one of the stream's list that it is in */
};

/* What a reply means beyond the message. */
enum flight_event {
	FLIGHT_ON,   /* nothing */
	FLIGHT_HOST, /* the connection cannot be used for more: c->reply says why, and whom
	                * it concerned in particular has that verdict */
	FLIGHT_UNFIT, /* the host does not know BDAT: the message is for another connection */
	FLIGHT_DESYNC, /* replies do not fit the commands: nothing can be believed any more */
	FLIGHT_EARLY, /* the content was refused before it was all there (DATA) */
};

void flight_init(struct flight *f, struct client_msg *m);
void flight_free(struct flight *f); /* what it holds */
/* Sorts out what cannot be sent to this host at all; needs the size. */
void flight_preflight(struct flight *f, const struct client *c);
bool flight_todo(const struct flight *f); /* is there somebody for another transaction? */
/* Begins the next transaction. */
void flight_begin(struct flight *f, const struct client *c);
/* Appends the command; RCPT is that of f->next. */
void flight_put_mail(const struct flight *f, const struct client *c, struct buf *b);
void flight_put_rcpt(const struct flight *f, const struct client *c, struct buf *b);
/* Takes c->reply for what it answers. */
enum flight_event flight_take(struct flight *f, struct client *c,
                              const struct expect *got);
/* All of the content is with the kernel, so the host may have taken the message. */
bool flight_out(const struct flight *f, uint64_t taken);
/* The replies were others': refusals among them count for nothing. What was done stays. */
void flight_disbelieve(struct flight *f);
/* The connection has ended: everybody without a verdict gets why; in doubt: DOUBT, where the
 * content was for him. */
void flight_broken(struct flight *f, const struct verdict *why, bool in_doubt);

/* A verdict of our own for one recipient (only < m->rcpts) or all. Of flight's own files. */
void flight_refuse(struct flight *f, size_t only, int code, const char *text);

#endif
