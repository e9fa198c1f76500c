#include "smtp/tls.h"
#include "base/clock.h"
#include "smtp/tls_ticket.h"
#include "smtp/tls_words.h"
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <poll.h>

enum {
	PIN_BYTES = 32, /* SHA-256 */
	PINS_MAX = 16,
	WORDS_MAX = 400,
};

/* RFC 8996; and no key that breaks with less work than 112 bits (RSA: 2048, as everybody has
 * since 2014). */
static const char default_priority[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:%PROFILE_MEDIUM";

struct tls {
	const struct client_conf *conf;
	gnutls_certificate_credentials_t creds;
	gnutls_priority_t priority;
	char *name; /* that the certificate must have: a domain name or an address */
	unsigned char pin[PINS_MAX][PIN_BYTES];
	size_t pins;
	bool name_is_address;
	unsigned char purpose[sizeof(GNUTLS_KP_TLS_WWW_SERVER)];
	gnutls_typed_vdata_st wanted[2]; /* the name and the use of the certificate */
	struct ticket ticket;            /* of the last session that was good */
	bool recalled;                   /* the conf's ticket was taken over */
	bool offered;                    /* the last handshake offered to resume */
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
	/* GnuTLS takes no const; it compares an address with addresses. */
	t->wanted[0] = (gnutls_typed_vdata_st){ .type = GNUTLS_DT_DNS_HOSTNAME,
		                                .data = (unsigned char *)t->name,
		                                .size = (unsigned)strlen(t->name) };
	t->wanted[1] = (gnutls_typed_vdata_st){ .type = GNUTLS_DT_KEY_PURPOSE_OID,
		                                .data = t->purpose,
		                                .size = sizeof(t->purpose) - 1 };
}

/* A copy that the caller frees: GnuTLS takes no const and an unsigned length. */
static gnutls_datum_t datum(struct str s, char **ret_copy)
{
	*ret_copy = str_dup(s);
	return (gnutls_datum_t){ (unsigned char *)*ret_copy, (unsigned)s.n };
}

static const char *load_ca(struct tls *t, struct str pem)
{
	static const char mark[] = "CERTIFICATE-----";
	int e;

	if (pem.n) {
		char *copy;
		gnutls_datum_t d = datum(pem, &copy);

		e = gnutls_certificate_set_x509_trust_mem(t->creds, &d,
		                                          GNUTLS_X509_FMT_PEM);
		free(copy);
		if (e > 0)
			return NULL;
		return memmem(pem.p, pem.n, mark, sizeof(mark) - 1)
		           ? "tls-ca-file: a certificate in it cannot be read (it may "
		             "be cut short); none of the file is used"
		           : "tls-ca-file: no certificate in it (PEM is wanted)";
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
	if (e == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return "tls-key is not the key of tls-certificate (the first in that "
		       "file)";
	if (e == GNUTLS_E_NO_CERTIFICATE_FOUND)
		return "tls-certificate: no certificate in it (PEM is wanted)";
	return e < 0 ? "tls-certificate, tls-key: GnuTLS cannot read them (PEM without a "
	               "passphrase is wanted)"
	             : NULL;
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
	t->ticket = (struct ticket)TICKET_INIT;
	memcpy(t->purpose, GNUTLS_KP_TLS_WWW_SERVER, sizeof(t->purpose));
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
	ticket_forget(&t->ticket);
	free(t->name);
	free(t);
}

void tls_own_stale(const struct tls *t, struct buf *b)
{
	gnutls_x509_crt_t *list = NULL;
	unsigned n = 0;

	if (gnutls_certificate_get_x509_crt(t->creds, 0, &list, &n) < 0)
		return;
	if (n)
		tls_words_stale(list[0], clock_real(), b);
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
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

/* Why the host is not who it must be. */
static void explain_certificate(const struct tls *t, gnutls_session_t s, unsigned status,
                                struct buf *b)
{
	struct tls_shown shown = { .name = t->name,
		                   .status = status,
		                   .pins = t->pins > 0,
		                   .now = clock_real() };

	shown.chain = gnutls_certificate_get_peers(s, &shown.n);
	if (!shown.chain)
		shown.n = 0;
	tls_words_certificate(&shown, b);
}

static void explain(const struct tls *t, gnutls_session_t s, int e, struct buf *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (e == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR ||
	    e == GNUTLS_E_CERTIFICATE_ERROR) {
		explain_certificate(t, s, gnutls_session_get_verify_cert_status(s), &b);
	} else {
		buf_z(&b, "TLS handshake failed: ");
		tls_words_error(s, e, &b);
	}
	buf_escape(ret, buf_view(&b), WORDS_MAX);
}

/* ---- Resumption ---- */

/* The peer's port, as the name: another service there may be somebody else. */
static unsigned port_of(int fd)
{
	struct sockaddr_storage s = { .ss_family = AF_UNSPEC };
	struct sockaddr_in6 six;
	struct sockaddr_in four;
	socklen_t n = sizeof(s);

	if (getpeername(fd, (struct sockaddr *)&s, &n) < 0)
		return 0;
	memcpy(&six, &s, sizeof(six));
	memcpy(&four, &s, sizeof(four));
	if (s.ss_family == AF_INET6)
		return ntohs(six.sin6_port);
	return s.ss_family == AF_INET ? ntohs(four.sin_port) : 0;
}

/* Offers to resume what was kept, once. */
static void offer(struct tls *t, const struct conn *c)
{
	unsigned char bound[TICKET_BOUND];

	t->offered = false;
	if (!t->recalled)
		(void)ticket_parse(t->conf->ticket, &t->ticket);
	t->recalled = true;
	ticket_bind(t->conf, t->name, port_of(c->fd), bound);
	if (ticket_holds(&t->ticket, bound, clock_real()))
		t->offered = gnutls_session_set_data(c->tls, t->ticket.data.p,
		                                     t->ticket.data.n) == 0;
	ticket_forget(&t->ticket);
}

/* A resumed handshake shows no certificate. The session brings along the one that was shown
 * first: is that still good today? */
static int check_resumed(struct tls *t, gnutls_session_t s, struct buf *ret_why)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	unsigned status = 0;

	if (!gnutls_session_is_resumed(s))
		return 0;
	if (t->pins && check_pin(s) == 0)
		return 0;
	if (!t->pins && !t->conf->tls_verify)
		return 0;
	if (!t->pins &&
	    gnutls_certificate_verify_peers(s, t->wanted, ARRAY_LEN(t->wanted),
	                                    &status) == 0 &&
	    status == 0)
		return 0;
	explain_certificate(t, s, status, &b);
	buf_escape(ret_why, buf_view(&b), WORDS_MAX);
	return -EPROTO;
}

void tls_keep(struct tls *t, const struct conn *c)
{
	gnutls_session_t s = c->tls;
	gnutls_datum_t data = { NULL, 0 };

	/* TLS 1.3 has nothing to resume by before the host has sent it. */
	if (!s || (gnutls_protocol_get_version(s) == GNUTLS_TLS1_3 &&
	           !(gnutls_session_get_flags(s) & GNUTLS_SFLAGS_SESSION_TICKET)))
		return;
	if (gnutls_session_get_data2(s, &data) < 0)
		return;
	ticket_forget(&t->ticket);
	if (data.size <= TICKET_DATA_MAX) {
		ticket_bind(t->conf, t->name, port_of(c->fd), t->ticket.bound);
		t->ticket.ends = clock_real() + TICKET_SECONDS;
		buf_room(&t->ticket.data, data.size);
		buf_add(&t->ticket.data, data.data, data.size);
	}
	explicit_bzero(data.data, data.size);
	gnutls_free(data.data);
}

void tls_ticket(const struct tls *t, struct buf *b)
{
	ticket_print(&t->ticket, b);
}

bool tls_offered(const struct tls *t)
{
	return t->offered;
}

/* ---- The handshake ---- */

static int set_up(struct tls *t, struct conn *c)
{
	gnutls_session_t s = c->tls;
	int e = gnutls_priority_set(s, t->priority);

	if (e == 0)
		e = gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, t->creds);
	/* RFC 6066 3: neither addresses nor what is no host name. GnuTLS's own servers end the
	 * handshake when they are told of an underscore. */
	if (e == 0 && !t->name_is_address && !strchr(t->name, '_'))
		e = gnutls_server_name_set(s, GNUTLS_NAME_DNS, t->name, strlen(t->name));
	gnutls_session_set_ptr(s, t); /* for check_pin() */
	if (t->pins)
		gnutls_session_set_verify_function(s, check_pin);
	else if (t->conf->tls_verify)
		gnutls_session_set_verify_cert2(s, t->wanted, ARRAY_LEN(t->wanted), 0);
	gnutls_transport_set_int(s, c->fd);
	gnutls_handshake_set_timeout(s, 0);
	return e;
}

int tls_start(struct tls *t, struct conn *c, int64_t deadline, struct buf *ret_why)
{
	/* There is one certificate of ours: it is shown whoever the host says should have
	 * issued it. */
	int e = gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
	                                 GNUTLS_FORCE_CLIENT_CERT);

	t->offered = false;
	if (e < 0) {
		c->tls = NULL;
		buf_z(ret_why, gnutls_strerror(e));
		return -EPROTO;
	}
	e = set_up(t, c);
	if (e == 0)
		offer(t, c);
	while (e == 0) {
		e = gnutls_handshake(c->tls);
		if (e == 0) {
			conn_secured(c);
			return check_resumed(t, c->tls, ret_why);
		}
		if (gnutls_error_is_fatal(e))
			break;
		e = conn_wait(c, gnutls_record_get_direction(c->tls) ? POLLOUT : POLLIN,
		              deadline);
		if (e < 0) {
			t->offered = false; /* that is not why */
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
	buf_fmt(b, "tls=%s cipher=%s%s", version ? version : "?", cipher ? cipher : "?",
	        gnutls_session_is_resumed(c->tls) ? " tls-resumed=yes" : "");
}
