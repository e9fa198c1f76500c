#include "listen/quiet.h"
#include "base/str.h"
#include <stdatomic.h>
#include <sys/mman.h>

struct shared {
	_Atomic uint64_t left_out;
	/* The hash of a title << 32 | that of what is wrong there, 0: nothing. All 0: a free
	 * place, where the search for one ends. */
	_Atomic uint64_t news[QUIET_PLACES];
};

/* Not shared itself: a session must not say where the acceptor looks. Each table may be NULL. */
struct quiet {
	struct tally *clients, *strangers;
	struct shared *shared;
};

struct quiet *quiet_new(void)
{
	struct quiet *q = calloc(1, sizeof(*q));
	void *p = mmap(NULL, sizeof(*q->shared), PROT_READ | PROT_WRITE,
	               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!q)
		die_oom();
	q->clients = tally_new(QUIET_CLIENT);
	q->strangers = tally_new(QUIET_STRANGERS);
	q->shared = p == MAP_FAILED ? NULL : p;
	return q;
}

void quiet_free(struct quiet *q)
{
	if (!q)
		return;
	tally_close(q->clients);
	tally_close(q->strangers);
	if (q->shared)
		munmap(q->shared, sizeof(*q->shared));
	free(q);
}

bool quiet_may(const struct quiet *q, const struct slots_client *who, bool stranger,
               int64_t now)
{
	static const struct slots_client all = { .family = 0 };

	if (!q)
		return true;
	if (tally_full(q->clients, who, now) ||
	    (stranger && tally_full(q->strangers, &all, now))) {
		if (q->shared)
			atomic_fetch_add(&q->shared->left_out, 1);
		return false;
	}
	(void)tally_add(q->clients, who, now);
	if (stranger)
		(void)tally_add(q->strangers, &all, now);
	return true;
}

/* Folded; never 0. Words that share it are taken for the same, which takes 2^32. */
static uint64_t hash(struct str s)
{
	uint64_t v = str_hash(STR_HASH, s);

	v = (v ^ v >> 32) & UINT32_MAX;
	return v ? v : 1;
}

/* The place with that title's hash, or the free one where it belongs, and what it has; NULL: all
 * are taken. */
static _Atomic uint64_t *news_of(struct shared *s, uint64_t title, uint64_t *ret_has)
{
	for (size_t i = 0; i < QUIET_PLACES; i++) {
		_Atomic uint64_t *p = &s->news[(title + i) % QUIET_PLACES];

		*ret_has = atomic_load(p);
		if (!*ret_has || *ret_has >> 32 == title)
			return p;
	}
	return NULL;
}

bool quiet_news(const struct quiet *q, const struct quiet_state *state,
                const struct slots_client *who, bool stranger, int64_t now)
{
	const uint64_t title = hash(state->at),
	               words = state->words.n ? hash(state->words) : 0;
	uint64_t has;
	_Atomic uint64_t *p = q && q->shared ? news_of(q->shared, title, &has) : NULL;

	if (!p)
		return words && quiet_may(q, who, stranger, now);
	if ((uint32_t)has == words || !quiet_may(q, who, stranger, now))
		return false;
	/* One that was faster has said it; or has taken a free place, and the next one says it. */
	return atomic_compare_exchange_strong(p, &has, title << 32 | words);
}

uint64_t quiet_left_out(const struct quiet *q)
{
	return q && q->shared ? atomic_exchange(&q->shared->left_out, 0) : 0;
}
