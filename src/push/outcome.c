/*
 * From verdicts to what is written down and told: note lines, journal, log, the report (DSN)
 *
 * One report for one try of one message. Its line in the note, "b <try>", stands in front of
 * what it tells of, and a warning's "w" behind that: a note that is cut in between makes a
 * second report, not none. The journal has no "b" and no failed recipient: after a crash
 * that recipient is tried again and its report is made then. A recipient that was relayed
 * must not be tried again: its line says so ("relayed: ..."), and as long as no report told
 * of it (message.h) the next try, or report_settled(), does.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "mail/addr.h"
#include "mail/dsn.h"
#include "push/record.h"
#include "push/report.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define NO_SENDER "it has no sender to return it to"
#define RELAYED "relayed: "

enum {
	REPLY_CODE = 4, /* octets of "550 " */
	MIN_TRIES = 3,
	ASIDE = 64, /* seconds that neighbours go before what met trouble of the host */
	DOUBTS_MAX = 10,
	ADMIN_WHOLE = 65536, /* octets of a message that the administrator gets whole */
};

/* The outcome of one try, being put together. */
struct outcome {
	struct reporter *r;
	const struct message *m;
	const struct result *res; /* NULL: nothing was tried */
	int64_t now, backoff;
	bool expired;
	unsigned warnings;     /* that are due with this try */
	struct dsn_rcpt *tell; /* whom the report tells of */
	size_t tells, tells_failed, tells_relayed;
	bool tells_expired;  /* of one whose time is over */
	struct buf to;       /* whom it goes to */
	size_t orphans;      /* failures that nobody can be told of */
	struct buf up, file; /* records for mailchuted, and for the journal */
	struct buf logs;
	size_t done, later, failed, doubt, left;
	bool met; /* the host's trouble began with this message, not before it */
};

/* ---- What is to be told ---- */

static bool has_word(const char *notify, const char *word)
{
	struct str rest = str_z(notify), one;

	while (rest.n && str_cut(&rest, ',', &one))
		if (str_ieq(one, str_z(word)))
			return true;
	return false;
}

static bool has_sender(const struct outcome *o)
{
	return o->m->note.plan.sender[0] != '\0';
}

/* RFC 3461 4.1. Without NOTIFY the configuration decides; but what a report met is never
 * lost silently. */
static bool wants(const struct outcome *o, size_t i, enum dsn_action action)
{
	static const char *const word[] = { [DSN_FAILED] = "FAILURE",
		                            [DSN_DELAYED] = "DELAY",
		                            [DSN_RELAYED] = "SUCCESS" };
	const char *notify = o->m->note.plan.rcpt[i].notify;

	if (!has_sender(o) && action != DSN_FAILED)
		return false;
	if (notify[0])
		return has_word(notify, word[action]);
	if (action == DSN_FAILED)
		return o->r->conf->notify_failure || !has_sender(o);
	return action == DSN_DELAYED && o->r->conf->notify_delay;
}

/* The message's clock began with its first temporary refusal; when it has run out, and
 * it was tried often enough, one more refusal is the last. */
static bool has_expired(const struct reporter *r, const struct message *m, int64_t now)
{
	return !r->probing && m->note.first_trouble &&
	       report_age(r, m->note.first_trouble, now) > r->host->lifetime &&
	       m->note.tries + 1 >= MIN_TRIES;
}

/* One warning is enough for all the times that have passed since the last. Nothing is said
 * while the trouble is the route's; nor when the message's time is over and only the number
 * of its tries keeps it: then the clock has jumped, or the machine was off. */
static unsigned warnings_due(const struct reporter *r, const struct message *m,
                             int64_t now)
{
	const struct conf_spans *s = &r->host->warn_after;
	int64_t age = report_age(r, m->note.first_trouble, now);
	unsigned due = 0;

	if (r->probing || m->note.first_trouble == 0 || age > r->host->lifetime)
		return 0;
	while (due < s->n && age >= s->v[due])
		due++;
	return due > m->note.warned ? due - m->note.warned : 0;
}

static enum note_state state_of(const struct outcome *o, size_t i)
{
	switch (o->res[i].verdict.kind) {
	case VERDICT_DONE:
		return NOTE_DONE;
	case VERDICT_LATER:
		return o->expired ? NOTE_FAILED : NOTE_LATER;
	case VERDICT_FAILED:
		return NOTE_FAILED;
	case VERDICT_DOUBT:
		return o->expired ? NOTE_FAILED : NOTE_PENDING;
	case VERDICT_HOST:
	case VERDICT_RECONNECT:
	case VERDICT_REST:
		break;
	}
	return NOTE_PENDING;
}

/* Failed as its time, or the host's, is over. What is refused for good in the last try is not
 * that. */
static bool ran_out(const struct outcome *o, size_t i)
{
	return o->r->gave_up || (o->expired && o->res[i].verdict.kind != VERDICT_FAILED);
}

static bool is_relayed(const struct outcome *o, size_t i)
{
	return o->res[i].no_dsn && o->res[i].verdict.kind == VERDICT_DONE &&
	       wants(o, i, DSN_RELAYED);
}

static void tell(struct outcome *o, size_t i, enum dsn_action action, int code,
                 struct str text)
{
	const struct plan_rcpt *p = &o->m->note.plan.rcpt[i];

	o->tell[o->tells++] = (struct dsn_rcpt){ .action = action,
		                                 .addr = str_z(p->addr),
		                                 .orcpt = str_z(p->orcpt),
		                                 .code = code,
		                                 .text = text };
	o->tells_failed += action == DSN_FAILED;
	o->tells_relayed += action == DSN_RELAYED;
}

/* Settled before, but not told: a crash came in between, or there was nobody to tell. */
static void judge_settled(struct outcome *o, size_t i)
{
	const struct note_rcpt *n = &o->m->note.rcpt[i];

	if (o->m->told[i])
		return;
	if (n->state == NOTE_DONE && str_starts(n->text, STR(RELAYED)) &&
	    wants(o, i, DSN_RELAYED))
		tell(o, i, DSN_RELAYED, n->code, str_from(n->text, sizeof(RELAYED) - 1));
	else if (n->state == NOTE_FAILED && !has_sender(o) && wants(o, i, DSN_FAILED))
		tell(o, i, DSN_FAILED, n->code, n->text);
}

static void judge_one(struct outcome *o, size_t i)
{
	const struct verdict *v = &o->res[i].verdict;
	enum note_state s = state_of(o, i);
	/* Nobody said it: so it is no reply. */
	bool ours = o->res[i].ours && v->text.n > REPLY_CODE;

	if (is_relayed(o, i))
		tell(o, i, DSN_RELAYED, v->code, buf_view(&v->text));
	else if (s == NOTE_LATER && o->warnings && wants(o, i, DSN_DELAYED))
		tell(o, i, DSN_DELAYED, v->code, buf_view(&v->text));
	if (s != NOTE_FAILED || !wants(o, i, DSN_FAILED))
		return;
	o->tells_expired |= ran_out(o, i);
	tell(o, i, DSN_FAILED, ours ? 0 : v->code,
	     str_from(buf_view(&v->text), ours ? REPLY_CODE : 0));
}

static void add_to(struct outcome *o, const char *addr)
{
	buf_reset(&o->to);
	compose_complete(o->r->compose, str_z(addr), &o->to);
	if (!addr_envelope_ok(buf_view(&o->to)))
		buf_reset(&o->to);
}

/* Is it for the administrator alone, as a report to him is? His address may lead elsewhere
 * (aliases, rules for recipients), so that the plan does not tell. */
static bool is_for_admin(const struct outcome *o)
{
	const struct envelope *e = &o->m->env;
	_cleanup_buf_ struct buf one = BUF_INIT;

	if (e->rcpts != 1)
		return false;
	compose_complete(o->r->compose, e->rcpt[0].addr, &one);
	return str_ieq(buf_view(&one), buf_view(&o->to));
}

/* Whom the report goes to. Never a bounce to a bounce: what failed of a message without
 * sender is for the administrator, unless it is his own address that failed. */
static void find_to(struct outcome *o)
{
	const struct conf *c = o->r->conf;
	bool to_admin = strcmp(c->bounce_to, "admin") == 0;

	if (!has_sender(o) || to_admin)
		add_to(o, c->admin);
	else if (c->bounce_to[0] && strcmp(c->bounce_to, "sender") != 0)
		add_to(o, c->bounce_to);
	if (has_sender(o)) {
		if (o->to.n == 0)
			add_to(o, o->m->note.plan.sender);
		return;
	}
	if (is_for_admin(o))
		buf_reset(&o->to);
	for (size_t i = 0; i < o->tells && o->to.n; i++)
		if (str_ieq(o->tell[i].addr, buf_view(&o->to)))
			buf_reset(&o->to);
}

static void judge(struct outcome *o)
{
	size_t n = o->m->note.plan.rcpts;

	o->tell = calloc(n + 1, sizeof(*o->tell));
	if (!o->tell)
		die_oom();
	for (size_t i = 0; i < n; i++)
		if (o->res && o->res[i].open)
			judge_one(o, i);
		else
			judge_settled(o, i);
	if (o->tells)
		find_to(o);
	if (o->to.n == 0) {
		o->orphans = o->tells_failed;
		o->tells = o->tells_failed = o->tells_relayed = 0;
	}
	/* Who does not want to hear of delays is not warned. */
	if (o->tells == o->tells_failed + o->tells_relayed)
		o->warnings = 0;
}

/* ---- Lines ---- */

static void note_lines(struct outcome *o, const char *verb, struct str lines,
                       bool in_journal)
{
	record_lines(&o->up, verb, &o->m->id, o->m->due, lines);
	if (in_journal)
		record_lines(&o->file, verb, &o->m->id, o->m->due, lines);
}

static void log_rcpt(struct outcome *o, size_t i, char level, const char *event,
                     int64_t next)
{
	const struct plan *p = &o->m->note.plan;
	const struct verdict *v = &o->res[i].verdict;
	_cleanup_buf_ struct buf line = BUF_INIT;

	log_value(&line, "to", str_z(p->rcpt[i].addr));
	log_value(&line, "from", p->sender[0] ? str_z(p->sender) : STR("<>"));
	log_value(&line, "relay", str_z(o->r->remote));
	if (v->code) {
		buf_z(&line, " code=");
		buf_u64(&line, (unsigned)v->code);
	} else {
		log_value(&line, "stage", str_z(smtp_stage_name(v->stage)));
	}
	log_text(&line, "text", buf_view(&v->text));
	if (next)
		buf_fmt(&line, " next=%llds", (long long)next);
	buf_z(&o->logs, "log ");
	buf_c(&o->logs, level);
	buf_c(&o->logs, ' ');
	buf_z(&o->logs, event);
	buf_z(&o->logs, " id=");
	buf_str(&o->logs, id_str(&o->m->id));
	buf_str(&o->logs, buf_view(&line));
	buf_c(&o->logs, '\n');
}

/* A host that loses its last reply every time may have taken the message every time. */
static int64_t doubt_wait(const struct outcome *o)
{
	const struct smarthost *h = o->r->host;
	int64_t wait = h->retry;

	for (unsigned i = 0; i < o->m->note.doubts && i < DOUBTS_MAX; i++)
		wait = wait < h->retry_max ? wait * 2 : wait;
	return wait < h->retry_max ? wait : h->retry_max;
}

/* A recipient that is not settled, and has no line of its own. */
static void left_rcpt(struct outcome *o, size_t i)
{
	const struct verdict *v = &o->res[i].verdict;

	if (v->kind == VERDICT_DOUBT) {
		o->doubt++;
		log_rcpt(o, i, 'w', "possible-duplicate", doubt_wait(o));
		return;
	}
	o->left++;
	o->met |= v->stage >= STAGE_MAIL;
}

static void one_rcpt(struct outcome *o, size_t i)
{
	const struct verdict *v = &o->res[i].verdict;
	_cleanup_buf_ struct buf line = BUF_INIT, text = BUF_INIT;
	enum note_state s = state_of(o, i);

	if (s == NOTE_PENDING) {
		left_rcpt(o, i);
		return;
	}
	if (s == NOTE_DONE) {
		o->done++;
		log_rcpt(o, i, 'i', "delivered", 0);
	} else if (s == NOTE_LATER) {
		o->later++;
		log_rcpt(o, i, 'w', "deferred", o->backoff);
	} else {
		o->failed++;
		log_rcpt(o, i, 'w', ran_out(o, i) ? "expired" : "failed", 0);
	}
	if (is_relayed(o, i))
		buf_z(&text, RELAYED);
	buf_str(&text, buf_view(&v->text));
	note_print_result(&line, i + 1, s, o->now, v->code, buf_view(&text));
	note_lines(o, "n", buf_view(&line), s != NOTE_FAILED);
}

/* The plan of a message that has no note yet, or a new one. */
static void plan_lines(struct outcome *o)
{
	_cleanup_buf_ struct buf plan = BUF_INIT, kept = BUF_INIT;

	if (o->m->noted)
		return;
	message_note(o->m, str_z(o->r->host->name), o->m->note.origin, NULL, &plan,
	             &kept);
	note_lines(o, "p", buf_view(&plan), true);
	note_lines(o, "n", buf_view(&kept), true);
}

/* That there is a report. */
static void told_lines(struct outcome *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (o->tells == 0)
		return;
	buf_fmt(&b, "b %u\n", o->m->note.tries + 1);
	for (unsigned i = 0; i < o->warnings; i++)
		buf_fmt(&b, "w %lld\n", (long long)o->now);
	note_lines(o, "n", buf_view(&b), false);
	if (o->warnings) {
		buf_reset(&b);
		log_value(&b, "to", buf_view(&o->to));
		buf_fmt(&o->logs, "log w warned id=%s%s\n", o->m->id.c, b.p);
	}
}

/* Then the next try has to look the alias up again. */
static bool waits_for_alias(const struct outcome *o)
{
	for (size_t i = 0; o->res && i < o->m->note.plan.rcpts; i++)
		if (o->res[i].open && state_of(o, i) == NOTE_LATER &&
		    plan_waits_for_alias(&o->m->note.plan.rcpt[i]))
			return true;
	return false;
}

static void end_lines(struct outcome *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (o->doubt)
		buf_fmt(&b, "d %lld connection lost before the last reply\n",
		        (long long)o->now);
	if (waits_for_alias(o))
		buf_fmt(&b, "c %lld\n", (long long)o->now);
	buf_fmt(&b, "e %lld\n", (long long)o->now);
	note_lines(o, "n", buf_view(&b), true);
}

/* What becomes of the message: the last record. */
static void print_end(struct outcome *o)
{
	/* At once, but behind its neighbours: the trouble may be with this message alone. */
	int64_t due = o->r->others ? o->now + ASIDE : o->now - ASIDE;
	bool later = o->later + o->doubt + o->left;

	record_begin(&o->up, "end", &o->m->id, o->m->due);
	record_begin(&o->file, "end", &o->m->id, o->m->due);
	if (o->later)
		due = o->now + o->backoff;
	else if (o->doubt)
		due = o->now + doubt_wait(o);
	if (later)
		buf_fmt(&o->up, "later %lld\n", (long long)due);
	else
		buf_z(&o->up, o->orphans ? "bad " NO_SENDER "\n" : "done\n");
	/* In the journal a failed recipient is one that is tried again at once, and a relayed
	 * one has not been told of. */
	if (o->failed || (o->tells_relayed && !later) || (o->orphans && !later))
		buf_fmt(&o->file, "later %lld\n", (long long)o->now - ASIDE);
	else if (later)
		buf_fmt(&o->file, "later %lld\n", (long long)due);
	else
		buf_z(&o->file, "done\n");
}

/* ---- The report ---- */

/* Is the message returned whole? RET says, else the configuration; but not to a host that
 * has just said, or would say, that it is too big. */
static bool is_whole(const struct outcome *o)
{
	const struct message *m = o->m;
	const struct conf *c = o->r->conf;

	if (o->tells_failed == 0 ||
	    (c->max_message_size > 0 && m->size > c->max_message_size / 2))
		return false;
	if (!has_sender(o))
		return m->size <= ADMIN_WHOLE;
	for (size_t i = 0; i < o->tells; i++)
		if (o->tell[i].code == 552 &&
		    !str_starts(o->tell[i].text, STR("552 5.2.")))
			return false;
	return m->note.plan.ret[0] ? strcmp(m->note.plan.ret, "FULL") == 0
	                           : c->bounce_whole;
}

static int dsn_write(const struct message *m, const struct dsn *d, int fd)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	bool body = false;
	int e;

	dsn_print(&b, d, &body);
	e = io_write(fd, b.p, b.n);
	if (e < 0 || !body)
		return e;
	buf_reset(&b);
	dsn_end(&b, d);
	if (lseek(m->fd, m->body_at, SEEK_SET) < 0)
		return -errno;
	if (io_copy(m->fd, fd, INT64_MAX, NULL) < 0)
		return -EIO;
	return io_write(fd, b.p, b.n);
}

/* The report as a memory file. */
static int dsn_file(const struct outcome *o)
{
	const struct message *m = o->m;
	const struct reporter *r = o->r;
	int64_t since = m->note.first_trouble ? m->note.first_trouble : o->now;
	const struct dsn d = { .conf = r->compose,
		               .id = id_str(&m->id),
		               .to = buf_view(&o->to),
		               .envid = str_z(m->note.plan.envid),
		               .full = is_whole(o),
		               .arrived = m->env.time,
		               .now = o->now,
		               .remote = str_z(r->remote),
		               .expired = o->tells_expired,
		               .lifetime =
		                   r->gave_up ? r->host->give_up : r->host->lifetime,
		               .until = since + r->host->lifetime,
		               .for_admin = !has_sender(o),
		               .template = r->template,
		               .rcpt = o->tell,
		               .rcpts = o->tells,
		               .original_header = buf_view(&m->header) };
	int fd = memfd_create("dsn", MFD_CLOEXEC), e;

	if (fd < 0)
		return -errno;
	e = dsn_write(m, &d, fd);
	if (e == 0)
		return fd;
	close(fd);
	return e;
}

static void send_dsn(struct outcome *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int fd = dsn_file(o);

	if (fd < 0) {
		/* Untold is worse than late: without its report nothing is final. */
		report_line(o->r, "log a dsn-error id=%s why=\"%s\"", o->m->id.c,
		            strerror(-fd));
		o->r->broken = true;
		return;
	}
	record_begin(&b, "dsn", &o->m->id, o->m->due);
	buf_fmt(&b, "%u\n", o->m->note.tries + 1);
	report_packet(o->r, buf_view(&b), fd);
	close(fd);
}

/* ---- All of it ---- */

static void send_up(struct outcome *o)
{
	buf_str(&o->up, buf_view(&o->logs));
	print_end(o);
	report_journal(o->r, buf_view(&o->file));
	if (o->tells)
		send_dsn(o);
	report_send(o->r, buf_view(&o->up));
}

/* Nothing of it was decided: no note, its clock stands. */
static void undecided(struct outcome *o)
{
	buf_reset(&o->up);
	buf_reset(&o->file);
	/* Not tried, or stopped since mailchuted is gone. But what the journal has an "s" of is
	 * in no doubt: that must be said. */
	if (!o->m->committed && (!o->met || o->r->broken || o->r->leaving))
		return;
	print_end(o);
	report_journal(o->r, buf_view(&o->file));
	report_send(o->r, buf_view(&o->up));
}

/* Was every recipient of a message without a note accepted? As nearly always. */
static bool is_accepted(const struct outcome *o)
{
	for (size_t i = 0; i < o->m->note.plan.rcpts; i++)
		if (!o->res[i].open || o->res[i].verdict.kind != VERDICT_DONE)
			return false;
	return !o->m->noted && o->tells == 0;
}

static void accepted(struct outcome *o)
{
	for (size_t i = 0; i < o->m->note.plan.rcpts; i++)
		log_rcpt(o, i, 'i', "delivered", 0);
	record_begin(&o->up, "ok", &o->m->id, o->m->due);
	buf_u64(&o->up, (unsigned)o->res[0].verdict.code);
	buf_z(&o->up, " \n");
	report_journal(o->r, buf_view(&o->up));
	buf_str(&o->logs, buf_view(&o->up));
	report_send(o->r, buf_view(&o->logs));
}

static void outcome_run(struct outcome *o)
{
	size_t n = o->m->note.plan.rcpts;

	judge(o);
	if (is_accepted(o)) {
		accepted(o);
		return;
	}
	plan_lines(o);
	told_lines(o);
	for (size_t i = 0; i < n; i++)
		if (o->res[i].open)
			one_rcpt(o, i);
	if (o->done + o->later + o->failed + o->doubt == 0) {
		undecided(o);
	} else {
		end_lines(o);
		send_up(o);
	}
}

static void outcome_free(struct outcome *o)
{
	free(o->tell);
	buf_free(&o->to);
	buf_free(&o->up);
	buf_free(&o->file);
	buf_free(&o->logs);
}

void report_outcome(struct reporter *r, const struct message *m, const struct result *res,
                    int64_t now)
{
	const struct note *n = &m->note;
	int64_t age = n->first_trouble ? report_age(r, n->first_trouble, now) : 0;
	struct outcome o = { .r = r, .m = m, .res = res, .now = now };

	o.backoff = note_backoff(age, r->host->retry, r->host->retry_max, id_str(&m->id));
	o.expired = r->gave_up || has_expired(r, m, now);
	o.warnings = r->gave_up ? 0 : warnings_due(r, m, now);
	outcome_run(&o);
	outcome_free(&o);
}

void report_settled(struct reporter *r, const struct message *m, int64_t now)
{
	struct outcome o = { .r = r, .m = m, .now = now };

	judge(&o);
	if (o.tells) {
		plan_lines(&o);
		told_lines(&o);
		end_lines(&o);
	}
	record_begin(&o.up, "end", &m->id, m->due);
	buf_z(&o.up, o.orphans ? "bad " NO_SENDER "\n" : "done\n");
	/* Not in the journal: should it be lost, the message comes here again. */
	if (o.tells)
		send_dsn(&o);
	report_send(r, buf_view(&o.up));
	outcome_free(&o);
}
