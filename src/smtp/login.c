/* Logging in (session.h; RFC 4954) */
#include "base/clock.h"
#include "smtp/auth.h"
#include "smtp/session.h"
#include <errno.h>
#include <netinet/in.h>

/* A refused password is never given again, with no mechanism: hosts lock accounts. But a host
 * may list what it cannot do, or not for this account. So the next mechanism follows when
 * this one itself was refused (504), or when it was refused before the host had anything of
 * the password to judge: then it is no wrong password, and counts as none. Nothing is given
 * away by that: who could forge such a refusal could as well have changed the list. */
enum { LOGIN_TRIES_MAX = 4 };

/* What a login needs beside the connection. */
struct login {
	struct auth_choice choice;
	struct auth_creds creds;
	struct auth auth;
	gnutls_datum_t binding;
	struct buf answer; /* the last one, base64 */
	struct buf sent;   /* all of this mechanism */
	unsigned vain;     /* bits of the mechanisms that were refused so far */
};

/* Beside 0 and -1 (broken): these credentials cannot be written in the mechanism. The host has
 * heard nothing of it. */
enum { UNFIT = 1 };

/* The reply's line as the verdict, unless it shows what must not be shown: some hosts
 * repeat the command they did not like, whole, cut short or over several lines. */
static int login_refused(struct client *c, const struct login *l)
{
	enum { TELLS = 8 }; /* octets of a secret that tell something */
	struct verdict v = { .kind = VERDICT_HOST,
		             .stage = STAGE_AUTH,
		             .code = c->reply.code };
	const struct str told[] = { buf_view(&c->reply.text), buf_view(&l->auth.said) };

	/* Perhaps it is another one that is in vain now. */
	c->learned.vain = 0;
	for (size_t i = 0; i < ARRAY_LEN(told); i++)
		if (auth_shows(told[i], buf_view(&l->sent), TELLS) ||
		    auth_shows(told[i], l->creds.password, TELLS)) {
			buf_fmt(&v.text,
			        "%d (the reply repeats the password and is not shown)",
			        c->reply.code);
			return session_give_up(c, &v);
		}
	if (l->auth.stopped)
		buf_fmt(&v.text, "AUTH %s: %s", l->auth.mech->name, l->auth.why);
	else
		reply_line(&v.text, &c->reply);
	if (l->auth.said.n) {
		buf_z(&v.text, " (");
		buf_escape(&v.text, told[1], 200);
		buf_z(&v.text, ")");
	}
	return session_give_up(c, &v);
}

/* It was the host, not what it asked for: another may know how. */
static int login_fails(struct client *c, const struct login *l)
{
	return session_break(c, VERDICT_HOST, STAGE_AUTH, "AUTH %s: %s",
	                     l->auth.mech->name, l->auth.why);
}

/* No mechanism can carry it. With a code, as when the host says no: the next try would end like
 * this one, here and elsewhere. */
static int login_unfit(struct client *c, const struct login *l)
{
	struct verdict v = { .kind = VERDICT_HOST, .stage = STAGE_AUTH, .code = 535 };

	buf_fmt(&v.text, "AUTH %s: %s", l->auth.mech->name, l->auth.why);
	return session_give_up(c, &v);
}

/* Puts the mechanism's answer, in base64, into l->answer. 0 or -errno of auth_answer(). */
static int answer(const struct client *c, struct login *l)
{
	const struct auth_creds *creds = &l->creds;
	size_t most =
	    2 * (creds->user.n + creds->password.n) + creds->binding.n + REPLY_MAX;
	struct buf plain = BUF_INIT, asked = BUF_INIT;
	int e;

	auth_wipe(&l->answer);
	buf_room(&plain, most);
	buf_room(&l->answer, most * 2);
	/* A challenge that is no base64 is given as an empty one: LOGIN does not look. */
	(void)auth_unbase64(&asked, str_trim(buf_view(&c->reply.text)));
	e = auth_answer(&l->auth, buf_view(&asked), &plain);
	if (e == 0)
		auth_base64(&l->answer, buf_view(&plain));
	auth_wipe(&plain);
	buf_free(&asked);
	return e;
}

/* One line to the host and its reply; what was secret in it is wiped from the buffers. */
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

static void keep_sent(struct login *l)
{
	buf_room(&l->sent, l->answer.n + 1);
	buf_str(&l->sent, buf_view(&l->answer));
	buf_c(&l->sent, '\n');
}

static int auth_begin(struct client *c, struct login *l)
{
	/* RFC 4954 4: no initial response that makes the line longer than 512. */
	enum { AUTH_LINE_MAX = 512 - 2 };
	const struct auth_mech *m = l->auth.mech;
	struct buf line = BUF_INIT;
	int e;

	buf_reset(&c->reply.text);
	if (m->initial) {
		e = answer(c, l);
		if (e == -EINVAL)
			return UNFIT;
		if (e < 0)
			return login_fails(c, l);
	}
	buf_room(&line, l->answer.n + 64);
	buf_fmt(&line, "AUTH %s", m->name);
	if (m->initial && line.n + 1 + l->answer.n <= AUTH_LINE_MAX) {
		buf_c(&line, ' ');
		buf_str(&line, l->answer.n ? buf_view(&l->answer) : STR("="));
		keep_sent(l);
		auth_wipe(&l->answer);
	}
	e = auth_line(c, buf_view(&line));
	auth_wipe(&line);
	return e;
}

/* The host asks on. first: for the answer that was made already, but too long for AUTH. */
static int auth_go_on(struct client *c, struct login *l, bool first)
{
	int e = first ? 0 : answer(c, l);

	/* It said no in its own way, and wants to hear nothing more; then it says so as SMTP. */
	if (e < 0 && l->auth.stopped)
		return auth_line(c, STR("*"));
	if (e < 0)
		return login_fails(c, l);
	keep_sent(l);
	return auth_line(c, buf_view(&l->answer));
}

/* One mechanism up to the host's last word: c->reply. 0, -1 (broken) or UNFIT. */
static int auth_rounds(struct client *c, struct login *l, const struct auth_mech *m)
{
	int e;

	auth_free(&l->auth);
	auth_wipe(&l->sent);
	auth_wipe(&l->answer);
	auth_init(&l->auth, m, &l->creds);
	e = auth_begin(c, l);
	if (e)
		return e;
	for (bool first = l->answer.n > 0; c->reply.code == 334; first = false) {
		if (l->auth.stopped)
			return login_fails(c, l);
		if (auth_go_on(c, l, first) < 0)
			return -1;
	}
	return 0;
}

/* The mechanism that follows one that was refused or is unfit, if any may. */
static const struct auth_mech *next_mech(const struct client *c, struct login *l,
                                         bool unfit)
{
	const struct auth_mech *was = l->auth.mech, *m = was;
	bool unknown = !unfit && c->reply.code == 504;

	if (!unfit && !unknown &&
	    (l->auth.proved || (c->reply.code != 535 && !l->auth.stopped)))
		return NULL;
	/* Of one family they fail alike, but for the channel binding. */
	do {
		if (!unfit)
			l->vain |= m->bit;
		m = auth_pick(&l->choice, m);
	} while (m && !unknown && m->mutual && (unfit || !was->binding || m->binding));
	return m;
}

/* What was refused before another one was good is not tried next time: hosts count it as a
 * wrong password. */
static void learn_vain(struct client *c, unsigned vain)
{
	if (!vain)
		return;
	c->learned.vain |= vain;
	if (!c->learned.since)
		c->learned.since = clock_real();
	auth_words(vain, &c->passed);
}

/* TLS of our own end: what a host that is reached through somebody else cannot have. */
static void find_binding(const struct client *c, struct login *l)
{
	gnutls_session_t s = c->conn.tls;
	int e = -1;

	if (!s)
		return;
#if GNUTLS_VERSION_NUMBER >= 0x030702
	/* RFC 9266 */
	if (gnutls_protocol_get_version(s) == GNUTLS_TLS1_3) {
		e = gnutls_session_channel_binding(s, GNUTLS_CB_TLS_EXPORTER,
		                                   &l->binding);
		l->creds.binding_name = STR("tls-exporter");
	}
#endif
	/* RFC 7627 1: without extended master secret a resumed session's is not its own. */
	if (gnutls_protocol_get_version(s) == GNUTLS_TLS1_2 &&
	    (!gnutls_session_is_resumed(s) ||
	     gnutls_session_ext_master_secret_status(s))) {
		e = gnutls_session_channel_binding(s, GNUTLS_CB_TLS_UNIQUE, &l->binding);
		l->creds.binding_name = STR("tls-unique");
	}
	if (e == 0)
		l->creds.binding =
		    (struct str){ (const char *)l->binding.data, l->binding.size };
	l->choice.binding = l->creds.binding.n > 0;
}

static void login_init(const struct client *c, struct login *l)
{
	const struct client_conf *conf = c->conf;
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof(peer);
	enum auth_proof proof = AUTH_PASSWORD;

	if (conf->token)
		proof = AUTH_TOKEN;
	else if (conf->tls_certificate.n && !conf->password.n && !conf->secret)
		proof = AUTH_CERTIFICATE;
	*l = (struct login){
		.choice = { .offered = buf_view(&c->ext.auth),
		            .only = conf->auth_only,
		            .proof = proof,
		            .safe = c->conn.tls || conf->auth_insecure,
		            .vain = c->learned.vain,
		            .verified =
		                c->conn.tls && (conf->tls_verify || conf->tls_pin.n) },
		.creds = { .user = conf->user,
		           .password = conf->password,
		           .host = conf->host,
		           .plus = auth_offers_binding(buf_view(&c->ext.auth)) },
		.auth = { .why = "" },
	};
	find_binding(c, l);
	if (getpeername(c->conn.fd, (struct sockaddr *)&peer, &n) < 0)
		return;
	if (peer.ss_family == AF_INET)
		l->creds.port = ntohs(((struct sockaddr_in *)&peer)->sin_port);
	else if (peer.ss_family == AF_INET6)
		l->creds.port = ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
}

/* Why no mechanism can be used. */
static int login_impossible(struct client *c, const struct login *l)
{
	static const char *const with[] = { [AUTH_PASSWORD] = "a password",
		                            [AUTH_TOKEN] = "a token",
		                            [AUTH_CERTIFICATE] = "a certificate" };
	_cleanup_buf_ struct buf offered = BUF_INIT;
	struct auth_choice choice = l->choice;
	struct str only = choice.only;

	buf_escape(&offered, str_trim(choice.offered), 200);
	if (!offered.n)
		return session_break(c, VERDICT_HOST, STAGE_AUTH,
		                     "the host offers no AUTH%s",
		                     c->conn.tls ? "" : " (without TLS)");
	choice.safe = true;
	if (auth_pick(&choice, NULL))
		return session_break(c, VERDICT_HOST, STAGE_AUTH,
		                     "no login: the password would be sent without TLS "
		                     "(auth-insecure = true would allow it)");
	if (only.n && !str_ieq(only, STR("auto")))
		return session_break(c, VERDICT_HOST, STAGE_AUTH,
		                     "auth = \"%.*s\" is not what the host offers: %s",
		                     (int)only.n, only.p, offered.p);
	return session_break(c, VERDICT_HOST, STAGE_AUTH,
	                     "the host offers no AUTH mechanism that mailchute knows for "
	                     "%s: %s",
	                     with[choice.proof], offered.p);
}

/* Only now: a host that cannot be reached is no reason to fetch a token, which may need the
 * network too and would say so instead. */
static int ask_secret(struct client *c, struct login *l)
{
	_cleanup_buf_ struct buf why = BUF_INIT;

	if (!c->conf->secret || l->choice.proof == AUTH_CERTIFICATE)
		return 0;
	if (c->conf->secret(c->conf->secret_arg, &l->creds.password, &why) == 0)
		return 0;
	return session_break(c, VERDICT_HOST, STAGE_AUTH, "%s",
	                     why.n ? why.p : "no secret");
}

/* The first one to be tried. When what was learned leaves none, it is not true any more. */
static const struct auth_mech *first_mech(struct login *l)
{
	const struct auth_mech *m = auth_pick(&l->choice, NULL);

	if (m || !l->choice.vain)
		return m;
	l->choice.vain = 0;
	return auth_pick(&l->choice, NULL);
}

static int login(struct client *c, struct login *l)
{
	const struct auth_mech *m = first_mech(l), *next;
	int e;

	/* A certificate is often enough without AUTH. */
	if (!m && l->choice.proof == AUTH_CERTIFICATE &&
	    !str_ieq(l->choice.only, STR("external")))
		return 0;
	if (!m)
		return login_impossible(c, l);
	if (ask_secret(c, l) < 0)
		return -1;
	/* Some could carry it; but it is not what anybody typed. */
	if (str_chr(l->creds.password, '\0') >= 0)
		return session_break(c, VERDICT_HOST, STAGE_AUTH,
		                     "no login: the %s has a NUL in it",
		                     c->conf->token ? "token" : "password");
	for (unsigned tries = 1;; tries++, m = next) {
		e = auth_rounds(c, l, m);
		if (e < 0)
			return -1;
		if (e == 0 && verdict_of(STAGE_AUTH, &c->reply, 0, 0) == VERDICT_DONE)
			break;
		next = tries < LOGIN_TRIES_MAX ? next_mech(c, l, e == UNFIT) : NULL;
		if (!next && e == UNFIT)
			return login_unfit(c, l);
		if (!next)
			return login_refused(c, l);
	}
	if (!auth_accept(&l->auth))
		return login_fails(c, l);
	buf_fmt(&c->facts, " auth=%s", m->word);
	learn_vain(c, l->vain);
	return 0;
}

int session_login(struct client *c)
{
	struct login l;
	int e;

	login_init(c, &l);
	buf_reset(&c->passed);
	auth_wipe(&c->secret.sent);
	e = login(c, &l);
	c->secret = (struct reply_secret){ .plain = l.creds.password, .sent = l.sent };
	if (e == 0)
		c->reply.secret = &c->secret;
	auth_free(&l.auth);
	auth_wipe(&l.answer);
	gnutls_free(l.binding.data);
	return e;
}
