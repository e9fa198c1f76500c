/* Who the host must be: certificates made here, a GnuTLS host in a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "smtp/client.h"

enum { DAY = 86400 };

struct cert {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	struct buf pem;
	char pin[80];
};

/* What a host shows. */
static const struct shown {
	const char *name;
	const char *dns, *ip, *cn;
	int from, to; /* days from now */
	bool self_signed;
} certs[] = {
	{ "good", "mx.example", "127.0.0.1", NULL, -1, 30, false },
	{ "expired", "mx.example", NULL, NULL, -30, -1, false },
	{ "not yet", "mx.example", NULL, NULL, 5, 30, false },
	{ "other name", "other.example", NULL, "mx.example", -1, 30, false },
	{ "self-signed", "mx.example", NULL, NULL, -1, 30, true },
	{ "wildcard", "*.mx.example", NULL, NULL, -1, 30, false },
};
enum { GOOD, EXPIRED, NOT_YET, OTHER, SELF, WILD, CERTS };

static void key_new(struct cert *c)
{
	assert_int_equal(gnutls_x509_privkey_init(&c->key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(
	                     c->key, GNUTLS_PK_ECDSA,
	                     (unsigned)GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
	                     0),
	                 0);
	assert_int_equal(gnutls_x509_crt_init(&c->crt), 0);
	gnutls_x509_crt_set_version(c->crt, 3);
	gnutls_x509_crt_set_key(c->crt, c->key);
	gnutls_x509_crt_set_serial(c->crt, "\x17", 1);
}

/* The pin by another way than tls.c's: hash of the exported public key. */
static void pin_of(struct cert *c)
{
	gnutls_pubkey_t pub;
	gnutls_datum_t der;
	unsigned char hash[32];
	struct buf b = BUF_INIT;

	assert_int_equal(gnutls_pubkey_init(&pub), 0);
	assert_int_equal(gnutls_pubkey_import_x509(pub, c->crt, 0), 0);
	assert_int_equal(gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, &der), 0);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, hash);
	gnutls_free(der.data);
	gnutls_pubkey_deinit(pub);
	buf_z(&b, "sha256:");
	for (size_t i = 0; i < sizeof(hash); i++)
		buf_fmt(&b, i % 2 ? "%02x" : "%02X", hash[i]);
	memcpy(c->pin, b.p, b.n + 1);
	buf_free(&b);
}

static void cert_sign(struct cert *c, const struct cert *by, int from, int to)
{
	gnutls_datum_t pem;

	gnutls_x509_crt_set_activation_time(c->crt, (time_t)clock_real() + from * DAY);
	gnutls_x509_crt_set_expiration_time(c->crt, (time_t)clock_real() + to * DAY);
	assert_int_equal(
	    gnutls_x509_crt_sign2(c->crt, by->crt, by->key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(c->crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	buf_add(&c->pem, pem.data, pem.size);
	gnutls_free(pem.data);
	pin_of(c);
}

static void ca_new(struct cert *c)
{
	key_new(c);
	gnutls_x509_crt_set_dn(c->crt, "CN=Test CA", NULL);
	gnutls_x509_crt_set_ca_status(c->crt, 1);
	gnutls_x509_crt_set_key_usage(c->crt, GNUTLS_KEY_KEY_CERT_SIGN);
	cert_sign(c, c, -100, 100);
}

static void cert_new(struct cert *c, const struct shown *s, const struct cert *ca)
{
	key_new(c);
	if (s->dns)
		gnutls_x509_crt_set_subject_alt_name(c->crt, GNUTLS_SAN_DNSNAME, s->dns,
		                                     (unsigned)strlen(s->dns),
		                                     GNUTLS_FSAN_APPEND);
	if (s->ip) {
		struct in_addr a;

		inet_pton(AF_INET, s->ip, &a);
		gnutls_x509_crt_set_subject_alt_name(c->crt, GNUTLS_SAN_IPADDRESS, &a,
		                                     sizeof(a), GNUTLS_FSAN_APPEND);
	}
	if (s->cn)
		gnutls_x509_crt_set_dn_by_oid(c->crt, GNUTLS_OID_X520_COMMON_NAME, 0,
		                              s->cn, (unsigned)strlen(s->cn));
	cert_sign(c, s->self_signed ? c : ca, s->from, s->to);
}

static void cert_free(struct cert *c)
{
	gnutls_x509_crt_deinit(c->crt);
	gnutls_x509_privkey_deinit(c->key);
	buf_free(&c->pem);
}

/* ---- the host ---- */

struct tls_host {
	gnutls_session_t s;
	struct buf in;
};

static void host_line(struct tls_host *h, const char *want)
{
	while (str_chr(buf_view(&h->in), '\n') < 0) {
		char b[4096];
		ssize_t n = gnutls_record_recv(h->s, b, sizeof(b));

		if (n <= 0)
			_exit(1);
		buf_add(&h->in, b, (size_t)n);
	}
	if (!str_starts(buf_view(&h->in), str_z(want)))
		_exit(1);
	buf_drop(&h->in, (size_t)str_chr(buf_view(&h->in), '\n') + 1);
}

static void host_says(struct tls_host *h, const char *s)
{
	gnutls_record_send(h->s, s, strlen(s));
}

/* Goes as far as one message, then cuts the connection without close_notify. */
static void host_session(struct tls_host *h)
{
	static const char *const talk[] = {
		"EHLO ",       "250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n",
		"AUTH PLAIN ", "235 ok\r\n",
		"MAIL ",       "250 ok\r\n",
		"RCPT ",       "250 ok\r\n",
		"DATA",        "354 go\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(talk); i += 2) {
		host_line(h, talk[i]);
		host_says(h, talk[i + 1]);
	}
	while (str_starts(buf_view(&h->in), STR(".\r\n")) == false)
		host_line(h, "");
	host_says(h, "250 2.0.0 taken\r\n");
	_exit(0);
}

static void clear_line(int fd, const char *say)
{
	char b[512];

	if (io_write(fd, say, strlen(say)) < 0 || read(fd, b, sizeof(b)) <= 0)
		_exit(1);
}

static pid_t host_start(const struct cert *c, int listener, bool starttls)
{
	struct tls_host h = { .s = NULL };
	gnutls_certificate_credentials_t creds;
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
	fd = accept(listener, NULL, NULL);
	gnutls_certificate_allocate_credentials(&creds);
	gnutls_certificate_set_x509_key(creds, (gnutls_x509_crt_t[]){ c->crt }, 1,
	                                c->key);
	if (starttls) {
		clear_line(fd, "220 hi\r\n");
		clear_line(fd, "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n");
		if (io_write(fd, "220 go\r\n", 8) < 0)
			_exit(1);
	}
	gnutls_init(&h.s, GNUTLS_SERVER);
	gnutls_set_default_priority(h.s);
	gnutls_credentials_set(h.s, GNUTLS_CRD_CERTIFICATE, creds);
	gnutls_transport_set_int(h.s, fd);
	if (gnutls_handshake(h.s) < 0)
		_exit(2);
	if (!starttls)
		host_says(&h, "220 hi\r\n");
	host_session(&h);
	_exit(1);
}

/* ---- rows ---- */

enum pins { NO_PIN, RIGHT_PIN, WRONG_PIN };

static const struct row {
	const char *name;
	int cert;
	const char *host, *tls_name;
	bool no_verify, no_ca, implicit;
	enum pins pin;
	const char *priority;
	const char *refused; /* NULL: works; else words of why */
} rows[] = {
	{ "good", GOOD, "mx.example", .refused = NULL },
	{ "good, upper case and a dot", GOOD, "MX.Example.", .refused = NULL },
	{ "good, implicit", GOOD, "mx.example", .implicit = true },
	{ "good, TLS 1.2", GOOD, "mx.example",
	  .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2" },
	{ "good, by address", GOOD, "127.0.0.1", .refused = NULL },
	{ "good, by address literal", GOOD, "[127.0.0.1]", .refused = NULL },
	{ "other address", GOOD, "[127.0.0.2]", .refused = "127.0.0.1" },
	{ "good, tls-name", GOOD, "[127.0.0.2]", .tls_name = "mx.example" },
	{ "wildcard", WILD, "a.mx.example", .refused = NULL },
	{ "wildcard, two labels", WILD, "a.b.mx.example", .refused = "*.mx.example" },
	{ "wildcard, no label", WILD, "mx.example", .refused = "*.mx.example" },
	{ "other name", OTHER, "mx.example",
	  .refused = "verify that this is mx.example" },
	{ "other name: which", OTHER, "mx.example", .refused = "is for other.example" },
	{ "part of the name", GOOD, "example", .refused = "is for mx.example" },
	{ "expired", EXPIRED, "mx.example", .refused = "expired" },
	{ "not yet", NOT_YET, "mx.example", .refused = "not valid before" },
	{ "self-signed", SELF, "mx.example", .refused = "is self-signed" },
	{ "system's CAs only", GOOD, "mx.example", .no_ca = true,
	  .refused = "issued by CN=Test CA" },
	{ "no check", OTHER, "mx.example", .no_verify = true },
	{ "pin", SELF, "mx.example", .pin = RIGHT_PIN },
	{ "pin, other name, expired", EXPIRED, "nobody.example", .pin = RIGHT_PIN },
	{ "pin, implicit", SELF, "mx.example", .pin = RIGHT_PIN, .implicit = true },
	{ "wrong pin", GOOD, "mx.example", .pin = WRONG_PIN, .refused = "sha256:" },
	{ "wrong pin, no check", GOOD, "mx.example", .pin = WRONG_PIN, .no_verify = true,
	  .refused = "none of tls-pin" },
	{ "no common key exchange", GOOD, "mx.example",
	  .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA",
	  .refused = "TLS handshake failed" },
};

static int listen_local(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &n), 0);
	return fd;
}

static void send_one(struct client *c, const char *name)
{
	struct client_rcpt r = { .addr = STR("r@example.org") };
	struct client_msg m = { .sender = STR("a@example.org"),
		                .header = STR("A: b\n\n"),
		                .rcpt = &r,
		                .rcpts = 1 };

	m.fd = io_memfd("body", STR("text\n"));
	assert_int_equal(client_send(c, &m), 0);
	if (r.verdict.kind != VERDICT_DONE)
		fail_msg("%s: %s", name, r.verdict.text.p);
	buf_free(&r.verdict.text);
	close(m.fd);
}

static void run_row(const struct row *t, const struct cert *ca, struct cert *all)
{
	struct sockaddr_in to;
	int listener = listen_local(&to), status;
	pid_t pid = host_start(&all[t->cert], listener, !t->implicit);
	struct client_conf conf = {
		.host = str_z(t->host),
		.tls_name = str_z(t->tls_name),
		.tls = t->implicit ? CLIENT_TLS_IMPLICIT : CLIENT_TLS_STARTTLS,
		.tls_verify = !t->no_verify,
		.tls_priority = str_z(t->priority),
		.auth = true,
		.user = STR("u"),
		.password = STR("pw-canary"),
		.helo = STR("box.example"),
		.timeout_scale = 20,
		.cancel_fd = -1,
	};
	const char *why = "?";
	struct verdict v = { 0 };
	struct client *c;
	int e;

	close(listener);
	if (!t->no_ca)
		conf.tls_ca = buf_view(&ca->pem);
	if (t->pin != NO_PIN)
		strv_add(&conf.tls_pin,
		         str_z(all[t->pin == RIGHT_PIN ? t->cert : t->cert + 1].pin));
	c = client_new(&conf, &why);
	if (!c && t->no_ca) { /* a machine without ca-certificates */
		print_message("%s: %s\n", t->name, why);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return;
	}
	if (!c)
		fail_msg("%s: %s", t->name, why);
	e = client_open(c, (struct sockaddr *)&to, sizeof(to), &v);
	if (!t->refused && e < 0)
		fail_msg("%s: %s", t->name, v.text.p);
	if (t->refused && (e == 0 || v.kind != VERDICT_HOST || v.stage != STAGE_TLS ||
	                   !strstr(v.text.p, t->refused)))
		fail_msg("%s: %s", t->name, e == 0 ? "worked" : v.text.p);
	if (e == 0 && !strstr(client_facts(c).p, "tls=1."))
		fail_msg("%s: %s", t->name, client_facts(c).p);
	if (e == 0)
		send_one(c, t->name);
	client_free(c);
	buf_free(&v.text);
	strv_free(&conf.tls_pin);
	waitpid(pid, &status, 0);
	/* Refused: the host must not have got a word behind the handshake. */
	if (t->refused ? !WIFEXITED(status) || WEXITSTATUS(status) == 0 : status != 0)
		fail_msg("%s: the host saw something else", t->name);
}

static void test_rows(void **state)
{
	struct cert ca = { 0 }, all[CERTS] = { 0 };

	(void)state;
	ca_new(&ca);
	for (size_t i = 0; i < CERTS; i++)
		cert_new(&all[i], &certs[i], &ca);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run_row(&rows[i], &ca, all);
	for (size_t i = 0; i < CERTS; i++)
		cert_free(&all[i]);
	cert_free(&ca);
}

/* What is wrong in the configuration is said before anything is connected. */
static void test_new(void **state)
{
	static const struct {
		const char *name, *pin, *ca, *priority, *want;
	} bad[] = {
		{ "pin without sha256", "abcd", NULL, NULL, "tls-pin" },
		{ "short pin", "sha256:abcd", NULL, NULL, "64 hex" },
		{ "CA that is none", NULL, "hello", NULL, "tls-ca-file" },
		{ "priority", NULL, NULL, "NORMALISH", "tls-priority" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct client_conf conf = { .host = STR("mx"),
			                    .tls = CLIENT_TLS_STARTTLS,
			                    .tls_verify = true };
		const char *why = "";

		conf.tls_ca = str_z(bad[i].ca);
		conf.tls_priority = str_z(bad[i].priority);
		if (bad[i].pin)
			strv_add(&conf.tls_pin, str_z(bad[i].pin));
		if (client_new(&conf, &why) || !strstr(why, bad[i].want))
			fail_msg("%s: %s", bad[i].name, why);
		strv_free(&conf.tls_pin);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
