/*
 * sm_input.h - standard input of sendmail(8): a message, from its header to the sink
 *
 * Every byte is hostile. Memory is bounded by the header (HEAD_MAX) and the recipients;
 * the body is streamed.
 */
#ifndef INJECT_SM_INPUT_H
#define INJECT_SM_INPUT_H

#include "inject/sm_args.h"
#include <sys/types.h>

enum {
	SM_BLOCK = 65536,     /* what is read at once */
	SM_BLOCK_MIN = 8,     /* least a caller may offer (tests offer little) */
	SM_WRITER_HOURS = 24, /* a writer ends itself: t.* files are swept after 36 */
	SM_IDLE_MS = 20000,   /* without input: mailchuted gets a sign of life */
};

/* A descriptor with sendmail's rule for a line that is only a dot:
 *	dot_ends false          it is data
 *	dot_ends, a terminal    it ends the input
 *	dot_ends, otherwise     the input ends at its end; a last line "." is dropped
 * A lone dot is ".\n", ".\r\n", or "." at the end of the input. */
struct sm_source {
	int fd;
	bool dot_ends, terminal;
	bool unsure;      /* is it a terminal? asked at the first lone dot */
	int stop_fd;      /* -1, or a descriptor: reading ends when it can be read from */
	int64_t deadline; /* 0, or clock_ms(): reading ends then */
	int64_t idle_ms;  /* SM_IDLE_MS, less in tests */
	/* private */
	bool in_line, ended;
	char held[3]; /* what may yet be the last line, a dot */
	size_t held_n;
};
#define SM_SOURCE(input)                                            \
	{                                                           \
		.fd = (input), .stop_fd = -1, .idle_ms = SM_IDLE_MS \
	}

/* Reads some bytes (n >= SM_BLOCK_MIN). How many, 0 at the end, or -errno; -ECANCELED:
 * stop_fd; -ETIME: deadline, reading can go on after it. EINTR is retried, EAGAIN waited for. */
ssize_t sm_source_read(struct sm_source *s, char *p, size_t n);

/* The beginning of a message. */
struct sm_head {
	struct buf big;       /* where it is when it did not fit the block */
	struct str text;      /* what was read: the header and what came with it */
	size_t header, empty; /* see head_length(); header is with the empty line */
	bool complete;        /* text is the whole message */
};

/* Reads until the header's end is known, and at least until the block is full or the
 * input ends: what fits one block is read wholly. 0; -EFBIG: the header is longer than
 * HEAD_MAX; or -errno of the source. ret->text borrows from block or ret->big. */
int sm_head_read(struct sm_source *s, char *block, size_t n, struct sm_head *ret);

/* Adds the recipients of To, Cc and Bcc, or, when there is any of these, of Resent-To,
 * Resent-Cc and Resent-Bcc (RFC 5322 3.6.6). 0 or EX_DATAERR with one line in ret_why: one
 * that cannot be sent to refuses the message, so that the caller knows. */
int sm_head_rcpts(struct str header, struct sm_rcpts *r, struct buf *ret_why);
/* Appends the header without its Bcc and Resent-Bcc fields; other bytes as they are. */
void sm_head_print(struct buf *b, struct str header);

/* Reads a message and stores it. args says how; rcpts are completed from the header with
 * -t. block, n: room for reading. 0: it is committed (see sm_sink_commit()), signals are
 * blocked; or a code of sysexits(3), one line in ret_why, and no file of ours is left.
 * From the creation of the file on (the request at the socket), signals that end a process
 * end this with EX_TEMPFAIL. */
int sm_submit(struct sm_source *s, struct sm_args *args, const char *spool, char *block,
              size_t n, struct buf *ret_why);

#endif
