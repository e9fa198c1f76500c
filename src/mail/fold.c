#include "mail/fold.h"
#include "mail/fold_words.h"

void fold_text(struct buf *b, struct str s)
{
	ptrdiff_t cr;

	while ((cr = str_chr(s, '\r')) >= 0) {
		size_t n = (size_t)cr;

		while (n < s.n && s.p[n] == '\r')
			n++;
		buf_str(b, str_head(s, n < s.n && s.p[n] == '\n' ? (size_t)cr : n));
		s = str_from(s, n);
	}
	buf_str(b, s);
}

size_t fold_column(const struct buf *b)
{
	const char *lf = b->n ? memrchr(b->p, '\n', b->n) : NULL;

	return lf ? b->n - (size_t)(lf + 1 - b->p) : b->n;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* May a line without blanks be broken at i? Behind a comma or semicolon, or between two ids: so
 * no address, id or parameter is broken. */
static bool is_joint(struct str line, size_t i)
{
	char before = line.p[i - 1];

	return before == ',' || before == ';' || (before == '>' && line.p[i] == '<');
}

/* Where a line (without LF) is broken so that no more than room octets are in front: at its
 * last blank behind text (not the one behind the field's name), else at a joint, else
 * anywhere, but not within a character of UTF-8. */
static size_t break_at(struct str line, size_t room)
{
	size_t lead = 0, at = room;

	while (lead < room && is_blank(line.p[lead]))
		lead++;
	if (lead < room / 2)
		lead = room / 2;
	while (at > lead && !is_blank(line.p[at]))
		at--;
	if (at > lead)
		return at;
	for (at = room; at > lead && !is_joint(line, at);)
		at--;
	if (at > lead)
		return at;
	for (at = room; at + 3 > room && ((unsigned char)line.p[at] & 0xc0) == 0x80;)
		at--;
	return at;
}

/* Leaves at most one blank in front. */
static struct str less_blanks(struct str line)
{
	while (line.n > 1 && is_blank(line.p[0]) && is_blank(line.p[1]))
		line = str_from(line, 1);
	return line;
}

/* A line that is made loses the CRs at its end, as one that was there did (fold_text()); but not
 * when that would leave blanks alone. */
static struct str without_crs(struct str line)
{
	size_t n = line.n, text;

	while (n && line.p[n - 1] == '\r')
		n--;
	for (text = n; text && ascii_space(line.p[text - 1]);)
		text--;
	return text ? str_head(line, n) : line;
}

/* Adds a line of the header (without LF), in as many as it takes. */
static void fold_line(struct buf *b, struct str line, size_t max)
{
	size_t used = 0;

	/* Blanks alone make no line: some take that for the header's end. Once, here, so that
	 * no blank is looked at for each line that is made. */
	while (line.n && ascii_space(line.p[line.n - 1]))
		line.n--;
	line = less_blanks(line);
	if (line.n == 0)
		return;
	while (line.n > max - used) {
		size_t at = break_at(line, max - used);

		buf_str(b, without_crs(str_head(line, at)));
		line = less_blanks(str_from(line, at));
		buf_c(b, '\n');
		used = !is_blank(line.p[0]);
		if (used)
			buf_c(b, ' ');
	}
	buf_str(b, line);
	buf_c(b, '\n');
}

/* Takes a line and those that go on from it. */
static struct str take_field(struct str *rest)
{
	struct str all = *rest, line;
	size_t n = 0;

	do {
		str_cut(rest, '\n', &line);
		n = rest->p ? (size_t)(rest->p - all.p) : all.n;
	} while (rest->n && is_blank(rest->p[0]));
	return str_head(all, n);
}

static bool is_long(struct str text, size_t max)
{
	struct str line;

	while (text.n && str_cut(&text, '\n', &line))
		if (line.n > max)
			return true;
	return false;
}

static void fold_field(struct buf *b, struct str field, size_t max)
{
	_cleanup_buf_ struct buf encoded = BUF_INIT;
	struct str line;

	if (is_long(field, max) && fold_words(&encoded, field, max))
		field = buf_view(&encoded);
	while (field.n && str_cut(&field, '\n', &line)) {
		if (line.n > max) {
			fold_line(b, line, max);
		} else {
			buf_str(b, line);
			buf_c(b, '\n');
		}
	}
}

/* Folds what the wire would have to cut: what stands behind a cut begins a line, and would
 * be a field of its own, or the body. */
void fold_long_lines(struct buf *b, size_t from, size_t max)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct str rest = str_from(buf_view(b), from);

	if (!is_long(rest, max))
		return; /* nearly always */
	buf_str(&all, rest);
	buf_cut(b, from);
	rest = buf_view(&all);
	while (rest.n)
		fold_field(b, take_field(&rest), max);
}
