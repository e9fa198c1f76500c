/*
 * alias.h - aliases(5): whom mail to a name of this machine goes to
 *
 *	name: value, value          # a comment
 *		value               lines that begin with a blank go on
 *	"a name": "|a program", /a/file, :include:/a/list, \name, user@example.org
 *
 * Pure text; the files are the administrator's, but a list may be any user's: taken for
 * hostile. Names are compared without case; NAME+DETAIL is looked up whole, then as NAME.
 * A damaged line is noted and left out, the rest works. Linear in the size of the files.
 */
#ifndef MAIL_ALIAS_H
#define MAIL_ALIAS_H

#include "base/str.h"
#include "mail/trace.h"

enum {
	ALIAS_FILE_MAX = 4 << 20,   /* octets of one file */
	ALIAS_ENTRIES_MAX = 100000, /* aliases */
	ALIAS_LISTS_MAX = 256,      /* included files */
	ALIAS_DEPTH_MAX = 10,       /* aliases and lists that lead to one another */
	ALIAS_FAULTS_MAX = 20,      /* faults that are kept; all are counted */
};

struct alias_entry {
	char *name;       /* unquoted, lower case */
	struct str value; /* as it stands in the text */
	size_t line;
};

/* An included file. */
struct alias_list {
	char *path;
	struct buf text;
	char *why; /* it could not be read; NULL: it was, or not yet */
};

struct alias_fault {
	char *path;
	size_t line; /* 0: of the whole file */
	const char *why;
};

/* Zeroed is empty: no aliases. */
struct alias_table {
	char *path;
	struct buf text;
	char *why;                 /* the file itself could not be read; else NULL */
	struct alias_entry *entry; /* by name */
	size_t entries;
	struct alias_list *list; /* in the order they were met */
	size_t lists;
	struct alias_fault fault[ALIAS_FAULTS_MAX];
	size_t faults; /* all of them, also those that are not kept */
};

/* Reads aliases into an empty table. Takes *text over (it is empty afterwards); more than
 * ALIAS_FILE_MAX of it is a fault, and none of it is read. t->list then has the files to
 * include, without their text: the caller gives each with alias_list_parse(), which may
 * add more. */
void alias_parse(struct alias_table *t, const char *path, struct buf *text);
/* Gives the text of list i; taken over. */
void alias_list_parse(struct alias_table *t, size_t i, struct buf *text);
/* Instead of the text: list i, or the whole file, cannot be read now. Who is looked up
 * there is refused for now. */
void alias_list_unreadable(struct alias_table *t, size_t i, const char *why);
void alias_unreadable(struct alias_table *t, const char *path, const char *why);
void alias_free(struct alias_table *t);

/* The alias of a name (raw: unquoted), or NULL. */
const struct alias_entry *alias_find(const struct alias_table *t, struct str name);

/* Which addresses are of this machine. */
struct alias_here {
	struct str hostname, nodename; /* n == 0: not known */
	struct str
	    elsewhere; /* a domain that is not this machine, though it has its name;
	                       * n == 0: none */
};
/* Is the address (plain form) of this machine: bare, at localhost, localhost.localdomain,
 * hostname or nodename? */
bool alias_is_here(const struct alias_here *h, struct str addr);

/* One recipient that an expansion came to. */
struct alias_target {
	char *addr; /* plain form. A name of this machine: as it was written */
	bool local; /* of this machine, and not expanded (any further) */
	/* An SMTP reply, "550 5.3.5 ...": nothing goes there. addr is the alias then. NULL:
	 * fine. */
	char *refused;
};

/* The expansions of one message. Each alias is expanded once in it: whom it leads to are
 * recipients then, however often it is named. */
struct alias_run {
	const struct alias_table *table;
	const struct alias_here *here;
	struct alias_target *target;
	size_t targets;
	char *state;     /* of each alias, then of each list: see alias.c */
	size_t *touched; /* those whose state the expansion in hand has changed */
	size_t touches;
	bool full;           /* there were more recipients than room */
	struct trace *trace; /* gets each alias and list that is used; NULL: none */
};
/* Both are borrowed; table may be NULL. The caller ends it with alias_end(). */
void alias_begin(struct alias_run *r, const struct alias_table *table,
                 const struct alias_here *here);
/* Adds what the address (plain form, fit for an envelope) comes to: one target or more,
 * unless it leads only to aliases that were expanded before in this run. An address of
 * another machine is its own target. At most room targets (at least 1) are added: an alias
 * that leads to more is refused as a whole.
 *
 * A name that leads to itself, at once or by others, means itself there: a local target. A
 * backslash in front of a value does the same. Programs and files are refused, as are
 * aliases deeper than ALIAS_DEPTH_MAX or that lead to nobody; lists that cannot be read
 * are refused for now (4xx). Programs never run, and no file is written. */
void alias_expand(struct alias_run *r, struct str addr, size_t room);
void alias_end(struct alias_run *r);

#endif
