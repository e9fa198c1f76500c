/* What a header says of the body behind it (mime.h) */
#include "mail/mime.h"
#include "mail/head.h"

#define BOUNDARY_PIECE STR("boundary*")

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

/* A boundary in pieces (RFC 2231 3), or in a charset (4). */
struct pieces {
	struct buf text;
	unsigned n;
	bool bad; /* one is missing, or not as it should be */
};

static int hex_digit(char c)
{
	char l = ascii_lower(c);

	return c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* Appends a value in which %XX stands for an octet. False: a % that does not. */
static bool add_decoded(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		int high, low;

		if (s.p[i] != '%') {
			buf_c(b, s.p[i]);
			continue;
		}
		high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
		low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		buf_c(b, (char)(high << 4 | low));
		i += 2;
	}
	return true;
}

/* number: what stands between "boundary*" and "=": "0", "0*", or nothing. */
static void take_piece(struct pieces *p, struct str number, struct str value)
{
	bool extended = number.n == 0, first = p->n == 0;
	uint64_t n = 0;
	struct str part;

	if (number.n && number.p[number.n - 1] == '*') {
		extended = true;
		number.n--;
	}
	if ((number.n && !str_u64(number, &n)) || n != p->n++) {
		p->bad = true;
		return;
	}
	/* charset'language'text */
	for (unsigned i = 0; extended && first && i < 2; i++)
		if (str_chr(value, '\'') < 0 || !str_cut(&value, '\'', &part))
			p->bad = true;
	if (!extended)
		buf_str(&p->text, value);
	else if (!add_decoded(&p->text, value))
		p->bad = true;
}

static void take_charset(struct mime_type *t, struct str value)
{
	static const char *const wide[] = { "utf-16",   "utf16", "utf-32",
		                            "utf32",    "ucs-",  "iso-10646-ucs-",
		                            "csunicode" };

	t->charset = true;
	t->ascii = str_ieq(value, STR("us-ascii")) || str_ieq(value, STR("ascii"));
	for (size_t i = 0; i < ARRAY_LEN(wide); i++)
		t->wide |= str_istarts(value, str_z(wide[i]));
}

/* The value of a boundary keeps blanks that stand in its quotes: plain_text() does. */
static void take_parameter(struct mime_type *t, struct pieces *p, struct str segment)
{
	_cleanup_buf_ struct buf value = BUF_INIT;
	struct str name;

	if (str_chr(segment, '=') < 0 || !str_cut(&segment, '=', &name))
		return;
	name = str_trim(name);
	plain_text(&value, segment);
	if (str_ieq(name, STR("charset")) && !t->charset)
		take_charset(t, buf_view(&value));
	else if (str_istarts(name, STR("charset*")))
		t->charset = true;
	else if (str_ieq(name, STR("boundary")) && t->boundary_n == 0)
		take_boundary(t, buf_view(&value));
	else if (str_istarts(name, BOUNDARY_PIECE))
		take_piece(p, str_from(name, BOUNDARY_PIECE.n), buf_view(&value));
}

static void take_type(struct mime_type *t, struct str body)
{
	_cleanup_buf_ struct buf flat = BUF_INIT;
	struct pieces p = { .text = BUF_INIT };
	struct str rest, segment;

	head_unfold(&flat, body);
	rest = flat.n ? buf_view(&flat) : STR("");
	for (bool first = true; mime_segment(&rest, &segment); first = false) {
		if (first)
			take_name(t, segment);
		else
			take_parameter(t, &p, segment);
	}
	if (t->boundary_n == 0 && !p.bad)
		take_boundary(t, buf_view(&p.text));
	buf_free(&p.text);
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

/* S/MIME's own type is one opaque value, whose encoding any relay may change (RFC 8551 3.1.2),
 * where the header says what the encoding is. */
static bool is_sealed_pkcs7(const struct mime_type *t)
{
	return t->cte != MIME_CTE_BASE64 && t->cte != MIME_CTE_QP &&
	       t->cte != MIME_CTE_BINARY;
}

/* Types that a change would spoil: what is signed no longer verifies (RFC 1847 2.1, RFC 8551
 * 3.1), pieces must be 7-bit from the beginning (RFC 2046 5.2.2). */
static const char *sealed_type(const struct mime_type *t)
{
	static const struct {
		const char *name, *why;
		bool pkcs7;
	} rows[] = {
		{ "multipart/signed", "it is signed", false },
		{ "multipart/encrypted", "it is encrypted", false },
		{ "application/pkcs7-mime", "it is signed or encrypted", true },
		{ "application/x-pkcs7-mime", "it is signed or encrypted", true },
		{ "message/partial", "it is one piece of a message", false },
		{ "message/external-body", "it stands for something elsewhere", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].name, t->name) == 0 &&
		    (!rows[i].pkcs7 || is_sealed_pkcs7(t)))
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
	t->sealed = sealed_type(t);
	if (!t->sealed && t->cte == MIME_CTE_OTHER)
		t->sealed = "its encoding is not known";
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
