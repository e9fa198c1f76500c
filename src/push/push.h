/*
 * push.h - the inside of mailchute-push: what its files share
 *
 * push.c prepares and closes the fence; hear.c takes in what mailchuted sends; reach.c opens
 * connections; deliver.c feeds them (client_stream()); judge.c says what the verdicts come to.
 */
#ifndef PUSH_PUSH_H
#define PUSH_PUSH_H

#include "push/aliases.h"
#include "push/hand.h"
#include "push/resolve.h"
#include "push/secret.h"

enum { PUSH_LINGER_MS = 5000 };

struct push {
	struct conf conf;
	const struct smarthost *host;
	struct compose_conf compose;
	struct alias_table aliases;
	struct client_conf cc;
	struct client *client;
	struct buf password, ca, bounce_from, learned;
	struct secret secret;
	bool no_secret; /* it could not be had, which is no host's fault */
	struct buf tls_certificate, tls_key;
	/* What mailchuted kept in memory: of TLS, and behind a semicolon secret_print()'s. */
	struct buf ticket;
	struct str kept; /* the latter */
	struct template template;
	struct target target[RESOLVE_HOSTS_MAX]; /* in the order of a whole run */
	size_t targets;
	struct resolver resolver; /* where the rest of them comes from */
	struct buf missing;       /* about those that were not found, not said yet */
	struct target *at;        /* that we talk or talked to; NULL: none yet */
	/* In this attempt it was not waited for to the end, for the sake of others. */
	struct target *slow;
	struct race_address slow_at;
	struct reporter report;
	struct hand hand;
	struct try *ready; /* read, and not sent yet, since there was no connection */
	struct job_batch *batch;
	struct client_feed feed;
	bool stop;          /* no more jobs */
	bool halt;          /* leave what is in hand */
	int64_t accepted;   /* when the host last accepted something, 0: not known */
	int64_t down_since; /* 0: it is not down as far as mailchuted knows */
	/* clock_real_ms() and clock_steady_ms() of push's start; 0: not known */
	int64_t began_real, began;
	/* give-up: why there is no connection. */
	struct verdict why;
	bool host_told;      /* "host" was sent: leave */
	bool no_null;        /* the host refused the sender <> */
	bool flushes;        /* the engine calls feed.flush */
	bool commits;        /* the journal's "s" of some message is not written yet */
	unsigned connection; /* its number */
	unsigned barren;     /* connections in a row that settled nothing */
	unsigned settled;    /* messages settled on this connection */
	bool moved;          /* something came of this connection */
	unsigned aside;      /* messages put aside since one was settled */
	unsigned
	    throttled; /* messages in a row that were answered as by a host that throttles */
	bool served; /* the host has taken something in this run */
	bool slow_told;
	unsigned asked;      /* calls of next() since mailchuted was heard */
	struct verdict lost; /* the first that ended in doubt on this connection */
	uint64_t took_messages, took_rcpts;
	int64_t took_told; /* clock_ms() */
	char short_name[MESSAGE_NAME_MAX + 1];
};

/* ---- hear.c ---- */

/* Says that the host is in trouble; push leaves then. */
void push_host(struct push *p, const struct verdict *v);
/* Takes in what mailchuted has sent; waits at most wait_ms for the first packet. */
void push_hear(struct push *p, int wait_ms);
/* Writes the journal, and tells mailchuted. */
void push_flush(struct push *p);
/* Gives mailchuted what the next push can resume TLS by. */
void push_ticket(struct push *p);

/* ---- reach.c ---- */

/* Opens a connection to the first host that serves; those that failed lately come last. When there is none, it is said why
 * (push_host()), or the host is given up (report.gave_up), or mailchuted wants us to leave
 * (report.leaving). */
bool push_open(struct push *p);
/* Trouble of the host in the middle of a connection: is there another host that may do better?
 * Then the next push_open() tries that first. */
bool push_elsewhere(struct push *p, const struct verdict *why);
/* Makes up what the next push is told of the hosts: client, which client_learned() gave, and which
 * hosts and addresses failed lately, in words that the client takes for none of its own. Empty:
 * nothing, as before. */
void push_learned(const struct push *p, struct str client, struct buf *ret);
/* Logs that a host (relay; n == 0: it was not found) is passed over for another one. */
void push_skipped(struct push *p, struct str relay, struct str why);
/* For client_conf.secret: what password-command or token-command gives. */
int push_secret(void *push, struct str *ret, struct buf *ret_why);

/* ---- deliver.c ---- */

/* Tries what is in hand and what comes, until there is nothing for a while, or there is a
 * reason to leave. */
void push_serve(struct push *p);

/* ---- judge.c ---- */

/* clock_real(). Sees whether it was set ahead since push's start (report.jumped): mailchuted
 * saw to what it did before. The time that the machine slept counts as such, too: nobody tried. */
int64_t push_now(struct push *p);
/* Recipients that no host is asked for get their verdicts. True: there are no others. */
bool judge_here(const struct push *p, struct try *t);
/* The verdicts of one try, as far as they are final, become records. What is not settled goes
 * behind the others, if there are any. */
void judge_outcome(struct push *p, struct try *t, bool others);
/* The host was given up: so is the message, or it is put off. */
void judge_give_up(struct push *p, struct try *t);
/* The message cannot be read now. */
void judge_unreadable(struct push *p, const struct message *m, int error);
/* Is the sender blamed for some refusal? */
bool judge_blames_sender(const struct try *t);
/* Was the sender <> refused? Then the recipients concerned wait to be tried with bounce-from
 * (RECONNECT), and mailchuted is told. */
bool judge_refuses_null(struct push *p, struct try *t);
/* Does the host throttle? Said once. */
void judge_pace(struct push *p, const struct try *t, bool done);

#endif
