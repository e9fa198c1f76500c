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
	FLOOR_PART = 16, /* the door's floors are at most this part of a small disk */
	FLOOR_INODES_PART = 64,
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

/* Does mailchuted take anything of us? One open and one read; and who we are, only when
 * somebody is refused. What cannot be read is open: mailchuted keeps its limits at adoption
 * too. */
static int door_ask(struct drop *d)
{
	char text[DOOR_MAX + 1];
	uid_t uid = (uid_t)-1;
	struct door door;
	struct str words;
	ssize_t n;

	/* O_NONBLOCK: whatever is there, a device or a FIFO, holds up nobody. */
	d->door = above_stdio(
	    openat(d->dir, "../door", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
	if (d->door < 0)
		return 0;
	n = read(d->door, text, sizeof(text));
	if (n <= 0)
		return 0;
	if (memmem(text, (size_t)n, "\nshut ", 6) ||
	    memmem(text, (size_t)n, "\nuser ", 6))
		uid = geteuid();
	if (!door_read((struct str){ text, (size_t)n }, uid, clock_real_ms() / 1000,
	               &door))
		return 0;
	d->limit = (uint64_t)door.size;
	d->free_floor = (uint64_t)door.free;
	d->inode_floor = (uint64_t)door.inodes;
	words = str_head(door_refuses(&door, uid), sizeof(d->words));
	if (words.n == 0)
		return 0;
	memcpy(d->words, words.p, words.n);
	d->refusal.n = words.n;
	return -EBUSY;
}

int drop_begin(struct drop *d, const char *spool)
{
	struct drop n = DROP_INIT;
	int e;

	n.dir = open_dir(spool, STR("/in/drop"), O_RDONLY);
	e = n.dir < 0 ? n.dir : door_ask(&n);
	if (e == 0)
		e = create(&n);
	if (e == 0 && fchmod(n.fd, 0640) < 0)
		e = -errno;
	if (e < 0)
		drop_abort(&n);
	if (e == 0 || e == -EBUSY) {
		*d = n;
		d->refusal.p = d->words;
	}
	return e;
}

int drop_write(struct drop *d, const void *p, size_t n)
{
	/* What is too large anyway needs no disk. */
	int e = d->limit && d->size + n > d->limit ? 0 : io_write(d->fd, p, n);

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
	cleanup_fd(&d->door);
	cleanup_fd(&d->dir);
	cleanup_fd(&d->woken);
	d->fd = d->door = d->dir = d->woken = -1;
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

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* mailchuted copies every drop once. Where the last one taken fits a second time, a full disk
 * drains: when those that came later are gone, this holds for the one before too. The
 * door's floors keep free what others need; on a small disk they are a part of it. */
static bool room_above(const struct drop *d, const struct statvfs *v, unsigned share)
{
	uint64_t disk = (uint64_t)v->f_blocks * v->f_frsize, octets, inodes, floor;

	octets = least(SLACK_OCTETS, disk / SLACK_PART);
	floor = least(d->free_floor, disk / FLOOR_PART) / share;
	octets = octets > floor ? octets : floor;
	inodes = SLACK_INODES;
	floor = least(d->inode_floor, v->f_files / FLOOR_INODES_PART) / share;
	inodes = inodes > floor ? inodes : floor;
	return (v->f_files == 0 || v->f_favail >= inodes) &&
	       (uint64_t)v->f_bavail * v->f_frsize >= d->size + octets;
}

static int room_for_copy(const struct drop *d)
{
	struct statvfs v;

	if (fstatvfs(d->fd, &v) < 0 || v.f_blocks == 0)
		return 0; /* unknown, or without limit */
	if (room_above(d, &v, 1) || (geteuid() == 0 && room_above(d, &v, 2)))
		return 0;
	return -ENOSPC;
}

int drop_commit(struct drop *d)
{
	sigset_t all;
	int e = 0;

	if (d->failed)
		e = -EIO;
	else if (d->limit && d->size > d->limit)
		e = -EFBIG;
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
	d->woken = wake(d->dir, "../wake", 'w');
	return 0;
}

void drop_wake(int in, char what)
{
	_cleanup_fd_ int fd = wake(in, "wake", what);

	(void)fd;
}
