/* TLS and logins of mailchute-smtpd's sessions: a certificate made here, a GnuTLS client. */
#include "sessionbed.h"
#include "listen/users.h"
#include <crypt.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/resource.h>

enum { DAY = 86400 };

struct client {
	gnutls_session_t tls;
	gnutls_certificate_credentials_t cred;
	struct buf out;
};

static void put_pem(const char *path, const gnutls_datum_t *pem)
{
	const void *p = pem->data;

	put(path, (struct str){ p, pem->size }, 0600);
}

/* Writes "certificate" and "key". */
static void make_certificate(void)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;

	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(
	                     key, GNUTLS_PK_ECDSA,
	                     (unsigned)GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
	                     0),
	                 0);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_dn(crt, "CN=box.example", NULL);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_serial(crt, "\x17", 1);
	gnutls_x509_crt_set_activation_time(crt, (time_t)clock_real() - DAY);
	gnutls_x509_crt_set_expiration_time(crt, (time_t)clock_real() + DAY);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	put_pem("certificate", &pem);
	gnutls_free(pem.data);
	assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
	put_pem("key", &pem);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

/* A section with the certificate, and ann's password "secret". */
static void tls_init(struct sessionbed *b, const struct bed *bed,
                     enum conf_listen_tls tls)
{
	static char certificate[] = "certificate", key[] = "key", users[] = "users";
	_cleanup_buf_ struct buf file = BUF_INIT;

	if (!there("key"))
		make_certificate();
	buf_fmt(&file, "ann:%s\n", crypt("secret", "$5$saltsalt$"));
	put("users", buf_view(&file), 0600);
	sb_init(b, bed);
	b->listen.tls = tls;
	b->listen.tls_certificate = certificate;
	b->listen.tls_key = key;
	b->listen.users_file = users;
}

static int handshake_as(struct sessionbed *b, struct client *c, const char *priority)
{
	int e;

	*c = (struct client){ .tls = NULL };
	fcntl(b->fd, F_SETFL, 0);
	assert_int_equal(gnutls_certificate_allocate_credentials(&c->cred), 0);
	assert_int_equal(gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL), 0);
	assert_int_equal(gnutls_priority_set_direct(c->tls, priority, NULL), 0);
	gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->cred);
	gnutls_transport_set_int(c->tls, b->fd);
	gnutls_handshake_set_timeout(c->tls, SESSION_WAIT_MS);
	gnutls_record_set_timeout(c->tls, SESSION_WAIT_MS);
	do
		e = gnutls_handshake(c->tls);
	while (e < 0 && !gnutls_error_is_fatal(e));
	return e;
}

static int handshake(struct sessionbed *b, struct client *c)
{
	return handshake_as(b, c, "NORMAL");
}

static void say(struct client *c, const char *what, const char *code)
{
	size_t n = strlen(what);

	if (n)
		assert_int_equal(gnutls_record_send(c->tls, what, n), n);
	buf_reset(&c->out);
	buf_z(&c->out, "");
	while (!sb_ends(&c->out, code)) {
		ssize_t r = gnutls_record_recv(c->tls, buf_room(&c->out, 4096), 4096);

		if (r <= 0)
			fail_msg("%s: wanted %s, got %s", what, code, c->out.p);
		c->out.n += (size_t)r;
		c->out.p[c->out.n] = '\0';
	}
}

static void client_end(struct client *c)
{
	gnutls_deinit(c->tls);
	gnutls_certificate_free_credentials(c->cred);
	buf_free(&c->out);
}

#define PLAIN "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n" /* ann, secret */
#define WRONG "AUTH PLAIN AGFubgBTZWNyZXQ=\r\n" /* ann, Secret */

static void test_starttls(void **state)
{
	struct sessionbed b;
	struct client c;
	const char *log;

	tls_init(&b, *state, LISTEN_TLS_STARTTLS);
	b.c.trusted = false;
	b.c.client_ip = STR("192.0.2.7");
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "ehlo", "EHLO x\r\n", "250 SIZE ");
	assert_non_null(strstr(b.out.p, "250-STARTTLS\r\n"));
	assert_null(strstr(b.out.p, "AUTH"));
	sb_say(&b, "too early", PLAIN, "538 ");
	sb_say(&b, "starttls", "STARTTLS\r\n", "220 ");
	assert_int_equal(handshake(&b, &c), 0);
	say(&c, "EHLO printer\r\n", "250 SIZE ");
	assert_non_null(strstr(c.out.p, "250-AUTH PLAIN LOGIN\r\n"));
	assert_null(strstr(c.out.p, "STARTTLS"));
	say(&c, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRSET\r\n", "250 2.0.0 ");
	assert_non_null(strstr(c.out.p, "550 5.7.1 "));
	say(&c, WRONG, "535 5.7.8 ");
	say(&c, PLAIN, "235 ");
	say(&c, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", "354 ");
	say(&c, "x\r\n.\r\n", "250 2.0.0 Accepted as ");
	assert_string_equal(sb_drop(),
	                    "mailchute-drop 1\n"
	                    "Cip=192.0.2.7 helo=printer tls=1.3 auth=ann port=25\n"
	                    "Fa@b\nRc@d\n\nx\n");
	log = sb_log(&b);
	assert_non_null(
	    strstr(log, "auth result=wrong client=192.0.2.7 helo=printer login=ann\n"));
	assert_non_null(
	    strstr(log, "auth result=ok client=192.0.2.7 helo=printer login=ann\n"));
	assert_non_null(
	    strstr(log, " helo=printer user=ann tls=1.3 from=<a@b> rcpts=1 "));
	assert_null(strstr(log, "ecret"));
	say(&c, "QUIT\r\n", "221 ");
	client_end(&c);
	sb_end(&b);
}

static void test_implicit(void **state)
{
	_cleanup_buf_ struct buf big = BUF_INIT;
	struct sessionbed b;
	struct client c;

	tls_init(&b, *state, LISTEN_TLS_IMPLICIT);
	sb_start(&b);
	assert_int_equal(handshake(&b, &c), 0);
	say(&c, "", "220 ");
	say(&c, "EHLO x\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
	/* Several records, and what does not fit into one read. */
	for (int i = 0; i < 5000; i++)
		buf_z(&big, "0123456789012345678901234567\r\n");
	for (size_t at = 0; at < big.n;) {
		ssize_t n = gnutls_record_send(c.tls, big.p + at, big.n - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	say(&c, ".\r\n", "250 ");
	assert_int_equal(strlen(strstr(sb_drop(), "\n\n") + 2), 5000 * 29);
	/* Gone without a word in the middle of another one. */
	say(&c, "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
	gnutls_record_send(c.tls, "x\r\n", 3);
	client_end(&c);
	sb_end(&b);
	assert_int_equal(count("in/drop"), 0);
}

/* Passwords come this way: nothing older than TLS 1.2, unless tls-priority says so. */
static void test_versions(void **state)
{
	static char ours[] = "", old[] = "NORMAL", none[] = "NORMALISH";
	static const struct {
		const char *name;
		char *priority;
		const char *client;
		bool offered, want;
	} rows[] = {
		{ "1.0", ours, "NORMAL:-VERS-ALL:+VERS-TLS1.0", true, false },
		{ "1.1", ours, "NORMAL:-VERS-ALL:+VERS-TLS1.1", true, false },
		{ "1.2", ours, "NORMAL:-VERS-ALL:+VERS-TLS1.2", true, true },
		{ "1.3", ours, "NORMAL:-VERS-ALL:+VERS-TLS1.3", true, true },
		{ "1.0 by tls-priority", old, "NORMAL:-VERS-ALL:+VERS-TLS1.0", true,
		  true },
		{ "not understood", none, "NORMAL", false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sessionbed b;
		struct client c;
		int e;

		tls_init(&b, *state, LISTEN_TLS_STARTTLS);
		b.listen.tls_priority = rows[i].priority;
		sb_start(&b);
		sb_hear(&b, "220 ");
		sb_say(&b, "ehlo", "EHLO x\r\n", "250 SIZE ");
		if (!strstr(b.out.p, "STARTTLS") == rows[i].offered)
			fail_msg("%s: %s", rows[i].name, b.out.p);
		if (rows[i].offered) {
			sb_say(&b, "starttls", "STARTTLS\r\n", "220 ");
			e = handshake_as(&b, &c, rows[i].client);
			if ((e == 0) != rows[i].want)
				fail_msg("%s: %s", rows[i].name, gnutls_strerror(e));
			client_end(&c);
		} else {
			assert_non_null(strstr(sb_log(&b), "why=\"tls-priority: GnuTLS "
			                                   "does not understand it"));
		}
		sb_end(&b);
	}
}

/* Octets behind STARTTLS were not said under TLS: in one piece with it, or later. */
static void test_injection(void **state)
{
	static const char evil[] =
	    "EHLO evil\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<evil@y>\r\n";
	struct sessionbed b;
	struct client c;

	tls_init(&b, *state, LISTEN_TLS_STARTTLS);
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_write(&b, STR("STARTTLS\r\nMAIL FROM:<evil@x>\r\n"));
	sb_hear(&b, "421 ");
	assert_string_equal(b.out.p,
	                    "421 4.7.0 box.example Nothing may follow STARTTLS\r\n");
	sb_end(&b);
	tls_init(&b, *state, LISTEN_TLS_STARTTLS);
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "starttls", "STARTTLS\r\n", "220 ");
	sb_write(&b, str_z(evil));
	assert_true(handshake(&b, &c) < 0);
	client_end(&c);
	assert_int_equal(sb_wait(&b), 0);
	assert_non_null(
	    strstr(sb_log(&b), "smtpd what=handshake client=127.0.0.1 why=\"TLS"));
	sb_end(&b);
}

/* TLS 1.2: who wants to negotiate again in the session does not keep a processor busy. */
static void test_renegotiation(void **state)
{
	struct rusage use = { .ru_maxrss = 0 };
	struct sessionbed b;
	struct client c;
	int status, left;

	tls_init(&b, *state, LISTEN_TLS_IMPLICIT);
	b.listen.idle = 60;
	sb_start(&b);
	assert_int_equal(handshake_as(&b, &c, "NORMAL:-VERS-ALL:+VERS-TLS1.2"), 0);
	say(&c, "", "220 ");
	fcntl(b.fd, F_SETFL, O_NONBLOCK);
	(void)gnutls_handshake(c.tls);
	for (left = 150; left && wait4(b.pid, &status, WNOHANG, &use) == 0; left--)
		poll(NULL, 0, 10);
	if (!left) {
		kill(b.pid, SIGKILL);
		wait4(b.pid, &status, 0, &use);
	}
	b.pid = 0;
	if (use.ru_utime.tv_sec || use.ru_utime.tv_usec + use.ru_stime.tv_usec > 500000)
		fail_msg("%lld.%06lld s of a processor", (long long)use.ru_utime.tv_sec,
		         (long long)use.ru_utime.tv_usec);
	client_end(&c);
	close(b.fd);
	sb_end(&b);
}

static void test_attempts(void **state)
{
	static const char locked[] = "AUTH LOGIN\r\n";
	struct sessionbed b;
	int pair[2];
	pid_t helper;
	int file;
	_cleanup_buf_ struct buf why = BUF_INIT;

	tls_init(&b, *state, LISTEN_TLS_STARTTLS);
	b.listen.auth_insecure = true;
	b.c.trusted = false;
	file = users_open("users", &why);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	helper = fork();
	if (helper == 0) {
		close(pair[0]);
		users_serve(pair[1], file, USERS_ATTEMPTS, 0,
		            &(struct users_client){ .who = { 0 } });
		_exit(0);
	}
	close(pair[1]);
	close(file);
	b.c.auth_fd = pair[0];
	sb_start(&b);
	sb_hear(&b, "220 ");
	for (int i = 0; i < 4; i++)
		sb_say(&b, "wrong", WRONG, "535 5.7.8 ");
	sb_say(&b, "login", locked, "334 ");
	sb_say(&b, "login", "YW5u\r\n", "334 ");
	sb_say(&b, "the last", "c2VjcmV0MQ==\r\n", "421 4.7.0 ");
	sb_end(&b);
	close(pair[0]);
	waitpid(helper, NULL, 0);
}

/* What is not there: said in the log, and mail goes on where it can. */
static void test_no_files(void **state)
{
	struct sessionbed b;

	tls_init(&b, *state, LISTEN_TLS_STARTTLS);
	b.listen.auth_insecure = true;
	unlink("key");
	unlink("users");
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "ehlo", "EHLO x\r\n", "250 SIZE ");
	assert_null(strstr(b.out.p, "TLS"));
	/* The client may come again: without AUTH its mail would get 550. */
	sb_say(&b, "auth", PLAIN, "454 4.7.0 ");
	assert_non_null(strstr(sb_log(&b),
	                       "smtpd what=users client=127.0.0.1 why=\"users-file"
	                       " users cannot be opened: No such file"));
	sb_end(&b);
	tls_init(&b, *state, LISTEN_TLS_IMPLICIT);
	unlink("key");
	sb_start(&b);
	assert_string_equal(sb_hear(&b, ""), "");
	assert_int_equal(sb_wait(&b), EX_CONFIG);
	assert_non_null(
	    strstr(sb_log(&b), "smtpd what=tls client=127.0.0.1 why=\"tls-key key"));
	sb_end(&b);
}

/* Writes "key" under a passphrase. */
static void lock_key(void)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	gnutls_x509_privkey_t key;
	gnutls_datum_t pem;

	assert_int_equal(io_slurp_at(AT_FDCWD, "key", &text, 65536), 0);
	pem = (gnutls_datum_t){ (unsigned char *)text.p, (unsigned)text.n };
	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_import(key, &pem, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, "x",
	                                                   GNUTLS_PKCS_PBES2_AES_256,
	                                                   &pem),
	                 0);
	put_pem("key", &pem);
	gnutls_free(pem.data);
	gnutls_x509_privkey_deinit(key);
}

static void other_key(void)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	assert_int_equal(io_slurp_at(AT_FDCWD, "certificate", &text, 65536), 0);
	unlink("key");
	make_certificate();
	put("certificate", buf_view(&text), 0600);
}

static void bad_key(void)
{
	put("key", STR("rubbish\n"), 0600);
}

static void bad_certificate(void)
{
	put("certificate",
	    STR("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), 0600);
}

static void empty_key(void)
{
	put("key", STR_NONE, 0600);
}

/* What is there and of no use: STARTTLS is not offered, and mail goes on. */
static void test_bad_files(void **state)
{
	static const struct {
		const char *name;
		void (*spoil)(void);
		const char *why;
	} rows[] = {
		{ "rubbish", bad_key, "tls-key holds no key that can be used" },
		{ "empty", empty_key, "tls-key key cannot be used: it is empty" },
		{ "locked", lock_key, "tls-key has a passphrase" },
		{ "other", other_key, "tls-key is not the key of tls-certificate" },
		{ "certificate", bad_certificate,
		  "tls-certificate holds no certificate" },
	};
	struct sessionbed b;
	const char *log, *line;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unlink("key");
		tls_init(&b, *state, LISTEN_TLS_STARTTLS);
		rows[i].spoil();
		sb_start(&b);
		sb_hear(&b, "220 ");
		sb_say(&b, rows[i].name, "EHLO x\r\n", "250 SIZE ");
		if (strstr(b.out.p, "STARTTLS"))
			fail_msg("%s: STARTTLS is offered", rows[i].name);
		sb_say(&b, rows[i].name, "STARTTLS\r\n", "454 ");
		sb_say(&b, rows[i].name, "MAIL FROM:<a@b>\r\n", "250 ");
		log = sb_log(&b);
		line = strstr(log, "smtpd what=tls client=127.0.0.1 why=\"");
		if (!line || !strstr(line, rows[i].why))
			fail_msg("%s: the log has: %s", rows[i].name, log);
		if (strstr(line + strlen(rows[i].why), "what=tls"))
			fail_msg("%s: logged twice: %s", rows[i].name, log);
		sb_end(&b);
		tls_init(&b, *state, LISTEN_TLS_IMPLICIT);
		sb_start(&b);
		assert_string_equal(sb_hear(&b, ""), "");
		assert_int_equal(sb_wait(&b), EX_CONFIG);
		sb_end(&b);
	}
	unlink("key");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_starttls),      T(test_implicit), T(test_injection),
		T(test_attempts),      T(test_no_files), T(test_bad_files),
		T(test_renegotiation), T(test_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
