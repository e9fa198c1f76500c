/*
 * drop.h - the first door: one file created in SPOOL/in/drop
 *
 * Used by programs of any uid; needs no privilege but write permission on in/drop.
 */
#ifndef SPOOL_DROP_H
#define SPOOL_DROP_H

#include "spool/door.h"
#include "spool/id.h"
#include <time.h>

/* What a program that drops many need not open anew for each: see drop_keep_open(). */
struct drop_keep {
	int dir;      /* in/drop */
	int woken;    /* in/wake */
	int64_t from; /* clock_ms() when dir was opened */
	/* The door as it was read last, and which file that was. */
	struct buf door;
	bool read;
	uint64_t device, inode;
	struct timespec changed;
};
#define DROP_KEEP_INIT                                   \
	{                                                \
		.dir = -1, .woken = -1, .door = BUF_INIT \
	}

struct drop {
	struct drop_keep *keep; /* NULL: dir and woken are ours */
	int dir;                /* in/drop */
	int fd;                 /* the file being written, "t.<temp>" */
	struct id temp;         /* empty: there is no such file (any more) */
	struct id id;           /* the message's, final once drop_commit() returned 0 */
	uint64_t size;   /* octets of the drop; those over the limit are not stored */
	uint64_t looked; /* of them, those that were there when drop_room() was asked */
	bool failed;     /* a write failed: drop_commit() will refuse */
	int woken;       /* in/wake, which drop_commit() has written to */
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
/* The same with the folder, the door and the wake of k, which outlives d and is for one drop at
 * a time. The door is looked at each time, and read only when it is another one. */
int drop_begin_kept(struct drop *d, const char *spool, struct drop_keep *k);
/* Opens the folder, or anew when that is DROP_KEEP_MS ago: a spool that was mounted meanwhile is
 * found. 0 or -errno, as drop_begin() gives them; drop_begin_kept() does it by itself. */
enum { DROP_KEEP_MS = 1000 };
int drop_keep_open(struct drop_keep *k, const char *spool);
/* The text of the door at present, borrowed from k; n == 0: there is none that can be read. */
struct str drop_keep_door(struct drop_keep *k);
void drop_keep_close(struct drop_keep *k);
/* Is there room for what is there, by the door's floors, as drop_commit() will ask? 0 or -ENOSPC. */
int drop_room(struct drop *d);
/* Appends, and asks drop_room() every DROP_LOOK octets: what may never be finished must not take
 * what is to stay free. 0 or -errno; after an error the drop can only be aborted. EFBIG (RLIMIT_FSIZE)
 * is an error like others: the caller ignores SIGXFSZ. Over the door's limit octets are
 * counted and not stored: drop_commit() will refuse, and the disk is spared. */
enum { DROP_LOOK = 256 * 1024 };
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
