#include "prog/child.h"
#include "base/clock.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child does: work, or a program. */
struct task {
	int (*work)(void *arg, struct buf *out);
	void *arg;
	char *const *argv;
	bool alone; /* the parent goes on */
};

NORETURN static void child_main(const struct task *t, int fd)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	char *const no_env[] = { NULL };
	sigset_t none;
	int e;

	/* It may hold the lock: it must not outlive us in a lookup that hangs. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if ((t->argv || t->alone) && (fd = dup2(fd, 1)) < 0)
		_exit(255);
	if (t->argv) {
		execve(t->argv[0], t->argv, no_env);
		_exit(ENOEXEC);
	}
	e = t->work(t->arg, &out);
	if (io_write(fd, out.p, out.n) < 0)
		_exit(255);
	_exit(e < 0 ? (-e < 255 ? -e : EIO) : 0);
}

/* Reads until the child closes its end. */
static int child_read(int fd, int64_t until, size_t max, struct buf *ret)
{
	for (size_t got = 0;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = until - clock_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(fd, buf_room(ret, 4096), 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		ret->n += (size_t)n;
		ret->p[ret->n] = '\0';
		got += (size_t)n;
		if (got > max)
			return -EIO;
	}
}

/* Forks. *ret_fd: where it speaks. 0 or -errno. */
static int start(const struct task *t, pid_t *ret_pid, int *ret_fd)
{
	int fds[2], e;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		e = -errno;
		close(fds[0]);
		close(fds[1]);
		return e;
	}
	if (pid == 0) {
		close(fds[0]);
		child_main(t, fds[1]);
	}
	close(fds[1]);
	*ret_pid = pid;
	*ret_fd = fds[0];
	return 0;
}

/* It said all it has to say (e 0), or it is ended. */
static int end(pid_t pid, int fd, int e)
{
	int status = 0, lost = 0;

	close(fd);
	if (e < 0)
		kill(pid, SIGKILL);
	/* -ECHILD: somebody made us ignore SIGCHLD, and what became of it is not known. */
	while (waitpid(pid, &status, 0) < 0 && lost == 0)
		lost = errno == EINTR ? 0 : -errno;
	if (e < 0 || lost < 0)
		return e < 0 ? e : lost;
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 133)
		return -EIO;
	return -WEXITSTATUS(status);
}

static int run(const struct task *t, int64_t timeout_ms, size_t max, struct buf *ret)
{
	pid_t pid;
	int fd, e = start(t, &pid, &fd);

	if (e < 0)
		return e;
	return end(pid, fd, child_read(fd, clock_ms() + timeout_ms, max, ret));
}

int child_run(int (*work)(void *arg, struct buf *out), void *arg, int64_t timeout_ms,
              size_t max, struct buf *ret)
{
	const struct task t = { .work = work, .arg = arg };

	return run(&t, timeout_ms, max, ret);
}

int child_exec(char *const argv[], int64_t timeout_ms, size_t max, struct buf *ret)
{
	const struct task t = { .argv = argv };

	return run(&t, timeout_ms, max, ret);
}

int child_begin(struct child *c, int (*work)(void *arg, struct buf *out), void *arg,
                size_t max)
{
	const struct task t = { .work = work, .arg = arg, .alone = true };

	buf_reset(&c->said);
	c->max = max;
	return start(&t, &c->pid, &c->fd);
}

int child_apart(const char *name, int keep)
{
	prctl(PR_SET_NAME, name, 0, 0, 0);
	signal(SIGHUP, SIG_IGN);
	(void)!nice(10); /* a service manager may forbid it */
	if (dup2(keep, CHILD_KEPT) < 0)
		return -errno;
	/* Others wait for the end of a connection, or for the lock. */
	syscall(SYS_close_range, CHILD_KEPT + 1, ~0U, 0);
	return 0;
}

bool child_hear(struct child *c, int *ret)
{
	ssize_t n = read(c->fd, buf_room(&c->said, 4096), 4096);

	if (n < 0 && errno == EINTR)
		return false;
	if (n > 0) {
		c->said.n += (size_t)n;
		c->said.p[c->said.n] = '\0';
	}
	if (n > 0 && c->said.n <= c->max)
		return false;
	*ret = end(c->pid, c->fd, n == 0 ? 0 : -EIO);
	c->fd = -1;
	return true;
}

void child_kill(struct child *c)
{
	if (c->fd >= 0)
		end(c->pid, c->fd, -ECANCELED);
	c->fd = -1;
	buf_free(&c->said);
}
