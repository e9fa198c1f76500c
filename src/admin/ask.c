#include "admin/ask.h"
#include "base/clock.h"
#include "inject/sm_socket.h"
#include <errno.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum { READ_BLOCK = 16384 };

int ask_path(const char *socket, const char *spool, struct sockaddr_un *ret)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n;

	if (!socket)
		return sm_socket_path(spool, ret);
	n = snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket);
	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	*ret = a;
	return 0;
}

int ask_connect(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), e;

	if (fd < 0)
		return -errno;
	while (connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0) {
		if (errno == EINTR)
			continue;
		e = -errno;
		close(fd);
		return e;
	}
	return fd;
}

static void send_request(int fd, struct str request)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_z(&b, "mailchute-socket 1 ");
	buf_str(&b, request);
	buf_c(&b, '\n');
	/* It has room for this; when it is shut, an answer may be there all the same. */
	(void)!send(fd, b.p, b.n, MSG_NOSIGNAL);
}

/* Waits for the answer, working at the desk meanwhile. False: it is time to give up. */
static bool wait_for(int fd, struct desk *d, int64_t until)
{
	struct pollfd p[1 + DESK_POLLS] = { { .fd = fd, .events = POLLIN } };

	for (;;) {
		size_t n = desk_polls(d, p + 1);
		int64_t now = clock_ms(), next = desk_next(d);
		int64_t left = (next >= 0 && next < until ? next : until) - now;
		int r;

		if (now >= until)
			return false;
		r = poll(p, 1 + n, left > 0 ? (int)left : 0);
		if (r < 0 && errno != EINTR)
			return false;
		desk_hear(d, p + 1, r < 0 ? 0 : n);
		if (r > 0 && p[0].revents)
			return true;
	}
}

static int say(struct buf *ret, int code, const char *words)
{
	buf_z(ret, words);
	return code;
}

int ask(int fd, struct desk *d, struct str request, struct buf *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct sm_answer a = { .done = false };
	struct str words;
	int code;

	send_request(fd, request);
	while (!a.done) {
		char block[READ_BLOCK];
		ssize_t r;

		if (!wait_for(fd, d, clock_ms() + ASK_WAIT_MS))
			return say(ret, EX_TEMPFAIL, "mailchuted does not answer");
		r = recv(fd, block, sizeof(block), MSG_DONTWAIT);
		if (r < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (r <= 0)
			return say(ret, EX_TEMPFAIL,
			           "the connection to mailchuted was cut; the answer is "
			           "not complete");
		buf_reset(&text);
		sm_answer_feed(&a, (struct str){ block, (size_t)r }, &text);
		if (sm_answer_write(1, buf_view(&text)) < 0)
			return say(ret, EX_IOERR, "standard output cannot be written");
	}
	code = sm_answer_code(&a, &words);
	if (code < 0)
		return say(ret, EX_PROTOCOL, "mailchuted's answer cannot be understood");
	buf_escape(ret, words, SM_LAST_MAX);
	return code;
}
