#include "smtp/session.h"
#include "base/clock.h"
#include "smtp/auth.h"
#include <errno.h>

struct client *client_new(const struct client_conf *conf, const char **ret_why)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		die_oom();
	c->conf = conf;
	c->conn = (struct conn)CONN_INIT;
	if (conf->tls != CLIENT_TLS_NONE) {
		c->tls = tls_new(conf, ret_why);
		if (!c->tls) {
			client_free(c);
			return NULL;
		}
	}
	return c;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	session_close(c);
	tls_free(c->tls);
	reply_free(&c->reply);
	buf_free(&c->ext.auth);
	buf_free(&c->broken.text);
	buf_free(&c->facts);
	buf_free(&c->whole);
	buf_free(&c->passed);
	auth_wipe(&c->secret.sent);
	free(c->fifo);
	free(c);
}

bool client_is_open(const struct client *c)
{
	return c->open;
}

struct str client_facts(const struct client *c)
{
	return buf_view(&c->facts);
}

struct str client_passed(const struct client *c)
{
	return buf_view(&c->passed);
}

/* "MAILMAX=100 RCPTMAX=50" (RFC 9422). */
static void take_limits(struct ehlo *x, struct str line)
{
	struct str word;

	while (str_cut(&line, ' ', &word)) {
		uint64_t n = 0;

		if (str_istarts(word, STR("MAILMAX=")) && str_u64(str_from(word, 8), &n))
			x->mail_max = n;
		else if (str_istarts(word, STR("RCPTMAX=")) &&
		         str_u64(str_from(word, 8), &n))
			x->rcpt_max = n;
	}
}

/* One line of EHLO's reply: keyword and parameters (RFC 5321 4.1.1.1). */
static void take_keyword(struct ehlo *x, struct str line)
{
	struct str word = line;

	str_cut(&line, ' ', &word);
	line = str_trim(line);
	if (str_ieq(word, STR("PIPELINING"))) {
		x->pipelining = true;
	} else if (str_ieq(word, STR("CHUNKING"))) {
		x->chunking = true;
	} else if (str_ieq(word, STR("LIMITS"))) {
		take_limits(x, line);
	} else if (str_ieq(word, STR("8BITMIME"))) {
		x->eightbit = true;
	} else if (str_ieq(word, STR("SMTPUTF8"))) {
		x->smtputf8 = true;
	} else if (str_ieq(word, STR("DSN"))) {
		x->dsn = true;
	} else if (str_ieq(word, STR("STARTTLS"))) {
		x->starttls = true;
	} else if (str_ieq(word, STR("SIZE"))) {
		x->size = true;
		if (!str_u64(line, &x->size_max))
			x->size_max = 0;
	} else if (str_ieq(word, STR("AUTH"))) {
		buf_c(&x->auth, ' ');
		buf_str(&x->auth, line);
	} else if (str_istarts(word, STR("AUTH="))) {
		/* "AUTH=LOGIN PLAIN", from before RFC 2554 and still met. */
		buf_c(&x->auth, ' ');
		buf_str(&x->auth, str_from(word, 5));
		buf_c(&x->auth, ' ');
		buf_str(&x->auth, line);
	}
}

static void take_ehlo(struct client *c)
{
	struct str rest = buf_view(&c->reply.text), line, word;

	str_cut(&rest, '\n', &line); /* the host's name and greeting */
	while (str_cut(&rest, '\n', &line)) {
		line = str_trim(line);
		take_keyword(&c->ext, line);
		if (str_cut(&line, ' ', &word))
			c->host = learned_keyword(c->host, word);
	}
}

/* Says hello; what was offered before is forgotten (RFC 3207 4.2). */
static int hello(struct client *c)
{
	static const char *const verbs[] = { "EHLO ", "HELO " };

	buf_reset(&c->ext.auth);
	c->ext = (struct ehlo){ .auth = c->ext.auth };
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		int64_t since = clock_ms(), span;

		buf_z(&c->conn.out, verbs[i]);
		if (c->conf->helo.n)
			buf_str(&c->conn.out, c->conf->helo);
		else
			conn_literal(&c->conn, &c->conn.out);
		buf_z(&c->conn.out, "\r\n");
		if (session_ask(c, STAGE_EHLO) < 0)
			return -1;
		span = clock_ms() - since;
		if (c->rtt_ms < 0 || span < c->rtt_ms)
			c->rtt_ms = span;
		if (verdict_of(STAGE_EHLO, &c->reply, 0, 0) == VERDICT_DONE) {
			if (i == 0)
				take_ehlo(c);
			return 0;
		}
		/* An old host does not know EHLO; one that is busy knows no HELO either.
		 */
		if (c->reply.code < 500 || c->reply.code == 521)
			break;
	}
	return session_break_reply(c, VERDICT_HOST, STAGE_EHLO);
}

static int secure(struct client *c)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	int64_t seconds = session_patience(c, STAGE_TLS);
	int e = tls_start(c->tls, &c->conn, clock_ms() + session_ms(c, seconds), &why);

	c->lost = e == -ETIMEDOUT ? e : c->lost;
	if (e < 0)
		return session_break(c, VERDICT_HOST, STAGE_TLS, "%s", why.p);
	return 0;
}

static int starttls(struct client *c)
{
	if (!c->ext.starttls)
		return session_break(
		    c, VERDICT_HOST, STAGE_TLS,
		    "the host does not offer STARTTLS, and nothing is sent "
		    "in the clear (tls = \"none\" would allow it)");
	buf_z(&c->conn.out, "STARTTLS\r\n");
	if (session_ask(c, STAGE_TLS) < 0)
		return -1;
	if (verdict_of(STAGE_TLS, &c->reply, 0, 0) != VERDICT_DONE)
		return session_break_reply(c, VERDICT_HOST, STAGE_TLS);
	/* What came with the 220 was not said under TLS: somebody put it there. */
	if (c->conn.in.n)
		return session_break(
		    c, VERDICT_HOST, STAGE_TLS,
		    "the host said more after the reply to STARTTLS, in the "
		    "clear: somebody may be in between");
	if (secure(c) < 0)
		return -1;
	return hello(c);
}

static int greet(struct client *c)
{
	if (session_ask(c, STAGE_GREETING) < 0)
		return -1;
	if (verdict_of(STAGE_GREETING, &c->reply, 0, 0) != VERDICT_DONE)
		return session_break_reply(c, VERDICT_HOST, STAGE_GREETING);
	c->host = learned_greeting(buf_view(&c->reply.text));
	c->exim = memmem(c->reply.text.p, c->reply.text.n, " Exim ", 6) != NULL;
	return 0;
}

/* What is known about the host that answers now. */
static void recall(struct client *c)
{
	const struct client_conf *conf = c->conf;
	unsigned first = WINDOW_FIRST;

	if (!c->learned_read)
		learned_parse_all(conf->learned, &c->known);
	c->learned_read = true;
	learned_forget(&c->learned, 0);
	if (!learned_find(&c->known, c->host, &c->learned) ||
	    !learned_holds(&c->learned, c->host, clock_real()))
		learned_forget(&c->learned, c->host);
	if (c->learned.canary && c->learned.strikes == 0)
		first = c->learned.window > WINDOW_TRUSTED ? c->learned.window
		                                           : WINDOW_TRUSTED;
	window_start(&c->window, first,
	             conf->max_ambiguous ? conf->max_ambiguous : CLIENT_AMBIGUOUS,
	             c->rtt_ms);
}

static int connect_to(struct client *c, struct client_way *way)
{
	const struct race r = { .to = way->to,
		                .n = way->n,
		                .from = c->conf->source,
		                .deadline = clock_ms() + session_ms(c, 30) };
	_cleanup_buf_ struct buf why = BUF_INIT;
	int e;

	way->at = way->n;
	e = conn_open(&c->conn, &r, &way->at, &why);
	c->open = true;
	if (e < 0)
		return session_break(c, VERDICT_HOST, STAGE_CONNECT,
		                     "cannot connect to %s", why.p);
	race_words(&way->to[way->at], &c->facts, "addr=", " port=");
	buf_c(&c->facts, ' ');
	return 0;
}

static int begin(struct client *c, struct client_way *way)
{
	c->hurried = way->others;
	if (connect_to(c, way) < 0)
		return -1;
	if (c->conf->tls == CLIENT_TLS_IMPLICIT && secure(c) < 0)
		return -1;
	if (greet(c) < 0 || hello(c) < 0)
		return -1;
	if (c->conf->tls == CLIENT_TLS_STARTTLS && starttls(c) < 0)
		return -1;
	c->hurried = false;
	tls_facts(&c->conn, &c->facts);
	recall(c);
	if (c->conf->auth && session_login(c) < 0)
		return -1;
	buf_fmt(&c->facts, " pipelining=%s", c->ext.pipelining ? "yes" : "no");
	/* Replies were read: what TLS 1.3 sends behind the handshake has come, too. */
	if (c->tls)
		tls_keep(c->tls, &c->conn);
	c->answered = false;
	return 0;
}

/* Forgets all that was about another connection. */
static void reset(struct client *c, int64_t now)
{
	int64_t most = c->conf->session_max;

	if (c->streamed)
		c->learned.window = c->window.now;
	if (c->learned.host)
		learned_keep(&c->known, &c->learned);
	session_close(c);
	buf_free(&c->broken.text);
	c->is_broken = c->mailed = c->answered = c->streamed = c->combined = c->exim =
	    false;
	c->successes = c->decided = c->mails = c->begun = c->clean = 0;
	c->lost = 0;
	c->rtt_ms = -1;
	c->canary = (struct canary){ .out = false };
	c->witness = (struct witness){ .same = 0 };
	c->whole_of = c->block_of = NULL;
	c->progress = now;
	buf_reset(&c->facts);
	c->conn.cancel_fd = c->conf->cancel_fd;
	c->conn.cancel_ms = 0;
	/* The last quarter is for what is in flight then. */
	c->session_end = c->session_late = INT64_MAX;
	if (most > 0) {
		c->session_end = now + most;
		c->session_late = now + most - most / 4;
	}
	c->conn.session_end = c->session_end;
}

int client_open(struct client *c, const struct sockaddr *to, socklen_t to_len,
                struct verdict *ret_why)
{
	struct race_address one = { .len = to_len };
	struct client_way way = { .to = &one, .n = 1 };

	memcpy(&one.addr, to, to_len);
	return client_open_any(c, &way, ret_why);
}

int client_open_any(struct client *c, struct client_way *way, struct verdict *ret_why)
{
	reset(c, clock_ms());
	if (c->tls)
		tls_expect(c->tls);
	if (begin(c, way) == 0)
		return 0;
	/* A host that cannot resume what it gave us gets a whole handshake. */
	if (c->tls && tls_offered(c->tls) && c->broken.stage == STAGE_TLS) {
		reset(c, clock_ms());
		if (begin(c, way) == 0)
			return 0;
	}
	way->hurried = c->hurried && c->lost == -ETIMEDOUT;
	*ret_why = c->broken;
	c->broken = (struct verdict){ .kind = VERDICT_HOST };
	ret_why->kind = VERDICT_HOST;
	return -1;
}

void client_ticket(const struct client *c, struct buf *b)
{
	if (c->tls)
		tls_ticket(c->tls, b);
}

void client_quit(struct client *c)
{
	bool more;

	if (!c->open)
		return;
	if (c->decided)
		c->learned.strikes = 0;
	/* The last message is decided: who wants us to leave need not wait for a farewell. */
	c->conn.cancel_ms = 0;
	buf_z(&c->conn.out, "QUIT\r\n");
	more = c->conn.in.n > 0 && !str_starts(buf_view(&c->conn.in), STR("421"));
	if (!c->conn.in.n && session_ask(c, STAGE_QUIT) == 0) {
		more = c->reply.code / 100 == 2 && c->reply.code != 221;
		conn_bye(&c->conn);
	}
	/* It has answered something twice. All was told apart; but not by this way again. */
	if (more && c->streamed)
		learned_demote(&c->learned, LEVEL_COMBO, clock_real());
	session_close(c);
	/* Nothing was in flight: a host that says no farewell is as good as any other. */
	buf_free(&c->broken.text);
	c->is_broken = false;
	c->lost = 0;
}
