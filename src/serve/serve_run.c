#include "serve/serve_run.h"
#include "base/clock.h"
#include "base/io.h"
#include "prog/job.h"
#include "serve/serve_list.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	READ_SIZE = 65536,
	LINGER_OCTETS = 64 << 20, /* thrown away behind an early answer */
	WORDS_MAX = 1000,         /* octets of the words of an answer */
};

struct client {
	const struct serve *s;
	int64_t until; /* monotonic ms: the end of all patience */
	struct buf in; /* read and not yet used; at most READ_SIZE */
	struct out out;
	int gone; /* -errno of why nothing can be written any more, or 0 */
};

/* ---- The connection ---- */

/* Waits until fd is ready for events. 0, -ETIMEDOUT, -errno. */
static int wait_for(int fd, short events, int64_t until)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		int64_t left = until - clock_ms();
		int r;

		if (left <= 0)
			return -ETIMEDOUT;
		r = poll(&p, 1, left < INT32_MAX ? (int)left : INT32_MAX);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

static int64_t deadline(const struct client *c)
{
	int64_t idle = clock_ms() + c->s->limits.idle_ms;

	return idle < c->until ? idle : c->until;
}

/* Reads what there is behind c->in. Octets; 0: the client has ended; -ETIMEDOUT; -errno. */
static ssize_t client_read(struct client *c)
{
	size_t room = READ_SIZE - c->in.n;
	int64_t until = deadline(c);
	ssize_t r;

	for (;;) {
		r = recv(c->s->conn, buf_room(&c->in, room), room, MSG_DONTWAIT);
		if (r >= 0)
			break;
		if (errno == EAGAIN) {
			int e = wait_for(c->s->conn, POLLIN, until);

			if (e < 0)
				return e;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	c->in.n += (size_t)r;
	c->in.p[c->in.n] = '\0';
	return r;
}

static bool client_send(void *arg, struct str s)
{
	struct client *c = arg;
	int64_t until = deadline(c);

	while (s.n) {
		ssize_t r = send(c->s->conn, s.p, s.n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r > 0) {
			s = str_from(s, (size_t)r);
			until = deadline(c);
		} else if (errno == EAGAIN) {
			c->gone = wait_for(c->s->conn, POLLOUT, until);
		} else if (errno != EINTR) {
			c->gone = -errno;
		}
		if (c->gone < 0)
			return false;
	}
	/* A client that reads a little now and then does not keep its place for ever. */
	if (clock_ms() >= c->until)
		c->gone = -ETIMEDOUT;
	return c->gone == 0;
}

/* A client that still writes would find a closed connection before it has read why: what it
 * sends is thrown away for a moment. */
static void linger(struct client *c)
{
	int64_t until = clock_ms() + c->s->limits.linger_ms;
	size_t total = 0;

	shutdown(c->s->conn, SHUT_WR);
	while (total < LINGER_OCTETS && wait_for(c->s->conn, POLLIN, until) == 0) {
		ssize_t r;

		buf_reset(&c->in);
		r = recv(c->s->conn, buf_room(&c->in, READ_SIZE), READ_SIZE,
		         MSG_DONTWAIT);
		if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
			return;
		total += r > 0 ? (size_t)r : 0;
	}
}

/* The last line. It has a moment to go out also when the time is up. */
static int answer(struct client *c, int code, struct str words)
{
	int64_t moment = clock_ms() + c->s->limits.linger_ms;

	c->until = c->until > moment ? c->until : moment;
	buf_fmt(&c->out.b, "%d ", code);
	text_safe(&c->out.b, words, WORDS_MAX);
	buf_c(&c->out.b, '\n');
	return out_flush(&c->out) ? code : c->gone;
}

/* The same, while the client may still be writing. */
static int refuse(struct client *c, int code, struct str words)
{
	int r = answer(c, code, words);

	if (r >= 0)
		linger(c);
	return r;
}

/* ---- mailchuted ---- */

struct reply {
	bool ok;
	int code;         /* of sysexits(3), when it is not ok */
	struct str words; /* borrowed from the packet */
};

/* Waits for a packet. A client that closes its connection meanwhile ends it (-EPIPE), unless
 * it is to be heard to its end. */
static int control_wait(const struct client *c, bool to_the_end)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = c->s->control, .events = POLLIN },
			/* Only POLLHUP: it may have ended its own side, and listen. */
			{ .fd = to_the_end ? -1 : c->s->conn, .events = 0 },
		};
		int64_t left = c->until - clock_ms();
		int r;

		if (left <= 0)
			return -ETIMEDOUT;
		r = poll(p, ARRAY_LEN(p), left < INT32_MAX ? (int)left : INT32_MAX);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && p[0].revents)
			return 0;
		if (r > 0 && p[1].revents)
			return -EPIPE;
	}
}

/* Asks mailchuted, and waits for what it says. *ret_fd: a descriptor that came with it, or
 * -1; the caller's. 0, -ETIMEDOUT, -EPIPE: the client or mailchuted has gone; -errno. */
static int control_ask(const struct client *c, struct str text, bool to_the_end,
                       struct buf *ret, int *ret_fd)
{
	int fds[JOB_FDS_MAX];
	ssize_t n = -EAGAIN;
	int e;

	do {
		e = job_send(c->s->control, text, NULL, 0);
		if (e == -EAGAIN)
			e = wait_for(c->s->control, POLLOUT, c->until);
		else
			break;
	} while (e == 0);
	while (e == 0 && n == -EAGAIN) {
		e = control_wait(c, to_the_end);
		if (e == 0)
			n = job_recv(c->s->control, ret, fds);
	}
	if (e < 0)
		return e;
	if (n <= 0)
		return n < 0 ? (int)n : -EPIPE;
	for (size_t i = 1; i < JOB_FDS_MAX; i++)
		cleanup_fd(&fds[i]);
	*ret_fd = fds[0];
	return 0;
}

/* "ok <words>" or "no <code> <words>". */
static struct reply reply_parse(struct str text)
{
	struct reply r = { .code = EX_TEMPFAIL, .words = STR("") };
	struct str verb = STR(""), code = STR("");
	uint64_t n;

	text = str_trim(text);
	str_cut(&text, ' ', &verb);
	r.ok = str_eq(verb, STR("ok"));
	if (!r.ok && str_eq(verb, STR("no"))) {
		str_cut(&text, ' ', &code);
		if (str_u64(code, &n) && n >= EX__BASE && n <= EX__MAX)
			r.code = (int)n;
	}
	if (text.p)
		r.words = text;
	return r;
}

/* ok or no to one request; the answer is words of mailchuted, or ours when it says none. */
static int control_do(const struct client *c, struct str text, bool to_the_end,
                      struct buf *packet, struct reply *ret)
{
	int fd = -1, e = control_ask(c, text, to_the_end, packet, &fd);

	cleanup_fd(&fd);
	if (e < 0)
		return e;
	*ret = reply_parse(buf_view(packet));
	return 0;
}

static int trouble(struct client *c, int e)
{
	if (e == -ETIMEDOUT)
		return answer(c, EX_TEMPFAIL, STR("mailchuted took too long"));
	return answer(c, EX_TEMPFAIL, STR("mailchuted has gone"));
}

/* ---- submit ---- */

/* A message on its way to the file. */
struct intake {
	int fd;
	uint64_t max, size;
	struct chunks chunks;
	struct drop_watch watch;
};

/* Uses up what was read. 1: that was the commit; 0: more is to come; else -EFBIG, -EBADMSG
 * with *ret_why, or -errno of the file. */
static int intake_take(struct intake *in, struct buf *bytes, const char **ret_why)
{
	struct str rest = buf_view(bytes), data;
	int r;

	*ret_why = "not a chunk";
	while ((r = chunk_next(&in->chunks, &rest, &data)) == CHUNK_DATA) {
		if (data.n > in->max - in->size)
			return -EFBIG;
		in->size += data.n;
		r = drop_watch_feed(&in->watch, data, ret_why);
		if (r == 0)
			r = io_write(in->fd, data.p, data.n);
		if (r < 0)
			return r;
	}
	buf_reset(bytes);
	if (r == CHUNK_END)
		return drop_watch_end(&in->watch, ret_why) < 0 ? -EBADMSG : 1;
	return r < 0 ? r : 0;
}

static int intake_failed(struct client *c, const struct intake *in, int e,
                         const char *why)
{
	_cleanup_buf_ struct buf words = BUF_INIT;

	if (e == -EFBIG) {
		buf_fmt(&words, "the message is too large: at most %llu octets are taken",
		        (unsigned long long)in->max);
		return refuse(c, EX_UNAVAILABLE, buf_view(&words));
	}
	if (e == -EBADMSG) {
		buf_fmt(&words, "the message is damaged: %s", why);
		return refuse(c, EX_DATAERR, buf_view(&words));
	}
	buf_fmt(&words, "the message could not be written: %s", strerror(-e));
	return refuse(c, EX_TEMPFAIL, buf_view(&words));
}

/* Syncs the file, and closes it: mailchuted trusts it as it is only when nobody can write to
 * it any more, and has to copy it otherwise. */
static int intake_close(struct intake *in)
{
	int e = fsync(in->fd) < 0 ? -errno : 0;

	if (close(in->fd) < 0 && e == 0)
		e = -errno;
	in->fd = -1;
	return e;
}

/* From the first chunk to the answer. */
static int intake_run(struct client *c, struct intake *in)
{
	_cleanup_buf_ struct buf packet = BUF_INIT;
	struct reply reply;
	const char *why = NULL;
	int e = intake_take(in, &c->in, &why);

	while (e == 0) {
		ssize_t r = client_read(c);

		if (r == -ETIMEDOUT)
			return answer(c, EX_TEMPFAIL,
			              STR("too slow; nothing was stored"));
		if (r <= 0) /* it went away: nothing is stored, nobody listens */
			return r < 0 ? (int)r : -ECONNRESET;
		e = intake_take(in, &c->in, &why);
	}
	if (e > 0)
		e = intake_close(in);
	if (e < 0)
		return intake_failed(c, in, e, why);
	e = control_do(c, STR("commit"), true, &packet, &reply);
	if (e < 0)
		return answer(
		    c, EX_TEMPFAIL,
		    STR("mailchuted has gone; the message may have been taken"));
	return answer(c, reply.ok ? EX_OK : reply.code, reply.words);
}

/* "file <id> <max octets>" */
static bool file_parse(struct str text, uint64_t *ret_max)
{
	struct str verb = STR(""), part = STR("");
	struct id id;

	text = str_trim(text);
	return str_cut(&text, ' ', &verb) && str_eq(verb, STR("file")) &&
	       str_cut(&text, ' ', &part) && id_from(part, &id) && text.p &&
	       str_u64(text, ret_max);
}

static int do_submit(struct client *c)
{
	_cleanup_buf_ struct buf packet = BUF_INIT;
	struct intake in = { .fd = -1 };
	int e, r;

	c->until = clock_ms() + c->s->limits.submit_ms;
	e = control_ask(c, STR("submit"), false, &packet, &in.fd);
	if (e < 0)
		return trouble(c, e);
	if (!file_parse(buf_view(&packet), &in.max) || in.fd < 0) {
		struct reply reply = reply_parse(buf_view(&packet));

		cleanup_fd(&in.fd);
		return refuse(c, reply.code, reply.words);
	}
	drop_watch_begin(&in.watch);
	r = intake_run(c, &in);
	drop_watch_free(&in.watch);
	cleanup_fd(&in.fd);
	return r;
}

/* ---- list, show, flush ---- */

static struct serve_view view(struct client *c, const struct request *r)
{
	return (struct serve_view){ .root = c->s->root,
		                    .uid = c->s->uid,
		                    .admin = c->s->admin,
		                    .listener = c->s->listener,
		                    .format = r->format,
		                    .now = clock_real(),
		                    .out = &c->out };
}

static int do_list(struct client *c, const struct request *r)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct serve_view v = view(c, r);
	size_t n = 0;
	int e = serve_list(&v, &n);

	if (c->gone)
		return c->gone;
	if (e < 0) {
		buf_fmt(&words, "the queue cannot be read: %s", strerror(-e));
		return answer(c, EX_IOERR, buf_view(&words));
	}
	buf_fmt(&words, "%zu message%s", n, n == 1 ? "" : "s");
	return answer(c, EX_OK, buf_view(&words));
}

static int do_show(struct client *c, struct request *r)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct serve_view v = view(c, r);
	struct id id;
	int e = request_id(r, &id) ? serve_show(&v, &id) : -ENOENT;

	if (c->gone)
		return c->gone;
	if (e == -ENOENT)
		return answer(c, EX_NOINPUT, STR("no such message"));
	if (e < 0) {
		buf_fmt(&words, "it cannot be read: %s", strerror(-e));
		return answer(c, EX_IOERR, buf_view(&words));
	}
	return answer(c, EX_OK, STR("shown"));
}

static int do_flush(struct client *c, const struct request *r)
{
	_cleanup_buf_ struct buf text = BUF_INIT, packet = BUF_INIT;
	struct reply reply;
	int e;

	c->until = clock_ms() + c->s->limits.flush_ms;
	buf_z(&text, r->route.n ? "flush " : "flush");
	buf_str(&text, r->route);
	e = control_do(c, buf_view(&text), false, &packet, &reply);
	if (e < 0)
		return trouble(c, e);
	return answer(c, reply.ok ? EX_OK : reply.code, reply.words);
}

/* ---- hold, release, delete, retry ---- */

struct deed {
	struct client *c;
	const struct request *r;
	size_t done, failed;
	int code; /* of the first that failed */
	int gone; /* -errno: mailchuted or the client has gone */
	bool alone;
};

static const char *const deed_words[] = { [REQUEST_HOLD] = "hold",
	                                  [REQUEST_RELEASE] = "release",
	                                  [REQUEST_DELETE] = "delete",
	                                  [REQUEST_RETRY] = "retry" };

/* One message. With several each has its line; alone, its words are the answer. */
static void deed_do(struct deed *d, const struct id *id, struct buf *ret_words)
{
	_cleanup_buf_ struct buf text = BUF_INIT, packet = BUF_INIT;
	struct out *out = &d->c->out;
	struct reply reply;

	buf_fmt(&text, "%s %s%s", deed_words[d->r->verb], id->c,
	        d->r->recompose ? " recompose" : "");
	d->gone = control_do(d->c, buf_view(&text), false, &packet, &reply);
	if (d->gone < 0)
		return;
	if (reply.ok)
		d->done++;
	else
		d->failed++;
	if (!reply.ok && d->code == EX_OK)
		d->code = reply.code;
	if (d->alone) {
		buf_str(ret_words, reply.words);
		return;
	}
	out_line(out);
	buf_fmt(&out->b, "%s ", id->c);
	text_safe(&out->b, reply.words, WORDS_MAX);
	out_end(out);
	if (!out_flush(out))
		d->gone = d->c->gone;
}

/* `all`: every message that the verb can do something for. What was put aside into bad/ waits
 * for a decision about each. */
static bool deed_each(void *arg, const struct list_item *item)
{
	struct deed *d = arg;
	enum list_where w = item->where;
	bool waits = w == LIST_NEW || w == LIST_ROUTE;

	if ((d->r->verb == REQUEST_RELEASE && w == LIST_HOLD) ||
	    (d->r->verb == REQUEST_DELETE && (waits || w == LIST_HOLD)) ||
	    ((d->r->verb == REQUEST_HOLD || d->r->verb == REQUEST_RETRY) && waits))
		deed_do(d, &item->place.id, NULL);
	return d->gone == 0;
}

static int do_deeds(struct client *c, struct request *r)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct deed d = { .c = c, .r = r };
	struct id id;
	int e = 0;

	d.alone = !r->all && r->ids.n == ID_LEN;
	if (r->all && !c->s->admin)
		return answer(c, EX_NOPERM, STR("only root may do that to all messages"));
	if (r->all)
		e = list_each(c->s->root, deed_each, &d);
	while (!r->all && d.gone == 0 && request_id(r, &id))
		deed_do(&d, &id, &words);
	if (c->gone)
		return c->gone;
	if (d.gone < 0)
		return trouble(c, d.gone);
	if (e < 0)
		buf_fmt(&words, "the queue cannot be read: %s", strerror(-e));
	else if (!d.alone && d.failed)
		buf_fmt(&words, "%zu done, %zu not", d.done, d.failed);
	else if (!d.alone)
		buf_fmt(&words, "%zu done", d.done);
	return answer(c, e < 0 ? EX_IOERR : d.code, buf_view(&words));
}

/* ---- The request ---- */

/* Reads until the first line is there; it stays in c->in. Its length without the LF;
 * -EMSGSIZE; -ETIMEDOUT; -ECONNRESET; -errno. */
static ssize_t request_read(struct client *c)
{
	for (;;) {
		ptrdiff_t lf = str_chr(str_head(buf_view(&c->in), REQUEST_MAX), '\n');
		ssize_t r;

		if (lf >= 0)
			return lf;
		if (c->in.n >= REQUEST_MAX)
			return -EMSGSIZE;
		r = client_read(c);
		if (r <= 0)
			return r < 0 ? r : -ECONNRESET;
	}
}

static int request_do(struct client *c, struct request *r)
{
	switch (r->verb) {
	case REQUEST_SUBMIT:
		return do_submit(c);
	case REQUEST_LIST:
		return do_list(c, r);
	case REQUEST_SHOW:
		return do_show(c, r);
	case REQUEST_FLUSH:
		return do_flush(c, r);
	case REQUEST_HOLD:
	case REQUEST_RELEASE:
	case REQUEST_DELETE:
	case REQUEST_RETRY:
		break;
	}
	return do_deeds(c, r);
}

int serve_run(const struct serve *s)
{
	struct client c = { .s = s, .in = BUF_INIT };
	_cleanup_buf_ struct buf line = BUF_INIT;
	const char *why = NULL;
	struct request r;
	ssize_t n;
	int result;

	c.out = (struct out){ .b = BUF_INIT, .send = client_send, .arg = &c };
	c.until = clock_ms() + s->limits.other_ms;
	n = request_read(&c);
	if (n >= 0) {
		buf_str(&line, str_head(buf_view(&c.in), (size_t)n));
		buf_drop(&c.in, (size_t)n + 1);
	}
	if (n == -EMSGSIZE)
		result = refuse(&c, EX_USAGE, STR("the request is too long"));
	else if (n == -ETIMEDOUT)
		result = answer(&c, EX_TEMPFAIL, STR("no request came"));
	else if (n < 0)
		result = (int)n;
	else if (request_parse(buf_view(&line), &r, &why) < 0)
		result = refuse(&c, EX_USAGE, str_z(why));
	else
		result = request_do(&c, &r);
	buf_free(&c.in);
	buf_free(&c.out.b);
	return result;
}
