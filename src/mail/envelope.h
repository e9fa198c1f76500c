/*
 * envelope.h - the lines in front of a message in the spool (mailchute-spool(5))
 *
 * A drop, written by the injector:
 *	mailchute-drop 1
 *	C<client>              the listener's client (believed from its uid only)
 *	L<name>                login, an untrusted hint
 *	N<full name>           -F
 *	DRET=<FULL|HDRS><TAB>ENVID=<xtext>       what is given of -R and -V
 *	F<sender>              "F" alone: the null sender; no F line: the login
 *	R<recipient>[<TAB>NOTIFY=<...>][<TAB>ORCPT=<...>]      one or more
 *	(empty line)
 *	the message as it came
 * A queue file, written by mailchuted: three or four lines in front of the drop's bytes:
 *	mailchute 1
 *	U<uid> <login> <full name>
 *	        attested; login "-" when there is none; the full name and the blank
 *	        before it may be missing
 *	G<group>[,<group>...]
 *	        attested, and only there when the configuration asks for groups: those of
 *	        its groups that the uid is in
 *	T<seconds>
 *	        when it was submitted (the drop's mtime: its owner's to set, so any
 *	        number of up to 19 digits is legal, also a negative one)
 *
 * Order is as listed, each at most once but R. No value has a byte < 0x20 (TAB parts the
 * parameters) or 0x7f; only F may be empty. Lines end in LF.
 */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "base/str.h"

enum {
	ENVELOPE_MAX = 8 << 20,      /* octets in front of the message */
	ENVELOPE_RCPT_MAX = 50000,   /* recipients of one message */
	ENVELOPE_ENVID_MAX = 100,    /* octets of ENVID (RFC 3461 4.4) */
	ENVELOPE_ORCPT_MAX = 500,    /* octets of ORCPT (RFC 3461 4.2) */
	ENVELOPE_NAME_MAX = 256,     /* octets of login or full name that are attested */
	ENVELOPE_GROUPS_MAX = 32768, /* octets of the list of groups */
};
/* The times that e->time is clamped to: 1970 to 9999, what a Date: field can say. */
#define ENVELOPE_TIME_MAX INT64_C(253402300799)

struct env_rcpt {
	struct str addr; /* passes addr_envelope_ok() */
	struct str
	    notify; /* "NEVER" or a list of SUCCESS,FAILURE,DELAY; n == 0: not given */
	struct str orcpt; /* "rfc822;..." xtext; n == 0: not given */
};

/* Everything is borrowed from the text that was parsed, but rcpt. */
struct envelope {
	uint64_t uid;
	struct str login, gecos; /* attested; of a drop: empty */
	struct str groups; /* attested; parted by commas; n == 0: none, or not asked */
	int64_t time;      /* seconds, 0 to ENVELOPE_TIME_MAX; of a drop: 0 */
	struct str client, hint, full_name;
	struct str ret, envid;
	bool has_sender;
	struct str sender; /* n == 0 with has_sender: the null sender */
	struct env_rcpt *rcpt;
	size_t rcpts;
};

/* Parses a queue file's first bytes (text may hold part of the message too). *ret_used is
 * the length of the envelope: the message begins there. The caller frees with
 * envelope_free(). 0; -EAGAIN: text ends before the envelope does; -EBADMSG: damaged or
 * of an unknown version, *ret_why then says what in plain words (a literal). Hostile
 * input. */
int envelope_parse(struct str text, struct envelope *ret, size_t *ret_used,
                   const char **ret_why);
void envelope_free(struct envelope *e);

/* Appends a drop's lines, the empty line included (uid, login, gecos, time are not in
 * it). Values must be legal; asserts that they are. */
void envelope_print_drop(struct buf *b, const struct envelope *e);
/* Appends the lines a queue file has in front of a drop. login and gecos may be any bytes
 * (they come from NSS): a login that cannot stand there becomes "-", control bytes of the
 * full name become blanks, what is too long is cut. */
void envelope_print_attested(struct buf *b, uint64_t uid, struct str login,
                             struct str gecos, int64_t time);
/* The same with a list of groups; without one that envelope_groups_ok() refuses. */
void envelope_print_submitter(struct buf *b, uint64_t uid, struct str login,
                              struct str gecos, struct str groups, int64_t time);
/* Names parted by commas, none empty, at most ENVELOPE_GROUPS_MAX octets. */
bool envelope_groups_ok(struct str v);
/* The parameters of DSN as they are passed on: xtext of RFC 3461 4 (not empty, at most
 * max octets); NEVER, or SUCCESS, FAILURE, DELAY each at most once; addr-type ";" xtext.
 */
bool envelope_xtext_ok(struct str v, size_t max);
bool envelope_notify_ok(struct str v);
bool envelope_orcpt_ok(struct str v);
/* Is v free of bytes < 0x20 and 0x7f? What every value but addresses must pass. */
bool envelope_value_ok(struct str v);

#endif
