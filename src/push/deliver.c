/* The tries of a message: what is sent, over which connections, and what it came to */
#include "base/clock.h"
#include "base/log.h"
#include "mail/guard.h"
#include "push/mending.h"
#include "push/push.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
	SECOND_LOOK = 3600, /* seconds after which the same refusal is final */
	BARREN_MAX = 2,     /* connections in a row that settled nothing */
	ASIDE_MAX = 3,      /* messages in a row that met trouble of the host */
	PUT_OFF = 600,      /* seconds to the next try of a message to a dead host */
};

static void on_commit(void *arg)
{
	struct push *p = arg;

	report_commit(&p->report, p->sending);
	if (!p->report.full)
		return;
	/* Nobody would know of a duplicate: so the last octets stay here. */
	report_line(&p->report, "host journal 0 the run journal cannot be written");
	_exit(0);
}

struct sending {
	struct client_msg msg;
	size_t *number; /* of each client_rcpt: index in the plan */
};

/* Who it is from. Reports have no sender; to a host that refuses that they go from an
 * address of the administrator's choice. */
static struct str sender_of(const struct push *p, const struct message *m)
{
	if (m->note.plan.sender[0] == '\0' && p->no_null)
		return buf_view(&p->bounce_from);
	return str_z(m->note.plan.sender);
}

/* The recipients that still wait, as the client wants them. */
static void sending_make(struct sending *s, struct push *p, struct message *m,
                         const struct result *res)
{
	const struct plan *plan = &m->note.plan;

	s->msg = (struct client_msg){ .sender = sender_of(p, m),
		                      .header = buf_view(&m->header),
		                      .fd = m->fd,
		                      .body_at = m->body_at,
		                      .envid = str_z(plan->envid),
		                      .ret = str_z(plan->ret),
		                      .on_commit = on_commit,
		                      .arg = p };
	s->msg.rcpt = calloc(plan->rcpts + 1, sizeof(*s->msg.rcpt));
	s->number = calloc(plan->rcpts + 1, sizeof(*s->number));
	if (!s->msg.rcpt || !s->number)
		die_oom();
	for (size_t i = 0; i < plan->rcpts; i++) {
		if (!res[i].open || res[i].verdict.kind != VERDICT_RECONNECT)
			continue;
		s->number[s->msg.rcpts] = i;
		s->msg.rcpt[s->msg.rcpts++] =
		    (struct client_rcpt){ .addr = str_z(plan->rcpt[i].addr),
			                  .notify = str_z(plan->rcpt[i].notify),
			                  .orcpt = str_z(plan->rcpt[i].orcpt) };
	}
}

/* Takes over what client_send() says of one recipient. True: it is to be tried on another
 * connection. */
static bool take_verdict(const struct push *p, struct result *r, struct verdict *got,
                         bool dsn_offered)
{
	/* A connection that was good and then closed without a word was idle for too long,
	 * or is used up. */
	if (got->kind == VERDICT_HOST && got->code == 0 && p->settled &&
	    got->stage <= STAGE_MAIL)
		got->kind = VERDICT_RECONNECT;
	buf_free(&r->verdict.text);
	r->verdict = *got;
	r->no_dsn = !dsn_offered;
	return got->kind == VERDICT_RECONNECT;
}

/* Makes what is sent legal for this host. 0; 1: it cannot be, and every recipient has its
 * verdict; -errno: the message cannot be read. */
static int mend_for_host(const struct push *p, const struct message *m, struct sending *s,
                         struct mending *g)
{
	struct client_msg *msg = &s->msg;
	struct mend_host host = { .eightbit = client_offers_8bit(p->client) };
	bool utf8 = !text_is_ascii(msg->sender);
	struct str why;
	int e;

	for (size_t i = 0; i < msg->rcpts; i++)
		utf8 |= !text_is_ascii(msg->rcpt[i].addr);
	/* A header in UTF-8 is for messages that cannot do without SMTPUTF8: the host could not
	 * pass others on to hosts that lack it. */
	host.utf8 = utf8 && client_offers_utf8(p->client);
	e = mending_start(g, m, &host);
	if (e < 0)
		return e;
	why = mending_refusal(g);
	for (size_t i = 0; i < msg->rcpts && why.n; i++) {
		struct verdict *v = &msg->rcpt[i].verdict;

		*v = (struct verdict){ .kind = VERDICT_FAILED,
			               .stage = STAGE_MAIL,
			               .code = 554 };
		buf_z(&v->text, "554 ");
		buf_str(&v->text, why);
	}
	mending_apply(g, msg);
	return why.n > 0;
}

static void report_mended(struct push *p, const struct message *m,
                          const struct mending *g)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	mending_words(g, &b);
	report_line(&p->report, "log i mended id=%s relay=%s%s", m->id.c,
	            p->report.remote, b.p);
}

/* One client_send(). Returns how many recipients are to be tried on another connection, or
 * -errno when the message could not be read. */
static int send_once(struct push *p, struct message *m, struct result *res,
                     bool *ret_settled)
{
	struct mending g = { .m = NULL };
	struct sending s;
	bool done = false;
	int e, again = 0;

	*ret_settled = false;
	sending_make(&s, p, m, res);
	p->sending = m;
	e = mend_for_host(p, m, &s, &g);
	if (e == 0)
		e = client_send(p->client, &s.msg);
	for (size_t i = 0; i < s.msg.rcpts; i++) {
		struct verdict *got = &s.msg.rcpt[i].verdict;

		done |= got->kind == VERDICT_DONE;
		res[s.number[i]].ours = e > 0; /* not to be mended */
		if (e >= 0) {
			again +=
			    take_verdict(p, &res[s.number[i]], got, s.msg.dsn_offered);
			*ret_settled |= e == 0 && got->kind <= VERDICT_FAILED;
		} else {
			buf_free(&got->text);
		}
	}
	if (e == 0 && done && mending_any(&g))
		report_mended(p, m, &g);
	mending_free(&g);
	free(s.msg.rcpt);
	free(s.number);
	return e < 0 ? e : again;
}

/* What looks like the host's trouble may be this message's: 451 4.3.0 of a content filter,
 * silence after a large packet. Its neighbours tell; report_outcome() puts it behind them. */
static bool ask_a_neighbour(struct push *p, const struct verdict *v)
{
	return v->kind != VERDICT_DOUBT && v->stage >= STAGE_MAIL && v->code != 421 &&
	       p->queued_n && ++p->aside < ASIDE_MAX;
}

static void find_host_trouble(struct push *p, const struct message *m,
                              const struct result *res)
{
	for (size_t i = 0; i < m->note.plan.rcpts && !p->host_told; i++) {
		const struct verdict *v = &res[i].verdict;

		if (res[i].open &&
		    (v->kind == VERDICT_HOST || v->kind == VERDICT_RECONNECT ||
		     (v->kind == VERDICT_DOUBT && p->barren >= BARREN_MAX))) {
			if (ask_a_neighbour(p, v))
				return;
			push_host(p, v);
		}
	}
}

/* Sends, over as many connections as it takes while each brings the message on. */
static void send_all(struct push *p, struct message *m, struct result *res)
{
	bool settled;
	int again;

	do {
		if (!client_is_open(p->client) && !push_open(p))
			return;
		again = send_once(p, m, res, &settled);
		if (settled) {
			p->settled++;
			p->barren = p->aside = 0;
		} else if (!client_is_open(p->client)) {
			p->barren++;
		}
	} while (again > 0 && p->barren < BARREN_MAX && !p->report.broken &&
	         !p->report.full);
	if (again < 0)
		report_line(&p->report, "log a unreadable id=%s why=\"%s\"", m->id.c,
		            strerror(-again));
}

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

static bool is_blamed(const struct message *m, const struct result *res)
{
	for (size_t i = 0; i < m->note.plan.rcpts; i++)
		if (res[i].open && blames_sender(&res[i].verdict))
			return true;
	return false;
}

/* Was the sender <> refused? Then once more, at once, with bounce-from. */
static bool refuses_null(struct push *p, const struct message *m, struct result *res)
{
	_cleanup_buf_ struct buf line = BUF_INIT;

	if (m->note.plan.sender[0] || p->no_null || p->bounce_from.n == 0)
		return false;
	for (size_t i = 0; i < m->note.plan.rcpts; i++) {
		struct verdict *v = &res[i].verdict;

		if (!res[i].open || !blames_sender(v))
			continue;
		if (!p->no_null)
			log_value(&line, "text", buf_view(&v->text));
		p->no_null = true;
		buf_free(&v->text);
		v->kind = VERDICT_RECONNECT;
	}
	if (p->no_null)
		report_line(&p->report, "log w bounce-from id=%s relay=%s from=%s%s",
		            m->id.c, p->report.remote, p->bounce_from.p,
		            line.n ? line.p : "");
	return p->no_null;
}

static void deliver(struct push *p, struct message *m, struct result *res)
{
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLRDHUP };

	send_all(p, m, res);
	if (refuses_null(p, m, res)) {
		send_all(p, m, res);
		/* Then it was not <>: the next one begins with that again. */
		p->no_null = !is_blamed(m, res);
	}
	/* What ended because we were asked to leave says nothing of the host. */
	if (poll(&pfd, 1, 0) > 0 && pfd.revents)
		p->report.leaving = p->halt = true;
	if (!p->report.leaving && !p->report.gave_up)
		find_host_trouble(p, m, res);
}

/* What no host is asked. reply: "550 5.3.5 words", or 4yz. At RCPT and with codes that no
 * host uses for the sender or the content, so that nobody is blamed but the recipient. */
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

/* Has this recipient been refused so before, and is it sure by now that it is its own
 * fault? (breaker.h) */
static bool is_own_fault(const struct push *p, const struct message *m, size_t i,
                         int64_t now)
{
	const struct note_rcpt *before = &m->note.rcpt[i];

	if (p->report.probing || before->state != NOTE_LATER || before->code < 500)
		return false;
	return p->accepted > before->time || now - m->note.first_trouble >= SECOND_LOOK;
}

/* A refusal that any message could have got is not final at first. */
static void suspend(struct push *p, const struct message *m, struct result *res)
{
	size_t n = m->note.plan.rcpts, done = 0, at = n;
	int64_t now = clock_real();

	for (size_t i = 0; i < n; i++) {
		done += res[i].open && res[i].verdict.kind == VERDICT_DONE;
		if (res[i].open && verdict_is_common(&res[i].verdict))
			at = i;
	}
	if (done) {
		p->accepted = now;
		report_line(&p->report, "good");
	}
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
static void give_up(struct push *p, struct message *m, struct result *res)
{
	int64_t now = clock_real(), most = p->host->give_up;

	if (now - m->env.time <= most) {
		report_put_off(&p->report, m, now + PUT_OFF);
		return;
	}
	for (size_t i = 0; i < m->note.plan.rcpts; i++) {
		struct verdict *v = &res[i].verdict;

		if (!res[i].open)
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
	report_outcome(&p->report, m, res, now);
}

static void work_on(struct push *p, struct message *m)
{
	size_t n = m->note.plan.rcpts;
	struct result *res = calloc(n + 1, sizeof(*res));

	if (!res)
		die_oom();
	for (size_t i = 0; i < n; i++) {
		res[i].open = m->note.rcpt[i].state != NOTE_DONE &&
		              m->note.rcpt[i].state != NOTE_FAILED;
		res[i].verdict.kind = VERDICT_RECONNECT; /* not tried on any yet */
	}
	if (!refuse_size(p, m, res) && !refuse_loop(p, m, res) &&
	    !refuse_aliases(m, res) && !p->report.gave_up)
		deliver(p, m, res);
	if (p->report.gave_up) {
		give_up(p, m, res);
	} else {
		suspend(p, m, res);
		push_hear(p, 0);
		p->report.others = p->queued_n > 0;
		report_outcome(&p->report, m, res, clock_real());
	}
	for (size_t i = 0; i < n; i++)
		buf_free(&res[i].verdict.text);
	free(res);
}

void push_work(struct push *p)
{
	struct queued q = p->queued[0];
	struct message m;
	const char *why;
	int e;

	memmove(&p->queued[0], &p->queued[1], --p->queued_n * sizeof(p->queued[0]));
	e = message_load(&m, &q.job, q.fd, q.note, &p->compose, &why);
	if (e == 0 && m.note.pending == 0)
		report_settled(&p->report, &m, clock_real());
	else if (e == 0)
		work_on(p, &m);
	else if (e == -EBADMSG)
		report_bad(&p->report, &q.job.id, q.job.due, why);
	else
		report_line(&p->report, "log a unreadable id=%s why=\"%s\"", q.job.id.c,
		            strerror(-e));
	message_free(&m);
}
