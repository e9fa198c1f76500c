/* The recipients of the outgoing envelope: aliases, names of this machine, each once */
#include "mail/addr.h"
#include "mail/alias.h"
#include "mail/compose.h"

/* One recipient that was asked for. */
struct source {
	struct str addr, notify, orcpt;
	bool settled; /* it was planned before, and stays as it is */
	struct str refused;
};

/* What it comes to. */
struct candidate {
	struct str addr; /* in the text of the gathering, at octet at */
	size_t at;
	char *refused; /* NULL when it is fine */
	size_t number, source;
	bool twice;
	bool moved; /* an alias or the administrator stands for it */
};

struct gathering {
	const struct compose_conf *c;
	const struct envelope *e;
	const struct plan *old; /* whose recipients are the sources; NULL: those of e */
	struct candidate *all;  /* malloc'ed when there are several */
	struct candidate first;
	size_t n;
	struct buf text; /* their addresses */
};

static size_t sources(const struct gathering *g)
{
	return g->old ? g->old->rcpts : g->e->rcpts;
}

static struct source source_at(const struct gathering *g, size_t i)
{
	const struct env_rcpt *asked = g->old ? NULL : &g->e->rcpt[i];
	const struct plan_rcpt *planned = g->old ? &g->old->rcpt[i] : NULL;
	struct source s;
	struct str domain;

	if (asked)
		return (struct source){ .addr = asked->addr,
			                .notify = asked->notify,
			                .orcpt = asked->orcpt };
	s = (struct source){ .addr = str_z(planned->addr),
		             .notify = str_z(planned->notify),
		             .orcpt = str_z(planned->orcpt),
		             .settled = !plan_waits_for_alias(planned),
		             .refused = str_z(planned->refused) };
	if (!s.settled)
		addr_split(s.addr, &s.addr, &domain);
	return s;
}

/* ---- The same address twice ---- */

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

	addr_split(x->addr, &xl, &xd);
	addr_split(y->addr, &yl, &yd);
	order = compare_folded(xd, yd, true);
	return order ? order : compare_folded(xl, yl, false);
}

/* Of equal ones the first counts that is not refused: an alias may name itself and a
 * program. */
static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = compare_addr(x, y);

	if (order == 0)
		order = (x->refused != NULL) - (y->refused != NULL);
	return order ? order : (x->number > y->number) - (x->number < y->number);
}

static int compare_numbers(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static void fold(struct gathering *g)
{
	if (g->n < 2)
		return;
	qsort(g->all, g->n, sizeof(*g->all), compare_candidates);
	for (size_t i = 1; i < g->n; i++)
		g->all[i].twice = compare_addr(&g->all[i - 1], &g->all[i]) == 0;
	qsort(g->all, g->n, sizeof(*g->all), compare_numbers);
}

/* ---- Names of this machine ---- */

/* Names that somebody reads everywhere (RFC 2142, RFC 5321 4.5.1). */
static bool is_role(struct str local)
{
	static const struct str roles[] = { { "root", 4 },
		                            { "postmaster", 10 },
		                            { "abuse", 5 },
		                            { "mailer-daemon", 13 } };
	_cleanup_buf_ struct buf plain = BUF_SMALL;
	struct str name;
	ptrdiff_t plus;

	addr_words(&plain, local, true);
	name = buf_view(&plain);
	plus = str_chr(name, '+');
	if (plus > 0)
		name = str_head(name, (size_t)plus);
	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		if (str_ieq(name, roles[i]))
			return true;
	return false;
}

/* Whom a name of this machine goes to that has no alias; to be completed. An address that
 * was written with the domain that names get stays as it is: that domain may well have
 * mailboxes elsewhere, and their mail is not the administrator's. */
static struct str local_goes_to(const struct compose_conf *c, struct str addr)
{
	struct str local, domain;

	addr_split(addr, &local, &domain);
	if (c->admin.n && is_role(local))
		return c->admin;
	if (c->domain.n == 0 && c->admin.n == 0)
		return addr;
	if (domain.n && str_ieq(domain, c->domain))
		return addr;
	return c->admin.n && !c->domain_given ? c->admin : local;
}

/* ---- Gathering ---- */

/* Appends one whose address the caller has appended to g->text, from octet at on. */
static struct candidate *add(struct gathering *g, size_t source, size_t at)
{
	/* Room doubles whenever the number is a power of two. */
	if (g->n == 0) {
		g->all = &g->first;
	} else if ((g->n & (g->n - 1)) == 0) {
		g->all = realloc(g->n == 1 ? NULL : g->all, g->n * 2 * sizeof(*g->all));
		if (!g->all)
			die_oom();
		if (g->n == 1)
			g->all[0] = g->first;
	}
	g->all[g->n] = (struct candidate){ .addr = { NULL, g->text.n - at },
		                           .at = at,
		                           .number = g->n,
		                           .source = source };
	return &g->all[g->n++];
}

/* For explain: what made got of a target. */
static const char *why_local(const struct compose_conf *c, const struct buf *got,
                             bool local)
{
	_cleanup_buf_ struct buf admin = BUF_SMALL;

	compose_complete(c, c->admin, &admin);
	if (local && c->admin.n && str_eq(buf_view(got), buf_view(&admin)))
		return "a name of this machine that has no mailbox: goes to `admin`";
	return "it has no domain, or that of this machine: gets `domain`";
}

/* Adds what source i, asked for, came to; local and refused as in struct alias_target. */
static void add_target(struct gathering *g, size_t i, struct str source, struct str addr,
                       bool local, const char *refused)
{
	_cleanup_buf_ struct buf asked = BUF_SMALL, got = BUF_SMALL;
	const struct str to = local ? local_goes_to(g->c, addr) : addr;
	const size_t at = g->text.n;
	struct candidate *k;

	compose_complete(g->c, to, &got);
	if (g->c->trace && refused)
		trace_add(g->c->trace, addr, STR(""), "refused: %s", refused);
	else if (g->c->trace)
		trace_change(g->c->trace, addr, buf_view(&got),
		             why_local(g->c, &got, local));
	if (refused)
		buf_str(&g->text, buf_view(&got));
	else
		compose_address(g->c, g->e, MASQ_RECIPIENT, buf_view(&got), &g->text);
	k = add(g, i, at);
	k->refused = refused ? str_dup(str_z(refused)) : NULL;
	if (str_eq(source, to))
		return;
	compose_complete(g->c, source, &asked);
	k->moved = !str_eq(buf_view(&asked), buf_view(&got));
}

/* The name of this machine alone. */
static struct alias_here here(const struct compose_conf *c)
{
	return (struct alias_here){ .hostname = c->hostname,
		                    .nodename = c->nodename,
		                    .elsewhere = c->domain_given ? c->domain : STR_NONE };
}

static void gather(struct gathering *g)
{
	const struct alias_here h = here(g->c);
	struct alias_run run;

	alias_begin(&run, g->c->aliases, &h);
	run.trace = g->c->trace;
	trace_at(g->c->trace, STR(TRACE_ENVELOPE_RCPT));
	for (size_t i = 0; i < sources(g); i++) {
		const struct source s = source_at(g, i);
		/* There is room for those behind it. */
		size_t wait = sources(g) - i - 1, used = g->n + wait, from = run.targets;

		if (s.settled) {
			const size_t at = g->text.n;

			buf_str(&g->text, s.addr);
			add(g, i, at)->refused = s.refused.n ? str_dup(s.refused) : NULL;
			continue;
		}
		if (!g->c->aliases) {
			add_target(g, i, s.addr, s.addr, alias_is_here(&h, s.addr), NULL);
			continue;
		}
		alias_expand(&run, s.addr,
		             used < ENVELOPE_RCPT_MAX ? ENVELOPE_RCPT_MAX - used : 1);
		for (size_t t = from; t < run.targets; t++)
			add_target(g, i, s.addr, str_z(run.target[t].addr),
			           run.target[t].local, run.target[t].refused);
	}
	alias_end(&run);
	for (size_t i = 0; i < g->n; i++)
		g->all[i].addr.p = g->text.p + g->all[i].at;
}

/* Appends ORCPT for a recipient that got another address here (RFC 3461 4.2, 5.2.1): whom
 * the sender knows. Nothing when it cannot be said. */
static void add_orcpt(const struct compose_conf *c, struct str addr, struct buf *ret)
{
	_cleanup_buf_ struct buf full = BUF_SMALL;

	compose_complete(c, addr, &full);
	buf_z(ret, "rfc822;");
	for (size_t i = 0; i < full.n; i++) {
		unsigned char b = (unsigned char)full.p[i];

		if (b >= 0x80) { /* RFC 6533 has another form for it */
			buf_reset(ret);
			return;
		}
		if (b <= ' ' || b == '+' || b == '=' || b == 0x7f)
			buf_fmt(ret, "+%02X", b);
		else
			buf_c(ret, (char)b);
	}
	if (!envelope_orcpt_ok(buf_view(ret)))
		buf_reset(ret);
}

static void plan_candidate(const struct gathering *g, const struct candidate *k,
                           struct plan *p)
{
	_cleanup_buf_ struct buf orcpt = BUF_SMALL;
	const struct source s = source_at(g, k->source);

	if (s.orcpt.n)
		buf_str(&orcpt, s.orcpt);
	else if (k->moved)
		add_orcpt(g->c, s.addr, &orcpt);
	plan_add(p, k->addr, s.notify, buf_view(&orcpt));
	if (k->refused)
		p->rcpt[p->rcpts - 1].refused = str_dup(str_z(k->refused));
}

static void plan_gathered(struct gathering *g, struct plan *p)
{
	gather(g);
	fold(g);
	for (size_t i = 0; i < g->n; i++) {
		if (g->all[i].twice)
			trace_add(g->c->trace, g->all[i].addr, STR(""),
			          g->all[i].refused
			              ? "it is there already: no report of this one"
			              : "it is there already: once is enough");
		else
			plan_candidate(g, &g->all[i], p);
		free(g->all[i].refused);
	}
	if (g->n > 1)
		free(g->all);
	buf_free(&g->text);
}

void plan_rcpts(const struct compose_conf *c, const struct envelope *e, struct plan *p)
{
	struct gathering g = { .c = c, .e = e, .text = BUF_SMALL };

	plan_gathered(&g, p);
}

void plan_rcpts_again(const struct compose_conf *c, const struct envelope *e,
                      const struct plan *old, struct plan *p)
{
	struct gathering g = { .c = c, .e = e, .old = old, .text = BUF_SMALL };

	plan_gathered(&g, p);
}
