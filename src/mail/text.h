/*
 * text.h - text of people: UTF-8, encoded words (RFC 2047), quoted-printable (RFC 2045)
 *
 * All input may be hostile.
 */
#ifndef MAIL_TEXT_H
#define MAIL_TEXT_H

#include "base/str.h"

/* Length of the UTF-8 character (RFC 3629 4) that s, not empty, begins with; 0: none. */
size_t text_utf8_length(struct str s);
bool text_is_utf8(struct str s);
/* The same of a stream, which may be cut anywhere; zeroed first. */
struct text_utf8 {
	unsigned char need, low, high; /* octets to come; what the next one may be */
	bool bad;
};
void text_utf8_add(struct text_utf8 *u, struct str s);
bool text_utf8_ok(const struct text_utf8 *u); /* all of it was UTF-8 */
/* Appends s as UTF-8: what is none, and C1 controls, become '?'; other control bytes
 * become SP. */
void text_clean(struct buf *b, struct str s);

/* Appends s with its encoded words decoded and cleaned as above. Charsets that are not
 * known (UTF-8, US-ASCII and ISO 8859-1 are) stay encoded. Runs of SP become one. */
void text_decode_words(struct buf *b, struct str s);
/* Appends s, an unstructured field's text, clean already, as printable ASCII: words that have
 * bytes >= 0x80 as encoded words of at most 75 octets, no character split between two;
 * others, also what is an encoded word already, stay. Runs of SP become one, so that it
 * can be folded at each. */
void text_encode_words(struct buf *b, struct str s);

/* Is it an encoded word, of at most 75 octets? */
bool text_is_encoded(struct str word);
/* Appends s as encoded words of letters, digits and marks that may stand anywhere in a header:
 * UTF-8, or unknown-8bit (RFC 1428) where it is none. They are parted by LF SP; the first
 * ends before column 76 when it begins in column (at most 40), all are of 75 at most. */
void text_encode_all(struct buf *b, struct str s, size_t column);

/* Quoted-printable of a stream, which may be cut anywhere; zeroed first. Lines of at most 76
 * octets. */
struct text_qp {
	size_t column;
	char blank; /* one that stands at the end of a line unless more comes; 0: none */
};
/* s: any octets but LF; CR and NUL are encoded. */
void text_qp_add(struct text_qp *q, struct buf *b, struct str s);
void text_qp_eol(struct text_qp *q, struct buf *b);
/* No more comes. The last line stays open. */
void text_qp_end(struct text_qp *q, struct buf *b);

/* Base64 of a stream, in lines of 76 octets; zeroed first. No line end behind the last. */
struct text_base64 {
	size_t column;
	unsigned char held[3];
	unsigned n;
};
void text_base64_add(struct text_base64 *q, struct buf *b, struct str s);
void text_base64_end(struct text_base64 *q, struct buf *b);

/* Appends s (LF line ends) in quoted-printable: lines of at most 76 octets. */
void text_quoted_printable(struct buf *b, struct str s);

#endif
