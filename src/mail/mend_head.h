/*
 * mend_head.h - inside of mend: headers that are not legal
 *
 * Linear time. Input is hostile.
 */
#ifndef MAIL_MEND_HEAD_H
#define MAIL_MEND_HEAD_H

#include "mail/mend.h"

/* Which bytes >= 0x80 a header may have. */
enum mend_raw { MEND_RAW_NONE, MEND_RAW_UTF8, MEND_RAW_ANY };

/* What is to be said of the body. */
struct mend_label {
	const char *cte;     /* the new Content-Transfer-Encoding; NULL: as it is */
	const char *charset; /* of a text that names none; NULL: as it is */
	bool version;        /* a MIME-Version is needed */
	int (*address)(struct buf *b, struct str addr); /* of struct mend_host */
};

/* What is illegal in a header (MEND_ bits). */
unsigned mend_head_faults(struct str header, enum mend_raw raw);
/* Appends the header, mended and labelled, LF line ends, without the empty line. Fields that
 * are legal stay as they are. */
void mend_head(struct buf *out, struct str header, enum mend_raw raw,
               const struct mend_label *label);

#endif
