#include "push/resolve.h"
#include "prog/child.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>

struct question {
	const struct strv *names;
	int64_t port;
};

/* "[192.0.2.7]" and "[IPv6:2001:db8::1]" are written so in mail (RFC 5321 4.1.3). */
static char *bare_name(const char *name)
{
	struct str s = str_z(name);

	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = (struct str){ s.p + 1, s.n - 2 };
	if (str_istarts(s, STR("IPv6:")))
		s = str_from(s, 5);
	return str_dup(s);
}

static size_t look_up(const struct question *q, size_t host, size_t room, struct buf *out,
                      struct buf *why)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
		                        .ai_socktype = SOCK_STREAM,
		                        .ai_flags = AI_NUMERICSERV };
	char service[8], *name = bare_name(q->names->v[host]);
	struct addrinfo *list = NULL;
	size_t n = 0;
	int e;

	snprintf(service, sizeof(service), "%u", (unsigned)(q->port & 0xffff));
	e = getaddrinfo(name, service, &hints, &list);
	if (e)
		buf_fmt(why, "%s%s: %s", why->n ? "; " : "", name,
		        e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
	for (const struct addrinfo *a = list; a && n < RESOLVE_PER_HOST && n < room;
	     a = a->ai_next) {
		struct target t = { .host = host, .len = a->ai_addrlen };

		if (a->ai_addrlen > sizeof(t.addr))
			continue;
		memcpy(&t.addr, a->ai_addr, a->ai_addrlen);
		buf_add(out, &t, sizeof(t));
		n++;
	}
	if (list)
		freeaddrinfo(list);
	free(name);
	return n;
}

/* The answer: targets; or, when there are none, the reasons. */
static int resolve_child(void *arg, struct buf *out)
{
	const struct question *q = arg;
	_cleanup_buf_ struct buf why = BUF_INIT;
	size_t n = 0;

	for (size_t i = 0; i < q->names->n && n < RESOLVE_MAX; i++)
		n += look_up(q, i, RESOLVE_MAX - n, out, &why);
	if (n)
		return 0;
	buf_str(out, buf_view(&why));
	return -ENOENT;
}

size_t resolve_hosts(const struct strv *names, int64_t port, struct target *ret,
                     struct buf *ret_why)
{
	struct question q = { .names = names, .port = port };
	_cleanup_buf_ struct buf out = BUF_INIT;
	int e = child_run(resolve_child, &q, RESOLVE_TIMEOUT_MS, 65536, &out);

	if (e == 0 && out.n && out.n % sizeof(*ret) == 0 &&
	    out.n <= RESOLVE_MAX * sizeof(*ret)) {
		memcpy(ret, out.p, out.n);
		return out.n / sizeof(*ret);
	}
	buf_z(ret_why, "cannot find the address of ");
	if (e == -ENOENT)
		buf_str(ret_why, buf_view(&out));
	else
		buf_fmt(ret_why, "%s: %s", names->n ? names->v[0] : "", strerror(-e));
	return 0;
}
