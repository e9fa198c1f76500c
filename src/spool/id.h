/*
 * id.h - names in the spool: 16 lower-case hexadecimal digits
 */
#ifndef SPOOL_ID_H
#define SPOOL_ID_H

#include "base/str.h"

enum { ID_LEN = 16 };
struct id {
	char c[ID_LEN + 1]; /* NUL-terminated */
};

/* Is this file name an id? */
bool id_ok(const char *name);
/* From time (real, milliseconds; 44 bits of it) and 16 random bits: time above, 4 zero
 * bits, random below. */
struct id id_make(int64_t ms, unsigned random16);
/* The id of the n-th (1, 2, ...) message that the daemon derives from a message (its
 * DSNs): same every time, different from every other id. */
struct id id_derive(const struct id *parent, unsigned n);
/* When it was made: the 44 bits of the time. A derived one: when its parent was. */
int64_t id_ms(const struct id *id);
struct str id_str(const struct id *id);
/* A total order that is also the order of age. */
int id_cmp(const struct id *a, const struct id *b);
bool id_from(struct str s, struct id *ret);

#endif
