#include "spool/notefile.h"
#include "spool/queue.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	WRITER_DEAD_AFTER = 36 * 3600,
	JUNK_KEPT = 36 * 3600,
	JUNK_REMOVALS = 4096, /* in one call */
	PARTS_PENDING = 64,
};

static void sweep_folder(int dir, int64_t older_than)
{
	DIR *d = dir_open(dir, ".");
	const struct dirent *e;
	struct stat st;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (strncmp(e->d_name, "t.", 2) == 0 &&
		    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode) && st.st_mtime < older_than)
			unlinkat(dir, e->d_name, 0);
	closedir(d);
}

/* Names in junk/ are ids, made when they came there: the times of the file itself are its
 * owner's to set. What has another name was put there by somebody. */
static void sweep_junk(struct spool *s, int64_t now)
{
	DIR *d = dir_open(s->junk, ".");
	const struct dirent *e;
	int removed = 0;
	struct id id;

	if (!d)
		return;
	while (removed < JUNK_REMOVALS && (e = readdir(d))) {
		int64_t age;

		if (!id_from(str_z(e->d_name), &id))
			continue;
		age = now - id_ms(&id) / 1000;
		/* From the future: the clock was wrong then. */
		if (age < JUNK_KEPT && age > -JUNK_KEPT)
			continue;
		unlinkat(s->junk, e->d_name, 0);
		removed++;
	}
	closedir(d);
}

void spool_sweep(struct spool *s, int64_t now, bool at_start)
{
	int64_t ours = at_start ? INT64_MAX : now - WRITER_DEAD_AFTER;

	sweep_folder(s->drop, now - WRITER_DEAD_AFTER);
	sweep_folder(s->new, ours);
	sweep_folder(s->note, ours);
	sweep_junk(s, now);
}

/* ---- Notes without a message ---- */

/* The ids of parts that are prepared in queue/new. False: they cannot all be known. */
static bool parts_pending(struct spool *s, struct id *ids, size_t *ret_n)
{
	DIR *d = dir_open(s->new, ".");
	const struct dirent *e;
	struct id parent;
	bool all = true;
	size_t n = 0;
	unsigned which;

	if (!d)
		return false;
	errno = 0;
	while (all && (e = readdir(d))) {
		if (!derived_parse(e->d_name, &parent, &which))
			continue;
		all = n < PARTS_PENDING;
		if (all)
			ids[n++] = id_derive(&parent, which);
	}
	all = all && errno == 0;
	closedir(d);
	*ret_n = n;
	return all;
}

static bool is_nowhere(struct spool *s, const struct id *id)
{
	const int aside[] = { s->hold, s->bad, s->taken };
	char route[QUEUE_ROUTE_MAX + 1];
	struct place p;

	for (size_t i = 0; i < ARRAY_LEN(aside); i++)
		if (faccessat(aside[i], id->c, F_OK, 0) == 0 || errno != ENOENT)
			return false;
	return queue_find(s, id, route, &p) == -ENOENT;
}

void note_remove_orphan(struct spool *s, const struct id *id)
{
	if (is_nowhere(s, id))
		unlinkat(s->note, id->c, 0);
}

static bool is_old(struct spool *s, const char *name, int64_t now)
{
	struct stat st;

	return fstatat(s->note, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && st.st_mtime < now - SPOOL_ORPHAN_AGE;
}

unsigned spool_sweep_notes(struct spool *s, int64_t now, long *at)
{
	struct id pending[PARTS_PENDING];
	DIR *d = dir_open(s->note, ".");
	const struct dirent *e = NULL;
	unsigned removed = 0, finds = 0;
	size_t parts;

	if (!d)
		return 0;
	if (!parts_pending(s, pending, &parts)) {
		closedir(d);
		return 0;
	}
	if (*at)
		seekdir(d, *at);
	for (int i = 0;
	     i < SPOOL_SWEEP_NAMES && finds < SPOOL_SWEEP_FINDS && (e = readdir(d));
	     i++) {
		bool part = false;
		struct id id;

		if (!id_from(str_z(e->d_name), &id) || !is_old(s, e->d_name, now))
			continue;
		for (size_t p = 0; p < parts; p++)
			part |= id_cmp(&pending[p], &id) == 0;
		finds++;
		if (!part && is_nowhere(s, &id) && unlinkat(s->note, id.c, 0) == 0)
			removed++;
	}
	*at = e ? telldir(d) : 0;
	closedir(d);
	return removed;
}
