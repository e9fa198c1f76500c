#include "smtp/idna.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_rows(void **state)
{
	static const struct {
		const char *name, *in, *want; /* want NULL: -EINVAL */
	} rows[] = {
		{ "ascii", "a@b.example", "a@b.example" },
		{ "ascii, case stays", "A@B.Example", "A@B.Example" },
		{ "bare", "root", "root" },
		{ "literal", "a@[IPv6:::1]", "a@[IPv6:::1]" },
		{ "latin",
		  "a@b\xc3\xbc"
		  "cher.example",
		  "a@xn--bcher-kva.example" },
		{ "upper case",
		  "Ed@B\xc3\x9c"
		  "CHER.example",
		  "Ed@xn--bcher-kva.example" },
		{ "sharp s, IDNA2008", "a@fa\xc3\x9f.example", "a@xn--fa-hia.example" },
		{ "not composed",
		  "a@bu\xcc\x88"
		  "cher.example",
		  "a@xn--bcher-kva.example" },
		{ "every label",
		  "a@\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88",
		  "a@xn--r8jz45g.xn--zckzah" },
		{ "ideographic dot", "a@\xe4\xbe\x8b\xe3\x81\x88\xe3\x80\x82jp",
		  "a@xn--r8jz45g.jp" },
		{ "quoted local part with @", "\"a@b\"@\xc3\xbc.example",
		  "\"a@b\"@xn--tda.example" },
		{ "local part not ascii", "\xc3\xbc@\xc3\xbc.example", NULL },
		{ "local part not ascii, domain is", "\xc3\xbc@b.example", NULL },
		{ "bare, not ascii", "\xc3\xbc", NULL },
		{ "no UTF-8",
		  "a@b\xfc"
		  "cher.example",
		  NULL },
		{ "cut UTF-8", "a@b\xc3", NULL },
		{ "no local part", "@\xc3\xbc.example", NULL },
		{ "not assigned", "a@x\xee\x80\x80.example", NULL },
		{ "empty label", "a@\xc3\xbc..example", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		int r = idna_address(&got, str_z(rows[i].in));

		if (r != (rows[i].want ? 0 : -EINVAL) ||
		    !str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: %d, got %.*s", rows[i].name, r, (int)got.n,
			         got.n ? got.p : "");
	}
}

/* Whatever comes, what goes into a command is ASCII without blanks, or nothing. */
static void test_bytes(void **state)
{
	(void)state;
	for (unsigned x = 0; x < 0x10000; x += 7) {
		char in[] = "a@b??c.example";
		_cleanup_buf_ struct buf got = BUF_INIT;

		in[3] = (char)(x >> 8);
		in[4] = (char)(x & 0xff);
		if (idna_address(&got, (struct str){ in, sizeof(in) - 1 }) < 0) {
			assert_int_equal(got.n, 0);
			continue;
		}
		for (size_t i = 0; i < got.n; i++)
			assert_true((unsigned char)got.p[i] < 0x80);
		if ((x & 0x8080) == 0)
			assert_memory_equal(got.p, in, got.n);
	}
}

static void test_long(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT;

	(void)state;
	buf_z(&in, "a@");
	for (size_t i = 0; i < 100; i++)
		buf_z(&in, "\xc3\xbc.");
	buf_z(&in, "example");
	assert_int_equal(idna_address(&got, buf_view(&in)), -EINVAL);
	assert_int_equal(got.n, 0);
	for (size_t i = 0; i < 1 << 19; i++)
		buf_z(&in, "\xc3\xbc");
	assert_int_equal(idna_address(&got, buf_view(&in)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests_name("idna", tests, NULL, NULL);
}
