/*
 * tls_ticket.h - a TLS session that can be resumed, in memory and as text
 *
 * It holds keys: what was said over a connection that resumes it can be read, and the host be
 * played, by whoever has it. So it is never written to disk, and is used once (RFC 8446 C.4).
 */
#ifndef SMTP_TLS_TICKET_H
#define SMTP_TLS_TICKET_H

#include "smtp/client.h"

enum {
	TICKET_BOUND = 32,      /* octets of a SHA-256 */
	TICKET_SECONDS = 86400, /* longest use; the host can set less */
	TICKET_DATA_MAX =
	    64 * 1024, /* octets of GnuTLS's data; larger ones are not kept */
};

struct ticket {
	unsigned char bound[TICKET_BOUND]; /* what it was made for */
	int64_t ends;                      /* seconds since 1970 */
	struct buf data;                   /* GnuTLS's; n == 0: there is none */
};
#define TICKET_INIT              \
	{                        \
		.data = BUF_INIT \
	}

/* The hash of all that decides who the host must be and who we are: name, port, whether and
 * how it is verified, CAs, pins, our certificate, the priority string. */
void ticket_bind(const struct client_conf *c, const char *name, unsigned port,
                 unsigned char ret[static TICKET_BOUND]);
/* Is it there, for that, and not too old? */
bool ticket_holds(const struct ticket *t, const unsigned char bound[static TICKET_BOUND],
                  int64_t now);
/* Wipes it. */
void ticket_forget(struct ticket *t);

/* Appends it as base64; nothing when there is none, or it is longer than CLIENT_TICKET_MAX. */
void ticket_print(const struct ticket *t, struct buf *b);
/* The same back; false, and none, when it is malformed. */
bool ticket_parse(struct str text, struct ticket *ret);

#endif
