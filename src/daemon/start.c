#include "daemon/start.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "daemon/apply.h"
#include "spool/journal.h"
#include "spool/notefile.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: the descriptors go to their places, everything else is close-on-exec. */
NORETURN static void push_exec(const char *libexec, const char *route, bool router,
                               const int fds[4])
{
	char path[4096];
	int high[4];
	sigset_t none;
	char *argv[] = { path, NULL, NULL }, *envp[] = { NULL };

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(path, sizeof(path), "%s/mailchute-%s", libexec,
	         router ? "route" : "push");
	argv[1] = strdup(route);
	/* First out of the way of one another, then down. */
	for (int i = 0; i < 4; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, JOB_FD_LOCK + 1);
	for (int i = 0; i < 4; i++)
		if (high[i] < 0 || dup2(high[i], JOB_FD_SOCKET + i) < 0)
			_exit(71);
	execve(path, argv, envp);
	_exit(127);
}

static int secret_send(const struct route *r)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	int fd, e;

	if (!r->host || r->host->password_file[0] == '\0')
		return 0;
	/* Opened anew for each run: a corrected password is picked up by itself. */
	fd = conf_open_secret(r->host->password_file, &why);
	if (fd < 0) {
		log_line(LOG_LEVEL_ALERT, "secret route=%s why=\"%s\"", r->queue.route,
		         why.n ? why.p : strerror(-fd));
		return job_send(r->sock, STR("secret\n"), NULL, 0);
	}
	e = job_send(r->sock, STR("secret\n"), &fd, 1);
	close(fd);
	return e;
}

/* What the breaker knows, for push to judge refusals by; and since when the host is down. A
 * machine without a battery begins in 1970: that is not since when. */
enum { UNTRIED = 3600 }; /* seconds without a try that do not count as down */
static int known_send(struct route *r)
{
	int64_t now = clock_real();
	char text[96];

	if (clock_was_unset(r->down_since, now))
		r->down_since = now;
	/* Nobody tried: the machine slept or was off, or its clock jumped. */
	if (r->step && now - r->next_try > UNTRIED)
		r->down_since += now - r->next_try;
	if (r->down_since > now)
		r->down_since = now;
	snprintf(text, sizeof(text), "known %lld %d %lld\n",
	         (long long)r->breaker.accepted, r->breaker.open,
	         (long long)(r->step ? r->down_since : 0));
	return job_send(r->sock, str_z(text), NULL, 0);
}

/* What push gave to be kept. */
static int kept_send(const struct route *r)
{
	const struct {
		const char *verb;
		const struct buf *text;
	} rows[] = { { "learned", &r->learned }, { "ticket", &r->ticket } };
	int e = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows) && e == 0; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		if (rows[i].text->n == 0)
			continue;
		buf_fmt(&b, "%s %s\n", rows[i].verb, rows[i].text->p);
		e = job_send(r->sock, buf_view(&b), NULL, 0);
	}
	return e;
}

static int push_spawn(struct route *r, const struct sched *s, int journal, int conf)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		push_exec(s->libexec, r->queue.route, !r->host,
		          (int[]){ pair[1], conf, journal, s->spool->lock });
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -errno;
	}
	r->pid = pid;
	r->sock = pair[0];
	return fcntl(r->sock, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int push_start(struct route *r, const struct sched *s)
{
	_cleanup_fd_ int journal = -1, conf = -1;
	bool late = s->spool->unpublished;
	struct id next;
	int e = 0;

	/* What an earlier push said and a full disk did not let become true. */
	if (*s->replayed == JOURNAL_UNREAD || !derived_again(s->spool))
		return -ENOSPC;
	if (late && s->news)
		s->news(s->arg);
	r->journal = spool_new_id(s->spool);
	r->stopping = false;
	journal = journal_create(s->spool, &r->journal, r->queue.route);
	r->list = journal_list(s->spool, &r->journal);
	/* The next one, too, in case this one must be kept and the disk is full then. */
	next = spool_new_id(s->spool);
	journal_spare(s->spool, &next);
	conf = io_memfd("mailchute.conf", s->packed);
	if (journal < 0 || conf < 0)
		e = journal < 0 ? journal : conf;
	if (e == 0)
		e = push_spawn(r, s, journal, conf);
	if (e == 0)
		e = known_send(r);
	if (e == 0)
		e = kept_send(r);
	if (e == 0)
		e = secret_send(r);
	/* One that has left already has said why: that is heard. */
	if (e == 0 || (r->pid > 0 && (e == -EPIPE || e == -ECONNRESET)))
		return 0;
	log_line(LOG_LEVEL_ALERT, "push-start route=%s why=\"%s\"", r->queue.route,
	         strerror(-e));
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
		close(r->sock);
		r->pid = 0;
		r->sock = -1;
	}
	cleanup_fd(&r->list);
	r->list = -1;
	journal_remove(s->spool, &r->journal);
	return e;
}
