#include "smtp/session.h"
#include "base/clock.h"
#include "smtp/tls_words.h"
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

int64_t session_patience(const struct client *c, enum smtp_stage stage)
{
	int64_t s = reply_seconds[stage];

	return c->hurried && s > CLIENT_HURRY ? CLIENT_HURRY : s;
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
	/* The secret may be another one by the time that the next host speaks. */
	c->reply.secret = NULL;
	c->open = false;
	c->unread = c->fifo_at = c->in_at = 0;
}

static bool awaits_content(const struct client *c)
{
	for (size_t i = 0; i < c->unread; i++)
		if (c->fifo[(c->fifo_at + i) % c->fifo_size].stage == STAGE_CONTENT)
			return true;
	return false;
}

/* When we leave in the middle of messages, what the peer has not confirmed is not to arrive
 * after all: they will be sent again. */
int session_give_up(struct client *c, const struct verdict *v)
{
	if (c->is_broken)
		return -1;
	c->broken = *v;
	c->is_broken = true;
	c->taken = c->conn.taken;
	if (c->conn.fd >= 0 && !c->conn.eof && awaits_content(c))
		conn_abort(&c->conn);
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
	return session_give_up(c, &v);
}

int session_break_reply(struct client *c, enum verdict_kind kind, enum smtp_stage stage)
{
	struct verdict v = { .kind = kind, .stage = stage, .code = c->reply.code };

	if (c->is_broken)
		return -1;
	reply_line(&v.text, &c->reply);
	return session_give_up(c, &v);
}

void session_expect(struct client *c, const struct expect *e)
{
	enum { FIFO_FIRST = 64 };

	if (c->unread == c->fifo_size) {
		size_t size = c->fifo_size ? c->fifo_size * 2 : FIFO_FIRST;
		struct expect *fifo = calloc(size, sizeof(*fifo));

		if (!fifo)
			die_oom();
		for (size_t i = 0; i < c->unread; i++)
			fifo[i] = c->fifo[(c->fifo_at + i) % c->fifo_size];
		free(c->fifo);
		c->fifo = fifo;
		c->fifo_size = size;
		c->fifo_at = 0;
	}
	/* Waiting begins now, not with the last reply a while ago. */
	if (c->unread == 0)
		c->progress = clock_ms();
	c->fifo[(c->fifo_at + c->unread++) % c->fifo_size] = *e;
}

/* The connection came to its end between two messages, or in mid-stream after it had carried
 * some, or its time is over: nothing is wrong with the host as long as each connection
 * decides something. */
static bool used_up(const struct client *c, int error)
{
	bool late = clock_ms() >= c->conn.session_end;

	return c->decided > 0 &&
	       ((error == -ECONNRESET && (!c->answered || c->streamed)) ||
	        (error == -ETIMEDOUT && late));
}

int session_lost(struct client *c, int error, enum smtp_stage stage)
{
	const char *at = smtp_stage_name(stage);
	const struct conn *n = &c->conn;
	enum verdict_kind kind = used_up(c, error) ? VERDICT_RECONNECT : VERDICT_HOST;
	_cleanup_buf_ struct buf words = BUF_INIT;

	if (error == -ECONNRESET || (error == -ETIMEDOUT && clock_ms() < n->session_end))
		c->lost = error;
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
	/* Something like "421" in clear text behind the end of TLS. */
	if (n->tls_error == GNUTLS_E_UNEXPECTED_PACKET ||
	    n->tls_error == GNUTLS_E_UNEXPECTED_PACKET_LENGTH)
		return session_break(
		    c, kind, stage, "connection lost at %s: the host went on without TLS",
		    at);
	if (n->tls_error && n->tls_error != GNUTLS_E_PREMATURE_TERMINATION) {
		tls_words_error(n->tls, n->tls_error, &words);
		return session_break(c, kind, stage, "at %s: TLS: %s", at, words.p);
	}
	return session_break(c, kind, stage, "connection lost at %s%s%s", at,
	                     n->write_error ? ": " : "",
	                     n->write_error ? strerror(n->write_error) : "");
}

static int not_smtp(struct client *c, ptrdiff_t error, enum smtp_stage stage)
{
	_cleanup_buf_ struct buf shown = BUF_INIT;

	/* What answers AUTH may repeat the password, and cut anywhere. */
	if (stage == STAGE_AUTH ||
	    (c->reply.secret &&
	     reply_shows(c->reply.secret, str_from(buf_view(&c->conn.in), c->in_at))))
		buf_z(&shown, "(not shown)");
	else
		buf_escape(&shown, str_from(buf_view(&c->conn.in), c->in_at), 60);
	c->lost = -EBADMSG;
	return session_break(c, VERDICT_HOST, stage, "%s reply to %s: %s",
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
	                                 : session_patience(c, stage));
}

int session_take(struct client *c, struct expect *ret)
{
	struct expect head;
	ptrdiff_t n;

	if (!c->open)
		return -1;
	if (c->unread == 0)
		return 0;
	head = c->fifo[c->fifo_at];
	n = reply_take(str_from(buf_view(&c->conn.in), c->in_at), &c->reply);
	if (n < 0)
		return not_smtp(c, n, head.stage);
	if (n == 0)
		return 0;
	c->in_at += (size_t)n;
	if (c->in_at == c->conn.in.n) {
		buf_reset(&c->conn.in);
		c->in_at = 0;
	}
	c->fifo_at = (c->fifo_at + 1) % c->fifo_size;
	c->unread--;
	c->progress = clock_ms();
	c->answered = true;
	*ret = head;
	return 1;
}

int session_wait(struct client *c, int64_t until)
{
	enum smtp_stage stage = c->fifo[c->fifo_at].stage;
	int64_t end = progress_end(c, stage);
	int e;

	if (!c->open)
		return -1;
	buf_drop(&c->conn.in, c->in_at);
	c->in_at = 0;
	e = conn_step(&c->conn, until < end ? until : end);
	return e < 0 ? session_lost(c, e, stage) : 0;
}

int session_out_of_turn(struct client *c, enum smtp_stage stage)
{
	return session_break(
	    c, VERDICT_HOST, stage, "the host speaks out of turn before %s",
	    stage == STAGE_CONTENT ? "the content" : smtp_stage_name(stage));
}

/* Writes and reads until the reply to the only command outstanding is there. */
static int answer(struct client *c)
{
	struct expect got;
	int r;

	while (r = session_take(c, &got), r == 0)
		if (session_wait(c, INT64_MAX) < 0)
			return -1;
	return r < 0 ? -1 : 0;
}

int session_ask(struct client *c, enum smtp_stage stage)
{
	/* Whatever is there before the question is no answer to it, and would be taken
	 * for one (RFC 5321 4.3.1: one greeting, one reply a command). */
	if (c->conn.in.n)
		return session_out_of_turn(c, stage);
	session_expect(c, &(struct expect){ .stage = stage });
	return answer(c);
}

int session_listen(struct client *c)
{
	int e;

	if (!c->conn.in.n) {
		e = conn_step(&c->conn, clock_ms());
		if (e == -ETIMEDOUT && clock_ms() < c->conn.session_end)
			return 0;
		if (e < 0)
			return session_lost(c, e, STAGE_MAIL);
		if (!c->conn.in.n)
			return c->conn.eof ? session_lost(c, -ECONNRESET, STAGE_MAIL) : 0;
	}
	session_expect(c, &(struct expect){ .stage = STAGE_RSET });
	if (answer(c) < 0)
		return -1;
	if (c->reply.code == 421)
		return session_break_reply(
		    c, verdict_of(STAGE_MAIL, &c->reply, c->successes, 0), STAGE_MAIL);
	/* In a stream some reply was taken for another command's. */
	c->lost = -EBADMSG;
	return session_break(c, c->streamed ? VERDICT_RECONNECT : VERDICT_HOST,
	                     STAGE_MAIL, "the host speaks out of turn");
}
