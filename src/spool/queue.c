#include "spool/queue_inside.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void queue_path(const char *route, const struct place *p, char path[static QUEUE_PATH])
{
	struct buf b = buf_on(path, QUEUE_PATH);

	buf_z(&b, p->due ? route : "new");
	buf_c(&b, '/');
	if (p->due) {
		buf_hex8(&b, p->due);
		buf_c(&b, '/');
	}
	buf_z(&b, p->id.c);
}

int queue_sync_place(struct queue *q, uint32_t due)
{
	char name[9];
	_cleanup_fd_ int fd = -1;

	if (due == 0)
		return fsync(q->s->new) < 0 ? -errno : 0;
	snprintf(name, sizeof(name), "%08x", due);
	fd = openat(q->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return -errno;
	/* Empty, and gone since: its removal is what must last. */
	return fsync(fd < 0 ? q->dir : fd) < 0 ? -errno : 0;
}

int queue_open(struct queue *q, struct spool *s, const char *route, unsigned reads)
{
	bool made;

	*q = (struct queue){ .s = s, .reads = reads, .dir = -1 };
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
	window_close(&q->fresh);
	window_close(&q->due);
}

void queue_close(struct queue *q)
{
	queue_idle(q);
	cleanup_fd(&q->dir);
	q->dir = -1;
}

void queue_rewind(struct queue *q, bool all)
{
	queue_idle(q);
	queue_changed(q);
	q->bucket = 0;
	q->failed = false;
	q->again_at = 0;
	q->due_done = !(q->reads & QUEUE_READS_DUE);
	q->all = all;
	q->news = false;
	if (q->reads & QUEUE_READS_NEW)
		queue_news(q);
}

/* What is due, from the oldest bucket on. */
static void due_again(struct queue *q)
{
	window_close(&q->due);
	q->bucket = 0;
	queue_changed(q);
	q->due_done = q->all = q->news = false;
}

void queue_news(struct queue *q)
{
	if (!(q->reads & QUEUE_READS_NEW)) {
		if (q->due_done && q->reads)
			due_again(q);
		else
			q->news = true; /* at the end of this pass */
		return;
	}
	/* What is in an open window is still there to be given. */
	if (window_used(q->fresh))
		q->failed |= !window_open(&q->fresh, q->s->new, ".");
	else
		q->news = true; /* behind it: the folder may be read to its end already */
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
	DIR *d = dir_open(q->dir, ".");
	const struct dirent *e;
	uint32_t b;

	*ret_next = *ret_future = 0;
	if (!d) {
		q->failed = true;
		return;
	}
	while ((e = readdir(d))) {
		if (!dir_bucket(e->d_name, &b))
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
		if (window_next(q->due, &ret->id)) {
			ret->due = q->bucket;
			return true;
		}
		window_close(&q->due);
		buckets_look(q, now, longest, &next, &future);
		if (next == 0 && q->news && !(q->reads & QUEUE_READS_NEW)) {
			due_again(q);
			continue;
		}
		if (next == 0) {
			q->due_done = true;
			break;
		}
		q->bucket = next;
		snprintf(name, sizeof(name), "%08x", next);
		q->failed |= !window_open(&q->due, q->dir, name) && errno != ENOENT;
	}
	return false;
}

static bool next_new_name(struct queue *q, struct place *ret)
{
	bool any = window_next(q->fresh, &ret->id);

	if (!any && q->news && (q->reads & QUEUE_READS_NEW)) {
		q->news = false;
		q->failed |= !window_open(&q->fresh, q->s->new, ".");
		any = window_next(q->fresh, &ret->id);
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

static int64_t look_again(struct queue *q, int64_t now)
{
	/* Nobody looks while there is no room, or everything is being looked at. */
	if (q->again_at == 0 || q->again_at + 1 < now ||
	    q->again_at > now + QUEUE_LOOK_AGAIN)
		q->again_at = now + QUEUE_LOOK_AGAIN;
	return q->again_at;
}

int64_t queue_next_due(struct queue *q, int64_t now, int64_t longest)
{
	uint32_t bucket = q->bucket, due, future;
	bool all = q->all;
	int64_t at;

	if (q->failed)
		return look_again(q, now);
	if (!(q->reads & QUEUE_READS_DUE))
		return -1;
	/* Every turn of mailchuted's loop asks, and reading the folder takes a while. */
	if (q->next_known && (q->next_at < 0 || q->next_at > now))
		return q->next_at;
	q->bucket = 0;
	q->all = false;
	buckets_look(q, now, longest, &due, &future);
	q->bucket = bucket;
	q->all = all;
	if (q->failed)
		return look_again(q, now);
	at = future ? (int64_t)future * QUEUE_BUCKET_SECONDS : -1;
	if (due && q->due_done && (at < 0 || at > now + QUEUE_LOOK_AGAIN))
		at = now + QUEUE_LOOK_AGAIN;
	q->next_known = q->due_done && !due;
	q->next_at = at;
	return at;
}

void queue_changed(struct queue *q)
{
	q->next_known = false;
}

int queue_get(struct queue *q, const struct place *p, int *ret_fd, int *ret_note)
{
	char path[QUEUE_PATH];
	int fd, note;

	queue_path(q->route, p, path);
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

void queue_dirty(struct queue *q, uint32_t bucket)
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
	char path[QUEUE_PATH];

	queue_path(q->route, p, path);
	if (unlinkat(q->s->queue, path, 0) < 0 && errno != ENOENT)
		return -errno;
	queue_dirty(q, p->due);
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
		int r = queue_sync_place(q, q->dirty[i]);

		e = r < 0 ? r : e;
	}
	if (q->dirty_all && syncfs(q->dir) < 0)
		e = -errno;
	if (q->s->taken_dirty && fsync(q->s->taken) < 0)
		e = -errno;
	q->s->taken_dirty = false;
	q->dirty_new = q->dirty_all = false;
	q->dirty_n = q->removed = 0;
	q->unsynced |= e < 0;
	return e;
}
