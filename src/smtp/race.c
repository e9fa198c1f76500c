#include "smtp/race.h"
#include "base/clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

/* linux/in.h, since Linux 4.2: the port is chosen at connect(2), so that the same one can be
 * used for other hosts. */
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* Besides errno: why an address was not tried. */
enum { OTHER_FAMILY = -1, NOT_OURS = -2 };

struct runner {
	const struct race_address *to;
	size_t index; /* of it */
	int fd;       /* -1: not started, or it failed */
	int error;    /* errno, or one of those above; 0: under way, or not started */
};

struct course {
	const struct race *r;
	struct runner v[RACE_MAX];
	size_t n, started, running;
	struct race_address from; /* len 0: none */
	int64_t next_at;          /* when the next is started at the latest */
};

void race_words(const struct race_address *a, struct buf *b, const char *before,
                const char *between)
{
	char text[INET6_ADDRSTRLEN] = "?";
	struct sockaddr_in6 six;
	struct sockaddr_in four;
	unsigned port = 0;

	memcpy(&six, &a->addr, sizeof(six));
	memcpy(&four, &a->addr, sizeof(four));
	if (a->addr.ss_family == AF_INET) {
		inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text));
		port = ntohs(four.sin_port);
	} else if (a->addr.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text));
		port = ntohs(six.sin6_port);
	}
	buf_fmt(b, "%s%s%s%u", before, text, between, port);
}

static bool source(struct str from, struct race_address *ret)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	char z[INET6_ADDRSTRLEN];

	*ret = (struct race_address){ .len = 0 };
	if (from.n == 0)
		return true;
	if (from.n >= sizeof(z))
		return false;
	memcpy(z, from.p, from.n);
	z[from.n] = '\0';
	if (inet_pton(AF_INET, z, &four.sin_addr) == 1) {
		ret->len = sizeof(four);
		memcpy(&ret->addr, &four, sizeof(four));
	} else if (inet_pton(AF_INET6, z, &six.sin6_addr) == 1) {
		ret->len = sizeof(six);
		memcpy(&ret->addr, &six, sizeof(six));
	}
	return ret->len > 0;
}

/* The preferred address first, then the first of the other family, and so on in turn. */
static void line_up(struct course *c)
{
	const struct race *r = c->r;
	bool used[RACE_MAX] = { false };
	sa_family_t last = AF_UNSPEC;
	size_t n = r->n < RACE_MAX ? r->n : RACE_MAX;

	while (c->n < n) {
		size_t pick = n;

		for (size_t i = 0; i < n; i++) {
			bool turn = r->to[i].addr.ss_family != last;

			if (!used[i] && (pick == n || turn))
				pick = i;
			if (!used[i] && turn)
				break;
		}
		used[pick] = true;
		last = r->to[pick].addr.ss_family;
		c->v[c->n++] =
		    (struct runner){ .to = &r->to[pick], .index = pick, .fd = -1 };
	}
}

static void stop(struct course *c, struct runner *u, int error)
{
	if (u->fd >= 0) {
		close(u->fd);
		u->fd = -1;
		c->running--;
	}
	u->error = error;
}

static int bind_source(const struct course *c, const struct runner *u)
{
	int on = 1;

	if (c->from.len == 0)
		return 0;
	(void)setsockopt(u->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(u->fd, (const struct sockaddr *)&c->from.addr, c->from.len);
}

/* Starts the next one. True: it is connected. */
static bool start(struct course *c)
{
	struct runner *u = &c->v[c->started++];
	sa_family_t family = u->to->addr.ss_family;

	/* Where it fails at once, the next one need not wait. */
	c->next_at = clock_ms();
	if (c->from.len && c->from.addr.ss_family != family) {
		u->error = OTHER_FAMILY;
		return false;
	}
	u->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (u->fd < 0) {
		u->error = errno;
		return false;
	}
	c->running++;
	if (bind_source(c, u) < 0) {
		stop(c, u, errno == EADDRNOTAVAIL ? NOT_OURS : errno);
		return false;
	}
	if (connect(u->fd, (const struct sockaddr *)&u->to->addr, u->to->len) == 0)
		return true;
	if (errno != EINPROGRESS && errno != EINTR)
		stop(c, u, errno);
	else
		c->next_at += RACE_DELAY_MS;
	return false;
}

/* How an attempt ended. True: it is connected. */
static bool ended(struct course *c, struct runner *u)
{
	socklen_t n = sizeof(int);
	int e = 0;

	if (getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0)
		e = errno;
	if (e == 0)
		return true;
	stop(c, u, e);
	c->next_at = clock_ms();
	return false;
}

/* Waits until something ends or the next is to be started. 0, or -ECANCELED; *ret_won is who
 * is connected, if anybody. */
static int watch(struct course *c, struct runner **ret_won)
{
	struct pollfd p[RACE_MAX + 1] = { { .fd = c->r->cancel_fd,
		                            .events = POLLRDHUP } };
	int64_t until = c->r->deadline, span;

	for (size_t i = 0; i < c->n; i++)
		p[i + 1] = (struct pollfd){ .fd = c->v[i].fd, .events = POLLOUT };
	if (c->started < c->n && c->next_at < until)
		until = c->next_at;
	span = until - clock_ms();
	span = span < 0 ? 0 : span > INT_MAX ? INT_MAX : span;
	if (poll(p, c->n + 1, (int)span) <= 0)
		return 0;
	if (p[0].revents)
		return -ECANCELED;
	for (size_t i = 0; i < c->n && !*ret_won; i++)
		if (p[i + 1].revents && ended(c, &c->v[i]))
			*ret_won = &c->v[i];
	return 0;
}

static int run(struct course *c, struct runner **ret_won)
{
	while (!*ret_won) {
		bool more = c->started < c->n;
		int e;

		if (!more && c->running == 0)
			return c->n && c->v[0].error > 0 ? -c->v[0].error
			                                 : -EADDRNOTAVAIL;
		if (clock_ms() >= c->r->deadline)
			return -ETIMEDOUT;
		if (more && (c->running == 0 || clock_ms() >= c->next_at)) {
			if (start(c))
				*ret_won = &c->v[c->started - 1];
			continue;
		}
		e = watch(c, ret_won);
		if (e < 0)
			return e;
	}
	return 0;
}

static void explain(const struct course *c, struct buf *b)
{
	const struct race *r = c->r;

	for (size_t i = 0; i < c->n; i++) {
		const struct runner *u = &c->v[i];

		race_words(u->to, b, i ? "; " : "", " port ");
		buf_z(b, ": ");
		if (u->error == OTHER_FAMILY)
			buf_fmt(b,
			        "not tried, as source-address %.*s is of the other kind",
			        (int)r->from.n, r->from.p);
		else if (u->error == NOT_OURS)
			buf_fmt(b,
			        "source-address %.*s is no address that this machine has",
			        (int)r->from.n, r->from.p);
		else
			buf_z(b, strerror(u->error ? u->error : ETIMEDOUT));
	}
}

int race_connect(const struct race *r, size_t *ret_won, struct buf *ret_why)
{
	struct course c = { .r = r };
	struct runner *won = NULL;
	int e, fd;

	if (!source(r->from, &c.from)) {
		buf_z(ret_why, "source-address is no address");
		return -EINVAL;
	}
	line_up(&c);
	e = run(&c, &won);
	if (e < 0)
		explain(&c, ret_why);
	fd = won ? won->fd : -1;
	for (size_t i = 0; i < c.n; i++)
		if (&c.v[i] != won)
			stop(&c, &c.v[i], c.v[i].error);
	if (e < 0)
		return e;
	*ret_won = won->index;
	return fd;
}
