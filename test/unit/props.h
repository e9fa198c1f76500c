/* What must hold for every input of the header's engine, in one place: unit tests, fuzz
 * targets and test/million use it. A broken rule aborts, so that a fuzzer sees it; props_at
 * says which. */
#ifndef TEST_PROPS_H
#define TEST_PROPS_H

#include "mail/addr.h"
#include "mail/compose.h"
#include "mail/head.h"
#include "mail/phrase.h"
#include <stdio.h>

#define PROPS_REQUIRE(ok)                                                        \
	do {                                                                     \
		if (!(ok)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #ok); \
			abort();                                                 \
		}                                                                \
	} while (0)

static inline bool props_inside(struct str text, struct str span)
{
	return span.n == 0 || (span.p >= text.p && span.p + span.n <= text.p + text.n);
}

/* The plain form of an address that is fit for an envelope is read back as itself. */
static inline void props_plain(struct str plain)
{
	_cleanup_buf_ struct buf again = BUF_INIT;
	struct addr_list l;
	struct addr a;
	struct str local, domain;

	addr_split(plain, &local, &domain);
	PROPS_REQUIRE(local.n > 0);
	addr_list_start(&l, plain);
	PROPS_REQUIRE(addr_list_next(&l, &a) && !l.bad);
	addr_plain(&again, &a);
	PROPS_REQUIRE(str_eq(buf_view(&again), plain));
	PROPS_REQUIRE(!addr_list_next(&l, &a));
}

/* Another address in the place of one: the same list again with just that changed. */
static inline void props_replace(struct str text, const struct addr *a, size_t number)
{
	_cleanup_buf_ struct buf b = BUF_INIT, plain = BUF_INIT;
	size_t at = (size_t)(a->spec.p - text.p);
	struct addr_list l;
	struct addr found;

	buf_str(&b, str_head(text, at));
	buf_z(&b, "new@example.net");
	if (a->open)
		buf_c(&b, '>');
	buf_str(&b, str_from(text, at + a->spec.n));
	addr_list_start(&l, buf_view(&b));
	for (size_t i = 0; i <= number; i++)
		PROPS_REQUIRE(addr_list_next(&l, &found));
	addr_plain(&plain, &found);
	PROPS_REQUIRE(str_eq(buf_view(&plain), STR("new@example.net")));
	PROPS_REQUIRE(str_eq(found.phrase, a->phrase) && !found.open);
	PROPS_REQUIRE(found.angled == a->angled);
	if (!a->open && !props_inside(a->spec, a->comment))
		PROPS_REQUIRE(str_eq(found.comment, a->comment));
}

/* A mailbox is what the whole grammar finds, which a comment in front calls for: rest is what
 * the list was before it. */
static inline void props_grammar(struct str rest, const struct addr *a)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct addr_list l;
	struct addr g;

	buf_z(&b, "()");
	buf_str(&b, rest);
	addr_list_start(&l, buf_view(&b));
	PROPS_REQUIRE(addr_list_next(&l, &g));
	PROPS_REQUIRE(str_eq(g.spec, a->spec) && str_eq(g.phrase, a->phrase));
	PROPS_REQUIRE(str_eq(g.local, a->local) && str_eq(g.domain, a->domain));
	PROPS_REQUIRE(str_eq(g.comment, a->comment));
	PROPS_REQUIRE(g.angled == a->angled && g.open == a->open);
	PROPS_REQUIRE(g.whole.p + g.whole.n - b.p ==
	              a->whole.p + a->whole.n - rest.p + 2);
}

/* Any text as a list: the spans are in it, in order, and what is between them and they
 * themselves are the text. Returns how many addresses are in it. */
static inline size_t props_addr(struct str text)
{
	_cleanup_buf_ struct buf printed = BUF_INIT;
	struct addr_list l;
	struct addr a;
	struct str todo = text, rest = text;
	size_t n = 0;

	addr_list_start(&l, text);
	for (; addr_list_next(&l, &a); rest = l.rest) {
		_cleanup_buf_ struct buf plain = BUF_INIT, name = BUF_INIT;

		PROPS_REQUIRE(props_inside(todo, a.whole) && a.whole.n > 0);
		PROPS_REQUIRE(props_inside(a.whole, a.spec));
		PROPS_REQUIRE(props_inside(a.spec, a.local));
		PROPS_REQUIRE(props_inside(a.spec, a.domain));
		PROPS_REQUIRE(props_inside(a.whole, a.phrase));
		PROPS_REQUIRE(props_inside(a.whole, a.comment));
		PROPS_REQUIRE(!a.domain.n || a.local.p + a.local.n < a.domain.p);
		PROPS_REQUIRE(!a.phrase.n || a.phrase.p + a.phrase.n < a.spec.p);
		PROPS_REQUIRE(!a.open || (a.angled && l.bad));
		buf_add(&printed, todo.p, (size_t)(a.whole.p - todo.p));
		buf_str(&printed, a.whole);
		todo = str_from(todo, (size_t)(a.whole.p + a.whole.n - todo.p));
		addr_plain(&plain, &a);
		PROPS_REQUIRE((plain.n == 0) == (a.spec.n == 0));
		if (addr_envelope_ok(buf_view(&plain)))
			props_plain(buf_view(&plain));
		phrase_text(&name, &a);
		PROPS_REQUIRE(name.n <= PHRASE_MAX);
		if (n < 20 && text.n < 4096)
			props_grammar(rest, &a);
		if (a.spec.n && n < 20 && text.n < 4096)
			props_replace(text, &a, n);
		n++;
	}
	buf_str(&printed, todo);
	PROPS_REQUIRE(str_eq(buf_view(&printed), text));
	return n;
}

/* Any text as the beginning of a message. Returns the header without its empty line. */
static inline struct str props_head(struct str text)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t empty, length = head_length(text, true, &empty);
	struct str header = str_head(text, length - empty), rest = header;
	struct head_field f;
	const char *at = text.p;

	PROPS_REQUIRE(length <= text.n && empty <= length);
	/* The fields are the header, without gaps but for a first mbox line. */
	while (head_next(&rest, &f)) {
		PROPS_REQUIRE(f.name.n > 0 && f.name.p == f.raw.p);
		PROPS_REQUIRE(f.raw.p == at || at == text.p);
		PROPS_REQUIRE(props_inside(f.raw, f.body));
		at = f.raw.p + f.raw.n;
		PROPS_REQUIRE(rest.p == at);
		buf_reset(&b);
		head_unfold(&b, f.body);
		for (size_t i = 0; i < b.n; i++)
			PROPS_REQUIRE((unsigned char)b.p[i] >= 0x20 && b.p[i] != 0x7f);
	}
	PROPS_REQUIRE(at == text.p || (size_t)(at - text.p) == length - empty);
	return header;
}

/* Fields of RFC 5322 3.6 that a message has at most once. */
static inline int props_once(struct str name)
{
	static const char *const once[] = {
		"Date", "From",       "Sender",  "Reply-To",    "To",
		"Cc",   "Message-ID", "Subject", "In-Reply-To", "References",
	};

	for (size_t i = 0; i < ARRAY_LEN(once); i++)
		if (str_ieq(name, str_z(once[i])))
			return (int)i;
	return -1;
}

/* What any header that was composed is: a header to its end, Received in front, what must
 * be there is there, nothing twice, no line too long. */
static inline void props_composed(struct str header)
{
	unsigned seen = 0, from = 1u << 1, sender = 1u << 2;
	size_t empty, first = 0, authors = 0;
	struct str rest = header, line;
	struct head_field f;

	PROPS_REQUIRE(head_length(header, true, &empty) == header.n && empty == 1);
	while (head_next(&rest, &f)) {
		int once = props_once(f.name);

		PROPS_REQUIRE((first++ == 0) <= str_eq(f.name, STR("Received")));
		PROPS_REQUIRE(!str_ieq(f.name, STR("Bcc")));
		PROPS_REQUIRE(!str_ieq(f.name, STR("Return-Path")));
		if (once < 0)
			continue;
		PROPS_REQUIRE(!(seen & 1u << once));
		seen |= 1u << once;
		if (1u << once == from) {
			struct addr_list l;
			struct addr a;

			addr_list_start(&l, f.body);
			while (authors < 3 && addr_list_next(&l, &a))
				authors += a.spec.n > 0;
		}
	}
	PROPS_REQUIRE((seen & 1) && (seen & from) && (seen & 1u << 6));
	PROPS_REQUIRE(authors == 1 || (seen & sender));
	while (str_cut(&header, '\n', &line))
		PROPS_REQUIRE(line.n <= COMPOSE_LINE_MAX);
}

/* A header, composed: twice the same; composed again, nothing is left to do but one more
 * Received; the identity rule changes nothing that no rule would not. */
static inline void props_compose(const struct compose_conf *c, const struct envelope *e,
                                 struct str header)
{
	_cleanup_buf_ struct buf once = BUF_INIT, again = BUF_INIT, same = BUF_INIT;
	char any[] = "*", identity[] = "%u@%d";
	const struct masq_rule rule = { .match = any,
		                        .as = identity,
		                        .rewrite = MASQ_DEFAULT | MASQ_TO | MASQ_CC };
	struct compose_conf plain = *c;
	struct str id = STR("0123456789abcdef");

	compose_header(c, e, id, STR_NONE, header, &once);
	props_composed(buf_view(&once));
	compose_header(c, e, id, STR_NONE, header, &again);
	PROPS_REQUIRE(str_eq(buf_view(&once), buf_view(&again)));
	buf_reset(&once);
	buf_reset(&again);
	plain.rules_n = 0;
	compose_header(&plain, e, id, STR_NONE, header, &once);
	plain.rules = &rule;
	plain.rules_n = 1;
	compose_header(&plain, e, id, STR_NONE, header, &same);
	/* A From that is made of a sender with needless quotes loses these to a rule. */
	if (str_chr(e->sender, '"') < 0 && str_chr(e->login, '"') < 0)
		PROPS_REQUIRE(str_eq(buf_view(&once), buf_view(&same)));
	plain.rules_n = 0;
	compose_header(&plain, e, id, STR_NONE, str_head(buf_view(&once), once.n - 1),
	               &again);
	PROPS_REQUIRE(
	    again.n >= once.n &&
	    str_eq(buf_view(&once), str_from(buf_view(&again), again.n - once.n)));
}

#endif
