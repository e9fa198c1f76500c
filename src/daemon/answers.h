/*
 * answers.h - what the desk asks of the rest of mailchuted, and when a flush is answered
 *
 * Program code: logs.
 */
#ifndef DAEMON_ANSWERS_H
#define DAEMON_ANSWERS_H

#include "daemon/desk.h"
#include "daemon/intake.h"
#include "daemon/routes.h"

struct answers {
	struct intake *intake;
	struct routes *routes;
	struct sched *sched;
	const struct conf *conf;
	struct desk *desk;        /* NULL: no socket */
	unsigned long flush_from; /* messages done with when the flush began */
	struct desk_ops ops;
};

/* Opens the desk, whose questions are answered from now on; the four pointers are set, and
 * what they point to stays where it is. Without a socket (logged) mailchuted goes on. */
void answers_open(struct answers *a, const char *socket, const char *libexec);
void answers_close(struct answers *a);
/* Those who flush are answered when everything that could be tried was tried. To be called
 * each time something happened. */
void answers_flush(struct answers *a);

#endif
