#include "listen/submit.h"
#include "base/clock.h"
#include "base/io.h"
#include "mail/envelope.h"
#include <errno.h>
#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- the door ---- */

/* Where the drop cannot be opened, its folder may still be searched. */
static struct str door_by_path(const struct submit *s, struct buf *text)
{
	_cleanup_buf_ struct buf path = BUF_INIT;
	_cleanup_fd_ int fd = -1;

	buf_fmt(&path, "%s/in/door", s->spool);
	fd = open(path.p, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 || io_slurp(fd, text, DOOR_MAX) < 0 ? STR_NONE : buf_view(text);
}

int submit_ask(struct submit *s, uint64_t *ret_size, struct buf *ret_words)
{
	_cleanup_buf_ struct buf text =
	    BUF_INIT; /* the stack of idle sessions stays small */
	struct door door;
	struct str words, is;
	uid_t uid = geteuid();

	if (ret_size)
		*ret_size = 0;
	is = drop_keep_open(&s->keep, s->spool) == 0 ? drop_keep_door(&s->keep)
	                                             : door_by_path(s, &text);
	if (!is.n || !door_read(is, uid, clock_real(), &door))
		return 0;
	if (ret_size)
		*ret_size = (uint64_t)door.size;
	words = door_refuses(&door, uid);
	if (!words.n)
		return 0;
	buf_str(ret_words, words);
	return -EBUSY;
}

/* ---- the envelope ---- */

void submit_sender(struct submit *s, struct str sender, struct str ret, struct str envid)
{
	submit_reset(s);
	buf_str(&s->sender, sender);
	buf_str(&s->ret, ret);
	buf_str(&s->envid, envid);
}

static void put_z(struct buf *b, struct str v)
{
	buf_str(b, v);
	buf_c(b, '\0');
}

void submit_rcpt(struct submit *s, struct str addr, struct str notify, struct str orcpt)
{
	put_z(&s->rcpts, addr);
	put_z(&s->rcpts, notify);
	put_z(&s->rcpts, orcpt);
	s->rcpt_n++;
}

static void print_envelope(const struct submit *s, struct str client, struct buf *b)
{
	_cleanup_buf_ struct buf room = BUF_INIT;
	struct str rest = buf_view(&s->rcpts);
	struct env_rcpt *rcpt =
	    (void *)buf_room(&room, (s->rcpt_n + 1) * sizeof(struct env_rcpt));
	struct envelope e = {
		.client = client,
		.ret = buf_view(&s->ret),
		.envid = buf_view(&s->envid),
		.has_sender = true,
		.sender = buf_view(&s->sender),
		.rcpt = rcpt,
		.rcpts = s->rcpt_n,
	};

	for (size_t i = 0; i < s->rcpt_n; i++)
		if (!str_cut(&rest, '\0', &rcpt[i].addr) ||
		    !str_cut(&rest, '\0', &rcpt[i].notify) ||
		    !str_cut(&rest, '\0', &rcpt[i].orcpt))
			abort();
	envelope_print_drop(b, &e);
}

/* ---- the two doors ---- */

static void close_doors(struct submit *s)
{
	drop_abort(&s->drop);
	if (s->second)
		sm_sink_abort(&s->sink);
	s->drop = (struct drop)DROP_INIT;
	s->sink = (struct sm_sink)SM_SINK_INIT;
	s->open = s->second = false;
	buf_reset(&s->lines);
}

/* A code of sysexits(3) of the second door. */
static int sink_error(int code)
{
	return code == 0 ? 0 : code == EX_UNAVAILABLE ? -EFBIG : -EAGAIN;
}

static bool keeps_out(int e)
{
	return e == -EROFS || e == -EACCES || e == -EPERM || e == -ENOENT ||
	       e == -ENOTDIR;
}

static void no_room(int e, struct buf *why)
{
	buf_fmt(why, "the spool has no room for this message now (min-free): %s",
	        strerror(-e));
}

static int open_door(struct submit *s, struct buf *why)
{
	int e = drop_begin_kept(&s->drop, s->spool, &s->keep);

	if (e == 0) {
		e = drop_room(&s->drop);
		if (e < 0)
			no_room(e, why);
	} else if (e == -EBUSY) {
		buf_str(why, s->drop.refusal);
	} else if (keeps_out(e)) {
		s->second = true;
		e = sink_error(sm_sink_open(&s->sink, s->spool, why));
	} else if (e < 0) {
		buf_fmt(why, "a file cannot be created in %s/in/drop: %s", s->spool,
		        strerror(-e));
	}
	return e;
}

int submit_begin(struct submit *s, struct str client, struct buf *ret_why)
{
	int e = open_door(s, ret_why);

	if (e < 0) {
		close_doors(s);
		return e;
	}
	s->open = true;
	print_envelope(s, client, &s->lines);
	return 0;
}

static int write_on(struct submit *s, struct str bytes, struct buf *ret_why)
{
	int e;

	if (s->second) {
		e = sink_error(sm_sink_write(&s->sink, bytes.p, bytes.n, ret_why));
	} else {
		e = drop_write(&s->drop, bytes.p, bytes.n);
		if (e == -ENOSPC)
			no_room(e, ret_why);
		else if (e < 0)
			buf_fmt(ret_why, "the message cannot be written: %s",
			        strerror(-e));
	}
	if (e < 0)
		close_doors(s);
	return e;
}

int submit_write(struct submit *s, struct str bytes, struct buf *ret_why)
{
	int e;

	if (!s->open)
		return -EIO;
	if (!s->lines.n)
		return write_on(s, bytes, ret_why);
	buf_str(&s->lines, bytes);
	e = write_on(s, buf_view(&s->lines), ret_why);
	buf_free(&s->lines);
	return e;
}

static int commit_drop(struct submit *s, struct id *id, struct buf *why)
{
	uint64_t limit = s->drop.limit;
	int e = drop_commit(&s->drop);

	if (e == 0)
		*id = s->drop.id;
	else if (e == -ENOSPC)
		no_room(e, why);
	else if (e == -EFBIG)
		buf_fmt(why, "it is larger than %llu octets", (unsigned long long)limit);
	else
		buf_fmt(why, "the message cannot be committed: %s", strerror(-e));
	return e;
}

int submit_commit(struct submit *s, struct id *ret_id, struct buf *ret_why)
{
	struct id id = { .c = "" };
	int e = -EIO;

	/* Of an empty message nothing was written yet. What cannot be closes the doors. */
	if (s->open && s->lines.n)
		e = submit_write(s, STR(""), ret_why);
	if (s->open && s->second)
		e = sink_error(sm_sink_commit(&s->sink, ret_why));
	else if (s->open)
		e = commit_drop(s, &id, ret_why);
	close_doors(s);
	if (e == 0)
		*ret_id = id;
	return e;
}

void submit_idle(struct submit *s)
{
	_cleanup_buf_ struct buf why = BUF_INIT;

	/* What fails now fails again at the next write, which says so. */
	if (s->open && s->second)
		(void)sm_sink_idle(&s->sink, &why);
}

void submit_reset(struct submit *s)
{
	close_doors(s);
	buf_reset(&s->sender);
	buf_reset(&s->ret);
	buf_reset(&s->envid);
	buf_free(&s->rcpts); /* between messages a session holds little */
	s->rcpt_n = 0;
}

void submit_free(struct submit *s)
{
	submit_reset(s);
	buf_free(&s->sender);
	buf_free(&s->ret);
	buf_free(&s->envid);
	buf_free(&s->lines);
	drop_keep_close(&s->keep);
}
