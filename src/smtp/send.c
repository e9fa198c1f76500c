/* One message over an open session: its transactions, and a verdict for each recipient.
 */
#include "smtp/idna.h"
#include "smtp/session.h"
#include "smtp/wire.h"
#include "base/clock.h"
#include <errno.h>
#include <unistd.h>

enum {
	/* What a host must take in one transaction (RFC 5321 4.5.3.1.8). */
	RCPT_MAX = 100,
	/* Octets of an address: as long as src/mail lets them be. */
	ADDRESS_MAX = 1000,
	PARAMETER_MAX = 500,
	/* Octets that are worth one more second of session_max. */
	SLOWEST = 1000,
};

enum rcpt_state {
	RCPT_TODO, /* not in this transaction yet */
	RCPT_SENT,
	RCPT_ACCEPTED,
	RCPT_DECIDED,
};

/* One message being sent. */
struct job {
	struct client *c;
	struct client_msg *m;
	unsigned char *state; /* enum rcpt_state of each recipient */
	uint64_t size;        /* octets of the encoded form (RFC 1870) */
	int64_t body;         /* octets of the body as it is read */
	bool eightbit, utf8;
	bool committed; /* on_commit was called */
	/* Of this transaction: */
	unsigned accepted;
	bool rest;    /* the host wants no more recipients */
	bool refused; /* MAIL was: the later replies say nothing */
	bool go;      /* 354 */
};

/* A walk over a message's octets, header first, in constant memory. */
struct walk {
	struct wire wire;
	size_t header; /* octets of the header done */
	int64_t body;  /* octets of the body done */
	bool end;
};

static bool has_eightbit(struct str s)
{
	const char *p = s.p;
	size_t n = s.n;

	for (; n >= sizeof(uint64_t); p += sizeof(uint64_t), n -= sizeof(uint64_t)) {
		uint64_t v;

		memcpy(&v, p, sizeof(v));
		if (v & UINT64_C(0x8080808080808080))
			return true;
	}
	for (; n; p++, n--)
		if ((unsigned char)*p >= 0x80)
			return true;
	return false;
}

/* Some octets of the body from at on, where the last call ended: 0 at the end, -errno. */
static ssize_t read_some(const struct job *j, char *p, size_t n, int64_t at)
{
	const struct client_msg *m = j->m;
	ssize_t got;

	if (m->body)
		return m->body->read(m->body->arg, p, n);
	do
		got = pread(m->fd, p, n, m->body_at + at);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Fills c->block from the body. Octets, fewer than a block only at the end; -errno. */
static ssize_t read_block(struct job *j, int64_t at)
{
	size_t got = 0;

	if (at == 0 && j->m->body) {
		int e = j->m->body->rewind(j->m->body->arg);

		if (e < 0)
			return e;
	}
	while (got < SESSION_BLOCK) {
		ssize_t n = read_some(j, j->c->block + got, SESSION_BLOCK - got,
		                      at + (int64_t)got);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

/* Appends the encoded form of the next octets. 0 or -errno; w->end after the last. */
static int walk_on(struct job *j, struct walk *w, struct buf *out)
{
	struct str part = str_head(str_from(j->m->header, w->header), SESSION_BLOCK);
	ssize_t n;

	w->header += part.n;
	wire_encode(&w->wire, part, out);
	if (w->header < j->m->header.n)
		return 0;
	/* A body that fits in one block was read by measure() and is still there. */
	if (w->body == 0 && j->body >= 0 && j->body < SESSION_BLOCK)
		n = (ssize_t)j->body;
	else
		n = read_block(j, w->body);
	if (n < 0)
		return (int)n;
	wire_encode(&w->wire, (struct str){ j->c->block, (size_t)n }, out);
	w->body += n;
	if (n < SESSION_BLOCK) {
		wire_end(&w->wire, out);
		w->end = true;
	}
	return 0;
}

/* What must be known before MAIL: the exact size, and whether there are 8-bit octets. */
static int measure(struct job *j)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct walk w = { .end = false };

	j->body = -1;
	while (!w.end) {
		int e = walk_on(j, &w, &out);

		if (e < 0)
			return e;
		j->size += out.n;
		j->eightbit = j->eightbit || has_eightbit(buf_view(&out));
		buf_reset(&out);
	}
	j->body = w.body;
	return 0;
}

static void decide(struct job *j, size_t i, const struct verdict *v)
{
	struct verdict *to = &j->m->rcpt[i].verdict;

	*to = (struct verdict){ .kind = v->kind, .stage = v->stage, .code = v->code };
	buf_str(&to->text, buf_view(&v->text));
	j->state[i] = RCPT_DECIDED;
}

/* Decides all recipients in a state from..to. */
static void decide_all(struct job *j, enum rcpt_state from, enum rcpt_state to,
                       const struct verdict *v)
{
	for (size_t i = 0; i < j->m->rcpts; i++)
		if (j->state[i] >= from && j->state[i] <= to)
			decide(j, i, v);
}

/* A verdict of our own: the message, or one address, cannot be sent to this host. */
static void refuse(struct job *j, size_t only, int code, const char *text)
{
	struct verdict v = { .kind = VERDICT_FAILED, .stage = STAGE_MAIL, .code = code };

	buf_fmt(&v.text, "%d %s", code, text);
	if (only < j->m->rcpts)
		decide(j, only, &v);
	else
		decide_all(j, RCPT_TODO, RCPT_ACCEPTED, &v);
	buf_free(&v.text);
}

/* The last guard against commands within addresses: no control byte, and outside quotes
 * nothing that would end the path. Who calls us has refused these long before. */
static bool address_ok(struct str a)
{
	bool quoted = false;

	for (size_t i = 0; i < a.n; i++) {
		unsigned char ch = (unsigned char)a.p[i];

		if (ch < 0x20 || ch == 0x7f)
			return false;
		if (quoted && ch == '\\' && i + 1 < a.n &&
		    (unsigned char)a.p[i + 1] >= 0x20 && a.p[i + 1] != 0x7f)
			i++;
		else if (ch == '"')
			quoted = !quoted;
		else if (!quoted && (ch == '<' || ch == '>' || ch == ' '))
			return false;
	}
	return !quoted && a.n <= ADDRESS_MAX;
}

/* May it be a parameter's value? xtext has no byte that parts parameters. */
static bool parameter_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
			return false;
	return s.n > 0 && s.n <= PARAMETER_MAX;
}

/* Appends an address as this host can take it: without SMTPUTF8 an internationalised
 * domain goes out in A-labels. False: it cannot. */
static bool put_address(const struct job *j, struct buf *b, struct str a)
{
	if (!j->c->ext.smtputf8)
		return idna_address(b, a) == 0;
	buf_str(b, a);
	return true;
}

static bool needs_utf8(const struct job *j, struct str a)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	return has_eightbit(a) && !put_address(j, &b, a);
}

/* Sorts out what cannot be sent to this host at all. */
static void preflight(struct job *j)
{
	const struct ehlo *x = &j->c->ext;
	struct client_msg *m = j->m;

	if (!address_ok(m->sender)) {
		refuse(j, SIZE_MAX, 553, "5.1.7 the sender's address is malformed");
	} else if (needs_utf8(j, m->sender)) {
		refuse(j, SIZE_MAX, 553,
		       "5.6.7 the sender's address needs SMTPUTF8, which the host does "
		       "not offer");
	} else if (x->size_max && j->size > x->size_max) {
		char text[120];

		snprintf(text, sizeof(text),
		         "5.3.4 message of %llu octets is over the host's limit of %llu",
		         (unsigned long long)j->size, (unsigned long long)x->size_max);
		refuse(j, SIZE_MAX, 552, text);
	}
	j->utf8 = has_eightbit(m->sender);
	for (size_t i = 0; i < m->rcpts; i++) {
		struct str a = m->rcpt[i].addr;

		if (j->state[i] == RCPT_DECIDED)
			continue;
		if (!a.n || !address_ok(a))
			refuse(j, i, 553, "5.1.3 the recipient's address is malformed");
		else if (needs_utf8(j, a))
			refuse(j, i, 553,
			       "5.6.7 the address needs SMTPUTF8, which the host does "
			       "not offer");
		else
			j->utf8 = j->utf8 || has_eightbit(a);
	}
}

static void parameter(struct buf *b, const char *name, struct str value)
{
	if (!parameter_ok(value))
		return;
	buf_fmt(b, " %s=", name);
	buf_str(b, value);
}

static void put_mail(const struct job *j, struct buf *b)
{
	const struct ehlo *x = &j->c->ext;

	buf_z(b, "MAIL FROM:<");
	put_address(j, b, j->m->sender);
	buf_c(b, '>');
	if (x->size)
		buf_fmt(b, " SIZE=%llu", (unsigned long long)j->size);
	if (x->eightbit && j->eightbit)
		buf_z(b, " BODY=8BITMIME");
	if (x->smtputf8 && j->utf8)
		buf_z(b, " SMTPUTF8");
	if (x->dsn) {
		parameter(b, "RET", j->m->ret);
		parameter(b, "ENVID", j->m->envid);
	}
	buf_z(b, "\r\n");
}

static void put_rcpt(const struct job *j, const struct client_rcpt *r, struct buf *b)
{
	buf_z(b, "RCPT TO:<");
	put_address(j, b, r->addr);
	buf_c(b, '>');
	if (j->c->ext.dsn) {
		parameter(b, "NOTIFY", r->notify);
		parameter(b, "ORCPT", r->orcpt);
	}
	buf_z(b, "\r\n");
}

/* Does a reply that speaks of the host end the connection? Once the transaction has
 * failed, what follows in the same group is only its echo ("503 need MAIL", "554 no valid
 * recipients"): the first failure in causal order is the result. */
static bool is_echo(const struct job *j, enum smtp_stage stage)
{
	if (j->c->reply.code == 421)
		return false;
	return j->refused || (stage == STAGE_DATA && j->accepted == 0);
}

/* Takes the reply in c->reply for what it answers. 0 or -1 (broken). */
static int take(struct job *j, const struct expect *got)
{
	struct client *c = j->c;
	struct verdict v = { .stage = got->stage, .code = c->reply.code };

	v.kind = verdict_of(got->stage, &c->reply, c->successes, j->accepted);
	if (got->stage == STAGE_DATA && v.kind == VERDICT_DONE) {
		j->go = true;
		return 0;
	}
	if (got->stage != STAGE_RSET && is_echo(j, got->stage))
		return 0;
	if (v.kind == VERDICT_HOST || v.kind == VERDICT_RECONNECT)
		return session_break_reply(c, v.kind, got->stage);
	reply_line(&v.text, &c->reply);
	if (got->stage == STAGE_RCPT && v.kind == VERDICT_DONE) {
		j->state[got->rcpt] = RCPT_ACCEPTED;
		j->accepted++;
	} else if (got->stage == STAGE_RCPT && v.kind == VERDICT_REST) {
		j->state[got->rcpt] = RCPT_TODO;
		j->rest = true;
	} else if (got->stage == STAGE_RCPT) {
		decide(j, got->rcpt, &v);
	} else if (got->stage == STAGE_MAIL && v.kind != VERDICT_DONE) {
		j->refused = true;
		decide_all(j, RCPT_TODO, RCPT_ACCEPTED, &v);
	} else if (got->stage == STAGE_DATA) {
		decide_all(j, RCPT_ACCEPTED, RCPT_ACCEPTED, &v);
		j->accepted = 0;
	}
	buf_free(&v.text);
	return 0;
}

/* Takes replies until at most so many are outstanding. 0 or -1 (broken). */
static int settle(struct job *j, size_t most)
{
	while (j->c->unread > most) {
		struct expect got;

		if (session_pump(j->c, false, &got) < 0 || take(j, &got) < 0)
			return -1;
	}
	return 0;
}

/* A command was put into conn.out: notes that its reply is due, and waits for it where
 * the host does not do pipelining, or when enough is in flight. 0 or -1 (broken). */
static int step(struct job *j, enum smtp_stage stage, size_t rcpt)
{
	struct client *c = j->c;

	if (c->unread == 0)
		c->progress = clock_ms();
	session_expect(c, stage, rcpt);
	if (!c->ext.pipelining)
		return settle(j, 0);
	return c->unread == SESSION_UNREAD_MAX ? settle(j, SESSION_UNREAD_MAX / 2) : 0;
}

/* [RSET] MAIL RCPT... DATA, as one group where it may be one, and all replies. */
static int envelope(struct job *j)
{
	struct client *c = j->c;
	struct buf *out = &c->conn.out;
	size_t sent = 0;

	/* Without RSET some hosts keep the sender of a transaction that failed. */
	if (c->mailed) {
		buf_z(out, "RSET\r\n");
		if (step(j, STAGE_RSET, 0) < 0)
			return -1;
	}
	c->mailed = true;
	put_mail(j, out);
	if (step(j, STAGE_MAIL, 0) < 0)
		return -1;
	for (size_t i = 0; i < j->m->rcpts && sent < RCPT_MAX; i++) {
		if (j->refused || j->rest)
			break;
		if (j->state[i] != RCPT_TODO)
			continue;
		put_rcpt(j, &j->m->rcpt[i], out);
		j->state[i] = RCPT_SENT;
		sent++;
		if (step(j, STAGE_RCPT, i) < 0)
			return -1;
	}
	/* With replies outstanding somebody may be accepted yet. */
	if (!j->refused && (c->unread > 0 || j->accepted > 0)) {
		buf_z(out, "DATA\r\n");
		if (step(j, STAGE_DATA, 0) < 0)
			return -1;
	}
	return settle(j, 0);
}

/* 354 although nobody was accepted (RFC 2920 3.1): an empty message ends that. */
static int lone_dot(struct job *j)
{
	struct client *c = j->c;

	buf_z(&c->conn.out, ".\r\n");
	if (session_ask(c, STAGE_CONTENT) < 0)
		return -1;
	if (c->reply.code == 421)
		return session_break_reply(
		    c, verdict_of(STAGE_CONTENT, &c->reply, c->successes, 0),
		    STAGE_CONTENT);
	return 0;
}

/* The host answered before it had all: a refusal counts, but the connection is in the
 * middle of a message and cannot be used any more. */
static int answered_early(struct job *j)
{
	struct client *c = j->c;
	struct verdict v = { .stage = STAGE_CONTENT, .code = c->reply.code };

	v.kind = verdict_of(STAGE_CONTENT, &c->reply, c->successes, j->accepted);
	if (v.kind == VERDICT_HOST || v.kind == VERDICT_RECONNECT)
		return session_break_reply(c, v.kind, STAGE_CONTENT);
	if (v.kind == VERDICT_DONE)
		return session_break(
		    c, VERDICT_HOST, STAGE_CONTENT,
		    "the host accepted a message that it does not have yet");
	reply_line(&v.text, &c->reply);
	decide_all(j, RCPT_ACCEPTED, RCPT_ACCEPTED, &v);
	buf_free(&v.text);
	c->decided++;
	return session_break(c, VERDICT_RECONNECT, STAGE_CONTENT,
	                     "closed in the middle of a refused message");
}

/* The reply to the last dot: the content's verdict. */
static int take_content(struct job *j)
{
	struct client *c = j->c;
	struct verdict v = { .stage = STAGE_CONTENT, .code = c->reply.code };

	v.kind = verdict_of(STAGE_CONTENT, &c->reply, c->successes, j->accepted);
	/* Neither yes nor no: who knows what became of the message. */
	if (c->reply.code / 100 == 3)
		v.kind = VERDICT_DOUBT;
	if (v.kind != VERDICT_DONE && v.kind != VERDICT_LATER && v.kind != VERDICT_FAILED)
		return session_break_reply(c, v.kind, STAGE_CONTENT);
	if (v.kind == VERDICT_DONE)
		c->successes++;
	reply_line(&v.text, &c->reply);
	decide_all(j, RCPT_ACCEPTED, RCPT_ACCEPTED, &v);
	buf_free(&v.text);
	return 0;
}

/* The end of the content is about to go out. */
static void commit(struct job *j)
{
	buf_z(&j->c->conn.out, ".\r\n");
	if (!j->committed && j->m->on_commit)
		j->m->on_commit(j->m->arg);
	j->committed = true;
	j->c->final = true;
	/* From here on somebody may have it: the reply is worth waiting for. */
	j->c->conn.cancel_ms = session_ms(j->c, CONN_CANCEL_SECONDS);
}

/* The content after 354. 0; -1: broken; *ret_error: -errno of the body's descriptor. */
static int content(struct job *j, int *ret_error)
{
	struct client *c = j->c;
	struct walk w = { .wire = { .stuff = true } };
	struct expect got;
	int r = 0;

	if (c->conn.in.n)
		return session_break(c, VERDICT_HOST, STAGE_CONTENT,
		                     "the host speaks out of turn before the content");
	session_expect(c, STAGE_CONTENT, 0);
	c->progress = clock_ms();
	while (r == 0 && !w.end) {
		int e = walk_on(j, &w, &c->conn.out);

		/* A body that has another length now made SIZE a lie. */
		if (e == 0 && w.end && w.body != j->body)
			e = -EIO;
		if (e < 0) {
			*ret_error = e;
			return session_break(c, VERDICT_HOST, STAGE_CONTENT,
			                     "cannot read the message: %s", strerror(-e));
		}
		if (w.end)
			commit(j);
		r = session_pump(c, !w.end, &got);
	}
	if (r < 0)
		return -1;
	if (!w.end || conn_unsent(&c->conn))
		return answered_early(j);
	return take_content(j);
}

static int transaction(struct job *j, int *ret_error)
{
	struct client *c = j->c;

	j->accepted = 0;
	j->rest = j->refused = j->go = false;
	c->answered = c->final = false;
	if (envelope(j) < 0)
		return -1;
	if (j->go && j->accepted == 0 && lone_dot(j) < 0)
		return -1;
	if (j->go && j->accepted > 0 && content(j, ret_error) < 0)
		return -1;
	c->decided++;
	c->final = false;
	c->conn.cancel_ms = 0;
	return 0;
}

/* What the host said since the last message, unasked: "421 idle too long", or that it has
 * gone. Nothing is sent then. 0 or -1 (broken). */
static int listen_first(struct job *j)
{
	struct client *c = j->c;
	struct expect got;
	int e;

	c->answered = c->final = false;
	if (!c->conn.in.n) {
		e = conn_step(&c->conn, clock_ms());
		if (e == -ETIMEDOUT && clock_ms() < c->conn.session_end)
			return 0;
		if (e < 0)
			return session_lost(c, e, STAGE_MAIL);
		if (!c->conn.in.n)
			return c->conn.eof ? session_lost(c, -ECONNRESET, STAGE_MAIL) : 0;
	}
	c->progress = clock_ms();
	session_expect(c, STAGE_RSET, 0);
	if (session_pump(c, false, &got) < 0)
		return -1;
	if (c->reply.code == 421)
		return session_break_reply(
		    c, verdict_of(STAGE_MAIL, &c->reply, c->successes, 0), STAGE_MAIL);
	return session_break(c, VERDICT_HOST, STAGE_MAIL, "the host speaks out of turn");
}

static bool todo(const struct job *j)
{
	for (size_t i = 0; i < j->m->rcpts; i++)
		if (j->state[i] == RCPT_TODO)
			return true;
	return false;
}

/* As many as it takes. The session's time is meant for messages of the usual size: a large
 * one that a slow line cannot carry within it would never arrive. */
static void transactions(struct job *j, int *ret_error)
{
	struct client *c = j->c;
	int64_t end = c->conn.session_end;

	while (todo(j)) {
		if (end < INT64_MAX)
			c->conn.session_end =
			    end + session_ms(c, (int64_t)(j->size / SLOWEST));
		if (transaction(j, ret_error) < 0)
			return;
	}
	c->conn.session_end = end;
}

/* What the end of the connection means for recipients without a verdict. */
static void decide_broken(struct job *j)
{
	struct verdict *v = &j->c->broken;

	decide_all(j, RCPT_ACCEPTED, RCPT_ACCEPTED, v);
	/* Only the transaction whose last octet is out is in doubt. */
	if (v->kind == VERDICT_DOUBT)
		v->kind = VERDICT_HOST;
	decide_all(j, RCPT_TODO, RCPT_SENT, v);
}

int client_send(struct client *c, struct client_msg *m)
{
	struct job j = { .c = c, .m = m };
	int e, error = 0;

	for (size_t i = 0; i < m->rcpts; i++)
		m->rcpt[i].verdict = (struct verdict){ .kind = VERDICT_HOST };
	m->dsn_offered = c->ext.dsn;
	if (!c->open)
		return -ENOTCONN;
	e = measure(&j);
	if (e < 0) {
		session_close(c);
		return e;
	}
	j.state = calloc(m->rcpts + 1, 1);
	if (!j.state)
		die_oom();
	preflight(&j);
	if (todo(&j) && listen_first(&j) == 0)
		transactions(&j, &error);
	if (c->is_broken)
		decide_broken(&j);
	free(j.state);
	return error;
}

void client_stream(struct client *c, const struct client_feed *feed)
{
	while (client_is_open(c)) {
		struct client_msg *m = feed->next(feed->arg, true);

		if (!m)
			return;
		feed->done(feed->arg, m, client_send(c, m));
	}
}

void client_learned(const struct client *c, struct buf *b)
{
	(void)c;
	(void)b;
}
