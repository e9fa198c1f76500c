/*
 * content.h - a message's octets: measured, and encoded for DATA or BDAT
 *
 * A small message is read once: it is measured by encoding it, and the encoded form is kept
 * until the next one is measured. A large one is read twice, in blocks.
 */
#ifndef SMTP_CONTENT_H
#define SMTP_CONTENT_H

#include "smtp/flight.h"

/* What must be known before MAIL: f->size, f->body, f->eightbit. 0 or -errno. */
int content_measure(struct client *c, struct flight *f);
/* Appends the next piece to conn.out (for DATA without the last dot); f->walk.end after the
 * last one. 0 or -errno: it cannot be read, or is not what was measured. */
int content_put(struct client *c, struct flight *f);

#endif
