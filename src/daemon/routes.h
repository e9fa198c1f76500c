/*
 * routes.h - all routes: one for each smart host, and with several the router, which finds
 * out where each new message goes
 *
 * Program code: logs. With one smart host its route reads queue/new itself; with several
 * the router does (mailchute-route, a fenced process), and nobody else.
 */
#ifndef DAEMON_ROUTES_H
#define DAEMON_ROUTES_H

#include "daemon/links.h"
#include "daemon/sched.h"
#include <poll.h>

struct routes {
	struct route **v; /* the first live ones in the order of the file; those behind
	                   * are leaving: the configuration has no such route any more */
	size_t n, live;
	struct route *router; /* NULL with one smart host */
	struct route *reader; /* of queue/new */
	struct route
	    *last_reader;      /* a reload took queue/new from it: until its run has ended
	                            * nobody reads there. NULL: none */
	unsigned long removed; /* messages that gone routes were done with */
	struct links links;
	int64_t settle_at,
	    settle_wait; /* real seconds: journals that are kept are tried again */
	bool left_over;  /* folders of routes that are gone are to be taken over */
};

/* Opens a route for each smart host. 0 or -errno, *ret_name: of which. */
int routes_open(struct routes *rs, struct sched *s, const struct conf *c,
                const char **ret_name);
void routes_close(struct routes *rs);
/* The configuration c is to be in force (from now on, c's smart hosts are referred to): what
 * has the same name goes on, pushes end what they have in hand. 0; -errno: nothing has
 * changed. */
int routes_reload(struct routes *rs, struct sched *s, const struct conf *c, int64_t now);
/* As route_work(), of all; takes over what gone routes left. */
void routes_work(struct routes *rs, struct sched *s, int64_t now);
void routes_news(struct routes *rs);
/* route n == 0: all of them. False: there is no such route. */
bool routes_try_now(struct routes *rs, struct str route, int64_t now, bool all);
/* Somebody asked for a message: routes on hold are asked for what they have. root: see
 * route_asked(). */
void routes_asked(struct routes *rs, int64_t now, bool root);
void routes_due(struct routes *rs);
/* Ends pushes that hang; tries hosts that can be reached again (then routes_work() is due).
 * When to call it again in monotonic ms, or -1. */
int64_t routes_watch(struct routes *rs);
int64_t routes_next(struct routes *rs, int64_t now);
/* Asks every push to leave. */
void routes_stop(struct routes *rs);
bool routes_at_work(const struct routes *rs);
/* Sockets of pushes to wait for; p has room for routes_polls_max(). */
size_t routes_polls_max(const struct routes *rs);
size_t routes_polls(const struct routes *rs, struct pollfd *p);
void routes_hear(struct routes *rs, struct sched *s, const struct pollfd *p, size_t n,
                 int64_t now);
/* The same of all, whoever has something to say: none blocks. */
void routes_hear_all(struct routes *rs, const struct sched *s, int64_t now);
/* Names removed that are not yet durable; making them so. */
unsigned routes_removed(const struct routes *rs);
int routes_sync(struct routes *rs);
/* How many messages were done with, ever. */
unsigned long routes_removed_ever(const struct routes *rs);
/* Has everything been tried that can be tried now? Pushes that only linger are asked to
 * leave. For flush. */
bool routes_quiet(struct routes *rs);
/* One clause about each route that is down: "isp: connect: connection refused". */
void routes_words(const struct routes *rs, bool admin, struct buf *b);
/* What is in the way of mail, a line for each route, the router first: at most max lines, with
 * so many octets of each. */
void routes_trouble(const struct routes *rs, size_t max, size_t octets, struct buf *b);
/* For struct sched: the route called name, or the default one. */
struct route *routes_placed(void *routes, struct str name);
/* The same: is this the journal of a push at work? */
bool routes_journal(void *routes, const struct id *journal);
/* A message in a push's hand: remembers what is to be done with it (see verbs.h). */
bool routes_in_hand(struct routes *rs, const struct id *id, enum verb v, uid_t by);
void routes_state_print(const struct routes *rs, struct buf *b);
/* How many are down at present. */
size_t routes_down(const struct routes *rs);
void routes_state_take(struct routes *rs, struct str line, int64_t now);
void routes_state_taken(struct routes *rs, int64_t now);

#endif
