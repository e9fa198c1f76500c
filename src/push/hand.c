#include "push/hand.h"

bool hand_put(struct hand *h, const struct queued *q)
{
	if (h->n == HAND_MAX)
		return false;
	h->queued[(h->at + h->n++) % HAND_MAX] = *q;
	return true;
}

size_t hand_room(const struct hand *h)
{
	return HAND_MAX - h->n;
}

struct try *hand_begin(struct hand *h, struct queued *ret)
{
	struct try *t;

	if (h->n == 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		die_oom();
	*ret = h->queued[h->at];
	h->at = (h->at + 1) % HAND_MAX;
	h->n--;
	h->tries++;
	t->seq = ++h->seq;
	t->m.fd = -1;
	return t;
}

void hand_weigh(struct hand *h, struct try *t)
{
	h->octets -= t->octets;
	t->octets = t->m.text.cap + t->m.header.cap + t->m.note_text.cap;
	h->octets += t->octets;
}

void hand_back(struct hand *h, struct try *t, unsigned not_on)
{
	struct try *before = h->last;

	t->not_on = not_on;
	while (before && before->seq > t->seq)
		before = before->before;
	t->before = before;
	t->behind = before ? before->behind : h->first;
	if (t->behind)
		t->behind->before = t;
	else
		h->last = t;
	if (before)
		before->behind = t;
	else
		h->first = t;
}

void hand_pick(struct hand *h, struct try *t)
{
	if (t->before)
		t->before->behind = t->behind;
	else
		h->first = t->behind;
	if (t->behind)
		t->behind->before = t->before;
	else
		h->last = t->before;
	t->before = t->behind = NULL;
}

bool hand_waits(const struct hand *h, unsigned connection)
{
	return h->first && h->first->not_on && h->first->not_on == connection;
}

struct try *hand_again(struct hand *h, unsigned connection)
{
	struct try *t = h->first;

	if (!t || hand_waits(h, connection))
		return NULL;
	hand_pick(h, t);
	return t;
}

void hand_unmake(struct try *t)
{
	if (t->mending) {
		mending_free(t->mending);
		free(t->mending);
	}
	t->mending = NULL;
	for (size_t i = 0; i < t->msg.rcpts; i++)
		buf_free(&t->msg.rcpt[i].verdict.text);
	free(t->msg.rcpt);
	free(t->number);
	t->number = NULL;
	t->msg = (struct client_msg){ .fd = -1 };
}

void hand_end(struct hand *h, struct try *t)
{
	h->tries--;
	h->octets -= t->octets;
	hand_unmake(t);
	for (size_t i = 0; t->res && i < t->m.note.plan.rcpts; i++)
		buf_free(&t->res[i].verdict.text);
	free(t->res);
	message_free(&t->m);
	free(t);
}

bool hand_others(const struct hand *h)
{
	return h->n + h->tries > 1;
}

bool hand_is_empty(const struct hand *h)
{
	return h->n + h->tries == 0;
}
