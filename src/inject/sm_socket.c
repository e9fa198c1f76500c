#include "inject/sm_socket.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	AGAIN_MS = 100, /* between two tries while mailchuted's backlog is full */
	READ_BLOCK = 16384,
	CODE_DIGITS = 3,
	ABOVE_STDIO = 3,
};

/* Waits for the socket (events 0: only for stop_fd, for ms). 0, what there is in ret (0: the
 * time is up); or -ECANCELED, or -errno. */
static int wait_for(const struct sm_socket *s, short events, int64_t ms, short *ret)
{
	struct pollfd p[] = { { .fd = events ? s->fd : -1, .events = events },
		              { .fd = s->stop_fd, .events = POLLIN } };
	int64_t end = clock_ms() + ms;

	for (;;) {
		int64_t left = end - clock_ms();
		int r = poll(p, ARRAY_LEN(p), left > 0 ? (int)left : 0);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r < 0 || (r == 0 && left > 0))
			continue;
		if (p[1].revents)
			return -ECANCELED;
		*ret = p[0].revents;
		return 0;
	}
}

/* The same; nothing in time is -ETIMEDOUT. */
static int progress(const struct sm_socket *s, short events, short *ret)
{
	int e = wait_for(s, events, s->limit_ms, ret);

	return e == 0 && *ret == 0 ? -ETIMEDOUT : e;
}

int sm_socket_path(const char *spool, struct sockaddr_un *ret)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	bool ours = strcmp(spool, SPOOL_PATH) == 0;
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s%s",
	                 ours ? SOCKET_PATH : spool, ours ? "" : "/socket");

	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	*ret = a;
	return 0;
}

static int check_owner(const char *spool)
{
	struct stat st;

	if (strcmp(spool, SPOOL_PATH) == 0)
		return 0;
	if (stat(spool, &st) < 0)
		return -errno;
	return st.st_uid == getauxval(AT_EUID) ? 0 : -EPERM;
}

/* A full backlog is EAGAIN for a socket that does not block, and no event tells of its end.
 */
static int connect_to(const struct sm_socket *s, const struct sockaddr_un *a)
{
	int64_t end = clock_ms() + s->limit_ms;

	for (;;) {
		short none;
		int e;

		if (connect(s->fd, (const struct sockaddr *)a, sizeof(*a)) == 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (clock_ms() >= end)
			return -ETIMEDOUT;
		e = wait_for(s, 0, AGAIN_MS, &none);
		if (e < 0)
			return e;
	}
}

/* A caller may have closed 0, 1 or 2: a list for standard output must not go to the socket. */
static int make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), up, e;

	if (fd < 0)
		return -errno;
	if (fd >= ABOVE_STDIO)
		return fd;
	up = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_STDIO);
	e = errno;
	close(fd);
	return up < 0 ? -e : up;
}

int sm_socket_open(struct sm_socket *s, const char *spool)
{
	struct sockaddr_un a;
	int e = sm_socket_path(spool, &a);

	if (e == 0)
		e = check_owner(spool);
	if (e < 0)
		return e;
	e = make_socket();
	if (e < 0)
		return e;
	s->fd = e;
	e = connect_to(s, &a);
	if (e < 0)
		sm_socket_close(s);
	return e;
}

void sm_socket_close(struct sm_socket *s)
{
	cleanup_fd(&s->fd);
	s->fd = -1;
}

static int send_all(struct sm_socket *s, const char *c, size_t n)
{
	while (n) {
		ssize_t w = send(s->fd, c, n, MSG_NOSIGNAL);
		short got;
		int e;

		if (w > 0) {
			c += w;
			n -= (size_t)w;
			continue;
		}
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno != EAGAIN)
			return -errno;
		e = progress(s, POLLIN | POLLOUT, &got);
		if (e < 0)
			return e;
		/* It answers before its turn and reads no more: a refusal. */
		if (!(got & POLLOUT))
			return -EPIPE;
	}
	return 0;
}

int sm_socket_send(struct sm_socket *s, const void *p, size_t n)
{
	int e = send_all(s, p, n);

	/* Neither side is to wait for the other now. */
	if (e == -EPIPE || e == -ECONNRESET)
		(void)shutdown(s->fd, SHUT_WR);
	return e;
}

int sm_socket_chunks(struct sm_socket *s, const void *p, size_t n)
{
	const char *c = p;

	while (n) {
		unsigned part = n < SM_CHUNK_MAX ? (unsigned)n : SM_CHUNK_MAX;
		char length[10];
		int e;

		(void)snprintf(length, sizeof(length), "%08x\n", part);
		e = sm_socket_send(s, length, sizeof(length) - 1);
		if (e == 0)
			e = sm_socket_send(s, c, part);
		if (e < 0)
			return e;
		c += part;
		n -= part;
	}
	return 0;
}

/* ---- the answer ---- */

static char safe(char c)
{
	return c == '\t' || (c >= ' ' && c <= '~') ? c : '?';
}

bool sm_answer_feed(struct sm_answer *a, struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n && !a->done; i++) {
		char c = in.p[i];

		if (!a->in_line && c == '\t') {
			a->in_line = a->in_text = true;
		} else if (a->in_text) {
			buf_c(out, c == '\n' ? c : safe(c));
			a->in_text = a->in_line = c != '\n';
		} else if (c == '\n') {
			a->done = true;
		} else {
			a->in_line = true;
			if (a->n < sizeof(a->last))
				a->last[a->n++] = c;
		}
	}
	return a->done;
}

int sm_answer_code(const struct sm_answer *a, struct str *ret_words)
{
	struct str rest = { a->last, a->n }, code;
	uint64_t v;

	if (!a->done || !str_cut(&rest, ' ', &code) || code.n > CODE_DIGITS ||
	    !str_u64(code, &v) || (v != EX_OK && (v < EX__BASE || v > EX__MAX)))
		return -EBADMSG;
	*ret_words = rest;
	return (int)v;
}

int sm_answer_write(int out, struct str text)
{
	struct pollfd p = { .fd = out, .events = POLLOUT };

	while (text.n) {
		ssize_t w = write(out, text.p, text.n);

		if (w >= 0)
			text = str_from(text, (size_t)w);
		else if (errno == EAGAIN)
			(void)poll(&p, 1, -1);
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int sm_socket_answer(struct sm_socket *s, int out, struct sm_answer *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	char block[READ_BLOCK];
	bool done = false;

	*ret = (struct sm_answer){ .done = false };
	while (!done) {
		ssize_t r = recv(s->fd, block, sizeof(block), 0);
		short got;

		if (r == 0)
			return -ECONNRESET;
		if (r < 0 && errno == EAGAIN) {
			int e = progress(s, POLLIN, &got);

			if (e < 0)
				return e;
			continue;
		}
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r < 0)
			continue;
		buf_reset(&text);
		done = sm_answer_feed(ret, (struct str){ block, (size_t)r }, &text);
		if (out >= 0)
			ret->output = sm_answer_write(out, buf_view(&text));
		if (ret->output < 0)
			return -EIO;
	}
	return 0;
}
