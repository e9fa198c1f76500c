#include "push/explain.h"
#include "mail/guard.h"
#include "mail/head.h"
#include "push/mending.h"
#include "smtp/idna.h"
#include <errno.h>

/* ---- The header, before and after ---- */

/* The same but for CRs before LF and a line end at the end, which are no change. */
static bool same_field(struct str a, struct str b)
{
	size_t i = 0, k = 0;

	for (;;) {
		if (i + 1 < a.n && a.p[i] == '\r' && a.p[i + 1] == '\n')
			i++;
		if (k + 1 < b.n && b.p[k] == '\r' && b.p[k + 1] == '\n')
			k++;
		if (i == a.n || k == b.n)
			break;
		if (a.p[i++] != b.p[k++])
			return false;
	}
	return str_trim(str_from(a, i)).n == 0 && str_trim(str_from(b, k)).n == 0;
}

/* Takes the header apart. Returns how many fields there are; *ret_more: and there are more. */
static size_t fields_of(struct str header, struct head_field *f, bool *ret_more)
{
	size_t n = 0;

	while (n < EXPLAIN_FIELDS_MAX && head_next(&header, &f[n]))
		n++;
	*ret_more |= n == EXPLAIN_FIELDS_MAX;
	return n;
}

/* number: of before, from 1. */
static void add_field(struct explained *e, size_t number, struct str before,
                      struct str after, bool same)
{
	e->field[e->fields++] = (struct explain_field){
		.before = before, .after = after, .number = number, .same = same
	};
}

/* Is it one of the next old ones? Then it is not what another one became. */
static bool comes_later(struct str raw, const struct head_field *old, size_t i,
                        size_t olds)
{
	for (size_t n = 0; n < EXPLAIN_WINDOW && i < olds; n++, i++)
		if (same_field(old[i].raw, raw))
			return true;
	return false;
}

/* May the one have become the other? */
static bool became(const struct head_field *old, const struct head_field *new)
{
	const struct str kept = STR("X-Original-");

	if (str_ieq(old->name, new->name))
		return true;
	return str_starts(new->name, kept) &&
	       str_ieq(old->name, str_from(new->name, kept.n)) &&
	       same_field(old->body, new->body);
}

/* Lines up what was with what is. A field that is found again within a window is unchanged;
 * one that is not is dropped, or became the field of the same name that stands there now. */
static void line_up(struct explained *e, const struct head_field *old, size_t olds,
                    const struct head_field *new, size_t news)
{
	size_t k = 0;

	for (size_t i = 0; i < olds; i++) {
		size_t at = k,
		       end = k + EXPLAIN_WINDOW < news ? k + EXPLAIN_WINDOW : news;

		while (at < end && !same_field(old[i].raw, new[at].raw))
			at++;
		if (at < end) {
			for (; k < at; k++)
				add_field(e, 0, STR_NONE, new[k].raw, false);
			add_field(e, i + 1, old[i].raw, new[k++].raw, true);
			continue;
		}
		/* What is made stands at the beginning (Received) or at the end. */
		for (at = k; at < end && !became(&old[i], &new[at]) &&
		             !comes_later(new[at].raw, old, i + 1, olds);)
			at++;
		if (at == end || !became(&old[i], &new[at]) ||
		    comes_later(new[at].raw, old, i + 1, olds)) {
			add_field(e, i + 1, old[i].raw, STR_NONE, false);
			continue;
		}
		for (; k < at; k++)
			add_field(e, 0, STR_NONE, new[k].raw, false);
		add_field(e, i + 1, old[i].raw, new[k++].raw, false);
	}
	for (; k < news; k++)
		add_field(e, 0, STR_NONE, new[k].raw, false);
}

static void compare_headers(struct explained *e, struct str before, struct str after)
{
	struct head_field *old = calloc(EXPLAIN_FIELDS_MAX, sizeof(*old));
	struct head_field *new = calloc(EXPLAIN_FIELDS_MAX, sizeof(*new));
	size_t olds, news;

	if (!old || !new)
		die_oom();
	olds = fields_of(before, old, &e->more);
	news = fields_of(after, new, &e->more);
	e->field = calloc(olds + news + 1, sizeof(*e->field));
	if (!e->field)
		die_oom();
	line_up(e, old, olds, new, news);
	free(old);
	free(new);
}

/* ---- Routes ---- */

/* Which of the patterns it is: conf_route() is asked with each of them alone. NULL: none. */
static const char *pattern_of(const struct explain *x, struct str sender, struct str rcpt,
                              size_t route, bool by_sender)
{
	const struct smarthost *h = &x->conf->smarthost[route];
	const struct strv *all = by_sender ? &h->from : &h->for_;
	struct smarthost two[2] = { x->conf->smarthost[0], *h };
	struct conf c = { .smarthost = two, .smarthosts = 2 };

	for (size_t i = 0; i < all->n; i++) {
		struct strv one = { .v = &all->v[i], .n = 1 };

		two[1].for_ = by_sender ? (struct strv){ .n = 0 } : one;
		two[1].from = by_sender ? one : (struct strv){ .n = 0 };
		if (conf_route(&c, sender, rcpt) == 1)
			return all->v[i];
	}
	return NULL;
}

void explain_route(const struct explain *x, struct str sender, struct str rcpt,
                   size_t route, struct buf *ret)
{
	const char *for_, *from;

	if (x->conf->smarthosts == 1) {
		buf_z(ret, "the only smart host");
		return;
	}
	if (route == 0) {
		buf_z(ret, "the first smart host: no other one's for and from match");
		return;
	}
	for_ = pattern_of(x, sender, rcpt, route, false);
	from = pattern_of(x, sender, rcpt, route, true);
	if (for_)
		buf_fmt(ret, "for = \"%s\" matches the recipient", for_);
	if (from)
		buf_fmt(ret, "%sfrom = \"%s\" matches the sender", for_ ? ", " : "",
		        from);
}

/* ---- All together ---- */

/* The fields that mending changes. */
static void mended_fields(struct explained *e, struct str mended)
{
	struct explained m = { .m = e->m };

	compare_headers(&m, buf_view(&e->m->header), mended);
	for (size_t i = 0; i < m.fields && e->mends < EXPLAIN_MEND_MAX; i++) {
		const struct explain_field *f = &m.field[i];
		struct buf *b = &e->mend[e->mends];

		if (f->same)
			continue;
		buf_z(b, f->before.n ? "- " : "");
		buf_str(b, f->before);
		buf_z(b, f->after.n ? "+ " : "");
		buf_str(b, f->after);
		e->mends++;
	}
	free(m.field);
}

/* What a host without 8BITMIME and SMTPUTF8 would get. 0 or -errno. */
static int what_is_mended(struct explained *e)
{
	static const struct mend_host nothing = { .address = idna_address };
	struct mending *g = calloc(1, sizeof(*g));
	_cleanup_buf_ struct buf how = BUF_INIT;
	int r;

	e->mend = calloc(EXPLAIN_MEND_MAX, sizeof(*e->mend));
	if (!g || !e->mend)
		die_oom();
	r = mending_start(g, e->m, &nothing);
	if (r == 0 && mending_any(g)) {
		struct str refusal = mending_refusal(g);
		struct buf *why = &e->mend[e->mends++];

		mend_words(g->body_faults ? &g->scan : NULL, g->header_faults, why, &how);
		e->refused = refusal.n > 0;
		buf_z(why, e->refused ? ": refused, " : ": ");
		buf_str(why, e->refused ? refusal : buf_view(&how));
		if (!e->refused)
			mended_fields(e, buf_view(&g->header));
	}
	mending_free(g);
	free(g);
	return r;
}

int explain_message(const struct explain *x, int fd, int note, struct buf *ret,
                    const char **ret_why)
{
	const struct job_record job = { .id = x->id };
	struct explained e = { .x = x };
	struct message m;
	int r = message_load(&m, &job, fd, note, x->compose, ret_why);

	if (r == 0) {
		e.m = &m;
		e.used = calloc(TRACE_MAX, sizeof(*e.used));
		if (!e.used)
			die_oom();
		e.size = (int64_t)m.header.n + m.size - (int64_t)m.original.n;
		compare_headers(&e, m.original, buf_view(&m.header));
		e.loop = guard_loop(m.original, x->compose->hostname, id_str(&m.id));
		if (x->what == EXPLAIN_ALL)
			r = what_is_mended(&e);
		if (r == 0 && x->json)
			explain_json(&e, ret);
		else if (r == 0)
			explain_text(&e, ret);
		free(e.used);
		free(e.field);
		for (size_t i = 0; i < e.mends; i++)
			buf_free(&e.mend[i]);
		free(e.mend);
	}
	message_free(&m);
	return r;
}
