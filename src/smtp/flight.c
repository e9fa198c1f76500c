#include "smtp/flight.h"

void flight_init(struct flight *f, struct client_msg *m)
{
	*f = (struct flight){ .m = m };
	f->state = f->few;
	if (m->rcpts > FLIGHT_RCPTS_FEW)
		f->state = calloc(m->rcpts, 1);
	if (!f->state)
		die_oom();
	for (size_t i = 0; i < m->rcpts; i++)
		m->rcpt[i].verdict = (struct verdict){ .kind = VERDICT_HOST };
}

void flight_free(struct flight *f)
{
	if (f->state != f->few)
		free(f->state);
	f->state = NULL;
}

static void decide(struct flight *f, size_t i, const struct verdict *v)
{
	struct verdict *to = &f->m->rcpt[i].verdict;

	*to = (struct verdict){ .kind = v->kind, .stage = v->stage, .code = v->code };
	buf_str(&to->text, buf_view(&v->text));
	f->state[i] = RCPT_DECIDED;
}

/* Decides all recipients in a state from..to. */
static void decide_all(struct flight *f, enum rcpt_state from, enum rcpt_state to,
                       const struct verdict *v)
{
	for (size_t i = 0; i < f->m->rcpts; i++)
		if (f->state[i] >= from && f->state[i] <= to)
			decide(f, i, v);
}

/* A verdict of our own: the message, or one address, cannot be sent to this host. */
void flight_refuse(struct flight *f, size_t only, int code, const char *text)
{
	struct verdict v = { .kind = VERDICT_FAILED, .stage = STAGE_MAIL, .code = code };

	buf_fmt(&v.text, "%d %s", code, text);
	if (only < f->m->rcpts)
		decide(f, only, &v);
	else
		decide_all(f, RCPT_TODO, RCPT_ACCEPTED, &v);
	buf_free(&v.text);
}

bool flight_todo(const struct flight *f)
{
	for (size_t i = 0; i < f->m->rcpts; i++)
		if (f->state[i] == RCPT_TODO)
			return true;
	return false;
}

void flight_begin(struct flight *f, const struct client *c)
{
	f->phase = c->mailed ? PHASE_RSET : PHASE_MAIL;
	f->walk = (struct walk){ .end = false };
	f->next = f->sent = f->due = 0;
	f->accepted = 0;
	f->rest = f->refused = f->go = f->answered = false;
	f->later = f->partial = f->done = false;
	f->bdat = f->careful = false;
	f->end = 0;
	f->m->dsn_offered = c->ext.dsn;
}

bool flight_out(const struct flight *f, uint64_t taken)
{
	return f->phase == PHASE_SENT && f->end <= taken;
}

/* A verdict from c->reply for recipients in a state from..to. */
static void reply_decides(struct flight *f, const struct client *c,
                          const struct verdict *v, enum rcpt_state from,
                          enum rcpt_state to)
{
	struct verdict said = { .kind = v->kind, .stage = v->stage, .code = v->code };

	reply_line(&said.text, &c->reply);
	decide_all(f, from, to, &said);
	buf_free(&said.text);
}

static enum flight_event event_of(enum verdict_kind kind)
{
	return kind == VERDICT_HOST || kind == VERDICT_RECONNECT ? FLIGHT_HOST
	                                                         : FLIGHT_ON;
}

static enum flight_event take_mail(struct flight *f, const struct client *c,
                                   const struct verdict *v)
{
	if (v->kind == VERDICT_DONE)
		return FLIGHT_ON;
	f->refused = true;
	reply_decides(f, c, v, RCPT_TODO, RCPT_ACCEPTED);
	return event_of(v->kind);
}

static enum flight_event take_rcpt(struct flight *f, const struct client *c,
                                   const struct verdict *v, size_t i)
{
	struct verdict said = { .kind = v->kind, .stage = v->stage, .code = v->code };

	/* Once MAIL has failed what follows in the same group is only its echo. */
	if (f->refused)
		return v->code == 421 ? FLIGHT_HOST : FLIGHT_ON;
	if (v->kind == VERDICT_DONE) {
		f->state[i] = RCPT_ACCEPTED;
		f->accepted++;
		return FLIGHT_ON;
	}
	if (v->kind == VERDICT_REST) {
		f->state[i] = RCPT_TODO;
		f->rest = true;
		return FLIGHT_ON;
	}
	f->partial = true;
	reply_line(&said.text, &c->reply);
	decide(f, i, &said);
	buf_free(&said.text);
	return event_of(v->kind);
}

static enum flight_event take_data(struct flight *f, const struct client *c,
                                   const struct verdict *v)
{
	if (v->kind == VERDICT_DONE) {
		f->go = true;
		return FLIGHT_ON;
	}
	if (f->refused || f->accepted == 0)
		return v->code == 421 ? FLIGHT_HOST : FLIGHT_ON;
	reply_decides(f, c, v, RCPT_ACCEPTED, RCPT_ACCEPTED);
	f->accepted = 0;
	return event_of(v->kind);
}

/* Does it show how many octets it got, and are they ours? Postfix: "2212 bytes queued", Exim:
 * "2229 byte chunk". False: the reply is another message's. A host that shows nothing, or
 * counts otherwise, is not held to it. */
static bool witness_ok(struct witness *w, uint64_t octets, struct str text)
{
	enum { WITNESS_SURE = 3 };
	uint64_t n = 0;
	size_t digits = 0;

	if (w->silent)
		return true;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] >= '0' && text.p[i] <= '9') {
			digits++;
			continue;
		}
		if (digits && str_istarts(str_from(text, i), STR(" byte")) &&
		    str_u64(str_head(str_from(text, i - digits), digits), &n))
			break;
		digits = 0;
	}
	if (n == 0)
		return true;
	if (n == octets && w->same < WITNESS_SURE)
		w->same++;
	if (n != octets && w->same < WITNESS_SURE)
		w->silent = true;
	return n == octets || w->silent;
}

/* Yes looks so to this command. What stands in a stream is not noted, but looked at. */
static void note_yes(struct client *c, const struct flight *f, enum smtp_stage stage)
{
	struct witness *w = &c->witness;
	uint64_t *to = stage == STAGE_RSET   ? &w->rset
	               : stage == STAGE_MAIL ? &w->mail
	               : stage == STAGE_RCPT ? &w->rcpt
	                                     : &w->content;

	if (!f->bdat || !*to)
		*to = reply_shape(&c->reply);
}

/* Does a yes in a stream look like that to another command? Then the replies have moved. Until
 * the end of the connection of the canary a yes to a message may look so: then those to RSET or to
 * MAIL tell. */
static bool looks_moved(const struct client *c, enum smtp_stage stage)
{
	const struct witness *w = &c->witness;
	uint64_t h = reply_shape(&c->reply);

	if (stage == STAGE_RSET)
		return h != w->rset;
	if (stage == STAGE_MAIL)
		return h != w->mail && h == w->rset;
	if (stage != STAGE_CONTENT || (c->canary.tried && h == w->content))
		return false;
	return h == w->rset || h == w->mail || h == w->rcpt;
}

/* The reply to BDAT. Whatever else it says, yes to a message that nobody was accepted for,
 * or that is not there yet, belongs to another command. */
static enum flight_event take_bdat(struct flight *f, struct client *c,
                                   const struct verdict *v)
{
	bool nobody = f->refused || f->accepted == 0;

	if (v->code / 100 == 3)
		return FLIGHT_DESYNC;
	if (v->code / 100 == 2 &&
	    (nobody || !flight_out(f, c->conn.taken) ||
	     c->reply.enhanced[1] == 1 || /* of an address */
	     looks_moved(c, STAGE_CONTENT) ||
	     !witness_ok(&c->witness, f->size, buf_view(&c->reply.text))))
		return FLIGHT_DESYNC;
	f->answered = true;
	if (nobody)
		return v->code == 421 ? FLIGHT_HOST : FLIGHT_ON;
	/* It does not know BDAT after all. */
	if (v->code == 500 || v->code == 502 || v->code == 503 || v->code == 521) {
		struct verdict again = *v;

		again.kind = VERDICT_RECONNECT;
		reply_decides(f, c, &again, RCPT_ACCEPTED, RCPT_ACCEPTED);
		return FLIGHT_UNFIT;
	}
	reply_decides(f, c, v, RCPT_ACCEPTED, RCPT_ACCEPTED);
	return event_of(v->kind);
}

/* The reply to the last dot: the content's verdict. */
static enum flight_event take_dot(struct flight *f, const struct client *c,
                                  const struct verdict *v)
{
	/* The empty message that ends a DATA for nobody. */
	if (f->accepted == 0) {
		f->answered = true;
		return v->code == 421 ? FLIGHT_HOST : FLIGHT_ON;
	}
	/* Neither yes nor no: who knows what became of the message. */
	if (v->code / 100 == 3)
		return FLIGHT_HOST;
	/* Before it had all: a refusal counts, but the connection is in the middle of a
	 * message and cannot be used any more. */
	if (!flight_out(f, c->conn.taken)) {
		if (v->kind == VERDICT_LATER || v->kind == VERDICT_FAILED)
			reply_decides(f, c, v, RCPT_ACCEPTED, RCPT_ACCEPTED);
		return event_of(v->kind) == FLIGHT_HOST ? FLIGHT_HOST : FLIGHT_EARLY;
	}
	f->answered = true;
	reply_decides(f, c, v, RCPT_ACCEPTED, RCPT_ACCEPTED);
	return event_of(v->kind);
}

enum flight_event flight_take(struct flight *f, struct client *c,
                              const struct expect *got)
{
	struct verdict v = { .stage = got->stage, .code = c->reply.code };
	enum flight_event e;

	v.kind = verdict_of(got->stage, &c->reply, c->successes, f->accepted);
	f->due--;
	if (v.code / 100 == 4)
		f->later = true;
	if (f->bdat && v.code / 100 == 3)
		return FLIGHT_DESYNC;
	if (v.code / 100 == 2)
		note_yes(c, f, got->stage);
	if (f->bdat && v.kind == VERDICT_DONE && got->stage != STAGE_CONTENT &&
	    looks_moved(c, got->stage))
		return FLIGHT_DESYNC;
	if (got->stage == STAGE_RSET)
		e = v.kind == VERDICT_DONE ? FLIGHT_ON : FLIGHT_HOST;
	else if (got->stage == STAGE_MAIL)
		e = take_mail(f, c, &v);
	else if (got->stage == STAGE_RCPT)
		e = take_rcpt(f, c, &v, got->rcpt);
	else if (got->stage == STAGE_DATA)
		e = take_data(f, c, &v);
	else if (f->bdat)
		e = take_bdat(f, c, &v);
	else
		e = take_dot(f, c, &v);
	if (e == FLIGHT_ON && got->stage == STAGE_CONTENT && f->accepted &&
	    v.kind == VERDICT_DONE) {
		f->done = true;
		c->successes++;
	}
	return e;
}

void flight_disbelieve(struct flight *f)
{
	for (size_t i = 0; i < f->m->rcpts; i++) {
		struct verdict *v = &f->m->rcpt[i].verdict;

		if (f->state[i] != RCPT_DECIDED || v->kind == VERDICT_DONE)
			continue;
		buf_free(&v->text);
		f->state[i] = RCPT_SENT;
	}
}

void flight_broken(struct flight *f, const struct verdict *why, bool in_doubt)
{
	struct verdict v = *why;

	if (in_doubt) {
		v.kind = VERDICT_DOUBT;
		/* In a stream their replies may not have come; they stood before it. */
		decide_all(f, RCPT_SENT, RCPT_ACCEPTED, &v);
		v.kind = why->kind == VERDICT_DOUBT ? VERDICT_HOST : why->kind;
	}
	decide_all(f, RCPT_TODO, RCPT_ACCEPTED, &v);
}
