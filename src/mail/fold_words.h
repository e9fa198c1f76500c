/*
 * fold_words.h - inside of fold: names and subjects that cannot be folded at a blank
 *
 * A fold within a word is a blank that the reader sees. Where encoded words may stand (RFC 2047
 * 5) they carry such a text whole: what is between two of them is not shown. That is so in
 * display names, and in Subject and Comments; in other fields nothing like it is known to
 * every reader, and a blank more does the least harm.
 *
 * LF line ends. Linear time. Input is hostile.
 */
#ifndef MAIL_FOLD_WORDS_H
#define MAIL_FOLD_WORDS_H

#include "base/str.h"

/* Appends the field, whose lines are too long for max octets, with its names or its text as
 * encoded words where they have words that can only be broken inside. False: it has none, and
 * nothing was appended. */
bool fold_words(struct buf *b, struct str field, size_t max);

#endif
