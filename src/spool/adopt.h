/*
 * adopt.h - taking in what was dropped
 *
 * in/drop/<name> is renamed to in/taken/<id>, out of its owner's reach; copied behind the
 * attested lines to queue/new/<id>; then removed. What is sent is the copy, so nobody can
 * change it any more, and its size is true.
 */
#ifndef SPOOL_ADOPT_H
#define SPOOL_ADOPT_H

#include "spool/spool.h"

struct adopted {
	struct id id;   /* in queue/new */
	struct id drop; /* the name it had in in/drop; empty: it was found in taken/ */
	uid_t uid;
	struct str login;
	int64_t size; /* octets of the queue file */
};
struct adopt_ops {
	/* Finds login and full name of a uid; may leave them empty. */
	void (*who)(void *arg, uid_t uid, struct buf *ret_login, struct buf *ret_name);
	/* The groups of a uid to attest (envelope.h). May be NULL: none are. */
	void (*groups)(void *arg, uid_t uid, struct buf *ret);
	/* Told after the copy is durable and the drop is gone. */
	void (*adopted)(void *arg, const struct adopted *a);
	/* May this uid have one more? False: it waits in the drop. Asked once for each
	 * drop that then is taken. May be NULL. */
	bool (*may)(void *arg, uid_t uid);
	/* A name that is no message and stays where it is; why is a literal. */
	void (*junk)(void *arg, const char *name, uid_t uid, const char *why);
	/* There is too much junk: names of uid were moved to junk/ or removed. Told once
	 * for each uid in a call. May be NULL. */
	void (*cleared)(void *arg, uid_t uid, unsigned names);
	void *arg;
};
enum {
	ADOPT_BATCH = 64,
	ADOPT_HALF = ADOPT_BATCH / 2,
	ADOPT_NAMES = 4096,   /* looked at in one call */
	ADOPT_BEHIND = 512,   /* and behind more than are taken, for others' */
	ADOPT_JUNK = 1000,    /* names that are let be */
	ADOPT_CLOSED = 10000, /* and files that may be messages, but cannot be read */
};
/* Takes at most ADOPT_BATCH drops: each is renamed to taken/<id>, copied behind the
 * attested lines to queue/new/<id>; the batch is synced; then the drops are removed.
 * Returns how many were adopted; -ENOSPC or another -errno when that failed for one: what
 * was taken before it is adopted, it and the rest wait. *ret_more: call again soon. Names
 * and contents are hostile; contents are copied, never looked at.
 *
 * One call looks at no more than ADOPT_NAMES names; the next goes on there (s->drop_at), so
 * every name has its turn. While other users' drops wait, no uid gets more than ADOPT_HALF
 * places. Names that are neither an id nor "t." and one are junk, and so is an id that is no
 * file, or an empty one. ADOPT_JUNK of them stay;
 * what is behind those goes: files and symbolic links are moved to junk/ under an id of
 * now, sockets and FIFOs and empty folders are removed, folders with something in them stay
 * (they are their owner's). Files that may be messages, but cannot be read (a user ran chmod),
 * are let be, up to ADOPT_CLOSED of them; what may be being written ("t.") always. */
int spool_adopt(struct spool *s, const struct adopt_ops *ops, bool *ret_more);

/* After a crash, before anything is delivered: a drop in taken/ whose copy is complete in
 * queue/new (it is complete when it has its name) is removed. What is left there has no
 * copy: spool_adopt() takes it first. */
void spool_recover(struct spool *s);

#endif
