/*
 * conn.h - a connected socket: optional TLS, buffers both ways, deadlines
 *
 * Everything waits in poll() on the monotonic clock, and whatever waits reads and writes
 * at the same time: a host that answers while it is written to cannot make both sides
 * stand still. After a failed write what the host still says is read until it closes.
 */
#ifndef SMTP_CONN_H
#define SMTP_CONN_H

#include "base/str.h"
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
	size_t tls_retry;    /* GnuTLS holds a record of so many octets: asked again */
	int64_t session_end; /* clock_ms() at which everything ends */
	int64_t cancel_end;  /* 0: not cancelled */
	int64_t cancel_ms; /* how long to wait then: 0, or CONN_CANCEL_SECONDS, scaled */
	int64_t moved;     /* clock_ms() of the last octet that the kernel took */
	int write_error;   /* errno of the write that failed; what is unsent stays */
	int tls_error;     /* GnuTLS's error that ended reading; 0: none */
	bool eof;
};
#define CONN_INIT                         \
	{                                 \
		.fd = -1, .cancel_fd = -1 \
	}

/* Connects. 0, or -errno: -ETIMEDOUT, -ECANCELED (cancel_fd's peer is gone), or what
 * connect(2) says. c->cancel_fd, session_end and cancel_ms are set by the caller. */
int conn_open(struct conn *c, const struct sockaddr *to, socklen_t to_len,
              int64_t deadline);
/* Closes at once, forgets (and wipes) what is in the buffers. Fine when not open. */
void conn_close(struct conn *c);

/* Octets that the kernel has not taken yet. */
size_t conn_unsent(const struct conn *c);
/* Waits until octets went out or came in, or the end of the stream was seen (c->eof), or
 * writing failed (c->write_error). 0; -ETIMEDOUT: nothing of it until deadline or the
 * session's end; -ECANCELED; -ECONNRESET: nothing can move any more (c->eof, all was
 * read). */
int conn_step(struct conn *c, int64_t deadline);
/* Waits for poll(2) events on the socket. 0, -ETIMEDOUT, -ECANCELED or -errno. */
int conn_wait(struct conn *c, short events, int64_t deadline);
/* Appends "[192.0.2.1]" or "[IPv6:2001:db8::1]", the address literal of our end (RFC 5321
 * 4.1.3). */
void conn_literal(const struct conn *c, struct buf *b);

#endif
