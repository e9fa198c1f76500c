#include "mail/trace.h"
#include "mail/masq.h"

void trace_place(struct trace *t, struct str place)
{
	free(t->place);
	t->place = str_dup(str_head(place, TRACE_TEXT_MAX));
	t->field = 0;
}

void trace_next(struct trace *t, struct str name)
{
	trace_place(t, name);
	t->field = ++t->fields;
}

void trace_add(struct trace *t, struct str old, struct str new, const char *why, ...)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	va_list ap;

	if (!t)
		return;
	if (t->n == TRACE_MAX) {
		t->lost++;
		return;
	}
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		struct trace_entry *more = realloc(t->entry, cap * sizeof(*more));

		if (!more)
			die_oom();
		t->entry = more;
		t->cap = cap;
	}
	va_start(ap, why);
	buf_vfmt(&b, why, ap);
	va_end(ap);
	t->entry[t->n++] = (struct trace_entry){
		.place = str_dup(str_z(t->place)),
		.field = t->field,
		.old = str_dup(str_head(old, TRACE_TEXT_MAX)),
		.new = str_dup(str_head(new, TRACE_TEXT_MAX)),
		.why = str_dup(str_head(buf_view(&b), TRACE_TEXT_MAX)),
	};
}

void trace_change(struct trace *t, struct str old, struct str new, const char *why)
{
	if (t && !str_eq(old, new))
		trace_add(t, old, new, "%s", why);
}

void trace_rule(struct trace *t, const struct masq_rule *rule, struct str old,
                struct str new)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *as;
	int line = 0;

	if (!t)
		return;
	as = masq_template(rule, old, &line);
	buf_fmt(&b, "masquerade, %s:%d", t->conf ? t->conf : "line", rule->line);
	if (line)
		buf_fmt(&b, ", map %s:%d", rule->map, line);
	buf_fmt(&b, ": match = \"%s\", as = \"%s\"", rule->match, as ? as : rule->as);
	if (rule->name)
		buf_fmt(&b, ", name = \"%s\"", rule->name);
	trace_add(t, old, new, "%s", b.p);
}

void trace_cut(struct trace *t, size_t n)
{
	if (t)
		t->fields = 0;
	while (t && t->n > n) {
		const struct trace_entry *e = &t->entry[--t->n];

		free(e->place);
		free(e->old);
		free(e->new);
		free(e->why);
	}
}

void trace_free(struct trace *t)
{
	trace_cut(t, 0);
	free(t->entry);
	free(t->place);
	*t = (struct trace){ .conf = t->conf };
}
