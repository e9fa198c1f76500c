/*
 * stream.h - the inside of client_stream(): what goes out next, and what came back
 *
 * The levels of the ladder (learned.h) differ in what may be put in before which reply:
 *
 *	lockstep  a command when none is unread
 *	pipe      RSET MAIL RCPT... DATA; the content; the next message after its reply
 *	combo     the next message's group right behind the content, with it in one write
 *	stream    RSET MAIL RCPT... BDAT and content, as many messages as the window lets
 *
 * Messages are in flight in the order in which they went out, and so are their replies: the
 * first is always the one that ends first.
 */
#ifndef SMTP_STREAM_H
#define SMTP_STREAM_H

#include "smtp/flight.h"

enum {
	STREAM_PUT_MAX =
	    128 * 1024,    /* octets in conn.out that the kernel has not taken: with
	                              * so many nothing more is put in */
	STREAM_RTT_MS = 5, /* nearer hosts are as fast with combo ... */
	STREAM_CLEAN = 50, /* ... but for very fast ones: after so many messages on this
	                    * connection that went well. (Postfix on the same machine takes
	                    * 500 a second either way. A sink of ours was given 16,000 by combo,
	                    * a round of two processes for each, and 90,000 by stream.) */
	STREAM_HELD =
	    2, /* messages beside the first that are worth asking for a canary */
	STREAM_FAREWELL = 5, /* seconds between 421 and the end of the connection */
};

struct stream {
	struct client *c;
	const struct client_feed *feed;
	struct flight *first, *last; /* in flight; last may not be all out yet */
	size_t flights;
	uint64_t octets;      /* of those in flight */
	struct flight *again; /* waits for its next transaction; a list, oldest first */
	struct flight *ready; /* measured, for when there is room */
	struct flight *spare; /* not in use; a list */
	struct client_msg *held[STREAM_HELD]; /* taken ahead, for the canary */
	size_t held_n;
	bool dry;   /* next() had nothing */
	bool ended; /* ... and nothing was in flight */
	/* The connection is not to be used for more: only the replies that are due are read. */
	bool over;
	struct verdict why;     /* what the host said; owned */
	struct flight *culprit; /* to whom, NULL: that one is done with */
	int64_t over_until;
	bool bye;     /* the host has said 421... */
	bool went_on; /* ...and yet it went on answering */
};

/* How high may we go with this host, now? */
enum level stream_level(const struct client *c);
/* Are the messages used up that this connection may carry? */
bool stream_used(const struct client *c);
/* Puts into conn.out what may go out next of the last flight, which is not all out. 1: done,
 * call again; 0: replies must come first; -1: broken. */
int stream_put(struct stream *s);
/* The first flight's transaction has ended: back to the feed, or again. */
void stream_finish(struct stream *s);
/* Gives a flight, which is in no list any more, back to the feed. */
void stream_done(struct stream *s, struct flight *f);
/* The connection can carry no more: what is not with the kernel stays here, and the replies
 * to what is are awaited. */
void stream_stop(struct stream *s, enum verdict_kind kind, enum smtp_stage stage);
/* Takes c->reply for what it answers. 0, or -1: broken. */
int stream_take(struct stream *s, const struct expect *got);
/* After the end of the connection: what it says of the level, and everybody's verdict. */
void stream_give_back(struct stream *s);

#endif
