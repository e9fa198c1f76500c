/*
 * tls_words.h - what is wrong with a host's TLS, in words for who must put it right
 *
 * The certificates are hostile, and so is what is appended: the caller escapes it.
 */
#ifndef SMTP_TLS_WORDS_H
#define SMTP_TLS_WORDS_H

#include "base/str.h"
#include <gnutls/x509.h>

enum { TLS_CHAIN_MAX = 16 }; /* certificates that are looked at; GnuTLS takes no more */

/* What the host showed, and what was wanted. */
struct tls_shown {
	const char *name;            /* that the certificate must have */
	const gnutls_datum_t *chain; /* DER, the host's own first */
	unsigned n;
	unsigned status; /* GNUTLS_CERT_*: what verification found */
	bool pins;   /* it was to be one of some keys, and is not: status is nothing */
	int64_t now; /* seconds since 1970 */
};

/* Appends why it is not the host: each thing that is wrong, with the name or the dates; then
 * whose certificate it is, its dates and who issued it. */
void tls_words_certificate(const struct tls_shown *s, struct buf *b);
/* Appends that it has expired, or is not valid yet, with the dates; nothing when it is good. */
void tls_words_stale(gnutls_x509_crt_t crt, int64_t now, struct buf *b);
/* Appends why there is no TLS, or no more: e is GnuTLS's error. */
void tls_words_error(gnutls_session_t s, int e, struct buf *b);

#endif
