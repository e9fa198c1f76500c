#include "smtp/tls_words.h"
#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <time.h>

enum {
	NAME_ROOM = 256,
	NAMES_MAX = 3, /* names of a certificate that are shown */
	NAME_MAX_SHOWN = 64,
	DN_MAX_SHOWN = 80,
	PIN_BYTES = 32,
};

/* When this was written: a clock that says less is wrong. */
#define CLOCK_WRITTEN INT64_C(1767225600) /* 2026-01-01 */

struct chain {
	const struct tls_shown *s;
	gnutls_x509_crt_t crt[TLS_CHAIN_MAX];
	unsigned n;
};

static void chain_take(struct chain *c, const struct tls_shown *s)
{
	c->s = s;
	for (c->n = 0; c->n < s->n && c->n < TLS_CHAIN_MAX; c->n++) {
		gnutls_x509_crt_t *crt = &c->crt[c->n];

		if (gnutls_x509_crt_init(crt) < 0)
			return;
		if (gnutls_x509_crt_import(*crt, &s->chain[c->n], GNUTLS_X509_FMT_DER) <
		    0) {
			gnutls_x509_crt_deinit(*crt);
			return;
		}
	}
}

static void chain_free(struct chain *c)
{
	for (unsigned i = 0; i < c->n; i++)
		gnutls_x509_crt_deinit(c->crt[i]);
	c->n = 0;
}

static void add_date(struct buf *b, int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (seconds != -1 && gmtime_r(&t, &tm))
		buf_fmt(b, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1,
		        tm.tm_mday);
	else
		buf_c(b, '?');
}

/* Names of people and companies are long; what matters in front is the CN. */
static void add_dn(struct buf *b, gnutls_x509_crt_t crt, bool issuer)
{
	gnutls_datum_t dn = { NULL, 0 };
	int e = issuer ? gnutls_x509_crt_get_issuer_dn3(crt, &dn, 0)
	               : gnutls_x509_crt_get_dn3(crt, &dn, 0);

	if (e < 0 || dn.size == 0) {
		buf_z(b, "nobody");
	} else {
		buf_add(b, dn.data, dn.size < DN_MAX_SHOWN ? dn.size : DN_MAX_SHOWN);
		buf_z(b, dn.size > DN_MAX_SHOWN ? "..." : "");
	}
	if (e == 0)
		gnutls_free(dn.data);
}

static void add_address(struct buf *b, const char *address, size_t n)
{
	if (!inet_ntop(n == 4 ? AF_INET : AF_INET6, address,
	               buf_room(b, INET6_ADDRSTRLEN), INET6_ADDRSTRLEN))
		buf_c(b, '?');
	else
		b->n += strlen(b->p + b->n);
}

/* "a.example, b.example and 7 more". How many. */
static size_t add_names(struct buf *b, gnutls_x509_crt_t crt)
{
	char name[NAME_ROOM];
	size_t names = 0;
	int e = 0;

	for (unsigned i = 0; e != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE; i++) {
		size_t n = sizeof(name);

		e = gnutls_x509_crt_get_subject_alt_name2(crt, i, name, &n, NULL, NULL);
		if (e < 0 && e != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE &&
		    e != GNUTLS_E_SHORT_MEMORY_BUFFER)
			break;
		if (e != GNUTLS_SAN_DNSNAME && e != GNUTLS_SAN_IPADDRESS &&
		    e != GNUTLS_E_SHORT_MEMORY_BUFFER)
			continue;
		if (names++ >= NAMES_MAX)
			continue;
		buf_z(b, names > 1 ? ", " : "");
		if (e == GNUTLS_E_SHORT_MEMORY_BUFFER)
			buf_z(b, "a name too long for DNS");
		else if (e == GNUTLS_SAN_DNSNAME)
			buf_add(b, name, n < NAME_MAX_SHOWN ? n : NAME_MAX_SHOWN);
		else if (n == 4 || n == 16)
			add_address(b, name, n);
	}
	if (names > NAMES_MAX)
		buf_fmt(b, " and %zu more", names - NAMES_MAX);
	return names;
}

/* Whose certificate it is. */
static void add_facts(struct buf *b, const struct chain *c)
{
	if (c->n == 0)
		return;
	buf_z(b, "; the certificate is for ");
	if (add_names(b, c->crt[0]) == 0)
		add_dn(b, c->crt[0], false);
	buf_z(b, ", valid from ");
	add_date(b, gnutls_x509_crt_get_activation_time(c->crt[0]));
	buf_z(b, " to ");
	add_date(b, gnutls_x509_crt_get_expiration_time(c->crt[0]));
	buf_z(b, ", issued by ");
	add_dn(b, c->crt[0], true);
}

/* ---- What is wrong ---- */

/* The host's own, or that of one of those between it and its root. */
static void add_which(struct buf *b, const struct chain *c, unsigned i)
{
	if (i == 0) {
		buf_z(b, "the certificate");
		return;
	}
	buf_z(b, "the CA certificate of ");
	add_dn(b, c->crt[i], false);
}

static void add_today(struct buf *b, int64_t now)
{
	buf_z(b, " (today is ");
	add_date(b, now);
	buf_c(b, ')');
}

static void why_expired(struct buf *b, const struct chain *c)
{
	unsigned i = 0;

	while (i < c->n && gnutls_x509_crt_get_expiration_time(c->crt[i]) >= c->s->now)
		i++;
	if (i < c->n) {
		add_which(b, c, i);
		buf_z(b, " has expired on ");
		add_date(b, gnutls_x509_crt_get_expiration_time(c->crt[i]));
	} else {
		buf_z(b, "the CA that is trusted has expired");
	}
	add_today(b, c->s->now);
}

static void why_early(struct buf *b, const struct chain *c)
{
	unsigned i = 0;

	while (i < c->n && gnutls_x509_crt_get_activation_time(c->crt[i]) <= c->s->now)
		i++;
	if (i < c->n) {
		add_which(b, c, i);
		buf_z(b, " is not valid before ");
		add_date(b, gnutls_x509_crt_get_activation_time(c->crt[i]));
	} else {
		buf_z(b, "the CA that is trusted is not valid yet");
	}
	add_today(b, c->s->now);
	if (c->s->now < CLOCK_WRITTEN)
		buf_z(b, ": this machine's clock is wrong");
}

static void why_name(struct buf *b, const struct chain *c)
{
	(void)c;
	buf_z(b, "the certificate is for another name (tls-name can say which is right)");
}

static void why_unknown(struct buf *b, const struct chain *c)
{
	gnutls_x509_crt_t last;

	if (c->n && gnutls_x509_crt_check_issuer(c->crt[0], c->crt[0])) {
		buf_z(b, "the certificate is self-signed, and not among the trusted ones "
		         "(tls-ca-file, tls-pin)");
		return;
	}
	buf_z(b, "no trusted CA has issued the certificate: ");
	if (c->n == 0)
		return;
	last = c->crt[c->n - 1];
	if (c->n > 1 || gnutls_x509_crt_check_issuer(last, last)) {
		add_which(b, c, c->n - 1);
		buf_z(b, ", the last that the host shows, is not trusted (tls-ca-file)");
	} else {
		add_dn(b, last, true);
		buf_z(b, ", who issued it, is not trusted (tls-ca-file), and the host "
		         "does not show that one's certificate");
	}
}

static void why_not_ca(struct buf *b, const struct chain *c)
{
	unsigned i = 1;

	while (i < c->n && gnutls_x509_crt_get_ca_status(c->crt[i], NULL) > 0)
		i++;
	buf_z(b, "the certificate is issued by ");
	if (i < c->n)
		add_dn(b, c->crt[i], false);
	else
		buf_z(b, "one");
	buf_z(b, ", which is no CA");
}

/* The key and the signature of the first that is too weak. */
static void why_weak(struct buf *b, const struct chain *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		unsigned bits = 0;
		int key = gnutls_x509_crt_get_pk_algorithm(c->crt[i], &bits);
		int sign = gnutls_x509_crt_get_signature_algorithm(c->crt[i]);
		gnutls_pk_algorithm_t pk = (gnutls_pk_algorithm_t)(key < 0 ? 0 : key);
		gnutls_sign_algorithm_t alg =
		    (gnutls_sign_algorithm_t)(sign < 0 ? 0 : sign);
		bool self = gnutls_x509_crt_check_issuer(c->crt[i], c->crt[i]);
		const char *name = gnutls_sign_get_name(alg);

		if (bits < gnutls_sec_param_to_pk_bits(pk, GNUTLS_SEC_PARAM_MEDIUM)) {
			add_which(b, c, i);
			buf_fmt(b, " has a weak key: %s of %u bits",
			        gnutls_pk_get_name(pk), bits);
			return;
		}
		if (!self &&
		    !gnutls_sign_is_secure2(alg, GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS)) {
			add_which(b, c, i);
			buf_fmt(b, " has a weak signature: %s", name ? name : "unknown");
			return;
		}
	}
	buf_z(b,
	      "the certificate, or the CA that is trusted, has a weak key or signature");
}

static const struct {
	unsigned bit;
	const char *words;
	void (*add)(struct buf *b, const struct chain *c);
} reasons[] = {
	{ GNUTLS_CERT_REVOKED, "the certificate is revoked", NULL },
	{ GNUTLS_CERT_SIGNATURE_FAILURE, "the certificate's signature is wrong", NULL },
	{ GNUTLS_CERT_UNEXPECTED_OWNER, NULL, why_name },
	{ GNUTLS_CERT_EXPIRED, NULL, why_expired },
	{ GNUTLS_CERT_NOT_ACTIVATED, NULL, why_early },
	{ GNUTLS_CERT_SIGNER_NOT_CA, NULL, why_not_ca },
	{ GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE,
	  "its CA may not issue it (name constraints, or length of the chain)", NULL },
	{ GNUTLS_CERT_PURPOSE_MISMATCH,
	  "the certificate is not for servers (extended key usage)", NULL },
	{ GNUTLS_CERT_INSECURE_ALGORITHM, NULL, why_weak },
	{ GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS,
	  "the certificate has a critical extension that is not known", NULL },
	{ GNUTLS_CERT_SIGNER_NOT_FOUND, NULL, why_unknown },
};

static void add_reasons(struct buf *b, const struct chain *c)
{
	size_t n = 0;

	/* GnuTLS did not come to an end with it. */
	if (c->n && c->s->status == UINT_MAX) {
		buf_z(b, "the chain of certificates is too long, or malformed");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		if (!(c->s->status & reasons[i].bit))
			continue;
		buf_z(b, n++ ? "; " : "");
		if (reasons[i].add)
			reasons[i].add(b, c);
		else
			buf_z(b, reasons[i].words);
	}
	if (n == 0)
		buf_z(b, c->n ? "the certificate is not trusted"
		              : "it shows no certificate that can be read");
}

static void add_pin(struct buf *b, const struct chain *c)
{
	unsigned char pin[PIN_BYTES];
	size_t n = sizeof(pin);

	buf_z(b, "the public key is none of tls-pin");
	if (c->n == 0 ||
	    gnutls_x509_crt_get_key_id(c->crt[0], GNUTLS_KEYID_USE_SHA256, pin, &n) < 0)
		return;
	buf_z(b, "; it is sha256:");
	for (size_t i = 0; i < n; i++)
		buf_fmt(b, "%02x", pin[i]);
}

void tls_words_certificate(const struct tls_shown *s, struct buf *b)
{
	struct chain c = { .n = 0 };

	chain_take(&c, s);
	buf_fmt(b, "cannot verify that this is %s: ", s->name);
	if (s->pins)
		add_pin(b, &c);
	else
		add_reasons(b, &c);
	add_facts(b, &c);
	chain_free(&c);
}

void tls_words_stale(gnutls_x509_crt_t crt, int64_t now, struct buf *b)
{
	int64_t from = gnutls_x509_crt_get_activation_time(crt);
	int64_t to = gnutls_x509_crt_get_expiration_time(crt);

	if (now >= from && now <= to)
		return;
	buf_z(b, now < from ? "is not valid before " : "has expired on ");
	add_date(b, now < from ? from : to);
	add_today(b, now);
}

/* ---- The handshake ---- */

static const char no_version[] =
    "the host has no version of TLS that tls-priority allows (1.2 and 1.3 by default)";
static const char no_cipher[] =
    "the host has no cipher or key that tls-priority allows, or wants a tls-certificate";
static const char too_weak[] =
    "the host's keys or ciphers are weaker than tls-priority allows";
static const char not_ours[] = "the host does not accept our tls-certificate";

static const struct {
	gnutls_alert_description_t alert;
	const char *words;
} alerts[] = {
	{ GNUTLS_A_PROTOCOL_VERSION, no_version },
	{ GNUTLS_A_HANDSHAKE_FAILURE, no_cipher },
	{ GNUTLS_A_INSUFFICIENT_SECURITY, no_cipher },
	{ GNUTLS_A_CERTIFICATE_REQUIRED,
	  "the host wants a certificate (tls-certificate)" },
	{ GNUTLS_A_BAD_CERTIFICATE, not_ours },
	{ GNUTLS_A_UNSUPPORTED_CERTIFICATE, not_ours },
	{ GNUTLS_A_CERTIFICATE_REVOKED, not_ours },
	{ GNUTLS_A_CERTIFICATE_EXPIRED, not_ours },
	{ GNUTLS_A_CERTIFICATE_UNKNOWN, not_ours },
	{ GNUTLS_A_UNKNOWN_CA, not_ours },
	{ GNUTLS_A_ACCESS_DENIED, not_ours },
	{ GNUTLS_A_UNRECOGNIZED_NAME, "the host does not know its name (tls-name)" },
};

static const struct {
	int error;
	const char *words;
} errors[] = {
	{ GNUTLS_E_UNSUPPORTED_VERSION_PACKET, no_version },
	{ GNUTLS_E_INSUFFICIENT_SECURITY, too_weak },
	{ GNUTLS_E_DH_PRIME_UNACCEPTABLE, too_weak },
	{ GNUTLS_E_NO_CIPHER_SUITES, no_cipher },
	{ GNUTLS_E_UNKNOWN_CIPHER_SUITE, no_cipher },
	{ GNUTLS_E_UNEXPECTED_PACKET_LENGTH, "does the host speak TLS on this port?" },
	{ GNUTLS_E_UNEXPECTED_PACKET, "does the host speak TLS on this port?" },
	{ GNUTLS_E_PREMATURE_TERMINATION, "the host hung up" },
	{ GNUTLS_E_PULL_ERROR, "the host hung up" },
	{ GNUTLS_E_PUSH_ERROR, "the host hung up" },
};

void tls_words_error(gnutls_session_t s, int e, struct buf *b)
{
	const char *words = NULL, *name = gnutls_strerror(e);
	bool alert = e == GNUTLS_E_FATAL_ALERT_RECEIVED;
	gnutls_alert_description_t what =
	    alert ? gnutls_alert_get(s) : GNUTLS_A_CLOSE_NOTIFY;

	for (size_t i = 0; alert && i < ARRAY_LEN(alerts); i++)
		if (alerts[i].alert == what)
			words = alerts[i].words;
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (errors[i].error == e)
			words = errors[i].words;
	if (alert && gnutls_alert_get_name(what))
		name = gnutls_alert_get_name(what);
	if (words)
		buf_fmt(b, "%s (%s%s)", words, alert ? "it says: " : "", name);
	else
		buf_fmt(b, "%s%s", alert ? "the host says: " : "", name);
	/* Many ask and do without; this one may not. */
	if (alert && !words && gnutls_certificate_client_get_request_status(s) &&
	    !gnutls_certificate_get_ours(s))
		buf_z(b, " (it asked for a tls-certificate, and got none)");
}
