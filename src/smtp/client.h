/*
 * client.h - one SMTP submission session with a smart host
 *
 * Blocking, with deadlines (RFC 5321 4.5.3.2 and one for the session). Everything the
 * host says is hostile. Nothing here knows the spool, the configuration file or a note.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include "smtp/race.h"
#include "smtp/verdict.h"
#include <sys/socket.h>
#include <sys/types.h>

enum client_tls { CLIENT_TLS_NONE, CLIENT_TLS_STARTTLS, CLIENT_TLS_IMPLICIT };

struct client_conf {
	struct str host; /* as configured: the name the certificate must have */
	enum client_tls tls;
	bool tls_verify;
	struct str tls_name; /* n: verify this name instead */
	struct str tls_ca;   /* PEM text of own CAs; n == 0: the system's */
	struct strv
	    tls_pin; /* "sha256:<hex of the public key's SPKI>": enough instead of a CA */
	struct str tls_priority;
	struct str tls_certificate, tls_key; /* PEM text; n == 0: none */
	struct str user, password;
	/* NULL, or asked for the password when it is needed, under TLS and when the host
	 * offers AUTH: 0 and *ret, borrowed until it is asked again; or -errno and words. */
	int (*secret)(void *arg, struct str *ret, struct buf *ret_why);
	void *secret_arg;
	bool token; /* password is an access token (OAuth 2.0) */
	bool auth;  /* log in; with tls_certificate and no password: by that, and
	                       * where the host does not offer it, not at all */
	struct str
	    auth_only;      /* "plain", "scram-sha-1" ...: only so; n == 0, "auto": as is
	                       * best (auth.h) */
	bool auth_insecure; /* PLAIN and LOGIN also without TLS */
	struct str source;  /* numeric address of ours that connections come from; n == 0:
	                       * the system's choice */
	struct str helo;    /* FQDN or address literal; n == 0: literal of our address */
	int64_t session_max; /* milliseconds for the whole session; a message in hand has
	                        a second more for each 1000 octets */
	int64_t timeout_scale; /* milliseconds that a "second" of RFC 5321's timeouts
	                          lasts: 1000; tests use less */
	bool stream; /* BDAT ahead of replies where it is safe; false: RFC 2920 at most */
	unsigned max_ambiguous; /* messages in flight at most; 0: CLIENT_AMBIGUOUS */
	unsigned connection_messages; /* of one connection at most; 0: as the host says */
	struct str
	    learned; /* what client_learned() gave at an earlier time; n == 0: nothing */
	struct str
	    ticket;    /* what client_ticket() gave at an earlier time; n == 0: nothing */
	int cancel_fd; /* -1, or a descriptor: when its peer hangs up (also only its writing
	                * half), nothing more is sent; but the reply to a message whose last
	                * octet is out is awaited, 30 s at most */
};

struct client;

/* Prepares TLS: reads the system's CAs, so call it before the fence closes files. The
 * conf must outlive the client; its host may change between connections. NULL with *ret_why set (a literal or GnuTLS's word). */
struct client *client_new(const struct client_conf *c, const char **ret_why);
void client_free(
    struct client *c); /* closes without QUIT when still open; NULL is fine */

/* Connects to one address and goes through greeting, EHLO (HELO where EHLO is refused),
 * STARTTLS or TLS, EHLO again, AUTH. 0: ready for messages. -1: not; *ret_why is a HOST
 * verdict (the caller frees its text), and the connection is closed.
 */
int client_open(struct client *c, const struct sockaddr *to, socklen_t to_len,
                struct verdict *ret_why);
/* The addresses of one host. */
struct client_way {
	const struct race_address *to;
	size_t n;
	/* There is another one behind, of this host or of the next: what the host says up to
	 * AUTH is awaited CLIENT_HURRY seconds each, no RFC 5321's 5 minutes. */
	bool others;
	size_t at;    /* out: the one that was connected; n: none of them */
	bool hurried; /* out: it was given up for the others */
};
enum { CLIENT_HURRY = 30 };
/* The same with all of them: the first that answers is taken (race.h). */
int client_open_any(struct client *c, struct client_way *way, struct verdict *ret_why);
bool client_is_open(const struct client *c);
/* One line for the log: "addr=192.0.2.7 port=587 tls=1.3 cipher=... auth=plain
 * pipelining=yes"; borrowed. */
struct str client_facts(const struct client *c);

/* Mechanisms, parted by commas, that the host lists and refused at this connection's login
 * before another one was good; often empty. They are part of what is learned. Borrowed. */
struct str client_passed(const struct client *c);

/* What the host said of the content that it takes (EHLO); false when not open. */
bool client_offers_8bit(const struct client *c);
bool client_offers_utf8(const struct client *c); /* SMTPUTF8 */

/* A body that is made while it is read. It is read at least twice, since SIZE must be exact,
 * and must be the same each time. */
struct client_body {
	int (*rewind)(void *arg); /* to its beginning; 0 or -errno */
	/* At most n octets; 0: the end; -errno. */
	ssize_t (*read)(void *arg, char *p, size_t n);
	void *arg;
};

struct client_msg {
	struct str sender; /* "" for <> */
	struct str header; /* LF or CRLF line ends, with the empty line */
	int fd;            /* the body: from body_at to the end of file */
	int64_t body_at;
	const struct client_body *body; /* NULL: fd; else the body, and fd is not used */
	struct str envid;               /* xtext; used where DSN is offered */
	struct str ret;                 /* "FULL" or "HDRS" or empty */
	struct client_rcpt {
		struct str addr, notify, orcpt;
		struct verdict verdict; /* out: the caller frees verdict.text */
	} * rcpt;
	size_t rcpts;
	/* Called once when the last octets are about to go out (RFC 1047's window opens):
	 * a crash from here to client_send()'s return is a possible duplicate. */
	void (*on_commit)(void *arg);
	void *arg;
	bool dsn_offered; /* out: NOTIFY and so on were passed on */
	bool alone;       /* nothing else in flight while this one is (it was in doubt) */
};

enum { CLIENT_AMBIGUOUS = 500 };

/* Where messages come from and go back to. */
struct client_feed {
	/* The next message, or NULL: none at present. idle: nothing is in flight; then it may
	 * wait for one for a while, and NULL ends client_stream(). Else it must not block. */
	struct client_msg *(*next)(void *arg, bool idle);
	/* Each of m's recipients has its verdict, as client_send() gives them; error: 0 or what
	 * client_send() would return. Never called from within next(). In the order in which
	 * they were given for a host that behaves; otherwise in any. */
	void (*done)(void *arg, struct client_msg *m, int error);
	/* NULL, or called before octets are written to the socket, and before each wait. When it
	 * has returned, what on_commit() noted down of the messages whose last octets are about
	 * to be written is safe; and the feed's other side has heard what done() said. Cheap
	 * when there is nothing to do. Never called from within next() or done(). */
	void (*flush)(void *arg);
	/* -1, or readable when next() may have one. Polled while a reply is awaited and there is
	 * room for one more; looked at anew each time: next() sets it to -1 when nothing will
	 * come any more. A wake for which next() has nothing is no error. */
	int fd;
	void *arg;
};

/* Sends messages, one behind the other, with as many in flight as is safe and useful with this
 * host (src/README, "Streaming"). Ends when next(idle) gives NULL (then it is
 * open still), or when the connection is not open any more. Every message taken by next() is
 * given back by done() before it returns; verdict kinds are those of client_send(), RECONNECT
 * for what was in flight behind the one that ended the connection and is not in doubt. */
void client_stream(struct client *c, const struct client_feed *feed);

/* Appends what was learned about the hosts in this and earlier sessions, of the last few that
 * answered: one line of printable ASCII without blanks, at most CLIENT_LEARNED_MAX octets; times
 * are in it, so that it is forgotten (7 days). Hostile when it comes back: anything malformed
 * counts as nothing. */
enum { CLIENT_LEARNED_MAX = 400 };
void client_learned(const struct client *c, struct buf *b);

/* Appends what the newest TLS session can be resumed by: printable ASCII without blanks, at
 * most CLIENT_TICKET_MAX octets, or nothing. It holds keys: for memory, not for disks and
 * logs. It is for the same host, port, CAs, pins, certificate and so on, and for a day:
 * elsewhere it counts as nothing. Only from who may play the host anyway. */
enum { CLIENT_TICKET_MAX = 16000 };
void client_ticket(const struct client *c, struct buf *b);

/* Sends one message: every recipient gets a verdict, also over several transactions (REST
 * is handled inside, never returned). MAIL with SIZE (exact, of the encoded form) where
 * offered, BODY=8BITMIME when the message has bytes >= 0x80 and it is offered, SMTPUTF8
 * when an address has such bytes (not offered: when only its domain has them, that goes out
 * in A-labels; else FAILED 5.6.7 for that recipient, or all when it is the sender), DSN parameters where offered. Commands of one transaction are
 * pipelined (RFC 2920) where offered. A message over the host's SIZE is FAILED 552 5.3.4
 * without being sent. A line of each recipient's verdict kind: HOST, RECONNECT and DOUBT
 * close the connection (client_is_open() is false then); with RECONNECT, HOST the
 * recipients that had no final reply have that kind. Body read errors: returns -errno,
 * message not sent; the connection is closed when its content had begun. Else 0. */
int client_send(struct client *c, struct client_msg *m);

/* QUIT, waits at most 5 s for the reply, closes. */
void client_quit(struct client *c);

#endif
