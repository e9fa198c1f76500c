#include "spoolbed.h"
#include "spool/list.h"
#include <sys/resource.h>

/* What a listing gave: one letter and the number of the id for each, with its note. */
struct seen {
	struct buf text;
	unsigned n, until;
	int fds; /* open at the first item */
};

static bool see(void *arg, const struct list_item *it)
{
	static const char letter[] = { [LIST_DROP] = 'd',
		                       [LIST_NEW] = 'n',
		                       [LIST_ROUTE] = 'r',
		                       [LIST_HOLD] = 'h',
		                       [LIST_BAD] = 'b' };
	struct seen *s = arg;
	char note[16] = "", *end;
	unsigned long long v = strtoull(it->place.id.c, &end, 16);
	ssize_t n;

	buf_fmt(&s->text, "%c%llu", letter[it->where],
	        ((v >> 20) - 1700000000000) * 8 + (v & 0xffff));
	if (it->where == LIST_ROUTE)
		buf_fmt(&s->text, "@%s:%x", it->route, it->place.due);
	else
		assert_true(it->route[0] == '\0' && it->place.due == 0);
	if (it->note >= 0 && (n = read(it->note, note, sizeof(note) - 1)) > 0)
		buf_fmt(&s->text, "+%s", note);
	assert_int_equal(read(it->fd, note, 1), 1);
	buf_c(&s->text, ' ');
	return ++s->n != s->until;
}

static const struct row {
	const char *folder;
	unsigned id;
	const char *note; /* folder of it */
	const char *want;
} rows[] = {
	{ "in/taken", 9, NULL, "d9" },
	{ "in/drop", 8, NULL, "d8" },
	{ "queue/new", 7, "note", "n7+note" },
	{ "queue/s/00000003", 6, NULL, "r6@s:3" },
	{ "queue/r/00000005", 4, NULL, "r4@r:5" },
	{ "queue/r/00000005", 5, "note", "r5@r:5+note" },
	{ "queue/s/00000006", 2, NULL, "r2@s:6" },
	{ "queue/r/ffffffff", 3, NULL, "r3@r:ffffffff" },
	{ "hold", 10, "hold", "h10+hold" },
	{ "hold", 11, "note", "h11+note" },
	{ "hold", 12, NULL, "h12" },
	{ "bad", 13, "bad", "b13+bad" },
};

static void fill(void)
{
	static const char *const folders[] = { "queue/s",          "queue/s/00000003",
		                               "queue/r",          "queue/r/00000005",
		                               "queue/s/00000006", "queue/r/ffffffff",
		                               "queue/r/other" };

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		assert_int_equal(mkdir(folders[i], 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		struct id id = nth(r->id);

		put(in(r->folder, &id, ""), STR("x"), 0600);
		if (r->note)
			put(in(r->note, &id, strcmp(r->note, "note") == 0 ? "" : ".note"),
			    str_z(r->note), 0600);
	}
	/* What is no message. */
	put("queue/file", STR("x"), 0600);
	put("queue/new/t.0000000000000001", STR("x"), 0600);
	put("in/drop/t.0000000000000001", STR("x"), 0600);
	assert_int_equal(mkfifo("in/drop/0000000000000001", 0600), 0);
	assert_int_equal(mkdir("in/drop/0000000000000002", 0700), 0);
	assert_int_equal(symlink("/etc/passwd", "in/drop/0000000000000003"), 0);
	assert_int_equal(symlink("/etc/passwd", "hold/0000000000000003"), 0);
}

static void each(void **state)
{
	struct bed *b = *state;
	_cleanup_buf_ struct buf want = BUF_INIT;

	fill();
	buf_z(&want, "");
	for (unsigned until = 0; until <= ARRAY_LEN(rows); until++) {
		struct seen s = { .text = BUF_INIT, .until = until };
		int before = open("/dev/null", O_RDONLY | O_CLOEXEC), after;

		buf_reset(&want);
		for (size_t i = 0; i < (until ? until : ARRAY_LEN(rows)); i++)
			buf_fmt(&want, "%s ", rows[i].want);
		assert_int_equal(list_each(b->s.root, see, &s), 0);
		if (!str_eq(buf_view(&s.text), buf_view(&want)))
			fail_msg("until %u: %s, want %s", until, s.text.p, want.p);
		buf_free(&s.text);
		close(before);
		after = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_int_equal(before, after); /* nothing was left open */
		close(after);
	}
}

static void nothing(void **state)
{
	struct bed *b = *state;
	struct seen s = { .text = BUF_INIT };

	assert_int_equal(list_each(b->s.root, see, &s), 0);
	assert_int_equal(s.n, 0);
	assert_true(list_each(-1, see, &s) < 0);
	assert_int_equal(rmdir("queue/new") + rmdir("queue"), 0);
	assert_int_equal(list_each(b->s.root, see, &s), -ENOENT);
}

static void find(void **state)
{
	struct bed *b = *state;
	struct list_item it;
	struct id id;

	fill();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct seen s = { .text = BUF_INIT };

		id = nth(rows[i].id);
		if (list_find(b->s.root, &id, &it) != 0)
			fail_msg("%s: not found", rows[i].want);
		see(&s, &it);
		if (!str_starts(buf_view(&s.text), str_z(rows[i].want)))
			fail_msg("%s: %s", rows[i].want, s.text.p);
		buf_free(&s.text);
		close(it.fd);
		cleanup_fd(&it.note);
	}
	id = nth(99);
	assert_int_equal(list_find(b->s.root, &id, &it), -ENOENT);
	/* Names that are no messages. */
	for (unsigned i = 1; i <= 3; i++) {
		snprintf(id.c, sizeof(id.c), "%016u", i);
		assert_int_equal(list_find(b->s.root, &id, &it), -ENOENT);
	}
}

static bool count_them(void *arg, const struct list_item *it)
{
	static uint32_t last;
	unsigned *n = arg;

	if (*n && it->place.due < last)
		fail_msg("%08x after %08x", it->place.due, last);
	last = it->place.due;
	(*n)++;
	return true;
}

/* Many buckets of many routes, one message in each: sorted. */
static void many(void **state)
{
	enum { ROUTES = 5, BUCKETS = 300 };
	struct bed *b = *state;
	unsigned n = 0;

	for (unsigned i = 0; i < ROUTES * BUCKETS; i++) {
		char path[64];
		struct id id = nth(i);

		snprintf(path, sizeof(path), "queue/r%u", i % ROUTES);
		mkdir(path, 0700);
		snprintf(path, sizeof(path), "queue/r%u/%08x", i % ROUTES,
		         1 + i * 7919 % (ROUTES * BUCKETS));
		assert_int_equal(mkdir(path, 0700), 0);
		put(in(path, &id, ""), STR("x"), 0600);
	}
	assert_int_equal(list_each(b->s.root, count_them, &n), 0);
	assert_int_equal(n, ROUTES * BUCKETS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = { T(each), T(nothing), T(find), T(many) };

	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
