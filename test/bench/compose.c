/* Composing the header of a 2 KiB message against encrypting 2 KiB for the wire: one record of
 * GnuTLS, AES-256-GCM, alone and with its write(2) to a local socket, all in CPU time of
 * one run. Prints all ratios. Status 1 when composing with README's two lines costs more
 * than the record and its write.
 * Usage: build/bench/compose [ROUNDS] */
#include "mail/compose.h"
#include <errno.h>
#include <gnutls/gnutls.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 2048, ROUNDS = 20000, TRIES = 9, PIPE_MAX = 64 << 10 };

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
		                        .domain = STR("example.org"),
		                        .rules = &rule,
		                        .rules_n = 1 };
	const struct envelope e = { .login = STR("root"),
		                    .gecos = STR("root"),
		                    .time = 1795311960 };
	struct buf out = BUF_INIT;

	while (rounds--) {
		buf_reset(&out);
		compose_header(&c, &e, STR("0123456789abcdef"), STR_NONE, str_z(header),
		               &out);
	}
	buf_free(&out);
}

/* ---- encrypting ---- */

/* Both ends of one direction. */
struct wire {
	char bytes[PIPE_MAX];
	size_t n;
	bool sink; /* what comes is dropped, or goes to fd, when that is not 0 */
	int fd;
};

struct end {
	struct wire *in, *out;
	gnutls_session_t tls;
};

static ssize_t push(gnutls_transport_ptr_t p, const void *data, size_t n)
{
	struct wire *w = ((struct end *)p)->out;

	if (w->sink)
		return w->fd ? write(w->fd, data, n) : (ssize_t)n;
	if (n > sizeof(w->bytes) - w->n)
		return -1;
	memcpy(w->bytes + w->n, data, n);
	w->n += n;
	return (ssize_t)n;
}

static ssize_t pull(gnutls_transport_ptr_t p, void *data, size_t n)
{
	struct end *e = p;
	struct wire *w = e->in;

	if (w->n == 0) {
		gnutls_transport_set_errno(e->tls, EAGAIN);
		return -1;
	}
	if (n > w->n)
		n = w->n;
	memcpy(data, w->bytes, n);
	w->n -= n;
	memmove(w->bytes, w->bytes + n, w->n);
	return (ssize_t)n;
}

static int pull_timeout(gnutls_transport_ptr_t p, unsigned ms)
{
	(void)ms;
	return ((struct end *)p)->in->n > 0;
}

static int psk_of(gnutls_session_t s, const char *user, gnutls_datum_t *key)
{
	(void)s;
	(void)user;
	key->data = gnutls_malloc(16);
	if (!key->data)
		return -1;
	memset(key->data, 'k', 16);
	key->size = 16;
	return 0;
}

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "compose: %s\n", what);
	exit(2);
}

static void end_init(struct end *e, unsigned flags)
{
	/* Keys without certificates; GnuTLS has them for this cipher up to TLS 1.2. Its
	 * records cost no more than those of 1.3. */
	static const char priority[] = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+PSK:"
	                               "-CIPHER-ALL:+AES-256-GCM";

	require(gnutls_init(&e->tls, flags) == 0, "gnutls_init");
	require(gnutls_priority_set_direct(e->tls, priority, NULL) == 0, "priority");
	gnutls_transport_set_ptr(e->tls, e);
	gnutls_transport_set_push_function(e->tls, push);
	gnutls_transport_set_pull_function(e->tls, pull);
	gnutls_transport_set_pull_timeout_function(e->tls, pull_timeout);
}

/* A client whose handshake is done, and from then on talks to nobody. */
static void connect_ends(struct end *client, struct end *server)
{
	static gnutls_psk_client_credentials_t cc;
	static gnutls_psk_server_credentials_t sc;
	const gnutls_datum_t key = { (unsigned char[16]){ 0 }, 16 };
	int a = GNUTLS_E_AGAIN, b = GNUTLS_E_AGAIN;

	memset(key.data, 'k', 16);
	require(
	    gnutls_psk_allocate_client_credentials(&cc) == 0 &&
	        gnutls_psk_allocate_server_credentials(&sc) == 0 &&
	        gnutls_psk_set_client_credentials(cc, "u", &key, GNUTLS_PSK_KEY_RAW) == 0,
	    "credentials");
	gnutls_psk_set_server_credentials_function(sc, psk_of);
	end_init(client, GNUTLS_CLIENT);
	end_init(server, GNUTLS_SERVER);
	gnutls_credentials_set(client->tls, GNUTLS_CRD_PSK, cc);
	gnutls_credentials_set(server->tls, GNUTLS_CRD_PSK, sc);
	for (int i = 0; i < 100 && (a != 0 || b != 0); i++) {
		if (a != 0)
			a = gnutls_handshake(client->tls);
		if (b != 0)
			b = gnutls_handshake(server->tls);
	}
	require(a == 0 && b == 0, "handshake");
	require(gnutls_cipher_get(client->tls) == GNUTLS_CIPHER_AES_256_GCM, "cipher");
	client->out->sink = true;
}

/* ---- measuring ---- */

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The least of several tries: what else this machine did is not counted. */
static void least(double *best, double ns)
{
	if (*best == 0 || ns < *best)
		*best = ns;
}

/* Nanoseconds of a record; with fds its write to fds[0] is counted, the reading of it at
 * fds[1] not. */
static double encrypt_rounds(struct end *client, const int fds[2], unsigned rounds)
{
	enum { BATCH = 16 };
	static const char text[MESSAGE];
	static char drain[BATCH * 2 * MESSAGE];
	double sum = 0;

	client->out->fd = fds ? fds[0] : 0;
	for (unsigned i = 0; i < rounds / BATCH; i++) {
		double start = cpu();

		for (int k = 0; k < BATCH; k++)
			require(gnutls_record_send(client->tls, text, MESSAGE) == MESSAGE,
			        "send");
		sum += cpu() - start;
		if (fds)
			require(read(fds[1], drain, sizeof(drain)) > BATCH * MESSAGE,
			        "read");
	}
	return sum / (rounds / BATCH * BATCH);
}

int main(int argc, char **argv)
{
	static struct wire up, down;
	struct end client = { .in = &down, .out = &up }, server = { &up, &down, NULL };
	double alone = 0, wire = 0, made[2 * ARRAY_LEN(samples)] = { 0 };
	uint64_t given;
	unsigned rounds = ROUNDS;
	bool ok = true;
	int fds[2];

	if (argc > 1 && str_u64(str_z(argv[1]), &given) && given >= 16)
		rounds = (unsigned)given;
	require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
	connect_ends(&client, &server);
	for (int i = 0; i < TRIES; i++) {
		least(&alone, encrypt_rounds(&client, NULL, rounds));
		least(&wire, encrypt_rounds(&client, fds, rounds));
		for (size_t k = 0; k < ARRAY_LEN(made); k++) {
			double start = cpu();

			compose_rounds(samples[k / 2].header, k % 2, rounds);
			least(&made[k], (cpu() - start) / rounds);
		}
	}
	printf("encrypting %d octets  %6.0f ns; and writing them %6.0f ns\n", MESSAGE,
	       alone, wire);
	for (size_t k = 0; k < ARRAY_LEN(made); k++) {
		printf("composing, %s%-8s %6.0f ns  ratio %.2f; %.2f\n",
		       samples[k / 2].name, k % 2 ? ", named" : "", made[k],
		       made[k] / alone, made[k] / wire);
		ok = ok && (k % 2 || made[k] < wire);
	}
	gnutls_deinit(client.tls);
	gnutls_deinit(server.tls);
	return !ok;
}
