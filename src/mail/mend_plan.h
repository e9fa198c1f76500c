/*
 * mend_plan.h - inside of mend: what the scan leaves to the pass that writes
 *
 * The plan has an octet for each header that the walk meets, the message's first.
 */
#ifndef MAIL_MEND_PLAN_H
#define MAIL_MEND_PLAN_H

#include "mail/mend_head.h"

enum mend_how {
	MEND_KEEP,
	MEND_QP,
	MEND_BASE64,     /* of text: lines end in CRLF */
	MEND_RAW,        /* base64 of the octets as they are */
	MEND_SHORTEN_QP, /* encoded already, with lines that are too long or stray octets */
	MEND_SHORTEN_BASE64, /* the same */
	MEND_HOW = 15,       /* the bits of these */
};

enum mend_charset {
	MEND_CHARSET_SHIFT = 4,
	MEND_CHARSET_NONE = 0 << MEND_CHARSET_SHIFT,
	MEND_CHARSET_ASCII = 1 << MEND_CHARSET_SHIFT,
	MEND_CHARSET_UTF8 = 2 << MEND_CHARSET_SHIFT,
	MEND_CHARSET_UNKNOWN = 3 << MEND_CHARSET_SHIFT,
	MEND_CHARSET = 3 << MEND_CHARSET_SHIFT, /* the bits of these */
};

/* A multipart that says it is encoded, and is not: it has parts as it stands. */
enum { MEND_UNLABEL = 1 << 6 };

/* In mend_scan.done, beside a bit for each mend_how. */
enum mend_done {
	MEND_DONE_REPLACED = 1 << 16,
	MEND_DONE_WORDS = 1 << 17,
};

/* What a header is to say of a part that is treated so. */
void mend_label(const struct mend_scan *s, const struct mime_type *t, unsigned char plan,
                struct mend_label *ret);

#endif
