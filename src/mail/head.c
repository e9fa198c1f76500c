#include "mail/head.h"

enum line {
	LINE_FIELD,   /* "Name:" or "Name :" */
	LINE_MORE,    /* begins with SP or TAB */
	LINE_EMPTY,   /* only a line end */
	LINE_MBOX,    /* "From x", ">From x" */
	LINE_OTHER,   /* text */
	LINE_UNKNOWN, /* cut before one can tell */
};

/* Takes the first line of *rest with its line end; *ret_cut: it has none. */
static struct str line_take(struct str *rest, bool *ret_cut)
{
	ptrdiff_t lf = str_chr(*rest, '\n');
	struct str line = lf < 0 ? *rest : str_head(*rest, (size_t)lf + 1);

	*rest = str_from(*rest, line.n);
	*ret_cut = lf < 0;
	return line;
}

/* The line without LF, and without the CRs before it: like src/smtp/wire.h, any number of
 * them is one line end. */
static inline struct str line_text(struct str line)
{
	if (line.n == 0 || line.p[line.n - 1] != '\n')
		return line;
	line.n--;
	while (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

/* Length of the field name that s begins with (RFC 5322 3.6.8: ftext). */
static size_t name_length(struct str s)
{
	size_t n = 0;

	while (n < s.n && (unsigned char)(s.p[n] - 0x21) < 0x7f - 0x21 && s.p[n] != ':')
		n++;
	return n;
}

static size_t blanks(struct str s)
{
	size_t n = 0;

	while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
		n++;
	return n;
}

/* cut: the line's end is not there, and more may follow. *ret_name, *ret_colon: the length of
 * a field's name, and where its colon is. */
static enum line line_look(struct str line, bool cut, size_t *ret_name, size_t *ret_colon)
{
	struct str text = line_text(line);
	size_t name = name_length(text), colon = name;

	if (name < text.n && text.p[name] != ':')
		colon += blanks(str_from(text, name));
	*ret_name = name;
	*ret_colon = colon;
	if (text.n == 0)
		return cut ? LINE_UNKNOWN : LINE_EMPTY;
	if (name && name <= HEAD_NAME_MAX && colon < text.n && text.p[colon] == ':')
		return LINE_FIELD;
	if (text.p[0] == ' ' || text.p[0] == '\t')
		return LINE_MORE;
	/* A lone CR may become CRLF; a name may yet get its colon, unless it is longer than
	 * any line (base64 on one line is no header). */
	if (cut && (name ? colon == text.n && name <= HEAD_NAME_MAX : text.p[0] == '\r'))
		return LINE_UNKNOWN;
	if (str_starts(text, STR("From ")) || str_starts(text, STR(">From ")))
		return LINE_MBOX;
	return LINE_OTHER;
}

static enum line line_kind(struct str line, bool cut)
{
	size_t name, colon;

	return line_look(line, cut, &name, &colon);
}

size_t head_length(struct str text, bool complete, size_t *ret_empty_line)
{
	struct str rest = text;
	enum line before = LINE_OTHER;

	*ret_empty_line = 0;
	while (rest.n) {
		size_t at = text.n - rest.n;
		bool cut;
		struct str line = line_take(&rest, &cut);
		enum line kind = line_kind(line, cut && !complete);

		if (kind == LINE_EMPTY) {
			*ret_empty_line = line.n;
			return at + line.n;
		}
		if (kind == LINE_UNKNOWN)
			return text.n;
		if (kind == LINE_OTHER || (kind == LINE_MBOX && at > 0) ||
		    (kind == LINE_MORE && before != LINE_FIELD && before != LINE_MORE))
			return at;
		before = kind;
	}
	return text.n;
}

/* Finds the first line of *rest that is a field, behind mbox lines: *rest begins with it
 * then. */
static bool field_find(struct str *rest, size_t *ret_name, size_t *ret_colon)
{
	struct str after;
	enum line kind;
	bool cut;

	for (after = *rest; after.n; *rest = after) {
		kind = line_look(line_take(&after, &cut), false, ret_name, ret_colon);
		if (kind != LINE_MBOX)
			return kind == LINE_FIELD;
	}
	return false;
}

/* Takes the field that *rest begins with. */
static inline void field_take(struct str *rest, size_t name, size_t colon,
                              struct head_field *ret)
{
	const char *const start = rest->p, *const end = start + rest->n,
	                  *const body = start + colon + 1;
	const char *p = body;

	do {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		p = lf ? lf + 1 : end;
	} while (p < end && (*p == ' ' || *p == '\t'));
	*rest = (struct str){ p, (size_t)(end - p) };
	ret->raw = (struct str){ start, (size_t)(p - start) };
	ret->name = (struct str){ start, name };
	ret->body = line_text((struct str){ body, (size_t)(p - body) });
}

static bool next_odd(struct str *rest, struct head_field *ret)
{
	struct str start = *rest;
	size_t name, colon;

	if (!field_find(&start, &name, &colon))
		return false;
	*rest = start;
	field_take(rest, name, colon, ret);
	return true;
}

bool head_next(struct str *rest, struct head_field *ret)
{
	/* Nearly always the colon is where the name ends. */
	const ptrdiff_t colon = str_chr(str_head(*rest, HEAD_NAME_MAX + 1), ':');

	if (colon <= 0 || !str_is_visible(str_head(*rest, (size_t)colon)))
		return next_odd(rest, ret);
	field_take(rest, (size_t)colon, (size_t)colon, ret);
	return true;
}

void head_unfold(struct buf *b, struct str body)
{
	for (size_t i = 0; i < body.n; i++) {
		size_t cr = i;

		while (cr < body.n && body.p[cr] == '\r')
			cr++;
		if (cr < body.n && body.p[cr] == '\n') {
			i = cr;
			continue;
		}
		for (; i < cr; i++)
			buf_c(b, ' ');
		if (i < body.n && ((unsigned char)body.p[i] < 0x20 || body.p[i] == 0x7f))
			buf_c(b, ' ');
		else if (i < body.n)
			buf_c(b, body.p[i]);
	}
}
