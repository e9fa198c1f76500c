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
	{ "mechanisms in vain", "1:stream:0:0:0:1:" HASH ":15", true },
	{ "no mechanism in vain", "1:stream:0:0:0:1:" HASH ":0", false },
	{ "too many mechanisms", "1:stream:0:0:0:1:" HASH ":65536", false },
	{ "a ninth field", "1:stream:0:0:0:1:" HASH ":15:1", false },
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

/* Several hosts. A record is written as its host's number ("3"), the whole as they stand. */
static const struct {
	const char *name, *in, *keep, *want;
} several[] = {
	{ "the first", "", "1", "1" },
	{ "another one", "1", "2", "21" },
	{ "the first again", "21", "1", "12" },
	{ "the last again", "1234", "4", "4123" },
	{ "in the middle", "1234", "3", "3124" },
	{ "one more than there is room for", "12345678", "9", "91234567" },
	{ "full, and known", "12345678", "8", "81234567" },
	{ "full, and forgotten", "12345678", "-5", "1234678" },
	{ "forgotten, the last", "12345678", "-8", "1234567" },
	{ "forgotten, unknown", "12", "-5", "12" },
	{ "forgotten, unknown, full", "12345678", "-9", "12345678" },
};

static void put_hosts(const char *s, struct learned_hosts *all)
{
	*all = (struct learned_hosts){ .n = 0 };
	for (; *s; s++)
		all->of[all->n++] = (struct learned){ .host = (uint64_t)(*s - '0'),
			                              .level = LEVEL_STREAM,
			                              .since = 1795337812 };
}

static void show_hosts(const struct learned_hosts *all, struct buf *b)
{
	for (size_t i = 0; i < all->n; i++)
		buf_fmt(b, "%llu", (unsigned long long)all->of[i].host);
	buf_z(b, "");
}

static void test_several(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(several); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT, text = BUF_INIT;
		const char *keep = several[i].keep;
		bool forgotten = keep[0] == '-';
		struct learned_hosts all, back;
		struct learned l = { .level = LEVEL_COMBO, .window = 7 }, found = { 0 };

		put_hosts(several[i].in, &all);
		l.host = (uint64_t)(keep[forgotten] - '0');
		l.since = forgotten ? 0 : 1795337813;
		learned_keep(&all, &l);
		show_hosts(&all, &b);
		if (!str_eq(buf_view(&b), str_z(several[i].want)))
			fail_msg("%s: %s", several[i].name, b.p);
		if (learned_find(&all, l.host, &found) == forgotten ||
		    (!forgotten && found.window != 7))
			fail_msg("%s: found %u", several[i].name, found.window);
		learned_print_all(&all, CLIENT_LEARNED_MAX, &text);
		learned_parse_all(buf_view(&text), &back);
		buf_reset(&b);
		show_hosts(&back, &b);
		if (!str_eq(buf_view(&b), str_z(several[i].want)))
			fail_msg("%s: read back as %s (%s)", several[i].name, b.p,
			         text.p);
	}
}

#define REC(n) "1:stream:1:128:0:1795337812:000000000000000" #n
static const struct {
	const char *name, *in, *want;
} lists[] = {
	{ "one, as an earlier version wrote it", REC(1), "1" },
	{ "two", REC(1) "," REC(2), "12" },
	{ "twice the same", REC(1) "," REC(2) "," REC(1), "12" },
	{ "another version's among them", REC(1) ",2:new:x," REC(2), "12" },
	{ "empty ones", "," REC(1) ",,", "1" },
	{ "nothing", "", "" },
	{ "rubbish", ",:,,:::,x", "" },
	{ "too many",
	  REC(1) "," REC(2) "," REC(3) "," REC(4) "," REC(5) "," REC(6) "," REC(
	      7) "," REC(8) "," REC(9),
	  "12345678" },
};

static void test_lists(void **state)
{
	struct learned_hosts all;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		learned_parse_all(str_z(lists[i].in), &all);
		show_hosts(&all, &b);
		if (!str_eq(buf_view(&b), str_z(lists[i].want)))
			fail_msg("%s: %s", lists[i].name, b.p);
	}
	/* All of them fit, in the longest form that they have in this century and the next. */
	put_hosts("12345678", &all);
	for (size_t i = 0; i < all.n; i++) {
		all.of[i] = (struct learned){ .host = ~(uint64_t)i,
			                      .level = LEVEL_LOCKSTEP,
			                      .canary = true,
			                      .window = LEARNED_WINDOW_MAX,
			                      .strikes = LEARNED_STRIKES,
			                      .since = 5000000000 };
	}
	for (size_t max = 0; max <= CLIENT_LEARNED_MAX; max++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct learned_hosts back;

		learned_print_all(&all, max, &b);
		assert_true(b.n <= max);
		learned_parse_all(buf_view(&b), &back);
		assert_true(back.n >= max / 51);
	}
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
		cmocka_unit_test(test_greeting), cmocka_unit_test(test_several),
		cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
