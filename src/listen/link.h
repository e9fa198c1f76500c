/*
 * link.h - the two descriptors of a session, with deadlines, and TLS as a server
 *
 * Descriptors stay as they are (somebody else may hold them too, so they are not made
 * non-blocking): sockets are read and written with MSG_DONTWAIT, others behind poll(2) in
 * pieces that do not block. TLS needs sockets. Nothing raises SIGPIPE for sockets; for a pipe
 * it is the caller's to ignore.
 */
#ifndef LISTEN_LINK_H
#define LISTEN_LINK_H

#include "base/str.h"
#include <gnutls/gnutls.h>

enum { LINK_PEM_MAX = 256 * 1024 }; /* octets of a certificate's file, and of a key's */

struct link {
	int in, out;
	int stop;             /* readable: reading ends; -1: none */
	gnutls_session_t tls; /* NULL: in the clear */
	/* Until the end of the handshake. */
	gnutls_certificate_credentials_t cred;
	gnutls_priority_t priority;
};
#define LINK_INIT                                \
	{                                        \
		.in = -1, .out = -1, .stop = -1, \
	}

/* Reads at most n octets, waiting until deadline (clock_ms()). Octets; 0 at the end, also one
 * without TLS's farewell; -ETIMEDOUT; -ECANCELED: stop is readable; or another -errno. */
ssize_t link_read(struct link *l, char *to, size_t n, int64_t deadline);
/* Writes all of text. 0, -ETIMEDOUT or another -errno. Heeds not stop. */
int link_write(struct link *l, struct str text, int64_t deadline);
/* Can link_tls() use this certificate (chain) and key, both PEM, and this priority string of
 * GnuTLS (n == 0: ours, TLS 1.2 or better)? 0; or -EINVAL: which of them cannot be used, and why,
 * is in ret_why, free of control bytes. Half a millisecond. */
int link_try(struct str certificate, struct str key, struct str priority,
             struct buf *ret_why);
/* The handshake as a server with them. 0, -ETIMEDOUT, -EPROTO, -EINVAL (as link_try(), or there
 * is no TLS to be had), and words in ret_why, free of control bytes. After an error only
 * link_close() makes sense. */
int link_tls(struct link *l, struct str certificate, struct str key, struct str priority,
             int64_t deadline, struct buf *ret_why);
/* "1.3"; "": no TLS. A literal or GnuTLS's own. */
const char *link_tls_version(const struct link *l);
/* Takes leave: what the client has sent and nobody reads must not destroy the last reply on its
 * way (TCP resets), so what comes is dropped until the client closes, deadline at the latest.
 * Then closes both descriptors. */
void link_close(struct link *l, int64_t deadline);

#endif
