/*
 * place.h - the sockets of the listen sections
 */
#ifndef LISTEN_PLACE_H
#define LISTEN_PLACE_H

#include "base/str.h"

enum { PLACE_SOCKETS = 2, PLACES_GIVEN_MAX = 64 };

/* Where one section listens. */
struct place {
	char *at; /* its title */
	int fd[PLACE_SOCKETS];
	size_t
	    fds; /* ":25" has one of IPv4 and one of IPv6; 0: it could not be opened yet */
	bool given;  /* systemd's, who keeps them */
	bool absent; /* no interface has this address as yet */
	bool told;   /* the log knows that it cannot be opened */
};

/* Descriptors that systemd gave us (sd_listen_fds(3)). */
struct places_given {
	int fd[PLACES_GIVEN_MAX];
	size_t n;
};
/* Finds them by LISTEN_PID and LISTEN_FDS; they become close-on-exec. */
void places_given(struct places_given *ret);

/* Opens where a section with the title at (conf_listen_at() has seen it) listens: the given
 * sockets of that address, or new ones: non-blocking, close-on-exec, listening. A unix: socket
 * gets mode 0666; one that is there already is replaced only if nobody listens there. An address
 * that no interface has gets its socket all the same (IP_FREEBIND). 0, and
 * the caller closes ret with place_close(); or -errno. */
int place_open(const char *at, const struct places_given *given, struct place *ret);
/* One that could not be opened, and that has been logged. */
struct place place_pending(const char *at);
/* Closes its sockets for a while; a unix: socket keeps its name. Not for given ones. */
void place_shut(struct place *p);
/* Opens them anew. 0 or -errno: it stays shut. */
int place_reopen(struct place *p, const struct places_given *given);
/* Closes and forgets; remove: a unix: socket of ours loses its name, if we may. */
void place_close(struct place *p, bool remove);

#endif
