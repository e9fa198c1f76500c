#include "daemon/submission.h"
#include "base/clock.h"
#include "base/io.h"
#include "mail/envelope.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BLOCK = 65536 };

int submission_begin(struct spool *s, struct submission *sub, uid_t uid, struct str login,
                     struct str name, struct str groups)
{
	int fd;

	envelope_print_submitter(&sub->head, uid, login, name, groups, clock_real());
	sub->id = spool_new_id(s);
	fd = spool_file_begin(s->new, &sub->id);
	if (fd < 0)
		return fd;
	sub->file = fd;
	return io_write(fd, sub->head.p, sub->head.n);
}

void submission_end(struct spool *s, struct submission *sub)
{
	if (sub->file >= 0)
		spool_file_abort(s->new, &sub->id, sub->file);
	sub->file = -1;
	buf_free(&sub->head);
}

/* Does nobody have it open for writing any more? Then what is seen now stays so. A read
 * lease is only given on such a file; where there are no leases, the answer is no. */
static bool settled(int fd)
{
	/* Should somebody open it meanwhile, the signal of that must not end us. */
	if (fcntl(fd, F_SETSIG, SIGURG) < 0 || fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return false;
	return fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
}

static bool head_is(int fd, struct str head)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	ssize_t n = pread(fd, buf_room(&b, head.n), head.n, 0);

	return n == (ssize_t)head.n && memcmp(b.p, head.p, head.n) == 0;
}

/* Copies n octets: no more, since serve might add to the file as fast as it is read. */
static int copy_n(int from, int to, int64_t n)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char *block = buf_room(&b, COPY_BLOCK);

	while (n > 0) {
		size_t want = n < COPY_BLOCK ? (size_t)n : COPY_BLOCK;
		ssize_t r = io_read(from, block, want);
		int e;

		if (r < (ssize_t)want)
			return r < 0 ? (int)r : -EBADMSG; /* serve cut it off */
		e = io_write(to, block, want);
		if (e < 0)
			return e;
		n -= r;
	}
	return 0;
}

/* A file that serve could still write to (or where it changed our lines) is copied: only
 * our own lines say whose message it is. */
static int commit_copy(struct spool *s, struct submission *sub, int from, int64_t size)
{
	struct id id = spool_new_id(s);
	int dir = s->new, to = spool_file_begin(dir, &id), e;

	if (to < 0)
		return to;
	e = io_write(to, sub->head.p, sub->head.n);
	if (e == 0 && lseek(from, (off_t)sub->head.n, SEEK_SET) < 0)
		e = -errno;
	if (e == 0)
		e = copy_n(from, to, size - (int64_t)sub->head.n);
	if (e < 0) {
		spool_file_abort(dir, &id, to);
		return e;
	}
	e = spool_file_commit(dir, &id, to, false);
	if (e == 0) {
		spool_file_abort(dir, &sub->id, -1);
		sub->id = id;
	}
	return e;
}

int submission_commit(struct spool *s, struct submission *sub, int64_t *ret_size)
{
	char temp[ID_LEN + 3];
	int dir = s->new, fd, e;
	bool good = false;
	struct stat st = { .st_size = 0 };

	snprintf(temp, sizeof(temp), "t.%s", sub->id.c);
	close(sub->file);
	sub->file = -1;
	fd = openat(dir, temp, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		good = settled(fd) && head_is(fd, buf_view(&sub->head));
	if (fd < 0 || fstat(fd, &st) < 0) {
		e = -errno;
	} else if (st.st_size <= (off_t)sub->head.n) {
		e = -EBADMSG;
	} else if (st.st_size - (off_t)sub->head.n > sub->max) {
		e = -EFBIG;
	} else if (good) {
		e = spool_file_commit(dir, &sub->id, fd, false);
		fd = -1; /* closed */
	} else {
		e = commit_copy(s, sub, fd, st.st_size);
	}
	cleanup_fd(&fd);
	if (e < 0) {
		spool_file_abort(dir, &sub->id, -1);
		return e;
	}
	if (fsync(dir) < 0) {
		e = -errno;
		unlinkat(dir, sub->id.c, 0);
		return e;
	}
	*ret_size = st.st_size;
	return 0;
}
