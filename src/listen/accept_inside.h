/*
 * accept_inside.h - what accept.c shares with the file that opens its places
 */
#ifndef LISTEN_ACCEPT_INSIDE_H
#define LISTEN_ACCEPT_INSIDE_H

#include "listen/accept.h"

/* Takes in those who wait at one of the section's sockets. */
void accept_some(struct acceptor *a, unsigned section, int listener);
/* Tries those that are not open; logged once, until it works. Sets a->reopen_at. */
void places_reopen(struct acceptor *a);
void places_free(struct place *v, size_t n);

#endif
