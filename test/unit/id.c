#include "spool/id.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_ok(void **state)
{
	static const struct {
		const char *name, *in;
		bool want;
	} rows[] = {
		{ "digits", "0123456789012345", true },
		{ "letters", "abcdefabcdefabcd", true },
		{ "upper case", "ABCDEFABCDEFABCD", false },
		{ "short", "012345678901234", false },
		{ "long", "01234567890123456", false },
		{ "empty", "", false },
		{ "dot", ".", false },
		{ "being written", "t.0123456789012345", false },
		{ "slash", "0123456789/12345", false },
		{ "g", "g123456789012345", false },
		{ "blank in front", " 123456789012345", false },
		{ "high byte",
		  "\xb9"
		  "123456789012345",
		  false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = { "unchanged" };

		if (id_ok(rows[i].in) != rows[i].want)
			fail_msg("%s", rows[i].name);
		if (id_from(str_z(rows[i].in), &id) != rows[i].want)
			fail_msg("%s: id_from", rows[i].name);
		if (strcmp(id.c, rows[i].want ? rows[i].in : "unchanged") != 0)
			fail_msg("%s: result", rows[i].name);
	}
}

static void test_make(void **state)
{
	static const struct {
		const char *name;
		int64_t ms;
		unsigned random;
		const char *want;
	} rows[] = {
		{ "zero", 0, 0, "0000000000000000" },
		{ "parts", 0x123456789ab, 0xcdef, "123456789ab0cdef" },
		{ "44 bits of time", INT64_C(0x7f123456789ab), 1, "123456789ab00001" },
		{ "16 bits of random", 1, 0xfffff,
		  "0000000000"
		  "10ffff" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = id_make(rows[i].ms, rows[i].random),
		          of = id_derive(&id, 3);
		int64_t ms = rows[i].ms & INT64_C(0xfffffffffff);

		if (strcmp(id.c, rows[i].want) != 0)
			fail_msg("%s: want %s, got %s", rows[i].name, rows[i].want, id.c);
		if (!id_ok(id.c) || !str_eq(id_str(&id), str_z(rows[i].want)))
			fail_msg("%s: no id", rows[i].name);
		if (id_ms(&id) != ms || id_ms(&of) != ms)
			fail_msg("%s: not of that time", rows[i].name);
	}
}

static void test_order(void **state)
{
	struct id a = id_make(1000, 0xffff), b = id_make(1001, 0);

	(void)state;
	assert_true(id_cmp(&a, &b) < 0);
	assert_true(id_cmp(&b, &a) > 0);
	assert_true(id_cmp(&a, &a) == 0);
}

/* All that one message makes differ from each other and from what id_make() makes. */
static void test_derive(void **state)
{
	enum { MANY = 2000 };
	static struct id seen[MANY];
	struct id parent = id_make(0x18f00000000, 0xfff0);

	(void)state;
	for (unsigned n = 1; n <= MANY; n++) {
		struct id d = id_derive(&parent, n), again = id_derive(&parent, n);

		assert_string_equal(d.c, again.c);
		assert_true(id_ok(d.c));
		assert_memory_equal(d.c, parent.c, 11); /* the same time */
		if (d.c[11] == '0')
			fail_msg("%u: %s could be made", n, d.c);
		for (unsigned i = 0; i + 1 < n; i++)
			if (id_cmp(&seen[i], &d) == 0)
				fail_msg("%u and %u are both %s", i + 1, n, d.c);
		seen[n - 1] = d;
	}
	assert_string_equal(seen[0].c, "18f000000001fff0");
	assert_string_equal(seen[14].c, "18f00000000ffff0");
	assert_string_equal(seen[15].c, "18f000000001fff1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ok),
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_derive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
