/*
 * addr.h - addresses of RFC 5322 (with its obsolete forms) and of SMTP
 *
 * Pure text over borrowed bytes; input is hostile (message headers, command lines).
 * Linear time, comments nest to ADDR_DEPTH_MAX (deeper ones end the parse of that field).
 */
#ifndef MAIL_ADDR_H
#define MAIL_ADDR_H

#include "base/str.h"

enum {
	ADDR_DEPTH_MAX = 32,    /* nested comments */
	ADDR_LENGTH_MAX = 1000, /* octets of an envelope address (RFC 5321: 254) */
};

/* One mailbox of an address list, as spans of the source text. */
struct addr {
	/* The addr-spec's bytes between < and > (route included), or bare: from the first
	 * byte of the local part to the last of the domain. Replacing exactly these bytes
	 * rewrites the address. */
	struct str spec;
	struct str local;   /* as it stands, quotes included */
	struct str domain;  /* or [literal], as it stands; n == 0: a bare local part */
	struct str phrase;  /* display name as it stands, trimmed; n == 0: none */
	struct str comment; /* inside of the last comment outside <>; n == 0: none */
	struct str whole;   /* the mailbox with name and comments: what stands between two
	                     * commas, trimmed */
	bool angled;        /* in angle brackets; "<>" gives an empty spec */
	bool open;          /* "<" without ">": a comma or the end stands there; whole and
	                     * spec end with the domain */
};

/* State of a walk over an address list (a header field's unfolded or folded body, or one
 * command line argument). */
struct addr_list {
	struct str rest;
	bool bad; /* something was not an address; what follows it was still looked at */
};

/* Starts a walk. The text must outlive it. */
void addr_list_start(struct addr_list *l, struct str text);
/* Gives the next mailbox. Group names, empty members, comments, folding and commas in
 * quotes are understood (RFC 5322 3.4, 4.4; groups everywhere: RFC 6854), as are marks in
 * the encoded words of a name. False at the end. Text that is no address sets l->bad and
 * is skipped up to the next comma outside quotes and comments; an open address sets it
 * too, but is given. A ';' is taken for a comma also outside groups. */
bool addr_list_next(struct addr_list *l, struct addr *ret);

/* Appends the address in its plain form "local@domain": without comments, folding, blanks
 * and source route; a local part is quoted just where it must be. Nothing is lower-cased.
 * The result is what addr_envelope_ok() accepts, or that refuses it. */
void addr_plain(struct buf *b, const struct addr *a);

/* May these bytes stand in MAIL FROM:<...>, RCPT TO:<...>, a queue file's F or R line?
 * False for: empty, longer than ADDR_LENGTH_MAX, any byte < 0x20 or 0x7f; outside a quoted
 * string a blank or one of < > , ( ) [ ] : ; " or a backslash or a second @; an unclosed
 * quoted string, an empty local part, an empty domain after @, an empty label but behind a
 * last dot, a domain with bytes outside letters, digits, - . _ and >= 0x80 (in a literal,
 * between its [ and ], also :). A bare local part ("root") is fine. The one place where
 * these bytes are judged: used for arguments, headers, queue files and the listener alike. */
bool addr_envelope_ok(struct str a);
/* The same for what stands behind the @: with it, an accepted bare address is accepted too, as
 * long as both are not too long. */
bool addr_domain_ok(struct str d);
/* Is it a dot-atom, or two of them with an @ between, the second a domain? What nearly all
 * addresses are: then it is its own plain form, and addr_envelope_ok() accepts it. */
bool addr_is_simple(struct str a);
/* Is it a dot-atom (RFC 5322 3.2.3; RFC 6532)? Such a local part needs no quotes. */
bool addr_is_dot_atom(struct str s);
/* Appends a local part whose plain characters are raw, quoted just where it must be. */
void addr_local(struct buf *b, struct str raw);
/* Appends the plain characters of a word list (a local part, a display name): quotes and
 * quoted pairs are undone, comments left out, folding and blanks between words are
 * dropped, or become one SP with keep_blanks. */
void addr_words(struct buf *b, struct str words, bool keep_blanks);
/* Has an address that addr_envelope_ok() accepts a domain? */
bool addr_has_domain(struct str a);
/* Splits an address that addr_envelope_ok() accepts at its last @ outside quotes; a bare
 * local part gives an empty domain. */
void addr_split(struct str a, struct str *ret_local, struct str *ret_domain);
/* Does the address match the glob? '*' stands for any run of bytes (also empty), '?' for
 * one; ASCII case folded. Linear in a.n * pattern.n. */
bool addr_glob(struct str pattern, struct str a);

#endif
