#include "spool/drop.h"
#include "base/clock.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE /* not in musl 1.2 */
#define RENAME_NOREPLACE (1 << 0)
#endif

enum {
	TRIES = 16, /* names tried when one is taken */
	PATH_LENGTH_MAX = 4000,
	TEMP_LEN = 2 + ID_LEN,
	SLACK_OCTETS = 128 * 1024, /* free beside a copy: notes, journals, folders */
	SLACK_PART = 64,           /* of the disk, when that is less */
	SLACK_INODES = 16,
};

struct temp_name {
	char c[TEMP_LEN + 1];
};

static struct temp_name temp_name(const struct id *id)
{
	struct temp_name t = { "t." };

	memcpy(t.c + 2, id->c, ID_LEN + 1);
	return t;
}

/* A caller may have closed 0, 1 or 2: a spool file there would get its error messages. */
static int above_stdio(int fd)
{
	int up, e;

	if (fd < 0)
		return -errno;
	if (fd > 2)
		return fd;
	up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	e = errno;
	close(fd);
	return up < 0 ? -e : up;
}

/* 16 bits that two callers of the same millisecond hardly share, without a system call:
 * the kernel's random bytes of this exec, and the clock for a process that makes many. */
static unsigned random16(void)
{
	uintptr_t at = getauxval(AT_RANDOM);
	uint64_t v = 0;
	struct timespec t;

	/* The kernel gives an address as a number; copying it spares an integer cast. */
	if (at) {
		const void *p;

		memcpy(&p, &at, sizeof(p));
		memcpy(&v, p, sizeof(v));
	}
	clock_gettime(CLOCK_REALTIME, &t);
	v ^= (uint64_t)t.tv_nsec * UINT64_C(0x9e3779b97f4a7c15);
	v = (v ^ v >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
	return (unsigned)(v >> 48);
}

/* openat(2), since musl's open(2) makes a second call for O_CLOEXEC. */
static int open_dir(const char *spool, struct str below, int flags)
{
	char path[PATH_LENGTH_MAX + 16];
	size_t n = strnlen(spool, PATH_LENGTH_MAX + 1);

	if (n > PATH_LENGTH_MAX)
		return -ENAMETOOLONG;
	memcpy(path, spool, n);
	memcpy(path + n, below.p, below.n + 1);
	return above_stdio(openat(AT_FDCWD, path, flags | O_DIRECTORY | O_CLOEXEC));
}

int drop_open_in(const char *spool)
{
	return open_dir(spool, STR("/in"), O_PATH);
}

static int create(struct drop *d)
{
	for (int i = 0; i < TRIES; i++) {
		struct id id = id_make(clock_real_ms(), random16());
		struct temp_name t = temp_name(&id);
		int fd = above_stdio(
		    openat(d->dir, t.c, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));

		if (fd == -EEXIST)
			continue;
		if (fd < 0) {
			/* Out of descriptors after the file was made on 0 to 2. */
			if (fd == -EMFILE)
				(void)unlinkat(d->dir, t.c, 0);
			return fd;
		}
		d->fd = fd;
		d->id = d->temp = id;
		return 0;
	}
	return -EEXIST;
}

int drop_begin(struct drop *d, const char *spool)
{
	struct drop n = DROP_INIT;
	int e;

	n.dir = open_dir(spool, STR("/in/drop"), O_RDONLY);
	e = n.dir < 0 ? n.dir : create(&n);
	if (e == 0 && fchmod(n.fd, 0640) < 0)
		e = -errno;
	if (e < 0)
		drop_abort(&n);
	else
		*d = n;
	return e;
}

int drop_write(struct drop *d, const void *p, size_t n)
{
	int e = io_write(d->fd, p, n);

	if (e < 0)
		d->failed = true;
	else
		d->size += n;
	return e;
}

void drop_abort(struct drop *d)
{
	int e = errno;

	if (d->temp.c[0]) {
		struct temp_name t = temp_name(&d->temp);

		(void)unlinkat(d->dir, t.c, 0);
		d->temp.c[0] = '\0';
	}
	cleanup_fd(&d->fd);
	cleanup_fd(&d->dir);
	d->fd = d->dir = -1;
	errno = e;
}

/* Never over an existing name: that is somebody's message. */
static int rename_new(int dir, const char *from, const char *to)
{
	if (syscall(SYS_renameat2, dir, from, dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	/* A file system (or kernel) without the flag: link(2) does not replace either. */
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(dir, from, dir, to, 0) < 0)
		return -errno;
	(void)unlinkat(dir, from, 0);
	return 0;
}

/* Gives the file its final name; another one when a message of that name is waiting. */
static int publish(struct drop *d)
{
	struct temp_name t = temp_name(&d->temp);

	for (int i = 0; i < TRIES; i++) {
		int e = rename_new(d->dir, t.c, d->id.c);

		if (e != -EEXIST)
			return e;
		d->id = id_make(clock_real_ms(), random16());
	}
	return -EEXIST;
}

/* Descriptor, which may be left to the exit, or -1. */
static int wake(int dir, const char *path, char what)
{
	int fd = above_stdio(
	    openat(dir, path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
	struct stat st;

	/* A full pipe is as good: mailchuted has not yet read what is in it. */
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
	    write(fd, &what, 1) < 0)
		return fd;
	return fd;
}

/* mailchuted copies every drop once. Where the last one taken fits a second time, a full disk
 * drains: when those that came later are gone, this holds for the one before too. */
static int room_for_copy(const struct drop *d)
{
	uint64_t slack = SLACK_OCTETS, disk;
	struct statvfs v;

	if (fstatvfs(d->fd, &v) < 0 || v.f_blocks == 0)
		return 0; /* unknown, or without limit */
	disk = (uint64_t)v.f_blocks * v.f_frsize;
	if (slack > disk / SLACK_PART)
		slack = disk / SLACK_PART;
	if ((v.f_files && v.f_favail < SLACK_INODES) ||
	    (uint64_t)v.f_bavail * v.f_frsize < d->size + slack)
		return -ENOSPC;
	return 0;
}

int drop_commit(struct drop *d)
{
	sigset_t all;
	int e = 0;

	if (d->failed)
		e = -EIO;
	else if (fsync(d->fd) < 0)
		e = -errno;
	/* Behind the sync: only then delayed allocation has taken its share. */
	if (e == 0)
		e = room_for_copy(d);
	if (e < 0) {
		drop_abort(d);
		return e;
	}
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	e = publish(d);
	if (e < 0) {
		drop_abort(d);
		return e;
	}
	d->temp.c[0] = '\0';
	if (fsync(d->dir) < 0) {
		e = -errno;
		if (unlinkat(d->dir, d->id.c, 0) == 0 || errno != ENOENT) {
			drop_abort(d);
			return e;
		}
	}
	(void)wake(d->dir, "../wake", 'w');
	return 0;
}

void drop_wake(int in, char what)
{
	_cleanup_fd_ int fd = wake(in, "wake", what);

	(void)fd;
}
