/*
 * learned.h - what is remembered about a smart host, from one connection to the next
 *
 * It is about the software that answers, told by a hash of its greeting (without what changes
 * from one connection to the next) and of EHLO's keywords: when that changes, or after 7
 * days, nothing is known. Behind one name there may be several hosts that differ: each of the
 * last few has a record of its own. Pure functions.
 */
#ifndef SMTP_LEARNED_H
#define SMTP_LEARNED_H

#include "base/str.h"

enum {
	LEARNED_SECONDS = 7 * 86400,
	LEARNED_STRIKES =
	    2, /* connections in a row lost with several messages in flight */
	LEARNED_WINDOW_MAX = 100000,
	LEARNED_VAIN_MAX = 0xffff,
	LEARNED_HOSTS = 8, /* that are remembered at a time */
};

/* The ladder. */
enum level {
	LEVEL_LOCKSTEP, /* a command, its reply */
	LEVEL_PIPE,     /* a group of commands; the content; its reply (RFC 2920) */
	LEVEL_COMBO,  /* the content and the next message's group in one (RFC 2920 3.1) */
	LEVEL_STREAM, /* whole transactions with BDAT, many in flight */
};

struct learned {
	uint64_t host;    /* the hash; 0: not known */
	enum level level; /* the highest that may be used */
	bool canary;      /* it throws away the chunk of a refused BDAT */
	unsigned window;  /* messages in flight that went well; 0: not known */
	unsigned strikes;
	unsigned
	    vain; /* mechanisms (auth.h, bit) that it lists, and refuses this account */
	int64_t since; /* clock_real() of what was learned */
};

/* Several, no two of the same host: the one that was talked to last is the first. */
struct learned_hosts {
	struct learned of[LEARNED_HOSTS];
	size_t n;
};

/* Nothing is known of this host. */
void learned_forget(struct learned *l, uint64_t host);
/* Is it still to be believed, of this host? */
bool learned_holds(const struct learned *l, uint64_t host, int64_t now);
/* Nothing above level any more. True: that is new. */
bool learned_demote(struct learned *l, enum level level, int64_t now);
/* A connection was lost while level was in use, and it may be the level's fault: the second
 * time in a row it is. */
void learned_strike(struct learned *l, enum level level, int64_t now);

/* Appends one word of printable ASCII, nothing when nothing is known. */
void learned_print(const struct learned *l, struct buf *b);
/* False, and *ret as it was: malformed. The text may be hostile. */
bool learned_parse(struct str s, struct learned *ret);

/* Puts what is known of a host in front, in place of what was known of it; the one that was not
 * talked to for longest goes when there is no room. */
void learned_keep(struct learned_hosts *all, const struct learned *l);
/* False, and *ret as it was: this host is not among them. */
bool learned_find(const struct learned_hosts *all, uint64_t host, struct learned *ret);
/* Appends them, parted by commas, as many as fit in max octets; nothing when there is none. */
void learned_print_all(const struct learned_hosts *all, size_t max, struct buf *b);
/* What is malformed of it, the text of a later version, and what is too much counts as nothing.
 * The text may be hostile. */
void learned_parse_all(struct str s, struct learned_hosts *ret);

/* The hash of a host, made of pieces: begin with the greeting's text (hostile), add keywords.
 * They are any text, case folded, so that other words are hashed by it, too. */
uint64_t learned_greeting(struct str text);
uint64_t learned_keyword(uint64_t hash, struct str word);

#endif
