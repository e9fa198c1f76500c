/*
 * TLS while messages are streamed: new keys, tickets, alerts and ends at any moment.
 *
 * A GnuTLS host takes a stream of BDATs and does something to TLS when it has a certain message.
 * What must hold: what does no harm does none (one connection, nobody in doubt); what ends the
 * connection loses nothing, and doubles only what was in doubt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "smtp/client.h"
#include "smtp/learned.h"

enum {
	MESSAGES = 60,
	CONNECTIONS = 6,
	PAUSE_MS = 60,  /* of a host that does not read: more is sent than kernels hold */
	FAR_MS = 7,     /* of the reply to EHLO, so that streaming is worth it */
	KEYS_TIMES = 6, /* GnuTLS bears 8 updates of keys in a second */
	KEYS_EVERY = 10, /* messages */
	TOO_MANY = 50,
};

enum event {
	NOTHING,
	TICKET,
	KEYS,          /* the host's */
	KEYS_BOTH,     /* and ours: the host asks for it */
	KEYS_MANY,     /* both, now and then */
	KEYS_TOO_MANY, /* more often than GnuTLS bears */
	KEYS_PAUSED, /* both, while the host does not read and we are in the middle of a record */
	HELLO, /* the host wants to negotiate again (TLS 1.2) */
	WARNING,
	GOODBYE, /* close_notify; the host reads on */
	LEAVES,  /* close_notify, and the connection is closed with input unread */
	ALERT,
	GARBAGE,
	HALF, /* half a record, and the end */
};

static const struct row {
	const char *name;
	enum event event;
	bool old;   /* TLS 1.2 */
	size_t big; /* lines of a message */
	bool ends;  /* the connection */
} rows[] = {
	{ "nothing", NOTHING, false, 20, false },
	{ "a ticket", TICKET, false, 20, false },
	{ "the host's keys", KEYS, false, 20, false },
	{ "new keys of both", KEYS_BOTH, false, 20, false },
	{ "new keys, too often", KEYS_TOO_MANY, false, 20, true },
	{ "new keys now and then", KEYS_MANY, false, 20, false },
	{ "new keys now and then, large messages", KEYS_MANY, false, 1000, false },
	{ "new keys in the middle of a record", KEYS_PAUSED, false, 1000, false },
	{ "to negotiate again", HELLO, true, 20, false },
	{ "to negotiate again, large messages", HELLO, true, 1000, false },
	{ "a warning", WARNING, true, 20, false },
	{ "close_notify", GOODBYE, false, 20, true },
	{ "close_notify, TLS 1.2", GOODBYE, true, 20, true },
	{ "close_notify, large messages", GOODBYE, false, 1000, true },
	{ "close_notify and a close", LEAVES, false, 20, true },
	{ "close_notify and a close, large messages", LEAVES, false, 1000, true },
	{ "an alert", ALERT, false, 20, true },
	{ "an alert, TLS 1.2", ALERT, true, 20, true },
	{ "an alert, large messages", ALERT, false, 1000, true },
	{ "garbage", GARBAGE, false, 20, true },
	{ "half a record", HALF, false, 20, true },
	{ "half a record, large messages", HALF, false, 1000, true },
};

/* What the host and the test share. */
struct shared {
	unsigned accepted[MESSAGES], connections;
	char why[120];
};

struct bed {
	gnutls_certificate_credentials_t creds;
	gnutls_datum_t ticket_key;
	char learned[CLIENT_LEARNED_MAX + 1];
};

/* ---- the host ---- */

struct host {
	const struct row *t;
	const struct bed *bed;
	struct shared *sh;
	gnutls_session_t tls;
	int fd;
	bool first, mute;
	struct buf in;
	int sender; /* -1: none */
	bool rcpt;
	unsigned at; /* the message that it happens at */
};

static void leave(const struct host *h)
{
	close(h->fd);
	_exit(0);
}

static void wrong(const struct host *h, const char *what)
{
	if (!h->sh->why[0])
		snprintf(h->sh->why, sizeof(h->sh->why), "%s", what);
	leave(h);
}

static void say(const struct host *h, const char *s)
{
	if (!h->mute && gnutls_record_send(h->tls, s, strlen(s)) < 0)
		leave(h);
}

static void more(struct host *h)
{
	ssize_t n = gnutls_record_recv(h->tls, buf_room(&h->in, 16384), 16384);

	/* We do not want to negotiate again, which is our right. */
	if (n == GNUTLS_E_WARNING_ALERT_RECEIVED || n == GNUTLS_E_AGAIN)
		return;
	if (n < 0 && !h->t->ends)
		wrong(h, gnutls_strerror((int)n));
	if (n <= 0)
		leave(h);
	h->in.n += (size_t)n;
	h->in.p[h->in.n] = '\0';
}

static void new_keys(const struct host *h, unsigned how, unsigned times)
{
	while (times--) {
		if (gnutls_session_key_update(h->tls, how) >= 0)
			continue;
		if (h->t->ends)
			leave(h);
		wrong(h, "no key update");
	}
}

/* The client is left alone until it stands in the middle of a record; then asked. */
static void new_keys_paused(const struct host *h)
{
	usleep(PAUSE_MS * 1000);
	new_keys(h, GNUTLS_KU_PEER, 3);
	usleep(PAUSE_MS * 1000);
	new_keys(h, GNUTLS_KU_PEER, 1);
}

static void happens(struct host *h)
{
	static const char half[] = "\x17\x03\x03\x01\x00half a record";

	switch (h->t->event) {
	case NOTHING:
	case KEYS_MANY:
		break;
	case TICKET:
		if (gnutls_session_ticket_send(h->tls, 3, 0) < 0)
			wrong(h, "no ticket");
		break;
	case KEYS:
		new_keys(h, 0, KEYS_TIMES);
		break;
	case KEYS_BOTH:
		new_keys(h, GNUTLS_KU_PEER, KEYS_TIMES);
		break;
	case KEYS_TOO_MANY:
		new_keys(h, GNUTLS_KU_PEER, TOO_MANY);
		break;
	case KEYS_PAUSED:
		new_keys_paused(h);
		break;
	case HELLO:
		if (gnutls_rehandshake(h->tls) < 0)
			wrong(h, "no hello");
		break;
	case WARNING:
		gnutls_alert_send(h->tls, GNUTLS_AL_WARNING, GNUTLS_A_USER_CANCELED);
		break;
	case GOODBYE:
	case LEAVES:
		gnutls_bye(h->tls, GNUTLS_SHUT_WR);
		if (h->t->event == LEAVES)
			leave(h);
		h->mute = true;
		break;
	case ALERT:
		gnutls_alert_send(h->tls, GNUTLS_AL_FATAL, GNUTLS_A_INTERNAL_ERROR);
		leave(h);
		break;
	case GARBAGE:
		(void)io_write(h->fd, "Login: Login: Login: \r\n", 23);
		h->mute = true;
		break;
	case HALF:
		(void)io_write(h->fd, half, sizeof(half) - 1);
		shutdown(h->fd, SHUT_WR);
		h->mute = true;
		break;
	}
}

static void make_body(const struct row *t, unsigned m, const char *end, struct buf *b)
{
	for (size_t i = 0; i < t->big; i++)
		buf_fmt(b, "%u.%zu: a line as long as most%s", m, i, end);
}

static void content(struct host *h, uint64_t n)
{
	_cleanup_buf_ struct buf want = BUF_INIT;
	unsigned m = (unsigned)h->sender;

	while (h->in.n < n)
		more(h);
	buf_z(&want, "A: b\r\n\r\n");
	make_body(h->t, m, "\r\n", &want);
	if (!str_eq(str_head(buf_view(&h->in), n), buf_view(&want)))
		wrong(h, "another content");
	buf_drop(&h->in, n);
	if (h->first && h->t->event == KEYS_MANY && m % KEYS_EVERY == 0)
		new_keys(h, GNUTLS_KU_PEER, 1);
	if (h->first && m == h->at)
		happens(h);
	h->sh->accepted[m]++;
	say(h, "250 2.0.0 ok\r\n");
	h->sender = -1;
	h->rcpt = false;
}

static void command(struct host *h, struct str line)
{
	uint64_t n = 0;
	struct str word, rest;

	if (str_starts(line, STR("EHLO"))) {
		usleep(FAR_MS * 1000);
		say(h, "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 100000\r\n");
	} else if (str_starts(line, STR("RSET"))) {
		say(h, "250 2.0.0 reset\r\n");
	} else if (str_starts(line, STR("MAIL FROM:<s"))) {
		rest = str_from(line, 12);
		str_cut(&rest, '@', &word);
		if (h->sender >= 0 || !str_u64(word, &n) || n >= MESSAGES)
			wrong(h, "MAIL");
		h->sender = (int)n;
		say(h, "250 2.1.0 ok\r\n");
	} else if (str_starts(line, STR("RCPT TO:<r@"))) {
		h->rcpt = true;
		say(h, "250 2.1.5 ok\r\n");
	} else if (str_starts(line, STR("BDAT "))) {
		rest = str_from(line, 5);
		str_cut(&rest, ' ', &word);
		if (!h->rcpt || !str_u64(word, &n) || n > 100000)
			wrong(h, line.p);
		content(h, n);
	} else if (str_starts(line, STR("QUIT"))) {
		say(h, "221 2.0.0 bye\r\n");
		leave(h);
	} else {
		wrong(h, line.p);
	}
}

static void serve(struct host *h)
{
	_cleanup_buf_ struct buf line = BUF_INIT;
	ptrdiff_t lf;

	gnutls_init(&h->tls, GNUTLS_SERVER);
	gnutls_priority_set_direct(
	    h->tls, h->t->old ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL", NULL);
	gnutls_credentials_set(h->tls, GNUTLS_CRD_CERTIFICATE, h->bed->creds);
	gnutls_session_ticket_enable_server(h->tls, &h->bed->ticket_key);
	gnutls_transport_set_int(h->tls, h->fd);
	if (gnutls_handshake(h->tls) < 0)
		leave(h);
	h->sender = -1;
	say(h, "220 mx ESMTP\r\n");
	for (;;) {
		while (lf = str_chr(buf_view(&h->in), '\n'), lf < 0)
			more(h);
		buf_reset(&line);
		buf_str(&line, str_trim(str_head(buf_view(&h->in), (size_t)lf + 1)));
		buf_drop(&h->in, (size_t)lf + 1);
		command(h, buf_view(&line));
	}
}

/* One connection after the other: what was taken last is kept before the next. */
static pid_t host_start(const struct row *t, const struct bed *bed, struct shared *sh,
                        int listener)
{
	struct host h = { .t = t, .bed = bed, .sh = sh, .at = 9 };
	int on = 1;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		h.fd = accept(listener, NULL, NULL);
		if (h.fd < 0)
			_exit(1);
		setsockopt(h.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		h.first = sh->connections++ == 0;
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(&h);
		}
		close(h.fd);
		waitpid(pid, NULL, 0);
	}
}

/* ---- the queue ---- */

struct queue {
	struct {
		struct client_msg msg;
		struct client_rcpt rcpt;
		char sender[24];
		bool busy, settled, doubted;
	} m[MESSAGES];
	unsigned left;
	const char *name;
};

static struct client_msg *q_next(void *arg, bool idle)
{
	struct queue *q = arg;

	(void)idle;
	for (unsigned i = 0; i < MESSAGES; i++)
		if (!q->m[i].settled && !q->m[i].busy) {
			q->m[i].busy = true;
			q->m[i].msg.alone = q->m[i].doubted;
			return &q->m[i].msg;
		}
	return NULL;
}

static void q_done(void *arg, struct client_msg *m, int error)
{
	struct queue *q = arg;
	struct verdict *v = &m->rcpt[0].verdict;
	unsigned i = 0;

	while (&q->m[i].msg != m)
		i++;
	assert_int_equal(error, 0);
	q->m[i].busy = false;
	if (strstr(v->text.n ? v->text.p : "", "on this port"))
		fail_msg("%s: TLS has been spoken, and yet: %s", q->name, v->text.p);
	if (v->kind == VERDICT_DONE) {
		q->m[i].settled = true;
		q->left--;
	} else if (v->kind == VERDICT_DOUBT) {
		q->m[i].doubted = true;
	} else if (v->kind != VERDICT_RECONNECT && v->kind != VERDICT_HOST) {
		fail_msg("%s: message %u: verdict %d, %s", q->name, i, v->kind,
		         v->text.p);
	} else if (getenv("ROW")) {
		print_message("%u: %d %s\n", i, v->kind, v->text.p);
	}
	buf_free(&v->text);
}

static void q_init(struct queue *q, const struct row *t)
{
	q->left = MESSAGES;
	q->name = t->name;
	for (unsigned i = 0; i < MESSAGES; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		make_body(t, i, "\n", &b);
		snprintf(q->m[i].sender, sizeof(q->m[i].sender), "s%u@x.example", i);
		q->m[i].rcpt.addr = STR("r@x.example");
		q->m[i].msg = (struct client_msg){ .sender = str_z(q->m[i].sender),
			                           .header = STR("A: b\n\n"),
			                           .fd = io_memfd("m", buf_view(&b)),
			                           .rcpt = &q->m[i].rcpt,
			                           .rcpts = 1 };
	}
}

static void drain(const struct bed *bed, struct queue *q, const struct shared *sh,
                  const struct sockaddr_in *to)
{
	const struct client_feed feed = {
		.next = q_next, .done = q_done, .fd = -1, .arg = q
	};
	const struct client_conf conf = { .host = STR("mx"),
		                          .helo = STR("box"),
		                          .tls = CLIENT_TLS_IMPLICIT,
		                          .timeout_scale = 20,
		                          .stream = true,
		                          .learned = str_z(bed->learned),
		                          .cancel_fd = -1 };
	const char *why = "";
	struct client *c = client_new(&conf, &why);

	if (!c)
		fail_msg("%s", why);
	for (unsigned n = 0; q->left; n++) {
		struct verdict v = { 0 };

		if (n == CONNECTIONS)
			fail_msg("%s: %u left after %u connections; %s", q->name, q->left,
			         n, sh->why);
		if (client_open(c, (const struct sockaddr *)to, sizeof(*to), &v) < 0)
			fail_msg("%s: %s", q->name, v.text.p);
		client_stream(c, &feed);
	}
	client_quit(c);
	client_free(c);
}

static void judge(const struct row *t, const struct queue *q, const struct shared *sh)
{
	unsigned doubts = 0;

	if (sh->why[0])
		fail_msg("%s: the host: %s", t->name, sh->why);
	if (t->ends ? sh->connections < 2 : sh->connections != 1)
		fail_msg("%s: %u connections", t->name, sh->connections);
	for (unsigned i = 0; i < MESSAGES; i++) {
		bool doubted = q->m[i].doubted;

		doubts += doubted;
		if (sh->accepted[i] == 0 || (sh->accepted[i] > 1 && !doubted))
			fail_msg("%s: message %u taken %u times", t->name, i,
			         sh->accepted[i]);
	}
	if (!t->ends && doubts)
		fail_msg("%s: %u in doubt", t->name, doubts);
	/* What was in flight was all out. */
	if (t->ends && t->big < 100 && doubts == 0)
		fail_msg("%s: nothing was in flight", t->name);
}

static int listen_local(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 16384;
	socklen_t n = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	/* So that a host that does not read makes the client stop in the middle. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &n), 0);
	return fd;
}

static void run_row(const struct bed *bed, const struct row *t)
{
	static struct queue q;
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
	                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sockaddr_in to;
	int listener = listen_local(&to);
	pid_t pid = host_start(t, bed, sh, listener);

	close(listener);
	q = (struct queue){ .left = 0 };
	q_init(&q, t);
	drain(bed, &q, sh, &to);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	judge(t, &q, sh);
	for (unsigned i = 0; i < MESSAGES; i++)
		close(q.m[i].msg.fd);
	munmap(sh, sizeof(*sh));
}

static void bed_init(struct bed *b)
{
	struct learned l;
	_cleanup_buf_ struct buf text = BUF_INIT;
	uint64_t h = learned_greeting(STR("mx ESMTP"));
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;

	h = learned_keyword(h, STR("PIPELINING"));
	h = learned_keyword(h, STR("CHUNKING"));
	h = learned_keyword(h, STR("SIZE"));
	learned_forget(&l, h);
	l.canary = true;
	l.since = clock_real() - 60;
	learned_print(&l, &text);
	snprintf(b->learned, sizeof(b->learned), "%s", text.p);
	gnutls_certificate_allocate_credentials(&b->creds);
	gnutls_session_ticket_key_generate(&b->ticket_key);
	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_generate(
	    key, GNUTLS_PK_ECDSA,
	    (unsigned)GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_dn(crt, "CN=mx", NULL);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_serial(crt, "\x17", 1);
	gnutls_x509_crt_set_activation_time(crt, (time_t)clock_real() - 86400);
	gnutls_x509_crt_set_expiration_time(crt, (time_t)clock_real() + 86400);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_certificate_set_x509_key(b->creds, &crt, 1, key), 0);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

static void test_rows(void **state)
{
	const char *only = getenv("ROW");
	struct bed bed;

	(void)state;
	bed_init(&bed);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!only || strcmp(only, rows[i].name) == 0)
			run_row(&bed, &rows[i]);
	gnutls_certificate_free_credentials(bed.creds);
	gnutls_free(bed.ticket_key.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
