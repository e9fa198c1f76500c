#include "smtp/stream.h"
#include "smtp/canary.h"
#include "smtp/content.h"
#include "base/clock.h"
#include <errno.h>

enum {
	/* Octets that are worth one more second of session_max. */
	SLOWEST = 1000,
	/* Messages after which a host that queues what comes later on the same connection is
	 * given a new one: Exim's smtp_accept_queue_per_connection. */
	EXIM_MESSAGES = 10,
	/* Accepted in a stream: what happened on an earlier connection was no habit. */
	FORGIVEN = 50,
};

enum level stream_level(const struct client *c)
{
	const struct ehlo *x = &c->ext;
	enum level top = c->learned.level;

	if (!x->pipelining)
		return LEVEL_LOCKSTEP;
	if (top < LEVEL_STREAM)
		return top;
	if (!c->conf->stream || c->conf->max_ambiguous == 1 || !x->chunking || !x->size ||
	    x->size_max == 0 || !(c->learned.canary || c->canary.trusted))
		return LEVEL_COMBO;
	if (!c->streamed && c->rtt_ms < STREAM_RTT_MS && c->clean < STREAM_CLEAN)
		return LEVEL_COMBO;
	return LEVEL_STREAM;
}

bool stream_used(const struct client *c)
{
	unsigned most = c->conf->connection_messages;

	if (!most && c->exim)
		most = EXIM_MESSAGES;
	return (most && c->begun >= most) ||
	       (c->ext.mail_max && c->mails >= c->ext.mail_max) ||
	       (c->decided && clock_ms() >= c->session_late);
}

/* Nothing more may go out. */
static bool stopped(const struct stream *s)
{
	return s->over || s->c->conn.cancel_end != 0;
}

/* The session's time is meant for messages of the usual size: a large one that a slow line
 * cannot carry within it would never arrive. */
static void set_end(const struct stream *s)
{
	struct client *c = s->c;

	if (c->session_end < INT64_MAX)
		c->conn.session_end =
		    c->session_end + session_ms(c, (int64_t)(s->octets / SLOWEST));
}

void stream_done(struct stream *s, struct flight *f)
{
	struct client_msg *m = f->m;
	int error = f->error;

	flight_free(f);
	f->link = s->spare;
	s->spare = f;
	if (s->culprit == f)
		s->culprit = NULL;
	s->feed->done(s->feed->arg, m, error);
}

/* What the window learns of a transaction. */
static void count(struct client *c, const struct flight *f)
{
	bool whole = f->done && !f->partial && !f->later;

	c->decided++;
	c->answered = false;
	c->clean = whole ? c->clean + 1 : 0;
	if (f->later)
		window_later(&c->window, f->serial);
	window_ended(&c->window, f->done);
	if (whole && f->bdat)
		window_accepted(&c->window, c->progress);
	if (c->streamed && c->clean >= FORGIVEN)
		c->learned.strikes = 0;
}

void stream_finish(struct stream *s)
{
	struct flight *f = s->first, **end = &s->again;

	s->first = f->link;
	if (!s->first)
		s->last = NULL;
	s->flights--;
	s->octets -= f->size;
	set_end(s);
	count(s->c, f);
	s->dry = false;
	if (!flight_todo(f)) {
		stream_done(s, f);
		return;
	}
	f->link = NULL;
	while (*end)
		end = &(*end)->link;
	*end = f;
}

static struct flight *new_flight(struct stream *s, struct client_msg *m)
{
	struct flight *f = s->spare;

	if (f)
		s->spare = f->link;
	else
		f = malloc(sizeof(*f));
	if (!f)
		die_oom();
	flight_init(f, m);
	return f;
}

static struct client_msg *next(struct stream *s)
{
	bool idle = !s->first;
	struct client_msg *m;

	if (s->held_n) {
		m = s->held[0];
		s->held[0] = s->held[1];
		s->held_n--;
		return m;
	}
	if (s->dry && !idle)
		return NULL;
	m = s->feed->next(s->feed->arg, idle);
	s->dry = !m;
	s->ended = !m && idle;
	return m;
}

/* Takes messages until one is there that can be sent. False: there is none at present. */
static bool fetch(struct stream *s)
{
	struct client_msg *m;

	while ((m = next(s))) {
		struct flight *f = new_flight(s, m);

		f->error = content_measure(s->c, f);
		if (f->error == 0)
			flight_preflight(f, s->c);
		if (f->error == 0 && flight_todo(f)) {
			f->link = NULL;
			s->ready = f;
			return true;
		}
		stream_done(s, f);
	}
	return false;
}

/* May another message be looked for? */
static bool may_fetch(const struct stream *s)
{
	const struct client *c = s->c;

	if (stopped(s) || stream_used(c))
		return false;
	if (!s->first)
		return true;
	if (s->last->phase != PHASE_SENT || s->last->m->alone)
		return false;
	switch (stream_level(c)) {
	case LEVEL_LOCKSTEP:
	case LEVEL_PIPE:
		break;
	case LEVEL_COMBO:
		return s->flights == 1;
	case LEVEL_STREAM:
		return window_room(&c->window, s->flights + 1, s->octets, c->unread);
	}
	return false;
}

/* May it go out behind what is in flight? A large one goes by DATA, after its recipients'
 * replies: its octets are not sent for nobody. */
static bool may_begin(const struct stream *s, const struct flight *f)
{
	const struct client *c = s->c;

	if (!s->first)
		return true;
	if (f->m->alone)
		return false;
	if (stream_level(c) < LEVEL_STREAM || f->size > WINDOW_OCTETS)
		return s->flights == 1;
	return window_room(&c->window, s->flights + 1, s->octets + f->size,
	                   c->unread + f->m->rcpts + 3);
}

/* Before the first stream to a host, when it is worth it: true, the canary is on its way.
 * It costs no round trip, since the first message's group goes with it. */
static bool ask_canary(struct stream *s, const struct flight *f)
{
	struct client *c = s->c;
	struct client_msg *m;

	if (!canary_due(c) || !str_is_ascii(f->m->sender))
		return false;
	if (c->rtt_ms < STREAM_RTT_MS && c->clean < STREAM_CLEAN)
		return false;
	while (s->held_n < STREAM_HELD && (m = s->feed->next(s->feed->arg, false)))
		s->held[s->held_n++] = m;
	if (s->held_n < STREAM_HELD)
		return false;
	canary_put(c, f->m->sender);
	return true;
}

static int begin(struct stream *s, struct flight *f)
{
	struct client *c = s->c;
	bool asked;

	if (!s->first && session_listen(c) < 0)
		return -1;
	asked = ask_canary(s, f);
	flight_begin(f, c);
	if (asked)
		f->phase = PHASE_MAIL;
	f->bdat = stream_level(c) == LEVEL_STREAM && f->size <= WINDOW_OCTETS;
	f->careful = window_careful(&c->window);
	f->serial = window_begin(&c->window);
	c->begun++;
	c->streamed = c->streamed || f->bdat;
	c->combined = c->combined || s->first;
	f->link = NULL;
	if (s->first)
		s->last->link = f;
	else
		s->first = f;
	s->last = f;
	s->flights++;
	s->octets += f->size;
	set_end(s);
	return 1;
}

/* The next message, if there is one and it may: 1; 0: not now; -1: broken. */
static int begin_next(struct stream *s)
{
	struct flight **from = &s->ready, *f, *after;
	int r;

	if (!may_fetch(s))
		return 0;
	if (!s->ready && s->again)
		from = &s->again;
	else if (!s->ready && !fetch(s))
		return 0;
	f = *from;
	after = f->link;
	if (!may_begin(s, f))
		return 0;
	r = begin(s, f);
	/* Before it is in flight it stays where it was, to be given back. */
	if (r == 1)
		*from = after;
	return r;
}

/* Puts into conn.out whatever may go out now. 0 or -1 (broken). */
static int fill(struct stream *s)
{
	struct client *c = s->c;
	const struct conn *n = &c->conn;
	int r = 1;

	while (r > 0) {
		/* It would be taken for the answer to a question that was not asked yet; and
		 * while octets of a chunk that was refused are on their way, nobody else reads
		 * it. */
		if (s->first && !stopped(s) && c->unread == 0 && n->in.n &&
		    s->last->phase != PHASE_GO)
			return session_listen(c);
		/* With nothing in flight (a refused chunk is still on its way out) no reply
		 * would be waited for. */
		if (stopped(s) || (s->first && conn_unsent(n) >= STREAM_PUT_MAX))
			return 0;
		if (s->last && s->last->phase != PHASE_SENT)
			r = stream_put(s);
		else
			r = begin_next(s);
	}
	return r;
}

/* Is the content of the first one, whose replies are the next, all with the kernel? */
static bool first_out(const struct stream *s)
{
	return s->first && flight_out(s->first, s->c->conn.taken);
}

static int wait_on(struct stream *s)
{
	struct client *c = s->c;
	struct conn *n = &c->conn;
	int r;

	n->cancel_ms = first_out(s) ? session_ms(c, CONN_CANCEL_SECONDS) : 0;
	if (n->cancel_end && !first_out(s))
		return session_lost(c, -ECANCELED, s->first ? STAGE_CONTENT : STAGE_MAIL);
	if (s->feed->flush)
		s->feed->flush(s->feed->arg);
	n->wake_fd = s->dry && s->first && may_fetch(s) ? s->feed->fd : -1;
	r = session_wait(c, s->over ? s->over_until : INT64_MAX);
	n->wake_fd = -1;
	if (n->woken)
		s->dry = n->woken = false;
	return r;
}

/* Nothing is in flight, or nothing that could still be answered: does it go on? Always
 * false. */
static bool at_rest(struct stream *s)
{
	struct client *c = s->c;

	if (s->over) {
		struct verdict v = { .kind = s->why.kind,
			             .stage = s->why.stage,
			             .code = s->why.code };

		buf_str(&v.text, buf_view(&s->why.text));
		session_give_up(c, &v);
	} else if (c->conn.cancel_end) {
		session_lost(c, -ECANCELED, STAGE_MAIL);
	} else if (stream_used(c)) {
		client_quit(c);
	}
	return false;
}

/* Puts out what may go, waits, takes what has come. False: it is over. */
static bool turn(struct stream *s)
{
	struct expect got;
	int r;

	if (fill(s) < 0)
		return false;
	if (!s->first || (s->over && !first_out(s)))
		return at_rest(s);
	if (wait_on(s) < 0)
		return false;
	while (r = session_take(s->c, &got), r == 1)
		if (stream_take(s, &got) < 0)
			return false;
	return r == 0;
}

void client_stream(struct client *c, const struct client_feed *feed)
{
	struct stream s = { .c = c, .feed = feed };

	while (c->open && turn(&s))
		;
	stream_give_back(&s);
	if (feed->flush)
		feed->flush(feed->arg);
}

void client_learned(const struct client *c, struct buf *b)
{
	struct learned_hosts all = c->known;
	struct learned l = c->learned;

	if (c->streamed)
		l.window = c->window.now;
	if (l.host)
		learned_keep(&all, &l);
	learned_print_all(&all, CLIENT_LEARNED_MAX, b);
}

/* A feed of one message. */
struct one {
	struct client_msg *m;
	int error;
};

static struct client_msg *one_next(void *arg, bool idle)
{
	struct one *o = arg;
	struct client_msg *m = o->m;

	(void)idle;
	o->m = NULL;
	return m;
}

static void one_done(void *arg, struct client_msg *m, int error)
{
	struct one *o = arg;

	(void)m;
	o->error = error;
}

int client_send(struct client *c, struct client_msg *m)
{
	struct one o = { .m = m };
	const struct client_feed feed = {
		.next = one_next, .done = one_done, .fd = -1, .arg = &o
	};

	for (size_t i = 0; i < m->rcpts; i++)
		m->rcpt[i].verdict = (struct verdict){ .kind = VERDICT_HOST };
	if (!c->open)
		return -ENOTCONN;
	client_stream(c, &feed);
	return o.error;
}
