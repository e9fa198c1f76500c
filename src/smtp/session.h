/*
 * session.h - the inside of struct client: replies expected, and the pump
 *
 * Commands are put into conn.out and into a FIFO of replies expected; the pump writes and
 * reads. The levels (stream.h) differ only in how much is put in before replies are awaited.
 * For the client's own files only.
 */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include "smtp/client.h"
#include "smtp/conn.h"
#include "smtp/learned.h"
#include "smtp/tls.h"
#include "smtp/window.h"

enum {
	SESSION_GROUP_MAX = 50, /* commands unread, but for BDAT ahead of replies: what
	                             * small hosts are known to bear */
	SESSION_BLOCK = 65536,  /* octets of a message read at a time */
	SESSION_CONTENT_BLOCK = 180 /* seconds without the kernel taking an octet */
};

struct flight;

struct expect {
	enum smtp_stage stage;
	size_t rcpt;           /* with STAGE_RCPT: which */
	struct flight *flight; /* whose it is; NULL: no message's */
};

/* What EHLO said. */
struct ehlo {
	bool starttls, pipelining, chunking, size, eightbit, smtputf8, dsn;
	uint64_t size_max; /* 0: no limit known */
	uint64_t
	    mail_max; /* transactions on a connection (RFC 9422); 0: no limit known */
	uint64_t rcpt_max; /* recipients of a transaction; 0: no limit known */
	struct buf auth;   /* mechanisms, parted by blanks */
};

/* What tells that the replies still fit the commands when all of them are yes: how each yes
 * looks (reply_shape(); 0: not known yet), and how many octets of a BDAT the host says it got. */
struct witness {
	uint64_t rset, mail, rcpt, content;
	unsigned
	    same; /* replies so far that had the right number; WITNESS_SURE: required */
	bool silent; /* it does not */
};

/* The canary (canary.c). */
struct canary {
	bool out;     /* its replies are outstanding */
	bool tried;   /* on this connection */
	bool well;    /* it came back well; but how a yes to a message looks is awaited */
	bool trusted; /* a stream may be begun on this connection */
	int mail, bdat; /* codes of its replies */
};

struct client {
	const struct client_conf *conf;
	struct tls *tls; /* NULL: never used */
	struct conn conn;
	bool open;
	bool hurried;        /* not logged in yet, and there are others (client_way) */
	struct reply reply;  /* the last one */
	size_t in_at;        /* octets of conn.in that were taken already */
	struct expect *fifo; /* a ring; its size is a power of two */
	size_t fifo_size, fifo_at, unread;
	struct ehlo ext;
	uint64_t host;         /* what answers: see learned.h */
	bool exim;             /* the greeting says so */
	int64_t rtt_ms;        /* of the quickest reply to EHLO; -1: not known */
	unsigned successes;    /* messages accepted on this connection */
	unsigned decided;      /* transactions that ended with a verdict on it */
	unsigned mails;        /* MAILs on it */
	unsigned begun;        /* transactions with messages begun on it */
	bool mailed;           /* there was a MAIL on it: RSET before the next */
	bool answered;         /* a reply has come since the last transaction ended, or
	                        * since the login */
	int64_t progress;      /* clock_ms() of the last reply */
	int64_t session_end;   /* clock_ms() at which it ends, but for large messages */
	int64_t session_late;  /* no new transaction from then on */
	struct verdict broken; /* why the connection was given up; valid when it was */
	bool is_broken;
	int lost; /* -errno: it ended with no word of the host about it, or a senseless one */
	uint64_t taken; /* octets that the kernel had taken when it was given up */
	struct buf facts;
	struct reply_secret secret; /* of this connection's login */
	struct buf passed;          /* client_passed() */
	/* Of the ladder: */
	bool learned_read;
	struct learned learned;     /* of the host that answers or answered last */
	struct learned_hosts known; /* of others, and as it was of that one */
	struct window window;
	struct canary canary;
	struct witness witness;
	unsigned
	    clean; /* messages in a row that were accepted whole, on this connection */
	bool streamed; /* there was a BDAT ahead of replies on it */
	bool combined; /* there was content with the next group on it */
	/* Of the message in the hand of content.c: */
	struct buf whole; /* its encoded form; small ones only */
	const struct flight *whole_of, *block_of;
	char block[SESSION_BLOCK]; /* of the message's body */
};

/* Milliseconds that so many of RFC 5321's seconds last. */
int64_t session_ms(const struct client *c, int64_t seconds);
/* Seconds that a reply is awaited, but for a client in a hurry. */
int64_t session_patience(const struct client *c, enum smtp_stage stage);
/* One more reply is expected. */
void session_expect(struct client *c, const struct expect *e);
/* Takes a reply that has come into c->reply: 1, and *ret is whose it is. 0: there is none, or
 * none is expected. -1: broken; c->broken says why. Never blocks. */
int session_take(struct client *c, struct expect *ret);
/* Writes and reads until something moved, or a feed's descriptor is readable. until: not
 * longer, whatever is still awaited. 0 or -1 (broken). A reply must be expected. */
int session_wait(struct client *c, int64_t until);
/* Waits for the reply to one command that is in conn.out. 0 or -1 (broken). */
int session_ask(struct client *c, enum smtp_stage stage);
/* Gives the connection up with a verdict, whose text it takes over. Always -1. */
int session_give_up(struct client *c, const struct verdict *v);
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
/* What was said since the last transaction, unasked: "421 idle too long", or that it has
 * gone. Never blocks. 0 or -1 (broken). */
int session_listen(struct client *c);
/* The host has said something that nobody asked for. Always -1. */
int session_out_of_turn(struct client *c, enum smtp_stage stage);
/* Closes and forgets all that belonged to the connection. */
void session_close(struct client *c);

#endif
