#include "smtp/auth.h"
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

/* Is the secret in the text, or so much of it that it tells something? */
static bool shows(struct str text, struct str secret)
{
	enum { SHOWS_MIN = 8 };
	size_t n = secret.n < SHOWS_MIN ? secret.n : SHOWS_MIN;

	for (size_t i = 0; n && i + n <= secret.n; i++)
		if (memmem(text.p, text.n, secret.p + i, n))
			return true;
	return false;
}

/* The reply's line as the verdict, unless it shows what must not be shown: some hosts
 * repeat the command they did not like, whole, cut short or over several lines. */
static int login_refused(struct client *c, struct str sent)
{
	struct str text = buf_view(&c->reply.text);

	if (shows(text, sent) || shows(text, c->conf->password))
		return session_break(
		    c, VERDICT_HOST, STAGE_AUTH,
		    "%d (the reply repeats the password and is not shown)",
		    c->reply.code);
	return session_break_reply(c, VERDICT_HOST, STAGE_AUTH);
}

/* Appends the mechanism's answer in base64 to ret. */
static int answer(const struct client *c, const struct auth_mech *m, unsigned step,
                  struct buf *ret)
{
	const struct auth_creds creds = { c->conf->user, c->conf->password };
	struct str challenge = str_trim(buf_view(&c->reply.text));
	struct buf plain = BUF_INIT, asked = BUF_INIT;
	size_t most = creds.user.n + creds.password.n + 64;
	int e;

	buf_room(&plain, most);
	buf_room(ret, most * 2);
	/* A challenge that is no base64 is given as an empty one: LOGIN does not look. */
	(void)auth_unbase64(&asked, challenge);
	e = m->answer(&creds, step, buf_view(&asked), &plain);
	if (e == 0)
		auth_base64(ret, buf_view(&plain));
	auth_wipe(&plain);
	buf_free(&asked);
	return e;
}

/* One line to the host and its reply; secret is wiped from the buffers afterwards. */
static int auth_line(struct client *c, struct str line)
{
	int e;

	buf_room(&c->conn.out, line.n + 2);
	buf_str(&c->conn.out, line);
	buf_z(&c->conn.out, "\r\n");
	e = session_ask(c, STAGE_AUTH);
	if (e == 0 && c->conn.out.cap)
		explicit_bzero(c->conn.out.p, c->conn.out.cap);
	return e;
}

/* What a login needs beside the connection. */
struct login {
	const struct auth_mech *mech;
	struct buf secret; /* the last answer, base64 */
	unsigned step;
};

static int auth_start(struct client *c, struct login *l)
{
	/* RFC 4954 4: no initial response that makes the line longer than 512. */
	enum { AUTH_LINE_MAX = 512 - 2 };
	struct buf line = BUF_INIT;
	int e = 0;

	buf_reset(&c->reply.text);
	if (l->mech->initial)
		e = answer(c, l->mech, 0, &l->secret);
	if (e < 0)
		return session_break(
		    c, VERDICT_HOST, STAGE_AUTH,
		    "user or password has a byte that AUTH %s cannot carry",
		    l->mech->name);
	buf_room(&line, l->secret.n + 64);
	buf_fmt(&line, "AUTH %s", l->mech->name);
	if (l->mech->initial && line.n + 1 + l->secret.n <= AUTH_LINE_MAX) {
		buf_c(&line, ' ');
		buf_str(&line, buf_view(&l->secret));
		l->step = 1;
	}
	e = auth_line(c, buf_view(&line));
	auth_wipe(&line);
	return e;
}

static int auth_rounds(struct client *c, struct login *l)
{
	if (auth_start(c, l) < 0)
		return -1;
	for (unsigned i = 0; c->reply.code == 334; i++) {
		int e = -EPROTO;

		auth_wipe(&l->secret);
		if (i < AUTH_ROUNDS_MAX)
			e = answer(c, l->mech, l->step++, &l->secret);
		if (e < 0)
			return session_break(
			    c, VERDICT_HOST, STAGE_AUTH,
			    "AUTH %s: the host asks for more than there is",
			    l->mech->name);
		if (auth_line(c, buf_view(&l->secret)) < 0)
			return -1;
	}
	if (verdict_of(STAGE_AUTH, &c->reply, 0, 0) != VERDICT_DONE)
		return login_refused(c, buf_view(&l->secret));
	return 0;
}

static int login(struct client *c)
{
	bool safe = c->conn.tls || c->conf->auth_insecure;
	struct str list = buf_view(&c->ext.auth), only = c->conf->auth_only;
	struct login l = { .mech = auth_pick(list, only, safe) };
	_cleanup_buf_ struct buf offered = BUF_INIT;
	int e;

	buf_escape(&offered, str_trim(list), 200);
	if (!offered.n)
		return session_break(c, VERDICT_HOST, STAGE_AUTH,
		                     "the host offers no AUTH%s",
		                     c->conn.tls ? "" : " (without TLS)");
	if (!l.mech && auth_pick(list, only, true))
		return session_break(c, VERDICT_HOST, STAGE_AUTH,
		                     "no login: the password would be sent without TLS "
		                     "(auth-insecure = true would allow it)");
	if (!l.mech && auth_pick(list, STR(""), true))
		return session_break(c, VERDICT_HOST, STAGE_AUTH,
		                     "auth = \"%.*s\" is not what the host offers: %s",
		                     (int)only.n, only.p, offered.p);
	if (!l.mech)
		return session_break(
		    c, VERDICT_HOST, STAGE_AUTH,
		    "server offers no AUTH mechanism that mailchute knows: %s",
		    offered.p);
	e = auth_rounds(c, &l);
	auth_wipe(&l.secret);
	if (e == 0)
		buf_fmt(&c->facts, " auth=%s", l.mech->word);
	return e;
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
	if (c->conf->auth && login(c) < 0)
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
