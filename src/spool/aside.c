#include "spool/aside.h"
#include "base/io.h"
#include "spool/queue.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { NOTE_NAME = ID_LEN + 6 };

static void note_name(const struct id *id, char name[static NOTE_NAME])
{
	snprintf(name, NOTE_NAME, "%s.note", id->c);
}

int aside_get(int dir, const struct id *id)
{
	int fd = openat(dir, id->c, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int aside_release(struct spool *s, int dir, const struct id *id)
{
	char name[NOTE_NAME], route[QUEUE_ROUTE_MAX + 1];
	struct place p;
	int e;

	if (faccessat(dir, id->c, F_OK, 0) < 0)
		return -errno;
	/* Its note must not become that of another. */
	e = queue_find(s, id, route, &p);
	if (e != -ENOENT)
		return e < 0 ? e : -EEXIST;
	note_name(id, name);
	if (renameat(dir, name, s->note, id->c) == 0) {
		if (fsync(s->note) < 0)
			return -errno;
	} else if (errno != ENOENT) {
		return -errno;
	}
	e = io_rename_new(dir, id->c, s->new, id->c);
	if (e < 0)
		return e;
	return fsync(s->new) < 0 || fsync(dir) < 0 ? -errno : 0;
}

int aside_remove(int dir, const struct id *id)
{
	char name[NOTE_NAME];

	if (unlinkat(dir, id->c, 0) < 0)
		return -errno;
	note_name(id, name);
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return fsync(dir) < 0 ? -errno : 0;
}
