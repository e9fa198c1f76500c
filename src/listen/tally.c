#include "listen/tally.h"
#include <stdatomic.h>
#include <sys/mman.h>

/* when: seconds << COUNT_BITS | how often. 0: nobody was here yet. */
struct place_of {
	_Atomic uint64_t who, when;
};

struct tally {
	unsigned max;
	struct place_of v[TALLY_PLACES];
};

enum { COUNT_BITS = 16, COUNT_MASK = 0xffff };

struct tally *tally_new(unsigned max)
{
	struct tally *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
	                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED)
		return NULL;
	t->max = max < COUNT_MASK ? max : COUNT_MASK;
	return t;
}

void tally_close(struct tally *t)
{
	if (t)
		munmap(t, sizeof(*t));
}

/* splitmix64's last steps. Two clients of one number are one, which takes 2^64 addresses. */
static uint64_t mixed(const struct slots_client *who)
{
	uint64_t v = who->who ^ (uint64_t)who->family * UINT64_C(0x9e3779b97f4a7c15);

	v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	v ^= v >> 31;
	return v ? v : 1;
}

static struct place_of *ways(struct tally *t, uint64_t who)
{
	return t->v + who % (TALLY_PLACES / TALLY_WAYS) * TALLY_WAYS;
}

static struct place_of *find(struct tally *t, uint64_t who)
{
	struct place_of *p = ways(t, who);

	for (size_t i = 0; i < TALLY_WAYS; i++)
		if (atomic_load(&p[i].who) == who)
			return &p[i];
	return NULL;
}

/* The place of who did it the longest ago, or of nobody, is this one's now. */
static struct place_of *take(struct tally *t, uint64_t who)
{
	struct place_of *p = ways(t, who), *oldest = p;

	for (size_t i = 1; i < TALLY_WAYS; i++)
		if (atomic_load(&p[i].when) < atomic_load(&oldest->when))
			oldest = &p[i];
	atomic_store(&oldest->when, 0);
	atomic_store(&oldest->who, who);
	return oldest;
}

static unsigned count_at(uint64_t when, int64_t now)
{
	int64_t since = (int64_t)(when >> COUNT_BITS);

	return now - since >= TALLY_SECONDS ? 0 : (unsigned)(when & COUNT_MASK);
}

bool tally_full(struct tally *t, const struct slots_client *who, int64_t now)
{
	struct place_of *p = t ? find(t, mixed(who)) : NULL;

	return p && count_at(atomic_load(&p->when), now) >= t->max;
}

bool tally_add(struct tally *t, const struct slots_client *who, int64_t now)
{
	struct place_of *p;
	uint64_t was, when;
	unsigned n;

	if (!t)
		return false;
	p = find(t, mixed(who));
	if (!p)
		p = take(t, mixed(who));
	was = atomic_load(&p->when);
	do {
		n = count_at(was, now);
		if (n >= t->max)
			return false; /* another session's was there first */
		n++;
		/* From the first one, and then from the one that makes it full. */
		when = n == 1 || n == t->max ? (uint64_t)now << COUNT_BITS
		                             : was & ~(uint64_t)COUNT_MASK;
		when |= n;
	} while (!atomic_compare_exchange_weak(&p->when, &was, when));
	return n == t->max;
}
