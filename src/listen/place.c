#include "listen/place.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512, FIRST_GIVEN = 3 };

union address {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
	struct sockaddr_storage room;
};

static bool unix_path(const char *at, const char **ret)
{
	*ret = at + 5;
	return strncmp(at, "unix:", 5) == 0;
}

/* The address of an inet title in one family; *ret_all: all there are. False: the title is not
 * of this family. */
static bool inet_address(const char *at, int family, union address *ret, bool *ret_all)
{
	struct str host, t = str_z(at);
	ptrdiff_t colon = str_rchr(t, ':');
	char text[INET6_ADDRSTRLEN] = "";
	uint64_t port;

	*ret = (union address){ .sa.sa_family = (sa_family_t)family };
	if (colon < 0 || !str_u64(str_from(t, (size_t)colon + 1), &port) || port > 65535)
		return false;
	host = str_head(t, (size_t)colon);
	if (host.n && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){ host.p + 1, host.n - 2 };
	if (host.n >= sizeof(text))
		return false;
	memcpy(text, host.p, host.n);
	*ret_all = host.n == 0;
	if (family == AF_INET) {
		ret->v4.sin_port = htons((uint16_t)port);
		return *ret_all || inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1;
	}
	ret->v6.sin6_port = htons((uint16_t)port);
	return *ret_all || inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1;
}

/* ---- systemd's ---- */

void places_given(struct places_given *ret)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t p, n;

	ret->n = 0;
	if (!pid || !fds || !str_u64(str_z(pid), &p) || p != (uint64_t)getpid() ||
	    !str_u64(str_z(fds), &n))
		return;
	for (int fd = FIRST_GIVEN; n > 0 && fd < FIRST_GIVEN + PLACES_GIVEN_MAX;
	     fd++, n--)
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
		    fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
			ret->fd[ret->n++] = fd;
}

static bool same_address(const union address *a, const union address *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->v4.sin_port == b->v4.sin_port &&
		       a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->sa.sa_family == AF_INET6 && a->v6.sin6_port == b->v6.sin6_port &&
	       memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(b->v6.sin6_addr)) == 0;
}

/* Is this one what the title says? */
static bool is_at(int fd, const char *at)
{
	union address a = { .sa.sa_family = AF_UNSPEC }, want;
	socklen_t len = sizeof(a) - 1; /* the path stays terminated */
	const char *path;
	bool all;

	if (getsockname(fd, &a.sa, &len) < 0)
		return false;
	if (unix_path(at, &path))
		return a.sa.sa_family == AF_UNIX && strcmp(a.un.sun_path, path) == 0;
	return (a.sa.sa_family == AF_INET || a.sa.sa_family == AF_INET6) &&
	       inet_address(at, a.sa.sa_family, &want, &all) && same_address(&a, &want);
}

static void take_given(const struct places_given *given, struct place *p)
{
	for (size_t i = 0; i < given->n && p->fds < PLACE_SOCKETS; i++)
		if (is_at(given->fd[i], p->at))
			p->fd[p->fds++] = given->fd[i];
	p->given = p->fds > 0;
}

/* ---- Our own ---- */

/* An address that no interface has as yet, as one of DHCP, is taken all the same: connections
 * come once it is there. */
static int bind_inet(struct place *p, int fd, const union address *a, bool all)
{
	const int on = 1;
	bool six = a->sa.sa_family == AF_INET6;
	socklen_t n = six ? sizeof(a->v6) : sizeof(a->v4);

	if (bind(fd, &a->sa, n) == 0)
		return 0;
	if (errno != EADDRNOTAVAIL || all)
		return -errno;
	if ((six ? setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on))
	         : setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on))) < 0)
		return -EADDRNOTAVAIL;
	p->absent = true;
	return bind(fd, &a->sa, n) < 0 ? -errno : 0;
}

static int open_inet(struct place *p, const union address *a, bool all)
{
	const int on = 1;
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int e = 0;

	if (fd < 0)
		return -errno;
	/* Connections of before a restart must not keep the address. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (a->sa.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0))
		e = -errno;
	if (e == 0)
		e = bind_inet(p, fd, a, all);
	if (e == 0 && listen(fd, BACKLOG) < 0)
		e = -errno;
	if (e < 0)
		close(fd);
	else
		p->fd[p->fds++] = fd;
	return e;
}

static int open_inets(struct place *p)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int e = -EINVAL;
	bool all;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		union address a;

		if (!inet_address(p->at, families[i], &a, &all))
			continue;
		e = open_inet(p, &a, all);
		/* A machine without IPv6 has all its addresses by now. */
		if (all && p->fds && (e == -EAFNOSUPPORT || e == -EADDRNOTAVAIL))
			e = 0;
		if (e < 0)
			return e;
	}
	return e;
}

/* Is what has the name a socket where nobody listens? */
static bool is_stale(const union address *a)
{
	_cleanup_fd_ int fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;

	return fd >= 0 && lstat(a->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       connect(fd, &a->sa, sizeof(a->un)) < 0 && errno == ECONNREFUSED;
}

static int open_unix(struct place *p, const char *path)
{
	union address a = { .un.sun_family = AF_UNIX };
	mode_t mask;
	int fd, e;

	if (strlen(path) >= sizeof(a.un.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.un.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0111);
	e = bind(fd, &a.sa, sizeof(a.un)) < 0 ? -errno : 0;
	if (e == -EADDRINUSE && is_stale(&a) && unlink(path) == 0)
		e = bind(fd, &a.sa, sizeof(a.un)) < 0 ? -errno : 0;
	umask(mask);
	if (e == 0 && listen(fd, BACKLOG) < 0)
		e = -errno;
	if (e < 0)
		close(fd);
	else
		p->fd[p->fds++] = fd;
	return e;
}

int place_open(const char *at, const struct places_given *given, struct place *ret)
{
	struct place p = { .at = str_dup(str_z(at)) };
	const char *path;
	int e = 0;

	take_given(given, &p);
	if (p.fds == 0)
		e = unix_path(at, &path) ? open_unix(&p, path) : open_inets(&p);
	if (e < 0)
		place_close(&p, true);
	else
		*ret = p;
	return e;
}

struct place place_pending(const char *at)
{
	return (struct place){ .at = str_dup(str_z(at)), .told = true };
}

void place_shut(struct place *p)
{
	for (size_t i = 0; i < p->fds; i++)
		close(p->fd[i]);
	p->fds = 0;
}

int place_reopen(struct place *p, const struct places_given *given)
{
	struct place fresh;
	int e = place_open(p->at, given, &fresh);

	if (e < 0)
		return e;
	free(p->at);
	*p = fresh;
	return 0;
}

void place_close(struct place *p, bool remove)
{
	const char *path;

	if (!p->given && p->fds && remove && unix_path(p->at, &path))
		(void)unlink(path);
	for (size_t i = 0; i < p->fds && !p->given; i++)
		close(p->fd[i]);
	free(p->at);
	*p = (struct place){ .at = NULL };
}
