/*
 * mend.h - content that a smart host does not take, made so that it does, without loss
 *
 * Illegal are: NUL, a CR that is no line end, lines over 998 octets; bytes >= 0x80 in the
 * body where the host does not offer 8BITMIME, and in the header where SMTPUTF8 is not used.
 * A message that has none of these is never touched.
 *
 * Each part of the body is mended on its own: one that is not encoded becomes
 * quoted-printable, or base64 when over a third of it would be escaped; its lines are lines
 * before and afterwards (RFC 2045 6.7, canonical form: CRLF), other CRs and NULs are kept as
 * =0D and =00. What is no text and holds CRs or NULs, or says it is binary, is base64 of its
 * octets as they are. Encoded parts get shorter lines. The header gets encoded words (RFC
 * 2047), extended parameters (RFC 2231), and, where neither may stand, what RFC 6857 has: a
 * mailbox becomes an empty group with the address as its name (unless the host's address()
 * can write it in ASCII), other fields get the name Downgraded-... .
 *
 * Text that says it is US-ASCII and has bytes >= 0x80 gets a charset as if it named none: UTF-8
 * where it is that, unknown-8bit (RFC 1428) for other plain text. Other names are believed.
 * Text in UTF-16 and its like has no lines: base64 of its octets as they are.
 *
 * A multipart that says it is quoted-printable or base64 (RFC 2045 6.4 forbids that) and has
 * its boundary in it is not encoded: its parts are mended, and it is labelled as what it is then.
 * One without is encoded as a whole, and gets shorter lines.
 *
 * Text around the parts of a multipart cannot be encoded: there what is illegal becomes '?'
 * or SP, and long lines are broken; how says "replaced".
 *
 * Refused is what must not be changed or cannot be: see mime.h's .sealed, text with OpenPGP in
 * it, and a multipart whose boundary never comes: all of it is text that cannot be encoded.
 *
 * Pure, streaming, linear, in constant memory; however the body is cut into pieces, what
 * comes out is the same. All input is hostile.
 */
#ifndef MAIL_MEND_H
#define MAIL_MEND_H

#include "mail/mime.h"
#include "mail/text.h"

enum {
	MEND_LINE_MAX = 998,    /* octets (RFC 5322 2.1.1) */
	MEND_PARTS_MAX = 10000, /* parts of one message */
	MEND_BLANKS_MAX = 1000, /* blanks at the end of a quoted-printable line that are
	                         * known to be none of the text */
};

/* What the host takes. All false: nothing but what every host does. */
struct mend_host {
	bool eightbit; /* 8BITMIME */
	bool utf8;     /* SMTPUTF8 is offered and used for this message */
	/* Appends an address with its domain in A-labels; below 0, and b is as it was:
	 * cannot be. NULL: none can. */
	int (*address)(struct buf *b, struct str addr);
};

enum mend_fault {
	MEND_8BIT = 1 << 0,
	MEND_LONG = 1 << 1,
	MEND_CR = 1 << 2,
	MEND_NUL = 1 << 3,
	MEND_HEADER = 1 << 4, /* any of these, in a header */
};

/* ---- Is a body legal? Most are, and then nothing else is needed. ---- */

struct mend_look {
	unsigned faults; /* so far; MEND_8BIT whatever the host */
	size_t column;
	unsigned cr;
};

/* Zeroed first. */
void mend_look_add(struct mend_look *l, struct str s);
/* No more comes: all faults that count for the host. */
unsigned mend_look_end(struct mend_look *l, const struct mend_host *h);

/* ---- What is to be done? A walk over all of a body that is not. ---- */

struct mend_stat {
	unsigned faults;
	bool eightbit, pgp;
	struct text_utf8 utf8;
	uint64_t octets, coded; /* of these quoted-printable would escape */
	size_t column;
	char start[40]; /* of the line */
};

struct mend_scan {
	struct mend_host host;
	struct mime_walk walk;
	struct mime_type type; /* of the part at hand */
	struct mend_stat stat;
	struct buf plan; /* an octet a part */
	bool between;
	bool unbegun;          /* ... in front of a multipart's first part */
	unsigned faults, done; /* of all parts; what is done about it */
	struct buf where;      /* "part 2.1" */
	struct buf refusal;
};

/* header: the message's, with its empty line; it must outlive the scan. body_faults: what
 * mend_look_end() said; 0: the body is legal, and nothing is added. mend_scan_free() in any
 * case. */
void mend_scan_start(struct mend_scan *s, const struct mend_host *h, struct str header);
void mend_scan_add(struct mend_scan *s, struct str body);
void mend_scan_end(struct mend_scan *s);
void mend_scan_free(struct mend_scan *s);

/* n > 0: it cannot be mended. An enhanced status code and words. Borrowed. */
struct str mend_refusal(const struct mend_scan *s);
/* Appends the header to be sent instead, with its empty line. scan NULL: the body is legal, and
 * stays as it is. */
void mend_header(const struct mend_scan *s, const struct mend_host *h, struct str header,
                 struct buf *out);
/* MEND_ bits of a message's header. */
unsigned mend_header_faults(const struct mend_host *h, struct str header);

/* Appends for people and the log what was illegal ("8-bit, long lines"), and what was done
 * ("quoted-printable, encoded words"). header: mend_header_faults(); s may be NULL. */
void mend_words(const struct mend_scan *s, unsigned header, struct buf *why,
                struct buf *how);

/* ---- The body to be sent instead ---- */

struct mend {
	const struct mend_scan *scan;
	struct mime_walk walk;
	size_t part;
	unsigned char how;
	bool open; /* octets since the last line end */
	struct text_qp qp;
	struct text_base64 base64;
	size_t column;  /* of text that is broken */
	char escape[2]; /* '=' and what followed it, of encoded text */
	unsigned escape_n;
	struct buf blanks;
};

/* Begins; the same for each pass. The scan has ended, without refusal, and outlives it; so
 * does header. mend_free() in any case. */
void mend_start(struct mend *m, const struct mend_scan *s, struct str header);
/* Appends to out what comes of the next octets of the body. LF line ends. */
void mend_add(struct mend *m, struct str body, struct buf *out);
void mend_end(struct mend *m, struct buf *out);
void mend_free(struct mend *m);

#endif
