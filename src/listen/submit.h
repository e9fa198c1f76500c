/*
 * submit.h - a session's message on its way into the spool
 *
 * It goes to the drop (spool/drop.h); where a file system or a container keeps this process
 * from it, to mailchuted's socket, as with sendmail(8) (inject/sm_sink.h).
 *
 * One message after the other: submit_sender(), submit_rcpt() ..., submit_begin(),
 * submit_write() ..., submit_commit(). submit_reset() any time; after each error of begin,
 * write and commit nothing of the message is left in the spool (sender and recipients stay
 * until submit_reset()). Signals stay blocked as drop.h and sm_sink.h say.
 */
#ifndef LISTEN_SUBMIT_H
#define LISTEN_SUBMIT_H

#include "inject/sm_sink.h"

struct submit {
	const char *spool;
	struct buf sender, ret, envid;
	struct buf rcpts; /* address, NOTIFY, ORCPT, each with a NUL behind it */
	size_t rcpt_n;
	bool open;        /* a file, or a connection, is */
	bool second;      /* it is a connection: sink, else drop */
	struct buf lines; /* of the envelope, until the first of the content comes */
	struct drop_keep keep;
	struct drop drop;
	struct sm_sink sink;
};
#define SUBMIT_INIT(where)                                                   \
	{                                                                    \
		.spool = (where), .keep = DROP_KEEP_INIT, .drop = DROP_INIT, \
		.sink = SM_SINK_INIT,                                        \
	}

/* What mailchuted takes at present, by its door. 0; or -EBUSY and its words in ret_words. *ret_size
 * (may be NULL): octets of the largest drop, 0: no limit. A door that cannot be read is open. */
int submit_ask(struct submit *s, uint64_t *ret_size, struct buf *ret_words);

/* Values are legal (envelope.h); they are copied. sender.n == 0: the null sender. */
void submit_sender(struct submit *s, struct str sender, struct str ret, struct str envid);
void submit_rcpt(struct submit *s, struct str addr, struct str notify, struct str orcpt);

/* Opens a door and writes the envelope; client: the line C, n == 0: none. These three give 0
 * or -errno, and with it words for the log in ret_why. -EBUSY: mailchuted takes nothing now,
 * the words are for the client as well; -EFBIG: the message is too large; -ENOSPC: less would be left
 * than the door's floors, which are looked at from the beginning (drop.h); -EDQUOT. */
int submit_begin(struct submit *s, struct str client, struct buf *ret_why);
int submit_write(struct submit *s, struct str bytes, struct buf *ret_why);
/* On 0 the message survives a power cut; ret_id: its drop's, empty: it went by the socket. Blocks
 * as long as the disk does, or SM_SOCKET_SECONDS. */
int submit_commit(struct submit *s, struct id *ret_id, struct buf *ret_why);
/* A sign of life where the client makes us wait; needed every SUBMIT_IDLE_MS. */
enum { SUBMIT_IDLE_MS = 15000 };
void submit_idle(struct submit *s);

/* Leaves nothing behind, forgets the envelope. */
void submit_reset(struct submit *s);
void submit_free(struct submit *s);

#endif
