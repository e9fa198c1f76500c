#include "mail/field_kind.h"

#define NAME(lit) .name = { "" lit, sizeof(lit) - 1 }

const struct field_kind field_kinds[FIELD_KINDS] = {
	[KIND_RETURN_PATH] = { NAME("Return-Path"), .drop = true },
	[KIND_DATE] = { NAME("Date"), .once = true, .text = true },
	[KIND_MESSAGE_ID] = { NAME("Message-ID"), .once = true, .text = true },
	[KIND_FROM] = { NAME("From"), .where = MASQ_FROM, .once = true, .mailbox = true },
	[KIND_SENDER] = { NAME("Sender"), .where = MASQ_SENDER, .once = true,
	                  .mailbox = true },
	[KIND_REPLY_TO] = { NAME("Reply-To"), .where = MASQ_REPLY_TO, .once = true,
	                    .text = true },
	[KIND_TO] = { NAME("To"), .where = MASQ_TO, .once = true, .join = true,
	              .text = true },
	[KIND_CC] = { NAME("Cc"), .where = MASQ_CC, .once = true, .join = true,
	              .text = true },
	[KIND_BCC] = { NAME("Bcc"), .drop = true },
	[KIND_SUBJECT] = { NAME("Subject"), .once = true },
	[KIND_IN_REPLY_TO] = { NAME("In-Reply-To"), .once = true, .text = true },
	[KIND_REFERENCES] = { NAME("References"), .once = true, .text = true },
	[KIND_MIME_VERSION] = { NAME("MIME-Version"), .once = true },
	[KIND_CONTENT_TYPE] = { NAME("Content-Type"), .once = true },
	[KIND_CONTENT_ENCODING] = { NAME("Content-Transfer-Encoding"), .once = true },
	[KIND_RESENT_FROM] = { NAME("Resent-From"), .where = MASQ_FROM | MASQ_RESENT_FROM,
	                       .text = true },
	[KIND_RESENT_SENDER] = { NAME("Resent-Sender"),
	                         .where = MASQ_SENDER | MASQ_RESENT_SENDER,
	                         .text = true },
	[KIND_RESENT_REPLY_TO] = { NAME("Resent-Reply-To"),
	                           .where = MASQ_REPLY_TO | MASQ_RESENT_REPLY_TO,
	                           .text = true },
	[KIND_RESENT_TO] = { NAME("Resent-To"), .where = MASQ_TO | MASQ_RESENT_TO,
	                     .text = true },
	[KIND_RESENT_CC] = { NAME("Resent-Cc"), .where = MASQ_CC | MASQ_RESENT_CC,
	                     .text = true },
	[KIND_RESENT_BCC] = { NAME("Resent-Bcc"), .drop = true },
	[KIND_AUTO_SUBMITTED] = { NAME("Auto-Submitted") },
	[KIND_CRON_ENV] = { NAME("X-Cron-Env") },
};

/* The kinds by the length of their names and the last letter, which tell them apart; two in one
 * slot do not compile. The rest are KIND_OTHER. A test finds each. */
enum { SLOTS = 64 };
#define SLOT(length, last) ((((unsigned char)(last) | 0x20) - 3u * (length)) % SLOTS)

static const unsigned char kind_in[SLOTS] = {
	[SLOT(2, 'c')] = KIND_CC,
	[SLOT(2, 'o')] = KIND_TO,
	[SLOT(3, 'c')] = KIND_BCC,
	[SLOT(4, 'e')] = KIND_DATE,
	[SLOT(4, 'm')] = KIND_FROM,
	[SLOT(6, 'r')] = KIND_SENDER,
	[SLOT(7, 't')] = KIND_SUBJECT,
	[SLOT(8, 'o')] = KIND_REPLY_TO,
	[SLOT(9, 'c')] = KIND_RESENT_CC,
	[SLOT(9, 'o')] = KIND_RESENT_TO,
	[SLOT(10, 'd')] = KIND_MESSAGE_ID,
	[SLOT(10, 's')] = KIND_REFERENCES,
	[SLOT(10, 'c')] = KIND_RESENT_BCC,
	[SLOT(10, 'v')] = KIND_CRON_ENV,
	[SLOT(11, 'o')] = KIND_IN_REPLY_TO,
	[SLOT(11, 'm')] = KIND_RESENT_FROM,
	[SLOT(11, 'h')] = KIND_RETURN_PATH,
	[SLOT(12, 'e')] = KIND_CONTENT_TYPE,
	[SLOT(12, 'n')] = KIND_MIME_VERSION,
	[SLOT(13, 'r')] = KIND_RESENT_SENDER,
	[SLOT(14, 'd')] = KIND_AUTO_SUBMITTED,
	[SLOT(15, 'o')] = KIND_RESENT_REPLY_TO,
	[SLOT(25, 'g')] = KIND_CONTENT_ENCODING,
};

const struct field_kind *field_kind_of(struct str name)
{
	const struct field_kind *k =
	    &field_kinds[kind_in[SLOT((unsigned)name.n, name.p[name.n - 1])]];

	return str_ieq(name, k->name) ? k : &field_kinds[KIND_OTHER];
}
