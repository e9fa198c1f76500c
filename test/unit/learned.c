/* What is remembered about a smart host */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "smtp/client.h"
#include "smtp/learned.h"

#define HASH "0123456789abcdef"

static const struct {
	const char *name, *in;
	bool ok;
} parsed[] = {
	{ "stream", "1:stream:1:128:0:1795337812:" HASH, true },
	{ "combo", "1:combo:0:0:1:1:" HASH, true },
	{ "pipe", "1:pipe:0:0:0:1:" HASH, true },
	{ "lockstep", "1:lockstep:0:100000:2:1:" HASH, true },
	{ "empty", "", false },
	{ "another version", "2:stream:1:128:0:1795337812:" HASH, false },
	{ "no level", "1:quick:1:128:0:1795337812:" HASH, false },
	{ "a field less", "1:stream:1:128:1795337812:" HASH, false },
	{ "a field more", "1:stream:1:128:0:1795337812:" HASH ":", false },
	{ "many fields", "::::::::::::::::::::::::::::::::", false },
	{ "canary of 2", "1:stream:2:128:0:1795337812:" HASH, false },
	{ "a window too large", "1:stream:1:100001:0:1795337812:" HASH, false },
	{ "a window below 0", "1:stream:1:-1:0:1795337812:" HASH, false },
	{ "too many strikes", "1:stream:1:128:3:1795337812:" HASH, false },
	{ "no time", "1:stream:1:128:0:0:" HASH, false },
	{ "a time that does not fit", "1:stream:1:128:0:9999999999999999999:" HASH,
	  false },
	{ "a short hash", "1:stream:1:128:0:1795337812:0123456789abcde", false },
	{ "a hash in capitals", "1:stream:1:128:0:1795337812:0123456789ABCDEF", false },
	{ "a hash of 0", "1:stream:1:128:0:1795337812:0000000000000000", false },
	{ "a blank", "1:stream:1:128:0:1795337812:" HASH " ", false },
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parsed); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct learned l = { .window = 77777 };

		if (learned_parse(str_z(parsed[i].in), &l) != parsed[i].ok)
			fail_msg("%s", parsed[i].name);
		if (!parsed[i].ok) {
			if (l.window != 77777)
				fail_msg("%s: touched", parsed[i].name);
			continue;
		}
		learned_print(&l, &b);
		if (!str_eq(buf_view(&b), str_z(parsed[i].in)))
			fail_msg("%s: %s", parsed[i].name, b.p);
		assert_true(b.n <= CLIENT_LEARNED_MAX);
	}
}

/* Each single octet changed: refused, or printed as something that is read back. */
static void test_hostile(void **state)
{
	static const char good[] = "1:stream:1:128:1:1795337812:" HASH;

	(void)state;
	for (size_t at = 0; at < sizeof(good) - 1; at++)
		for (int c = 0; c < 256; c++) {
			_cleanup_buf_ struct buf b = BUF_INIT, again = BUF_INIT;
			struct learned l, m;

			buf_z(&b, good);
			b.p[at] = (char)c;
			if (!learned_parse(buf_view(&b), &l))
				continue;
			learned_print(&l, &again);
			assert_true(learned_parse(buf_view(&again), &m));
			assert_memory_equal(&l.host, &m.host, sizeof(l.host));
		}
}

static void test_holds(void **state)
{
	struct learned l = { .host = 5, .since = 1000000 };

	(void)state;
	assert_true(learned_holds(&l, 5, 1000000));
	assert_true(learned_holds(&l, 5, 1000000 + LEARNED_SECONDS - 1));
	assert_false(learned_holds(&l, 5, 1000000 + LEARNED_SECONDS));
	assert_false(learned_holds(&l, 5, 999999)); /* the clock was wrong */
	assert_false(learned_holds(&l, 6, 1000000));
	l.host = 0;
	assert_false(learned_holds(&l, 0, 1000000));
}

static void test_down(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct learned l;

	(void)state;
	learned_forget(&l, 5);
	learned_print(&l, &b);
	assert_int_equal(b.n, 0); /* nothing is known */
	learned_strike(&l, LEVEL_STREAM, 10);
	assert_int_equal(l.level, LEVEL_STREAM);
	assert_int_equal(l.strikes, 1);
	learned_strike(&l, LEVEL_STREAM, 20);
	assert_int_equal(l.level, LEVEL_COMBO);
	assert_int_equal(l.since, 20);
	assert_int_equal(l.strikes, 0);
	assert_false(learned_demote(&l, LEVEL_STREAM, 30)); /* never up */
	assert_int_equal(l.level, LEVEL_COMBO);
	assert_true(learned_demote(&l, LEVEL_LOCKSTEP, 30));
	learned_strike(&l, LEVEL_LOCKSTEP, 40);
	learned_strike(&l, LEVEL_LOCKSTEP, 40);
	assert_int_equal(l.level, LEVEL_LOCKSTEP);
	assert_int_equal(l.since, 30);
}

static const struct {
	const char *name, *a, *b;
	bool same;
} greetings[] = {
	{ "Exim, another day", "mx ESMTP Exim 4.96 Sun, 22 Nov 2026 08:21:16 +0000",
	  "mx ESMTP Exim 4.96 Mon, 01 Feb 2027 23:01:02 +0100", true },
	{ "Exim, another version", "mx ESMTP Exim 4.96 Sun, 22 Nov 2026 08:21:16 +0000",
	  "mx ESMTP Exim 4.97 Sun, 22 Nov 2026 08:21:16 +0000", false },
	{ "another host", "a.example ESMTP Postfix", "b.example ESMTP Postfix", false },
	{ "a session id", "smtp.gmail.com ESMTP 5b1f17b1804b1-42b.22 - gsmtp",
	  "smtp.gmail.com ESMTP a640c23a62f3a-dd.7 - gsmtp", true },
	{ "one of many machines",
	  "AM6PR05CA0001.example Microsoft ESMTP MAIL Service ready",
	  "VI1PR08CA0113.example Microsoft ESMTP MAIL Service ready", true },
	{ "other software", "mx ESMTP Postfix", "mx ESMTP OpenSMTPD", false },
};

static void test_greeting(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(greetings); i++) {
		bool same = learned_greeting(str_z(greetings[i].a)) ==
		            learned_greeting(str_z(greetings[i].b));

		if (same != greetings[i].same)
			fail_msg("%s", greetings[i].name);
	}
	assert_true(learned_keyword(1, STR("SIZE")) == learned_keyword(1, STR("size")));
	assert_true(learned_keyword(1, STR("SIZE")) != learned_keyword(1, STR("DSN")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),    cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_holds),    cmocka_unit_test(test_down),
		cmocka_unit_test(test_greeting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
