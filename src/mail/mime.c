#include "mail/mime.h"
#include "mail/head.h"

enum line_mode {
	LINE_START, /* nothing of it yet */
	LINE_HELD,  /* kept in w->line: it may be a boundary, or belongs to a header */
	LINE_PASSED /* it is text, and given as it comes */
};

enum { RUN_MAX = 512 /* octets of one mime_run() */ };

static const struct mime_type *type_of(const struct mime_walk *w)
{
	return &w->type[w->last];
}

static void give(struct mime_walk *w, enum mime_what what, struct str text)
{
	w->event[w->events++] = (struct mime_event){
		.what = what,
		.text = text,
		.type = type_of(w),
		.message = w->inner,
		.between = w->between,
		.crs = w->eol_crs,
	};
}

/* The line end that was kept back belongs to the text. */
static void give_eol(struct mime_walk *w)
{
	if (w->eol)
		give(w, MIME_EOL, STR(""));
	w->eol = false;
}

static void give_line(struct mime_walk *w)
{
	give_eol(w);
	if (w->line.n)
		give(w, MIME_TEXT, buf_view(&w->line));
	w->mode = LINE_PASSED;
}

/* The header that was read is complete: what follows it? */
static void enter(struct mime_walk *w)
{
	struct mime_frame *f = w->depth < MIME_DEPTH_MAX ? &w->frame[w->depth] : NULL;
	struct mime_type *t = &w->type[w->last];
	bool deeper = t->kind == MIME_MULTIPART || t->kind == MIME_MESSAGE;

	w->in_head = w->inner = w->between = false;
	if (!deeper)
		return;
	if (!f) {
		t->kind = MIME_SEALED;
		t->sealed = "it is nested too deep";
		return;
	}
	f->n = t->kind == MIME_MESSAGE ? 0 : t->boundary_n;
	memcpy(f->boundary, t->boundary, f->n);
	f->digest = t->digest;
	f->part = 0;
	w->depth++;
	w->between = f->n > 0;
	w->in_head = w->inner = w->no_head = f->n == 0;
}

static struct str head_so_far(const struct mime_walk *w)
{
	return w->no_head ? STR("") : buf_view(&w->head);
}

/* Gives the header. w->head stays as it is: the event borrows from it. */
static void give_one_head(struct mime_walk *w, bool too_long)
{
	const struct mime_frame *f = w->depth ? &w->frame[w->depth - 1] : NULL;
	struct str head = head_so_far(w);

	w->last = !w->last; /* the event of another header may not be taken yet */
	mime_type(head, f && f->digest, &w->type[w->last]);
	if (too_long) {
		w->type[w->last].kind = MIME_SEALED;
		w->type[w->last].cut = true;
		w->type[w->last].sealed = "its header is too long";
	}
	give(w, MIME_HEAD, head);
	w->no_head = true;
	enter(w);
}

/* The header ends without an empty line: the message that it may be of has none at all. */
static void give_heads(struct mime_walk *w)
{
	give_one_head(w, false);
	if (w->in_head)
		give_one_head(w, false);
}

/* Which frame's boundary is this line, and is it the last? -1: none. */
static ptrdiff_t match(const struct mime_walk *w, struct str line, bool *ret_last)
{
	if (!str_starts(line, STR("--")))
		return -1;
	while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	line = str_from(line, 2);
	for (size_t i = w->depth; i-- > 0;) {
		const struct mime_frame *f = &w->frame[i];
		struct str b = { f->boundary, f->n };

		if (f->n == 0 || !str_starts(line, b))
			continue;
		*ret_last = str_eq(str_from(line, f->n), STR("--"));
		if (line.n == f->n || *ret_last)
			return (ptrdiff_t)i;
	}
	return -1;
}

/* Takes the line kept back for a boundary, if it is one. */
static bool take_boundary_line(struct mime_walk *w)
{
	bool last, first;
	ptrdiff_t at = match(w, buf_view(&w->line), &last);

	if (at < 0)
		return false;
	first = !last && (size_t)at + 1 == w->depth && w->frame[at].part == 0;
	if (w->in_head)
		give_heads(w);
	give(w, MIME_BOUNDARY, buf_view(&w->line));
	w->event[w->events - 1].eol = w->eol;
	w->event[w->events - 1].first = first;
	w->eol = w->inner = false;
	w->depth = (size_t)at + !last;
	w->between = last; /* behind the last part: the multipart's own text again */
	w->in_head = w->no_head = !last;
	w->frame[at].part += !last;
	w->mode = LINE_START;
	return true;
}

/* Does a line of a header look like one? mbox lines are none inside of a message. */
static bool is_header_line(const struct mime_walk *w, struct str line)
{
	size_t empty;

	if (line.p[0] == ' ' || line.p[0] == '\t')
		return head_so_far(w).n > 0;
	return !str_starts(line, STR("From ")) && !str_starts(line, STR(">From ")) &&
	       head_length(line, true, &empty) == line.n && empty == 0;
}

/* A whole line of a header is in w->line, without its line end. */
static void head_line(struct mime_walk *w)
{
	if (w->line.n == 0) {
		give_one_head(w, false);
		w->mode = LINE_START;
	} else if (is_header_line(w, buf_view(&w->line))) {
		if (w->no_head)
			buf_reset(&w->head);
		w->no_head = false;
		buf_str(&w->head, buf_view(&w->line));
		buf_c(&w->head, '\n');
		w->mode = LINE_START;
	} else {
		/* No header line: the body begins without an empty one. */
		give_heads(w);
		give_line(w);
	}
}

static void line_end(struct mime_walk *w, unsigned crs)
{
	if (w->mode == LINE_START)
		buf_reset(&w->line);
	if (w->mode != LINE_PASSED && take_boundary_line(w))
		return;
	if (w->in_head) {
		head_line(w);
		if (w->mode == LINE_START)
			return;
	} else if (w->mode == LINE_HELD) {
		give_line(w);
	}
	give_eol(w);
	w->eol = true;
	w->eol_crs = crs;
	w->mode = LINE_START;
}

/* The CRs held belong to no line end. */
static void bare_crs(struct mime_walk *w)
{
	if (w->in_head) {
		/* Part of the header's line. */
		if (w->mode == LINE_START)
			buf_reset(&w->line);
		w->mode = LINE_HELD;
		for (; w->cr; w->cr--)
			buf_c(&w->line, '\r');
		return;
	}
	if (w->mode == LINE_START)
		buf_reset(&w->line);
	if (w->mode != LINE_PASSED)
		give_line(w);
	w->bare = w->cr;
	w->cr = 0;
}

size_t mime_run(struct str s)
{
	size_t most = s.n < RUN_MAX ? s.n : RUN_MAX;
	const char *lf = memchr(s.p, '\n', most);
	size_t n = lf ? (size_t)(lf - s.p) : most;
	const char *cr = memchr(s.p, '\r', n);

	return cr ? (size_t)(cr - s.p) : n;
}

static bool has_boundary(const struct mime_walk *w)
{
	for (size_t i = 0; i < w->depth; i++)
		if (w->frame[i].n)
			return true;
	return false;
}

/* Keeps part of a line back. */
static void hold(struct mime_walk *w, struct str *in, struct str run)
{
	size_t room = w->in_head ? MIME_HEAD_MAX : MIME_LINE_MAX;
	size_t used = w->in_head ? head_so_far(w).n + w->line.n : w->line.n;

	if (used < room) {
		run = str_head(run, room - used);
		/* Two octets tell whether it may be a boundary at all. */
		if (!w->in_head && w->line.n < 2)
			run = str_head(run, 2 - w->line.n);
		buf_str(&w->line, run);
		*in = str_from(*in, run.n);
		w->mode = LINE_HELD;
		if (w->in_head || w->line.n < 2 ||
		    str_starts(buf_view(&w->line), STR("--")))
			return;
	} else if (w->in_head) {
		/* Longer than any: what there is of it, and the rest as text that nobody
		 * changes. */
		give_one_head(w, true);
	}
	give_line(w);
}

static void step(struct mime_walk *w, struct str *in)
{
	struct str run;

	if (in->p[0] == '\r') {
		*in = str_from(*in, 1);
		if (++w->cr == MIME_CRS_MAX)
			bare_crs(w);
		return;
	}
	if (in->p[0] == '\n') {
		*in = str_from(*in, 1);
		line_end(w, w->cr);
		w->cr = 0;
		return;
	}
	if (w->cr) {
		bare_crs(w);
		return;
	}
	run = str_head(*in, mime_run(*in));
	if (w->mode == LINE_START)
		buf_reset(&w->line);
	if (w->mode != LINE_PASSED && (w->in_head || has_boundary(w))) {
		hold(w, in, run);
		return;
	}
	give_eol(w);
	give(w, MIME_TEXT, run);
	*in = str_from(*in, run.n);
	w->mode = LINE_PASSED;
}

/* The input is used up. */
static void finish(struct mime_walk *w)
{
	w->ended = true;
	if (w->cr)
		bare_crs(w);
	if (w->mode == LINE_HELD && take_boundary_line(w))
		return;
	if (w->in_head && w->mode == LINE_HELD)
		head_line(w);
	else if (w->mode == LINE_HELD)
		give_line(w);
	if (w->in_head)
		give_heads(w);
	give_eol(w);
}

void mime_start(struct mime_walk *w, struct str header)
{
	*w = (struct mime_walk){ .depth = 0 };
	mime_type(header, false, &w->type[0]);
	enter(w);
}

bool mime_next(struct mime_walk *w, struct str *in, bool end, struct mime_event *ret)
{
	for (;;) {
		if (w->given < w->events) {
			*ret = w->event[w->given++];
			return true;
		}
		w->events = w->given = 0;
		if (w->bare) {
			w->bare--;
			*ret = (struct mime_event){ .what = MIME_TEXT,
				                    .text = STR("\r"),
				                    .type = type_of(w),
				                    .between = w->between };
			return true;
		}
		if (in->n)
			step(w, in);
		else if (end && !w->ended)
			finish(w);
		else
			return false;
	}
}

void mime_free(struct mime_walk *w)
{
	buf_free(&w->head);
	buf_free(&w->line);
}

void mime_where(const struct mime_walk *w, struct buf *b)
{
	bool any = false;

	for (size_t i = 0; i < w->depth; i++) {
		if (w->frame[i].n == 0 || w->frame[i].part == 0)
			continue;
		buf_fmt(b, any ? ".%u" : "part %u", w->frame[i].part);
		any = true;
	}
	if (!any)
		buf_z(b, "the message");
}
