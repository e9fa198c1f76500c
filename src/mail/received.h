/*
 * received.h - inside of compose: the Received field that says how a message came (RFC 5321
 * 4.4)
 */
#ifndef MAIL_RECEIVED_H
#define MAIL_RECEIVED_H

#include "mail/compose.h"

enum {
	RECEIVED_WORD_MAX = 255, /* octets of what a client says that go into Received; a
	                          * domain has no more (RFC 5321 4.5.3.1.2) */
};

/* What we are called in Received and Message-ID: the hostname, else the domain, else
 * "mailchute.invalid"; the first that may stand there. */
struct str received_host(const struct compose_conf *c);

/* Appends the field with its line end; host is what received_host() says, date e->time
 * (clock.h). A message of this machine's users:
 *	Received: by HOST (mailchute, from userid UID)
 *		id ID; DATE
 * One of the listener, that is, one with a client in e (the line C; which the caller has
 * blanked when it is not to be believed):
 *	Received: from HELO ([IP]) (authenticated as USER)
 *		by HOST (mailchute) with ESMTPSA
 *		id ID; DATE
 * (of a unix: socket "from HELO (userid UID)")
 * with what is known: words "ip=", "uid=", "helo=", "tls=", "auth=", "with=" in any order, the first of
 * each counts; others are left out. S stands for tls, A for auth (RFC 3848); a client of
 * "with=SMTP", which did not say EHLO, has "with SMTP" when there is neither. A client's words are
 * hostile: what is no host name, address literal or login gets a '?' for each octet that could
 * mean something else. Without a HELO the address stands there, or "unknown". */
void received_add(struct buf *b, struct str host, const struct envelope *e, struct str id,
                  struct str date);

#endif
