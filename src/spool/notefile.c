#include "spool/notefile.h"
#include "base/io.h"
#include "mail/envelope.h"
#include "mail/note.h"
#include "spool/queue.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DERIVED_NAME = ID_LEN + 16 };

int note_write(struct spool *s, const struct id *id, struct str text)
{
	int e, fd = spool_file_begin(s->note, id);

	if (fd < 0)
		return fd;
	e = io_write(fd, text.p, text.n);
	if (e < 0) {
		spool_file_abort(s->note, id, fd);
		return e;
	}
	e = spool_file_commit(s->note, id, fd, true);
	if (e < 0)
		return e;
	if (fsync(s->note) < 0) {
		e = -errno;
		return unlinkat(s->note, id->c, 0) < 0 ? -EUCLEAN : e;
	}
	return 0;
}

/* Cuts a last line that has no LF. *ret_size: what is left. */
static int note_mend(int fd, off_t *ret_size)
{
	char tail[4096];
	off_t size = lseek(fd, 0, SEEK_END), end = size;
	bool found = false;

	if (size < 0)
		return -errno;
	while (end > 0 && !found) {
		off_t from = (end - 1) / (off_t)sizeof(tail) * (off_t)sizeof(tail);
		ssize_t n = pread(fd, tail, (size_t)(end - from), from);

		if (n != end - from)
			return n < 0 ? -errno : -EIO;
		while (n > 0 && tail[n - 1] != '\n')
			n--;
		found = n > 0;
		end = from + n;
	}
	*ret_size = end;
	if (end == size)
		return 0;
	return ftruncate(fd, end) < 0 ? -errno : 0;
}

static bool ends_with(int fd, off_t size, struct str text)
{
	_cleanup_buf_ struct buf tail = BUF_INIT;

	return size >= (off_t)text.n &&
	       pread(fd, buf_room(&tail, text.n), text.n, size - (off_t)text.n) ==
	           (ssize_t)text.n &&
	       memcmp(tail.p, text.p, text.n) == 0;
}

int note_append_once(struct spool *s, const struct id *id, struct str text)
{
	_cleanup_fd_ int fd = openat(s->note, id->c, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && ends_with(fd, st.st_size, text))
		return fsync(fd) < 0 ? -errno : 0;
	return note_append(s, id, text);
}

int note_append(struct spool *s, const struct id *id, struct str text)
{
	_cleanup_fd_ int fd =
	    openat(s->note, id->c, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	off_t size;
	int e;

	if (fd < 0)
		return -errno;
	e = note_mend(fd, &size);
	if (e < 0)
		return e;
	e = io_write(fd, text.p, text.n);
	if (e == 0 && fsync(fd) < 0)
		e = -errno;
	if (e < 0 && ftruncate(fd, size) < 0)
		return -EUCLEAN;
	return e;
}

static void derived_name(char name[static DERIVED_NAME], const struct id *parent,
                         unsigned n)
{
	snprintf(name, DERIVED_NAME, "d.%s.%u", parent->c, n);
}

static int derived_fill(int fd, int drop, int64_t most, int64_t now)
{
	_cleanup_buf_ struct buf head = BUF_INIT;
	int64_t n;
	int e;

	envelope_print_attested(&head, geteuid(), STR("-"), STR(""), now);
	e = io_write(fd, head.p, head.n);
	if (e < 0)
		return e;
	if (lseek(drop, 0, SEEK_SET) < 0)
		return -errno;
	n = io_copy(drop, fd, most, NULL);
	if (n < 0)
		return (int)n;
	return fsync(fd) < 0 ? -errno : 0;
}

int derived_prepare(struct spool *s, const struct id *parent, unsigned n, int drop,
                    int64_t most, int64_t now)
{
	_cleanup_fd_ int fd = -1;
	char name[DERIVED_NAME];
	int e;

	derived_name(name, parent, n);
	unlinkat(s->new, name, 0); /* of an attempt that failed */
	fd = openat(s->new, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	            0600);
	if (fd < 0)
		return -errno;
	e = derived_fill(fd, drop, most, now);
	if (e == 0 && fsync(s->new) < 0)
		e = -errno;
	if (e < 0)
		unlinkat(s->new, name, 0);
	return e;
}

int derived_publish(struct spool *s, const struct id *parent, unsigned n)
{
	struct id id = id_derive(parent, n);
	char name[DERIVED_NAME];
	int e;

	derived_name(name, parent, n);
	e = io_rename_new(s->new, name, s->new, id.c);
	if (e == -EEXIST)
		unlinkat(s->new, name, 0);
	if (e == 0 || e == -EEXIST || e == -ENOENT)
		e = fsync(s->new) < 0 ? -errno : 0;
	s->unpublished |= e < 0;
	return e;
}

/* Removes what part_prepare() made. */
static void part_remove(struct spool *s, const struct id *parent, unsigned n)
{
	struct id id = id_derive(parent, n);
	char name[DERIVED_NAME];

	derived_name(name, parent, n);
	unlinkat(s->note, id.c, 0);
	unlinkat(s->new, name, 0);
}

/* What nobody told of. Was its name left behind when it was published (a file system that
 * must link and unlink), the message of its id needs its note. */
static void derived_drop(struct spool *s, const struct id *parent, unsigned n)
{
	struct id id = id_derive(parent, n);
	char name[DERIVED_NAME], route[QUEUE_ROUTE_MAX + 1];
	struct place p;

	if (n >= PART_FIRST && queue_find(s, &id, route, &p) == -ENOENT) {
		part_remove(s, parent, n);
		return;
	}
	derived_name(name, parent, n);
	unlinkat(s->new, name, 0);
}

int part_prepare(struct spool *s, const struct id *parent, unsigned n, const char *from,
                 struct str note)
{
	struct id id = id_derive(parent, n);
	char name[DERIVED_NAME];
	int e = 0;

	derived_name(name, parent, n);
	if (n < PART_FIRST || n > PART_MAX)
		return -EINVAL;
	if (faccessat(s->new, name, F_OK, 0) == 0)
		derived_drop(s, parent, n); /* of an attempt that failed */
	/* A note without what it was prepared for is that of a part at work. */
	if (faccessat(s->note, id.c, F_OK, 0) == 0)
		return -EEXIST;
	if (linkat(s->queue, from, s->new, name, 0) < 0)
		return -errno;
	if (fsync(s->new) < 0)
		e = -errno;
	if (e == 0)
		e = note_write(s, &id, note);
	if (e < 0)
		part_remove(s, parent, n);
	return e;
}

bool derived_parse(const char *name, struct id *ret_parent, unsigned *ret_n)
{
	struct str s = str_z(name);
	uint64_t n;

	if (s.n < 2 + ID_LEN + 2 || name[0] != 'd' || name[1] != '.' ||
	    name[2 + ID_LEN] != '.')
		return false;
	if (!id_from(str_head(str_from(s, 2), ID_LEN), ret_parent) ||
	    !str_u64(str_from(s, 2 + ID_LEN + 1), &n) || n > UINT32_MAX)
		return false;
	*ret_n = (unsigned)n;
	return true;
}

bool note_to_recompose(struct spool *s, const struct id *id)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct str rest, line;

	if (io_slurp_at(s->note, id->c, &text, NOTE_FILE_MAX) < 0)
		return false;
	rest = buf_view(&text);
	while (rest.n && str_cut(&rest, '\n', &line))
		if (str_starts(line, STR("c ")))
			return true;
	return false;
}

static bool note_tells(struct spool *s, const struct id *parent, unsigned n)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct str rest, line;
	char want[16];

	if (io_slurp_at(s->note, parent->c, &text, NOTE_FILE_MAX) < 0)
		return false;
	snprintf(want, sizeof(want), "b %u", n);
	rest = buf_view(&text);
	while (rest.n && str_cut(&rest, '\n', &line))
		if (str_eq(line, str_z(want)))
			return true;
	return false;
}

bool derived_again(struct spool *s)
{
	DIR *d = s->unpublished ? dir_open(s->new, ".") : NULL;
	const struct dirent *e;
	struct id parent;
	unsigned n;

	if (!d)
		return !s->unpublished;
	s->unpublished = false; /* derived_publish() says so again */
	while ((e = readdir(d)))
		if (derived_parse(e->d_name, &parent, &n) && note_tells(s, &parent, n) &&
		    derived_publish(s, &parent, n) == 0)
			s->uncounted = true;
	closedir(d);
	return !s->unpublished;
}

void derived_recover(struct spool *s)
{
	DIR *d = dir_open(s->new, ".");
	const struct dirent *e;
	struct id parent;
	unsigned n;

	if (!d)
		return;
	while ((e = readdir(d))) {
		if (!derived_parse(e->d_name, &parent, &n))
			continue;
		if (note_tells(s, &parent, n))
			derived_publish(s, &parent, n);
		else
			derived_drop(s, &parent, n);
	}
	closedir(d);
}
