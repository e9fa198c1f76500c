#include "mail/mend_head.h"
#include "mail/mend_plan.h"
#include "mail/head.h"

/* ---- Is it legal? ---- */

static void look_column(struct mend_look *l, size_t n)
{
	l->column += n;
	if (l->column > MEND_LINE_MAX)
		l->faults |= MEND_LONG;
}

static void look_bare(struct mend_look *l)
{
	if (l->cr)
		l->faults |= MEND_CR;
	look_column(l, l->cr);
	l->cr = 0;
}

void mend_look_add(struct mend_look *l, struct str s)
{
	if (!s.n)
		return;
	if (!(l->faults & MEND_8BIT) && !str_is_ascii(s))
		l->faults |= MEND_8BIT;
	if (memchr(s.p, '\0', s.n))
		l->faults |= MEND_NUL;
	while (s.n) {
		size_t n = mime_run(s);

		if (n) {
			look_bare(l);
			look_column(l, n);
		}
		s = str_from(s, n);
		if (s.n && s.p[0] == '\r') {
			if (++l->cr == MIME_CRS_MAX)
				look_bare(l);
			s = str_from(s, 1);
		} else if (s.n && s.p[0] == '\n') {
			l->column = l->cr = 0;
			s = str_from(s, 1);
		}
	}
}

unsigned mend_look_end(struct mend_look *l, const struct mend_host *h)
{
	look_bare(l);
	return h->eightbit ? l->faults & ~(unsigned)MEND_8BIT : l->faults;
}

/* ---- The scan ---- */

static void stat_start(struct mend_scan *s)
{
	s->stat = (struct mend_stat){ .faults = 0 };
}

/* OpenPGP in the text itself (RFC 9580 6.2, 7): what verifies it may see the encoding. */
static bool is_pgp(const struct mend_stat *t)
{
	static const char signed_text[] = "-----BEGIN PGP SIGNED MESSAGE-----",
	                  message[] = "-----BEGIN PGP MESSAGE-----";

	return (t->column >= sizeof(signed_text) - 1 &&
	        memcmp(t->start, signed_text, sizeof(signed_text) - 1) == 0) ||
	       (t->column >= sizeof(message) - 1 &&
	        memcmp(t->start, message, sizeof(message) - 1) == 0);
}

static void stat_eol(struct mend_stat *t)
{
	t->pgp |= is_pgp(t);
	t->column = 0;
}

static void stat_text(struct mend_stat *t, struct str s)
{
	if (t->column < sizeof(t->start)) {
		struct str head = str_head(s, sizeof(t->start) - t->column);

		memcpy(t->start + t->column, head.p, head.n);
	}
	text_utf8_add(&t->utf8, s);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c > 0x20 && c < 0x7f && c != '=')
			continue;
		t->coded += c != ' ' && c != '\t';
		t->eightbit |= c >= 0x80;
		t->faults |= c == '\0' ? MEND_NUL : c == '\r' ? MEND_CR : 0;
	}
	t->octets += s.n;
	t->column += s.n;
	if (t->column > MEND_LINE_MAX)
		t->faults |= MEND_LONG;
}

static void fault_words(unsigned faults, struct buf *b)
{
	static const struct {
		unsigned bit;
		const char *words;
	} rows[] = {
		{ MEND_8BIT, "8-bit" },    { MEND_LONG, "long lines" },
		{ MEND_CR, "bare CR" },    { MEND_NUL, "NUL" },
		{ MEND_HEADER, "header" },
	};
	bool any = false;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(faults & rows[i].bit))
			continue;
		buf_z(b, any ? ", " : "");
		buf_z(b, rows[i].words);
		any = true;
	}
}

/* The first reason stays. code: RFC 3463 3.7. */
static void refuse(struct mend_scan *s, const char *code, const char *why)
{
	struct buf *b = &s->refusal;

	if (b->n)
		return;
	buf_fmt(b, "%s ", code);
	buf_str(b, buf_view(&s->where));
	buf_fmt(b, " (%s) is not legal for this host (", s->type.name);
	fault_words(s->stat.faults, b);
	buf_fmt(b, ") and cannot be changed: %s", why);
}

/* What is to be done with the part whose end was reached. */
static unsigned char judge(struct mend_scan *s)
{
	const struct mend_stat *t = &s->stat;
	enum mime_cte cte = s->type.cte;

	if (!t->faults)
		return MEND_KEEP;
	if (s->type.kind == MIME_SEALED) {
		refuse(s, s->type.cut ? "5.6.1" : "5.6.3", s->type.sealed);
		return MEND_KEEP;
	}
	if (cte == MIME_CTE_QP)
		return MEND_SHORTEN_QP;
	if (cte == MIME_CTE_BASE64)
		return MEND_SHORTEN_BASE64;
	if (t->pgp) {
		refuse(s, "5.6.3", "it has OpenPGP in its text");
		return MEND_KEEP;
	}
	if (s->type.wide || (!s->type.text && (cte == MIME_CTE_BINARY ||
	                                       (t->faults & (MEND_CR | MEND_NUL)))))
		return MEND_RAW;
	return t->coded > t->octets / 3 ? MEND_BASE64 : MEND_QP;
}

/* The charset of a text that names none, or one that it cannot have (RFC 1428, RFC 2045 5.2). */
static unsigned char charset_of(const struct mend_scan *s)
{
	const struct mend_stat *t = &s->stat;

	if (!s->type.text && s->type.typed)
		return MEND_CHARSET_NONE;
	if (s->type.charset && !(s->type.ascii && t->eightbit))
		return MEND_CHARSET_NONE;
	if (s->type.typed && !t->eightbit)
		return MEND_CHARSET_NONE;
	if (!t->eightbit)
		return MEND_CHARSET_ASCII;
	if (text_utf8_ok(&t->utf8))
		return MEND_CHARSET_UTF8;
	return s->type.plain ? MEND_CHARSET_UNKNOWN : MEND_CHARSET_NONE;
}

/* The same of a multipart's own text. One that says it is encoded is that when there is no
 * boundary of its in it. */
static void between_end(struct mend_scan *s, bool begins)
{
	const unsigned faults = s->stat.faults;
	unsigned how = s->type.cte == MIME_CTE_QP       ? MEND_SHORTEN_QP
	               : s->type.cte == MIME_CTE_BASE64 ? MEND_SHORTEN_BASE64
	                                                : MEND_KEEP;

	if (s->unbegun && begins && how != MEND_KEEP) {
		s->plan.p[s->plan.n - 1] = (char)MEND_UNLABEL;
	} else if (s->unbegun && !begins && how != MEND_KEEP && faults) {
		s->plan.p[s->plan.n - 1] = (char)how;
		s->done |= 1u << how;
		return;
	}
	if (faults && s->unbegun && !begins)
		refuse(s, "5.6.3", "its boundary never comes");
	if (faults)
		s->done |= MEND_DONE_REPLACED;
}

/* A part is at its end: what was found goes into the plan. begins: a multipart's first part
 * comes next. */
static void part_end(struct mend_scan *s, bool begins)
{
	struct mend_stat *t = &s->stat;
	unsigned char how;

	stat_eol(t);
	if (t->eightbit && !s->host.eightbit)
		t->faults |= MEND_8BIT;
	s->faults |= t->faults;
	if (s->between) {
		between_end(s, begins);
		return;
	}
	how = judge(s);
	s->done |= 1u << how;
	if (how == MEND_QP || how == MEND_BASE64)
		how |= charset_of(s);
	s->plan.p[s->plan.n - 1] = (char)how;
}

static void part_begin(struct mend_scan *s, const struct mime_event *ev)
{
	enum mend_raw raw = s->host.eightbit ? MEND_RAW_ANY : MEND_RAW_NONE;
	unsigned faults = mend_head_faults(ev->text, raw);

	s->type = *ev->type;
	s->between = s->unbegun = s->type.kind == MIME_MULTIPART;
	buf_reset(&s->where);
	mime_where(&s->walk, &s->where);
	stat_start(s);
	if (faults && s->type.cut) {
		s->stat.faults = faults;
		refuse(s, "5.6.1", s->type.sealed);
	}
	s->stat.faults = 0;
	s->faults |= faults ? MEND_HEADER : 0;
	s->done |= faults ? MEND_DONE_WORDS : 0;
	if (s->plan.n == MEND_PARTS_MAX) {
		refuse(s, "5.6.1", "the message has too many parts");
		s->plan.n--;
	}
	buf_c(&s->plan, MEND_KEEP);
}

static void scan_event(struct mend_scan *s, const struct mime_event *ev)
{
	switch (ev->what) {
	case MIME_HEAD:
		part_end(s, false);
		part_begin(s, ev);
		break;
	case MIME_BOUNDARY:
		part_end(s, ev->first);
		stat_start(s);
		s->between = true; /* or another header follows */
		s->unbegun = false;
		break;
	case MIME_TEXT:
		stat_text(&s->stat, ev->text);
		break;
	case MIME_EOL:
		stat_eol(&s->stat);
		s->stat.octets += 2;
		break;
	}
}

void mend_scan_start(struct mend_scan *s, const struct mend_host *h, struct str header)
{
	*s = (struct mend_scan){ .host = *h };
	mime_start(&s->walk, header);
	mime_type(header, false, &s->type);
	s->between = s->unbegun = s->type.kind == MIME_MULTIPART;
	mime_where(&s->walk, &s->where);
	buf_c(&s->plan, MEND_KEEP);
}

static void scan(struct mend_scan *s, struct str body, bool end)
{
	struct mime_event ev;

	while (mime_next(&s->walk, &body, end, &ev))
		scan_event(s, &ev);
}

void mend_scan_add(struct mend_scan *s, struct str body)
{
	scan(s, body, false);
}

void mend_scan_end(struct mend_scan *s)
{
	scan(s, STR(""), true);
	part_end(s, false);
}

void mend_scan_free(struct mend_scan *s)
{
	mime_free(&s->walk);
	buf_free(&s->plan);
	buf_free(&s->where);
	buf_free(&s->refusal);
}

struct str mend_refusal(const struct mend_scan *s)
{
	return buf_view(&s->refusal);
}

/* ---- The header ---- */

void mend_label(const struct mend_scan *s, const struct mime_type *t, unsigned char plan,
                struct mend_label *ret)
{
	static const char *const charset[] = { NULL, "us-ascii", "utf-8",
		                               "unknown-8bit" };
	unsigned how = plan & MEND_HOW;

	*ret = (struct mend_label){
		.charset = charset[(plan & MEND_CHARSET) >> MEND_CHARSET_SHIFT]
	};
	if (how == MEND_QP)
		ret->cte = "quoted-printable";
	else if (how == MEND_BASE64 || how == MEND_RAW)
		ret->cte = "base64";
	else if (plan & MEND_UNLABEL)
		ret->cte = s->host.eightbit ? "8bit" : "7bit";
	else if (t->kind != MIME_SEALED && s->host.eightbit && t->cte == MIME_CTE_BINARY)
		ret->cte = "8bit";
	else if (t->kind != MIME_SEALED && !s->host.eightbit &&
	         (t->cte == MIME_CTE_BINARY || t->cte == MIME_CTE_8BIT))
		ret->cte = "7bit";
	ret->version = ret->cte || ret->charset || t->kind == MIME_MULTIPART;
}

void mend_header(const struct mend_scan *s, const struct mend_host *h, struct str header,
                 struct buf *out)
{
	struct mend_label label = { .cte = NULL };
	struct mime_type t;

	if (s) {
		mime_type(header, false, &t);
		mend_label(s, &t, (unsigned char)s->plan.p[0], &label);
	}
	label.address = h->address;
	mend_head(out, header, h->utf8 ? MEND_RAW_UTF8 : MEND_RAW_NONE, &label);
	buf_c(out, '\n');
}

unsigned mend_header_faults(const struct mend_host *h, struct str header)
{
	return mend_head_faults(header, h->utf8 ? MEND_RAW_UTF8 : MEND_RAW_NONE);
}

void mend_words(const struct mend_scan *s, unsigned header, struct buf *why,
                struct buf *how)
{
	static const struct {
		unsigned bits;
		const char *words;
	} rows[] = {
		{ 1u << MEND_QP, "quoted-printable" },
		{ 1u << MEND_BASE64 | 1u << MEND_RAW, "base64" },
		{ 1u << MEND_SHORTEN_QP | 1u << MEND_SHORTEN_BASE64, "shorter lines" },
		{ MEND_DONE_REPLACED, "replaced" },
		{ MEND_DONE_WORDS, "header" },
	};
	unsigned done = (s ? s->done : 0) | (header ? MEND_DONE_WORDS : 0);
	bool any = false;

	fault_words((s ? s->faults : 0) | (header ? MEND_HEADER : 0), why);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(done & rows[i].bits))
			continue;
		buf_z(how, any ? ", " : "");
		buf_z(how, rows[i].words);
		any = true;
	}
}
