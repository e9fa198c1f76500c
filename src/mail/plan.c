#include "mail/addr.h"
#include "mail/compose.h"

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->rcpts; i++) {
		free(p->rcpt[i].addr); /* and notify and orcpt */
		free(p->rcpt[i].refused);
	}
	free(p->rcpt);
	free(p->sender); /* and ret and envid */
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

void plan_from(struct plan *p, struct str sender, struct str ret, struct str envid)
{
	char *room = malloc(sender.n + ret.n + envid.n + 3);

	if (!room)
		die_oom();
	free(p->sender);
	p->sender = put(&room, sender);
	p->ret = put(&room, ret);
	p->envid = put(&room, envid);
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
		if (addr_is_simple(names[i]) ||
		    (str_chr(names[i], '@') > 0 && addr_envelope_ok(names[i]))) {
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

/* Is there something to complete? */
static bool is_bare(const struct compose_conf *c, struct str addr)
{
	return addr.n > 0 && c->domain.n > 0 && !addr_has_domain(addr);
}

/* Completes the bare address that b holds from octet start on. */
static void complete(const struct compose_conf *c, struct buf *b, size_t start)
{
	const size_t n = b->n;

	buf_c(b, '@');
	buf_str(b, c->domain);
	if ((!c->domain_fits && !addr_domain_ok(c->domain)) ||
	    b->n - start > ADDR_LENGTH_MAX)
		buf_cut(b, n);
}

void compose_complete(const struct compose_conf *c, struct str addr, struct buf *ret)
{
	const size_t start = ret->n;

	buf_str(ret, addr);
	if (is_bare(c, addr))
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
	const char *as = NULL;
	const size_t start = ret->n;
	struct str full = addr;
	bool exposed;

	if (is_bare(c, addr)) {
		buf_str(&room, addr);
		complete(c, &room, 0);
		full = buf_view(&room);
	}
	exposed = is_exposed(c, full);
	trace_change(c->trace, addr, full, "it has no domain: gets `domain`");
	if (!exposed)
		rule = masq_find(c->rules, c->rules_n, where, full, &who, &as);
	if (rule && masq_expand(ret, as, full, &who) == 0) {
		trace_rule(c->trace, rule, full, str_from(buf_view(ret), start));
		if (is_bare(c, str_from(buf_view(ret), start)))
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

static void plan_sender(const struct compose_conf *c, const struct envelope *e,
                        struct buf *ret)
{
	_cleanup_buf_ struct buf from = BUF_SMALL;

	trace_at(c->trace, STR(TRACE_ENVELOPE_SENDER));
	if (e->has_sender && e->sender.n == 0)
		return;
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
	compose_address(c, e, MASQ_ENVELOPE, buf_view(&from), ret);
}

void compose_plan(const struct compose_conf *c, const struct envelope *e,
                  struct plan *ret)
{
	_cleanup_buf_ struct buf sender = BUF_SMALL;

	plan_sender(c, e, &sender);
	*ret = (struct plan){ .sender = NULL };
	plan_from(ret, buf_view(&sender), e->ret, e->envid);
	plan_rcpts(c, e, ret);
}
