/*
 * launch - starts an injector again and again in a folder of its own and times it
 *
 *     launch ROOT UID GID FIFO COUNT AT_ONCE MESSAGE PROGRAM [ARGUMENT...]
 *
 * Every program that is compared is started by this, in the same way: chroot to ROOT once,
 * become UID and GID, then for each message a pipe that holds all of it as standard input,
 * posix_spawn, wait. FIFO (the sender's wake, a path inside ROOT) is held open, so that the
 * injector finds a reader as it would with its sender running; nobody reads it.
 *
 * Standard output: a line for each message with the nanoseconds from posix_spawn to its end
 * as seen by wait, then "total NANOSECONDS". Status 1 when one of them did not end with 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	AT_ONCE_MAX = 64,
	COUNT_MAX = 1000000,
	MESSAGE_MAX = 32768, /* half of what a pipe takes at once */
	ARG_ROOT = 1,
	ARG_UID,
	ARG_GID,
	ARG_FIFO,
	ARG_COUNT,
	ARG_AT_ONCE,
	ARG_MESSAGE,
	ARG_PROGRAM,
};

struct slot {
	pid_t pid; /* 0: free */
	int64_t since;
};

static void die(const char *what)
{
	fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int64_t now_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) < 0)
		die("clock_gettime");
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static unsigned number(const char *s, unsigned max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(s, &end, 10);
	if (errno || end == s || *end || n > max) {
		errno = EINVAL;
		die(s);
	}
	return (unsigned)n;
}

static size_t message_read(const char *path, char *p)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, p, MESSAGE_MAX);

	if (n <= 0)
		die(path);
	close(fd);
	return (size_t)n;
}

static void start(struct slot *s, char **argv, const char *message, size_t n)
{
	char *env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin" }, NULL };
	posix_spawn_file_actions_t acts;
	int p[2], e;

	if (pipe2(p, O_CLOEXEC) < 0 || write(p[1], message, n) != (ssize_t)n)
		die("pipe");
	close(p[1]);
	if (posix_spawn_file_actions_init(&acts) ||
	    posix_spawn_file_actions_adddup2(&acts, p[0], STDIN_FILENO) ||
	    posix_spawn_file_actions_adddup2(&acts, STDERR_FILENO, STDOUT_FILENO))
		die("posix_spawn_file_actions");
	s->since = now_ns();
	e = posix_spawn(&s->pid, argv[0], &acts, NULL, argv, env);
	if (e) {
		errno = e;
		die(argv[0]);
	}
	posix_spawn_file_actions_destroy(&acts);
	close(p[0]);
}

/* Waits for one to end, prints its time, frees its slot. */
static bool finish(struct slot *slots, unsigned n)
{
	int status;
	pid_t pid = wait(&status);
	int64_t end = now_ns();

	if (pid < 0)
		die("wait");
	for (unsigned i = 0; i < n; i++)
		if (slots[i].pid == pid) {
			slots[i].pid = 0;
			printf("%" PRId64 "\n", end - slots[i].since);
		}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	fprintf(stderr, "launch: a program ended with wait status %d\n", status);
	return false;
}

static void enter(char **argv)
{
	uid_t uid = number(argv[ARG_UID], 1u << 30);
	gid_t gid = number(argv[ARG_GID], 1u << 30);

	if (chroot(argv[ARG_ROOT]) < 0 || chdir("/") < 0)
		die(argv[ARG_ROOT]);
	if (open(argv[ARG_FIFO], O_RDWR | O_NONBLOCK | O_CLOEXEC) < 0)
		die(argv[ARG_FIFO]);
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		die("setuid");
	signal(SIGPIPE, SIG_DFL); /* python ignores it, callers in general do not */
}

int main(int argc, char **argv)
{
	static char message[MESSAGE_MAX];
	struct slot slots[AT_ONCE_MAX] = { 0 };
	unsigned count, at_once, started = 0, ended = 0;
	bool good = true;
	int64_t since;
	size_t n;

	if (argc <= ARG_PROGRAM) {
		errno = EINVAL;
		die("usage: ROOT UID GID FIFO COUNT AT_ONCE MESSAGE PROGRAM...");
	}
	count = number(argv[ARG_COUNT], COUNT_MAX);
	at_once = number(argv[ARG_AT_ONCE], AT_ONCE_MAX);
	n = message_read(argv[ARG_MESSAGE], message);
	enter(argv);
	since = now_ns();
	while (good && ended < count) {
		for (unsigned i = 0; i < at_once && started < count; i++)
			if (slots[i].pid == 0) {
				start(&slots[i], argv + ARG_PROGRAM, message, n);
				started++;
			}
		good = finish(slots, at_once);
		ended++;
	}
	printf("total %" PRId64 "\n", now_ns() - since);
	return good ? 0 : 1;
}
