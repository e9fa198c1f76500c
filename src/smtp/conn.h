/*
 * conn.h - a connected socket: optional TLS, buffers both ways, deadlines
 *
 * Everything waits in poll() on the monotonic clock, and whatever waits reads and writes
 * at the same time: a host that answers while it is written to cannot make both sides
 * stand still. After a failed write what the host still says is read until it closes.
 */
#ifndef SMTP_CONN_H
#define SMTP_CONN_H

#include "smtp/race.h"
#include <gnutls/gnutls.h>
#include <sys/socket.h>

enum {
	CONN_IN_MAX = 65536,     /* octets read ahead of who takes them */
	CONN_CANCEL_SECONDS = 30 /* for outstanding replies after the canceller hung up */
};

struct conn {
	int fd;
	int cancel_fd;        /* -1: none; see client.h */
	gnutls_session_t tls; /* NULL: in the clear */
	struct buf in;        /* read, not yet taken */
	struct buf out;       /* to be written, from out_at on */
	size_t out_at;
	uint64_t
	    taken; /* octets of out that the kernel (with TLS: of whole records) has taken
	                 * since the connection began */
	int wake_fd; /* -1: none; conn_step() also returns when it is readable */
	bool woken;  /* it was; the caller resets it */
	/* TLS: what GnuTLS made of the first octets of out (record of them); from sealed_at on
	 * the kernel has not taken it. */
	struct buf sealed;
	size_t sealed_at, record;
	int64_t session_end; /* clock_ms() at which everything ends */
	int64_t cancel_end;  /* 0: not cancelled */
	int64_t cancel_ms; /* how long to wait then: 0, or CONN_CANCEL_SECONDS, scaled */
	int64_t moved;     /* clock_ms() of the last octet that the kernel took */
	int write_error;   /* errno of the write that failed; what is unsent stays */
	int tls_error;     /* GnuTLS's error that ended reading; 0: none */
	bool eof;
};
#define CONN_INIT                                        \
	{                                                \
		.fd = -1, .cancel_fd = -1, .wake_fd = -1 \
	}

/* Connects to that of the addresses which is there first: 0, or -errno, as race_connect() does
 * it. Of *to, cancel_fd is not looked at: c->cancel_fd and session_end, which the caller has
 * set, hold here too. */
int conn_open(struct conn *c, const struct race *to, size_t *ret_won,
              struct buf *ret_why);
/* Closes at once, forgets (and wipes) what is in the buffers. Fine when not open. */
void conn_close(struct conn *c);
/* The same, and the kernel forgets what the peer has not confirmed yet: nothing more of it
 * arrives (SO_LINGER of 0). */
void conn_abort(struct conn *c);

/* The handshake of c->tls is over: from now on what GnuTLS writes goes through here. */
void conn_secured(struct conn *c);
/* Says farewell to TLS (close_notify), if there is any, as far as that works at once. */
void conn_bye(struct conn *c);

/* Octets that the kernel has not taken yet. */
size_t conn_unsent(const struct conn *c);
/* Octets put into out since the connection began: where what is put next begins. */
uint64_t conn_put(const struct conn *c);
/* Waits until octets went out or came in, or the end of the stream was seen (c->eof), or
 * writing failed (c->write_error), or wake_fd is readable (c->woken). 0; -ETIMEDOUT: nothing
 * of it until deadline or the session's end; -ECANCELED; -ECONNRESET: nothing can move any
 * more (c->eof, all was read). With CONN_IN_MAX octets in `in` nothing more is read. Cancelled
 * with a cancel_ms of 0 it ends at once when there is something to write; else nothing more is
 * written, and what comes in is read for so long. */
int conn_step(struct conn *c, int64_t deadline);
/* Waits for poll(2) events on the socket. 0, -ETIMEDOUT, -ECANCELED or -errno. */
int conn_wait(struct conn *c, short events, int64_t deadline);
/* Appends "[192.0.2.1]" or "[IPv6:2001:db8::1]", the address literal of our end (RFC 5321
 * 4.1.3). */
void conn_literal(const struct conn *c, struct buf *b);

#endif
