/*
 * million - the header's engine on generated input: make million
 *
 * Lists of addresses, headers and bodies grow from a grammar of what mail holds, right, obsolete
 * and wrong, and are then damaged. What must hold is in test/unit/props.h, for mend here.
 * The same seed gives the same inputs. Prints TAP.
 *
 * Usage: million [INPUTS [SEED]]; a SEED of "one" input: million 1 SEED+NUMBER
 */
#include "../unit/props.h"
#include "mail/mend.h"

enum { INPUTS = 1000000, LIST_MAX = 6, FIELDS_MAX = 14, MUTATIONS_MAX = 6 };

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static size_t below(uint64_t *r, size_t n)
{
	return (size_t)(next_random(r) % n);
}

#define PICK(r, table) ((table)[below(r, ARRAY_LEN(table))])

/* ---- addresses ---- */

static void gen_cfws(uint64_t *r, struct buf *b)
{
	static const char *const some[] = {
		"",
		"",
		"",
		"",
		"",
		"",
		" ",
		" ",
		"\n ",
		"\r\n\t",
		"  ",
		"(c)",
		" (a (b) c) ",
		"(\\))",
		"(",
		")",
		"(\n )",
		" (\xc3\xbc) ",
		"()",
	};

	buf_z(b, PICK(r, some));
}

static void gen_word(uint64_t *r, struct buf *b)
{
	static const char *const some[] = {
		"eddy",
		"root",
		"a",
		"x+y",
		"o'neil",
		"Moe",
		"\"q r\"",
		"\"a@b\"",
		"\"\\\"\"",
		"\"\"",
		"\"a\n b\"",
		"j\xc3\xbc",
		"\xfc",
		"\\root",
		"a\\,b",
		"=?utf-8?q?J=C3=BC?=",
		"=?utf-8?Q?a,b?=",
		"=?x?b?",
		"%",
		"\"",
		"#1",
		"Q.",
	};

	buf_z(b, PICK(r, some));
}

static void gen_domain(uint64_t *r, struct buf *b)
{
	static const char *const some[] = {
		"example.org",  "b",          "box",     "example . net",
		"[192.0.2.1]",  "[IPv6:::1]", "[ 1 ]",   "b\xc3\xbc.example",
		"example.com.", "a..b",       "[a\\]b]", "[",
		"x_y",          "-",          "",
	};

	buf_z(b, PICK(r, some));
}

static void gen_spec(uint64_t *r, struct buf *b)
{
	for (size_t n = 1 + below(r, 2); n; n--) {
		gen_cfws(r, b);
		gen_word(r, b);
		gen_cfws(r, b);
		if (n > 1)
			buf_c(b, '.');
	}
	if (below(r, 5) == 0)
		return;
	buf_c(b, '@');
	gen_cfws(r, b);
	gen_domain(r, b);
	gen_cfws(r, b);
}

static void gen_mailbox(uint64_t *r, struct buf *b)
{
	static const char *const routes[] = {
		"@x:", "@x,@y.z:", ",,@x:", "@x", ",", ":"
	};

	if (below(r, 3) == 0) {
		gen_spec(r, b);
		return;
	}
	for (size_t n = below(r, 4); n; n--) {
		gen_word(r, b);
		buf_z(b, below(r, 8) ? " " : ".");
		gen_cfws(r, b);
	}
	buf_c(b, '<');
	if (below(r, 8) == 0)
		buf_z(b, PICK(r, routes));
	if (below(r, 16))
		gen_spec(r, b);
	if (below(r, 16))
		buf_c(b, '>');
	gen_cfws(r, b);
}

static void gen_list(uint64_t *r, struct buf *b)
{
	static const char *const between[] = { ", ", ",", ",\n ", ", ,", ";", " ", ",," };
	static const char *const groups[] = { "Team:", "\"a:b\" c :", ":", "(x)G (y):" };
	bool group = below(r, 6) == 0;

	if (group)
		buf_z(b, PICK(r, groups));
	for (size_t n = below(r, LIST_MAX); n; n--) {
		gen_mailbox(r, b);
		if (n > 1)
			buf_z(b, PICK(r, between));
	}
	if (group && below(r, 8))
		buf_c(b, ';');
}

/* ---- headers and bodies ---- */

static void gen_text(uint64_t *r, struct buf *b)
{
	static const char *const some[] = {
		"hello",
		" ",
		"\n ",
		"\n\t",
		"J\xc3\xbcrgen",
		"\xff",
		"=?utf-8?q?x?=",
		".",
		"\r",
		"text/plain; charset=utf-8",
		"<a@b>",
		"x: y",
		"\n \n ",
		"=20",
		"\t",
		"Sun, 22 Nov 2026 01:46:00 +0000",
		"multipart/mixed; boundary=b",
		"1.0",
		"base64",
		"quoted-printable",
		"8bit",
		"7bit",
		"multipart/signed",
		"application/pkcs7-mime",
		"; charset=us-ascii",
		"; charset=utf-16",
		"; boundary*0=b",
		"; boundary*=''b",
		"; filename*=''J\xc3\xbc",
		" (\xc3\xbc)",
		";",
		"\"",
	};
	size_t n = below(r, 6);

	buf_c(b, ' ');
	while (n--)
		buf_z(b, PICK(r, some));
	if (below(r, 60) == 0)
		for (n = below(r, 2500); n; n--)
			buf_c(b, below(r, 40) ? 'x' : ' ');
}

static void gen_header(uint64_t *r, struct buf *b)
{
	static const char *const lists[] = {
		"From",     "From",      "To",  "To",          "Cc", "Sender",
		"Reply-To", "Resent-To", "Bcc", "resent-from", "TO", "from ",
	};
	static const char *const texts[] = {
		"Subject",
		"Date",
		"Message-ID",
		"X-Cron-Env",
		"Auto-Submitted",
		"Content-Type",
		"Content-Transfer-Encoding",
		"MIME-Version",
		"References",
		"In-Reply-To",
		"Return-Path",
		"Received",
		"X-Long",
		"DATE",
		"Comments",
	};
	static const char *const ends[] = { "\n", "\n", "\n", "\n", "\r\n", "\r\r\n" };

	if (below(r, 20) == 0)
		buf_z(b, "From root Sun Nov 22\n");
	for (size_t n = below(r, FIELDS_MAX); n; n--) {
		bool list = below(r, 2);

		buf_z(b, list ? PICK(r, lists) : PICK(r, texts));
		buf_z(b, ":");
		if (list)
			gen_list(r, b);
		else
			gen_text(r, b);
		buf_z(b, PICK(r, ends));
	}
}

static void gen_body(uint64_t *r, struct buf *b)
{
	static const char *const some[] = {
		"hello\n",
		".\n",
		"\r\n",
		"\xc3\xbc",
		"\xff",
		"50%\r",
		"--b\n",
		"--b--\n",
		"Content-Type: text/html\n\n",
		"Content-Transfer-Encoding: base64\n\n",
		"=C3",
		"=\n",
		"aGVsbG8=\n",
		" \n",
		"\t",
		"From x\n",
		"\n",
		"x",
		"trailing ",
	};

	for (size_t n = below(r, 20); n; n--)
		buf_z(b, PICK(r, some));
	if (below(r, 10) == 0)
		buf_c(b, '\0');
	if (below(r, 50) == 0)
		for (size_t n = below(r, 3000); n; n--)
			buf_c(b, below(r, 30) ? 'y' : '\xe9');
}

static void mutate(uint64_t *r, struct buf *b)
{
	static const char special[] = "\r\n\0 .<>\"\\@,;:()[]\t\x7f\xff=?";

	if (below(r, 2) == 0)
		return;
	for (size_t n = below(r, MUTATIONS_MAX); n && b->n; n--) {
		size_t at = below(r, b->n), how = below(r, 5), more;

		if (how == 0)
			b->p[at] = (char)next_random(r);
		else if (how == 1)
			b->p[at] = special[below(r, sizeof(special) - 1)];
		else if (how == 2)
			buf_drop(b, below(r, 2) ? at / 4 : 1);
		else if (how == 3)
			buf_cut(b, b->n - at / 4);
		else if ((more = at / 3) > 0)
			buf_add(b, buf_room(b, more) - b->n, more);
	}
}

/* ---- mend ---- */

struct mended {
	struct buf header, body;
	bool refused;
};

/* Mends a message for a host that offers nothing, its body in pieces of up to cut octets. */
static void mend_message(struct str header, struct str body, size_t cut,
                         struct mended *ret)
{
	const struct mend_host host = { .eightbit = false };
	struct mend_look look = { .faults = 0 };
	struct mend_scan scan = { .faults = 0 };
	struct mend mend = { .part = 0 };
	unsigned faults;

	for (struct str rest = body; rest.n; rest = str_from(rest, cut))
		mend_look_add(&look, str_head(rest, cut));
	faults = mend_look_end(&look, &host);
	if (!faults) {
		mend_header(NULL, &host, header, &ret->header);
		buf_str(&ret->body, body);
		return;
	}
	mend_scan_start(&scan, &host, header);
	for (struct str rest = body; rest.n; rest = str_from(rest, cut))
		mend_scan_add(&scan, str_head(rest, cut));
	mend_scan_end(&scan);
	ret->refused = mend_refusal(&scan).n > 0;
	if (!ret->refused) {
		mend_header(&scan, &host, header, &ret->header);
		mend_start(&mend, &scan, header);
		for (struct str rest = body; rest.n; rest = str_from(rest, cut))
			mend_add(&mend, str_head(rest, cut), &ret->body);
		mend_end(&mend, &ret->body);
		mend_free(&mend);
	}
	mend_scan_free(&scan);
}

static void mended_free(struct mended *m)
{
	buf_free(&m->header);
	buf_free(&m->body);
}

/* What comes out is legal, does not depend on the pieces, and is not changed once more. */
static void props_mend(struct str header, struct str body, size_t cut)
{
	const struct mend_host host = { .eightbit = false };
	struct mended once = { BUF_INIT, BUF_INIT, false }, pieces = once, again = once;
	struct mend_look look = { .faults = 0 };

	mend_message(header, body, SIZE_MAX, &once);
	mend_message(header, body, cut, &pieces);
	PROPS_REQUIRE(once.refused == pieces.refused);
	PROPS_REQUIRE(str_eq(buf_view(&once.header), buf_view(&pieces.header)));
	PROPS_REQUIRE(str_eq(buf_view(&once.body), buf_view(&pieces.body)));
	if (!once.refused) {
		mend_look_add(&look, buf_view(&once.body));
		PROPS_REQUIRE(mend_look_end(&look, &host) == 0);
		PROPS_REQUIRE(mend_header_faults(&host, buf_view(&once.header)) == 0);
		mend_message(buf_view(&once.header), buf_view(&once.body), SIZE_MAX,
		             &again);
		PROPS_REQUIRE(str_eq(buf_view(&once.header), buf_view(&again.header)));
		PROPS_REQUIRE(str_eq(buf_view(&once.body), buf_view(&again.body)));
	}
	mended_free(&once);
	mended_free(&pieces);
	mended_free(&again);
}

/* ---- one input ---- */

static void check_list(uint64_t *r)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	gen_list(r, &b);
	mutate(r, &b);
	props_addr(buf_view(&b));
}

static void check_message(uint64_t *r)
{
	_cleanup_buf_ struct buf b = BUF_INIT, body = BUF_INIT, made = BUF_INIT;
	char any[] = "*", as[] = "%u+%h@isp.example", name[] = "%n at %h";
	const struct masq_rule rule = { .match = any,
		                        .as = as,
		                        .name = below(r, 2) ? name : NULL,
		                        .rewrite = below(r, 2) ? MASQ_DEFAULT
		                                               : MASQ_DEFAULT | MASQ_TO };
	const struct compose_conf c = { .hostname = STR("box.example.org"),
		                        .domain = below(r, 4) ? STR("example.org")
		                                              : STR("b\xc3\xbc.example"),
		                        .rules = &rule,
		                        .rules_n = below(r, 2) };
	const struct envelope e = { .login = STR("eddy"),
		                    .gecos = STR("Eddy Moe"),
		                    .uid = 1000 };
	struct str header;

	gen_header(r, &b);
	mutate(r, &b);
	header = props_head(buf_view(&b));
	props_compose(&c, &e, header);
	compose_header(&c, &e, STR("0123456789abcdef"), STR_NONE, header, &made);
	gen_body(r, &body);
	props_mend(buf_view(&made), buf_view(&body), 1 + below(r, 40));
}

int main(int argc, char **argv)
{
	uint64_t inputs = INPUTS, seed = 1;

	if ((argc > 1 && !str_u64(str_z(argv[1]), &inputs)) ||
	    (argc > 2 && !str_u64(str_z(argv[2]), &seed))) {
		fprintf(stderr, "usage: million [INPUTS [SEED]]\n");
		return 2;
	}
	for (uint64_t i = 0; i < inputs; i++) {
		/* Each input has a seed of its own: when one ends this program, the line on
		 * standard error says how to have it again. */
		uint64_t r = seed + i;

		if (i % 10000 == 0)
			fprintf(stderr, "\r%llu", (unsigned long long)i);
		if (getenv("MILLION_TELL"))
			fprintf(stderr, "million 1 %llu\n", (unsigned long long)r);
		if ((seed + i) % 3 == 0)
			check_list(&r);
		else
			check_message(&r);
	}
	fprintf(stderr, "\n");
	printf("1..1\nok 1 - %llu inputs from seed %llu\n", (unsigned long long)inputs,
	       (unsigned long long)seed);
	return 0;
}
