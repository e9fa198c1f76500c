#include "mail/addr.h"
#include "mail/compose.h"

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->rcpts; i++) {
		free(p->rcpt[i].addr);
		free(p->rcpt[i].notify);
		free(p->rcpt[i].orcpt);
		free(p->rcpt[i].refused);
	}
	free(p->rcpt);
	free(p->sender);
	free(p->ret);
	free(p->envid);
	*p = (struct plan){ .rcpts = 0 };
}

void plan_add(struct plan *p, struct str addr, struct str notify, struct str orcpt)
{
	/* Room doubles whenever the number is a power of two. */
	if ((p->rcpts & (p->rcpts - 1)) == 0) {
		size_t room = p->rcpts ? p->rcpts * 2 : 1;
		struct plan_rcpt *more = realloc(p->rcpt, room * sizeof(*more));

		if (!more)
			die_oom();
		p->rcpt = more;
	}
	p->rcpt[p->rcpts++] = (struct plan_rcpt){
		.addr = str_dup(addr),
		.notify = str_dup(notify),
		.orcpt = str_dup(orcpt),
	};
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
		_cleanup_buf_ struct buf local = BUF_INIT;

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

void compose_complete(const struct compose_conf *c, struct str addr, struct buf *ret)
{
	size_t start = ret->n;
	struct str local, domain;

	addr_split(addr, &local, &domain);
	buf_str(ret, addr);
	if (domain.n || c->domain.n == 0 || addr.n == 0)
		return;
	buf_c(ret, '@');
	buf_str(ret, c->domain);
	if (!addr_envelope_ok(str_from(buf_view(ret), start)))
		buf_cut(ret, start + addr.n);
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
	_cleanup_buf_ struct buf full = BUF_INIT, new = BUF_INIT;
	const struct masq_who who = compose_who(c, e);
	const struct masq_rule *rule = NULL;

	compose_complete(c, addr, &full);
	trace_change(c->trace, addr, buf_view(&full), "it has no domain: gets `domain`");
	if (!is_exposed(c, buf_view(&full)))
		rule = masq_find(c->rules, c->rules_n, where, buf_view(&full), &who);
	if (rule && masq_address(&new, rule, buf_view(&full), &who) == 0) {
		trace_rule(c->trace, rule, buf_view(&full), buf_view(&new));
		compose_complete(c, buf_view(&new), ret);
		return rule;
	}
	if (!rule && is_exposed(c, buf_view(&full)))
		trace_add(c->trace, buf_view(&full), buf_view(&full), "`expose` has it");
	if (rule)
		trace_add(c->trace, buf_view(&full), buf_view(&full),
		          "the rule of line %d makes no address of it", rule->line);
	buf_str(ret, buf_view(&full));
	return NULL;
}

static char *plan_sender(const struct compose_conf *c, const struct envelope *e)
{
	_cleanup_buf_ struct buf from = BUF_INIT, sender = BUF_INIT;

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
