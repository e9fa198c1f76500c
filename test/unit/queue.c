#include "spoolbed.h"

enum { MANY = 1100 };

static uint32_t bucket(int64_t due)
{
	return (uint32_t)((due + 63) / 64);
}

/* Puts a message into queue/new (due 0) or a bucket of the route "r". */
static void message(const struct id *id, uint32_t due)
{
	char path[100];

	if (due) {
		snprintf(path, sizeof(path), "queue/r/%08x", due);
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		snprintf(path, sizeof(path), "queue/r/%08x/%s", due, id->c);
	} else {
		snprintf(path, sizeof(path), "queue/new/%s", id->c);
	}
	put(path, STR("x"), 0600);
}

static bool waits(const struct id *id, uint32_t due)
{
	char path[100];

	snprintf(path, sizeof(path), "queue/r/%08x/%s", due, id->c);
	return there(due ? path : in("queue/new", id, ""));
}

static void open_queue(struct bed *b, struct queue *q)
{
	assert_int_equal(queue_open(q, &b->s, "r"), 0);
	assert_true(there("queue/r"));
}

/* Every name is given once in a pass, however many windows that takes. */
static void windows(void **state)
{
	static const struct {
		const char *name;
		bool all;
		unsigned want;
	} rows[] = { { "due", false, MANY * 2 }, { "all", true, MANY * 3 } };
	struct bed *b = *state;
	struct queue q;

	open_queue(b, &q);
	for (unsigned i = 0; i < MANY; i++) {
		struct id id = nth(3 * i), due = nth(3 * i + 1), later = nth(3 * i + 2);

		message(&id, 0);
		message(&due, bucket(NOW - 64 * (1 + i % 3)));
		message(&later, bucket(NOW + 64 * (1 + i % 3)));
	}
	put("queue/new/junk", STR(""), 0600);
	put("queue/new/t.0000000000000000", STR(""), 0600);
	put("queue/r/00000000", STR(""), 0600);
	put("queue/r/0000000g", STR(""), 0600);
	assert_int_equal(mkdir("queue/r/other", 0700), 0);
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		unsigned char seen[MANY * 3] = { 0 };
		struct place p;
		unsigned n = 0, turns = 0, last_new = 0;

		queue_rewind(&q, rows[r].all);
		while (queue_next(&q, NOW, LONGEST, &p)) {
			char *end;
			unsigned long long v = strtoull(p.id.c, &end, 16);
			unsigned at =
			    (unsigned)((v >> 20) - 1700000000000) * 8 + (v & 0xffff);

			if (at >= MANY * 3 || seen[at]++)
				fail_msg("%s: %s comes twice", rows[r].name, p.id.c);
			if ((at % 3 == 0) != (p.due == 0))
				fail_msg("%s: %s at %08x", rows[r].name, p.id.c, p.due);
			turns += (p.due == 0) != last_new;
			last_new = p.due == 0;
			n++;
		}
		if (n != rows[r].want)
			fail_msg("%s: %u given, want %u", rows[r].name, n, rows[r].want);
		/* New ones and due ones in turn: neither starves the other. */
		if (turns < MANY)
			fail_msg("%s: only %u turns", rows[r].name, turns);
		assert_false(queue_next(&q, NOW, LONGEST, &p));
	}
	queue_close(&q);
}

/* Oldest bucket first, in an `all` pass latest first; by age within. */
static void order(void **state)
{
	static const struct {
		unsigned id;
		int64_t due;
	} messages[] = { { 5, NOW - 200 },
		         { 2, NOW - 200 },
		         { 1, NOW - 100 },
		         { 3, NOW + 100 },
		         { 4, NOW + 200 } };
	static const struct {
		const char *name;
		bool all;
		unsigned want[6];
	} rows[] = { { "due", false, { 2, 5, 1 } }, { "all", true, { 4, 3, 1, 2, 5 } } };
	struct bed *b = *state;
	struct queue q;
	struct place p;

	open_queue(b, &q);
	for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
		struct id id = nth(messages[i].id);

		message(&id, bucket(messages[i].due));
	}
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		queue_rewind(&q, rows[r].all);
		for (const unsigned *w = rows[r].want; *w; w++) {
			struct id want = nth(*w);

			if (!queue_next(&q, NOW, LONGEST, &p) ||
			    id_cmp(&p.id, &want) != 0)
				fail_msg("%s: message %u is not next", rows[r].name, *w);
		}
		assert_false(queue_next(&q, NOW, LONGEST, &p));
	}
	/* Nobody took what was due: it is looked at again. */
	assert_int_equal(queue_next_due(&q, NOW, LONGEST), NOW + QUEUE_LOOK_AGAIN);
	queue_close(&q);
}

static void due_or_not(void **state)
{
	static const struct {
		const char *name;
		int64_t due;
		bool want;
	} rows[] = {
		{ "long ago", 64, true },
		{ "now", NOW, true },
		{ "in a minute", NOW + 65, false },
		{ "as late as it may be", NOW + LONGEST + LONGEST / 4, false },
		{ "too far ahead: the clock was wrong", NOW + 2 * LONGEST, true },
		{ "2100", INT64_C(4102444800), true },
		{ "the last bucket", INT64_C(0xffffffff) * 64, true },
	};
	struct bed *b = *state;
	struct queue q;

	open_queue(b, &q);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = nth((unsigned)i);
		struct place p = { .due = 0 };
		int64_t next;
		bool got;

		message(&id, bucket(rows[i].due));
		queue_rewind(&q, false);
		got = queue_next(&q, NOW, LONGEST, &p);
		if (got != rows[i].want)
			fail_msg("%s: %s", rows[i].name, got ? "due" : "not due");
		next = queue_next_due(&q, NOW, LONGEST);
		if (next != (rows[i].want ? -1 : (int64_t)bucket(rows[i].due) * 64))
			fail_msg("%s: next due at %lld", rows[i].name, (long long)next);
		assert_false(queue_empty(&q));
		p = (struct place){ id, bucket(rows[i].due) };
		assert_int_equal(queue_remove(&q, &p, false), 0);
		assert_int_equal(queue_sync(&q), 0);
		assert_true(queue_empty(&q));
	}
	assert_int_equal(count("queue/r"), 0);
	queue_close(&q);
}

/* What comes while a window is being given out is given too, also when the folder was
 * read to its end before. */
static void news(void **state)
{
	static const unsigned taken[] = { 0, 1, 10, 39, 40, 41 };
	struct bed *b = *state;
	struct queue q;

	open_queue(b, &q);
	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		struct id id, late = nth(100000);
		struct place p;
		unsigned found = 0;

		for (unsigned n = 0; n < 40; n++) {
			id = nth(n);
			message(&id, 0);
		}
		queue_rewind(&q, false);
		for (unsigned n = 0; n < taken[i] && queue_next(&q, NOW, LONGEST, &p);
		     n++)
			;
		message(&late, 0);
		queue_news(&q);
		for (unsigned n = 0; n < 500 && queue_next(&q, NOW, LONGEST, &p); n++)
			found += id_cmp(&p.id, &late) == 0;
		if (found == 0)
			fail_msg("after %u names: not given", taken[i]);
		assert_false(queue_next(&q, NOW, LONGEST, &p));
		unlink(in("queue/new", &late, ""));
	}
	queue_close(&q);
}

static void defer(void **state)
{
	static const struct {
		const char *name;
		uint32_t from;
		bool all;
		int64_t due;
		uint32_t want;
	} rows[] = {
		{ "from new", 0, false, NOW + 300, (NOW + 300 + 63) / 64 },
		{ "rounded up", 0, false, 64000, 1000 },
		{ "rounded up by one", 0, false, 64001, 1001 },
		{ "from a bucket", 1000, false, NOW, (NOW + 63) / 64 },
		{ "to where it is", 1000, false, 64000, 1000 },
		{ "back", 1000, false, 6400, 100 },
		{ "all: back, which is still to come", 1000, true, 6400, 1001 },
		{ "all: to where it is", 1000, true, 64000, 1001 },
		{ "all: forward", 1000, true, 128000, 2000 },
		{ "a time that was never", 1000, false, 0, 1 },
		{ "a negative one", 1000, false, INT64_MIN, 1 },
		{ "the end of time", 1000, false, INT64_MAX, 0xfffffffe },
		{ "all: behind the end of time", 0xfffffffe, true, 64, 0xffffffff },
	};
	struct place gone = { nth(900), 0 }, twice = { nth(901), 0 };
	struct bed *b = *state;
	struct queue q;

	open_queue(b, &q);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct place p = { nth((unsigned)i), rows[i].from };

		message(&p.id, p.due);
		queue_rewind(&q, rows[i].all);
		b->s.taken_dirty = true;
		assert_int_equal(queue_defer(&q, &p, rows[i].due), 0);
		assert_false(b->s.taken_dirty);
		if (p.due != rows[i].want || !waits(&p.id, p.due) ||
		    (p.due != rows[i].from && waits(&p.id, rows[i].from)))
			fail_msg("%s: at %08x, want %08x", rows[i].name, p.due,
			         rows[i].want);
	}
	/* It is gone; its target exists. */
	queue_rewind(&q, false);
	assert_int_equal(queue_defer(&q, &gone, NOW), -ENOENT);
	message(&twice.id, 0);
	message(&twice.id, bucket(NOW));
	assert_int_equal(queue_defer(&q, &twice, NOW), -EEXIST);
	assert_true(waits(&twice.id, 0));
	queue_close(&q);
}

/* A pass over everything comes to its end, though every message is put back. */
static void all_pass_ends(void **state)
{
	struct bed *b = *state;
	unsigned n = 0;
	struct queue q;
	struct place p;

	open_queue(b, &q);
	for (unsigned i = 0; i < 300; i++) {
		struct id id = nth(i);

		message(&id, bucket(NOW - 640 + 64 * (i % 20)));
	}
	queue_rewind(&q, true);
	while (queue_next(&q, NOW, LONGEST, &p) && n < 1000) {
		assert_int_equal(queue_defer(&q, &p, NOW - 64), 0);
		n++;
	}
	assert_int_equal(n, 300);
	queue_close(&q);
}

static void get_and_remove(void **state)
{
	struct bed *b = *state;
	struct place p = { nth(1), 0 };
	int fd = -1, note = -1;
	struct queue q;

	open_queue(b, &q);
	assert_int_equal(queue_get(&q, &p, &fd, &note), -ENOENT);
	message(&p.id, 0);
	assert_int_equal(queue_get(&q, &p, &fd, &note), 0);
	assert_true(fd >= 0);
	assert_int_equal(note, -1);
	close(fd);
	assert_int_equal(note_write(&b->s, &p.id, STR("note\n")), 0);
	assert_int_equal(queue_get(&q, &p, &fd, &note), 0);
	assert_true(note >= 0);
	close(fd);
	close(note);
	assert_int_equal(queue_remove(&q, &p, true), 0);
	assert_int_equal(q.removed, 1);
	assert_int_equal(count("queue/new") + count("note"), 0);
	/* Twice is as good. */
	assert_int_equal(queue_remove(&q, &p, true), 0);
	/* More buckets than are remembered one by one, and one that is gone at the sync. */
	for (unsigned i = 1; i < 20; i++) {
		p = (struct place){ nth(i), i };
		message(&p.id, i);
		assert_int_equal(queue_remove(&q, &p, true), 0);
	}
	rmdir("queue/r/00000001");
	assert_int_equal(queue_sync(&q), 0);
	assert_int_equal(q.removed, 0);
	assert_true(queue_empty(&q));
	/* A symbolic link is no message. */
	p = (struct place){ nth(40), 0 };
	assert_int_equal(symlink("/etc/passwd", in("queue/new", &p.id, "")), 0);
	assert_int_equal(queue_get(&q, &p, &fd, &note), -ELOOP);
	queue_close(&q);
}

static void put_aside(void **state)
{
	static const struct {
		const char *name;
		uint32_t due;
		bool noted, bad;
	} rows[] = { { "new", 0, false, true },
		     { "noted", 7, true, true },
		     { "held", 8, true, false } };
	struct bed *b = *state;
	struct queue q;
	struct place p;

	open_queue(b, &q);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *to = rows[i].bad ? "bad" : "hold";

		p = (struct place){ nth((unsigned)i), rows[i].due };
		message(&p.id, p.due);
		if (rows[i].noted)
			assert_int_equal(note_write(&b->s, &p.id, STR("n\n")), 0);
		assert_int_equal(
		    queue_put_aside(&q, &p, rows[i].bad ? b->s.bad : b->s.hold), 0);
		if (waits(&p.id, p.due) || !there(in(to, &p.id, "")) ||
		    there(in(to, &p.id, ".note")) != rows[i].noted ||
		    there(in("note", &p.id, "")))
			fail_msg("%s", rows[i].name);
	}
	/* Never over another one; then the message keeps its note. */
	message(&p.id, p.due);
	assert_int_equal(note_write(&b->s, &p.id, STR("other\n")), 0);
	assert_int_equal(queue_put_aside(&q, &p, b->s.hold), -EEXIST);
	assert_true(waits(&p.id, p.due));
	assert_string_equal(content(in("note", &p.id, "")), "other\n");
	assert_string_equal(content(in("hold", &p.id, ".note")), "n\n");
	queue_close(&q);
}

/* A message that falls due behind a pass that has ended is seen all the same. */
static void late(void **state)
{
	struct bed *b = *state;
	struct place p = { nth(1), 0 };
	struct queue q;

	assert_int_equal(queue_open(&q, &b->s, "r"), 0);
	message(&p.id, 0);
	assert_true(queue_next(&q, NOW, LONGEST, &p));
	assert_false(queue_next(&q, NOW, LONGEST, &(struct place){ .due = 0 }));
	assert_int_equal(queue_next_due(&q, NOW, LONGEST), -1);
	assert_int_equal(queue_defer(&q, &p, NOW - 64), 0);
	assert_int_equal(queue_next_due(&q, NOW, LONGEST), NOW + QUEUE_LOOK_AGAIN);
	queue_rewind(&q, false);
	assert_true(queue_next(&q, NOW, LONGEST, &p));
	queue_close(&q);
}

static void derived(void **state)
{
	static const struct {
		const char *name, *note;
		bool kept;
	} rows[] = {
		{ "no note", NULL, false },
		{ "a note of another try", "r 1 T 1 450 no\nb 2\ne 1\n", false },
		{ "its note", "b 3\nr 1 F 1 550 no\ne 1\n", true },
		{ "its line alone", "b 3\n", true },
		{ "a longer number", "b 31\n", false },
	};
	struct bed *b = *state;
	int fd = io_memfd("dsn", STR("mailchute-drop 1\nF\nRa@b\n\nbody\n"));

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id parent = nth((unsigned)i), id = id_derive(&parent, 3);
		char want[200];

		if (rows[i].note)
			assert_int_equal(note_write(&b->s, &parent, str_z(rows[i].note)),
			                 0);
		assert_int_equal(derived_prepare(&b->s, &parent, 3, fd, NOW), 0);
		/* Again, as after a failure of the note. */
		assert_int_equal(derived_prepare(&b->s, &parent, 3, fd, NOW), 0);
		assert_false(there(in("queue/new", &id, "")));
		derived_recover(&b->s);
		if (there(in("queue/new", &id, "")) != rows[i].kept)
			fail_msg("%s", rows[i].name);
		assert_int_equal(count("queue/new"), rows[i].kept);
		if (!rows[i].kept)
			continue;
		snprintf(want, sizeof(want),
		         "mailchute 1\nU%u -\nT1800000000\nmailchute-drop "
		         "1\nF\nRa@b\n\nbody\n",
		         (unsigned)geteuid());
		assert_string_equal(content(in("queue/new", &id, "")), want);
		/* Published twice is published once. */
		assert_int_equal(derived_publish(&b->s, &parent, 3), 0);
		assert_int_equal(unlink(in("queue/new", &id, "")), 0);
	}
	close(fd);
	/* What cannot be read is not there. */
	assert_true(
	    derived_prepare(&b->s, &(struct id){ "0000000000000009" }, 1, -1, NOW) < 0);
	assert_int_equal(count("queue/new"), 0);
}

static void note_text(char *to, size_t n)
{
	memset(to, 'x', n);
	to[n] = '\0';
}

static void notes(void **state)
{
	static char torn[20001];
	static const struct {
		const char *name, *before, *want;
		size_t torn;
	} rows[] = {
		{ "whole", "a\nb\n", "a\nb\nnew\n", 0 },
		{ "torn", "a\nb\nto", "a\nb\nnew\n", 0 },
		{ "torn at once", "to", "new\n", 0 },
		{ "empty", "", "new\n", 0 },
		{ "torn, 4095 octets", "a\nb\n", "a\nb\nnew\n", 4095 },
		{ "torn, 4096 octets", "a\nb\n", "a\nb\nnew\n", 4096 },
		{ "torn, 20000 octets", "a\nb\n", "a\nb\nnew\n", 20000 },
		{ "torn at once, 20000 octets", "", "new\n", 20000 },
	};
	struct bed *b = *state;
	struct id id = nth(1);
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf text = BUF_INIT;

		note_text(torn, rows[i].torn);
		buf_fmt(&text, "%s%s", rows[i].before, torn);
		put(in("note", &id, ""), buf_view(&text), 0600);
		assert_int_equal(note_append(&b->s, &id, STR("new\n")), 0);
		if (strcmp(content(in("note", &id, "")), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, content(in("note", &id, "")));
	}
	assert_int_equal(note_write(&b->s, &id, STR("plan\n")), 0);
	assert_string_equal(content(in("note", &id, "")), "plan\n");
	assert_int_equal(stat(in("note", &id, ""), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	id = nth(2);
	assert_int_equal(note_append(&b->s, &id, STR("new\n")), -ENOENT);
	assert_int_equal(count("note"), 1);
}

/* The folders of routes that were renamed in the configuration. */
static void inherit(void **state)
{
	struct bed *b = *state;
	struct queue old, q;
	struct place p;
	unsigned n = 0;

	assert_int_equal(queue_open(&old, &b->s, "old"), 0);
	for (unsigned i = 0; i < 300; i++) {
		p = (struct place){ nth(i), 0 };
		message(&p.id, 0);
		assert_int_equal(queue_defer(&old, &p, 6400 + 64 * (i % 3)), 0);
	}
	queue_close(&old);
	open_queue(b, &q);
	p.id = nth(1000);
	message(&p.id, 101);
	assert_int_equal(mkdir("queue/r/00000066", 0700), 0); /* 102, empty */
	assert_int_equal(queue_inherit(&q), 1);
	assert_false(there("queue/old"));
	queue_rewind(&q, false);
	while (queue_next(&q, NOW, LONGEST, &p))
		n++;
	assert_int_equal(n, 301);
	assert_int_equal(queue_inherit(&q), 0);
	queue_close(&q);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(windows), T(order),         T(due_or_not),     T(news),
		T(defer),   T(all_pass_ends), T(get_and_remove), T(put_aside),
		T(late),    T(derived),       T(notes),          T(inherit),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
