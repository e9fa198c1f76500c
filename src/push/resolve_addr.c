#include "push/resolve_addr.h"
#include "base/clock.h"
#include "prog/child.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>

enum { PER_KIND_MAX = RESOLVE_ADDRESSES_MAX / 2 };

/* Kept: so many of each kind that no kind pushes out the other. */
static void keep(const struct addrinfo *list, struct buf *out)
{
	size_t four = 0, six = 0;

	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		size_t *n = a->ai_family == AF_INET ? &four : &six;
		struct race_address r = { .len = a->ai_addrlen };

		if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) ||
		    a->ai_addrlen > sizeof(r.addr) || *n == PER_KIND_MAX)
			continue;
		memcpy(&r.addr, a->ai_addr, a->ai_addrlen);
		buf_add(out, &r, sizeof(r));
		(*n)++;
	}
}

static int look_up(const char *name, unsigned port, int family, int flags,
                   struct buf *out)
{
	const struct addrinfo hints = { .ai_family = family,
		                        .ai_socktype = SOCK_STREAM,
		                        .ai_flags = AI_NUMERICSERV | flags };
	struct addrinfo *list = NULL;
	char service[8];
	int e;

	snprintf(service, sizeof(service), "%u", port & 0xffff);
	e = getaddrinfo(name, service, &hints, &list);
	if (e == 0) {
		keep(list, out);
		freeaddrinfo(list);
		return out->n ? 0 : -ENOENT;
	}
	buf_z(out, e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
	return e == EAI_AGAIN ? -EAGAIN : -ENOENT;
}

struct question {
	const char *name;
	unsigned port;
	int family;
};

static int address_child(void *arg, struct buf *out)
{
	const struct question *q = arg;

	return look_up(q->name, q->port, q->family, 0, out);
}

/* The lookups of one name: of both kinds of addresses together, as getaddrinfo() puts them into
 * order, and when that takes too long, of each kind apart. */
enum { TOGETHER, SIX, FOUR, KINDS };
struct lookup {
	struct child of[KINDS];
	int error[KINDS]; /* -EINPROGRESS: not asked, or no answer yet */
	bool apart;
	int64_t apart_at, end; /* clock_ms(): when they are or were asked apart */
};

static bool answered(const struct lookup *l, int kind)
{
	return l->error[kind] != -EINPROGRESS;
}

static void ask_apart(struct lookup *l, const struct question *q)
{
	static const int family[KINDS] = { AF_UNSPEC, AF_INET6, AF_INET };

	l->apart = true;
	l->apart_at = clock_ms();
	for (int k = SIX; k <= FOUR; k++) {
		struct question one = *q;
		int e;

		one.family = family[k];
		e = child_begin(&l->of[k], address_child, &one,
		                sizeof(struct race_address) * PER_KIND_MAX);
		if (e < 0)
			l->error[k] = e;
	}
}

static bool one_found(const struct lookup *l)
{
	return l->error[SIX] == 0 || l->error[FOUR] == 0;
}

/* Is there no reason to wait any longer? */
static bool is_over(const struct lookup *l)
{
	bool both = answered(l, SIX) && answered(l, FOUR);

	if (answered(l, TOGETHER) && (l->error[TOGETHER] != -EAGAIN || both))
		return true;
	return both && one_found(l);
}

/* What has no answer when there is one gets RESOLVE_OTHER_MS more. */
static void hurry(struct lookup *l)
{
	bool one = one_found(l);
	int64_t late = (one ? clock_ms() : l->apart_at) + RESOLVE_OTHER_MS;

	if (l->apart && (one || answered(l, TOGETHER)) && late < l->end)
		l->end = late;
}

static void hear_lookups(struct lookup *l)
{
	int64_t until = l->apart || l->end < l->apart_at ? l->end : l->apart_at,
	        left = until - clock_ms();
	struct pollfd p[KINDS];

	for (int k = 0; k < KINDS; k++)
		p[k] = (struct pollfd){ .fd = l->of[k].fd, .events = POLLIN };
	if (poll(p, KINDS, left > 0 ? (int)left : 0) <= 0)
		return;
	for (int k = 0; k < KINDS; k++) {
		int e;

		if (p[k].revents && child_hear(&l->of[k], &e))
			l->error[k] = e;
	}
}

/* Appends what was found, or words. */
static int lookup_result(const struct lookup *l, struct buf *ret)
{
	int e = -ETIMEDOUT;

	if (l->error[TOGETHER] == 0) {
		buf_str(ret, buf_view(&l->of[TOGETHER].said));
		return 0;
	}
	for (int k = SIX; k <= FOUR; k++)
		if (l->error[k] == 0)
			buf_str(ret, buf_view(&l->of[k].said));
	if (ret->n)
		return 0;
	for (int k = KINDS - 1; k >= 0; k--)
		if (answered(l, k))
			e = l->error[k];
	for (int k = 0; k < KINDS && ret->n == 0; k++)
		if (l->error[k] == e)
			buf_str(ret, buf_view(&l->of[k].said));
	return e;
}

int addresses_of(const char *name, unsigned port, int64_t ms, struct buf *ret)
{
	struct question q = { .name = name, .port = port, .family = AF_UNSPEC };
	struct lookup l = { .apart_at = clock_ms() + RESOLVE_APART_MS,
		            .end = clock_ms() + ms };
	int e;

	for (int k = 0; k < KINDS; k++) {
		l.of[k] = (struct child)CHILD_INIT;
		l.error[k] = -EINPROGRESS;
	}
	e = child_begin(&l.of[TOGETHER], address_child, &q,
	                sizeof(struct race_address) * RESOLVE_ADDRESSES_MAX);
	if (e < 0)
		return e;
	while (!is_over(&l) && clock_ms() < l.end) {
		if (!l.apart &&
		    (l.error[TOGETHER] == -EAGAIN || clock_ms() >= l.apart_at))
			ask_apart(&l, &q);
		hurry(&l);
		hear_lookups(&l);
	}
	e = lookup_result(&l, ret);
	for (int k = 0; k < KINDS; k++)
		child_kill(&l.of[k]);
	return e;
}

/* "[192.0.2.7]" and "[IPv6:2001:db8::1]" are written so in mail (RFC 5321 4.1.3). */
static char *bare_name(const char *name, bool *ret_literal)
{
	struct str s = str_z(name);

	*ret_literal = s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
	if (*ret_literal)
		s = (struct str){ s.p + 1, s.n - 2 };
	if (str_istarts(s, STR("IPv6:")))
		s = str_from(s, 5);
	return str_dup(s);
}

int addresses_literal(const char *host, unsigned port, struct buf *ret)
{
	bool literal = false;
	char *name = bare_name(host, &literal);
	int e = look_up(name, port, AF_UNSPEC, AI_NUMERICHOST, ret);

	free(name);
	if (e < 0 && !literal) {
		buf_reset(ret);
		return -ENXIO;
	}
	return e;
}

bool addresses_take(struct str in, struct race_address *ret, size_t *ret_n)
{
	if (in.n == 0 || in.n % sizeof(*ret) ||
	    in.n / sizeof(*ret) > RESOLVE_ADDRESSES_MAX)
		return false;
	memcpy(ret, in.p, in.n);
	*ret_n = in.n / sizeof(*ret);
	for (size_t i = 0; i < *ret_n; i++) {
		sa_family_t f = ret[i].addr.ss_family;

		if (ret[i].len != (f == AF_INET    ? sizeof(struct sockaddr_in)
		                   : f == AF_INET6 ? sizeof(struct sockaddr_in6)
		                                   : 0))
			return false;
	}
	return true;
}
