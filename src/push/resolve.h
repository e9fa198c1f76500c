/*
 * resolve.h - the hosts that a smarthost section stands for, found in children with a deadline
 *
 * "srv:DOMAIN" is answered by the SRV records of _submission._tcp (RFC 6186) or, with tls =
 * "implicit", of _submissions._tcp (RFC 8314); a domain that offers only the latter is reached
 * by it also with "starttls", since nothing is lost. "mx:DOMAIN" is answered by its MX records,
 * without any by the domain itself (RFC 5321 5.1). Names go through getaddrinfo(), so that
 * /etc/hosts counts; addresses need nobody.
 *
 * All that is asked of DNS is asked by a child, one name behind the other, while what it has
 * found already is tried: push itself cannot open /etc/hosts any more then (prog/fence.h).
 *
 * Whom must the certificate of such a host be for? Without DNSSEC the answer is anybody's, so a
 * name that only the answer vouches for is worth nothing: it must be the domain that was asked
 * for, or the host's own name when that is the domain or below it (RFC 6186 section 6). Else
 * tls-name, which overrides both, has to say that another name is right.
 */
#ifndef PUSH_RESOLVE_H
#define PUSH_RESOLVE_H

#include "conf/conf.h"
#include "push/resolve_addr.h"
#include "push/resolve_dns.h"

enum {
	RESOLVE_HOSTS_MAX = 32,
	/* The resolver's own first timeout is 5 s: time for it to ask a second server. The last
	 * name has more; when one got no answer, those behind it have less. */
	RESOLVE_NAME_MS = 8000,
	RESOLVE_LAST_MS = 20000,
	RESOLVE_SILENT_MS = 4000,
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
	/* For reach.c: when it, and each address, failed (clock_real()); 0: it did not. */
	int64_t failed, address_failed[RESOLVE_ADDRESSES_MAX];
};

struct resolver {
	const struct smarthost *h;
	bool more; /* the last host has not come yet */
	int fd;
	pid_t pid; /* 0: no child */
};

/* Begins; blocks for nobody. The child has no descriptor of its parent but its own. h must
 * outlive the targets. 0, or -errno: nothing is found. */
int resolve_begin(struct resolver *r, const struct smarthost *h);
/* The next host that has addresses, in the order in which they are to be tried, at most
 * RESOLVE_HOSTS_MAX in all: true. ret_why gets words about those that were not found in front of
 * it ("cannot find " when it is empty, else "; "). Waits at most wait_ms, and not when cancel_fd's
 * peer hangs up (-1: nobody's); false with r->more: it has not come yet; without: there are no
 * more. */
bool resolve_next(struct resolver *r, int wait_ms, int cancel_fd, struct target *ret,
                  struct buf *ret_why);
/* Ends the child, if there is one. */
void resolve_end(struct resolver *r);

#endif
