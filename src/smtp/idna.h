/*
 * idna.h - addresses with internationalised domains for hosts that do not know them
 */
#ifndef SMTP_IDNA_H
#define SMTP_IDNA_H

#include "base/str.h"

enum { IDNA_DOMAIN_MAX = 255 }; /* octets of a domain (RFC 5321 4.5.3.1.2) */

/* Appends an address whose local part is ASCII with its domain in A-labels (RFC 5890
 * 2.3.2.1; RFC 6531 3.1 lets a host without SMTPUTF8 have only these). An address that is
 * all ASCII is appended as it is. -EINVAL, and b is as it was: the local part is not
 * ASCII, the domain is no UTF-8 or cannot be an internationalised name, or it gets longer
 * than IDNA_DOMAIN_MAX. Opens no file. Input may be hostile. */
int idna_address(struct buf *b, struct str addr);

#endif
