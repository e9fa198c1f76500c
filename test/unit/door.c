#include "spoolbed.h"
#include "spool/door.h"

#define HEAD "mailchute-door 1\n"

static void reading(void **state)
{
	static const struct {
		const char *name, *in;
		uid_t uid;
		bool ok;
		int64_t size, free, inodes;
		const char *refuses;
	} rows[] = {
		{ "open", HEAD, 1000, true, 0, 0, 0, "" },
		{ "limits", HEAD "size 50\nfree 16 1024\n", 1000, true, 50, 16, 1024,
		  "" },
		{ "shut", HEAD "shut 1800000600 full\n", 1000, true, 0, 0, 0, "full" },
		{ "shut, root", HEAD "shut 1800000600 full\n", 0, true, 0, 0, 0, "" },
		{ "shut until now", HEAD "shut 1800000000 full\n", 1000, true, 0, 0, 0,
		  "" },
		{ "shut a second more", HEAD "shut 1800000001 a b  c\n", 1000, true, 0, 0,
		  0, "a b  c" },
		{ "shut long ago", HEAD "shut 5 full\n", 1000, true, 0, 0, 0, "" },
		{ "shut for a day", HEAD "shut 1800086400 x\n", 1000, true, 0, 0, 0,
		  "x" },
		{ "shut for years: the clock", HEAD "shut 1900000000 x\n", 1000, true, 0,
		  0, 0, "" },
		{ "no words", HEAD "shut 1800000600 \n", 1000, true, 0, 0, 0,
		  "mailchuted is shut" },
		{ "this user", HEAD "user 999 1800000600 a\nuser 1000 1800000600 b\n",
		  1000, true, 0, 0, 0, "b" },
		{ "this user, before", HEAD "user 1000 5 a\n", 1000, true, 0, 0, 0, "" },
		{ "another user", HEAD "user 1001 1800000600 a\n", 1000, true, 0, 0, 0,
		  "" },
		{ "root as a user", HEAD "user 0 1800000600 a\n", 0, true, 0, 0, 0, "a" },
		{ "user without words", HEAD "user 7 1800000600 \n", 7, true, 0, 0, 0,
		  "too much of yours waits" },
		{ "a line of later times", HEAD "moon 5\nsize 7\nmoon\n", 7, true, 7, 0,
		  0, "" },
		{ "nothing", "", 7, false, 0, 0, 0, "" },
		{ "version 2", "mailchute-door 2\nshut 1800000600 x\n", 7, false, 0, 0, 0,
		  "" },
		{ "cut in the first line", "mailchute-door", 7, false, 0, 0, 0, "" },
		{ "cut", HEAD "size 50\nshut 1800000600 x", 7, false, 0, 0, 0, "" },
		{ "no number", HEAD "size x\n", 7, false, 0, 0, 0, "" },
		{ "negative", HEAD "size -5\n", 7, false, 0, 0, 0, "" },
		{ "too many numbers", HEAD "size 5 5\n", 7, false, 0, 0, 0, "" },
		{ "one floor", HEAD "free 5\n", 7, false, 0, 0, 0, "" },
		{ "too large a number", HEAD "size 9223372036854775808\n", 7, false, 0, 0,
		  0, "" },
		{ "the largest number", HEAD "size 9223372036854775807\n", 7, true,
		  INT64_MAX, 0, 0, "" },
		{ "no time", HEAD "shut full\n", 7, false, 0, 0, 0, "" },
		{ "no blank behind the time", HEAD "shut 1800000600\n", 7, false, 0, 0, 0,
		  "" },
		{ "a control byte", HEAD "shut 1800000600 a\033b\n", 7, false, 0, 0, 0,
		  "" },
		{ "not ASCII", HEAD "shut 1800000600 a\xc3\xa4\n", 7, false, 0, 0, 0,
		  "" },
		{ "damage behind what is good", HEAD "size 5\nuser\n", 7, false, 0, 0, 0,
		  "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct door d;
		bool ok = door_read(str_z(rows[i].in), rows[i].uid, NOW, &d);
		struct str why = door_refuses(&d, rows[i].uid);

		if (ok != rows[i].ok || d.size != rows[i].size ||
		    d.free != rows[i].free || d.inodes != rows[i].inodes ||
		    !str_eq(why, str_z(rows[i].refuses)))
			fail_msg("%s: %d, %lld %lld %lld, %.*s", rows[i].name, ok,
			         (long long)d.size, (long long)d.free,
			         (long long)d.inodes, (int)why.n, why.p);
	}
}

/* What is printed is read again, and is never larger than what is read. */
static void printing(void **state)
{
	static struct door d;
	_cleanup_buf_ struct buf b = BUF_INIT, words = BUF_INIT;
	struct door got;

	(void)state;
	for (int i = 0; i < 200; i++)
		buf_c(&words, i == 3 ? '\n' : 'w');
	d = (struct door){ .size = INT64_MAX,
		           .free = 5,
		           .shut_until = NOW + 5,
		           .shut_words = buf_view(&words) };
	for (size_t i = 0; i < DOOR_USERS_MAX; i++)
		d.user[d.users++] = (struct door_user){ UINT32_MAX - 1 - (uid_t)i,
			                                INT64_MAX, buf_view(&words) };
	d.user[0].until = NOW + 1;
	door_print(&b, &d);
	assert_true(b.n <= DOOR_MAX && b.n > DOOR_MAX - 200);
	assert_true(door_read(buf_view(&b), UINT32_MAX - 1, NOW, &got));
	assert_true(got.size == INT64_MAX && got.free == 5 && got.inodes == 0);
	assert_int_equal(got.shut_until, NOW + 5);
	assert_int_equal(got.shut_words.n, DOOR_WORDS_MAX);
	assert_true(str_starts(got.shut_words, STR("www?ww")));
	assert_int_equal(got.users, 1);
	buf_reset(&b);
	door_print(&b, &(struct door){ .users = 0 });
	assert_string_equal(b.p, HEAD);
	buf_reset(&b);
	door_print(&b, &(struct door){ .size = 5,
	                               .free = 6,
	                               .inodes = 7,
	                               .shut_until = 8,
	                               .shut_words = STR("a b"),
	                               .user = { { 9, 10, STR("c") } },
	                               .users = 1 });
	assert_string_equal(b.p, HEAD "size 5\nfree 6 7\nshut 8 a b\nuser 9 10 c\n");
}

static void writing(void **state)
{
	static const mode_t masks[] = { 0, 077 };
	struct bed *b = *state;
	struct stat one, two;

	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		mode_t was = umask(masks[i]);

		unlink("in/door");
		put("in/t.door", STR("cut by a kill"), 0600);
		assert_int_equal(door_write(&b->s, STR(HEAD)), 0);
		umask(was);
		assert_int_equal(stat("in/door", &one), 0);
		assert_int_equal(one.st_mode, S_IFREG | 0644);
		assert_string_equal(content("in/door"), HEAD);
		assert_false(there("in/t.door"));
	}
	/* The same again is not written. */
	assert_int_equal(door_write(&b->s, STR(HEAD)), 0);
	assert_int_equal(stat("in/door", &two), 0);
	assert_int_equal(one.st_ino, two.st_ino);
	assert_int_equal(door_write(&b->s, STR(HEAD "size 5\n")), 0);
	assert_string_equal(content("in/door"), HEAD "size 5\n");
	/* It cannot be written: the old one stands. */
	assert_int_equal(unlink("in/door"), 0);
	assert_int_equal(mkdir("in/door", 0700), 0);
	assert_true(door_write(&b->s, STR(HEAD)) < 0);
	assert_false(there("in/t.door"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = { T(reading), T(printing), T(writing) };

	return cmocka_run_group_tests_name("door", tests, NULL, NULL);
}
