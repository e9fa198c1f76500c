/*
 * drop.h - the first door: one file created in SPOOL/in/drop
 *
 * Used by programs of any uid; needs no privilege but write permission on in/drop.
 */
#ifndef SPOOL_DROP_H
#define SPOOL_DROP_H

#include "spool/door.h"
#include "spool/id.h"

struct drop {
	int dir;        /* in/drop */
	int in;         /* in, for the wake */
	int fd;         /* the file being written, "t.<temp>" */
	struct id temp; /* empty: there is no such file (any more) */
	struct id id;   /* the message's, final once drop_commit() returned 0 */
	uint64_t size;  /* octets of the drop; those over the limit are not stored */
	bool failed;    /* a write failed: drop_commit() will refuse */
	int woken;      /* in/wake, which drop_commit() has written to */
	/* What the door says (door.h). */
	int door;       /* its file; left open, that spares a system call */
	uint64_t limit; /* octets of the largest drop; 0: none */
	uint64_t free_floor, inode_floor;
	struct str refusal; /* words, of drop_begin()'s -EBUSY; in words */
	char words[DOOR_WORDS_MAX];
};
#define DROP_INIT                                            \
	{                                                    \
		.dir = -1, .fd = -1, .woken = -1, .door = -1 \
	}

/* Opens the spool's drop and creates t.<id>, O_EXCL, mode 0640 whatever the umask. spool:
 * path. Never on descriptors 0 to 2, also when those are closed. 0 or -errno (EROFS,
 * EACCES, EPERM, ENOENT, ENOTDIR: the second door may serve). -EBUSY: mailchuted takes
 * nothing of this caller now; nothing was created, and d->refusal says why (valid as long
 * as d is, and stays where it is). A door file that is missing or damaged is open. */
int drop_begin(struct drop *d, const char *spool);
/* Appends. 0 or -errno; after an error the drop can only be aborted. EFBIG (RLIMIT_FSIZE)
 * is an error like others: the caller ignores SIGXFSZ. Over the door's limit octets are
 * counted and not stored: drop_commit() will refuse, and the disk is spared. */
int drop_write(struct drop *d, const void *p, size_t n);
/* Makes the message visible to mailchuted and wakes it. On 0 it survives a power cut; on
 * -errno it has been withdrawn and no file of ours is left. Signals are blocked from the
 * rename on and stay so: the caller is about to exit. If the rename was done and the
 * directory's sync failed, the file is unlinked; ENOENT then means mailchuted has taken
 * it already: 0. A failed fsync is never retried.
 * -EFBIG: the drop is larger than d->limit octets. -ENOSPC: with it, less would be free on
 * the disk than the door's floors (root: half of them), or than its copy needs. */
int drop_commit(struct drop *d);
/* Removes t.<id> when it is still there and closes what is open; fine at any time, also
 * twice, also after drop_commit() (which leaves the descriptors to the exit). */
void drop_abort(struct drop *d);

/* Wakes mailchuted; best effort, never blocks, never creates: in/wake is opened
 * O_WRONLY|O_NONBLOCK|O_NOFOLLOW and must be a FIFO. SIGPIPE is the caller's to ignore. what: 'w' new mail, 'q' try now. in:
 * descriptor of SPOOL/in. */
void drop_wake(int in, char what);
/* Opens SPOOL/in for drop_wake(); others than the owner may only search it (O_PATH).
 * Descriptor or -errno. */
int drop_open_in(const char *spool);

#endif
