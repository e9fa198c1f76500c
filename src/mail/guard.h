/*
 * guard.h - messages that go round in a circle
 */
#ifndef MAIL_GUARD_H
#define MAIL_GUARD_H

#include "base/str.h"

enum {
	GUARD_RECEIVED_MAX = 50, /* Received fields (RFC 5321 6.3: at least 100 is the
	                          * limit of a server; a null client is the first hop) */
	GUARD_OWN_MAX = 10, /* of these, ours: people do send on what came from here */
};

/* Has the message been here too often? header: as it came. host: as our Received says "by",
 * id: its queue id, which nothing that is new can have in it. NULL: no; else why, an SMTP
 * reply (a literal). Hostile input; linear. */
const char *guard_loop(struct str header, struct str host, struct str id);

#endif
