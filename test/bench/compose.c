/* Composing a message of 2 KiB against encrypting it for the wire, in CPU time of one run.
 * Composing is what push does for a message: the outgoing envelope, and the header.
 * Encrypting is one record of TLS 1.3: with AES-256-GCM (which is fast where the processor has
 * instructions for it), alone and with its way into the kernel, a socket that another process
 * reads; and with ChaCha20-Poly1305 (what hosts and clients without such instructions choose)
 * alone. Medians of several tries. Prints the ratios to all three. Status 1 when composing with
 * README's two lines costs more than AES with the write, or anything more than ChaCha20 alone.
 * Usage: build/bench/compose [ROUNDS] */
#include "mail/addr.h"
#include "mail/compose.h"
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE = 2048, ROUNDS = 500, TRIES = 201, DRAIN = 64 << 10 };

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "compose: %s\n", what);
	exit(2);
}

/* ---- composing ---- */

static const struct sample {
	const char *name, *header;
} samples[] = {
	{ "cron", "From: root (Cron Daemon)\n"
	          "To: root\n"
	          "Subject: Cron <root@box> test -x /usr/sbin/anacron || run-parts "
	          "/etc/cron.daily\n"
	          "MIME-Version: 1.0\n"
	          "Content-Type: text/plain; charset=UTF-8\n"
	          "Content-Transfer-Encoding: 8bit\n"
	          "X-Cron-Env: <SHELL=/bin/sh>\n"
	          "X-Cron-Env: <HOME=/root>\n"
	          "X-Cron-Env: <PATH=/usr/bin:/bin>\n"
	          "X-Cron-Env: <LOGNAME=root>\n" },
	{ "mutt", "Date: Sun, 22 Nov 2026 01:46:00 +0100\n"
	          "From: Eddy Moe <eddy@box>\n"
	          "To: \"Smith, John\" <john@example.net>, mary@example.com\n"
	          "Cc: =?utf-8?Q?J=C3=BCrgen?= <juergen@example.org>\n"
	          "Subject: Re: the report\n"
	          "Message-ID: <ZzW1kQy7Nw8b2pQe@box>\n"
	          "References: <20261120101010.GA1234@example.net>\n"
	          "MIME-Version: 1.0\n"
	          "Content-Type: text/plain; charset=us-ascii\n"
	          "Content-Disposition: inline\n"
	          "In-Reply-To: <20261120101010.GA1234@example.net>\n"
	          "User-Agent: Mutt/2.2.9 (2022-11-12)\n" },
};

/* named: the rule makes a name, too; else it is that of README's two lines. */
static void compose_rounds(const char *header, bool named, unsigned rounds)
{
	char any[] = "*", as[] = "eddy@isp.example", name[] = "%n at %h";
	const struct masq_rule rule = { .match = any,
		                        .as = as,
		                        .name = named ? name : NULL,
		                        .rewrite = MASQ_DEFAULT };
	const struct compose_conf c = { .hostname = STR("box.example.org"),
		                        .nodename = STR("box"),
		                        .domain = STR("example.org"),
		                        .domain_fits = addr_domain_ok(STR("example.org")),
		                        .rules = &rule,
		                        .rules_n = 1 };
	struct env_rcpt rcpt = { .addr = STR("root") };
	const struct envelope e = { .login = STR("root"),
		                    .gecos = STR("root"),
		                    .time = 1795311960,
		                    .rcpt = &rcpt,
		                    .rcpts = 1 };

	while (rounds--) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		struct plan p;

		compose_plan(&c, &e, &p);
		compose_header(&c, &e, STR("0123456789abcdef"), STR_NONE, str_z(header),
		               &out);
		plan_free(&p);
	}
}

/* ---- encrypting ---- */

enum { WRITTEN, AES, CHACHA20, COMPOSED, RESULTS = COMPOSED + 2 * ARRAY_LEN(samples) };

/* A certificate that lives as long as the handshake. */
static gnutls_certificate_credentials_t server_credentials(void)
{
	const time_t now = time(NULL);
	gnutls_certificate_credentials_t cred;
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;

	require(gnutls_x509_privkey_init(&key) == 0 &&
	            gnutls_x509_privkey_generate(
	                key, GNUTLS_PK_ECDSA,
	                GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) == 0,
	        "key");
	require(gnutls_x509_crt_init(&crt) == 0 &&
	            gnutls_x509_crt_set_version(crt, 3) == 0 &&
	            gnutls_x509_crt_set_serial(crt, "1", 1) == 0 &&
	            gnutls_x509_crt_set_activation_time(crt, now - 60) == 0 &&
	            gnutls_x509_crt_set_expiration_time(crt, now + 3600) == 0 &&
	            gnutls_x509_crt_set_key(crt, key) == 0 &&
	            gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) == 0,
	        "certificate");
	require(gnutls_certificate_allocate_credentials(&cred) == 0 &&
	            gnutls_certificate_set_x509_key(cred, &crt, 1, key) == 0,
	        "credentials");
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
	return cred;
}

#define VERSION "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+"

static const char *const priority[] = { [WRITTEN] = VERSION "AES-256-GCM",
	                                [AES] = VERSION "AES-256-GCM",
	                                [CHACHA20] = VERSION "CHACHA20-POLY1305" };

static gnutls_session_t handshake(int fd, unsigned flags, const char *with,
                                  gnutls_certificate_credentials_t cred)
{
	gnutls_session_t tls;
	int e;

	require(gnutls_init(&tls, flags) == 0, "gnutls_init");
	require(gnutls_priority_set_direct(tls, with, NULL) == 0, "priority");
	require(gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, cred) == 0,
	        "credentials");
	gnutls_transport_set_int(tls, fd);
	do
		e = gnutls_handshake(tls);
	while (e < 0 && !gnutls_error_is_fatal(e));
	require(e == 0, "handshake");
	return tls;
}

/* The host: reads what comes, whatever it is, until nobody is there any more. */
static void drain(int fd, const char *with)
{
	static char bytes[DRAIN];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	handshake(fd, GNUTLS_SERVER, with, server_credentials());
	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
	_exit(0);
}

static gnutls_session_t connect_host(const char *with)
{
	gnutls_certificate_credentials_t cred;
	gnutls_session_t tls;
	int fds[2];
	pid_t pid;

	require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
	pid = fork();
	require(pid >= 0, "fork");
	if (pid == 0) {
		close(fds[0]);
		drain(fds[1], with);
	}
	close(fds[1]);
	require(gnutls_certificate_allocate_credentials(&cred) == 0, "credentials");
	tls = handshake(fds[0], GNUTLS_CLIENT, with, cred);
	require(gnutls_protocol_get_version(tls) == GNUTLS_TLS1_3, "version");
	return tls;
}

static ssize_t push_nowhere(gnutls_transport_ptr_t p, const giovec_t *v, int n)
{
	ssize_t sum = 0;

	(void)p;
	for (int i = 0; i < n; i++)
		sum += (ssize_t)v[i].iov_len;
	return sum;
}

static void encrypt_rounds(gnutls_session_t tls, unsigned rounds)
{
	static const char text[MESSAGE];

	while (rounds--)
		require(gnutls_record_send(tls, text, MESSAGE) == MESSAGE, "send");
}

/* ---- measuring ---- */

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Each try does everything once, so that what else this machine does meets all alike. */
static void measure(unsigned rounds, double median[static RESULTS])
{
	static double ns[RESULTS][TRIES];
	gnutls_session_t tls[COMPOSED];

	for (size_t k = 0; k < COMPOSED; k++) {
		tls[k] = connect_host(priority[k]);
		if (k != WRITTEN)
			gnutls_transport_set_vec_push_function(tls[k], push_nowhere);
	}
	for (int i = 0; i < TRIES; i++)
		for (size_t k = 0; k < RESULTS; k++) {
			const size_t sample = k - COMPOSED;
			double start = cpu();

			if (k < COMPOSED)
				encrypt_rounds(tls[k], rounds);
			else
				compose_rounds(samples[sample / 2].header, sample % 2,
				               rounds);
			ns[k][i] = (cpu() - start) / rounds;
		}
	for (size_t k = 0; k < RESULTS; k++) {
		qsort(ns[k], TRIES, sizeof(ns[k][0]), compare);
		median[k] = ns[k][TRIES / 2];
	}
	for (size_t k = 0; k < COMPOSED; k++)
		gnutls_deinit(tls[k]);
}

int main(int argc, char **argv)
{
	double median[RESULTS];
	unsigned rounds = ROUNDS;
	uint64_t given;
	bool ok = true;

	if (argc > 1 && str_u64(str_z(argv[1]), &given) && given > 0 &&
	    given < UINT32_MAX)
		rounds = (unsigned)given;
	measure(rounds, median);
	printf("encrypting %d octets, a record of TLS 1.3: AES-256-GCM %.0f ns, with its "
	       "write(2) to a socket %.0f ns; ChaCha20-Poly1305 %.0f ns\n",
	       MESSAGE, median[AES], median[WRITTEN], median[CHACHA20]);
	printf("composing is envelope and header; ratio to AES alone; to AES and write "
	       "(must be "
	       "below 1 without a name); to ChaCha20 alone (must be below 1)\n");
	for (size_t k = COMPOSED; k < RESULTS; k++) {
		const bool named = (k - COMPOSED) % 2;

		printf("composing, %s%-8s %6.0f ns  ratio %.2f; %.2f; %.2f\n",
		       samples[(k - COMPOSED) / 2].name, named ? ", named" : "",
		       median[k], median[k] / median[AES], median[k] / median[WRITTEN],
		       median[k] / median[CHACHA20]);
		ok = ok && (named || median[k] < median[WRITTEN]) &&
		     median[k] < median[CHACHA20];
	}
	return !ok;
}
