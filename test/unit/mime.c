/* The walk over a body: which octets belong to what, however the input is cut. */
#include "mail/mime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Writes what the walk says: "H..." headers, "t..." text, "b..." text between parts, "/" line
 * ends, "=..." boundaries ("/=" with a line end before). Neighbouring text is one. */
static void add_event(struct buf *b, const struct mime_event *ev, char *last)
{
	char kind = ev->between ? 'b' : 't';

	switch (ev->what) {
	case MIME_HEAD:
		buf_z(b, ev->message ? "|M:" : "|H:");
		buf_escape(b, ev->text, 200);
		buf_fmt(b, "(%s%s)", ev->type->name, ev->type->sealed ? " sealed" : "");
		kind = '\0';
		break;
	case MIME_TEXT:
		if (*last != kind)
			buf_fmt(b, "|%c:", kind);
		buf_escape(b, ev->text, 200);
		break;
	case MIME_EOL:
		if (*last != kind)
			buf_fmt(b, "|%c:", kind);
		buf_c(b, '/');
		break;
	case MIME_BOUNDARY:
		buf_z(b, ev->eol ? "|/=" : "|=");
		buf_escape(b, ev->text, 200);
		kind = '\0';
		break;
	}
	*last = kind;
}

static void walk(struct str header, struct str body, size_t cut, struct buf *b)
{
	struct mime_walk w;
	struct mime_event ev;
	char last = '\0';

	mime_start(&w, header);
	for (size_t at = 0; at < body.n; at += cut) {
		struct str in = str_head(str_from(body, at), cut);

		while (mime_next(&w, &in, false, &ev))
			add_event(b, &ev, &last);
		assert_int_equal(in.n, 0);
	}
	while (mime_next(&w, &(struct str){ "", 0 }, true, &ev))
		add_event(b, &ev, &last);
	buf_add(b, "", 0);
	mime_free(&w);
}

#define B "Content-Type: multipart/mixed; boundary=b\n\n"

static void bodies(void **state)
{
	static const struct {
		const char *name, *header, *body, *want;
	} rows[] = {
		{ "text", "\n", "a\n\n--b\nc", "|t:a//--b/c" },
		{ "CRs", "\n", "a\r\r\nb\rc\r", "|t:a/b\\x0dc\\x0d" },
		{ "parts", B, "p\n--b\nX: y\n\na\n--b\n\n\n--b--\ne\n",
		  "|b:p|/=--b|H:X: "
		  "y\\x0a(text/plain)|t:a|/=--b|H:(text/plain)|/=--b--|b:e/" },
		{ "blanks", B, "--b \t\n\na\n--b-- \n",
		  "|=--b \\x09|H:(text/plain)|t:a|/=--b-- " },
		{ "CRLF", B, "--b\r\n\r\na\r\n--b--\r\n",
		  "|=--b|H:(text/plain)|t:a|/=--b--" },
		{ "no boundaries", B, "--bc\n-b\n--\n --b\nx--b\n",
		  "|b:--bc/-b/--/ --b/x--b/" },
		{ "not ended", B, "--b\n\na", "|=--b|H:(text/plain)|t:a" },
		{ "header not ended", B, "--b\nX: y", "|=--b|H:X: y\\x0a(text/plain)" },
		{ "no empty line", B, "--b\nX: y\nno header\n",
		  "|=--b|H:X: y\\x0a(text/plain)|t:no header/" },
		{ "folded", B, "--b\nX: y\n\tz\n\na\n",
		  "|=--b|H:X: y\\x0a\\x09z\\x0a(text/plain)|t:a/" },
		{ "boundary in a header", B, "--b\nX: y\n--b--\n",
		  "|=--b|H:X: y\\x0a(text/plain)|=--b--" },
		{ "boundary at the end", B, "--b\n\na\n--b--",
		  "|=--b|H:(text/plain)|t:a|/=--b--" },
		{ "outer boundary", B,
		  "--b\nContent-Type: multipart/x; boundary=\"c c\"\n\n--c "
		  "c\n\na\n--b\n\nd\n",
		  "|=--b|H:Content-Type: multipart/x; boundary=\"c "
		  "c\"\\x0a(multipart/x)|=--c c"
		  "|H:(text/plain)|t:a|/=--b|H:(text/plain)|t:d/" },
		{ "message", B, "--b\nContent-type: message/rfc822\n\nX: y\n\na\n--b--\n",
		  "|=--b|H:Content-type: message/rfc822\\x0a(message/rfc822)|M:X: "
		  "y\\x0a(text/plain)|t:a|/=--b--" },
		{ "message without header", B,
		  "--b\nContent-type: message/rfc822\n\nno header\n",
		  "|=--b|H:Content-type: "
		  "message/rfc822\\x0a(message/rfc822)|M:(text/plain)|t:no "
		  "header/" },
		{ "digest", "Content-Type: multipart/digest; boundary=b\n\n",
		  "--b\n\nX: y\n\na\n",
		  "|=--b|H:(message/rfc822)|M:X: y\\x0a(text/plain)|t:a/" },
		{ "signed", "Content-Type: multipart/signed; boundary=b\n\n",
		  "--b\n\na\n", "|t:--b//a/" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t cut = 1; cut < 100; cut += cut < 12 ? 1 : 87) {
			_cleanup_buf_ struct buf got = BUF_INIT;

			walk(str_z(rows[i].header), str_z(rows[i].body), cut, &got);
			if (strcmp(got.p, rows[i].want) != 0)
				fail_msg("%s, pieces of %zu: want %s got %s",
				         rows[i].name, cut, rows[i].want, got.p);
		}
	}
}

static void types(void **state)
{
	static const struct {
		const char *name, *header, *type;
		enum mime_kind kind;
		enum mime_cte cte;
		const char *boundary;
		bool charset;
	} rows[] = {
		{ "none", "Subject: x\n\n", "text/plain", MIME_LEAF, MIME_CTE_NONE, "",
		  false },
		{ "case, comments, folding",
		  "content-TYPE: (a;b) Text / HTML\n (c) ; CharSet = \"x\"\n\n",
		  "text/html", MIME_LEAF, MIME_CTE_NONE, "", true },
		{ "encoding", "Content-Transfer-Encoding: Base64 (x)\n", "text/plain",
		  MIME_LEAF, MIME_CTE_BASE64, "", false },
		{ "unknown encoding", "Content-Transfer-Encoding: x-y\n", "text/plain",
		  MIME_SEALED, MIME_CTE_OTHER, "", false },
		{ "boundary",
		  "Content-Type: multipart/mixed; x=\"a;b\"; boundary=\"a \\\"b\"\n",
		  "multipart/mixed", MIME_MULTIPART, MIME_CTE_NONE, "a \"b", false },
		{ "no boundary", "Content-Type: multipart/mixed\n", "multipart/mixed",
		  MIME_SEALED, MIME_CTE_NONE, "", false },
		{ "8-bit boundary", "Content-Type: multipart/mixed; boundary=\xe9\n",
		  "multipart/mixed", MIME_SEALED, MIME_CTE_NONE, "", false },
		{ "encoded message",
		  "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n",
		  "message/rfc822", MIME_LEAF, MIME_CTE_BASE64, "", false },
		{ "encoded multipart",
		  "Content-Type: multipart/mixed; boundary=b\n"
		  "Content-Transfer-Encoding: base64\n",
		  "multipart/mixed", MIME_MULTIPART, MIME_CTE_BASE64, "b", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct mime_type t;

		mime_type(str_z(rows[i].header), false, &t);
		if (strcmp(t.name, rows[i].type) != 0 || t.kind != rows[i].kind ||
		    t.cte != rows[i].cte || t.charset != rows[i].charset ||
		    !str_eq((struct str){ t.boundary, t.boundary_n },
		            str_z(rows[i].boundary)))
			fail_msg("%s: %s kind %d cte %d boundary %.*s", rows[i].name,
			         t.name, t.kind, t.cte, (int)t.boundary_n, t.boundary);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),
		cmocka_unit_test(types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
