/* Logging in (session.h; RFC 4954) */
#include "smtp/auth.h"
#include "smtp/session.h"
#include <errno.h>

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

int session_login(struct client *c)
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
