#include "mail/compose.h"
#include "base/clock.h"
#include "mail/field_kind.h"
#include "mail/fold.h"
#include "mail/head.h"
#include "mail/phrase.h"
#include "mail/received.h"

enum {
	FOLD_AT = 78, /* octets of a line below which it is not folded */
	ADDED = 400,  /* octets that are mostly enough for what is added */
};

/* One header being made. */
struct composing {
	const struct compose_conf *c;
	const struct envelope *e;
	struct str origin; /* the id that Message-ID is made of */
	struct str host;   /* this machine in what is added */
	struct str date;   /* when it was submitted */
	struct buf *out;
	struct str run; /* fields of the header, one behind the other, that go out as they
	                 * are: not yet added */
	unsigned seen;  /* by 1 << KIND_ */
	unsigned several; /* kinds with join of which there are several */
	unsigned joined;  /* those that are done */
	bool crs;         /* the header has CRs */
	bool cron;        /* cron or its like wrote this */
	bool may;         /* the submitter says whose it is (sender-override) */
	bool keep;        /* a rule changed From that wants it kept (keep-original) */
	size_t from;      /* mailboxes in From */
	size_t mailboxes; /* looked at so far */
};

/* Appends bytes of the header as they go out (fold.h). */
static void add_text(const struct composing *k, struct buf *b, struct str s)
{
	if (k->crs)
		fold_text(b, s);
	else
		buf_str(b, s);
}

/* Ends the line at the end of b if it is open. */
static void end_line(struct buf *b)
{
	if (b->n && b->p[b->n - 1] == '\n')
		return;
	while (b->n && b->p[b->n - 1] == '\r')
		buf_cut(b, b->n - 1);
	buf_c(b, '\n');
}

/* Adds the run. */
static void run_end(struct composing *k)
{
	if (k->run.n == 0)
		return;
	add_text(k, k->out, k->run);
	end_line(k->out);
	k->run = STR_NONE;
}

static void run_add(struct composing *k, struct str field)
{
	if (k->run.n && k->run.p + k->run.n == field.p) {
		k->run.n += field.n;
		return;
	}
	run_end(k);
	k->run = field;
}

/* The name that the rule makes. addr and name are those it had. The submitter's names are for
 * his own address. */
static void name_rewrite(const struct composing *k, const struct masq_rule *rule,
                         unsigned where, struct str addr, struct str name,
                         struct buf *ret)
{
	_cleanup_buf_ struct buf full = BUF_SMALL, login = BUF_SMALL,
	                         full_name = BUF_SMALL;
	struct masq_who who = { .host = k->c->hostname };
	struct str domain;

	if (where & (MASQ_FROM | MASQ_SENDER | MASQ_RESENT_FROM | MASQ_RESENT_SENDER)) {
		who.login = compose_login(k->e, &login);
		phrase_clean(&full_name,
		             k->e->full_name.n ? k->e->full_name : k->e->gecos);
		who.full_name = buf_view(&full_name);
	} else {
		addr_split(addr, &who.login, &domain);
	}
	compose_complete(k->c, addr, &full);
	masq_name(ret, rule, buf_view(&full), name, &who);
}

/* Makes an address in plain form, with the text of its name, what it becomes in a field.
 * False: a rule made no new name, and the address alone was appended. True: the whole
 * mailbox. */
static bool address_rewrite(struct composing *k, unsigned where, struct str addr,
                            struct str name, struct buf *ret)
{
	_cleanup_buf_ struct buf new = BUF_SMALL, new_name = BUF_SMALL;
	const size_t start = ret->n;
	const struct masq_rule *rule = compose_address(k->c, k->e, where, addr, ret);

	if (where & MASQ_FROM && rule && rule->keep_original)
		k->keep = true;
	if (!rule || !rule->name)
		return false;
	buf_str(&new, str_from(buf_view(ret), start));
	buf_cut(ret, start);
	name_rewrite(k, rule, where, addr, name, &new_name);
	phrase_mailbox(ret, buf_view(&new_name), buf_view(&new));
	return true;
}

/* Who says in From that nobody typed this (RFC 3834): Debian's cron, cronie, anacron. */
static bool is_cron(struct str name)
{
	return str_eq(name, STR("Cron Daemon")) || str_eq(name, STR("Anacron"));
}

/* Makes what a mailbox of the header becomes. False: it stays as it is. */
static bool mailbox_rewrite(struct composing *k, const struct field_kind *kind,
                            const struct addr *a, struct buf *ret)
{
	_cleanup_buf_ struct buf plain = BUF_SMALL, new = BUF_SMALL, name = BUF_SMALL;
	struct str old = a->spec;
	size_t before;

	if (!addr_is_simple(old)) {
		addr_plain(&plain, a);
		old = buf_view(&plain);
		if (!addr_envelope_ok(old))
			return false;
	}
	phrase_text(&name, a);
	if (kind == &field_kinds[KIND_FROM])
		k->cron = k->cron || is_cron(buf_view(&name));
	if (address_rewrite(k, kind->where, old, buf_view(&name), &new)) {
		buf_str(ret, buf_view(&new));
		return true;
	}
	if (str_eq(old, buf_view(&new)) && !a->open)
		return false;
	before = (size_t)(a->spec.p - a->whole.p);
	add_text(k, ret, str_head(a->whole, before));
	buf_str(ret, buf_view(&new));
	if (a->open)
		buf_c(ret, '>');
	add_text(k, ret, str_from(a->whole, before + a->spec.n));
	return true;
}

/* What was found in a list of addresses. */
struct list_facts {
	size_t mailboxes;
	bool whole; /* it was looked at up to its end, and nothing else was in it */
};

static bool is_ruled(const struct compose_conf *c, unsigned where)
{
	for (size_t i = 0; i < c->rules_n; i++)
		if (c->rules[i].rewrite & where)
			return true;
	return false;
}

/* Most mailboxes are complete, and no rule is for them: then nothing needs to be made of
 * them to see that they stay. (Of From the name is wanted.) */
static bool may_change(const struct addr *a, bool ruled, const struct field_kind *kind)
{
	return ruled || a->open || a->domain.n == 0 || kind == &field_kinds[KIND_FROM];
}

/* Appends text, in which body is a list of addresses, as it goes out. */
static struct list_facts add_list(struct composing *k, const struct field_kind *kind,
                                  struct str text, struct str body, struct buf *ret)
{
	_cleanup_buf_ struct buf one = BUF_SMALL;
	struct list_facts facts = { .whole = false };
	const bool ruled = is_ruled(k->c, kind->where);
	struct str todo = text;
	struct addr_list l;
	struct addr a;
	bool changed = false;

	addr_list_start(&l, body);
	while (k->mailboxes < COMPOSE_MAILBOX_MAX && addr_list_next(&l, &a)) {
		if (a.spec.n == 0)
			continue;
		facts.mailboxes++;
		k->mailboxes++;
		buf_reset(&one);
		if (may_change(&a, ruled, kind) && mailbox_rewrite(k, kind, &a, &one))
			changed = true;
		else if (!changed)
			continue;
		else
			add_text(k, &one, a.whole);
		add_text(k, ret, str_head(todo, (size_t)(a.whole.p - todo.p)));
		/* A line must not pass what SMTP carries because of us. Lines that are all
		 * blanks cannot come of it. */
		if (fold_column(ret) > FOLD_AT && fold_column(ret) + one.n > COMPOSE_FOLD)
			buf_z(ret, "\n ");
		buf_str(ret, buf_view(&one));
		todo = str_from(todo, (size_t)(a.whole.p - todo.p) + a.whole.n);
	}
	facts.whole = !l.bad && l.rest.n == 0;
	add_text(k, ret, todo);
	return facts;
}

_Static_assert(FIELD_KINDS <= 32, "a bit for each kind");

static unsigned bit(const struct field_kind *kind)
{
	return 1u << (kind - field_kinds);
}

static bool says_nothing(struct str body)
{
	for (size_t i = 0; i < body.n; i++)
		if (!ascii_space(body.p[i]) && body.p[i] != ',')
			return false;
	return true;
}

/* A field that cannot go out under its name, but is worth a look. */
static void add_original(struct composing *k, const struct head_field *f, const char *why)
{
	trace_add(k->c->trace, STR(""), STR(""), "kept as X-Original-%.*s: %s",
	          (int)f->name.n, f->name.p, why);
	buf_z(k->out, "X-Original-");
	buf_str(k->out, f->name);
	buf_c(k->out, ':');
	add_text(k, k->out, f->body);
	end_line(k->out);
}

/* Adds the fields of a kind of which there are several, the first one of them f, the others
 * in rest, as one. Those that are no list cannot be joined: were there an open quote or
 * comment, the next list would become a part of it. */
static void add_joined(struct composing *k, const struct field_kind *kind,
                       const struct head_field *f, struct str rest)
{
	_cleanup_buf_ struct buf joined = BUF_INIT, part = BUF_INIT, others = BUF_INIT;
	struct buf *const out = k->out;
	struct head_field next = *f;

	k->out = &others;
	do {
		struct str body = str_trim(next.body);

		if (field_kind_of(next.name) != kind || says_nothing(body))
			continue;
		while (ascii_space(body.p[body.n - 1]) || body.p[body.n - 1] == ',')
			body.n--;
		buf_reset(&part);
		/* A backslash would take the comma that comes behind it. */
		if (body.p[body.n - 1] == '\\' ||
		    !add_list(k, kind, body, body, &part).whole) {
			add_original(k, &next, "it is no list of addresses");
			continue;
		}
		if (joined.n == 0)
			buf_str(&joined, kind->name);
		buf_z(&joined, joined.n > kind->name.n ? ",\n " : ": ");
		buf_str(&joined, buf_view(&part));
	} while (head_next(&rest, &next));
	k->out = out;
	if (joined.n) {
		buf_str(out, buf_view(&joined));
		buf_c(out, '\n');
		k->seen |= bit(kind);
	}
	buf_str(out, buf_view(&others));
}

/* From as it was, completed, for those who want to know what a rule made of it. */
static void add_kept(struct composing *k, const struct head_field *f)
{
	static const struct field_kind as_it_was = { .where = 0 };

	buf_z(k->out, "X-Original-");
	add_list(k, &as_it_was, f->raw, f->body, k->out);
	end_line(k->out);
}

/* Does the field name the submitter, and nobody else? */
static bool is_own(const struct composing *k, const struct field_kind *kind,
                   struct str body)
{
	_cleanup_buf_ struct buf plain = BUF_SMALL;
	struct addr_list l;
	struct addr a;

	addr_list_start(&l, body);
	if (!addr_list_next(&l, &a))
		return false;
	addr_plain(&plain, &a);
	return addr_envelope_ok(buf_view(&plain)) &&
	       compose_is_own(k->c, k->e, kind->where, buf_view(&plain)) &&
	       !addr_list_next(&l, &a) && !l.bad;
}

/* Adds a field with addresses. rest: the fields behind it. */
static void add_addresses(struct composing *k, const struct field_kind *kind,
                          const struct head_field *f, struct str rest)
{
	size_t start = k->out->n;
	struct list_facts facts;

	if (k->several & bit(kind)) {
		k->joined |= bit(kind);
		add_joined(k, kind, f, rest);
		return;
	}
	facts = add_list(k, kind, f->raw, f->body, k->out);
	/* Many a smart host refuses a From or a Sender without an address. */
	if (kind->mailbox && facts.mailboxes == 0 && k->mailboxes < COMPOSE_MAILBOX_MAX) {
		buf_cut(k->out, start);
		add_original(k, f, "there is no address in it");
		return;
	}
	end_line(k->out);
	k->seen |= bit(kind);
	if (kind != &field_kinds[KIND_FROM])
		return;
	k->from = facts.mailboxes;
	if (k->keep)
		add_kept(k, f);
}

/* Does it go out as it is? Most do. */
static bool stays(const struct composing *k, const struct field_kind *kind,
                  const struct head_field *f)
{
	return !kind->drop && !kind->where && !(kind->once && (k->seen & bit(kind))) &&
	       !(kind->text && says_nothing(f->body));
}

/* Adds a field that does not stay as it is, or may not. */
static void add_field(struct composing *k, const struct field_kind *kind,
                      const struct head_field *f, struct str rest)
{
	struct trace *const t = k->c->trace;

	if (kind->drop) {
		k->seen |= bit(kind);
		trace_add(t, STR(""), STR(""), "left out: it is not for others to see");
	} else if ((kind->text || kind->mailbox) && says_nothing(f->body)) {
		trace_add(t, STR(""), STR(""), "left out: it is empty");
		return;
	} else if (k->joined & bit(kind)) {
		trace_add(t, STR(""), STR(""), "made a part of the first one");
		return; /* it is a part of the first one */
	} else if (kind->once && (k->seen & bit(kind))) {
		if (kind->join)
			k->several |= bit(kind);
		else
			add_original(k, f, "there is one already (RFC 5322 3.6)");
	} else if (kind->mailbox && !k->may && !is_own(k, kind, f->body)) {
		add_original(k, f, "sender-override: it is not the submitter's own");
	} else {
		add_addresses(k, kind, f, rest);
	}
}

/* The address of who submits it, as he says. False: it is nobody's. */
static bool submitter(const struct composing *k, unsigned where, struct buf *ret)
{
	const struct envelope *e = k->e;

	if (!k->may && !(e->sender.n && compose_is_own(k->c, e, where, e->sender)))
		compose_own(k->c, e, ret);
	else if (!e->has_sender)
		compose_submitter(e, ret);
	else if (e->sender.n)
		buf_str(ret, e->sender);
	else
		buf_z(ret, "MAILER-DAEMON");
	return !k->may || !e->has_sender || e->sender.n;
}

/* Adds From or Sender with the address of who submits it, and his name. */
static void add_submitter(struct composing *k, const struct field_kind *kind)
{
	_cleanup_buf_ struct buf addr = BUF_SMALL, new = BUF_SMALL, full = BUF_SMALL;
	bool somebody = submitter(k, kind->where, &addr);
	struct str name = k->e->full_name;

	/* Nobody's has a name only by -F. */
	if (name.n == 0 && somebody)
		name = k->e->gecos;
	buf_str(k->out, kind->name);
	buf_z(k->out, ": ");
	trace_at(k->c->trace, kind->name);
	trace_add(k->c->trace, STR(""), buf_view(&addr),
	          "there was none: who submits it");
	if (address_rewrite(k, kind->where, buf_view(&addr), name, &new))
		buf_str(k->out, buf_view(&new));
	else
		phrase_mailbox(k->out, name, buf_view(&new));
	buf_c(k->out, '\n');
	if (kind != &field_kinds[KIND_FROM] || !k->keep)
		return;
	compose_complete(k->c, buf_view(&addr), &full);
	buf_z(k->out, "X-Original-From: ");
	phrase_mailbox(k->out, name, buf_view(&full));
	buf_c(k->out, '\n');
}

static void add_missing(struct composing *k)
{
	const unsigned to = 1u << KIND_TO | 1u << KIND_CC;

	if (!(k->seen & 1u << KIND_DATE)) {
		trace_made(k->c->trace, "Date", "there was none: when it was submitted");
		buf_z(k->out, "Date: ");
		buf_str(k->out, k->date);
		buf_c(k->out, '\n');
	}
	if (!(k->seen & 1u << KIND_MESSAGE_ID)) {
		trace_made(k->c->trace, "Message-ID", "there was none: made of the id");
		buf_z(k->out, "Message-ID: <");
		buf_str(k->out, k->origin);
		buf_c(k->out, '@');
		buf_str(k->out, k->host);
		buf_z(k->out, ">\n");
	}
	if (!(k->seen & 1u << KIND_FROM))
		add_submitter(k, &field_kinds[KIND_FROM]);
	/* Several wrote it: one of them must have sent it (RFC 5322 3.6.2). */
	if (k->from > 1 && !(k->seen & 1u << KIND_SENDER))
		add_submitter(k, &field_kinds[KIND_SENDER]);
	if (!(k->seen & to)) {
		trace_made(k->c->trace, "To", "there was neither To, Cc nor Bcc");
		buf_z(k->out, "To: undisclosed-recipients:;\n");
	}
	/* So that no vacation program answers (RFC 3834 5). */
	if ((k->cron || (k->seen & 1u << KIND_CRON_ENV)) &&
	    !(k->seen & 1u << KIND_AUTO_SUBMITTED)) {
		trace_made(k->c->trace, "Auto-Submitted", "cron wrote it (RFC 3834)");
		buf_z(k->out, "Auto-Submitted: auto-generated\n");
	}
}

/* Adds all fields. False: a kind of which there are several was met twice; several then
 * says so, and what was added is of no use. */
static bool add_fields(struct composing *k, struct str header)
{
	unsigned several = k->several;
	struct head_field f;

	while (several == k->several && head_next(&header, &f)) {
		const struct field_kind *kind = field_kind_of(f.name);

		trace_field(k->c->trace, f.name);
		if (stays(k, kind, &f)) {
			k->seen |= bit(kind);
			run_add(k, f.raw);
			continue;
		}
		run_end(k);
		add_field(k, kind, &f, header);
	}
	run_end(k);
	return several == k->several;
}

/* The kinds that are joined and stand there more than once. */
static unsigned joined_kinds(struct str header)
{
	unsigned once = 0, several = 0;
	struct head_field f;

	while (head_next(&header, &f)) {
		const struct field_kind *kind = field_kind_of(f.name);

		if (!kind->join || says_nothing(f.body))
			continue;
		several |= once & bit(kind);
		once |= bit(kind);
	}
	return several;
}

void compose_header(const struct compose_conf *c, const struct envelope *e, struct str id,
                    struct str origin, struct str header, struct buf *ret)
{
	_cleanup_buf_ struct buf date = BUF_SMALL;
	struct composing start = {
		.c = c,
		.e = e,
		.origin = origin.n ? origin : id,
		.host = received_host(c),
		.out = ret,
		.crs = str_chr(header, '\r') >= 0,
		.may = compose_may_override(c, e),
	};
	struct composing k;
	size_t from = ret->n, fields, traced = c->trace ? c->trace->n : 0;

	buf_room(ret, header.n + ADDED);
	trace_made(c->trace, "Received", "every relay adds one (RFC 5321 4.4)");
	clock_rfc5322(&date, e->time);
	start.date = buf_view(&date);
	received_add(ret, start.host, e, id, start.date);
	fields = ret->n;
	k = start;
	if (!add_fields(&k, header)) {
		unsigned several = joined_kinds(header);

		buf_cut(ret, fields);
		trace_cut(c->trace, traced + 1); /* but that of Received */
		k = start;
		k.several = several;
		add_fields(&k, header);
	}
	add_missing(&k);
	fold_long_lines(ret, from, COMPOSE_LINE_MAX);
	buf_c(ret, '\n');
}
