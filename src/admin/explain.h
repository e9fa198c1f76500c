/*
 * explain.h - `mailchute explain`: what becomes of a message or an address, and why
 */
#ifndef ADMIN_EXPLAIN_H
#define ADMIN_EXPLAIN_H

#include "base/base.h"

enum {
	EXPLAIN_FILE_MAX = 256 << 20, /* octets of a message that is read */
	EXPLAIN_SECONDS = 60,         /* then the child is given up */
};

struct explain_request {
	int64_t
	    listener; /* uid of the listener's user, whose C lines are believed; -1: none */
	const char *conf, *spool, *libexec; /* paths */
	const char *sender;                 /* -f; NULL: not given */
	const char *name;                   /* -F; NULL */
	const char *user;                   /* -u; NULL: the caller */
	bool json;
	bool address;     /* arg[0] is one, not a message */
	char *const *arg; /* ID, FILE or "-"; behind FILE and "-" recipients */
	int args;         /* at least 1 */
};

/* Prints the explanation to standard output; changes nothing and sends nothing. What is
 * hostile (the message, its envelope and note) is parsed in a child that, for root, became
 * the spool's owner, and that is fenced. Returns a code of sysexits(3), with the reason on
 * standard error: EX_NOPERM: an id, and the caller is neither root nor the spool's owner;
 * EX_NOINPUT: no such message; EX_DATAERR: none that could be sent; EX_CONFIG. */
int explain_run(const struct explain_request *q);

#endif
