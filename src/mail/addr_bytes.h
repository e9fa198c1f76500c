/*
 * addr_bytes.h - inside of addr: what each byte of an address may be
 */
#ifndef MAIL_ADDR_BYTES_H
#define MAIL_ADDR_BYTES_H

#include "mail/addr.h"

/* What a byte can be in a list. A table, as every byte is looked up, most more than once; in
 * this order, as what most are asked for is then one comparison. */
enum {
	CLASS_HOST = 0, /* atext that a domain may have: also UTF-8 (RFC 6532) */
	CLASS_DOT,      /* . which is a mark, too */
	CLASS_SIGN,     /* other atext (RFC 5322 3.2.3) */
	CLASS_MARK,     /* ends an atom */
	CLASS_BLANK,    /* the same */
	CLASS_ODD,      /* in an atom, though it must not be */
};

extern const unsigned char addr_classes[256];

static inline unsigned addr_class(char c)
{
	return addr_classes[(unsigned char)c];
}

static inline bool addr_is_mark(char c)
{
	return addr_class(c) == CLASS_MARK || c == '.';
}

static inline bool addr_is_blank(char c)
{
	return addr_class(c) == CLASS_BLANK;
}

static inline bool addr_is_atext(char c)
{
	return addr_class(c) <= CLASS_SIGN && c != '.';
}

/* What a domain is made of that is no literal. */
static inline bool addr_is_host(char c)
{
	return addr_class(c) <= CLASS_DOT;
}

/* Length of the run of atext and dots that s begins with. */
static inline size_t addr_plain_length(struct str s)
{
	size_t i = 0;

	while (i < s.n && addr_class(s.p[i]) <= CLASS_SIGN)
		i++;
	return i;
}

/* Length of the quoted string that s begins with; 0: unclosed. */
size_t addr_quoted_length(struct str s);

#endif
