/*
 * sm_socket.h - sendmail(8) as a client of mailchuted's socket: the second door, -q, mailq
 *
 * One request a connection (src/README, the socket): "mailchute-socket 1 VERB [arguments]" LF;
 * behind `submit` chunks of 8 hexadecimal digits, LF and that many octets, the one of length
 * 0 commits. The answer: lines behind a tab, then "<code of sysexits(3)> <words>" LF.
 * libc only; nothing here is killed by SIGPIPE.
 */
#ifndef INJECT_SM_SOCKET_H
#define INJECT_SM_SOCKET_H

#include "base/str.h"
#include <sys/socket.h>
#include <sys/un.h>

enum {
	SM_SOCKET_SECONDS = 300, /* without progress: it is given up */
	SM_FLUSH_SECONDS = 3900, /* mailchuted answers after an hour at the latest */
	SM_CHUNK_MAX = 65536,    /* octets of one chunk */
	SM_LAST_MAX = 1000,      /* octets kept of the answer's last line */
};

struct sm_socket {
	int fd;
	int stop_fd;      /* -1, or a descriptor: waiting ends when it can be read from */
	int64_t limit_ms; /* how long it may stand still */
};
#define SM_SOCKET_INIT                                                                 \
	{                                                                              \
		.fd = -1, .stop_fd = -1, .limit_ms = SM_SOCKET_SECONDS * INT64_C(1000) \
	}

/* The socket of a spool: SOCKET_PATH for the compiled-in one, else SPOOL/socket. 0 or
 * -ENAMETOOLONG. */
int sm_socket_path(const char *spool, struct sockaddr_un *ret);
/* Connects. Another spool than the compiled-in one must belong to the caller (-EPERM): nobody's
 * environment leads another user's mail away. 0; -ENOENT, -ECONNREFUSED: no mailchuted; or
 * another -errno. */
int sm_socket_open(struct sm_socket *s, const char *spool);
void sm_socket_close(struct sm_socket *s);
/* Sends all of it. 0; -EPIPE, -ECONNRESET: the other side has ended it or does not read on;
 * nothing can be sent any more, and sm_socket_answer() may say why; -ETIMEDOUT; -ECANCELED:
 * stop_fd; or another -errno. */
int sm_socket_send(struct sm_socket *s, const void *p, size_t n);
/* The same in chunks; n == 0 sends nothing (a chunk of length 0 would commit). */
int sm_socket_chunks(struct sm_socket *s, const void *p, size_t n);

/* An answer, as far as it has come. */
struct sm_answer {
	bool in_line, in_text, done;
	char last[SM_LAST_MAX];
	size_t n;   /* of last */
	int output; /* 0, or -errno of writing the lines */
};

/* Takes some bytes of an answer, hostile or not. The text lines without their tabs are
 * appended to out; a byte that is neither printable ASCII nor TAB becomes '?'. True when the
 * last line is complete: what comes behind it is not looked at. */
bool sm_answer_feed(struct sm_answer *a, struct str in, struct buf *out);
/* The last line's code: 0 or one of sysexits(3); -EBADMSG when it is none (then there are no
 * words). ret_words is borrowed, and may hold any bytes but LF. */
int sm_answer_code(const struct sm_answer *a, struct str *ret_words);
/* Writes all of text, also to a descriptor that somebody else made non-blocking (a terminal's
 * other users, a parent): then it waits for as long as that takes. 0 or -errno. */
int sm_answer_write(int out, struct str text);
/* Reads an answer; its text lines go to the descriptor out as they come (-1: nowhere). 0:
 * it is complete. -ECONNRESET: the connection ended before; -ETIMEDOUT; -ECANCELED; -EIO: see
 * ret->output; or another -errno. */
int sm_socket_answer(struct sm_socket *s, int out, struct sm_answer *ret);

#endif
