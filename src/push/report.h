/*
 * report.h - what came of a message, told to mailchuted and written to the run journal
 */
#ifndef PUSH_REPORT_H
#define PUSH_REPORT_H

#include "mail/template.h"
#include "push/message.h"
#include "smtp/verdict.h"

struct reporter {
	int sock, journal;
	const struct conf *conf;
	const struct smarthost *host;
	const struct compose_conf *compose;
	const struct template *template; /* of reports; NULL: our own words */
	const char *remote;              /* name of the host we talk to */
	bool broken;                     /* mailchuted is gone: stop */
	bool
	    full; /* the journal cannot be written: say what came of this message, stop */
	bool leaving;   /* mailchuted wants to end: what was not tried is let be */
	bool probing;   /* the host refuses everything alike: nothing is final */
	bool others;    /* messages wait behind this one */
	bool gave_up;   /* the host was not reached for longer than give-up */
	int64_t jumped; /* seconds that the clock was set ahead by since push's start */
	struct buf up, file; /* what report_flush() sends, and writes to the journal */
};

/* What a try came to for one recipient. */
struct result {
	bool open;   /* it was tried; else it was settled before */
	bool no_dsn; /* the host that took it makes no reports (RFC 3461) */
	bool ours;   /* the verdict is not the host's: it was not asked */
	struct verdict verdict;
};

/* Everything below is kept until report_flush() writes it to the journal and then sends it, or
 * until it is so much that it is time. */
void report_flush(struct reporter *r);
/* One record that concerns no message: "host", "up", "log". text is escaped by the caller. */
void report_line(struct reporter *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Before the last octets go out, and report_flush() behind it; when that sets full they must
 * not. */
void report_commit(struct reporter *r, const struct message *m);
/* A message whose note settles every recipient: a crash came before it was removed. Tells
 * what nobody was told yet. */
void report_settled(struct reporter *r, const struct message *m, int64_t now);
/* A refusal that any message could have got; its outcome follows. */
void report_refused(struct reporter *r, const struct message *m, const struct verdict *v);
/* A message that cannot be read for what it is. */
void report_bad(struct reporter *r, const struct id *id, uint32_t due, const char *why);
/* Nothing came of it, and no note is made: again at due; host: when the host is back. */
void report_put_off(struct reporter *r, const struct message *m, int64_t due, bool host);
/* The outcome of one try; res: of each recipient of the plan. Makes the report (DSN) about
 * those that failed, are delayed for long, or were relayed to a host that makes none. */
void report_outcome(struct reporter *r, const struct message *m, const struct result *res,
                    int64_t now);

/* The seconds from a time of the queue until now, without those that only the clock jumped. */
int64_t report_age(const struct reporter *r, int64_t time, int64_t now);

/* For outcome.c: to mailchuted; at once, with a descriptor; to the journal. */
void report_send(struct reporter *r, struct str text);
void report_packet(struct reporter *r, struct str text, int fd);
void report_journal(struct reporter *r, struct str text);

#endif
