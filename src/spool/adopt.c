#include "spool/adopt.h"
#include "base/io.h"
#include "mail/envelope.h"
#include <dirent.h>
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

/* Is this name in in/drop a message that can be taken? */
static bool drop_ok(struct spool *s, const struct adopt_ops *ops, const char *name,
                    struct room *room)
{
	const char *why = NULL;
	struct stat st;

	if (fstatat(ops ? s->drop : s->taken, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (!ops)
		return room_for(room, st.st_size);
	if (!S_ISREG(st.st_mode))
		why = "not a regular file";
	else if (st.st_uid != geteuid() && !(st.st_mode & S_IRGRP))
		why = "not readable by the group";
	else if (st.st_uid != geteuid() && st.st_gid != getegid())
		why = "not of the spool's group";
	else if (st.st_size > room->disk)
		why = "larger than the disk";
	if (why)
		ops->junk(ops->arg, name, st.st_uid, why);
	return !why && room_for(room, st.st_size);
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
	_cleanup_buf_ struct buf head = BUF_INIT, name = BUF_INIT;
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
	envelope_print_attested(&head, st.st_uid, buf_view(&t->login), buf_view(&name),
	                        st.st_mtime);
	t->copy = spool_file_begin(s->new, &t->a.id);
	if (t->copy < 0)
		return t->copy;
	e = io_write(t->copy, head.p, head.n);
	if (e < 0)
		return e;
	n = copy_all_of(in, t->copy, st.st_size);
	if (n < 0)
		return (int)n;
	t->a.size = n;
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

static int name_cmp(const void *a, const void *b)
{
	return id_cmp(a, b);
}

/* Reads at most ADOPT_BATCH ids of taken/ or (with ops) of in/drop, passing over what is no
 * message or does not fit; sorted by age; *ret_more when there were others. */
static size_t names_read(struct spool *s, const struct adopt_ops *ops, struct id *ids,
                         struct room *room, bool *ret_more)
{
	int fd =
	    openat(ops ? s->drop : s->taken, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	size_t n = 0;

	*ret_more = false;
	if (!d) {
		cleanup_fd(&fd);
		return 0;
	}
	while ((e = readdir(d))) {
		if (!id_ok(e->d_name))
			continue;
		if (n == ADOPT_BATCH) {
			*ret_more = true;
			break;
		}
		if (!drop_ok(s, ops, e->d_name, room))
			continue;
		id_from(str_z(e->d_name), &ids[n++]);
	}
	closedir(d);
	qsort(ids, n, sizeof(*ids), name_cmp);
	return n;
}

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
	names = names_read(s, leftovers ? NULL : ops, ids, &room, ret_more);
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
	if (names == 0 && room.short_of)
		return -ENOSPC;
	return *n ? 0 : refused;
}

void spool_recover(struct spool *s)
{
	int fd = openat(s->taken, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		cleanup_fd(&fd);
		return;
	}
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
