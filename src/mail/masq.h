/*
 * masq.h - masquerade: which address becomes which
 *
 * Rules stand in the order of the configuration; the first that matches wins. Never
 * applied to the null sender.
 */
#ifndef MAIL_MASQ_H
#define MAIL_MASQ_H

#include "base/str.h"

enum {
	MASQ_ENVELOPE = 1 << 0,
	MASQ_FROM = 1 << 1,
	MASQ_SENDER = 1 << 2,
	MASQ_REPLY_TO = 1 << 3,
	MASQ_TO = 1 << 4,
	MASQ_CC = 1 << 5,
	MASQ_DEFAULT = MASQ_ENVELOPE | MASQ_FROM | MASQ_SENDER,
	MASQ_NAME_MAX = 512, /* octets of a display name that a rule makes */
};

struct masq_rule {
	char *match;      /* glob on the whole completed address */
	char *as;         /* template of an address: %u local part %d domain %h host %% */
	char *name;       /* template of a display name: also %n (the old name, else the
	                   * submitter's full name, else login); NULL: keep the old one */
	unsigned rewrite; /* MASQ_ bits */
	struct strv user; /* submitting logins it is for; n == 0: all */
	int line;         /* where it stands in the configuration, for explain */
};

/* What a rule can see beside the address. */
struct masq_who {
	struct str login, full_name, host;
};

/* The first rule of n that has one of the bits in where, is for the login, and matches
 * addr; NULL: none. */
const struct masq_rule *masq_find(const struct masq_rule *rules, size_t n, unsigned where,
                                  struct str addr, const struct masq_who *who);
/* Appends the address the rule makes of addr. When the template gives something that
 * addr_envelope_ok() refuses, -EINVAL and b is as it was: keep the old address. */
int masq_address(struct buf *b, const struct masq_rule *rule, struct str addr,
                 const struct masq_who *who);
/* Appends the display name the rule makes (plain UTF-8 text, not yet quoted or encoded;
 * no control bytes; at most MASQ_NAME_MAX octets). old: the old display name, decoded
 * from quotes; may be empty. */
void masq_name(struct buf *b, const struct masq_rule *rule, struct str addr,
               struct str old, const struct masq_who *who);

#endif
