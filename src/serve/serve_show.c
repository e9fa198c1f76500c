#include "mail/addr.h"
#include "mail/head.h"
#include "serve/serve_list.h"
#include "spool/notefile.h"
#include <assert.h>
#include <errno.h>
#include <unistd.h>

static_assert(NOTE_FILE_MAX < UINT32_MAX, "struct event holds offsets");

/* A line of the note behind its plan. */
struct event {
	uint32_t rcpt; /* counted from 1; 0: of the message as a whole */
	uint32_t at;   /* offset in the note */
};

struct history {
	const struct entry *e;
	struct event *event; /* by recipient, then in the order they happened */
	size_t n, cap;
	bool more; /* there were more than SHOW_EVENTS_MAX */
};

static int by_rcpt(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->rcpt != y->rcpt)
		return x->rcpt < y->rcpt ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static void history_add(struct history *h, uint32_t rcpt, size_t at)
{
	if (h->n == SHOW_EVENTS_MAX) {
		h->more = true;
		return;
	}
	if (h->n == h->cap) {
		struct event *more;

		h->cap = h->cap ? h->cap * 2 : 64;
		more = realloc(h->event, h->cap * sizeof(*more));
		if (!more)
			die_oom();
		h->event = more;
	}
	h->event[h->n++] = (struct event){ .rcpt = rcpt, .at = (uint32_t)at };
}

/* The line at an offset, without its LF. */
static struct str line_at(const struct entry *e, size_t at)
{
	struct str rest = str_from(buf_view(&e->note_text), at), line = STR("");

	str_cut(&rest, '\n', &line);
	return line;
}

/* Takes a word of digits. */
static uint64_t take_number(struct str *line)
{
	struct str part = STR("");
	uint64_t v = 0;

	str_cut(line, ' ', &part);
	return str_u64(part, &v) ? v : 0;
}

/* note_parse() has judged the note; what a crash cut short is passed over as there. */
static void history_load(struct history *h, const struct entry *e)
{
	struct str all = buf_view(&e->note_text), rest = all, line;
	bool behind = false;

	*h = (struct history){ .e = e };
	while (e->noted && str_chr(rest, '\n') >= 0) {
		size_t at = all.n - rest.n;
		uint64_t number;

		str_cut(&rest, '\n', &line);
		if (!behind) {
			behind = str_eq(line, STR("."));
			continue;
		}
		if (line.n < 3)
			continue;
		if (line.p[0] != 'r') {
			history_add(h, 0, at);
			continue;
		}
		line = str_from(line, 2);
		number = take_number(&line);
		if (number >= 1 && number <= e->note.plan.rcpts)
			history_add(h, (uint32_t)number, at);
	}
	if (h->n)
		qsort(h->event, h->n, sizeof(*h->event), by_rcpt);
}

static void history_free(struct history *h)
{
	free(h->event);
}

/* An "r" line taken apart. False: it was cut. */
static bool result_parse(struct str line, struct note_rcpt *ret)
{
	struct str state = STR("");

	line = str_from(line, 2);
	take_number(&line);
	str_cut(&line, ' ', &state);
	if (state.n != 1 || !line.p)
		return false;
	ret->state = state.p[0] == 'D'   ? NOTE_DONE
	             : state.p[0] == 'F' ? NOTE_FAILED
	                                 : NOTE_LATER;
	ret->time = (int64_t)take_number(&line);
	if (!line.p)
		return false;
	ret->code = (int)take_number(&line);
	ret->text = line.p ? line : STR("");
	return line.p != NULL;
}

/* The header, at most SHOW_HEADER_MAX of it. */
static void load_header(const struct entry *e, struct buf *ret)
{
	off_t at = (off_t)(e->head_used - e->attested);
	size_t n, empty;

	while (ret->n < SHOW_HEADER_MAX) {
		ssize_t r =
		    pread(e->item->fd, buf_room(ret, 8192), 8192, at + (off_t)ret->n);

		if (r <= 0)
			break;
		ret->n += (size_t)r;
		ret->p[ret->n] = '\0';
		n = head_length(buf_view(ret), false, &empty);
		if (n < ret->n || empty)
			break;
	}
	if (ret->n == 0)
		return;
	n = head_length(buf_view(ret), true, &empty) - empty;
	buf_cut(ret, n < SHOW_HEADER_MAX ? n : SHOW_HEADER_MAX);
}

/* ---- For people ---- */

static void show_value(struct out *o, const char *name, struct str value)
{
	if (value.n == 0)
		return;
	out_line(o);
	buf_fmt(&o->b, "%-11s ", name);
	buf_escape(&o->b, value, ENVELOPE_NAME_MAX + ADDR_LENGTH_MAX);
	out_end(o);
}

/* Anybody can drop a message with a line C. */
static struct str believed_client(const struct serve_view *v, const struct entry *e)
{
	bool ours = e->owned && v->listener >= 0 && e->uid == (uint64_t)v->listener;

	return ours ? e->env.client : STR("");
}

static void show_envelope(const struct serve_view *v, const struct entry *e)
{
	_cleanup_buf_ struct buf where = BUF_INIT, when = BUF_INIT, who = BUF_INIT,
	                         name = BUF_INIT;

	serve_where(&where, e, v->now);
	text_time(&when, e->submitted);
	buf_z(&when, " (");
	text_span(&when, v->now - e->submitted);
	buf_z(&when, " ago)");
	out_fmt(v->out, "%-11s %s", "message", e->item->place.id.c);
	out_fmt(v->out, "%-11s %s", "where", where.p);
	if (e->bad)
		out_fmt(v->out, "%-11s the envelope: %s", "damaged", e->bad);
	if (e->note_bad)
		out_fmt(v->out, "%-11s the note: %s", "damaged", e->note_bad);
	out_fmt(v->out, "%-11s %s", "submitted", when.p);
	if (e->owned)
		buf_fmt(&who, "uid %llu", (unsigned long long)e->uid);
	if (e->env.login.n)
		buf_fmt(&who, " %.*s", (int)e->env.login.n, e->env.login.p);
	if (e->env.gecos.n)
		buf_fmt(&who, " (%.*s)", (int)e->env.gecos.n, e->env.gecos.p);
	show_value(v->out, "by", buf_view(&who));
	out_fmt(v->out, "%-11s %lld octets", "size", (long long)e->size);
	show_value(v->out, "sender", entry_sender(e, &name));
	if (e->noted)
		show_value(v->out, "goes out as",
		           e->note.plan.sender[0] ? str_z(e->note.plan.sender)
		                                  : STR("<>"));
	show_value(v->out, "split from", e->noted ? e->note.origin : STR(""));
	show_value(v->out, "client", believed_client(v, e));
	show_value(v->out, "says it is", e->env.hint);
	show_value(v->out, "full name", e->env.full_name);
	show_value(v->out, "RET", e->env.ret);
	show_value(v->out, "ENVID", e->env.envid);
}

static void show_result(struct out *o, const struct note_rcpt *r)
{
	out_line(o);
	buf_z(&o->b, "    ");
	text_time(&o->b, r->time);
	buf_fmt(&o->b, "  %s", serve_rcpt_state(r->state));
	if (r->text.n) {
		buf_z(&o->b, ": ");
		text_safe(&o->b, r->text, NOTE_TEXT_MAX);
	}
	out_end(o);
}

static void show_rcpt(struct out *o, const struct entry *e, size_t i)
{
	struct entry_rcpt r = entry_rcpt(e, i);
	struct str notify, orcpt;

	if (e->noted) {
		notify = str_z(e->note.plan.rcpt[i].notify);
		orcpt = str_z(e->note.plan.rcpt[i].orcpt);
	} else {
		notify = e->env.rcpt[i].notify;
		orcpt = e->env.rcpt[i].orcpt;
	}
	out_line(o);
	buf_z(&o->b, "recipient   ");
	buf_escape(&o->b, r.addr, ADDR_LENGTH_MAX);
	buf_fmt(&o->b, "  %s", serve_rcpt_state(r.state));
	if (notify.n) {
		buf_z(&o->b, "  NOTIFY=");
		buf_escape(&o->b, notify, ADDR_LENGTH_MAX);
	}
	if (orcpt.n) {
		buf_z(&o->b, "  ORCPT=");
		buf_escape(&o->b, orcpt, ADDR_LENGTH_MAX);
	}
	out_end(o);
}

/* What befell the message as a whole. */
static void show_event(struct out *o, const struct entry *e, struct str line)
{
	char kind = line.p[0];
	uint64_t n;

	line = str_from(line, 2);
	n = take_number(&line);
	if (n == 0)
		return;
	out_line(o);
	if (kind == 'b' && n <= UINT32_MAX) {
		struct id id = id_derive(&e->item->place.id, (unsigned)n);

		buf_fmt(&o->b, "%-11s %s", n >= PART_FIRST ? "part" : "report", id.c);
		buf_z(&o->b, n >= PART_FIRST ? " has the recipients of another route"
		                             : " tells the sender of failures or delays");
	} else {
		buf_fmt(&o->b, "%-11s ",
		        kind == 'd'   ? "in doubt"
		        : kind == 'w' ? "warned"
		        : kind == 'c' ? "recompose"
		        : kind == 'u' ? "released"
		                      : "try ended");
		text_time(&o->b, n > INT64_MAX ? 0 : (int64_t)n);
	}
	if (kind == 'd' && line.p && line.n) {
		buf_c(&o->b, ' ');
		text_safe(&o->b, line, NOTE_TEXT_MAX);
	}
	out_end(o);
}

static void show_header(struct out *o, const struct entry *e)
{
	_cleanup_buf_ struct buf header = BUF_INIT;
	struct str rest, line;

	load_header(e, &header);
	rest = buf_view(&header);
	out_fmt(o, "header");
	while (rest.n && str_cut(&rest, '\n', &line) && out_more(o)) {
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		out_line(o);
		buf_z(&o->b, "    ");
		/* A TAB that begins a folded line would be escaped. */
		while (line.n && line.p[0] == '\t') {
			buf_c(&o->b, ' ');
			line = str_from(line, 1);
		}
		buf_escape(&o->b, line, line.n);
		out_end(o);
	}
}

static void show_text(const struct serve_view *v, const struct entry *e)
{
	struct history h;
	size_t at = 0, n = entry_rcpts(e);

	history_load(&h, e);
	show_envelope(v, e);
	for (; at < h.n && h.event[at].rcpt == 0 && out_more(v->out); at++)
		show_event(v->out, e, line_at(e, h.event[at].at));
	for (size_t i = 0; i < n && out_more(v->out); i++) {
		show_rcpt(v->out, e, i);
		for (; at < h.n && h.event[at].rcpt == i + 1; at++) {
			struct note_rcpt r = { .state = NOTE_PENDING };

			if (result_parse(line_at(e, h.event[at].at), &r))
				show_result(v->out, &r);
		}
	}
	if (h.more)
		out_fmt(v->out, "there is more in the note");
	history_free(&h);
	if (!e->bad)
		show_header(v->out, e);
}

/* ---- JSON ---- */

static void json_rcpt(struct out *o, const struct entry *e, const struct history *h,
                      size_t i, size_t *at)
{
	struct entry_rcpt r = entry_rcpt(e, i);
	struct buf *b = &o->b;

	serve_json_rcpt(b, &r);
	json_text(b, "notify",
	          e->noted ? str_z(e->note.plan.rcpt[i].notify) : e->env.rcpt[i].notify);
	json_text(b, "orcpt",
	          e->noted ? str_z(e->note.plan.rcpt[i].orcpt) : e->env.rcpt[i].orcpt);
	json_key(b, "history");
	buf_c(b, '[');
	for (; *at < h->n && h->event[*at].rcpt == i + 1 && out_more(o); ++*at) {
		struct note_rcpt past = { .state = NOTE_PENDING };

		if (!result_parse(line_at(e, h->event[*at].at), &past))
			continue;
		json_comma(b);
		buf_c(b, '{');
		json_int(b, "time", past.time);
		json_text(b, "state", str_z(serve_rcpt_state(past.state)));
		json_int(b, "code", past.code);
		json_text(b, "text", str_head(past.text, NOTE_TEXT_MAX));
		buf_c(b, '}');
	}
	buf_z(b, "]}");
}

/* A list of what the lines of one letter say: times, or the ids that b lines give. */
static void json_events(struct out *o, const struct history *h, const char *key,
                        char letter, bool parts)
{
	struct buf *b = &o->b;

	json_key(b, key);
	buf_c(b, '[');
	for (size_t i = 0; i < h->n && h->event[i].rcpt == 0 && out_more(o); i++) {
		struct str line = line_at(h->e, h->event[i].at);
		uint64_t n;

		if (line.p[0] != letter)
			continue;
		line = str_from(line, 2);
		n = take_number(&line);
		if (n == 0 ||
		    (letter == 'b' && (n > UINT32_MAX || (n >= PART_FIRST) != parts)))
			continue;
		json_comma(b);
		if (letter == 'b') {
			struct id id = id_derive(&h->e->item->place.id, (unsigned)n);

			json_str(b, id_str(&id));
		} else {
			buf_fmt(b, "%llu", (unsigned long long)n);
		}
	}
	buf_c(b, ']');
}

static void show_json(const struct serve_view *v, const struct entry *e)
{
	_cleanup_buf_ struct buf header = BUF_INIT;
	struct buf *b = &v->out->b;
	size_t at = 0, n = entry_rcpts(e);
	struct history h;

	history_load(&h, e);
	out_line(v->out);
	buf_c(b, '{');
	serve_json_entry(b, e);
	json_text(b, "name", e->env.gecos);
	json_text(b, "outgoing_sender", e->noted ? str_z(e->note.plan.sender) : STR(""));
	json_text(b, "origin", e->noted ? e->note.origin : STR(""));
	json_text(b, "client", believed_client(v, e));
	json_text(b, "ret", e->env.ret);
	json_text(b, "envid", e->env.envid);
	json_events(v->out, &h, "tried", 'e', false);
	json_events(v->out, &h, "doubts", 'd', false);
	json_events(v->out, &h, "warnings", 'w', false);
	json_events(v->out, &h, "reports", 'b', false);
	json_events(v->out, &h, "parts", 'b', true);
	json_key(b, "recipients");
	buf_c(b, '[');
	while (at < h.n && h.event[at].rcpt == 0)
		at++;
	for (size_t i = 0; i < n && out_more(v->out); i++)
		json_rcpt(v->out, e, &h, i, &at);
	buf_c(b, ']');
	history_free(&h);
	if (!e->bad)
		load_header(e, &header);
	json_text(b, "header", buf_view(&header));
	buf_c(b, '}');
	out_end(v->out);
}

int serve_show(const struct serve_view *v, const struct id *id)
{
	struct list_item item;
	struct entry e;
	int r = list_find(v->root, id, &item);

	if (r < 0)
		return r;
	r = entry_load(&e, &item, v->admin, v->uid);
	if (r == 0 && v->format == REQUEST_JSON)
		show_json(v, &e);
	else if (r == 0)
		show_text(v, &e);
	entry_free(&e);
	cleanup_fd(&item.fd);
	cleanup_fd(&item.note);
	if (r < 0)
		return r == -EACCES ? -ENOENT : r;
	return out_flush(v->out) ? 0 : -EPIPE;
}
