#include "daemon/desk.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/guest.h"
#include "prog/job.h"
#include "daemon/submission.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	BACKLOG = 128,
	/* Refusing costs little, but not nothing: however many knock, not more are heard. */
	ACCEPTS_PER_SECOND = 1000,
	ACCEPTS_BURST = 100,
	ACCEPTS_PAUSE_MS = 20,
	/* Requests of all connections of one uid: each may search the queue and sync it. */
	REQUESTS_PER_SECOND = 20,
	REQUESTS_BURST = 40,
	ADMIN_REQUESTS_PER_SECOND = 1000,
	REQUESTS_AT_ONCE = 4,   /* then others have their turn */
	REQUEST_MAX = 256,      /* octets */
	SERVE_MAX_MS = 3660000, /* an hour, and a minute in which it can say so itself */
	REAP_FIRST_MS = 5,
	REAP_LAST_MS = 1000,
	SERVE_FD_FIRST = 3, /* connection, control, folder of the spool */
	SERVE_FDS = 3,
	CONNS = DESK_CONNS + DESK_ROOT_MORE,
};

struct conn {
	pid_t pid; /* of its mailchute-serve; 0: this place is free */
	uid_t uid;
	int control;   /* -1: it has ended or is about to, and is to be reaped */
	int64_t until; /* monotonic ms: killed then */
	int64_t reap_at, reap_wait;
	bool killed, flushing, submitted;
	struct submission sub;
	struct buf login; /* of who submits */
};

struct desk {
	int listener;   /* -1: only one connection, that was given */
	int64_t polled; /* when desk_polls() was called */
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct spool *spool;
	char *libexec;
	struct desk_ops ops;
	struct tokens accepts;
	int64_t closed_until; /* monotonic ms: nobody is heard */
	struct guests guests;
	struct conn conn[CONNS];
	struct conn *asking; /* of this one ops->flush() is being asked, or NULL */
};

/* ---- How many ---- */

static bool admin(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static int64_t request_rate(uid_t uid)
{
	return admin(uid) ? ADMIN_REQUESTS_PER_SECOND : REQUESTS_PER_SECOND;
}

/* ---- One connection ---- */

static void conn_clear(struct conn *c)
{
	buf_free(&c->login);
	*c = (struct conn){ .control = -1, .sub = SUBMISSION_INIT };
}

/* It ends with 0 or a code of sysexits(3), whatever it was asked. */
static bool died(int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	return code != EX_OK && (code < EX__BASE || code > EX__MAX);
}

static void conn_reap(struct desk *d, struct conn *c, int64_t now)
{
	int status = 0;
	pid_t r = waitpid(c->pid, &status, WNOHANG);

	if (r == 0 || (r < 0 && errno == EINTR)) {
		c->reap_at = now + c->reap_wait;
		c->reap_wait =
		    c->reap_wait * 2 < REAP_LAST_MS ? c->reap_wait * 2 : REAP_LAST_MS;
		return;
	}
	if (r > 0 && !c->killed && died(status) && guest_tell(&d->guests, c->uid, now))
		log_line(LOG_LEVEL_WARNING, "serve-died uid=%u status=%d",
		         (unsigned)c->uid, status);
	conn_clear(c);
}

/* Nothing more is heard of it; what it did not commit is not there. */
static void conn_gone(struct desk *d, struct conn *c, int64_t now)
{
	submission_end(d->spool, &c->sub);
	cleanup_fd(&c->control);
	c->control = -1;
	c->flushing = false;
	c->reap_wait = REAP_FIRST_MS;
	conn_reap(d, c, now);
}

static void conn_kill(struct desk *d, struct conn *c, const char *why)
{
	int64_t now = clock_ms();

	if (guest_tell(&d->guests, c->uid, now))
		log_line(LOG_LEVEL_WARNING, "serve-killed uid=%u why=\"%s\"",
		         (unsigned)c->uid, why);
	c->killed = true;
	kill(c->pid, SIGKILL);
	conn_gone(d, c, now);
}

/* It asks one thing at a time and reads the answer: a full socket is its fault. */
static void reply(struct desk *d, struct conn *c, struct str text, int fd)
{
	int e = job_send(c->control, text, &fd, fd >= 0);

	if (e == -EPIPE || e == -ECONNRESET)
		conn_gone(d, c, clock_ms());
	else if (e < 0)
		conn_kill(d, c, "does not read");
}

static void reply_words(struct desk *d, struct conn *c, int code, struct str words)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (code == EX_OK)
		buf_z(&b, "ok ");
	else
		buf_fmt(&b, "no %d ", code);
	/* Words may have names of users and routes in them; one line it is. */
	buf_escape(&b, words, REQUEST_MAX);
	reply(d, c, buf_view(&b), -1);
}

/* ---- Submission ---- */

static void reply_trouble(struct desk *d, struct conn *c, int e)
{
	_cleanup_buf_ struct buf words = BUF_INIT;

	if (guest_tell(&d->guests, c->uid, clock_ms()))
		log_line(LOG_LEVEL_ALERT, "spool-error what=submit why=\"%s\"",
		         strerror(-e));
	buf_fmt(&words, "the spool: %s", strerror(-e));
	submission_end(d->spool, &c->sub);
	reply_words(d, c, EX_TEMPFAIL, buf_view(&words));
}

static void do_submit(struct desk *d, struct conn *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT, name = BUF_INIT, groups = BUF_INIT;
	int e;

	if (c->submitted) {
		conn_kill(d, c, "submits twice");
		return;
	}
	c->submitted = true;
	if (!d->ops.who || !d->ops.may || !d->ops.submitted) {
		reply_words(d, c, EX_TEMPFAIL, STR("mailchuted is not running"));
		return;
	}
	if (!d->ops.may(d->ops.arg, c->uid, &c->sub.max, &text)) {
		reply_words(d, c, EX_TEMPFAIL, buf_view(&text));
		return;
	}
	if (c->sub.max <= 0)
		c->sub.max = INT64_MAX;
	d->ops.who(d->ops.arg, c->uid, &c->login, &name);
	if (d->ops.groups)
		d->ops.groups(d->ops.arg, c->uid, &groups);
	e = submission_begin(d->spool, &c->sub, c->uid, buf_view(&c->login),
	                     buf_view(&name), buf_view(&groups));
	if (e < 0) {
		reply_trouble(d, c, e);
		return;
	}
	buf_reset(&text);
	buf_fmt(&text, "file %s %lld", c->sub.id.c, (long long)c->sub.max);
	reply(d, c, buf_view(&text), c->sub.file);
}

static void do_commit(struct desk *d, struct conn *c)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	int64_t size = 0;
	int e;

	if (c->sub.file < 0) {
		conn_kill(d, c, "commits nothing");
		return;
	}
	e = submission_commit(d->spool, &c->sub, &size);
	if (e == -EFBIG || e == -EBADMSG) {
		submission_end(d->spool, &c->sub);
		reply_words(d, c, e == -EFBIG ? EX_UNAVAILABLE : EX_DATAERR,
		            e == -EFBIG ? STR("the message is too large")
		                        : STR("there is no message"));
		return;
	}
	if (e < 0) {
		reply_trouble(d, c, e);
		return;
	}
	d->ops.submitted(d->ops.arg, &c->sub.id, c->uid, buf_view(&c->login), size);
	submission_end(d->spool, &c->sub);
	buf_fmt(&words, "queued as %s", c->sub.id.c);
	reply_words(d, c, EX_OK, buf_view(&words));
}

/* ---- Requests ---- */

static bool route_name_ok(struct str r)
{
	for (size_t i = 0; i < r.n; i++) {
		char l = ascii_lower(r.p[i]);

		if (!(l >= 'a' && l <= 'z') && !(l >= '0' && l <= '9') && l != '.' &&
		    l != '_' && l != '-')
			return false;
	}
	return r.n <= QUEUE_ROUTE_MAX;
}

static void do_flush(struct desk *d, struct conn *c, struct str route)
{
	_cleanup_buf_ struct buf words = BUF_INIT;

	if (!route_name_ok(route)) {
		reply_words(d, c, EX_USAGE, STR("that is no name of a route"));
		return;
	}
	if (!d->ops.flush) {
		reply_words(d, c, EX_TEMPFAIL, STR("mailchuted is not running"));
		return;
	}
	d->asking = c;
	if (!d->ops.flush(d->ops.arg, c->uid, route, &words)) {
		d->asking = NULL;
		reply_words(d, c, EX_TEMPFAIL, buf_view(&words));
		return;
	}
	c->flushing = d->asking == c; /* not when it was answered at once */
	d->asking = NULL;
}

static void do_verb(struct desk *d, struct conn *c, enum verb v, struct str rest)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct str word = STR_NONE;
	struct id id;
	int code;

	if (!str_cut(&rest, ' ', &word) || !id_from(word, &id) ||
	    (rest.p && !(v == VERB_RETRY && str_eq(rest, STR("recompose"))))) {
		conn_kill(d, c, "asks what cannot be understood");
		return;
	}
	if (rest.p)
		v = VERB_RECOMPOSE;
	code = verb_do(d->spool, &d->ops.verbs, v, c->uid, &id, &words);
	reply_words(d, c, code, buf_view(&words));
}

static void conn_take(struct desk *d, struct conn *c, struct str rest)
{
	struct str verb = STR_NONE;

	if (rest.n && rest.p[rest.n - 1] == '\n')
		rest.n--;
	if (rest.n > REQUEST_MAX || c->flushing || !str_cut(&rest, ' ', &verb)) {
		conn_kill(d, c, "asks too much");
		return;
	}
	if (str_eq(verb, STR("submit")) && !rest.p)
		do_submit(d, c);
	else if (str_eq(verb, STR("commit")) && !rest.p)
		do_commit(d, c);
	else if (str_eq(verb, STR("flush")))
		do_flush(d, c, rest.p ? rest : STR(""));
	else if (verb_from(verb) != VERB_NONE)
		do_verb(d, c, verb_from(verb), rest);
	else
		conn_kill(d, c, "asks what cannot be understood");
}

static void conn_hear(struct desk *d, struct conn *c, int64_t now)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	int fds[JOB_FDS_MAX];

	for (int i = 0; i < REQUESTS_AT_ONCE && c->control >= 0; i++) {
		struct guest *g = guest_of(&d->guests, c->uid, now);
		ssize_t n;

		if (!tokens_take(&g->requests, now, request_rate(c->uid), REQUESTS_BURST))
			return;
		n = job_recv(c->control, &text, fds);
		if (n <= 0)
			g->requests.thousandths += 1000; /* it was no request */
		for (size_t k = 0; n >= 0 && k < JOB_FDS_MAX; k++)
			cleanup_fd(&fds[k]);
		if (n == -EAGAIN)
			return;
		if (n <= 0)
			conn_gone(d, c, now);
		else
			conn_take(d, c, buf_view(&text));
	}
}

/* ---- Who comes ---- */

/* In the child: the descriptors go to their places, everything else is close-on-exec. */
NORETURN static void serve_exec(const struct desk *d, uid_t uid, pid_t parent,
                                const int fds[static SERVE_FDS])
{
	char path[4096], number[16], is_admin[2] = { admin(uid) ? '1' : '0', '\0' };
	char believed[24];
	int64_t listener = d->ops.listener ? d->ops.listener(d->ops.arg) : -1;
	char *argv[] = { path, number, is_admin, listener >= 0 ? believed : NULL, NULL };
	char *envp[] = { NULL };
	int high[SERVE_FDS];
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(EX_TEMPFAIL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(path, sizeof(path), "%s/mailchute-serve", d->libexec);
	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	snprintf(believed, sizeof(believed), "%lld", (long long)listener);
	/* First out of the way of one another, then down. */
	for (int i = 0; i < SERVE_FDS; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SERVE_FD_FIRST + SERVE_FDS);
	for (int i = 0; i < SERVE_FDS; i++)
		if (high[i] < 0 || dup2(high[i], SERVE_FD_FIRST + i) < 0)
			_exit(126);
	execve(path, argv, envp);
	_exit(127);
}

/* 0 or -errno. The connection stays the caller's. */
static int conn_start(struct desk *d, struct conn *c, int connection, uid_t uid)
{
	pid_t parent = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
		close(pair[0]);
		close(pair[1]);
		return -errno;
	}
	pid = fork();
	if (pid == 0)
		serve_exec(d, uid, parent,
		           (int[]){ connection, pair[1], d->spool->root });
	close(pair[1]);
	if (pid < 0) {
		int e = -errno;

		close(pair[0]);
		return e;
	}
	conn_clear(c);
	c->pid = pid;
	c->uid = uid;
	c->control = pair[0];
	c->until = clock_ms() + SERVE_MAX_MS;
	return 0;
}

/* A free place for this uid; NULL with *ret_why: there are too many connections. */
static struct conn *place_for(struct desk *d, uid_t uid, int64_t now,
                              const char **ret_why)
{
	struct guest *g = guest_of(&d->guests, uid, now);
	int root_more = uid == 0 ? DESK_ROOT_MORE : 0, all = 0, own = 0;
	struct conn *free_one = NULL;

	for (size_t i = 0; i < CONNS; i++) {
		if (!d->conn[i].pid)
			free_one = free_one ? free_one : &d->conn[i];
		all += d->conn[i].pid != 0;
		own += d->conn[i].pid != 0 && d->conn[i].uid == uid;
	}
	*ret_why = NULL;
	if (!tokens_take(&g->conns, now, DESK_PER_SECOND, DESK_BURST))
		*ret_why = "too many connections a second";
	else if (own >= DESK_PER_UID + root_more)
		*ret_why = "too many connections of this user";
	else if (all >= DESK_CONNS + root_more)
		*ret_why = "too many connections";
	return *ret_why ? NULL : free_one;
}

static void take_in(struct desk *d, int fd, int64_t now)
{
	_cleanup_buf_ struct buf answer = BUF_INIT;
	struct ucred who = { .uid = 0 };
	socklen_t len = sizeof(who);
	struct conn *c;
	const char *why;
	int e;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return;
	c = place_for(d, who.uid, now, &why);
	if (c) {
		e = conn_start(d, c, fd, who.uid);
		if (e == 0)
			return;
		why = strerror(-e);
		if (guest_tell(&d->guests, who.uid, now))
			log_line(LOG_LEVEL_ALERT, "serve-start why=\"%s\"", why);
	} else if (guest_tell(&d->guests, who.uid, now)) {
		log_line(LOG_LEVEL_WARNING, "socket-busy uid=%u why=\"%s\"",
		         (unsigned)who.uid, why);
	}
	buf_fmt(&answer, "%d %s\n", EX_TEMPFAIL, why);
	(void)!send(fd, answer.p, answer.n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void accept_all(struct desk *d, int64_t now)
{
	while (tokens_take(&d->accepts, now, ACCEPTS_PER_SECOND, ACCEPTS_BURST)) {
		_cleanup_fd_ int fd =
		    accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			take_in(d, fd, now);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		/* Without descriptors poll() would come back at once. */
		if (errno != EAGAIN)
			d->closed_until = now + REAP_LAST_MS;
		return;
	}
	d->closed_until = now + ACCEPTS_PAUSE_MS;
}

/* ---- The desk ---- */

static struct desk *desk_new(struct spool *s, const char *libexec,
                             const struct desk_ops *ops)
{
	struct desk *d = calloc(1, sizeof(*d));

	if (!d)
		die_oom();
	d->listener = -1;
	d->spool = s;
	d->libexec = str_dup(str_z(libexec));
	d->ops = *ops;
	d->guests = (struct guests){ .conns = DESK_BURST, .requests = REQUESTS_BURST };
	d->accepts = (struct tokens){ INT64_C(1000) * ACCEPTS_BURST, clock_ms() };
	for (size_t i = 0; i < CONNS; i++)
		conn_clear(&d->conn[i]);
	return d;
}

static int listen_at(struct desk *d)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	struct stat st;
	int e;

	/* Whoever made it is gone: we have the spool's lock. Another kind of file is not
	 * ours to remove. */
	if (lstat(d->path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (unlink(d->path) < 0)
			return -errno;
	}
	d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->listener < 0)
		return -errno;
	memcpy(a.sun_path, d->path, sizeof(a.sun_path));
	/* The name gets the socket's mode without the umask: right from the beginning. */
	if (fchmod(d->listener, 0666) < 0)
		return -errno;
	mask = umask(0);
	e = bind(d->listener, (const struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
	umask(mask);
	if (e == 0 && listen(d->listener, BACKLOG) < 0)
		e = -errno;
	return e;
}

struct desk *desk_open(const char *path, struct spool *s, const char *libexec,
                       const struct desk_ops *ops, int *ret_errno)
{
	struct desk *d;
	int n, e;

	d = desk_new(s, libexec, ops);
	n = snprintf(d->path, sizeof(d->path), "%s", path);
	e = n < 0 || (size_t)n >= sizeof(d->path) ? -ENAMETOOLONG : listen_at(d);
	if (e == 0)
		return d;
	*ret_errno = -e;
	d->path[0] = '\0';
	desk_close(d);
	return NULL;
}

struct desk *desk_single(int connection, uid_t uid, struct spool *s, const char *libexec,
                         const struct desk_ops *ops, int *ret_errno)
{
	struct desk *d = desk_new(s, libexec, ops);
	int e = conn_start(d, &d->conn[0], connection, uid);

	if (e == 0)
		return d;
	*ret_errno = -e;
	desk_close(d);
	return NULL;
}

void desk_close(struct desk *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < CONNS; i++) {
		struct conn *c = &d->conn[i];

		if (!c->pid)
			continue;
		submission_end(d->spool, &c->sub);
		cleanup_fd(&c->control);
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	if (d->listener >= 0 && d->path[0])
		unlink(d->path);
	cleanup_fd(&d->listener);
	free(d->libexec);
	free(d);
}

bool desk_busy(const struct desk *d)
{
	for (size_t i = 0; d && i < CONNS; i++)
		if (d->conn[i].pid)
			return true;
	return false;
}

/* When its requests are heard again: not after now when they are heard. */
static int64_t heard_at(const struct desk *d, const struct conn *c)
{
	const struct guest *g = guest_find(&d->guests, c->uid);

	return g ? tokens_at(&g->requests, request_rate(c->uid)) : 0;
}

size_t desk_polls(struct desk *d, struct pollfd *p)
{
	int64_t now = clock_ms();
	size_t n = 1;

	if (!d)
		return 0;
	d->polled = now;
	p[0] = (struct pollfd){ .fd = now < d->closed_until ? -1 : d->listener,
		                .events = POLLIN };
	for (size_t i = 0; i < CONNS; i++) {
		const struct conn *c = &d->conn[i];
		bool heard = c->control >= 0 && heard_at(d, c) <= now;

		p[1 + i] =
		    (struct pollfd){ .fd = heard ? c->control : -1, .events = POLLIN };
		if (heard)
			n = 2 + i;
	}
	return n;
}

void desk_hear(struct desk *d, const struct pollfd *p, size_t n)
{
	int64_t now = clock_ms();

	if (!d)
		return;
	for (size_t i = 1; i < n; i++) {
		struct conn *c = &d->conn[i - 1];

		if (p[i].fd >= 0 && p[i].revents && c->control == p[i].fd)
			conn_hear(d, c, now);
	}
	for (size_t i = 0; i < CONNS; i++) {
		struct conn *c = &d->conn[i];

		if (c->pid && now >= c->until && !c->killed)
			conn_kill(d, c, "took too long");
		if (c->pid && c->control < 0 && now >= c->reap_at)
			conn_reap(d, c, now);
	}
	if (n && p[0].fd >= 0 && p[0].revents)
		accept_all(d, now);
}

int64_t desk_next(const struct desk *d)
{
	int64_t next = -1, now;

	if (!d)
		return -1;
	now = d->polled;
	if (d->listener >= 0 && d->closed_until > now)
		next = d->closed_until;
	for (size_t i = 0; i < CONNS; i++) {
		const struct conn *c = &d->conn[i];
		int64_t at = c->control < 0 ? c->reap_at : c->until;

		if (!c->pid)
			continue;
		if (c->control >= 0 && heard_at(d, c) > now && heard_at(d, c) < at)
			at = heard_at(d, c);
		if (next < 0 || at < next)
			next = at;
	}
	return next;
}

void desk_answer(struct desk *d, struct str words, struct str others)
{
	for (size_t i = 0; d && i < CONNS; i++) {
		struct conn *c = &d->conn[i];

		if (!c->pid || !(c->flushing || c == d->asking))
			continue;
		c->flushing = false;
		d->asking = c == d->asking ? NULL : d->asking;
		reply_words(d, c, EX_OK, admin(c->uid) ? words : others);
	}
}

bool desk_flushing(const struct desk *d)
{
	for (size_t i = 0; d && i < CONNS; i++)
		if (d->conn[i].pid && d->conn[i].flushing)
			return true;
	return false;
}
