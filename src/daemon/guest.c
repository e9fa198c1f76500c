#include "daemon/guest.h"

static void tokens_fill(struct tokens *t, int64_t now, int64_t rate, int64_t burst)
{
	int64_t most = burst * 1000, elapsed = now - t->at;

	t->at = now;
	if (elapsed > 0)
		t->thousandths += elapsed < most / rate ? elapsed * rate : most;
	if (t->thousandths > most)
		t->thousandths = most;
}

bool tokens_take(struct tokens *t, int64_t now, int64_t rate, int64_t burst)
{
	tokens_fill(t, now, rate, burst);
	if (t->thousandths < 1000)
		return false;
	t->thousandths -= 1000;
	return true;
}

int64_t tokens_at(const struct tokens *t, int64_t rate)
{
	int64_t lacks = 1000 - t->thousandths;

	return lacks > 0 ? t->at + (lacks + rate - 1) / rate : t->at;
}

const struct guest *guest_find(const struct guests *g, uid_t uid)
{
	for (size_t i = 0; i < GUESTS; i++)
		if (g->v[i].used && g->v[i].uid == uid)
			return &g->v[i];
	return NULL;
}

struct guest *guest_of(struct guests *g, uid_t uid, int64_t now)
{
	struct guest *place = &g->v[0];

	for (size_t i = 0; i < GUESTS; i++) {
		struct guest *this = &g->v[i];

		if (this->used && this->uid == uid) {
			this->seen = now;
			return this;
		}
		if (place->used && (!this->used || this->seen < place->seen))
			place = this;
	}
	*place = (struct guest){ .used = true,
		                 .uid = uid,
		                 .seen = now,
		                 .told = now - GUEST_TOLD_EVERY_MS,
		                 .conns = { g->conns * 1000, now },
		                 .requests = { g->requests * 1000, now } };
	return place;
}

bool guest_tell(struct guests *g, uid_t uid, int64_t now)
{
	struct guest *one = guest_of(g, uid, now);

	if (now - one->told < GUEST_TOLD_EVERY_MS)
		return false;
	one->told = now;
	return true;
}
