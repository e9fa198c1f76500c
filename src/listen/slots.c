#include "listen/slots.h"
#include <netinet/in.h>

struct slots_client slots_client_of(const struct sockaddr *addr, uid_t uid)
{
	struct slots_client c = { .family = addr->sa_family };

	if (addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)addr;

		c.who = ntohl(in->sin_addr.s_addr);
	} else if (addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)addr;

		if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
			c.family = AF_INET;
			for (size_t i = 12; i < 16; i++)
				c.who = c.who << 8 | in->sin6_addr.s6_addr[i];
			return c;
		}
		/* Who has one address has the /64 around it. */
		for (size_t i = 0; i < 8; i++)
			c.who = c.who << 8 | in->sin6_addr.s6_addr[i];
	} else {
		c.who = uid;
	}
	return c;
}

void slots_add(struct slots *s, const struct slot *slot)
{
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 64;
		struct slot *v = realloc(s->v, room * sizeof(*v));

		if (!v)
			die_oom();
		s->v = v;
		s->room = room;
	}
	s->v[s->n++] = *slot;
}

void slots_remove(struct slots *s, size_t i)
{
	s->v[i] = s->v[--s->n];
}

ptrdiff_t slots_find(const struct slots *s, pid_t pid)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].pid == pid)
			return (ptrdiff_t)i;
	return -1;
}

void slots_free(struct slots *s)
{
	free(s->v);
	*s = (struct slots){ .n = 0 };
}

static int compare_clients(const struct slots_client *a, const struct slots_client *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return a->who < b->who ? -1 : a->who > b->who;
}

/* ---- Whose slots are how many: clients in order, each with its number ---- */

struct holder {
	struct slots_client client;
	size_t slots;
};

static int compare_holders(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	return compare_clients(&x->client, &y->client);
}

static struct holder *holders(const struct slots *s, unsigned section, size_t *ret_n)
{
	struct holder *v = calloc(s->n + 1, sizeof(*v));
	size_t all = 0, n = 0;

	if (!v)
		die_oom();
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].section == section && !s->v[i].leaving)
			v[all++] = (struct holder){ s->v[i].client, 1 };
	qsort(v, all, sizeof(*v), compare_holders);
	for (size_t i = 0; i < all; i++)
		if (n && compare_holders(&v[n - 1], &v[i]) == 0)
			v[n - 1].slots++;
		else
			v[n++] = v[i];
	*ret_n = n;
	return v;
}

/* ---- Who goes ---- */

struct candidate {
	const struct slot *slot;
	size_t holds; /* slots of its client */
	bool fresh;   /* may still finish its first message */
	bool busy;    /* and not silent: it gets on with its transaction */
};

static struct candidate candidate_of(const struct slot *s, size_t holds, int64_t now)
{
	return (struct candidate){ s, holds,
		                   s->stored > 0 || now - s->begun < SLOTS_GRACE_MS,
		                   s->busy && now - s->heard < SLOTS_SILENT_MS };
}

/* Can it go at all for one whose client would hold so many? Those that have slots do not take
 * them from one another for ever: each such exchange costs us a process. */
static bool may_go(const struct candidate *c, const struct holder *newcomer, int64_t now)
{
	bool own = compare_clients(&c->slot->client, &newcomer->client) == 0;

	if (c->busy)
		return c->holds > newcomer->slots && now - c->slot->busy >= SLOTS_SLOW_MS;
	if (newcomer->slots == 1)
		return true;
	return c->holds > newcomer->slots ||
	       (own && now - c->slot->heard >= SLOTS_SLOW_MS);
}

/* Does a go before b? */
static bool goes_before(const struct candidate *a, const struct candidate *b)
{
	if (a->busy != b->busy)
		return !a->busy;
	if (!a->slot->busy != !b->slot->busy)
		return !a->slot->busy;
	if (a->holds != b->holds)
		return a->holds > b->holds;
	if (a->fresh != b->fresh)
		return !a->fresh;
	if (a->busy)
		return a->slot->busy < b->slot->busy;
	return a->slot->heard < b->slot->heard;
}

static bool find_victim(const struct slots *s, unsigned section,
                        const struct holder *newcomer, int64_t now, size_t *ret)
{
	struct candidate best = { .slot = NULL };
	size_t n;
	struct holder *of = holders(s, section, &n);

	for (size_t i = 0; i < s->n; i++) {
		const struct holder key = { .client = s->v[i].client }, *h;
		struct candidate c;

		if (s->v[i].section != section || s->v[i].leaving)
			continue;
		h = bsearch(&key, of, n, sizeof(*of), compare_holders);
		c = candidate_of(&s->v[i], h ? h->slots : 0, now);
		if (may_go(&c, newcomer, now) && (!best.slot || goes_before(&c, &best)))
			best = c;
	}
	free(of);
	if (best.slot)
		*ret = (size_t)(best.slot - s->v);
	return best.slot != NULL;
}

/* Of a client's own sessions, the one longest idle that has finished nothing in its time:
 * what devices forget to close must not shut them out. */
static bool find_own(const struct slots *s, unsigned section, struct slots_client client,
                     int64_t now, size_t *ret)
{
	bool found = false;

	for (size_t i = 0; i < s->n; i++) {
		const struct slot *k = &s->v[i];

		const struct candidate c = candidate_of(k, 0, now);

		if (k->section != section || k->leaving || c.busy || c.fresh ||
		    compare_clients(&k->client, &client) != 0 ||
		    (found && k->heard >= s->v[*ret].heard))
			continue;
		*ret = i;
		found = true;
	}
	return found;
}

enum slots_say slots_ask(const struct slots *s, unsigned section,
                         struct slots_client client, int64_t max, int64_t per_client,
                         int64_t now, size_t *ret_victim)
{
	int64_t all = 0, own = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].section != section || s->v[i].leaving)
			continue;
		all++;
		own += compare_clients(&s->v[i].client, &client) == 0;
	}
	if (own >= per_client)
		return find_own(s, section, client, now, ret_victim) ? SLOTS_EVICT
		                                                     : SLOTS_CLIENT;
	if (all < max)
		return SLOTS_COME;
	const struct holder newcomer = { client, (size_t)own + 1 };

	return find_victim(s, section, &newcomer, now, ret_victim) ? SLOTS_EVICT
	                                                           : SLOTS_FULL;
}
