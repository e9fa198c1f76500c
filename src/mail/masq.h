/*
 * masq.h - masquerade: which address becomes which
 *
 * Rules stand in the order of the configuration; the first that matches wins. Never
 * applied to the null sender.
 */
#ifndef MAIL_MASQ_H
#define MAIL_MASQ_H

#include "base/str.h"

/* Where a rule applies. A field's Resent- form belongs to its plain one, and can be named
 * on its own. */
enum {
	MASQ_ENVELOPE = 1 << 0,
	MASQ_FROM = 1 << 1,
	MASQ_SENDER = 1 << 2,
	MASQ_REPLY_TO = 1 << 3,
	MASQ_TO = 1 << 4,
	MASQ_CC = 1 << 5,
	MASQ_RESENT_FROM = 1 << 6,
	MASQ_RESENT_SENDER = 1 << 7,
	MASQ_RESENT_REPLY_TO = 1 << 8,
	MASQ_RESENT_TO = 1 << 9,
	MASQ_RESENT_CC = 1 << 10,
	MASQ_RECIPIENT = 1 << 11, /* recipients of the envelope, behind aliases */
	MASQ_ALL = (1 << 12) - 1,
	MASQ_DEFAULT = MASQ_ENVELOPE | MASQ_FROM | MASQ_SENDER,
	MASQ_NAME_MAX = 512, /* octets of a display name that a rule makes */
};

/* sender-override: who may say who the sender is */
enum masq_override { MASQ_OVERRIDE_YES, MASQ_OVERRIDE_NO, MASQ_OVERRIDE_LIST };

struct masq_map; /* masq_map.h */

/* Templates of addresses and names:
 *	%u local part   %b local part in front of its first +   %t what is behind that
 *	%+ the same with its +   %d domain   %h this host   %n name (not of addresses)   %%
 * Users are logins, "@group", "uid:N". */
struct masq_rule {
	char *match;        /* glob on the whole completed address */
	char *as;           /* template of an address; "" with a map */
	char *map;          /* path of a file with more of match and as; "": none */
	char *name;         /* template of a display name: also %n (the old name, else the
	              * submitter's full name, else login); NULL: keep the old one */
	unsigned rewrite;   /* MASQ_ bits */
	struct strv user;   /* submitters it is for; n == 0: all */
	struct strv client; /* globs of listener's clients it is for; n == 0: all mail */
	bool keep_original; /* X-Original-From: the mailbox as it was */
	int line;           /* where it stands in the configuration, for explain */
	struct masq_map *table; /* the map, when it was read; NULL: it matches nothing */
};

/* What a rule can see beside the address. */
struct masq_who {
	struct str login, full_name, host;
	uint64_t uid;
	struct str groups; /* attested; parted by commas */
	struct str client; /* believed; n == 0: not from a listener */
};

/* Is the submitter one of these users? Only what is attested counts: a uid without login
 * is in a list by "uid:N" and its groups. */
bool masq_user_listed(const struct strv *users, const struct masq_who *who);
/* The first rule of n that has one of the bits in where, is for the submitter, and matches
 * addr (so does its map, when it has one); NULL: none. *ret_as: its masq_template(). */
const struct masq_rule *masq_find(const struct masq_rule *rules, size_t n, unsigned where,
                                  struct str addr, const struct masq_who *who,
                                  const char **ret_as);
/* The template that makes an address that the rule matches: its own, or the map's;
 * *ret_line the line of the map, 0: it is the rule's own. NULL: it does not match. */
const char *masq_template(const struct masq_rule *rule, struct str addr, int *ret_line);
/* Appends the address that a template makes of addr. When that is something that
 * addr_envelope_ok() refuses, -EINVAL and b is as it was: keep the old address. */
int masq_expand(struct buf *b, const char *as, struct str addr,
                const struct masq_who *who);
/* Appends the display name the rule makes (plain UTF-8 text, not yet quoted or encoded;
 * no control bytes; at most MASQ_NAME_MAX octets). old: the old display name, decoded
 * from quotes; may be empty. */
void masq_name(struct buf *b, const struct masq_rule *rule, struct str addr,
               struct str old, const struct masq_who *who);

#endif
