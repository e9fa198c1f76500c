/*
 * mending.h - a message as the smart host at hand takes it (mail/mend.h)
 */
#ifndef PUSH_MENDING_H
#define PUSH_MENDING_H

#include "mail/mend.h"
#include "push/message.h"
#include "smtp/client.h"

enum { MENDING_BLOCK = 32768 };

struct mending {
	const struct message *m;
	struct mend_host host;
	unsigned header_faults, body_faults;
	struct mend_scan scan;
	struct buf header; /* mended; empty: as it was composed */
	/* The body's source: */
	struct mend mend;
	int64_t at; /* octets read of it */
	bool end;
	struct buf ready; /* to be given, from .given on */
	size_t given;
	struct client_body body;
	char *block; /* of the file, where the message's text is not all of it */
};

/* Reads the message's body, and again when it is not legal for this host, and finds out what
 * is to be done. 0 or -errno: it cannot be read. The struct must not move, message and its
 * header outlive it; mending_free() in any case. */
int mending_start(struct mending *g, const struct message *m, const struct mend_host *h);
void mending_free(struct mending *g);
/* n > 0: it must not be sent: an enhanced status code and words. */
struct str mending_refusal(const struct mending *g);
/* Was anything changed? */
bool mending_any(const struct mending *g);
/* What is sent instead. */
void mending_apply(struct mending *g, struct client_msg *msg);
/* Appends for the log: why="8-bit" how="quoted-printable" [dkim=broken]. */
void mending_words(const struct mending *g, struct buf *b);

#endif
