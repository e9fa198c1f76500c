/*
 * tls.h - TLS as a client: who the host must be, and in plain words why it is not
 */
#ifndef SMTP_TLS_H
#define SMTP_TLS_H

#include "smtp/client.h"
#include "smtp/conn.h"

struct tls;

/* Reads the CAs, our certificate, the priority string and the pins of c, which must
 * outlive it. NULL with *ret_why set. */
struct tls *tls_new(const struct client_conf *c, const char **ret_why);
void tls_free(struct tls *t);
/* Appends "has expired on 2021-01-01 ..." when that is so of our certificate, or it is not valid
 * yet; nothing when it is, or there is none. The host decides what that means to it. */
void tls_own_stale(const struct tls *t, struct buf *b);
/* Takes the name that is to be verified from the conf again: before each connection. */
void tls_expect(struct tls *t);

/* Makes c a TLS connection; when this gives 0 the host is who it must be: with pins, one
 * of them is its public key, and nothing else of its certificate matters; else with
 * tls_verify its certificate is trusted, is for servers and for tls_name (or host), and is
 * valid now. The check is part of the handshake; of a session that is resumed the first
 * handshake's certificate is checked again. Else -errno:
 * -ETIMEDOUT, -ECANCELED, -EPROTO, and words in ret_why (hostile bytes escaped, at most
 * 400). */
int tls_start(struct tls *t, struct conn *c, int64_t deadline, struct buf *ret_why);
/* The last tls_start() offered to resume a session. When it failed, that may be why: a new
 * connection will not offer it again. */
bool tls_offered(const struct tls *t);
/* Keeps what c's session can be resumed by, if there is something yet (with TLS 1.3 it comes
 * behind the handshake), for the next tls_start() and tls_ticket(). */
void tls_keep(struct tls *t, const struct conn *c);
/* Appends it as text: client_ticket(). */
void tls_ticket(const struct tls *t, struct buf *b);
/* Appends "tls=1.3 cipher=AES-256-GCM", and " tls-resumed=yes". */
void tls_facts(const struct conn *c, struct buf *b);

#endif
