/* What goes out next (stream.h) */
#include "smtp/content.h"
#include "smtp/stream.h"
#include "base/clock.h"

static bool lockstep(const struct client *c)
{
	return stream_level(c) == LEVEL_LOCKSTEP;
}

static bool may_put(const struct client *c, const struct flight *f)
{
	if (lockstep(c))
		return c->unread == 0;
	return (f->bdat && !f->careful) || c->unread < SESSION_GROUP_MAX;
}

/* A command is in conn.out: its reply is due. */
static int due(struct client *c, struct flight *f, enum smtp_stage stage)
{
	session_expect(c, &(struct expect){ stage, f->next, f });
	f->due++;
	return 1;
}

static int put_rcpt(struct client *c, struct flight *f)
{
	size_t most = FLIGHT_RCPT_MAX;

	if (c->ext.rcpt_max && c->ext.rcpt_max < most)
		most = c->ext.rcpt_max;
	while (f->next < f->m->rcpts && f->state[f->next] != RCPT_TODO)
		f->next++;
	if (f->refused || f->rest || f->sent == most || f->next == f->m->rcpts) {
		f->phase = PHASE_ASK;
		return 1;
	}
	if (!may_put(c, f))
		return 0;
	flight_put_rcpt(f, c, &c->conn.out);
	f->state[f->next] = RCPT_SENT;
	f->sent++;
	due(c, f, STAGE_RCPT);
	f->next++;
	return 1;
}

/* DATA or BDAT; nothing when there is nobody to send it to. */
static int ask(struct stream *s, struct flight *f)
{
	struct client *c = s->c;

	if (f->due == 0 && (f->refused || f->accepted == 0)) {
		stream_finish(s);
		return 1;
	}
	/* With replies outstanding somebody may be accepted yet. */
	if (f->refused || (f->careful && f->due) || !may_put(c, f))
		return 0;
	if (f->bdat) {
		buf_z(&c->conn.out, "BDAT ");
		buf_u64(&c->conn.out, f->size);
		buf_z(&c->conn.out, " LAST\r\n");
		f->phase = PHASE_CONTENT;
		return due(c, f, STAGE_CONTENT);
	}
	buf_z(&c->conn.out, "DATA\r\n");
	f->phase = PHASE_GO;
	return due(c, f, STAGE_DATA);
}

/* After the reply to DATA. */
static int go(struct stream *s, struct flight *f)
{
	struct client *c = s->c;

	if (f->due)
		return 0;
	if (!f->go) {
		stream_finish(s);
		return 1;
	}
	if (c->conn.in.n)
		return session_out_of_turn(c, STAGE_CONTENT);
	f->phase = PHASE_CONTENT;
	if (f->accepted == 0) {
		/* 354 although nobody was accepted (RFC 2920 3.1): an empty message ends
		 * that. */
		buf_z(&c->conn.out, ".\r\n");
		f->phase = PHASE_SENT;
		f->end = conn_put(&c->conn);
	}
	return due(c, f, STAGE_CONTENT);
}

/* It cannot be read. Those in front of it are answered all the same. */
static int unreadable(struct stream *s, struct flight *f, int error)
{
	f->error = error;
	if (s->first == f)
		return session_break(s->c, VERDICT_HOST, STAGE_CONTENT,
		                     "cannot read the message: %s", strerror(-error));
	stream_stop(s, VERDICT_RECONNECT, STAGE_CONTENT);
	return 0;
}

static int content(struct stream *s, struct flight *f)
{
	struct client *c = s->c;

	while (!f->walk.end) {
		int e;

		/* Not between the last octet of a BDAT and on_commit: a body of whole blocks
		 * shows its end only when it is read once more. */
		if (conn_unsent(&c->conn) >= STREAM_PUT_MAX &&
		    !(f->bdat && f->walk.put == f->size))
			return 0;
		e = content_put(c, f);
		if (e < 0)
			return unreadable(s, f, e);
	}
	if (!f->bdat)
		buf_z(&c->conn.out, ".\r\n");
	f->end = conn_put(&c->conn);
	f->phase = PHASE_SENT;
	/* From here on somebody may have it. */
	if (!f->committed && f->m->on_commit)
		f->m->on_commit(f->m->arg);
	f->committed = true;
	/* A chunk that was refused while it went out. */
	if (f->due == 0)
		stream_finish(s);
	return 1;
}

int stream_put(struct stream *s)
{
	struct client *c = s->c;
	struct flight *f = s->last;

	switch (f->phase) {
	case PHASE_RSET:
	case PHASE_MAIL:
		if (!may_put(c, f))
			return 0;
		/* Without RSET some hosts keep the sender of a transaction that failed. */
		if (f->phase == PHASE_RSET) {
			buf_z(&c->conn.out, "RSET\r\n");
			f->phase = PHASE_MAIL;
			return due(c, f, STAGE_RSET);
		}
		flight_put_mail(f, c, &c->conn.out);
		f->phase = PHASE_RCPT;
		c->mailed = true;
		c->mails++;
		return due(c, f, STAGE_MAIL);
	case PHASE_RCPT:
		return put_rcpt(c, f);
	case PHASE_ASK:
		return ask(s, f);
	case PHASE_GO:
		return go(s, f);
	case PHASE_CONTENT:
		return content(s, f);
	case PHASE_SENT:
		break;
	}
	return 0;
}
