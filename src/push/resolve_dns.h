/*
 * resolve_dns.h - inside of resolve: what DNS answers say, and in which order hosts are tried
 *
 * Pure: the answers come from whoever reached our resolver first, so they are hostile; what is
 * made of them is bounded, and a name in it is made of letters, digits, "-", "_" and dots.
 */
#ifndef PUSH_RESOLVE_DNS_H
#define PUSH_RESOLVE_DNS_H

#include "base/str.h"

enum {
	DNS_NAME_MAX = 253,    /* octets of a name without its final dot (RFC 1035) */
	DNS_RECORDS_MAX = 256, /* those behind them are not looked at */
};

enum dns_type { DNS_SRV, DNS_MX };

struct dns_host {
	char name[DNS_NAME_MAX + 1];
	unsigned port; /* 0 with MX */
	unsigned priority, weight;
};

/* Takes the records out of a whole answer, in its order. ret has room for DNS_RECORDS_MAX. How
 * many; 0: there is none; -ENOTSUP: it says that there is no such service (target ".", RFC
 * 2782, RFC 7505); -EBADMSG: it cannot be read. Records with a name that no host has, or a port
 * of 0, are left out; when there are only such ones it is -EADDRNOTAVAIL. */
ptrdiff_t dns_take(enum dns_type type, const unsigned char *answer, size_t n,
                   struct dns_host *ret);

/* Puts them into the order in which they are to be tried: by priority, within it by chance as
 * the weights say (RFC 2782), alike where all are 0. *seed: any number; the next one comes
 * back. n: at most DNS_RECORDS_MAX. */
void dns_order(struct dns_host *list, size_t n, uint64_t *seed);

/* Is it the name of a host, as above? */
bool dns_name_ok(struct str name);
/* Is it the domain, or below it? */
bool dns_within(struct str name, struct str domain);

#endif
