/*
 * list.h - what is in the spool, for people: read only, needs no lock, holds nothing up
 *
 * Used in a process of its own while mailchuted works: what moves meanwhile may be seen
 * twice or not at all.
 */
#ifndef SPOOL_LIST_H
#define SPOOL_LIST_H

#include "spool/queue.h"

enum list_where { LIST_DROP, LIST_NEW, LIST_ROUTE, LIST_HOLD, LIST_BAD };
enum { LIST_ROUTES = 256 };
struct list_item {
	enum list_where where;
	char route[QUEUE_ROUTE_MAX + 1]; /* "" where it has none */
	struct place place;              /* due 0: none */
	int fd;   /* the file: a drop (LIST_DROP) or a queue file; readable, regular */
	int note; /* or -1: of hold/ and bad/ the one beside it, else that in note/ */
};
/* Calls item() for each message: in/drop (and in/taken, also LIST_DROP: drops that are
 * copied, or wait there for space), queue/new, then all routes' buckets by due time,
 * hold/, bad/; by age within a window of names, so memory does not depend on how many there
 * are. The descriptors are closed behind it. What cannot be opened is passed over. root:
 * descriptor of the spool's folder. item returns false to end. 0 or -errno. At most
 * LIST_ROUTES folders of routes are looked at. */
int list_each(int root, bool (*item)(void *arg, const struct list_item *it), void *arg);
/* The one with this id; the caller closes fd and note. Looked for twice, for it may move
 * meanwhile. 0, -ENOENT, -errno. */
int list_find(int root, const struct id *id, struct list_item *ret);

#endif
