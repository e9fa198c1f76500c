#include "spool/adopt.h"
#include "base/io.h"
#include "mail/envelope.h"
#include "spool/dir.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
	COPY_BLOCK = 32768,
	COPY_SLACK =
	    8192, /* of space beside a copy: attested lines, a part of the folder */
};

/* One drop on its way through a batch. */
struct taking {
	struct adopted a;
	int copy; /* descriptor of queue/new/t.<id>, not yet synced */
	struct buf login;
	bool gone;   /* the drop is removed: it is adopted */
	bool closed; /* to us, or no file: it is not to be had */
};

/* What may be copied in one batch. A file that is one hole needs no space of its owner's,
 * and one that does not fit must not keep those waiting that do. */
struct room {
	int64_t left, disk; /* octets */
	bool short_of;      /* something was passed over */
};

static void room_look(const struct spool *s, struct room *r)
{
	struct statvfs v;

	*r = (struct room){ .left = INT64_MAX, .disk = INT64_MAX };
	if (fstatvfs(s->new, &v) < 0 || v.f_blocks == 0)
		return; /* a tmpfs without limit */
	r->left = (int64_t)(v.f_bavail * v.f_frsize);
	r->disk = (int64_t)(v.f_blocks * v.f_frsize);
}

static bool room_for(struct room *r, int64_t size)
{
	if (size > r->left - COPY_SLACK) {
		r->short_of = true;
		return false;
	}
	r->left -= size + COPY_SLACK;
	return true;
}

/* Moves one drop where its owner cannot reach it. After the clock was set back an id could
 * be one that is in use: that message, or its note, must not become this one's. */
static int drop_take(struct spool *s, struct taking *t)
{
	do
		t->a.id = spool_new_id(s);
	while (faccessat(s->new, t->a.id.c, F_OK, 0) == 0 ||
	       faccessat(s->note, t->a.id.c, F_OK, 0) == 0);
	return io_rename_new(s->drop, t->a.drop.c, s->taken, t->a.id.c);
}

/* Copies size octets, or fewer when there are not so many (any more): whoever has the file
 * open could append to it as fast as it is copied. */
static int64_t copy_all_of(int in, int out, int64_t size)
{
	char block[COPY_BLOCK];
	int64_t done = 0;

	while (done < size) {
		int64_t left = size - done;
		size_t want = left < COPY_BLOCK ? (size_t)left : COPY_BLOCK;
		ssize_t n = io_read(in, block, want);
		int e;

		if (n < 0)
			return n;
		e = io_write(out, block, (size_t)n);
		if (e < 0)
			return e;
		done += n;
		if ((size_t)n < want)
			break;
	}
	return done;
}

/* Copies taken/<id> to queue/new/t.<id> behind the attested lines. */
static int taken_copy(struct spool *s, const struct adopt_ops *ops, struct taking *t)
{
	_cleanup_fd_ int in =
	    openat(s->taken, t->a.id.c,
	           O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
	_cleanup_buf_ struct buf head = BUF_INIT, name = BUF_INIT, groups = BUF_INIT;
	struct stat st;
	int64_t n;
	int e;

	if (in < 0 && errno == EPERM)
		in = openat(s->taken, t->a.id.c,
		            O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0) {
		/* Its mode or an ACL, what it was swapped for, or a lease that its owner holds. */
		t->closed = errno == EACCES || errno == ELOOP || errno == ENXIO ||
		            errno == EAGAIN;
		return -errno;
	}
	if (fstat(in, &st) < 0)
		return -errno;
	t->closed = !S_ISREG(st.st_mode);
	if (t->closed)
		return -EINVAL;
	t->a.uid = st.st_uid;
	ops->who(ops->arg, st.st_uid, &t->login, &name);
	if (ops->groups)
		ops->groups(ops->arg, st.st_uid, &groups);
	envelope_print_submitter(&head, st.st_uid, buf_view(&t->login), buf_view(&name),
	                         buf_view(&groups), st.st_mtime);
	t->copy = spool_file_begin(s->new, &t->a.id);
	if (t->copy < 0)
		return t->copy;
	e = io_write(t->copy, head.p, head.n);
	if (e < 0)
		return e;
	n = copy_all_of(in, t->copy, st.st_size);
	if (n < 0)
		return (int)n;
	t->a.size = (int64_t)head.n + n; /* as it is taken away when it is gone */
	/* Start the writing now: the syncs of the batch then wait for one journal commit.
	 */
	sync_file_range(t->copy, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

static int taken_commit(struct spool *s, struct taking *t)
{
	int e = spool_file_commit(s->new, &t->a.id, t->copy, false);

	t->copy = -1;
	return e == -EEXIST ? 0
	                    : e; /* committed before a crash, the drop not yet removed */
}

static void taken_withdraw(struct spool *s, struct taking *t)
{
	spool_file_abort(s->new, &t->a.id, t->copy);
	t->copy = -1;
	unlinkat(s->new, t->a.id.c, 0);
	s->taken_left = true;
}

/* The durable half of a batch: everything copied becomes visible, then the drops go. On
 * failure all copies are withdrawn: the drops wait in taken/. */
static int batch_commit(struct spool *s, const struct adopt_ops *ops, struct taking *t,
                        size_t n)
{
	int e = 0, failed = 0;

	for (size_t i = 0; i < n && e == 0; i++)
		e = taken_commit(s, &t[i]);
	if (e == 0 && fsync(s->new) < 0)
		e = -errno;
	for (size_t i = 0; i < n; i++) {
		/* A drop that stays would come again after a restart: then it is not yet
		 * adopted. */
		if (e == 0 && unlinkat(s->taken, t[i].a.id.c, 0) < 0 && errno != ENOENT)
			failed = -errno;
		else if (e == 0)
			s->taken_dirty = t[i].gone = true;
		if (!t[i].gone) {
			taken_withdraw(s, &t[i]);
			continue;
		}
		t[i].a.login = buf_view(&t[i].login);
		ops->adopted(ops->arg, &t[i].a);
	}
	if (failed < 0)
		e = failed;
	return e < 0 ? e : (int)n;
}

/* ---- Names ---- */

enum { UIDS = 64 /* told apart in one call; the rest counts as one */ };

/* One look at in/drop. */
struct look {
	struct spool *s;
	const struct adopt_ops *ops;
	uid_t uid; /* ours */
	gid_t gid;
	struct room *room;
	struct id *ids; /* ADOPT_BATCH: what is taken */
	size_t n;
	struct id
	    spare[ADOPT_HALF]; /* of uids that have their half: when nobody else waits */
	uid_t spare_uid[ADOPT_HALF];
	int64_t spare_size[ADOPT_HALF];
	size_t spares;
	unsigned left; /* drops that wait for one of the next calls */
	struct tally {
		uid_t uid;
		unsigned taken, cleared;
	} tally[UIDS];
	size_t tallies;
};

static struct tally *tally_of(struct look *l, uid_t uid)
{
	for (size_t i = 0; i < l->tallies; i++)
		if (l->tally[i].uid == uid)
			return &l->tally[i];
	if (l->tallies == UIDS)
		return &l->tally[UIDS - 1];
	l->tally[l->tallies] = (struct tally){ .uid = uid };
	return &l->tally[l->tallies++];
}

/* Why this name in in/drop is no message that can be taken; NULL: it is one. */
static const char *drop_bad(const struct look *l, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "not a regular file";
	if (st->st_uid != l->uid && !(st->st_mode & S_IRGRP))
		return "not readable by the group";
	if (st->st_uid != l->uid && st->st_gid != l->gid)
		return "not of the spool's group";
	if (st->st_size > l->room->disk)
		return "larger than the disk";
	return NULL;
}

static void look_take(struct look *l, const struct id *id, uid_t uid, int64_t size)
{
	const struct adopt_ops *ops = l->ops;

	if (l->n == ADOPT_BATCH) {
		l->left++;
		return;
	}
	if ((ops->may && !ops->may(ops->arg, uid)) || !room_for(l->room, size))
		return;
	tally_of(l, uid)->taken++;
	l->ids[l->n++] = *id;
}

/* What stands under this name is none of ours. It may be swapped by its owner while we look:
 * whatever it is then, it is junk. */
static void look_clear(struct look *l, const char *name, const struct stat *st)
{
	struct id id;
	int e = 0;

	if (S_ISDIR(st->st_mode)) {
		e = unlinkat(l->s->drop, name, AT_REMOVEDIR);
	} else if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode)) {
		id = spool_new_id(l->s);
		e = io_rename_new(l->s->drop, name, l->s->junk, id.c);
	} else {
		e = unlinkat(l->s->drop, name, 0);
	}
	if (e == 0)
		tally_of(l, st->st_uid)->cleared++;
}

/* A name that is none of ours. */
static void look_junk(struct look *l, const char *name)
{
	struct stat st;

	if (++l->s->drop_junk <= ADOPT_JUNK)
		return;
	if (fstatat(l->s->drop, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		look_clear(l, name, &st);
}

/* A name that is an id, but what has it cannot be taken. A file that is not empty may be a
 * message that its owner made unreadable: of those many are let be. */
static void look_bad(struct look *l, const char *name, const struct stat *st,
                     const char *why)
{
	bool message = S_ISREG(st->st_mode) && st->st_size > 0;
	unsigned *n = message ? &l->s->drop_closed : &l->s->drop_junk;

	l->ops->junk(l->ops->arg, name, st->st_uid, why);
	if (++*n > (message ? ADOPT_CLOSED : ADOPT_JUNK))
		look_clear(l, name, st);
}

/* A name that is an id. */
static void look_drop(struct look *l, const char *name)
{
	const char *why;
	struct stat st;
	struct id id;

	if (fstatat(l->s->drop, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	why = drop_bad(l, &st);
	if (why) {
		look_bad(l, name, &st, why);
		return;
	}
	id_from(str_z(name), &id);
	if (tally_of(l, st.st_uid)->taken < ADOPT_HALF) {
		look_take(l, &id, st.st_uid, st.st_size);
	} else if (l->spares < ADOPT_HALF) {
		l->spare[l->spares] = id;
		l->spare_uid[l->spares] = st.st_uid;
		l->spare_size[l->spares++] = st.st_size;
	} else {
		l->left++;
	}
}

/* An id, or "t." and one: nobody's name but a message's. */
static bool name_is_ours(const char *name)
{
	return id_ok(name) || (name[0] == 't' && name[1] == '.' && id_ok(name + 2));
}

/* Reads on where the last call left off. False: the folder's end was reached. */
static bool look_names(struct look *l)
{
	DIR *d = dir_open(l->s->drop, ".");
	const struct dirent *e = NULL;

	if (!d)
		return false;
	if (l->s->drop_at)
		seekdir(d, l->s->drop_at);
	for (int i = 0; i < ADOPT_NAMES && l->n < ADOPT_BATCH && l->left < ADOPT_BEHIND &&
	                (e = readdir(d));
	     i++) {
		if (name_is_ours(e->d_name)) {
			if (e->d_name[0] != 't')
				look_drop(l, e->d_name);
		} else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
			look_junk(l, e->d_name);
		}
	}
	l->s->drop_at = e ? telldir(d) : 0;
	closedir(d);
	return e != NULL;
}

static int name_cmp(const void *a, const void *b)
{
	return id_cmp(a, b);
}

/* Chooses at most ADOPT_BATCH names of in/drop, sorted by age, passing over what is no
 * message or does not fit; *ret_more when there are others. */
static size_t names_dropped(struct spool *s, const struct adopt_ops *ops, struct id *ids,
                            struct room *room, bool *ret_more)
{
	struct look l = { .s = s,
		          .ops = ops,
		          .uid = geteuid(),
		          .gid = getegid(),
		          .room = room,
		          .ids = ids };
	bool middle = s->drop_at != 0, more;

	if (!middle) {
		s->drop_again = false;
		s->drop_junk = s->drop_closed = 0;
	}
	more = look_names(&l);
	for (size_t i = 0; i < l.spares; i++)
		look_take(&l, &l.spare[i], l.spare_uid[i], l.spare_size[i]);
	for (size_t i = 0; i < l.tallies && ops->cleared; i++)
		if (l.tally[i].cleared)
			ops->cleared(ops->arg, l.tally[i].uid, l.tally[i].cleared);
	/* Where names are taken away, a file system may count the rest anew, and some are
	 * passed over: what took several calls is looked at until nothing is found. */
	s->drop_again |= l.left || (l.n && (more || middle));
	*ret_more = more || s->drop_again;
	qsort(ids, l.n, sizeof(*ids), name_cmp);
	return l.n;
}

/* The same of taken/. */
static size_t names_taken(struct spool *s, struct id *ids, struct room *room,
                          bool *ret_more)
{
	DIR *d = dir_open(s->taken, ".");
	const struct dirent *e;
	struct stat st;
	size_t n = 0;

	*ret_more = false;
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		if (!id_ok(e->d_name))
			continue;
		if (n == ADOPT_BATCH) {
			*ret_more = true;
			break;
		}
		if (fstatat(s->taken, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    room_for(room, st.st_size))
			id_from(str_z(e->d_name), &ids[n++]);
	}
	closedir(d);
	qsort(ids, n, sizeof(*ids), name_cmp);
	return n;
}

/* ---- A batch ---- */

/* A drop that turned out to be none, while we looked: back to where its owner sees it, under
 * a name that is not looked at again. */
static void taken_refuse(struct spool *s, const struct adopt_ops *ops,
                         const struct id *id)
{
	char name[ID_LEN + 3];

	snprintf(name, sizeof(name), "x.%s", id->c);
	if (io_rename_new(s->taken, id->c, s->drop, name) < 0)
		unlinkat(s->taken, id->c, 0);
	ops->junk(ops->arg, name, 0, "changed or closed while it was taken");
}

/* Takes the names of one folder into the batch. Gives up a name that is no message any
 * more; ends the batch at an error of ours. When no name could be taken that is an error
 * too: not to be tried again at once. */
static int batch_fill(struct spool *s, const struct adopt_ops *ops, bool leftovers,
                      struct taking *batch, size_t *n, bool *ret_more)
{
	struct id ids[ADOPT_BATCH];
	struct room room;
	size_t names;
	int refused = 0;

	room_look(s, &room);
	names = leftovers ? names_taken(s, ids, &room, ret_more)
	                  : names_dropped(s, ops, ids, &room, ret_more);
	/* There is room again when this batch has given back its drops. */
	*ret_more |= room.short_of && names;
	s->taken_left |= leftovers && room.short_of;
	for (size_t i = 0; i < names; i++) {
		struct taking *t = &batch[*n];
		int e = 0;

		*t = (struct taking){ .copy = -1, .login = BUF_INIT };
		if (leftovers) {
			t->a.id = ids[i];
		} else {
			t->a.drop = ids[i];
			e = drop_take(s, t);
		}
		if (e < 0) {
			/* Withdrawn by its owner is fine; all that were seen are not. */
			refused = e == -ENOENT && !*ret_more ? refused : e;
			continue;
		}
		e = taken_copy(s, ops, t);
		if (e == 0) {
			(*n)++;
			continue;
		}
		taken_withdraw(s, t);
		buf_free(&t->login);
		if (!t->closed)
			return e;
		taken_refuse(s, ops, &t->a.id);
	}
	if (names == 0 && room.short_of && !*ret_more)
		return -ENOSPC;
	return *n ? 0 : refused;
}

void spool_recover(struct spool *s)
{
	DIR *d = dir_open(s->taken, ".");
	const struct dirent *e;

	if (!d)
		return;
	if (fsync(s->new) == 0)
		while ((e = readdir(d)))
			if (id_ok(e->d_name) &&
			    faccessat(s->new, e->d_name, F_OK, 0) == 0)
				unlinkat(s->taken, e->d_name, 0);
	closedir(d);
}

int spool_adopt(struct spool *s, const struct adopt_ops *ops, bool *ret_more)
{
	struct taking batch[ADOPT_BATCH];
	size_t n = 0;
	bool more = false, left = s->taken_left;
	int e, done;

	s->taken_left = false;
	e = left ? batch_fill(s, ops, true, batch, &n, &more) : 0;
	if (left && more)
		s->taken_left = true;
	/* What is left over and does not fit keeps nothing waiting. */
	if (!left || (n == 0 && (e == -ENOSPC || e == -EDQUOT))) {
		int r = batch_fill(s, ops, false, batch, &n, &more);

		e = r < 0 || n == 0 ? (r < 0 ? r : e) : 0;
	}
	done = n ? batch_commit(s, ops, batch, n) : 0;
	for (size_t i = 0; i < n; i++)
		buf_free(&batch[i].login);
	*ret_more = (more || left) && e == 0 && done >= 0;
	return e < 0 ? e : done;
}
