/*
 * sm_sink.h - where sendmail(8) puts a message: a file in the drop, or else the socket
 */
#ifndef INJECT_SM_SINK_H
#define INJECT_SM_SINK_H

#include "inject/sm_socket.h"
#include "spool/drop.h"
#include <signal.h>

enum {
	SM_HELD = 256
}; /* octets: one every SM_IDLE_MS for longer than mailchuted waits */

struct sm_sink {
	struct drop drop;
	struct sm_socket socket;
	bool second;        /* it goes to the socket */
	sigset_t ending;    /* signals that end a process, blocked */
	int stop;           /* -1, or a descriptor that tells of one of them */
	char held[SM_HELD]; /* what is not yet sent to the socket */
	size_t held_n;
};
#define SM_SINK_INIT                                                     \
	{                                                                \
		.drop = DROP_INIT, .socket = SM_SOCKET_INIT, .stop = -1, \
	}

/* Opens the first door that is there. The socket is tried only where a file system, a
 * container or a sandbox keeps this process from the drop (EROFS, EACCES, EPERM, ENOENT,
 * ENOTDIR): never when the door is shut or there is no room, since that is mailchuted's
 * answer, and the second door's would be the same.
 * From here to the exit the signals that end a process are blocked, and SIGXFSZ and SIGPIPE.
 * These functions return 0, or a code of sysexits(3) and one line in why; after an error call
 * sm_sink_abort(). Each wait for the socket ends after SM_SOCKET_SECONDS without progress. */
int sm_sink_open(struct sm_sink *k, const char *spool, struct buf *why);
/* Makes k->stop, so that the caller's waiting can end with a signal; fine twice. */
int sm_sink_watch(struct sm_sink *k, struct buf *why);
int sm_sink_write(struct sm_sink *k, const void *p, size_t n, struct buf *why);
/* A sign of life while the caller waits for more to write: mailchuted ends a connection that
 * stands still for a minute. One octet of those held back is sent. */
int sm_sink_idle(struct sm_sink *k, struct buf *why);
/* 0: the message survives a power cut. Else it is not there; but for the socket's answer
 * being lost (EX_TEMPFAIL): then nobody knows, and the line says so. */
int sm_sink_commit(struct sm_sink *k, struct buf *why);
/* Leaves nothing behind and closes what is open. */
void sm_sink_abort(struct sm_sink *k);

/* Appends what, "path" (may be NULL) and the error (0: none); returns code. */
int sm_fail(struct buf *why, int code, const char *what, const char *path, int e);

#endif
