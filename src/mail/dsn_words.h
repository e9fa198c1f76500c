/*
 * dsn_words.h - inside of dsn: what a report says to people
 */
#ifndef MAIL_DSN_WORDS_H
#define MAIL_DSN_WORDS_H

#include "mail/dsn.h"

/* Whatever is not ours (addresses, replies, the subject) is printed as printable ASCII, so
 * that a report needs neither 8BITMIME nor SMTPUTF8. What is in a template is UTF-8, and so
 * is the old subject in its words: that part is encoded. */
enum {
	DSN_WIDTH = 76,        /* columns of a line, where there is a blank to break at */
	DSN_WORD_MAX = 900,    /* octets of a word before it is broken anyway */
	DSN_TEXT_MAX = 2000,   /* octets of a reply that are shown */
	DSN_SUBJECT_MAX = 200, /* octets of the old subject that are kept */
	DSN_PEOPLE_MAX = 100,  /* recipients of each kind that the plain words name */
};

/* Appends at most max octets of s; what is not printable ASCII as \xNN. A backslash stays
 * as it is: replies come escaped already. */
void dsn_ascii(struct buf *b, struct str s, size_t max);
/* Appends text (printable ASCII) behind first, broken at blanks into lines that go on
 * behind next; ends the last line. */
void dsn_lay_out(struct buf *b, const char *first, const char *next, struct str text);

/* Is a recipient of this kind among them? */
bool dsn_has(const struct dsn *d, enum dsn_action action);
/* Appends the Subject's text: printable ASCII, not folded. */
void dsn_subject(struct buf *b, const struct dsn *d);
/* Appends the text of the first part: lines of UTF-8, of any length. */
void dsn_words(struct buf *b, const struct dsn *d);

#endif
