/*
 * explain.h - what becomes of a message, and why: for `mailchute explain`
 *
 * Runs what push runs (message_load, compose_header, conf_route, mend) with a trace, and
 * says what changed. Pure but for reading the descriptors that it is given. Input is
 * hostile; the output holds it as it is: whoever shows it makes it safe for a terminal.
 */
#ifndef PUSH_EXPLAIN_H
#define PUSH_EXPLAIN_H

#include "mail/trace.h"
#include "push/message.h"

enum {
	EXPLAIN_OUT_MAX = 64 << 20, /* octets of the whole output */
	EXPLAIN_ROOM = 4 << 20,    /* a list ends, and says so, when this much is there */
	EXPLAIN_FIELDS_MAX = 2000, /* fields of a header that are compared */
	EXPLAIN_WINDOW = 64,     /* fields within which an unchanged one is found again */
	EXPLAIN_MEND_MAX = 1000, /* entries about what would be mended */
};

enum explain_what {
	EXPLAIN_ALL,
	EXPLAIN_SENDER, /* only the envelope sender and From: for an address */
	EXPLAIN_RCPTS,  /* only the recipients and their routes */
};

struct explain {
	const struct conf *conf;
	const char *conf_path;
	/* As for message_load(); the trace in it is the caller's, empty, and here filled. */
	const struct compose_conf *compose;
	struct id id;
	bool json;
	enum explain_what what;
};

/* A field of the header, or both sides of one that changed. n == 0: it is not there. */
struct explain_field {
	struct str before, after;
	size_t number; /* of before, from 1; 0: it was not there */
	bool same;
};

/* What is known of a message; what explain_text.c prints. */
struct explained {
	const struct explain *x;
	const struct message *m;
	struct explain_field *field;
	size_t fields;
	bool more;        /* there are more than EXPLAIN_FIELDS_MAX */
	bool *used;       /* of each entry of the trace: it was printed */
	struct buf *mend; /* what would be mended: the words for all, then each field */
	size_t mends;
	bool refused;     /* it cannot be mended; then mend says why */
	const char *loop; /* it goes round in a circle: an SMTP reply; NULL: no */
	int64_t size;     /* octets as it would go out, line ends as they are */
};

/* Explains the queue file in fd (and the note, when note >= 0); takes both over. Appends
 * text or one JSON object to ret. 0; -EBADMSG with *ret_why (a literal): it is no message
 * that push could send; or another -errno. */
int explain_message(const struct explain *x, int fd, int note, struct buf *ret,
                    const char **ret_why);

/* Appends why route takes this recipient of this sender: "the only smart host" and so on. */
void explain_route(const struct explain *x, struct str sender, struct str rcpt,
                   size_t route, struct buf *ret);

/* explain_text.c */
void explain_text(struct explained *e, struct buf *b);
void explain_json(struct explained *e, struct buf *b);

#endif
