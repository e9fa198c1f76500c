#include "mail/mend_head.h"
#include "mail/fold.h"
#include "mail/head.h"

enum {
	FOLD_AT = 78, /* octets of a line that is better not passed */
	ENCODE_BEFORE =
	    40,         /* column from which encoded words begin a line of their own */
	PIECE_MAX = 60, /* octets of a piece of a parameter's value (RFC 2231 3) */
};

/* How a field's body is built, and so what may be done with raw bytes in it. */
enum field_kind {
	FIELD_TEXT, /* encoded words anywhere */
	FIELD_ADDRESSES,
	FIELD_PARAMETERS,
	FIELD_OTHER /* nothing */
};

static enum field_kind kind_of(struct str name)
{
	static const struct {
		const char *name;
		enum field_kind kind;
	} rows[] = {
		{ "From", FIELD_ADDRESSES },
		{ "Sender", FIELD_ADDRESSES },
		{ "Reply-To", FIELD_ADDRESSES },
		{ "To", FIELD_ADDRESSES },
		{ "Cc", FIELD_ADDRESSES },
		{ "Bcc", FIELD_ADDRESSES },
		{ "Resent-From", FIELD_ADDRESSES },
		{ "Resent-Sender", FIELD_ADDRESSES },
		{ "Resent-Reply-To", FIELD_ADDRESSES },
		{ "Resent-To", FIELD_ADDRESSES },
		{ "Resent-Cc", FIELD_ADDRESSES },
		{ "Resent-Bcc", FIELD_ADDRESSES },
		{ "Disposition-Notification-To", FIELD_ADDRESSES },
		{ "Content-Type", FIELD_PARAMETERS },
		{ "Content-Disposition", FIELD_PARAMETERS },
		{ "Received", FIELD_OTHER },
		{ "Return-Path", FIELD_OTHER },
		{ "Date", FIELD_OTHER },
		{ "Resent-Date", FIELD_OTHER },
		{ "Message-ID", FIELD_OTHER },
		{ "Resent-Message-ID", FIELD_OTHER },
		{ "In-Reply-To", FIELD_OTHER },
		{ "References", FIELD_OTHER },
		{ "MIME-Version", FIELD_OTHER },
		{ "Content-ID", FIELD_OTHER },
		{ "Content-Transfer-Encoding", FIELD_OTHER },
		{ "DKIM-Signature", FIELD_OTHER },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_ieq(name, str_z(rows[i].name)))
			return rows[i].kind;
	return FIELD_TEXT;
}

static bool raw_ok(struct str s, enum mend_raw raw)
{
	return raw == MEND_RAW_ANY || str_is_ascii(s) ||
	       (raw == MEND_RAW_UTF8 && text_is_utf8(s));
}

unsigned mend_head_faults(struct str header, enum mend_raw raw)
{
	struct mend_look l = { .faults = 0 };
	const struct mend_host all = { .eightbit = true };
	unsigned faults;

	mend_look_add(&l, header);
	faults = mend_look_end(&l, &all) & ~(unsigned)MEND_8BIT;
	return faults | (raw_ok(header, raw) ? 0 : MEND_8BIT);
}

/* ---- Words ---- */

struct word {
	struct str gap, text;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes blanks and the word behind them. */
static bool word_take(struct str *rest, struct word *ret)
{
	size_t gap = 0, n;

	while (gap < rest->n && is_blank(rest->p[gap]))
		gap++;
	n = gap;
	while (n < rest->n && !is_blank(rest->p[n]))
		n++;
	if (n == gap)
		return false;
	ret->gap = str_head(*rest, gap);
	ret->text = str_head(str_from(*rest, gap), n - gap);
	*rest = str_from(*rest, n);
	return true;
}

/* Begins a new line at the blank that b ends in, when n octets more would be too many. */
static void fold_for(struct buf *b, size_t n)
{
	char blank = b->n ? b->p[b->n - 1] : '\0';

	if (!is_blank(blank) || fold_column(b) + n <= FOLD_AT)
		return;
	buf_cut(b, b->n - 1);
	buf_c(b, '\n');
	buf_c(b, blank);
}

static bool is_wanted(struct str word, bool all)
{
	return all ? !text_is_encoded(word) : !str_is_ascii(word);
}

static struct str span(const char *from, struct str last)
{
	return (struct str){ from, (size_t)(last.p + last.n - from) };
}

/* Appends text with the words that have bytes >= 0x80 (all: every one that is none yet) as
 * encoded words. Blanks between two encoded words are not shown (RFC 2047 6.2): those that
 * are to be seen go inside. */
static void encode_text(struct buf *b, struct str text, bool all)
{
	bool before = false;
	struct word w, next;

	while (word_take(&text, &w)) {
		struct str peek = text, run;
		const char *from = before ? w.gap.p : w.text.p;

		if (!is_wanted(w.text, all)) {
			buf_str(b, w.gap);
			fold_for(b, w.text.n);
			buf_str(b, w.text);
			before = text_is_encoded(w.text);
			continue;
		}
		run = span(from, w.text);
		while (word_take(&peek, &next) && is_wanted(next.text, all)) {
			run = span(from, next.text);
			text = peek;
		}
		peek = text;
		if (word_take(&peek, &next) && text_is_encoded(next.text))
			run = span(from, next.gap);
		buf_str(b, before ? STR(" ") : w.gap);
		fold_for(b, fold_column(b) > ENCODE_BEFORE ? FOLD_AT : 0);
		text_encode_all(b, run, fold_column(b));
		before = true;
	}
}

/* ---- Addresses ---- */

/* The octets up to and with the closing mark, from behind the opening one. */
static size_t closed_length(struct str s, char close)
{
	size_t i;

	for (i = 1; i < s.n && s.p[i] != close; i++)
		if (s.p[i] == '\\')
			i++;
	return i < s.n ? i + 1 : s.n;
}

static void unquote(struct buf *b, struct str s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '\\' && quoted && i + 1 < s.n)
			buf_c(b, s.p[++i]);
		else
			buf_c(b, s.p[i]);
	}
}

static void add_comment(struct buf *b, struct str s)
{
	bool closed = s.n > 1 && s.p[s.n - 1] == ')';

	if (str_is_ascii(s)) {
		fold_for(b, s.n);
		buf_str(b, s);
		return;
	}
	buf_c(b, '(');
	encode_text(b, str_head(str_from(s, 1), s.n - 1 - closed), true);
	buf_c(b, ')');
}

typedef int address_fn(struct buf *b, struct str addr);

/* Its domain in A-labels, between the same brackets. False: it cannot be. */
static bool add_ascii(struct buf *b, struct str s, address_fn *address)
{
	_cleanup_buf_ struct buf a = BUF_INIT;
	struct str addr = str_trim(s);
	bool angle = addr.n > 1 && addr.p[0] == '<' && addr.p[addr.n - 1] == '>';

	if (angle)
		addr = str_trim(str_head(str_from(addr, 1), addr.n - 2));
	if (!address || str_chr(addr, ' ') >= 0 || address(&a, addr) < 0 ||
	    !str_is_ascii(buf_view(&a)))
		return false;
	fold_for(b, a.n + 2);
	buf_z(b, angle ? "<" : "");
	buf_str(b, buf_view(&a));
	buf_z(b, angle ? ">" : "");
	return true;
}

/* An address with bytes >= 0x80, which encoded words may not stand for: in ASCII where that
 * can be, else the name of a group of nobody (RFC 6857 3.1.8). */
static void add_address(struct buf *b, struct str s, address_fn *address)
{
	if (add_ascii(b, s, address))
		return;
	if (b->n && !is_blank(b->p[b->n - 1]))
		buf_c(b, ' ');
	fold_for(b, fold_column(b) > ENCODE_BEFORE ? FOLD_AT : 0);
	text_encode_all(b, str_trim(s), fold_column(b));
	buf_z(b, " :;");
}

/* Words in front of "<", or of the comma: a name, or an address without brackets. True: they
 * end in an encoded word, which must stand alone (RFC 2047 5 (3)). */
static bool add_words(struct buf *b, struct str s, address_fn *address)
{
	_cleanup_buf_ struct buf plain = BUF_INIT;

	if (str_is_ascii(s)) {
		fold_for(b, s.n);
		buf_str(b, s);
		return false;
	}
	if (str_rchr(s, '@') >= 0 && s.p[s.n - 1] != '"') {
		add_address(b, s, address);
		return false;
	}
	unquote(&plain, s);
	encode_text(b, buf_view(&plain), true);
	return true;
}

/* Blanks, and then what ends at the next mark: */
static size_t words_length(struct str s)
{
	size_t i = 0;

	while (i < s.n && (s.p[i] == '\0' || !strchr("(<,;:", s.p[i])))
		i += s.p[i] == '"' ? closed_length(str_from(s, i), '"') : 1;
	return i;
}

/* Appends the body of a field of addresses. */
static void encode_addresses(struct buf *b, struct str s, address_fn *address)
{
	while (s.n) {
		size_t n, blanks = 0;
		bool alone;

		while (blanks < s.n && is_blank(s.p[blanks]))
			blanks++;
		buf_str(b, str_head(s, blanks));
		s = str_from(s, blanks);
		n = words_length(s);
		if (n) {
			size_t text = n;

			while (is_blank(s.p[text - 1]))
				text--;
			alone = add_words(b, str_head(s, text), address);
			if (text < n)
				buf_str(b, str_head(str_from(s, text), n - text));
			else if (alone)
				buf_c(b, ' ');
		} else if (s.n && s.p[0] == '(') {
			n = mime_comment_length(s);
			add_comment(b, str_head(s, n));
		} else if (s.n && s.p[0] == '<') {
			n = closed_length(s, '>');
			if (str_is_ascii(str_head(s, n))) {
				fold_for(b, n);
				buf_str(b, str_head(s, n));
			} else {
				add_address(b, str_head(s, n), address);
			}
		} else if (s.n) {
			n = 1;
			buf_c(b, s.p[0]);
		}
		s = str_from(s, n);
	}
}

/* ---- Parameters ---- */

/* coded: the value is extended already, and its own marks stay. */
static void add_percent(struct buf *b, char octet, bool coded)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char c = (unsigned char)octet;
	char l = ascii_lower(octet);
	char x[3] = { '%', digits[c >> 4], digits[c & 15] };

	if ((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
	    c == '_' || (coded && (c == '%' || c == '\'')))
		buf_c(b, octet);
	else
		buf_add(b, x, sizeof(x));
}

/* Appends name*=utf-8''value (RFC 2231 4), in pieces when it is long. */
static void add_extended(struct buf *b, struct str name, struct str value)
{
	const char *charset = text_is_utf8(value) ? "utf-8''" : "unknown-8bit''";
	bool pieces = 3 * value.n > PIECE_MAX;
	size_t start = 0;

	for (unsigned i = 0; i == 0 || value.n; i++) {
		buf_z(b, i ? ";\n " : "\n ");
		buf_str(b, name);
		if (pieces)
			buf_fmt(b, "*%u", i);
		buf_z(b, "*=");
		start = b->n;
		if (i == 0)
			buf_z(b, charset);
		while (value.n && (!pieces || b->n - start < PIECE_MAX)) {
			add_percent(b, value.p[0], false);
			value = str_from(value, 1);
		}
	}
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f ||
		    strchr("()<>@,;:\\\"/[]?='*%", s.p[i]))
			return false;
	return s.n > 0;
}

/* Appends a parameter that is written as RFC 2231 has it, but for its bytes >= 0x80: "name*",
 * "name*1" or "name*1*", where marks begins with the first asterisk. */
static void add_piece(struct buf *b, struct str name, struct str marks, struct str value)
{
	bool coded = marks.p[marks.n - 1] == '*';

	buf_z(b, "\n ");
	buf_str(b, name);
	buf_str(b, marks);
	buf_z(b, coded ? "=" : "*=");
	if (str_eq(marks, STR("*0")))
		buf_z(b, text_is_utf8(value) ? "utf-8''" : "unknown-8bit''");
	for (size_t i = 0; i < value.n; i++)
		add_percent(b, value.p[i], coded);
}

/* Appends a parameter, or what stands before the first, without its comments: encoded words in
 * one would be taken for a part of the value by many a reader. "a(1).pdf" without quotes is
 * meant as a name, though. */
static void without_comments(struct buf *b, struct str s, bool first)
{
	size_t i = 0, n;

	while (i < s.n) {
		bool apart = first || i == 0 || is_blank(s.p[i - 1]) || s.p[i - 1] == '"';

		n = 1;
		if (s.p[i] == '(')
			n = mime_comment_length(str_from(s, i));
		else if (s.p[i] == '"')
			n = closed_length(str_from(s, i), '"');
		if (s.p[i] != '(' || !apart || s.p[i + n - 1] != ')')
			buf_add(b, s.p + i, n);
		i += n;
	}
}

/* Appends one parameter. False: it is none that can be written otherwise. */
static bool encode_parameter(struct buf *b, struct str segment)
{
	_cleanup_buf_ struct buf value = BUF_INIT;
	struct str name, rest = segment;
	ptrdiff_t star;

	if (str_chr(rest, '=') < 0 || !str_cut(&rest, '=', &name))
		return false;
	name = str_trim(name);
	star = str_chr(name, '*');
	if (!is_token(star < 0 ? name : str_head(name, (size_t)star)))
		return false;
	unquote(&value, str_trim(rest));
	rest = value.n ? buf_view(&value) : STR("");
	if (star < 0)
		add_extended(b, name, rest);
	else if (str_is_ascii(name))
		add_piece(b, str_head(name, (size_t)star), str_from(name, (size_t)star),
		          rest);
	return star < 0 || str_is_ascii(name);
}

/* Appends the body of Content-Type or its like. False: it cannot be. */
static bool encode_parameters(struct buf *b, struct str body)
{
	struct str segment;

	for (bool first = true; mime_segment(&body, &segment); first = false) {
		_cleanup_buf_ struct buf clean = BUF_INIT;

		if (!first)
			buf_c(b, ';');
		if (!str_is_ascii(segment)) {
			without_comments(&clean, segment, first);
			segment = buf_view(&clean);
		}
		if (str_is_ascii(segment)) {
			fold_for(b, segment.n);
			buf_str(b, segment);
		} else if (first || !encode_parameter(b, segment)) {
			return false;
		}
	}
	return true;
}

/* ---- Fields ---- */

static bool encode_body(struct buf *b, enum field_kind kind, struct str body,
                        address_fn *address)
{
	if (kind == FIELD_TEXT)
		encode_text(b, body, false);
	else if (kind == FIELD_ADDRESSES)
		encode_addresses(b, body, address);
	return kind == FIELD_PARAMETERS ? encode_parameters(b, body)
	                                : kind != FIELD_OTHER;
}

/* A field with bytes >= 0x80. */
static void encode_field(struct buf *b, const struct head_field *f, address_fn *address)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	size_t start = b->n;

	head_unfold(&body, f->body);
	buf_str(b, f->name);
	buf_c(b, ':');
	if (!encode_body(b, kind_of(f->name), buf_view(&body), address)) {
		buf_cut(b, start);
		buf_z(b, "Downgraded-");
		buf_str(b, f->name);
		buf_c(b, ':');
		encode_text(b, buf_view(&body), false);
	}
	buf_c(b, '\n');
}

/* Appends with LF line ends; CRs that are none and NULs become SP. */
static void add_clean(struct buf *b, struct str s)
{
	size_t from = b->n;

	fold_text(b, s);
	for (size_t i = from; i < b->n; i++)
		if (b->p[i] == '\r' || b->p[i] == '\0')
			b->p[i] = ' ';
	if (b->n > from && b->p[b->n - 1] != '\n')
		buf_c(b, '\n');
}

/* Appends a Content-Type without the charset that it names. It gets another one. */
static void without_charset(struct buf *b, const struct head_field *f)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	struct str rest, segment;
	bool first = true;

	head_unfold(&body, f->body);
	rest = body.n ? buf_view(&body) : STR("");
	buf_str(b, f->name);
	buf_c(b, ':');
	while (mime_segment(&rest, &segment)) {
		struct str value = segment, name;

		if (!first && str_chr(value, '=') >= 0 && str_cut(&value, '=', &name) &&
		    str_ieq(str_trim(name), STR("charset")))
			continue;
		if (!first)
			buf_c(b, ';');
		buf_str(b, segment);
		first = false;
	}
	buf_c(b, '\n');
}

/* charset: of a Content-Type; NULL: as it is. */
static void add_field(struct buf *out, const struct head_field *field, enum mend_raw raw,
                      const char *charset, address_fn *address)
{
	_cleanup_buf_ struct buf bare = BUF_INIT;
	struct head_field other, *const f = &other;
	unsigned faults;
	size_t from = out->n;

	other = *field;
	if (charset) {
		struct str rest;

		without_charset(&bare, field);
		rest = buf_view(&bare);
		if (!head_next(&rest, f))
			other = *field;
	}
	faults = mend_head_faults(f->raw, raw);
	if (faults & MEND_8BIT)
		encode_field(out, f, address);
	else if (faults || charset)
		add_clean(out, f->raw);
	else
		buf_str(out, f->raw);
	if (charset) {
		while (out->n > from && ascii_space(out->p[out->n - 1]))
			buf_cut(out, out->n - 1);
		if (out->n > from && out->p[out->n - 1] == ';')
			buf_cut(out, out->n - 1);
		buf_fmt(out, ";\n charset=%s\n", charset);
	}
	if (out->n > from && out->p[out->n - 1] != '\n')
		buf_c(out, '\n');
	if (faults || charset)
		fold_long_lines(out, from, MEND_LINE_MAX);
}

void mend_head(struct buf *out, struct str header, enum mend_raw raw,
               const struct mend_label *label)
{
	struct head_field f;
	bool version = false, typed = false;

	while (head_next(&header, &f)) {
		bool type = str_ieq(f.name, STR("Content-Type"));

		version |= str_ieq(f.name, STR("MIME-Version"));
		if (label->cte && str_ieq(f.name, STR("Content-Transfer-Encoding")))
			continue;
		add_field(out, &f, raw, type && !typed ? label->charset : NULL,
		          label->address);
		typed |= type;
	}
	if (label->version && !version)
		buf_z(out, "MIME-Version: 1.0\n");
	if (label->charset && !typed)
		buf_fmt(out, "Content-Type: text/plain; charset=%s\n", label->charset);
	if (label->cte)
		buf_fmt(out, "Content-Transfer-Encoding: %s\n", label->cte);
}
