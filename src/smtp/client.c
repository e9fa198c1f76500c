#include "smtp/session.h"
#include "base/clock.h"
#include <errno.h>
#include <netdb.h>

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

/* One line of EHLO's reply: keyword and parameters (RFC 5321 4.1.1.1). */
static void take_keyword(struct ehlo *x, struct str line)
{
	struct str word = line;

	str_cut(&line, ' ', &word);
	line = str_trim(line);
	if (str_ieq(word, STR("PIPELINING"))) {
		x->pipelining = true;
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
	struct str rest = buf_view(&c->reply.text), line;

	str_cut(&rest, '\n', &line); /* the host's name and greeting */
	while (str_cut(&rest, '\n', &line))
		take_keyword(&c->ext, str_trim(line));
}

/* Says hello; what was offered before is forgotten (RFC 3207 4.2). */
static int hello(struct client *c)
{
	static const char *const verbs[] = { "EHLO ", "HELO " };

	buf_reset(&c->ext.auth);
	c->ext = (struct ehlo){ .auth = c->ext.auth };
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		buf_z(&c->conn.out, verbs[i]);
		if (c->conf->helo.n)
			buf_str(&c->conn.out, c->conf->helo);
		else
			conn_literal(&c->conn, &c->conn.out);
		buf_z(&c->conn.out, "\r\n");
		if (session_ask(c, STAGE_EHLO) < 0)
			return -1;
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
	int e = tls_start(c->tls, &c->conn, clock_ms() + session_ms(c, 300), &why);

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
	return 0;
}

static int connect_to(struct client *c, const struct sockaddr *to, socklen_t to_len)
{
	char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
	int e = conn_open(&c->conn, to, to_len, clock_ms() + session_ms(c, 30));

	c->open = true;
	if (e == 0)
		return 0;
	/* Numeric: nothing is looked up. */
	(void)getnameinfo(to, to_len, host, sizeof(host), port, sizeof(port),
	                  NI_NUMERICHOST | NI_NUMERICSERV);
	return session_break(c, VERDICT_HOST, STAGE_CONNECT,
	                     "cannot connect to %s port %s: %s", host, port,
	                     strerror(-e));
}

static int begin(struct client *c, const struct sockaddr *to, socklen_t to_len)
{
	if (connect_to(c, to, to_len) < 0)
		return -1;
	if (c->conf->tls == CLIENT_TLS_IMPLICIT && secure(c) < 0)
		return -1;
	if (greet(c) < 0 || hello(c) < 0)
		return -1;
	if (c->conf->tls == CLIENT_TLS_STARTTLS && starttls(c) < 0)
		return -1;
	tls_facts(&c->conn, &c->facts);
	if (c->conf->auth && session_login(c) < 0)
		return -1;
	buf_fmt(&c->facts, " pipelining=%s", c->ext.pipelining ? "yes" : "no");
	return 0;
}

int client_open(struct client *c, const struct sockaddr *to, socklen_t to_len,
                struct verdict *ret_why)
{
	int64_t now = clock_ms(), most = c->conf->session_max;

	session_close(c);
	buf_free(&c->broken.text);
	c->is_broken = c->mailed = c->answered = c->final = false;
	c->successes = c->decided = 0;
	c->progress = now;
	buf_reset(&c->facts);
	if (c->tls)
		tls_expect(c->tls);
	c->conn.cancel_fd = c->conf->cancel_fd;
	c->conn.cancel_ms = 0;
	c->conn.session_end = most > 0 ? now + most : INT64_MAX;
	if (begin(c, to, to_len) == 0)
		return 0;
	*ret_why = c->broken;
	c->broken = (struct verdict){ .kind = VERDICT_HOST };
	ret_why->kind = VERDICT_HOST;
	return -1;
}

void client_quit(struct client *c)
{
	struct expect got;

	if (!c->open)
		return;
	buf_z(&c->conn.out, "QUIT\r\n");
	c->progress = clock_ms();
	session_expect(c, STAGE_QUIT, 0);
	if (session_pump(c, false, &got) == 1 && c->conn.tls)
		(void)gnutls_bye(c->conn.tls, GNUTLS_SHUT_WR);
	session_close(c);
}
