/*
 * serve_run.h - one connection from its request to its answer
 *
 * The client is hostile: it may be slow, silent, send anything, or never read. mailchuted, at
 * the other end of control, is trusted, and does all that changes the spool but the writing
 * of a submitted message, for which it gives a descriptor.
 *
 * Control, one packet each (job_send()):
 *	submit                    file <id> <max octets>  + descriptor; or no <code> <words>
 *	commit                    ok <words>, or no <code> <words>; the file is synced, and no
 *	                          longer open here
 *	flush [route]             the same, when the run has ended
 *	hold <id>, release <id>, delete <id>, retry <id> [recompose]       the same
 */
#ifndef SERVE_SERVE_RUN_H
#define SERVE_SERVE_RUN_H

#include "base/base.h"

struct serve_limits {
	int64_t idle_ms;   /* without an octet from or to the client */
	int64_t submit_ms; /* for a whole submission */
	int64_t flush_ms;
	int64_t other_ms;
	int64_t linger_ms; /* for the client to read an early answer */
};
#define SERVE_LIMITS                                                         \
	{                                                                    \
		.idle_ms = 60000, .submit_ms = 3600000, .flush_ms = 3660000, \
		.other_ms = 600000, .linger_ms = 5000                        \
	}

struct serve {
	int conn, control, root; /* descriptors; the caller's */
	uint64_t uid;            /* the client's */
	bool admin;
	int64_t listener; /* the uid whose line C is believed; -1: nobody's */
	struct serve_limits limits;
};

/* Serves the connection: one request, one answer. Ends at the limits at the latest. Returns
 * the code of sysexits(3) that the client was given, or -errno when it was given none. */
int serve_run(const struct serve *s);

#endif
