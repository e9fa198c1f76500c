/* What mailchute-smtpd needs, looked at as the user that it runs as; and whether it is there. */
#include "admin/check_inside.h"
#include "base/clock.h"
#include "base/io.h"
#include "listen/link.h"
#include "prog/child.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	LOOK_MAX = 16 << 10, /* octets that it says */
	CONNECT_MS = 3000,
	GREETING_MS = 5000,
	GREETING_MAX = 512, /* octets, RFC 5321 4.5.3.1.5 */
};

/* ---- In a child, as the listener's user ---- */

struct task {
	const struct passwd *pw;
	const char *conf_path;
	const struct listen *l;
};

static int read_conf(void *arg, struct buf *out)
{
	const struct task *t = arg;
	struct conf conf;
	int e = check_become(t->pw);

	if (e < 0)
		return e;
	e = conf_load_some(t->conf_path, CONF_FILES_LISTENING, &conf, out);
	if (e == 0)
		conf_free(&conf);
	return e;
}

static bool read_one(const struct task *t, const char *key, const char *path,
                     struct buf *ret, struct buf *out)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int e = fd < 0 ? -errno : io_slurp(fd, ret, LINK_PEM_MAX);

	if (e == 0 && ret->n)
		return true;
	if (fd < 0)
		buf_fmt(out, "%s %s: user %s: %s; let that user read it\n", key, path,
		        t->pw->pw_name, strerror(-e));
	else
		buf_fmt(out, "%s %s cannot be used: %s\n", key, path,
		        e < 0 ? strerror(-e) : "it is empty");
	return false;
}

/* What is wrong with the files of the section, a line each. */
static int read_files(void *arg, struct buf *out)
{
	_cleanup_buf_ struct buf certificate = BUF_INIT, key = BUF_INIT, why = BUF_INIT;
	_cleanup_fd_ int users = -1;
	const struct task *t = arg;
	const struct listen *l = t->l;
	int e = check_become(t->pw);

	if (e < 0)
		return e;
	if (l->users_file[0]) {
		users = open(l->users_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (users < 0)
			buf_fmt(out,
			        "users-file %s: user %s: %s; let that user read it\n",
			        l->users_file, t->pw->pw_name, strerror(errno));
	}
	if (l->tls_certificate[0] &&
	    (read_one(t, "tls-certificate", l->tls_certificate, &certificate, out) &
	     read_one(t, "tls-key", l->tls_key, &key, out)) &&
	    link_try(buf_view(&certificate), buf_view(&key), str_z(l->tls_priority),
	             &why) < 0)
		buf_fmt(out, "%s (%s, %s)\n", why.p, l->tls_certificate, l->tls_key);
	if (key.cap)
		explicit_bzero(key.p, key.cap);
	return out->n ? -EINVAL : 0;
}

static bool check_files(struct check *c, const struct listen *l, const struct passwd *pw)
{
	_cleanup_buf_ struct buf said = BUF_INIT;
	struct task t = { .pw = pw, .l = l };
	int e = child_run(read_files, &t, CHECK_LOOK_MS, LOOK_MAX, &said);
	struct str rest = buf_view(&said), line;

	while (rest.n && str_cut(&rest, '\n', &line))
		if (line.n)
			check_wrong(c, "listen \"%s\": %.*s", l->at, (int)line.n, line.p);
	if (e < 0 && said.n == 0)
		check_wrong(c, "listen \"%s\": its files cannot be looked at: %s", l->at,
		            strerror(-e));
	return e == 0;
}

/* ---- The place ---- */

/* A connection in time; or -errno. */
static int reach(const struct sockaddr *to, socklen_t len)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int e = fd < 0 || connect(fd, to, len) < 0 ? errno : 0;
	socklen_t size = sizeof(e);

	if (e == EINPROGRESS) {
		e = ETIMEDOUT;
		if (poll(&p, 1, CONNECT_MS) > 0 &&
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size) < 0)
			e = errno;
	}
	if (e && fd >= 0)
		close(fd);
	return e ? -e : fd;
}

static int reach_unix(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, strlen(path) + 1);
	return reach((const struct sockaddr *)&un, sizeof(un));
}

/* -EADDRNOTAVAIL: the address is none of this machine's. */
static int is_ours(const struct addrinfo *a)
{
	_cleanup_fd_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage any;

	memcpy(&any, a->ai_addr, a->ai_addrlen);
	/* Any port: what is to be seen is the address. */
	if (a->ai_family == AF_INET)
		((struct sockaddr_in *)&any)->sin_port = 0;
	else
		((struct sockaddr_in6 *)&any)->sin6_port = 0;
	return fd < 0 || bind(fd, (const struct sockaddr *)&any, a->ai_addrlen) < 0
	           ? -errno
	           : 0;
}

/* "127.0.0.1:25", "[::1]:25", ":25" (this machine then, in one family or the other). */
static int reach_inet(struct str at)
{
	const struct addrinfo how = { .ai_socktype = SOCK_STREAM,
		                      .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	ptrdiff_t colon = str_rchr(at, ':');
	_cleanup_buf_ struct buf host = BUF_INIT;
	struct addrinfo *all = NULL;
	int fd = -EADDRNOTAVAIL;
	struct str in;

	if (colon < 0)
		return -EINVAL;
	in = str_head(at, (size_t)colon);
	if (in.n > 1 && in.p[0] == '[')
		in = (struct str){ in.p + 1, in.n - 2 };
	buf_str(&host, in);
	if (getaddrinfo(in.n ? host.p : NULL, at.p + colon + 1, &how, &all) != 0)
		return -EINVAL;
	for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next)
		if (is_ours(a) == 0)
			fd = reach(a->ai_addr, a->ai_addrlen);
	freeaddrinfo(all);
	return fd;
}

/* The first line that is said there; less, or nothing: no more came in time. */
static void hear_greeting(int fd, struct buf *ret)
{
	int64_t end = clock_ms() + GREETING_MS;

	while (ret->n < GREETING_MAX && str_chr(buf_view(ret), '\n') < 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = end - clock_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return;
		n = read(fd, buf_room(ret, GREETING_MAX), GREETING_MAX);
		if (n <= 0)
			return;
		ret->n += (size_t)n;
		ret->p[ret->n] = '\0';
	}
}

/* Is it mailchute-smtpd that listens there? */
static bool check_greeting(struct check *c, const struct listen *l, int fd)
{
	static const char quit[] = "QUIT\r\n";
	_cleanup_buf_ struct buf said = BUF_INIT, shown = BUF_INIT;
	struct str line, rest;

	/* There the client speaks first. */
	if (l->tls == LISTEN_TLS_IMPLICIT)
		return true;
	hear_greeting(fd, &said);
	(void)send(fd, quit, sizeof(quit) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	rest = buf_view(&said);
	if (rest.n == 0 || !str_cut(&rest, '\n', &line)) {
		check_wrong(c,
		            "listen \"%s\": who listens there says nothing; "
		            "mailchute-smtpd's log may say why",
		            l->at);
		return false;
	}
	/* 421: it is there, and has no room for us. */
	if (str_starts(line, STR("421 ")) ||
	    (str_starts(line, STR("220 ")) &&
	     memmem(line.p, line.n, " ESMTP mailchute", 16)))
		return true;
	buf_escape(&shown, line, 80);
	check_wrong(c,
	            "listen \"%s\": another program listens there, which says \"%s\"; "
	            "stop it, or choose another place",
	            l->at, shown.p);
	return false;
}

static bool check_place(struct check *c, const struct listen *l)
{
	bool local = strncmp(l->at, "unix:", 5) == 0;
	_cleanup_fd_ int fd = local ? reach_unix(l->at + 5) : reach_inet(str_z(l->at));

	if (fd >= 0)
		return check_greeting(c, l, fd);
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		check_wrong(c,
		            "listen \"%s\": nothing listens there; start mailchute-smtpd "
		            "(systemctl enable --now mailchute-smtpd), or when it runs, "
		            "reload it; its log says why it cannot",
		            l->at);
	else if (fd == -EADDRNOTAVAIL)
		check_wrong(c,
		            "listen \"%s\": this machine has no such address; give one "
		            "that it has, or none for all, as :25",
		            l->at);
	else
		check_wrong(c, "listen \"%s\": no connection to it: %s", l->at,
		            strerror(-fd));
	return false;
}

/* ---- Both ---- */

/* True: the files of the sections can be looked at. */
static bool check_reader(struct check *c, const struct passwd *pw)
{
	_cleanup_buf_ struct buf said = BUF_INIT;
	struct task t = { .pw = pw, .conf_path = c->conf_path };
	int e;

	if (geteuid() != 0 && geteuid() != pw->pw_uid) {
		check_good(c,
		           "(as this user it cannot be seen whether user %s can read the "
		           "configuration and the files of the listen sections)",
		           pw->pw_name);
		return false;
	}
	e = child_run(read_conf, &t, CHECK_LOOK_MS, LOOK_MAX, &said);
	if (e == 0) {
		check_good(c, "user %s can read the configuration", pw->pw_name);
		return true;
	}
	check_wrong_lines(c, buf_view(&said));
	if (said.n == 0)
		check_wrong(c, "the configuration cannot be read as user %s: %s",
		            pw->pw_name, strerror(-e));
	return false;
}

void check_listen(struct check *c, const struct conf *conf)
{
	const struct passwd *pw = conf->listens ? getpwnam(MAILCHUTE_IN_USER) : NULL;
	bool may;

	if (conf->listens == 0)
		return;
	if (!pw) {
		check_wrong(c,
		            "there are listen sections, but no user %s: useradd --system "
		            "--home-dir %s --shell /usr/sbin/nologin %s",
		            MAILCHUTE_IN_USER, SPOOL_PATH, MAILCHUTE_IN_USER);
		return;
	}
	may = check_reader(c, pw);
	for (size_t i = 0; i < conf->listens; i++) {
		const struct listen *l = &conf->listen[i];

		if ((!may || check_files(c, l, pw)) & check_place(c, l))
			check_good(c, "listen \"%s\"", l->at);
	}
}
