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

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = { T(adding), T(many_users), T(taking),
		                            T(counting) };

	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
