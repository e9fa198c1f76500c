#include "serve/serve_list.h"
#include "base/io.h"
#include "mail/addr.h"
#include <errno.h>

/* ---- What list and show have in common ---- */

const char *serve_rcpt_state(enum note_state s)
{
	switch (s) {
	case NOTE_DONE:
		return "delivered";
	case NOTE_LATER:
		return "deferred";
	case NOTE_FAILED:
		return "failed";
	case NOTE_PENDING:
		break;
	}
	return "pending";
}

void serve_where(struct buf *b, const struct entry *e, int64_t now)
{
	static const char *const words[] = { [LIST_DROP] = "not taken by mailchuted yet",
		                             [LIST_NEW] = "new",
		                             [LIST_ROUTE] = "waiting",
		                             [LIST_HOLD] = "held",
		                             [LIST_BAD] = "put aside in bad/" };
	struct str route = entry_route(e);
	int64_t due = entry_due(e);

	if (e->item->where != LIST_ROUTE || route.n == 0)
		buf_z(b, words[e->item->where]);
	if (route.n) {
		buf_z(b, e->item->where == LIST_ROUTE ? "" : ", ");
		buf_z(b, "route ");
		text_safe(b, route, QUEUE_ROUTE_MAX);
	}
	if (due > now) {
		buf_z(b, ", next try in ");
		text_span(b, due - now);
	} else if (e->item->where == LIST_ROUTE) {
		buf_z(b, ", due now");
	}
	if (e->noted && e->note.tries)
		buf_fmt(b, ", %u %s so far", e->note.tries,
		        e->note.tries == 1 ? "try" : "tries");
	if (e->noted && e->note.recompose)
		buf_z(b, ", to be composed anew");
}

void serve_json_entry(struct buf *b, const struct entry *e)
{
	_cleanup_buf_ struct buf login = BUF_INIT;

	json_text(b, "id", id_str(&e->item->place.id));
	json_text(b, "state", str_z(entry_state(e)));
	json_text(b, "route", entry_route(e));
	json_key(b, "uid");
	if (e->owned)
		buf_fmt(b, "%llu", (unsigned long long)e->uid);
	else
		buf_z(b, "null");
	json_text(b, "login", e->env.login);
	json_int(b, "size", e->size);
	json_int(b, "submitted", e->submitted);
	json_key(b, "due");
	if (entry_due(e))
		buf_fmt(b, "%lld", (long long)entry_due(e));
	else
		buf_z(b, "null");
	json_int(b, "tries", e->noted ? (int64_t)e->note.tries : 0);
	if (e->bad)
		json_text(b, "error", str_z(e->bad));
	else if (e->note_bad)
		json_text(b, "note_error", str_z(e->note_bad));
	json_text(b, "sender", entry_sender(e, &login));
}

void serve_json_rcpt(struct buf *b, const struct entry_rcpt *r)
{
	json_comma(b);
	buf_c(b, '{');
	json_text(b, "address", r->addr);
	json_text(b, "state", str_z(serve_rcpt_state(r->state)));
	json_int(b, "code", r->code);
	json_text(b, "text", str_head(r->text, NOTE_TEXT_MAX));
}

/* ---- Routes in trouble ---- */

/* stage, code and text of a host's trouble. The words may name the account: others than
 * administrators get the stage and the code; of the router, which has none, nothing. */
static void print_why(struct buf *b, struct str why, bool admin, bool router)
{
	struct str stage = STR(""), code = STR("");

	str_cut(&why, ' ', &stage);
	str_cut(&why, ' ', &code);
	if (stage.n == 0 || str_eq(stage, STR("-")))
		return;
	if (!router) {
		buf_z(b, ": ");
		text_safe(b, stage, 40);
	}
	if (admin && why.n) {
		buf_z(b, ": ");
		text_safe(b, why, NOTE_TEXT_MAX);
	} else if (!router && code.n && !str_eq(code, STR("0"))) {
		buf_c(b, ' ');
		text_safe(b, code, 3);
	}
}

/* waits: what it waits for instead of a time; n == 0: it does not. */
static void print_down(const struct serve_view *v, struct str route, struct str rest,
                       struct str waits)
{
	struct str f[3] = { STR(""), STR(""), STR("") };
	bool router = str_eq(route, STR("new")); /* no smart host can have that name */
	struct buf *b = &v->out->b;
	uint64_t since, next;

	for (size_t i = 0; i < ARRAY_LEN(f); i++)
		str_cut(&rest, ' ', &f[i]);
	if (!str_u64(f[0], &since) || !str_u64(f[1], &next) || since > INT64_MAX ||
	    next > INT64_MAX)
		return;
	out_line(v->out);
	buf_z(b, "route ");
	text_safe(b, route, QUEUE_ROUTE_MAX);
	if (router)
		buf_z(b, " (mailchute-route, which chooses the smart host)");
	buf_z(b, " is down since ");
	text_time(b, (int64_t)since);
	print_why(b, rest.p ? rest : STR(""), v->admin, router);
	if (waits.n) {
		buf_z(b, "; ");
		text_safe(b, waits, NOTE_TEXT_MAX);
	} else if ((int64_t)next > v->now) {
		buf_z(b, "; it is tried next in ");
		text_span(b, (int64_t)next - v->now);
	} else {
		buf_z(b, "; it is tried when there is mail for it");
	}
	out_end(v->out);
}

/* Nothing goes, for another reason than that it is down, or besides: down is that line, if there
 * was one. */
static void print_reason(const struct serve_view *v, struct str route, struct str waits,
                         struct str down)
{
	if (down.n) {
		print_down(v, route, down, waits);
	} else if (waits.n) {
		out_line(v->out);
		buf_z(&v->out->b, "route ");
		text_safe(&v->out->b, route, QUEUE_ROUTE_MAX);
		buf_z(&v->out->b, ": ");
		text_safe(&v->out->b, waits, NOTE_TEXT_MAX);
		out_end(v->out);
	}
}

/* Somebody asked for what is on hold, but too soon. */
static void print_asked(const struct serve_view *v, struct str route, struct str time,
                        struct str down)
{
	_cleanup_buf_ struct buf waits = BUF_INIT;
	uint64_t then;

	if (str_u64(time, &then) && then <= INT64_MAX) {
		buf_z(&waits, "asked for; it is tried ");
		if ((int64_t)then > v->now)
			buf_fmt(&waits, "in %lld s", (long long)((int64_t)then - v->now));
		else
			buf_z(&waits, "now");
	}
	print_reason(v, route, buf_view(&waits), down);
}

static void print_waits(const struct serve_view *v, struct str route, struct str rest,
                        struct str down)
{
	_cleanup_buf_ struct buf waits = BUF_INIT;
	struct str time = STR("");
	uint64_t until;

	str_cut(&rest, ' ', &time);
	if (!str_u64(time, &until) || until > INT64_MAX) {
		until = 0;
		rest = STR("");
	}
	buf_str(&waits, rest.p ? str_head(rest, NOTE_TEXT_MAX / 2) : STR(""));
	if ((int64_t)until > v->now) {
		buf_z(&waits, "; more in ");
		text_span(&waits, (int64_t)until - v->now);
	}
	print_reason(v, route, buf_view(&waits), down);
}

static void print_routes(const struct serve_view *v)
{
	_cleanup_buf_ struct buf state = BUF_INIT;
	struct str rest, line, verb, route, which = STR(""), down = STR("");

	if (io_slurp_at(v->root, "state", &state, LIST_STATE_MAX) < 0)
		return;
	rest = buf_view(&state);
	if (!str_cut(&rest, '\n', &line) || !str_eq(line, STR("mailchute-state 1")))
		return;
	while (rest.n && str_cut(&rest, '\n', &line)) {
		if (!str_cut(&line, ' ', &verb) || !str_cut(&line, ' ', &route))
			continue;
		/* Of a route that is down what it waits for comes later, in one sentence. */
		if (down.n && (!str_eq(which, route) || str_eq(verb, STR("down")))) {
			print_down(v, which, down, STR(""));
			down = STR("");
		}
		if (str_eq(verb, STR("down"))) {
			which = route;
			down = line.p ? line : STR("");
		} else if (str_eq(verb, STR("waits"))) {
			print_waits(v, route, line, down);
			down = STR("");
		} else if (str_eq(verb, STR("asked"))) {
			print_asked(v, route, line, down);
			down = STR("");
		} else if (str_eq(verb, STR("fault"))) {
			out_line(v->out);
			buf_z(&v->out->b, "route ");
			text_safe(&v->out->b, route, QUEUE_ROUTE_MAX);
			buf_z(&v->out->b, " refuses all messages alike; it is tried with "
			                  "one at a time");
			out_end(v->out);
		}
	}
	if (down.n)
		print_down(v, which, down, STR(""));
}

/* ---- Formats ---- */

/* The recipients still waiting. */
static void print_rcpts(const struct serve_view *v, const struct entry *e)
{
	struct buf *b = &v->out->b;
	size_t n = entry_rcpts(e), waiting = 0;

	for (size_t i = 0; i < n; i++) {
		struct entry_rcpt r = entry_rcpt(e, i);

		if (r.state == NOTE_DONE || r.state == NOTE_FAILED ||
		    ++waiting > LIST_RCPTS_MAX)
			continue;
		out_line(v->out);
		buf_z(b, "    ");
		text_safe(b, r.addr, ADDR_LENGTH_MAX);
		if (r.text.n) {
			buf_z(b, ": ");
			text_safe(b, r.text, NOTE_TEXT_MAX);
		}
		out_end(v->out);
	}
	if (waiting > LIST_RCPTS_MAX)
		out_fmt(v->out, "    and %zu more", waiting - LIST_RCPTS_MAX);
}

static void print_text(const struct serve_view *v, const struct entry *e, bool first)
{
	_cleanup_buf_ struct buf age = BUF_INIT, size = BUF_INIT, name = BUF_INIT;
	struct buf *b = &v->out->b;

	if (first)
		out_fmt(v->out, "%-16s %4s %6s  %s", "ID", "AGE", "SIZE", "SENDER");
	text_span(&age, v->now - e->submitted);
	text_size(&size, e->size);
	out_line(v->out);
	buf_fmt(b, "%s %4s %6s  ", e->item->place.id.c, age.p, size.p);
	if (e->bad)
		buf_fmt(b, "(damaged: %s)", e->bad);
	text_safe(b, entry_sender(e, &name), ADDR_LENGTH_MAX);
	out_end(v->out);
	out_line(v->out);
	buf_z(b, "    ");
	serve_where(b, e, v->now);
	if (e->note_bad)
		buf_fmt(b, " (its note is damaged: %s)", e->note_bad);
	out_end(v->out);
	print_rcpts(v, e);
}

/* As sendmail's: programs look for lines that begin with an id, for "is empty" and for
 * "Total requests: N". */
static void print_mailq(const struct serve_view *v, const struct entry *e, bool first)
{
	_cleanup_buf_ struct buf name = BUF_INIT;
	struct str sender = entry_sender(e, &name);
	struct buf *b = &v->out->b;
	size_t n = entry_rcpts(e);

	if (first)
		out_fmt(v->out, "-----Q-ID------- --Size-- -----Q-Time----- "
		                "------------Sender/Recipient-----------");
	out_line(v->out);
	buf_fmt(b, "%s %8lld ", e->item->place.id.c, (long long)e->size);
	text_ctime(b, e->submitted);
	buf_z(b, str_eq(sender, STR("<>")) ? " " : " <");
	text_safe(b, sender, ADDR_LENGTH_MAX);
	buf_z(b, str_eq(sender, STR("<>")) ? "" : ">");
	out_end(v->out);
	if (e->bad || e->item->where == LIST_HOLD || e->item->where == LIST_BAD)
		out_fmt(v->out, "%17s(%s%s%s)", "", entry_state(e), e->bad ? ": " : "",
		        e->bad ? e->bad : "");
	for (size_t i = 0; i < n; i++) {
		struct entry_rcpt r = entry_rcpt(e, i);

		if (r.state == NOTE_DONE || r.state == NOTE_FAILED)
			continue;
		if (r.text.n) {
			out_line(v->out);
			buf_fmt(b, "%17s(Deferred: ", "");
			text_safe(b, r.text, NOTE_TEXT_MAX);
			buf_c(b, ')');
			out_end(v->out);
		}
		out_line(v->out);
		buf_fmt(b, "%43s<", "");
		text_safe(b, r.addr, ADDR_LENGTH_MAX);
		buf_c(b, '>');
		out_end(v->out);
	}
}

static void print_json(const struct serve_view *v, const struct entry *e)
{
	struct buf *b = &v->out->b;
	size_t n = entry_rcpts(e);

	out_line(v->out);
	buf_c(b, '{');
	serve_json_entry(b, e);
	json_key(b, "recipients");
	buf_c(b, '[');
	for (size_t i = 0; i < n && out_more(v->out); i++) {
		struct entry_rcpt r = entry_rcpt(e, i);

		serve_json_rcpt(b, &r);
		buf_c(b, '}');
	}
	buf_z(b, "]}");
	out_end(v->out);
}

/* ---- list ---- */

struct listing {
	const struct serve_view *v;
	size_t n;
};

static bool list_one(void *arg, const struct list_item *item)
{
	struct listing *l = arg;
	const struct serve_view *v = l->v;
	struct entry e;

	/* One that cannot be read (it is being removed) is passed over. */
	if (entry_load(&e, item, v->admin, v->uid) == 0) {
		if (v->format == REQUEST_JSON)
			print_json(v, &e);
		else if (v->format == REQUEST_MAILQ)
			print_mailq(v, &e, l->n == 0);
		else
			print_text(v, &e, l->n == 0);
		l->n++;
	}
	entry_free(&e);
	return out_flush(v->out);
}

int serve_list(const struct serve_view *v, size_t *ret_n)
{
	struct listing l = { .v = v };
	int e;

	if (v->format == REQUEST_TEXT)
		print_routes(v);
	e = list_each(v->root, list_one, &l);
	if (e == 0 && v->format == REQUEST_MAILQ) {
		if (l.n == 0)
			out_fmt(v->out, "%s is empty", SPOOL_PATH);
		else
			print_routes(v);
		out_fmt(v->out, "\t\tTotal requests: %zu", l.n);
	}
	if (e == 0 && v->format == REQUEST_TEXT && l.n == 0)
		out_fmt(v->out, "the queue is empty");
	if (!out_flush(v->out))
		return -EPIPE;
	*ret_n = l.n;
	return e;
}
