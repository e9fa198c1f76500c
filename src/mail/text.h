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
bool text_is_ascii(struct str s);
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

/* Appends s (LF line ends) in quoted-printable: lines of at most 76 octets. */
void text_quoted_printable(struct buf *b, struct str s);

#endif
