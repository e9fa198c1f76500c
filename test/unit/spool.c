#include "spoolbed.h"
#include "base/clock.h"
#include <poll.h>
#include <sys/time.h>
#include <sys/wait.h>

static void modes(void **state)
{
	static const struct {
		const char *path;
		mode_t want;
	} rows[] = {
		{ "in", S_IFDIR | 0711 },       { "in/drop", S_IFDIR | 03777 },
		{ "in/taken", S_IFDIR | 0700 }, { "in/wake", S_IFIFO | 0622 },
		{ "queue", S_IFDIR | 0700 },    { "queue/new", S_IFDIR | 0700 },
		{ "note", S_IFDIR | 0700 },     { "hold", S_IFDIR | 0700 },
		{ "bad", S_IFDIR | 0700 },      { "run", S_IFDIR | 0700 },
		{ "lock", S_IFREG | 0600 },     { "junk", S_IFDIR | 0700 },
	};
	static const mode_t masks[] = { 0, 022, 077 };

	(void)state;
	for (size_t m = 0; m < ARRAY_LEN(masks); m++) {
		char root[] = "s0";
		mode_t was = umask(masks[m]);
		const char *where;
		struct spool s;

		root[1] = (char)('0' + m);
		assert_int_equal(mkdir(root, 0755), 0);
		/* The second time everything is there; a crash left one without its mode. */
		for (int again = 0; again < 2; again++) {
			if (again)
				assert_int_equal(
				    chmod(in(root, &(struct id){ "in/drop" }, ""), 0700),
				    0);
			assert_int_equal(spool_open(&s, root, true, &where), 0);
			spool_close(&s);
			for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
				char path[64];
				struct stat st;

				snprintf(path, sizeof(path), "%s/%s", root, rows[i].path);
				if (lstat(path, &st) < 0 || st.st_mode != rows[i].want)
					fail_msg("umask %03o, %s: mode %o, want %o",
					         masks[m], path, st.st_mode,
					         rows[i].want);
			}
			assert_int_equal(count(root), 8);
		}
		umask(was);
	}
}

static void no_create(void **state)
{
	const char *where = "";
	struct spool s;

	(void)state;
	assert_int_equal(mkdir("other", 0755), 0);
	assert_int_equal(spool_open(&s, "other", false, &where), -ENOENT);
	assert_string_equal(where, "in");
	spool_close(&s);
	assert_int_equal(count("other"), 0);
	assert_int_equal(spool_open(&s, "nowhere", true, &where), -ENOENT);
	assert_string_equal(where, "spool");
	spool_close(&s);
	/* A folder that is a symbolic link leads elsewhere: not followed. */
	assert_int_equal(symlink("/tmp", "other/in"), 0);
	assert_true(spool_open(&s, "other", true, &where) < 0);
	assert_string_equal(where, "in");
	spool_close(&s);
}

static void wake_replaced(void **state)
{
	static const char *const rows[] = { "file", "link", "fifo of another mode" };
	struct bed *b = *state;
	const char *where = "";

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct stat st;

		spool_close(&b->s);
		unlink("in/wake");
		if (i == 0)
			put("in/wake", STR("x"), 0622);
		else if (i == 1)
			assert_int_equal(symlink("/dev/null", "in/wake"), 0);
		else
			assert_int_equal(mkfifo("in/wake", 0600), 0);
		if (spool_open(&b->s, b->root, true, &where) < 0)
			fail_msg("%s: not opened", rows[i]);
		if (lstat("in/wake", &st) < 0 || st.st_mode != (S_IFIFO | 0622))
			fail_msg("%s: mode %o", rows[i], st.st_mode);
	}
	/* Without create it is left alone, and refused. */
	spool_close(&b->s);
	unlink("in/wake");
	put("in/wake", STR("x"), 0622);
	assert_int_equal(spool_open(&b->s, b->root, false, &where), -EPROTO);
	assert_string_equal(where, "in/wake");
	assert_true(there("in/wake"));
}

static void wakes(void **state)
{
	static const struct {
		const char *in;
		bool want;
	} rows[] = { { "", false }, { "w", false }, { "wwqw", true }, { "q", true } };
	struct bed *b = *state;
	char many[1500];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = open("in/wake", O_WRONLY | O_NONBLOCK);

		assert_true(fd >= 0);
		assert_int_equal(io_write(fd, rows[i].in, strlen(rows[i].in)), 0);
		close(fd);
		if (spool_wake_drain(&b->s) != rows[i].want)
			fail_msg("%s", rows[i].in);
		assert_false(spool_wake_drain(&b->s));
	}
	/* More than one read of it, the q at the end. */
	memset(many, 'w', sizeof(many));
	many[sizeof(many) - 1] = 'q';
	assert_int_equal(io_write(b->s.wake, many, sizeof(many)), 0);
	assert_true(spool_wake_drain(&b->s));
}

static void lock_twice(void **state)
{
	struct bed *b = *state;
	const char *where;
	struct spool other;
	int64_t from;
	pid_t pid;

	assert_int_equal(spool_lock(&b->s, 0), 0);
	assert_int_equal(spool_open(&other, b->root, true, &where), 0);
	from = clock_ms();
	assert_int_equal(spool_lock(&other, 250), -EWOULDBLOCK);
	assert_true(clock_ms() - from >= 250);
	/* Whoever inherited it (push) keeps it; when that ends, it is free. */
	pid = fork();
	if (pid == 0) {
		poll(NULL, 0, 300);
		_exit(0);
	}
	close(b->s.lock);
	b->s.lock = -1;
	assert_int_equal(spool_lock(&other, 0), -EWOULDBLOCK);
	assert_int_equal(spool_lock(&other, 5000), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	spool_close(&other);
}

static void sweep(void **state)
{
	static const struct {
		const char *path;
		int hours; /* its age */
		bool kept;
	} rows[] = {
		{ "in/drop/t.0000000000000001", 35, true },
		{ "in/drop/t.0000000000000002", 37, false },
		{ "in/drop/t.anything", 37, false },
		{ "in/drop/0000000000000003", 100, true },
		{ "in/drop/other", 100, true },
		{ "queue/new/t.0000000000000004", 0, false },
		{ "queue/new/0000000000000005", 100, true },
		{ "note/t.0000000000000006", 0, false },
		{ "note/0000000000000007", 100, true },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct timeval t[2] = { { .tv_sec = NOW - rows[i].hours * 3600 } };

		t[1] = t[0];
		put(rows[i].path, STR("x"), 0600);
		assert_int_equal(utimes(rows[i].path, t), 0);
	}
	assert_int_equal(mkdir("in/drop/t.folder", 0700), 0);
	spool_sweep(&b->s, NOW, true);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (there(rows[i].path) != rows[i].kept)
			fail_msg("%s: %s", rows[i].path,
			         rows[i].kept ? "removed" : "not removed");
	assert_true(there("in/drop/t.folder"));
}

/* Junk goes 36 hours after it came to junk/, which its name says: its times are its owner's. */
static void sweep_junk(void **state)
{
	static const struct {
		const char *name;
		int hours; /* since it came */
		bool kept;
	} rows[] = {
		{ "now", 0, true },
		{ "35 hours ago", 35, true },
		{ "37 hours ago", 37, false },
		{ "the clock was ahead a little", -35, true },
		{ "the clock was ahead", -1000, false },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = id_make((NOW - rows[i].hours * 3600) * 1000, 7);

		put(in("junk", &id, ""), STR("x"), 0600);
		spool_sweep(&b->s, NOW, true);
		if (there(in("junk", &id, "")) != rows[i].kept)
			fail_msg("%s: %s", rows[i].name,
			         rows[i].kept ? "removed" : "not removed");
		unlink(in("junk", &id, ""));
	}
	put("junk/by hand", STR("x"), 0600);
	spool_sweep(&b->s, NOW, true);
	assert_true(there("junk/by hand"));
}

static void old_note(const struct id *id, int64_t age)
{
	struct timeval t[2] = { { .tv_sec = NOW - age }, { .tv_sec = NOW - age } };

	put(in("note", id, ""), STR("n\n"), 0600);
	assert_int_equal(utimes(in("note", id, ""), t), 0);
}

/* Only a note whose message is certainly nowhere goes. */
static void orphans(void **state)
{
	static const struct {
		const char *name, *where;
		int64_t age;
		bool kept;
	} rows[] = {
		{ "nowhere", NULL, 3700, false },
		{ "nowhere, for years", NULL, 100000000, false },
		{ "nowhere, but just written", NULL, 3500, true },
		{ "nowhere, written in the future", NULL, -100000, true },
		{ "new", "queue/new", 100000, true },
		{ "waiting", "queue/r/00000007", 100000, true },
		{ "of another route", "queue/s/0fffffff", 100000, true },
		{ "held", "hold", 100000, true },
		{ "bad", "bad", 100000, true },
		{ "taken", "in/taken", 100000, true },
	};
	static const char *const folders[] = { "queue/r", "queue/r/00000007", "queue/s",
		                               "queue/s/0fffffff" };
	struct bed *b = *state;
	long at = 0;
	unsigned removed;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		assert_int_equal(mkdir(folders[i], 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = nth((unsigned)i);

		if (rows[i].where)
			put(in(rows[i].where, &id, ""), STR("x"), 0600);
		old_note(&id, rows[i].age);
	}
	put("note/other", STR("x"), 0600);
	removed = spool_sweep_notes(&b->s, NOW, &at);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = nth((unsigned)i);

		if (there(in("note", &id, "")) != rows[i].kept)
			fail_msg("%s: %s", rows[i].name,
			         rows[i].kept ? "removed" : "not removed");
	}
	assert_true(there("note/other"));
	assert_int_equal(removed, 2);
	assert_int_equal(at, 0);
}

/* A part that is prepared has its note first. When something cannot be read, nothing goes. */
static void orphans_unsure(void **state)
{
	struct bed *b = *state;
	struct id parent = nth(1), part = id_derive(&parent, PART_FIRST), gone = nth(2);
	struct spool s;
	long at = 0;

	put(in("queue/new", &parent, ""), STR("x"), 0600);
	put("queue/new/d.other", STR("x"), 0600);
	assert_int_equal(
	    part_prepare(&b->s, &parent, PART_FIRST, in("new", &parent, ""), STR("n\n")),
	    0);
	old_note(&part, 100000);
	old_note(&gone, 100000);
	s = b->s;
	s.hold = -1;
	assert_int_equal(spool_sweep_notes(&s, NOW, &at), 0);
	s = b->s;
	s.queue = -1;
	assert_int_equal(spool_sweep_notes(&s, NOW, &at), 0);
	s = b->s;
	s.new = -1;
	assert_int_equal(spool_sweep_notes(&s, NOW, &at), 0);
	assert_int_equal(spool_sweep_notes(&b->s, NOW, &at), 1);
	assert_true(there(in("note", &part, "")));
	assert_false(there(in("note", &gone, "")));
}

/* Bounded in one call; all go in the end. */
static void orphans_many(void **state)
{
	enum { NOTES = 600 };
	struct bed *b = *state;
	unsigned removed = 0, calls = 0;
	long at = 0;

	for (unsigned i = 0; i < NOTES; i++) {
		struct id id = nth(i);

		old_note(&id, i % 2 ? 100000 : 0);
	}
	do {
		unsigned n = spool_sweep_notes(&b->s, NOW, &at);

		if (n > SPOOL_SWEEP_FINDS)
			fail_msg("%u at once", n);
		removed += n;
		calls++;
	} while (calls < 1000 && count("note") > NOTES / 2);
	assert_int_equal(removed, NOTES / 2);
	assert_true(calls >= NOTES / 2 / SPOOL_SWEEP_FINDS);
}

static void files(void **state)
{
	struct bed *b = *state;
	struct id id = nth(1);
	struct stat st;
	char temp[64];
	int fd;

	/* Aborted: nothing is left. */
	fd = spool_file_begin(b->s.new, &id);
	assert_true(fd >= 0);
	assert_int_equal(count("queue/new"), 1);
	spool_file_abort(b->s.new, &id, fd);
	assert_int_equal(count("queue/new"), 0);
	/* Committed; then never over it, unless replacing. */
	for (int i = 0; i < 3; i++) {
		const char *text = i == 0 ? "one" : i == 1 ? "two" : "three";
		int e;

		fd = spool_file_begin(b->s.new, &id);
		assert_int_equal(io_write(fd, text, strlen(text)), 0);
		e = spool_file_commit(b->s.new, &id, fd, i == 2);
		assert_int_equal(e, i == 1 ? -EEXIST : 0);
		assert_int_equal(count("queue/new"), 1);
		assert_string_equal(content(in("queue/new", &id, "")),
		                    i == 2 ? "three" : "one");
	}
	assert_int_equal(stat(in("queue/new", &id, ""), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	/* What a crash left under the temporary name is no obstacle, and is not followed. */
	id = nth(2);
	put("target", STR("precious"), 0600);
	snprintf(temp, sizeof(temp), "queue/new/t.%s", id.c);
	assert_int_equal(symlink("../../target", temp), 0);
	fd = spool_file_begin(b->s.new, &id);
	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, "new", 3), 0);
	assert_int_equal(spool_file_commit(b->s.new, &id, fd, false), 0);
	assert_string_equal(content("target"), "precious");
	assert_string_equal(content(in("queue/new", &id, "")), "new");
}

static void state_file(void **state)
{
	struct bed *b = *state;
	_cleanup_buf_ struct buf got = BUF_INIT;

	assert_int_equal(spool_state_read(&b->s, &got), -ENOENT);
	assert_int_equal(spool_state_write(&b->s, STR("a long first one\n")), 0);
	assert_int_equal(spool_state_write(&b->s, STR("two\n")), 0);
	assert_int_equal(spool_state_read(&b->s, &got), 0);
	assert_true(str_eq(buf_view(&got), STR("two\n")));
	assert_false(there("t.state"));
}

static void new_ids(void **state)
{
	struct bed *b = *state;
	struct id last = spool_new_id(&b->s);

	for (int i = 0; i < 100000; i++) {
		struct id id;

		/* The clock steps back to 1970: ids go on. */
		if (i == 50000)
			b->s.last_id += UINT64_C(1000000) << 16;
		id = spool_new_id(&b->s);
		if (id_cmp(&last, &id) >= 0 || !id_ok(id.c))
			fail_msg("%d: %s after %s", i, id.c, last.c);
		last = id;
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(modes),          T(no_create),    T(wake_replaced), T(wakes),
		T(lock_twice),     T(sweep),        T(sweep_junk),    T(orphans),
		T(orphans_unsure), T(orphans_many), T(files),         T(state_file),
		T(new_ids),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
