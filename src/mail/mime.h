/*
 * mime.h - the structure of a message's body (RFC 2045, RFC 2046), as a stream
 *
 * A walk takes the body in pieces of any size and says, piece by piece, what each octet
 * belongs to. Constant memory: boundaries nest to MIME_DEPTH_MAX, the header of a part is
 * kept to MIME_HEAD_MAX octets, a line that may be a boundary to MIME_LINE_MAX. Linear time.
 * However the input is cut, the parts are the same. Input is hostile.
 *
 * A boundary may be written as RFC 2231 has it (boundary*0=, boundary*=), its pieces in order.
 *
 * A line ends in LF with the CRs in front of it, like in smtp/wire.h: fewer than 998.
 * Other CRs are text.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "base/str.h"

enum {
	MIME_DEPTH_MAX = 8,      /* multiparts and messages within each other */
	MIME_BOUNDARY_MAX = 200, /* octets (RFC 2046 5.1.1: 70) */
	/* A boundary's line: "--" at both ends, and blanks. */
	MIME_LINE_MAX = MIME_BOUNDARY_MAX + 100,
	MIME_HEAD_MAX = 65536,
	MIME_NAME_MAX = 60, /* of a type that is kept: "text/plain" */
	MIME_CRS_MAX = 998, /* so many CRs are no line end any more */
};

enum mime_kind {
	MIME_LEAF,
	MIME_MULTIPART, /* its parts are looked at, also when cte says that it is encoded, which
	                 * RFC 2045 6.4 forbids: nearly always it is not */
	MIME_MESSAGE, /* message/rfc822, message/global: so is the message inside */
	MIME_SEALED,  /* must not be changed, or cannot be: .sealed says why */
};

enum mime_cte {
	MIME_CTE_NONE,
	MIME_CTE_7BIT,
	MIME_CTE_8BIT,
	MIME_CTE_BINARY,
	MIME_CTE_QP,
	MIME_CTE_BASE64,
	MIME_CTE_OTHER
};

/* What a header says of what follows it. */
struct mime_type {
	enum mime_kind kind;
	enum mime_cte cte;
	bool typed;   /* there is a Content-Type */
	bool text;    /* text/... , or by default */
	bool plain;   /* text/plain, or by default */
	bool charset; /* it names one */
	bool ascii;   /* ... that is US-ASCII */
	bool
	    wide; /* ... of more than an octet a character, in which LF and CR may be parts
	               * of others: UTF-16 and the like */
	bool digest; /* multipart/digest: its parts are messages by default */
	bool cut;    /* the header is longer than MIME_HEAD_MAX: the rest is text */
	const char *sealed;           /* "it is signed", ... */
	char name[MIME_NAME_MAX + 1]; /* lower case, of letters, digits and "/-+._" */
	char boundary[MIME_BOUNDARY_MAX];
	size_t boundary_n;
};

/* in_digest: what is not typed is a message. */
void mime_type(struct str header, bool in_digest, struct mime_type *ret);

/* Takes the next parameter of a field's body: *ret from behind one ';' to the next, or to
 * the end; at first what stands before the first. Quotes and comments are understood. */
bool mime_segment(struct str *rest, struct str *ret);

/* Octets that s, not empty, begins with in front of a CR or LF; perhaps fewer. In constant time:
 * what searches all of s for LF at each CR is not linear. */
size_t mime_run(struct str s);
/* Octets of the comment that s begins with, nested ones included. */
size_t mime_comment_length(struct str s);

enum mime_what {
	MIME_HEAD, /* the header of a part, or of the message inside one: text, type */
	MIME_TEXT, /* octets without LF; of the part whose header came last, or (between) in
	                * front of a multipart's first part or behind its last. CRs come one
	                * by one */
	MIME_EOL,      /* a line end of that */
	MIME_BOUNDARY, /* a line "--...", text; the line end before it is none of the part's:
	                * no MIME_EOL says it */
};

struct mime_event {
	enum mime_what what;
	struct str text; /* valid until the next call */
	const struct mime_type *type;
	bool message; /* MIME_HEAD: of a message, not of a part */
	bool eol;     /* MIME_BOUNDARY: there is a line end before it */
	bool first; /* MIME_BOUNDARY: with it the first part of the multipart begins whose
	               * header came last */
	bool between; /* MIME_TEXT, MIME_EOL: a multipart's own text */
	unsigned crs; /* MIME_EOL: CRs of the line end */
};

struct mime_frame {
	char boundary[MIME_BOUNDARY_MAX];
	size_t n; /* 0: of a message */
	bool digest;
	unsigned part; /* the number of the part at hand, from 1 */
};

struct mime_walk {
	struct mime_frame frame[MIME_DEPTH_MAX];
	size_t depth;
	struct mime_type type[2]; /* of the last header, and of the one before */
	unsigned last;
	struct buf head, line;
	struct mime_event event[4]; /* to be given */
	unsigned events, given;
	unsigned cr,
	    bare; /* CRs: may belong to a line end; do not, to be given as text */
	unsigned char mode; /* of this line */
	bool in_head;       /* a header is being read */
	bool no_head;       /* ... nothing of it yet: what is in head is an older one */
	bool inner;         /* ... of a message */
	bool between;
	bool eol; /* a line end may belong to the boundary behind it */
	unsigned eol_crs;
	bool ended;
};

/* Begins with the body of the message whose header this is; it need not outlive the call.
 * The walk needs no initialisation before and mime_free() afterwards. */
void mime_start(struct mime_walk *w, struct str header);
/* Gives the next event and takes from *in what it is made of. False: more input is needed;
 * with end (no more comes behind *in): that was all. */
bool mime_next(struct mime_walk *w, struct str *in, bool end, struct mime_event *ret);
void mime_free(struct mime_walk *w);
/* Appends which part the walk is in: "part 2.1", "the message". */
void mime_where(const struct mime_walk *w, struct buf *b);

#endif
