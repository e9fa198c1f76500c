#include "inject/sm_args.h"
#include "mail/addr.h"
#include <sysexits.h>

enum { QUOTE_MAX = 200, TABLE_MIN = 64 };

/* ---- recipients ---- */

struct sm_span {
	size_t at, n;
};

static struct sm_span span_at(const struct sm_rcpts *r, size_t i)
{
	struct sm_span s;

	memcpy(&s, r->spans.p + i * sizeof(s), sizeof(s));
	return s;
}

struct str sm_rcpts_at(const struct sm_rcpts *r, size_t i)
{
	struct sm_span s = span_at(r, i);

	return (struct str){ r->text.p + s.at, s.n };
}

/* FNV-1a, case folded: equal addresses have equal sums. */
static uint32_t sum(struct str a)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < a.n; i++)
		h = (h ^ (unsigned char)ascii_lower(a.p[i])) * 16777619U;
	return h;
}

static bool same(struct str a, struct str b)
{
	struct str al, ad, bl, bd;

	if (a.n != b.n)
		return false;
	addr_split(a, &al, &ad);
	addr_split(b, &bl, &bd);
	return str_eq(al, bl) && str_ieq(ad, bd);
}

static uint32_t slot_get(const struct sm_rcpts *r, size_t i)
{
	uint32_t v;

	memcpy(&v, r->table.p + i * sizeof(v), sizeof(v));
	return v;
}

/* The slot of this address: its own, or the empty one where it belongs. */
static size_t slot_find(const struct sm_rcpts *r, struct str a)
{
	size_t slots = r->table.n / sizeof(uint32_t), i = sum(a) & (slots - 1);

	for (;; i = (i + 1) & (slots - 1)) {
		uint32_t v = slot_get(r, i);

		if (v == 0 || same(sm_rcpts_at(r, v - 1), a))
			return i;
	}
}

static void slot_set(struct sm_rcpts *r, size_t i, size_t number)
{
	uint32_t v = (uint32_t)number + 1;

	memcpy(r->table.p + i * sizeof(v), &v, sizeof(v));
}

/* Keeps the table at most half full; sizes are powers of two. */
static void table_grow(struct sm_rcpts *r)
{
	size_t slots = r->table.n / sizeof(uint32_t), bytes;

	if (slots / 2 > r->n)
		return;
	bytes = (slots ? slots * 2 : TABLE_MIN) * sizeof(uint32_t);
	buf_reset(&r->table);
	memset(buf_room(&r->table, bytes), 0, bytes);
	r->table.n = bytes;
	for (size_t i = 0; i < r->n; i++)
		slot_set(r, slot_find(r, sm_rcpts_at(r, i)), i);
}

static bool add_one(struct sm_rcpts *r, struct str a)
{
	struct sm_span s = { r->text.n, a.n };
	size_t i;

	table_grow(r);
	i = slot_find(r, a);
	if (slot_get(r, i))
		return true;
	if (r->n == ENVELOPE_RCPT_MAX)
		return false;
	buf_str(&r->text, a);
	buf_add(&r->spans, &s, sizeof(s));
	slot_set(r, i, r->n++);
	return true;
}

bool sm_rcpts_add(struct sm_rcpts *r, struct str text, struct str *ret_bad)
{
	_cleanup_buf_ struct buf plain = BUF_INIT;
	struct addr_list l;
	struct addr a;

	addr_list_start(&l, text);
	for (;;) {
		const char *from = l.rest.p;
		bool more = addr_list_next(&l, &a);

		if (more) {
			buf_reset(&plain);
			addr_plain(&plain, &a);
		}
		if (l.bad || (more && !addr_envelope_ok(buf_view(&plain)))) {
			size_t at = (size_t)(from - text.p);

			*ret_bad = str_trim(
			    str_head(str_from(text, at), (size_t)(l.rest.p - from)));
			if (ret_bad->n == 0)
				*ret_bad = text;
			return false;
		}
		if (!more)
			return true;
		if (!add_one(r, buf_view(&plain))) {
			*ret_bad = STR_NONE;
			return false;
		}
	}
}

void sm_rcpts_free(struct sm_rcpts *r)
{
	buf_free(&r->text);
	buf_free(&r->spans);
	buf_free(&r->table);
	r->n = 0;
}

void sm_quote(struct buf *b, struct str s)
{
	buf_c(b, '"');
	buf_escape(b, s, QUOTE_MAX);
	buf_z(b, s.n > QUOTE_MAX ? "\"..." : "\"");
}

/* ---- letters ---- */

enum arity { NONE, VALUE, ATTACHED }; /* VALUE: attached, or else the next word */

enum action {
	IGNORE,
	SET_MODE,
	SET_NAME,
	SET_SENDER,
	SET_DOT,
	SET_ALIASES,
	SET_NOTIFY,
	SET_OLD_OPTION,
	SET_FLUSH,
	SET_RET,
	SET_TAKE,
	SET_ENVID,
};

/* sendmail 8's letters with sendmail 8's arity. What is ignored changes nothing that a
 * null client does: submission modes, error modes, hop counts, precedence, macros, traces,
 * configuration files. */
static const struct letter {
	char letter;
	enum arity arity;
	enum action action;
} letters[] = {
	{ 'A', VALUE, IGNORE },         { 'B', VALUE, IGNORE },
	{ 'b', VALUE, SET_MODE },       { 'C', VALUE, IGNORE },
	{ 'c', NONE, IGNORE },          { 'D', VALUE, IGNORE },
	{ 'd', ATTACHED, IGNORE },      { 'e', VALUE, IGNORE },
	{ 'F', VALUE, SET_NAME },       { 'f', VALUE, SET_SENDER },
	{ 'G', NONE, IGNORE },          { 'h', VALUE, IGNORE },
	{ 'I', NONE, SET_ALIASES },     { 'i', NONE, SET_DOT },
	{ 'L', VALUE, IGNORE },         { 'M', VALUE, IGNORE },
	{ 'm', NONE, IGNORE },          { 'N', VALUE, SET_NOTIFY },
	{ 'n', NONE, IGNORE },          { 'O', VALUE, IGNORE },
	{ 'o', VALUE, SET_OLD_OPTION }, { 'p', VALUE, IGNORE },
	{ 'Q', ATTACHED, SET_FLUSH },   { 'q', ATTACHED, SET_FLUSH },
	{ 'R', VALUE, SET_RET },        { 'r', VALUE, SET_SENDER },
	{ 's', NONE, IGNORE },          { 'T', NONE, IGNORE },
	{ 't', NONE, SET_TAKE },        { 'U', NONE, IGNORE },
	{ 'V', VALUE, SET_ENVID },      { 'v', NONE, IGNORE },
	{ 'X', VALUE, IGNORE },
};

static const struct mode {
	char letter;
	enum sm_mode mode;
	const char *unavailable;
} modes[] = {
	{ 'm', SM_SEND, NULL },
	{ 'i', SM_ALIASES, NULL },
	{ 'v', SM_VERIFY, NULL },
	{ 'p', SM_LIST, NULL },
	{ 's', SM_SMTP, NULL },
	{ 'S', SM_UNAVAILABLE, "batch SMTP (-bS) is not in this version" },
	{ 'a', SM_UNAVAILABLE, "-ba is not in this version" },
	{ 'd', SM_UNAVAILABLE, "-bd: the daemon is mailchuted(8)" },
	{ 'D', SM_UNAVAILABLE, "-bD: the daemon is mailchuted(8)" },
	{ 't', SM_UNAVAILABLE, "-bt: there is no address test mode" },
	{ 'h', SM_UNAVAILABLE, "-bh: no host status is kept here; see mailchute(8)" },
	{ 'H', SM_UNAVAILABLE, "-bH: no host status is kept here; see mailchute(8)" },
	{ 'P', SM_UNAVAILABLE, "-bP is not in this version" },
};

static const struct name {
	struct str name;
	enum sm_mode mode;
	const char *unavailable;
} names[] = {
	{ { "mailq", 5 }, SM_LIST, NULL },
	{ { "newaliases", 10 }, SM_ALIASES, NULL },
	{ { "runq", 4 }, SM_FLUSH, NULL },
	{ { "rmail", 5 }, SM_UNAVAILABLE, "rmail is not in this version" },
};

/* What was said, before it is judged: the last word of a letter wins, and only that is
 * looked at. */
struct words {
	const char *sender, *name, *notify, *ret, *envid;
	bool flush;
	struct buf rcpt; /* of const char * */
};

static int usage(struct buf *why, const char *what, struct str value)
{
	buf_z(why, what);
	buf_c(why, ' ');
	sm_quote(why, value);
	return EX_USAGE;
}

static int set_mode(struct sm_args *a, const char *value, struct buf *why)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		if (value[0] == modes[i].letter) {
			a->mode = modes[i].mode;
			a->unavailable = modes[i].unavailable;
			return 0;
		}
	}
	return usage(why, "unknown mode -b", str_z(value));
}

static int act(struct sm_args *a, struct words *w, const struct letter *l,
               const char *value, struct buf *why)
{
	switch (l->action) {
	case IGNORE:
		break;
	case SET_MODE:
		return set_mode(a, value, why);
	case SET_NAME:
		w->name = value;
		break;
	case SET_SENDER:
		w->sender = value;
		break;
	case SET_OLD_OPTION: /* -oi; -oem, -odb, -om and their kind change nothing here */
		if (value[0] == 'i')
			a->dot_is_data = true;
		break;
	case SET_DOT:
		a->dot_is_data = true;
		break;
	case SET_ALIASES:
		a->mode = SM_ALIASES;
		break;
	case SET_NOTIFY:
		w->notify = value;
		break;
	case SET_FLUSH:
		w->flush = true;
		break;
	case SET_RET:
		w->ret = value;
		break;
	case SET_TAKE:
		a->take_from_header = true;
		break;
	case SET_ENVID:
		w->envid = value;
		break;
	}
	return 0;
}

static const struct letter *find_letter(char c)
{
	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (letters[i].letter == c)
			return &letters[i];
	return NULL;
}

/* One word of letters, at argv[*i]; moves *i on when a value is the next word. */
static int take_bundle(int argc, char *const argv[], int *i, struct sm_args *a,
                       struct words *w, struct buf *why)
{
	const char *word = argv[*i];

	for (const char *c = word + 1; *c; c++) {
		const struct letter *l = find_letter(*c);
		const char *value = "";
		int e;

		if (!l)
			return usage(why, "unknown option", str_z(word));
		if (l->arity != NONE)
			value = c + 1;
		if (l->arity == VALUE && !*value) {
			if (*i + 1 >= argc)
				return usage(why, "no value after", str_z(word));
			value = argv[++*i];
		}
		e = act(a, w, l, value, why);
		if (e != 0 || l->arity != NONE)
			return e;
	}
	return 0;
}

static int take_words(int argc, char *const argv[], struct sm_args *a, struct words *w,
                      struct buf *why)
{
	bool options = true;

	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		int e;

		if (!options || word[0] != '-' || !word[1]) {
			buf_add(&w->rcpt, &word, sizeof(word));
			continue;
		}
		if (strcmp(word, "--") == 0) {
			options = false;
			continue;
		}
		e = take_bundle(argc, argv, &i, a, w, why);
		if (e != 0)
			return e;
	}
	return 0;
}

/* ---- values ---- */

/* '' and '<>' are the null sender; else exactly one address, in any form. */
static int set_sender(struct sm_args *a, struct str value, struct buf *why)
{
	struct addr_list l;
	struct addr one, more;

	a->has_sender = true;
	value = str_trim(value);
	if (value.n == 0 || str_eq(value, STR("<>")))
		return 0;
	addr_list_start(&l, value);
	if (!addr_list_next(&l, &one) || addr_list_next(&l, &more) || l.bad)
		return usage(why, "-f: not one address:", value);
	addr_plain(&a->sender, &one);
	if (!addr_envelope_ok(buf_view(&a->sender)))
		return usage(why, "-f: not an address:", value);
	return 0;
}

/* RFC 3461 4.1: NEVER alone, or a list of the others. Kept in one order, each once. */
static int set_notify(struct sm_args *a, struct str value, struct buf *why)
{
	static const struct str word[] = { { "SUCCESS", 7 },
		                           { "FAILURE", 7 },
		                           { "DELAY", 5 } };
	bool said[ARRAY_LEN(word)] = { false };
	struct str rest = value, part;

	if (str_ieq(value, STR("never"))) {
		buf_z(&a->notify, "NEVER");
		return 0;
	}
	while (str_cut(&rest, ',', &part)) {
		size_t i = 0;

		while (i < ARRAY_LEN(word) && !str_ieq(str_trim(part), word[i]))
			i++;
		if (i == ARRAY_LEN(word))
			return usage(why,
			             "-N: not never, success, failure or delay:", value);
		said[i] = true;
	}
	for (size_t i = 0; i < ARRAY_LEN(word); i++) {
		if (!said[i])
			continue;
		if (a->notify.n)
			buf_c(&a->notify, ',');
		buf_str(&a->notify, word[i]);
	}
	return 0;
}

static int set_values(struct sm_args *a, const struct words *w, struct buf *why)
{
	int e = 0;

	if (w->name) {
		a->full_name = str_z(w->name);
		if (a->full_name.n > SM_NAME_MAX || !envelope_value_ok(a->full_name))
			return usage(why, "-F: not a name:", a->full_name);
	}
	if (w->ret) {
		if (str_ieq(str_z(w->ret), STR("full")))
			a->ret = STR("FULL");
		else if (str_ieq(str_z(w->ret), STR("hdrs")))
			a->ret = STR("HDRS");
		else
			return usage(why, "-R: not full or hdrs:", str_z(w->ret));
	}
	if (w->envid) {
		a->envid = str_z(w->envid);
		if (!envelope_xtext_ok(a->envid, ENVELOPE_ENVID_MAX))
			return usage(
			    why, "-V: not an envelope id (RFC 3461 xtext):", a->envid);
	}
	if (w->notify)
		e = set_notify(a, str_z(w->notify), why);
	if (e == 0 && w->sender)
		e = set_sender(a, str_z(w->sender), why);
	return e;
}

static int set_rcpts(struct sm_args *a, const struct words *w, struct buf *why)
{
	for (size_t i = 0; i < w->rcpt.n / sizeof(const char *); i++) {
		const char *word;
		struct str bad;

		memcpy(&word, w->rcpt.p + i * sizeof(word), sizeof(word));
		if (sm_rcpts_add(&a->rcpts, str_z(word), &bad))
			continue;
		if (bad.n)
			return usage(why, "not a recipient:", str_z(word));
		buf_fmt(why, "more than %d recipients", ENVELOPE_RCPT_MAX);
		return EX_USAGE;
	}
	if (a->rcpts.n == 0 && !a->take_from_header) {
		buf_z(why, "no recipients");
		return EX_USAGE;
	}
	return 0;
}

static void set_called(struct sm_args *a, const char *argv0)
{
	struct str s = str_z(argv0);

	s = str_from(s, (size_t)(str_rchr(s, '/') + 1));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (str_eq(s, names[i].name)) {
			a->mode = names[i].mode;
			a->unavailable = names[i].unavailable;
		}
	}
}

int sm_args_parse(int argc, char *const argv[], struct sm_args *ret, struct buf *ret_why)
{
	struct words w = { .rcpt = BUF_INIT };
	int e;

	*ret = (struct sm_args){ .sender = BUF_INIT, .rcpts = SM_RCPTS_INIT };
	set_called(ret, argc > 0 ? argv[0] : NULL);
	e = take_words(argc, argv, ret, &w, ret_why);
	if (e == 0 && ret->mode == SM_SEND && w.flush)
		ret->mode = SM_FLUSH;
	if (e == 0 && ret->mode == SM_SEND)
		e = set_values(ret, &w, ret_why);
	if (e == 0 && ret->mode == SM_SEND)
		e = set_rcpts(ret, &w, ret_why);
	buf_free(&w.rcpt);
	return e;
}

void sm_args_free(struct sm_args *a)
{
	buf_free(&a->sender);
	buf_free(&a->notify);
	sm_rcpts_free(&a->rcpts);
}
