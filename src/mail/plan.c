#include "mail/addr.h"
#include "mail/compose.h"

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->rcpts; i++) {
		free(p->rcpt[i].addr); /* and notify and orcpt */
		free(p->rcpt[i].refused);
	}
	free(p->rcpt);
	free(p->sender);
	free(p->ret);
	free(p->envid);
	*p = (struct plan){ .rcpts = 0 };
}

/* Copies s to *to, moves that on, and gives the copy. */
static char *put(char **to, struct str s)
{
	char *z = *to;

	if (s.n)
		memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	*to += s.n + 1;
	return z;
}

void plan_add(struct plan *p, struct str addr, struct str notify, struct str orcpt)
{
	char *room = malloc(addr.n + notify.n + orcpt.n + 3);

	if (!room)
		die_oom();
	/* Room doubles whenever the number is a power of two. */
	if ((p->rcpts & (p->rcpts - 1)) == 0) {
		size_t all = p->rcpts ? p->rcpts * 2 : 1;
		struct plan_rcpt *more = realloc(p->rcpt, all * sizeof(*more));

		if (!more)
			die_oom();
		p->rcpt = more;
	}
	p->rcpt[p->rcpts] = (struct plan_rcpt){ .addr = put(&room, addr) };
	p->rcpt[p->rcpts].notify = put(&room, notify);
	p->rcpt[p->rcpts++].orcpt = put(&room, orcpt);
}

bool plan_waits_for_alias(const struct plan_rcpt *r)
{
	return r->refused && r->refused[0] == '4';
}

struct str compose_login(const struct envelope *e, struct buf *ret)
{
	if (e->login.n)
		return e->login;
	if (e->hint.n)
		return e->hint;
	buf_fmt(ret, "uid%llu", (unsigned long long)e->uid);
	return buf_view(ret);
}

void compose_submitter(const struct envelope *e, struct buf *ret)
{
	const struct str names[] = { e->login, e->hint };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_buf_ struct buf local = BUF_SMALL;

		if (names[i].n == 0)
			continue;
		/* Directory services have logins like eddy@corp.example. */
		if (str_chr(names[i], '@') > 0 && addr_envelope_ok(names[i])) {
			buf_str(ret, names[i]);
			return;
		}
		addr_local(&local, names[i]);
		if (addr_envelope_ok(buf_view(&local))) {
			buf_str(ret, buf_view(&local));
			return;
		}
	}
	buf_fmt(ret, "uid%llu", (unsigned long long)e->uid);
}

/* Completes the address that b holds from octet start on. */
static void complete(const struct compose_conf *c, struct buf *b, size_t start)
{
	const struct str addr = str_from(buf_view(b), start);
	size_t n = b->n;
	struct str local, domain = STR_NONE;

	if (str_chr(addr, '@') >= 0)
		addr_split(addr, &local, &domain);
	if (domain.n || c->domain.n == 0 || n == start)
		return;
	buf_c(b, '@');
	buf_str(b, c->domain);
	if (!addr_envelope_ok(str_from(buf_view(b), start)))
		buf_cut(b, n);
}

void compose_complete(const struct compose_conf *c, struct str addr, struct buf *ret)
{
	size_t start = ret->n;

	buf_str(ret, addr);
	complete(c, ret, start);
}

static bool is_exposed(const struct compose_conf *c, struct str addr)
{
	for (size_t i = 0; i < c->expose.n; i++)
		if (addr_glob(str_z(c->expose.v[i]), addr))
			return true;
	return false;
}

const struct masq_rule *compose_address(const struct compose_conf *c,
                                        const struct envelope *e, unsigned where,
                                        struct str addr, struct buf *ret)
{
	_cleanup_buf_ struct buf room = BUF_SMALL;
	const struct masq_who who = compose_who(c, e);
	const struct masq_rule *rule = NULL;
	const size_t start = ret->n;
	struct str full;
	bool exposed;

	compose_complete(c, addr, &room);
	full = buf_view(&room);
	exposed = is_exposed(c, full);
	trace_change(c->trace, addr, full, "it has no domain: gets `domain`");
	if (!exposed)
		rule = masq_find(c->rules, c->rules_n, where, full, &who);
	if (rule && masq_address(ret, rule, full, &who) == 0) {
		trace_rule(c->trace, rule, full, str_from(buf_view(ret), start));
		complete(c, ret, start);
		return rule;
	}
	if (exposed)
		trace_add(c->trace, full, full, "`expose` has it");
	if (rule)
		trace_add(c->trace, full, full,
		          "the rule of line %d makes no address of it", rule->line);
	buf_str(ret, full);
	return NULL;
}

static char *plan_sender(const struct compose_conf *c, const struct envelope *e)
{
	_cleanup_buf_ struct buf from = BUF_SMALL, sender = BUF_SMALL;

	trace_at(c->trace, STR(TRACE_ENVELOPE_SENDER));
	if (e->has_sender && e->sender.n == 0)
		return str_dup(e->sender);
	if (!compose_may_override(c, e) &&
	    !(e->has_sender && compose_is_own(c, e, MASQ_ENVELOPE, e->sender)))
		compose_own(c, e, &from);
	else if (e->has_sender)
		buf_str(&from, e->sender);
	else
		compose_submitter(e, &from);
	if (e->has_sender)
		trace_change(c->trace, e->sender, buf_view(&from),
		             "sender-override does not let the submitter choose it");
	compose_address(c, e, MASQ_ENVELOPE, buf_view(&from), &sender);
	return str_dup(buf_view(&sender));
}

void compose_plan(const struct compose_conf *c, const struct envelope *e,
                  struct plan *ret)
{
	*ret = (struct plan){ .sender = plan_sender(c, e) };
	ret->ret = str_dup(e->ret);
	ret->envid = str_dup(e->envid);
	plan_rcpts(c, e, ret);
}
