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
#include "listen/quiet.h"
#include "listen/slots.h"
#include "listen/users.h"

enum {
	ACCEPT_EVICT_MS = 1000,  /* from SIGTERM to SIGKILL for one that must go */
	ACCEPT_LEAVE_MS = 5000,  /* the same for all, when we are told to end */
	ACCEPT_PAUSE_MS = 1000,  /* when there is no memory, process or descriptor */
	ACCEPT_REOPEN_MS = 3000, /* between two tries to open a place */
	ACCEPT_TURN = 32, /* connections of one socket before others are looked at */
	ACCEPT_QUIET_MS =
	    10000, /* between two lines of one kind that a client can cause */
	ACCEPT_LEFT_OUT_MS = 60000, /* between two lines on what sessions left out */
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
	struct users_guesses guesses; /* the caller's */
	size_t leaving;
	/* clock_ms(); 0: not */
	int64_t pause_until, leave_until, reopen_at;
	bool paused; /* logged; until a connection succeeds */
	struct accept_quiet refused, evicted;
	struct quiet *quiet; /* the caller's quiet_new(), or NULL */
	uint64_t left_out;   /* lines, and when that is told */
	int64_t left_out_at;
};

/* Reads the configuration and opens the sockets, of which those that cannot be opened are tried
 * again by acceptor_run(). 0; -EINVAL: the file has an error, or no listen section; -ENOENT,
 * -EACCES: it is not there, or closed to us; or another -errno, as -EAGAIN: no place could be
 * opened. Each was logged. */
int acceptor_open(struct acceptor *a);
/* Accepts until SIGTERM or SIGINT and the end of the sessions. In a session's process it
 * does not return. */
void acceptor_run(struct acceptor *a);
void acceptor_close(struct acceptor *a);

#endif
