#include "daemon/rate.h"
#include "base/clock.h"

/* More than any budget and any clock: sums stay in range. */
#define RATE_N_MAX INT64_C(1000000000000)
#define RATE_TIME_MAX INT64_C(1000000000000)

/* Pieces of such a length that those that touch a span find room. */
static int64_t piece(const struct rate *r)
{
	return (r->span + RATE_SLOTS - 2) / (RATE_SLOTS - 1);
}

/* The end of a piece decides: what it holds may be of then. */
static int64_t ends(const struct rate *r, const struct rate_slot *s)
{
	return s->at + piece(r) + r->span;
}

void rate_init(struct rate *r, int64_t span)
{
	*r = (struct rate){ .span = span > 1 ? span : 1 };
	r->span = r->span < RATE_TIME_MAX ? r->span : RATE_TIME_MAX;
}

static void add(struct rate *r, int64_t at, int64_t n)
{
	struct rate_slot *use = NULL;

	at -= at % piece(r);
	for (size_t i = 0; i < RATE_SLOTS; i++) {
		struct rate_slot *s = &r->slot[i];

		if (s->n && s->at == at) {
			use = s;
			break;
		}
		/* A free one, else the oldest. */
		if (!use || (use->n && (!s->n || s->at < use->at)))
			use = s;
	}
	if (use->n && use->at != at) {
		/* No room, which does not come to be: counted with the newer one. */
		n += use->n;
		at = at > use->at ? at : use->at;
		use->n = 0;
	}
	use->at = at;
	use->n = n < RATE_N_MAX - use->n ? use->n + n : RATE_N_MAX;
}

/* What is over goes; what is of the future, or of a clock that was not set, is of now. */
static void tidy(struct rate *r, int64_t now)
{
	int64_t future = 0;

	for (size_t i = 0; i < RATE_SLOTS; i++) {
		struct rate_slot *s = &r->slot[i];

		if (s->n && (s->at > now || clock_was_unset(s->at, now))) {
			future += s->n;
			s->n = 0;
		} else if (s->n && ends(r, s) <= now) {
			s->n = 0;
		}
	}
	if (future)
		add(r, now, future < RATE_N_MAX ? future : RATE_N_MAX);
}

static int64_t sane(int64_t now)
{
	if (now < 0)
		return 0;
	return now < RATE_TIME_MAX ? now : RATE_TIME_MAX;
}

void rate_add(struct rate *r, int64_t now, int64_t n)
{
	tidy(r, sane(now));
	if (n > 0)
		add(r, sane(now), n < RATE_N_MAX ? n : RATE_N_MAX);
}

int64_t rate_used(struct rate *r, int64_t now)
{
	int64_t sum = 0;

	tidy(r, sane(now));
	for (size_t i = 0; i < RATE_SLOTS; i++)
		sum += r->slot[i].n;
	return sum;
}

int64_t rate_free_at(struct rate *r, int64_t now, int64_t limit)
{
	int64_t used = rate_used(r, now), at = now;

	/* The pieces by age: there are few. */
	while (used > limit) {
		const struct rate_slot *next = NULL;

		for (size_t i = 0; i < RATE_SLOTS; i++) {
			const struct rate_slot *s = &r->slot[i];

			if (s->n && ends(r, s) > at && (!next || s->at < next->at))
				next = s;
		}
		if (!next)
			break;
		at = ends(r, next);
		used -= next->n;
	}
	return at;
}

void rate_print(const struct rate *r, struct buf *b)
{
	for (size_t i = 0; i < RATE_SLOTS; i++)
		if (r->slot[i].n)
			buf_fmt(b, " %lld:%lld", (long long)r->slot[i].at,
			        (long long)r->slot[i].n);
}

bool rate_take(struct rate *r, struct str text, int64_t now)
{
	struct str word, at, n;
	uint64_t t, count;

	now = sane(now);
	while (text.n && str_cut(&text, ' ', &word)) {
		if (word.n == 0)
			continue;
		if (!str_cut(&word, ':', &at) || !str_cut(&word, ':', &n) || word.p ||
		    !str_u64(at, &t) || !str_u64(n, &count))
			return false;
		if (t > (uint64_t)now)
			t = (uint64_t)now;
		if ((int64_t)t + piece(r) + r->span > now)
			add(r, (int64_t)t,
			    count < RATE_N_MAX ? (int64_t)count : RATE_N_MAX);
	}
	tidy(r, now);
	return true;
}
