/*
 * reply.h - SMTP replies (RFC 5321 4.2): parsed byte by byte, bounded. Input is hostile.
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "base/str.h"

enum {
	REPLY_MAX = 8192, /* octets of one reply, all lines */
	REPLY_LINES_MAX = 64,
};

struct reply {
	int code;        /* 200..599 */
	int enhanced[3]; /* class, subject, detail; class 0: none */
	struct buf text; /* lines without code, separated by LF; bytes as they came */
	/* NULL, or what the host was given to log in: reply_line() does not show words that
	 * repeat it. */
	const struct reply_secret *secret;
};

struct reply_secret {
	struct str plain; /* borrowed */
	struct buf sent;  /* lines of base64 */
};
/* Is some of it in the text? */
bool reply_shows(const struct reply_secret *s, struct str text);

/* Takes one complete reply from the front of in. Returns the octets used (> 0); 0: not
 * yet complete; -EBADMSG: not SMTP (bad code, codes that differ between lines, code
 * outside 200..599, no blank or dash behind it, a bare CR, NUL or LF without CR is
 * tolerated as a line end only); -EMSGSIZE: over a limit. After an error nothing of the
 * connection can be believed. ret->text is reset and filled. */
ptrdiff_t reply_take(struct str in, struct reply *ret);
void reply_free(struct reply *r);
/* How it looks, without what differs from one to the next of its kind (numbers, names of
 * transactions): a hash of the enhanced code, the first word and how many there are. Never 0. */
uint64_t reply_shape(const struct reply *r);
/* One line for logs and notes: code, enhanced code and text, lines joined by a space,
 * escaped, at most 400 octets. */
void reply_line(struct buf *b, const struct reply *r);

#endif
