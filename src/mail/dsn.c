#include "mail/dsn.h"
#include "base/clock.h"
#include "mail/envelope.h"
#include "mail/head.h"
#include <assert.h>

/* Everything that is not ours (addresses, replies, the subject) is printed as printable
 * ASCII here, so a report needs neither 8BITMIME nor SMTPUTF8; only a whole message that
 * is returned keeps its bytes. */
enum {
	DSN_WIDTH = 76,        /* columns of a line, where there is a blank to break at */
	DSN_WORD_MAX = 900,    /* octets of a word before it is broken anyway */
	DSN_TEXT_MAX = 2000,   /* octets of a reply that are shown */
	DSN_SUBJECT_MAX = 200, /* octets of the old subject that are kept */
	DSN_PEOPLE_MAX = 100,  /* recipients that the plain words name */
	DSN_HEADER_MAX = 64 << 10 /* octets of the old header that are returned */
};

/* Printable ASCII stays, also the backslash: replies come escaped already. */
static void ascii(struct buf *b, struct str s, size_t max)
{
	s = str_head(s, max);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			buf_c(b, '\\');
		else
			buf_escape(b, str_head(str_from(s, i), 1), 1);
	}
}

/* Prints text (printable ASCII) behind first, broken at blanks into lines that go on
 * behind next; ends the last line. */
static void lay_out(struct buf *b, const char *first, const char *next, struct str text)
{
	size_t column = strlen(first);
	struct str word;
	bool fresh = true;

	buf_z(b, first);
	text = str_trim(text);
	while (str_cut(&text, ' ', &word)) {
		while (word.n) {
			struct str piece = str_head(word, DSN_WORD_MAX);
			bool space = !fresh;

			if (column + space + piece.n > DSN_WIDTH &&
			    (space || column > strlen(next))) {
				while (b->n && b->p[b->n - 1] == ' ')
					buf_cut(b, b->n - 1);
				buf_c(b, '\n');
				buf_z(b, next);
				column = strlen(next);
				space = false;
			}
			if (space)
				buf_c(b, ' ');
			buf_str(b, piece);
			column += space + piece.n;
			fresh = false;
			word = str_from(word, piece.n);
		}
	}
	buf_c(b, '\n');
}

static void field(struct buf *b, const char *name, const struct buf *value)
{
	lay_out(b, name, " ", buf_view(value));
}

static const char * or (struct str s, const char *other, struct buf *room)
{
	ascii(room, s, 255);
	return room->n ? room->p : other;
}

/* Different for each message and found nowhere in its header. That a sender knows the id
 * before the message has one is not to be feared, but costs little to rule out. */
static void boundary(struct buf *b, const struct dsn *d)
{
	for (unsigned n = 0; n < 1000; n++) {
		size_t start = b->n;

		buf_z(b, "=_");
		ascii(b, d->id, 32);
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

/* ---- Header ---- */

static void subject(struct buf *b, const struct dsn *d)
{
	_cleanup_buf_ struct buf old = BUF_INIT, text = BUF_INIT;
	struct str rest = d->original_header, words;
	struct head_field f;

	while (head_next(&rest, &f))
		if (str_ieq(f.name, STR("Subject"))) {
			head_unfold(&old, f.body);
			break;
		}
	words = str_trim(buf_view(&old));
	/* Cut between words, so that no encoded word (RFC 2047) is cut in two. */
	if (words.n > DSN_SUBJECT_MAX) {
		ptrdiff_t at = str_rchr(str_head(words, DSN_SUBJECT_MAX), ' ');

		words = at > 0 ? str_head(words, (size_t)at)
		               : str_head(words, DSN_SUBJECT_MAX / 2);
	}
	buf_z(&text, "Undelivered Mail");
	if (words.n)
		buf_z(&text, ": ");
	for (size_t i = 0; i < words.n; i++) {
		char c = words.p[i];

		if (c < 0x20 || c >= 0x7f)
			c = '?';
		buf_c(&text, c);
	}
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
		ascii(b, domain, 255);
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
	if (d->full)
		buf_z(b, "Content-Transfer-Encoding: 8bit\n");
	buf_z(b, "\nThis is a report about a message that could not be delivered, in "
	         "MIME format.\n");
}

/* ---- First part: for people ---- */

static void span_words(struct buf *b, int64_t seconds)
{
	static const struct {
		int64_t unit;
		const char *name;
	} units[] = {
		{ 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" }
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (seconds % units[i].unit == 0) {
			int64_t n = seconds / units[i].unit;

			buf_fmt(b, "%lld %s%s", (long long)n, units[i].name,
			        n == 1 ? "" : "s");
			return;
		}
	}
}

static void people_rcpt(struct buf *b, const struct dsn *d, const struct dsn_rcpt *r)
{
	_cleanup_buf_ struct buf room = BUF_INIT, text = BUF_INIT, says = BUF_INIT;
	const char *remote = or (d->remote, "the mail server", &room);

	buf_c(&text, '<');
	ascii(&text, r->addr, DSN_TEXT_MAX);
	buf_c(&text, '>');
	lay_out(b, "    ", "    ", buf_view(&text));
	buf_reset(&text);
	ascii(&text, str_trim(r->text), DSN_TEXT_MAX);
	if (text.n == 0 && r->code == 0)
		return;
	if (r->code == 0)
		buf_z(&says, "because:");
	else
		buf_fmt(&says, d->expired ? "%s said at last:" : "%s said:", remote);
	lay_out(b, "      ", "      ", buf_view(&says));
	if (text.n == 0)
		buf_fmt(&text, "%d", r->code);
	lay_out(b, "        ", "        ", buf_view(&text));
}

static void people(struct buf *b, const struct dsn *d)
{
	_cleanup_buf_ struct buf room = BUF_INIT, text = BUF_INIT;

	part(b, d, "Notification", "text/plain; charset=us-ascii");
	buf_fmt(&text, "This is the mail relay of %s.",
	        or (d->conf->hostname, "this machine", &room));
	buf_c(b, '\n');
	lay_out(b, "", "", buf_view(&text));
	buf_z(b, "\nYour message could not be delivered to:\n\n");
	for (size_t i = 0; i < d->rcpts && i < DSN_PEOPLE_MAX; i++) {
		if (i)
			buf_c(b, '\n');
		people_rcpt(b, d, &d->rcpt[i]);
	}
	if (d->rcpts > DSN_PEOPLE_MAX)
		buf_fmt(b, "\n    and %zu others, which the next part lists.\n",
		        d->rcpts - DSN_PEOPLE_MAX);
	buf_c(b, '\n');
	buf_reset(&text);
	if (d->expired) {
		buf_z(&text, "This went on for ");
		span_words(&text, d->lifetime);
		buf_z(&text,
		      ". No more tries will be made. If the message still matters, "
		      "send it again; if that fails too, show this report to the "
		      "administrator of this machine.");
	} else {
		buf_z(&text,
		      "No more tries will be made. Look for a mistake in the address. "
		      "If there is none, the words above tell what was wrong: change "
		      "that and send the message again, or show this report to the "
		      "administrator of this machine.");
	}
	lay_out(b, "", "", buf_view(&text));
	buf_z(b, "\nIt was queued here as ");
	ascii(b, d->id, 32);
	if (d->arrived > 0) {
		buf_z(b, " on ");
		clock_rfc5322(b, d->arrived);
	}
	buf_z(b, ".\n");
	buf_z(b, d->full ? "The message itself is attached.\n"
	                 : "The header of the message is attached.\n");
}

/* ---- Second part: for programs (RFC 3464) ---- */

/* The enhanced code (RFC 3463) that a reply begins with, behind its reply code or not;
 * n == 0: none. */
static struct str enhanced_code(struct str text, int code)
{
	struct str t = str_trim(text), rest, digits;
	uint64_t n;
	size_t len = 1;

	if (t.n > 4 && str_u64(str_head(t, 3), &n) && n == (uint64_t)code &&
	    (t.p[3] == ' ' || t.p[3] == '-'))
		t = str_from(t, 4);
	if (t.n == 0 || (t.p[0] != '4' && t.p[0] != '5'))
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
		ascii(b, one, 1);
	}
}

static void status_rcpt(struct buf *b, const struct dsn *d, const struct dsn_rcpt *r)
{
	_cleanup_buf_ struct buf v = BUF_INIT;
	struct str code = enhanced_code(r->text, r->code);
	char number[16];

	buf_c(b, '\n');
	if (r->orcpt.n) {
		from_xtext(&v, r->orcpt);
		field(b, "Original-Recipient: ", &v);
	}
	buf_reset(&v);
	buf_z(&v, "rfc822;");
	ascii(&v, r->addr, DSN_WORD_MAX - 10);
	field(b, "Final-Recipient: ", &v);
	buf_z(b, "Action: failed\nStatus: ");
	buf_str(b, d->expired ? STR("4.4.7") : code.n ? code : STR("5.0.0"));
	buf_c(b, '\n');
	if (r->code == 0)
		return;
	buf_reset(&v);
	buf_z(&v, "dns;");
	ascii(&v, d->remote, 255);
	if (d->remote.n)
		field(b, "Remote-MTA: ", &v);
	buf_reset(&v);
	snprintf(number, sizeof(number), "%d", r->code);
	buf_z(&v, "smtp; ");
	if (!str_starts(str_trim(r->text), str_z(number)))
		buf_fmt(&v, "%s ", number);
	ascii(&v, str_trim(r->text), DSN_TEXT_MAX);
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
	ascii(&v, d->conf->hostname, 255);
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

/* Quoted-printable (RFC 2045 6.7) of text with LF line ends. */
static void quoted_printable(struct buf *b, struct str s)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool last = i + 1 == s.n || s.p[i + 1] == '\n';
		bool plain = (c > 0x20 && c < 0x7f && c != '=') ||
		             ((c == ' ' || c == '\t') && !last);

		if (c == '\n') {
			buf_c(b, '\n');
			column = 0;
			continue;
		}
		if (column + (plain ? 1 : 3) > DSN_WIDTH - 1) {
			buf_z(b, "=\n");
			column = 0;
		}
		if (plain) {
			buf_c(b, (char)c);
			column++;
		} else {
			char x[3] = { '=', digits[c >> 4], digits[c & 15] };

			buf_add(b, x, sizeof(x));
			column += sizeof(x);
		}
	}
}

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
	part(b, d, "Header of the undelivered message", "text/rfc822-headers");
	/* RFC 3462 2: a header that is not legal 7-bit text may be encoded. */
	if (encode)
		buf_z(b, "Content-Transfer-Encoding: quoted-printable\n");
	buf_c(b, '\n');
	if (encode)
		quoted_printable(b, h);
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
	*ret_append_body = d->full;
	if (d->full) {
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
