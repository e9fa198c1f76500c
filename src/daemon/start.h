/*
 * start.h - starting mailchute-push
 */
#ifndef DAEMON_START_H
#define DAEMON_START_H

#include "daemon/sched.h"

/* Starts push for a route: a journal, a socket pair, the configuration as a sealed memory
 * file, the lock; sends the secret. Sets r->pid, sock, journal. 0 or -errno (logged). */
int push_start(struct route *r, const struct sched *s);

#endif
