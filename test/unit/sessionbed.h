/*
 * sessionbed.h - sessions in children, with a spool of their own, over a socket pair
 */
#ifndef TEST_UNIT_SESSIONBED_H
#define TEST_UNIT_SESSIONBED_H

#include "base/clock.h"
#include "base/log.h"
#include "listen/session.h"
#include "spoolbed.h"
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>

enum { SESSION_WAIT_MS = 4000 };

struct sessionbed {
	struct listen listen;
	struct conf conf;
	struct session_conf c;
	int fd;     /* the client's end */
	int logged; /* the child's standard error */
	pid_t pid;
	struct buf out; /* what it said since the last look */
};

__attribute__((unused)) static void sb_init(struct sessionbed *b, const struct bed *bed)
{
	static char hostname[] = "box.example", domain[] = "example.org";

	*b = (struct sessionbed){ .fd = -1, .logged = -1 };
	b->listen = *session_default();
	b->conf.hostname = hostname;
	b->conf.domain = domain;
	b->c = (struct session_conf){ .listen = &b->listen,
		                      .conf = &b->conf,
		                      .spool = bed->root,
		                      .client_ip = STR("127.0.0.1"),
		                      .port = 25,
		                      .trusted = true,
		                      .fence = true,
		                      .auth_fd = -1 };
	buf_z(&b->out, "");
}

/* Starts it; a session's descriptors are in, out or one socket for both. */
__attribute__((unused)) static void sb_start(struct sessionbed *b)
{
	int pair[2], log[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	b->pid = fork();
	assert_true(b->pid >= 0);
	if (b->pid == 0) {
		close(pair[0]);
		dup2(log[1], 2);
		log_open("test", false, false);
		_exit(session_run(&b->c, pair[1], pair[1]));
	}
	close(pair[1]);
	close(log[1]);
	b->fd = pair[0];
	b->logged = log[0];
	fcntl(b->fd, F_SETFL, O_NONBLOCK);
	fcntl(b->logged, F_SETFL, O_NONBLOCK);
}

__attribute__((unused)) static void sb_write(struct sessionbed *b, struct str s)
{
	while (s.n) {
		struct pollfd p = { .fd = b->fd, .events = POLLOUT };
		ssize_t n = send(b->fd, s.p, s.n, MSG_NOSIGNAL);

		if (n > 0)
			s = str_from(s, (size_t)n);
		else if (errno != EAGAIN || poll(&p, 1, SESSION_WAIT_MS) <= 0)
			return; /* it is gone */
	}
}

/* Reads until what was said since the last look ends in a line with this code ("250 "), or the
 * end (""). */
__attribute__((unused)) static bool sb_ends(const struct buf *b, const char *code)
{
	const char *line;

	if (!b->n || b->p[b->n - 1] != '\n')
		return false;
	line = memrchr(b->p, '\n', b->n - 1);
	line = line ? line + 1 : b->p;
	return code[0] && strncmp(line, code, strlen(code)) == 0;
}

__attribute__((unused)) static const char *sb_hear(struct sessionbed *b, const char *code)
{
	int64_t end = clock_ms() + SESSION_WAIT_MS;

	buf_reset(&b->out);
	buf_z(&b->out, "");
	while (!sb_ends(&b->out, code) && clock_ms() < end) {
		struct pollfd p = { .fd = b->fd, .events = POLLIN };
		ssize_t n = recv(b->fd, buf_room(&b->out, 4096), 4096, 0);

		if (n > 0) {
			b->out.n += (size_t)n;
			b->out.p[b->out.n] = '\0';
		} else if (n == 0 || errno != EAGAIN) {
			break;
		} else {
			poll(&p, 1, 100);
		}
	}
	return b->out.p;
}

/* Says something and wants this code at the end of the answer. */
__attribute__((unused)) static void sb_say(struct sessionbed *b, const char *name,
                                           const char *say, const char *code)
{
	sb_write(b, str_z(say));
	sb_hear(b, code);
	if (!sb_ends(&b->out, code))
		fail_msg("%s: %s: wanted %s, got %s", name, say, code, b->out.p);
}

/* Waits for the end of the session. Its exit code, or -1: it had to be killed. */
__attribute__((unused)) static int sb_wait(struct sessionbed *b)
{
	int status = 0, left;

	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
	for (left = SESSION_WAIT_MS / 10; left; left--) {
		if (waitpid(b->pid, &status, WNOHANG) == b->pid)
			break;
		poll(NULL, 0, 10);
	}
	if (!left) {
		kill(b->pid, SIGKILL);
		waitpid(b->pid, &status, 0);
	}
	b->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Its log so far; valid until the next call. */
__attribute__((unused)) static const char *sb_log(struct sessionbed *b)
{
	static struct buf text = BUF_INIT;
	ssize_t n;

	buf_reset(&text);
	buf_z(&text, "");
	while ((n = read(b->logged, buf_room(&text, 65536), 65536)) > 0)
		text.n += (size_t)n;
	buf_z(&text, "");
	text.p[text.n] = '\0';
	return text.p;
}

__attribute__((unused)) static void sb_end(struct sessionbed *b)
{
	if (b->pid)
		assert_int_equal(sb_wait(b), 0);
	close(b->logged);
	buf_free(&b->out);
}

/* The one complete drop, also removed; "(none)", "(several)". Valid until the next call. */
__attribute__((unused)) static const char *sb_drop(void)
{
	static struct buf text = BUF_INIT;
	DIR *d = opendir("in/drop");
	struct dirent *e;
	char path[300] = "";
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			snprintf(path, sizeof(path), "in/drop/%s", e->d_name);
			n++;
		}
	closedir(d);
	if (n != 1)
		return n ? "(several)" : "(none)";
	buf_reset(&text);
	assert_int_equal(io_slurp_at(AT_FDCWD, path, &text, 1 << 24), 0);
	buf_z(&text, "");
	unlink(path);
	return text.p;
}

#endif
