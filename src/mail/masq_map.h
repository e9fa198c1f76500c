/*
 * masq_map.h - a file of many addresses and what they become (masquerade { map = ... })
 *
 *	# a comment; empty lines are nothing
 *	ann@box.example.org	ann.smith@example.org
 *	old+*@foo.example	new+%t@example.org
 *	*@lab.example.org	%u@example.org
 *
 * A line is an address or a glob of addresses, blanks, and a template (masq.h). What is
 * looked up, until something is found: the whole address; "base+*@domain" when it has a
 * detail; the address without its detail; then the globs in their order. Upper and lower
 * case are the same, in local parts too.
 */
#ifndef MAIL_MASQ_MAP_H
#define MAIL_MASQ_MAP_H

#include "base/str.h"

enum {
	MASQ_MAP_MAX = 4 << 20,       /* octets of the file */
	MASQ_MAP_LINES = 100000,      /* lines of it */
	MASQ_MAP_GLOBS = 1000,        /* each is tried for each address */
	MASQ_MAP_LINE_MAX = 2 * 1024, /* octets of a line */
};

struct masq_map;

/* Parses a whole file. 0 and *ret, which the caller frees. -EINVAL: *ret_line (from 1) and
 * ret_why say what is wrong and what would be right, in a form that can follow
 * "FILE:LINE: ". An address that is there twice is an error. Linear in the file. */
int masq_map_parse(struct str text, struct masq_map **ret, int *ret_line,
                   struct buf *ret_why);
/* NULL is fine. */
void masq_map_free(struct masq_map *m);
/* The template for an address in plain form, and the line it stands on; NULL: none. The
 * address may be hostile. Borrowed from m. */
const char *masq_map_find(const struct masq_map *m, struct str addr, int *ret_line);

#endif
