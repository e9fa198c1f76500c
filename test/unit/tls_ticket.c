/* TLS sessions that are resumed, and those that must not be; certificates of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "smtp/client.h"
#include "smtp/tls_ticket.h"

enum { DAY = 86400 };
#define HOST "mx.example"
#define OK(e) assert_int_equal((e), 0)

struct bed {
	gnutls_x509_privkey_t key, other;
	gnutls_x509_crt_t crt;
	struct buf pem, key_pem, other_pem; /* self-signed: its own CA */
	gnutls_datum_t ticket_key;
	char pin[80];
	struct sockaddr_in to;
	pid_t host;
};

/* ---- The host ---- */

static void host_session(const struct bed *b, const char *priority, int fd, bool asks)
{
	gnutls_certificate_credentials_t creds;
	bool shown = false;
	char in[512];
	gnutls_session_t s;

	gnutls_certificate_allocate_credentials(&creds);
	gnutls_certificate_set_x509_key(creds, (gnutls_x509_crt_t[]){ b->crt }, 1,
	                                b->key);
	gnutls_init(&s, GNUTLS_SERVER);
	gnutls_priority_set_direct(s, priority, NULL);
	gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, creds);
	gnutls_session_ticket_enable_server(s, &b->ticket_key);
	if (asks)
		gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUEST);
	gnutls_transport_set_int(s, fd);
	if (gnutls_handshake(s) == 0) {
		unsigned n = 0;

		shown = gnutls_certificate_get_peers(s, &n) && n;
		gnutls_record_send(s, "220 hi\r\n", 8);
		if (gnutls_record_recv(s, in, sizeof(in)) > 0)
			gnutls_record_send(
			    s, asks && !shown ? "421 who?\r\n" : "250 mx.one\r\n",
			    asks && !shown ? 10 : 12);
		while (gnutls_record_recv(s, in, sizeof(in)) > 0)
			gnutls_record_send(s, "221 bye\r\n", 9);
	}
	gnutls_deinit(s);
	gnutls_certificate_free_credentials(creds);
	close(fd);
}

static void host_start(struct bed *b, const char *priority, bool asks)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(b->to);

	b->to = (struct sockaddr_in){ .sin_family = AF_INET,
		                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	OK(bind(fd, (struct sockaddr *)&b->to, sizeof(b->to)));
	OK(listen(fd, 8));
	OK(getsockname(fd, (struct sockaddr *)&b->to, &n));
	b->host = fork();
	if (b->host == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		for (;;)
			host_session(b, priority, accept(fd, NULL, NULL), asks);
	}
	close(fd);
}

static void host_stop(struct bed *b)
{
	kill(b->host, SIGKILL);
	waitpid(b->host, NULL, 0);
}

/* ---- Certificates ---- */

static void add_pem(struct buf *b, int e, gnutls_datum_t *pem)
{
	OK(e);
	buf_add(b, pem->data, pem->size);
	gnutls_free(pem->data);
}

static void bed_keys(struct bed *b)
{
	gnutls_x509_privkey_t *keys[] = { &b->key, &b->other };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		OK(gnutls_x509_privkey_init(keys[i]));
		OK(gnutls_x509_privkey_generate(
		    *keys[i], GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	}
	OK(gnutls_session_ticket_key_generate(&b->ticket_key));
}

static int bed_open(void **state)
{
	static struct bed b;
	unsigned char id[32];
	size_t n = sizeof(id);
	gnutls_datum_t pem;
	struct buf pin = BUF_INIT;

	bed_keys(&b);
	OK(gnutls_x509_crt_init(&b.crt));
	gnutls_x509_crt_set_version(b.crt, 3);
	gnutls_x509_crt_set_key(b.crt, b.key);
	gnutls_x509_crt_set_serial(b.crt, "\x17", 1);
	gnutls_x509_crt_set_dn(b.crt, "CN=box", NULL);
	gnutls_x509_crt_set_subject_alt_name(b.crt, GNUTLS_SAN_DNSNAME, HOST,
	                                     sizeof(HOST) - 1, GNUTLS_FSAN_SET);
	gnutls_x509_crt_set_activation_time(b.crt, (time_t)clock_real() - DAY);
	gnutls_x509_crt_set_expiration_time(b.crt, (time_t)clock_real() + DAY);
	OK(gnutls_x509_crt_sign2(b.crt, b.crt, b.key, GNUTLS_DIG_SHA256, 0));
	add_pem(&b.pem, gnutls_x509_crt_export2(b.crt, GNUTLS_X509_FMT_PEM, &pem), &pem);
	add_pem(&b.key_pem, gnutls_x509_privkey_export2(b.key, GNUTLS_X509_FMT_PEM, &pem),
	        &pem);
	add_pem(&b.other_pem,
	        gnutls_x509_privkey_export2(b.other, GNUTLS_X509_FMT_PEM, &pem), &pem);
	OK(gnutls_x509_crt_get_key_id(b.crt, GNUTLS_KEYID_USE_SHA256, id, &n));
	buf_z(&pin, "sha256:");
	for (size_t i = 0; i < n; i++)
		buf_fmt(&pin, "%02x", id[i]);
	memcpy(b.pin, pin.p, pin.n + 1);
	buf_free(&pin);
	*state = &b;
	return 0;
}

static int bed_close(void **state)
{
	struct bed *b = *state;

	gnutls_x509_privkey_deinit(b->key);
	gnutls_x509_privkey_deinit(b->other);
	gnutls_x509_crt_deinit(b->crt);
	gnutls_free(b->ticket_key.data);
	buf_free(&b->pem);
	buf_free(&b->key_pem);
	buf_free(&b->other_pem);
	return 0;
}

/* ---- Visits ---- */

static struct client_conf conf_of(const struct bed *b)
{
	return (struct client_conf){ .host = STR(HOST),
		                     .tls = CLIENT_TLS_IMPLICIT,
		                     .tls_verify = true,
		                     .tls_ca = buf_view(&b->pem),
		                     .helo = STR("box.example"),
		                     .timeout_scale = 50,
		                     .cancel_fd = -1 };
}

static struct client *client_make(const char *name, const struct client_conf *conf)
{
	const char *why = "?";
	struct client *c = client_new(conf, &why);

	if (!c)
		fail_msg("%s: %s", name, why);
	return c;
}

/* Was it resumed? */
static bool visit(const char *name, const struct bed *b, struct client *c)
{
	struct verdict v = { .kind = VERDICT_HOST };
	bool resumed;

	if (client_open(c, (const struct sockaddr *)&b->to, sizeof(b->to), &v) < 0)
		fail_msg("%s: %s", name, v.text.p);
	resumed = strstr(client_facts(c).p, " tls-resumed=yes") != NULL;
	client_quit(c);
	return resumed;
}

static const char *const versions[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.3",
	                                "NORMAL:-VERS-ALL:+VERS-TLS1.2" };

/* In one run, each connection by what the one before it left. */
static void test_run(void **state)
{
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct client_conf conf = conf_of(b);
		struct client *c = client_make(versions[i], &conf);

		host_start(b, versions[i], false);
		for (int k = 0; k < 4; k++)
			if (visit(versions[i], b, c) != (k > 0))
				fail_msg("%s: connection %d", versions[i], k);
		/* Another name: never. */
		conf.tls_name = STR(HOST ".");
		conf.host = STR("other.example");
		if (visit(versions[i], b, c))
			fail_msg("%s: resumed for another host", versions[i]);
		client_free(c);
		host_stop(b);
	}
}

static void change_host(struct client_conf *c, const struct bed *b)
{
	(void)b;
	c->tls_name = c->host;
	c->host = STR("other.example");
}

static void change_verify(struct client_conf *c, const struct bed *b)
{
	(void)b;
	c->tls_verify = false;
}

static void change_pin(struct client_conf *c, const struct bed *b)
{
	strv_add(&c->tls_pin, str_z(b->pin));
}

static void change_ca(struct client_conf *c, const struct bed *b)
{
	static char twice[8192];

	snprintf(twice, sizeof(twice), "%s%s", b->pem.p, b->pem.p);
	c->tls_ca = str_z(twice);
}

static void change_own(struct client_conf *c, const struct bed *b)
{
	c->tls_certificate = buf_view(&b->pem);
	c->tls_key = buf_view(&b->key_pem);
}

static void change_priority(struct client_conf *c, const struct bed *b)
{
	(void)b;
	c->tls_priority = STR("NORMAL");
}

static void change_text(struct client_conf *c, const struct bed *b)
{
	(void)b;
	c->ticket = str_head(c->ticket, c->ticket.n / 8 * 4);
}

static void change_to_rubbish(struct client_conf *c, const struct bed *b)
{
	(void)b;
	c->ticket = STR("hello, world");
}

static void change_nothing(struct client_conf *c, const struct bed *b)
{
	(void)c;
	(void)b;
}

/* From one run to the next, as text. */
static void test_text(void **state)
{
	static const struct {
		const char *name;
		void (*change)(struct client_conf *c, const struct bed *b);
		bool resumed;
	} rows[] = {
		{ "the same", change_nothing, true },
		{ "other host", change_host, false },
		{ "no verifying", change_verify, false },
		{ "a pin", change_pin, false },
		{ "other CAs", change_ca, false },
		{ "a certificate of ours", change_own, false },
		{ "other priority", change_priority, false },
		{ "half of it", change_text, false },
		{ "rubbish", change_to_rubbish, false },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		host_start(b, versions[i], false);
		for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
			struct client_conf conf = conf_of(b);
			_cleanup_buf_ struct buf text = BUF_INIT;
			struct client *c = client_make(rows[k].name, &conf);

			assert_false(visit(rows[k].name, b, c));
			client_ticket(c, &text);
			client_free(c);
			if (text.n == 0 || text.n > CLIENT_TICKET_MAX)
				fail_msg("%s: %zu octets", rows[k].name, text.n);
			conf.ticket = buf_view(&text);
			rows[k].change(&conf, b);
			c = client_make(rows[k].name, &conf);
			if (visit(rows[k].name, b, c) != rows[k].resumed)
				fail_msg("%s, %s", rows[k].name, versions[i]);
			client_free(c);
			strv_free(&conf.tls_pin);
		}
		host_stop(b);
	}
}

/* A session with somebody who was not verified, dressed up as one that was: the certificate
 * that it brings along is looked at again, and then there is a whole handshake. */
static void test_forged(void **state)
{
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct client_conf conf = conf_of(b);
		_cleanup_buf_ struct buf text = BUF_INIT, forged = BUF_INIT;
		struct ticket t = TICKET_INIT;
		struct verdict v = { .kind = VERDICT_HOST };
		struct client *c;

		conf.tls_verify = false;
		host_start(b, versions[i], false);
		c = client_make("forged", &conf);
		assert_false(visit("forged", b, c));
		client_ticket(c, &text);
		client_free(c);

		conf.tls_verify = true;
		conf.tls_name = STR("other.example");
		assert_true(ticket_parse(buf_view(&text), &t));
		ticket_bind(&conf, "other.example", ntohs(b->to.sin_port), t.bound);
		ticket_print(&t, &forged);
		ticket_forget(&t);
		conf.ticket = buf_view(&forged);
		c = client_make("forged", &conf);
		assert_int_equal(
		    client_open(c, (struct sockaddr *)&b->to, sizeof(b->to), &v), -1);
		if (!strstr(v.text.p, "another name"))
			fail_msg("%s", v.text.p);
		buf_free(&v.text);
		client_free(c);
		host_stop(b);
	}
}

/* A host that has forgotten what it gave. */
static void test_forgotten(void **state)
{
	struct bed *b = *state;
	gnutls_datum_t key = b->ticket_key;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct client_conf conf = conf_of(b);
		struct client *c = client_make("forgotten", &conf);

		host_start(b, versions[i], false);
		assert_false(visit("forgotten", b, c));
		host_stop(b);
		OK(gnutls_session_ticket_key_generate(&b->ticket_key));
		host_start(b, versions[i], false);
		assert_false(visit("forgotten", b, c));
		host_stop(b);
		gnutls_free(b->ticket_key.data);
		b->ticket_key = key;
		client_free(c);
	}
}

static void test_limits(void **state)
{
	unsigned char bound[TICKET_BOUND] = { 1 };
	struct ticket t = TICKET_INIT;
	_cleanup_buf_ struct buf b = BUF_INIT;

	(void)state;
	memcpy(t.bound, bound, sizeof(bound));
	t.ends = 1000 + TICKET_SECONDS;
	assert_false(ticket_holds(&t, bound, 1000));
	for (size_t n = 1; n < 20000; n = n * 3 + 1) {
		struct ticket back = TICKET_INIT;

		while (t.data.n < n)
			buf_c(&t.data, (char)t.data.n);
		ticket_print(&t, &b);
		assert_true(b.n <= CLIENT_TICKET_MAX);
		assert_true((b.n > 0) == (n < 11000));
		assert_true(ticket_parse(buf_view(&b), &back) == (b.n > 0));
		if (b.n) {
			assert_true(str_eq(buf_view(&back.data), buf_view(&t.data)));
			assert_true(ticket_holds(&back, bound, 1000));
			assert_false(ticket_holds(&back, bound, 999));
			assert_true(ticket_holds(&back, bound, t.ends - 1));
			assert_false(ticket_holds(&back, bound, t.ends));
			back.bound[31] ^= 1;
			assert_false(ticket_holds(&back, bound, 1000));
		}
		ticket_forget(&back);
		buf_reset(&b);
	}
	ticket_forget(&t);
}

/* ---- Certificates of ours ---- */

static void test_own(void **state)
{
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct client_conf conf = conf_of(b);
		struct verdict v = { .kind = VERDICT_HOST };
		struct client *c = client_make("none", &conf);

		host_start(b, versions[i], true);
		assert_int_equal(
		    client_open(c, (struct sockaddr *)&b->to, sizeof(b->to), &v), -1);
		assert_non_null(strstr(v.text.p, "who?"));
		buf_free(&v.text);
		client_free(c);
		change_own(&conf, b);
		c = client_make("ours", &conf);
		assert_false(visit(versions[i], b, c));
		assert_true(visit(versions[i], b, c));
		client_free(c);
		host_stop(b);
	}
}

static void test_own_bad(void **state)
{
	const struct bed *b = *state;
	const struct {
		const char *name;
		struct str certificate, key;
		const char *want;
	} rows[] = {
		{ "other key", buf_view(&b->pem), buf_view(&b->other_pem),
		  "is not the key" },
		{ "no key", buf_view(&b->pem), STR("hello"), "without a passphrase" },
		{ "no certificate", STR("hello"), buf_view(&b->key_pem),
		  "cannot read them" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct client_conf conf = conf_of(b);
		const char *why = "";

		conf.tls_certificate = rows[i].certificate;
		conf.tls_key = rows[i].key;
		if (client_new(&conf, &why) || !strstr(why, rows[i].want))
			fail_msg("%s: %s", rows[i].name, why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run),     cmocka_unit_test(test_text),
		cmocka_unit_test(test_forged),  cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_limits),  cmocka_unit_test(test_own),
		cmocka_unit_test(test_own_bad),
	};

	return cmocka_run_group_tests(tests, bed_open, bed_close);
}
