/*
 * What mend makes is legal, says the same, and is not mended again; what is legal is not
 * touched. The decoders here share nothing with src/mail.
 */
#include "mail/mend.h"
#include "smtp/idna.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/resource.h>

#define TEXT "Subject: x\n\n"
#define MULTI "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n"

static const struct mend_host nothing, eightbit = { .eightbit = true };

struct result {
	struct buf header, body, refusal, why, how;
	unsigned faults;
};

static void result_free(struct result *r)
{
	buf_free(&r->header);
	buf_free(&r->body);
	buf_free(&r->refusal);
	buf_free(&r->why);
	buf_free(&r->how);
}
#define _cleanup_result_ __attribute__((cleanup(result_free)))

/* The next piece of s: as many octets as cuts says, a bit an octet: 1 ends a piece. */
static struct str piece(struct str *s, uint64_t *cuts)
{
	struct str whole = *s;
	size_t n = 0;

	do {
		n++;
		*cuts = *cuts >> 1 | (uint64_t)(*cuts & 1) << 63;
	} while (n < whole.n && !(*cuts >> 63));
	*s = str_from(whole, n);
	return str_head(whole, n);
}

static void mend_it(const struct mend_host *h, struct str header, struct str body,
                    uint64_t cuts, struct result *r)
{
	struct mend_look l = { .faults = 0 };
	struct mend_scan s = { .faults = 0 };
	struct mend m = { .part = 0 };
	unsigned header_faults = mend_header_faults(h, header);
	uint64_t c = cuts;

	*r = (struct result){ .faults = 0 };
	for (struct str in = body; in.n;)
		mend_look_add(&l, piece(&in, &c));
	r->faults = mend_look_end(&l, h);
	if (r->faults) {
		mend_scan_start(&s, h, header);
		c = cuts;
		for (struct str in = body; in.n;)
			mend_scan_add(&s, piece(&in, &c));
		mend_scan_end(&s);
		buf_str(&r->refusal, mend_refusal(&s));
	}
	mend_words(r->faults ? &s : NULL, header_faults, &r->why, &r->how);
	if (r->faults || header_faults)
		mend_header(r->faults ? &s : NULL, h, header, &r->header);
	else
		buf_str(&r->header, header);
	if (r->faults && !r->refusal.n) {
		mend_start(&m, &s, header);
		c = cuts;
		for (struct str in = body; in.n;)
			mend_add(&m, piece(&in, &c), &r->body);
		mend_end(&m, &r->body);
	} else {
		buf_str(&r->body, body);
	}
	r->faults |= header_faults;
	mend_free(&m);
	mend_scan_free(&s);
}

static void fails(const char *name, const char *what, struct str in,
                  const struct result *r)
{
	_cleanup_buf_ struct buf shown = BUF_INIT, got = BUF_INIT, header = BUF_INIT;

	buf_escape(&shown, in, 300);
	if (r) {
		buf_escape(&got, buf_view(&r->body), 600);
		buf_escape(&header, buf_view(&r->header), 600);
	}
	fail_msg("%s: %s: in %s header %s got %s", name, what, shown.p ? shown.p : "",
	         header.p ? header.p : "", got.p ? got.p : "");
}

/* Octet by octet: what a host without any extension takes. */
static bool is_legal(struct str s, bool eightbit_ok)
{
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		size_t lf = i;

		while (lf < s.n && s.p[lf] == '\r' && lf - i < 998)
			lf++;
		if (lf < s.n && s.p[lf] == '\n' && lf - i < 998) {
			i = lf;
			column = 0;
			continue;
		}
		if (c == '\r' || c == '\0' || (c >= 0x80 && !eightbit_ok) ||
		    ++column > 998)
			return false;
	}
	return true;
}

/* CRLF line ends; the last line is ended. */
static void canonical(struct buf *b, struct str s, bool ended)
{
	for (size_t i = 0; i < s.n; i++) {
		size_t lf = i;

		while (lf < s.n && s.p[lf] == '\r')
			lf++;
		if (lf < s.n && s.p[lf] == '\n' && lf - i < 998) {
			buf_z(b, "\r\n");
			i = lf;
		} else {
			buf_c(b, s.p[i]);
		}
	}
	if (ended && s.n && s.p[s.n - 1] != '\n')
		buf_z(b, "\r\n");
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	                              : -1;
}

/* RFC 2045 6.7, line by line; false: a line over 76, or (strict) what is none of it. */
static bool decode_qp(struct buf *b, struct str s, bool strict)
{
	while (s.n) {
		ptrdiff_t lf = str_chr(s, '\n');
		struct str line = lf < 0 ? s : str_head(s, (size_t)lf);
		bool soft = false;

		s = str_from(s, line.n + (lf >= 0));
		if (strict && line.n > 76)
			return false;
		while (lf >= 0 && line.n && line.p[line.n - 1] == '\r')
			line.n--;
		while (line.n &&
		       (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t')) {
			if (strict)
				return false;
			line.n--;
		}
		if (line.n && line.p[line.n - 1] == '=') {
			soft = true;
			line.n--;
		}
		for (size_t i = 0; i < line.n; i++) {
			int high = i + 2 < line.n ? hex_value(line.p[i + 1]) : -1;
			int low = i + 2 < line.n ? hex_value(line.p[i + 2]) : -1;

			if (line.p[i] == '=' && high >= 0 && low >= 0) {
				buf_c(b, (char)(high << 4 | low));
				i += 2;
			} else if (line.p[i] == '=' && strict) {
				return false;
			} else {
				buf_c(b, line.p[i]);
			}
		}
		if (!soft && lf >= 0)
			buf_z(b, "\r\n");
	}
	return true;
}

/* RFC 2045 6.8. Up to the padding. */
static bool decode_base64(struct buf *b, struct str s, bool strict)
{
	static const char set[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0, have = 0;
	size_t column = 0;

	for (size_t i = 0; i < s.n; i++) {
		const char *at = s.p[i] ? strchr(set, s.p[i]) : NULL;

		column = s.p[i] == '\n' ? 0 : column + 1;
		if (strict && (column > 76 || (!at && s.p[i] != '\n' && s.p[i] != '=')))
			return false;
		if (!strict && s.p[i] == '=')
			break;
		if (!at)
			continue;
		bits = (bits << 6 | (unsigned)(at - set)) & 0xffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			buf_c(b, (char)(bits >> have & 0xff));
		}
	}
	return true;
}

static bool has(const struct buf *b, const char *what)
{
	return b->n && memmem(b->p, b->n, what, strlen(what));
}

/* Everything that must hold of any message. */
static void check_any(const char *name, const struct mend_host *h, struct str header,
                      struct str body, const struct result *r)
{
	_cleanup_result_ struct result again = { .faults = 0 };

	if (!r->faults) {
		if (!is_legal(body, h->eightbit) || !is_legal(header, false))
			fails(name, "illegal, and not touched", body, r);
		return;
	}
	if (is_legal(body, h->eightbit) && is_legal(header, false))
		fails(name, "legal, and touched", body, r);
	if (r->refusal.n)
		return;
	if (!is_legal(buf_view(&r->body), h->eightbit))
		fails(name, "illegal body", body, r);
	if (!is_legal(buf_view(&r->header), false))
		fails(name, "illegal header", body, r);
	mend_it(h, buf_view(&r->header), buf_view(&r->body), 0, &again);
	if (again.faults)
		fails(name, "mended again", body, &again);
}

/* A message of one part: what it decodes to. */
static void check_single(const char *name, struct str in, const struct result *r)
{
	_cleanup_buf_ struct buf want = BUF_INIT, got = BUF_INIT;
	bool ok;

	canonical(&want, in, true);
	if (has(&r->header, "Encoding: quoted-printable"))
		ok = decode_qp(&got, buf_view(&r->body), true);
	else
		ok = has(&r->header, "Encoding: base64") &&
		     decode_base64(&got, buf_view(&r->body), true);
	if (!ok)
		fails(name, "badly encoded", in, r);
	if (!str_eq(buf_view(&want), buf_view(&got)))
		fails(name, "decodes to something else", in, r);
}

static void check_cuts(const char *name, const struct mend_host *h, struct str header,
                       struct str body, const struct result *r)
{
	unsigned all = body.n < 5 ? 1u << body.n : 2;

	for (unsigned i = 1; i < all; i++) {
		_cleanup_result_ struct result other = { .faults = 0 };

		mend_it(h, header, body, all == 2 ? UINT64_MAX : i, &other);
		if (!str_eq(buf_view(&r->body), buf_view(&other.body)) ||
		    !str_eq(buf_view(&r->header), buf_view(&other.header)) ||
		    !str_eq(buf_view(&r->refusal), buf_view(&other.refusal)))
			fails(name, "another result when cut", body, &other);
	}
}

/* The number-th string of n octets. */
static struct str nth(char *room, const char *set, size_t sets, size_t n, size_t number)
{
	for (size_t i = 0; i < n; i++) {
		room[i] = set[number % sets];
		number /= sets;
	}
	return (struct str){ room, n };
}

static size_t power(size_t base, size_t n)
{
	size_t p = 1;

	while (n--)
		p *= base;
	return p;
}

#ifdef __SANITIZE_ADDRESS__
enum { LENGTH = 3, TEXT_LENGTH = 4, MEGABYTES = 5 };
#else
enum { LENGTH = 5, TEXT_LENGTH = 6, MEGABYTES = 50 };
#endif

static const char octets[8] = { '\r', '\n', '.', 'x', '\0', ' ', '\xe9', '=' };

static void check_text(struct str in)
{
	_cleanup_result_ struct result r = { .faults = 0 }, r8 = r;

	mend_it(&nothing, STR(TEXT), in, 0, &r);
	if (r.faults)
		check_single("text", in, &r);
	if (in.n == TEXT_LENGTH) { /* there are many: only the most important */
		if (!is_legal(buf_view(&r.body), false) ||
		    (r.faults != 0) == is_legal(in, false))
			fails("text", "illegal, or legal and touched", in, &r);
		return;
	}
	check_any("text", &nothing, STR(TEXT), in, &r);
	check_cuts("text", &nothing, STR(TEXT), in, &r);
	mend_it(&eightbit, STR(TEXT), in, 0, &r8);
	check_any("8-bit host", &eightbit, STR(TEXT), in, &r8);
	if (r8.faults)
		check_single("8-bit host", in, &r8);
}

static void all_short(void **state)
{
	char room[16];

	(void)state;
	for (size_t n = 0; n <= TEXT_LENGTH; n++)
		for (size_t i = 0; i < power(sizeof(octets), n); i++)
			check_text(nth(room, octets, sizeof(octets), n, i));
}

/* What is encoded already says the same when its lines were made legal. */
static void encoded_short(void **state)
{
	const struct str qp = STR("Content-Transfer-Encoding: quoted-printable\n\n"),
	                 base64 = STR("Content-Transfer-Encoding: base64\n\n");
	static const char set[8] = { '\r', '\n', 'A', '4', '\0', ' ', '\xe9', '=' };
	char room[16];

	(void)state;
	for (size_t n = 0; n <= LENGTH; n++) {
		for (size_t i = 0; i < power(sizeof(set), n); i++) {
			struct str in = nth(room, set, sizeof(set), n, i);
			_cleanup_result_ struct result q = { .faults = 0 }, b = q;
			_cleanup_buf_ struct buf want = BUF_INIT, got = BUF_INIT;

			mend_it(&nothing, qp, in, 0, &q);
			check_any("qp", &nothing, qp, in, &q);
			check_cuts("qp", &nothing, qp, in, &q);
			decode_qp(&want, in, false);
			decode_qp(&got, buf_view(&q.body), false);
			if (!str_eq(buf_view(&want), buf_view(&got)))
				fails("qp", "decodes to something else", in, &q);
			mend_it(&nothing, base64, in, 0, &b);
			check_any("base64", &nothing, base64, in, &b);
			buf_reset(&want);
			buf_reset(&got);
			decode_base64(&want, in, false);
			decode_base64(&got, buf_view(&b.body), false);
			if (!str_eq(buf_view(&want), buf_view(&got)))
				fails("base64", "decodes to something else", in, &b);
		}
	}
}

/* Boundaries anywhere. */
static void multipart_short(void **state)
{
	static const char set[6] = { '\r', '\n', '-', 'b', '\0', '\xe9' };
	char room[16];

	(void)state;
	for (size_t n = 0; n <= LENGTH; n++) {
		for (size_t i = 0; i < power(sizeof(set), n); i++) {
			struct str in = nth(room, set, sizeof(set), n, i);
			_cleanup_buf_ struct buf part = BUF_INIT;
			_cleanup_result_ struct result r = { .faults = 0 }, p = r;

			mend_it(&nothing, STR(MULTI), in, 0, &r);
			check_any("outside", &nothing, STR(MULTI), in, &r);
			check_cuts("outside", &nothing, STR(MULTI), in, &r);
			buf_z(&part, "--b\n");
			buf_str(&part, in);
			buf_z(&part, "\n--b--\n");
			mend_it(&nothing, STR(MULTI), buf_view(&part), 0, &p);
			check_any("inside", &nothing, STR(MULTI), buf_view(&part), &p);
			check_cuts("inside", &nothing, STR(MULTI), buf_view(&part), &p);
		}
	}
}

/* A part that is mended decodes to what it was. */
static void part_short(void **state)
{
	static const char set[8] = { '\r', '\n', '-', 'b', '\0', ' ', '\xe9', '=' };
	char room[16];

	(void)state;
	for (size_t i = 0; i < power(sizeof(set), LENGTH); i++) {
		struct str in = nth(room, set, sizeof(set), LENGTH, i), got_part;
		_cleanup_buf_ struct buf part = BUF_INIT, want = BUF_INIT, got = BUF_INIT;
		_cleanup_result_ struct result r = { .faults = 0 };
		const char *from, *to;

		if (memmem(in.p, in.n, "--b", 3) || memchr(in.p, '\r', in.n))
			continue;
		buf_z(&part, "--b\n\n");
		buf_str(&part, in);
		buf_z(&part, "\n--b--\n");
		mend_it(&nothing, STR(MULTI), buf_view(&part), 0, &r);
		if (!r.faults)
			continue;
		from = memmem(r.body.p, r.body.n, "\n\n", 2);
		to = memmem(r.body.p, r.body.n, "\n--b--\n", 7);
		assert_true(from && to && from + 2 <= to);
		got_part = (struct str){ from + 2, (size_t)(to - from - 2) };
		canonical(&want, in, false);
		if (has(&r.body, "Encoding: base64"))
			decode_base64(&got, got_part, true);
		else
			decode_qp(&got, got_part, true);
		if (!str_eq(buf_view(&want), buf_view(&got)))
			fails("part", "decodes to something else", in, &r);
	}
}

struct row {
	const char *name;
	struct str header, body;
	const char *want_header, *want_body, *refusal;
};

static void check_row(const struct row *t, const struct mend_host *h)
{
	_cleanup_result_ struct result r = { .faults = 0 };

	mend_it(h, t->header, t->body, 0, &r);
	check_any(t->name, h, t->header, t->body, &r);
	if ((t->refusal != NULL) != (r.refusal.n > 0))
		fails(t->name, r.refusal.n ? r.refusal.p : "not refused", t->body, &r);
	if (t->refusal) {
		if (!has(&r.refusal, t->refusal))
			fails(t->name, r.refusal.p, t->body, &r);
		return;
	}
	if (!has(&r.header, t->want_header))
		fails(t->name, "header", t->header, &r);
	if (!str_eq(buf_view(&r.body), str_z(t->want_body)))
		fails(t->name, "body", t->body, &r);
}

#define QP "Content-Transfer-Encoding: quoted-printable\n"
#define B64 "Content-Transfer-Encoding: base64\n"
#define NUL5 "\0\0\0\0\0"
#define X10 "xxxxxxxxxx"
#define X70 X10 X10 X10 X10 X10 X10 X10

static void bodies(void **state)
{
	const struct row rows[] = {
		{ "utf-8", STR(TEXT),
		  STR("Gr\xc3\xbc\xc3\x9f"
		      "e aus K\xc3\xb6ln\n"),
		  "Subject: x\nMIME-Version: 1.0\n"
		  "Content-Type: text/plain; charset=utf-8\n" QP "\n",
		  "Gr=C3=BC=C3=9Fe aus K=C3=B6ln\n", NULL },
		{ "latin", STR(TEXT), STR("J\xfcrgen\n"), "charset=unknown-8bit\n" QP,
		  "J=FCrgen\n", NULL },
		{ "progress", STR(TEXT), STR("10%\r50%\r100%\r\ndone\n"),
		  "charset=us-ascii\n" QP, "10%=0D50%=0D100%\ndone\n", NULL },
		{ "NUL", STR(TEXT), STR("a\0b\n"), QP, "a=00b\n", NULL },
		{ "blanks", STR(TEXT), STR("\xe9 \n \t\n"), QP, "=E9=20\n =09\n", NULL },
		{ "no last line end", STR(TEXT), STR("bla bla bla \xe9"), QP,
		  "bla bla bla =E9\n", NULL },
		{ "dense", STR(TEXT), STR("\xe9\xe8\n"), B64, "6egNCg==", NULL },
		{ "charset kept",
		  STR("Content-Type: text/plain; charset=iso-8859-1\n"
		      "Content-Transfer-Encoding: 8bit\nX: y\n\n"),
		  STR("J\xfcrgen\n"),
		  "Content-Type: text/plain; charset=iso-8859-1\nX: y\nMIME-Version: "
		  "1.0\n" QP,
		  "J=FCrgen\n", NULL },
		{ "charset added", STR("MIME-Version: 1.0\nContent-Type: text/html;\n\n"),
		  STR("<b>\xc3\xbc</b>\n"),
		  "Content-Type: text/html;\n charset=utf-8\n" QP, "<b>=C3=BC</b>\n",
		  NULL },
		{ "binary", STR("Content-Type: application/octet-stream\n\n"),
		  STR(NUL5 "\n\r\n"), B64, "AAAAAAAKDQo=", NULL },
		{ "multipart",
		  STR("Content-Type: multipart/mixed; boundary=\"b b\"\n"
		      "Content-Transfer-Encoding: 8bit\n\n"),
		  STR("pre\xe9\n--b b\n\nlegal\n--b b\nContent-Type: text/plain\n\n"
		      "bad \xc3\xbc --b b\n\n--b b  \nX: y\n\n--no\n--b b--\nepi\r."),
		  "Content-Type: multipart/mixed; boundary=\"b b\"\nMIME-Version: 1.0\n"
		  "Content-Transfer-Encoding: 7bit\n\n",
		  "pre?\n--b b\n\nlegal\n--b b\nContent-Type: text/plain;\n "
		  "charset=utf-8\n" QP
		  "\nbad =C3=BC --b b\n\n--b b  \nX: y\n\n--no\n--b b--\nepi .",
		  NULL },
		{ "nested", STR(MULTI),
		  STR("--b\nContent-Type: multipart/alternative; "
		      "boundary=c\n\n--c\n\nx\n--c\n"
		      "\nbad \xe9 x x\n--c--\n\n--b\nContent-Type: message/rfc822\n\n"
		      "Subject: \xc3\xbc\n\nin\xe9ner\n--b--\n"),
		  "MIME-Version: 1.0\n\n",
		  "--b\nContent-Type: multipart/alternative; "
		  "boundary=c\n\n--c\n\nx\n--c\n"
		  "Content-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nbad =E9 x x\n--c--\n\n--b\nContent-Type: message/rfc822\n\n"
		  "Subject: =?utf-8?q?=C3=BC?=\nMIME-Version: 1.0\n"
		  "Content-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nin=E9ner\n--b--\n",
		  NULL },
		{ "digest", STR("Content-Type: multipart/digest; boundary=b\n\n"),
		  STR("--b\n\nSubject: \xe9\n\nx\n--b--\n"), "multipart/digest",
		  "--b\n\nSubject: =?unknown-8bit?q?=E9?=\n\nx\n--b--\n", NULL },
		{ "not ended", STR(MULTI), STR("--b\n\nabc \xe9 abc\nx"), "mixed",
		  "--b\nContent-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nabc =E9 abc\nx",
		  NULL },
		{ "part without header", STR(MULTI), STR("--b\nabc abc \xe9\n--b--\n"),
		  "mixed",
		  "--b\nContent-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nabc abc =E9\n--b--\n",
		  NULL },
		{ "signed", STR("Content-Type: multipart/signed; boundary=b\n\n"),
		  STR("--b\n\n\xe9\n--b--\n"), NULL, NULL,
		  "5.6.3 the message (multipart/signed) is not legal for this host "
		  "(8-bit) "
		  "and cannot be changed: it is signed" },
		{ "signed part", STR(MULTI),
		  STR("--b\n\nok\n--b\nContent-Type: multipart/encrypted; boundary=c\n\n"
		      "--c\n\nx\ry\n--c--\n--b--\n"),
		  NULL, NULL,
		  "5.6.3 part 2 (multipart/encrypted) is not legal for this host (bare "
		  "CR) "
		  "and cannot be changed: it is encrypted" },
		{ "S/MIME", STR("Content-Type: application/pkcs7-mime; smime-type=x\n\n"),
		  STR("\xe9\n"), NULL, NULL, "(application/pkcs7-mime)" },
		{ "OpenPGP", STR(TEXT),
		  STR("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n\xe9\n"), NULL,
		  NULL, "it has OpenPGP in its text" },
		{ "unknown encoding", STR("Content-Transfer-Encoding: x-uuencode\n\n"),
		  STR("\xe9\n"), NULL, NULL, "its encoding is not known" },
		{ "no boundary", STR("Content-Type: multipart/mixed\n\n"), STR("\xe9\n"),
		  NULL, NULL, "its boundary is missing" },
		{ "S/MIME in base64",
		  STR("Content-Type: application/pkcs7-mime\n" B64 "\n"),
		  STR("QUFB\xe9QUFB\n"), B64, "QUFBQUFB\n", NULL },
		{ "S/MIME, binary",
		  STR("Content-Type: application/pkcs7-mime\n"
		      "Content-Transfer-Encoding: binary\n\n"),
		  STR("\0\n"), B64, "AAo=", NULL },
		{ "not US-ASCII",
		  STR("Content-Type: text/plain; charset=\"US-ASCII\"; "
		      "format=flowed\n\n"),
		  STR("abc abc \xc3\xbc\n"),
		  "Content-Type: text/plain; format=flowed;\n charset=utf-8\n",
		  "abc abc =C3=BC\n", NULL },
		{ "not US-ASCII, nor UTF-8",
		  STR("content-type: text/plain; charset=us-ascii (c)\n\n"),
		  STR("abc abc \xfc\n"),
		  "content-type: text/plain;\n charset=unknown-8bit\n", "abc abc =FC\n",
		  NULL },
		{ "US-ASCII it is", STR("Content-Type: text/plain; charset=us-ascii\n\n"),
		  STR("abc abc \r.\n"), "Content-Type: text/plain; charset=us-ascii\n",
		  "abc abc =0D.\n", NULL },
		{ "a part that is not US-ASCII", STR(MULTI),
		  STR("--b\nContent-Type: text/plain; charset=us-ascii\n\nabc abc "
		      "\xc3\xbc\n--b--\n"),
		  "mixed",
		  "--b\nContent-Type: text/plain;\n charset=utf-8\n" QP
		  "\nabc abc =C3=BC\n--b--\n",
		  NULL },
		{ "UTF-16", STR("Content-Type: text/plain; charset=UTF-16LE\n\n"),
		  STR("h\0\xe4\0\n\0a\0"), B64, "aADkAAoAYQA=", NULL },
		{ "boundary in pieces",
		  STR("Content-Type: multipart/mixed; boundary*0*=us-ascii''a%20b; "
		      "boundary*1=\"(c\"\n\n"),
		  STR("--a b(c\n\nabc abc \xe9\n--a b(c--\n"), "boundary*1",
		  "--a b(c\nContent-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nabc abc =E9\n--a b(c--\n",
		  NULL },
		{ "boundary extended",
		  STR("Content-Type: multipart/mixed; boundary*=''%62\n\n"),
		  STR("--b\n\nabc abc \xe9\n--b--\n"), "boundary*",
		  "--b\nContent-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nabc abc =E9\n--b--\n",
		  NULL },
		{ "boundary, a piece missing",
		  STR("Content-Type: multipart/mixed; boundary*1=b\n\n"),
		  STR("--b\n\n\xe9\n--b--\n"), NULL, NULL, "its boundary is missing" },
		{ "boundary, not a charset's",
		  STR("Content-Type: multipart/mixed; boundary*=b\n\n"),
		  STR("--b\n\n\xe9\n--b--\n"), NULL, NULL, "its boundary is missing" },
		{ "boundary never comes", STR(MULTI), STR("abc \xe9\n--c\n\nx\n"), NULL,
		  NULL,
		  "the message (multipart/mixed) is not legal for this host (8-bit) "
		  "and cannot be changed: its boundary never comes" },
		{ "boundary that is no token",
		  STR("Content-Type: multipart/mixed; boundary=b(1)\n\n"),
		  STR("--b(1)\n\nabc \xe9\n--b(1)--\n"), NULL, NULL, "never comes" },
		{ "inner boundary never comes", STR(MULTI),
		  STR("--b\nContent-Type: multipart/mixed; boundary=c\n\nabc "
		      "\xe9\n--b--\n"),
		  NULL, NULL, "its boundary never comes" },
		{ "inner boundary never comes, header not ended", STR(MULTI),
		  STR("--b\nContent-Type: multipart/mixed; boundary=c\n--b\n\nabc abc "
		      "\xe9\n--b--\n"),
		  "mixed",
		  "--b\nContent-Type: multipart/mixed; boundary=c\n\n--b\nContent-Type: "
		  "text/plain; charset=unknown-8bit\n" QP "\nabc abc =E9\n--b--\n",
		  NULL },
		{ "a multipart that says it is quoted-printable",
		  STR("Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n" QP
		      "\n"),
		  STR("\xe9\n--b\n\nabc \xe9 =E9\n--b\n" QP "\n=E9\n--b--\n"),
		  "boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n",
		  "?\n--b\nContent-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nabc =E9 =3DE9\n--b\n" QP "\n=E9\n--b--\n",
		  NULL },
		{ "base64, and inside of another", STR(MULTI),
		  STR("--b\nContent-Type: multipart/mixed; boundary=c\n" B64
		      "\n--c\n\nabc "
		      "\xe9\n--c--\n--b--\n"),
		  "mixed",
		  "--b\nContent-Type: multipart/mixed; "
		  "boundary=c\nContent-Transfer-Encoding: "
		  "7bit\n\n--c\nContent-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nabc =E9\n--c--\n--b--\n",
		  NULL },
		{ "one that is encoded",
		  STR("Content-Type: multipart/mixed; boundary=_b\n" B64 "\n"),
		  STR(X70 "AAAAAAAAAA\r\nBB\xe9"
		          "BB\n"),
		  "boundary=_b\n" B64 "MIME-Version", X70 "AAAAAA\nAAAA\nBBBB\n", NULL },
		{ "one that is encoded, in quoted-printable", STR(MULTI),
		  STR("--b\nContent-Type: multipart/mixed; boundary==_c\n" QP
		      "\n--=3D_c=0A=0A\xe9"
		      "a =\n--=3D_c--=\n--b--\n"),
		  "mixed",
		  "--b\nContent-Type: multipart/mixed; boundary==_c\n" QP
		  "\n--=3D_c=0A=0A=E9"
		  "a =\n--=3D_c--=\n--b--\n",
		  NULL },
		{ "signed, and says it is base64",
		  STR("Content-Type: multipart/signed; boundary=b\n" B64 "\n"),
		  STR("--b\n\n\xe9\n--b--\n"), NULL, NULL, "it is signed" },
		{ "signed beside", STR(MULTI),
		  STR("--b\nContent-Type: multipart/signed; "
		      "boundary=c\n\n--c\n\nx\n--c--\n"
		      "--b\nX:y\n\nabc \xe9 abc\n--b--\n"),
		  "mixed",
		  "--b\nContent-Type: multipart/signed; boundary=c\n\n--c\n\nx\n--c--\n"
		  "--b\nX:y\nContent-Type: text/plain; charset=unknown-8bit\n" QP
		  "\nabc =E9 abc\n--b--\n",
		  NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(&rows[i], &nothing);
}

/* The header alone. */
static void headers(void **state)
{
	const struct {
		const char *name;
		struct str in;
		const char *want;
	} rows[] = {
		{ "legal", STR("Subject: x\n  y\nFrom: a@b\n\n"),
		  "Subject: x\n  y\nFrom: a@b\n\n" },
		{ "subject",
		  STR("Subject: a  Gr\xc3\xbc\xc3\x9f"
		      "e  b\n\n"),
		  "Subject: a  =?utf-8?q?Gr=C3=BC=C3=9Fe?=  b\n\n" },
		{ "two words", STR("Subject: \xc3\xbc \xc3\xbc x\n\n"),
		  "Subject: =?utf-8?q?=C3=BC_=C3=BC?= x\n\n" },
		{ "beside an encoded word",
		  STR("Subject: =?utf-8?q?a?= \xc3\xbc =?utf-8?q?b?=\n\n"),
		  "Subject: =?utf-8?q?a?= =?utf-8?q?_=C3=BC_?= =?utf-8?q?b?=\n\n" },
		{ "latin", STR("Subject: \xe9\n\n"),
		  "Subject: =?unknown-8bit?q?=E9?=\n\n" },
		{ "bare CR and NUL", STR("Subject: a\rb\0c\n\n"), "Subject: a b c\n\n" },
		{ "phrase", STR("From: J\xc3\xbcrgen \"M. X\" <j@x>, b@c\n\n"),
		  "From: =?utf-8?q?J=C3=BCrgen_M=2E_X?= <j@x>, b@c\n\n" },
		{ "phrase, no blank", STR("From: \"J\xc3\xbc\"<j@x>\n\n"),
		  "From: =?utf-8?q?J=C3=BC?= <j@x>\n\n" },
		{ "comment", STR("To: a@b (J\xc3\xbc (x) y), <c@d>\n\n"),
		  "To: a@b (=?utf-8?q?J=C3=BC_=28x=29_y?=), <c@d>\n\n" },
		{ "group", STR("Cc: \xc3\xbc: a@b, \xc3\xbc <c@d>;\n\n"),
		  "Cc: =?utf-8?q?=C3=BC?= : a@b, =?utf-8?q?=C3=BC?= <c@d>;\n\n" },
		{ "address", STR("To: J <\xc3\xbc@x>, \xc3\xbc@y, z@z\n\n"),
		  "To: J =?utf-8?q?=3C=C3=BC=40x=3E?= :;, =?utf-8?q?=C3=BC=40y?= :;, "
		  "z@z\n\n" },
		{ "file name",
		  STR("Content-Disposition: attachment; filename=\"\xc3\xbc x.pdf\"; "
		      "size=1\n\n"),
		  "Content-Disposition: attachment;\n filename*=utf-8''%C3%BC%20x.pdf; "
		  "size=1\n\n" },
		{ "file name, extended",
		  STR("Content-Disposition: attachment; "
		      "filename*=UTF-8''J\xc3\xbc%20x(1).pdf; size=1\n\n"),
		  "Content-Disposition: attachment;\n "
		  "filename*=UTF-8''J%C3%BC%20x%281%29.pdf; "
		  "size=1\n\n" },
		{ "file name in pieces",
		  STR("Content-Disposition: attachment; filename*0=\"\xc3\xbc%\"; "
		      "filename*1=\"\xc3\xbc\"\n\n"),
		  "Content-Disposition: attachment;\n filename*0*=utf-8''%C3%BC%25;\n "
		  "filename*1*=%C3%BC\n\n" },
		{ "comment behind a parameter",
		  STR("Content-Type: text/plain; charset=utf-8 (\xc3\xbc) ; x=y\n\n"),
		  "Content-Type: text/plain; charset=utf-8  ; x=y\n\n" },
		{ "comment behind the type",
		  STR("Content-Type: text/html(\xc3\xbc \"); charset=utf-8\n\n"),
		  "Content-Type: text/html; charset=utf-8\n\n" },
		{ "structured", STR("Message-ID: <\xe9@x>\n\n"),
		  "Downgraded-Message-ID: =?unknown-8bit?q?=3C=E9=40x=3E?=\n\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_result_ struct result r = { .faults = 0 };

		mend_it(&eightbit, rows[i].in, STR("x\n"), 0, &r);
		check_any(rows[i].name, &eightbit, rows[i].in, STR("x\n"), &r);
		if (!str_eq(buf_view(&r.header), str_z(rows[i].want)))
			fails(rows[i].name, "header", rows[i].in, &r);
	}
}

/* With SMTPUTF8 a header in UTF-8 stays, another one does not. */
static void header_utf8(void **state)
{
	const struct mend_host h = { .utf8 = true };

	(void)state;
	assert_int_equal(mend_header_faults(&h, STR("Subject: \xc3\xbc\n\n")), 0);
	assert_int_equal(mend_header_faults(&h, STR("Subject: \xfc\n\n")), MEND_8BIT);
	assert_int_equal(mend_header_faults(&nothing, STR("Subject: \xc3\xbc\n\n")),
	                 MEND_8BIT);
}

/* A host that takes no UTF-8 gets A-labels where that is all it needs. */
static void header_idna(void **state)
{
	const struct mend_host h = { .address = idna_address };
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "bare", "From: j@\xc3\xbc.example\n\n", "From: j@xn--tda.example\n\n" },
		{ "angle", "From: J\xc3\xbc <j@\xc3\xbc.example>, a@b\n\n",
		  "From: =?utf-8?q?J=C3=BC?= <j@xn--tda.example>, a@b\n\n" },
		{ "local part", "To: \xc3\xbc@x\n\n",
		  "To: =?utf-8?q?=C3=BC=40x?= :;\n\n" },
		{ "no domain", "To: <x@\xc3\xbc\xff>\n\n",
		  "To: =?unknown-8bit?q?=3Cx=40=C3=BC=FF=3E?= :;\n\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;

		mend_header(NULL, &h, str_z(rows[i].in), &out);
		if (!str_eq(buf_view(&out), str_z(rows[i].want)))
			fail_msg("%s: %s", rows[i].name, out.p);
	}
}

/* Lines of every length around the limits, of each kind. */
static void long_lines(void **state)
{
	static const size_t lengths[] = { 74, 75, 76, 77, 78, 997, 998, 999, 1000, 3000 };
	static const char *const heads[] = { TEXT,
		                             "Content-Transfer-Encoding: base64\n\n",
		                             QP "\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT;

		for (size_t k = 0; k < lengths[i]; k++)
			buf_c(&in, i % 2 ? "ab-- "[k % 5] : '-');
		buf_z(&in, "\n\n");
		for (size_t k = 0; k < ARRAY_LEN(heads); k++) {
			_cleanup_result_ struct result r = { .faults = 0 }, cut = r;

			mend_it(&nothing, str_z(heads[k]), buf_view(&in), 0, &r);
			check_any(heads[k], &nothing, str_z(heads[k]), buf_view(&in), &r);
			assert_int_equal(r.faults != 0, lengths[i] > 998);
			if (r.faults && k == 0)
				check_single("long line", buf_view(&in), &r);
			if (has(&r.body, r.faults ? "\n-" : "\n\n\n\n"))
				fails(heads[k], "a line of ours begins with -",
				      buf_view(&in), &r);
			mend_it(&nothing, str_z(heads[k]), buf_view(&in), UINT64_MAX,
			        &cut);
			assert_true(str_eq(buf_view(&r.body), buf_view(&cut.body)));
		}
	}
}

/* Nested deeper than is looked at: legal stays, illegal is refused. */
static void deep(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth < 20; depth++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		_cleanup_result_ struct result r = { .faults = 0 };

		for (unsigned i = 0; i < depth; i++)
			buf_fmt(&b, "%s%u\n\n--%u\n",
			        i ? "Content-Type: multipart/mixed; boundary=" : "pre", i,
			        i);
		buf_z(&b, "\nabc \xe9 abc\n");
		mend_it(&nothing, STR("Content-Type: multipart/mixed; boundary=0\n\n"),
		        buf_view(&b), 0, &r);
		assert_int_equal(r.refusal.n > 0, depth > MIME_DEPTH_MAX);
		if (r.refusal.n)
			assert_true(has(&r.refusal, "nested too deep"));
	}
}

/* A part's header that is longer than is kept, and a message of very many parts. */
static void limits(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT, parts = BUF_INIT;
	_cleanup_result_ struct result legal = { .faults = 0 }, bad = legal, many = legal;

	(void)state;
	buf_z(&b, "--b\n");
	for (unsigned i = 0; i < 20000; i++)
		buf_z(&b, "X: y\n");
	buf_z(&b, "\nx\n--b\n\nabc \xe9 abc\n");
	mend_it(&nothing, STR(MULTI), buf_view(&b), 0, &legal);
	assert_int_equal(legal.refusal.n, 0);
	check_any("long header", &nothing, STR(MULTI), buf_view(&b), &legal);
	buf_reset(&b);
	buf_z(&b, "--b\nX: \xe9\n");
	for (unsigned i = 0; i < 20000; i++)
		buf_z(&b, "X: y\n");
	mend_it(&nothing, STR(MULTI), buf_view(&b), 0, &bad);
	assert_true(has(&bad.refusal, "its header is too long"));
	for (unsigned i = 0; i <= MEND_PARTS_MAX; i++)
		buf_z(&parts, "--b\n\n\xe9\n");
	mend_it(&nothing, STR(MULTI), buf_view(&parts), 0, &many);
	assert_true(has(&many.refusal, "too many parts"));
}

/* 50 MB: in constant memory, and no time that grows faster. */
static void large(void **state)
{
	static const struct mend_host h = { .eightbit = false };
	struct mend_scan s;
	struct mend m;
	struct rusage before, after;
	_cleanup_buf_ struct buf out = BUF_INIT, line = BUF_INIT;
	size_t rounds = (size_t)MEGABYTES << 4;

	(void)state;
	for (unsigned i = 0; i < 65536; i++)
		buf_c(&line, "abc \xe9-=\r"[i % 8]); /* one line without end */
	getrusage(RUSAGE_SELF, &before);
	mend_scan_start(&s, &h, STR(MULTI));
	mend_scan_add(&s, STR("--b\n\n"));
	for (size_t i = 0; i < rounds; i++)
		mend_scan_add(&s, buf_view(&line));
	mend_scan_end(&s);
	assert_int_equal(mend_refusal(&s).n, 0);
	mend_start(&m, &s, STR(MULTI));
	mend_add(&m, STR("--b\n\n"), &out);
	for (size_t i = 0; i < rounds; i++) {
		mend_add(&m, buf_view(&line), &out);
		buf_reset(&out);
	}
	mend_end(&m, &out);
	mend_free(&m);
	mend_scan_free(&s);
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_maxrss - before.ru_maxrss < 4096); /* KiB */
}

static void words(void **state)
{
	_cleanup_result_ struct result r = { .faults = 0 };

	(void)state;
	mend_it(&nothing, STR("Subject: \xc3\xbc\n\n"), STR("abc abc \xe9\ra\n"), 0, &r);
	assert_string_equal(r.why.p, "8-bit, bare CR, header");
	assert_string_equal(r.how.p, "quoted-printable, header");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),        cmocka_unit_test(headers),
		cmocka_unit_test(header_utf8),   cmocka_unit_test(words),
		cmocka_unit_test(long_lines),    cmocka_unit_test(deep),
		cmocka_unit_test(header_idna),   cmocka_unit_test(limits),
		cmocka_unit_test(large),         cmocka_unit_test(all_short),
		cmocka_unit_test(encoded_short), cmocka_unit_test(multipart_short),
		cmocka_unit_test(part_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
