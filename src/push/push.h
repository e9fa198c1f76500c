/*
 * push.h - the inside of mailchute-push: what push.c (connections, records from mailchuted)
 * and deliver.c (the tries of a message) share
 */
#ifndef PUSH_PUSH_H
#define PUSH_PUSH_H

#include "push/aliases.h"
#include "push/report.h"
#include "push/resolve.h"
#include "smtp/client.h"

enum { PUSH_QUEUED_MAX = 64 };

struct queued {
	struct job_record job; /* id and due only */
	int fd, note;
};

struct push {
	struct conf conf;
	const struct smarthost *host;
	struct compose_conf compose;
	struct alias_table aliases;
	struct client_conf cc;
	struct client *client;
	struct buf password, ca, bounce_from;
	struct template template;
	struct target target[RESOLVE_MAX];
	size_t targets;
	struct reporter report;
	struct queued queued[PUSH_QUEUED_MAX];
	size_t queued_n;
	bool stop;          /* no more jobs */
	bool halt;          /* leave what is in hand */
	int64_t accepted;   /* when the host last accepted something, 0: not known */
	int64_t down_since; /* 0: it is not down as far as mailchuted knows */
	struct verdict
	    why;        /* no address was found, or give-up: why there is no connection */
	bool host_told; /* "host" was sent: leave */
	bool no_null;   /* the host refused the sender <> */
	unsigned barren;  /* connections that settled nothing */
	unsigned settled; /* messages settled on this connection */
	unsigned aside;   /* messages put aside since one was settled */
	const struct message *sending;
	char short_name[MESSAGE_NAME_MAX + 1];
};

/* Says that the host is in trouble; push leaves then. */
void push_host(struct push *p, const struct verdict *v);
/* Takes in what mailchuted has sent; waits at most wait_ms for the first packet. */
void push_hear(struct push *p, int wait_ms);
/* Opens a connection to the first address that serves. When there is none, it is said why
 * (push_host()), or the host is given up (report.gave_up), or mailchuted wants us to leave
 * (report.leaving). */
bool push_open(struct push *p);
/* Tries the first message in hand. */
void push_work(struct push *p);

#endif
