#include "push/resolve.h"
#include "base/clock.h"
#include "prog/child.h"
#include "prog/job.h"
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <resolv.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ANSWER_MAX = 65535, /* of TCP, which is asked when an answer is long */
	WORDS_MAX = 1024,   /* about one name */
};

struct search {
	int fd; /* who wants to know */
	size_t n;
	size_t names; /* still to be looked up */
	bool silent;  /* some name got no answer */
	uint64_t seed;
};

/* What the child says: a host, or words about one that was not found. */
struct found {
	bool is_target;
	bool last; /* there is none behind it */
	size_t
	    asked; /* index of the "srv:..." or "mx:..." among the hosts, + 1; 0: none */
	union {
		struct target target;
		char words[WORDS_MAX];
	} u;
};

/* ---- Time ---- */

/* What one of the names still to be looked up gets. */
static int64_t share(const struct search *s)
{
	if (s->names <= 1)
		return RESOLVE_LAST_MS;
	return s->silent ? RESOLVE_SILENT_MS : RESOLVE_NAME_MS;
}

static int in_child(struct search *s, int (*work)(void *arg, struct buf *out), void *arg,
                    size_t max, struct buf *ret)
{
	int e = child_run(work, arg, share(s), max, ret);

	s->silent |= e == -ETIMEDOUT;
	return e;
}

/* ---- What is said ---- */

static void say(const struct search *s, const struct found *f)
{
	while (send(s->fd, f, sizeof(*f), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static void not_found(const struct search *s, struct str name, struct str words)
{
	struct found f = { .is_target = false };

	name = str_head(name, DNS_NAME_MAX);
	words = str_head(words, WORDS_MAX - DNS_NAME_MAX - 3);
	snprintf(f.u.words, sizeof(f.u.words), "%.*s: %.*s", (int)name.n, name.p,
	         (int)words.n, words.p);
	say(s, &f);
}

/* ---- Addresses ---- */

/* Finds its addresses; then there is one target more. */
static void add_target(struct search *s, const struct target *t, size_t asked)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct found f = { .is_target = true, .asked = asked };
	int e;

	if (s->n == RESOLVE_HOSTS_MAX)
		return;
	f.u.target = *t;
	e = addresses_literal(t->name, t->port, &out);
	if (e == -ENXIO)
		e = addresses_of(t->name, t->port, share(s), &out);
	s->silent |= e == -ETIMEDOUT;
	if (e == 0 &&
	    addresses_take(buf_view(&out), f.u.target.address, &f.u.target.addresses)) {
		s->n++;
		f.last = s->names <= 1 || s->n == RESOLVE_HOSTS_MAX;
		say(s, &f);
	} else if (e == -ETIMEDOUT) {
		not_found(s, str_z(t->name), STR("no answer from DNS in time"));
	} else if ((e == -ENOENT || e == -EAGAIN) && out.n) {
		not_found(s, str_z(t->name), buf_view(&out));
	} else {
		not_found(s, str_z(t->name), str_z(strerror(e ? -e : EIO)));
	}
}

/* ---- "srv:" and "mx:" ---- */

struct question {
	const char *name;
	enum dns_type type;
};

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
	case -EADDRNOTAVAIL:
		return "its DNS records name port 0, or what is no host's name";
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
                        struct str domain, const struct target *like, size_t asked)
{
	size_t room = RESOLVE_HOSTS_MAX - s->n, most = n < room ? n : room;

	/* In place of the name that led to them. */
	s->names += most - 1;
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
		add_target(s, &t, asked);
		s->names--;
	}
	s->names++;
}

static void add_srv(struct search *s, struct str domain, struct target *like,
                    size_t asked)
{
	struct dns_host list[DNS_RECORDS_MAX];
	_cleanup_buf_ struct buf name = BUF_INIT, other = BUF_INIT, words = BUF_INIT;
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
		add_records(s, list, (size_t)n, domain, like, asked);
	if (n > 0)
		return;
	buf_z(&words, dns_words((int)n));
	if (implicit && is_absent(n))
		buf_z(&words, " (tls = \"starttls\" asks for _submission._tcp)");
	not_found(s, str_z(q.name), buf_view(&words));
}

static void add_mx(struct search *s, struct str domain, const struct target *like,
                   size_t asked)
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
		add_records(s, list, (size_t)n, domain, like, asked);
	else if (n == -ENOTSUP)
		not_found(s, domain, STR("its MX record says that it takes no mail"));
	else
		not_found(s, domain, str_z(dns_words((int)n)));
	free(name);
}

/* ---- All of them ---- */

/* The i-th of those that are configured. */
static void add_host(struct search *s, const struct smarthost *h, size_t i)
{
	struct str name = str_z(h->host.v[i]);
	struct target t = { .port = (unsigned)(h->port & 0xffff), .tls = h->tls };
	bool srv = str_istarts(name, STR("srv:")), mx = str_istarts(name, STR("mx:"));

	if (srv || mx) {
		name = str_from(name, srv ? 4 : 3);
		if (name.n && name.p[name.n - 1] == '.')
			name.n--;
	}
	if (name.n > DNS_NAME_MAX) {
		not_found(s, name, STR("no host has such a name"));
	} else if (srv) {
		add_srv(s, name, &t, i + 1);
	} else if (mx) {
		add_mx(s, name, &t, i + 1);
	} else {
		memcpy(t.name, name.p, name.n);
		memcpy(t.expect, name.p, name.n);
		add_target(s, &t, 0);
	}
}

static void find_all(int fd, const struct smarthost *h)
{
	struct search s = { .fd = fd, .names = h->host.n };

	/* Not a secret: anything does. */
	if (getrandom(&s.seed, sizeof(s.seed), GRND_NONBLOCK) != sizeof(s.seed))
		s.seed = (uint64_t)clock_ms();
	for (size_t i = 0; i < h->host.n && s.n < RESOLVE_HOSTS_MAX; i++) {
		add_host(&s, h, i);
		s.names--;
	}
}

/* So few that what is said of them fits in a socket that nobody reads yet. */
static bool only_literals(const struct smarthost *h)
{
	enum { FEW = 8 };
	bool all = h->host.n <= FEW;

	for (size_t i = 0; all && i < h->host.n; i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;

		all = strlen(h->host.v[i]) <= DNS_NAME_MAX &&
		      addresses_literal(h->host.v[i], 0, &out) != -ENXIO;
	}
	return all;
}

NORETURN static void child_main(int fd, const struct smarthost *h, pid_t parent)
{
	/* What push has is not the child's: its end is seen by mailchuted, and its lock kept by
	 * whoever holds it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	prctl(PR_SET_NAME, "mailchute-dns", 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
	for (int i = JOB_FD_SOCKET; i <= JOB_FD_LOCK; i++)
		if (i != fd)
			close(i);
	find_all(fd, h);
	_exit(0);
}

int resolve_begin(struct resolver *r, const struct smarthost *h)
{
	pid_t parent = getpid(), pid = 0;
	int pair[2], e = 0;

	*r = (struct resolver){ .h = h, .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if (only_literals(h)) {
		find_all(pair[1], h);
	} else {
		pid = fork();
		e = pid < 0 ? -errno : 0;
		if (pid == 0) {
			close(pair[0]);
			child_main(pair[1], h, parent);
		}
	}
	close(pair[1]);
	if (e < 0) {
		close(pair[0]);
		return e;
	}
	r->fd = pair[0];
	r->pid = pid;
	r->more = true;
	return 0;
}

void resolve_end(struct resolver *r)
{
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (r->fd >= 0)
		close(r->fd);
	*r = (struct resolver){ .fd = -1 };
}

/* True: something has come, or nothing will. */
static bool comes(const struct resolver *r, int64_t until, int cancel_fd)
{
	struct pollfd p[2] = { { .fd = r->fd, .events = POLLIN },
		               { .fd = cancel_fd, .events = POLLRDHUP } };
	int64_t left = until - clock_ms();
	int n = poll(p, 2, left > 0 ? (int)left : 0);

	return n > 0 && p[0].revents;
}

/* The child has the same hosts. */
static bool take_target(const struct resolver *r, const struct found *f,
                        struct target *ret)
{
	if (f->asked > r->h->host.n || f->u.target.addresses > RESOLVE_ADDRESSES_MAX)
		return false;
	*ret = f->u.target;
	ret->asked = f->asked ? r->h->host.v[f->asked - 1] : NULL;
	return true;
}

bool resolve_next(struct resolver *r, int wait_ms, int cancel_fd, struct target *ret,
                  struct buf *ret_why)
{
	int64_t until = clock_ms() + wait_ms;
	struct found f;

	while (r->more && comes(r, until, cancel_fd)) {
		ssize_t n = recv(r->fd, &f, sizeof(f), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(f)) {
			resolve_end(r);
			return false;
		}
		if (f.is_target && take_target(r, &f, ret)) {
			if (f.last)
				resolve_end(r);
			return true;
		}
		if (!f.is_target) {
			f.u.words[WORDS_MAX - 1] = '\0';
			buf_fmt(ret_why, "%s%s", ret_why->n ? "; " : "cannot find ",
			        f.u.words);
		}
	}
	return false;
}
