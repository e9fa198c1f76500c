/* The pass of mend that writes the body */
#include "mail/mend_plan.h"

enum { SHORT_LINE = 76 }; /* RFC 2045 6.7 (5), 6.8 */

/* ---- Text around parts: it cannot be encoded ---- */

static void replace_text(struct mend *m, struct str s, struct buf *out)
{
	bool eightbit = m->scan->host.eightbit;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		/* The blank: what follows must not look like a boundary. */
		if (m->column == MEND_LINE_MAX) {
			buf_z(out, "\n ");
			m->column = 1;
		}
		if (c == '\0' || c == '\r')
			buf_c(out, ' ');
		else
			buf_c(out, c >= 0x80 && !eightbit ? '?' : (char)c);
		m->column++;
	}
}

/* ---- Quoted-printable with lines that are too long ---- */

static void break_for(struct mend *m, struct buf *out, size_t n)
{
	if (m->column + n > SHORT_LINE - 1) {
		buf_z(out, "=\n");
		m->column = 0;
	}
	m->column += n;
}

static void put_escaped(struct mend *m, struct buf *out, char octet)
{
	break_for(m, out, 3);
	buf_fmt(out, "=%02X", (unsigned)(unsigned char)octet);
}

static void put_octet(struct mend *m, struct buf *out, char octet)
{
	unsigned char c = (unsigned char)octet;

	/* No line of ours begins with a hyphen: it would look like a boundary. */
	if (c == '\0' || c == '\r' || c >= 0x80 ||
	    (c == '-' && m->column + 1 > SHORT_LINE - 1)) {
		put_escaped(m, out, octet);
		return;
	}
	break_for(m, out, 1);
	buf_c(out, octet);
}

/* The blanks kept back are followed by text: they are text, too. */
static void put_blanks(struct mend *m, struct buf *out)
{
	for (size_t i = 0; i < m->blanks.n; i++)
		put_octet(m, out, m->blanks.p[i]);
	buf_reset(&m->blanks);
}

/* What was kept back for an escape is none. Some decoders take "==" for one: hence =3D. */
static void put_no_escape(struct mend *m, struct buf *out)
{
	if (m->escape_n == 0)
		return;
	put_escaped(m, out, '=');
	if (m->escape_n == 2)
		put_octet(m, out, m->escape[1]);
	m->escape_n = 0;
	put_blanks(m, out);
}

static bool is_hex(char c)
{
	char l = ascii_lower(c);

	return (c >= '0' && c <= '9') || (l >= 'a' && l <= 'f');
}

static void qp_octet(struct mend *m, char c, struct buf *out)
{
	bool blank = c == ' ' || c == '\t';

	if (m->escape_n && m->blanks.n == 0 && is_hex(c)) {
		if (m->escape_n == 1) {
			m->escape[m->escape_n++] = c;
			return;
		}
		break_for(m, out, 3);
		buf_c(out, '=');
		buf_c(out, m->escape[1]);
		buf_c(out, c);
		m->escape_n = 0;
		return;
	}
	/* "=" and blanks up to the end of a line: a soft break. */
	if (!(m->escape_n == 1 && blank))
		put_no_escape(m, out);
	if (blank && m->blanks.n < MEND_BLANKS_MAX) {
		buf_c(&m->blanks, c);
		return;
	}
	put_no_escape(m, out);
	put_blanks(m, out);
	if (c == '=')
		m->escape[m->escape_n++] = c;
	else
		put_octet(m, out, c);
}

static void qp_eol(struct mend *m, struct buf *out, bool end)
{
	if (m->escape_n == 1) {
		buf_z(out, "=");
		m->escape_n = 0;
	} else {
		put_no_escape(m, out);
	}
	/* RFC 2045 6.7 (3): blanks at the end are none of the text. */
	buf_reset(&m->blanks);
	if (!end)
		buf_c(out, '\n');
	m->column = 0;
}

/* ---- Base64 with lines that are too long ---- */

/* Octets outside the alphabet mean nothing (RFC 2045 6.8). */
static void base64_text(struct mend *m, struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\0' || c == '\r' || c >= 0x80)
			continue;
		if (m->column == SHORT_LINE && c != '-') {
			buf_c(out, '\n');
			m->column = 0;
		} else if (m->column == SHORT_LINE) {
			continue; /* no line of ours looks like a boundary */
		}
		buf_c(out, (char)c);
		m->column++;
	}
}

/* ---- Events ---- */

static void put_text(struct mend *m, const struct mime_event *ev, struct buf *out)
{
	m->open = true;
	/* A multipart that is encoded as a whole has a way of its own. */
	if (ev->between && m->how == MEND_KEEP) {
		replace_text(m, ev->text, out);
		return;
	}
	switch (m->how) {
	case MEND_QP:
		text_qp_add(&m->qp, out, ev->text);
		break;
	case MEND_BASE64:
	case MEND_RAW:
		text_base64_add(&m->base64, out, ev->text);
		break;
	case MEND_SHORTEN_QP:
		for (size_t i = 0; i < ev->text.n; i++)
			qp_octet(m, ev->text.p[i], out);
		break;
	case MEND_SHORTEN_BASE64:
		base64_text(m, ev->text, out);
		break;
	default:
		buf_str(out, ev->text);
	}
}

static void put_eol(struct mend *m, const struct mime_event *ev, struct buf *out)
{
	m->open = false;
	if (m->how == MEND_QP) {
		text_qp_eol(&m->qp, out);
	} else if (m->how == MEND_BASE64) {
		text_base64_add(&m->base64, out, STR("\r\n"));
	} else if (m->how == MEND_RAW) {
		for (unsigned i = 0; i < ev->crs; i++)
			text_base64_add(&m->base64, out, STR("\r"));
		text_base64_add(&m->base64, out, STR("\n"));
	} else if (m->how == MEND_SHORTEN_QP) {
		qp_eol(m, out, false);
	} else {
		buf_c(out, '\n');
		m->column = 0;
	}
}

/* What is kept back of a part goes out, and the next one begins. */
static void part_end(struct mend *m, struct buf *out)
{
	if (m->how == MEND_QP)
		text_qp_end(&m->qp, out);
	else if (m->how == MEND_BASE64 || m->how == MEND_RAW)
		text_base64_end(&m->base64, out);
	else if (m->how == MEND_SHORTEN_QP)
		qp_eol(m, out, true);
	m->qp = (struct text_qp){ .column = 0 };
	m->base64 = (struct text_base64){ .column = 0 };
	m->column = 0;
	m->how = MEND_KEEP;
}

static void put_head(struct mend *m, const struct mime_event *ev, struct buf *out)
{
	const struct mend_scan *s = m->scan;
	unsigned char plan = MEND_KEEP;
	struct mend_label label;

	part_end(m, out);
	if (++m->part < s->plan.n)
		plan = (unsigned char)s->plan.p[m->part];
	mend_label(s, ev->type, plan, &label);
	label.version = label.version && ev->message;
	mend_head(out, ev->text, s->host.eightbit ? MEND_RAW_ANY : MEND_RAW_NONE, &label);
	buf_c(out, '\n');
	m->how = plan & MEND_HOW;
}

static void mend_some(struct mend *m, struct str body, bool end, struct buf *out)
{
	struct mime_event ev;

	while (mime_next(&m->walk, &body, end, &ev)) {
		switch (ev.what) {
		case MIME_HEAD:
			put_head(m, &ev, out);
			break;
		case MIME_BOUNDARY:
			part_end(m, out);
			if (ev.eol)
				buf_c(out, '\n');
			buf_str(out, ev.text);
			buf_c(out, '\n');
			break;
		case MIME_TEXT:
			put_text(m, &ev, out);
			break;
		case MIME_EOL:
			put_eol(m, &ev, out);
			break;
		}
	}
}

void mend_start(struct mend *m, const struct mend_scan *s, struct str header)
{
	*m = (struct mend){ .scan = s };
	mime_start(&m->walk, header);
	m->how = (unsigned char)s->plan.p[0] & MEND_HOW;
}

void mend_add(struct mend *m, struct str body, struct buf *out)
{
	mend_some(m, body, false, out);
}

void mend_end(struct mend *m, struct buf *out)
{
	const struct mime_event eol = { .what = MIME_EOL };
	bool text;

	mend_some(m, STR(""), true, out);
	/* A message ends with a line: so does its text (RFC 5321 4.1.1.4). */
	text = m->how == MEND_QP || m->how == MEND_BASE64;
	if (m->part == 0 && text && m->open)
		put_eol(m, &eol, out);
	part_end(m, out);
}

void mend_free(struct mend *m)
{
	mime_free(&m->walk);
	buf_free(&m->blanks);
}
