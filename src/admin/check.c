#include "admin/check.h"
#include "admin/ask.h"
#include "admin/check_inside.h"
#include "base/clock.h"
#include "base/io.h"
#include "inject/sm_socket.h"
#include "mail/addr.h"
#include "prog/child.h"
#include "smtp/tls.h"
#include "spool/id.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	PEM_MAX = 4 << 20,   /* octets of a file of certificates */
	CONF_MAX = 16 << 20, /* of a packed configuration */
	ROUTES_MS = 3000,    /* for mailchuted to say how its routes are */
};

#define LIST_REQUEST "mailchute-socket 1 list text\n"

static void add_line(struct check *c, const char *mark, const char *fmt, va_list ap)
{
	buf_z(&c->out, mark);
	buf_vfmt(&c->out, fmt, ap);
	buf_c(&c->out, '\n');
}

void check_good(struct check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_line(c, "ok       ", fmt, ap);
	va_end(ap);
}

/* Of what is odd. */
static void check_note(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void check_note(struct check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_line(c, "note     ", fmt, ap);
	va_end(ap);
}

void check_wrong(struct check *c, const char *fmt, ...)
{
	va_list ap;

	c->wrong++;
	va_start(ap, fmt);
	add_line(c, "WRONG    ", fmt, ap);
	va_end(ap);
}

void check_wrong_lines(struct check *c, struct str text)
{
	struct str line;

	while (text.n && str_cut(&text, '\n', &line))
		if (line.n)
			check_wrong(c, "%.*s", (int)line.n, line.p);
}

/* ---- A smart host's TLS, as mailchute-push sets it up ---- */

/* What cannot be read is the configuration's matter, or not for this user's eyes. */
static void read_pem(const char *path, struct buf *ret)
{
	if (path[0] && io_slurp_at(AT_FDCWD, path, ret, PEM_MAX) < 0)
		buf_reset(ret);
}

static void check_tls(struct check *c, const struct smarthost *h)
{
	_cleanup_buf_ struct buf ca = BUF_INIT, certificate = BUF_INIT, key = BUF_INIT;
	_cleanup_buf_ struct buf stale = BUF_INIT;
	struct client_conf cc = { .host = str_z(h->host.v[0]),
		                  .tls_verify = h->tls_verify,
		                  .tls_name = str_z(h->tls_name),
		                  .tls_pin = h->tls_pin,
		                  .tls_priority = str_z(h->tls_priority) };
	const char *why = "";
	struct tls *t;

	if (h->tls == CONF_TLS_NONE)
		return;
	read_pem(h->tls_ca_file, &ca);
	read_pem(h->tls_certificate, &certificate);
	read_pem(h->tls_key, &key);
	cc.tls_ca = buf_view(&ca);
	if (certificate.n && key.n) {
		cc.tls_certificate = buf_view(&certificate);
		cc.tls_key = buf_view(&key);
	}
	t = tls_new(&cc, &why);
	if (!t)
		check_wrong(c, "smarthost \"%s\" (line %d): %s; no mail goes there",
		            h->name, h->line, why);
	else
		tls_own_stale(t, &stale);
	if (stale.n)
		check_wrong(c,
		            "smarthost \"%s\" (line %d): tls-certificate %s %s; get a "
		            "new one",
		            h->name, h->line, h->tls_certificate, stale.p);
	tls_free(t);
	if (key.cap)
		explicit_bzero(key.p, key.cap);
}

/* ---- Masquerade rules ---- */

/* Does the first pattern match all that the second one does? False: perhaps not. */
static bool covers(const char *first, const char *second)
{
	/* One ? is not enough for a *; for all else the pattern itself is the worst case. */
	return !(strchr(first, '?') && strchr(second, '*')) &&
	       addr_glob(str_z(first), str_z(second));
}

/* The first match wins, so a rule may have nothing left to match. */
static void check_rules(struct check *c, const struct conf *conf)
{
	for (size_t i = 0; i < conf->rules; i++) {
		const struct masq_rule *r = &conf->rule[i], *before = conf->rule;

		while (before < r && (before->user.n || before->client.n ||
		                      before->map[0] || (r->rewrite & ~before->rewrite) ||
		                      !covers(before->match, r->match)))
			before++;
		if (before < r)
			check_note(c,
			           "masquerade (line %d) is never used: the one of line "
			           "%d matches the same addresses first; put it in "
			           "front, or remove it",
			           r->line, before->line);
	}
}

/* ---- The configuration ---- */

int check_become(const struct passwd *pw)
{
	/* systemd gives a service its user's groups; started by root without it, our daemons
	 * have none but their own. */
	bool groups = access("/run/systemd/system", F_OK) == 0;

	if (geteuid() == pw->pw_uid)
		return 0;
	if ((groups ? initgroups(pw->pw_name, pw->pw_gid) : setgroups(0, NULL)) < 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return -errno;
	return 0;
}

struct reader {
	const struct passwd *pw; /* NULL: as we are */
	const char *path;
};

/* The packed configuration, or what is wrong in it. */
static int read_conf(void *arg, struct buf *out)
{
	const struct reader *r = arg;
	struct conf conf;
	int e = r->pw ? check_become(r->pw) : 0;

	if (e == 0)
		e = conf_load(r->path, &conf, out);
	if (e < 0)
		return e;
	conf_pack(&conf, out);
	conf_free(&conf);
	return 0;
}

/* As mailchuted will read it: root sees more than the spool's owner. */
static int load_conf(const struct check *c, struct conf *ret, struct buf *ret_err)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct reader r = { .path = c->conf_path };
	struct stat st;
	int e;

	if (geteuid() == 0)
		r.pw = stat(c->spool_path, &st) == 0 ? getpwuid(st.st_uid)
		                                     : getpwnam(MAILCHUTE_USER);
	e = child_run(read_conf, &r, CHECK_LOOK_MS, CONF_MAX, &out);
	if (e == 0)
		e = conf_unpack(buf_view(&out), ret);
	else if (out.n)
		buf_str(ret_err, buf_view(&out));
	if (e < 0 && ret_err->n == 0)
		buf_fmt(ret_err, "configuration %s: %s\n", c->conf_path, strerror(-e));
	return e;
}

static void check_conf(struct check *c)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf conf;

	if (load_conf(c, &conf, &err) < 0) {
		check_wrong_lines(c, buf_view(&err));
		return;
	}
	check_good(c, "configuration %s", c->conf_path);
	check_good(c, "mail goes to %s port %lld, %s", conf.smarthost[0].host.v[0],
	           (long long)conf.smarthost[0].port,
	           conf.smarthost[0].tls == CONF_TLS_NONE ? "without TLS"
	           : conf.smarthost[0].tls == CONF_TLS_STARTTLS
	               ? "with STARTTLS"
	               : "with TLS from the start");
	if (conf.hostname[0])
		check_good(c, "we call ourselves %s", conf.hostname);
	else
		check_wrong(
		    c,
		    "this machine has no full name: set hostname = \"box.example.org\" "
		    "in %s",
		    c->conf_path);
	for (size_t i = 0; i < conf.smarthosts; i++)
		check_tls(c, &conf.smarthost[i]);
	check_rules(c, &conf);
	check_listen(c, &conf);
	conf_free(&conf);
}

/* ---- The spool, and mailchuted ---- */

/* One thing of the spool: its type and mode. */
static bool check_path(struct check *c, const char *name, mode_t type, mode_t mode)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	struct stat st;

	buf_fmt(&path, "%s%s%s", c->spool_path, name[0] ? "/" : "", name);
	if (lstat(path.p, &st) < 0) {
		int e = errno;

		if (e == ENOENT && !name[0])
			check_wrong(
			    c, "%s: %s; install -d -m 755 -o %s -g %s %s makes it",
			    path.p, strerror(e), MAILCHUTE_USER, MAILCHUTE_USER, path.p);
		else
			check_wrong(c, "%s: %s; mailchuted makes it when it starts",
			            path.p, strerror(e));
		return false;
	}
	if ((st.st_mode & S_IFMT) != type) {
		check_wrong(c, "%s is not a %s; remove it and restart mailchuted", path.p,
		            type == S_IFDIR ? "folder" : "FIFO");
		return false;
	}
	if ((st.st_mode & 07777) != mode) {
		check_wrong(c, "%s has mode %04o: chmod %04o %s", path.p,
		            st.st_mode & 07777, mode, path.p);
		return false;
	}
	return true;
}

/* True: anybody can leave mail there. */
static bool check_spool(struct check *c)
{
	bool takes = check_path(c, "", S_IFDIR, 0755) &
	             check_path(c, "in", S_IFDIR, 0711) &
	             check_path(c, "in/drop", S_IFDIR, 03777);

	/* Only wakes: mail waits without it. */
	if (check_path(c, "in/wake", S_IFIFO, 0622) && takes)
		check_good(c, "spool %s", c->spool_path);
	return takes;
}

/* Waits for more of the answer until end, in monotonic ms. True: some came. */
static bool hear_more(int fd, int64_t end, struct sm_answer *a, struct buf *text)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left = end - clock_ms();
	char block[4096];
	ssize_t n;

	if (left <= 0 || poll(&p, 1, (int)left) <= 0)
		return false;
	n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
	if (n > 0)
		sm_answer_feed(a, (struct str){ block, (size_t)n }, text);
	return n > 0;
}

/* What mailchuted says of its routes, which stands before all messages in its list. A host that
 * is down is not the configuration's fault, or not that of the one that was read here. */
static void check_routes(struct check *c)
{
	struct sm_answer a = { .done = false };
	_cleanup_buf_ struct buf text = BUF_INIT;
	_cleanup_fd_ int fd = -1;
	int64_t end = clock_ms() + ROUTES_MS;
	struct sockaddr_un to;
	struct str rest, line;
	size_t at = 0;

	if (ask_path(NULL, c->spool_path, &to) == 0)
		fd = ask_connect(&to);
	if (fd >= 0)
		(void)!send(fd, LIST_REQUEST, sizeof(LIST_REQUEST) - 1, MSG_NOSIGNAL);
	while (!a.done) {
		if (fd < 0 || !hear_more(fd, end, &a, &text)) {
			check_wrong(c, "mailchuted does not answer at its socket; its "
			               "log may say why");
			return;
		}
		rest = str_from(buf_view(&text), at);
		while (rest.n && memchr(rest.p, '\n', rest.n)) {
			str_cut(&rest, '\n', &line);
			if (!str_starts(line, STR("route ")))
				return;
			check_note(c, "%.*s", (int)line.n, line.p);
			at += line.n + 1;
		}
	}
}

/* mailchuted makes it when it starts; without it mail goes out all the same. */
static void check_socket(struct check *c)
{
	struct sockaddr_un a;
	struct stat st;

	if (sm_socket_path(c->spool_path, &a) < 0) {
		check_wrong(c, "%s is too long a path: there can be no socket in it",
		            c->spool_path);
	} else if (lstat(a.sun_path, &st) < 0) {
		check_wrong(c, "%s: %s; mailchuted's log says why it made none",
		            a.sun_path, strerror(errno));
	} else if (!S_ISSOCK(st.st_mode) || (st.st_mode & 0666) != 0666) {
		check_wrong(c,
		            "%s is no socket that everybody may use; restart mailchuted",
		            a.sun_path);
	} else {
		check_good(c, "socket %s", a.sun_path);
		check_routes(c);
	}
}

/* What becomes of mail meanwhile. */
static void say_down(struct check *c, bool takes)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	struct stat st;

	buf_fmt(&path, "%s/in/drop", c->spool_path);
	if (takes)
		check_wrong(c, "mailchuted is not running; mail waits safely in %s",
		            path.p);
	else if (lstat(path.p, &st) < 0 && errno == ENOENT)
		check_wrong(c,
		            "mailchuted is not running, and there is no %s: until it is "
		            "started, sendmail takes no mail",
		            path.p);
	else
		check_wrong(c, "mailchuted is not running, and with the spool as it is, "
		               "sendmail may take no mail");
}

/* takes: anybody can leave mail in the drop. */
static void check_daemon(struct check *c, bool takes)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	_cleanup_fd_ int fd = -1;

	buf_fmt(&path, "%s/lock", c->spool_path);
	fd = open(path.p, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES) {
		check_good(c, "(as this user it cannot be seen whether mailchuted runs)");
		return;
	}
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
		check_good(c, "mailchuted is running");
		check_socket(c);
		return;
	}
	say_down(c, takes);
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
		check_wrong(
		    c, "%u files in %s are over a minute old: mailchuted's log says why",
		    old, path.p);
	else
		check_good(c, "nothing is stuck in %s", path.p);
	if (names)
		check_wrong(c, "%u messages in %s have a second name (hard link)", names,
		            path.p);
}

static void check_kernel(struct check *c)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (io_slurp_at(AT_FDCWD, "/proc/sys/fs/protected_hardlinks", &b, 64) == 0 &&
	    b.n && b.p[0] == '0')
		check_wrong(
		    c, "fs.protected_hardlinks is 0: sysctl -w fs.protected_hardlinks=1");
}

int check_run(const char *conf_path, const char *spool_path)
{
	struct check check = { .conf_path = conf_path, .spool_path = spool_path },
	             *c = &check;

	check_conf(c);
	check_daemon(c, check_spool(c));
	check_drop(c);
	check_kernel(c);
	(void)io_write(1, c->out.p, c->out.n);
	buf_free(&c->out);
	return c->wrong ? EX_CONFIG : EX_OK;
}
