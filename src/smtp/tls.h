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
/* Takes the name that is to be verified from the conf again: before each connection. */
void tls_expect(struct tls *t);

/* Makes c a TLS connection; when this gives 0 the host is who it must be: with pins, one
 * of them is its public key; else with tls_verify its certificate is trusted, is for
 * tls_name (or host), and is valid now. The check is part of the handshake. Else -errno:
 * -ETIMEDOUT, -ECANCELED, -EPROTO, and words in ret_why (hostile bytes escaped, at most
 * 400). */
int tls_start(struct tls *t, struct conn *c, int64_t deadline, struct buf *ret_why);
/* Appends "tls=1.3 cipher=AES-256-GCM". */
void tls_facts(const struct conn *c, struct buf *b);

#endif
