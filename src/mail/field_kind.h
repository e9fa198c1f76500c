/*
 * field_kind.h - inside of compose: the fields of a header that it looks at, and what it does
 * with them
 */
#ifndef MAIL_FIELD_KIND_H
#define MAIL_FIELD_KIND_H

#include "mail/masq.h"

enum kind_id {
	KIND_OTHER,
	KIND_RETURN_PATH,
	KIND_DATE,
	KIND_MESSAGE_ID,
	KIND_FROM,
	KIND_SENDER,
	KIND_REPLY_TO,
	KIND_TO,
	KIND_CC,
	KIND_BCC,
	KIND_SUBJECT,
	KIND_IN_REPLY_TO,
	KIND_REFERENCES,
	KIND_MIME_VERSION,
	KIND_CONTENT_TYPE,
	KIND_CONTENT_ENCODING,
	KIND_RESENT_FROM,
	KIND_RESENT_SENDER,
	KIND_RESENT_REPLY_TO,
	KIND_RESENT_TO,
	KIND_RESENT_CC,
	KIND_RESENT_BCC,
	KIND_AUTO_SUBMITTED,
	KIND_CRON_ENV,
	FIELD_KINDS
};

struct field_kind {
	struct str name;
	unsigned where; /* MASQ_ bits of the rules that may rewrite it; 0: no addresses */
	bool drop;
	bool once;    /* a second one is against RFC 5322 3.6 (RFC 2045 for MIME's) */
	bool join;    /* and is made a part of the first */
	bool text;    /* says nothing when empty, and is then against the grammar: goes */
	bool mailbox; /* must name somebody: it goes when it does not */
};

/* By kind_id. */
extern const struct field_kind field_kinds[FIELD_KINDS];
/* The kind of a field of that name (ASCII case does not count; not empty); KIND_OTHER's when
 * there is none. In constant time. */
const struct field_kind *field_kind_of(struct str name);

#endif
