/*
 * serve_list.h - what waits, for people and for programs
 *
 * Runs in the fenced process that serves a connection. Messages, notes and the words of
 * smart hosts are hostile; nothing of them gets out but as printable ASCII (serve_text.h).
 * Memory depends on the largest message's envelope and note, not on how many there are.
 */
#ifndef SERVE_SERVE_LIST_H
#define SERVE_SERVE_LIST_H

#include "serve/serve_entry.h"
#include "serve/serve_frame.h"
#include "serve/serve_text.h"

enum {
	LIST_RCPTS_MAX = 50,        /* recipients of a message that the table names */
	LIST_STATE_MAX = 1 << 20,   /* octets of the state file that are read */
	SHOW_HEADER_MAX = 64 << 10, /* octets of a message's header that are shown */
	SHOW_EVENTS_MAX = 1 << 20,  /* results of one message that are shown */
};

struct serve_view {
	int root;         /* the spool's folder */
	uint64_t uid;     /* who asks */
	bool admin;       /* sees every message; others only theirs */
	int64_t listener; /* the uid whose line C is believed; -1: nobody's */
	enum request_format format;
	int64_t now; /* seconds */
	struct out *out;
};

/* Prints what is in the spool, each message as soon as it was read. 0, -EPIPE: nobody
 * listens; -errno. *ret_n: how many messages the viewer was told of. */
int serve_list(const struct serve_view *v, size_t *ret_n);
/* Prints all there is to know of one message. 0; -ENOENT: there is none (that he may know
 * of); -EPIPE; -errno. REQUEST_TEXT or REQUEST_JSON. */
int serve_show(const struct serve_view *v, const struct id *id);

/* Of both: "pending", "delivered", "deferred", "failed". */
const char *serve_rcpt_state(enum note_state s);
/* "hub, next try in 5m": where a message is and what comes next. */
void serve_where(struct buf *b, const struct entry *e, int64_t now);
/* Members of a JSON object for a message, up to and without the recipients. */
void serve_json_entry(struct buf *b, const struct entry *e);
/* {"address":...,"state":...,"code":...,"text":... without the closing brace. */
void serve_json_rcpt(struct buf *b, const struct entry_rcpt *r);

#endif
