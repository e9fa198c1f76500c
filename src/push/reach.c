/* Connections to the smart host: which host, and what when there is none (push.h) */
#include "base/clock.h"
#include "base/log.h"
#include "push/push.h"
#include "smtp/auth.h"
#include "smtp/learned.h"
#include <poll.h>

enum {
	LATELY = 600,     /* seconds that a host that failed is tried behind the others */
	KEPT_MAX = 5,     /* failures that the next push is told of */
	WHY_MAX = 400,    /* octets of a reason that are logged */
	FIND_MS = 600000, /* the child that finds hosts has deadlines of its own */
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

static bool is_lately(int64_t at, int64_t now)
{
	return at > 0 && at <= now && now - at < LATELY;
}

static bool failed_lately(const struct target *t)
{
	return is_lately(t->failed, clock_real());
}

static void failed(struct target *t)
{
	t->failed = clock_real();
}

/* ---- What the next push is told ---- */

static unsigned name_of(const struct target *t)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_fmt(&b, "%s:%u", t->name, t->port);
	return (unsigned)(learned_keyword(0, buf_view(&b)) & 0xffffffff);
}

static unsigned name_of_address(const struct race_address *a)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	race_words(a, &b, "", ":");
	return (unsigned)(learned_keyword(0, buf_view(&b)) & 0xffffffff);
}

static void put_failure(struct buf *b, unsigned name, int64_t at, unsigned *left)
{
	if (*left == 0 || !is_lately(at, clock_real()))
		return;
	(*left)--;
	buf_fmt(b, "%sfailed:%08x:%lld", b->n ? "," : "", name, (long long)at);
}

static void put_failures(const struct push *p, struct buf *b)
{
	unsigned left = KEPT_MAX;

	/* Of one alone it would say nothing. */
	for (size_t i = 0; i < p->targets && p->targets > 1; i++)
		put_failure(b, name_of(&p->target[i]), p->target[i].failed, &left);
	for (size_t i = 0; i < p->targets; i++) {
		const struct target *t = &p->target[i];

		for (size_t a = 0; a < t->addresses && t->addresses > 1; a++)
			put_failure(b, name_of_address(&t->address[a]),
			            t->address_failed[a], &left);
	}
}

/* What the last push said, but for its failures. */
static void put_last(const struct push *p, struct buf *b)
{
	struct str rest = buf_view(&p->learned), word;

	while (str_cut(&rest, ',', &word)) {
		if (!word.n || str_starts(word, STR("failed:")) || str_eq(word, STR("-")))
			continue;
		if (b->n)
			buf_c(b, ',');
		buf_str(b, word);
	}
}

void push_learned(const struct push *p, struct str client, struct buf *ret)
{
	put_failures(p, ret);
	if (client.n && ret->n)
		buf_c(ret, ',');
	buf_str(ret, client);
	/* The client has not looked at it yet: then it is as it was. */
	if (client.n == 0)
		put_last(p, ret);
	while (ret->n > JOB_LEARNED_MAX) {
		const char *comma = memrchr(ret->p, ',', ret->n);

		buf_cut(ret, comma ? (size_t)(comma - ret->p) : 0);
	}
	/* No failure any more, and nothing else. */
	if (ret->n == 0 && p->learned.n)
		buf_c(ret, '-');
}

/* When it failed, as an earlier push said; 0: not lately. */
static int64_t recall(const struct push *p, unsigned name)
{
	_cleanup_buf_ struct buf want = BUF_INIT;
	struct str rest = buf_view(&p->learned), word;
	uint64_t at;

	buf_fmt(&want, "failed:%08x:", name);
	while (str_cut(&rest, ',', &word))
		if (str_starts(word, buf_view(&want)) &&
		    str_u64(str_from(word, want.n), &at) &&
		    is_lately((int64_t)at, clock_real()))
			return (int64_t)at;
	return 0;
}

/* Behind the others. */
static void address_last(struct target *t, size_t at, int64_t when)
{
	const struct race_address it = t->address[at];
	size_t behind = t->addresses - at - 1;

	memmove(&t->address[at], &t->address[at + 1], behind * sizeof(it));
	memmove(&t->address_failed[at], &t->address_failed[at + 1],
	        behind * sizeof(when));
	t->address[t->addresses - 1] = it;
	t->address_failed[t->addresses - 1] = when;
}

static void recall_target(const struct push *p, struct target *t)
{
	t->failed = recall(p, name_of(t));
	for (size_t i = 0, left = t->addresses; left; left--) {
		int64_t at = recall(p, name_of_address(&t->address[i]));

		if (at)
			address_last(t, i, at);
		else
			i++;
	}
}

/* ---- One host ---- */

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

static void skip_address(struct push *p, const struct target *t,
                         const struct race_address *a, const struct verdict *why)
{
	_cleanup_buf_ struct buf words = BUF_INIT;

	race_words(a, &words, "", " port ");
	buf_z(&words, ": ");
	buf_str(&words, buf_view(&why->text));
	push_skipped(p, str_z(t->name), buf_view(&words));
}

static bool asked_to_leave(void)
{
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) > 0 && pfd.revents;
}

/* An address can lead to a machine that is not as the others of that name, or to none (IPv6 that
 * takes a connection and then loses what is large): each that fails before the login is followed
 * by the rest. others: there is another host behind. */
static bool open_target(struct push *p, struct target *t, size_t most, bool others,
                        struct verdict *why)
{
	for (size_t left = most;; left--) {
		struct client_way way = { .to = t->address,
			                  .n = left,
			                  .others = others || left > 1 };
		struct race_address at;

		buf_free(&why->text);
		*why = (struct verdict){ .kind = VERDICT_HOST };
		if (client_open_any(p->client, &way, why) == 0) {
			t->address_failed[way.at] = 0;
			return true;
		}
		if (way.at >= left || why->stage >= STAGE_AUTH || asked_to_leave())
			return false;
		at = t->address[way.at];
		if (way.hurried) {
			p->slow = t;
			p->slow_at = at;
		}
		address_last(t, way.at, clock_real());
		if (left == 1)
			return false;
		skip_address(p, t, &at, why);
	}
}

/* most: of its addresses, from the first on. */
static bool try_some(struct push *p, struct target *t, size_t most, bool others,
                     struct verdict *why)
{
	struct str facts, passed;

	p->at = t;
	p->report.remote = t->name;
	p->cc.host = str_z(t->expect);
	p->cc.tls = tls_of(t);
	p->no_secret = false;
	if (!open_target(p, t, most, others, why)) {
		explain_name(t, why);
		return false;
	}
	t->failed = 0;
	facts = client_facts(p->client);
	report_line(&p->report, "up relay=%s %.*s", p->report.remote, (int)facts.n,
	            facts.p);
	passed = client_passed(p->client);
	if (passed.n)
		report_line(&p->report, "log i auth-refused route=%s refused=%.*s",
		            p->host->name, (int)passed.n, passed.p);
	p->settled = 0;
	p->moved = false;
	p->connection++;
	p->down_since = 0;
	return true;
}

static bool try_target(struct push *p, struct target *t, bool others, struct verdict *why)
{
	return try_some(p, t, t->addresses, others, why);
}

/* The others were none: one of those that are slow gets all the time that a host may take. */
static bool try_slow(struct push *p, struct verdict *why)
{
	struct target *t = p->slow;
	size_t i = 0;

	if (!t || p->report.broken || asked_to_leave())
		return false;
	while (i < t->addresses &&
	       memcmp(&t->address[i], &p->slow_at, sizeof(p->slow_at)) != 0)
		i++;
	if (i == t->addresses)
		return false;
	push_skipped(p, str_z(p->at->name), buf_view(&why->text));
	t->address[i] = t->address[0];
	t->address[0] = p->slow_at;
	return try_some(p, t, 1, false, why);
}

/* A host that was not reached for so long is dead. Who refuses our login is not: that is
 * somebody's to put right, and no message's fault. */
static bool gives_up(struct push *p, const struct verdict *why)
{
	int64_t now = push_now(p);

	return p->host->give_up > 0 && p->down_since > 0 && why->stage != STAGE_AUTH &&
	       report_age(&p->report, p->down_since, now) > p->host->give_up;
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

	p->no_secret = e < 0;
	if (e < 0) {
		buf_fmt(ret_why, "%s %s", secret_key(p), words.p);
	} else if (words.n) {
		_cleanup_buf_ struct buf says = BUF_INIT, line = BUF_INIT;

		buf_fmt(&says, "%s says: %s", secret_key(p), words.p);
		log_text(&line, "why", buf_view(&says));
		report_line(&p->report, "log w secret route=%s%s", p->host->name, line.p);
	}
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
	auth_wipe(&was);
	return renewed;
}

/* Other answers are the host's trouble, which another host may not have. */
static bool refuses_login(const struct verdict *why)
{
	return why->stage == STAGE_AUTH && job_refuses_login((uint64_t)why->code);
}

/* ---- All of them ---- */

/* Takes in hosts that were found meanwhile; wait: at least one more, if there is any. */
static void take_targets(struct push *p, bool wait)
{
	while (p->targets < RESOLVE_HOSTS_MAX &&
	       resolve_next(&p->resolver, wait ? FIND_MS : 0, JOB_FD_SOCKET,
	                    &p->target[p->targets], &p->missing)) {
		recall_target(p, &p->target[p->targets]);
		p->targets++;
		wait = false;
	}
}

/* The next one to be tried: first those that did not fail lately, also when they have not been
 * found yet. NULL: there is none, or mailchuted wants us to leave. */
static struct target *choose(struct push *p, const bool *tried)
{
	struct target *late = NULL;
	size_t i = 0;

	for (bool wait = false;; wait = true) {
		take_targets(p, wait);
		for (; i < p->targets; i++) {
			struct target *t = &p->target[i];

			if (!tried[i] && !failed_lately(t))
				return t;
			if (!tried[i] && !late)
				late = t;
		}
		if (wait && asked_to_leave())
			return NULL;
		if (!p->resolver.more)
			return late;
	}
}

/* Is there anybody left whom it is worth to hurry for? */
static bool others_left(const struct push *p, const bool *tried)
{
	for (size_t i = 0; i < p->targets; i++)
		if (!tried[i])
			return true;
	return p->resolver.more;
}

static void say_missing(struct push *p)
{
	if (!p->missing.n || p->targets == 0)
		return;
	push_skipped(p, STR(""), buf_view(&p->missing));
	buf_reset(&p->missing);
}

/* All of them, those last that failed lately. What is said of the last of all becomes the
 * host's verdict, of the others a word in the log. True: a connection is open. */
static bool try_all(struct push *p, struct verdict *why)
{
	bool tried[RESOLVE_HOSTS_MAX] = { false };
	struct target *t, *before = NULL;

	p->slow = NULL;
	while (!p->report.broken && (t = choose(p, tried))) {
		bool others;

		say_missing(p);
		if (before)
			push_skipped(p, str_z(before->name), buf_view(&why->text));
		tried[t - p->target] = true;
		others = others_left(p, tried);
		if (try_target(p, t, others, why) ||
		    (token_renewed(p, why) && try_target(p, t, others, why)))
			return true;
		/* A login that is refused is not tried anywhere else. */
		if (p->no_secret || refuses_login(why))
			return false;
		if (asked_to_leave())
			return false;
		failed(t);
		before = t;
	}
	say_missing(p);
	return try_slow(p, why);
}

bool push_open(struct push *p)
{
	struct verdict why = { .kind = VERDICT_HOST };
	bool ok;

	/* It lets us in, and then nothing comes of it. */
	if (p->at && p->barren > 0)
		failed(p->at);
	ok = try_all(p, &why);
	if (!ok && p->targets == 0)
		buf_z(&why.text, p->missing.n ? p->missing.p : "no host was found");
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
	bool others = p->resolver.more;

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
