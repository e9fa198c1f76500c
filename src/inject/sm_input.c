#include "inject/sm_input.h"
#include "base/clock.h"
#include "mail/head.h"
#include "inject/sm_sink.h"
#include <errno.h>
#include <poll.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	HINT_MAX = 64, /* octets of $LOGNAME: longer ones are no login */
};

/* ---- source ---- */

/* Waits until fd can be read from. 0, -ECANCELED, -ETIME or -errno. */
static int source_wait(const struct sm_source *s)
{
	struct pollfd p[] = { { .fd = s->fd, .events = POLLIN },
		              { .fd = s->stop_fd, .events = POLLIN } };

	for (;;) {
		int64_t left = s->deadline ? s->deadline - clock_ms() : -1;
		int r;

		if (s->deadline && left <= 0)
			return -ETIME;
		r = poll(p, ARRAY_LEN(p), (int)left);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		return p[1].revents ? -ECANCELED : 0;
	}
}

static ssize_t source_take(const struct sm_source *s, char *p, size_t n)
{
	bool wait = s->stop_fd >= 0;

	for (;;) {
		ssize_t r;
		int e = wait ? source_wait(s) : 0;

		if (e < 0)
			return e;
		r = read(s->fd, p, n);
		if (r >= 0)
			return r;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
		wait |= errno == EAGAIN; /* somebody made it non-blocking */
	}
}

/* Length of a lone dot, or of its beginning, at the end of s; 0: there is none. */
static size_t dot_tail(struct str s, bool in_line)
{
	static const struct str tails[] = {
		{ ".", 1 }, { ".\n", 2 }, { ".\r", 2 }, { ".\r\n", 3 }
	};

	for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
		struct str t = tails[i];

		if (s.n < t.n || !str_eq(str_from(s, s.n - t.n), t))
			continue;
		if (s.n == t.n ? !in_line : s.p[s.n - t.n - 1] == '\n')
			return t.n;
	}
	return 0;
}

/* Where the first line that is only a dot begins; s.n: there is none. */
static size_t dot_line(struct str s, bool in_line)
{
	size_t at = 0;

	if (in_line) {
		ptrdiff_t lf = str_chr(s, '\n');

		at = lf < 0 ? s.n : (size_t)lf + 1;
	}
	while (at < s.n) {
		struct str line = str_from(s, at);
		ptrdiff_t lf = str_chr(line, '\n');

		if (lf < 0)
			break;
		line = str_head(line, (size_t)lf + 1);
		if (str_eq(line, STR(".\n")) || str_eq(line, STR(".\r\n")))
			return at;
		at += line.n;
	}
	return s.n;
}

static void source_hold(struct sm_source *s, struct str tail)
{
	if (tail.n)
		memcpy(s->held, tail.p, tail.n);
	s->held_n = tail.n;
}

static bool is_terminal(struct sm_source *s)
{
	if (s->unsure)
		s->terminal = isatty(s->fd);
	s->unsure = false;
	return s->terminal;
}

/* What of n bytes, the held ones in front, may be given on now. */
static size_t source_cut(struct sm_source *s, struct str all)
{
	size_t tail;

	if (s->terminal || s->unsure) {
		size_t at = dot_line(all, s->in_line);

		if (at < all.n && is_terminal(s)) {
			s->ended = true;
			return at;
		}
	}
	tail = dot_tail(all, s->in_line);
	source_hold(s, str_from(all, all.n - tail));
	if (all.n)
		s->in_line = tail == 0 && all.p[all.n - 1] != '\n';
	return all.n - tail;
}

ssize_t sm_source_read(struct sm_source *s, char *p, size_t n)
{
	while (!s->ended) {
		size_t held = s->held_n;
		ssize_t r;

		memcpy(p, s->held, held);
		r = source_take(s, p + held, n - held);
		if (r < 0)
			return r;
		if (r > 0) {
			size_t give = (size_t)r + held;

			if (s->dot_ends)
				give = source_cut(s, (struct str){ p, give });
			if (give)
				return (ssize_t)give;
			continue;
		}
		s->ended = true;
		/* ".\r" is no line end: not a lone dot after all. */
		if (held == 2 && s->held[1] == '\r')
			return (ssize_t)held;
	}
	return 0;
}

/* ---- header ---- */

/* Is it known where the header ends? */
static bool head_found(struct sm_head *h)
{
	h->header = head_length(h->text, h->complete, &h->empty);
	return h->complete || h->header < h->text.n || h->empty;
}

static int head_grow(struct sm_source *s, struct sm_head *h)
{
	/* Twice as much every time: head_length() begins anew. */
	size_t want = h->big.n * 2;

	if (h->big.n > HEAD_MAX)
		return -EFBIG;
	while (h->big.n < want && !h->complete) {
		size_t room = want - h->big.n;
		ssize_t r;

		if (room < SM_BLOCK_MIN)
			room = SM_BLOCK_MIN;
		r = sm_source_read(s, buf_room(&h->big, room), room);
		if (r < 0)
			return (int)r;
		h->big.n += (size_t)r;
		h->complete = r == 0;
	}
	h->text = buf_view(&h->big);
	return 0;
}

int sm_head_read(struct sm_source *s, char *block, size_t n, struct sm_head *ret)
{
	struct sm_head h = { .big = BUF_INIT };
	size_t got = 0;

	while (n - got >= SM_BLOCK_MIN && !h.complete) {
		ssize_t r = sm_source_read(s, block + got, n - got);

		if (r < 0)
			return (int)r;
		got += (size_t)r;
		h.complete = r == 0;
	}
	h.text = (struct str){ block, got };
	while (!head_found(&h)) {
		int e;

		if (h.big.n == 0)
			buf_str(&h.big, h.text);
		e = head_grow(s, &h);
		if (e < 0) {
			buf_free(&h.big);
			return e;
		}
	}
	if (h.header > HEAD_MAX) {
		buf_free(&h.big);
		return -EFBIG;
	}
	*ret = h;
	return 0;
}

enum field { FIELD_OTHER, FIELD_RCPT, FIELD_RESENT_RCPT };

static enum field field_kind(struct str name, bool *ret_blind)
{
	static const struct {
		struct str name;
		enum field kind;
		bool blind;
	} fields[] = {
		{ { "To", 2 }, FIELD_RCPT, false },
		{ { "Cc", 2 }, FIELD_RCPT, false },
		{ { "Bcc", 3 }, FIELD_RCPT, true },
		{ { "Resent-To", 9 }, FIELD_RESENT_RCPT, false },
		{ { "Resent-Cc", 9 }, FIELD_RESENT_RCPT, false },
		{ { "Resent-Bcc", 10 }, FIELD_RESENT_RCPT, true },
	};

	*ret_blind = false;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (str_ieq(name, fields[i].name)) {
			*ret_blind = fields[i].blind;
			return fields[i].kind;
		}
	}
	return FIELD_OTHER;
}

static bool has_resent(struct str header)
{
	struct head_field f;
	bool blind;

	while (head_next(&header, &f))
		if (field_kind(f.name, &blind) == FIELD_RESENT_RCPT)
			return true;
	return false;
}

int sm_head_rcpts(struct str header, struct sm_rcpts *r, struct buf *ret_why)
{
	enum field wanted = has_resent(header) ? FIELD_RESENT_RCPT : FIELD_RCPT;
	struct head_field f;
	struct str bad;
	bool blind;

	while (head_next(&header, &f)) {
		if (field_kind(f.name, &blind) != wanted || sm_rcpts_add(r, f.body, &bad))
			continue;
		if (bad.n) {
			buf_str(ret_why, f.name);
			buf_z(ret_why, ": not a recipient: ");
			sm_quote(ret_why, bad);
		} else {
			buf_fmt(ret_why, "more than %d recipients", ENVELOPE_RCPT_MAX);
		}
		return EX_DATAERR;
	}
	return 0;
}

void sm_head_print(struct buf *b, struct str header)
{
	struct str rest = header;
	const char *done = header.p;
	struct head_field f;
	bool blind;

	while (head_next(&rest, &f)) {
		field_kind(f.name, &blind);
		if (!blind)
			continue;
		buf_add(b, done, (size_t)(f.raw.p - done));
		done = f.raw.p + f.raw.n;
	}
	if (header.n)
		buf_add(b, done, (size_t)(header.p + header.n - done));
}

/* ---- storing ---- */

static int fail_read(struct buf *why, int e)
{
	if (e == -ECANCELED)
		return sm_fail(why, EX_TEMPFAIL, "ended by a signal, nothing is stored",
		               NULL, 0);
	if (e == -ETIME)
		return sm_fail(why, EX_TEMPFAIL, "standard input took too long", NULL, 0);
	return sm_fail(why, EX_IOERR, "cannot read standard input", NULL, e);
}

/* $LOGNAME is anybody's to set: a hint for people, where the uid has no name. */
static struct str login_hint(void)
{
	static const char *const names[] = { "LOGNAME", "USER" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str v = str_z(getenv(names[i]));

		if (v.n && v.n <= HINT_MAX && envelope_value_ok(v))
			return v;
	}
	return STR_NONE;
}

static void print_envelope(struct buf *b, const struct sm_args *a)
{
	_cleanup_buf_ struct buf rcpts = BUF_INIT;
	struct envelope e = { .hint = login_hint(),
		              .full_name = a->full_name,
		              .ret = a->ret,
		              .envid = a->envid,
		              .has_sender = a->has_sender,
		              .sender = buf_view(&a->sender),
		              .rcpts = a->rcpts.n };

	for (size_t i = 0; i < a->rcpts.n; i++) {
		struct env_rcpt r = { .addr = sm_rcpts_at(&a->rcpts, i),
			              .notify = buf_view(&a->notify) };

		buf_add(&rcpts, &r, sizeof(r));
	}
	e.rcpt = (void *)rcpts.p;
	envelope_print_drop(b, &e);
}

/* Writes what there is so far: front (envelope and header) and the body's beginning,
 * which may stand in the block. */
static int store_front(struct sm_sink *k, struct str front, struct str body, char *block,
                       size_t n, struct buf *why)
{
	int e;

	/* One write(2), and no memory, for most messages. */
	if (front.n <= n && body.n <= n - front.n) {
		if (body.n)
			memmove(block + front.n, body.p, body.n);
		memcpy(block, front.p, front.n);
		return sm_sink_write(k, block, front.n + body.n, why);
	}
	e = sm_sink_write(k, front.p, front.n, why);
	return e == 0 && body.n ? sm_sink_write(k, body.p, body.n, why) : e;
}

/* Reads on; while nothing comes, the socket's other side hears of us. */
static ssize_t read_rest(struct sm_source *s, char *block, size_t n, struct sm_sink *k,
                         int64_t end, struct buf *why)
{
	for (;;) {
		ssize_t r;
		int e;

		s->deadline = end;
		if (k->second && clock_ms() + s->idle_ms < end)
			s->deadline = clock_ms() + s->idle_ms;
		r = sm_source_read(s, block, n);
		if (r != -ETIME || s->deadline == end)
			return r < 0 ? -fail_read(why, (int)r) : r;
		e = sm_sink_idle(k, why);
		if (e != 0)
			return -e;
	}
}

/* The rest of a message that did not fit the block: now there is a file, and nobody may
 * leave it behind. */
static int store_rest(struct sm_source *s, struct sm_sink *k, char *block, size_t n,
                      struct buf *why)
{
	int64_t end = clock_ms() + INT64_C(3600000) * SM_WRITER_HOURS;
	int e = sm_sink_watch(k, why);

	s->stop_fd = k->stop;
	while (e == 0) {
		ssize_t r = read_rest(s, block, n, k, end, why);

		if (r <= 0) /* the end, or minus a code */
			return (int)-r;
		e = sm_sink_write(k, block, (size_t)r, why);
	}
	return e;
}

/* Finds the recipients and prints what goes in front of the body. */
static int frame(const struct sm_head *h, struct sm_args *args, struct buf *front,
                 struct buf *why)
{
	struct str header = str_head(h->text, h->header);
	size_t before;

	if (args->take_from_header) {
		int e = sm_head_rcpts(header, &args->rcpts, why);

		if (e != 0)
			return e;
	}
	if (args->rcpts.n == 0)
		return sm_fail(why, EX_USAGE, "no recipients", NULL, 0);
	print_envelope(front, args);
	if (front->n > ENVELOPE_MAX)
		return sm_fail(why, EX_DATAERR, "the recipients' addresses are too long",
		               NULL, 0);
	before = front->n;
	sm_head_print(front, header);
	/* Nothing is left of it (Bcc alone), and no empty line was there: without one, text
	 * that follows could be taken for a header, as "From ..." for an mbox line. */
	if (header.n && front->n == before)
		buf_c(front, '\n');
	return 0;
}

int sm_submit(struct sm_source *s, struct sm_args *args, const char *spool, char *block,
              size_t n, struct buf *ret_why)
{
	_cleanup_buf_ struct buf front = BUF_INIT;
	struct sm_head h = { .big = BUF_INIT };
	struct sm_sink k = SM_SINK_INIT;
	int e = sm_head_read(s, block, n, &h);

	if (e == -EFBIG)
		return sm_fail(ret_why, EX_DATAERR, "the header is longer than 16 MiB",
		               NULL, 0);
	if (e < 0)
		return fail_read(ret_why, e);
	e = frame(&h, args, &front, ret_why);
	if (e == 0)
		e = sm_sink_open(&k, spool, ret_why);
	if (e == 0)
		e = store_front(&k, buf_view(&front), str_from(h.text, h.header), block,
		                n, ret_why);
	buf_free(&h.big);
	if (e == 0 && !h.complete)
		e = store_rest(s, &k, block, n, ret_why);
	if (e == 0)
		e = sm_sink_commit(&k, ret_why);
	if (e != 0)
		sm_sink_abort(&k);
	return e;
}
