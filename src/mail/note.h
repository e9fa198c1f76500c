/*
 * note.h - what is written down about a message that met trouble (mailchute-spool(5))
 *
 *	mailchute-note 1
 *	S<sender>                                     the plan: outgoing envelope
 *	D<RET=...><TAB><ENVID=...>                    only what is given
 *	O<id>                                         it was split: the message submitted
 *	P<route> <recipient>[<TAB>NOTIFY=...][<TAB>ORCPT=...][<TAB>REFUSED=...]
 *	                                              numbered 1, 2, ...; REFUSED: nothing
 *	                                              goes there (plan_rcpt.refused)
 *	.                                             end of the plan
 *	r <number> <D|T|F> <time> <code> <text>       an outcome: delivered, temporary, failed
 *	d <time> <text>                               this try ended in doubt
 *	b <n>                                         the n-th derived message is a DSN that
 *	                                              tells of the failures of this try
 *	w <time>                                      a warning of the delay was given
 *	c <time>                                      to be composed anew at the next try
 *	u <time>                                      it came back from bad/: its clock begins
 *	                                              anew; when all had ended, those that
 *	                                              failed are tried again
 *	e <time>                                      a try ended
 * Append-only; a last line without its LF was cut by a crash and is not there. The run
 * journal's records hold these lines too, behind an id.
 */
#ifndef MAIL_NOTE_H
#define MAIL_NOTE_H

#include "mail/compose.h"

enum { NOTE_FILE_MAX = 64 << 20 }; /* octets of a note that are read */

enum note_state {
	NOTE_PENDING = 0,
	NOTE_DONE = 'D',
	NOTE_LATER = 'T',
	NOTE_FAILED = 'F'
};

struct note_rcpt {
	enum note_state state; /* the last outcome */
	int64_t time;
	int code; /* SMTP reply code, 0: none */
	struct str text;
};

/* Borrowed from the text, but plan and rcpt. */
struct note {
	struct plan plan;
	struct note_rcpt *rcpt; /* plan.rcpts of them */
	struct str route;       /* of the first recipient */
	/* The time of the first T, or of the third d when no T came before it; 0: none: the
	 * message's clock stands. */
	int64_t first_trouble;
	unsigned tries; /* ended tries */
	unsigned doubts;
	unsigned warned;   /* warnings given */
	struct str origin; /* id of the message it was split from; n == 0: never split */
	bool recompose;    /* somebody asked for a new plan */
	size_t pending;    /* recipients without D or F */
};

/* Parses a whole note. 0; -EBADMSG: damaged or unknown version, *ret_why says what.
 * A plan without its "." line is damaged; outcomes may be cut. Caller frees. */
int note_parse(struct str text, struct note *ret, const char **ret_why);
void note_free(struct note *n);
/* Appends the first line and the plan, "." included. origin: n == 0 when never split. */
void note_print_plan(struct buf *b, const struct plan *p, struct str route,
                     struct str origin);
/* Appends one "r" line. text may be hostile: escaped, at most NOTE_TEXT_MAX of it. */
enum { NOTE_TEXT_MAX = 400 };
void note_print_result(struct buf *b, size_t number, enum note_state s, int64_t time,
                       int code, struct str text);

/* When a message is tried again: a pure function of its clock. age: seconds since its
 * first trouble, at least 0. retry: seconds to the second try; later ones come at growing
 * distance (half the age) up to retry_max. Jitter of up to an eighth, from the id. The
 * result is a distance in seconds from now, at least retry / 2. */
int64_t note_backoff(int64_t age, int64_t retry, int64_t retry_max, struct str id);

#endif
