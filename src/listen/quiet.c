#include "listen/quiet.h"
#include "base/str.h"
#include <stdatomic.h>
#include <sys/mman.h>

/* Not shared itself: a session must not say where the acceptor looks. Each table may be NULL. */
struct quiet {
	struct tally *clients, *strangers;
	_Atomic uint64_t *left_out;
};

struct quiet *quiet_new(void)
{
	struct quiet *q = calloc(1, sizeof(*q));
	void *p = mmap(NULL, sizeof(*q->left_out), PROT_READ | PROT_WRITE,
	               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!q)
		die_oom();
	q->clients = tally_new(QUIET_CLIENT);
	q->strangers = tally_new(QUIET_STRANGERS);
	q->left_out = p == MAP_FAILED ? NULL : p;
	return q;
}

void quiet_free(struct quiet *q)
{
	if (!q)
		return;
	tally_close(q->clients);
	tally_close(q->strangers);
	if (q->left_out)
		munmap(q->left_out, sizeof(*q->left_out));
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
		if (q->left_out)
			atomic_fetch_add(q->left_out, 1);
		return false;
	}
	(void)tally_add(q->clients, who, now);
	if (stranger)
		(void)tally_add(q->strangers, &all, now);
	return true;
}

uint64_t quiet_left_out(const struct quiet *q)
{
	return q && q->left_out ? atomic_exchange(q->left_out, 0) : 0;
}
