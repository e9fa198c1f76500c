/*
 * aside.h - hold/ and bad/: messages that nobody tries
 *
 * They came there by queue_put_aside(): <id>, and its note as <id>.note. After a crash in
 * between, or moved by hand, a message may be there and its note still in note/.
 */
#ifndef SPOOL_ASIDE_H
#define SPOOL_ASIDE_H

#include "spool/spool.h"

/* Opens a message in dir (s->hold or s->bad). Descriptor, -ENOENT, -errno. */
int aside_get(int dir, const struct id *id);
/* Puts it back: the note first, then the message to queue/new. Durable on return. Killed in
 * between, the message is still in dir, and its note in note/: where it is found the next
 * time. -ENOENT: there is none; -EEXIST: the queue has one of that id, nothing was done;
 * -errno: the message is where it was. */
int aside_release(struct spool *s, int dir, const struct id *id);
/* Removes the message, then its note: one without the other is never left the other way
 * round. Durable on return. 0, -ENOENT, -errno. */
int aside_remove(int dir, const struct id *id);

#endif
