/*
 * resolve.h - the hosts that a smarthost section stands for, found in children with a deadline
 *
 * "srv:DOMAIN" is answered by the SRV records of _submission._tcp (RFC 6186) or, with tls =
 * "implicit", of _submissions._tcp (RFC 8314); a domain that offers only the latter is reached
 * by it also with "starttls", since nothing is lost. "mx:DOMAIN" is answered by its MX records,
 * without any by the domain itself (RFC 5321 5.1). Names go through getaddrinfo(), so that
 * /etc/hosts counts; addresses need nobody.
 *
 * Whom must the certificate of such a host be for? Without DNSSEC the answer is anybody's, so a
 * name that only the answer vouches for is worth nothing: it must be the domain that was asked
 * for, or the host's own name when that is the domain or below it (RFC 6186 section 6). Else
 * tls-name, which overrides both, has to say that another name is right.
 */
#ifndef PUSH_RESOLVE_H
#define PUSH_RESOLVE_H

#include "conf/conf.h"
#include "push/resolve_dns.h"
#include "smtp/race.h"

enum {
	RESOLVE_HOSTS_MAX = 32,
	RESOLVE_ADDRESSES_MAX = RACE_MAX, /* half of them of each kind at most */
	RESOLVE_TIMEOUT_MS = 30000,
};

/* One host: a name and where it is. */
struct target {
	char name[DNS_NAME_MAX + 1];   /* as configured, or as DNS says; for the log */
	char expect[DNS_NAME_MAX + 1]; /* whom its certificate must be for */
	const char
	    *asked; /* NULL, or the "srv:..." or "mx:..." that led here: borrowed */
	unsigned port;
	enum conf_tls tls;
	struct race_address address[RESOLVE_ADDRESSES_MAX];
	size_t addresses;
	int64_t failed; /* clock_ms() of its last failure; 0: none. For reach.c */
};

/* Fills in the hosts of h that have addresses, in the order in which they are to be tried. ret
 * has room for RESOLVE_HOSTS_MAX. Returns how many; ret_why has words about those that were not
 * found, and begins with "cannot find " when there are any. Blocks at most
 * RESOLVE_TIMEOUT_MS; the time is shared, so that one name that gets no answer leaves some for
 * those behind it. h must outlive ret. */
size_t resolve_hosts(const struct smarthost *h, struct target *ret, struct buf *ret_why);

#endif
