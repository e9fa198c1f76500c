/*
 * breaker.h - refusals that any message could have got: whose fault are they?
 *
 * "Sender not owned", "relaying denied", "daily limit exceeded" look permanent, and are true
 * of every message from here, or of this one. One such refusal proves nothing: it is kept as
 * a temporary one. It becomes final when another message was accepted since, or when it
 * comes again an hour later. Three different messages refused alike, with none accepted in
 * between, are a fault of the route: nothing is returned, one alert is given, and one message
 * is tried at growing intervals until one is accepted.
 *
 * Pure state, no I/O; push says what was refused (smtp/verdict.h), sched.c acts.
 */
#ifndef DAEMON_BREAKER_H
#define DAEMON_BREAKER_H

#include "spool/id.h"

enum { BREAKER_RUN = 3, BREAKER_KEY = 64 };

struct breaker {
	bool open;                  /* the route refuses everything alike */
	int64_t accepted;           /* when something was last accepted; 0: not known */
	char key[BREAKER_KEY];      /* of the refusals counted: stage and code */
	struct id ids[BREAKER_RUN]; /* whose they were */
	unsigned n;
};

/* Something was accepted. True: the breaker was open and is closed now. */
bool breaker_accepted(struct breaker *b, int64_t now);
/* A message was refused; what: "stage code text". True: this opens the breaker. */
bool breaker_refused(struct breaker *b, const struct id *id, struct str what);

#endif
