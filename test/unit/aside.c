#include "spoolbed.h"
#include "spool/aside.h"

/* What may be there when a message is put back, also after a kill in between. */
static void release(void **state)
{
	static const struct {
		const char *name;
		bool beside, in_note, queued;
		int want;
		const char *note; /* afterwards, in note/ */
	} rows[] = {
		{ "without a note", false, false, false, 0, "(none)" },
		{ "with its note", true, false, false, 0, "beside" },
		{ "killed behind the note", false, true, false, 0, "in note" },
		{ "an old note in note/", true, true, false, 0, "beside" },
		{ "the queue has one", true, true, true, -EEXIST, "in note" },
	};
	struct bed *b = *state;

	assert_int_equal(mkdir("queue/r", 0700), 0);
	assert_int_equal(mkdir("queue/r/00000007", 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int bad = 0; bad < 2; bad++) {
			const char *folder = bad ? "bad" : "hold";
			struct id id = nth((unsigned)(2 * i) + (unsigned)bad);
			int dir = bad ? b->s.bad : b->s.hold, e;

			put(in(folder, &id, ""), STR("m"), 0600);
			if (rows[i].beside)
				put(in(folder, &id, ".note"), STR("beside"), 0600);
			if (rows[i].in_note)
				put(in("note", &id, ""), STR("in note"), 0600);
			if (rows[i].queued)
				put(in("queue/r/00000007", &id, ""), STR("q"), 0600);
			e = aside_release(&b->s, dir, &id);
			if (e != rows[i].want || there(in(folder, &id, "")) != (e < 0) ||
			    there(in("queue/new", &id, "")) != (e == 0) ||
			    strcmp(content(in("note", &id, "")), rows[i].note) != 0 ||
			    (e == 0 && there(in(folder, &id, ".note"))))
				fail_msg("%s, %s: %d", folder, rows[i].name, e);
		}
	assert_int_equal(
	    aside_release(&b->s, b->s.hold, &(struct id){ "0000000000000001" }), -ENOENT);
}

static void get_and_remove(void **state)
{
	struct bed *b = *state;

	for (int noted = 0; noted < 2; noted++) {
		struct id id = nth((unsigned)noted);
		int fd;

		assert_int_equal(aside_get(b->s.hold, &id), -ENOENT);
		assert_int_equal(aside_remove(b->s.hold, &id), -ENOENT);
		put(in("hold", &id, ""), STR("m"), 0600);
		if (noted)
			put(in("hold", &id, ".note"), STR("n"), 0600);
		fd = aside_get(b->s.hold, &id);
		assert_true(fd >= 0);
		close(fd);
		assert_int_equal(aside_remove(b->s.hold, &id), 0);
		assert_int_equal(count("hold"), 0);
	}
}

/* Put aside and back, it is what it was. */
static void there_and_back(void **state)
{
	struct bed *b = *state;
	struct place p = { nth(1), 0 };
	struct queue q;

	assert_int_equal(queue_open(&q, &b->s, "r", QUEUE_READS_DUE), 0);
	put(in("queue/new", &p.id, ""), STR("m"), 0600);
	assert_int_equal(note_write(&b->s, &p.id, STR("n\n")), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(queue_put_aside(&q, &p, b->s.hold), 0);
		assert_string_equal(content(in("hold", &p.id, ".note")), "n\n");
		assert_int_equal(count("note"), 0);
		assert_int_equal(aside_release(&b->s, b->s.hold, &p.id), 0);
		assert_string_equal(content(in("note", &p.id, "")), "n\n");
		assert_string_equal(content(in("queue/new", &p.id, "")), "m");
		assert_int_equal(count("hold"), 0);
	}
	queue_close(&q);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = { T(release), T(get_and_remove),
		                            T(there_and_back) };

	return cmocka_run_group_tests_name("aside", tests, NULL, NULL);
}
