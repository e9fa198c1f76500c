#include "mail/compose.h"
#include "base/clock.h"
#include "mail/head.h"
#include "mail/phrase.h"

enum {
	HOST_MAX = 255,
	FOLD_AT = 78,     /* octets of a line below which it is not folded */
	CLIENT_MAX = 100, /* octets of a client's name in Received */
};

/* Fields that are made when they are missing. */
enum {
	SEEN_DATE = 1 << 0,
	SEEN_MESSAGE_ID = 1 << 1,
	SEEN_FROM = 1 << 2,
	SEEN_TO = 1 << 3, /* To, Cc or Bcc */
};

struct field_kind {
	const char *name;
	unsigned seen;
	unsigned where; /* MASQ_ bits of the rules that may rewrite it; 0: no addresses */
	bool drop;
};

static const struct field_kind kinds[] = {
	{ .name = "Return-Path", .drop = true },
	{ .name = "Bcc", .seen = SEEN_TO, .drop = true },
	{ .name = "Resent-Bcc", .drop = true },
	{ .name = "Date", .seen = SEEN_DATE },
	{ .name = "Message-ID", .seen = SEEN_MESSAGE_ID },
	{ .name = "From", .seen = SEEN_FROM, .where = MASQ_FROM },
	{ .name = "Sender", .where = MASQ_SENDER },
	{ .name = "Reply-To", .where = MASQ_REPLY_TO },
	{ .name = "To", .seen = SEEN_TO, .where = MASQ_TO },
	{ .name = "Cc", .seen = SEEN_TO, .where = MASQ_CC },
	{ .name = "Resent-From", .where = MASQ_FROM },
	{ .name = "Resent-Sender", .where = MASQ_SENDER },
	{ .name = "Resent-Reply-To", .where = MASQ_REPLY_TO },
	{ .name = "Resent-To", .where = MASQ_TO },
	{ .name = "Resent-Cc", .where = MASQ_CC },
};

/* One header being made. */
struct composing {
	const struct compose_conf *c;
	const struct envelope *e;
	struct str id, origin;
	struct buf *out;
	unsigned seen;
	size_t mailboxes; /* looked at so far */
};

/* Adds bytes of the header: CRs in front of LF go. */
static void add_text(struct buf *b, struct str s)
{
	size_t crs = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r') {
			crs++;
			continue;
		}
		for (; crs && s.p[i] != '\n'; crs--)
			buf_c(b, '\r');
		crs = 0;
		buf_c(b, s.p[i]);
	}
	for (; crs; crs--)
		buf_c(b, '\r');
}

/* Ends the line at the end of b if it is open. */
static void end_line(struct buf *b)
{
	if (b->n && b->p[b->n - 1] != '\n')
		buf_c(b, '\n');
}

/* May this stand as a host in Received and Message-ID? */
static bool host_ok(struct str h)
{
	for (size_t i = 0; i < h.n; i++) {
		char l = ascii_lower(h.p[i]);

		if (!(l >= 'a' && l <= 'z') && !(l >= '0' && l <= '9') &&
		    (l == '\0' || !strchr("-._:[]", l)))
			return false;
	}
	return h.n > 0 && h.n <= HOST_MAX;
}

static struct str host_name(const struct compose_conf *c)
{
	if (host_ok(c->hostname))
		return c->hostname;
	return host_ok(c->domain) ? c->domain : STR("mailchute.invalid");
}

static void add_received(const struct composing *k)
{
	struct str client = str_head(k->e->client, CLIENT_MAX);

	buf_z(k->out, "Received: by ");
	buf_str(k->out, host_name(k->c));
	buf_z(k->out, " (mailchute, from ");
	if (client.n) {
		buf_z(k->out, "client ");
		for (size_t i = 0; i < client.n; i++)
			buf_str(k->out, host_ok(str_head(str_from(client, i), 1))
			                    ? str_head(str_from(client, i), 1)
			                    : STR("?"));
		buf_z(k->out, ", ");
	}
	buf_fmt(k->out, "userid %llu)\n\tid ", (unsigned long long)k->e->uid);
	buf_str(k->out, k->id);
	buf_z(k->out, "; ");
	clock_rfc5322(k->out, k->e->time);
	buf_c(k->out, '\n');
}

/* Makes an address in plain form, with the text of its name, what it becomes in a field.
 * False: a rule made no new name, and *ret is the address alone. True: *ret is the whole
 * mailbox. */
static bool address_rewrite(const struct composing *k, unsigned where, struct str addr,
                            struct str name, struct buf *ret)
{
	_cleanup_buf_ struct buf new = BUF_INIT, full = BUF_INIT, login = BUF_INIT,
	                         full_name = BUF_INIT, new_name = BUF_INIT;
	const struct masq_rule *rule = compose_address(k->c, k->e, where, addr, &new);
	struct masq_who who = { .host = k->c->hostname };

	if (!rule || !rule->name) {
		buf_str(ret, buf_view(&new));
		return false;
	}
	who.login = compose_login(k->e, &login);
	phrase_clean(&full_name, k->e->full_name.n ? k->e->full_name : k->e->gecos);
	who.full_name = buf_view(&full_name);
	compose_complete(k->c, addr, &full);
	masq_name(&new_name, rule, buf_view(&full), name, &who);
	phrase_mailbox(ret, buf_view(&new_name), buf_view(&new));
	return true;
}

/* Makes what a mailbox of the header becomes. False: it stays as it is. */
static bool mailbox_rewrite(const struct composing *k, unsigned where,
                            const struct addr *a, struct buf *ret)
{
	_cleanup_buf_ struct buf old = BUF_INIT, new = BUF_INIT, name = BUF_INIT;
	size_t before;

	addr_plain(&old, a);
	if (!addr_envelope_ok(buf_view(&old)))
		return false;
	phrase_text(&name, a);
	if (address_rewrite(k, where, buf_view(&old), buf_view(&name), &new)) {
		buf_str(ret, buf_view(&new));
		return true;
	}
	if (str_eq(buf_view(&old), buf_view(&new)))
		return false;
	before = (size_t)(a->spec.p - a->whole.p);
	add_text(ret, str_head(a->whole, before));
	buf_str(ret, buf_view(&new));
	add_text(ret, str_from(a->whole, before + a->spec.n));
	return true;
}

static size_t column(const struct buf *b)
{
	const char *lf = b->n ? memrchr(b->p, '\n', b->n) : NULL;

	return lf ? b->n - (size_t)(lf + 1 - b->p) : b->n;
}

/* Adds a field with addresses. False: it has none, and nothing was added. */
static bool add_addresses(struct composing *k, unsigned where, const struct head_field *f)
{
	_cleanup_buf_ struct buf field = BUF_INIT, one = BUF_INIT;
	struct str todo = f->raw;
	struct addr_list l;
	struct addr a;
	bool found = false, changed = false;

	addr_list_start(&l, f->body);
	while (k->mailboxes < COMPOSE_MAILBOX_MAX && addr_list_next(&l, &a)) {
		if (a.spec.n == 0)
			continue;
		found = true;
		k->mailboxes++;
		buf_reset(&one);
		if (mailbox_rewrite(k, where, &a, &one))
			changed = true;
		else
			add_text(&one, a.whole);
		add_text(&field, str_head(todo, (size_t)(a.whole.p - todo.p)));
		/* A line must not pass what SMTP carries because of us. Lines that are all
		 * blanks cannot come of it. */
		if (column(&field) > FOLD_AT && column(&field) + one.n > COMPOSE_FOLD)
			buf_z(&field, "\n ");
		buf_str(&field, buf_view(&one));
		todo = str_from(todo, (size_t)(a.whole.p - todo.p) + a.whole.n);
	}
	if (!found && k->mailboxes < COMPOSE_MAILBOX_MAX)
		return false;
	if (changed) {
		buf_str(k->out, buf_view(&field));
		add_text(k->out, todo);
	} else {
		add_text(k->out, f->raw);
	}
	end_line(k->out);
	return true;
}

static const struct field_kind *kind_of(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_ieq(name, str_z(kinds[i].name)))
			return &kinds[i];
	return NULL;
}

static void add_field(struct composing *k, const struct head_field *f)
{
	const struct field_kind *kind = kind_of(f->name);

	if (kind && kind->where && add_addresses(k, kind->where, f)) {
		k->seen |= kind->seen;
		return;
	}
	/* A From without an address is no From: many a smart host refuses it. */
	if (kind && (kind->seen & SEEN_FROM)) {
		if (str_trim(f->body).n == 0)
			return;
		buf_z(k->out, "X-Original-From:");
		add_text(k->out, f->body);
		buf_c(k->out, '\n');
		return;
	}
	if (kind)
		k->seen |= kind->seen;
	if (kind && kind->drop)
		return;
	add_text(k->out, f->raw);
	end_line(k->out);
}

static void add_from(const struct composing *k)
{
	_cleanup_buf_ struct buf addr = BUF_INIT, new = BUF_INIT;
	struct str name = k->e->full_name;

	if (!k->e->has_sender)
		compose_submitter(k->e, &addr);
	else if (k->e->sender.n)
		buf_str(&addr, k->e->sender);
	else
		buf_z(&addr, "MAILER-DAEMON"); /* it is nobody's: only -F names it */
	if (name.n == 0 && (!k->e->has_sender || k->e->sender.n))
		name = k->e->gecos;
	buf_z(k->out, "From: ");
	if (address_rewrite(k, MASQ_FROM, buf_view(&addr), name, &new))
		buf_str(k->out, buf_view(&new));
	else
		phrase_mailbox(k->out, name, buf_view(&new));
	buf_c(k->out, '\n');
}

static void add_missing(const struct composing *k)
{
	if (!(k->seen & SEEN_DATE)) {
		buf_z(k->out, "Date: ");
		clock_rfc5322(k->out, k->e->time);
		buf_c(k->out, '\n');
	}
	if (!(k->seen & SEEN_MESSAGE_ID)) {
		buf_z(k->out, "Message-ID: <");
		buf_str(k->out, k->origin);
		buf_c(k->out, '@');
		buf_str(k->out, host_name(k->c));
		buf_z(k->out, ">\n");
	}
	if (!(k->seen & SEEN_FROM))
		add_from(k);
	if (!(k->seen & SEEN_TO))
		buf_z(k->out, "To: undisclosed-recipients:;\n");
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Where a line (without LF) is broken so that no more than room octets are in front: at its
 * last blank behind text (not the one behind the field's name), else anywhere, but not
 * within a character of UTF-8. */
static size_t break_at(struct str line, size_t room)
{
	size_t lead = 0, at = room;

	while (lead < room && is_blank(line.p[lead]))
		lead++;
	if (lead < room / 2)
		lead = room / 2;
	while (at > lead && !is_blank(line.p[at]))
		at--;
	if (at > lead)
		return at;
	for (at = room; at + 3 > room && ((unsigned char)line.p[at] & 0xc0) == 0x80;)
		at--;
	return at;
}

/* Adds a line of the header (without LF), in as many as it takes. */
static void fold_line(struct buf *b, struct str line)
{
	size_t used = 0;

	while (line.n > COMPOSE_LINE_MAX - used) {
		size_t at = break_at(line, COMPOSE_LINE_MAX - used);

		buf_str(b, str_head(line, at));
		line = str_from(line, at);
		/* Blanks alone make no line: some take that for the header's end. */
		if (str_trim(line).n == 0)
			break;
		while (line.n > 1 && is_blank(line.p[0]) && is_blank(line.p[1]))
			line = str_from(line, 1);
		buf_c(b, '\n');
		used = !is_blank(line.p[0]);
		if (used)
			buf_c(b, ' ');
	}
	if (str_trim(line).n)
		buf_str(b, line);
	buf_c(b, '\n');
}

/* Folds what the wire would have to cut: what stands behind a cut begins a line, and would
 * be a field of its own, or the body. */
static void fold_long_lines(struct buf *b, size_t from)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct str rest = str_from(buf_view(b), from), line;
	bool is_long = false;

	while (rest.n && str_cut(&rest, '\n', &line))
		is_long |= line.n > COMPOSE_LINE_MAX;
	if (!is_long)
		return;
	buf_str(&all, str_from(buf_view(b), from));
	buf_cut(b, from);
	rest = buf_view(&all);
	while (rest.n && str_cut(&rest, '\n', &line)) {
		if (line.n > COMPOSE_LINE_MAX) {
			fold_line(b, line);
		} else {
			buf_str(b, line);
			buf_c(b, '\n');
		}
	}
}

void compose_header(const struct compose_conf *c, const struct envelope *e, struct str id,
                    struct str origin, struct str header, struct buf *ret)
{
	struct composing k = {
		.c = c, .e = e, .id = id, .origin = origin.n ? origin : id, .out = ret
	};
	struct head_field f;
	size_t from = ret->n;

	add_received(&k);
	while (head_next(&header, &f))
		add_field(&k, &f);
	add_missing(&k);
	fold_long_lines(ret, from);
	buf_c(ret, '\n');
}
