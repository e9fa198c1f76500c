/*
 * canary.h - does the host throw away the chunk of a BDAT that it refuses?
 *
 * Some announce CHUNKING and do not; with transactions sent ahead of replies the message's
 * text would then be read as commands. So before the first stream to a host it is asked for
 * nobody's mail: MAIL, BDAT of 8 octets with no recipient, RSET, in one group. Yes, no, yes
 * is how it must answer; a host that leaks answers the 8 octets, too.
 *
 * There was a host that answered each BDAT twice. Where replies that have moved by one look like
 * those that have not, a message that was refused would be taken for one that was accepted. So a
 * host whose yes to a message looks like that to RSET, MAIL or RCPT gets no stream; but what has
 * begun before that is known, since MAIL's and RSET's can be told apart, is no loss.
 */
#ifndef SMTP_CANARY_H
#define SMTP_CANARY_H

#include "smtp/session.h"

/* Is it to be asked on this connection? */
bool canary_due(const struct client *c);
/* Puts the group into conn.out; what follows needs no RSET. sender: somebody whom the host
 * would take mail from. */
void canary_put(struct client *c, struct str sender);
/* Takes c->reply for what it answers. 0, or -1 (broken). What was found is in c->canary, and by
 * canary_yes() in c->learned. */
int canary_take(struct client *c, const struct expect *got);
/* How one more yes looks is in c->witness: is that enough? */
void canary_yes(struct client *c);

#endif
