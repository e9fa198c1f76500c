/*
 * desk.h - mailchuted's side of the socket: who comes, how many, and what the child that
 * serves a connection (mailchute-serve) asks for
 *
 * Program code: logs. What a child says is taken as hostile: it can only concern the user
 * whose connection it serves. Nothing here blocks but the commit of a submitted message.
 */
#ifndef DAEMON_DESK_H
#define DAEMON_DESK_H

#include "daemon/verbs.h"
#include <poll.h>

enum {
	DESK_CONNS = 32,
	DESK_ROOT_MORE = 4, /* places that only root gets */
	DESK_PER_UID = 8,
	DESK_PER_SECOND = 20, /* connections of one uid; DESK_BURST at once */
	DESK_BURST = 50,
	DESK_POLLS = DESK_CONNS + DESK_ROOT_MORE + 1,
};

struct desk_ops {
	void (*who)(void *arg, uid_t uid, struct buf *ret_login, struct buf *ret_name);
	/* The groups to attest (envelope.h). May be NULL: none are. */
	void (*groups)(void *arg, uid_t uid, struct buf *ret);
	/* Whose word about its clients is believed (conf.h); -1: nobody's. May be NULL. */
	int64_t (*listener)(void *arg);
	/* May this uid submit now, and how many octets (0: any number)? False: words say
	 * why not. */
	bool (*may)(void *arg, uid_t uid, int64_t *ret_max, struct buf *ret_words);
	/* A message was committed to queue/new. */
	void (*submitted)(void *arg, const struct id *id, uid_t uid, struct str login,
	                  int64_t size);
	/* Try now (route n == 0: all). False: not now, ret_words say why. True: a run
	 * began; desk_answer() is called when it has ended (at once is fine, too). */
	bool (*flush)(void *arg, uid_t uid, struct str route, struct buf *ret_words);
	struct verb_ops verbs;
	void *arg;
};

struct desk;

/* Makes the socket (mode 0666; an old one is replaced; the path at most 107 octets).
 * libexec: where mailchute-serve is. NULL with *ret_errno: mailchuted goes on without. */
struct desk *desk_open(const char *path, struct spool *s, const char *libexec,
                       const struct desk_ops *ops, int *ret_errno);
/* The same without a socket, for one connection that is there already (`mailchute` with the
 * daemon down); its descriptor stays the caller's, to be closed. desk_busy() is false when it
 * has ended. Nobody submits here, and without ops->flush nobody flushes. */
struct desk *desk_single(int connection, uid_t uid, struct spool *s, const char *libexec,
                         const struct desk_ops *ops, int *ret_errno);
/* Ends all connections; removes the socket. As all that follow it takes NULL, too: a desk that
 * could not be opened. */
void desk_close(struct desk *d);
bool desk_busy(const struct desk *d);
/* Fills p (DESK_POLLS of them) with what to wait for; how many. */
size_t desk_polls(struct desk *d, struct pollfd *p);
/* Hears what came; p as desk_polls() gave it. Deadlines too: call it at desk_next(). */
void desk_hear(struct desk *d, const struct pollfd *p, size_t n);
/* Monotonic milliseconds of the next deadline, or -1: as it was when desk_polls() chose what to
 * wait for. Who was not heard then is due, also when that time has come since. */
int64_t desk_next(const struct desk *d);
/* The run that flush began has ended: all that wait for it get these words, status 0; those
 * who are no administrators get the others. */
void desk_answer(struct desk *d, struct str words, struct str others);
/* Does anybody wait for that? Whom ops->flush() is being asked for does not yet. */
bool desk_flushing(const struct desk *d);

#endif
