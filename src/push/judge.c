/* What the verdicts of a try come to (push.h) */
#include "base/clock.h"
#include "base/log.h"
#include "mail/guard.h"
#include "push/push.h"
#include <errno.h>

enum {
	SECOND_LOOK = 3600, /* seconds after which the same refusal is final */
	PUT_OFF = 600,      /* seconds to the next try of a message that cannot be read */
	THROTTLED_MAX = 3, /* messages in a row that only look as if the host throttled */
	SLOW = 60,         /* seconds: the span that hosts count messages in */
};

int64_t push_now(struct push *p)
{
	int64_t now = clock_real_ms();

	if (p->began_real)
		p->report.jumped =
		    (now - p->began_real - (clock_steady_ms() - p->began)) / 1000;
	return now / 1000;
}

/* ---- What no host is asked ---- */

/* reply: "550 5.3.5 words", or 4yz. At RCPT and with codes that no host uses for the sender or
 * the content, so that nobody is blamed but the recipient. */
static void refuse_here(struct result *res, const char *reply)
{
	struct verdict *v = &res->verdict;
	uint64_t code = 0;

	str_u64(str_head(str_z(reply), 3), &code);
	v->kind = reply[0] == '4' ? VERDICT_LATER : VERDICT_FAILED;
	v->stage = STAGE_RCPT;
	v->code = (int)code;
	buf_reset(&v->text);
	buf_z(&v->text, reply);
	res->ours = true;
}

/* Too big for us: known before the host is asked. */
static bool refuse_size(const struct push *p, const struct message *m, struct result *res)
{
	if (p->conf.max_message_size <= 0 || m->size <= p->conf.max_message_size)
		return false;
	for (size_t i = 0; i < m->note.plan.rcpts; i++) {
		struct verdict *v = &res[i].verdict;

		if (!res[i].open)
			continue;
		res[i].ours = true;
		v->kind = VERDICT_FAILED;
		v->stage = STAGE_MAIL;
		v->code = 552;
		buf_fmt(&v->text,
		        "552 5.3.4 message of %lld octets is over max-message-size",
		        (long long)m->size);
	}
	return true;
}

/* A message that goes round in a circle is sent to nobody. */
static bool refuse_loop(const struct push *p, const struct message *m, struct result *res)
{
	const char *why = guard_loop(m->original, p->compose.hostname, id_str(&m->id));

	for (size_t i = 0; why && i < m->note.plan.rcpts; i++)
		if (res[i].open)
			refuse_here(&res[i], why);
	return why != NULL;
}

/* Recipients that aliases lead to, but no mail. True: there is nobody else. */
static bool refuse_aliases(const struct message *m, struct result *res)
{
	bool others = false;

	for (size_t i = 0; i < m->note.plan.rcpts; i++) {
		if (res[i].open && m->note.plan.rcpt[i].refused)
			refuse_here(&res[i], m->note.plan.rcpt[i].refused);
		else
			others |= res[i].open;
	}
	return !others;
}

bool judge_here(const struct push *p, struct try *t)
{
	return refuse_size(p, &t->m, t->res) || refuse_loop(p, &t->m, t->res) ||
	       refuse_aliases(&t->m, t->res);
}

/* ---- What the host said ---- */

/* Is it about the sender? A host that waits for the recipient before it judges (Postfix by
 * default) says so at RCPT: with 5.7.x, or with RFC 3463's codes for senders. And 4.7.x at
 * MAIL, the host's trouble with any other sender, can be about <> alone. */
static bool blames_sender(const struct verdict *v)
{
	struct str code = str_from(buf_view(&v->text), 3);

	if (v->stage == STAGE_MAIL)
		return verdict_is_common(v) ||
		       (v->kind == VERDICT_HOST && v->code / 10 == 45 &&
		        str_starts(code, STR(" 4.7.")));
	return v->stage == STAGE_RCPT && v->kind == VERDICT_FAILED &&
	       (verdict_is_common(v) || str_starts(code, STR(" 5.1.7 ")) ||
	        str_starts(code, STR(" 5.1.8 ")));
}

bool judge_blames_sender(const struct try *t)
{
	for (size_t i = 0; i < t->m.note.plan.rcpts; i++)
		if (t->res[i].open && blames_sender(&t->res[i].verdict))
			return true;
	return false;
}

bool judge_refuses_null(struct push *p, struct try *t)
{
	_cleanup_buf_ struct buf line = BUF_INIT;
	bool refused = false;

	if (t->m.note.plan.sender[0] || t->by_admin || p->bounce_from.n == 0)
		return false;
	for (size_t i = 0; i < t->m.note.plan.rcpts; i++) {
		struct verdict *v = &t->res[i].verdict;

		if (!t->res[i].open || !blames_sender(v))
			continue;
		if (!refused)
			log_text(&line, "text", buf_view(&v->text));
		refused = true;
		buf_free(&v->text);
		v->kind = VERDICT_RECONNECT;
	}
	if (refused)
		report_line(&p->report, "log w bounce-from id=%s relay=%s from=%s%s",
		            t->m.id.c, p->report.remote, p->bounce_from.p,
		            line.n ? line.p : "");
	return refused;
}

/* Has this recipient been refused so before, and is it sure by now that it is its own
 * fault? (breaker.h) */
static bool is_own_fault(const struct push *p, const struct message *m, size_t i,
                         int64_t now)
{
	const struct note_rcpt *before = &m->note.rcpt[i];

	if (p->report.probing || before->state != NOTE_LATER || before->code < 500)
		return false;
	return p->accepted > before->time ||
	       report_age(&p->report, m->note.first_trouble, now) >= SECOND_LOOK;
}

/* The host takes mail. Of a message that went out as a whole, without a note, its "ok" says
 * so. */
static void accepted(struct push *p, const struct try *t, size_t done, int64_t now)
{
	bool said = !t->m.noted && done == t->m.note.plan.rcpts;

	for (size_t i = 0; i < t->m.note.plan.rcpts; i++)
		said &= !t->res[i].no_dsn;
	p->accepted = now;
	if (!said)
		report_line(&p->report, "good");
}

/* A refusal that any message could have got is not final at first. */
static void suspend(struct push *p, const struct try *t, int64_t now)
{
	const struct message *m = &t->m;
	struct result *res = t->res;
	size_t n = m->note.plan.rcpts, done = 0, at = n;

	for (size_t i = 0; i < n; i++) {
		done += res[i].open && res[i].verdict.kind == VERDICT_DONE;
		if (res[i].open && verdict_is_common(&res[i].verdict))
			at = i;
	}
	if (done)
		accepted(p, t, done, now);
	if (done || at == n)
		return;
	/* A host that takes no reports (sender <>) may still take all other mail. */
	if (m->note.plan.sender[0] || p->report.probing)
		report_refused(&p->report, m, &res[at].verdict);
	for (size_t i = 0; i < n; i++) {
		struct verdict *v = &res[i].verdict;

		if (res[i].open && v->kind == VERDICT_FAILED && verdict_is_common(v) &&
		    !is_own_fault(p, m, i, now))
			v->kind = VERDICT_LATER;
	}
}

void judge_outcome(struct push *p, struct try *t, bool others)
{
	int64_t now = push_now(p);

	suspend(p, t, now);
	p->report.others = others;
	report_outcome(&p->report, &t->m, t->res, now);
}

/* ---- Throttling ---- */

enum pace { PACE_FINE, PACE_MAY_BE, PACE_THROTTLED };

/* What hosts say who were sent too much: 432, 4.3.2 and 4.7.x, but not at RCPT, where 4.7.x is
 * greylisting; and 4.5.3 at MAIL. After the content it may be about this message. What only
 * ended a connection that had served (RECONNECT) is a limit of connections. */
static enum pace pace_of(const struct verdict *v)
{
	struct str code = str_from(buf_view(&v->text), 3);
	bool word = str_starts(code, STR(" 4.7.")) || str_starts(code, STR(" 4.3.2 "));

	if (v->code / 100 != 4 || v->stage < STAGE_MAIL || v->stage == STAGE_RCPT)
		return PACE_FINE;
	if (v->kind == VERDICT_HOST && (word || v->code == 432))
		return PACE_THROTTLED;
	if (v->kind == VERDICT_LATER && v->stage == STAGE_MAIL &&
	    str_starts(code, STR(" 4.5.3 ")))
		return PACE_THROTTLED;
	return v->kind == VERDICT_LATER && word ? PACE_MAY_BE : PACE_FINE;
}

void judge_pace(struct push *p, const struct try *t, bool done)
{
	enum pace worst = PACE_FINE;

	if (done) {
		p->throttled = 0;
		p->served = true;
	}
	/* A host that has taken nothing yet is not well: it is down, and tried at growing
	 * distances anyway. */
	if (done || !p->served || p->slow_told)
		return;
	for (size_t i = 0; i < t->m.note.plan.rcpts; i++) {
		enum pace pace = t->res[i].open ? pace_of(&t->res[i].verdict) : PACE_FINE;

		worst = pace > worst ? pace : worst;
	}
	if (worst == PACE_FINE)
		return;
	if (worst == PACE_MAY_BE && ++p->throttled < THROTTLED_MAX)
		return;
	p->slow_told = true;
	report_line(&p->report, "slow %d", SLOW);
}

/* ---- No host ---- */

/* "5 days", "36 hours", "10 minutes": the largest unit that is true. */
static void span_words(struct buf *b, int64_t seconds)
{
	static const struct {
		int64_t unit;
		const char *name;
	} units[] = {
		{ 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" }
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		int64_t n = seconds / units[i].unit;

		if (seconds % units[i].unit)
			continue;
		buf_fmt(b, "%lld %s%s", (long long)n, units[i].name, n == 1 ? "" : "s");
		return;
	}
}

/* The host is dead. What waits for longer than give-up fails, the rest may be luckier. */
void judge_give_up(struct push *p, struct try *t)
{
	const struct message *m = &t->m;
	int64_t now = push_now(p), most = p->host->give_up;

	if (report_age(&p->report, m->env.time, now) <= most) {
		report_put_off(&p->report, m, now + PUT_OFF, true);
		return;
	}
	for (size_t i = 0; i < m->note.plan.rcpts; i++) {
		struct verdict *v = &t->res[i].verdict;

		if (!t->res[i].open || v->kind <= VERDICT_FAILED)
			continue;
		v->kind = VERDICT_FAILED;
		v->stage = p->why.stage;
		v->code = 0;
		buf_reset(&v->text);
		buf_fmt(&v->text, "%s has not been reached for more than ",
		        p->host->host.v[0]);
		span_words(&v->text, most);
		buf_z(&v->text, ": ");
		buf_str(&v->text, buf_view(&p->why.text));
	}
	report_outcome(&p->report, m, t->res, now);
}

void judge_unreadable(struct push *p, const struct message *m, int error)
{
	report_line(&p->report, "log a unreadable id=%s why=\"%s\"", m->id.c,
	            strerror(-error));
	report_put_off(&p->report, m, clock_real() + PUT_OFF, false);
}
