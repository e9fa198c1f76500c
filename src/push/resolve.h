/*
 * resolve.h - names of smart hosts, looked up in a child with a deadline
 */
#ifndef PUSH_RESOLVE_H
#define PUSH_RESOLVE_H

#include "base/str.h"
#include <sys/socket.h>

enum { RESOLVE_MAX = 16, RESOLVE_PER_HOST = 4, RESOLVE_TIMEOUT_MS = 30000 };

struct target {
	size_t host; /* index into the list of names */
	socklen_t len;
	struct sockaddr_storage addr;
};

/* Looks up each name ("host", "192.0.2.7", "[192.0.2.7]", "[IPv6:...]") in order. ret has
 * room for RESOLVE_MAX. Returns how many addresses there are; 0 with a reason in ret_why
 * when there is none. Blocks at most RESOLVE_TIMEOUT_MS. */
size_t resolve_hosts(const struct strv *names, int64_t port, struct target *ret,
                     struct buf *ret_why);

#endif
