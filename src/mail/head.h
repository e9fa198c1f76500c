/*
 * head.h - the header of a message, field by field
 *
 * Pure text; input is hostile. Lines end in LF or CRLF; a field goes on in lines that
 * begin with SP or TAB (RFC 5322 2.2.3).
 */
#ifndef MAIL_HEAD_H
#define MAIL_HEAD_H

#include "base/str.h"

enum {
	HEAD_MAX = 16 << 20, /* octets of header that anything of mailchute reads */
	HEAD_NAME_MAX = 998, /* octets of a field's name (RFC 5322 2.1.1) */
};

struct head_field {
	struct str raw;  /* the whole field with its line ends */
	struct str name; /* without the colon and blanks before it */
	struct str body; /* behind the colon, folding kept, without the last line end */
};

/* Where the body begins. Looks at text (the beginning of a message, or all of it):
 * returns the length of the header including the empty line that ends it, and sets
 * *ret_empty_line to that line's length (0: there is none: the text ended, or the next
 * line is no header line). A first line "From ..." or ">From ..." (mbox) belongs to the
 * header. When the first line is no header line the header is empty (returns 0): a
 * message without header. complete says whether text is the whole message: if not, and
 * the end of the header was not seen, returns text.n with *ret_empty_line 0. */
size_t head_length(struct str text, bool complete, size_t *ret_empty_line);

/* Gives the next field of a header (the bytes head_length() found) and moves *rest on.
 * Mbox "From " lines are skipped. False at the end or at the empty line. */
bool head_next(struct str *rest, struct head_field *ret);

/* Appends the body of a field unfolded: line ends removed, control bytes as one SP. */
void head_unfold(struct buf *b, struct str body);

#endif
