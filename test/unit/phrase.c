#include "mail/phrase.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The name of the first mailbox of a list, as text. */
static void test_text(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "none", "a@b", "" },
		{ "words", "Eddy  Moe <a@b>", "Eddy Moe" },
		{ "obs-phrase", "John Q. Public <a@b>", "John Q. Public" },
		{ "quoted", "\"Moe, Eddy\" <a@b>", "Moe, Eddy" },
		{ "quoted pair", "\"a\\\"b\\\\c\" <a@b>", "a\"b\\c" },
		{ "folded", "\"Eddy\r\n Moe\" x\n\ty <a@b>", "Eddy Moe x y" },
		{ "name before comment", "Eddy (x) <a@b> (y)", "Eddy" },
		{ "comment", "a@b (Cron Daemon)", "Cron Daemon" },
		{ "nested comment", "a@b (Cron (x) Daemon)", "Cron (x) Daemon" },
		{ "comment, quoted pair", "a@b (\\(x\\))", "x" },
		{ "cronie", "\"(Cron Daemon)\" <root>", "Cron Daemon" },
		{ "two in parentheses", "\"(a) (b)\" <root>", "(a) (b)" },
		{ "parentheses within", "\"x (a)\" <root>", "x (a)" },
		{ "empty parentheses", "\"()\" <root>", "()" },
		{ "encoded word", "=?utf-8?q?J=C3=BC,?= x <a@b>",
		  "=?utf-8?q?J=C3=BC,?= x" },
		{ "8 bit", "J\xc3\xbcrgen <a@b>", "J\xc3\xbcrgen" },
		{ "controls", "\"a\x01\x7f\" <a@b>", "a" },
		{ "open angle", "Eddy <a@b", "Eddy" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct addr_list l;
		struct addr a;

		addr_list_start(&l, str_z(rows[i].in));
		assert_true(addr_list_next(&l, &a));
		phrase_text(&got, &a);
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: got %.*s", rows[i].name, (int)got.n,
			         got.n ? got.p : "");
	}
}

/* A name that was written is read back as itself. */
static void test_back(void **state)
{
	static const char *const names[] = {
		"Eddy Moe",     "Moe, Eddy", "a\"b\\c",       "x@y <z>", "(x) y",
		"root at box1", ";:,",       "=?utf-8?q?x?=", "a.b",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_buf_ struct buf field = BUF_INIT, got = BUF_INIT;
		struct addr_list l;
		struct addr a;

		phrase_mailbox(&field, str_z(names[i]), STR("a@b"));
		addr_list_start(&l, buf_view(&field));
		assert_true(addr_list_next(&l, &a));
		assert_false(l.bad);
		phrase_text(&got, &a);
		if (!str_eq(buf_view(&got), str_z(names[i])))
			fail_msg("%s: got %.*s", names[i], (int)got.n,
			         got.n ? got.p : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_back),
	};

	return cmocka_run_group_tests_name("phrase", tests, NULL, NULL);
}
