/* Connections to the smart host: which host, and what when there is none (push.h) */
#include "base/clock.h"
#include "push/push.h"
#include <poll.h>

enum {
	LATELY_MS = 600000, /* so long a host that failed is tried behind the others */
	WHY_MAX = 400,      /* octets of a reason that are logged */
};

void push_skipped(struct push *p, struct str relay, struct str why)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	/* It has been escaped where it came from. */
	buf_escape_rest(&text, why.n ? why : STR("the connection ends"), WHY_MAX);
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '"')
			text.p[i] = '\'';
	report_line(&p->report, "log w host-skipped%s%.*s why=\"%s\"",
	            relay.n ? " relay=" : "", (int)relay.n, relay.p, text.p);
	/* A host can keep us for as long as a session may last; mailchuted must not think that
	 * we hang when the next one does, too. */
	push_flush(p);
}

static bool failed_lately(const struct target *t)
{
	return t->failed && clock_ms() - t->failed < LATELY_MS;
}

/* 0 would say that it never did. */
static void failed(struct target *t)
{
	t->failed = clock_ms() + 1;
}

/* Is it another host than it should be? Then it helps to know who said that it is the one. In
 * front, as what is long is cut. */
static void explain_name(const struct target *t, struct verdict *why)
{
	_cleanup_buf_ struct buf words = BUF_INIT;

	if (why->stage != STAGE_TLS || !t->asked)
		return;
	buf_fmt(&words, "%s, which %s leads to: ", t->name, t->asked);
	buf_str(&words, buf_view(&why->text));
	buf_reset(&why->text);
	buf_str(&why->text, buf_view(&words));
}

static enum client_tls tls_of(const struct target *t)
{
	return t->tls == CONF_TLS_NONE       ? CLIENT_TLS_NONE
	       : t->tls == CONF_TLS_STARTTLS ? CLIENT_TLS_STARTTLS
	                                     : CLIENT_TLS_IMPLICIT;
}

static bool try_target(struct push *p, struct target *t, struct verdict *why)
{
	struct str facts;

	p->at = t;
	p->report.remote = t->name;
	p->cc.host = str_z(t->expect);
	p->cc.tls = tls_of(t);
	buf_free(&why->text);
	*why = (struct verdict){ .kind = VERDICT_HOST };
	if (client_open_any(p->client, t->address, t->addresses, why) < 0) {
		explain_name(t, why);
		return false;
	}
	t->failed = 0;
	facts = client_facts(p->client);
	report_line(&p->report, "up relay=%s %.*s", p->report.remote, (int)facts.n,
	            facts.p);
	p->settled = 0;
	p->moved = false;
	p->connection++;
	p->down_since = 0;
	return true;
}

/* A host that was not reached for so long is dead. Who refuses our login is not: that is
 * somebody's to put right, and no message's fault. */
static bool gives_up(struct push *p, const struct verdict *why)
{
	int64_t now = push_now(p);

	return p->host->give_up > 0 && p->down_since > 0 && why->stage != STAGE_AUTH &&
	       report_age(&p->report, p->down_since, now) > p->host->give_up;
}

static bool asked_to_leave(void)
{
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) > 0 && pfd.revents;
}

static void not_open(struct push *p, struct verdict *why)
{
	if (asked_to_leave()) {
		p->report.leaving = p->halt = true;
	} else if (gives_up(p, why)) {
		p->report.gave_up = true;
		buf_free(&p->why.text);
		p->why = *why;
		why->text = (struct buf)BUF_INIT;
	} else {
		push_host(p, why);
	}
}

/* "token-command": what the configuration calls it. */
static const char *secret_key(const struct push *p)
{
	return p->cc.token ? "token-command" : "password-command";
}

int push_secret(void *push, struct str *ret, struct buf *ret_why)
{
	struct push *p = push;
	_cleanup_buf_ struct buf words = BUF_INIT;
	int e = secret_get(&p->secret, JOB_FD_SOCKET, &p->password, &words);

	if (e < 0)
		buf_fmt(ret_why, "%s %s", secret_key(p), words.p);
	else if (words.n)
		report_line(&p->report, "log w secret route=%s why=\"%s says: %s\"",
		            p->host->name, secret_key(p), words.p);
	*ret = buf_view(&p->password);
	return e;
}

/* A token may end before its time: one that is new is worth another login, and only that. */
static bool token_renewed(struct push *p, const struct verdict *why)
{
	struct buf was = BUF_INIT;
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct str now = STR("");
	bool renewed;

	if (!p->cc.secret || !p->cc.token || why->stage != STAGE_AUTH || why->code < 500)
		return false;
	buf_str(&was, buf_view(&p->password));
	secret_forget(&p->secret);
	renewed = push_secret(p, &now, &words) == 0 && !str_eq(now, buf_view(&was));
	if (was.cap)
		explicit_bzero(was.p, was.cap);
	buf_free(&was);
	return renewed;
}

/* All of them, those last that failed lately. What is said of the last of all becomes the
 * host's verdict, of the others a word in the log. True: a connection is open. */
static bool try_all(struct push *p, struct verdict *why)
{
	struct target *order[RESOLVE_HOSTS_MAX];
	size_t n = 0;

	for (int lately = 0; lately < 2; lately++)
		for (size_t i = 0; i < p->targets; i++)
			if (failed_lately(&p->target[i]) == (lately == 1))
				order[n++] = &p->target[i];
	for (size_t i = 0; i < n && !p->report.broken; i++) {
		struct target *t = order[i];

		if (try_target(p, t, why) ||
		    (token_renewed(p, why) && try_target(p, t, why)))
			return true;
		/* A login that is refused is not tried anywhere else. */
		if (why->stage == STAGE_AUTH)
			return false;
		failed(t);
		if (asked_to_leave())
			return false;
		if (i + 1 < n)
			push_skipped(p, str_z(t->name), buf_view(&why->text));
	}
	return false;
}

bool push_open(struct push *p)
{
	struct verdict why = { .kind = VERDICT_HOST };
	bool ok;

	if (p->targets == 0)
		buf_str(&why.text, buf_view(&p->why.text));
	/* It lets us in, and then nothing comes of it. */
	if (p->at && p->barren > 0)
		failed(p->at);
	ok = try_all(p, &why);
	if (!ok)
		not_open(p, &why);
	buf_free(&why.text);
	return ok;
}

/* Of the account, not of the host (RFC 4954). */
static bool is_login(const struct verdict *why)
{
	return why->stage == STAGE_AUTH || (why->code >= 530 && why->code <= 538);
}

bool push_elsewhere(struct push *p, const struct verdict *why)
{
	bool others = false;

	if (!p->at || is_login(why))
		return false;
	for (size_t i = 0; i < p->targets; i++)
		others |= &p->target[i] != p->at && !failed_lately(&p->target[i]);
	if (!others)
		return false;
	push_skipped(p, str_z(p->at->name), buf_view(&why->text));
	failed(p->at);
	return true;
}
