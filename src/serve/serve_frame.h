/*
 * serve_frame.h - the client's side of the socket, mailchute-socket 1: request and chunks
 *
 * One connection, one request. The client writes
 *	mailchute-socket 1 VERB [arguments] LF          at most REQUEST_MAX octets
 * and gets any number of lines "TAB text LF", and then one line "<code> <words> LF" (code of
 * sysexits(3); 0: done). VERB and its arguments, one blank between:
 *	submit
 *	list [all] [text|mailq|json]
 *	show ID [json]
 *	flush [ROUTE]
 *	hold ID... | release ID... | delete ID...       `all` for the IDs: administrators
 *	retry [recompose] ID...
 * Behind "submit" come the bytes of a drop (mail/envelope.h) as chunks: 8 lower-case
 * hexadecimal digits of length, LF, that many octets. The chunk 00000000 LF commits; what
 * else ends the connection stores nothing. What follows the commit is not read.
 *
 * Everything here is pure text and takes bytes in pieces of any size; all of it is hostile.
 */
#ifndef SERVE_SERVE_FRAME_H
#define SERVE_SERVE_FRAME_H

#include "mail/envelope.h"
#include "spool/id.h"

enum {
	REQUEST_MAX = 4096, /* octets of the request line, LF included */
	CHUNK_HEAD = 9,     /* octets in front of a chunk */
};

enum request_verb {
	REQUEST_SUBMIT,
	REQUEST_LIST,
	REQUEST_SHOW,
	REQUEST_FLUSH,
	REQUEST_HOLD,
	REQUEST_RELEASE,
	REQUEST_DELETE,
	REQUEST_RETRY,
};
enum request_format { REQUEST_TEXT, REQUEST_MAILQ, REQUEST_JSON };

/* Borrowed from the line. */
struct request {
	enum request_verb verb;
	enum request_format format;
	bool all;         /* list all, hold all */
	bool recompose;   /* retry recompose */
	struct str route; /* flush; n == 0: all of them */
	struct str ids;   /* those not yet taken; all are well-formed */
};

/* Takes a request line (without its LF) apart. 0; -EINVAL: *ret_why says in plain words (a
 * literal) what is wrong, and nothing of it is to be done. */
int request_parse(struct str line, struct request *ret, const char **ret_why);
/* The next id. */
bool request_id(struct request *r, struct id *ret);

/* Where we are in the chunks; begins as all 0. */
struct chunks {
	unsigned head; /* octets of the chunk's first line that were taken */
	uint64_t left; /* octets of the chunk still to come */
};
enum chunk { CHUNK_MORE, CHUNK_DATA, CHUNK_END };
/* Takes from *in. CHUNK_DATA: *ret is the next piece, borrowed from *in (not empty);
 * CHUNK_MORE: *in is used up; CHUNK_END: the commit. -EBADMSG: no chunk. */
int chunk_next(struct chunks *c, struct str *in, struct str *ret);

/* Watches a drop that streams by: its envelope is kept (at most ENVELOPE_MAX octets) until
 * its end is there, and then parsed, once. */
struct drop_watch {
	struct buf head; /* attested lines that stand for those to come, then the drop */
	bool good;       /* the envelope is whole and legal */
};
/* The caller frees with drop_watch_free(), also after an error. */
void drop_watch_begin(struct drop_watch *w);
void drop_watch_free(struct drop_watch *w);
/* The drop's next bytes. 0; -EBADMSG: *ret_why says what is damaged (a literal). */
int drop_watch_feed(struct drop_watch *w, struct str data, const char **ret_why);
/* The drop ends here. 0; -EBADMSG: it has no whole envelope. */
int drop_watch_end(const struct drop_watch *w, const char **ret_why);

#endif
