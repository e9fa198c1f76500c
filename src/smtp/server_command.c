#include "smtp/server_inside.h"
#include "smtp/server_args.h"

enum { RCPT_MAX = 1000 }; /* when the configuration says 0 */

struct command {
	const char *verb;
	void (*run)(struct server *s, struct str arg, struct buf *out);
	bool bare; /* takes no arguments */
};

static void hello(struct server *s, struct str name, bool esmtp)
{
	server_give_up(s);
	buf_reset(&s->helo);
	buf_str(&s->helo, name);
	s->esmtp = esmtp;
}

static bool helo_ok(struct server *s, struct str arg, struct buf *out)
{
	if (arg.n && arg.n <= SERVER_HELO_MAX)
		return true;
	server_say(s, out, 501, "5.5.4 Say your name behind it");
	return false;
}

static void run_helo(struct server *s, struct str arg, struct buf *out)
{
	if (!helo_ok(s, arg, out))
		return;
	hello(s, arg, false);
	server_line(s, out, 250, s->conf->hostname);
}

/* No enhanced codes here (RFC 2034 3). */
static void run_ehlo(struct server *s, struct str arg, struct buf *out)
{
	if (!helo_ok(s, arg, out))
		return;
	hello(s, arg, true);
	buf_z(out, "250-");
	buf_str(out, s->conf->hostname);
	buf_z(out, "\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
	           "250-ENHANCEDSTATUSCODES\r\n");
	buf_fmt(out, "250-LIMITS RCPTMAX=%u\r\n",
	        s->conf->rcpt_max ? s->conf->rcpt_max : RCPT_MAX);
	if (s->conf->tls_offered && !s->tls)
		buf_z(out, "250-STARTTLS\r\n");
	if (server_auth_offered(s))
		buf_z(out, "250-AUTH PLAIN LOGIN\r\n");
	buf_fmt(out, "250 SIZE %llu\r\n", (unsigned long long)s->conf->size_max);
}

static void bad_params(struct server *s, int code, struct buf *out)
{
	server_say(s, out, code,
	           code == 555 ? "5.5.4 A parameter that is not known here"
	                       : "5.5.4 A parameter with a bad value");
}

static void run_mail(struct server *s, struct str arg, struct buf *out)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct server_params p = { .size = 0 };
	struct str addr;
	int r;

	if (s->open) {
		server_say(s, out, 503, "5.5.1 There is a sender already");
		return;
	}
	if (!server_path(&arg, STR("FROM"), &addr)) {
		server_say(s, out, 501, "5.5.4 MAIL FROM:<address>");
		return;
	}
	r = server_mail_params(arg, &p);
	if (r) {
		bad_params(s, r, out);
		return;
	}
	if (s->conf->size_max && p.size > s->conf->size_max) {
		server_say_theirs(s, out, 552, STR_NONE);
		return;
	}
	r = s->ops->mail(s->ops->arg, addr, &p, &words);
	if (r) {
		server_say_theirs(s, out, r, buf_view(&words));
		return;
	}
	s->open = true;
	s->rcpts = 0;
	server_say(s, out, 250, "2.1.0 Sender accepted");
}

static void run_rcpt(struct server *s, struct str arg, struct buf *out)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct server_rcpt_params p;
	unsigned max = s->conf->rcpt_max ? s->conf->rcpt_max : RCPT_MAX;
	struct str addr;
	int r;

	if (!s->open) {
		server_say(s, out, 503, "5.5.1 MAIL first");
		return;
	}
	if (!server_path(&arg, STR("TO"), &addr) || !addr.n) {
		server_say(s, out, 501, "5.1.3 RCPT TO:<address>");
		return;
	}
	r = server_rcpt_params(arg, &p);
	if (r) {
		bad_params(s, r, out);
		return;
	}
	if (!s->conf->trusted && !s->user.n) {
		if (s->conf->tls_down && s->conf->auth_offered)
			server_say(s, out, 451, "4.7.0 Logins are not possible now");
		else
			server_say(s, out, 550, "5.7.1 This client may not send here");
		return;
	}
	if (s->rcpts >= max) {
		server_say(s, out, 452, "4.5.3 Too many recipients");
		return;
	}
	r = s->ops->rcpt(s->ops->arg, addr, p.notify, p.orcpt, &words);
	if (r) {
		server_say_theirs(s, out, r, buf_view(&words));
		return;
	}
	s->rcpts++;
	server_say(s, out, 250, "2.1.5 Recipient accepted");
}

static void run_data(struct server *s, struct str arg, struct buf *out)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	int r;

	(void)arg;
	if (!s->open) {
		server_say(s, out, 503, "5.5.1 MAIL first");
		return;
	}
	if (!s->rcpts) {
		server_say(s, out, 554, "5.5.1 No recipient was accepted");
		return;
	}
	r = s->ops->begin(s->ops->arg, &words);
	if (r) {
		server_say_theirs(s, out, r, buf_view(&words));
		return;
	}
	server_content_begin(s);
	buf_z(out, "354 End the message with <CR><LF>.<CR><LF>\r\n");
}

static void run_rset(struct server *s, struct str arg, struct buf *out)
{
	(void)arg;
	server_give_up(s);
	server_say(s, out, 250, "2.0.0 Forgotten");
}

static void run_noop(struct server *s, struct str arg, struct buf *out)
{
	(void)arg;
	server_say(s, out, 250, "2.0.0 Nothing done");
}

static void run_vrfy(struct server *s, struct str arg, struct buf *out)
{
	if (arg.n)
		server_say(s, out, 252, "2.0.0 Send a message, and see");
	else
		server_say(s, out, 501, "5.5.4 VRFY address");
}

static void run_help(struct server *s, struct str arg, struct buf *out)
{
	(void)arg;
	server_say(s, out, 214, "2.0.0 RFC 5321 says all; see mailchute-smtpd(8)");
}

static void run_quit(struct server *s, struct str arg, struct buf *out)
{
	(void)arg;
	server_give_up(s);
	server_say(s, out, 221, "2.0.0 Bye");
	s->state = SERVER_CLOSED;
}

/* What stands behind it in the same piece was not said under TLS, and would be obeyed
 * there (CVE-2011-0411 and its kin). */
static void run_starttls(struct server *s, struct str arg, struct buf *out)
{
	(void)arg;
	if (s->tls) {
		server_say(s, out, 503, "5.5.1 TLS is in use already");
	} else if (s->conf->tls_down) {
		server_say(s, out, 454, "4.7.0 TLS is not possible now");
	} else if (!s->conf->tls_offered) {
		server_say(s, out, 502, "5.5.1 There is no TLS here");
	} else if (s->more) {
		server_close_with(s, out, STR("4.7.0 Nothing may follow STARTTLS"));
	} else {
		server_give_up(s);
		server_say(s, out, 220, "2.0.0 Begin TLS");
		s->state = SERVER_TLS_WAIT;
	}
}

static void run_unoffered(struct server *s, struct str arg, struct buf *out)
{
	(void)arg;
	server_say(s, out, 502, "5.5.1 This is not offered here");
}

/* What follows are no commands: a chunk of a message (RFC 3030), or a web browser's
 * request that somebody made it send to this port. They must not be obeyed. */
static void run_hang_up(struct server *s, struct str arg, struct buf *out)
{
	run_unoffered(s, arg, out);
	server_give_up(s);
	s->state = SERVER_CLOSED;
}

static const struct command commands[] = {
	{ "HELO", run_helo, .bare = false },
	{ "EHLO", run_ehlo, .bare = false },
	{ "MAIL", run_mail, .bare = false },
	{ "RCPT", run_rcpt, .bare = false },
	{ "DATA", run_data, .bare = true },
	{ "RSET", run_rset, .bare = true },
	{ "NOOP", run_noop, .bare = false },
	{ "QUIT", run_quit, .bare = true },
	{ "VRFY", run_vrfy, .bare = false },
	{ "HELP", run_help, .bare = false },
	{ "STARTTLS", run_starttls, .bare = true },
	{ "AUTH", server_auth, .bare = false },
	{ "LHLO", run_unoffered, .bare = false },
	{ "EXPN", run_unoffered, .bare = false },
	{ "ETRN", run_unoffered, .bare = false },
	{ "TURN", run_unoffered, .bare = false },
	{ "SEND", run_unoffered, .bare = false },
	{ "SOML", run_unoffered, .bare = false },
	{ "SAML", run_unoffered, .bare = false },
	{ "BDAT", run_hang_up, .bare = false },
	{ "GET", run_hang_up, .bare = false },
	{ "POST", run_hang_up, .bare = false },
	{ "PUT", run_hang_up, .bare = false },
	{ "HEAD", run_hang_up, .bare = false },
	{ "OPTIONS", run_hang_up, .bare = false },
	{ "CONNECT", run_hang_up, .bare = false },
};

/* TAB is a blank; any other control byte, a bare CR among them, is no command's. */
static bool clean(struct str line)
{
	for (size_t i = 0; i < line.n; i++)
		if (((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t') ||
		    line.p[i] == 0x7f)
			return false;
	return true;
}

static const struct command *find_command(struct str line, struct str *ret_arg)
{
	size_t end = 0;

	while (end < line.n && line.p[end] != ' ' && line.p[end] != '\t')
		end++;
	*ret_arg = str_trim(str_from(line, end));
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_ieq(str_head(line, end), str_z(commands[i].verb)))
			return &commands[i];
	return NULL;
}

void server_command(struct server *s, struct str line, struct buf *out)
{
	const struct command *c;
	struct str arg;

	if (!clean(line)) {
		server_say(s, out, 500, "5.5.2 Control bytes in a command");
		return;
	}
	c = find_command(line, &arg);
	if (!c) {
		server_say(s, out, 500, "5.5.2 This is not a command");
		return;
	}
	s->verb = c->verb;
	if (c->bare && arg.n)
		server_say(s, out, 501, "5.5.4 Nothing may stand behind it");
	else
		c->run(s, arg, out);
	/* A client that does not wait for the 354 goes on with a message, whose lines
	 * would be obeyed. RFC 2920 3.1 has DATA as the last of a group. */
	if (c->run == run_data && s->state == SERVER_COMMAND && s->more)
		server_close_with(s, out,
		                  STR("4.7.0 Nothing may follow DATA before its reply"));
}
