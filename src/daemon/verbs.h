/*
 * verbs.h - what a person does with one message: hold, release, delete, retry
 *
 * Works on the spool of whoever has its lock: mailchuted, or `mailchute` when that is down.
 */
#ifndef DAEMON_VERBS_H
#define DAEMON_VERBS_H

#include "spool/queue.h"

enum verb { VERB_NONE, VERB_HOLD, VERB_RELEASE, VERB_DELETE, VERB_RETRY, VERB_RECOMPOSE };

struct verb_ops {
	/* Is this message in a push's hand? Then v is remembered for when it comes back
	 * undelivered, and who asked for it (retry: nothing is); a later one takes its
	 * place, so release undoes a hold. NULL: nobody is at work. */
	bool (*in_hand)(void *arg, const struct id *id, enum verb v, uid_t by);
	/* What pushes that have left said becomes true: it names the places where messages
	 * are now. False: there is no room. May be NULL. */
	bool (*settle)(void *arg);
	/* queue/new has something new; by: who put it there. May be NULL. */
	void (*news)(void *arg, uid_t by);
	/* A message of uid and its octets are gone from the queue. May be NULL. */
	void (*gone)(void *arg, uid_t uid, int64_t octets);
	/* One came back from bad/, where it was not counted. May be NULL. */
	void (*back)(void *arg, uid_t uid, int64_t octets);
	void *arg;
};

/* "hold", "release", "delete", "retry"; VERB_NONE: another word. */
enum verb verb_from(struct str word);
/* Does it; logs it. asks: who; root and our own uid may do it to any message, others to
 * their own (others' are "no such message" to them). Returns a code of sysexits(3): 0
 * (durable), EX_NOINPUT no such message, EX_TEMPFAIL, EX_IOERR; one line of words in ret.
 * v for a message that comes back from a push is done with this, too. */
int verb_do(struct spool *s, const struct verb_ops *ops, enum verb v, uid_t asks,
            const struct id *id, struct buf *ret);

#endif
