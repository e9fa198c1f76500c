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
#include "mail/trace.h"

enum {
	COMPOSE_MAILBOX_MAX = 50000, /* mailboxes of one header that are looked at; what
	                              * is behind them stays as it is */
	COMPOSE_FOLD = 900, /* octets of a line; a mailbox that would pass it begins a new
	                     * one when its field is rewritten */
	/* Octets of a line (RFC 5322 2.1.1). Longer ones are folded: were they cut, what is
	 * behind the cut would be a field of its own. */
	COMPOSE_LINE_MAX = 998,
};

struct alias_table;

struct compose_conf {
	struct str hostname; /* for Received, Message-ID and %h */
	struct str domain;   /* completes bare addresses: "root" becomes root@domain */
	bool
	    domain_fits; /* it is known to be one that addr_domain_ok() accepts; else it is
	                   * looked at each time */
	struct str nodename; /* this machine's own name; n == 0: not known */
	bool domain_given;   /* domain was configured: it is not this machine's name */
	struct str admin;    /* root's and postmaster's mail; n == 0: none */
	const struct alias_table *aliases; /* alias.h; NULL: none */
	const struct masq_rule *rules;
	size_t rules_n;
	struct strv expose;  /* globs that are never masqueraded */
	struct trace *trace; /* what changed and why, for explain; NULL: not told */
	/* sender-override: who may say who the sender is; users as in masq_rule.user. */
	enum masq_override override;
	struct strv override_user;
	/* The uid that mailchute runs as, whose drops are reports: it may always. */
	uint64_t own_uid;
	/* mailchute-smtpd's: what is read of another's message has no client any more
	 * (push/message.h), so that e->client is believed here. -1: nobody's. */
	int64_t listener_uid;
};

/* The outgoing envelope; what the note's plan keeps. Owns its strings (see plan_free). */
struct plan {
	char *sender; /* "" is the null sender; with ret and envid behind it: one piece */
	char *ret, *envid; /* "" when not given */
	struct plan_rcpt {
		char *addr; /* with notify and orcpt behind it: one piece of memory */
		char *notify, *orcpt; /* "" when not given */
		/* An SMTP reply, "550 5.3.5 ...": nothing is sent to it, and this is what
		 * came of it. NULL: fine. */
		char *refused;
	} * rcpt; /* numbered from 1 in notes, here from 0 */
	size_t rcpts;
};
void plan_free(struct plan *p);
/* Sets sender, ret and envid, which were set before or NULL; copies. */
void plan_from(struct plan *p, struct str sender, struct str ret, struct str envid);
/* Appends a recipient; copies. */
void plan_add(struct plan *p, struct str addr, struct str notify, struct str orcpt);
/* Is it refused for now only, since aliases cannot be read? A plan with one that is still
 * pending is made anew at each try. */
bool plan_waits_for_alias(const struct plan_rcpt *r);
/* Appends the recipients that those of the envelope come to (compose_plan()), at most
 * ENVELOPE_RCPT_MAX. */
void plan_rcpts(const struct compose_conf *c, const struct envelope *e, struct plan *p);
/* Appends those of an old plan; the ones that wait for an alias are looked up again, the
 * others stay as they are. For a part of a message that was split. */
void plan_rcpts_again(const struct compose_conf *c, const struct envelope *e,
                      const struct plan *old, struct plan *p);

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

/* What rules can see of who submitted it. Borrows; the name is the caller's to add. */
struct masq_who compose_who(const struct compose_conf *c, const struct envelope *e);
/* May the submitter say who the sender is (F, From, Sender)? Otherwise the envelope's sender
 * is his own address, or <>; and so is From, unless it is that already: then the field as it
 * was becomes X-Original-From. A Sender that is not his own becomes X-Original-Sender. */
bool compose_may_override(const struct compose_conf *c, const struct envelope *e);
/* Appends the submitter's own address: the login, completed. Unlike compose_submitter() it
 * never believes the hint. */
void compose_own(const struct compose_conf *c, const struct envelope *e, struct buf *ret);
/* Is the address (plain form) the submitter's own, or what masquerade makes of that in one
 * of the places named by where? */
bool compose_is_own(const struct compose_conf *c, const struct envelope *e,
                    unsigned where, struct str addr);

/* Makes the outgoing envelope: sender by F or login@domain, completed, masqueraded
 * (MASQ_ENVELOPE).
 *
 * Recipients of this machine (alias.h says which) go where their alias says. Without one,
 * root, postmaster, abuse and mailer-daemon go to admin, when it is known; others get
 * domain when it was configured, else they go to admin too; what was written with domain
 * stays. Then rules for recipients have their way (MASQ_RECIPIENT), and the same address
 * twice is folded into one, the first. ORCPT and NOTIFY of an alias are those of whom it
 * leads to (RFC 3461 5.2.7); without ORCPT, it says whom the sender meant.
 *
 * ret is filled from empty; the caller frees it. */
void compose_plan(const struct compose_conf *c, const struct envelope *e,
                  struct plan *ret);

/* Appends the outgoing header, LF line ends, with the empty line that ends it.
 * header: the bytes of the message's header as head_length() delimits them, without its
 * empty line. id: queue id (16 hex digits). origin: id of the message it was split from, for
 * a Message-ID that is the same in all parts; n == 0: never split.
 *
 * First comes Received (RFC 5321 4.4; received.h) with uid or client, id and the date from
 * e->time.
 *
 * Then the header's own fields in their order, without Return-Path, Bcc, Resent-Bcc and
 * mbox "From " lines. Addresses in From, Sender, Reply-To, To, Cc and their Resent- forms
 * are completed and, where a rule names the field, masqueraded: nothing but the address
 * (and the name where a rule says so) is changed. A From in which no address can be found
 * becomes X-Original-From.
 *
 * What may be there once only (RFC 5322 3.6; MIME's fields, RFC 2045 3) is there once: of
 * several To or Cc, lists all, one is made where the first stands; of others the first one
 * stays and later ones become X-Original-<name>. Of From and Sender the first counts that
 * has an address; one without becomes X-Original-<name>. Fields of addresses, dates and ids
 * without any content go. A mailbox whose ">" is missing gets it.
 *
 * Then Date, Message-ID, From, and "To: undisclosed-recipients:;" if there is neither To nor
 * Cc, when missing; Sender (the submitter) when From has several mailboxes and there is none
 * (RFC 5322 3.6.2); "Auto-Submitted: auto-generated" (RFC 3834) when cron or anacron wrote
 * it: X-Cron-Env, or a From of "Cron Daemon" or "Anacron". A missing Subject is not added:
 * it is optional (RFC 5322 3.6). Dates and ids are not judged.
 *
 * Control bytes do not get into generated fields. CRs before LF go; lines over
 * COMPOSE_LINE_MAX are folded, at a blank where there is one. Other bytes of the header,
 * lone CRs too, are left to mend and src/smtp/wire.h. */
void compose_header(const struct compose_conf *c, const struct envelope *e, struct str id,
                    struct str origin, struct str header, struct buf *ret);

#endif
