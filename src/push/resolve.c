#include "push/resolve.h"
#include "base/clock.h"
#include "prog/child.h"
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/random.h>

enum {
	ANSWER_MAX = 65535, /* of TCP, which is asked when an answer is long */
	/* The resolver's own first timeout is 5 s: time for it to ask a second server. */
	SHARE_MIN_MS = 8000,
	PER_KIND_MAX = RESOLVE_ADDRESSES_MAX / 2,
};

struct search {
	struct target *ret;
	size_t n;
	struct buf *why;
	int64_t end;  /* clock_ms() */
	size_t names; /* still to be looked up */
	uint64_t seed;
};

/* ---- Time ---- */

/* What one of the names still to be looked up gets. 0: there is no time left. */
static int64_t share(const struct search *s)
{
	int64_t left = s->end - clock_ms(),
	        ms = left / (int64_t)(s->names ? s->names : 1);

	if (ms < SHARE_MIN_MS)
		ms = SHARE_MIN_MS;
	return left <= 0 ? 0 : ms < left ? ms : left;
}

static int in_child(const struct search *s, int (*work)(void *arg, struct buf *out),
                    void *arg, size_t max, struct buf *ret)
{
	int64_t ms = share(s);

	return ms ? child_run(work, arg, ms, max, ret) : -ETIMEDOUT;
}

static void not_found(const struct search *s, struct str name, struct str words)
{
	buf_fmt(s->why, "%s%.*s: %.*s", s->why->n ? "; " : "cannot find ", (int)name.n,
	        name.p, (int)words.n, words.p);
}

/* ---- Addresses ---- */

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

static int look_up(const char *name, unsigned port, int flags, struct buf *out)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
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
	return -ENOENT;
}

struct question {
	const char *name;
	unsigned port;
	enum dns_type type;
};

static int address_child(void *arg, struct buf *out)
{
	const struct question *q = arg;

	return look_up(q->name, q->port, 0, out);
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

/* The child has read what others said: looked at once more. */
static bool take_addresses(struct str in, struct target *t)
{
	if (in.n == 0 || in.n % sizeof(t->address[0]) || in.n > sizeof(t->address))
		return false;
	memcpy(t->address, in.p, in.n);
	t->addresses = in.n / sizeof(t->address[0]);
	for (size_t i = 0; i < t->addresses; i++) {
		sa_family_t f = t->address[i].addr.ss_family;

		if (t->address[i].len != (f == AF_INET    ? sizeof(struct sockaddr_in)
		                          : f == AF_INET6 ? sizeof(struct sockaddr_in6)
		                                          : 0))
			return false;
	}
	return true;
}

/* Finds its addresses; then there is one target more. */
static void add_target(struct search *s, const struct target *t)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct target *new = &s->ret[s->n];
	bool literal = false;
	char *name;
	int e;

	if (s->n == RESOLVE_HOSTS_MAX)
		return;
	*new = *t;
	name = bare_name(t->name, &literal);
	if (literal) {
		e = look_up(name, t->port, AI_NUMERICHOST, &out);
	} else {
		struct question q = { .name = name, .port = t->port };

		e = in_child(s, address_child, &q, sizeof(new->address), &out);
	}
	if (e == 0 && take_addresses(buf_view(&out), new))
		s->n++;
	else if (e == -ETIMEDOUT)
		not_found(s, str_z(t->name), STR("no answer from DNS in time"));
	else if (e == -ENOENT && out.n)
		not_found(s, str_z(t->name), buf_view(&out));
	else
		not_found(s, str_z(t->name), str_z(strerror(e ? -e : EIO)));
	free(name);
}

/* ---- "srv:" and "mx:" ---- */

static int record_child(void *arg, struct buf *out)
{
	const struct question *q = arg;
	unsigned char answer[ANSWER_MAX];
	struct dns_host list[DNS_RECORDS_MAX];
	ptrdiff_t n;
	int got = res_query(q->name, ns_c_in, q->type == DNS_SRV ? ns_t_srv : ns_t_mx,
	                    answer, sizeof(answer));

	if (got < 0) {
		if (h_errno == HOST_NOT_FOUND)
			return -ENXIO;
		if (h_errno == NO_DATA)
			return -ENOENT;
		return -EAGAIN;
	}
	n = dns_take(q->type, answer,
	             (size_t)got < sizeof(answer) ? (size_t)got : ANSWER_MAX, list);
	if (n <= 0)
		return n ? (int)n : -ENOENT;
	buf_add(out, list, (size_t)n * sizeof(list[0]));
	return 0;
}

static const char *dns_words(int e)
{
	switch (e) {
	case -ENXIO:
		return "no such name in DNS";
	case -ENOENT:
		return "no such record in DNS";
	case -ENOTSUP:
		return "DNS says that this is not offered";
	case -EBADMSG:
		return "the DNS answer cannot be understood";
	case -EAGAIN:
		return "DNS gives no answer";
	case -ETIMEDOUT:
		return "no answer from DNS in time";
	default:
		return strerror(-e);
	}
}

/* Looked at once more, as above; and put in order. -errno, or how many. */
static ptrdiff_t take_records(struct search *s, struct str in, struct dns_host *ret)
{
	size_t n = in.n / sizeof(*ret);

	if (n == 0 || n > DNS_RECORDS_MAX || in.n % sizeof(*ret))
		return -EBADMSG;
	memcpy(ret, in.p, in.n);
	for (size_t i = 0; i < n; i++)
		if (!memchr(ret[i].name, '\0', sizeof(ret[i].name)) ||
		    !dns_name_ok(str_z(ret[i].name)))
			return -EBADMSG;
	dns_order(ret, n, &s->seed);
	return (ptrdiff_t)n;
}

static ptrdiff_t ask(struct search *s, const struct question *q, struct dns_host *ret)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct question copy = *q;
	int e = in_child(s, record_child, &copy, DNS_RECORDS_MAX * sizeof(*ret), &out);

	return e < 0 ? e : take_records(s, buf_view(&out), ret);
}

static bool is_absent(ptrdiff_t e)
{
	return e == -ENXIO || e == -ENOENT || e == -ENOTSUP;
}

/* The targets that records name. */
static void add_records(struct search *s, const struct dns_host *list, size_t n,
                        struct str domain, const struct target *like)
{
	size_t room = RESOLVE_HOSTS_MAX - s->n, most = n < room ? n : room;

	s->names += most;
	for (size_t i = 0; i < most; i++) {
		struct str name = str_z(list[i].name);
		struct target t = *like;

		memcpy(t.name, name.p, name.n + 1);
		if (!dns_within(name, domain))
			name = domain;
		memcpy(t.expect, name.p, name.n);
		t.expect[name.n] = '\0';
		if (list[i].port)
			t.port = list[i].port;
		add_target(s, &t);
		s->names--;
	}
}

static void add_srv(struct search *s, struct str domain, struct target *like)
{
	struct dns_host list[DNS_RECORDS_MAX];
	_cleanup_buf_ struct buf name = BUF_INIT, other = BUF_INIT;
	bool implicit = like->tls == CONF_TLS_IMPLICIT;
	struct question q = { .type = DNS_SRV };
	ptrdiff_t n;

	buf_fmt(&name, "_submission%s._tcp.%.*s", implicit ? "s" : "", (int)domain.n,
	        domain.p);
	q.name = name.p;
	n = ask(s, &q, list);
	if (is_absent(n) && like->tls == CONF_TLS_STARTTLS) {
		ptrdiff_t more;

		buf_fmt(&other, "_submissions._tcp.%.*s", (int)domain.n, domain.p);
		q.name = other.p;
		more = ask(s, &q, list);
		if (more > 0)
			like->tls = CONF_TLS_IMPLICIT;
		if (more > 0 || !is_absent(more))
			n = more;
	}
	if (n > 0)
		add_records(s, list, (size_t)n, domain, like);
	else
		not_found(s, str_z(q.name), str_z(dns_words((int)n)));
	if (n < 0 && implicit && is_absent(n))
		buf_z(s->why, " (tls = \"starttls\" asks for _submission._tcp)");
}

static void add_mx(struct search *s, struct str domain, const struct target *like)
{
	struct dns_host list[DNS_RECORDS_MAX];
	char *name = str_dup(domain);
	const struct question q = { .name = name, .type = DNS_MX };
	ptrdiff_t n = ask(s, &q, list);

	if (n == -ENOENT) {
		/* The domain itself (RFC 5321 5.1). */
		list[0] = (struct dns_host){ .port = 0 };
		memcpy(list[0].name, domain.p, domain.n);
		n = 1;
	}
	if (n > 0)
		add_records(s, list, (size_t)n, domain, like);
	else if (n == -ENOTSUP)
		not_found(s, domain, STR("its MX record says that it takes no mail"));
	else
		not_found(s, domain, str_z(dns_words((int)n)));
	free(name);
}

/* ---- All of them ---- */

static void add_host(struct search *s, const struct smarthost *h, const char *host)
{
	struct str name = str_z(host);
	struct target t = { .port = (unsigned)(h->port & 0xffff), .tls = h->tls };
	bool srv = str_istarts(name, STR("srv:")), mx = str_istarts(name, STR("mx:"));

	if (srv || mx) {
		name = str_from(name, srv ? 4 : 3);
		t.asked = host;
		if (name.n && name.p[name.n - 1] == '.')
			name.n--;
	}
	if (name.n > DNS_NAME_MAX) {
		not_found(s, str_head(name, DNS_NAME_MAX),
		          STR("no host has such a name"));
	} else if (srv) {
		add_srv(s, name, &t);
	} else if (mx) {
		add_mx(s, name, &t);
	} else {
		memcpy(t.name, name.p, name.n);
		memcpy(t.expect, name.p, name.n);
		add_target(s, &t);
	}
}

size_t resolve_hosts(const struct smarthost *h, struct target *ret, struct buf *ret_why)
{
	struct search s = { .ret = ret,
		            .why = ret_why,
		            .end = clock_ms() + RESOLVE_TIMEOUT_MS,
		            .names = h->host.n };

	/* Not a secret: anything does. */
	if (getrandom(&s.seed, sizeof(s.seed), GRND_NONBLOCK) != sizeof(s.seed))
		s.seed = (uint64_t)clock_ms();
	for (size_t i = 0; i < h->host.n && s.n < RESOLVE_HOSTS_MAX; i++) {
		add_host(&s, h, h->host.v[i]);
		s.names--;
	}
	return s.n;
}
