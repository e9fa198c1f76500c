/*
 * str.h - borrowed and owned strings
 *
 * struct str is borrowed: a pointer and a length, passed by value, never freed, may hold
 * any byte (also NUL), not terminated.
 * struct buf is owned: p is never NULL once it was initialised with BUF_INIT and touched
 * by a function of this file, p[n] is always NUL, bytes before it may be anything.
 * Memory exhaustion does not return (die_oom).
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/base.h"
#include <stdarg.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
#define STR_NONE ((struct str){ NULL, 0 })

/* The smallest ones are here: the parsers live on them. */

static inline struct str str_z(const char *z) /* NULL gives the empty string */
{
	return (struct str){ z ? z : "", z ? strlen(z) : 0 };
}
/* The rest of s from byte at (clamped). */
static inline struct str str_from(struct str s, size_t at)
{
	if (at > s.n)
		at = s.n;
	return (struct str){ s.p ? s.p + at : NULL, s.n - at };
}
/* The first n bytes of s (clamped). */
static inline struct str str_head(struct str s, size_t n)
{
	return (struct str){ s.p, n < s.n ? n : s.n };
}
struct str str_trim(struct str s); /* without SP, TAB, CR, LF at both ends */
static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
bool str_same_folded(struct str a, struct str b);      /* inside of str_ieq() */
static inline bool str_ieq(struct str a, struct str b) /* ASCII case folded, no locale */
{
	return a.n == b.n && (str_eq(a, b) || str_same_folded(a, b));
}
bool str_is_ascii(struct str s);   /* no octet >= 0x80 */
bool str_is_visible(struct str s); /* only '!' to '~' */
static inline bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_head(s, prefix.n), prefix);
}
bool str_istarts(struct str s, struct str prefix);
bool str_iends(struct str s, struct str suffix);
/* Index of c in s, or -1. */
static inline ptrdiff_t str_chr(struct str s, char c)
{
	const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;

	return hit ? hit - s.p : -1;
}
static inline ptrdiff_t str_rchr(struct str s, char c) /* the last one */
{
	const char *hit = s.n ? memrchr(s.p, c, s.n) : NULL;

	return hit ? hit - s.p : -1;
}
/* FNV-1a, 64 bits, from STR_HASH on: to tell texts apart where nobody gains by a collision. */
#define STR_HASH UINT64_C(0xcbf29ce484222325)
static inline uint64_t str_hash_byte(uint64_t h, char c)
{
	return (h ^ (unsigned char)c) * UINT64_C(0x100000001b3);
}
static inline uint64_t str_hash(uint64_t h, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		h = str_hash_byte(h, s.p[i]);
	return h;
}
/* Takes the part of *s before the first c (or all of it) and moves *s behind that c.
 * Returns false when *s was used up before (p == NULL). */
bool str_cut(struct str *s, char c, struct str *ret_part);
/* Takes the next word (ascii_space() parts them) and moves *s behind it. False: there is none,
 * and *ret is empty. */
bool str_word(struct str *s, struct str *ret);
/* Unsigned decimal of 1 to 19 digits and nothing else; false otherwise. */
bool str_u64(struct str s, uint64_t *ret);
/* malloc'ed NUL-terminated copy, owned by the caller. */
char *str_dup(struct str s);

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}
/* SP, TAB, CR, LF */
static inline bool ascii_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct buf {
	char *p;
	size_t n, cap;
	bool lent; /* p was not malloc'ed */
};

#define BUF_INIT          \
	{                 \
		.p = NULL \
	}

/* A buffer that needs no malloc() before it holds BUF_SMALL_MAX octets: for addresses and the
 * like. It stays in the block that declares it: no copy of it is a buffer. */
#define BUF_SMALL_MAX 64
#define BUF_SMALL buf_on((char[BUF_SMALL_MAX]){ "" }, BUF_SMALL_MAX)

/* One on n octets of somebody else's, the first of them a NUL or soon written to. */
static inline struct buf buf_on(char *room, size_t n)
{
	return (struct buf){ .p = room, .cap = n, .lent = true };
}

extern char buf_nothing[1]; /* what empty buffers hold: a NUL */
/* Room for n more bytes behind p + b->n; the caller then adds to b->n itself. */
char *buf_room(struct buf *b, size_t n);
static inline void buf_add(struct buf *b, const void *p, size_t n)
{
	char *to = n < b->cap - b->n ? b->p + b->n : buf_room(b, n);

	if (n)
		memcpy(to, p, n);
	to[n] = '\0';
	b->n += n;
}
static inline void buf_c(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}
static inline void buf_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}
static inline void buf_z(struct buf *b, const char *z)
{
	buf_add(b, z, z ? strlen(z) : 0);
}
/* Decimal digits, and eight hexadecimal ones: what every message has is not left to buf_fmt(),
 * which costs more than all else that makes such a line. */
void buf_u64(struct buf *b, uint64_t v);
void buf_hex8(struct buf *b, uint32_t v);
void buf_fmt(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vfmt(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* keeps only the first n bytes (n <= b->n) */
static inline void buf_cut(struct buf *b, size_t n)
{
	if (n >= b->n)
		return;
	b->n = n;
	b->p[n] = '\0';
}
static inline void buf_reset(struct buf *b) /* n = 0, keeps the memory */
{
	buf_cut(b, 0);
}
void buf_drop(struct buf *b, size_t n);    /* removes the first n bytes (n <= b->n) */
static inline void buf_free(struct buf *b) /* accepts a buffer that was never used */
{
	if (b->cap && !b->lent)
		free(b->p);
	*b = (struct buf){ .p = buf_nothing };
}
static inline struct str buf_view(const struct buf *b)
{
	return (struct str){ b->cap ? b->p : "", b->n };
}
/* Adds s with every byte outside printable ASCII (and backslash) as \xNN: for logs, notes
 * and terminals, where s may be a peer's or a user's. At most max bytes of s are taken.
 */
void buf_escape(struct buf *b, struct str s, size_t max);
/* The same for what may have been escaped before: a backslash stays. */
void buf_escape_rest(struct buf *b, struct str s, size_t max);
#define _cleanup_buf_ __attribute__((cleanup(buf_free)))

/* A list of owned strings. */
struct strv {
	char **v;
	size_t n;
};
void strv_add(struct strv *l, struct str s); /* copies */
void strv_free(struct strv *l);

#endif
