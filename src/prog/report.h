/*
 * report.h - what came of a message, told to mailchuted and written to the run journal
 */
#ifndef PROG_REPORT_H
#define PROG_REPORT_H

#include "prog/message.h"
#include "smtp/verdict.h"

struct reporter {
	int sock, journal;
	const struct smarthost *host;
	const struct compose_conf *compose;
	const char *remote; /* name of the host we talk to */
	bool broken;        /* mailchuted is gone: stop */
	bool
	    full; /* the journal cannot be written: say what came of this message, stop */
	bool probing; /* the host refuses everything alike: nothing is final */
	bool others;  /* messages wait behind this one */
};

/* One record that concerns no message: "host", "up", "log". text is escaped by the caller. */
void report_line(struct reporter *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Before the last octets go out; when it sets full they must not. */
void report_commit(struct reporter *r, const struct message *m);
/* A message whose note settles every recipient: a crash came before it was removed. */
void report_settled(struct reporter *r, const struct message *m);
/* A refusal that any message could have got; its outcome follows. */
void report_refused(struct reporter *r, const struct message *m, const struct verdict *v);
/* A message that cannot be read for what it is. */
void report_bad(struct reporter *r, const struct id *id, uint32_t due, const char *why);
/* The outcome of one try. of[i] is the verdict of m->note.rcpt[i], NULL: not tried (settled before).
 * Makes the DSN for those that failed. */
void report_outcome(struct reporter *r, const struct message *m,
                    struct verdict *const *of, int64_t now);

#endif
