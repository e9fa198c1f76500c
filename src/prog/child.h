/*
 * child.h - work that may block or be big, done in a forked child with a deadline
 */
#ifndef PROG_CHILD_H
#define PROG_CHILD_H

#include "base/str.h"
#include <sys/types.h>

/* Forks; the child calls work(arg, out) and what it put into out comes back in ret
 * (appended, at most max octets). 0: the child's return value was 0; -ETIMEDOUT: killed
 * at the deadline; -EIO: it died or said too much; else the child's return value, -errno
 * as work gave it. Blocks at most timeout_ms. SIGCHLD must not be ignored. */
int child_run(int (*work)(void *arg, struct buf *out), void *arg, int64_t timeout_ms,
              size_t max, struct buf *ret);

/* The same with a program: argv[0] is its path; its standard output comes back, its exit
 * status is -errno as work's return value (a status over 128: -EIO). Its environment is empty. */
int child_exec(char *const argv[], int64_t timeout_ms, size_t max, struct buf *ret);

/* One that works while the caller goes on. What the caller closes meanwhile stays open in it: if
 * it takes long, its work begins with child_apart(). */
struct child {
	pid_t pid;
	int fd; /* readable: child_hear(); -1: there is none */
	size_t max;
	struct buf said;
};
#define CHILD_INIT       \
	{                \
		.fd = -1 \
	}

/* As child_run(), without waiting; there is no deadline but the caller's. c has none. 0 or
 * -errno. */
int child_begin(struct child *c, int (*work)(void *arg, struct buf *out), void *arg,
                size_t max);
/* In such a child, which then goes on for long: it has a name of its own (at most 15 octets),
 * since SIGHUP is sent by name, and ignores that; it is nice; it holds nothing but the caller's
 * 0 to 2, of which 1 is where it will say what it has to say, and the descriptor keep, which it
 * has as CHILD_KEPT. 0 or -errno. */
enum { CHILD_KEPT = 3 };
int child_apart(const char *name, int keep);
/* Reads some of what it says. True: it is over, with *ret as child_run() returns it, and all of
 * it is in c->said, which the caller empties. */
bool child_hear(struct child *c, int *ret);
/* Ends it, if there is one, and forgets what it said. */
void child_kill(struct child *c);

#endif
