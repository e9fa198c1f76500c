#include "mail/dsn.h"
#include "base/clock.h"
#include "mail/dsn_words.h"
#include "mail/envelope.h"
#include "mail/text.h"
#include <assert.h>

enum {
	DSN_HEADER_MAX = 64 << 10 /* octets of the old header that are returned */
};

static void field(struct buf *b, const char *name, const struct buf *value)
{
	dsn_lay_out(b, name, " ", buf_view(value));
}

/* Different for each message and found nowhere in its header. That a sender knows the id
 * before the message has one is not to be feared, but costs little to rule out. */
static void boundary(struct buf *b, const struct dsn *d)
{
	for (unsigned n = 0; n < 1000; n++) {
		size_t start = b->n;

		buf_z(b, "=_");
		dsn_ascii(b, d->id, 32);
		buf_fmt(b, ".%u", n);
		if (d->original_header.n == 0 ||
		    !memmem(d->original_header.p, d->original_header.n, b->p + start,
		            b->n - start))
			return;
		buf_cut(b, start);
	}
	buf_z(b, "=_mailchute");
}

static void part(struct buf *b, const struct dsn *d, const char *what, const char *type)
{
	buf_z(b, "\n--");
	boundary(b, d);
	buf_fmt(b, "\nContent-Description: %s\nContent-Type: %s\n", what, type);
}

/* RFC 3461 4.3: RET=FULL is about failures only. */
static bool whole(const struct dsn *d)
{
	return d->full && dsn_has(d, DSN_FAILED);
}

/* ---- Header ---- */

static void subject(struct buf *b, const struct dsn *d)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	dsn_subject(&text, d);
	field(b, "Subject: ", &text);
}

static void header(struct buf *b, const struct dsn *d)
{
	struct str domain = d->conf->domain.n ? d->conf->domain : d->conf->hostname;
	bool plain = d->to.n <= DSN_WORD_MAX;

	for (size_t i = 0; i < d->to.n; i++)
		plain = plain && d->to.p[i] >= 0x20 && d->to.p[i] < 0x7f;
	buf_z(b, "From: \"Mail Delivery System\" <MAILER-DAEMON");
	if (domain.n) {
		buf_c(b, '@');
		dsn_ascii(b, domain, 255);
	}
	buf_z(b, ">\nTo: ");
	if (plain) {
		buf_z(b, d->to.n > DSN_WIDTH - 6 ? "\n <" : "<");
		buf_str(b, d->to);
		buf_z(b, ">\n");
	} else {
		/* The envelope has it; here it would need SMTPUTF8, or be too long. */
		buf_z(b, "undisclosed-recipients:;\n");
	}
	subject(b, d);
	buf_z(b, "Date: ");
	clock_rfc5322(b, d->now);
	buf_z(b, "\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n"
	         "Content-Type: multipart/report; report-type=delivery-status;\n"
	         " boundary=\"");
	boundary(b, d);
	buf_z(b, "\"\n");
	if (whole(d))
		buf_z(b, "Content-Transfer-Encoding: 8bit\n");
	buf_z(b, "\nThis is a report about a message, in MIME format.\n");
}

/* ---- First part: for people ---- */

static bool needs_encoding(struct str s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		column = c == '\n' ? 0 : column + 1;
		if (column > DSN_WORD_MAX || c >= 0x7f ||
		    (c < 0x20 && c != '\t' && c != '\n'))
			return true;
	}
	return false;
}

static void people(struct buf *b, const struct dsn *d)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	bool encode;

	dsn_words(&text, d);
	/* A template can say "--=_%i.0": in quoted-printable no boundary can occur. */
	encode = needs_encoding(buf_view(&text)) ||
	         (text.n && memmem(text.p, text.n, "--=_", 4));
	part(b, d, "Notification",
	     str_is_ascii(buf_view(&text)) ? "text/plain; charset=us-ascii"
	                                   : "text/plain; charset=utf-8");
	if (encode)
		buf_z(b, "Content-Transfer-Encoding: quoted-printable\n");
	buf_c(b, '\n');
	if (encode)
		text_quoted_printable(b, buf_view(&text));
	else
		buf_str(b, buf_view(&text));
}

/* ---- Second part: for programs (RFC 3464) ---- */

/* The enhanced code (RFC 3463) that a reply begins with, behind its reply code or not, if
 * it is of one of the classes; n == 0: none. */
static struct str enhanced_code(struct str text, int code, const char *classes)
{
	struct str t = str_trim(text), rest, digits;
	uint64_t n;
	size_t len = 1;

	if (t.n > 4 && str_u64(str_head(t, 3), &n) && n == (uint64_t)code &&
	    (t.p[3] == ' ' || t.p[3] == '-'))
		t = str_from(t, 4);
	if (t.n == 0 || str_chr(str_z(classes), t.p[0]) < 0)
		return STR_NONE;
	for (unsigned i = 0; i < 2; i++) {
		if (len >= t.n || t.p[len] != '.')
			return STR_NONE;
		rest = digits = str_from(t, len + 1);
		digits.n = 0;
		while (digits.n < rest.n && rest.p[digits.n] >= '0' &&
		       rest.p[digits.n] <= '9')
			digits.n++;
		if (digits.n == 0 || digits.n > 3)
			return STR_NONE;
		len += 1 + digits.n;
	}
	if (len < t.n && t.p[len] != ' ')
		return STR_NONE;
	return str_head(t, len);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Undoes xtext (RFC 3461 4); what comes out is made printable. */
static void from_xtext(struct buf *b, struct str x)
{
	for (size_t i = 0; i < x.n; i++) {
		struct str one = str_head(str_from(x, i), 1);
		char c;

		if (x.p[i] == '+' && i + 2 < x.n && hex(x.p[i + 1]) >= 0 &&
		    hex(x.p[i + 2]) >= 0) {
			c = (char)(hex(x.p[i + 1]) << 4 | hex(x.p[i + 2]));
			one = (struct str){ &c, 1 };
			i += 2;
		}
		dsn_ascii(b, one, 1);
	}
}

/* Action and Status (RFC 3464 2.3.3, 2.3.4). A delay has a code of class 4 whatever the
 * reply was: a refusal for good can be taken for trouble of the host, and tried again. */
static void outcome(struct buf *b, const struct dsn *d, const struct dsn_rcpt *r)
{
	static const struct {
		const char *action, *classes, *code;
	} rows[] = {
		[DSN_FAILED] = { "failed", "45", "5.0.0" },
		[DSN_DELAYED] = { "delayed", "4", "4.0.0" },
		[DSN_RELAYED] = { "relayed", "2", "2.0.0" },
	};
	struct str code = enhanced_code(r->text, r->code, rows[r->action].classes);

	if (code.n == 0)
		code = str_z(rows[r->action].code);
	/* "Delivery time expired" (RFC 3463 3.5). */
	if (r->action == DSN_FAILED && d->expired && r->code / 100 != 5)
		code = STR("4.4.7");
	buf_fmt(b, "Action: %s\nStatus: ", rows[r->action].action);
	buf_str(b, code);
	buf_c(b, '\n');
}

static void status_rcpt(struct buf *b, const struct dsn *d, const struct dsn_rcpt *r)
{
	_cleanup_buf_ struct buf v = BUF_INIT;
	char number[16];

	buf_c(b, '\n');
	if (r->orcpt.n) {
		from_xtext(&v, r->orcpt);
		field(b, "Original-Recipient: ", &v);
	}
	buf_reset(&v);
	buf_z(&v, "rfc822;");
	dsn_ascii(&v, r->addr, DSN_WORD_MAX - 10);
	field(b, "Final-Recipient: ", &v);
	outcome(b, d, r);
	if (r->action == DSN_DELAYED && d->until > 0) {
		buf_z(b, "Will-Retry-Until: ");
		clock_rfc5322(b, d->until);
		buf_c(b, '\n');
	}
	/* Nobody replied: our own words are of a type of our own. */
	if (r->code == 0 && r->action != DSN_RELAYED && str_trim(r->text).n) {
		buf_reset(&v);
		buf_z(&v, "x-mailchute; ");
		dsn_ascii(&v, str_trim(r->text), DSN_TEXT_MAX);
		field(b, "Diagnostic-Code: ", &v);
	}
	if (r->code == 0)
		return;
	buf_reset(&v);
	buf_z(&v, "dns;");
	dsn_ascii(&v, d->remote, 255);
	if (d->remote.n)
		field(b, "Remote-MTA: ", &v);
	/* RFC 3464 2.3.6: of failures and delays. */
	if (r->action == DSN_RELAYED)
		return;
	buf_reset(&v);
	snprintf(number, sizeof(number), "%d", r->code);
	buf_z(&v, "smtp; ");
	if (!str_starts(str_trim(r->text), str_z(number)))
		buf_fmt(&v, "%s ", number);
	dsn_ascii(&v, str_trim(r->text), DSN_TEXT_MAX);
	field(b, "Diagnostic-Code: ", &v);
}

static void status(struct buf *b, const struct dsn *d)
{
	_cleanup_buf_ struct buf v = BUF_INIT;

	part(b, d, "Delivery report", "message/delivery-status");
	buf_c(b, '\n');
	if (d->envid.n) {
		from_xtext(&v, d->envid);
		field(b, "Original-Envelope-Id: ", &v);
	}
	buf_reset(&v);
	dsn_ascii(&v, d->conf->hostname, 255);
	/* RFC 3464 2.2.2: a type of our own where there is no name in the DNS. */
	if (v.n)
		buf_fmt(b, "Reporting-MTA: dns;%s\n", v.p);
	else
		buf_z(b, "Reporting-MTA: x-local;mailchute\n");
	if (d->arrived > 0) {
		buf_z(b, "Arrival-Date: ");
		clock_rfc5322(b, d->arrived);
		buf_c(b, '\n');
	}
	for (size_t i = 0; i < d->rcpts; i++)
		status_rcpt(b, d, &d->rcpt[i]);
}

/* ---- Third part: the message, or its header ---- */

/* The header without the empty line that ends it, but with its last line end. */
static struct str bare_header(struct str h)
{
	if (h.n == 1 && h.p[0] == '\n')
		return STR("");
	if (h.n > 1 && h.p[h.n - 1] == '\n' && h.p[h.n - 2] == '\n')
		h.n--;
	return h;
}

static void original_header(struct buf *b, const struct dsn *d)
{
	struct str h = bare_header(d->original_header);
	bool encode;

	if (h.n > DSN_HEADER_MAX) {
		ptrdiff_t at = str_rchr(str_head(h, DSN_HEADER_MAX), '\n');

		h = str_head(h, at >= 0 ? (size_t)at + 1 : DSN_HEADER_MAX);
	}
	encode = needs_encoding(h);
	part(b, d,
	     dsn_has(d, DSN_FAILED) ? "Header of the undelivered message"
	                            : "Header of the message",
	     "text/rfc822-headers");
	/* RFC 3462 2: a header that is not legal 7-bit text may be encoded. */
	if (encode)
		buf_z(b, "Content-Transfer-Encoding: quoted-printable\n");
	buf_c(b, '\n');
	if (encode)
		text_quoted_printable(b, h);
	else
		buf_str(b, h);
	if (h.n && h.p[h.n - 1] != '\n')
		buf_c(b, '\n');
}

static void original_message(struct buf *b, const struct dsn *d)
{
	struct str h = bare_header(d->original_header);

	part(b, d, "Undelivered message", "message/rfc822");
	buf_z(b, "Content-Transfer-Encoding: 8bit\n\n");
	buf_str(b, h);
	if (h.n && h.p[h.n - 1] != '\n')
		buf_c(b, '\n');
	buf_c(b, '\n');
}

void dsn_print(struct buf *b, const struct dsn *d, bool *ret_append_body)
{
	struct env_rcpt to = { .addr = d->to };
	struct envelope e = { .has_sender = true, .rcpt = &to, .rcpts = 1 };

	assert(d->to.n && d->rcpts);
	envelope_print_drop(b, &e);
	header(b, d);
	people(b, d);
	status(b, d);
	*ret_append_body = whole(d);
	if (whole(d)) {
		original_message(b, d);
	} else {
		original_header(b, d);
		dsn_end(b, d);
	}
}

void dsn_end(struct buf *b, const struct dsn *d)
{
	buf_z(b, "\n--");
	boundary(b, d);
	buf_z(b, "--\n");
}
