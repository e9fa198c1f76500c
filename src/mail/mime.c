#include "mail/mime.h"
#include "mail/head.h"

enum line_mode {
	LINE_START, /* nothing of it yet */
	LINE_HELD,  /* kept in w->line: it may be a boundary, or belongs to a header */
	LINE_PASSED /* it is text, and given as it comes */
};

enum { RUN_MAX = 512 /* octets of one mime_run() */ };

/* ---- What a header says ---- */

size_t mime_comment_length(struct str s)
{
	size_t depth = 0, i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return s.n;
}

static size_t quoted_length(struct str s)
{
	size_t i;

	for (i = 1; i < s.n && s.p[i] != '"'; i++)
		if (s.p[i] == '\\')
			i++;
	return i < s.n ? i + 1 : s.n;
}

bool mime_segment(struct str *rest, struct str *ret)
{
	struct str s = *rest;
	size_t i = 0;

	if (!s.p)
		return false;
	while (i < s.n && s.p[i] != ';') {
		if (s.p[i] == '"')
			i += quoted_length(str_from(s, i));
		else if (s.p[i] == '(')
			i += mime_comment_length(str_from(s, i));
		else
			i++;
	}
	*ret = str_head(s, i);
	*rest = i < s.n ? str_from(s, i + 1) : STR_NONE;
	return true;
}

/* Appends a parameter's or a type's text: without comments, blanks and quotes. */
static void plain_text(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '(') {
			i += mime_comment_length(str_from(s, i)) - 1;
		} else if (s.p[i] == '"') {
			size_t end = i + quoted_length(str_from(s, i));

			for (i++; i < end && s.p[i] != '"'; i++) {
				if (s.p[i] == '\\' && i + 1 < end)
					i++;
				buf_c(b, s.p[i]);
			}
		} else if (!ascii_space(s.p[i])) {
			buf_c(b, s.p[i]);
		}
	}
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("/-+._", c));
}

static void take_name(struct mime_type *t, struct str segment)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	size_t n = 0;

	plain_text(&text, segment);
	for (size_t i = 0; i < text.n && n < MIME_NAME_MAX; i++) {
		char c = ascii_lower(text.p[i]);

		t->name[n++] = is_name_char(c) ? c : '?';
	}
	t->name[n] = '\0';
}

/* A boundary of RFC 2046's characters, or at least of printable ones. */
static void take_boundary(struct mime_type *t, struct str value)
{
	if (value.n == 0 || value.n > MIME_BOUNDARY_MAX)
		return;
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] < 0x20 || value.p[i] > 0x7e)
			return;
	if (value.p[value.n - 1] == ' ')
		return;
	memcpy(t->boundary, value.p, value.n);
	t->boundary_n = value.n;
}

/* The value of a boundary keeps blanks that stand in its quotes: plain_text() does. */
static void take_parameter(struct mime_type *t, struct str segment)
{
	_cleanup_buf_ struct buf value = BUF_INIT;
	struct str name;

	if (str_chr(segment, '=') < 0 || !str_cut(&segment, '=', &name))
		return;
	name = str_trim(name);
	if (str_ieq(name, STR("charset")) || str_ieq(name, STR("charset*"))) {
		t->charset = true;
	} else if (str_ieq(name, STR("boundary")) && t->boundary_n == 0) {
		plain_text(&value, segment);
		take_boundary(t, buf_view(&value));
	}
}

static void take_type(struct mime_type *t, struct str body)
{
	_cleanup_buf_ struct buf flat = BUF_INIT;
	struct str rest, segment;

	head_unfold(&flat, body);
	rest = flat.n ? buf_view(&flat) : STR("");
	for (bool first = true; mime_segment(&rest, &segment); first = false) {
		if (first)
			take_name(t, segment);
		else
			take_parameter(t, segment);
	}
}

static enum mime_cte cte_of(struct str body)
{
	static const struct {
		const char *name;
		enum mime_cte cte;
	} names[] = { { "7bit", MIME_CTE_7BIT },     { "8bit", MIME_CTE_8BIT },
		      { "binary", MIME_CTE_BINARY }, { "quoted-printable", MIME_CTE_QP },
		      { "base64", MIME_CTE_BASE64 }, { "", MIME_CTE_NONE } };
	_cleanup_buf_ struct buf text = BUF_INIT;

	plain_text(&text, body);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_ieq(str_z(names[i].name), buf_view(&text)))
			return names[i].cte;
	return MIME_CTE_OTHER;
}

/* Types that a change would spoil: what is signed no longer verifies (RFC 1847 2.1, RFC 8551
 * 3.1), pieces must be 7-bit from the beginning (RFC 2046 5.2.2). */
static const char *sealed_type(const char *name)
{
	static const struct {
		const char *name, *why;
	} rows[] = {
		{ "multipart/signed", "it is signed" },
		{ "multipart/encrypted", "it is encrypted" },
		{ "application/pkcs7-mime", "it is signed or encrypted" },
		{ "application/x-pkcs7-mime", "it is signed or encrypted" },
		{ "message/partial", "it is one piece of a message" },
		{ "message/external-body", "it stands for something elsewhere" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].why;
	return NULL;
}

static void judge(struct mime_type *t)
{
	bool multipart = str_starts(str_z(t->name), STR("multipart/"));
	bool message = strcmp(t->name, "message/rfc822") == 0 ||
	               strcmp(t->name, "message/global") == 0;
	bool coded = t->cte == MIME_CTE_QP || t->cte == MIME_CTE_BASE64;

	t->text = str_starts(str_z(t->name), STR("text/"));
	t->plain = strcmp(t->name, "text/plain") == 0;
	t->digest = strcmp(t->name, "multipart/digest") == 0;
	t->sealed = sealed_type(t->name);
	if (!t->sealed && t->cte == MIME_CTE_OTHER)
		t->sealed = "its encoding is not known";
	if (!t->sealed && multipart && coded)
		t->sealed = "a multipart must not be encoded, and it is";
	if (!t->sealed && multipart && t->boundary_n == 0)
		t->sealed = "its boundary is missing or malformed";
	t->kind = t->sealed           ? MIME_SEALED
	          : multipart         ? MIME_MULTIPART
	          : message && !coded ? MIME_MESSAGE
	                              : MIME_LEAF;
}

void mime_type(struct str header, bool in_digest, struct mime_type *ret)
{
	struct head_field f;
	bool encoded = false;

	*ret = (struct mime_type){ .typed = false };
	while (head_next(&header, &f)) {
		if (!ret->typed && str_ieq(f.name, STR("Content-Type"))) {
			ret->typed = true;
			take_type(ret, f.body);
		} else if (!encoded &&
		           str_ieq(f.name, STR("Content-Transfer-Encoding"))) {
			encoded = true;
			ret->cte = cte_of(f.body);
		}
	}
	if (ret->name[0] == '\0')
		snprintf(ret->name, sizeof(ret->name), "%s",
		         in_digest ? "message/rfc822" : "text/plain");
	judge(ret);
}

/* ---- The walk ---- */

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
	bool last;
	ptrdiff_t at = match(w, buf_view(&w->line), &last);

	if (at < 0)
		return false;
	if (w->in_head)
		give_heads(w);
	give(w, MIME_BOUNDARY, buf_view(&w->line));
	w->event[w->events - 1].eol = w->eol;
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
