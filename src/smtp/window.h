/*
 * window.h - how many messages may be in flight: arithmetic only, no clock, no connection
 *
 * It grows by three for each message that was accepted whole, which is fourfold in a round
 * trip, while that makes it faster; a 4xx halves it, once for all that was sent before; two
 * transactions in a row that brought nobody anything make it one, and careful.
 */
#ifndef SMTP_WINDOW_H
#define SMTP_WINDOW_H

#include "base/base.h"

enum {
	WINDOW_FIRST = 4, /* after a connection that was lost with many in flight */
	WINDOW_TRUSTED =
	    128, /* when the canary has come back well; growth never stops below */
	WINDOW_OCTETS =
	    1 << 20, /* of messages in flight: about what a dead link can double */
	/* Replies outstanding: 256 KiB at 120 octets each. A client that only writes would
	 * block both sides once the replies fill the socket's buffers (about 32 KiB are safe);
	 * this one reads whenever it writes, so the limit is for its own memory. */
	WINDOW_REPLIES = 256 * 1024 / 120,
	WINDOW_CAREFUL = 2,   /* transactions in a row that failed */
	WINDOW_ROUND_MS = 20, /* a rate is measured over at least so long */
	WINDOW_RTT_MS = 5,    /* the least that is believed of a round trip */
};

struct window {
	unsigned now, max; /* messages in flight at most */
	unsigned failed;   /* transactions in a row that failed for all recipients */
	uint64_t begun;    /* transactions so far: their serial numbers */
	uint64_t cut;      /* serial of the first after the last halving */
	int64_t rtt_ms;
	/* The rate: messages accepted in this round, a second in the best round. */
	int64_t round_at;
	uint64_t round_n, best;
	bool flat; /* the last round was no better than the best */
};

/* first: messages that may be in flight now; max: ever. */
void window_start(struct window *w, unsigned first, unsigned max, int64_t rtt_ms);
/* May one more go out, when with it so many messages, octets and replies are in flight? One
 * alone always may. */
bool window_room(const struct window *w, size_t flights, uint64_t octets, size_t replies);
/* A transaction goes out; its serial number. */
uint64_t window_begin(struct window *w);
/* All of its recipients have the message. now_ms: any clock that does not go back. */
void window_accepted(struct window *w, int64_t now_ms);
/* It met a 4xx. */
void window_later(struct window *w, uint64_t serial);
/* Somebody got the message, or nobody. */
void window_ended(struct window *w, bool somebody);
/* Only what the replies to the recipients allow is to be sent. */
bool window_careful(const struct window *w);

#endif
