/*
 * spool.h - the spool's folders, its lock, its door, and how a file gets its name
 *
 * Used by mailchuted alone (and by `mailchute` when it holds the lock). The layout is in
 * mailchute-spool(5). Every state on disk is a legal one; nothing has to be repaired.
 */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include "spool/id.h"
#include <sys/types.h>

enum {
	SPOOL_SWEEP_NAMES = 256,
	SPOOL_SWEEP_FINDS = 32,
	SPOOL_ORPHAN_AGE = 3600,
};

struct spool {
	int root;
	int in, drop, taken; /* taken: a drop while it is copied */
	int queue, new;      /* queue/new: adopted, not yet tried */
	int note, hold, bad, run;
	int junk; /* what was in in/drop and is no message, when there is much of it */
	int lock; /* inherited by push: a new daemon waits for the old push */
	int wake; /* FIFO, held open for reading and writing */
	uint64_t last_id;
	/* A look at in/drop that takes more than one call. */
	long drop_at;    /* where it goes on (telldir); 0: at the beginning */
	bool drop_again; /* something was taken or left behind: begin again after it */
	unsigned drop_junk, drop_closed; /* names that are none; messages that cannot be
	                                    read: so far */
	bool taken_left;                 /* taken/ may hold something: look there first */
	bool taken_dirty; /* names were removed from taken/ and not yet synced */
	bool unpublished; /* derived_publish() failed: see derived_again() */
	bool uncounted;   /* messages came or went and nobody was told: count anew */
};

/* Opens the spool; with create, folders and the FIFO that are missing are made (modes as
 * documented, whatever the umask) and synced. A wake that is no FIFO is replaced. 0, or
 * -errno with *ret_where set to the name that failed (a literal). Does not take the lock.
 */
int spool_open(struct spool *s, const char *path, bool create, const char **ret_where);
void spool_close(struct spool *s);
/* Takes the lock, waiting at most wait_ms. 0, -EWOULDBLOCK (somebody has it), -errno. */
int spool_lock(struct spool *s, int64_t wait_ms);
/* Empties the wake FIFO. True when one of the pokes asked to try now ('q'). */
bool spool_wake_drain(struct spool *s);
/* Removes what crashed writers left: drop/t.* older than 36 h (a writer ends itself after
 * 24), queue/new/t.*, note/t.*; and what was moved to junk/ 36 h ago. For the start, and
 * now and then. */
void spool_sweep(struct spool *s, int64_t now, bool at_start);
/* Removes notes whose message is nowhere (a crash came between its removal and the note's):
 * neither in queue/ nor in hold/ or bad/, not prepared as a part either, and not written to
 * for SPOOL_ORPHAN_AGE seconds. When something cannot be looked at, none is removed. Looks
 * at SPOOL_SWEEP_NAMES notes, and searches for at most SPOOL_SWEEP_FINDS messages; *at: 0,
 * then as it was left, says where the next call goes on. Returns how many were removed.
 * By whoever has the lock, and not between the preparing of a part and its publishing
 * in another process. */
unsigned spool_sweep_notes(struct spool *s, int64_t now, long *at);

/* Makes a file visible under its name in a folder, durably: used for everything in queue/
 * and note/. begin creates t.<id> (0600) and returns its descriptor, or -errno. commit
 * syncs, renames without replacing (-EEXIST: it is there already) and closes; on any
 * error nothing is left. replace: rename over an old one. The folder's sync is the
 * caller's. */
int spool_file_begin(int dir, const struct id *id);
int spool_file_commit(int dir, const struct id *id, int fd, bool replace);
void spool_file_abort(int dir, const struct id *id, int fd);

/* The state file: what mailchuted knows of its smart hosts, as text (mailchute-spool(5)).
 * Written anew as a whole; not synced: it only saves the host needless attempts. */
int spool_state_write(struct spool *s, struct str text);
int spool_state_read(struct spool *s, struct buf *ret);

/* A new id, later than every other this process made. */
struct id spool_new_id(struct spool *s);

#endif
