/* The content of a message at our door: all short bodies, every way to smuggle, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>

#include "serverbed.h"
#include "smuggle.h"

enum { BODY_MAX = 6 };

#define START "MAIL FROM:a\nRCPT TO:b\nDATA\r\n"

static void fail_with(const char *why, struct str in, size_t at, struct str got)
{
	_cleanup_buf_ struct buf b = BUF_INIT, g = BUF_INIT;

	buf_escape(&b, in, 600);
	buf_escape(&g, got, 600);
	fail_msg("%s: %s cut at %zu gives %s", why, b.p, at, g.p);
}

/* One message with the content that the reference says; what stands behind its end are
 * no commands that do anything. */
static void check_cut(struct serverbed *b, struct str stream, struct str want, size_t at)
{
	unsigned was = b->committed;

	buf_reset(&b->out);
	buf_reset(&b->content);
	bed_say(b, STR(START));
	if (b->s.state != SERVER_DATA)
		fail_with("no 354", stream, at, buf_view(&b->out));
	bed_say(b, str_head(stream, at));
	bed_say(b, str_from(stream, at));
	if (b->committed != was + 1 || b->mails != b->committed || b->wrong)
		fail_with("not one message", stream, at, buf_view(&b->out));
	if (!str_eq(buf_view(&b->content), want))
		fail_with("another content", stream, at, buf_view(&b->content));
	if (b->s.state != SERVER_COMMAND)
		fail_with("another state", stream, at, buf_view(&b->out));
	if (b->s.line.n)
		bed_say(b, STR("\r\n")); /* what is left of a line behind the end */
}

static void check_all_cuts(struct serverbed *b, struct str stream, struct buf *want)
{
	size_t end = reference(stream, want);

	if (end > stream.n)
		fail_with("reference", stream, end, STR_NONE);
	for (size_t at = 0; at <= stream.n; at++)
		check_cut(b, stream, buf_view(want), at);
}

static void test_all_short_bodies(void **state)
{
	static const char alphabet[] = { '\r', '\n', '.', 'x', '\0', ' ' };
	_cleanup_buf_ struct buf want = BUF_INIT;
	size_t all = 1, cases = 0;
	struct serverbed b;

	(void)state;
	bed_open(&b);
	b.quiet = true;
	b.conf.errors_max = UINT_MAX;
	bed_start(&b);
	for (size_t n = 0; n <= BODY_MAX; n++, all *= ARRAY_LEN(alphabet)) {
		for (size_t k = 0; k < all; k++) {
			char in[BODY_MAX + 5];
			size_t v = k;

			for (size_t i = 0; i < n; i++, v /= ARRAY_LEN(alphabet))
				in[i] = alphabet[v % ARRAY_LEN(alphabet)];
			memcpy(in + n, END, 5);
			check_all_cuts(&b, (struct str){ in, n + 5 }, &want);
			cases++;
		}
	}
	assert_int_equal(cases, 55987);
	bed_close(&b);
}

static void test_smuggling(void **state)
{
	struct serverbed b;

	(void)state;
	assert_true(ARRAY_LEN(variants) > 40);
	bed_open(&b);
	b.quiet = true;
	bed_start(&b);
	for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, want = BUF_INIT;
		ptrdiff_t evil;

		buf_z(&in, "Subject: harmless\r\n\r\nhello");
		buf_str(&in, variants[i].end);
		buf_z(&in, SMUGGLED END);
		if (reference(buf_view(&in), &want) != in.n)
			fail_msg("%s: ends before its end", variants[i].name);
		evil = str_chr(buf_view(&want), '@');
		if (evil < 0)
			fail_msg("%s: the reference lost it", variants[i].name);
		check_all_cuts(&b, buf_view(&in), &want);
	}
	bed_close(&b);
}

/* A strict end is one: else the test above could not fail. */
static void test_real_end(void **state)
{
	struct serverbed b;

	(void)state;
	bed_open(&b);
	bed_start(&b);
	bed_say(&b, STR(START "hello" END SMUGGLED END));
	assert_int_equal(b.committed, 2);
	assert_string_equal(b.content.p, "hello\n|Subject: smuggled\n\nboo\n|");
	bed_close(&b);
}

static const struct {
	const char *name;
	struct str in, want;
} contents[] = {
	{ "empty", BYTES(".\r\n"), BYTES("|") },
	{ "one empty line", BYTES("\r\n.\r\n"), BYTES("\n|") },
	{ "doubled dots", BYTES("..\r\n...x\r\n.\r\n"), BYTES(".\n..x\n|") },
	{ "a dot that was not doubled", BYTES(".x\r\n.\r\n"), BYTES("x\n|") },
	{ "dots inside", BYTES("a.\r\n b.c\r\n.\r\n"), BYTES("a.\n b.c\n|") },
	{ "a dot behind a bare LF", BYTES("a\n.b\n..c\r\n.\r\n"),
	  BYTES("a\n.b\n..c\n|") },
	{ "bare CRs", BYTES("a\rb\r\rc\r\r\nd\r\n.\r\n"), BYTES("a\rb\r\rc\r\nd\n|") },
	{ "NUL", BYTES("a\0b\r\n\0\r\n.\r\n"), BYTES("a\0b\n\0\n|") },
	{ "8 bit", BYTES("\xe4\xff\r\n.\r\n"), BYTES("\xe4\xff\n|") },
};

static void test_contents(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
		struct serverbed b;

		bed_open(&b);
		bed_start(&b);
		bed_say(&b, STR(START));
		bed_say(&b, contents[i].in);
		if (!str_eq(buf_view(&b.content), contents[i].want))
			fail_with(contents[i].name, contents[i].in, 0,
			          buf_view(&b.content));
		bed_close(&b);
	}
}

/* Long lines and long messages come through whole, however they are read. */
static void test_large(void **state)
{
	static const size_t reads[] = { 1, 7, 4096, 65536, SIZE_MAX };
	_cleanup_buf_ struct buf in = BUF_INIT, want = BUF_INIT;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		buf_fmt(&in, "line %u\r\n", i);
		buf_fmt(&want, "line %u\n", i);
	}
	for (unsigned i = 0; i < 20000; i++) {
		buf_c(&in, (char)('a' + i % 26));
		buf_c(&want, (char)('a' + i % 26));
	}
	buf_z(&in, END);
	buf_z(&want, "\n|");
	for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
		struct str rest = buf_view(&in);
		struct serverbed b;

		bed_open(&b);
		bed_start(&b);
		bed_say(&b, STR(START));
		for (; rest.n; rest = str_from(rest, reads[i]))
			bed_say(&b, str_head(rest, reads[i]));
		assert_true(str_eq(buf_view(&b.content), buf_view(&want)));
		assert_int_equal(b.committed, 1);
		bed_close(&b);
	}
}

static const struct {
	const char *name;
	uint64_t size_max;
	int content_says, commit_says;
	const char *words, *body, *want;
	unsigned committed, resets;
} ends[] = {
	{ "just fits", 6, 0, 0, NULL, "ab\r\ncd", "250 2.0.0 Accepted\r\n", 1, 0 },
	{ "one too many", 5, 0, 0, NULL, "ab\r\ncd",
	  "552 5.3.4 The message is too big\r\n", 0, 1 },
	{ "an id", 0, 0, 0, "queued as 0123", "x", "250 2.0.0 queued as 0123\r\n", 1, 0 },
	{ "with a code", 0, 0, 0, "2.6.0 ok", "x", "250 2.6.0 ok\r\n", 1, 0 },
	{ "with a wrong code", 0, 0, 451, "2.6.0 no", "x", "451 4.3.0 2.6.0 no\r\n", 0,
	  1 },
	{ "hostile words", 0, 0, 550, "a\r\n250 b\t\xff", "x", "550 5.7.1 a??250 b??\r\n",
	  0, 1 },
	{ "commit fails", 0, 0, -EIO, NULL, "x",
	  "451 4.3.0 Trouble here, try again later\r\n", 0, 1 },
	{ "disk full", 0, -ENOSPC, 0, NULL, "x",
	  "452 4.3.1 No room now, try again later\r\n", 0, 1 },
	{ "quota", 0, -EDQUOT, 0, NULL, "x", "452 4.3.1 No room now, try again later\r\n",
	  0, 1 },
	{ "a code of the content", 0, 554, 0, NULL, "x", "554 5.0.0 Refused\r\n", 0, 1 },
	{ "nonsense of the caller", 0, 0, 250, NULL, "x",
	  "451 4.3.0 Trouble here, try again later\r\n", 0, 1 },
	{ "the end of all", 0, 0, 421, "4.3.2 going down", "x",
	  "421 4.3.2 box.example going down\r\n", 0, 1 },
};

static void test_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct serverbed b;

		bed_open(&b);
		b.conf.size_max = ends[i].size_max;
		bed_start(&b);
		bed_say(&b, STR(START));
		b.content_says = ends[i].content_says;
		b.commit_says = ends[i].commit_says;
		b.words = ends[i].words;
		buf_reset(&b.out);
		bed_say(&b, str_z(ends[i].body));
		bed_say(&b, STR(END));
		if (strcmp(b.out.p, ends[i].want) != 0)
			fail_msg("%s: %s", ends[i].name, b.out.p);
		if (b.committed != ends[i].committed || b.resets != ends[i].resets ||
		    b.wrong)
			fail_msg("%s: committed %u, reset %u, %s", ends[i].name,
			         b.committed, b.resets, b.wrong ? b.wrong : "");
		bed_close(&b);
	}
}

/* What cannot be stored does not keep its room until its end comes. */
static void test_room_is_given_back(void **state)
{
	static const struct {
		uint64_t size_max;
		int content_says;
	} rows[] = { { 3, 0 }, { 0, -ENOSPC } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct serverbed b;

		bed_open(&b);
		b.conf.size_max = rows[i].size_max;
		b.content_says = rows[i].content_says;
		bed_start(&b);
		bed_say(&b, STR(START "abcdef"));
		assert_int_equal(b.resets, 1);
		buf_reset(&b.out);
		bed_say(&b, STR("\r\nMAIL FROM:<evil@x>" END));
		assert_int_equal(b.resets, 1);
		assert_int_equal(b.mails, 1);
		assert_memory_equal(b.out.p, rows[i].size_max ? "552" : "452", 3);
		assert_null(strchr(b.out.p, '\n')[1] ? b.out.p : NULL);
		bed_close(&b);
	}
}

/* A connection that ends in the content stores nothing. */
static void test_cut_off(void **state)
{
	struct str in = STR("a\r\n.b\r\n..\r\n.\r\n");

	(void)state;
	for (size_t n = 0; n < in.n; n++) {
		struct serverbed b;

		bed_open(&b);
		bed_start(&b);
		bed_say(&b, STR(START));
		bed_say(&b, str_head(in, n));
		if (n % 2)
			server_bye(&b.s, STR("4.4.2 idle"), &b.out);
		server_free(&b.s);
		if (b.committed != 0 || b.resets != 1 || b.open)
			fail_msg("%zu octets: committed %u, reset %u", n, b.committed,
			         b.resets);
		bed_close(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_short_bodies),
		cmocka_unit_test(test_smuggling),
		cmocka_unit_test(test_real_end),
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_room_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
