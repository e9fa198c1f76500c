/*
 * door.h - in/door: what mailchuted takes at present, for those who drop (mailchute-spool(5))
 *
 *	mailchute-door 1
 *	size <octets>                    the largest message
 *	free <octets> <inodes>           floors of the file system; root may go to half of them
 *	shut <until> <words>             nobody but root
 *	user <uid> <until> <words>       not this one
 * Written whole by mailchuted; a line whose time has passed is void: a door that a dead
 * mailchuted left shut opens by itself. So is one whose time is more than DOOR_AHEAD_MAX
 * away: the clock was wrong when it was written. Lines of other names are passed over.
 * Damage means open.
 */
#ifndef SPOOL_DOOR_H
#define SPOOL_DOOR_H

#include "base/str.h"
#include <sys/types.h>

struct spool;

enum {
	DOOR_MAX = 8192, /* octets of the file: one read */
	DOOR_USERS_MAX = 64,
	DOOR_WORDS_MAX = 100,
	DOOR_AHEAD_MAX = 86400, /* seconds */
};

struct door {
	int64_t size; /* 0: no limit */
	int64_t free, inodes;
	int64_t shut_until; /* 0: open */
	struct str shut_words;
	struct door_user {
		uid_t uid;
		int64_t until;
		struct str words;
	} user[DOOR_USERS_MAX];
	size_t users;
};

/* Appends the whole file, at most DOOR_MAX octets: words are cut to DOOR_WORDS_MAX, control
 * bytes in them become "?", users that find no room are left out (they meet the limit when
 * their drops are adopted). */
void door_print(struct buf *b, const struct door *d);
/* Writes SPOOL/in/door when its text is another than before: to in/t.door, then renamed. Not
 * synced: after a crash it may be the old one, or empty, which is open. 0 or -errno (then
 * the old one stands). */
int door_write(struct spool *s, struct str text);
/* Reads what concerns uid at present: everything else of ret is 0, users is 0 or 1. text
 * must stay: the words are borrowed from it. False: no door of version 1, or damaged; ret
 * is 0 then, an open door. Hostile input; allocates nothing, for the injector. */
bool door_read(struct str text, uid_t uid, int64_t now, struct door *ret);
/* The words for a refusal now, before anything is written; n == 0: come in. */
struct str door_refuses(const struct door *d, uid_t uid);

#endif
