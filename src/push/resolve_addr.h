/*
 * resolve_addr.h - inside of resolve: the addresses of one host
 *
 * They come as octets: those of struct race_address, one behind the other.
 */
#ifndef PUSH_RESOLVE_ADDR_H
#define PUSH_RESOLVE_ADDR_H

#include "smtp/race.h"

enum {
	RESOLVE_ADDRESSES_MAX = RACE_MAX, /* half of them of each kind at most */
	/* An answer of both kinds of addresses that is so late is asked for each kind apart:
	 * there are servers that never answer to AAAA. The second of the two gets so long. */
	RESOLVE_APART_MS = 2000,
	RESOLVE_OTHER_MS = 1000,
};

/* Appends those of an address, "[192.0.2.7]", "[IPv6:2001:db8::1]" (RFC 5321 4.1.3) or without
 * the brackets; asks nobody. 0; -ENXIO: it is a name; -ENOENT and words: it is neither. */
int addresses_literal(const char *host, unsigned port, struct buf *ret);
/* Appends those of a name, which getaddrinfo() looks up in children for so many milliseconds at
 * most. 0; -ENOENT (there are none) or -EAGAIN (DNS says so itself) and words; -ETIMEDOUT;
 * -errno. */
int addresses_of(const char *name, unsigned port, int64_t ms, struct buf *ret);
/* Takes them; ret has room for RESOLVE_ADDRESSES_MAX. False: they are none: a child has read what
 * others said, so they are looked at. */
bool addresses_take(struct str in, struct race_address *ret, size_t *ret_n);

#endif
