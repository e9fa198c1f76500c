/* What mailchuted sends, and what it is told (push.h) */
#include "base/clock.h"
#include "base/io.h"
#include "push/push.h"
#include "smtp/auth.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
	BATCHES_MAX = 4, /* at one hearing: replies wait meanwhile */
	TOOK_EVERY_MS = 1000,
};

void push_host(struct push *p, const struct verdict *v)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	buf_escape_rest(&text, buf_view(&v->text), 400);
	/* Whatever it is: the next run asks for a token anew. */
	if (v->stage == STAGE_AUTH)
		secret_forget(&p->secret);
	report_line(&p->report, "host %s %d %s", smtp_stage_name(v->stage), v->code,
	            text.n ? text.p : "no reply");
	p->host_told = true;
}

/* What the rate budgets count. */
static void tell_took(struct push *p)
{
	int64_t now;

	if (p->took_messages == 0 || p->host->rates == 0)
		return;
	now = clock_ms();
	if (p->took_told && now - p->took_told < TOOK_EVERY_MS &&
	    !hand_is_empty(&p->hand))
		return;
	report_line(&p->report, "took %llu %llu", (unsigned long long)p->took_messages,
	            (unsigned long long)p->took_rcpts);
	p->took_messages = p->took_rcpts = 0;
	p->took_told = now;
}

void push_flush(struct push *p)
{
	tell_took(p);
	report_flush(&p->report);
}

void push_ticket(struct push *p)
{
	struct buf text = BUF_INIT, kept = BUF_INIT;

	buf_room(&text, JOB_TICKET_MAX);
	client_ticket(p->client, &text);
	if (p->cc.token)
		secret_print(&p->secret, buf_view(&p->password), &kept);
	if (text.n + 1 + kept.n > JOB_TICKET_MAX)
		buf_reset(&kept);
	if (text.n || !str_eq(buf_view(&kept), p->kept)) {
		if (kept.n || text.n == 0)
			buf_c(&text, ';');
		buf_str(&text, buf_view(&kept));
		report_line(&p->report, "ticket %s", text.p);
	}
	auth_wipe(&text);
	auth_wipe(&kept);
}

static void take_secret(struct push *p, int fd)
{
	struct verdict v = { .kind = VERDICT_HOST, .stage = STAGE_AUTH };
	int e;

	buf_reset(&p->password);
	e = fd < 0 ? -EACCES : io_slurp(fd, &p->password, 65536);
	while (e == 0 && p->password.n &&
	       (p->password.p[p->password.n - 1] == '\n' ||
	        p->password.p[p->password.n - 1] == '\r'))
		buf_cut(&p->password, p->password.n - 1);
	/* Emptied since mailchuted has opened it, perhaps only to be written anew: no password
	 * is no reason to try without one, which counts as a wrong one. */
	if (e < 0 || p->password.n == 0) {
		buf_z(&v.text, e < 0 ? "the password file cannot be read"
		                     : "the password file is empty");
		push_host(p, &v);
		buf_free(&v.text);
	}
	p->cc.password = buf_view(&p->password);
}

static void take_known(struct push *p, struct str rest)
{
	struct str word[3] = { STR(""), STR(""), STR("") };
	uint64_t t;

	for (size_t i = 0; i < ARRAY_LEN(word); i++)
		str_cut(&rest, ' ', &word[i]);
	if (str_u64(word[0], &t))
		p->accepted = (int64_t)t;
	p->report.probing = str_eq(word[1], STR("1"));
	if (str_u64(word[2], &t))
		p->down_since = (int64_t)t;
}

static void take_learned(struct push *p, struct str rest)
{
	buf_reset(&p->learned);
	buf_str(&p->learned, str_head(rest, JOB_LEARNED_MAX));
	p->cc.learned = buf_view(&p->learned);
}

static void take_ticket(struct push *p, struct str rest)
{
	buf_reset(&p->ticket);
	buf_str(&p->ticket, str_head(rest, JOB_TICKET_MAX));
	p->kept = buf_view(&p->ticket);
	p->cc.ticket = STR("");
	str_cut(&p->kept, ';', &p->cc.ticket);
	if (p->cc.token && p->kept.n)
		(void)secret_recall(&p->secret, p->kept, &p->password);
}

static void take_line(struct push *p, struct str line, int fds[static JOB_FDS_MAX])
{
	struct job_record rec;

	if (!job_parse(line, &rec))
		return;
	if (str_eq(rec.verb, STR("job"))) {
		const struct queued q = { rec.id, rec.due, fds[0], fds[1] };

		/* What got lost since no more descriptors could be opened: without its note
		 * it would go to those who have it. mailchuted gives it to the next push. */
		if (fds[0] < 0 || (fds[1] < 0 && str_eq(rec.rest, STR("note"))))
			return;
		if (hand_put(&p->hand, &q))
			fds[0] = fds[1] = -1;
	} else if (str_eq(rec.verb, STR("secret"))) {
		take_secret(p, fds[0]);
	} else if (str_eq(rec.verb, STR("stop"))) {
		p->stop = true;
	} else if (str_eq(rec.verb, STR("halt"))) {
		p->halt = true;
	} else if (str_eq(rec.verb, STR("known"))) {
		take_known(p, rec.rest);
	} else if (str_eq(rec.verb, STR("learned"))) {
		take_learned(p, rec.rest);
	} else if (str_eq(rec.verb, STR("ticket"))) {
		take_ticket(p, rec.rest);
	}
}

static void take_packet(struct push *p, struct job_got *packet)
{
	struct str line;

	if (packet->text.n && str_cut(&packet->text, '\n', &line))
		take_line(p, line, packet->fds);
	for (size_t i = 0; i < JOB_FDS_MAX; i++)
		cleanup_fd(&packet->fds[i]);
}

/* One batch. False: there is no more now. */
static bool hear_batch(struct push *p)
{
	struct job_got packet[JOB_BATCH];
	size_t most = hand_room(&p->hand) < JOB_BATCH ? hand_room(&p->hand) : JOB_BATCH;
	int n;

	if (!p->batch)
		p->batch = job_batch_new();
	n = job_recv_batch(JOB_FD_SOCKET, p->batch, packet, most);
	if (n == -EAGAIN)
		return false;
	/* It is gone, or it wants to be: then it still hears what we say. */
	if (n <= 0)
		p->report.leaving = p->halt = true;
	for (int i = 0; i < n; i++)
		take_packet(p, &packet[i]);
	return n == (int)most;
}

void push_hear(struct push *p, int wait_ms)
{
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLIN };

	if (p->report.broken || p->report.leaving || hand_room(&p->hand) == 0)
		return;
	if (wait_ms && poll(&pfd, 1, wait_ms) <= 0)
		return;
	for (int i = 0; i < BATCHES_MAX && !p->report.leaving && hand_room(&p->hand); i++)
		if (!hear_batch(p))
			return;
}
