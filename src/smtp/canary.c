#include "smtp/canary.h"
#include "base/clock.h"

/* Transactions that the host must allow on this connection behind the canary (LIMITS). */
enum { CANARY_LEFT = 3 };

/* Which of its commands a reply is to: expect.rcpt. */
enum { CANARY_RSET, CANARY_MAIL, CANARY_BDAT, CANARY_END };

bool canary_due(const struct client *c)
{
	const struct ehlo *x = &c->ext;

	return c->conf->stream && c->conf->max_ambiguous != 1 && x->pipelining &&
	       x->chunking && x->size && x->size_max > 0 &&
	       c->learned.level == LEVEL_STREAM && !c->learned.canary &&
	       !c->canary.tried && (!x->mail_max || c->mails + CANARY_LEFT < x->mail_max);
}

static void command(struct client *c, const char *line, enum smtp_stage stage,
                    size_t which)
{
	buf_z(&c->conn.out, line);
	session_expect(c, &(struct expect){ .stage = stage, .rcpt = which });
}

void canary_put(struct client *c, struct str sender)
{
	if (c->mailed)
		command(c, "RSET\r\n", STAGE_RSET, CANARY_RSET);
	buf_z(&c->conn.out, "MAIL FROM:<");
	buf_str(&c->conn.out, sender);
	command(c, "> SIZE=8\r\n", STAGE_MAIL, CANARY_MAIL);
	command(c, "BDAT 8 LAST\r\nXCANAR\r\n", STAGE_CONTENT, CANARY_BDAT);
	command(c, "RSET\r\n", STAGE_RSET, CANARY_END);
	c->canary = (struct canary){ .out = true, .tried = true };
	c->mailed = true;
	c->mails++;
}

static unsigned most_in_flight(const struct client *c)
{
	return c->conf->max_ambiguous ? c->conf->max_ambiguous : CLIENT_AMBIGUOUS;
}

/* The last of its replies. A sender whom the host refuses proves nothing. */
static int judge(struct client *c)
{
	int mail = c->canary.mail / 100, bdat = c->canary.bdat / 100;

	c->canary.out = false;
	if (c->reply.code != 250) {
		learned_demote(&c->learned, LEVEL_COMBO, clock_real());
		return session_break(
		    c, VERDICT_RECONNECT, STAGE_RSET,
		    "the host does not throw away the content of a BDAT that it refuses");
	}
	c->witness.rset = reply_shape(&c->reply);
	c->canary.well = mail == 2 && bdat == 5;
	canary_yes(c);
	if (bdat != 5)
		learned_demote(&c->learned, LEVEL_COMBO, clock_real());
	return 0;
}

static void trust(struct client *c)
{
	if (!c->canary.trusted)
		window_start(&c->window, WINDOW_TRUSTED, most_in_flight(c), c->rtt_ms);
	c->canary.trusted = true;
}

void canary_yes(struct client *c)
{
	const struct witness *w = &c->witness;

	if (c->canary.well && w->mail != w->rset)
		trust(c);
	if (!c->canary.well || !w->content)
		return;
	c->canary.well = false;
	if (w->content == w->rset || w->content == w->mail || w->content == w->rcpt) {
		learned_demote(&c->learned, LEVEL_COMBO, clock_real());
		return;
	}
	trust(c);
	c->learned.canary = true;
	c->learned.since = clock_real();
}

int canary_take(struct client *c, const struct expect *got)
{
	int code = c->reply.code;
	enum verdict_kind kind = verdict_of(got->stage, &c->reply, c->successes, 0);

	/* A host that ends the connection for the question would do so each time. */
	if (code == 421 && (got->rcpt == CANARY_BDAT || got->rcpt == CANARY_END)) {
		learned_demote(&c->learned, LEVEL_COMBO, clock_real());
		kind = VERDICT_RECONNECT;
	}
	if (code == 421 || (got->rcpt == CANARY_RSET && code / 100 != 2))
		return session_break_reply(c, kind, got->stage);
	if (got->rcpt == CANARY_MAIL) {
		c->canary.mail = code;
		if (code / 100 == 2)
			c->witness.mail = reply_shape(&c->reply);
	} else if (got->rcpt == CANARY_BDAT) {
		c->canary.bdat = code;
	}
	return got->rcpt == CANARY_END ? judge(c) : 0;
}
