/*
 * ask.h - a request over mailchuted's socket, and its answer on standard output
 */
#ifndef ADMIN_ASK_H
#define ADMIN_ASK_H

#include "daemon/desk.h"
#include <sys/un.h>

enum {
	ASK_REQUEST_MAX = 4096, /* octets of a request, LF included */
	ASK_WAIT_MS =
	    3900000, /* mailchuted answers a flush after an hour at the latest */
};

/* The socket: socket when it is given, else that of the spool. 0 or -ENAMETOOLONG. */
int ask_path(const char *socket, const char *spool, struct sockaddr_un *ret);
/* Connects. Descriptor; -ENOENT, -ECONNREFUSED: no mailchuted; -errno. Blocks while its
 * backlog is full. */
int ask_connect(const struct sockaddr_un *a);
/* Sends request ("VERB arguments") and writes the lines of the answer to standard output as
 * they come, bytes that could do something to a terminal as '?'. d: the other end of fd is
 * at this desk, or NULL. Returns the answer's code of sysexits(3), its words in ret; or one
 * of our own: EX_TEMPFAIL when the connection is cut or nothing comes for ASK_WAIT_MS,
 * EX_PROTOCOL, EX_IOERR. The answer may be hostile. */
int ask(int fd, struct desk *d, struct str request, struct buf *ret);

#endif
