#include "listen/session_inside.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "listen/users.h"
#include "prog/child.h"
#include "prog/fence.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	/* Octets of one read; a buf has one more. */
	READ_COMMANDS = 4095,
	READ_CONTENT = 16383,
	HOSTNAME_MAX = 255,
	TRY_MS = 5000, /* for certificate and key */
	TRY_MAX = 1024,
};

/* ---- before the fence ---- */

/* SIGTERM and its kin are read from a descriptor; one that is ignored (nohup) stays so. SIGPIPE
 * and SIGXFSZ become errors of write(2). */
static int watch_signals(void)
{
	static const int ending[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	sigset_t some, all;

	sigemptyset(&some);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		sigaddset(&some, ending[i]);
	all = some;
	sigaddset(&all, SIGPIPE);
	sigaddset(&all, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &all, NULL);
	return signalfd(-1, &some, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool read_pem(const char *what, const char *path, struct buf *to, struct buf *why)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int e = fd < 0 ? -errno : 0;

	/* Room at once: growing would leave parts of a key behind. */
	buf_room(to, READ_CONTENT);
	if (e == 0)
		e = io_slurp(fd, to, LINK_PEM_MAX);
	if (e == 0 && to->n)
		return true;
	buf_fmt(why, "%s %s cannot be used: %s", what, path,
	        e < 0 ? strerror(-e) : "it is empty");
	return false;
}

/* In a child: what parsing a certificate leaves behind in memory would be half of what a session
 * has that does without TLS. */
static int try_pair(void *arg, struct buf *out)
{
	const struct session *s = arg;

	return link_try(buf_view(&s->certificate), buf_view(&s->key),
	                str_z(s->listen->tls_priority), out);
}

static bool try_certificate(struct session *s, struct buf *why)
{
	const struct listen *l = s->listen;
	int e;

	if (!read_pem("tls-certificate", l->tls_certificate, &s->certificate, why) ||
	    !read_pem("tls-key", l->tls_key, &s->key, why))
		return false;
	e = child_run(try_pair, s, TRY_MS, TRY_MAX, why);
	if (e == 0)
		return true;
	if (!why->n)
		buf_fmt(why, "TLS cannot be tried: %s", strerror(-e));
	buf_fmt(why, " (%s, %s)", l->tls_certificate, l->tls_key);
	return false;
}

/* 0 or an exit code. Without a certificate and key that can be used a section with STARTTLS
 * does not offer it: printers must not stand still for it. */
static int read_certificate(struct session *s)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	const struct listen *l = s->listen;
	bool good;

	if (!l || l->tls == LISTEN_TLS_NONE || !l->tls_certificate[0])
		return 0;
	good = try_certificate(s, &why);
	session_log_certificate(s, good ? STR_NONE : buf_view(&why));
	if (good)
		return 0;
	buf_reset(&s->certificate);
	return l->tls == LISTEN_TLS_IMPLICIT ? EX_CONFIG : 0;
}

NORETURN static void be_helper(struct session *s, int fd, int file)
{
	close(s->link.in);
	if (s->link.out != s->link.in)
		close(s->link.out);
	close(s->link.stop);
	if (s->c->fence)
		(void)fence_route();
	users_serve(fd, file, USERS_ATTEMPTS, USERS_DELAY_MS, &s->c->client);
	_exit(0);
}

/* The helper has the only way to the hashes, and nobody's bytes but a name and a password. */
static void start_helper(struct session *s)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	_cleanup_fd_ int file = -1, theirs = -1;
	int pair[2];
	pid_t pid;

	s->auth_fd = s->c->auth_fd;
	if (s->auth_fd >= 0 || !s->listen || !s->listen->users_file[0])
		return;
	file = users_open(s->listen->users_file, &why);
	if (file < 0)
		session_log_trouble(s, "users", buf_view(&why));
	if (file < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	s->auth_fd = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		be_helper(s, theirs, file);
	}
	/* Otherwise each question will have no answer: 454. */
	if (pid < 0)
		session_log_trouble(s, "users", str_z(strerror(errno)));
}

/* Our name: the configuration's, or our address, or what the kernel says. */
static void find_hostname(struct session *s)
{
	struct utsname u;

	if (s->c->conf)
		buf_str(&s->hostname,
		        str_head(str_z(s->c->conf->hostname), HOSTNAME_MAX));
	if (!s->hostname.n)
		session_literal(s->link.in, &s->hostname);
	if (!s->hostname.n && uname(&u) == 0)
		buf_str(&s->hostname, str_head(str_z(u.nodename), HOSTNAME_MAX));
	if (!s->hostname.n)
		buf_z(&s->hostname, "localhost");
}

/* ---- the server ---- */

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a && (!b || a < b) ? a : b;
}

static void configure(struct session *s)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	const struct listen *l = s->listen;
	struct server_conf *sc = &s->server_conf;
	uint64_t size;

	(void)submit_ask(&s->submit, &size, &words);
	if (s->c->conf)
		size = lesser(size, (uint64_t)s->c->conf->max_message_size);
	if (l)
		size = lesser(size, (uint64_t)l->max_message_size);
	*sc = (struct server_conf){
		.hostname = buf_view(&s->hostname),
		.size_max = size,
		.errors_max = l ? (unsigned)l->errors : 0,
		.auth_max = USERS_ATTEMPTS,
		.tls = s->certificate.n && l->tls == LISTEN_TLS_IMPLICIT,
		.tls_offered = s->certificate.n && l->tls == LISTEN_TLS_STARTTLS,
		.tls_down = !s->certificate.n && l && l->tls == LISTEN_TLS_STARTTLS,
		/* Without its file, too: 454 at AUTH lets a client come again, while without
		 * AUTH its mail would get 550. */
		.auth_offered = s->auth_fd >= 0 || (l && l->users_file[0]),
		.auth_insecure = l && l->auth_insecure,
		.trusted = s->c->trusted || !l,
	};
	session_ops(s, &s->ops);
	server_init(&s->server, sc, &s->ops);
}

/* There is one handshake in a session. */
static void forget_certificate(struct session *s)
{
	if (s->key.cap)
		explicit_bzero(s->key.p, s->key.cap);
	buf_free(&s->key);
	buf_free(&s->certificate);
	(void)malloc_trim(0);
}

static bool handshake(struct session *s)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	int64_t end = clock_ms() + SESSION_HANDSHAKE_MS;
	const int on = 1;
	int e =
	    link_tls(&s->link, buf_view(&s->certificate), buf_view(&s->key),
	             str_z(s->listen->tls_priority), end < s->end ? end : s->end, &why);

	forget_certificate(s);
	/* With TLS 1.3 the client has the last word, and with Nagle's algorithm says nothing more
	 * until that is acknowledged, which the kernel would put off for 40 ms. */
	(void)setsockopt(s->link.in, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
	if (e == 0)
		return true;
	session_log_trouble(s, e == -EINVAL ? "tls" : "handshake", buf_view(&why));
	return false;
}

static int send_out(struct session *s, struct buf *out, int64_t wait_ms)
{
	int64_t end = clock_ms() + wait_ms;
	int e = out->n ? link_write(&s->link, buf_view(out), end) : 0;

	buf_reset(out);
	if (out->cap > READ_CONTENT)
		buf_free(out);
	return e;
}

/* ---- the loop ---- */

/* A client that has this reply may come again at once, before we have ended. */
static void set_gone(struct session *s)
{
	if (s->c->state)
		s->c->state->gone = true;
}

static void set_working(struct session *s, bool working)
{
	if (s->c->state)
		s->c->state->working = working;
}

static void goodbye(struct session *s, struct str words)
{
	_cleanup_buf_ struct buf out = BUF_INIT;

	server_bye(&s->server, words, &out);
	set_gone(s);
	(void)send_out(s, &out, SESSION_GOODBYE_MS);
}

/* A signal came: is it time to go? */
static bool leaving(struct session *s)
{
	struct signalfd_siginfo info;

	if (s->link.stop >= 0 && read(s->link.stop, &info, sizeof(info)) > 0) {
		/* Only this one: a second one must not shorten the message's time. */
		s->leave = clock_ms();
		if (s->leave - s->heard < SLOTS_SILENT_MS)
			s->leave += SESSION_LEAVE_MS;
		close(s->link.stop);
		s->link.stop = -1;
	}
	return s->leave && (!s->open || clock_ms() >= s->leave);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The next octets. As link_read(); what is due meanwhile is done. */
static ssize_t hear(struct session *s, char *to, size_t n)
{
	int64_t now = clock_ms(), idle, end;
	ssize_t r;

	idle = s->listen ? now + s->listen->idle * 1000 : INT64_MAX;
	for (;;) {
		end = least(idle, s->end);
		if (s->leave)
			end = least(end, s->leave);
		if (s->submit.second && s->submit.open)
			end = least(end, now + SUBMIT_IDLE_MS);
		/* What can be read is read, however late: a client may never be silent. */
		if (now >= s->end)
			return -ETIMEDOUT;
		r = link_read(&s->link, to, n, end);
		now = clock_ms();
		if (r == -ECANCELED && !leaving(s))
			continue;
		if (r != -ETIMEDOUT || now >= least(idle, s->end) ||
		    (s->leave && now >= s->leave))
			return r;
		submit_idle(&s->submit);
	}
}

/* The reading has ended: what is said about it? */
static void end_of_reading(struct session *s, ssize_t r)
{
	if (s->leave)
		goodbye(s, STR("4.3.2 The service is being stopped"));
	else if (r == -ETIMEDOUT && clock_ms() >= s->end)
		goodbye(s, STR("4.4.2 This session takes too long"));
	else if (r == -ETIMEDOUT)
		goodbye(s, STR("4.4.2 Idle for too long"));
	/* A script whose lines end in LF alone comes here, too. */
	s->cut = !s->listen && r == 0 && s->server.state == SERVER_DATA;
	if (s->cut)
		goodbye(s,
		        STR("4.4.1 The input ends inside of the message, which must end "
		            "with <CR><LF>.<CR><LF>; it is not sent"));
}

static void talk(struct session *s)
{
	_cleanup_buf_ struct buf out = BUF_INIT, block = BUF_INIT;

	s->heard = clock_ms();
	server_greet(&s->server, &out);
	while (send_out(s, &out, SESSION_REPLY_MS) == 0) {
		size_t room =
		    s->server.state == SERVER_DATA ? READ_CONTENT : READ_COMMANDS;
		enum server_event event;
		ssize_t n;

		/* Without TLS each read waits for the signal, too. */
		if ((s->link.tls || s->leave) && leaving(s)) {
			end_of_reading(s, -ECANCELED);
			return;
		}
		/* Between messages a session holds little. */
		if (block.cap > READ_CONTENT && room < READ_CONTENT)
			buf_free(&block);
		n = hear(s, buf_room(&block, room), room);
		if (n <= 0) {
			end_of_reading(s, n);
			return;
		}
		s->heard = clock_ms();
		if (s->c->state)
			s->c->state->heard = s->heard;
		/* Who waits for the disk is not silent. */
		set_working(s, true);
		event =
		    server_input(&s->server, (struct str){ block.p, (size_t)n }, &out);
		set_working(s, false);
		if (event == SERVER_GO_ON)
			continue;
		if (event == SERVER_CLOSE)
			set_gone(s);
		if (send_out(s, &out, SESSION_REPLY_MS) < 0 || event == SERVER_CLOSE)
			return;
		if (!handshake(s))
			return;
		server_tls(&s->server);
	}
}

static int run(struct session *s)
{
	int e, on = 1;

	s->link.stop = watch_signals();
	(void)umask(027); /* so that a drop has its mode at once */
	find_hostname(s);
	e = read_certificate(s);
	if (e)
		return e;
	start_helper(s);
	/* A session that was taken over must not forget its guesses, nor make up others'. */
	users_guesses_close(s->c->client.guesses);
	/* An answer must not wait for more: devices that wait long send again. */
	(void)setsockopt(s->link.out, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (s->c->fence)
		(void)fence_session(s->c->spool);
	configure(s);
	if (!s->server_conf.tls || handshake(s))
		talk(s);
	server_free(&s->server);
	return s->cut ? EX_DATAERR : 0;
}

int session_run(const struct session_conf *c, int in, int out)
{
	struct session s = { .c = c,
		             .listen = c->listen,
		             .link = LINK_INIT,
		             .submit = SUBMIT_INIT(c->spool),
		             .auth_fd = -1,
		             .end = INT64_MAX };
	int e;

	s.link.in = in;
	s.link.out = out;
	if (s.listen)
		s.end = clock_ms() + s.listen->timeout * 1000;
	e = run(&s);
	submit_free(&s.submit);
	link_close(&s.link, clock_ms() + SESSION_GOODBYE_MS);
	if (s.auth_fd != c->auth_fd)
		cleanup_fd(&s.auth_fd);
	forget_certificate(&s);
	buf_free(&s.hostname);
	return e;
}
