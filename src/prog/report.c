#include "prog/report.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "mail/dsn.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define NO_SENDER "it has no sender to return it to"

enum {
	MIN_TRIES = 3,
	PACKET_FILL = 32768,
	ASIDE = 64, /* seconds that neighbours go before what met trouble of the host */
	DOUBTS_MAX = 10,
};

static void send_text(struct reporter *r, struct str text, const int *fds, size_t n)
{
	if (!r->broken && job_send(r->sock, text, fds, n) < 0)
		r->broken = true;
}

static void journal(struct reporter *r, struct str text)
{
	if (io_write(r->journal, text.p, text.n) < 0)
		r->full = true;
}

void report_line(struct reporter *r, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vfmt(&b, fmt, ap);
	va_end(ap);
	buf_c(&b, '\n');
	send_text(r, buf_view(&b), NULL, 0);
}

static void prefix(struct buf *b, const char *verb, const struct id *id, uint32_t due)
{
	buf_fmt(b, "%s %s %08x ", verb, id->c, due);
}

void report_commit(struct reporter *r, const struct message *m)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	prefix(&b, "s", &m->id, m->due);
	buf_c(&b, '\n');
	journal(r, buf_view(&b));
}

void report_refused(struct reporter *r, const struct message *m, const struct verdict *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	prefix(&b, "refused", &m->id, m->due);
	buf_fmt(&b, "%s %d ", smtp_stage_name(v->stage), v->code);
	buf_escape(&b, buf_view(&v->text), 400);
	buf_c(&b, '\n');
	send_text(r, buf_view(&b), NULL, 0);
}

void report_settled(struct reporter *r, const struct message *m)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	bool untold = false;

	for (size_t i = 0; i < m->note.plan.rcpts; i++)
		untold |= m->note.rcpt[i].state == NOTE_FAILED;
	untold = untold && m->note.plan.sender[0] == '\0';
	prefix(&b, "end", &m->id, m->due);
	buf_z(&b, untold ? "bad " NO_SENDER "\n" : "done\n");
	send_text(r, buf_view(&b), NULL, 0);
}

void report_bad(struct reporter *r, const struct id *id, uint32_t due, const char *why)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	prefix(&b, "end", id, due);
	buf_fmt(&b, "bad %s\n", why);
	send_text(r, buf_view(&b), NULL, 0);
}

/* The outcome of one try, being put together. */
struct outcome {
	const struct message *m;
	struct verdict *const *of;
	int64_t now;
	struct buf up, file; /* records for mailchuted, and for the journal */
	struct buf logs;
	struct dsn_rcpt *failed;
	size_t failed_n; /* recipients that failed for good in this try */
	size_t notify_n; /* of them, those whose failure the sender wants to know */
	size_t done, later, doubt, left;
	bool met; /* the host's trouble began with this message, not before it */
	bool expired;
	bool dsn; /* there is a failure, and a sender who wants to know of it */
};

static void note_lines(struct outcome *o, const char *verb, struct str lines,
                       bool in_journal)
{
	struct str line;

	while (lines.n && str_cut(&lines, '\n', &line)) {
		prefix(&o->up, verb, &o->m->id, o->m->due);
		buf_str(&o->up, line);
		buf_c(&o->up, '\n');
		if (!in_journal)
			continue;
		prefix(&o->file, verb, &o->m->id, o->m->due);
		buf_str(&o->file, line);
		buf_c(&o->file, '\n');
	}
}

static void log_rcpt(const struct reporter *r, struct outcome *o, size_t i,
                     const char *event, int64_t next)
{
	const struct verdict *v = o->of[i];
	_cleanup_buf_ struct buf line = BUF_INIT;

	log_value(&line, "to", str_z(o->m->note.plan.rcpt[i].addr));
	log_value(&line, "from",
	          o->m->note.plan.sender[0] ? str_z(o->m->note.plan.sender) : STR("<>"));
	log_value(&line, "relay", str_z(r->remote));
	if (v->code)
		buf_fmt(&line, " code=%d", v->code);
	else
		log_value(&line, "stage", str_z(smtp_stage_name(v->stage)));
	log_value(&line, "text", buf_view(&v->text));
	if (next)
		buf_fmt(&line, " next=%llds", (long long)next);
	buf_fmt(&o->logs, "log %c %s id=%s%s\n",
	        event[0] == 'd' && event[2] == 'l' ? 'i' : 'w', event, o->m->id.c,
	        line.p);
}

static bool wants_failure(const struct plan_rcpt *p)
{
	struct str rest = str_z(p->notify), word;

	if (rest.n == 0)
		return true;
	while (rest.p && str_cut(&rest, ',', &word))
		if (str_ieq(word, STR("FAILURE")))
			return true;
	return false;
}

/* The message's clock began with its first temporary refusal; when it has run out, and
 * it was tried often enough, one more refusal is the last. */
static bool has_expired(const struct reporter *r, const struct message *m, int64_t now)
{
	return !r->probing && m->note.first_trouble &&
	       now - m->note.first_trouble > r->host->lifetime &&
	       m->note.tries + 1 >= MIN_TRIES;
}

static bool is_failure(const struct outcome *o, size_t i)
{
	return o->of[i] && (o->of[i]->kind == VERDICT_FAILED ||
	                    (o->of[i]->kind == VERDICT_LATER && o->expired));
}

static bool will_return(const struct outcome *o)
{
	for (size_t i = 0; i < o->m->note.plan.rcpts; i++)
		if (is_failure(o, i) && wants_failure(&o->m->note.plan.rcpt[i]))
			return true;
	return false;
}

static void add_failed(struct outcome *o, size_t i)
{
	const struct plan_rcpt *p = &o->m->note.plan.rcpt[i];

	o->failed_n++;
	if (!wants_failure(p))
		return;
	o->failed[o->notify_n++] = (struct dsn_rcpt){ .addr = str_z(p->addr),
		                                      .orcpt = str_z(p->orcpt),
		                                      .code = o->of[i]->code,
		                                      .text = buf_view(&o->of[i]->text) };
}

/* A host that loses its last reply every time may have taken the message every time. */
static int64_t doubt_wait(const struct reporter *r, const struct message *m)
{
	int64_t wait = r->host->retry;

	for (unsigned i = 0; i < m->note.doubts && i < DOUBTS_MAX; i++)
		wait = wait < r->host->retry_max ? wait * 2 : wait;
	return wait < r->host->retry_max ? wait : r->host->retry_max;
}

static void one_rcpt(struct reporter *r, struct outcome *o, size_t i, int64_t backoff)
{
	const struct verdict *v = o->of[i];
	_cleanup_buf_ struct buf line = BUF_INIT;
	enum note_state s = NOTE_PENDING;

	switch (v->kind) {
	case VERDICT_DONE:
		s = NOTE_DONE;
		o->done++;
		log_rcpt(r, o, i, "delivered", 0);
		break;
	case VERDICT_LATER:
		s = o->expired ? NOTE_FAILED : NOTE_LATER;
		break;
	case VERDICT_FAILED:
		s = NOTE_FAILED;
		break;
	case VERDICT_DOUBT:
		o->doubt++;
		log_rcpt(r, o, i, "possible-duplicate", doubt_wait(r, o->m));
		return;
	case VERDICT_HOST:
	case VERDICT_RECONNECT:
	case VERDICT_REST:
		o->left++;
		o->met |= v->stage >= STAGE_MAIL;
		return;
	}
	if (s == NOTE_LATER) {
		o->later++;
		log_rcpt(r, o, i, "deferred", backoff);
	} else if (s == NOTE_FAILED) {
		add_failed(o, i);
		log_rcpt(r, o, i, o->expired ? "expired" : "failed", 0);
	}
	note_print_result(&line, i + 1, s, o->now, v->code, buf_view(&v->text));
	note_lines(o, "n", buf_view(&line), s != NOTE_FAILED);
}

/* The DSN as a memory file; the body is copied behind it when all is to be returned. */
static int dsn_file(const struct reporter *r, const struct outcome *o)
{
	const struct message *m = o->m;
	const struct dsn d = { .conf = r->compose,
		               .id = id_str(&m->id),
		               .to = str_z(m->note.plan.sender),
		               .envid = str_z(m->note.plan.envid),
		               .full = strcmp(m->note.plan.ret, "FULL") == 0,
		               .arrived = m->env.time,
		               .now = o->now,
		               .remote = str_z(r->remote),
		               .expired = o->expired,
		               .lifetime = r->host->lifetime,
		               .rcpt = o->failed,
		               .rcpts = o->notify_n,
		               .original_header = buf_view(&m->header) };
	_cleanup_buf_ struct buf b = BUF_INIT;
	int fd = memfd_create("dsn", MFD_CLOEXEC), e;
	bool body = false;

	if (fd < 0)
		return -errno;
	dsn_print(&b, &d, &body);
	e = io_write(fd, b.p, b.n);
	if (e == 0 && body) {
		buf_reset(&b);
		dsn_end(&b, &d);
		if (lseek(m->fd, m->body_at, SEEK_SET) < 0)
			e = -errno;
		else if (io_copy(m->fd, fd, NULL) < 0)
			e = -EIO;
		if (e == 0)
			e = io_write(fd, b.p, b.n);
	}
	if (e == 0)
		return fd;
	close(fd);
	return e;
}

/* Sends text in packets, cut at line ends. */
static void send_lines(struct reporter *r, struct str text)
{
	while (text.n) {
		struct str part = str_head(text, PACKET_FILL);
		ptrdiff_t lf =
		    part.n < text.n ? str_rchr(part, '\n') : (ptrdiff_t)part.n - 1;

		part.n = lf < 0 ? part.n : (size_t)lf + 1;
		send_text(r, part, NULL, 0);
		text = str_from(text, part.n);
	}
}

static void send_dsn(struct reporter *r, struct outcome *o)
{
	char text[64];
	int fd = dsn_file(r, o);

	if (fd < 0) {
		/* Untold is worse than late: without its DSN the failure is not final. */
		report_line(r, "log a dsn-error id=%s why=\"%s\"", o->m->id.c,
		            strerror(-fd));
		r->broken = true;
		return;
	}
	snprintf(text, sizeof(text), "dsn %s %08x %u\n", o->m->id.c, o->m->due,
	         o->m->note.tries + 1);
	send_text(r, str_z(text), &fd, 1);
	close(fd);
}

/* What becomes of the message: the last record. */
static void print_end(const struct reporter *r, struct outcome *o, int64_t backoff)
{
	/* At once, but behind its neighbours: the trouble may be with this message alone. */
	int64_t due = r->others ? o->now + ASIDE : o->now - ASIDE;

	prefix(&o->up, "end", &o->m->id, o->m->due);
	prefix(&o->file, "end", &o->m->id, o->m->due);
	if (o->later)
		due = o->now + backoff;
	else if (o->doubt)
		due = o->now + doubt_wait(r, o->m);
	if (o->later + o->doubt + o->left)
		buf_fmt(&o->up, "later %lld\n", (long long)due);
	else if (o->failed_n && o->m->note.plan.sender[0] == '\0')
		buf_z(&o->up, "bad " NO_SENDER "\n");
	else
		buf_z(&o->up, "done\n");
	/* In the journal a failed recipient is one that is tried again at once. */
	if (o->failed_n)
		buf_fmt(&o->file, "later %lld\n", (long long)o->now - 64);
	else if (o->later + o->doubt + o->left)
		buf_fmt(&o->file, "later %lld\n", (long long)due);
	else
		buf_z(&o->file, "done\n");
}

static void report_accepted(struct reporter *r, struct outcome *o)
{
	prefix(&o->up, "ok", &o->m->id, o->m->due);
	buf_fmt(&o->up, "%d \n", o->of[0] ? o->of[0]->code : 250);
	journal(r, buf_view(&o->up));
	buf_str(&o->logs, buf_view(&o->up));
	send_lines(r, buf_view(&o->logs));
}

static void print_doubt(struct outcome *o)
{
	_cleanup_buf_ struct buf line = BUF_INIT;

	if (o->doubt == 0)
		return;
	buf_fmt(&line, "d %lld connection lost before the last reply\n",
	        (long long)o->now);
	note_lines(o, "n", buf_view(&line), true);
}

static void outcome_run(struct reporter *r, struct outcome *o)
{
	_cleanup_buf_ struct buf plan = BUF_INIT, end = BUF_INIT;
	const struct note *n = &o->m->note;
	int64_t age =
	    n->first_trouble && o->now > n->first_trouble ? o->now - n->first_trouble : 0;
	int64_t backoff =
	    note_backoff(age, r->host->retry, r->host->retry_max, id_str(&o->m->id));

	if (!o->m->noted) {
		note_print_plan(&plan, &n->plan, str_z(r->host->name));
		note_lines(o, "p", buf_view(&plan), true);
	}
	/* In front of the failures that it tells of: a note that is cut in between makes a
	 * second DSN, not none. */
	o->dsn = n->plan.sender[0] && will_return(o);
	if (o->dsn) {
		buf_fmt(&end, "b %u\n", n->tries + 1);
		note_lines(o, "n", buf_view(&end), false);
		buf_reset(&end);
	}
	for (size_t i = 0; i < n->plan.rcpts; i++)
		if (o->of[i])
			one_rcpt(r, o, i, backoff);
	if (o->done + o->later + o->failed_n + o->doubt == 0) {
		/* Nothing of it was decided: no note, its clock stands. */
		buf_reset(&o->up);
		buf_reset(&o->file);
		if (!o->met || r->broken)
			return; /* not tried, or stopped since mailchuted is gone */
		print_end(r, o, backoff);
		journal(r, buf_view(&o->file));
		send_lines(r, buf_view(&o->up));
		return;
	}
	if (!o->m->noted && o->done == n->plan.rcpts) {
		buf_reset(&o->up);
		report_accepted(r, o);
		return;
	}
	print_doubt(o);
	buf_fmt(&end, "e %lld\n", (long long)o->now);
	note_lines(o, "n", buf_view(&end), true);
	buf_str(&o->up, buf_view(&o->logs));
	print_end(r, o, backoff);
	journal(r, buf_view(&o->file));
	if (o->dsn)
		send_dsn(r, o);
	send_lines(r, buf_view(&o->up));
}

void report_outcome(struct reporter *r, const struct message *m,
                    struct verdict *const *of, int64_t now)
{
	struct outcome o = { .m = m, .of = of, .now = now };

	o.expired = has_expired(r, m, now);
	o.failed = calloc(m->note.plan.rcpts + 1, sizeof(*o.failed));
	if (!o.failed)
		die_oom();
	outcome_run(r, &o);
	free(o.failed);
	buf_free(&o.up);
	buf_free(&o.file);
	buf_free(&o.logs);
}
