#include "mail/text.h"

enum {
	ENCODED_WORD_MAX = 75, /* RFC 2047 2 */
	QP_LINE_MAX = 76,      /* RFC 2045 6.7 (5) */
};

#define OPEN "=?utf-8?q?"

static const char digits[] = "0123456789ABCDEF";

size_t text_utf8_length(struct str s)
{
	unsigned char c = (unsigned char)s.p[0], second;
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	if (n < 2)
		return n;
	if (c > 0xf4 || s.n < n)
		return 0;
	second = (unsigned char)s.p[1];
	if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
	    (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool text_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

void text_clean(struct buf *b, struct str s)
{
	while (s.n) {
		size_t n = text_utf8_length(s);
		unsigned char c = (unsigned char)s.p[0];

		if (n == 0 || (c == 0xc2 && (unsigned char)s.p[1] < 0xa0))
			buf_c(b, '?');
		else if (c < 0x20 || c == 0x7f)
			buf_c(b, ' ');
		else
			buf_add(b, s.p, n);
		s = str_from(s, n ? n : 1);
	}
}

/* ---- Encoded words ---- */

static int hex(char c)
{
	char l = ascii_lower(c);

	if (c >= '0' && c <= '9')
		return c - '0';
	return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static int base64(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void decode_q(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool whole = s.p[i] == '=' && i + 2 < s.n;
		int high = whole ? hex(s.p[i + 1]) : -1,
		    low = whole ? hex(s.p[i + 2]) : -1;

		if (high >= 0 && low >= 0) {
			buf_c(b, (char)(high << 4 | low));
			i += 2;
		} else {
			buf_c(b, s.p[i] == '_' ? ' ' : s.p[i]);
		}
	}
}

static void decode_b(struct buf *b, struct str s)
{
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < s.n; i++) {
		int v = base64(s.p[i]);

		if (v < 0)
			continue;
		bits = (bits << 6 | (unsigned)v) & 0xffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			buf_c(b, (char)(bits >> have & 0xff));
		}
	}
}

/* The parts of a word "=?charset?encoding?text?=". */
static bool split(struct str word, struct str *ret_charset, char *ret_encoding,
                  struct str *ret_text)
{
	struct str encoding, charset;

	if (word.n < 8 || !str_starts(word, STR("=?")) || !str_iends(word, STR("?=")))
		return false;
	word = str_head(str_from(word, 2), word.n - 4);
	if (!str_cut(&word, '?', &charset) || !str_cut(&word, '?', &encoding) ||
	    charset.n == 0 || encoding.n != 1 || !word.p || str_chr(word, '?') >= 0)
		return false;
	/* RFC 2231 5: a language may follow. */
	if (str_chr(charset, '*') >= 0)
		charset = str_head(charset, (size_t)str_chr(charset, '*'));
	*ret_charset = charset;
	*ret_encoding = ascii_lower(encoding.p[0]);
	*ret_text = word;
	return *ret_encoding == 'q' || *ret_encoding == 'b';
}

/* Appends what an encoded word says, in UTF-8 if it is what it claims to be. */
static bool decode_word(struct buf *b, struct str word)
{
	_cleanup_buf_ struct buf raw = BUF_INIT;
	struct str charset, text;
	char encoding;
	bool latin;

	if (!split(word, &charset, &encoding, &text))
		return false;
	latin = str_ieq(charset, STR("iso-8859-1"));
	if (!latin && !str_ieq(charset, STR("utf-8")) &&
	    !str_ieq(charset, STR("us-ascii")))
		return false;
	if (encoding == 'q')
		decode_q(&raw, text);
	else
		decode_b(&raw, text);
	for (size_t i = 0; i < raw.n; i++) {
		unsigned char c = (unsigned char)raw.p[i];

		if (latin && c >= 0x80) {
			buf_c(b, (char)(0xc0 | c >> 6));
			buf_c(b, (char)(0x80 | (c & 0x3f)));
		} else {
			buf_c(b, (char)c);
		}
	}
	return true;
}

void text_decode_words(struct buf *b, struct str s)
{
	_cleanup_buf_ struct buf raw = BUF_INIT;
	bool decoded = false, first = true;
	struct str word;

	while (s.n && str_cut(&s, ' ', &word)) {
		size_t at = raw.n;

		if (word.n == 0)
			continue;
		/* Blanks between two encoded words are not shown (RFC 2047 6.2). */
		if (decode_word(&raw, word)) {
			if (!decoded && !first) {
				_cleanup_buf_ struct buf said = BUF_INIT;

				buf_str(&said, str_from(buf_view(&raw), at));
				buf_cut(&raw, at);
				buf_c(&raw, ' ');
				buf_str(&raw, buf_view(&said));
			}
			decoded = true;
		} else {
			if (!first)
				buf_c(&raw, ' ');
			buf_str(&raw, word);
			decoded = false;
		}
		first = false;
	}
	text_clean(b, buf_view(&raw));
}

static bool is_encoded(struct str word)
{
	struct str charset, text;
	char encoding;

	return word.n <= ENCODED_WORD_MAX && text_is_ascii(word) &&
	       split(word, &charset, &encoding, &text);
}

static void encode_word(struct buf *b, struct str s)
{
	size_t start = b->n;

	buf_z(b, OPEN);
	while (s.n) {
		size_t n = text_utf8_length(s);

		n = n ? n : 1;
		if (b->n - start + 3 * n + 2 > ENCODED_WORD_MAX) {
			buf_z(b, "?= ");
			start = b->n;
			buf_z(b, OPEN);
		}
		for (size_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)s.p[i];
			char l = ascii_lower(s.p[i]);
			char x[3] = { '=', digits[c >> 4], digits[c & 15] };

			if (c == ' ')
				buf_c(b, '_');
			else if ((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9'))
				buf_c(b, s.p[i]);
			else
				buf_add(b, x, sizeof(x));
		}
		s = str_from(s, n);
	}
	buf_z(b, "?=");
}

void text_encode_words(struct buf *b, struct str s)
{
	bool first = true, encoded = false;
	struct str word, next;

	while (s.n && str_cut(&s, ' ', &word)) {
		_cleanup_buf_ struct buf room = BUF_INIT;
		struct str rest = s;

		if (word.n == 0)
			continue;
		if (!first)
			buf_c(b, ' ');
		first = false;
		if (text_is_ascii(word)) {
			buf_str(b, word);
			encoded = is_encoded(word);
			continue;
		}
		/* Blanks between two encoded words are not shown: they go inside. */
		if (encoded)
			buf_c(&room, ' ');
		buf_str(&room, word);
		do
			next = STR_NONE;
		while (rest.n && str_cut(&rest, ' ', &next) && next.n == 0);
		if (is_encoded(next))
			buf_c(&room, ' ');
		encode_word(b, buf_view(&room));
		encoded = true;
	}
}

/* ---- Quoted-printable ---- */

void text_quoted_printable(struct buf *b, struct str s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool last = i + 1 == s.n || s.p[i + 1] == '\n';
		bool plain = (c > 0x20 && c < 0x7f && c != '=') ||
		             ((c == ' ' || c == '\t') && !last);

		if (c == '\n') {
			buf_c(b, '\n');
			column = 0;
			continue;
		}
		if (column + (plain ? 1 : 3) > QP_LINE_MAX - 1) {
			buf_z(b, "=\n");
			column = 0;
		}
		if (plain) {
			buf_c(b, (char)c);
			column++;
		} else {
			char x[3] = { '=', digits[c >> 4], digits[c & 15] };

			buf_add(b, x, sizeof(x));
			column += sizeof(x);
		}
	}
}
