#include "smtp/wire.h"

static void line_end(struct wire *w, struct buf *out)
{
	buf_add(out, "\r\n", 2);
	w->column = 0;
}

/* Adds octets that are neither CR, LF nor NUL; cuts where a line would get too long. The
 * doubled dot is not counted (RFC 5321 4.5.3.1.6): a legal line is never cut for it. */
static void text(struct wire *w, const char *p, size_t n, struct buf *out)
{
	while (n) {
		size_t k;

		if (w->column == WIRE_LINE_MAX)
			line_end(w, out);
		if (w->column == 0 && w->stuff && *p == '.')
			buf_c(out, '.');
		k = WIRE_LINE_MAX - w->column;
		if (k > n)
			k = n;
		buf_add(out, p, k);
		w->column += k;
		p += k;
		n -= k;
	}
}

/* The CRs held back did not belong to a line end. */
static void bare_crs(struct wire *w, struct buf *out)
{
	for (; w->cr; w->cr--)
		text(w, " ", 1, out);
}

static const char *find(const char *p, const char *end, char c)
{
	const char *hit = p < end ? memchr(p, c, (size_t)(end - p)) : NULL;

	return hit ? hit : end;
}

void wire_encode(struct wire *w, struct str in, struct buf *out)
{
	const char *p = in.p, *end, *lf, *cr, *nul;

	if (!in.n)
		return;
	end = p + in.n;
	lf = find(p, end, '\n');
	cr = find(p, end, '\r');
	nul = find(p, end, '\0');
	/* Each of the three is searched again only when it was passed, so that all of it
	 * is linear, and text without CR and NUL costs one memchr a line. */
	while (p < end) {
		const char *stop;

		if (lf < p)
			lf = find(p, end, '\n');
		if (cr < p)
			cr = find(p, end, '\r');
		if (nul < p)
			nul = find(p, end, '\0');
		stop = lf < cr ? lf : cr;
		stop = stop < nul ? stop : nul;
		if (stop > p || stop == nul)
			bare_crs(w, out);
		text(w, p, (size_t)(stop - p), out);
		p = stop;
		if (p == end)
			break;
		if (p == lf) {
			w->cr = 0;
			line_end(w, out);
		} else if (p == nul) {
			text(w, " ", 1, out);
		} else if (++w->cr == WIRE_LINE_MAX) {
			bare_crs(w, out); /* a limit, so that the count is one too */
		}
		p++;
	}
}

void wire_end(struct wire *w, struct buf *out)
{
	bare_crs(w, out);
	if (w->column)
		line_end(w, out);
}
