/*
 * offline.h - the spool in the hands of `mailchute` while there is no mailchuted
 */
#ifndef ADMIN_OFFLINE_H
#define ADMIN_OFFLINE_H

#include "spool/spool.h"

/* Becomes the spool's owner (root's rights are gone for good; its own owner may come, too),
 * opens the spool and takes its lock. acts: what an earlier mailchuted left is settled
 * first, as it would do itself when it starts. EX_OK: *s is the caller's to close; another code
 * of sysexits(3), with words in ret: what is open is left to the exit. Waits a moment for the
 * lock. */
int offline_open(struct spool *s, const char *path, bool acts, struct buf *ret);

#endif
