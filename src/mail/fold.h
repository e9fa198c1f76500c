/*
 * fold.h - lines of a header that is being made
 *
 * LF line ends. Input may be hostile.
 */
#ifndef MAIL_FOLD_H
#define MAIL_FOLD_H

#include "base/str.h"

/* Appends bytes of a header: CRs in front of LF go, other bytes stay. */
void fold_text(struct buf *b, struct str s);
/* How many octets the last line of b has. */
size_t fold_column(const struct buf *b);
/* Folds the lines of b from octet from on, whole fields, that are over max octets: at a blank
 * where there is one; a display name or subject without one becomes encoded words (fold_words.h);
 * else anywhere, but never within a character of UTF-8. No line that is made begins with another byte
 * than SP or TAB, or is all blanks. Each line ends in LF. */
void fold_long_lines(struct buf *b, size_t from, size_t max);

#endif
