/*
 * policy.h - who may send what to whom: pure functions over a client's words
 */
#ifndef LISTEN_POLICY_H
#define LISTEN_POLICY_H

#include "conf/conf.h"

/* Is the address (numeric) in the network ("192.0.2.0/24", "2001:db8::1")? */
bool policy_in_network(struct str network, struct str ip);

/* The address of MAIL or RCPT, as it is stored: without a source route (RFC 5321 C). False: it
 * is none that addr_envelope_ok() accepts; the null sender is not one either. Hostile. */
bool policy_address(struct str given, struct str *ret);

/* Does one of the patterns match, once a bare local part is completed with domain? No pattern
 * at all: yes. */
bool policy_listed(const struct strv *patterns, struct str addr, struct str domain);

/* Postmaster, without a domain: must always be let through (RFC 5321 4.5.1). */
bool policy_postmaster(struct str addr);

/* What is known of a client, for the line C of a drop: words parted by blanks, as in
 *	ip=192.0.2.7 helo=printer tls=1.3 auth=ann port=25 with=SMTP
 *	uid=1000 helo=pine
 * uid is the kernel's word on who has the other end of a unix: socket.
 * Each is there when it is known; with=SMTP only for a client without EHLO. In a value all but printable ASCII, and blank, = and \,
 * is \xNN: so no client can put on another word. */
struct policy_client {
	struct str ip, helo, tls, auth;
	int port;  /* 0: none */
	bool smtp; /* it said HELO, or nothing: not EHLO */
	struct str uid;
};
enum { POLICY_VALUE_MAX = 255 }; /* octets of a value, before they are escaped */
void policy_client_line(struct buf *b, const struct policy_client *c);

#endif
