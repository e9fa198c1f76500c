/*
 * alert.h - tells somebody, by a command, that mail has waited for too long
 *
 * Program code: logs. A child looks for the oldest message, and runs the command when there is
 * something to tell. While nothing waits there is no timer; without a command nothing is done at
 * all.
 */
#ifndef DAEMON_ALERT_H
#define DAEMON_ALERT_H

#include "conf/conf.h"
#include "daemon/routes.h"
#include "prog/child.h"

enum alert_told {
	ALERT_NOBODY,
	ALERT_IN_VAIN, /* nobody either: the command failed, and is run again at the next look */
	ALERT_TOLD, /* also when it failed since, to tell once more or that it is over */
};

struct alert {
	const struct spool *spool;
	const struct conf *conf;
	const struct routes *routes;
	int64_t limit_ms; /* of the command */
	/* Times are monotonic milliseconds. */
	int64_t first; /* no look of its own before this, so that most may go */
	int64_t at;    /* the next look; -1: none */
	int64_t
	    odd; /* messages with impossible times were first seen; -1: there are none */
	int64_t again; /* told: to be told once more; past as long as that fails */
	int64_t
	    again_real; /* the same, in seconds of the real clock: for the next start */
	bool asked;     /* look, whatever at says */
	bool waits;     /* something does, as the caller counts */
	enum alert_told told;
	struct child child;
	int64_t until; /* the child's time */
	bool ending;   /* it was over, and the child has been asked to end */
};

/* The first look is a minute later. What is given must live as long. */
void alert_open(struct alert *a, const struct spool *s, const struct conf *c,
                const struct routes *rs);
/* The line of the state file, when somebody was told; taking one back, which is what was written
 * before a restart, or anything. now in real seconds. */
void alert_state_print(const struct alert *a, struct buf *b);
void alert_state_take(struct alert *a, struct str line, int64_t now);
/* Ends a command that is being run; waits for that for a moment. */
void alert_close(struct alert *a);
/* Look at once, if there is a command: the configuration is another one, or somebody asked, or
 * the count that alert_work() gets is not to be relied on any more. */
void alert_look(struct alert *a);
/* messages: how many wait, as far as known; it says when a look is worth while, no more. Begins
 * looks, and ends those that take too long. */
void alert_work(struct alert *a, int64_t messages);
/* When alert_work() has something to do, in monotonic ms, or -1. */
int64_t alert_next(const struct alert *a);
/* The child is to be heard: its descriptor, a->child.fd, is readable. */
void alert_hear(struct alert *a);

#endif
