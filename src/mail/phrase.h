/*
 * phrase.h - display names: their text, and how a header writes it (RFC 5322, RFC 2047)
 */
#ifndef MAIL_PHRASE_H
#define MAIL_PHRASE_H

#include "mail/addr.h"

enum { PHRASE_MAX = 400 }; /* octets of a name's text: quoted, it fits in one line */

/* Appends the name of a mailbox as text: the display name without quotes, else the text of
 * its comment, else nothing; without one pair of parentheses around all of it. Encoded
 * words stay encoded. Hostile input; cleaned like phrase_clean(). */
void phrase_text(struct buf *b, const struct addr *a);
/* Appends text with runs of blanks and control bytes as one SP, none at the ends, cut to
 * PHRASE_MAX octets at a character of UTF-8. */
void phrase_clean(struct buf *b, struct str text);
/* Appends "Name" <addr>: a quoted string; encoded words where the text has bytes >= 0x80;
 * words of text that are encoded words already stay as they are. An empty name gives the
 * address alone. text is cleaned first. Long ones are folded with LF SP. */
void phrase_mailbox(struct buf *b, struct str text, struct str addr);

#endif
