/*
 * compose.h - from what was submitted to what goes out: envelope and header
 *
 * One pure function of (configuration, queue file, id); no clock, no descriptors: every
 * try, and `mailchute explain`, gives the same bytes. Input is hostile.
 */
#ifndef MAIL_COMPOSE_H
#define MAIL_COMPOSE_H

#include "mail/envelope.h"
#include "mail/masq.h"

enum {
	COMPOSE_MAILBOX_MAX = 50000, /* mailboxes of one header that are looked at; what
	                              * is behind them stays as it is */
	COMPOSE_FOLD = 900, /* octets of a line; a mailbox that would pass it begins a new
	                     * one when its field is rewritten */
	/* Octets of a line (RFC 5322 2.1.1). Longer ones are folded: were they cut, what is
	 * behind the cut would be a field of its own. */
	COMPOSE_LINE_MAX = 998,
};

struct compose_conf {
	struct str hostname; /* for Received, Message-ID and %h */
	struct str domain;   /* completes bare addresses: "root" becomes root@domain */
	struct str admin;    /* for later: root's and postmaster's mail; n == 0: none */
	const struct masq_rule *rules;
	size_t rules_n;
	struct strv expose; /* globs that are never masqueraded */
};

/* The outgoing envelope; what the note's plan keeps. Owns its strings (see plan_free). */
struct plan {
	char *sender; /* "" is the null sender */
	char *ret, *envid;
	struct plan_rcpt {
		char *addr, *notify, *orcpt; /* notify and orcpt "" when not given */
	} * rcpt;                            /* numbered from 1 in notes, here from 0 */
	size_t rcpts;
};
void plan_free(struct plan *p);
/* Appends a recipient; copies. */
void plan_add(struct plan *p, struct str addr, struct str notify, struct str orcpt);

/* Appends an address in plain form, with the domain when it has none. */
void compose_complete(const struct compose_conf *c, struct str addr, struct buf *ret);
/* What one address (plain form) becomes in the places named by where (MASQ_ bits): bare
 * ones get the domain, then the first rule that matches has its way, unless expose says
 * no. Appends it and returns the rule that was used, or NULL. An address that would not
 * pass addr_envelope_ok() afterwards stays as it was. */
const struct masq_rule *compose_address(const struct compose_conf *c,
                                        const struct envelope *e, unsigned where,
                                        struct str addr, struct buf *ret);
/* Who submitted it, for people: login, else the hint L, else "uid<N>" (which the caller's
 * buffer holds). Borrowed. */
struct str compose_login(const struct envelope *e, struct buf *ret);
/* Appends the same as a local part, or as the address that a login is on some systems. */
void compose_submitter(const struct envelope *e, struct buf *ret);

/* Makes the outgoing envelope: sender by F or login@domain, completed, masqueraded
 * (MASQ_ENVELOPE); recipients completed, the same address twice folded into one.
 * ret is filled from empty; the caller frees it. */
void compose_plan(const struct compose_conf *c, const struct envelope *e,
                  struct plan *ret);

/* Appends the outgoing header, LF line ends, with the empty line that ends it.
 * header: the bytes of the message's header as head_length() delimits them, without its
 * empty line. id: queue id (16 hex digits). origin: id of the message it was split from, for
 * a Message-ID that is the same in all parts; n == 0: never split.
 *
 * First comes Received (RFC 5321 4.4) with uid, client, id and the date from e->time.
 *
 * Then the header's own fields in their order, without Return-Path, Bcc, Resent-Bcc and
 * mbox "From " lines. Addresses in From, Sender, Reply-To, To, Cc and their Resent- forms
 * are completed and, where a rule names the field, masqueraded: nothing but the address
 * (and the name where a rule says so) is changed. A From in which no address can be found
 * becomes X-Original-From.
 *
 * Then Date, Message-ID, From, and "To: undisclosed-recipients:;" if there is neither To,
 * Cc nor Bcc, when missing. A missing Subject is not added: it is optional (RFC 5322 3.6).
 *
 * Control bytes do not get into generated fields. CRs before LF go; lines over
 * COMPOSE_LINE_MAX are folded, at a blank where there is one. Other bytes of the header,
 * lone CRs too, are left to mend and src/smtp/wire.h. */
void compose_header(const struct compose_conf *c, const struct envelope *e, struct str id,
                    struct str origin, struct str header, struct buf *ret);

#endif
