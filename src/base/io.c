#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int io_write(int fd, const void *p, size_t n)
{
	const char *c = p;

	while (n) {
		ssize_t w = write(fd, c, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		c += w;
		n -= (size_t)w;
	}
	return 0;
}

ssize_t io_read(int fd, void *p, size_t n)
{
	char *c = p;
	size_t got = 0;

	while (got < n) {
		ssize_t r = read(fd, c + got, n - got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

int io_slurp(int fd, struct buf *b, size_t max)
{
	size_t start = b->n;

	for (;;) {
		size_t left = max - (b->n - start), want = left < 4096 ? left + 1 : 4096;
		ssize_t r = io_read(fd, buf_room(b, want), want);

		if (r < 0)
			return (int)r;
		if ((size_t)r > left)
			return -EFBIG;
		b->n += (size_t)r;
		b->p[b->n] = '\0';
		if ((size_t)r < want)
			return 0;
	}
}

int io_slurp_at(int dirfd, const char *path, struct buf *b, size_t max)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return io_slurp(fd, b, max);
}

int64_t io_copy(int in, int out, int64_t most, bool *ret_in_failed)
{
	static char block[65536];
	int64_t total = 0;

	for (;;) {
		ssize_t r = io_read(in, block, sizeof(block));
		int e;

		if (r < 0) {
			if (ret_in_failed)
				*ret_in_failed = true;
			return r;
		}
		e = total + r > most ? -EFBIG : io_write(out, block, (size_t)r);
		if (e < 0) {
			if (ret_in_failed)
				*ret_in_failed = false;
			return e;
		}
		total += r;
		if ((size_t)r < sizeof(block))
			return total;
	}
}

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1 /* musl 1.2.3 has neither the name nor the function */
#endif

int io_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
	if (syscall(SYS_renameat2, from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(from_dir, from, to_dir, to, 0) < 0)
		return -errno;
	return unlinkat(from_dir, from, 0) < 0 ? -errno : 0;
}

int io_memfd(const char *name, struct str content)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), e;

	if (fd < 0)
		return -errno;
	e = io_write(fd, content.p, content.n);
	if (e == 0 && fcntl(fd, F_ADD_SEALS,
	                    F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		e = -errno;
	if (e == 0 && lseek(fd, 0, SEEK_SET) < 0)
		e = -errno;
	if (e < 0) {
		close(fd);
		return e;
	}
	return fd;
}
