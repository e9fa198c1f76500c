/* What came back, and what the end of a connection means (stream.h) */
#include "smtp/canary.h"
#include "smtp/stream.h"
#include "base/clock.h"
#include <errno.h>

/* The level that was in use, for who is to blame. */
static enum level in_use(const struct client *c)
{
	if (c->streamed)
		return LEVEL_STREAM;
	if (c->combined)
		return LEVEL_COMBO;
	return c->ext.pipelining ? LEVEL_PIPE : LEVEL_LOCKSTEP;
}

static void demote(struct client *c)
{
	enum level l = in_use(c);

	if (l > LEVEL_LOCKSTEP)
		learned_demote(&c->learned, l - 1, clock_real());
}

static bool is_letter(char c)
{
	return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

/* Is it one of the words by which hosts speak of commands that came too early? */
static bool is_about_groups(struct str word)
{
	static const char *const words[] = { "pipelining",      "pipelined",
		                             "synchronization", "synchronisation",
		                             "synchronized",    "unsynchronized" };

	while (word.n && !is_letter(word.p[word.n - 1]))
		word.n--;
	while (word.n && !is_letter(word.p[0]))
		word = str_from(word, 1);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_ieq(word, str_z(words[i])))
			return true;
	return false;
}

/* Does the host complain of commands that came before it had asked for them? "500 5.5.1
 * Invalid command: Pipelining not supported", "554 SMTP synchronization error". Not of a
 * recipient or a message whose refusal has that word: its enhanced code is of those. */
static bool complains(const struct client *c, const struct expect *got)
{
	int code = c->reply.code;
	struct str text = buf_view(&c->reply.text), word;

	if (stream_level(c) == LEVEL_LOCKSTEP ||
	    (code != 421 && code != 500 && code != 503 && code != 554))
		return false;
	if (code != 421 && c->reply.enhanced[0] && c->reply.enhanced[1] != 5)
		return false;
	if (got->stage == STAGE_CONTENT && got->flight && !got->flight->bdat)
		return false;
	while (str_word(&text, &word))
		if (is_about_groups(word))
			return true;
	return false;
}

static int unfit(struct client *c, const struct expect *got)
{
	demote(c);
	return session_break_reply(c, VERDICT_RECONNECT, got->stage);
}

/* May replies that are due still bring a verdict on a message? */
static bool worth_reading(const struct stream *s)
{
	for (const struct flight *f = s->first; f; f = f->link) {
		if (!f->bdat || f->answered || !flight_out(f, s->c->conn.taken))
			continue;
		for (size_t i = 0; i < f->m->rcpts; i++)
			if (f->state[i] == RCPT_SENT || f->state[i] == RCPT_ACCEPTED)
				return true;
	}
	return false;
}

/* A reply that cannot be to the command that it seems to answer: those before it may have been
 * others', too, and who was refused by them may be somebody else. */
static void disbelieve(const struct stream *s)
{
	for (struct flight *f = s->first; f; f = f->link)
		flight_disbelieve(f);
}

void stream_stop(struct stream *s, enum verdict_kind kind, enum smtp_stage stage)
{
	struct conn *n = &s->c->conn;

	s->over = true;
	s->why = (struct verdict){ .kind = kind, .stage = stage };
	s->over_until = INT64_MAX;
	/* But for a record of TLS that has begun: nothing could follow half of one. */
	if (n->out.n)
		buf_cut(&n->out, n->out_at + n->record);
}

/* The connection can carry no more. What was sent ahead may be accepted all the same (only
 * 421 must be followed by the end of the connection), so those replies are read. */
static int no_more(struct stream *s, struct flight *f, enum verdict_kind kind,
                   enum smtp_stage stage)
{
	struct client *c = s->c;
	bool first = !s->over;

	if (first && !worth_reading(s))
		return session_break_reply(c, kind, stage);
	if (first) {
		stream_stop(s, kind, stage);
		s->culprit = f;
		s->why.code = c->reply.code;
		reply_line(&s->why.text, &c->reply);
	}
	if (s->over_until == INT64_MAX && (s->bye || (first && stage == STAGE_RSET)))
		s->over_until = clock_ms() + session_ms(c, STREAM_FAREWELL);
	return 0;
}

static int trouble(struct stream *s, struct flight *f, const struct expect *got)
{
	struct client *c = s->c;
	int code = c->reply.code;
	enum verdict_kind kind =
	    verdict_of(got->stage, &c->reply, c->successes, f->accepted);

	if (got->stage == STAGE_RSET && f->bdat &&
	    (code == 500 || code == 502 || code == 503))
		return unfit(c, got);
	if (code < 400)
		disbelieve(s);
	return no_more(s, f, kind, got->stage);
}

/* DATA answered before the content was all out. */
static int early(struct client *c)
{
	if (c->reply.code / 100 == 2)
		return session_break(
		    c, VERDICT_HOST, STAGE_CONTENT,
		    "the host accepted a message that it does not have yet");
	c->decided++;
	return session_break(c, VERDICT_RECONNECT, STAGE_CONTENT,
	                     "closed in the middle of a refused message");
}

static int desync(const struct stream *s, enum smtp_stage stage)
{
	struct client *c = s->c;
	_cleanup_buf_ struct buf line = BUF_INIT;

	reply_line(&line, &c->reply);
	disbelieve(s);
	demote(c);
	return session_break(c, VERDICT_RECONNECT, stage,
	                     "the host's replies do not fit what was sent: at %s it says "
	                     "%s",
	                     smtp_stage_name(stage), line.p);
}

int stream_take(struct stream *s, const struct expect *got)
{
	struct client *c = s->c;
	struct flight *f = got->flight;
	int r = 0;

	s->went_on |= s->bye && c->reply.code != 421;
	s->bye |= c->reply.code == 421;
	if (complains(c, got))
		return unfit(c, got);
	if (!f)
		return canary_take(c, got);
	switch (flight_take(f, c, got)) {
	case FLIGHT_ON:
		canary_yes(c);
		break;
	case FLIGHT_HOST:
		r = trouble(s, f, got);
		break;
	case FLIGHT_UNFIT:
		demote(c);
		r = no_more(s, f, VERDICT_RECONNECT, got->stage);
		break;
	case FLIGHT_DESYNC:
		return desync(s, got->stage);
	case FLIGHT_EARLY:
		return early(c);
	}
	if (r == 0 && f->phase == PHASE_SENT && f->due == 0)
		stream_finish(s);
	return r;
}

/* A connection that ended without a word of the host, or stood still: is the level to blame? One
 * message in flight says nothing, but for the first of a connection whose group was not answered
 * to its end: some read one command and throw away, or close for, what came with it. A connection
 * that ended between messages says nothing. */
static void blame(const struct stream *s)
{
	struct client *c = s->c;
	int64_t now = clock_real();

	if (!c->lost || s->over)
		return;
	if (s->flights == 1 && s->first->due > 1 && !c->canary.out && c->decided == 0 &&
	    !s->first->refused && !s->first->partial) {
		learned_strike(&c->learned, in_use(c), now);
		return;
	}
	if (c->canary.out)
		learned_demote(&c->learned, LEVEL_COMBO, now);
	else if (c->lost == -EBADMSG && (c->streamed || c->combined))
		demote(c);
	else if (s->flights > 1)
		learned_strike(&c->learned, in_use(c), now);
	else
		return;
	/* Not the host's fault as long as there is another way to speak to it. */
	c->broken.kind = VERDICT_RECONNECT;
}

/* Everybody gets his verdict. in_doubt only where nothing the host said excludes it: when 421 was its
 * last word before the end of the connection, it has taken nothing more. One that went on behind
 * it may have taken all of it: a kernel that resets a connection (which it does when its program
 * closes with input unread) drops the replies that it has not sent yet. */
static void verdicts(const struct stream *s, struct flight *f, bool head)
{
	const struct client *c = s->c;
	struct verdict v = s->over ? s->why : c->broken;
	bool refuted = s->over && s->bye && !s->went_on && c->lost == -ECONNRESET;

	if (!head)
		v.kind = VERDICT_RECONNECT;
	flight_broken(f, &v, flight_out(f, c->taken) && !f->answered && !refuted);
}

static void give_back_list(struct stream *s, struct flight **list, bool *head)
{
	while (*list) {
		struct flight *f = *list;

		*list = f->link;
		verdicts(s, f, s->over ? f == s->culprit : *head);
		*head = false;
		stream_done(s, f);
	}
}

static void give_back_held(struct stream *s)
{
	for (size_t k = 0; k < s->held_n; k++) {
		struct flight f;

		flight_init(&f, s->held[k]);
		verdicts(s, &f, false);
		flight_free(&f);
		s->feed->done(s->feed->arg, s->held[k], 0);
	}
	s->held_n = 0;
}

void stream_give_back(struct stream *s)
{
	struct client *c = s->c;
	bool head = true;

	if (c->is_broken)
		blame(s);
	else if (s->first || s->again || s->ready || s->held_n)
		/* It has carried as many as it may; its end was orderly. */
		c->broken =
		    (struct verdict){ .kind = VERDICT_RECONNECT, .stage = STAGE_MAIL };
	give_back_list(s, &s->first, &head);
	s->last = NULL;
	give_back_list(s, &s->ready, &head);
	give_back_list(s, &s->again, &head);
	give_back_held(s);
	while (s->spare) {
		struct flight *f = s->spare;

		s->spare = f->link;
		free(f);
	}
	buf_free(&s->why.text);
}
