/*
 * server.h - the server's side of one SMTP session (RFC 5321)
 *
 * A pure state machine: bytes of a client go in, replies come out, what is decided
 * elsewhere (addresses, storing, passwords) is asked of the caller's functions. No
 * descriptors, no clock, no TLS. Input is hostile. Memory is bounded: one command line
 * (SERVER_LINE_MAX; SERVER_AUTH_MAX more for AUTH), the client's name and its login, and
 * some KiB of the content.
 * Nothing that the client said stands in a reply, but what the caller's words contain.
 *
 * Offered: PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES, LIMITS
 * (RFC 9422), and as the configuration says STARTTLS and AUTH PLAIN LOGIN. No CHUNKING.
 *
 * Old devices: the line of a command may end in LF alone, blanks may stand around the
 * colon, < and > may be missing, EHLO may be missing, any letter case. The content is
 * taken strictly: only CRLF.CRLF ends it. A CRLF and a bare LF in it become LF; the first
 * dot behind a CRLF is removed; bare CR, NUL and all the rest stay.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include "base/str.h"

enum {
	SERVER_LINE_MAX = 2048,     /* octets of a command without its line end */
	SERVER_AUTH_MAX = 12288,    /* more octets of a line with AUTH (RFC 4954 4) */
	SERVER_HELO_MAX = 255,      /* octets of the name in EHLO (RFC 5321 4.5.3.1.2) */
	SERVER_WORDS_MAX = 400,     /* octets of a reply's words; the rest is cut */
	SERVER_PARAMS_MAX = 16,     /* parameters of one command */
	SERVER_ENVID_MAX = 100,     /* RFC 3461 4.4 */
	SERVER_ORCPT_MAX = 500,     /* RFC 3461 4.2 */
	SERVER_PASSWORD_MAX = 1024, /* octets of a user's name, and of a password */
};

struct server_conf {
	struct str hostname; /* in the greeting; at most 255 printable octets; outlives
	                      * the session */
	uint64_t size_max;   /* octets of the content; 0: any */
	unsigned rcpt_max;   /* recipients of one message; 0: 1000 */
	unsigned errors_max; /* 5xx of our own making (not of the caller's functions)
	                      * since the last message; then 421; 0: 20 */
	unsigned auth_max;   /* failed logins; then 421; 0: 5 */
	bool tls;            /* TLS from the first byte */
	bool tls_offered;    /* STARTTLS */
	bool tls_down;       /* it should be, but cannot now: who needs it gets a 4xx */
	bool auth_offered;   /* AUTH PLAIN LOGIN */
	bool auth_insecure;  /* AUTH without TLS, too; without it: only under TLS */
	bool trusted;        /* may relay without AUTH; others: 550 5.7.1 at RCPT */
};

/* Parameters of MAIL. Borrowed for the call. */
struct server_params {
	uint64_t size; /* announced octets; 0: not given */
	bool body8;    /* BODY=8BITMIME */
	bool smtputf8;
	struct str ret;   /* "FULL" or "HDRS", upper case; n == 0: not given */
	struct str envid; /* legal xtext; n == 0: not given */
};

/*
 * The caller's functions. Each gives 0, or the code of a refusal, 400 to 599, and may add
 * its words to *words, with or without an enhanced code in front ("4.3.1 no room"); none:
 * a text that goes with the code. 421 ends the session. A number below 0 (-errno) is 451
 * 4.3.0, and 452 4.3.1 for -ENOSPC and -EDQUOT. Words are made one line of printable
 * ASCII. Strings are borrowed for the call; addresses are what stood between < and >
 * (a source route included, for the callee to judge), or the bare word: no control bytes
 * but TAB are in them, but anything else.
 *
 * A transaction begins when mail() gives 0 and ends with exactly one of: commit() giving
 * 0, or reset(). In it: rcpt() any number of times, begin() (again, after a refusal),
 * content() any number of times, commit() at most once.
 */
struct server_ops {
	int (*mail)(void *arg, struct str addr, const struct server_params *p,
	            struct buf *words);
	/* notify: upper case, "NEVER" or a list of SUCCESS,FAILURE,DELAY. orcpt: addr-type
	 * ";" xtext. n == 0: not given. */
	int (*rcpt)(void *arg, struct str addr, struct str notify, struct str orcpt,
	            struct buf *words);
	/* DATA, with at least one recipient: may content come? */
	int (*begin)(void *arg, struct buf *words);
	/* A piece of the decoded content. After a refusal the rest is read and dropped, the
	 * code is the answer to the content. It has no words. */
	int (*content)(void *arg, struct str bytes);
	/* The content is complete. 0: it is durable; words are those of the 250. */
	int (*commit)(void *arg, struct buf *words);
	/* The transaction is given up: nothing of it may stay. */
	void (*reset)(void *arg);
	/* A login: 0, 454 (or below 0): cannot tell now, anything else: wrong. Neither is
	 * ever in a reply. NULL with auth_offered false. */
	int (*auth)(void *arg, struct str user, struct str password);
	/* A reply of 4xx or 5xx goes out; for the log. verb: a literal ("RCPT", "?": not a
	 * command). May be NULL. */
	void (*refused)(void *arg, const char *verb, int code, struct str words);
	void *arg;
};

enum server_event {
	SERVER_GO_ON,    /* send the replies, come back with more bytes */
	SERVER_STARTTLS, /* send the replies, then do the handshake, then server_tls() */
	SERVER_CLOSE,    /* send the replies and close */
};

enum server_state {
	SERVER_COMMAND,
	SERVER_DATA,          /* content, up to CRLF.CRLF */
	SERVER_AUTH_PLAIN,    /* an answer to 334 */
	SERVER_AUTH_USER,     /* LOGIN's first */
	SERVER_AUTH_PASSWORD, /* and its second */
	SERVER_TLS_WAIT,      /* STARTTLS was answered with 220 */
	SERVER_CLOSED,
};

enum server_undot { UNDOT_BEGIN, UNDOT_TEXT, UNDOT_CR, UNDOT_DOT, UNDOT_DOT_CR };

struct server {
	const struct server_conf *conf;
	const struct server_ops *ops;
	/* For the caller to read. */
	enum server_state state;
	struct buf helo;   /* what EHLO or HELO said: hostile, no control bytes but TAB */
	bool esmtp;        /* it was EHLO */
	bool tls;          /* the session is under TLS */
	struct buf user;   /* logged in as; n == 0: not */
	unsigned messages; /* accepted so far */
	unsigned rcpts;    /* recipients accepted of this transaction */
	/* Inside. */
	bool open;     /* a transaction is */
	bool too_long; /* the rest of this line is skipped */
	bool more;     /* bytes stand behind this line, in the same piece */
	unsigned errors, logins;
	struct buf line;         /* a command that is not complete */
	struct buf name;         /* the user's name, in AUTH LOGIN */
	const char *verb;        /* of the command that is being answered */
	enum server_undot undot; /* where in the content we are */
	uint64_t size;           /* octets of the content so far */
	struct buf piece;        /* decoded ones that content() was not given yet */
	int content_error;       /* what content() said, or 552 */
};

/* Starts a session; conf and ops outlive it. The caller frees with server_free(). */
void server_init(struct server *s, const struct server_conf *conf,
                 const struct server_ops *ops);
/* Gives up an open transaction; wipes what may be secret. */
void server_free(struct server *s);
/* Appends the greeting, 220. Under implicit TLS: after the handshake. */
void server_greet(struct server *s, struct buf *out);
/* Takes all of bytes, appends replies to out: at most 100 times as many octets, and 1000
 * more; so a caller that reads 4 KiB at a time holds at most 410 KB. How the stream is cut
 * into pieces makes no difference to the replies, with one exception: octets that come in
 * one piece with STARTTLS, or with a DATA that is refused, behind it, end the session
 * (they were sent without waiting for the answer as RFC 3207 and 2920 demand, and would be
 * commands of somebody else: an injection in front of TLS, or a message's content). When
 * anything but SERVER_GO_ON came, the rest of bytes was dropped. Blocks as long as the
 * ops do. */
enum server_event server_input(struct server *s, struct str bytes, struct buf *out);
/* The handshake after SERVER_STARTTLS has succeeded: all that was said before is
 * forgotten (RFC 3207 4.2). Nothing is sent: the client speaks next. */
void server_tls(struct server *s);
/* Ends the session from our side, in any state: gives up the transaction, appends 421
 * with the words ("4.4.2 idle for too long"). Nothing when it is closed already. */
void server_bye(struct server *s, struct str words, struct buf *out);

#endif
