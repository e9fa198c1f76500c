#include "base/str.h"
#include <errno.h>
#include <unistd.h>

enum { FMT_USUAL = 100 }; /* octets that what is formatted seldom exceeds */

char buf_nothing[1];

void die_oom(void)
{
	static const char m[] = "mailchute: out of memory\n";
	ssize_t ignored = write(2, m, sizeof(m) - 1);

	(void)ignored;
	abort();
}

void cleanup_fd(const int *fd)
{
	int e = errno;

	if (*fd >= 0)
		close(*fd);
	errno = e;
}

struct str str_trim(struct str s)
{
	while (s.n && ascii_space(s.p[0]))
		s = str_from(s, 1);
	while (s.n && ascii_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_is_ascii(struct str s)
{
	const char *p = s.p;
	size_t n = s.n;

	for (; n >= sizeof(uint64_t); p += sizeof(uint64_t), n -= sizeof(uint64_t)) {
		uint64_t v;

		memcpy(&v, p, sizeof(v));
		if (v & UINT64_C(0x8080808080808080))
			return false;
	}
	for (; n; p++, n--)
		if ((unsigned char)*p >= 0x80)
			return false;
	return true;
}

/* The same for eight octets at once: what is below '!' borrows, what is above '~' carries,
 * into the octet's highest bit. Others do neither, so that no octet spoils the next. */
static bool eight_visible(const char *p)
{
	const uint64_t each = UINT64_C(0x0101010101010101);
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return (((v - each * '!') | (v + each) | v) & (each * 0x80)) == 0;
}

bool str_is_visible(struct str s)
{
	size_t i = 0;

	for (; s.n - i >= sizeof(uint64_t); i += sizeof(uint64_t))
		if (!eight_visible(s.p + i))
			return false;
	if (i < s.n && i > 0)
		return eight_visible(s.p + s.n - sizeof(uint64_t));
	while (i < s.n && s.p[i] > ' ' && s.p[i] < 0x7f)
		i++;
	return i == s.n;
}

bool str_same_folded(struct str a, struct str b)
{
	for (size_t i = 0; i < a.n; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

bool str_istarts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_ieq(str_head(s, prefix.n), prefix);
}

bool str_iends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_ieq(str_from(s, s.n - suffix.n), suffix);
}

bool str_cut(struct str *s, char c, struct str *ret_part)
{
	ptrdiff_t at;

	if (!s->p)
		return false;
	at = str_chr(*s, c);
	if (at < 0) {
		*ret_part = *s;
		*s = STR_NONE;
	} else {
		*ret_part = str_head(*s, (size_t)at);
		*s = str_from(*s, (size_t)at + 1);
	}
	return true;
}

bool str_word(struct str *s, struct str *ret)
{
	size_t n = 0;

	*s = str_trim(*s);
	while (n < s->n && !ascii_space(s->p[n]))
		n++;
	*ret = str_head(*s, n);
	*s = str_from(*s, n);
	return n > 0;
}

bool str_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 19)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = v;
	return true;
}

char *str_dup(struct str s)
{
	char *z = malloc(s.n + 1);

	if (!z)
		die_oom();
	if (s.n)
		memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return z;
}

char *buf_room(struct buf *b, size_t n)
{
	size_t need = b->n + n + 1, cap = b->cap ? b->cap : 64;
	char *p;

	if (need < n)
		die_oom();
	if (need <= b->cap)
		return b->p + b->n;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	p = realloc(b->cap && !b->lent ? b->p : NULL, cap);
	if (!p)
		die_oom();
	if (b->lent)
		memcpy(p, b->p, b->n);
	p[b->n] = '\0';
	b->p = p;
	b->cap = cap;
	b->lent = false;
	return p + b->n;
}

void buf_u64(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_hex8(struct buf *b, uint32_t v)
{
	char hex[8];

	for (int i = 7; i >= 0; i--, v >>= 4)
		hex[i] = "0123456789abcdef"[v & 15];
	buf_add(b, hex, sizeof(hex));
}

void buf_vfmt(struct buf *b, const char *fmt, va_list ap)
{
	char *p = buf_room(b, FMT_USUAL);
	size_t room = b->cap - b->n;
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(p, room, fmt, ap);
	if (n >= 0 && (size_t)n >= room)
		vsnprintf(buf_room(b, (size_t)n), (size_t)n + 1, fmt, again);
	va_end(again);
	if (n >= 0)
		b->n += (size_t)n;
	else
		*p = '\0';
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vfmt(b, fmt, ap);
	va_end(ap);
}

void buf_drop(struct buf *b, size_t n)
{
	if (n == 0)
		return;
	if (n > b->n)
		n = b->n;
	memmove(b->p, b->p + n, b->n - n);
	buf_cut(b, b->n - n);
}

static size_t plain_length(struct str s, char except)
{
	size_t n = 0;

	while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7f && s.p[n] != except)
		n++;
	return n;
}

static void escape(struct buf *b, struct str s, size_t max, char also)
{
	static const char hex[] = "0123456789abcdef";

	s = str_head(s, max);
	while (s.n) {
		struct str plain = str_head(s, plain_length(s, also));
		unsigned char c;

		buf_str(b, plain);
		s = str_from(s, plain.n);
		if (s.n == 0)
			return;
		c = (unsigned char)s.p[0];
		buf_add(b, (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4);
		s = str_from(s, 1);
	}
}

void buf_escape(struct buf *b, struct str s, size_t max)
{
	escape(b, s, max, '\\');
}

void buf_escape_rest(struct buf *b, struct str s, size_t max)
{
	escape(b, s, max, '\0');
}

void strv_add(struct strv *l, struct str s)
{
	char **v = realloc(l->v, (l->n + 1) * sizeof(*v));

	if (!v)
		die_oom();
	l->v = v;
	l->v[l->n++] = str_dup(s);
}

void strv_free(struct strv *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	l->v = NULL;
	l->n = 0;
}
