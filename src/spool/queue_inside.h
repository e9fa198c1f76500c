/*
 * queue_inside.h - inside of queue: what its files share
 */
#ifndef SPOOL_QUEUE_INSIDE_H
#define SPOOL_QUEUE_INSIDE_H

#include "spool/queue.h"

enum { QUEUE_PATH = 128 };
_Static_assert(QUEUE_ROUTE_MAX + 1 + 8 + 1 + ID_LEN < QUEUE_PATH, "route/due/id");

/* A message's path below queue/. */
void queue_path(const char *route, const struct place *p, char path[static QUEUE_PATH]);
/* Syncs the folder of a place: a bucket, or (0) queue/new. */
int queue_sync_place(struct queue *q, uint32_t due);

#endif
