/*
 * load.h - inside src/conf: a configuration while it is read, and what must hold between
 * its keys
 *
 * conf_load.c fills it from libconfuse; the rest knows nothing of libconfuse: a section is
 * an address to it, under which its keys were met.
 */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include "conf/table.h"

/* A key or section that was met. Sections are known by what = -1 - section. */
struct load_seen {
	const void *in; /* a section is met in itself */
	long what;
	int line;
};

struct load {
	const char *path;
	const void *root; /* the whole file */
	struct buf *err;
	unsigned errors;
	size_t last; /* where the last line of err begins */
	struct conf_scan scan;
	size_t closed;  /* sections that have ended */
	bool clean;     /* no value was refused: what holds between keys can be checked */
	unsigned files; /* CONF_FILES_ bits: those that are looked at */
	struct load_seen *seen;
	size_t seen_n;
};

/* conf_seen.c */

/* Adds a line "file:line: ..." to the errors; one that says just what the last says is
 * left out. */
void load_error(struct load *ld, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
void load_note(struct load *ld, struct load_seen what);
/* The key (its row) or section as it was met first; NULL: it was not. */
const struct load_seen *load_find(const struct load *ld, const void *in, long what);
/* The line of a key of the section, else the section's. */
int load_line(const struct load *ld, const void *in, const char *key);
/* Has the key a value? Not so an empty list. */
bool load_given(const struct load *ld, const void *in, const char *key);
/* The scan's nth assignment (from 0) to a key of the section, which may stand in the file
 * in parts; NULL: there is none. */
const struct conf_scan_key *load_assigned(const struct load *ld, const void *in,
                                          const char *key, unsigned nth);

/* conf_file.c: the file itself. 0, or -errno (-EINVAL: it is none that could be one) with
 * words in the errors. */
int load_file(struct load *ld, struct buf *ret);

/* conf_finish.c: defaults that depend on other keys, and errors. They are called when every
 * single value is right (ld->clean). in: the section; of the whole file for bounce and alert
 * when it has no such section. */

/* The number i of c->smarthost. */
void load_smarthost(struct load *ld, const void *in, struct conf *c, size_t i);
/* conf_listen.c: the same for a place to listen. */
void load_listen(struct load *ld, const void *in, struct listen *l);
/* conf_listen.c: no two of them take the same port of the same address. After all of them. */
void load_listens(struct load *ld, const struct conf *c);
/* conf_listen.c: a certificate and its key are given both, or none. */
void load_pair(struct load *ld, const void *in, const char *certificate, const char *key);
/* Is there a certificate in it? Else an error. */
void load_certificate(struct load *ld, int line, const char *key, const char *path,
                      struct str text);
/* Tries the rule on an address of this machine, so that one that can never work is refused
 * here and not found out by each message. */
void load_rule(struct load *ld, const void *in, const struct masq_rule *rule,
               const char *host);
/* Before it: how a rule's keys go together, and the default of match. */
void load_rule_keys(struct load *ld, const void *in, struct masq_rule *rule);
/* in: the whole file. What sender-override says. */
void load_override(struct load *ld, const void *in, struct conf *c);
void load_aliases(struct load *ld, const void *in, const struct conf *c);
/* After rules and load_override(). */
void load_groups(struct load *ld, const struct conf *c);
/* The admin, when none is given. After all rules. */
void load_admin(struct conf *c);
/* After load_admin(). */
void load_bounce(struct load *ld, const void *in, const struct conf *c);
void load_alert(struct load *ld, const void *in, const struct conf *c);

#endif
