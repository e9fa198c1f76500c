#include "mail/phrase.h"

enum {
	ENCODED_WORD_MAX = 75, /* RFC 2047 2 */
	FOLD_AT = 78,          /* octets of a line that is better not passed */
};

static bool is_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Length of the UTF-8 character (RFC 3629 4) that s begins with; 0: it is none. */
static size_t utf8_length(struct str s)
{
	unsigned char c = (unsigned char)s.p[0], second;
	size_t n = c < 0x80   ? 1
	           : c < 0xc2 ? 0
	           : c < 0xe0 ? 2
	           : c < 0xf0 ? 3
	           : c < 0xf5 ? 4
	                      : 0;

	if (n < 2)
		return n;
	if (s.n < n)
		return 0;
	second = (unsigned char)s.p[1];
	if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
	    (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if (!is_tail(s.p[i]))
			return 0;
	return n;
}

static bool is_utf8(struct str s)
{
	while (s.n) {
		size_t n = utf8_length(s);

		if (n == 0)
			return false;
		s = str_from(s, n);
	}
	return true;
}

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* Length of what text begins with that is clean: words, with single SPs between. */
static size_t clean_length(struct str text)
{
	size_t n = 0;

	text = str_head(text, PHRASE_MAX);
	while (n < text.n && (((unsigned char)text.p[n] > ' ' && text.p[n] != 0x7f) ||
	                      (text.p[n] == ' ' && n > 0 && text.p[n - 1] != ' ')))
		n++;
	return n > 0 && text.p[n - 1] == ' ' ? n - 1 : n;
}

void phrase_clean(struct buf *b, struct str text)
{
	const size_t clean = clean_length(text); /* mostly all of it */
	size_t start = b->n, n;

	buf_str(b, str_head(text, clean));
	for (size_t i = clean; i < text.n && b->n - start <= PHRASE_MAX; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c > 0x20 && c != 0x7f)
			buf_c(b, text.p[i]);
		else if (b->n > start && b->p[b->n - 1] != ' ')
			buf_c(b, ' ');
	}
	n = b->n;
	if (n - start > PHRASE_MAX)
		for (n = start + PHRASE_MAX; n > start && is_tail(b->p[n]);)
			n--;
	while (n > start && b->p[n - 1] == ' ')
		n--;
	buf_cut(b, n);
}

/* cronie's From is "(Cron Daemon)" <root>: a name that is nothing but a comment. */
static struct str without_parentheses(struct str s)
{
	struct str inside = str_head(str_from(s, 1), s.n < 2 ? 0 : s.n - 2);

	if (inside.n && s.p[0] == '(' && s.p[s.n - 1] == ')' &&
	    str_chr(inside, '(') < 0 && str_chr(inside, ')') < 0)
		return inside;
	return s;
}

void phrase_text(struct buf *b, const struct addr *a)
{
	_cleanup_buf_ struct buf text = BUF_SMALL;
	struct str comment = a->comment;
	ptrdiff_t pair;

	if (a->phrase.n == 0 && a->comment.n == 0)
		return;
	if (a->phrase.n) {
		addr_words(&text, a->phrase, true);
	} else {
		while ((pair = str_chr(comment, '\\')) >= 0 &&
		       (size_t)pair + 1 < comment.n) {
			buf_str(&text, str_head(comment, (size_t)pair));
			buf_c(&text, comment.p[pair + 1]);
			comment = str_from(comment, (size_t)pair + 2);
		}
		buf_str(&text, comment);
	}
	phrase_clean(b, without_parentheses(str_trim(buf_view(&text))));
}

/* What may stand in an encoded word of a phrase (RFC 2047 5 (3)). */
static bool is_encodable(char c)
{
	char l = ascii_lower(c);

	return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!*+-/", c));
}

/* Is the word an encoded word, and nothing that would end or split a phrase? */
static bool is_encoded_word(struct str w)
{
	unsigned marks = 0;

	if (w.n < 8 || w.n > ENCODED_WORD_MAX || !str_starts(w, STR("=?")) ||
	    !str_iends(w, STR("?=")))
		return false;
	for (size_t i = 0; i < w.n; i++) {
		if (w.p[i] == '?')
			marks++;
		else if (!is_encodable(w.p[i]) && w.p[i] != '=' && w.p[i] != '_')
			return false;
	}
	return marks == 4;
}

static size_t column(const struct buf *b)
{
	const char *lf = b->n ? memrchr(b->p, '\n', b->n) : NULL;

	return lf ? b->n - (size_t)(lf + 1 - b->p) : b->n;
}

/* Parts words from what is in front of them: by SP, or by folding when n octets more would
 * be too many. */
static void part(struct buf *b, size_t n)
{
	buf_z(b, column(b) + n > FOLD_AT ? "\n " : " ");
}

static void add_quoted(struct buf *b, struct str s)
{
	buf_c(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_c(b, '\\');
		buf_c(b, s.p[i]);
	}
	buf_c(b, '"');
}

/* Adds s as encoded words; no character is split between two. */
static void add_encoded(struct buf *b, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	bool utf8 = is_utf8(s);
	const char *open = utf8 ? "=?utf-8?q?" : "=?unknown-8bit?q?";
	size_t start = b->n;

	buf_z(b, open);
	while (s.n) {
		size_t n = utf8 ? utf8_length(s) : 1;

		if (b->n - start + 3 * n + 2 > ENCODED_WORD_MAX) {
			buf_z(b, "?=\n ");
			start = b->n;
			buf_z(b, open);
		}
		for (size_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)s.p[i];
			char x[3] = { '=', hex[c >> 4], hex[c & 15] };

			if (c == ' ')
				buf_c(b, '_');
			else if (is_encodable(s.p[i]))
				buf_c(b, s.p[i]);
			else
				buf_add(b, x, sizeof(x));
		}
		s = str_from(s, n);
	}
	buf_z(b, "?=");
}

/* Takes from *rest a run of words that are no encoded words, or one that is. */
static struct str run_take(struct str *rest, bool *ret_encoded)
{
	struct str whole = *rest, ahead = *rest, word;
	size_t n = 0;

	*ret_encoded = false;
	while (str_cut(&ahead, ' ', &word)) {
		bool encoded = is_encoded_word(word);

		if (encoded && n > 0)
			break;
		n = (size_t)(word.p - whole.p) + word.n;
		*rest = ahead;
		if (encoded) {
			*ret_encoded = true;
			break;
		}
	}
	return str_head(whole, n);
}

void phrase_mailbox(struct buf *b, struct str text, struct str addr)
{
	_cleanup_buf_ struct buf clean = BUF_SMALL;
	struct str rest;
	bool encoded, encoded_before = false, first = true;

	phrase_clean(&clean, text);
	if (clean.n == 0) {
		buf_str(b, addr);
		return;
	}
	rest = buf_view(&clean);
	while (rest.p) {
		struct str run = run_take(&rest, &encoded);

		if (!first)
			part(b, run.n + 2);
		first = false;
		if (encoded) {
			buf_str(b, run);
			encoded_before = true;
		} else if (is_ascii(run)) {
			add_quoted(b, run);
			encoded_before = false;
		} else {
			/* Blanks between two encoded words are not shown: put them inside. */
			if (encoded_before && run.p > clean.p)
				run = (struct str){ run.p - 1, run.n + 1 };
			if (rest.p)
				run.n++;
			add_encoded(b, run);
			encoded_before = true;
		}
	}
	part(b, addr.n + 2);
	buf_c(b, '<');
	buf_str(b, addr);
	buf_c(b, '>');
}
