/* SMTP replies: rows, and every prefix and split of every row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>

#include "smtp/reply.h"

static const struct row {
	const char *name;
	struct str in;
	ptrdiff_t want; /* octets, 0 or -errno */
	int code;
	int enhanced[3];
	const char *text;
	const char *line;
} rows[] = {
	{ "one line", { "250 ok\r\nMORE", 12 }, 8, 250, { 0 }, "ok", "250 ok" },
	{ "no text", { "250\r\n", 5 }, 5, 250, { 0 }, "", "250" },
	{ "blank only", { "250 \r\n", 6 }, 6, 250, { 0 }, "", "250" },
	{ "LF alone", { "220 x\n", 6 }, 6, 220, { 0 }, "x", "220 x" },
	{ "two lines", { "250-a\r\n250 b\r\n", 14 }, 14, 250, { 0 }, "a\nb", "250 a b" },
	{ "empty lines",
	  { "250-\r\n250-\r\n250\r\n", 17 },
	  17,
	  250,
	  { 0 },
	  "\n\n",
	  "250" },
	{ "enhanced",
	  { "550 5.7.1 no\r\n", 14 },
	  14,
	  550,
	  { 5, 7, 1 },
	  "5.7.1 no",
	  "550 5.7.1 no" },
	{ "enhanced twice",
	  { "450-4.2.0 a\r\n450 4.2.0 b\r\n", 26 },
	  26,
	  450,
	  { 4, 2, 0 },
	  "4.2.0 a\n4.2.0 b",
	  "450 4.2.0 a b" },
	{ "enhanced alone",
	  { "250 2.0.0\r\n", 11 },
	  11,
	  250,
	  { 2, 0, 0 },
	  "2.0.0",
	  "250 2.0.0" },
	{ "big enhanced",
	  { "550 5.123.456 x\r\n", 17 },
	  17,
	  550,
	  { 5, 123, 456 },
	  "5.123.456 x",
	  "550 5.123.456 x" },
	{ "no enhanced: 4 digits",
	  { "550 5.1234.1 x\r\n", 16 },
	  16,
	  550,
	  { 0 },
	  "5.1234.1 x",
	  "550 5.1234.1 x" },
	{ "no enhanced: class 3",
	  { "550 3.1.1 x\r\n", 13 },
	  13,
	  550,
	  { 0 },
	  "3.1.1 x",
	  "550 3.1.1 x" },
	{ "no enhanced: an address",
	  { "250 5.1.1.4 x\r\n", 15 },
	  15,
	  250,
	  { 0 },
	  "5.1.1.4 x",
	  "250 5.1.1.4 x" },
	{ "8-bit and escape",
	  { "250 \xc3\xa4\x1b[2J\\\r\n", 13 },
	  13,
	  250,
	  { 0 },
	  "\xc3\xa4\x1b[2J\\",
	  "250 \\xc3\\xa4\\x1b[2J\\x5c" },
	{ "incomplete", { "250 o", 5 }, 0, 0, { 0 }, NULL, NULL },
	{ "incomplete code", { "2", 1 }, 0, 0, { 0 }, NULL, NULL },
	{ "incomplete second", { "250-a\r\n25", 9 }, 0, 0, { 0 }, NULL, NULL },
	{ "CR yet without LF", { "250 a\r", 6 }, 0, 0, { 0 }, NULL, NULL },
	{ "empty", { "", 0 }, 0, 0, { 0 }, NULL, NULL },
	{ "letters", { "HTTP/1.0 400\r\n", 14 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "letters, no line end", { "S", 1 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "code 199", { "199 a\r\n", 7 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "code 600", { "600 a\r\n", 7 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "code 2500", { "2500 a\r\n", 8 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "code 25", { "25 a\r\n", 6 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "empty line", { "\r\n", 2 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "other code", { "250-a\r\n251 b\r\n", 14 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "continued by garbage",
	  { "250-a\r\nb\r\n", 10 },
	  -EBADMSG,
	  0,
	  { 0 },
	  NULL,
	  NULL },
	{ "bare CR", { "250 a\rb\r\n", 9 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "two CRs", { "250 a\r\r\n", 8 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "NUL", { "250 a\0b\r\n", 9 }, -EBADMSG, 0, { 0 }, NULL, NULL },
	{ "tab behind the code", { "250\ta\r\n", 7 }, -EBADMSG, 0, { 0 }, NULL, NULL },
};

static void test_rows(void **state)
{
	struct reply r = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *t = &rows[i];
		_cleanup_buf_ struct buf line = BUF_INIT;
		ptrdiff_t got = reply_take(t->in, &r);

		if (got != t->want)
			fail_msg("%s: %td, want %td", t->name, got, t->want);
		if (got <= 0)
			continue;
		if (r.code != t->code ||
		    memcmp(r.enhanced, t->enhanced, sizeof(r.enhanced)) != 0)
			fail_msg("%s: %d %d.%d.%d", t->name, r.code, r.enhanced[0],
			         r.enhanced[1], r.enhanced[2]);
		if (!str_eq(buf_view(&r.text), str_z(t->text)))
			fail_msg("%s: text %s", t->name, r.text.p);
		reply_line(&line, &r);
		if (!str_eq(buf_view(&line), str_z(t->line)))
			fail_msg("%s: line %s", t->name, line.p);
	}
	reply_free(&r);
}

/* What is not decided by a prefix is decided the same by all of it, and a good reply is
 * taken at its last octet, not before and not later. */
static void test_prefixes(void **state)
{
	struct reply r = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *t = &rows[i];

		for (size_t n = 0; n <= t->in.n; n++) {
			ptrdiff_t got = reply_take(str_head(t->in, n), &r);

			if (got != 0 && got != t->want)
				fail_msg("%s: %td after %zu octets", t->name, got, n);
			if (t->want > 0 && n >= (size_t)t->want && got != t->want)
				fail_msg("%s: not taken after %zu octets", t->name, n);
		}
	}
	reply_free(&r);
}

static void test_limits(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, line = BUF_INIT;
	struct reply r = { 0 };

	(void)state;
	buf_z(&in, "250 ");
	memset(buf_room(&in, REPLY_MAX), 'a', REPLY_MAX);
	in.n = REPLY_MAX;
	assert_int_equal(reply_take(buf_view(&in), &r), 0);
	buf_c(&in, 'a');
	assert_int_equal(reply_take(buf_view(&in), &r), -EMSGSIZE);
	buf_cut(&in, REPLY_MAX - 2);
	buf_z(&in, "\r\n");
	assert_int_equal(reply_take(buf_view(&in), &r), REPLY_MAX);
	reply_line(&line, &r);
	assert_int_equal(line.n, 400);

	buf_reset(&in);
	for (int i = 0; i < REPLY_LINES_MAX - 1; i++)
		buf_z(&in, "250-\x01\r\n");
	buf_z(&in, "250 a\r\n");
	assert_int_equal(reply_take(buf_view(&in), &r), in.n);
	buf_reset(&line);
	reply_line(&line, &r);
	assert_true(line.n <= 400);
	buf_cut(&in, in.n - 7);
	buf_z(&in, "250-a\r\n");
	assert_int_equal(reply_take(buf_view(&in), &r), -EMSGSIZE);
	reply_free(&r);
}

static uint64_t shape_of(const char *text)
{
	struct reply r = { 0 };
	uint64_t h;

	assert_int_equal(reply_take(str_z(text), &r), strlen(text));
	h = reply_shape(&r);
	reply_free(&r);
	return h;
}

/* The replies of a kind look alike, those of another otherwise. */
static void test_shapes(void **state)
{
	static const struct {
		const char *one, *other;
		bool alike;
	} pairs[] = {
		{ "250 2.0.0 Ok: queued as 4F1D22A\r\n",
		  "250 2.0.0 Ok: queued as ABCDEFG\r\n", true },
		{ "250 2.0.0 Ok: queued as 4F1D22A\r\n", "250 2.0.0 Ok\r\n", false },
		{ "250 2.1.0 Ok\r\n", "250 2.1.5 Ok\r\n", false },
		{ "250 2.1.5 Flushed a12sm7 - gsmtp\r\n",
		  "250 2.1.5 Flushed beef - gsmtp\r\n", true },
		{ "250 Reset OK\r\n", "250 OK id=1a-2b-3c\r\n", false },
		{ "250- 2229 byte chunk, total 2229\r\n250 OK id=1\r\n",
		  "250- 31 byte chunk, total 31\r\n250 OK id=abc\r\n", true },
		{ "250 ok\r\n", "250  OK \r\n", true },
		{ "250 1234 queued\r\n", "250 77 queued\r\n", true },
		{ "250\r\n", "250 ok\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if ((shape_of(pairs[i].one) == shape_of(pairs[i].other)) !=
		    pairs[i].alike)
			fail_msg("%s%s", pairs[i].one, pairs[i].other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
