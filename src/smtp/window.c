#include "smtp/window.h"

void window_start(struct window *w, unsigned first, unsigned max, int64_t rtt_ms)
{
	*w = (struct window){ .max = max ? max : 1, .rtt_ms = rtt_ms };
	if (w->rtt_ms < WINDOW_RTT_MS)
		w->rtt_ms = WINDOW_RTT_MS;
	w->now = first < w->max ? first : w->max;
	if (w->now == 0)
		w->now = 1;
}

bool window_room(const struct window *w, size_t flights, uint64_t octets, size_t replies)
{
	return flights <= 1 || (flights <= w->now && octets <= WINDOW_OCTETS &&
	                        replies <= WINDOW_REPLIES);
}

uint64_t window_begin(struct window *w)
{
	return ++w->begun;
}

/* A round is over: was it better than those before by a quarter? */
static void round_over(struct window *w, int64_t now_ms)
{
	uint64_t span = (uint64_t)(now_ms - w->round_at);
	uint64_t rate = w->round_n * 1000 / span;

	w->flat = rate * 4 <= w->best * 5;
	if (rate > w->best)
		w->best = rate;
	w->round_at = now_ms;
	w->round_n = 0;
}

/* Where growth stops: twice what is accepted in a round trip keeps a host busy that answers
 * in bursts (Postfix holds replies back while there is input). */
static uint64_t ceiling(const struct window *w)
{
	uint64_t most = 2 * w->best * (uint64_t)w->rtt_ms / 1000;

	if (!w->flat)
		return w->max;
	if (most < WINDOW_TRUSTED)
		most = WINDOW_TRUSTED;
	return most < w->max ? most : w->max;
}

void window_accepted(struct window *w, int64_t now_ms)
{
	int64_t least = w->rtt_ms > WINDOW_ROUND_MS ? w->rtt_ms : WINDOW_ROUND_MS;
	uint64_t most;

	if (w->round_n++ == 0 && w->round_at == 0)
		w->round_at = now_ms;
	if (now_ms - w->round_at >= least)
		round_over(w, now_ms);
	most = ceiling(w);
	if (w->now >= most)
		return;
	w->now = w->now + 3 < most ? w->now + 3 : (unsigned)most;
}

void window_later(struct window *w, uint64_t serial)
{
	if (serial < w->cut)
		return;
	w->cut = w->begun + 1;
	w->now = w->now / 2 ? w->now / 2 : 1;
}

void window_ended(struct window *w, bool somebody)
{
	w->failed = somebody ? 0 : w->failed + 1;
	if (w->failed >= WINDOW_CAREFUL)
		w->now = 1;
}

bool window_careful(const struct window *w)
{
	return w->failed >= WINDOW_CAREFUL;
}
