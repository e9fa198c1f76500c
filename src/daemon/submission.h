/*
 * submission.h - a message that comes through the socket: a file that mailchute-serve
 * writes, and nobody believes
 *
 * It is made with the attested lines in it, serve gets its descriptor and adds the drop's
 * bytes. What becomes a message has our lines, is not too large, and cannot be written to
 * any more.
 */
#ifndef DAEMON_SUBMISSION_H
#define DAEMON_SUBMISSION_H

#include "spool/spool.h"

struct submission {
	int file;     /* queue/new/t.<id>, for writing; -1: there is none */
	struct id id; /* after the commit: the message's */
	int64_t max;  /* octets behind the attested lines */
	struct buf head;
};
#define SUBMISSION_INIT    \
	{                  \
		.file = -1 \
	}

/* Makes the file; its offset is behind the attested lines. 0 or -errno. */
int submission_begin(struct spool *s, struct submission *sub, uid_t uid, struct str login,
                     struct str name, struct str groups);
/* Makes it a message: durable on 0, *ret_size octets of the file. On -errno nothing is left;
 * -EFBIG: more than max; -EBADMSG: nothing behind our lines. A file that serve still has open
 * is copied first, so it had better close it. */
int submission_commit(struct spool *s, struct submission *sub, int64_t *ret_size);
/* Removes what was not committed; fine at any time. */
void submission_end(struct spool *s, struct submission *sub);

#endif
