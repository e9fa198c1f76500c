#include "smtp/conn.h"
#include "base/clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

enum {
	READ_BLOCK = 16384,
	READS_A_STEP = 8,
	/* Octets that the kernel holds and has not sent. More would only make it uncertain what
	 * the peer can have when the connection dies. */
	UNSENT_MAX = 65536,
};

size_t conn_unsent(const struct conn *c)
{
	return c->out.n - c->out_at;
}

void conn_close(struct conn *c)
{
	if (c->tls)
		gnutls_deinit(c->tls);
	if (c->fd >= 0)
		close(c->fd);
	/* Passwords go through out. */
	if (c->out.cap)
		explicit_bzero(c->out.p, c->out.cap);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->sealed);
	*c = (struct conn)CONN_INIT;
}

void conn_abort(struct conn *c)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	if (c->fd >= 0)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	conn_close(c);
}

uint64_t conn_put(const struct conn *c)
{
	return c->taken + conn_unsent(c);
}

/* Milliseconds from now to t, as poll(2) takes them. */
static int span(int64_t t, int64_t now)
{
	if (t <= now)
		return 0;
	return t - now > INT_MAX ? INT_MAX : (int)(t - now);
}

/* The earliest end that holds now. */
static int64_t end_of(const struct conn *c, int64_t deadline)
{
	int64_t end = deadline < c->session_end ? deadline : c->session_end;

	return c->cancel_end && c->cancel_end < end ? c->cancel_end : end;
}

/* The canceller is gone: how long do we stay? */
static void cancelled(struct conn *c)
{
	c->cancel_end = clock_ms() + c->cancel_ms;
}

/* Also when wake_fd is readable, if it is one. */
static int wait_for(struct conn *c, short events, int64_t deadline, int wake_fd)
{
	for (;;) {
		/* Without events it would still tell of the end, again and again. */
		struct pollfd p[3] = { { .fd = events ? c->fd : -1, .events = events },
			               { .fd = c->cancel_end ? -1 : c->cancel_fd,
			                 .events = POLLRDHUP },
			               { .fd = wake_fd, .events = POLLIN } };
		int64_t now = clock_ms(), end = end_of(c, deadline);
		int n = poll(p, 3, span(end, now));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents) {
			cancelled(c);
			if ((events & POLLOUT) && c->cancel_ms == 0)
				return -ECANCELED;
			events &= (short)~POLLOUT;
			wake_fd = -1;
		} else if (n > 0 && p[2].revents) {
			c->woken = true;
		}
		if (n > 0 && (p[0].revents || c->woken))
			return 0;
		if (n <= 0 && clock_ms() >= end)
			return c->cancel_end ? -ECANCELED : -ETIMEDOUT;
	}
}

int conn_wait(struct conn *c, short events, int64_t deadline)
{
	return wait_for(c, events, deadline, -1);
}

int conn_open(struct conn *c, const struct race *to, size_t *ret_won, struct buf *ret_why)
{
	int on = 1, most = UNSENT_MAX, fd;
	struct race r = *to;

	r.deadline = end_of(c, to->deadline);
	r.cancel_fd = c->cancel_fd;
	fd = race_connect(&r, ret_won, ret_why);
	if (fd < 0)
		return fd;
	c->fd = fd;
	/* Best effort: whole groups are written at once anyway. */
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof(most));
	return 0;
}

/* What GnuTLS writes is always taken, so that no record is ever half with it. When the host asks
 * for new keys, GnuTLS puts its own update in front of the next record it is given; asked to
 * finish one, it would lose count. */
static ssize_t seal(gnutls_transport_ptr_t conn, const void *p, size_t n)
{
	struct conn *c = conn;

	buf_add(&c->sealed, p, n);
	return (ssize_t)n;
}

void conn_secured(struct conn *c)
{
	gnutls_transport_set_ptr2(c->tls, (gnutls_transport_ptr_t)(intptr_t)c->fd, c);
	gnutls_transport_set_push_function(c->tls, seal);
}

/* Writes what is sealed. 0, or -1 with errno. */
static int sealed_out(struct conn *c)
{
	while (c->sealed_at < c->sealed.n) {
		ssize_t n = send(c->fd, c->sealed.p + c->sealed_at,
		                 c->sealed.n - c->sealed_at, MSG_NOSIGNAL);

		if (n < 0)
			return -1;
		c->moved = clock_ms();
		c->sealed_at += (size_t)n;
	}
	buf_reset(&c->sealed);
	c->sealed_at = 0;
	return 0;
}

void conn_bye(struct conn *c)
{
	if (c->tls && !c->write_error && gnutls_bye(c->tls, GNUTLS_SHUT_WR) == 0)
		(void)sealed_out(c);
}

/* One write to TLS: a record, which counts when the kernel has all of it. */
static ssize_t tls_write(struct conn *c)
{
	ssize_t n;

	if (c->record == 0) {
		n = gnutls_record_send(c->tls, c->out.p + c->out_at, conn_unsent(c));
		if (n <= 0) {
			errno = EPROTO;
			return -1;
		}
		c->record = (size_t)n;
	}
	if (sealed_out(c) < 0)
		return -1;
	n = (ssize_t)c->record;
	c->record = 0;
	return n;
}

/* Writes what the kernel takes. True when something moved. */
static bool write_some(struct conn *c)
{
	bool moved = false;

	while (!c->write_error && conn_unsent(c)) {
		ssize_t n = c->tls ? tls_write(c)
		                   : send(c->fd, c->out.p + c->out_at, conn_unsent(c),
		                          MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return moved;
		moved = true;
		if (n < 0) {
			c->write_error = errno;
			return moved;
		}
		c->moved = clock_ms();
		c->out_at += (size_t)n;
		c->taken += (uint64_t)n;
		if (conn_unsent(c) == 0) {
			buf_reset(&c->out);
			c->out_at = 0;
		}
	}
	return moved;
}

/* One read. Octets; 0 at the end (c->eof); -1: nothing there now. */
static ssize_t read_one(struct conn *c)
{
	char *to = buf_room(&c->in, READ_BLOCK);
	ssize_t n;

	if (!c->tls) {
		n = recv(c->fd, to, READ_BLOCK, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return -1;
	} else {
		n = gnutls_record_recv(c->tls, to, READ_BLOCK);
		/* TLS 1.2 may ask to negotiate again: not followed, as RFC 5246 allows.
		 */
		if (n < 0 && !gnutls_error_is_fatal((int)n))
			return -1;
		if (n < 0)
			c->tls_error = (int)n;
	}
	if (n <= 0) {
		c->eof = true;
		return 0;
	}
	c->in.n += (size_t)n;
	c->in.p[c->in.n] = '\0';
	return n;
}

static bool read_some(struct conn *c)
{
	bool moved = false;
	ssize_t n;

	for (int i = 0; i < READS_A_STEP && !c->eof; i++) {
		if (c->in.n + READ_BLOCK > CONN_IN_MAX)
			return moved;
		n = read_one(c);
		if (n < 0)
			return moved;
		moved = true;
		/* Less than there was room for: that was all. (A record of TLS is short even
		 * when there are more.) */
		if (!c->tls && n > 0 && n < READ_BLOCK)
			return moved;
	}
	return moved;
}

int conn_step(struct conn *c, int64_t deadline)
{
	for (;;) {
		bool writing = conn_unsent(c) && !c->write_error;
		bool reading = c->in.n + READ_BLOCK <= CONN_IN_MAX;
		short events;
		int e = 0;

		if (c->eof)
			return -ECONNRESET;
		if (writing && c->cancel_end && c->cancel_ms == 0)
			return -ECANCELED;
		if (c->cancel_end)
			writing = false;
		events = (short)((reading ? POLLIN : 0) | (writing ? POLLOUT : 0));
		if (!reading || !c->tls || gnutls_record_check_pending(c->tls) == 0)
			e = wait_for(c, events, deadline, c->wake_fd);
		if (e < 0)
			return e;
		/* What came in is looked at before anything more goes out: a reply that
		 * is there before its command is out of step. */
		if (read_some(c) || (!c->cancel_end && write_some(c)) || c->woken)
			return 0;
		/* A record half read is no octet: only the deadline ends that. */
		if (clock_ms() >= end_of(c, deadline))
			return c->cancel_end ? -ECANCELED : -ETIMEDOUT;
	}
}

void conn_literal(const struct conn *c, struct buf *b)
{
	struct sockaddr_storage s = { .ss_family = AF_UNSPEC };
	struct sockaddr_in6 six;
	struct sockaddr_in four;
	socklen_t n = sizeof(s);
	char text[INET6_ADDRSTRLEN] = "127.0.0.1";
	bool is_six = false;

	if (getsockname(c->fd, (struct sockaddr *)&s, &n) < 0)
		s.ss_family = AF_UNSPEC;
	memcpy(&six, &s, sizeof(six));
	memcpy(&four, &s, sizeof(four));
	if (s.ss_family == AF_INET) {
		inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text));
	} else if (s.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
		inet_ntop(AF_INET, &six.sin6_addr.s6_addr[12], text, sizeof(text));
	} else if (s.ss_family == AF_INET6) {
		is_six = true;
		inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text));
	}
	buf_fmt(b, "[%s%s]", is_six ? "IPv6:" : "", text);
}
