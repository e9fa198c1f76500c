#include "listen/link.h"
#include "base/clock.h"
#include <errno.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PIPE_PIECE = 4096, /* what a pipe that is ready for writing takes: PIPE_BUF */
	LEAVE_OCTETS = 1 << 20, /* dropped at most while the client is awaited */
	ID_MAX = 32,            /* octets of a key's hash */
};

/* What GnuTLS's authors hold for safe, whatever the system's own default is, and no version of
 * TLS that is not (RFC 8996). */
static const char default_priority[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1";
/* In the PEM of a key with a passphrase, both of PKCS #8 and of OpenSSL's own form. */
static const char locked[] = "ENCRYPTED";

/* ---- descriptors ---- */

/* Waits for events on fd; stop: for the link's as well. 0, -ETIMEDOUT, -ECANCELED, -errno. */
static int wait_for(const struct link *l, int fd, short events, bool stop,
                    int64_t deadline)
{
	struct pollfd p[] = { { .fd = fd, .events = events },
		              { .fd = stop ? l->stop : -1, .events = POLLIN } };

	for (;;) {
		int64_t left = deadline - clock_ms();
		int n;

		if (left < 0)
			left = 0;
		n = poll(p, ARRAY_LEN(p), left > INT_MAX ? INT_MAX : (int)left);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents)
			return -ECANCELED;
		if (n > 0)
			return 0;
		if (clock_ms() >= deadline)
			return -ETIMEDOUT;
	}
}

/* As recv(2) without waiting. */
static ssize_t take(int fd, void *to, size_t n)
{
	ssize_t r = recv(fd, to, n, MSG_DONTWAIT);

	/* Only who waited may read what is no socket. */
	if (r < 0 && errno == ENOTSOCK)
		r = read(fd, to, n);
	return r;
}

static ssize_t give(int fd, const void *p, size_t n)
{
	ssize_t w = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (w < 0 && errno == ENOTSOCK)
		w = write(fd, p, n < PIPE_PIECE ? n : PIPE_PIECE);
	return w;
}

/* ---- TLS ---- */

static ssize_t pull(gnutls_transport_ptr_t p, void *to, size_t n)
{
	const struct link *l = p;

	return recv(l->in, to, n, MSG_DONTWAIT);
}

static ssize_t push(gnutls_transport_ptr_t p, const void *from, size_t n)
{
	const struct link *l = p;

	return send(l->out, from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool again(ssize_t n)
{
	return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
}

/* Waits for what GnuTLS waits for. */
static int tls_wait(const struct link *l, bool stop, int64_t deadline)
{
	bool writing = gnutls_record_get_direction(l->tls) == 1;

	return wait_for(l, writing ? l->out : l->in, writing ? POLLOUT : POLLIN, stop,
	                deadline);
}

static ssize_t tls_read(struct link *l, char *to, size_t n, int64_t deadline)
{
	for (;;) {
		ssize_t r = gnutls_record_recv(l->tls, to, n);
		int e;

		if (r >= 0)
			return r;
		/* A client that closes without a farewell: nothing was promised to it. */
		if (r == GNUTLS_E_PREMATURE_TERMINATION)
			return 0;
		if (again(r)) {
			e = tls_wait(l, true, deadline);
			if (e < 0)
				return e;
		} else if (gnutls_error_is_fatal((int)r)) {
			return r == GNUTLS_E_PULL_ERROR ? -ECONNRESET : -EPROTO;
		} else if (clock_ms() >= deadline) {
			return -ETIMEDOUT; /* TLS 1.2: asks to negotiate again and again */
		}
	}
}

static int tls_write(struct link *l, struct str text, int64_t deadline)
{
	while (text.n) {
		ssize_t w = gnutls_record_send(l->tls, text.p, text.n);

		if (w >= 0) {
			text = str_from(text, (size_t)w);
		} else if (again(w)) {
			int e = tls_wait(l, false, deadline);

			if (e < 0)
				return e;
		} else {
			return -EPIPE;
		}
	}
	return 0;
}

static gnutls_datum_t datum(struct str s)
{
	const void *p = s.p;
	gnutls_datum_t d = { .size = (unsigned)s.n };

	/* GnuTLS does not write there; its type lacks the const. */
	memcpy(&d.data, &p, sizeof(p));
	return d;
}

static int words(struct buf *why, const char *what, int e)
{
	buf_z(why, what);
	if (e < 0)
		buf_escape(why, str_z(gnutls_strerror(e)), 200);
	return e;
}

/* What is to be loaded, in GnuTLS's form. */
struct pair {
	gnutls_x509_crt_t *chain;
	unsigned certificates;
	gnutls_x509_privkey_t key;
};

static void pair_free(struct pair *p)
{
	for (unsigned i = 0; i < p->certificates; i++)
		gnutls_x509_crt_deinit(p->chain[i]);
	gnutls_free(p->chain);
	if (p->key)
		gnutls_x509_privkey_deinit(p->key);
}

static int pair_read(struct pair *p, struct str certificate, struct str key,
                     struct buf *why)
{
	gnutls_datum_t c = datum(certificate), k = datum(key);
	int e = gnutls_x509_crt_list_import2(&p->chain, &p->certificates, &c,
	                                     GNUTLS_X509_FMT_PEM, 0);

	if (e == 0 && p->certificates == 0)
		e = GNUTLS_E_NO_CERTIFICATE_FOUND;
	if (e < 0)
		return words(why,
		             "tls-certificate holds no certificate that can be used (PEM "
		             "is wanted): ",
		             e);
	if (gnutls_x509_privkey_init(&p->key) < 0)
		die_oom();
	e = gnutls_x509_privkey_import2(p->key, &k, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (e < 0 && memmem(key.p, key.n, locked, sizeof(locked) - 1))
		words(why,
		      "tls-key has a passphrase, which nobody is there to give; openssl "
		      "pkey writes the key without it",
		      0);
	else if (e < 0)
		words(why, "tls-key holds no key that can be used (PEM is wanted): ", e);
	return e;
}

/* Do they go together? GnuTLS would sign something and verify it, in 3 ms of RSA, which is
 * much for each connection. That remains for who has another form of the same key. */
static bool pair_matches(const struct pair *p)
{
	unsigned char a[ID_MAX], b[ID_MAX];
	size_t na = sizeof(a), nb = sizeof(b);

	return gnutls_x509_crt_get_key_id(p->chain[0], GNUTLS_KEYID_USE_SHA256, a, &na) ==
	           0 &&
	       gnutls_x509_privkey_get_key_id(p->key, GNUTLS_KEYID_USE_SHA256, b, &nb) ==
	           0 &&
	       na == nb && memcmp(a, b, na) == 0;
}

/* 0, and the caller frees *ret; or -EINVAL. */
static int cred_load(gnutls_certificate_credentials_t *ret, struct str certificate,
                     struct str key, struct buf *ret_why)
{
	gnutls_certificate_credentials_t cred = NULL;
	struct pair p = { .chain = NULL };
	int e = pair_read(&p, certificate, key, ret_why);

	if (e == 0) {
		if (gnutls_certificate_allocate_credentials(&cred) < 0)
			die_oom();
		if (pair_matches(&p))
			gnutls_certificate_set_flags(
			    cred, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
		e = gnutls_certificate_set_x509_key(cred, p.chain, (int)p.certificates,
		                                    p.key);
		if (e == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
			words(
			    ret_why,
			    "tls-key is not the key of tls-certificate (of the first in "
			    "that file)",
			    0);
		else if (e < 0)
			words(ret_why, "tls-certificate and tls-key cannot be used: ", e);
	}
	pair_free(&p);
	if (e < 0 && cred)
		gnutls_certificate_free_credentials(cred);
	if (e < 0)
		return -EINVAL;
	*ret = cred;
	return 0;
}

/* 0, and the caller frees *ret; or -EINVAL. */
static int priority_load(gnutls_priority_t *ret, struct str text, struct buf *ret_why)
{
	_cleanup_buf_ struct buf z = BUF_INIT;

	buf_str(&z, text.n ? text : str_z(default_priority));
	if (gnutls_priority_init(ret, z.p, NULL) == 0)
		return 0;
	buf_z(ret_why, "tls-priority: GnuTLS does not understand it");
	return -EINVAL;
}

int link_try(struct str certificate, struct str key, struct str priority,
             struct buf *ret_why)
{
	gnutls_certificate_credentials_t cred;
	gnutls_priority_t p;
	int e = cred_load(&cred, certificate, key, ret_why);

	if (e < 0)
		return e;
	gnutls_certificate_free_credentials(cred);
	e = priority_load(&p, priority, ret_why);
	if (e == 0)
		gnutls_priority_deinit(p);
	return e;
}

static int tls_open(struct link *l, struct buf *why)
{
	int e = gnutls_init(&l->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
	                                 GNUTLS_NO_TICKETS);

	if (e == 0)
		e = gnutls_priority_set(l->tls, l->priority);
	if (e == 0)
		e = gnutls_credentials_set(l->tls, GNUTLS_CRD_CERTIFICATE, l->cred);
	if (e < 0)
		return words(why, "TLS cannot be started: ", e);
	gnutls_transport_set_ptr(l->tls, l);
	gnutls_transport_set_pull_function(l->tls, pull);
	gnutls_transport_set_push_function(l->tls, push);
	return 0;
}

/* With an alert of the client, what it complains of. */
static int handshake_failed(const struct link *l, int e, struct buf *why)
{
	const char *alert = NULL;

	if (e == GNUTLS_E_FATAL_ALERT_RECEIVED || e == GNUTLS_E_WARNING_ALERT_RECEIVED)
		alert = gnutls_alert_get_name(gnutls_alert_get(l->tls));
	if (alert) {
		buf_z(why, "TLS handshake: the client says: ");
		buf_escape(why, str_z(alert), 200);
	} else {
		words(why, "TLS handshake: ", e);
	}
	return -EPROTO;
}

/* Once the client knows who we are nobody needs the key here any more, nor the room that the
 * handshake took: the half of what a session holds. */
static void forget(struct link *l)
{
	gnutls_credentials_clear(l->tls);
	gnutls_certificate_free_credentials(l->cred);
	gnutls_priority_deinit(l->priority);
	l->cred = NULL;
	l->priority = NULL;
}

int link_tls(struct link *l, struct str certificate, struct str key, struct str priority,
             int64_t deadline, struct buf *ret_why)
{
	if (cred_load(&l->cred, certificate, key, ret_why) < 0 ||
	    priority_load(&l->priority, priority, ret_why) < 0 ||
	    tls_open(l, ret_why) < 0)
		return -EINVAL;
	for (;;) {
		int e = gnutls_handshake(l->tls);

		if (e == 0) {
			forget(l);
			return 0;
		}
		if (again(e)) {
			e = tls_wait(l, false, deadline);
			if (e == -ETIMEDOUT)
				buf_z(ret_why, "TLS handshake: it took too long");
			else if (e < 0)
				buf_fmt(ret_why, "TLS handshake: %s", strerror(-e));
			if (e < 0)
				return e;
		} else if (gnutls_error_is_fatal(e) || clock_ms() >= deadline) {
			(void)gnutls_alert_send_appropriate(l->tls, e);
			return handshake_failed(l, e, ret_why);
		}
	}
}

const char *link_tls_version(const struct link *l)
{
	const char *name;

	if (!l->tls)
		return "";
	name = gnutls_protocol_get_name(gnutls_protocol_get_version(l->tls));
	if (!name)
		return "?";
	return strncmp(name, "TLS", 3) == 0 ? name + 3 : name;
}

/* ---- both ---- */

ssize_t link_read(struct link *l, char *to, size_t n, int64_t deadline)
{
	if (l->tls)
		return tls_read(l, to, n, deadline);
	for (;;) {
		int e = wait_for(l, l->in, POLLIN, true, deadline);
		ssize_t r;

		if (e < 0)
			return e;
		r = take(l->in, to, n);
		if (r >= 0)
			return r;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

int link_write(struct link *l, struct str text, int64_t deadline)
{
	if (l->tls)
		return tls_write(l, text, deadline);
	while (text.n) {
		ssize_t w = give(l->out, text.p, text.n);

		if (w >= 0) {
			text = str_from(text, (size_t)w);
		} else if (errno == EAGAIN) {
			int e = wait_for(l, l->out, POLLOUT, false, deadline);

			if (e < 0)
				return e;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static void await_end(const struct link *l, int64_t deadline)
{
	char block[PIPE_PIECE];
	size_t all = 0;

	while (all < LEAVE_OCTETS && wait_for(l, l->in, POLLIN, true, deadline) == 0) {
		ssize_t r = recv(l->in, block, sizeof(block), MSG_DONTWAIT);

		if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
			return;
		all += r > 0 ? (size_t)r : 0;
	}
}

void link_close(struct link *l, int64_t deadline)
{
	if (l->tls) {
		/* Without waiting for the client's. */
		(void)gnutls_bye(l->tls, GNUTLS_SHUT_WR);
		gnutls_deinit(l->tls);
	}
	if (l->cred)
		gnutls_certificate_free_credentials(l->cred);
	if (l->priority)
		gnutls_priority_deinit(l->priority);
	if (l->out >= 0 && shutdown(l->out, SHUT_WR) == 0)
		await_end(l, deadline);
	if (l->out != l->in)
		cleanup_fd(&l->out);
	cleanup_fd(&l->in);
	*l = (struct link)LINK_INIT;
}
