#include "spool/queue_inside.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKET_MAX \
	INT64_C(0xfffffffe) /* one less than 8 digits hold: see queue_defer() */

/* Before a message leaves queue/new, the removal of its drop must be durable: else a
 * crash would bring it back there a second time. */
static int settle_taken(struct spool *s)
{
	if (s->taken_dirty && fsync(s->taken) < 0)
		return -errno;
	s->taken_dirty = false;
	return 0;
}

/* Moves a message. Where the file system has no rename that never replaces, it was linked and
 * then unlinked: killed in between, it has both names, and loses the old one here. */
static int shift(int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat a, b;
	int e = io_rename_new(from_dir, from, to_dir, to);

	if (e != -EEXIST || fstatat(from_dir, from, &a, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(to_dir, to, &b, AT_SYMLINK_NOFOLLOW) < 0 || a.st_ino != b.st_ino ||
	    a.st_dev != b.st_dev)
		return e;
	return unlinkat(from_dir, from, 0) < 0 ? -errno : 0;
}

/* ---- The folders of other routes ---- */

/* Moves a bucket's messages one by one: into the bucket of the same time of another route
 * (into, with the bucket's name in front), or into queue/new. One that cannot be moved
 * keeps no other back. */
static int bucket_empty(int route, const char *bucket, int into, bool to_bucket)
{
	char name[16 + ID_LEN];
	const char *to = to_bucket ? name : name + 9;
	struct window *w = NULL;
	struct id id;
	int e = 0;

	if (!window_open(&w, route, bucket))
		return -errno;
	while (window_next(w, &id)) {
		int r;

		snprintf(name, sizeof(name), "%.8s/%s", bucket, id.c);
		r = shift(route, name, into, to);
		if (r < 0 && r != -ENOENT)
			e = r;
	}
	window_close(&w);
	if (e == 0 && unlinkat(route, bucket, AT_REMOVEDIR) < 0)
		e = -errno;
	return e;
}

/* Empties and removes a route's folder; q NULL: to queue/new. */
static int route_empty(struct spool *s, const char *route, struct queue *q)
{
	DIR *d = dir_open(s->queue, route);
	const struct dirent *entry;
	int e = 0;
	uint32_t b;

	if (!d)
		return -errno;
	while ((entry = readdir(d))) {
		int r = 0;

		if (!dir_bucket(entry->d_name, &b))
			continue;
		/* A whole bucket at once, when there is none of that time yet (or an empty
		 * one). */
		if (!q)
			r = bucket_empty(dirfd(d), entry->d_name, s->new, false);
		else if (renameat(dirfd(d), entry->d_name, q->dir, entry->d_name) < 0)
			r = bucket_empty(dirfd(d), entry->d_name, q->dir, true);
		if (r == 0 && q)
			r = queue_sync_place(q, b);
		e = r < 0 ? r : e;
	}
	/* The new places are durable before the old ones go. */
	if (e == 0 && fsync(q ? q->dir : s->new) < 0)
		e = -errno;
	closedir(d);
	if (e == 0 && unlinkat(s->queue, route, AT_REMOVEDIR) < 0)
		e = -errno;
	return e;
}

int queue_inherit(struct queue *q)
{
	DIR *d = dir_open(q->s->queue, ".");
	const struct dirent *entry;
	int n = 0, e = 0;

	queue_changed(q);
	if (!d)
		return -errno;
	while (e == 0 && (entry = readdir(d))) {
		if (!dir_route(entry->d_name) || strcmp(entry->d_name, q->route) == 0)
			continue;
		e = route_empty(q->s, entry->d_name, q);
		n++;
	}
	closedir(d);
	if (e == 0 && n && (fsync(q->dir) < 0 || fsync(q->s->queue) < 0))
		e = -errno;
	return e < 0 ? e : n;
}

int queue_disown(struct spool *s, bool (*known)(void *arg, const char *route), void *arg)
{
	DIR *d = dir_open(s->queue, ".");
	const struct dirent *entry;
	int n = 0, e = 0;

	if (!d)
		return -errno;
	while ((entry = readdir(d))) {
		int r;

		if (!dir_route(entry->d_name) || known(arg, entry->d_name))
			continue;
		r = route_empty(s, entry->d_name, NULL);
		e = r < 0 ? r : e;
		n++;
	}
	closedir(d);
	if (e == 0 && n && fsync(s->queue) < 0)
		e = -errno;
	return e < 0 ? e : n;
}

/* ---- One message ---- */

/* Rounded up; a time that no bucket can name (push may say any) becomes the nearest. */
static uint32_t bucket_of(int64_t due)
{
	if (due < 1)
		return 1;
	if (due > BUCKET_MAX * QUEUE_BUCKET_SECONDS)
		return (uint32_t)BUCKET_MAX;
	return (uint32_t)((due + QUEUE_BUCKET_SECONDS - 1) / QUEUE_BUCKET_SECONDS);
}

int queue_defer(struct queue *q, struct place *p, int64_t due)
{
	char from[QUEUE_PATH], to[QUEUE_PATH], name[9];
	struct place target = { .id = p->id, .due = bucket_of(due) };
	int e = settle_taken(q->s);

	if (e < 0)
		return e;
	if (strcmp(q->route, "new") == 0)
		return -EINVAL; /* it has no buckets */
	if (q->all && target.due <= p->due && p->due <= BUCKET_MAX)
		target.due = p->due + 1;
	if (target.due == p->due)
		return 0;
	queue_path(q->route, p, from);
	queue_path(q->route, &target, to);
	queue_changed(q);
	snprintf(name, sizeof(name), "%08x", target.due);
	if (mkdirat(q->dir, name, 0700) == 0 && fsync(q->dir) < 0)
		return -errno;
	e = shift(q->s->queue, from, q->s->queue, to);
	if (e < 0)
		return e;
	e = queue_sync_place(q, target.due);
	if (e == 0)
		e = queue_sync_place(q, p->due);
	*p = target;
	return e;
}

int queue_route(struct queue *q, const struct place *p, const char *route, int64_t now)
{
	char from[QUEUE_PATH], to[QUEUE_PATH];
	struct place target = { .id = p->id, .due = bucket_of(now) };
	int e = settle_taken(q->s);

	if (e < 0)
		return e;
	if (!dir_route(route))
		return -EINVAL;
	if (now >= QUEUE_BUCKET_SECONDS &&
	    target.due * (int64_t)QUEUE_BUCKET_SECONDS > now)
		target.due--;
	queue_path(q->route, p, from);
	queue_path(route, &target, to);
	e = shift(q->s->queue, from, q->s->queue, to);
	if (e == -ENOENT) {
		char folder[QUEUE_PATH];

		/* The first one of this route, or of this time; or the message is gone. */
		if (mkdirat(q->s->queue, route, 0700) < 0 && errno != EEXIST)
			return -errno;
		snprintf(folder, sizeof(folder), "%s/%08x", route, target.due);
		if (mkdirat(q->s->queue, folder, 0700) < 0 && errno != EEXIST)
			return -errno;
		e = shift(q->s->queue, from, q->s->queue, to);
	}
	if (e == 0)
		queue_dirty(q, p->due);
	return e;
}

int queue_renew(struct queue *q, const struct place *p)
{
	char from[QUEUE_PATH];
	int e;

	if (p->due == 0)
		return 0;
	queue_path(q->route, p, from);
	e = shift(q->s->queue, from, q->s->new, p->id.c);
	if (e < 0)
		return e;
	if (fsync(q->s->new) < 0)
		return -errno;
	return queue_sync_place(q, p->due);
}

int queue_put_aside(struct queue *q, const struct place *p, int dir)
{
	char path[QUEUE_PATH], note[ID_LEN + 6];
	int e = settle_taken(q->s);

	if (e < 0)
		return e;
	queue_path(q->route, p, path);
	snprintf(note, sizeof(note), "%s.note", p->id.c);
	/* The note goes last, as in queue_remove(): a message in the queue without its note
	 * would be sent to those who have it. */
	e = shift(q->s->queue, path, dir, p->id.c);
	if (e < 0)
		return e;
	if (renameat(q->s->note, p->id.c, dir, note) < 0 && errno != ENOENT)
		return -errno;
	if (fsync(dir) < 0)
		return -errno;
	return queue_sync_place(q, p->due);
}
