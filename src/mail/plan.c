#include "mail/addr.h"
#include "mail/compose.h"

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->rcpts; i++) {
		free(p->rcpt[i].addr);
		free(p->rcpt[i].notify);
		free(p->rcpt[i].orcpt);
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
	_cleanup_buf_ struct buf uid = BUF_INIT, full = BUF_INIT, new = BUF_INIT;
	struct masq_who who = { .login = e->login, .host = c->hostname };
	const struct masq_rule *rule = NULL;

	/* A rule for certain users believes the attested login only, never the hint. */
	if (who.login.n == 0) {
		buf_fmt(&uid, "uid%llu", (unsigned long long)e->uid);
		who.login = buf_view(&uid);
	}
	compose_complete(c, addr, &full);
	if (!is_exposed(c, buf_view(&full)))
		rule = masq_find(c->rules, c->rules_n, where, buf_view(&full), &who);
	if (rule && masq_address(&new, rule, buf_view(&full), &who) == 0) {
		compose_complete(c, buf_view(&new), ret);
		return rule;
	}
	buf_str(ret, buf_view(&full));
	return NULL;
}

static char *plan_sender(const struct compose_conf *c, const struct envelope *e)
{
	_cleanup_buf_ struct buf from = BUF_INIT, sender = BUF_INIT;

	if (e->has_sender && e->sender.n == 0)
		return str_dup(e->sender);
	if (e->has_sender)
		buf_str(&from, e->sender);
	else
		compose_submitter(e, &from);
	compose_address(c, e, MASQ_ENVELOPE, buf_view(&from), &sender);
	return str_dup(buf_view(&sender));
}

/* A recipient while equal ones are looked for. */
struct candidate {
	char *addr;
	size_t number;
	bool twice;
};

static int compare_folded(struct str a, struct str b, bool fold)
{
	size_t n = a.n < b.n ? a.n : b.n;

	for (size_t i = 0; i < n; i++) {
		int x = fold ? ascii_lower(a.p[i]) : a.p[i];
		int y = fold ? ascii_lower(b.p[i]) : b.p[i];

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a.n > b.n) - (a.n < b.n);
}

/* By address (RFC 5321 2.4: the case of a local part counts, that of a domain not). */
static int compare_addr(const struct candidate *x, const struct candidate *y)
{
	struct str xl, xd, yl, yd;
	int order;

	addr_split(str_z(x->addr), &xl, &xd);
	addr_split(str_z(y->addr), &yl, &yd);
	order = compare_folded(xd, yd, true);
	return order ? order : compare_folded(xl, yl, false);
}

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = compare_addr(x, y);

	return order ? order : (x->number > y->number) - (x->number < y->number);
}

static int compare_numbers(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

void compose_plan(const struct compose_conf *c, const struct envelope *e,
                  struct plan *ret)
{
	struct candidate *all = calloc(e->rcpts + 1, sizeof(*all));

	if (!all)
		die_oom();
	*ret = (struct plan){ .sender = plan_sender(c, e) };
	ret->ret = str_dup(e->ret);
	ret->envid = str_dup(e->envid);
	for (size_t i = 0; i < e->rcpts; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		compose_complete(c, e->rcpt[i].addr, &b);
		all[i] = (struct candidate){ .addr = str_dup(buf_view(&b)), .number = i };
	}
	qsort(all, e->rcpts, sizeof(*all), compare_candidates);
	for (size_t i = 1; i < e->rcpts; i++)
		all[i].twice = compare_addr(&all[i - 1], &all[i]) == 0;
	qsort(all, e->rcpts, sizeof(*all), compare_numbers);
	for (size_t i = 0; i < e->rcpts; i++) {
		if (!all[i].twice)
			plan_add(ret, str_z(all[i].addr), e->rcpt[i].notify,
			         e->rcpt[i].orcpt);
		free(all[i].addr);
	}
	free(all);
}
