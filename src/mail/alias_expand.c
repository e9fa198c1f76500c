/* Expansion: a walk in depth over aliases and lists (alias.h) */
#include "mail/addr.h"
#include "mail/alias.h"
#include "mail/alias_value.h"

enum { NAME_MAX_SAID = 64, PATH_MAX_SAID = 100 }; /* octets of them in a refusal */

/* Of an alias or a list in a run. */
enum { UNTOUCHED = 0, AT_WORK, EXPANDED, BARREN };

struct level {
	size_t node; /* index of the alias, or of the list behind all aliases */
	struct str rest;
	bool yields; /* it has led to somebody */
};

/* One expansion. */
struct walk {
	struct alias_run *r;
	struct level level[ALIAS_DEPTH_MAX];
	size_t depth;
	size_t first, room; /* targets before it, and how many it may add */
	struct alias_value v;
	bool over; /* there was no room */
};

void alias_begin(struct alias_run *r, const struct alias_table *table,
                 const struct alias_here *here)
{
	*r = (struct alias_run){ .table = table, .here = here };
}

void alias_end(struct alias_run *r)
{
	for (size_t i = 0; i < r->targets; i++) {
		free(r->target[i].addr);
		free(r->target[i].refused);
	}
	free(r->target);
	free(r->state);
	free(r->touched);
	*r = (struct alias_run){ .targets = 0 };
}

static void add(struct alias_run *r, struct str addr, bool local, const char *refused)
{
	/* Room doubles whenever the number is a power of two. */
	if ((r->targets & (r->targets - 1)) == 0) {
		r->target = realloc(r->target, (r->targets ? r->targets * 2 : 1) *
		                                   sizeof(*r->target));
		if (!r->target)
			die_oom();
	}
	r->target[r->targets++] =
	    (struct alias_target){ .addr = str_dup(addr),
		                   .local = local,
		                   .refused = refused ? str_dup(str_z(refused)) : NULL };
}

/* Adds a target for which there must be room. */
static void reach(struct walk *w, struct str addr, bool local, const char *refused)
{
	if (w->r->targets - w->first >= w->room)
		w->over = true;
	else
		add(w->r, addr, local, refused);
	for (size_t i = 0; i < w->depth; i++)
		w->level[i].yields = true;
}

/* "550 5.3.5 alias NAME: WORDS": the mailbox is the alias. */
static void refuse_text(struct buf *b, const char *code, const char *name,
                        const char *words)
{
	buf_fmt(b, "%s alias ", code);
	buf_escape(b, str_z(name), NAME_MAX_SAID);
	buf_fmt(b, ": %s", words);
}

/* Refuses the alias that led here: the last one, not a list. */
static void refuse(struct walk *w, const char *code, const char *words)
{
	_cleanup_buf_ struct buf text = BUF_INIT, addr = BUF_INIT;
	const struct alias_table *t = w->r->table;
	size_t i = w->depth - 1;

	while (w->level[i].node >= t->entries)
		i--; /* the first level is an alias */
	refuse_text(&text, code, t->entry[w->level[i].node].name, words);
	addr_local(&addr, str_z(t->entry[w->level[i].node].name));
	reach(w, buf_view(&addr), false, text.p);
}

static void enter(struct walk *w, size_t node)
{
	struct alias_run *r = w->r;
	const struct alias_table *t = r->table;

	if (w->depth >= ALIAS_DEPTH_MAX) {
		refuse(w, "550 5.4.6", "more than 10 aliases lead to one another");
		return;
	}
	if (node < t->entries)
		trace_add(r->trace, str_z(t->entry[node].name),
		          str_trim(t->entry[node].value), "alias, %s:%zu", t->path,
		          t->entry[node].line);
	else
		trace_add(r->trace, STR(""), STR(""), ":include:%s",
		          t->list[node - t->entries].path);
	r->state[node] = AT_WORK;
	r->touched[r->touches++] = node;
	w->level[w->depth++] = (struct level){
		.node = node,
		.rest = node < t->entries ? t->entry[node].value
		                          : buf_view(&t->list[node - t->entries].text),
	};
}

static void leave(struct walk *w)
{
	const struct level *l = &w->level[w->depth - 1];

	/* A list may have nobody, as long as its alias has somebody else. */
	if (!l->yields && l->node < w->r->table->entries)
		refuse(w, "550 5.2.4", "it leads to nobody");
	w->r->state[l->node] = l->yields ? EXPANDED : BARREN;
	w->depth--;
}

/* Somebody that was reached before in this message. */
static void met_before(struct walk *w)
{
	for (size_t i = 0; i < w->depth; i++)
		w->level[i].yields = true;
}

static void go_to_list(struct walk *w, struct str path)
{
	const struct alias_table *t = w->r->table;
	size_t i = 0;

	while (i < t->lists && !str_eq(str_z(t->list[i].path), path))
		i++;
	if (i == t->lists) {
		refuse(w, "550 5.3.5", "too many files are included");
	} else if (t->list[i].why) {
		_cleanup_buf_ struct buf words = BUF_INIT;

		buf_escape(&words, path, PATH_MAX_SAID);
		buf_fmt(&words, ": %s", t->list[i].why);
		refuse(w, "451 4.2.4", words.p);
	} else if (w->r->state[t->entries + i] == UNTOUCHED) {
		enter(w, t->entries + i);
	} else if (w->r->state[t->entries + i] == EXPANDED) {
		met_before(w);
	}
}

/* The alias of an address of this machine, or NULL. */
static const struct alias_entry *entry_of(const struct alias_run *r, struct str addr)
{
	_cleanup_buf_ struct buf name = BUF_INIT;
	struct str local, domain;

	if (!r->table)
		return NULL;
	addr_split(addr, &local, &domain);
	addr_words(&name, local, true);
	return alias_find(r->table, buf_view(&name));
}

static void go_to_address(struct walk *w, struct str addr, bool literal)
{
	const struct alias_entry *e = NULL;
	bool local = alias_is_here(w->r->here, addr);
	char state;

	if (local && !literal)
		e = entry_of(w->r, addr);
	if (!e) {
		reach(w, addr, local, NULL);
		return;
	}
	state = w->r->state[e - w->r->table->entry];
	if (state == UNTOUCHED)
		enter(w, (size_t)(e - w->r->table->entry));
	else if (state == AT_WORK)
		reach(w, addr, true, NULL);
	else
		met_before(w);
}

static void go_on(struct walk *w)
{
	switch (w->v.kind) {
	case ALIAS_ADDRESS:
	case ALIAS_LITERAL:
		go_to_address(w, buf_view(&w->v.text), w->v.kind == ALIAS_LITERAL);
		break;
	case ALIAS_INCLUDE:
		go_to_list(w, buf_view(&w->v.text));
		break;
	case ALIAS_PROGRAM:
		refuse(w, "550 5.3.5", "mailchute runs no programs");
		break;
	case ALIAS_FILE:
		refuse(w, "550 5.3.5", "mailchute writes no files");
		break;
	case ALIAS_BAD:
		break; /* noted when it was read */
	}
}

static void walk(struct walk *w, size_t node)
{
	const struct alias_table *t = w->r->table;

	enter(w, node);
	while (w->depth && !w->over) {
		struct level *l = &w->level[w->depth - 1];

		if (alias_value_next(&l->rest, l->node >= t->entries, &w->v))
			go_on(w);
		else
			leave(w);
	}
	buf_free(&w->v.text);
}

/* Forgets what did not fit, as if the alias had not been named. */
static void take_back(struct walk *w)
{
	struct alias_run *r = w->r;

	while (r->targets > w->first) {
		r->targets--;
		free(r->target[r->targets].addr);
		free(r->target[r->targets].refused);
	}
	for (size_t i = 0; i < r->touches; i++)
		r->state[r->touched[i]] = UNTOUCHED;
}

static void run_init(struct alias_run *r)
{
	size_t nodes = r->table->entries + r->table->lists;

	if (r->state)
		return;
	r->state = calloc(nodes + 1, sizeof(*r->state));
	r->touched = calloc(nodes + 1, sizeof(*r->touched));
	if (!r->state || !r->touched)
		die_oom();
}

static void expand_alias(struct alias_run *r, const struct alias_entry *e, size_t room)
{
	size_t node = (size_t)(e - r->table->entry);
	struct walk w = { .r = r, .first = r->targets, .room = room };

	run_init(r);
	if (r->state[node] == EXPANDED)
		return;
	r->touches = 0;
	if (!r->full)
		walk(&w, node);
	if (w.over)
		take_back(&w);
	/* Once is enough: a hostile message could name many that do not fit. */
	r->full |= w.over;
	if (r->full && r->state[node] != EXPANDED) {
		_cleanup_buf_ struct buf text = BUF_INIT, addr = BUF_INIT;

		refuse_text(&text, "550 5.5.3", e->name,
		            "the message would have too many recipients");
		addr_local(&addr, str_z(e->name));
		add(r, buf_view(&addr), false, text.p);
	}
}

void alias_expand(struct alias_run *r, struct str addr, size_t room)
{
	bool local = alias_is_here(r->here, addr);
	const struct alias_entry *e = local ? entry_of(r, addr) : NULL;

	if (e) {
		expand_alias(r, e, room);
	} else if (local && r->table && r->table->why) {
		_cleanup_buf_ struct buf text = BUF_INIT;

		buf_z(&text, "451 4.3.5 ");
		buf_escape(&text, str_z(r->table->path), PATH_MAX_SAID);
		buf_fmt(&text, ": %s", r->table->why);
		add(r, addr, false, text.p);
	} else {
		add(r, addr, local, NULL);
	}
}
