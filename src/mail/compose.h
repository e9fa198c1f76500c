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

struct compose_conf {
	struct str hostname; /* for Received, Message-ID and %h */
	struct str domain;   /* completes bare addresses: "root" becomes root@domain */
	struct str admin;    /* for later: root's and postmaster's mail; n == 0: none */
	const struct masq_rule *rules;
	size_t rules_n;
	struct strv expose; /* globs that are never masqueraded */
};

struct planned_rcpt {
	struct str addr;   /* completed */
	struct str notify; /* as in env_rcpt */
	struct str orcpt;
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
void plan_add(struct plan *p, struct str addr, struct str notify, struct str orcpt);

/* Makes the outgoing envelope: sender by F or login@domain, completed, masqueraded
 * (MASQ_ENVELOPE); recipients completed, the same address twice folded into one.
 * ret is filled from empty; the caller frees it. */
void compose_plan(const struct compose_conf *c, const struct envelope *e,
                  struct plan *ret);

/* Appends the outgoing header, LF line ends, with the empty line that ends it.
 * header: the bytes of the message's header as head_length() delimits them, without its
 * empty line. id: queue id (16 hex digits). In this order: Received (RFC 5321 4.4: uid or
 * client, id, date from e->time); then the header's own fields in their order with
 * Return-Path and Bcc, Resent-Bcc left out, From, Sender (and what rules name) completed
 * and masqueraded with nothing but the address (and the name where a rule says so)
 * changed; then Date, Message-ID, From, To (if neither To, Cc nor Bcc:
 * "undisclosed-recipients:;"), Subject (cron-like default: none, an empty Subject is not
 * added; see the .c) when missing. Mbox "From " lines go. Control bytes and CR do not get
 * into generated fields. */
void compose_header(const struct compose_conf *c, const struct envelope *e,
                    const struct plan *p, struct str id, struct str header,
                    struct buf *ret);

#endif
