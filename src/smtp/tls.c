#include "smtp/tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <poll.h>

enum {
	PIN_BYTES = 32, /* SHA-256 */
	PINS_MAX = 16,
	WORDS_MAX = 400,
};

static const char default_priority[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1";

struct tls {
	const struct client_conf *conf;
	gnutls_certificate_credentials_t creds;
	gnutls_priority_t priority;
	char *name; /* that the certificate must have: a domain name or an address */
	unsigned char pin[PINS_MAX][PIN_BYTES];
	size_t pins;
	bool name_is_address;
};

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool pin_parse(struct str s, unsigned char ret[PIN_BYTES])
{
	if (!str_istarts(s, STR("sha256:")) || s.n != 7 + 2 * PIN_BYTES)
		return false;
	s = str_from(s, 7);
	for (size_t i = 0; i < PIN_BYTES; i++) {
		int high = hex_of(s.p[2 * i]), low = hex_of(s.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

/* "[192.0.2.7]" and "[IPv6:::1]" are addresses (RFC 5321 4.1.3); a final dot is no part
 * of a certificate's name. */
void tls_expect(struct tls *t)
{
	const struct client_conf *c = t->conf;
	struct str name = c->tls_name.n ? c->tls_name : c->host;
	unsigned char address[sizeof(struct in6_addr)];

	if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		name = str_from(str_head(name, name.n - 1), 1);
	if (str_istarts(name, STR("IPv6:")))
		name = str_from(name, 5);
	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	free(t->name);
	t->name = str_dup(name);
	t->name_is_address = inet_pton(AF_INET, t->name, address) == 1 ||
	                     inet_pton(AF_INET6, t->name, address) == 1;
}

/* A copy that the caller frees: GnuTLS takes no const and an unsigned length. */
static gnutls_datum_t datum(struct str s, char **ret_copy)
{
	*ret_copy = str_dup(s);
	return (gnutls_datum_t){ (unsigned char *)*ret_copy, (unsigned)s.n };
}

static const char *load_ca(struct tls *t, struct str pem)
{
	int e;

	if (pem.n) {
		char *copy;
		gnutls_datum_t d = datum(pem, &copy);

		e = gnutls_certificate_set_x509_trust_mem(t->creds, &d,
		                                          GNUTLS_X509_FMT_PEM);
		free(copy);
		return e > 0 ? NULL : "tls-ca-file: no certificate in it (PEM is wanted)";
	}
	e = gnutls_certificate_set_x509_system_trust(t->creds);
	return e > 0 ? NULL
	             : "the system has no CA certificates: install ca-certificates";
}

static const char *load_own(struct tls *t, const struct client_conf *c)
{
	char *cert, *key;
	gnutls_datum_t d, k;
	int e;

	if (!c->tls_certificate.n)
		return NULL;
	d = datum(c->tls_certificate, &cert);
	k = datum(c->tls_key.n ? c->tls_key : c->tls_certificate, &key);
	e = gnutls_certificate_set_x509_key_mem(t->creds, &d, &k, GNUTLS_X509_FMT_PEM);
	explicit_bzero(key, k.size);
	free(cert);
	free(key);
	return e < 0 ? gnutls_strerror(e) : NULL;
}

static const char *load(struct tls *t, const struct client_conf *c)
{
	_cleanup_buf_ struct buf priority = BUF_INIT;
	const char *why, *at;

	if (gnutls_certificate_allocate_credentials(&t->creds) < 0)
		die_oom();
	buf_str(&priority, c->tls_priority.n ? c->tls_priority : str_z(default_priority));
	if (gnutls_priority_init(&t->priority, priority.p, &at) < 0)
		return "tls-priority: GnuTLS does not understand it";
	if (c->tls_pin.n > PINS_MAX)
		return "tls-pin: too many";
	for (; t->pins < c->tls_pin.n; t->pins++)
		if (!pin_parse(str_z(c->tls_pin.v[t->pins]), t->pin[t->pins]))
			return "tls-pin: must be sha256: and 64 hexadecimal digits";
	if (c->tls_verify && !t->pins) {
		why = load_ca(t, c->tls_ca);
		if (why)
			return why;
	}
	return load_own(t, c);
}

struct tls *tls_new(const struct client_conf *c, const char **ret_why)
{
	struct tls *t = calloc(1, sizeof(*t));
	const char *why;

	if (!t)
		die_oom();
	t->conf = c;
	tls_expect(t);
	why = load(t, c);
	if (why) {
		*ret_why = why;
		tls_free(t);
		return NULL;
	}
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	if (t->creds)
		gnutls_certificate_free_credentials(t->creds);
	if (t->priority)
		gnutls_priority_deinit(t->priority);
	free(t->name);
	free(t);
}

/* The host's own certificate; the caller deinits it. */
static bool peer_certificate(gnutls_session_t s, gnutls_x509_crt_t *ret)
{
	unsigned n = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(s, &n);

	if (!chain || n == 0 || gnutls_x509_crt_init(ret) < 0)
		return false;
	if (gnutls_x509_crt_import(*ret, &chain[0], GNUTLS_X509_FMT_DER) == 0)
		return true;
	gnutls_x509_crt_deinit(*ret);
	return false;
}

/* SHA-256 of the SubjectPublicKeyInfo. */
static bool peer_pin(gnutls_session_t s, unsigned char ret[PIN_BYTES])
{
	gnutls_x509_crt_t crt;
	size_t n = PIN_BYTES;
	bool ok;

	if (!peer_certificate(s, &crt))
		return false;
	ok = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, ret, &n) == 0 &&
	     n == PIN_BYTES;
	gnutls_x509_crt_deinit(crt);
	return ok;
}

/* Called by GnuTLS within the handshake: anything but 0 ends it. */
static int check_pin(gnutls_session_t s)
{
	const struct tls *t = gnutls_session_get_ptr(s);
	unsigned char pin[PIN_BYTES];

	if (!peer_pin(s, pin))
		return GNUTLS_E_CERTIFICATE_ERROR;
	for (size_t i = 0; i < t->pins; i++)
		if (memcmp(pin, t->pin[i], PIN_BYTES) == 0)
			return 0;
	return GNUTLS_E_CERTIFICATE_ERROR;
}

static void add_date(struct buf *b, time_t t)
{
	struct tm tm;

	if (t != (time_t)-1 && gmtime_r(&t, &tm))
		buf_fmt(b, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1,
		        tm.tm_mday);
	else
		buf_c(b, '?');
}

/* Whose certificate it is: names, issuer, dates. */
static void add_certificate(struct buf *b, gnutls_x509_crt_t crt)
{
	enum { NAMES_MAX = 8 };
	gnutls_datum_t dn;
	char name[256];
	size_t names = 0;

	buf_z(b, "; the certificate is for ");
	for (unsigned i = 0; i < NAMES_MAX; i++) {
		size_t n = sizeof(name);
		unsigned type = 0;
		int e =
		    gnutls_x509_crt_get_subject_alt_name2(crt, i, name, &n, &type, NULL);

		if (e == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (e < 0 || (e != GNUTLS_SAN_DNSNAME && e != GNUTLS_SAN_IPADDRESS))
			continue;
		buf_z(b, names++ ? ", " : "");
		if (e == GNUTLS_SAN_DNSNAME)
			buf_add(b, name, n);
		else if (!inet_ntop(n == 4 ? AF_INET : AF_INET6, name,
		                    buf_room(b, INET6_ADDRSTRLEN), INET6_ADDRSTRLEN))
			buf_c(b, '?');
		else
			b->n += strlen(b->p + b->n);
	}
	if (!names && gnutls_x509_crt_get_dn3(crt, &dn, 0) == 0) {
		buf_add(b, dn.data, dn.size);
		gnutls_free(dn.data);
	}
	buf_z(b, ", valid from ");
	add_date(b, gnutls_x509_crt_get_activation_time(crt));
	buf_z(b, " to ");
	add_date(b, gnutls_x509_crt_get_expiration_time(crt));
	if (gnutls_x509_crt_get_issuer_dn3(crt, &dn, 0) == 0) {
		buf_z(b, ", issued by ");
		buf_add(b, dn.data, dn.size);
		gnutls_free(dn.data);
	}
}

static void add_pin(struct buf *b, gnutls_session_t s)
{
	unsigned char pin[PIN_BYTES];

	buf_z(b, "the public key is none of tls-pin");
	if (!peer_pin(s, pin))
		return;
	buf_z(b, "; it is sha256:");
	for (size_t i = 0; i < PIN_BYTES; i++)
		buf_fmt(b, "%02x", pin[i]);
}

/* Why the host is not who it must be. */
static void explain_certificate(const struct tls *t, gnutls_session_t s, struct buf *b)
{
	gnutls_datum_t words;
	gnutls_x509_crt_t crt;
	unsigned status = gnutls_session_get_verify_cert_status(s);

	buf_fmt(b, "cannot verify that this is %s: ", t->name);
	if (t->pins)
		add_pin(b, s);
	else if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509,
	                                                      &words, 0) == 0) {
		buf_str(b, str_trim(str_z((const char *)words.data)));
		gnutls_free(words.data);
	}
	if (peer_certificate(s, &crt)) {
		add_certificate(b, crt);
		gnutls_x509_crt_deinit(crt);
	}
}

static void explain(const struct tls *t, gnutls_session_t s, int e, struct buf *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *alert = NULL;

	if (e == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR ||
	    e == GNUTLS_E_CERTIFICATE_ERROR) {
		explain_certificate(t, s, &b);
	} else {
		buf_fmt(&b, "TLS handshake failed: %s", gnutls_strerror(e));
		if (e == GNUTLS_E_FATAL_ALERT_RECEIVED)
			alert = gnutls_alert_get_name(gnutls_alert_get(s));
		if (alert)
			buf_fmt(&b, " (%s)", alert);
		if (e == GNUTLS_E_UNEXPECTED_PACKET_LENGTH ||
		    e == GNUTLS_E_UNEXPECTED_PACKET)
			buf_z(&b, " (does the host speak TLS on this port?)");
	}
	buf_escape(ret, buf_view(&b), WORDS_MAX);
}

static int set_up(struct tls *t, struct conn *c)
{
	gnutls_session_t s = c->tls;
	int e = gnutls_priority_set(s, t->priority);

	if (e == 0)
		e = gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, t->creds);
	if (e == 0 && !t->name_is_address)
		e = gnutls_server_name_set(s, GNUTLS_NAME_DNS, t->name, strlen(t->name));
	gnutls_session_set_ptr(s, t); /* for check_pin() */
	if (t->pins)
		gnutls_session_set_verify_function(s, check_pin);
	else if (t->conf->tls_verify)
		gnutls_session_set_verify_cert(s, t->name, 0);
	gnutls_transport_set_int(s, c->fd);
	gnutls_handshake_set_timeout(s, 0);
	return e;
}

int tls_start(struct tls *t, struct conn *c, int64_t deadline, struct buf *ret_why)
{
	int e = gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (e < 0) {
		c->tls = NULL;
		buf_z(ret_why, gnutls_strerror(e));
		return -EPROTO;
	}
	e = set_up(t, c);
	while (e == 0) {
		e = gnutls_handshake(c->tls);
		if (e == 0)
			return 0;
		if (gnutls_error_is_fatal(e))
			break;
		e = conn_wait(c, gnutls_record_get_direction(c->tls) ? POLLOUT : POLLIN,
		              deadline);
		if (e < 0) {
			buf_fmt(ret_why, "TLS handshake: %s",
			        e == -ETIMEDOUT ? "no answer in time" : strerror(-e));
			return e;
		}
	}
	explain(t, c->tls, e, ret_why);
	return -EPROTO;
}

void tls_facts(const struct conn *c, struct buf *b)
{
	const char *version, *cipher;

	if (!c->tls) {
		buf_z(b, "tls=no");
		return;
	}
	version = gnutls_protocol_get_name(gnutls_protocol_get_version(c->tls));
	cipher = gnutls_cipher_get_name(gnutls_cipher_get(c->tls));
	if (version && strncmp(version, "TLS", 3) == 0)
		version += 3;
	buf_fmt(b, "tls=%s cipher=%s", version ? version : "?", cipher ? cipher : "?");
}
