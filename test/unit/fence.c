/* fence: what a process that was taken over can still do, row by row for each fence */
#include "prog/fence.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char spool[] = "/tmp/fenceXXXXXX";

static int done(int fd)
{
	cleanup_fd(&fd);
	return fd >= 0 ? 0 : -1;
}

static int inet(void)
{
	return done(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int inet6(void)
{
	return done(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int netlink(void)
{
	return done(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

/* Also to a socket that stands outside of the spool, as mailchuted's may. */
static int local(void)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", spool);
	return fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&a, sizeof(a));
}

static int pair(void)
{
	int fds[2];

	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

static int signal_parent(void)
{
	return kill(getppid(), 0);
}

static int signal_thread(void)
{
	return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static int program(void)
{
	char path[] = "/bin/true";

	return execve(path, (char *[]){ path, NULL }, (char *[]){ NULL });
}

static int core(void)
{
	return prctl(PR_GET_DUMPABLE) ? 0 : -1;
}

static int memory(void)
{
	size_t n = (size_t)600 << 20;
	char *p = malloc(n);
	int e = p ? 0 : -1;

	if (p) /* or the compiler does without */
		p[n - 1] = (char)getpid();
	free(p);
	return e;
}

static int at(const char *name, int flags)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", spool, name);
	return done(open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600));
}

static int outside(void)
{
	return done(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int read_door(void)
{
	return at("in/door", O_RDONLY);
}

static int read_queue(void)
{
	return at("queue/message", O_RDONLY);
}

static int write_queue(void)
{
	return at("queue/message", O_WRONLY);
}

static int wake(void)
{
	return at("in/wake", O_WRONLY);
}

static int make_beside(void)
{
	char path[100];
	int e = at("in/other", O_WRONLY | O_CREAT | O_EXCL);

	snprintf(path, sizeof(path), "%s/in/other", spool);
	unlink(path);
	return e;
}

/* All that a submission does. */
static int drop(void)
{
	char dir[100];
	int e, fd;

	snprintf(dir, sizeof(dir), "%s/in/drop", spool);
	_cleanup_fd_ int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (d < 0)
		return -1;
	fd = openat(d, "t.x", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return -1;
	e = write(fd, "x", 1) == 1 && fsync(fd) == 0 ? 0 : -1;
	close(fd);
	return e < 0 || renameat(d, "t.x", d, "x") < 0 || fsync(d) < 0 ||
	               unlinkat(d, "x", 0) < 0
	           ? -1
	           : 0;
}

static int close_push(void)
{
	return fence_push();
}

static int close_route(void)
{
	return fence_route();
}

static int close_serve(void)
{
	char in[100];

	snprintf(in, sizeof(in), "%s/in", spool);
	return fence_serve(open(in, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

static int close_session(void)
{
	return fence_session(spool);
}

static int close_nothing(void)
{
	return 0;
}

/* In the order of struct row's fields. */
static int (*const fences[])(void) = { close_nothing, close_push, close_route,
	                               close_serve, close_session };
static const char *const names[] = { "none", "push", "route", "serve", "session" };

struct row {
	const char *name;
	int (*f)(void);
	const char *may; /* a letter a fence: + may, - may not */
	bool files;      /* only where the kernel has Landlock */
};

static const struct row rows[] = {
	{ "a socket of IPv4", inet, "++---", false },
	{ "a socket of IPv6", inet6, "++---", false },
	{ "a socket of the kernel's", netlink, "++---", false },
	{ "a connection to a socket of this machine", local, "++--+", false },
	{ "a pair of sockets", pair, "++---", false },
	{ "a signal to its parent", signal_parent, "++---", false },
	{ "a signal to its parent's thread", signal_thread, "++---", false },
	/* A program that can be opened by nobody is not started either. */
	{ "another program", program, "+?---", false },
	{ "a core file, to be looked into", core, "+----", false },
	{ "much memory", memory, "+++--", false },
	{ "a file outside", outside, "+----", true },
	{ "in/door", read_door, "+--++", true },
	{ "in/wake", wake, "+---+", true },
	{ "a file beside in/door", make_beside, "+----", true },
	{ "to read the queue", read_queue, "+----", true },
	{ "to write the queue", write_queue, "+----", true },
	{ "to drop a message", drop, "+---+", true },
};

/* 0 or 1: whether it may; 77: it cannot be told here; 78: a signal. */
static int try(const struct row *r, size_t fence)
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int abi = fences[fence]();

		_exit(r->files && fence && abi == 0 ? 77 : r->f() >= 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 78;
}

static void reach(void **state)
{
	unsigned skipped = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(fences); k++) {
			int got, want = rows[i].may[k] == '+';

			if (rows[i].may[k] == '?')
				continue;
#ifdef __SANITIZE_ADDRESS__
			if (rows[i].f == memory)
				continue;
#endif
			got = try(&rows[i], k);
			/* "another program" that was started ended with 0. */
			if (rows[i].f == program && got == 0 && want)
				got = 1;
			skipped += got == 77;
			if (got != 77 && got != want)
				fail_msg("%s behind the fence of %s: %d", rows[i].name,
				         names[k], got);
		}
	}
	if (skipped)
		print_message("# %u rows need Landlock, which this kernel has not\n",
		              skipped);
}

/* Without a spool nothing can be opened, and the rest goes on. */
static void no_spool(void **state)
{
	int status = -1;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		int abi = fence_session("/nonexistent");

		_exit((abi && outside() >= 0) || inet() >= 0 || local() < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int put(const char *name)
{
	return at(name, O_WRONLY | O_CREAT);
}

static int setup(void **state)
{
	static const char *const dirs[] = { "in", "in/drop", "queue" };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	static int fd;
	char path[100];

	assert_non_null(mkdtemp(spool));
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", spool, dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	assert_int_equal(put("in/door") | put("queue/message"), 0);
	snprintf(path, sizeof(path), "%s/in/wake", spool);
	assert_int_equal(mkfifo(path, 0600), 0);
	/* Or it could not be opened for writing. */
	assert_true(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) >= 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", spool);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 64), 0);
	*state = &fd;
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "in/door", "in/wake",       "in/other",
		                             "in/drop", "queue/message", "queue",
		                             "in",      "socket" };
	char path[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", spool, files[i]);
		remove(path);
	}
	return rmdir(spool);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reach),
		                            cmocka_unit_test(no_spool) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
