#include "daemon/deal.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "mail/envelope.h"
#include "mail/note.h"
#include "spool/journal.h"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
/* What a push may say nothing for, beyond what a session may last. */
#ifdef CLOCK_TEST
	PUSH_GRACE_MS = 4000,
	LAST_CHANCE_MS = 500,
#else
	PUSH_GRACE_MS = 600 * 1000,
	LAST_CHANCE_MS = 10000,
#endif
	/* A session has a second more for each 1000 octets of a message (client.h), and a
	 * message can become larger on its way out (mend.h). */
	MS_PER_OCTET = 2,
};

/* More than any rate. */
#define RCPTS_UNKNOWN INT64_C(1000000000000)

struct outbox {
	unsigned n;
	struct job_packet v[JOB_MANY_MAX];
};

void deal_open(struct route *r)
{
	r->out = calloc(1, sizeof(*r->out));
	if (!r->out)
		die_oom();
	r->tell = NULL;
	r->full = r->put_off = r->hung = false;
	r->crowded = 0;
	r->settled = 0;
	/* A reload changes nothing for a push at work. */
	r->patience = PUSH_GRACE_MS + (r->host ? r->host->session_max * 1000 : 0);
	r->silent = 0;
}

/* The first n are gone. */
static void out_drop(struct outbox *o, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < o->v[i].n; k++)
			close(o->v[i].fds[k]);
	o->n -= n;
	memmove(o->v, o->v + n, o->n * sizeof(o->v[0]));
}

void deal_close(struct route *r)
{
	if (r->out)
		out_drop(r->out, r->out->n);
	free(r->out);
	r->out = NULL;
	r->tell = NULL;
	r->full = r->put_off = false;
	buf_free(&r->packet);
	buf_free(&r->listed);
	jobs_free(&r->jobs);
}

/* ---- How many ---- */

static unsigned most(const struct sched *s)
{
	return s->jobs_max && s->jobs_max < JOBS_MAX ? s->jobs_max : JOBS_MAX;
}

void deal_settled(struct route *r, const struct sched *s)
{
	if (r->breaker.open)
		r->window = 1;
	else if (r->window == 1)
		r->window = DEAL_FIRST;
	else
		r->window += 3; /* fourfold in a round trip, as in window.h */
	if (r->window > most(s))
		r->window = most(s);
}

void deal_up(struct route *r, const struct sched *s)
{
	/* One that is known, since it took many at a time, gets many. */
	unsigned at_least = r->learned.n ? JOBS_MAX : DEAL_UP;

	if (r->window > 1 && r->window < at_least)
		r->window = at_least < most(s) ? at_least : most(s);
}

void deal_down(struct route *r)
{
	r->window = r->window < DEAL_FIRST ? r->window : DEAL_FIRST;
}

bool deal_waits(struct route *r, int64_t now)
{
	const struct conf_rate *row = NULL;
	int64_t until;

	r->wait = WAIT_NONE;
	if (!r->host)
		return false;
	/* A clock that was set back must not make the wait longer. */
	if (r->slow_until > now && r->slow_until <= now + JOB_SLOW_MAX) {
		r->wait = WAIT_SLOW;
		r->wait_until = r->slow_until;
	} else if (budget_room(&r->budget, now, 0, 0, &until, &row) == 0 && row) {
		r->wait = WAIT_RATE;
		r->wait_until = until;
		r->rate = *row;
	}
	r->besides = WAIT_NONE;
	if (route_on_hold(r)) {
		r->besides = r->wait;
		r->wait = WAIT_HOLD;
	}
	return r->wait != WAIT_NONE;
}

bool deal_may(struct route *r, const struct sched *s, int64_t now)
{
	unsigned window = r->window < most(s) ? r->window : most(s);
	const struct conf_rate *row;
	int64_t until;

	if (deal_waits(r, now) || r->crowded || r->full)
		return false;
	if (r->out && r->out->n == JOB_MANY_MAX)
		return false;
	if (r->jobs.n && r->jobs.octets >= JOBS_OCTETS_MAX)
		return false;
	if (budget_room(&r->budget, now, r->jobs.n,
	                r->jobs.more ? RCPTS_UNKNOWN : r->jobs.rcpts, &until, &row) == 0)
		return false;
	return r->jobs.n < window;
}

/* ---- Handing out ---- */

_Static_assert(sizeof("job   note\n") + ID_LEN + 8 <=
                   sizeof(((struct job_packet *)NULL)->text),
               "a job's line");

/* The envelope's recipients; 0: it is damaged. *ret_here: some are of this machine, which may be
 * aliases. */
static int64_t envelope_rcpts(int fd, const struct alias_here *here, bool *ret_here)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct envelope e;
	const char *why;
	size_t used, n;

	if (queue_envelope(fd, &text, &e, &used, &why) < 0)
		return 0;
	n = e.rcpts;
	for (size_t i = 0; i < n; i++)
		*ret_here |= alias_is_here(here, e.rcpt[i].addr);
	envelope_free(&e);
	return (int64_t)n;
}

/* Recipients that a message is to go to now: by its plan, else before aliases. */
static void count_rcpts(struct route *r, const struct sched *s, struct job *j, int fd)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	const char *why;
	struct note note;
	bool more = false;
	int64_t n;

	if (j->noted &&
	    io_slurp_at(r->queue.s->note, j->place.id.c, &text, NOTE_FILE_MAX) == 0 &&
	    note_parse(buf_view(&text), &note, &why) == 0) {
		n = (int64_t)note.pending;
		more = note.recompose;
		note_free(&note);
	} else {
		n = envelope_rcpts(fd, &s->here, &more);
	}
	jobs_rcpts(&r->jobs, j, n > 0 ? n : 1, more);
}

bool deal_give(struct route *r, const struct sched *s, const struct place *p)
{
	struct job_packet *packet = &r->out->v[r->out->n];
	int fds[2] = { -1, -1 }, e;
	uid_t uid = (uid_t)-1;
	struct buf line;
	struct job *j;
	int64_t size = 0;

	if (jobs_find(&r->jobs, &p->id))
		return true; /* in hand already */
	e = queue_get(&r->queue, p, &fds[0], &fds[1]);
	if (e == -ENOENT)
		return true;
	if (e == -EMFILE || e == -ENFILE) {
		r->crowded = clock_real() + 1;
		return false;
	}
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT, "unreadable id=%s why=\"%s\"", p->id.c,
		         strerror(-e));
		return true;
	}
	j = jobs_add(&r->jobs, p);
	if (!j) {
		cleanup_fd(&fds[0]);
		cleanup_fd(&fds[1]);
		return false;
	}
	if (queue_owner(fds[0], &uid, &size) < 0)
		uid = (uid_t)-1;
	j->noted = fds[1] >= 0;
	j->uid = uid;
	jobs_size(&r->jobs, j, size);
	if (budget_of_recipients(&r->budget))
		count_rcpts(r, s, j, fds[0]);
	*packet = (struct job_packet){ .fds = { fds[0], fds[1] }, .n = j->noted ? 2 : 1 };
	line = buf_on(packet->text, sizeof(packet->text));
	buf_z(&line, "job ");
	buf_z(&line, p->id.c);
	buf_c(&line, ' ');
	buf_hex8(&line, p->due);
	buf_str(&r->listed, str_from(buf_view(&line), strlen("job ")));
	buf_c(&r->listed, '\n');
	buf_z(&line, j->noted ? " note\n" : "\n");
	if (++r->out->n == JOB_MANY_MAX)
		deal_send(r);
	return true;
}

/* Before push has them. A list with gaps would be worse than none. */
static void list_write(struct route *r)
{
	if (r->list >= 0 && r->listed.n &&
	    io_write(r->list, r->listed.p, r->listed.n) < 0) {
		journal_unlist(r->queue.s, &r->journal);
		cleanup_fd(&r->list);
		r->list = -1;
	}
	buf_reset(&r->listed);
}

void deal_send(struct route *r)
{
	int n;

	if (r->full)
		return;
	if (r->tell) {
		n = job_send(r->sock, str_z(r->tell), NULL, 0);
		r->full = n == -EAGAIN;
		if (n != -EAGAIN)
			r->tell = NULL;
	}
	list_write(r);
	while (r->out && r->out->n && !r->full) {
		n = job_send_many(r->sock, r->out->v, r->out->n);
		if (n > 0)
			out_drop(r->out, (unsigned)n);
		r->full = n == -EAGAIN;
		/* Or it is gone, which shows when it is listened to. */
		if (n == -ETOOMANYREFS)
			r->crowded = clock_real() + 1;
		if (n <= 0)
			return;
	}
}

void route_tell(struct route *r, bool halt)
{
	if (r->sock < 0)
		return;
	r->tell = halt ? "halt\n" : r->tell ? r->tell : "stop\n";
	if (r->out && halt)
		out_drop(r->out, r->out->n);
	deal_send(r);
}

/* ---- A push that hangs ---- */

int64_t route_watch(struct route *r, int64_t now)
{
	int64_t limit = r->patience + r->jobs.largest * MS_PER_OCTET;

	if (r->pid <= 0 || r->sock < 0)
		return -1;
	if (now < r->heard + limit)
		return r->heard + limit;
	/* It may have spoken, and we, or the whole machine, were asleep: it is heard first. */
	if (r->silent == 0)
		r->silent = now;
	if (now < r->silent + LAST_CHANCE_MS)
		return r->silent + LAST_CHANCE_MS;
	log_line(LOG_LEVEL_ALERT, "push-hung route=%s in-hand=%u silent=%llds",
	         r->queue.route, r->jobs.n, (long long)((now - r->heard) / 1000));
	kill(r->pid, SIGKILL);
	r->hung = true;
	/* A child of its own may have the other end. What it has said is still read. */
	(void)shutdown(r->sock, SHUT_RDWR);
	r->heard = now;
	r->silent = 0;
	return now + limit;
}
