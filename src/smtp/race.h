/*
 * race.h - a connection to whichever of a host's addresses answers first
 *
 * As RFC 8305 (Happy Eyeballs): addresses of both kinds in turn, the next one started when the
 * one before has failed, or has said nothing for RACE_DELAY_MS; the first that connects is
 * kept, the others are closed. So an IPv6 that leads nowhere costs a fraction of a second.
 */
#ifndef SMTP_RACE_H
#define SMTP_RACE_H

#include "base/str.h"
#include <sys/socket.h>

enum { RACE_MAX = 8, RACE_DELAY_MS = 250 };

struct race_address {
	socklen_t len;
	struct sockaddr_storage addr;
};

struct race {
	const struct race_address *to; /* in the order of preference */
	size_t n;                      /* those behind RACE_MAX are not tried */
	struct str from;  /* numeric address that is bound; n == 0: the system's choice */
	int64_t deadline; /* clock_ms() */
	int cancel_fd;    /* -1, or a descriptor: given up when its peer hangs up */
};

/* A connected socket (non-blocking, close-on-exec), and *ret_won is the index of its address.
 * Or -ETIMEDOUT, -ECANCELED, -EINVAL (from is no address), or what connect(2) said of the
 * first address; then ret_why has words about each. */
int race_connect(const struct race *r, size_t *ret_won, struct buf *ret_why);

/* Appends the address and the port with words before and between them, as "192.0.2.7 port
 * 587". */
void race_words(const struct race_address *a, struct buf *b, const char *before,
                const char *between);

#endif
