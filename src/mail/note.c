#include "mail/note.h"
#include "mail/addr.h"
#include "mail/envelope.h"
#include <assert.h>
#include <errno.h>

enum {
	NOTE_ROUTE_MAX = 64,   /* octets of a route's name (conf: a smart host's) */
	NOTE_ORIGIN_LEN = 16,  /* hexadecimal digits of a queue id (spool/id.h) */
	NOTE_DOUBTS_CLOCK = 3, /* tries in doubt that make a message's clock go */
};

static bool route_ok(struct str r)
{
	if (r.n == 0 || r.n > NOTE_ROUTE_MAX)
		return false;
	for (size_t i = 0; i < r.n; i++) {
		char c = r.p[i], l = ascii_lower(c);

		if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
		      c == '_' || c == '-'))
			return false;
	}
	return true;
}

/* ---- Reading ---- */

static int damaged(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EBADMSG;
}

/* Takes a line that has its LF. */
static bool take_line(struct str *text, struct str *ret)
{
	if (str_chr(*text, '\n') < 0)
		return false;
	return str_cut(text, '\n', ret);
}

/* *ret, *envid: empty before; borrowed. */
static int parse_dsn(struct str line, struct str *ret, struct str *envid,
                     const char **why)
{
	struct str part, *field;

	while (str_cut(&line, '\t', &part)) {
		if (str_starts(part, STR("RET="))) {
			field = ret;
			part = str_from(part, 4);
			if (!str_eq(part, STR("FULL")) && !str_eq(part, STR("HDRS")))
				return damaged(why, "RET is neither FULL nor HDRS");
		} else if (str_starts(part, STR("ENVID="))) {
			field = envid;
			part = str_from(part, 6);
		} else {
			return damaged(why, "an unknown parameter in the D line");
		}
		if (field->n || part.n == 0)
			return damaged(why,
			               "a parameter of the D line is empty or twice");
		*field = part;
	}
	return 0;
}

/* An SMTP reply, "550 5.3.5 ...". */
static bool reply_ok(struct str r)
{
	uint64_t code;

	return r.n > 4 && (r.p[0] == '4' || r.p[0] == '5') && r.p[3] == ' ' &&
	       str_u64(str_head(r, 3), &code);
}

static int parse_rcpt(struct str line, struct note *n, const char **why)
{
	struct str route, addr, part, notify = STR_NONE, orcpt = STR_NONE,
	                              refused = STR_NONE;

	if (!str_cut(&line, ' ', &route) || !route_ok(route))
		return damaged(why, "a P line without a route");
	if (!str_cut(&line, '\t', &addr) || !addr_envelope_ok(addr))
		return damaged(why, "a P line without an address");
	while (str_cut(&line, '\t', &part)) {
		if (refused.n)
			return damaged(why, "a parameter behind REFUSED in a P line");
		if (notify.n == 0 && orcpt.n == 0 && str_starts(part, STR("NOTIFY=")))
			notify = str_from(part, 7);
		else if (orcpt.n == 0 && str_starts(part, STR("ORCPT=")))
			orcpt = str_from(part, 6);
		else if (str_starts(part, STR("REFUSED=")))
			refused = str_from(part, 8);
		else
			return damaged(why, "an unknown parameter in a P line");
		if (str_chr(part, '=') == (ptrdiff_t)part.n - 1)
			return damaged(why, "an empty parameter in a P line");
	}
	if (refused.n && !reply_ok(refused))
		return damaged(why, "REFUSED is no reply");
	if (n->plan.rcpts >= ENVELOPE_RCPT_MAX)
		return damaged(why, "too many recipients");
	if (n->plan.rcpts == 0)
		n->route = route;
	plan_add(&n->plan, addr, notify, orcpt);
	if (refused.n)
		n->plan.rcpt[n->plan.rcpts - 1].refused = str_dup(refused);
	return 0;
}

static int parse_origin(struct str id, struct note *n, const char **why)
{
	bool ok = id.n == NOTE_ORIGIN_LEN;

	for (size_t i = 0; ok && i < id.n; i++)
		ok = (id.p[i] >= '0' && id.p[i] <= '9') ||
		     (id.p[i] >= 'a' && id.p[i] <= 'f');
	if (!ok)
		return damaged(why, "an O line without a queue id");
	n->origin = id;
	return 0;
}

static int parse_plan(struct str *text, struct note *n, const char **why)
{
	struct str line, from = STR(""), ret = STR(""), envid = STR("");
	bool sender = false, dsn = false;
	int e = 0;

	if (!take_line(text, &line) || !str_eq(line, STR("mailchute-note 1")))
		return damaged(why, "not a note of version 1");
	while (e == 0) {
		if (!take_line(text, &line))
			return damaged(why, "the plan has no end");
		if (str_eq(line, STR(".")))
			break;
		/* TAB parts the parameters; an address may have none (addr.h). */
		for (size_t i = 0; i < line.n; i++)
			if (((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t') ||
			    line.p[i] == 0x7f)
				return damaged(why, "a control character in the plan");
		if (str_starts(line, STR("S")) && !sender) {
			sender = true;
			from = str_from(line, 1);
			if (from.n && !addr_envelope_ok(from))
				return damaged(why, "the sender is no address");
		} else if (str_starts(line, STR("D")) && sender && !dsn &&
		           n->origin.n == 0 && n->plan.rcpts == 0) {
			dsn = true;
			e = parse_dsn(str_from(line, 1), &ret, &envid, why);
		} else if (str_starts(line, STR("O")) && sender && n->origin.n == 0 &&
		           n->plan.rcpts == 0) {
			e = parse_origin(str_from(line, 1), n, why);
		} else if (str_starts(line, STR("P")) && sender) {
			e = parse_rcpt(str_from(line, 1), n, why);
		} else {
			return damaged(why, "an unknown line in the plan");
		}
	}
	if (e == 0 && n->plan.rcpts == 0)
		return damaged(why, "no recipient");
	plan_from(&n->plan, from, ret, envid);
	return e;
}

/* Takes the digits up to a blank. 1; 0: the line ends before the blank, so it was cut;
 * -EBADMSG: no number, or over max. */
static int take_number(struct str *line, uint64_t max, uint64_t *ret)
{
	ptrdiff_t at = str_chr(*line, ' ');
	struct str digits = at < 0 ? *line : str_head(*line, (size_t)at);
	uint64_t v = 0;

	if (digits.n == 0 && at < 0)
		return 0;
	if (!str_u64(digits, &v))
		return -EBADMSG;
	if (at < 0)
		return 0;
	if (v > max)
		return -EBADMSG;
	*line = str_from(*line, (size_t)at + 1);
	*ret = v;
	return 1;
}

/* D and F are final: a replayed or late T does not open them again, and what was
 * delivered once is never called failed. */
static void set_result(struct note *n, size_t i, const struct note_rcpt *now)
{
	struct note_rcpt *r = &n->rcpt[i];
	bool was_open = r->state != NOTE_DONE && r->state != NOTE_FAILED;

	if (now->state == NOTE_LATER && n->first_trouble == 0)
		n->first_trouble = now->time > 0 ? now->time : 1;
	if (r->state == NOTE_DONE || (!was_open && now->state == NOTE_LATER))
		return;
	*r = *now;
	if (was_open && now->state != NOTE_LATER)
		n->pending--;
}

static int parse_result(struct str line, struct note *n)
{
	uint64_t number = 0, time = 0, code = 0;
	struct note_rcpt now = { .state = NOTE_PENDING };
	int e = take_number(&line, n->plan.rcpts, &number);

	if (e <= 0)
		return e;
	if (number == 0)
		return -EBADMSG;
	if (line.n == 0)
		return 0;
	if (line.p[0] == 'D')
		now.state = NOTE_DONE;
	else if (line.p[0] == 'T')
		now.state = NOTE_LATER;
	else if (line.p[0] == 'F')
		now.state = NOTE_FAILED;
	else
		return -EBADMSG;
	if (line.n == 1)
		return 0;
	if (line.p[1] != ' ')
		return -EBADMSG;
	line = str_from(line, 2);
	e = take_number(&line, INT64_MAX, &time);
	if (e > 0)
		e = take_number(&line, 999, &code);
	if (e <= 0)
		return e;
	now.time = (int64_t)time;
	now.code = (int)code;
	now.text = line;
	set_result(n, number - 1, &now);
	return 0;
}

/* All had ended, and nobody could be told of the failures: they are tried again. Those of
 * which a report tells never come here: then something is pending, or the message is gone. */
static void take_back(struct note *n)
{
	for (size_t i = 0; n->pending == 0 && i < n->plan.rcpts; i++)
		if (n->rcpt[i].state == NOTE_FAILED)
			n->rcpt[i].state = NOTE_PENDING;
	n->pending = 0;
	for (size_t i = 0; i < n->plan.rcpts; i++)
		n->pending +=
		    n->rcpt[i].state != NOTE_DONE && n->rcpt[i].state != NOTE_FAILED;
	n->first_trouble = 0;
	n->doubts = 0;
}

/* A host that loses its last reply every time must not keep a message for ever. */
static void add_doubt(struct note *n, int64_t time)
{
	n->doubts++;
	if (n->doubts == NOTE_DOUBTS_CLOCK && n->first_trouble == 0)
		n->first_trouble = time > 0 ? time : 1;
}

/* A line that is the beginning of a good one was cut by a crash or a full disk before its
 * LF, and the LF came with the next writer: it is passed over. Any other bad line is
 * damage. */
static int parse_outcome(struct str line, struct note *n)
{
	struct str rest = str_from(line, 2);
	uint64_t time = 0;
	int e;

	if (line.n == 0)
		return 0;
	if (str_chr(STR("rdebwcu"), line.p[0]) < 0)
		return -EBADMSG;
	if (line.n == 1)
		return 0;
	if (line.p[1] != ' ')
		return -EBADMSG;
	if (line.p[0] == 'r')
		return parse_result(rest, n);
	if (line.p[0] == 'd') {
		e = take_number(&rest, INT64_MAX, &time);
		if (e > 0)
			add_doubt(n, (int64_t)time);
		return e < 0 ? e : 0;
	}
	if (rest.n && !str_u64(rest, &time))
		return -EBADMSG;
	if (rest.n && line.p[0] == 'e')
		n->tries++;
	else if (rest.n && line.p[0] == 'w')
		n->warned++;
	else if (rest.n && line.p[0] == 'c')
		n->recompose = true;
	else if (rest.n && line.p[0] == 'u')
		take_back(n);
	return 0;
}

int note_parse(struct str text, struct note *ret, const char **ret_why)
{
	struct note n = { .plan = { .sender = NULL } };
	struct str line;
	int e;

	e = parse_plan(&text, &n, ret_why);
	if (e == 0) {
		n.rcpt = calloc(n.plan.rcpts, sizeof(*n.rcpt));
		if (!n.rcpt)
			die_oom();
		n.pending = n.plan.rcpts;
	}
	while (e == 0 && take_line(&text, &line))
		if (parse_outcome(line, &n) < 0)
			e = damaged(ret_why, "an unknown line behind the plan");
	if (e < 0) {
		note_free(&n);
		return e;
	}
	*ret = n;
	return 0;
}

void note_free(struct note *n)
{
	plan_free(&n->plan);
	free(n->rcpt);
	*n = (struct note){ .rcpt = NULL };
}

/* ---- Writing ---- */

void note_print_plan(struct buf *b, const struct plan *p, struct str route,
                     struct str origin)
{
	assert(route_ok(route));
	assert(p->rcpts > 0);
	buf_fmt(b, "mailchute-note 1\nS%s\n", p->sender);
	if (p->ret[0] || p->envid[0])
		buf_fmt(b, "D%s%s%s%s%s\n", p->ret[0] ? "RET=" : "", p->ret,
		        p->ret[0] && p->envid[0] ? "\t" : "", p->envid[0] ? "ENVID=" : "",
		        p->envid);
	if (origin.n) {
		assert(origin.n == NOTE_ORIGIN_LEN);
		buf_c(b, 'O');
		buf_str(b, origin);
		buf_c(b, '\n');
	}
	for (size_t i = 0; i < p->rcpts; i++) {
		const struct plan_rcpt *r = &p->rcpt[i];

		buf_c(b, 'P');
		buf_str(b, route);
		buf_fmt(b, " %s%s%s%s%s%s%s\n", r->addr, r->notify[0] ? "\tNOTIFY=" : "",
		        r->notify, r->orcpt[0] ? "\tORCPT=" : "", r->orcpt,
		        r->refused ? "\tREFUSED=" : "", r->refused ? r->refused : "");
	}
	buf_z(b, ".\n");
}

/* Unlike buf_escape this leaves a backslash alone: the text is mostly what reply_line()
 * has escaped before, and must not be escaped twice. */
static void print_text(struct buf *b, struct str text)
{
	text = str_head(text, NOTE_TEXT_MAX);
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\\')
			buf_c(b, '\\');
		else
			buf_escape(b, str_head(str_from(text, i), 1), 1);
	}
}

void note_print_result(struct buf *b, size_t number, enum note_state s, int64_t time,
                       int code, struct str text)
{
	assert(s == NOTE_DONE || s == NOTE_LATER || s == NOTE_FAILED);
	buf_fmt(b, "r %zu %c %lld %d ", number, (char)s, (long long)(time > 0 ? time : 0),
	        code >= 0 && code <= 999 ? code : 0);
	print_text(b, text);
	buf_c(b, '\n');
}

/* ---- When again ---- */

int64_t note_backoff(int64_t age, int64_t retry, int64_t retry_max, struct str id)
{
	int64_t wait;

	if (retry < 1)
		retry = 1;
	if (retry_max < retry)
		retry_max = retry;
	wait = age / 2 > retry ? age / 2 : retry;
	if (wait > retry_max)
		wait = retry_max;
	/* Only ever sooner: a due time beyond retry_max would be taken for a clock that
	 * jumped. */
	return wait -
	       (int64_t)((str_hash(STR_HASH, id) >> 16) % (uint64_t)(wait / 8 + 1));
}
