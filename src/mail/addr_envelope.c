#include "mail/addr_bytes.h"

const unsigned char addr_classes[256] = {
	[0x00] = CLASS_ODD,   [0x01] = CLASS_ODD,   [0x02] = CLASS_ODD,
	[0x03] = CLASS_ODD,   [0x04] = CLASS_ODD,   [0x05] = CLASS_ODD,
	[0x06] = CLASS_ODD,   [0x07] = CLASS_ODD,   [0x08] = CLASS_ODD,
	[0x0b] = CLASS_ODD,   [0x0c] = CLASS_ODD,   [0x0e] = CLASS_ODD,
	[0x0f] = CLASS_ODD,   [0x10] = CLASS_ODD,   [0x11] = CLASS_ODD,
	[0x12] = CLASS_ODD,   [0x13] = CLASS_ODD,   [0x14] = CLASS_ODD,
	[0x15] = CLASS_ODD,   [0x16] = CLASS_ODD,   [0x17] = CLASS_ODD,
	[0x18] = CLASS_ODD,   [0x19] = CLASS_ODD,   [0x1a] = CLASS_ODD,
	[0x1b] = CLASS_ODD,   [0x1c] = CLASS_ODD,   [0x1d] = CLASS_ODD,
	[0x1e] = CLASS_ODD,   [0x1f] = CLASS_ODD,   [0x7f] = CLASS_ODD,
	['\\'] = CLASS_ODD,   [' '] = CLASS_BLANK,  ['\t'] = CLASS_BLANK,
	['\r'] = CLASS_BLANK, ['\n'] = CLASS_BLANK, ['('] = CLASS_MARK,
	[')'] = CLASS_MARK,   ['<'] = CLASS_MARK,   ['>'] = CLASS_MARK,
	['['] = CLASS_MARK,   [']'] = CLASS_MARK,   [':'] = CLASS_MARK,
	[';'] = CLASS_MARK,   ['@'] = CLASS_MARK,   [','] = CLASS_MARK,
	['.'] = CLASS_DOT,    ['"'] = CLASS_MARK,   ['!'] = CLASS_SIGN,
	['#'] = CLASS_SIGN,   ['$'] = CLASS_SIGN,   ['%'] = CLASS_SIGN,
	['&'] = CLASS_SIGN,   ['\''] = CLASS_SIGN,  ['*'] = CLASS_SIGN,
	['+'] = CLASS_SIGN,   ['/'] = CLASS_SIGN,   ['='] = CLASS_SIGN,
	['?'] = CLASS_SIGN,   ['^'] = CLASS_SIGN,   ['`'] = CLASS_SIGN,
	['{'] = CLASS_SIGN,   ['|'] = CLASS_SIGN,   ['}'] = CLASS_SIGN,
	['~'] = CLASS_SIGN,
};

size_t addr_quoted_length(struct str s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

bool addr_is_dot_atom(struct str s)
{
	bool dot = true;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.' ? dot : !addr_is_atext(s.p[i]))
			return false;
		dot = s.p[i] == '.';
	}
	return !dot;
}

void addr_local(struct buf *b, struct str raw)
{
	if (addr_is_dot_atom(raw)) {
		buf_str(b, raw);
		return;
	}
	buf_c(b, '"');
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '"' || raw.p[i] == '\\')
			buf_c(b, '\\');
		buf_c(b, raw.p[i]);
	}
	buf_c(b, '"');
}

/* Length of the local part that a begins with, up to its last @ outside quotes, or all;
 * a.n + 1: the quotes are not as they must be. */
static size_t local_length(struct str a)
{
	size_t n = a.n;
	bool word_begins = true;

	if (str_chr(a, '"') < 0) {
		ptrdiff_t at = str_rchr(a, '@');

		return at < 0 ? a.n : (size_t)at;
	}
	for (size_t i = 0; i < a.n; i++) {
		if (a.p[i] == '"') {
			size_t q = addr_quoted_length(str_from(a, i));

			if (!word_begins || q == 0)
				return a.n + 1;
			i += q - 1;
			if (i + 1 < a.n && a.p[i + 1] != '.' && a.p[i + 1] != '@')
				return a.n + 1;
		} else if (a.p[i] == '@') {
			n = i;
		}
		word_begins = a.p[i] == '.';
	}
	return n;
}

bool addr_domain_ok(struct str d)
{
	bool literal = d.n > 2 && d.p[0] == '[' && d.p[d.n - 1] == ']';

	if (literal)
		d = str_head(str_from(d, 1), d.n - 2);
	for (size_t i = 0; i < d.n; i++) {
		if (addr_class(d.p[i]) == CLASS_HOST)
			continue;
		if (d.p[i] == '.' ? !literal && (i == 0 || d.p[i - 1] == '.')
		                  : d.p[i] != ':' || !literal)
			return false;
	}
	return d.n > 0;
}

bool addr_is_simple(struct str a)
{
	bool in_domain = false;
	size_t i = 0, start = 0; /* of the word at hand */

	if (a.n == 0 || a.n > ADDR_LENGTH_MAX)
		return false;
	for (;; start = ++i) {
		while (i < a.n && addr_class(a.p[i]) == CLASS_HOST)
			i++;
		while (!in_domain && i < a.n && addr_is_atext(a.p[i]))
			i++;
		if (i == start || i == a.n)
			return i > start;
		if (a.p[i] == '@' && !in_domain)
			in_domain = true;
		else if (a.p[i] != '.')
			return false;
	}
}

bool addr_envelope_ok(struct str a)
{
	size_t local;
	bool quoted = false;

	if (addr_is_simple(a))
		return true;
	if (a.n == 0 || a.n > ADDR_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if ((unsigned char)a.p[i] < 0x20 || a.p[i] == 0x7f)
			return false;
	local = local_length(a);
	if (local == 0 || local > a.n)
		return false;
	for (size_t i = 0; i < local; i++) {
		if (quoted && a.p[i] == '\\')
			i++;
		else if (a.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && strchr(" <>[],:;()\\@", a.p[i]))
			return false;
	}
	return local == a.n || addr_domain_ok(str_from(a, local + 1));
}

/* Index of the @ in front of the domain, or -1. */
static ptrdiff_t domain_mark(struct str a)
{
	size_t n;

	if (str_chr(a, '"') < 0)
		return str_rchr(a, '@');
	n = local_length(a);
	return n < a.n ? (ptrdiff_t)n : -1;
}

bool addr_has_domain(struct str a)
{
	return domain_mark(a) >= 0;
}

void addr_split(struct str a, struct str *ret_local, struct str *ret_domain)
{
	ptrdiff_t at = domain_mark(a);

	*ret_local = str_head(a, (size_t)at); /* -1: all of it */
	*ret_domain = str_from(a, at < 0 ? a.n : (size_t)at + 1);
}

bool addr_glob(struct str pattern, struct str a)
{
	size_t p = 0, i = 0, star = SIZE_MAX, from = 0;

	/* Only the last star met needs to be tried with more bytes. */
	while (i < a.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			if (p + 1 == pattern.n)
				return true;
			star = p++;
			from = i;
		} else if (p < pattern.n &&
		           (pattern.p[p] == '?' ||
		            ascii_lower(pattern.p[p]) == ascii_lower(a.p[i]))) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}
