#include "prog/job.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

union fd_space {
	char bytes[CMSG_SPACE(sizeof(int) * JOB_FDS_MAX)];
	size_t align; /* as struct cmsghdr, which cannot be in an array */
};

/* A message with descriptors; iov, space and text live as long as it. */
static struct msghdr message_of(struct iovec *iov, union fd_space *space, struct str text,
                                const int *fds, size_t n)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 1 };
	char *copy = NULL;

	/* iovec wants no const; sendmsg does not write. */
	memcpy(&copy, &text.p, sizeof(copy));
	*iov = (struct iovec){ .iov_base = copy, .iov_len = text.n };
	if (n) {
		struct cmsghdr *c = (void *)space->bytes;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = (socklen_t)CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
		m.msg_control = space->bytes;
		m.msg_controllen = (socklen_t)CMSG_SPACE(sizeof(int) * n);
	}
	return m;
}

int job_send(int sock, struct str text, const int *fds, size_t n)
{
	struct iovec iov;
	union fd_space space = { 0 };
	struct msghdr m = message_of(&iov, &space, text, fds, n);
	ssize_t r;

	do
		r = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int job_send_many(int sock, const struct job_packet *v, unsigned n)
{
	struct mmsghdr m[JOB_MANY_MAX];
	struct iovec iov[JOB_MANY_MAX];
	union fd_space space[JOB_MANY_MAX];
	long r;

	n = n < JOB_MANY_MAX ? n : JOB_MANY_MAX;
	/* The kernel's lengths are wider than musl's: what lies between must be 0. */
	memset(m, 0, sizeof(m));
	memset(space, 0, sizeof(space));
	for (unsigned i = 0; i < n; i++)
		m[i].msg_hdr =
		    message_of(&iov[i], &space[i], str_z(v[i].text), v[i].fds, v[i].n);
	/* Not by musl, which makes a system call of each. */
	do
		r = syscall(SYS_sendmmsg, sock, m, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : (int)r;
}

ssize_t job_recv(int sock, struct buf *text, int fds[static JOB_FDS_MAX])
{
	struct iovec iov;
	union fd_space space = { 0 };
	struct msghdr m = { .msg_iov = &iov,
		            .msg_iovlen = 1,
		            .msg_control = space.bytes,
		            .msg_controllen = sizeof(space.bytes) };
	struct cmsghdr *c;
	ssize_t r;

	buf_reset(text);
	for (size_t i = 0; i < JOB_FDS_MAX; i++)
		fds[i] = -1;
	iov = (struct iovec){ .iov_base = buf_room(text, JOB_PACKET_MAX),
		              .iov_len = JOB_PACKET_MAX };
	do
		r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	text->n = (size_t)r;
	text->p[r] = '\0';
	return r;
}

struct job_batch {
	union fd_space space[JOB_BATCH];
	char text[JOB_BATCH][JOB_PACKET_MAX];
};

struct job_batch *job_batch_new(void)
{
	struct job_batch *b = malloc(sizeof(*b));

	if (!b)
		die_oom();
	return b;
}

void job_batch_free(struct job_batch *b)
{
	free(b);
}

/* The descriptors of a packet. */
static void fds_take(struct msghdr *m, int fds[static JOB_FDS_MAX])
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(m);

	for (size_t i = 0; i < JOB_FDS_MAX; i++)
		fds[i] = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

int job_recv_batch(int sock, struct job_batch *b, struct job_got *ret, size_t n)
{
	struct mmsghdr m[JOB_BATCH];
	struct iovec iov[JOB_BATCH];
	int r;

	memset(m, 0, sizeof(m));
	for (size_t i = 0; i < n; i++) {
		iov[i] = (struct iovec){ b->text[i], JOB_PACKET_MAX };
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
		m[i].msg_hdr.msg_control = b->space[i].bytes;
		m[i].msg_hdr.msg_controllen = sizeof(b->space[i].bytes);
	}
	do
		r = recvmmsg(sock, m, (unsigned)n, MSG_CMSG_CLOEXEC | MSG_DONTWAIT, NULL);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	/* An end shows as packets of no octets. */
	for (int i = 0; i < r; i++) {
		if (m[i].msg_len == 0)
			return i;
		ret[i].text = (struct str){ b->text[i], m[i].msg_len };
		fds_take(&m[i].msg_hdr, ret[i].fds);
	}
	return r;
}

static bool due_parse(struct str s, uint32_t *ret)
{
	uint32_t v = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return s.n == 8;
}

bool job_parse(struct str line, struct job_record *ret)
{
	static const char *const with_id[] = { "job", "s",    "ok",  "p",      "n",
		                               "dsn", "part", "end", "refused" };
	static const char *const without_id[] = { "host",    "up",     "log",  "secret",
		                                  "stop",    "halt",   "good", "known",
		                                  "learned", "ticket", "slow", "took" };
	struct str part;

	*ret = (struct job_record){ .verb = STR_NONE };
	if (line.n == 0)
		return false;
	str_cut(&line, ' ', &ret->verb);
	ret->rest = line.p ? line : STR("");
	for (size_t i = 0; i < ARRAY_LEN(with_id); i++) {
		if (!str_eq(ret->verb, str_z(with_id[i])))
			continue;
		if (!str_cut(&line, ' ', &part) || !id_from(part, &ret->id))
			return false;
		if (!str_cut(&line, ' ', &part) || !due_parse(part, &ret->due))
			return false;
		ret->rest = line.p ? line : STR("");
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(without_id); i++)
		if (str_eq(ret->verb, str_z(without_id[i])))
			return true;
	return false;
}
