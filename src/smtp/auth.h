/*
 * auth.h - SASL mechanisms, the client's side (RFC 4954)
 */
#ifndef SMTP_AUTH_H
#define SMTP_AUTH_H

#include "base/str.h"

enum { AUTH_ROUNDS_MAX = 3 }; /* challenges of one login that are answered */

struct auth_creds {
	struct str user, password;
};

struct auth_mech {
	const char *name; /* as in EHLO, upper case */
	const char *word; /* for the log */
	bool plaintext;   /* shows the password to who listens */
	bool initial;     /* step 0 goes with the AUTH command */
	/* Appends the answer of a step (from 0) to the decoded challenge. 0; -EPROTO:
	 * there is no such step; -EINVAL: these credentials cannot be written in it. */
	int (*answer)(const struct auth_creds *a, unsigned step, struct str challenge,
	              struct buf *ret);
};

/* The best mechanism of EHLO's list (words parted by blanks), NULL: none that we know.
 * only: the one mechanism that may be used; empty or "auto": any. safe: mechanisms that
 * show the password may be used. Hostile input. */
const struct auth_mech *auth_pick(struct str offered, struct str only, bool safe);

/* Base64 (RFC 4648), one line. The decoder is strict: -EBADMSG. */
void auth_base64(struct buf *b, struct str s);
int auth_unbase64(struct buf *b, struct str s);
/* Frees a buffer that held a secret: wiped before. Growing leaves copies behind, so give
 * it buf_room() for all first. */
void auth_wipe(struct buf *b);

#endif
