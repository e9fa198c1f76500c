#include "smtp/server_inside.h"
#include "smtp/auth.h"

bool server_auth_offered(const struct server *s)
{
	return s->conf->auth_offered && s->ops->auth && !s->user.n &&
	       (s->tls || s->conf->auth_insecure);
}

/* May be a user's name or a password: what our own log and other programs can take. */
static bool legal(struct str v)
{
	if (v.n == 0 || v.n > SERVER_PASSWORD_MAX)
		return false;
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
			return false;
	return true;
}

static void log_in(struct server *s, struct str user, struct str password,
                   struct buf *out)
{
	unsigned max = s->conf->auth_max ? s->conf->auth_max : 5;
	int r = 535;

	if (legal(user) && legal(password))
		r = s->ops->auth(s->ops->arg, user, password);
	if (r == 0) {
		buf_str(&s->user, user);
		server_say(s, out, 235, "2.7.0 You are logged in");
	} else if (++s->logins >= max) {
		server_say(s, out, 421, "4.7.0 Too many failed logins");
	} else if (r == 454 || r < 0) {
		server_say(s, out, 454, "4.7.0 Logins cannot be checked now");
	} else {
		/* By its own count, not as an error of the protocol. */
		server_say_theirs(s, out, 535, STR("5.7.8 Wrong name or password"));
	}
}

/* RFC 4616: authorization identity (ours or nothing), NUL, name, NUL, password. */
static void plain(struct server *s, struct str v, struct buf *out)
{
	struct str authzid = STR_NONE, user = STR_NONE;
	bool ok = str_cut(&v, '\0', &authzid) && str_cut(&v, '\0', &user) && v.p;

	if (!ok || str_chr(v, '\0') >= 0)
		server_say(s, out, 501, "5.5.2 This is not PLAIN");
	else if (authzid.n && !str_eq(authzid, user))
		server_say_theirs(s, out, 535, STR("5.7.8 Not for somebody else"));
	else
		log_in(s, user, v, out);
}

/* What was decoded of an answer, in the state that waits for it. */
static void answer(struct server *s, enum server_state state, struct str v,
                   struct buf *out)
{
	if (state == SERVER_AUTH_PLAIN) {
		plain(s, v, out);
	} else if (state == SERVER_AUTH_USER) {
		buf_reset(&s->name);
		buf_str(&s->name, str_head(v, SERVER_PASSWORD_MAX + 1));
		s->state = SERVER_AUTH_PASSWORD;
		buf_z(out, "334 UGFzc3dvcmQ6\r\n"); /* "Password:" */
	} else {
		log_in(s, buf_view(&s->name), v, out);
		auth_wipe(&s->name);
	}
}

/* v is base64; "=" is an empty answer (RFC 4954 4). */
static void answer_base64(struct server *s, struct str v, struct buf *out)
{
	struct buf plain_text = BUF_INIT; /* wiped below */
	enum server_state state = s->state;

	s->state = SERVER_COMMAND;
	buf_room(&plain_text, v.n);
	if (str_eq(v, STR("=")))
		v = STR("");
	if (auth_unbase64(&plain_text, v) < 0)
		server_say(s, out, 501, "5.5.2 This is not base64");
	else
		answer(s, state, buf_view(&plain_text), out);
	auth_wipe(&plain_text);
}

void server_auth(struct server *s, struct str arg, struct buf *out)
{
	struct str mech = arg, initial = STR_NONE;
	ptrdiff_t at = str_chr(arg, ' ');

	if (at >= 0) {
		mech = str_head(arg, (size_t)at);
		initial = str_trim(str_from(arg, (size_t)at));
	}
	if (!s->conf->auth_offered || !s->ops->auth) {
		server_say(s, out, 502, "5.5.1 There are no logins here");
	} else if (s->user.n || s->open) {
		server_say(s, out, 503, "5.5.1 Not now");
	} else if (!server_auth_offered(s) && s->conf->tls_down) {
		server_say(s, out, 454, "4.7.0 Logins are not possible now");
	} else if (!server_auth_offered(s)) {
		server_say(s, out, 538, "5.7.11 Only under TLS: say STARTTLS first");
	} else if (!mech.n || str_chr(initial, ' ') >= 0) {
		server_say(s, out, 501, "5.5.4 AUTH PLAIN or AUTH LOGIN");
	} else if (str_ieq(mech, STR("PLAIN"))) {
		s->state = SERVER_AUTH_PLAIN;
		if (initial.n)
			answer_base64(s, initial, out);
		else
			buf_z(out, "334 \r\n");
	} else if (str_ieq(mech, STR("LOGIN"))) {
		s->state = SERVER_AUTH_USER;
		if (initial.n)
			answer_base64(s, initial, out);
		else
			buf_z(out, "334 VXNlcm5hbWU6\r\n"); /* "Username:" */
	} else {
		server_say(s, out, 504, "5.5.4 Only PLAIN and LOGIN are known");
	}
}

void server_auth_line(struct server *s, struct str line, struct buf *out)
{
	if (str_eq(line, STR("*"))) {
		s->state = SERVER_COMMAND;
		server_say(s, out, 501, "5.7.0 Login given up");
	} else {
		answer_base64(s, line, out);
	}
}
