/*
 * wire.h - message bytes as SMTP lines
 *
 * A total function over a stream of bytes: whatever goes in, and however it is cut into
 * pieces, what comes out has only CRLF line ends, no bare CR or LF, no NUL, no line over
 * 998 octets, ends in CRLF, and (dot-stuffed for DATA) no line that is only a dot. This
 * is the last guard; what loses less is done before it (mend). LF and CRLF are line ends;
 * a bare CR and a NUL become a space; a run of CRs (fewer than 998) before LF is one line
 * end; a longer line is cut (RFC 5321 4.5.3.1.6: a doubled dot is not counted).
 */
#ifndef SMTP_WIRE_H
#define SMTP_WIRE_H

#include "base/str.h"

enum { WIRE_LINE_MAX = 998 };

struct wire {
	bool stuff;    /* DATA: dots at the beginning of a line are doubled */
	size_t column; /* octets of this line so far */
	unsigned cr;   /* CRs seen that may belong to a line end */
};

/* Appends the encoded form of in to out. */
void wire_encode(struct wire *w, struct str in, struct buf *out);
/* Ends the last line if it is open. No "." line: that is the client's. */
void wire_end(struct wire *w, struct buf *out);

#endif
