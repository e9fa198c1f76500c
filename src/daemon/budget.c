#include "daemon/budget.h"

enum { EACH_MAX = 100000 }; /* recipients of a message, at most believed */

static bool same(const struct conf_rate *a, const struct conf_rate *b)
{
	return a->seconds == b->seconds && a->recipients == b->recipients;
}

void budget_conf(struct budget *b, const struct smarthost *h)
{
	size_t n = h ? h->rates : 0;
	struct budget_row *row = n ? calloc(n, sizeof(*row)) : NULL;

	if (n && !row)
		die_oom();
	for (size_t i = 0; i < n; i++) {
		row[i].limit = h->rate[i];
		rate_init(&row[i].used, h->rate[i].seconds);
		for (size_t k = 0; k < b->rows; k++)
			if (same(&row[i].limit, &b->row[k].limit))
				row[i].used = b->row[k].used;
	}
	free(b->row);
	b->row = row;
	b->rows = n;
}

void budget_free(struct budget *b)
{
	free(b->row);
	*b = (struct budget){ .row = NULL };
}

void budget_run(struct budget *b)
{
	b->counted = b->counted_rcpts = b->unsure = 0;
}

bool budget_of_recipients(const struct budget *b)
{
	for (size_t i = 0; i < b->rows; i++)
		if (b->row[i].limit.recipients)
			return true;
	return false;
}

static void use(struct budget *b, int64_t now, int64_t messages, int64_t recipients)
{
	for (size_t i = 0; i < b->rows; i++)
		rate_add(&b->row[i].used, now,
		         b->row[i].limit.recipients ? recipients : messages);
}

void budget_tried(struct budget *b, int64_t now, int64_t accepted, int64_t refused)
{
	if (b->rows == 0 || accepted + refused <= 0)
		return;
	use(b, now, 1, accepted + refused);
	if (accepted == 0)
		return;
	b->counted++;
	b->counted_rcpts += accepted;
	if (b->each > accepted)
		b->unsure += b->each - accepted;
}

void budget_took(struct budget *b, int64_t now, uint64_t messages, uint64_t recipients)
{
	int64_t most = (int64_t)EACH_MAX * EACH_MAX, m, r;

	m = messages < (uint64_t)most ? (int64_t)messages : most;
	r = recipients < (uint64_t)most ? (int64_t)recipients : most;
	if (m) {
		b->each = (r + m - 1) / m;
		b->each = b->each < 1 ? 1 : b->each < EACH_MAX ? b->each : EACH_MAX;
	}
	use(b, now, m > b->counted ? m - b->counted : 0,
	    r > b->counted_rcpts ? r - b->counted_rcpts : 0);
	budget_run(b);
}

/* What of a limit may be under way. */
static int64_t held(const struct budget *b, const struct conf_rate *limit,
                    unsigned in_hand, int64_t rcpts)
{
	int64_t guess = in_hand * b->each;

	if (!limit->recipients)
		return in_hand;
	if (in_hand && b->each == 0)
		return limit->n;
	return (rcpts > guess ? rcpts : guess) + b->unsure;
}

int64_t budget_room(struct budget *b, int64_t now, unsigned in_hand, int64_t rcpts,
                    int64_t *ret_until, const struct conf_rate **ret_row)
{
	int64_t room = INT64_MAX;

	*ret_until = 0;
	for (size_t i = 0; i < b->rows; i++) {
		struct budget_row *row = &b->row[i];
		int64_t left = row->limit.n - rate_used(&row->used, now), until;

		if (left <= 0) {
			until = rate_free_at(&row->used, now, row->limit.n - 1);
			room = 0;
			if (until > *ret_until) {
				*ret_until = until;
				*ret_row = &row->limit;
			}
			continue;
		}
		left -= held(b, &row->limit, in_hand, rcpts);
		left = left > 0 ? left : 0;
		room = left < room ? left : room;
	}
	return room;
}

void budget_words(const struct conf_rate *c, struct buf *b)
{
	static const struct {
		int64_t seconds;
		char letter;
	} units[] = {
		{ 604800, 'w' }, { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' }
	};

	buf_fmt(b, "%lld%s/", (long long)c->n, c->recipients ? " recipients" : "");
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (c->seconds % units[i].seconds == 0) {
			buf_fmt(b, "%lld%c", (long long)(c->seconds / units[i].seconds),
			        units[i].letter);
			return;
		}
}

void budget_print(const struct budget *b, const char *route, struct buf *out)
{
	for (size_t i = 0; i < b->rows; i++) {
		const struct budget_row *row = &b->row[i];
		_cleanup_buf_ struct buf used = BUF_INIT;

		rate_print(&row->used, &used);
		if (used.n)
			buf_fmt(out, "rate %s %s %lld%s\n", route,
			        row->limit.recipients ? "recipients" : "messages",
			        (long long)row->limit.seconds, used.p);
	}
}

void budget_take(struct budget *b, struct str text, int64_t now)
{
	struct str kind = STR(""), span = STR("");
	uint64_t seconds;

	str_cut(&text, ' ', &kind);
	str_cut(&text, ' ', &span);
	if (!str_u64(span, &seconds))
		return;
	for (size_t i = 0; i < b->rows; i++) {
		struct budget_row *row = &b->row[i];
		struct str want =
		    row->limit.recipients ? STR("recipients") : STR("messages");

		if (str_eq(kind, want) && (uint64_t)row->limit.seconds == seconds)
			rate_take(&row->used, text.p ? text : STR(""), now);
	}
}
