#include "spool/spool.h"
#include "base/clock.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAKE_READS = 128 /* all that a pipe holds */ };

static const struct folder {
	const char *path;
	mode_t mode;
	size_t at; /* of its descriptor in struct spool */
} folders[] = {
	{ "in", 0711, offsetof(struct spool, in) },
	{ "in/drop", 03777, offsetof(struct spool, drop) },
	{ "in/taken", 0700, offsetof(struct spool, taken) },
	{ "queue", 0700, offsetof(struct spool, queue) },
	{ "queue/new", 0700, offsetof(struct spool, new) },
	{ "note", 0700, offsetof(struct spool, note) },
	{ "hold", 0700, offsetof(struct spool, hold) },
	{ "bad", 0700, offsetof(struct spool, bad) },
	{ "run", 0700, offsetof(struct spool, run) },
	{ "junk", 0700, offsetof(struct spool, junk) },
};

static int *folder_fd(struct spool *s, const struct folder *f)
{
	return (int *)(void *)((char *)s + f->at);
}

static int folder_open(struct spool *s, const struct folder *f, bool create)
{
	struct stat st;
	int fd;

	if (create && mkdirat(s->root, f->path, f->mode & 0777) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(s->root, f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*folder_fd(s, f) = fd;
	if (!create)
		return 0;
	/* Looked at every time: a crash may have left a new one with the umask's mode. */
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & 07777) != f->mode && st.st_uid == geteuid() &&
	    fchmod(fd, f->mode) < 0)
		return -errno;
	return 0;
}

/* The FIFO is opened for writing too, so that it never reads as ended. */
static int wake_open(struct spool *s, bool create)
{
	struct stat st;

	if (fstatat(s->in, "wake", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISFIFO(st.st_mode) && create && unlinkat(s->in, "wake", 0) < 0)
		return -errno;
	if (create && mkfifoat(s->in, "wake", 0622) < 0 && errno != EEXIST)
		return -errno;
	s->wake = openat(s->in, "wake", O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (s->wake < 0)
		return -errno;
	if (fstat(s->wake, &st) < 0 || !S_ISFIFO(st.st_mode))
		return -EPROTO;
	if (create && (st.st_mode & 07777) != 0622 && fchmod(s->wake, 0622) < 0)
		return -errno;
	return 0;
}

int spool_open(struct spool *s, const char *path, bool create, const char **ret_where)
{
	int e;

	*s = (struct spool){ .root = -1, .wake = -1, .lock = -1, .taken_left = true };
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		*folder_fd(s, &folders[i]) = -1;
	*ret_where = "spool";
	s->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		*ret_where = folders[i].path;
		e = folder_open(s, &folders[i], create);
		if (e < 0)
			return e;
	}
	*ret_where = "in/wake";
	e = wake_open(s, create);
	if (e < 0)
		return e;
	*ret_where = "lock";
	s->lock =
	    openat(s->root, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock < 0)
		return -errno;
	if (create && (fsync(s->root) < 0 || fsync(s->in) < 0 || fsync(s->queue) < 0))
		return -errno;
	return 0;
}

void spool_close(struct spool *s)
{
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		cleanup_fd(folder_fd(s, &folders[i]));
	cleanup_fd(&s->wake);
	cleanup_fd(&s->lock);
	cleanup_fd(&s->root);
}

int spool_lock(struct spool *s, int64_t wait_ms)
{
	int64_t until = clock_ms() + wait_ms;

	for (;;) {
		if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (clock_ms() >= until)
			return -EWOULDBLOCK;
		poll(NULL, 0, 100);
	}
}

bool spool_wake_drain(struct spool *s)
{
	char bytes[512];
	bool now = false;
	ssize_t n;

	/* Anybody may write here, as fast as we read: what comes meanwhile is for next time. */
	for (int i = 0; i < WAKE_READS && (n = read(s->wake, bytes, sizeof(bytes))) > 0;
	     i++)
		now |= memchr(bytes, 'q', (size_t)n) != NULL;
	return now;
}

static void temp_name(const struct id *id, char name[static ID_LEN + 3])
{
	snprintf(name, ID_LEN + 3, "t.%s", id->c);
}

int spool_file_begin(int dir, const struct id *id)
{
	char name[ID_LEN + 3];
	int fd;

	temp_name(id, name);
	fd =
	    openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST && unlinkat(dir, name, 0) == 0)
		/* Of an earlier attempt that was cut: nobody else writes here. */
		fd = openat(dir, name,
		            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int spool_file_commit(int dir, const struct id *id, int fd, bool replace)
{
	char name[ID_LEN + 3];
	int e = 0;

	temp_name(id, name);
	if (fd >= 0 && fsync(fd) < 0)
		e = -errno;
	if (fd >= 0 && close(fd) < 0 && e == 0)
		e = -errno;
	if (e == 0)
		e = replace ? (renameat(dir, name, dir, id->c) < 0 ? -errno : 0)
		            : io_rename_new(dir, name, dir, id->c);
	if (e < 0)
		unlinkat(dir, name, 0);
	return e;
}

void spool_file_abort(int dir, const struct id *id, int fd)
{
	char name[ID_LEN + 3];

	temp_name(id, name);
	cleanup_fd(&fd);
	unlinkat(dir, name, 0);
}

int spool_state_write(struct spool *s, struct str text)
{
	_cleanup_fd_ int fd =
	    openat(s->root, "t.state",
	           O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int e;

	if (fd < 0)
		return -errno;
	e = io_write(fd, text.p, text.n);
	if (e < 0)
		return e;
	return renameat(s->root, "t.state", s->root, "state") < 0 ? -errno : 0;
}

int spool_state_read(struct spool *s, struct buf *ret)
{
	return io_slurp_at(s->root, "state", ret, 1 << 20);
}

struct id spool_new_id(struct spool *s)
{
	uint64_t ms = (uint64_t)clock_real_ms();
	uint16_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint16_t)getpid();
	/* Within one millisecond, and when the clock steps back, count on from the last.
	 */
	if (ms <= s->last_id >> 16)
		s->last_id++;
	else
		s->last_id = ms << 16 | random;
	return id_make((int64_t)(s->last_id >> 16), (unsigned)(s->last_id & 0xffff));
}
