#include "admin/check.h"
#include "base/io.h"
#include "conf/conf.h"
#include "inject/sm_socket.h"
#include "prog/child.h"
#include "spool/id.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

struct check {
	const char *conf_path, *spool_path;
	unsigned wrong;
	struct buf out;
};

static void good(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void wrong(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void good(struct check *c, const char *fmt, ...)
{
	va_list ap;

	buf_z(&c->out, "ok       ");
	va_start(ap, fmt);
	buf_vfmt(&c->out, fmt, ap);
	va_end(ap);
	buf_c(&c->out, '\n');
}

static void wrong(struct check *c, const char *fmt, ...)
{
	va_list ap;

	c->wrong++;
	buf_z(&c->out, "WRONG    ");
	va_start(ap, fmt);
	buf_vfmt(&c->out, fmt, ap);
	va_end(ap);
	buf_c(&c->out, '\n');
}

/* ---- What mailchute-smtpd needs ---- */

enum { LOOK_MS = 10000 };

struct as_user {
	const struct passwd *pw;
	const char *path;
};

/* In a child: can that user open it? */
static int open_as(void *arg, struct buf *out)
{
	const struct as_user *a = arg;

	(void)out;
	if (setgroups(0, NULL) < 0 ||
	    setresgid(a->pw->pw_gid, a->pw->pw_gid, a->pw->pw_gid) < 0 ||
	    setresuid(a->pw->pw_uid, a->pw->pw_uid, a->pw->pw_uid) < 0)
		return -errno;
	return open(a->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) < 0 ? -errno
	                                                                       : 0;
}

/* A file of a section; true: there is nothing to be said about it. */
static bool check_listen_file(struct check *c, const struct listen *l, const char *key,
                              const char *path, const struct passwd *pw)
{
	struct as_user a = { pw, path };
	_cleanup_buf_ struct buf none = BUF_INIT;
	int e = path[0] ? child_run(open_as, &a, LOOK_MS, 1, &none) : 0;

	if (e < 0)
		wrong(c, "listen \"%s\": %s %s: user %s: %s; let that user read it",
		      l->at, key, path, MAILCHUTE_IN_USER, strerror(-e));
	return e == 0;
}

static void check_listen(struct check *c, const struct conf *conf)
{
	const struct passwd *pw;

	if (conf->listens == 0)
		return;
	pw = getpwnam(MAILCHUTE_IN_USER);
	if (!pw) {
		wrong(c,
		      "there are listen sections, but no user %s: useradd --system "
		      "--home-dir %s --shell /usr/sbin/nologin %s",
		      MAILCHUTE_IN_USER, SPOOL_PATH, MAILCHUTE_IN_USER);
		return;
	}
	if (geteuid() != 0) {
		good(c,
		     "(as this user it cannot be seen whether user %s can read the "
		     "files of the listen sections)",
		     MAILCHUTE_IN_USER);
		return;
	}
	for (size_t i = 0; i < conf->listens; i++) {
		const struct listen *l = &conf->listen[i];

		if (check_listen_file(c, l, "tls-certificate", l->tls_certificate, pw) &
		    check_listen_file(c, l, "tls-key", l->tls_key, pw) &
		    check_listen_file(c, l, "users-file", l->users_file, pw))
			good(c, "listen \"%s\"", l->at);
	}
}

static void check_conf(struct check *c)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf conf;
	struct str rest, line;

	if (conf_load(c->conf_path, &conf, &err) < 0) {
		rest = buf_view(&err);
		while (rest.n && str_cut(&rest, '\n', &line))
			if (line.n)
				wrong(c, "%.*s", (int)line.n, line.p);
		return;
	}
	good(c, "configuration %s", c->conf_path);
	good(c, "mail goes to %s port %lld, %s", conf.smarthost[0].host.v[0],
	     (long long)conf.smarthost[0].port,
	     conf.smarthost[0].tls == CONF_TLS_NONE       ? "without TLS"
	     : conf.smarthost[0].tls == CONF_TLS_STARTTLS ? "with STARTTLS"
	                                                  : "with TLS from the start");
	if (conf.hostname[0])
		good(c, "we call ourselves %s", conf.hostname);
	else
		wrong(c,
		      "this machine has no full name: set hostname = \"box.example.org\" "
		      "in %s",
		      c->conf_path);
	check_listen(c, &conf);
	conf_free(&conf);
}

/* One thing of the spool: its type and mode. */
static bool check_path(struct check *c, const char *name, mode_t type, mode_t mode)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	struct stat st;

	buf_fmt(&path, "%s%s%s", c->spool_path, name[0] ? "/" : "", name);
	if (lstat(path.p, &st) < 0) {
		wrong(c, "%s: %s; mailchuted makes it when it starts", path.p,
		      strerror(errno));
		return false;
	}
	if ((st.st_mode & S_IFMT) != type) {
		wrong(c, "%s is not a %s; remove it and restart mailchuted", path.p,
		      type == S_IFDIR ? "folder" : "FIFO");
		return false;
	}
	if ((st.st_mode & 07777) != mode) {
		wrong(c, "%s has mode %04o: chmod %04o %s", path.p, st.st_mode & 07777,
		      mode, path.p);
		return false;
	}
	return true;
}

/* mailchuted makes it when it starts; without it mail goes out all the same. */
static void check_socket(struct check *c)
{
	struct sockaddr_un a;
	struct stat st;

	if (sm_socket_path(c->spool_path, &a) < 0)
		wrong(c, "%s is too long a path: there can be no socket in it",
		      c->spool_path);
	else if (lstat(a.sun_path, &st) < 0)
		wrong(c, "%s: %s; mailchuted's log says why it made none", a.sun_path,
		      strerror(errno));
	else if (!S_ISSOCK(st.st_mode) || (st.st_mode & 0666) != 0666)
		wrong(c, "%s is no socket that everybody may use; restart mailchuted",
		      a.sun_path);
	else
		good(c, "socket %s", a.sun_path);
}

static void check_daemon(struct check *c)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	_cleanup_fd_ int fd = -1;

	buf_fmt(&path, "%s/lock", c->spool_path);
	fd = open(path.p, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES) {
		good(c, "(as this user it cannot be seen whether mailchuted runs)");
		return;
	}
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
		good(c, "mailchuted is running");
		check_socket(c);
		return;
	}
	wrong(c, "mailchuted is not running; mail waits safely in %s/in/drop",
	      c->spool_path);
}

/* What has been lying in the drop for a minute is not being taken. */
static void check_drop(struct check *c)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	const struct dirent *e;
	unsigned old = 0, names = 0;
	struct stat st;
	DIR *d;

	buf_fmt(&path, "%s/in/drop", c->spool_path);
	d = opendir(path.p);
	if (!d)
		return;
	while ((e = readdir(d))) {
		if (!id_ok(e->d_name) ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		old += st.st_mtime < time(NULL) - 60;
		names += S_ISREG(st.st_mode) && st.st_nlink > 1;
	}
	closedir(d);
	if (old)
		wrong(c,
		      "%u files in %s are over a minute old: mailchuted's log says why",
		      old, path.p);
	else
		good(c, "nothing is stuck in %s", path.p);
	if (names)
		wrong(c, "%u messages in %s have a second name (hard link)", names,
		      path.p);
}

static void check_kernel(struct check *c)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (io_slurp_at(AT_FDCWD, "/proc/sys/fs/protected_hardlinks", &b, 64) == 0 &&
	    b.n && b.p[0] == '0')
		wrong(c,
		      "fs.protected_hardlinks is 0: sysctl -w fs.protected_hardlinks=1");
}

int check_run(const char *conf_path, const char *spool_path)
{
	struct check check = { .conf_path = conf_path, .spool_path = spool_path },
	             *c = &check;

	check_conf(c);
	if (check_path(c, "", S_IFDIR, 0755) & check_path(c, "in", S_IFDIR, 0711) &
	    check_path(c, "in/drop", S_IFDIR, 03777) &
	    check_path(c, "in/wake", S_IFIFO, 0622))
		good(c, "spool %s", c->spool_path);
	check_daemon(c);
	check_drop(c);
	check_kernel(c);
	(void)io_write(1, c->out.p, c->out.n);
	buf_free(&c->out);
	return c->wrong ? EX_CONFIG : EX_OK;
}
