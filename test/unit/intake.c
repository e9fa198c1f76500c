#include "spoolbed.h"
#include "base/clock.h"
#include "daemon/intake.h"
#include "prog/who.h"
#include <poll.h>
#include <sys/resource.h>

enum { OTHERS = 6000, DROPS = 20 };

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	close(fd);
}

static void drop(unsigned n)
{
	char path[64];

	snprintf(path, sizeof(path), "in/drop/%016x", n * 2654435761u);
	touch(path);
}

/* As mailchuted's loop: until there is nothing more to look at. */
static void look(struct intake *in)
{
	for (int i = 0; i < 1000 && in->scan; i++) {
		int64_t wait = in->scan_after - clock_ms();

		if (wait > 0)
			poll(NULL, 0, (int)wait);
		intake_adopt(in);
	}
	assert_false(in->scan);
}

static void look_again(struct intake *in)
{
	intake_rescan(in);
	in->scan_after = 0;
	look(in);
}

/* A look at many names takes several calls. What is dropped, with a poke, behind the place
 * where it is must not wait for the next poke. */
static void poked_in_the_middle(void **state)
{
	struct bed *b = *state;
	struct conf c = { .max_message_size = 1 << 20 };
	struct intake in;
	char path[64];

	who_ask("/nowhere");
	for (unsigned i = 0; i < OTHERS; i++) {
		snprintf(path, sizeof(path), "in/drop/t.%016x", i * 2654435761u);
		touch(path);
	}
	intake_open(&in, &b->s, &c);
	for (unsigned n = 1; n <= DROPS; n++) {
		in.scan = true;
		for (int i = 0; i < 10 && b->s.drop_at == 0; i++) {
			in.scan_after =
			    0; /* what is left of a crash is looked at first */
			intake_adopt(&in);
		}
		assert_true(b->s.drop_at != 0); /* else this tests nothing */
		drop(n);
		intake_poke(&in);
		look(&in);
		assert_int_equal(count("queue/new"), n);
	}
	intake_close(&in);
}

/* Behind a full batch adoption goes on at once, unless drops pour in: then it rests as long as
 * the batch took, but not for ever. */
static void rests(void **state)
{
	static const struct {
		const char *name;
		int pokes;      /* since the last batch */
		int64_t poured; /* milliseconds ago that it began; < 0: it did not */
		bool rests;
	} rows[] = {
		{ "nobody poked", 0, -1, false },
		{ "somebody poked", 1, -1, true },
		{ "still pouring", 2, 1000, true },
		{ "pouring for long", 3, 60000, false },
		{ "no more", 0, 60000, false },
	};
	struct bed *b = *state;
	struct conf c = { .max_message_size = 1 << 20 };
	unsigned dropped = 0;
	struct intake in;

	who_ask("/nowhere");
	intake_open(&in, &b->s, &c);
	look(&in);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t begun = clock_ms(), took, pause;

		for (unsigned n = 0; n < 2 * ADOPT_BATCH; n++)
			drop(++dropped);
		for (int n = 0; n < rows[i].pokes; n++)
			assert_int_equal(write(b->s.wake, "w", 1), 1);
		in.pours_since = rows[i].poured < 0 ? 0 : begun - rows[i].poured;
		in.scan = true;
		in.scan_after = 0;
		begun = clock_ms();
		assert_true(intake_adopt(&in));
		assert_true(in.scan); /* there is more */
		took = clock_ms() - begun;
		pause = in.scan_after - clock_ms();
		/* A batch of files takes milliseconds: else this tests nothing. */
		if ((rows[i].rests && took > 2 && pause < took / 2 && pause < 90) ||
		    (!rows[i].rests && pause > 1) || pause > 100)
			fail_msg("%s: rests %d ms behind %d", rows[i].name, (int)pause,
			         (int)took);
		look(&in);
		while (count("in/drop"))
			look_again(&in);
	}
	intake_close(&in);
}

/* What waits at the start is counted a second later: most of it may be gone by then. */
static void counts_later(void **state)
{
	static const char text[] =
	    "mailchute 1\nU1000 -\nT1700000000\nmailchute-drop 1\nFa@b.example\n"
	    "Rb@c.example\n\nSubject: x\n\nx\n";
	struct bed *b = *state;
	struct conf c = { .max_message_size = 1 << 20, .max_per_user = 2 };
	struct id gone = nth(0), waits[] = { nth(1), nth(2) };
	int64_t next, begun = clock_ms();
	struct intake take;

	put(in("queue/new", &gone, ""), str_z(text), 0600);
	for (size_t i = 0; i < ARRAY_LEN(waits); i++)
		put(in("queue/new", &waits[i], ""), str_z(text), 0600);
	intake_open(&take, &b->s, &c);
	look(&take);
	intake_door(&take, NOW);
	assert_int_equal(take.census.fd, -1);
	next = intake_next(&take);
	assert_in_range(next, begun + 500, clock_ms() + 1500);
	/* One goes, of which nothing is known yet. */
	assert_int_equal(unlink(in("queue/new", &gone, "")), 0);
	intake_count(&take, 1000, sizeof(text) - 1, -1);
	assert_true(intake_may(&take, 1000, NULL));
	poll(NULL, 0, (int)(next - clock_ms()) + 1);
	intake_door(&take, NOW);
	assert_true(take.census.fd >= 0);
	while (take.census.fd >= 0)
		intake_census(&take);
	assert_int_equal(usage_of(&take.usage, 1000), ARRAY_LEN(waits));
	assert_false(intake_may(&take, 1000, NULL));
	assert_int_equal(intake_next(&take), -1);
	intake_close(&take);
}

/* Until the count that has begun is over. */
static void counted(struct intake *in)
{
	assert_true(in->census.fd >= 0);
	while (in->census.fd >= 0)
		intake_census(in);
}

/* Milliseconds until something is to be done; then it has come. */
static int64_t wait_for_count(struct intake *in)
{
	int64_t next = intake_next(in), wait = next - clock_ms();

	assert_true(next >= 0);
	assert_int_equal(next, in->census_at);
	in->census_at = clock_ms();
	return wait;
}

/* A count that cannot begin, or fails, is made again: not at once, and until it succeeds. */
static void counts_again(void **state)
{
	struct bed *b = *state;
	struct conf c = { .max_message_size = 1 << 20 };
	struct id waits = nth(1);
	struct rlimit was, none;
	struct intake take;
	int free_fd;

	put(in("queue/new", &waits, ""),
	    STR("mailchute 1\nU1000 -\nT1700000000\nmailchute-drop 1\nFa@b.example\n"
	        "Rb@c.example\n\nSubject: x\n\nx\n"),
	    0600);
	intake_open(&take, &b->s, &c);
	look(&take);
	wait_for_count(&take);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	free_fd = dup(0);
	close(free_fd);
	none = (struct rlimit){ (rlim_t)free_fd, was.rlim_max };
	for (int i = 0; i < 2; i++) {
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		take.changed = false;
		intake_door(&take, NOW);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
		assert_int_equal(take.census.fd, -1);
		assert_in_range(wait_for_count(&take), 500, 120000);
	}
	assert_int_equal(rename("queue", "elsewhere"), 0);
	for (int i = 0; i < 2; i++) {
		intake_door(&take, NOW);
		counted(&take);
		intake_door(&take, NOW);
		assert_int_equal(take.census.fd, -1); /* not at once */
		assert_in_range(wait_for_count(&take), 10000, 3600000);
	}
	assert_int_equal(rename("elsewhere", "queue"), 0);
	intake_door(&take, NOW);
	counted(&take);
	assert_int_equal(usage_of(&take.usage, 1000), 1);
	assert_int_equal(intake_next(&take), -1);
	intake_close(&take);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(poked_in_the_middle, bed_setup,
		                                bed_teardown),
		cmocka_unit_test_setup_teardown(rests, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(counts_later, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(counts_again, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests_name("intake", tests, NULL, NULL);
}
