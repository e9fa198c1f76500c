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
	DROP_MODE = 0640,
	SLACK_OCTETS = 128 * 1024, /* free beside a copy: notes, journals, folders */
	SLACK_PART = 64,           /* of the disk, when that is less */
	SLACK_INODES = 16,
	FLOOR_PART = 16, /* the door's floors are at most this part of a small disk */
	FLOOR_INODES_PART = 64,
};

/* Below in/drop. */
static const char *const DOOR = "../door", *const WAKE = "../wake";

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

/* O_NONBLOCK: whatever is there, a device or a FIFO, holds up nobody. */
static int door_open(int dir)
{
	return above_stdio(
	    openat(dir, DOOR, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
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
		int fd = above_stdio(openat(
		    d->dir, t.c, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, DROP_MODE));

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

/* ---- What is kept ---- */

void drop_keep_close(struct drop_keep *k)
{
	cleanup_fd(&k->dir);
	cleanup_fd(&k->woken);
	buf_free(&k->door);
	*k = (struct drop_keep)DROP_KEEP_INIT;
}

int drop_keep_open(struct drop_keep *k, const char *spool)
{
	int64_t now = clock_ms();
	int fd;

	if (k->dir >= 0 && now - k->from < DROP_KEEP_MS)
		return 0;
	drop_keep_close(k);
	fd = open_dir(spool, STR("/in/drop"), O_RDONLY);
	if (fd < 0)
		return fd;
	k->dir = fd;
	k->from = now;
	return 0;
}

struct str drop_keep_door(struct drop_keep *k)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;
	ssize_t n;

	if (fstatat(k->dir, DOOR, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		k->read = false;
		return STR_NONE;
	}
	/* It is written anew under another name, never in place. */
	if (k->read && st.st_dev == k->device && st.st_ino == k->inode &&
	    st.st_ctim.tv_sec == k->changed.tv_sec &&
	    st.st_ctim.tv_nsec == k->changed.tv_nsec)
		return buf_view(&k->door);
	buf_reset(&k->door);
	k->read = false;
	fd = door_open(k->dir);
	if (fd < 0 || fstat(fd, &st) < 0)
		return STR_NONE;
	n = io_read(fd, buf_room(&k->door, DOOR_MAX + 1), DOOR_MAX + 1);
	if (n < 0)
		return STR_NONE;
	k->door.n = (size_t)n;
	k->device = st.st_dev;
	k->inode = st.st_ino;
	k->changed = st.st_ctim;
	k->read = true;
	return buf_view(&k->door);
}

/* ---- The beginning ---- */

/* Does mailchuted take anything of us? Who we are is asked only when somebody is refused.
 * What cannot be read is open: mailchuted keeps its limits at adoption too. */
static int door_judge(struct drop *d, struct str text)
{
	uid_t uid = (uid_t)-1;
	struct door door;
	struct str words;

	if (!text.n)
		return 0;
	if (memmem(text.p, text.n, "\nshut ", 6) || memmem(text.p, text.n, "\nuser ", 6))
		uid = geteuid();
	if (!door_read(text, uid, clock_real_ms() / 1000, &door))
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

/* One open and one read. */
static int door_ask(struct drop *d)
{
	char text[DOOR_MAX + 1];
	ssize_t n;

	d->door = door_open(d->dir);
	n = d->door < 0 ? -1 : read(d->door, text, sizeof(text));
	return n <= 0 ? 0 : door_judge(d, (struct str){ text, (size_t)n });
}

/* An ACL or the caller's umask may have taken a bit. Looking is cheaper than setting it, which is
 * a change that the file system has to write down. */
static int mode_right(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && (st.st_mode & 07777) == DROP_MODE)
		return 0;
	return fchmod(fd, DROP_MODE) < 0 ? -errno : 0;
}

static int begin(struct drop *d, struct drop *n, int e)
{
	if (e == 0)
		e = create(n);
	if (e == 0)
		e = mode_right(n->fd);
	if (e < 0)
		drop_abort(n);
	if (e == 0 || e == -EBUSY) {
		*d = *n;
		d->refusal.p = d->words;
	}
	return e;
}

int drop_begin(struct drop *d, const char *spool)
{
	struct drop n = DROP_INIT;

	n.dir = open_dir(spool, STR("/in/drop"), O_RDONLY);
	return begin(d, &n, n.dir < 0 ? n.dir : door_ask(&n));
}

int drop_begin_kept(struct drop *d, const char *spool, struct drop_keep *k)
{
	struct drop n = DROP_INIT;
	int e = drop_keep_open(k, spool);

	n.keep = k;
	n.dir = k->dir;
	return begin(d, &n, e < 0 ? e : door_judge(&n, drop_keep_door(k)));
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
	if (!d->keep) {
		cleanup_fd(&d->dir);
		cleanup_fd(&d->woken);
	}
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

/* A pipe that nobody reads any more is another one's: mailchuted has begun anew. */
static void wake_kept(struct drop_keep *k)
{
	if (k->woken >= 0 && (write(k->woken, "w", 1) == 1 || errno == EAGAIN))
		return;
	cleanup_fd(&k->woken);
	k->woken = wake(k->dir, WAKE, 'w');
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

int drop_room(struct drop *d)
{
	d->looked = d->size;
	return room_for_copy(d);
}

int drop_write(struct drop *d, const void *p, size_t n)
{
	int e = 0;

	/* What is too large anyway needs no disk. */
	if (!d->limit || d->size + n <= d->limit) {
		if (d->size + n - d->looked >= DROP_LOOK)
			e = drop_room(d);
		if (e == 0)
			e = io_write(d->fd, p, n);
	}
	if (e < 0)
		d->failed = true;
	else
		d->size += n;
	return e;
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
	if (d->keep)
		wake_kept(d->keep);
	else
		d->woken = wake(d->dir, WAKE, 'w');
	return 0;
}

void drop_wake(int in, char what)
{
	_cleanup_fd_ int fd = wake(in, "wake", what);

	(void)fd;
}
