/* Aliases: a file and a list, and the expansion of every name in it. The list is what stands
 * behind the first NUL. */
#include "mail/addr.h"
#include "mail/alias.h"
#include "mail/alias_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EXPANDED_MAX = 50, ROOM = 100 };

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_values(struct str text, bool lines)
{
	struct alias_value v = { .text = BUF_INIT };
	struct str rest = text;
	size_t n = 0;

	while (alias_value_next(&rest, lines, &v)) {
		require(++n <= text.n);
		require(v.at >= text.p && v.at < text.p + text.n);
		require(v.kind != ALIAS_BAD || v.why);
		if (v.kind <= ALIAS_LITERAL)
			require(addr_envelope_ok(buf_view(&v.text)));
		if (v.kind == ALIAS_INCLUDE)
			require(v.text.n && v.text.p[0] == '/' &&
			        strlen(v.text.p) == v.text.n);
	}
	buf_free(&v.text);
}

static void check_target(const struct alias_run *r, const struct alias_target *t)
{
	require(addr_envelope_ok(str_z(t->addr)));
	require(!t->local || alias_is_here(r->here, str_z(t->addr)));
	if (!t->refused)
		return;
	require(!t->local && (t->refused[0] == '4' || t->refused[0] == '5'));
	/* It goes into a note's line. */
	for (const char *p = t->refused; *p; p++)
		require(*p >= ' ' && *p < 0x7f);
}

/* Alone every alias leads to somebody; all together to no more than there is room for. */
static void check_expansion(const struct alias_table *t)
{
	const struct alias_here here = { .hostname = STR("box.example.org") };
	struct alias_run all;

	alias_begin(&all, t, &here);
	for (size_t i = 0; i < t->entries && i < EXPANDED_MAX; i++) {
		_cleanup_buf_ struct buf name = BUF_INIT;
		struct alias_run one;
		size_t before = all.targets;

		require(i == 0 || strcmp(t->entry[i - 1].name, t->entry[i].name) < 0);
		addr_local(&name, str_z(t->entry[i].name));
		require(alias_find(t, str_z(t->entry[i].name)) == &t->entry[i]);
		alias_begin(&one, t, &here);
		alias_expand(&one, buf_view(&name), ROOM);
		require(one.targets > 0 && one.targets <= ROOM);
		for (size_t k = 0; k < one.targets; k++)
			check_target(&one, &one.target[k]);
		alias_end(&one);
		alias_expand(&all, buf_view(&name), ROOM);
		require(all.targets - before <= ROOM);
	}
	alias_end(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str list = { (const char *)data, size }, file;
	struct alias_table t = { .entries = 0 };
	struct buf b = BUF_INIT;

	if (size == 0)
		return 0;
	str_cut(&list, '\0', &file);
	check_values(file, false);
	check_values(file, true);
	buf_str(&b, file);
	alias_parse(&t, "/a", &b);
	for (size_t i = 0; i < t.lists; i++) {
		if (list.n == 0 || i % 4 == 3) {
			alias_list_unreadable(&t, i, "gone");
			continue;
		}
		buf_str(&b, list);
		alias_list_parse(&t, i, &b);
	}
	check_expansion(&t);
	alias_free(&t);
	return 0;
}
