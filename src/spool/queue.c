#include "spool/queue.h"
#include "base/io.h"
#include "mail/envelope.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKET_MAX \
	INT64_C(0xfffffffe) /* one less than 8 digits hold: see queue_defer() */

/* A folder that is being read, and the names read ahead. */
struct queue_source {
	DIR *d;
	struct id names[QUEUE_WINDOW];
	size_t n, at;
};

static void path_of(const struct queue *q, const struct place *p, char path[static 128])
{
	if (p->due)
		snprintf(path, 128, "%s/%08x/%s", q->route, p->due, p->id.c);
	else
		snprintf(path, 128, "new/%s", p->id.c);
}

static void source_close(struct queue_source **src)
{
	if (*src && (*src)->d)
		closedir((*src)->d);
	free(*src);
	*src = NULL;
}

static bool source_open(struct queue_source **src, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	source_close(src);
	if (fd < 0)
		return false;
	*src = calloc(1, sizeof(**src));
	if (!*src)
		die_oom();
	(*src)->d = fdopendir(fd);
	if (!(*src)->d) {
		close(fd);
		source_close(src);
		return false;
	}
	return true;
}

static int by_age(const void *a, const void *b)
{
	return id_cmp(a, b);
}

/* The next name; reads the next window when this one is used up. */
static bool source_next(struct queue_source *src, struct id *ret)
{
	const struct dirent *e;

	if (!src)
		return false;
	if (src->at == src->n) {
		src->n = src->at = 0;
		while (src->n < QUEUE_WINDOW && (e = readdir(src->d)))
			if (id_ok(e->d_name))
				id_from(str_z(e->d_name), &src->names[src->n++]);
		qsort(src->names, src->n, sizeof(src->names[0]), by_age);
	}
	if (src->at == src->n)
		return false;
	*ret = src->names[src->at++];
	return true;
}

static bool bucket_name(const char *name, uint32_t *ret)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 8; i++) {
		char c = name[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return name[8] == '\0' && v != 0;
}

/* Syncs a bucket by its number. */
static int bucket_sync(struct queue *q, uint32_t bucket)
{
	char name[9];
	_cleanup_fd_ int fd = -1;

	snprintf(name, sizeof(name), "%08x", bucket);
	fd = openat(q->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return -errno;
	/* Empty, and gone since: its removal is what must last. */
	return fsync(fd < 0 ? q->dir : fd) < 0 ? -errno : 0;
}

int queue_open(struct queue *q, struct spool *s, const char *route)
{
	bool made;

	*q = (struct queue){ .s = s, .dir = -1 };
	snprintf(q->route, sizeof(q->route), "%s", route);
	made = mkdirat(s->queue, q->route, 0700) == 0;
	if (!made && errno != EEXIST)
		return -errno;
	q->dir =
	    openat(s->queue, q->route, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (q->dir < 0 || (made && fsync(s->queue) < 0))
		return -errno;
	queue_rewind(q, false);
	return 0;
}

void queue_idle(struct queue *q)
{
	source_close(&q->fresh);
	source_close(&q->due);
}

void queue_close(struct queue *q)
{
	queue_idle(q);
	cleanup_fd(&q->dir);
	q->dir = -1;
}

/* Moves a bucket's messages one by one into the bucket of the same time. */
static int bucket_merge(struct queue *q, int from_route, const char *bucket)
{
	char from[16 + ID_LEN];
	struct queue_source *src = NULL;
	struct id id;
	int e = 0;

	if (!source_open(&src, from_route, bucket))
		return -errno;
	while (e == 0 && source_next(src, &id)) {
		snprintf(from, sizeof(from), "%.8s/%s", bucket, id.c);
		e = io_rename_new(from_route, from, q->dir, from);
	}
	source_close(&src);
	if (e == 0 && unlinkat(from_route, bucket, AT_REMOVEDIR) < 0)
		e = -errno;
	return e;
}

static int route_merge(struct queue *q, const char *route)
{
	int fd = openat(q->s->queue, route,
	                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
	    e = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	uint32_t b;

	if (!d) {
		cleanup_fd(&fd);
		return -errno;
	}
	while (e == 0 && (entry = readdir(d))) {
		if (!bucket_name(entry->d_name, &b))
			continue;
		/* A whole bucket at once, when there is none of that time yet (or an empty one). */
		if (renameat(fd, entry->d_name, q->dir, entry->d_name) < 0)
			e = bucket_merge(q, fd, entry->d_name);
		if (e == 0)
			e = bucket_sync(q, b);
	}
	closedir(d);
	if (e == 0 && unlinkat(q->s->queue, route, AT_REMOVEDIR) < 0)
		e = -errno;
	return e;
}

int queue_inherit(struct queue *q)
{
	int fd = openat(q->s->queue, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0,
	    e = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!d) {
		cleanup_fd(&fd);
		return -errno;
	}
	while (e == 0 && (entry = readdir(d))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "new") == 0 ||
		    strcmp(entry->d_name, q->route) == 0)
			continue;
		e = route_merge(q, entry->d_name);
		n++;
	}
	closedir(d);
	if (e == 0 && n && (fsync(q->dir) < 0 || fsync(q->s->queue) < 0))
		e = -errno;
	return e < 0 ? e : n;
}

void queue_rewind(struct queue *q, bool all)
{
	queue_idle(q);
	q->bucket = 0;
	q->due_done = false;
	q->all = all;
	q->news = false;
	queue_news(q);
}

void queue_news(struct queue *q)
{
	/* What is in the window of an open source is still there to be given. */
	if (!q->fresh || q->fresh->at == q->fresh->n)
		source_open(&q->fresh, q->s->new, ".");
	else
		q->news = true; /* behind it: the folder may be read to its end already */
}

/* Rounded up; a time that no bucket can name (push may say any) becomes the nearest. */
static uint32_t bucket_of(int64_t due)
{
	if (due < 1)
		return 1;
	if (due > BUCKET_MAX * QUEUE_BUCKET_SECONDS)
		return (uint32_t)BUCKET_MAX;
	return (uint32_t)((due + QUEUE_BUCKET_SECONDS - 1) / QUEUE_BUCKET_SECONDS);
}

static bool bucket_due(uint32_t b, int64_t now, int64_t longest)
{
	int64_t due = (int64_t)b * QUEUE_BUCKET_SECONDS;

	return due <= now || due > now + longest + longest / 4 + 2 * QUEUE_BUCKET_SECONDS;
}

/* Walks the buckets: the one this pass reads after q->bucket (0: none), and the
 * first that is not yet due (0: none). Empty ones that are due are removed on the way. */
static void buckets_look(struct queue *q, int64_t now, int64_t longest,
                         uint32_t *ret_next, uint32_t *ret_future)
{
	int fd = openat(q->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	uint32_t b;

	*ret_next = *ret_future = 0;
	if (!d) {
		cleanup_fd(&fd);
		return;
	}
	while ((e = readdir(d))) {
		if (!bucket_name(e->d_name, &b))
			continue;
		if (unlinkat(q->dir, e->d_name, AT_REMOVEDIR) == 0)
			continue;
		if (!bucket_due(b, now, longest) && (*ret_future == 0 || b < *ret_future))
			*ret_future = b;
		if (q->all && (q->bucket == 0 || b < q->bucket) && b > *ret_next)
			*ret_next = b;
		if (!q->all && bucket_due(b, now, longest) && b > q->bucket &&
		    (*ret_next == 0 || b < *ret_next))
			*ret_next = b;
	}
	closedir(d);
}

static bool next_due_name(struct queue *q, int64_t now, int64_t longest,
                          struct place *ret)
{
	char name[9];
	uint32_t next, future;

	while (!q->due_done) {
		if (source_next(q->due, &ret->id)) {
			ret->due = q->bucket;
			return true;
		}
		source_close(&q->due);
		buckets_look(q, now, longest, &next, &future);
		if (next == 0) {
			q->due_done = true;
			break;
		}
		q->bucket = next;
		snprintf(name, sizeof(name), "%08x", next);
		source_open(&q->due, q->dir, name);
	}
	return false;
}

static bool next_new_name(struct queue *q, struct place *ret)
{
	bool any = source_next(q->fresh, &ret->id);

	if (!any && q->news) {
		q->news = false;
		source_open(&q->fresh, q->s->new, ".");
		any = source_next(q->fresh, &ret->id);
	}
	if (!any)
		return false;
	ret->due = 0;
	return true;
}

bool queue_next(struct queue *q, int64_t now, int64_t longest, struct place *ret)
{
	q->turn = !q->turn;
	if (q->turn)
		return next_new_name(q, ret) || next_due_name(q, now, longest, ret);
	return next_due_name(q, now, longest, ret) || next_new_name(q, ret);
}

int64_t queue_next_due(struct queue *q, int64_t now, int64_t longest)
{
	uint32_t bucket = q->bucket, due, future;
	bool all = q->all;
	int64_t at;

	q->bucket = 0;
	q->all = false;
	buckets_look(q, now, longest, &due, &future);
	q->bucket = bucket;
	q->all = all;
	at = future ? (int64_t)future * QUEUE_BUCKET_SECONDS : -1;
	if (due && q->due_done && (at < 0 || at > now + QUEUE_LOOK_AGAIN))
		at = now + QUEUE_LOOK_AGAIN;
	return at;
}

bool queue_empty(struct queue *q)
{
	bool all = q->all;
	uint32_t bucket = q->bucket, next, future;
	int fd = openat(q->s->new, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool empty = true;

	q->all = true;
	q->bucket = 0;
	buckets_look(q, 0, 0, &next, &future);
	q->all = all;
	q->bucket = bucket;
	if (!d) {
		cleanup_fd(&fd);
		return next == 0;
	}
	while (empty && (e = readdir(d)))
		empty = !id_ok(e->d_name);
	closedir(d);
	return empty && next == 0;
}

int queue_get(struct queue *q, const struct place *p, int *ret_fd, int *ret_note)
{
	char path[128];
	int fd, note;

	path_of(q, p, path);
	fd = openat(q->s->queue, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	note = openat(q->s->note, p->id.c, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (note < 0 && errno != ENOENT) {
		int e = -errno;

		close(fd);
		return e;
	}
	*ret_fd = fd;
	*ret_note = note;
	return 0;
}

static void dirty(struct queue *q, uint32_t bucket)
{
	q->removed++;
	if (bucket == 0) {
		q->dirty_new = true;
		return;
	}
	for (unsigned i = 0; i < q->dirty_n; i++)
		if (q->dirty[i] == bucket)
			return;
	if (q->dirty_n < ARRAY_LEN(q->dirty))
		q->dirty[q->dirty_n++] = bucket;
	else
		q->dirty_all = true;
}

int queue_remove(struct queue *q, const struct place *p, bool noted)
{
	char path[128];

	path_of(q, p, path);
	if (unlinkat(q->s->queue, path, 0) < 0 && errno != ENOENT)
		return -errno;
	dirty(q, p->due);
	/* The note goes last: without its message it is an orphan, not the other way
	 * round. */
	if (noted && unlinkat(q->s->note, p->id.c, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int queue_sync(struct queue *q)
{
	int e = 0;

	if (q->dirty_new && fsync(q->s->new) < 0)
		e = -errno;
	for (unsigned i = 0; i < q->dirty_n; i++) {
		int r = bucket_sync(q, q->dirty[i]);

		e = r < 0 ? r : e;
	}
	if (q->dirty_all && syncfs(q->dir) < 0)
		e = -errno;
	if (q->s->taken_dirty && fsync(q->s->taken) < 0)
		e = -errno;
	q->s->taken_dirty = false;
	q->dirty_new = q->dirty_all = false;
	q->dirty_n = q->removed = 0;
	return e;
}

/* Before a message leaves queue/new, the removal of its drop must be durable: else a
 * crash would bring it back there a second time. */
static int settle_taken(struct spool *s)
{
	if (s->taken_dirty && fsync(s->taken) < 0)
		return -errno;
	s->taken_dirty = false;
	return 0;
}

static int sync_old_place(struct queue *q, uint32_t bucket)
{
	if (bucket)
		return bucket_sync(q, bucket);
	return fsync(q->s->new) < 0 ? -errno : 0;
}

int queue_defer(struct queue *q, struct place *p, int64_t due)
{
	char from[128], to[128], name[9];
	struct place target = { .id = p->id, .due = bucket_of(due) };
	int e = settle_taken(q->s);

	if (e < 0)
		return e;
	if (q->all && target.due <= p->due && p->due <= BUCKET_MAX)
		target.due = p->due + 1;
	if (target.due == p->due)
		return 0;
	path_of(q, p, from);
	path_of(q, &target, to);
	snprintf(name, sizeof(name), "%08x", target.due);
	if (mkdirat(q->dir, name, 0700) == 0 && fsync(q->dir) < 0)
		return -errno;
	e = io_rename_new(q->s->queue, from, q->s->queue, to);
	if (e < 0)
		return e;
	e = bucket_sync(q, target.due);
	if (e == 0)
		e = sync_old_place(q, p->due);
	*p = target;
	return e;
}

int queue_put_aside(struct queue *q, const struct place *p, int dir)
{
	char path[128], note[ID_LEN + 6];
	int e = settle_taken(q->s);

	if (e < 0)
		return e;
	path_of(q, p, path);
	snprintf(note, sizeof(note), "%s.note", p->id.c);
	/* The note goes last, as in queue_remove(): a message in the queue without its note
	 * would be sent to those who have it. */
	e = io_rename_new(q->s->queue, path, dir, p->id.c);
	if (e < 0)
		return e;
	if (renameat(q->s->note, p->id.c, dir, note) < 0 && errno != ENOENT)
		return -errno;
	if (fsync(dir) < 0)
		return -errno;
	return sync_old_place(q, p->due);
}
