#include "spoolbed.h"
#include "spool/usage.h"

static void adding(void **state)
{
	static const struct {
		const char *name;
		uid_t uid;
		int64_t octets;
		int sign;
		int64_t messages, all, his;
	} rows[] = {
		{ "the first", 5, 100, 1, 1, 100, 1 },
		{ "his second", 5, 50, 1, 2, 150, 2 },
		{ "another's", 6, 1, 1, 3, 151, 1 },
		{ "one goes", 5, 100, -1, 2, 51, 1 },
		{ "of somebody who has none", 7, 1, -1, 1, 50, 0 },
		{ "his last", 5, 50, -1, 0, 0, 0 },
		{ "never below 0", 5, 50, -1, 0, 0, 0 },
		{ "never below 0, another's", 6, 500, -1, 0, 0, 0 },
	};
	static struct usage u;

	(void)state;
	memset(&u, 0, sizeof(u));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		usage_add(&u, rows[i].uid, rows[i].octets, rows[i].sign);
		if (u.messages != rows[i].messages || u.octets != rows[i].all ||
		    usage_of(&u, rows[i].uid) != rows[i].his)
			fail_msg("%s: %lld messages, %lld octets, his %lld", rows[i].name,
			         (long long)u.messages, (long long)u.octets,
			         (long long)usage_of(&u, rows[i].uid));
	}
	assert_int_equal(u.users, 0);
}

/* More users than are told apart share what one may have. */
static void many_users(void **state)
{
	enum { USERS = 3 * USAGE_USERS_MAX };
	static struct usage u;

	(void)state;
	memset(&u, 0, sizeof(u));
	for (uid_t i = 0; i < USERS; i++)
		usage_add(&u, i, 10, 1);
	assert_int_equal(u.users, USAGE_USERS_MAX);
	assert_int_equal(usage_of(&u, 5), 1);
	assert_int_equal(usage_of(&u, USERS - 1), USERS - USAGE_USERS_MAX + 1);
	assert_int_equal(usage_of(&u, USERS + 1), USERS - USAGE_USERS_MAX + 1);
	assert_int_equal(u.messages, USERS);
	for (uid_t i = 0; i < USERS; i++)
		usage_add(&u, USERS - 1 - i, 10, -1);
	assert_int_equal(u.users, 0);
	assert_int_equal(u.messages, 0);
	assert_int_equal(u.octets, 0);
}

static void taking(void **state)
{
	static const struct {
		const char *name, *in;
		int64_t messages, octets, his; /* of 5 */
	} rows[] = {
		{ "nothing", "", 0, 0, 0 },
		{ "two", "5 2 100\n6 1 10\n", 3, 110, 2 },
		{ "twice", "5 2 100\n5 1 10\n", 3, 110, 3 },
		{ "nobody's", "4294967295 2 7\n", 2, 7, 0 },
		{ "no lines", "x\n5\n5 1\n5 1 x\n-5 1 1\n5 -1 1\n99999999999 1 1\n", 0, 0,
		  0 },
		{ "no end of the line", "5 2 100", 2, 100, 2 },
		{ "too large", "5 99999999999 1\n5 1 9223372036854775807\n", 0, 0, 0 },
		{ "none", "5 0 0\n", 0, 0, 0 },
	};
	static struct usage u;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		memset(&u, 0, sizeof(u));
		usage_take(&u, str_z(rows[i].in));
		if (u.messages != rows[i].messages || u.octets != rows[i].octets ||
		    usage_of(&u, 5) != rows[i].his)
			fail_msg("%s: %lld messages, %lld octets", rows[i].name,
			         (long long)u.messages, (long long)u.octets);
	}
}

static void counting(void **state)
{
	static const struct {
		const char *folder, *text;
	} rows[] = {
		{ "queue/new", "mailchute 1\nU5 -\n" }, /* 17 octets */
		{ "queue/r/00000007", "mailchute 1\nU5 -\n" },
		{ "queue/s/00000009", "mailchute 1\nU6 -\n" },
		{ "queue/s/00000009", "damaged" },
		{ "hold", "mailchute 1\nU6 -\n" },
		{ "bad", "mailchute 1\nU6 -\n" },
		{ "in/drop", "mailchute 1\nU6 -\n" },
		{ "note", "mailchute 1\nU6 -\n" },
		{ "queue/r", "mailchute 1\nU6 -\n" },
	};
	static const char *const folders[] = { "queue/r", "queue/r/00000007", "queue/s",
		                               "queue/s/00000009" };
	struct bed *b = *state;
	_cleanup_buf_ struct buf out = BUF_INIT;
	static struct usage u;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		assert_int_equal(mkdir(folders[i], 0700), 0);
	put("queue/file", STR("x"), 0600);
	put("queue/new/t.0000000000000001", STR("mailchute 1\nU6 -\n"), 0600);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = nth((unsigned)i);

		put(in(rows[i].folder, &id, ""), str_z(rows[i].text), 0600);
	}
	for (unsigned i = 0; i < 600; i++) {
		struct id id = nth(1000 + i);

		put(in("queue/new", &id, ""), STR("mailchute 1\nU7 -\n"), 0600);
	}
	assert_int_equal(usage_count(b->s.root, &out), 0);
	memset(&u, 0, sizeof(u));
	usage_take(&u, buf_view(&out));
	assert_int_equal(u.messages, 605);
	assert_int_equal(u.octets, 604 * 17);
	assert_int_equal(usage_of(&u, 5), 2);
	assert_int_equal(usage_of(&u, 6), 2);
	assert_int_equal(usage_of(&u, 7), 600);
	assert_int_equal(usage_of(&u, (uid_t)-1), 1);
	assert_true(usage_count(-1, &out) < 0);
}

static const char *aged(const char *folder, unsigned n, int64_t t)
{
	struct id id = id_make(t * 1000, n);

	return in(folder, &id, "");
}

static void put_aged(const char *folder, unsigned n, int64_t mtime, int64_t of_id)
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
		                       { .tv_sec = (time_t)mtime } };
	const char *path = aged(folder, n, of_id);

	put(path, STR("x"), 0600);
	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void remove_aged(const char *folder, unsigned n, int64_t of_id)
{
	assert_int_equal(unlink(aged(folder, n, of_id)), 0);
}

/* The oldest of queue/ by its file's time; impossible times count from another one on. */
static void oldest(void **state)
{
	enum { AGO = 1000000 };
	static const struct {
		const char *name;
		struct {
			const char *folder;
			int64_t ago;    /* the file's time */
			int64_t id_ago; /* and its id's: so much more */
		} file[4];
		int64_t messages, since_ago, odd; /* odd_since: 50 ago */
	} rows[] = {
		{ "nothing", { { NULL, 0, 0 } }, 0, -1, 0 },
		{ "new", { { "queue/new", 7, 0 } }, 1, 7, 0 },
		{ "a bucket",
		  { { "queue/new", 7, 0 },
		    { "queue/r/00000007", 9, 0 },
		    { "queue/new", 8, 0 } },
		  3,
		  9,
		  0 },
		{ "put off",
		  { { "queue/s/80000000", 70, 0 }, { "queue/r/00000007", 9, 0 } },
		  2,
		  70,
		  0 },
		{ "held", { { "hold", 900, 0 }, { "queue/new", 8, 0 } }, 1, 8, 0 },
		{ "bad, in a route's folder",
		  { { "bad", 900, 0 }, { "queue/r", 900, 0 }, { "queue/new", 8, 0 } },
		  1,
		  8,
		  0 },
		{ "a report has an old id",
		  { { "queue/new", 5, AGO }, { "queue/new", 8, 0 } },
		  2,
		  8,
		  0 },
		{ "the oldest is a report",
		  { { "queue/new", 9, AGO }, { "queue/new", 8, 0 } },
		  2,
		  9,
		  0 },
		{ "a little ahead", { { "queue/new", -200, 0 } }, 1, -200, 0 },
		{ "ahead", { { "queue/new", -400, 0 } }, 1, 50, 1 },
		{ "ahead, and an older one",
		  { { "queue/new", -400, 0 }, { "queue/new", 60, 0 } },
		  2,
		  60,
		  1 },
		{ "ahead, and a younger one",
		  { { "queue/new", 40, 0 }, { "queue/new", -400, 0 } },
		  2,
		  50,
		  1 },
		{ "1970",
		  { { "queue/new", NOW - 100, 0 }, { "queue/new", 3, 0 } },
		  2,
		  50,
		  1 },
	};
	static const char *const folders[] = { "queue/r", "queue/r/00000007", "queue/s",
		                               "queue/s/80000000" };
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		assert_int_equal(mkdir(folders[i], 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oldest o;

		for (unsigned n = 0; n < 4 && rows[i].file[n].folder; n++)
			put_aged(rows[i].file[n].folder, n, NOW - rows[i].file[n].ago,
			         NOW - rows[i].file[n].ago - rows[i].file[n].id_ago);
		assert_int_equal(usage_oldest(b->s.root, NOW, NOW - 50, &o), 0);
		if (o.messages != rows[i].messages || o.odd != rows[i].odd ||
		    !o.id.c[0] != (rows[i].since_ago == -1) ||
		    (o.id.c[0] && o.since != NOW - rows[i].since_ago))
			fail_msg("%s: %lld messages, %lld odd, since NOW - %lld",
			         rows[i].name, (long long)o.messages, (long long)o.odd,
			         (long long)(NOW - o.since));
		for (unsigned n = 0; n < 4 && rows[i].file[n].folder; n++)
			remove_aged(rows[i].file[n].folder, n,
			            NOW - rows[i].file[n].ago - rows[i].file[n].id_ago);
	}
}

/* Where no clock was ever set, 1971 is fine. */
static void oldest_1971(void **state)
{
	struct bed *b = *state;
	struct oldest o;

	put_aged("queue/new", 1, 40000000 - 70, 40000000 - 70);
	assert_int_equal(usage_oldest(b->s.root, 40000000, 40000000, &o), 0);
	assert_int_equal(o.since, 40000000 - 70);
	assert_int_equal(o.odd, 0);
	assert_int_equal(usage_oldest(-1, NOW, NOW, &o), -EBADF);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = { T(adding),   T(many_users), T(taking),
		                            T(counting), T(oldest),     T(oldest_1971) };

	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
