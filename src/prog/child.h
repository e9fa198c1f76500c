/*
 * child.h - work that may block or be big, done in a forked child with a deadline
 */
#ifndef PROG_CHILD_H
#define PROG_CHILD_H

#include "base/str.h"

/* Forks; the child calls work(arg, out) and what it put into out comes back in ret
 * (appended, at most max octets). 0: the child's return value was 0; -ETIMEDOUT: killed
 * at the deadline; -EIO: it died or said too much; else the child's return value, -errno
 * as work gave it. Blocks at most timeout_ms. SIGCHLD must not be ignored. */
int child_run(int (*work)(void *arg, struct buf *out), void *arg, int64_t timeout_ms,
              size_t max, struct buf *ret);

/* The same with a program: argv[0] is its path; its standard output comes back, its exit
 * status is -errno as work's return value (a status over 128: -EIO). Its environment is empty. */
int child_exec(char *const argv[], int64_t timeout_ms, size_t max, struct buf *ret);

#endif
