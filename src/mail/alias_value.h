/*
 * alias_value.h - inside of alias: the values of an alias, or of an included list
 */
#ifndef MAIL_ALIAS_VALUE_H
#define MAIL_ALIAS_VALUE_H

#include "base/str.h"

enum alias_kind {
	ALIAS_ADDRESS, /* text: plain form, fit for an envelope */
	ALIAS_LITERAL, /* the same; not to be expanded */
	ALIAS_INCLUDE, /* text: an absolute path */
	ALIAS_PROGRAM,
	ALIAS_FILE,
	ALIAS_BAD, /* why says what is wrong with it */
};

struct alias_value {
	enum alias_kind kind;
	const char *at; /* where it begins */
	struct buf text;
	const char *why; /* a literal */
};

/* Takes the next value of *rest. Commas part values, and so do line ends when lines is set;
 * a # in front of which is a blank, or nothing, begins a comment. ret->text is reused: the
 * caller frees it at the end. False: there is none left. Hostile input; linear. */
bool alias_value_next(struct str *rest, bool lines, struct alias_value *ret);
/* Undoes the quotes of a quoted string that *rest begins with, and moves *rest behind it.
 * False: it has no end. */
bool alias_unquote(struct str *rest, struct buf *ret);

#endif
