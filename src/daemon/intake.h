/*
 * intake.h - how messages come in: adoption of drops, what waits already, the door
 *
 * Program code: logs. Names and files in in/drop are anybody's.
 */
#ifndef DAEMON_INTAKE_H
#define DAEMON_INTAKE_H

#include "conf/conf.h"
#include "prog/child.h"
#include "spool/adopt.h"
#include "spool/usage.h"

enum { JUNK_REMEMBERED = 64, CLEARED_USERS = 8 };

struct intake {
	struct spool *spool;
	const struct conf *conf;
	/* Times are monotonic milliseconds. */
	bool scan;           /* in/drop may hold something */
	int64_t scan_after;  /* not before */
	int64_t pace;        /* nor before this, whoever pokes */
	bool again;          /* somebody poked in the middle of a look at many names */
	int waiting;         /* octets in the FIFO behind the last batch */
	int64_t pours_since; /* more of them each time since then; 0: not */
	bool kept;           /* drops wait whose owners have enough in the queue */
	bool stopped;        /* the last scan could not take in what there is */
	int64_t alert_after; /* about a full disk */
	uint64_t junk[JUNK_REMEMBERED];
	unsigned junk_n;
	/* Names of junk that were cleared and not yet told of; of more users than there are
	 * places the last one gets them all. */
	struct cleared {
		uid_t uid;
		unsigned names;
	} cleared[CLEARED_USERS];
	size_t cleareds;
	int64_t tell_cleared; /* when to tell, and not before */
	/* Drops that this call of spool_adopt() takes: not yet in usage. */
	struct taking_of {
		uid_t uid;
		unsigned n;
	} taken[ADOPT_BATCH];
	size_t takens;
	unsigned taken_n;
	struct usage usage;
	int64_t census_at;   /* to begin the first count, or after a failure; -1: not */
	struct child census; /* counts what waits */
	struct usage gone;   /* what left meanwhile */
	bool shut;           /* for all but root */
	int64_t door_renew; /* real seconds: a shut door must be written again; 0: open */
	bool changed;       /* usage or configuration: look at the door */
	unsigned long adopted; /* messages that came in, ever */
};

/* A second later it counts what waits. */
void intake_open(struct intake *in, struct spool *s, const struct conf *c);
void intake_close(struct intake *in);
/* The configuration was read anew. */
void intake_reload(struct intake *in, const struct conf *c);
/* Somebody woke us: there may be something in in/drop. */
void intake_poke(struct intake *in);
/* The hourly look at everything. */
void intake_rescan(struct intake *in);
/* Takes in what was dropped, when it is time to. True: there is something in queue/new, or
 * may be. */
bool intake_adopt(struct intake *in);
/* Writes the door when it has to be another one. */
void intake_door(struct intake *in, int64_t now);
/* Monotonic milliseconds when intake_adopt() or intake_door() has something to do, or -1. */
int64_t intake_next(const struct intake *in);
/* Is a scan about to begin? Then there is nothing to learn from the FIFO. */
bool intake_awake(const struct intake *in);
/* The counting child is to be heard. */
void intake_census(struct intake *in);
/* A message was added to (sign 1) or left (-1) the queue. */
void intake_count(struct intake *in, uid_t uid, int64_t octets, int sign);
/* Appends " client=..." to a line of the log, for a message in queue/new that mailchute-smtpd
 * took, by whichever door it came. */
void intake_client(const struct intake *in, const struct id *id, uid_t uid,
                   struct buf *line);
/* May this uid have one more in the queue? False: words say why not. ret_words may be
 * NULL. */
bool intake_may(const struct intake *in, uid_t uid, struct buf *ret_words);
/* Is there room on the disk for a message of octets from uid? (The floors of the door.) */
bool intake_room(const struct intake *in, uid_t uid, int64_t octets);

#endif
