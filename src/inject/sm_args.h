/*
 * sm_args.h - the command line of sendmail(8): every letter that callers use
 *
 * Hostile input: an argument may be anything, and callers put users' text into it.
 */
#ifndef INJECT_SM_ARGS_H
#define INJECT_SM_ARGS_H

#include "mail/envelope.h"

enum sm_mode {
	SM_SEND,        /* -bm, and when nothing else is said */
	SM_ALIASES,     /* -bi, -I, newaliases: nothing to do */
	SM_VERIFY,      /* -bv */
	SM_FLUSH,       /* -q..., -Q..., runq */
	SM_LIST,        /* -bp, mailq; also with -q */
	SM_SMTP,        /* -bs: mailchute-smtpd does it */
	SM_UNAVAILABLE, /* unavailable says what */
};

enum { SM_NAME_MAX = 1000 }; /* octets of -F */

/* Recipients, each once. */
struct sm_rcpts {
	struct buf text;  /* the addresses, without separators */
	struct buf spans; /* of struct sm_span */
	struct buf table; /* hash table of uint32_t: number of a recipient + 1 */
	size_t n;
};
#define SM_RCPTS_INIT                                                   \
	{                                                               \
		.text = BUF_INIT, .spans = BUF_INIT, .table = BUF_INIT, \
	}

struct sm_args {
	enum sm_mode mode;
	const char *unavailable;
	bool take_from_header; /* -t */
	bool dot_is_data;      /* -i, -oi */
	bool has_sender;       /* -f or -r */
	struct buf sender;     /* empty: the null sender */
	struct str full_name;
	struct buf notify;     /* "NEVER" or a list; empty: not given */
	struct str ret;        /* "FULL" or "HDRS" */
	struct str envid;      /* xtext */
	struct sm_rcpts rcpts; /* from the arguments */
};

/* Reads the command line; borrows from argv. 0, or a code of sysexits(3) and ret_why then
 * holds one line of why. In any other mode than SM_SEND only the letters are checked.
 * Call sm_args_free() after both. */
int sm_args_parse(int argc, char *const argv[], struct sm_args *ret, struct buf *ret_why);
void sm_args_free(struct sm_args *a);

/* Adds the addresses of a list ("a@x, Bob <b@x>, friends: c@x;") that are not yet there
 * (local parts as they are, domains without case). True; false when something in it is no
 * address that can be sent to: *ret_bad is that part of text then; or when there are too
 * many (ENVELOPE_RCPT_MAX): ret_bad->n is 0. */
bool sm_rcpts_add(struct sm_rcpts *r, struct str text, struct str *ret_bad);
struct str sm_rcpts_at(const struct sm_rcpts *r, size_t i);
void sm_rcpts_free(struct sm_rcpts *r);

/* Appends "quoted and escaped", at most 200 octets of it, for messages to a person. */
void sm_quote(struct buf *b, struct str s);

#endif
