#include "spoolbed.h"

enum { MANY = 1100, BOTH = QUEUE_READS_NEW | QUEUE_READS_DUE };

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
	assert_int_equal(queue_open(q, &b->s, "r", BOTH), 0);
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
		p = (struct place){ id, bucket(rows[i].due) };
		assert_int_equal(queue_remove(&q, &p, false), 0);
		assert_int_equal(queue_sync(&q), 0);
	}
	assert_false(queue_next(&q, NOW, LONGEST, &(struct place){ .due = 0 }));
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

	assert_int_equal(queue_open(&q, &b->s, "r", BOTH), 0);
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
		assert_int_equal(derived_prepare(&b->s, &parent, 3, fd, 1 << 20, NOW), 0);
		/* Again, as after a failure of the note. */
		assert_int_equal(derived_prepare(&b->s, &parent, 3, fd, 1 << 20, NOW), 0);
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
	assert_true(derived_prepare(&b->s, &(struct id){ "0000000000000009" }, 1, -1, 9,
	                            NOW) < 0);
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

	assert_int_equal(queue_open(&old, &b->s, "old", BOTH), 0);
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

static bool knows(void *arg, const char *route)
{
	return strcmp(arg, route) == 0;
}

/* Routes that a reload removed, when there are several: back to queue/new, which has some of
 * the names already where a rename is a link and an unlink. */
static void disown(void **state)
{
	char known[] = "live";
	struct bed *b = *state;
	struct queue old, live;
	struct place p;

	assert_int_equal(queue_open(&live, &b->s, "live", QUEUE_READS_DUE), 0);
	assert_int_equal(queue_open(&old, &b->s, "old", 0), 0);
	for (unsigned i = 0; i < 2 * MANY; i++) {
		p = (struct place){ nth(i), 0 };
		put(in("queue/new", &p.id, ""), STR("x"), 0600);
		assert_int_equal(queue_route(i % 2 ? &old : &live, &p,
		                             i % 2 ? "old" : "live",
		                             6400 + 64 * (i % 20)),
		                 0);
	}
	p.id = nth(1);
	assert_int_equal(note_write(&b->s, &p.id, STR("n\n")), 0);
	assert_int_equal(
	    link(in("queue/old/00000065", &p.id, ""), in("queue/new", &p.id, "")), 0);
	assert_int_equal(queue_disown(&b->s, knows, known), 1);
	assert_int_equal(count("queue/new"), MANY);
	assert_true(there(in("queue/new", &p.id, "")));
	assert_true(there(in("note", &p.id, "")));
	assert_false(there("queue/old"));
	assert_true(there("queue/live"));
	assert_int_equal(queue_disown(&b->s, knows, known), 0);
	/* A name that queue/new has of another message stays; the others do not wait for it. */
	queue_close(&old);
	assert_int_equal(queue_open(&old, &b->s, "old", 0), 0);
	for (unsigned i = 5000; i < 5010; i++) {
		p = (struct place){ nth(i), 0 };
		put(in("queue/new", &p.id, ""), STR("x"), 0600);
		assert_int_equal(queue_route(&old, &p, "old", 6400), 0);
	}
	put(in("queue/new", &p.id, ""), STR("another"), 0600);
	assert_int_equal(queue_disown(&b->s, knows, known), -EEXIST);
	assert_int_equal(count("queue/old/00000064"), 1);
	assert_int_equal(count("queue/new"), MANY + 10);
	assert_string_equal(content(in("queue/new", &p.id, "")), "another");
	queue_close(&old);
	queue_close(&live);
}

/* What each of several routes looks at. */
static void reads(void **state)
{
	static const struct {
		const char *name, *route;
		unsigned reads, want;
	} rows[] = {
		{ "the only one", "r", BOTH, 2 },
		{ "the router", "new", QUEUE_READS_NEW, 1 },
		{ "one of several", "r", QUEUE_READS_DUE, 1 },
		{ "only to move", "r", 0, 0 },
	};
	struct bed *b = *state;
	struct place one = { nth(1), 0 }, two = { nth(2), bucket(NOW - 64) };

	assert_int_equal(mkdir("queue/r", 0700), 0);
	message(&one.id, 0);
	message(&two.id, two.due);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct queue q;
		struct place p;
		unsigned n = 0;

		assert_int_equal(queue_open(&q, &b->s, rows[i].route, rows[i].reads), 0);
		for (int again = 0; again < 2; again++) {
			while (n < 10 && queue_next(&q, NOW, LONGEST, &p)) {
				n++;
				if (p.due ? !(rows[i].reads & QUEUE_READS_DUE)
				          : !(rows[i].reads & QUEUE_READS_NEW))
					fail_msg("%s: %08x", rows[i].name, p.due);
			}
			queue_rewind(&q, true);
		}
		if (n != 2 * rows[i].want)
			fail_msg("%s: %u", rows[i].name, n);
		if (!(rows[i].reads & QUEUE_READS_DUE))
			assert_int_equal(queue_next_due(&q, NOW, LONGEST), -1);
		queue_close(&q);
	}
}

/* What is routed to a queue that is at work is given in the same pass. */
static void routed(void **state)
{
	static const struct {
		const char *name;
		bool all;
		unsigned taken; /* before it comes */
	} rows[] = {
		{ "at the beginning", false, 0 },   { "in the middle", false, 10 },
		{ "at the end", false, 41 },        { "all, at the beginning", true, 0 },
		{ "all, in the middle", true, 10 }, { "all, at the end", true, 41 },
	};
	struct bed *b = *state;
	struct queue q, router;

	assert_int_equal(queue_open(&q, &b->s, "r", QUEUE_READS_DUE), 0);
	assert_int_equal(queue_open(&router, &b->s, "new", QUEUE_READS_NEW), 0);
	for (unsigned i = 0; i < 40; i++) {
		struct id id = nth(i);

		message(&id, bucket(NOW - 64));
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct place late = { nth(1000 + (unsigned)i), 0 }, p;
		unsigned found = 0, n = 0;

		queue_rewind(&q, rows[i].all);
		while (n < rows[i].taken && queue_next(&q, NOW, LONGEST, &p))
			n++;
		message(&late.id, 0);
		b->s.taken_dirty = true;
		/* The clock's first bucket, and that of now, which is due. */
		assert_int_equal(
		    queue_route(&router, &late, "r", i % 2 ? NOW : QUEUE_BUCKET_SECONDS),
		    0);
		assert_false(b->s.taken_dirty);
		assert_false(waits(&late.id, 0));
		queue_news(&q);
		for (n = 0; n < 500 && queue_next(&q, NOW, LONGEST, &p); n++)
			if (id_cmp(&p.id, &late.id) == 0) {
				found++;
				assert_int_equal(queue_remove(&q, &p, false), 0);
			}
		if (found != 1 || n == 500)
			fail_msg("%s: %u times, of %u", rows[i].name, found, n);
	}
	assert_int_equal(queue_sync(&router), 0);
	queue_close(&q);
	queue_close(&router);
}

static void route_and_back(void **state)
{
	static const struct {
		const char *name, *route;
		bool gone, taken;
		int want;
	} rows[] = {
		{ "a new route", "far", false, false, 0 },
		{ "a route that is there", "far", false, false, 0 },
		{ "gone", "far", true, false, -ENOENT },
		{ "it has one of that name", "far", false, true, -EEXIST },
		{ "no route", "new", false, false, -EINVAL },
		{ "up", "..", false, false, -EINVAL },
		{ "a path", "a/b", false, false, -EINVAL },
		{ "nothing", "", false, false, -EINVAL },
	};
	const uint32_t due = (uint32_t)(NOW / 64);
	struct bed *b = *state;
	struct queue q, far;
	struct id zero;
	char path[100];

	open_queue(b, &q);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct place p = { nth((unsigned)i), i % 2 ? 7 : 0 };
		int e;

		snprintf(path, sizeof(path), "queue/far/%08x/%s", due, p.id.c);
		if (!rows[i].gone)
			message(&p.id, p.due);
		if (rows[i].taken)
			put(path, STR("other"), 0600);
		e = queue_route(&q, &p, rows[i].route, NOW + 63);
		if (e != rows[i].want || there(path) != (e == 0 || e == -EEXIST) ||
		    waits(&p.id, p.due) != (e != 0 && !rows[i].gone))
			fail_msg("%s: %d", rows[i].name, e);
	}
	assert_true(q.removed > 0);
	assert_int_equal(queue_sync(&q), 0);
	/* And to queue/new. */
	assert_int_equal(queue_open(&far, &b->s, "far", 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct place p = { nth(i), due };

		assert_int_equal(queue_renew(&far, &p), 0);
		assert_int_equal(queue_renew(&far, &(struct place){ p.id, 0 }), 0);
		assert_true(waits(&p.id, 0));
		assert_int_equal(queue_renew(&far, &p), -ENOENT);
	}
	/* The router puts nothing off. */
	queue_close(&far);
	assert_int_equal(queue_open(&far, &b->s, "new", QUEUE_READS_NEW), 0);
	assert_int_equal(queue_defer(&far, &(struct place){ nth(0), 0 }, NOW), -EINVAL);
	zero = nth(0);
	assert_true(waits(&zero, 0));
	queue_close(&far);
	queue_close(&q);
}

static void find(void **state)
{
	static const struct {
		const char *name, *path, *route;
		uint32_t due;
		int want;
	} rows[] = {
		{ "new", "queue/new", "new", 0, 0 },
		{ "a bucket", "queue/r/00000007", "r", 7, 0 },
		{ "another route", "queue/other/ffffffff", "other", 0xffffffff, 0 },
		{ "held", "hold", "", 0, -ENOENT },
		{ "no bucket", "queue/r/000000070", "", 0, -ENOENT },
		{ "no route", "queue/.hidden/00000007", "", 0, -ENOENT },
		{ "nowhere", "", "", 0, -ENOENT },
	};
	static const char *const folders[] = { "queue/r",
		                               "queue/r/00000007",
		                               "queue/other",
		                               "queue/other/ffffffff",
		                               "queue/r/000000070",
		                               "queue/.hidden",
		                               "queue/.hidden/00000007" };
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		assert_int_equal(mkdir(folders[i], 0700), 0);
	put("queue/file", STR("x"), 0600);
	assert_int_equal(symlink("/nowhere", "queue/link"), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = nth((unsigned)i);
		struct place p = { .due = 1 };
		char route[QUEUE_ROUTE_MAX + 1] = "";

		if (rows[i].path[0])
			put(in(rows[i].path, &id, ""), STR("x"), 0600);
		if (queue_find(&b->s, &id, route, &p) != rows[i].want ||
		    strcmp(route, rows[i].route) != 0 ||
		    (rows[i].want == 0 &&
		     (p.due != rows[i].due || id_cmp(&p.id, &id) != 0)))
			fail_msg("%s: %s %08x", rows[i].name, route, p.due);
	}
}

static void owner(void **state)
{
	static const struct {
		const char *name, *text;
		int want;
		uid_t uid;
	} rows[] = {
		{ "root", "mailchute 1\nU0 root\nT1\n", 0, 0 },
		{ "a full name", "mailchute 1\nU1000 eddy Eddy\nT1\n", 0, 1000 },
		{ "the highest", "mailchute 1\nU4294967295 -\nT1\n", 0, (uid_t)-1 },
		{ "too high", "mailchute 1\nU4294967296 -\nT1\n", -EBADMSG, 0 },
		{ "no number", "mailchute 1\nU -\nT1\n", -EBADMSG, 0 },
		{ "no login", "mailchute 1\nU1", -EBADMSG, 0 },
		{ "negative", "mailchute 1\nU-1 -\n", -EBADMSG, 0 },
		{ "version 2", "mailchute 2\nU1 -\n", -EBADMSG, 0 },
		{ "a drop", "mailchute-drop 1\nRa@b\n\n", -EBADMSG, 0 },
		{ "cut", "mailchute 1\n", -EBADMSG, 0 },
		{ "cut at once", "mailchute 1", -EBADMSG, 0 },
		{ "empty", "", -EBADMSG, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = io_memfd("message", str_z(rows[i].text));
		uid_t uid = 77;
		int64_t size = 77;
		int e = queue_owner(fd, &uid, &size);

		if (e != rows[i].want || uid != (e == 0 ? rows[i].uid : 77) ||
		    size != (e == 0 ? (int64_t)strlen(rows[i].text) : 77))
			fail_msg("%s: %d, uid %u", rows[i].name, e, (unsigned)uid);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
		close(fd);
	}
}

/* A part appears together with its note, or not at all. */
static void parts(void **state)
{
	static const struct {
		const char *name, *note;
		bool kept;
	} rows[] = {
		{ "no note", NULL, false },
		{ "a note of another part", "b 900002\n", false },
		{ "its note", "b 900001\n", true },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id parent = nth((unsigned)i), id = id_derive(&parent, PART_FIRST);
		char from[64];
		struct stat st, part;

		message(&parent, 0);
		snprintf(from, sizeof(from), "new/%s", parent.c);
		assert_int_equal(
		    part_prepare(&b->s, &parent, PART_FIRST, from, STR("one\n")), 0);
		/* Again, when the router died before it had said all. */
		assert_int_equal(
		    part_prepare(&b->s, &parent, PART_FIRST, from, STR("two\n")), 0);
		assert_false(there(in("queue/new", &id, "")));
		assert_string_equal(content(in("note", &id, "")), "two\n");
		if (rows[i].note)
			assert_int_equal(note_write(&b->s, &parent, str_z(rows[i].note)),
			                 0);
		derived_recover(&b->s);
		if (there(in("queue/new", &id, "")) != rows[i].kept ||
		    there(in("note", &id, "")) != rows[i].kept ||
		    count("queue/new") != 1U + rows[i].kept)
			fail_msg("%s", rows[i].name);
		if (rows[i].kept) {
			assert_int_equal(stat(in("queue/new", &id, ""), &part), 0);
			assert_int_equal(stat(in("queue/new", &parent, ""), &st), 0);
			assert_int_equal(st.st_ino, part.st_ino);
			/* It is at work now: not to be made a second time. */
			assert_int_equal(
			    part_prepare(&b->s, &parent, PART_FIRST, from, STR("x\n")),
			    -EEXIST);
			assert_string_equal(content(in("note", &id, "")), "two\n");
			unlink(in("queue/new", &id, ""));
		}
		unlink(in("queue/new", &parent, ""));
	}
}

/* Each state that a kill may leave while a part is made or removed. */
static void parts_killed(void **state)
{
	static const struct {
		const char *name;
		bool link, note, published;
	} rows[] = {
		{ "linked", true, false, false },
		{ "linked and noted", true, true, false },
		{ "published, the first name still there", true, true, true },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id parent = nth((unsigned)i), id = id_derive(&parent, PART_FIRST);
		char from[64], name[64];
		struct place p = { id, 0 };
		struct queue q;

		message(&parent, 0);
		snprintf(from, sizeof(from), "queue/new/%s", parent.c);
		snprintf(name, sizeof(name), "queue/new/d.%s.%u", parent.c, PART_FIRST);
		assert_int_equal(link(from, name), 0);
		if (rows[i].note)
			assert_int_equal(note_write(&b->s, &id, STR("n\n")), 0);
		open_queue(b, &q);
		if (rows[i].published) {
			assert_int_equal(link(from, in("queue/new", &id, "")), 0);
			assert_int_equal(queue_defer(&q, &p, NOW), 0);
		}
		queue_close(&q);
		derived_recover(&b->s);
		if (there(name) || there(in("note", &id, "")) != rows[i].published)
			fail_msg("%s", rows[i].name);
		assert_int_equal(
		    part_prepare(&b->s, &parent, PART_FIRST, from + 6, STR("again\n")),
		    rows[i].published ? -EEXIST : 0);
	}
	/* What cannot be linked leaves nothing. */
	assert_int_equal(part_prepare(&b->s, &(struct id){ "0000000000000009" },
	                              PART_FIRST, "new/0000000000000009", STR("n\n")),
	                 -ENOENT);
	assert_int_equal(part_prepare(&b->s, &(struct id){ "0000000000000009" }, 3,
	                              "new/0000000000000009", STR("n\n")),
	                 -EINVAL);
	assert_int_equal(count("note"),
	                 1); /* of the one at work: recovery took the others */
}

/* The envelope in front of a message, and of a drop whose attested lines are not there yet. */
static void envelope(void **state)
{
	static const char attested[] = "mailchute 1\nU1000 -\nT1700000000\n";
	static const struct {
		const char *name, *ahead, *text;
		unsigned more; /* recipients behind text */
		bool ends;
		int r;
	} rows[] = {
		{ "small", "",
		  "mailchute 1\nU1000 -\nT1\nmailchute-drop 1\nFa@b.example\n", 1, true,
		  0 },
		{ "larger than a read", "",
		  "mailchute 1\nU1000 -\nT1\nmailchute-drop 1\nFa@b.example\n", 3000,
		  true, 0 },
		{ "drop", attested, "mailchute-drop 1\nFa@b.example\n", 1, true, 0 },
		{ "larger drop", attested, "mailchute-drop 1\nFa@b.example\n", 3000, true,
		  0 },
		{ "cut short", "",
		  "mailchute 1\nU1000 -\nT1\nmailchute-drop 1\nFa@b.example\n", 3000,
		  false, -EBADMSG },
		{ "empty", "", "", 0, false, -EBADMSG },
		{ "damaged", "", "mailchute 2\n", 1, true, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf file = BUF_INIT, text = BUF_INIT;
		struct envelope e = { .uid = 0 };
		const char *why = NULL;
		size_t used = 0, size;
		int fd, r;

		buf_z(&text, rows[i].ahead);
		buf_z(&file, rows[i].text);
		for (unsigned n = 0; n < rows[i].more; n++)
			buf_fmt(&file, "Rr%u@c.example\n", n);
		if (rows[i].ends)
			buf_z(&file, "\n");
		size = text.n + file.n;
		buf_z(&file, rows[i].ends ? "Subject: x\n\nx\n" : "");
		put("message", buf_view(&file), 0600);
		fd = open("message", O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		r = queue_envelope(fd, &text, &e, &used, &why);
		if (r != rows[i].r || (r < 0 && !why))
			fail_msg("%s: %d, %s", rows[i].name, r, why ? why : "");
		if (r == 0 && (e.rcpts != rows[i].more || used != size))
			fail_msg("%s: %zu recipients, %zu octets", rows[i].name, e.rcpts,
			         used);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
		envelope_free(&e);
		close(fd);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(windows),  T(order),         T(due_or_not),     T(news),
		T(defer),    T(all_pass_ends), T(get_and_remove), T(put_aside),
		T(late),     T(derived),       T(notes),          T(inherit),
		T(disown),   T(reads),         T(routed),         T(route_and_back),
		T(find),     T(owner),         T(parts),          T(parts_killed),
		T(envelope),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
