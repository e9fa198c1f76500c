#include "mail/text.h"

enum {
	ENCODED_WORD_MAX = 75, /* RFC 2047 2 */
	QP_LINE_MAX = 76,      /* RFC 2045 6.7 (5); of encoded words: RFC 2047 2 */
	/* Where a first encoded word may begin and still say something in its line. */
	ENCODED_COLUMN_MAX = 40,
};

#define OPEN "=?utf-8?q?"
#define OPEN_UNKNOWN "=?unknown-8bit?q?"

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

/* The octets that a character of several begins with (RFC 3629 4). */
static void utf8_begin(struct text_utf8 *u, unsigned char c)
{
	u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	u->need = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	u->bad = c < 0xc2 || c > 0xf4;
}

void text_utf8_add(struct text_utf8 *u, struct str s)
{
	for (size_t i = 0; i < s.n && !u->bad; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (u->need) {
			u->bad = c < u->low || c > u->high;
			u->need--;
			u->low = 0x80;
			u->high = 0xbf;
		} else if (c >= 0x80) {
			utf8_begin(u, c);
		}
	}
}

bool text_utf8_ok(const struct text_utf8 *u)
{
	return !u->bad && u->need == 0;
}

bool text_is_utf8(struct str s)
{
	struct text_utf8 u = { .need = 0 };

	text_utf8_add(&u, s);
	return text_utf8_ok(&u);
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

bool text_is_encoded(struct str word)
{
	struct str charset, text;
	char encoding;

	return word.n <= ENCODED_WORD_MAX && str_is_ascii(word) &&
	       split(word, &charset, &encoding, &text);
}

static void encode_octet(struct buf *b, char octet)
{
	unsigned char c = (unsigned char)octet;
	char l = ascii_lower(octet);
	char x[3] = { '=', digits[c >> 4], digits[c & 15] };

	if (c == ' ')
		buf_c(b, '_');
	else if ((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9'))
		buf_c(b, octet);
	else
		buf_add(b, x, sizeof(x));
}

/* In as many words as it takes, parted as told; room: for the first. */
static void encode_word(struct buf *b, struct str s, size_t room, const char *part)
{
	bool utf8 = text_is_utf8(s);
	const char *open = utf8 ? OPEN : OPEN_UNKNOWN;
	size_t start = b->n;

	buf_z(b, open);
	while (s.n) {
		size_t n = utf8 ? text_utf8_length(s) : 1;

		if (b->n - start + 3 * n + 2 > room) {
			buf_z(b, "?=");
			buf_z(b, part);
			start = b->n;
			room = ENCODED_WORD_MAX;
			buf_z(b, open);
		}
		for (size_t i = 0; i < n; i++)
			encode_octet(b, s.p[i]);
		s = str_from(s, n);
	}
	buf_z(b, "?=");
}

void text_encode_all(struct buf *b, struct str s, size_t column)
{
	size_t used = column < ENCODED_COLUMN_MAX ? column : ENCODED_COLUMN_MAX;

	encode_word(b, s, used ? QP_LINE_MAX - used : ENCODED_WORD_MAX, "\n ");
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
		if (str_is_ascii(word)) {
			buf_str(b, word);
			encoded = text_is_encoded(word);
			continue;
		}
		/* Blanks between two encoded words are not shown: they go inside. */
		if (encoded)
			buf_c(&room, ' ');
		buf_str(&room, word);
		do
			next = STR_NONE;
		while (rest.n && str_cut(&rest, ' ', &next) && next.n == 0);
		if (text_is_encoded(next))
			buf_c(&room, ' ');
		encode_word(b, buf_view(&room), ENCODED_WORD_MAX, " ");
		encoded = true;
	}
}

/* ---- Quoted-printable ---- */

static void qp_room(struct text_qp *q, struct buf *b, size_t n)
{
	if (q->column + n > QP_LINE_MAX - 1) {
		buf_z(b, "=\n");
		q->column = 0;
	}
	q->column += n;
}

static void qp_coded(struct text_qp *q, struct buf *b, char octet)
{
	unsigned char c = (unsigned char)octet;
	char x[3] = { '=', digits[c >> 4], digits[c & 15] };

	qp_room(q, b, sizeof(x));
	buf_add(b, x, sizeof(x));
}

/* A line that is ours must not look like a boundary. */
static void qp_plain(struct text_qp *q, struct buf *b, char c)
{
	if (c == '-' && q->column + 1 > QP_LINE_MAX - 1) {
		qp_coded(q, b, c);
		return;
	}
	qp_room(q, b, 1);
	buf_c(b, c);
}

void text_qp_add(struct text_qp *q, struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (q->blank)
			qp_plain(q, b, q->blank);
		q->blank = '\0';
		if (c == ' ' || c == '\t')
			q->blank = (char)c;
		else if (c > 0x20 && c < 0x7f && c != '=')
			qp_plain(q, b, (char)c);
		else
			qp_coded(q, b, (char)c);
	}
}

void text_qp_end(struct text_qp *q, struct buf *b)
{
	/* RFC 2045 6.7 (3): blanks at the end of a line do not last. */
	if (q->blank)
		qp_coded(q, b, q->blank);
	q->blank = '\0';
}

void text_qp_eol(struct text_qp *q, struct buf *b)
{
	text_qp_end(q, b);
	buf_c(b, '\n');
	q->column = 0;
}

void text_quoted_printable(struct buf *b, struct str s)
{
	struct text_qp q = { .column = 0 };
	struct str line;

	while (str_chr(s, '\n') >= 0 && str_cut(&s, '\n', &line)) {
		text_qp_add(&q, b, line);
		text_qp_eol(&q, b);
	}
	text_qp_add(&q, b, s);
	text_qp_end(&q, b);
}

/* ---- Base64 ---- */

static void base64_group(struct text_base64 *q, struct buf *b)
{
	static const char set[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *h = q->held;
	char out[4] = { set[h[0] >> 2], set[(h[0] & 3) << 4 | h[1] >> 4],
		        set[(h[1] & 15) << 2 | h[2] >> 6], set[h[2] & 63] };

	if (q->n < 3)
		out[3] = '=';
	if (q->n < 2)
		out[2] = '=';
	if (q->column == QP_LINE_MAX) {
		buf_c(b, '\n');
		q->column = 0;
	}
	buf_add(b, out, sizeof(out));
	q->column += sizeof(out);
	memset(q->held, 0, sizeof(q->held));
	q->n = 0;
}

void text_base64_add(struct text_base64 *q, struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		q->held[q->n++] = (unsigned char)s.p[i];
		if (q->n == 3)
			base64_group(q, b);
	}
}

void text_base64_end(struct text_base64 *q, struct buf *b)
{
	if (q->n)
		base64_group(q, b);
}
