/*
 * zoobed.h - certificates of every kind, and a host that shows them, for zoo.c
 */
#ifndef TEST_ZOOBED_H
#define TEST_ZOOBED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "smtp/client.h"
#include "smtp/tls_words.h"

enum { DAY = 86400, CHAIN_LONG = 18, SHOWN_MAX = CHAIN_LONG + 2 };

#define HOST "mx.zoo.example"

/* ---- Keys, made once ---- */

enum key {
	K_LEAF, /* ECDSA P-256 */
	K_ROOT,
	K_INTER,
	K_OTHER,
	K_P384,
	K_ED25519,
	K_RSA,
	K_RSA_WEAK,
	K_PSS,
	KEYS
};

static const struct {
	gnutls_pk_algorithm_t pk;
	unsigned bits;
} kinds[KEYS] = {
	[K_LEAF] = { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1) },
	[K_ROOT] = { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1) },
	[K_INTER] = { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1) },
	[K_OTHER] = { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1) },
	[K_P384] = { GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1) },
	[K_ED25519] = { GNUTLS_PK_EDDSA_ED25519, 256 },
	[K_RSA] = { GNUTLS_PK_RSA, 2048 },
	[K_RSA_WEAK] = { GNUTLS_PK_RSA, 1024 },
	[K_PSS] = { GNUTLS_PK_RSA_PSS, 2048 },
};

/* ---- The cages ---- */

enum {
	SELF, /* signed by itself */
	ROOT,
	OTHER,
	RSA_ROOT,
	INTER,
	INTER_EXPIRED,
	INTER_EARLY,
	INTER_NO_CA,
	INTER_SHORT, /* path length 0 */
	INTER_BELOW, /* of INTER_SHORT */
	INTER_PERMITS,
	INTER_EXCLUDES,
	CAS
};

enum odd {
	PLAIN,
	NUL_DNS,
	NUL_CN,
	MANY_NAMES,       /* 200, HOST is the last */
	MANY_OTHER_NAMES, /* 200 */
	LONG_NAME,
	BROKEN, /* a bit of the signature */
	CRITICAL_UNKNOWN,
	FOREVER, /* 9999-12-31 */
	HOSTILE_CN,
};

struct spec {
	const char *dns, *ip, *cn, *eku;
	int by;       /* SELF, ROOT ... */
	int from, to; /* days from now; 0, 0: valid */
	enum key key;
	gnutls_digest_algorithm_t digest; /* 0: SHA-256 */
	unsigned usage;
	enum odd odd;
	bool ca, no_dn;
	const char *permits, *excludes;
	int path; /* length + 1 */
};

static const struct spec ca_specs[CAS] = {
	[ROOT] = { .cn = "Zoo root", .by = SELF, .key = K_ROOT, .ca = true },
	[OTHER] = { .cn = "Other root", .by = SELF, .key = K_OTHER, .ca = true },
	[RSA_ROOT] = { .cn = "Zoo RSA root", .by = SELF, .key = K_RSA, .ca = true },
	[INTER] = { .cn = "Inter", .by = ROOT, .key = K_INTER, .ca = true },
	[INTER_EXPIRED] = { .cn = "Old inter",
	                    .by = ROOT,
	                    .key = K_INTER,
	                    .ca = true,
	                    .from = -90,
	                    .to = -3 },
	[INTER_EARLY] = { .cn = "New inter",
	                  .by = ROOT,
	                  .key = K_INTER,
	                  .ca = true,
	                  .from = 3,
	                  .to = 90 },
	[INTER_NO_CA] = { .cn = "Not a CA", .by = ROOT, .key = K_INTER },
	[INTER_SHORT] = { .cn = "Short",
	                  .by = ROOT,
	                  .key = K_INTER,
	                  .ca = true,
	                  .path = 1 },
	[INTER_BELOW] = { .cn = "Below", .by = INTER_SHORT, .key = K_OTHER, .ca = true },
	[INTER_PERMITS] = { .cn = "Permits",
	                    .by = ROOT,
	                    .key = K_INTER,
	                    .ca = true,
	                    .permits = "zoo.example" },
	[INTER_EXCLUDES] = { .cn = "Excludes",
	                     .by = ROOT,
	                     .key = K_INTER,
	                     .ca = true,
	                     .excludes = "zoo.example" },
};

struct zoo {
	gnutls_x509_privkey_t key[KEYS];
	gnutls_x509_crt_t ca[CAS], longer[CHAIN_LONG];
	struct buf roots; /* PEM */
	int64_t now;
};

/* ---- Certificates ---- */

#define OK(e) assert_int_equal((e), 0)

static void put_name(gnutls_x509_crt_t crt, const char *name, size_t n)
{
	OK(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name,
	                                        (unsigned)n, GNUTLS_FSAN_APPEND));
}

static void put_cn(gnutls_x509_crt_t crt, const char *name, size_t n)
{
	OK(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
	                                 (unsigned)n));
}

/* GnuTLS would make a good name of it: so it is encoded here (RFC 5280 4.2.1.6). */
static void put_raw_name(gnutls_x509_crt_t crt, const char *name, size_t n)
{
	char der[400];
	size_t head = 8;

	assert_true(n + head <= sizeof(der));
	memcpy(der, "\x30\x82\0\0\x82\x82\0\0", head);
	der[2] = (char)((n + 4) >> 8);
	der[3] = (char)((n + 4) & 255);
	der[6] = (char)(n >> 8);
	der[7] = (char)(n & 255);
	/* The shortest form of a length below 128 is one octet (DER). */
	if (n < 124) {
		head = 4;
		der[0] = '\x30';
		der[1] = (char)(n + 2);
		der[2] = '\x82';
		der[3] = (char)n;
	}
	memcpy(der + head, name, n);
	OK(gnutls_x509_crt_set_extension_by_oid(crt, "2.5.29.17", der, head + n, 0));
}

static void put_odd(gnutls_x509_crt_t crt, enum odd odd)
{
	static const char nul[] = HOST "\0.evil.example", hostile[] = "a\n\033[31mb\\";
	char name[300];

	if (odd == NUL_DNS)
		put_raw_name(crt, nul, sizeof(nul) - 1);
	if (odd == NUL_CN)
		put_cn(crt, nul, sizeof(nul) - 1);
	if (odd == HOSTILE_CN)
		put_cn(crt, hostile, sizeof(hostile) - 1);
	if (odd == LONG_NAME) {
		memset(name, 'a', sizeof(name));
		put_raw_name(crt, name, sizeof(name));
	}
	for (int i = 0; i < 200 && (odd == MANY_NAMES || odd == MANY_OTHER_NAMES); i++) {
		snprintf(name, sizeof(name), "h%d.zoo.example", i);
		if (i == 199 && odd == MANY_NAMES)
			snprintf(name, sizeof(name), HOST);
		put_name(crt, name, strlen(name));
	}
	if (odd == CRITICAL_UNKNOWN)
		OK(gnutls_x509_crt_set_extension_by_oid(crt, "1.3.6.1.4.1.99999.1",
		                                        "\5\0", 2, 1));
}

static void put_constraint(gnutls_x509_name_constraints_t nc, const char *name,
                           bool permit)
{
	char copy[64];
	gnutls_datum_t d = { (unsigned char *)copy, 0 };

	if (!name)
		return;
	d.size = (unsigned)snprintf(copy, sizeof(copy), "%s", name);
	OK((permit
	        ? gnutls_x509_name_constraints_add_permitted
	        : gnutls_x509_name_constraints_add_excluded)(nc, GNUTLS_SAN_DNSNAME, &d));
}

static void put_extensions(gnutls_x509_crt_t crt, const struct spec *s)
{
	unsigned char a[16];

	if (s->dns)
		put_name(crt, s->dns, strlen(s->dns));
	if (s->ip) {
		bool six = strchr(s->ip, ':') != NULL;

		assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, s->ip, a), 1);
		OK(gnutls_x509_crt_set_subject_alt_name(
		    crt, GNUTLS_SAN_IPADDRESS, a, six ? 16 : 4, GNUTLS_FSAN_APPEND));
	}
	if (s->eku)
		OK(gnutls_x509_crt_set_key_purpose_oid(crt, s->eku, 0));
	if (s->usage)
		OK(gnutls_x509_crt_set_key_usage(crt, s->usage));
	if (s->ca)
		OK(gnutls_x509_crt_set_basic_constraints(crt, 1, s->path - 1));
	if (s->permits || s->excludes) {
		gnutls_x509_name_constraints_t nc;

		OK(gnutls_x509_name_constraints_init(&nc));
		put_constraint(nc, s->permits, true);
		put_constraint(nc, s->excludes, false);
		OK(gnutls_x509_crt_set_name_constraints(crt, nc, 1));
		gnutls_x509_name_constraints_deinit(nc);
	}
	put_odd(crt, s->odd);
}

/* Turns a bit at the end, where the signature is. */
static gnutls_x509_crt_t crt_broken(gnutls_x509_crt_t crt)
{
	gnutls_datum_t der;

	OK(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der));
	der.data[der.size - 1] ^= 1;
	gnutls_x509_crt_deinit(crt);
	OK(gnutls_x509_crt_init(&crt));
	OK(gnutls_x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER));
	gnutls_free(der.data);
	return crt;
}

static gnutls_x509_crt_t crt_make(const struct zoo *z, const struct spec *s,
                                  gnutls_x509_crt_t issuer, enum key issuer_key)
{
	static unsigned char serial;
	bool dated = s->from || s->to;
	gnutls_x509_crt_t crt;

	OK(gnutls_x509_crt_init(&crt));
	OK(gnutls_x509_crt_set_version(crt, 3));
	OK(gnutls_x509_crt_set_key(crt, z->key[s->key]));
	serial = (unsigned char)(serial % 100 + 1);
	OK(gnutls_x509_crt_set_serial(crt, &serial, 1));
	OK(gnutls_x509_crt_set_activation_time(
	    crt, (time_t)(z->now + (dated ? s->from : -100) * DAY)));
	OK(gnutls_x509_crt_set_expiration_time(
	    crt, s->odd == FOREVER ? GNUTLS_X509_NO_WELL_DEFINED_EXPIRATION
	                           : (time_t)(z->now + (dated ? s->to : 100) * DAY)));
	if (s->cn)
		put_cn(crt, s->cn, strlen(s->cn));
	else if (!s->no_dn && s->odd != NUL_CN && s->odd != HOSTILE_CN)
		OK(gnutls_x509_crt_set_dn(crt, "O=Zoo", NULL));
	put_extensions(crt, s);
	OK(gnutls_x509_crt_sign2(crt, issuer ? issuer : crt,
	                         z->key[issuer ? issuer_key : s->key],
	                         s->digest ? s->digest : GNUTLS_DIG_SHA256, 0));
	return s->odd == BROKEN ? crt_broken(crt) : crt;
}

static void add_pem(struct buf *b, gnutls_x509_crt_t crt)
{
	gnutls_datum_t pem;

	OK(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem));
	buf_add(b, pem.data, pem.size);
	gnutls_free(pem.data);
}

static void zoo_open(struct zoo *z)
{
	gnutls_x509_crt_t above;

	z->now = clock_real();
	for (size_t i = 0; i < KEYS; i++) {
		OK(gnutls_x509_privkey_init(&z->key[i]));
		OK(gnutls_x509_privkey_generate(z->key[i], kinds[i].pk, kinds[i].bits,
		                                0));
	}
	for (size_t i = ROOT; i < CAS; i++) {
		int by = ca_specs[i].by;

		z->ca[i] = crt_make(z, &ca_specs[i], z->ca[by], ca_specs[by].key);
	}
	above = z->ca[ROOT];
	for (size_t i = 0; i < CHAIN_LONG; i++) {
		char cn[16];
		const struct spec s = { .cn = cn, .key = K_ROOT, .ca = true };

		snprintf(cn, sizeof(cn), "Link %zu", i);
		above = z->longer[i] = crt_make(z, &s, above, K_ROOT);
	}
	add_pem(&z->roots, z->ca[ROOT]);
	add_pem(&z->roots, z->ca[RSA_ROOT]);
}

static void zoo_close(struct zoo *z)
{
	for (size_t i = 0; i < KEYS; i++)
		gnutls_x509_privkey_deinit(z->key[i]);
	for (size_t i = ROOT; i < CAS; i++)
		gnutls_x509_crt_deinit(z->ca[i]);
	for (size_t i = 0; i < CHAIN_LONG; i++)
		gnutls_x509_crt_deinit(z->longer[i]);
	buf_free(&z->roots);
}

/* ---- The host ---- */

struct host {
	const char *priority;
	gnutls_x509_crt_t crt[SHOWN_MAX]; /* borrowed, but the leaf */
	unsigned n;
	gnutls_x509_privkey_t key;
	bool starttls;
	bool asks; /* for a certificate of ours */
	bool talks_clear, hangs_up;
};

/* As they are: what GnuTLS would put in order itself is sent in disorder. */
static int show(gnutls_session_t s, const gnutls_datum_t *ca, int cas,
                const gnutls_pk_algorithm_t *pk, int pks, gnutls_pcert_st **ret,
                unsigned *ret_n, gnutls_privkey_t *ret_key)
{
	static gnutls_pcert_st shown[SHOWN_MAX];
	static gnutls_privkey_t key;
	const struct host *h = gnutls_session_get_ptr(s);

	(void)ca, (void)cas, (void)pk, (void)pks;
	if (!key) {
		gnutls_privkey_init(&key);
		gnutls_privkey_import_x509(key, h->key, GNUTLS_PRIVKEY_IMPORT_COPY);
		for (unsigned i = 0; i < h->n; i++)
			gnutls_pcert_import_x509(&shown[i], h->crt[i], 0);
	}
	*ret = shown;
	*ret_n = h->n;
	*ret_key = key;
	return 0;
}

static void clear_line(int fd, const char *say)
{
	char b[512];

	if (io_write(fd, say, strlen(say)) < 0 || read(fd, b, sizeof(b)) <= 0)
		_exit(4);
}

/* Exits with 0 when the client said EHLO under TLS, 2 without TLS. */
static void host_talk(const struct host *h, int fd)
{
	static const char ehlo[] = "250-mx\r\n250 PIPELINING\r\n";
	gnutls_certificate_credentials_t creds;
	gnutls_session_t s;
	char b[512];

	if (h->starttls) {
		clear_line(fd, "220 hi\r\n");
		clear_line(fd, "250-mx\r\n250 STARTTLS\r\n");
		if (io_write(fd, "220 go\r\n", 8) < 0)
			_exit(4);
	}
	if (h->talks_clear)
		clear_line(fd, "220 hi, in the clear\r\n");
	if (h->talks_clear || h->hangs_up)
		_exit(2);
	gnutls_certificate_allocate_credentials(&creds);
	gnutls_certificate_set_retrieve_function2(creds, show);
	gnutls_init(&s, GNUTLS_SERVER);
	gnutls_session_set_ptr(s, (void *)(uintptr_t)h);
	if (gnutls_priority_set_direct(s, h->priority, NULL) < 0)
		_exit(3);
	gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, creds);
	if (h->asks)
		gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_int(s, fd);
	int e = gnutls_handshake(s);
	if (e < 0) {
		gnutls_alert_send_appropriate(s, e);
		_exit(2);
	}
	if (!h->starttls)
		gnutls_record_send(s, "220 hi\r\n", 8);
	if (gnutls_record_recv(s, b, sizeof(b)) <= 5 || memcmp(b, "EHLO ", 5) != 0)
		_exit(2);
	gnutls_record_send(s, ehlo, sizeof(ehlo) - 1);
	(void)gnutls_record_recv(s, b, sizeof(b));
	_exit(0);
}

static int listen_local(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	OK(bind(fd, (struct sockaddr *)ret, sizeof(*ret)));
	OK(listen(fd, 4));
	OK(getsockname(fd, (struct sockaddr *)ret, &n));
	return fd;
}

#endif
