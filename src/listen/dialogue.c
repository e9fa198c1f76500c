#include "listen/session_inside.h"
#include "base/clock.h"
#include "base/log.h"
#include "listen/policy.h"
#include "listen/users.h"
#include "mail/envelope.h"
#include <errno.h>
#include <unistd.h>

/* ---- log ---- */

/* Who has the other end of a unix: socket, as digits; nothing: it is none. */
static void print_uid(const struct session *s, struct buf *ret)
{
	if (s->c->client.who.family == AF_UNIX)
		buf_fmt(ret, "%u", (unsigned)s->c->client.who.who);
}

void session_log_client(const struct session *s, struct buf *line)
{
	_cleanup_buf_ struct buf uid = BUF_INIT;

	print_uid(s, &uid);
	if (!s->listen)
		buf_fmt(line, " uid=%u", (unsigned)getuid());
	else if (s->c->client_ip.n)
		log_value(line, "client", s->c->client_ip);
	else
		log_value(line, "client", STR("local"));
	log_value(line, "uid", buf_view(&uid));
	log_value(line, "helo", buf_view(&s->server.helo));
	log_value(line, "user", buf_view(&s->server.user));
}

/* Whoever makes us refuse all day, or comes again and again, does not fill the log. */
static bool may_log(const struct session *s)
{
	return quiet_may(s->c->quiet, &s->c->client.who, !s->c->trusted,
	                 clock_ms() / 1000);
}

void session_log_trouble(const struct session *s, const char *what, struct str why)
{
	_cleanup_buf_ struct buf line = BUF_INIT;

	if (!may_log(s))
		return;
	session_log_client(s, &line);
	log_value(&line, "why", why);
	log_line(LOG_LEVEL_WARNING, "smtpd what=%s%s", what, line.p);
}

void session_log_certificate(const struct session *s, struct str why)
{
	_cleanup_buf_ struct buf line = BUF_INIT, again = BUF_INIT;
	const struct listen *l = s->listen;
	const struct quiet_state state = { str_z(l->at), why };

	if (!quiet_news(s->c->quiet, &state, &s->c->client.who, !s->c->trusted,
	                clock_ms() / 1000))
		return;
	if (!why.n)
		buf_fmt(&again, "certificate and key can be used again (%s, %s)",
		        l->tls_certificate, l->tls_key);
	session_log_client(s, &line);
	log_value(&line, "why", why.n ? why : buf_view(&again));
	log_line(why.n ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "smtpd what=tls%s", line.p);
}

static void op_refused(void *arg, const char *verb, int code, struct str words)
{
	_cleanup_buf_ struct buf line = BUF_INIT;
	struct session *s = arg;

	if (s->logged > SESSION_LOGGED_MAX || !may_log(s))
		return;
	session_log_client(s, &line);
	log_value(&line, "text", words);
	log_line(LOG_LEVEL_INFO, "refused verb=%s code=%d%s", verb, code, line.p);
	if (++s->logged > SESSION_LOGGED_MAX) {
		buf_reset(&line);
		session_log_client(s, &line);
		log_line(LOG_LEVEL_WARNING,
		         "smtpd what=refusals%s why=\"no more of this session's are "
		         "logged\"",
		         line.p);
	}
}

static void log_accepted(const struct session *s, const struct id *id, uint64_t size)
{
	_cleanup_buf_ struct buf line = BUF_INIT;

	session_log_client(s, &line);
	log_value(&line, "tls", str_z(link_tls_version(&s->link)));
	if (!s->server.esmtp)
		buf_z(&line, " with=SMTP");
	buf_z(&line, " from=<");
	buf_escape(&line, buf_view(&s->submit.sender), 300);
	buf_c(&line, '>');
	log_line(LOG_LEVEL_INFO, "accepted drop=%s%s rcpts=%zu size=%llu",
	         id->c[0] ? id->c : "socket", line.p, s->submit.rcpt_n,
	         (unsigned long long)size);
}

/* ---- the envelope ---- */

static struct str domain(const struct session *s)
{
	return s->c->conf ? str_z(s->c->conf->domain) : STR_NONE;
}

static void set_open(struct session *s, bool open)
{
	s->open = open;
	if (s->c->state && !open)
		s->c->state->busy = 0;
}

/* There is something to lose. A sender alone is not: anybody can name one, and would keep his
 * slot by that. */
static void set_busy(struct session *s)
{
	if (s->c->state && !s->c->state->busy)
		s->c->state->busy = clock_ms();
}

static int shut(struct str why, struct buf *words)
{
	buf_z(words, "4.3.1 ");
	buf_str(words, why);
	return 452;
}

static int refuse(struct buf *words, int code, const char *text)
{
	buf_z(words, text);
	return code;
}

/* The sender that is stored; 0 or a code. */
static int judge_sender(const struct session *s, struct str given, struct str *ret,
                        struct buf *words)
{
	const struct listen *l = s->listen;
	bool fixed = l && l->sender[0];
	bool legal = given.n == 0 || policy_address(given, &given);

	if (!legal && !fixed)
		return refuse(words, 501, "5.1.7 This is no address of a sender");
	if (l && given.n &&
	    !policy_listed(&l->senders, legal ? given : STR(""), domain(s)))
		return refuse(words, 550, "5.7.1 This sender may not send here");
	*ret = fixed ? str_z(l->sender) : given;
	return 0;
}

static int op_mail(void *arg, struct str addr, const struct server_params *p,
                   struct buf *words)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct session *s = arg;
	struct str sender;
	int r;

	if (submit_ask(&s->submit, NULL, &why) < 0)
		return shut(buf_view(&why), words);
	r = judge_sender(s, addr, &sender, words);
	if (r)
		return r;
	if (p->envid.n && !envelope_xtext_ok(p->envid, ENVELOPE_ENVID_MAX))
		return refuse(words, 501, "5.5.4 ENVID with a bad value");
	submit_sender(&s->submit, sender, p->ret, p->envid);
	set_open(s, true);
	return 0;
}

static int op_rcpt(void *arg, struct str addr, struct str notify, struct str orcpt,
                   struct buf *words)
{
	struct session *s = arg;

	if (!policy_address(addr, &addr))
		return refuse(words, 501, "5.1.3 This is no address of a recipient");
	if (s->listen && !policy_postmaster(addr) &&
	    !policy_listed(&s->listen->recipients, addr, domain(s)))
		return refuse(words, 550, "5.7.1 This recipient is not served here");
	if ((notify.n && !envelope_notify_ok(notify)) ||
	    (orcpt.n && !envelope_orcpt_ok(orcpt)))
		return refuse(words, 501, "5.5.4 A parameter with a bad value");
	submit_rcpt(&s->submit, addr, notify, orcpt);
	set_busy(s);
	return 0;
}

/* ---- the content ---- */

/* What failed is the administrator's to know, not the client's; only mailchuted's words on
 * whether it takes mail are for both. */
static int trouble(const struct session *s, int e, struct str why, struct buf *words)
{
	if (e == -EBUSY)
		return shut(why, words);
	if (e == -EFBIG)
		return refuse(words, 552, "5.3.4 The message is too big");
	session_log_trouble(s, e == -ENOSPC || e == -EDQUOT ? "room" : "spool", why);
	return e;
}

static int op_begin(void *arg, struct buf *words)
{
	_cleanup_buf_ struct buf line = BUF_INIT, why = BUF_INIT, uid = BUF_INIT;
	struct session *s = arg;
	struct policy_client client = {
		.ip = s->c->client_ip,
		.helo = buf_view(&s->server.helo),
		.tls = str_z(link_tls_version(&s->link)),
		.auth = buf_view(&s->server.user),
		.port = s->c->port,
		.smtp = !s->server.esmtp,
	};
	int e;

	print_uid(s, &uid);
	client.uid = buf_view(&uid);
	/* With -bs it is the caller's own message, as with any other sendmail. */
	if (s->listen)
		policy_client_line(&line, &client);
	e = submit_begin(&s->submit, buf_view(&line), &why);
	return e < 0 ? trouble(s, e, buf_view(&why), words) : 0;
}

static int op_content(void *arg, struct str bytes)
{
	_cleanup_buf_ struct buf why = BUF_INIT, none = BUF_INIT;
	struct session *s = arg;
	int e = submit_write(&s->submit, bytes, &why);

	return e < 0 ? trouble(s, e, buf_view(&why), &none) : 0;
}

static int op_commit(void *arg, struct buf *words)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct session *s = arg;
	struct id id;
	int e = submit_commit(&s->submit, &id, &why);

	if (e < 0)
		return trouble(s, e, buf_view(&why), words);
	log_accepted(s, &id, s->server.size);
	buf_z(words, "2.0.0 Accepted");
	if (id.c[0])
		buf_fmt(words, " as %s", id.c);
	if (s->c->state)
		s->c->state->stored++;
	submit_reset(&s->submit);
	set_open(s, false);
	s->logged = 0;
	return 0;
}

static void op_reset(void *arg)
{
	struct session *s = arg;

	submit_reset(&s->submit);
	set_open(s, false);
}

/* ---- logins ---- */

static int op_auth(void *arg, struct str user, struct str password)
{
	_cleanup_buf_ struct buf line = BUF_INIT;
	struct session *s = arg;
	int r = s->auth_fd < 0 ? 454 : users_ask(s->auth_fd, user, password);

	if (r && !may_log(s))
		return r == 450 ? 454 : r;
	session_log_client(s, &line);
	log_value(&line, "login", user);
	log_line(r ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "auth result=%s%s",
	         r == 0     ? "ok"
	         : r == 535 ? "wrong"
	         : r == 450 ? "too-many"
	                    : "unknown",
	         line.p);
	return r == 450 ? 454 : r;
}

void session_ops(struct session *s, struct server_ops *ret)
{
	*ret = (struct server_ops){
		.mail = op_mail,
		.rcpt = op_rcpt,
		.begin = op_begin,
		.content = op_content,
		.commit = op_commit,
		.reset = op_reset,
		.auth = op_auth,
		.refused = op_refused,
		.arg = s,
	};
}
