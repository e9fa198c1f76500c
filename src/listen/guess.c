#include "listen/guess.h"
#include <stdatomic.h>
#include <sys/mman.h>

/* when: seconds << 8 | how many. 0: nobody was wrong here yet. */
struct place_of {
	_Atomic uint64_t who, when;
};

struct guesses {
	unsigned max;
	struct place_of v[GUESS_CLIENTS];
};

enum { COUNT_BITS = 16, COUNT_MASK = 0xffff };

struct guesses *guesses_new(unsigned max)
{
	struct guesses *g = mmap(NULL, sizeof(*g), PROT_READ | PROT_WRITE,
	                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (g == MAP_FAILED)
		return NULL;
	g->max = max < COUNT_MASK ? max : COUNT_MASK;
	return g;
}

void guesses_close(struct guesses *g)
{
	if (g)
		munmap(g, sizeof(*g));
}

/* splitmix64's last steps. Two clients of one number share their wrong passwords, which takes
 * 2^64 addresses. */
static uint64_t mixed(const struct slots_client *who)
{
	uint64_t v = who->who ^ (uint64_t)who->family * UINT64_C(0x9e3779b97f4a7c15);

	v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	v ^= v >> 31;
	return v ? v : 1;
}

static struct place_of *ways(struct guesses *g, uint64_t who)
{
	return g->v + who % (GUESS_CLIENTS / GUESS_WAYS) * GUESS_WAYS;
}

static struct place_of *find(struct guesses *g, uint64_t who)
{
	struct place_of *p = ways(g, who);

	for (size_t i = 0; i < GUESS_WAYS; i++)
		if (atomic_load(&p[i].who) == who)
			return &p[i];
	return NULL;
}

/* The place of who was wrong the longest ago, or of nobody, is this one's now. */
static struct place_of *take(struct guesses *g, uint64_t who)
{
	struct place_of *p = ways(g, who), *oldest = p;

	for (size_t i = 1; i < GUESS_WAYS; i++)
		if (atomic_load(&p[i].when) < atomic_load(&oldest->when))
			oldest = &p[i];
	atomic_store(&oldest->when, 0);
	atomic_store(&oldest->who, who);
	return oldest;
}

static unsigned count_at(uint64_t when, int64_t now)
{
	int64_t since = (int64_t)(when >> COUNT_BITS);

	return now - since >= GUESS_SECONDS ? 0 : (unsigned)(when & COUNT_MASK);
}

bool guesses_enough(struct guesses *g, const struct slots_client *who, int64_t now)
{
	struct place_of *p = g ? find(g, mixed(who)) : NULL;

	return p && count_at(atomic_load(&p->when), now) >= g->max;
}

bool guesses_wrong(struct guesses *g, const struct slots_client *who, int64_t now)
{
	struct place_of *p;
	uint64_t was, when;
	unsigned n;

	if (!g)
		return false;
	p = find(g, mixed(who));
	if (!p)
		p = take(g, mixed(who));
	was = atomic_load(&p->when);
	do {
		n = count_at(was, now);
		if (n >= g->max)
			return false; /* another session's was there first */
		n++;
		/* From the first one, and then from the one that is enough. */
		when = n == 1 || n == g->max ? (uint64_t)now << COUNT_BITS
		                             : was & ~(uint64_t)COUNT_MASK;
		when |= n;
	} while (!atomic_compare_exchange_weak(&p->when, &was, when));
	return n == g->max;
}
