/*
 * accept.h - the acceptor: listens for all sections, a process for each connection
 *
 * One thread, one poll(). Reads nothing from a client. The caller is a program's main: this
 * logs.
 */
#ifndef LISTEN_ACCEPT_H
#define LISTEN_ACCEPT_H

#include "conf/conf.h"
#include "listen/place.h"
#include "listen/slots.h"

enum {
	ACCEPT_EVICT_MS = 1000, /* from SIGTERM to SIGKILL for one that must go */
	ACCEPT_LEAVE_MS = 5000, /* the same for all, when we are told to end */
	ACCEPT_PAUSE_MS = 1000, /* when there is no memory, process or descriptor */
	ACCEPT_TURN = 32, /* connections of one socket before others are looked at */
	ACCEPT_QUIET_MS =
	    10000, /* between two lines of one kind that a client can cause */
	ACCEPT_LEAVING =
	    64, /* that may be leaving at a time; one more is killed at once */
};

/* A kind of line that is logged now and then, with how many were not. */
struct accept_quiet {
	int64_t until;
	unsigned more;
};

struct acceptor {
	/* The caller's. Reads the configuration: 0, or -errno, which was logged. */
	int (*conf_read)(void *arg, struct conf *ret);
	void (*conf_taken)(void *arg, const struct conf *c);
	void *arg;
	const char *spool;
	struct places_given given;
	int signals; /* a signalfd for HUP, TERM, INT and CHLD, all blocked */
	/* Inside. */
	struct conf conf;
	struct place *place; /* one a section, in the configuration's order */
	struct slots slots;
	size_t leaving;
	int64_t pause_until, leave_until; /* clock_ms(); 0: not */
	bool paused;                      /* logged; until a connection succeeds */
	struct accept_quiet refused, evicted;
};

/* Reads the configuration and opens the sockets. 0; -ENOENT: there is no listen section;
 * another -errno; each was logged. */
int acceptor_open(struct acceptor *a);
/* Accepts until SIGTERM or SIGINT and the end of the sessions. In a session's process it
 * does not return. */
void acceptor_run(struct acceptor *a);
void acceptor_close(struct acceptor *a);

#endif
