#include "daemon/verbs.h"
#include "base/clock.h"
#include "base/log.h"
#include "spool/aside.h"
#include "spool/notefile.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* Where a message is, and whose it is. */
struct found {
	enum { NOWHERE, IN_QUEUE, IN_HOLD, IN_BAD, NOT_TAKEN } where;
	char route[QUEUE_ROUTE_MAX + 1];
	struct place place;
	uid_t uid; /* (uid_t)-1: its attested lines are damaged */
	int64_t size;
};

static const struct {
	struct str word;
	enum verb verb;
} words[] = {
	{ { "hold", 4 }, VERB_HOLD },
	{ { "release", 7 }, VERB_RELEASE },
	{ { "delete", 6 }, VERB_DELETE },
	{ { "retry", 5 }, VERB_RETRY },
};

enum verb verb_from(struct str word)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(word, words[i].word))
			return words[i].verb;
	return VERB_NONE;
}

/* ---- Finding it ---- */

static bool may_touch(uid_t asks, uid_t owner)
{
	return asks == 0 || asks == geteuid() || (asks == owner && owner != (uid_t)-1);
}

/* Is this open file one that asks may touch? Nobody else learns that it is there. */
static bool take_owner(int fd, uid_t asks, struct found *f)
{
	struct stat st;

	f->uid = (uid_t)-1;
	f->size = fstat(fd, &st) == 0 ? st.st_size : 0;
	if (queue_owner(fd, &f->uid, &f->size) < 0)
		f->uid = (uid_t)-1; /* only administrators touch what is damaged */
	return may_touch(asks, f->uid);
}

/* The queue of a message's place; it reads nothing. */
static int open_queue(struct queue *q, struct spool *s, const struct found *f)
{
	return queue_open(q, s, f->place.due ? f->route : "new", 0);
}

static int find_in_queue(struct spool *s, const struct id *id, uid_t asks,
                         struct found *f)
{
	_cleanup_fd_ int fd = -1;
	_cleanup_fd_ int note = -1;
	struct queue q;
	int e = queue_find(s, id, f->route, &f->place);

	if (e < 0)
		return e;
	e = open_queue(&q, s, f);
	if (e == 0)
		e = queue_get(&q, &f->place, &fd, &note);
	queue_close(&q);
	if (e < 0)
		return e;
	return take_owner(fd, asks, f) ? 0 : -ENOENT;
}

static int find_aside(int dir, const struct id *id, uid_t asks, struct found *f)
{
	_cleanup_fd_ int fd = aside_get(dir, id);

	if (fd < 0)
		return fd;
	return take_owner(fd, asks, f) ? 0 : -ENOENT;
}

/* A drop's name is its owner's to choose, so it is looked at last, and only to say that it
 * has not been taken yet. */
static bool in_drop(int dir, const struct id *id, uid_t asks)
{
	struct stat st;

	return fstatat(dir, id->c, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && may_touch(asks, st.st_uid);
}

/* 0 also when it is nowhere. A message of somebody else in one place does not end the
 * search: the answer must not tell that it exists. */
static int find(struct spool *s, const struct id *id, uid_t asks, struct found *f)
{
	int e;

	*f = (struct found){ .where = NOWHERE };
	f->where = IN_QUEUE;
	e = find_in_queue(s, id, asks, f);
	if (e == -ENOENT) {
		f->where = IN_HOLD;
		e = find_aside(s->hold, id, asks, f);
	}
	if (e == -ENOENT) {
		f->where = IN_BAD;
		e = find_aside(s->bad, id, asks, f);
	}
	if (e != -ENOENT)
		return e;
	f->where = in_drop(s->drop, id, asks) || in_drop(s->taken, id, asks) ? NOT_TAKEN
	                                                                     : NOWHERE;
	return 0;
}

/* ---- Doing it ---- */

/* One line of words, and the code of sysexits(3). */
static int say(struct buf *ret, int code, const char *text)
{
	buf_z(ret, text);
	return code;
}

static int failed(struct buf *ret, const char *what, const struct id *id, int e)
{
	if (e == -ENOENT)
		return say(ret, EX_NOINPUT, "no such message");
	log_line(LOG_LEVEL_ALERT, "spool-error id=%s what=%s why=\"%s\"", id->c, what,
	         strerror(-e));
	buf_fmt(ret, "the spool: %s", strerror(-e));
	return e == -ENOSPC || e == -EDQUOT ? EX_TEMPFAIL : EX_IOERR;
}

/* Of a message that a push has in its hand. */
static int later(enum verb v, uid_t asks, const struct id *id, struct buf *ret)
{
	const char *what;

	if (v == VERB_RETRY)
		return say(ret, EX_OK, "is being tried now");
	if (v == VERB_RECOMPOSE)
		return say(ret, EX_TEMPFAIL,
		           "is being tried now; ask again when that has ended");
	what = v == VERB_HOLD ? "hold" : v == VERB_DELETE ? "delete" : "release";
	log_line(LOG_LEVEL_INFO, "remembered id=%s by=%u what=%s", id->c, (unsigned)asks,
	         what);
	if (v == VERB_RELEASE)
		return say(ret, EX_OK, "is not held: it is being tried now");
	buf_fmt(ret,
	        "is being tried now; will be %s when its try has ended, unless it is "
	        "delivered",
	        v == VERB_HOLD ? "held" : "deleted");
	return EX_OK;
}

/* Appends a line of a letter and the time. A message without a note has no plan yet, and
 * nothing that must be remembered. */
static int note_mark(struct spool *s, const struct id *id, char letter)
{
	char line[32];
	int e;

	snprintf(line, sizeof(line), "%c %lld\n", letter, (long long)clock_real());
	e = note_append(s, id, str_z(line));
	return e == -ENOENT ? 0 : e;
}

static int do_hold(struct spool *s, uid_t asks, const struct found *f, struct buf *ret)
{
	struct queue q;
	int e;

	if (f->where == IN_HOLD)
		return say(ret, EX_OK, "is held already");
	if (f->where == IN_BAD)
		return say(ret, EX_OK, "is in bad/ already, where nothing is tried");
	e = open_queue(&q, s, f);
	if (e == 0)
		e = queue_put_aside(&q, &f->place, s->hold);
	queue_close(&q);
	if (e < 0)
		return failed(ret, "hold", &f->place.id, e);
	log_line(LOG_LEVEL_INFO, "held id=%s by=%u", f->place.id.c, (unsigned)asks);
	return say(ret, EX_OK, "is held");
}

static int do_release(struct spool *s, const struct verb_ops *ops, uid_t asks,
                      const struct found *f, struct buf *ret)
{
	int e;

	if (f->where == IN_QUEUE)
		return say(ret, EX_OK, "is not held");
	e = aside_release(s, f->where == IN_HOLD ? s->hold : s->bad, &f->place.id);
	if (e < 0)
		return failed(ret, "release", &f->place.id, e);
	/* What brought it there must not bring it back before it was tried. */
	e = f->where == IN_BAD ? note_mark(s, &f->place.id, 'u') : 0;
	if (e < 0)
		return failed(ret, "release", &f->place.id, e);
	log_line(LOG_LEVEL_INFO, "released id=%s by=%u", f->place.id.c, (unsigned)asks);
	if (f->where == IN_BAD && ops->back)
		ops->back(ops->arg, f->uid, f->size);
	if (ops->news)
		ops->news(ops->arg, asks);
	return say(ret, EX_OK, "is released");
}

static int do_delete(struct spool *s, const struct verb_ops *ops, uid_t asks,
                     const struct found *f, struct buf *ret)
{
	struct queue q;
	int e;

	if (f->where == IN_QUEUE) {
		e = open_queue(&q, s, f);
		if (e == 0)
			e = queue_remove(&q, &f->place, true);
		if (e == 0)
			e = queue_sync(&q);
		queue_close(&q);
	} else {
		e = aside_remove(f->where == IN_HOLD ? s->hold : s->bad, &f->place.id);
	}
	if (e < 0)
		return failed(ret, "delete", &f->place.id, e);
	log_line(LOG_LEVEL_INFO, "deleted id=%s by=%u", f->place.id.c, (unsigned)asks);
	if (f->where != IN_BAD && ops->gone)
		ops->gone(ops->arg, f->uid, f->size);
	return say(ret, EX_OK, "is deleted");
}

static int do_retry(struct spool *s, const struct verb_ops *ops, enum verb v, uid_t asks,
                    const struct found *f, struct buf *ret)
{
	struct queue q;
	int e;

	if (f->where == IN_HOLD)
		return say(ret, EX_TEMPFAIL, "is held: release it first");
	if (f->where == IN_BAD)
		return say(ret, EX_TEMPFAIL,
		           "is in bad/, because it could not be sent: release it first");
	e = v == VERB_RECOMPOSE ? note_mark(s, &f->place.id, 'c') : 0;
	if (e < 0)
		return failed(ret, "recompose", &f->place.id, e);
	e = open_queue(&q, s, f);
	if (e == 0)
		e = queue_renew(&q, &f->place);
	queue_close(&q);
	if (e < 0)
		return failed(ret, "retry", &f->place.id, e);
	log_line(LOG_LEVEL_INFO, "requeued id=%s by=%u", f->place.id.c, (unsigned)asks);
	if (ops->news)
		ops->news(ops->arg, asks);
	return say(ret, EX_OK,
	           v == VERB_RECOMPOSE ? "is composed anew and tried next"
	                               : "is tried next");
}

int verb_do(struct spool *s, const struct verb_ops *ops, enum verb v, uid_t asks,
            const struct id *id, struct buf *ret)
{
	struct found f;
	int e;

	/* Removing it makes room. */
	if (v != VERB_DELETE && ops->settle && !ops->settle(ops->arg))
		return say(ret, EX_TEMPFAIL,
		           "the disk is full: what came of the last tries cannot "
		           "be noted, so nothing is moved");
	e = find(s, id, asks, &f);
	f.place.id = *id;
	if (e < 0)
		return failed(ret, "find", id, e);
	if (f.where == NOWHERE)
		return say(ret, EX_NOINPUT, "no such message");
	if (f.where == NOT_TAKEN)
		return say(ret, EX_TEMPFAIL, "has not been taken into the queue yet");
	if (f.where == IN_QUEUE && ops->in_hand && ops->in_hand(ops->arg, id, v, asks))
		return later(v, asks, id, ret);
	switch (v) {
	case VERB_HOLD:
		return do_hold(s, asks, &f, ret);
	case VERB_RELEASE:
		return do_release(s, ops, asks, &f, ret);
	case VERB_DELETE:
		return do_delete(s, ops, asks, &f, ret);
	case VERB_RETRY:
	case VERB_RECOMPOSE:
		return do_retry(s, ops, v, asks, &f, ret);
	case VERB_NONE:
		break;
	}
	return say(ret, EX_USAGE, "nothing to do");
}
