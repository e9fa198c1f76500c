/*
 * template.h - an administrator's own words for reports (bounce.template)
 *
 * A text file in UTF-8 with LF line ends:
 *
 *	# Lines with # in front of the first block are comments, empty ones too.
 *	[failed]
 *	Subject: Not delivered: %s
 *	This is the mail relay of %h. It could not deliver your message to:
 *
 *	%r
 *
 *	Questions: %a
 *	[delayed]
 *	...
 *	[relayed]
 *	...
 *
 * A block begins with a line that is its name in brackets; each of the three at most once,
 * in any order. "Subject:" may be its first line; the rest are its words. What is missing,
 * a block, its subject or its words, is said in mailchute's own words. A report that tells
 * of several things has the words of each, failures first, and the subject of the first.
 *
 *	%h	this machine's name               %i	the message's queue id
 *	%s	the message's subject             %t	when it was queued
 *	%l	how long tries are made: "5 days" %u	until when (only in [delayed])
 *	%a	the administrator's address       %%	a per cent sign
 *	%r	the recipients, each with the smart host's words: alone on its line, once
 *		in a block, not in a subject; when missing, they follow the words
 *
 * Anything else behind a per cent sign is an error, as is a line in brackets that names no
 * block.
 */
#ifndef MAIL_TEMPLATE_H
#define MAIL_TEMPLATE_H

#include "base/str.h"

enum {
	TEMPLATE_MAX = 64 << 10,   /* octets of the file */
	TEMPLATE_LINE_MAX = 900,   /* octets of a line */
	TEMPLATE_VALUE_MAX = 1000, /* octets of a value but recipients */
};

enum template_kind {
	TEMPLATE_FAILED,
	TEMPLATE_DELAYED,
	TEMPLATE_RELAYED,
	TEMPLATE_KINDS /* how many there are */
};

/* n == 0: not given. Borrowed from the template's text. words begin and end with a line
 * that is not empty and have no LF at their end. */
struct template_block {
	struct str subject, words;
};

struct template
{
	struct buf text;
	struct template_block block[TEMPLATE_KINDS];
};

/* Parses a whole file. 0 and *ret, which has its own copy of text: the caller frees it.
 * -EINVAL: *ret_line (from 1) and *ret_why say what is wrong, in a form that can follow
 * "FILE:LINE: "; *ret is untouched. Input may be hostile. */
int template_parse(struct str text, struct template *ret, int *ret_line,
                   const char **ret_why);
void template_free(struct template *t);

/* What the variables stand for; UTF-8 without control bytes. recipients: lines, the last
 * one with its LF. */
struct template_values {
	struct str hostname, id, subject, queued, lifetime, until, admin;
	struct str recipients;
};

/* Appends a block's words as lines, the recipients behind them when there is no %r. */
void template_words(struct buf *b, struct str words, const struct template_values *v);
/* Appends a block's subject, not folded or encoded. */
void template_subject(struct buf *b, struct str subject, const struct template_values *v);

#endif
