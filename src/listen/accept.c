#include "listen/accept_inside.h"
#include "base/clock.h"
#include "base/log.h"
#include "listen/session.h"
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { STATE_SIZE = 4096 };

static void reload(struct acceptor *a)
{
	bool ok = acceptor_open(a) == 0;

	log_line(LOG_LEVEL_INFO, "reload result=%s", ok ? "ok" : "kept-the-old");
}

void acceptor_close(struct acceptor *a)
{
	places_free(a->place, a->conf.listens);
	conf_free(&a->conf);
	slots_free(&a->slots);
	users_guesses_close(a->guesses);
	quiet_free(a->quiet);
}

/* ---- Lines that a client can cause ---- */

static bool may_log(struct accept_quiet *q, int64_t now, struct buf *line)
{
	if (now < q->until) {
		q->more++;
		return false;
	}
	if (q->more)
		buf_fmt(line, " more=%u", q->more);
	*q = (struct accept_quiet){ now + ACCEPT_QUIET_MS, 0 };
	return true;
}

static void log_refused(struct acceptor *a, const char *at, struct str ip,
                        const char *why)
{
	_cleanup_buf_ struct buf line = BUF_INIT;

	log_value(&line, "client", ip);
	if (may_log(&a->refused, clock_ms(), &line))
		log_line(LOG_LEVEL_WARNING, "refused at=\"%s\"%s why=\"%s\"", at,
		         line.n ? line.p : "", why);
}

/* What sessions left out of the log, in one line a minute. */
static void log_left_out(struct acceptor *a, int64_t now)
{
	a->left_out += quiet_left_out(a->quiet);
	if (a->left_out && !a->left_out_at)
		a->left_out_at = now + ACCEPT_LEFT_OUT_MS;
	if (!a->left_out || now < a->left_out_at)
		return;
	log_line(LOG_LEVEL_WARNING,
	         "smtpd what=refusals more=%llu why=\"clients cause too many lines\"",
	         (unsigned long long)a->left_out);
	a->left_out = 0;
	a->left_out_at = 0;
}

/* ---- A session's end ---- */

struct seat {
	struct session_state *state;
	int64_t kill_at; /* clock_ms(); 0: not */
};

static void slot_end(struct acceptor *a, size_t i)
{
	struct seat *seat = a->slots.v[i].arg;

	if (a->slots.v[i].leaving)
		a->leaving--;
	munmap(seat->state, STATE_SIZE);
	free(seat);
	slots_remove(&a->slots, i);
}

static void reap(struct acceptor *a)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		ptrdiff_t i = slots_find(&a->slots, pid);

		if (i < 0)
			continue;
		if (WIFSIGNALED(status) && !a->slots.v[i].leaving)
			log_line(LOG_LEVEL_WARNING, "session-died signal=%d",
			         WTERMSIG(status));
		slot_end(a, (size_t)i);
	}
}

/* Tells a session to go; it is killed when it stays. */
static void slot_leave(struct acceptor *a, size_t i, int64_t ms)
{
	struct slot *s = &a->slots.v[i];
	struct seat *seat = s->arg;

	if (s->leaving)
		return;
	s->leaving = true;
	seat->kill_at = clock_ms() + ms;
	a->leaving++;
	kill(s->pid, a->leaving > ACCEPT_LEAVING ? SIGKILL : SIGTERM);
}

static void kill_overdue(struct acceptor *a, int64_t now)
{
	for (size_t i = 0; a->leaving && i < a->slots.n; i++) {
		const struct seat *seat = a->slots.v[i].arg;

		if (seat->kill_at && now >= seat->kill_at)
			kill(a->slots.v[i].pid, SIGKILL);
	}
}

/* ---- A session's begin ---- */

/* What the sessions say of themselves, clamped to what can be. Of those that say that they
 * have ended, some may for a moment be there beyond the limits. */
static void slots_hear(struct acceptor *a, int64_t now)
{
	for (size_t i = 0; i < a->slots.n; i++) {
		struct slot *s = &a->slots.v[i];
		struct seat *seat = s->arg;
		int64_t heard = atomic_load(&seat->state->heard),
		        busy = atomic_load(&seat->state->busy);

		s->heard = heard > s->begun ? heard : s->begun;
		if (atomic_load(&seat->state->working))
			s->heard = now;
		s->busy = busy < 0 || busy > now ? now : busy;
		s->stored = atomic_load(&seat->state->stored);
		if (!s->leaving && a->leaving < ACCEPT_LEAVING &&
		    atomic_load(&seat->state->gone)) {
			s->leaving = true;
			seat->kill_at = now + ACCEPT_LEAVE_MS;
			a->leaving++;
		}
	}
}

/* True: there is room now for one more. */
static bool make_room(struct acceptor *a, unsigned section, struct slots_client client,
                      struct str ip)
{
	const struct listen *l = &a->conf.listen[section];
	_cleanup_buf_ struct buf line = BUF_INIT;
	int64_t now = clock_ms();
	enum slots_say say;
	size_t victim = 0;

	say = slots_ask(&a->slots, section, client, l->max_connections, l->max_per_client,
	                now, &victim);
	if (say == SLOTS_COME)
		return true;
	slots_hear(a, now);
	say = slots_ask(&a->slots, section, client, l->max_connections, l->max_per_client,
	                now, &victim);
	switch (say) {
	case SLOTS_COME:
		return true;
	case SLOTS_EVICT:
		log_value(&line, "for", ip);
		if (may_log(&a->evicted, now, &line))
			log_line(LOG_LEVEL_INFO, "evicted at=\"%s\" pid=%d idle=%llds%s",
			         l->at, (int)a->slots.v[victim].pid,
			         (long long)(now - a->slots.v[victim].heard) / 1000,
			         line.n ? line.p : "");
		slot_leave(a, victim, ACCEPT_EVICT_MS);
		return true;
	case SLOTS_CLIENT:
		log_refused(a, l->at, ip, "max-per-client");
		return false;
	case SLOTS_FULL:
		break;
	}
	log_refused(a, l->at, ip, "max-connections");
	return false;
}

/* Without a process for it, and without waiting. Who speaks TLS first sees the end only. */
static void send_away(const struct listen *l, int fd, const char *words)
{
	if (l->tls != LISTEN_TLS_IMPLICIT)
		(void)send(fd, words, strlen(words), MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
}

static void drop_capabilities(void)
{
	const struct __user_cap_header_struct head = { .version =
		                                           _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	(void)syscall(SYS_capset, &head, none);
}

NORETURN static void session_main(const struct acceptor *a, unsigned section, int fd,
                                  struct session_state *state, struct slots_client client)
{
	const struct listen *l = &a->conf.listen[section];
	_cleanup_buf_ struct buf ip = BUF_INIT;
	struct session_conf c = { .listen = l,
		                  .conf = &a->conf,
		                  .spool = a->spool,
		                  .fence = true,
		                  .auth_fd = -1,
		                  .client = { a->guesses, client },
		                  .quiet = a->quiet,
		                  .state = state };

	for (size_t i = 0; i < a->conf.listens; i++)
		for (size_t k = 0; k < a->place[i].fds; k++)
			close(a->place[i].fd[k]);
	for (size_t i = 0; i < a->given.n; i++)
		close(a->given.fd[i]);
	close(a->signals);
	drop_capabilities();
	(void)session_peer(fd, &ip, &c.port);
	c.client_ip = buf_view(&ip);
	c.trusted = session_allowed(l, c.client_ip);
	_exit(session_run(&c, fd, fd));
}

/* No process, memory or descriptor: says so once, and goes on in a moment. */
static void pause_accepting(struct acceptor *a, int e)
{
	a->pause_until = clock_ms() + ACCEPT_PAUSE_MS;
	if (!a->paused)
		log_line(LOG_LEVEL_ALERT, "accept-paused sessions=%zu why=\"%s\"",
		         a->slots.n, strerror(e));
	a->paused = true;
}

static void session_start(struct acceptor *a, unsigned section, int fd,
                          struct slots_client client)
{
	struct session_state *state;
	struct slot slot = { .section = section, .client = client, .begun = clock_ms() };
	struct seat *seat = calloc(1, sizeof(*seat));

	state = mmap(NULL, STATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	             -1, 0);
	slot.pid = seat && state != MAP_FAILED ? fork() : -1;
	if (slot.pid == 0)
		session_main(a, section, fd, state, client);
	if (slot.pid < 0) {
		pause_accepting(a, errno);
		send_away(&a->conf.listen[section], fd,
		          "421 4.3.2 no room for another session, try again later\r\n");
		if (state != MAP_FAILED)
			munmap(state, STATE_SIZE);
		free(seat);
		return;
	}
	/* Another session must not speak for this one. */
	madvise(state, STATE_SIZE, MADV_DONTFORK);
	seat->state = state;
	slot.heard = slot.begun;
	slot.arg = seat;
	slots_add(&a->slots, &slot);
	a->paused = false;
}

static void welcome(struct acceptor *a, unsigned section, int fd,
                    const struct sockaddr *peer)
{
	_cleanup_buf_ struct buf ip = BUF_INIT, line = BUF_INIT;
	struct ucred who = { .uid = 0 };
	socklen_t len = sizeof(who);
	const int on = 1;
	struct slots_client client;
	int port;

	if (peer->sa_family == AF_UNIX)
		(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
	else
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	client = slots_client_of(peer, who.uid);
	(void)session_peer(fd, &ip, &port);
	if (peer->sa_family == AF_UNIX)
		buf_fmt(&ip, "uid %u", (unsigned)who.uid);
	if (make_room(a, section, client, buf_view(&ip))) {
		log_value(&line, "client", buf_view(&ip));
		log_line(LOG_LEVEL_DEBUG, "connect at=\"%s\"%s",
		         a->conf.listen[section].at, line.n ? line.p : "");
		session_start(a, section, fd, client);
	} else {
		send_away(&a->conf.listen[section], fd,
		          "421 4.7.0 too many connections, try again later\r\n");
	}
}

void accept_some(struct acceptor *a, unsigned section, int listener)
{
	for (int i = 0; i < ACCEPT_TURN && !a->pause_until; i++) {
		union {
			struct sockaddr sa;
			struct sockaddr_storage room;
		} peer = { .sa.sa_family = AF_UNSPEC };
		socklen_t len = sizeof(peer);
		int fd = accept4(listener, &peer.sa, &len, SOCK_CLOEXEC);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		               errno == ENOBUFS))
			pause_accepting(a, errno);
		if (fd < 0)
			return; /* nobody any more, or one that has gone again */
		welcome(a, section, fd, &peer.sa);
		close(fd);
	}
}

/* ---- The loop ---- */

static void leave(struct acceptor *a, unsigned signo)
{
	if (a->leave_until)
		return;
	log_line(LOG_LEVEL_INFO, "leaving signal=%u", signo);
	a->leave_until = clock_ms() + ACCEPT_LEAVE_MS;
	places_free(a->place, a->conf.listens);
	a->place = NULL;
	a->reopen_at = 0;
	for (size_t i = 0; i < a->slots.n; i++) {
		struct seat *seat = a->slots.v[i].arg;

		if (!a->slots.v[i].leaving)
			kill(a->slots.v[i].pid, SIGTERM);
		a->leaving += !a->slots.v[i].leaving;
		a->slots.v[i].leaving = true;
		if (!seat->kill_at)
			seat->kill_at = a->leave_until;
	}
}

static void on_signal(struct acceptor *a)
{
	struct signalfd_siginfo si;

	while (read(a->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP && !a->leave_until)
			reload(a);
		else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			leave(a, si.ssi_signo);
	}
	reap(a);
}

/* Until when poll() may sleep. */
static int sleep_ms(const struct acceptor *a, int64_t now)
{
	int64_t until = a->pause_until;

	if (a->reopen_at && (!until || a->reopen_at < until))
		until = a->reopen_at;
	if (a->left_out_at && (!until || a->left_out_at < until))
		until = a->left_out_at;
	for (size_t i = 0; a->leaving && i < a->slots.n; i++) {
		const struct seat *seat = a->slots.v[i].arg;

		if (seat->kill_at && (!until || seat->kill_at < until))
			until = seat->kill_at;
	}
	if (!until)
		return -1;
	return until > now ? (int)(until - now) : 1;
}

/* Returns how many are looked at; the first is the signals'. */
static size_t polls(const struct acceptor *a, struct pollfd *p)
{
	size_t n = 0;

	p[n++] = (struct pollfd){ .fd = a->signals, .events = POLLIN };
	for (size_t i = 0; a->place && !a->pause_until && i < a->conf.listens; i++)
		for (size_t k = 0; k < a->place[i].fds; k++)
			p[n++] =
			    (struct pollfd){ .fd = a->place[i].fd[k], .events = POLLIN };
	return n;
}

/* Whose descriptor it was, is found again: a signal may have changed the places. */
static void hear(struct acceptor *a, const struct pollfd *p, size_t n)
{
	for (size_t j = 1; j < n; j++)
		for (size_t i = 0; p[j].revents && a->place && i < a->conf.listens; i++)
			for (size_t k = 0; k < a->place[i].fds; k++)
				if (a->place[i].fd[k] == p[j].fd)
					accept_some(a, (unsigned)i, p[j].fd);
}

void acceptor_run(struct acceptor *a)
{
	while (!a->leave_until || a->slots.n) {
		struct pollfd *p =
		    calloc(1 + a->conf.listens * PLACE_SOCKETS, sizeof(*p));
		int64_t now = clock_ms();
		size_t n;

		if (!p)
			die_oom();
		if (a->pause_until && now >= a->pause_until)
			a->pause_until = 0;
		n = polls(a, p);
		if (poll(p, n, sleep_ms(a, now)) > 0) {
			if (p[0].revents)
				on_signal(a);
			else
				reap(a);
			hear(a, p, n);
		}
		now = clock_ms();
		kill_overdue(a, now);
		log_left_out(a, now);
		if (a->reopen_at && now >= a->reopen_at)
			places_reopen(a);
		free(p);
	}
	a->left_out_at = 1;
	log_left_out(a, clock_ms());
}
