#include "smtp/session.h"
#include "base/clock.h"
#include <assert.h>
#include <errno.h>

/* Seconds to wait for a reply: RFC 5321 4.5.3.2. */
static const int reply_seconds[] = {
	[STAGE_CONNECT] = 30, [STAGE_GREETING] = 300, [STAGE_EHLO] = 300,
	[STAGE_TLS] = 300,    [STAGE_AUTH] = 300,     [STAGE_MAIL] = 300,
	[STAGE_RCPT] = 300,   [STAGE_DATA] = 120,     [STAGE_CONTENT] = 600,
	[STAGE_RSET] = 300,   [STAGE_QUIT] = 5,
};

int64_t session_ms(const struct client *c, int64_t seconds)
{
	return seconds * (c->conf->timeout_scale > 0 ? c->conf->timeout_scale : 1000);
}

bool client_offers_8bit(const struct client *c)
{
	return c->open && c->ext.eightbit;
}

bool client_offers_utf8(const struct client *c)
{
	return c->open && c->ext.smtputf8;
}

void session_close(struct client *c)
{
	conn_close(&c->conn);
	c->open = false;
	c->unread = c->fifo_at = 0;
}

static int give_up(struct client *c, const struct verdict *v)
{
	if (c->is_broken)
		return -1;
	c->broken = *v;
	c->is_broken = true;
	session_close(c);
	return -1;
}

int session_break(struct client *c, enum verdict_kind kind, enum smtp_stage stage,
                  const char *fmt, ...)
{
	struct verdict v = { .kind = kind, .stage = stage };
	va_list ap;

	if (c->is_broken)
		return -1;
	va_start(ap, fmt);
	buf_vfmt(&v.text, fmt, ap);
	va_end(ap);
	return give_up(c, &v);
}

int session_break_reply(struct client *c, enum verdict_kind kind, enum smtp_stage stage)
{
	struct verdict v = { .kind = kind, .stage = stage, .code = c->reply.code };

	if (c->is_broken)
		return -1;
	reply_line(&v.text, &c->reply);
	return give_up(c, &v);
}

void session_expect(struct client *c, enum smtp_stage stage, size_t rcpt)
{
	assert(c->unread < SESSION_UNREAD_MAX);
	c->fifo[(c->fifo_at + c->unread++) % SESSION_UNREAD_MAX] =
	    (struct expect){ .stage = stage, .rcpt = rcpt };
}

/* All of the content is with the kernel, so the host may have taken the message. */
static bool in_doubt(const struct client *c)
{
	return c->final && conn_unsent(&c->conn) == 0;
}

/* The connection came to its end between two messages, or its time is over: nothing is
 * wrong with the host as long as each connection decides something. */
static bool used_up(const struct client *c, int error)
{
	bool late = clock_ms() >= c->conn.session_end;

	return c->decided > 0 &&
	       ((error == -ECONNRESET && !c->answered) || (error == -ETIMEDOUT && late));
}

int session_lost(struct client *c, int error, enum smtp_stage stage)
{
	const char *at = smtp_stage_name(stage);
	const struct conn *n = &c->conn;
	enum verdict_kind kind = in_doubt(c)         ? VERDICT_DOUBT
	                         : used_up(c, error) ? VERDICT_RECONNECT
	                                             : VERDICT_HOST;

	if (error == -ECANCELED)
		return session_break(c, kind, stage, "stopped at %s: mailchuted is gone",
		                     at);
	if (error == -ETIMEDOUT && clock_ms() >= n->session_end)
		return session_break(c, kind, stage, "at %s: the session took too long",
		                     at);
	if (error == -ETIMEDOUT && conn_unsent(n))
		return session_break(c, kind, stage, "at %s: the host takes no more data",
		                     at);
	if (error == -ETIMEDOUT)
		return session_break(c, kind, stage, "no reply to %s in time", at);
	if (error != -ECONNRESET)
		return session_break(c, kind, stage, "at %s: %s", at, strerror(-error));
	if (n->tls_error && n->tls_error != GNUTLS_E_PREMATURE_TERMINATION)
		return session_break(c, kind, stage, "at %s: TLS: %s", at,
		                     gnutls_strerror(n->tls_error));
	return session_break(c, kind, stage, "connection lost at %s%s%s", at,
	                     n->write_error ? ": " : "",
	                     n->write_error ? strerror(n->write_error) : "");
}

static int not_smtp(struct client *c, ptrdiff_t error, enum smtp_stage stage)
{
	_cleanup_buf_ struct buf shown = BUF_INIT;

	/* What answers AUTH may repeat the password, and cut anywhere. */
	if (stage == STAGE_AUTH)
		buf_z(&shown, "(not shown)");
	else
		buf_escape(&shown, buf_view(&c->conn.in), 60);
	return session_break(c, in_doubt(c) ? VERDICT_DOUBT : VERDICT_HOST, stage,
	                     "%s reply to %s: %s",
	                     error == -EMSGSIZE ? "endless" : "malformed",
	                     smtp_stage_name(stage), shown.p ? shown.p : "");
}

/* The time by which something must move: counted from the last reply or the last octet
 * that the kernel took, whichever was later. */
static int64_t progress_end(const struct client *c, enum smtp_stage stage)
{
	const struct conn *n = &c->conn;
	int64_t since = n->moved > c->progress ? n->moved : c->progress;
	bool writing = conn_unsent(n) && !n->write_error;

	return since + session_ms(c, writing && stage != STAGE_QUIT
	                                 ? SESSION_CONTENT_BLOCK
	                                 : reply_seconds[stage]);
}

int session_pump(struct client *c, bool or_flushed, struct expect *ret)
{
	struct expect head = c->fifo[c->fifo_at];

	assert(c->unread > 0);
	if (!c->open)
		return -1;
	for (;;) {
		ptrdiff_t n = reply_take(buf_view(&c->conn.in), &c->reply);
		int e;

		if (n < 0)
			return not_smtp(c, n, head.stage);
		if (n > 0) {
			buf_drop(&c->conn.in, (size_t)n);
			c->fifo_at = (c->fifo_at + 1) % SESSION_UNREAD_MAX;
			c->unread--;
			c->progress = clock_ms();
			c->answered = true;
			*ret = head;
			return 1;
		}
		if (or_flushed && conn_unsent(&c->conn) == 0)
			return 0;
		e = conn_step(&c->conn, progress_end(c, head.stage));
		if (e < 0)
			return session_lost(c, e, head.stage);
	}
}

int session_ask(struct client *c, enum smtp_stage stage)
{
	struct expect got;

	/* Whatever is there before the question is no answer to it, and would be taken
	 * for one (RFC 5321 4.3.1: one greeting, one reply a command). */
	if (c->conn.in.n)
		return session_break(c, VERDICT_HOST, stage,
		                     "the host speaks out of turn before %s",
		                     smtp_stage_name(stage));
	/* Waiting begins now, not with the last octet of a message a while ago. */
	c->progress = clock_ms();
	session_expect(c, stage, 0);
	return session_pump(c, false, &got) == 1 ? 0 : -1;
}
