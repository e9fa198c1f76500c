/* Who is at the other end, and which section this end belongs to (session.h). */
#include "listen/policy.h"
#include "listen/session_inside.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
	struct sockaddr_un local;
};

/* The numeric address, and the port; false: another family. */
static bool print_ip(const union address *a, struct buf *ip, int *ret_port)
{
	char text[INET6_ADDRSTRLEN];
	const void *raw;
	bool mapped =
	    a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->six.sin6_addr);

	if (a->any.sa_family == AF_INET) {
		raw = &a->four.sin_addr;
		*ret_port = ntohs(a->four.sin_port);
	} else if (a->any.sa_family == AF_INET6) {
		raw = mapped ? &a->six.sin6_addr.s6_addr[12]
		             : (const void *)&a->six.sin6_addr;
		*ret_port = ntohs(a->six.sin6_port);
	} else {
		return false;
	}
	if (!inet_ntop(a->any.sa_family == AF_INET || mapped ? AF_INET : AF_INET6, raw,
	               text, sizeof(text)))
		return false;
	buf_z(ip, text);
	return true;
}

bool session_peer(int fd, struct buf *ip, int *ret_port)
{
	_cleanup_buf_ struct buf ours = BUF_INIT;
	union address a = { .any.sa_family = AF_UNSPEC };
	socklen_t n = sizeof(a);
	sa_family_t family;
	int port = 0;

	buf_reset(ip);
	*ret_port = 0;
	if (getsockname(fd, &a.any, &n) < 0)
		return false;
	family = a.any.sa_family;
	(void)print_ip(&a, &ours, ret_port);
	a.any.sa_family = AF_UNSPEC;
	n = sizeof(a);
	if (getpeername(fd, &a.any, &n) == 0)
		(void)print_ip(&a, ip, &port);
	/* A client of TCP that is gone already must not pass for one of this machine, nor one
	 * of another family (of virtual machines). */
	if (!ip->n && (ours.n || family != AF_UNIX))
		buf_z(ip, "0.0.0.0");
	return true;
}

struct slots_client session_client(int fd)
{
	union address a = { .any.sa_family = AF_UNSPEC };
	struct ucred who = { .uid = (uid_t)-1 };
	socklen_t n = sizeof(a), len = sizeof(who);

	if (getpeername(fd, &a.any, &n) == 0 && a.any.sa_family == AF_UNIX)
		(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
	return slots_client_of(&a.any, who.uid);
}

void session_literal(int fd, struct buf *ret)
{
	_cleanup_buf_ struct buf ip = BUF_INIT;
	union address a = { .any.sa_family = AF_UNSPEC };
	socklen_t n = sizeof(a);
	int port;

	if (getsockname(fd, &a.any, &n) < 0 || !print_ip(&a, &ip, &port))
		return;
	buf_fmt(ret, "[%s%s]", strchr(ip.p, ':') ? "IPv6:" : "", ip.p);
}

/* How well a section's title fits: 2 the address, 1 all addresses of the port, 0 not. */
static int fits_ip(struct str at, struct str ip, int port)
{
	ptrdiff_t colon = str_rchr(at, ':');
	struct str host = str_head(at, colon < 0 ? 0 : (size_t)colon);
	uint64_t p;

	if (colon < 0 || !str_u64(str_from(at, (size_t)colon + 1), &p) ||
	    p != (uint64_t)port)
		return 0;
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){ host.p + 1, host.n - 2 };
	if (!host.n || str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::")))
		return 1;
	return policy_in_network(host, ip) ? 2 : 0;
}

const struct listen *session_section(const struct conf *c, int fd)
{
	_cleanup_buf_ struct buf ip = BUF_INIT;
	union address a = { .any.sa_family = AF_UNSPEC };
	socklen_t n = sizeof(a);
	const struct listen *best = NULL;
	int port = 0, most = 0;
	struct str path = STR_NONE;

	if (getsockname(fd, &a.any, &n) < 0)
		return NULL;
	if (a.any.sa_family == AF_UNIX && n > offsetof(struct sockaddr_un, sun_path))
		path =
		    (struct str){ a.local.sun_path,
			          strnlen(a.local.sun_path,
			                  n - offsetof(struct sockaddr_un, sun_path)) };
	else if (!print_ip(&a, &ip, &port))
		return NULL;
	for (size_t i = 0; i < c->listens; i++) {
		struct str at = str_z(c->listen[i].at);
		int fit = 0;

		if (!str_starts(at, STR("unix:")))
			fit = ip.n ? fits_ip(at, buf_view(&ip), port) : 0;
		else if (path.n && str_eq(str_from(at, 5), path))
			fit = 2;
		if (fit > most) {
			most = fit;
			best = &c->listen[i];
		}
	}
	return best;
}

bool session_allowed(const struct listen *l, struct str ip)
{
	if (!ip.n)
		return true;
	for (size_t i = 0; i < l->allow.n; i++)
		if (policy_in_network(str_z(l->allow.v[i]), ip))
			return true;
	return false;
}

const struct listen *session_default(void)
{
	static char empty[] = "", four[] = "127.0.0.0/8", six[] = "::1";
	static char *loopback[] = { four, six };
	static const struct listen l = {
		.at = empty,
		.allow = { .v = loopback, .n = ARRAY_LEN(loopback) },
		.tls = LISTEN_TLS_NONE,
		.tls_certificate = empty,
		.tls_key = empty,
		.tls_priority = empty,
		.users_file = empty,
		.sender = empty,
		.max_connections = 100,
		.max_per_client = 20,
		.errors = 20,
		.idle = 300,
		.timeout = 3600,
	};

	return &l;
}
