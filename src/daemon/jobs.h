/*
 * jobs.h - the messages in a push's hand
 *
 * Takes memory while there is a run, and then for as many as there were at a time; finds one
 * in constant time. Nothing here does I/O but closing descriptors.
 */
#ifndef DAEMON_JOBS_H
#define DAEMON_JOBS_H

#include "daemon/verbs.h"

enum {
	JOBS_MAX = 1000,
	JOBS_BIG = 1 << 20,         /* octets of a message that counts in octets */
	JOBS_OCTETS_MAX = 64 << 20, /* of those that may be in hand at a time */
	JOBS_LINES_MAX = 64 << 20,  /* octets of all their lines, about */
};

/* A message in push's hand, and what was said of it so far. */
struct job {
	struct place place;
	bool used, noted;
	bool cut;           /* the note has more lines than we take in */
	bool again;         /* the spool failed, and may not the next time */
	bool told;          /* that was logged before */
	bool plan;          /* lines begin a new note */
	bool left;          /* settled: it is not in the queue any more */
	bool put_off;       /* only because of the host */
	enum verb wish;     /* to be done with it when it comes back */
	uid_t wish_by;      /* who asked for that */
	unsigned parts;     /* prepared, not yet published (notefile.h) */
	bool no_parts;      /* one of them failed */
	const char *target; /* router: the route it goes to */
	uid_t uid;
	int64_t size;     /* octets of the file */
	int64_t rcpts;    /* recipients that it is to go to; 0: not counted */
	bool more_rcpts;  /* aliases may make more of them */
	struct buf lines; /* for the note */
	size_t said;      /* octets that were taken in as lines */
	int dsn;          /* a drop, or -1 */
	unsigned dsn_n;   /* it is the n-th message derived from this one */
	unsigned next;    /* inside of jobs: index + 1; 0: none */
};

/* Frees what a job holds and marks it unused. */
void job_clear(struct job *j);

struct jobs {
	struct job *v; /* room of them */
	unsigned *head;
	unsigned n, room, max; /* max 0: JOBS_MAX */
	unsigned spare;
	int64_t octets;  /* of those over JOBS_BIG */
	int64_t rcpts;   /* of all of them */
	unsigned more;   /* of them have more_rcpts */
	size_t lines;    /* the sum of said */
	int64_t largest; /* octets of the largest there ever was in it */
};

/* Takes one in. The caller fills it in; other pointers into the hand are void afterwards.
 * NULL: there are max, or the id is there already. */
struct job *jobs_add(struct jobs *h, const struct place *p);
/* Its size is known now. */
void jobs_size(struct jobs *h, struct job *j, int64_t size);
void jobs_rcpts(struct jobs *h, struct job *j, int64_t rcpts, bool more);
/* NULL: it is not in this hand. */
struct job *jobs_find(const struct jobs *h, const struct id *id);
/* The same, if it is of that due time. */
struct job *jobs_find_place(const struct jobs *h, const struct id *id, uint32_t due);
/* The one behind j in no order, the first one for NULL; NULL: no more. j may be dropped when
 * its next one is known. */
struct job *jobs_next(const struct jobs *h, const struct job *j);
/* Frees a job and takes it out. */
void jobs_drop(struct jobs *h, struct job *j);
/* Frees all. */
void jobs_free(struct jobs *h);

#endif
