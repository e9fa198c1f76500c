#include "push/explain.h"
#include "mail/head.h"
#include "mail/text.h"
#include "smtp/idna.h"

/* ---- What both forms share ---- */

static bool is_at(const struct trace_entry *t, struct str place)
{
	return str_ieq(str_z(t->place), place);
}

static bool is_envelope(const struct trace_entry *t)
{
	return is_at(t, STR(TRACE_ENVELOPE_SENDER)) || is_at(t, STR(TRACE_ENVELOPE_RCPT));
}

/* Whose reasons are asked for: a place of the envelope, a field of the header, or (both NULL)
 * all that are left of the header. */
struct whose {
	const char *place;
	const struct explain_field *field;
};

static struct str name_of(struct str raw)
{
	ptrdiff_t colon = str_chr(raw, ':');

	return str_trim(str_head(raw, colon < 0 ? 0 : (size_t)colon));
}

static struct str field_name(const struct explain_field *f)
{
	return name_of(f->before.n ? f->before : f->after);
}

/* A field that was made is none of those that were there; one that stands in place of an old
 * one has the reasons of both. */
static bool is_of_field(const struct trace_entry *t, const struct explain_field *f)
{
	if (t->field)
		return t->field == f->number;
	return f->after.n && is_at(t, name_of(f->after));
}

static bool is_of(const struct trace_entry *t, struct whose w)
{
	if (w.place)
		return is_at(t, str_z(w.place));
	return w.field ? is_of_field(t, w.field) : !is_envelope(t);
}

/* The next entry from *at on that was not printed and is one of these. */
static const struct trace_entry *next_why(struct explained *e, struct whose w, size_t *at)
{
	const struct trace *t = e->x->compose->trace;

	for (; t && *at < t->n; (*at)++) {
		const struct trace_entry *one = &t->entry[*at];

		if (e->used[*at] || !is_of(one, w))
			continue;
		e->used[(*at)++] = true;
		return one;
	}
	return NULL;
}

static bool field_wanted(const struct explained *e, const struct explain_field *f)
{
	return e->x->what == EXPLAIN_ALL ||
	       (e->x->what == EXPLAIN_SENDER &&
	        (str_ieq(field_name(f), STR("From")) ||
	         str_ieq(field_name(f), STR("X-Original-From"))));
}

/* Is it the same text but for blanks and line ends? */
static bool same_words(struct str a, struct str b)
{
	size_t i = 0, k = 0;

	for (;;) {
		while (i < a.n && ascii_space(a.p[i]))
			i++;
		while (k < b.n && ascii_space(b.p[k]))
			k++;
		if (i == a.n || k == b.n)
			return i == a.n && k == b.n;
		if (a.p[i++] != b.p[k++])
			return false;
	}
}

static bool has_long_line(struct str s)
{
	struct str line;

	while (s.n && str_cut(&s, '\n', &line))
		if (line.n > COMPOSE_LINE_MAX)
			return true;
	return false;
}

/* Of a change that has no entry in the trace. */
static const char *why_else(const struct explain_field *f)
{
	if (!f->before.n && str_starts(f->after, STR("X-Original-")))
		return "what it was before";
	if (!f->before.n)
		return "made for every message";
	if (!f->after.n)
		return "left out, or made a part of another one of this name";
	if (same_words(f->before, f->after))
		return "folded: no line may be over 998 octets";
	return has_long_line(f->before)
	           ? "in encoded words (RFC 2047): no line may be over 998 octets"
	           : "changed";
}

static size_t route_of(const struct explained *e, struct str rcpt, struct buf *why)
{
	const struct explain *x = e->x;
	const struct message *m = e->m;
	struct str sender = str_z(m->note.plan.sender);
	size_t route;

	for (size_t i = 0; m->noted && i < x->conf->smarthosts; i++)
		if (str_eq(m->note.route, str_z(x->conf->smarthost[i].name))) {
			buf_z(why, "decided when it was first tried");
			return i;
		}
	route = conf_route(x->conf, sender, rcpt);
	explain_route(x, sender, rcpt, route, why);
	return route;
}

/* The envelope sender as it was given. */
static struct str sender_before(const struct explained *e, struct buf *room)
{
	if (e->m->env.has_sender)
		return e->m->env.sender;
	compose_submitter(&e->m->env, room);
	return buf_view(room);
}

/* ---- Text ---- */

/* Adds the lines of s, each behind a prefix. */
static void put_lines(struct buf *b, const char *prefix, struct str s)
{
	struct str line;

	while (s.n && str_cut(&s, '\n', &line)) {
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		buf_z(b, prefix);
		buf_str(b, line);
		buf_c(b, '\n');
	}
}

static void put_address(struct buf *b, const char *prefix, struct str a)
{
	put_lines(b, prefix, a.n ? a : STR("<>"));
}

/* Adds the reasons. False: there are none. */
static bool put_why(struct explained *e, struct buf *b, struct whose w)
{
	const struct trace_entry *t;
	bool any = false;
	size_t at = 0;

	while (b->n < EXPLAIN_ROOM && (t = next_why(e, w, &at))) {
		buf_z(b, "        ");
		if (t->old[0] || t->new[0])
			buf_fmt(b, "%s%s%s: ", t->old,
			        t->old[0] && t->new[0] ? " -> " : "", t->new);
		buf_fmt(b, "%s\n", t->why);
		any = true;
	}
	return any;
}

static void text_sender(struct explained *e, struct buf *b)
{
	_cleanup_buf_ struct buf room = BUF_INIT;
	struct str was = sender_before(e, &room), is = str_z(e->m->note.plan.sender);

	buf_z(b, "envelope sender\n");
	if (str_eq(was, is)) {
		put_address(b, "      ", is);
	} else {
		put_address(b, "    - ", was);
		put_address(b, "    + ", is);
	}
	if (!e->m->env.has_sender)
		buf_z(b, "        no -f: the submitter's login\n");
	put_why(e, b, (struct whose){ .place = TRACE_ENVELOPE_SENDER });
}

static void text_rcpts(struct explained *e, struct buf *b)
{
	const struct plan *p = &e->m->note.plan;
	size_t i;

	buf_z(b, "recipients\n");
	for (i = 0; i < e->m->env.rcpts && b->n < EXPLAIN_ROOM; i++)
		put_address(b, "    - ", e->m->env.rcpt[i].addr);
	if (i < e->m->env.rcpts)
		buf_fmt(b, "      ... and %zu more\n", e->m->env.rcpts - i);
	put_why(e, b, (struct whose){ .place = TRACE_ENVELOPE_RCPT });
	if (e->m->noted)
		buf_z(b, "        planned when it was first tried; `mailchute retry "
		         "--recompose` has it planned anew\n");
	for (i = 0; i < p->rcpts && b->n < (size_t)2 * EXPLAIN_ROOM; i++) {
		_cleanup_buf_ struct buf why = BUF_INIT;
		size_t route = route_of(e, str_z(p->rcpt[i].addr), &why);
		const struct smarthost *h = &e->x->conf->smarthost[route];

		put_address(b, "    + ", str_z(p->rcpt[i].addr));
		if (p->rcpt[i].refused) {
			buf_fmt(b, "        refused: %s\n", p->rcpt[i].refused);
			continue;
		}
		buf_fmt(b, "        by smarthost \"%s\" (%s:%d): %s\n", h->name,
		        e->x->conf_path, h->line, why.p ? why.p : "");
	}
	if (i < p->rcpts)
		buf_fmt(b, "      ... and %zu more\n", p->rcpts - i);
}

static void text_header(struct explained *e, struct buf *b)
{
	const size_t room = b->n + EXPLAIN_ROOM;
	size_t i;

	buf_z(b, "header\n");
	for (i = 0; i < e->fields && b->n < room; i++) {
		const struct explain_field *f = &e->field[i];

		if (!field_wanted(e, f))
			continue;
		if (f->same) {
			put_lines(b, "      ", f->after);
			continue;
		}
		put_lines(b, "    - ", f->before);
		put_lines(b, "    + ", f->after);
		if (!put_why(e, b, (struct whose){ .field = f }))
			buf_fmt(b, "        %s\n", why_else(f));
	}
	if (i < e->fields || e->more)
		buf_z(b, "      ... and more\n");
	if (e->x->what == EXPLAIN_ALL)
		put_why(e, b, (struct whose){ .place = NULL });
}

/* What a host without SMTPUTF8 gets for an address of the envelope. False: just that. */
static bool put_ascii(struct buf *b, struct str addr)
{
	_cleanup_buf_ struct buf ascii = BUF_INIT;

	if (str_is_ascii(addr))
		return false;
	put_lines(b, "    - ", addr);
	if (idna_address(&ascii, addr) == 0)
		put_lines(b, "    + ", buf_view(&ascii));
	else
		buf_z(b, "        refused: 553 5.6.7 the address needs SMTPUTF8\n");
	return true;
}

static void text_content(const struct explained *e, struct buf *b)
{
	const struct plan *p = &e->m->note.plan;
	const size_t room = b->n + EXPLAIN_ROOM;
	bool any;

	buf_z(b, "for a host that offers nothing\n");
	any = put_ascii(b, str_z(p->sender));
	for (size_t i = 0; i < p->rcpts && b->n < room; i++)
		any |= !p->rcpt[i].refused && put_ascii(b, str_z(p->rcpt[i].addr));
	for (size_t i = 0; i < e->mends; i++)
		put_lines(b, "      ", buf_view(&e->mend[i]));
	if (e->mends == 0 && !any)
		buf_z(b, "      nothing has to be mended\n");
	if (e->loop)
		buf_fmt(b, "refused\n      %s\n", e->loop);
	buf_fmt(b, "size\n      %lld octets, the limit is %lld (max-message-size): %s\n",
	        (long long)e->size, (long long)e->x->conf->max_message_size,
	        e->m->size > e->x->conf->max_message_size ? "it would be refused"
	                                                  : "it may pass");
}

void explain_text(struct explained *e, struct buf *b)
{
	const struct trace *t = e->x->compose->trace;

	if (e->x->what != EXPLAIN_RCPTS)
		text_sender(e, b);
	if (e->x->what != EXPLAIN_SENDER)
		text_rcpts(e, b);
	if (e->x->what != EXPLAIN_RCPTS)
		text_header(e, b);
	if (e->x->what == EXPLAIN_ALL)
		text_content(e, b);
	if (t && t->lost)
		buf_fmt(b, "(%zu more changes are not listed)\n", t->lost);
}

/* ---- JSON ---- */

/* Length of the UTF-8 character s begins with, and its code point; 0: none. */
static size_t code_point(struct str s, uint32_t *ret)
{
	size_t n = text_utf8_length(s);
	uint32_t v =
	    n == 1 ? (unsigned char)s.p[0] : (unsigned char)s.p[0] & (0x7fu >> n);

	for (size_t i = 1; i < n; i++)
		v = v << 6 | ((unsigned char)s.p[i] & 0x3f);
	*ret = v;
	return n;
}

/* In ASCII, like the other commands' JSON: valid UTF-8 as \uNNNN, other bytes as "\xNN". */
static void json_str(struct buf *b, struct str s)
{
	buf_c(b, '"');
	while (s.n) {
		uint32_t v = 0;
		size_t n = code_point(s, &v);

		if (n == 0)
			buf_fmt(b, "\\\\x%02x", (unsigned char)s.p[0]);
		else if (v == '"' || v == '\\')
			buf_fmt(b, "\\%c", (char)v);
		else if (v >= 0x20 && v < 0x7f)
			buf_c(b, (char)v);
		else if (v < 0x10000)
			buf_fmt(b, "\\u%04x", v);
		else
			buf_fmt(b, "\\u%04x\\u%04x", 0xd800 + ((v - 0x10000) >> 10),
			        0xdc00 + ((v - 0x10000) & 0x3ff));
		s = str_from(s, n ? n : 1);
	}
	buf_c(b, '"');
}

static void json_comma(struct buf *b)
{
	const char last = (char)(b->n ? b->p[b->n - 1] : ',');

	if (last != '{' && last != '[' && last != ',')
		buf_c(b, ',');
}

static void json_key(struct buf *b, const char *key)
{
	json_comma(b);
	buf_fmt(b, "\"%s\":", key);
}

static void json_text(struct buf *b, const char *key, struct str v)
{
	json_key(b, key);
	json_str(b, v);
}

/* Adds "why": what changed step by step. */
static void json_why(struct explained *e, struct buf *b, struct whose w,
                     const char *otherwise)
{
	const struct trace_entry *t;
	bool any = false;
	size_t at = 0;

	json_key(b, "why");
	buf_c(b, '[');
	while (b->n < (size_t)2 * EXPLAIN_ROOM && (t = next_why(e, w, &at))) {
		json_comma(b);
		buf_c(b, '{');
		json_text(b, "from", str_z(t->old));
		json_text(b, "to", str_z(t->new));
		json_text(b, "reason", str_z(t->why));
		buf_c(b, '}');
		any = true;
	}
	if (!any && otherwise) {
		buf_c(b, '{');
		json_text(b, "reason", str_z(otherwise));
		buf_c(b, '}');
	}
	buf_c(b, ']');
}

/* Adds what a host without SMTPUTF8 gets for an address, when it is another one. */
static void json_ascii(struct buf *b, struct str addr)
{
	_cleanup_buf_ struct buf ascii = BUF_INIT;

	if (str_is_ascii(addr))
		return;
	if (idna_address(&ascii, addr) == 0)
		json_text(b, "ascii", buf_view(&ascii));
	else
		json_text(b, "needs", STR("SMTPUTF8"));
}

static void json_sender(struct explained *e, struct buf *b)
{
	_cleanup_buf_ struct buf room = BUF_INIT;

	json_key(b, "sender");
	buf_c(b, '{');
	json_text(b, "before", sender_before(e, &room));
	json_text(b, "after", str_z(e->m->note.plan.sender));
	json_ascii(b, str_z(e->m->note.plan.sender));
	json_why(e, b, (struct whose){ .place = TRACE_ENVELOPE_SENDER }, NULL);
	buf_c(b, '}');
}

static void json_rcpts(struct explained *e, struct buf *b)
{
	const struct plan *p = &e->m->note.plan;

	json_key(b, "submitted");
	buf_c(b, '[');
	for (size_t i = 0; i < e->m->env.rcpts && b->n < (size_t)2 * EXPLAIN_ROOM; i++) {
		json_comma(b);
		json_str(b, e->m->env.rcpt[i].addr);
	}
	buf_c(b, ']');
	json_why(e, b, (struct whose){ .place = TRACE_ENVELOPE_RCPT }, NULL);
	json_key(b, "recipients");
	buf_c(b, '[');
	for (size_t i = 0; i < p->rcpts && b->n < (size_t)4 * EXPLAIN_ROOM; i++) {
		_cleanup_buf_ struct buf why = BUF_INIT;
		size_t route = route_of(e, str_z(p->rcpt[i].addr), &why);

		json_comma(b);
		buf_c(b, '{');
		json_text(b, "address", str_z(p->rcpt[i].addr));
		json_ascii(b, str_z(p->rcpt[i].addr));
		if (p->rcpt[i].refused)
			json_text(b, "refused", str_z(p->rcpt[i].refused));
		json_text(b, "route", str_z(e->x->conf->smarthost[route].name));
		json_key(b, "line");
		buf_fmt(b, "%d", e->x->conf->smarthost[route].line);
		json_text(b, "reason", buf_view(&why));
		buf_c(b, '}');
	}
	buf_c(b, ']');
}

static void json_header(struct explained *e, struct buf *b)
{
	const size_t room = b->n + (size_t)2 * EXPLAIN_ROOM;

	json_key(b, "header");
	buf_c(b, '[');
	for (size_t i = 0; i < e->fields && b->n < room; i++) {
		const struct explain_field *f = &e->field[i];

		if (!field_wanted(e, f))
			continue;
		json_comma(b);
		buf_c(b, '{');
		json_text(b, "field", field_name(f));
		json_text(b, "before", f->before);
		json_text(b, "after", f->after);
		if (!f->same)
			json_why(e, b, (struct whose){ .field = f }, why_else(f));
		buf_c(b, '}');
	}
	buf_c(b, ']');
}

static void json_content(const struct explained *e, struct buf *b)
{
	json_key(b, "mend");
	buf_c(b, '[');
	for (size_t i = 0; i < e->mends; i++) {
		json_comma(b);
		json_str(b, buf_view(&e->mend[i]));
	}
	buf_c(b, ']');
	json_key(b, "mendable");
	buf_z(b, e->refused ? "false" : "true");
	if (e->loop)
		json_text(b, "refused", str_z(e->loop));
	json_key(b, "size");
	buf_fmt(b, "%lld", (long long)e->size);
	json_key(b, "max_message_size");
	buf_fmt(b, "%lld", (long long)e->x->conf->max_message_size);
}

void explain_json(struct explained *e, struct buf *b)
{
	buf_c(b, '{');
	if (e->x->what != EXPLAIN_RCPTS)
		json_sender(e, b);
	if (e->x->what != EXPLAIN_SENDER)
		json_rcpts(e, b);
	if (e->x->what != EXPLAIN_RCPTS)
		json_header(e, b);
	if (e->x->what == EXPLAIN_ALL)
		json_content(e, b);
	buf_c(b, '}');
}
