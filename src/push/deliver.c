/* Messages to the smart host: the feed of client_stream(), and what is done when a connection
 * has ended (push.h) */
#include "base/clock.h"
#include "push/push.h"
#include "smtp/idna.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
	BARREN_MAX = 2,  /* connections in a row that settled nothing */
	ASIDE_MAX = 3,   /* messages in a row that met trouble of the host */
	HEAR_EVERY = 16, /* messages sent, at most, before mailchuted is heard again */
	LOCAL_MAX = 64,  /* messages settled here before replies are looked for again */
};

static bool goes_on(const struct push *p)
{
	return !p->report.broken && !p->report.full && !p->host_told && !p->halt;
}

/* ---- The journal ---- */

static void write_commits(struct push *p)
{
	bool commits = p->commits;

	p->commits = false;
	push_flush(p);
	if (!p->report.full || !commits)
		return;
	/* Nobody would know of a duplicate: so the last octets stay here. */
	report_line(&p->report, "host journal 0 the run journal cannot be written");
	report_flush(&p->report);
	_exit(0);
}

static void on_commit(void *arg)
{
	struct try *t = arg;
	struct push *p = t->owner;

	report_commit(&p->report, &t->m);
	t->m.committed = p->commits = true;
	/* An engine that does not flush, or has not yet: at once. */
	if (!p->flushes)
		write_commits(p);
}

static void flush(void *arg)
{
	struct push *p = arg;

	p->flushes = true;
	write_commits(p);
}

/* ---- A try is made ---- */

static ssize_t text_read(void *arg, char *to, size_t n)
{
	struct try *t = arg;
	struct str part =
	    str_head(str_from(buf_view(&t->m.text), (size_t)t->m.body_at + t->given), n);

	if (part.n)
		memcpy(to, part.p, part.n);
	t->given += part.n;
	return (ssize_t)part.n;
}

static int text_rewind(void *arg)
{
	struct try *t = arg;

	t->given = 0;
	return 0;
}

/* Who it is from. Reports have no sender; to a host that refuses that they go from an
 * address of the administrator's choice. */
static struct str sender_of(struct push *p, struct try *t)
{
	if (t->m.note.plan.sender[0])
		return str_z(t->m.note.plan.sender);
	t->by_admin |= p->no_null && p->bounce_from.n;
	return t->by_admin ? buf_view(&p->bounce_from) : STR("");
}

/* The recipients that still wait, as the client wants them. */
static void msg_make(struct push *p, struct try *t)
{
	const struct plan *plan = &t->m.note.plan;

	hand_unmake(t);
	t->msg = (struct client_msg){ .sender = sender_of(p, t),
		                      .header = buf_view(&t->m.header),
		                      .fd = t->m.fd,
		                      .body_at = t->m.body_at,
		                      .envid = str_z(plan->envid),
		                      .ret = str_z(plan->ret),
		                      .alone = t->m.doubted,
		                      .on_commit = on_commit,
		                      .arg = t };
	if (t->m.whole) {
		t->body = (struct client_body){ text_rewind, text_read, t };
		t->msg.body = &t->body;
	}
	t->msg.rcpt = calloc(plan->rcpts + 1, sizeof(*t->msg.rcpt));
	t->number = calloc(plan->rcpts + 1, sizeof(*t->number));
	if (!t->msg.rcpt || !t->number)
		die_oom();
	for (size_t i = 0; i < plan->rcpts; i++) {
		if (!t->res[i].open || t->res[i].verdict.kind != VERDICT_RECONNECT)
			continue;
		t->number[t->msg.rcpts] = i;
		t->msg.rcpt[t->msg.rcpts++] =
		    (struct client_rcpt){ .addr = str_z(plan->rcpt[i].addr),
			                  .notify = str_z(plan->rcpt[i].notify),
			                  .orcpt = str_z(plan->rcpt[i].orcpt),
			                  .verdict = { .kind = VERDICT_HOST } };
	}
}

/* A message that must not be changed, and not be sent as it is. */
static void refuse_content(struct try *t, struct str why)
{
	for (size_t i = 0; i < t->msg.rcpts; i++) {
		struct result *res = &t->res[t->number[i]];
		struct verdict *v = &res->verdict;

		buf_free(&v->text);
		*v = (struct verdict){ .kind = VERDICT_FAILED,
			               .stage = STAGE_MAIL,
			               .code = 554 };
		buf_z(&v->text, "554 ");
		buf_str(&v->text, why);
		res->ours = true;
	}
}

/* Makes what is sent legal for this host. 0; 1: it cannot be, and every recipient has its
 * verdict; -errno: the message cannot be read. */
static int mend_for_host(const struct push *p, struct try *t)
{
	struct mend_host host = { .eightbit = client_offers_8bit(p->client),
		                  .address = idna_address };
	bool utf8 = !str_is_ascii(t->msg.sender);
	struct str why;
	int e;

	for (size_t i = 0; i < t->msg.rcpts; i++)
		utf8 |= !str_is_ascii(t->msg.rcpt[i].addr);
	/* A header in UTF-8 is for messages that cannot do without SMTPUTF8: the host could not
	 * pass others on to hosts that lack it. */
	host.utf8 = utf8 && client_offers_utf8(p->client);
	t->mending = calloc(1, sizeof(*t->mending));
	if (!t->mending)
		die_oom();
	e = mending_start(t->mending, &t->m, &host);
	if (e < 0)
		return e;
	why = mending_refusal(t->mending);
	if (why.n) {
		refuse_content(t, why);
		return 1;
	}
	if (mending_any(t->mending)) {
		mending_apply(t->mending, &t->msg);
		return 0;
	}
	mending_free(t->mending);
	free(t->mending);
	t->mending = NULL;
	return 0;
}

static void report_mended(struct push *p, const struct try *t)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	mending_words(t->mending, &b);
	report_line(&p->report, "log i mended id=%s relay=%s%s", t->m.id.c,
	            p->report.remote, b.p);
}

/* ---- A try ends ---- */

static void settle(struct push *p, struct try *t)
{
	judge_outcome(p, t, hand_others(&p->hand));
	hand_end(&p->hand, t);
}

/* Recipients that got a final verdict in this run. */
static bool has_results(const struct try *t)
{
	for (size_t i = 0; i < t->m.note.plan.rcpts; i++)
		if (t->res[i].open && t->res[i].verdict.kind <= VERDICT_FAILED)
			return true;
	return false;
}

static void end_unreadable(struct push *p, struct try *t, int error)
{
	if (has_results(t))
		judge_outcome(p, t, hand_others(&p->hand));
	else
		judge_unreadable(p, &t->m, error);
	p->moved = true;
	hand_end(&p->hand, t);
}

/* Reads a job. False: it was settled, or let be, without any host. */
static bool try_load(struct push *p, struct try *t, const struct queued *q)
{
	const struct job_record job = { .id = q->id, .due = q->due };
	struct message *m = &t->m;
	const char *why;
	int e = message_load(m, &job, q->fd, q->note, &p->compose, &why);

	t->owner = p;
	if (e == 0 && m->note.pending) {
		size_t n = m->note.plan.rcpts;

		t->res = calloc(n + 1, sizeof(*t->res));
		if (!t->res)
			die_oom();
		for (size_t i = 0; i < n; i++) {
			t->res[i].open = m->note.rcpt[i].state != NOTE_DONE &&
			                 m->note.rcpt[i].state != NOTE_FAILED;
			/* not tried on any connection yet */
			t->res[i].verdict.kind = VERDICT_RECONNECT;
		}
		hand_weigh(&p->hand, t);
		if (!judge_here(p, t))
			return true;
		settle(p, t);
		return false;
	}
	if (e == 0)
		report_settled(&p->report, m, clock_real());
	else if (e == -EBADMSG)
		report_bad(&p->report, &q->id, q->due, why);
	else
		judge_unreadable(p, m, e);
	hand_end(&p->hand, t);
	return false;
}

/* Waits for a job. Other words of mailchuted's may come before it. */
static void hear_job(struct push *p)
{
	int64_t end = clock_ms() + PUSH_LINGER_MS, left = PUSH_LINGER_MS;

	push_flush(p);
	while (p->hand.n == 0 && left > 0 && !p->stop && goes_on(p)) {
		push_hear(p, (int)left);
		left = end - clock_ms();
	}
}

/* The next that was never sent, read; with wait mailchuted has some time to give one. NULL:
 * there is none. */
static struct try *fresh(struct push *p, bool wait)
{
	for (int i = 0; wait || i < LOCAL_MAX; i++) {
		struct queued q;
		struct try *t;

		if (p->hand.n == 0 || ++p->asked % HEAR_EVERY == 0)
			push_hear(p, 0);
		if (wait && hand_is_empty(&p->hand))
			hear_job(p);
		if (!goes_on(p))
			return NULL;
		t = hand_begin(&p->hand, &q);
		if (!t)
			return NULL;
		if (!try_load(p, t, &q))
			continue;
		if (!p->report.gave_up)
			return t;
		judge_give_up(p, t);
		hand_end(&p->hand, t);
	}
	return NULL;
}

/* ---- The feed ---- */

static struct try *choose(struct push *p, bool idle)
{
	struct try *t;

	/* Those in front are for another connection: this one is to end. */
	if (hand_waits(&p->hand, p->connection))
		return NULL;
	t = hand_again(&p->hand, p->connection);
	if (t)
		return t;
	t = p->ready;
	p->ready = NULL;
	if (t || (p->hand.octets >= HAND_OCTETS_MAX && !idle))
		return t;
	return fresh(p, idle);
}

static struct client_msg *next(void *arg, bool idle)
{
	struct push *p = arg;
	struct try *t = NULL;

	if (idle)
		push_flush(p);
	while (goes_on(p) && (t = choose(p, idle))) {
		int e;

		msg_make(p, t);
		e = mend_for_host(p, t);
		if (e == 0)
			return &t->msg;
		if (e > 0)
			settle(p, t);
		else
			end_unreadable(p, t, e);
	}
	/* Whoever waits for replies wakes when mailchuted speaks: it must be heard, and when it
	 * cannot be, not be listened to. */
	push_hear(p, 0);
	if (p->report.leaving || p->report.broken || hand_room(&p->hand) == 0)
		p->feed.fd = -1;
	return NULL;
}

/* Takes over what is said of one recipient. True: it is to be tried on another connection. */
static bool take_verdict(struct push *p, struct result *r, struct verdict *got,
                         bool dsn_offered)
{
	/* A connection that was good and then closed without a word was idle for too long,
	 * or is used up. */
	if (got->kind == VERDICT_HOST && got->code == 0 && p->settled &&
	    got->stage <= STAGE_MAIL)
		got->kind = VERDICT_RECONNECT;
	buf_free(&r->verdict.text);
	r->verdict = *got;
	r->ours = false;
	r->no_dsn = !dsn_offered;
	got->text = (struct buf)BUF_INIT;
	if (got->kind == VERDICT_DOUBT && p->lost.kind != VERDICT_DOUBT) {
		p->lost = *got;
		p->lost.text = (struct buf)BUF_INIT;
		buf_str(&p->lost.text, buf_view(&r->verdict.text));
	}
	return got->kind == VERDICT_RECONNECT || got->kind == VERDICT_HOST ||
	       got->kind == VERDICT_REST;
}

/* What came of one sending. How many recipients are to be tried again. */
static size_t take_verdicts(struct push *p, struct try *t)
{
	size_t again = 0, done = 0, settled = 0;

	for (size_t i = 0; i < t->msg.rcpts; i++) {
		struct verdict *got = &t->msg.rcpt[i].verdict;

		done += got->kind == VERDICT_DONE;
		settled += got->kind <= VERDICT_FAILED;
		again += take_verdict(p, &t->res[t->number[i]], got, t->msg.dsn_offered);
	}
	if (settled) {
		p->settled++;
		p->moved = true;
		p->barren = p->aside = 0;
	}
	if (done) {
		p->took_messages++;
		p->took_rcpts += done;
		if (t->mending)
			report_mended(p, t);
	}
	return again;
}

static void done(void *arg, struct client_msg *msg, int error)
{
	struct push *p = arg;
	struct try *t = msg->arg;
	const uint64_t took = p->took_messages;
	size_t again;
	bool null;

	if (!p->report.leaving && !p->report.broken)
		p->feed.fd = JOB_FD_SOCKET;
	/* Who has it already, by an earlier transaction, is not to get it again. */
	again = take_verdicts(p, t);
	if (error < 0) {
		end_unreadable(p, t, error);
		return;
	}
	null = judge_refuses_null(p, t);
	judge_pace(p, t, p->took_messages > took);
	if (null) {
		t->by_admin = p->moved = true;
		hand_unmake(t);
		hand_back(&p->hand, t, again ? p->connection : 0);
		return;
	}
	/* Was it not <>? Then the next one begins with that again. */
	if (t->by_admin && !again)
		p->no_null = !judge_blames_sender(t);
	hand_unmake(t);
	if (again)
		hand_back(&p->hand, t, p->connection);
	else
		settle(p, t);
}

/* ---- A connection has ended ---- */

static struct verdict *open_verdict(struct try *t, enum verdict_kind kind)
{
	for (size_t i = 0; i < t->m.note.plan.rcpts; i++)
		if (t->res[i].open && t->res[i].verdict.kind == kind)
			return &t->res[i].verdict;
	return NULL;
}

/* Whom the trouble came with: the one with a verdict of the host; when connections settle
 * nothing, the first, unless one in doubt was in front of it. Only one: what was behind it is
 * tried again. */
static struct try *culprit(struct push *p, struct verdict **ret_why)
{
	struct try *found = NULL;
	struct verdict *v;

	for (struct try *t = p->hand.first; t; t = t->behind) {
		if (!found && (v = open_verdict(t, VERDICT_HOST))) {
			found = t;
			*ret_why = v;
		}
		for (size_t i = 0; t != found && i < t->m.note.plan.rcpts; i++)
			if (t->res[i].open && t->res[i].verdict.kind >= VERDICT_HOST &&
			    t->res[i].verdict.kind != VERDICT_DOUBT)
				t->res[i].verdict.kind = VERDICT_RECONNECT;
	}
	if (!found && p->barren >= BARREN_MAX && p->lost.kind != VERDICT_DOUBT &&
	    p->hand.first && (v = open_verdict(p->hand.first, VERDICT_RECONNECT))) {
		found = p->hand.first;
		*ret_why = v;
	}
	return found;
}

/* What looks like the host's trouble may be this message's: 451 4.3.0 of a content filter,
 * silence after a large packet. Its neighbours tell; report_outcome() puts it behind them. */
static bool ask_a_neighbour(struct push *p, const struct verdict *v)
{
	return v->stage >= STAGE_MAIL && v->code != 421 && hand_others(&p->hand) &&
	       ++p->aside < ASIDE_MAX;
}

/* Another host is asked about this message, too. */
static void tried_elsewhere(struct try *t)
{
	for (size_t i = 0; i < t->m.note.plan.rcpts; i++)
		if (t->res[i].open && t->res[i].verdict.kind == VERDICT_HOST)
			t->res[i].verdict.kind = VERDICT_RECONNECT;
}

static void find_host_trouble(struct push *p)
{
	struct verdict *why = NULL;
	struct try *t = culprit(p, &why);

	if (p->report.gave_up)
		return;
	if (t) {
		if (!ask_a_neighbour(p, why)) {
			if (push_elsewhere(p, why)) {
				tried_elsewhere(t);
				return;
			}
			push_host(p, why);
		}
		hand_pick(&p->hand, t);
		settle(p, t);
	} else if (p->barren >= BARREN_MAX && !push_elsewhere(p, &p->lost)) {
		if (p->lost.kind != VERDICT_DOUBT)
			buf_z(&p->lost.text,
			      "the connection ends before anything is sent");
		push_host(p, &p->lost);
	}
}

static void tell_learned(struct push *p)
{
	_cleanup_buf_ struct buf now = BUF_INIT, learned = BUF_INIT;

	client_learned(p->client, &learned);
	push_learned(p, buf_view(&learned), &now);
	if (now.n == 0 || str_eq(buf_view(&now), buf_view(&p->learned)))
		return;
	report_line(&p->report, "learned %s", now.p);
	buf_reset(&p->learned);
	buf_str(&p->learned, buf_view(&now));
	p->cc.learned = buf_view(&p->learned);
}

static void connection_ended(struct push *p)
{
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLRDHUP };

	tell_learned(p);
	p->barren = p->moved ? 0 : p->barren + 1;
	/* What ended because we were asked to leave says nothing of the host. */
	if (poll(&pfd, 1, 0) > 0 && pfd.revents)
		p->report.leaving = p->halt = true;
	if (!p->report.leaving)
		find_host_trouble(p);
	buf_free(&p->lost.text);
	p->lost = (struct verdict){ .kind = VERDICT_HOST };
	push_flush(p);
}

/* ---- All of it ---- */

/* Is there anything to send? */
static bool has_work(struct push *p)
{
	struct try *t;

	if (p->report.gave_up) {
		while ((t = p->ready ? p->ready : hand_again(&p->hand, 0))) {
			p->ready = NULL;
			judge_give_up(p, t);
			hand_end(&p->hand, t);
		}
	}
	if (!p->ready && !p->hand.first)
		p->ready = fresh(p, true);
	return p->ready || p->hand.first;
}

/* Those that wait to be sent again when there is no more sending. What was settled of them is
 * written down, and what the journal has an "s" of: it is in no doubt. Else they were not
 * tried. */
static void let_be(struct push *p)
{
	struct try *t;

	while ((t = p->ready ? p->ready : hand_again(&p->hand, 0))) {
		p->ready = NULL;
		if (t->m.committed || has_results(t))
			judge_outcome(p, t, false);
		hand_end(&p->hand, t);
	}
	while (p->hand.n) {
		struct queued q;

		t = hand_begin(&p->hand, &q);
		cleanup_fd(&q.fd);
		cleanup_fd(&q.note);
		hand_end(&p->hand, t);
	}
}

void push_serve(struct push *p)
{
	p->feed = (struct client_feed){
		.next = next, .done = done, .flush = flush, .fd = -1, .arg = p
	};
	while (goes_on(p) && has_work(p)) {
		if (!client_is_open(p->client) && !push_open(p))
			continue; /* it was said why, or what waits is given up */
		push_flush(p);
		p->feed.fd = JOB_FD_SOCKET;
		client_stream(p->client, &p->feed);
		/* It is for nobody that waits: they are for the next. */
		if (client_is_open(p->client) && hand_waits(&p->hand, p->connection))
			client_quit(p->client);
		if (!client_is_open(p->client))
			connection_ended(p);
		else if (hand_is_empty(&p->hand))
			break; /* nothing came for a while */
	}
	let_be(p);
	/* All that was in hand is given up or put off. */
	if (p->report.gave_up && !p->host_told)
		push_host(p, &p->why);
	if (client_is_open(p->client)) {
		push_flush(p);
		client_quit(p->client);
	}
	tell_learned(p);
	push_ticket(p);
	push_flush(p);
}
