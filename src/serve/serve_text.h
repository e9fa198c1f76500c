/*
 * serve_text.h - how listings are written: lines, sizes, times, JSON
 *
 * Everything that goes out is printable ASCII, whatever a message or a smart host says: a
 * terminal or a parser of logs can do nothing wrong with it.
 */
#ifndef SERVE_SERVE_TEXT_H
#define SERVE_SERVE_TEXT_H

#include "base/str.h"

enum { OUT_PIECE = 32768 }; /* octets that are gathered before they go out */

/* Where lines go. */
struct out {
	struct buf b;
	/* Sends all of s. False: nobody listens any more. */
	bool (*send)(void *arg, struct str s);
	void *arg;
	bool failed; /* nobody listens: what comes is thrown away */
};

/* A line of the answer: a TAB, what is put into o->b, LF. */
void out_line(struct out *o);
void out_end(struct out *o);
/* Sends what is there when it is much; to be called in loops that a message decides how often
 * are run. False: nobody listens. */
bool out_more(struct out *o);
/* Sends what is there. False: nobody listens. */
bool out_flush(struct out *o);
/* One whole line. */
void out_fmt(struct out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* At most max octets of s, in printable ASCII: other bytes as \xNN. Unlike buf_escape() it
 * leaves a backslash alone: notes and the state file are escaped already. */
void text_safe(struct buf *b, struct str s, size_t max);
/* "123", "1.2K", "34M". */
void text_size(struct buf *b, int64_t octets);
/* "45s", "12m", "3h", "2d"; negative spans are 0. */
void text_span(struct buf *b, int64_t seconds);
/* "2026-11-22 05:03:00 UTC" */
void text_time(struct buf *b, int64_t seconds);
/* "Sun Nov 22 05:03", as sendmail's mailq (in UTC) */
void text_ctime(struct buf *b, int64_t seconds);

/* A JSON string with its quotes (RFC 8259 7), in ASCII: what is valid UTF-8 becomes \uNNNN,
 * any other byte four characters, \xNN (of which the backslash is escaped again). */
void json_str(struct buf *b, struct str s);
/* Adds "key":, behind a comma unless the object or list just began. */
void json_key(struct buf *b, const char *key);
void json_comma(struct buf *b);
void json_int(struct buf *b, const char *key, int64_t v);
void json_text(struct buf *b, const char *key, struct str v);

#endif
