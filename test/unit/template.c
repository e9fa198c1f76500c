#include "mail/template.h"
#include "mail/text.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void errors(void **state)
{
	static const struct {
		const char *name, *in;
		int line; /* 0: it is good */
		const char *why;
	} rows[] = {
		{ "one block", "[failed]\nx\n", 0, NULL },
		{ "all", "# c\n\n[delayed]\nx %u\n[failed]\nx\n[relayed]\nx\n", 0, NULL },
		{ "no LF at the end", "[failed]\nx", 0, NULL },
		{ "byte order mark", "\xef\xbb\xbf[failed]\nx\n", 0, NULL },
		{ "blanks around a name", " [failed] \nx\n", 0, NULL },
		{ "empty block", "[failed]\n", 0, NULL },
		{ "all variables", "[delayed]\n%h%i%s%t%l%u%a%%\n%r\n", 0, NULL },
		{ "# in words", "[failed]\n# x\n", 0, NULL },
		{ "brackets in a line", "[failed]\nsee [1] below\n", 0, NULL },
		{ "%r in two blocks", "[failed]\n%r\n[delayed]\n%r\n", 0, NULL },
		{ "no UTF-8 needed", "[failed]\nplain\n", 0, NULL },
		{ "UTF-8", "[failed]\n\xc3\xa4 \xe2\x82\xac \xf0\x9f\x93\xa8\n", 0,
		  NULL },
		{ "Subject later is words", "[failed]\nx\nSubject:\n", 0, NULL },
		{ "empty", "", 1, "no block" },
		{ "comments only", "# a\n\n# b\n", 3, "no block" },
		{ "words first", "# a\nHello\n[failed]\n", 2, "words in front" },
		{ "unknown block", "[failed]\nx\n[Delayed]\n", 3, "no such block" },
		{ "unknown first block", "[bounce]\n", 1, "no such block" },
		{ "twice", "[failed]\nx\n[failed]\ny\n", 3, "block is there twice" },
		{ "twice, apart", "[failed]\n[delayed]\n[failed]\n", 3, "twice" },
		{ "unknown variable", "[failed]\nx\n%x\n", 3, "no such variable" },
		{ "per cent at the end", "[failed]\n5 %\n", 2, "no such variable" },
		{ "per cent and a blank", "[failed]\n5 % x\n", 2, "no such variable" },
		{ "per cent, last octet", "[failed]\n%", 2, "no such variable" },
		{ "variable in subject", "[failed]\nSubject: %z\n", 2,
		  "no such variable" },
		{ "%u elsewhere", "[failed]\n%u\n", 2, "[delayed] only" },
		{ "%u in a subject", "[relayed]\nSubject: %u\n", 2, "[delayed] only" },
		{ "%%u is no %u", "[failed]\n%%u\n", 0, NULL },
		{ "%r in a line", "[failed]\nto: %r\n", 2, "alone on its line" },
		{ "%r in subject", "[failed]\nSubject: %r\n", 2, "not for a subject" },
		{ "%r twice", "[failed]\n%r\nx\n%r\n", 4, "twice in this block" },
		{ "empty subject", "[failed]\nSubject: \nx\n", 2, "empty subject" },
		{ "CR LF", "[failed]\r\nx\r\n", 1, "carriage return" },
		{ "control", "[failed]\na\x1b[m\n", 2, "control character" },
		{ "DEL", "[failed]\na\x7f\n", 2, "control character" },
		{ "TAB", "[failed]\na\tb\n", 0, NULL },
		{ "Latin-1", "[failed]\nx\n\xe4\n", 3, "not UTF-8" },
		{ "overlong", "[failed]\n\xc0\xaf\n", 2, "not UTF-8" },
		{ "surrogate", "[failed]\n\xed\xa0\x80\n", 2, "not UTF-8" },
		{ "beyond Unicode", "[failed]\n\xf4\x90\x80\x80\n", 2, "not UTF-8" },
		{ "cut character", "[failed]\n\xe2\x82\n", 2, "not UTF-8" },
		{ "Latin-1 in a comment", "# \xe4\n[failed]\n", 1, "not UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct template t;
		const char *why = "";
		int line = 0;
		int e = template_parse(str_z(rows[i].in), &t, &line, &why);

		if ((e == 0) != (rows[i].line == 0) || (e != 0 && e != -EINVAL))
			fail_msg("%s: %d, %s", rows[i].name, e, why);
		if (line != rows[i].line)
			fail_msg("%s: line %d (%s)", rows[i].name, line, why);
		if (e < 0 && !strstr(why, rows[i].why))
			fail_msg("%s: %s", rows[i].name, why);
		if (e == 0)
			template_free(&t);
	}
}

static void bounds(void **state)
{
	static const struct {
		const char *name;
		size_t line, lines;
		int want;
	} rows[] = {
		{ "line at its limit", TEMPLATE_LINE_MAX, 1, 0 },
		{ "line over it", TEMPLATE_LINE_MAX + 1, 1, -EINVAL },
		{ "file at its limit", 511, 127, 0 },
		{ "file over it", 511, 128, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct template t;
		const char *why;
		int line, e;

		buf_z(&b, "[failed]\n");
		for (size_t j = 0; j < rows[i].lines; j++) {
			for (size_t k = 0; k < rows[i].line; k++)
				buf_c(&b, 'x');
			buf_c(&b, '\n');
		}
		e = template_parse(buf_view(&b), &t, &line, &why);
		if (e != rows[i].want)
			fail_msg("%s: %d", rows[i].name, e);
		if (e == 0)
			template_free(&t);
	}
	/* NUL. */
	{
		struct template t;
		const char *why;
		int line = 0;

		assert_int_equal(template_parse(STR("[failed]\na\0b\n"), &t, &line, &why),
		                 -EINVAL);
		assert_int_equal(line, 2);
	}
}

static const struct template_values values = {
	.hostname = { "box", 3 },
	.id = { "0189abcdef012345", 16 },
	.subject = { "%h", 2 },
	.queued = { "Sunday", 6 },
	.lifetime = { "5 days", 6 },
	.until = { "Friday", 6 },
	.admin = { "root@x", 6 },
	.recipients = { "    <a@b>\n", 10 },
};

static void blocks(void **state)
{
	static const struct {
		const char *name, *in;
		const char *subject, *words; /* of [delayed] */
	} rows[] = {
		{ "plain", "[delayed]\na\nb\n%r\n", "", "a\nb\n    <a@b>\n" },
		{ "variables", "[delayed]\nSubject: %s %i\n%h %t %l %u %a 5%%\n%r\n",
		  "%h 0189abcdef012345",
		  "box Sunday 5 days Friday root@x 5%\n    <a@b>\n" },
		{ "a value is not expanded", "[delayed]\n%s%s\n%r\n", "",
		  "%h%h\n    <a@b>\n" },
		{ "recipients follow", "[delayed]\na\n\n\n", "", "a\n\n    <a@b>\n" },
		{ "blanks around %r", "[delayed]\n  %r  \nb\n", "", "    <a@b>\nb\n" },
		{ "empty lines at the ends go",
		  "[delayed]\n\n\na\n\nb\n%r\n\n[failed]\nx\n", "",
		  "a\n\nb\n    <a@b>\n" },
		{ "subject in any case", "[delayed]\nSUBJECT:  x \na\n%r\n", "x",
		  "a\n    <a@b>\n" },
		{ "subject alone", "[delayed]\nSubject: x\n[failed]\na\n", "x", NULL },
		{ "not there", "[failed]\nSubject: x\na\n", "", NULL },
		{ "empty", "[delayed]\n\n", "", NULL },
		{ "second line is no subject", "[delayed]\n\nSubject: x\n%r\n", "",
		  "Subject: x\n    <a@b>\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf subject = BUF_INIT, words = BUF_INIT;
		const struct template_block *b;
		struct template t;
		const char *why;
		int line;

		if (template_parse(str_z(rows[i].in), &t, &line, &why) < 0)
			fail_msg("%s: %s", rows[i].name, why);
		b = &t.block[TEMPLATE_DELAYED];
		template_subject(&subject, b->subject, &values);
		if (!str_eq(buf_view(&subject), str_z(rows[i].subject)))
			fail_msg("%s: subject \"%s\"", rows[i].name, subject.p);
		if ((b->words.n == 0) != (rows[i].words == NULL))
			fail_msg("%s: words %zu", rows[i].name, b->words.n);
		template_words(&words, b->words, &values);
		if (rows[i].words && !str_eq(buf_view(&words), str_z(rows[i].words)))
			fail_msg("%s: words \"%s\"", rows[i].name, words.p);
		template_free(&t);
	}
}

static void encoded_words(void **state)
{
	static const struct {
		const char *name, *in, *decoded, *encoded;
	} rows[] = {
		{ "plain", "a b", "a b", "a b" },
		{ "empty", "", "", "" },
		{ "runs of blanks", " a   b ", "a b", "a b" },
		{ "UTF-8", "caf\xc3\xa9 x", "caf\xc3\xa9 x", "=?utf-8?q?caf=C3=A9?= x" },
		{ "two words", "\xc3\xa9 \xc3\xa9", "\xc3\xa9 \xc3\xa9",
		  "=?utf-8?q?=C3=A9?= =?utf-8?q?_=C3=A9?=" },
		{ "Q", "=?UTF-8?Q?a_=C3=A9?=", "a \xc3\xa9", "=?UTF-8?Q?a_=C3=A9?=" },
		{ "B", "=?utf-8?b?w6k=?= x", "\xc3\xa9 x", "=?utf-8?b?w6k=?= x" },
		{ "B without padding", "=?utf-8?b?w6k?=", "\xc3\xa9", NULL },
		{ "Latin-1", "=?iso-8859-1?q?=E9?=", "\xc3\xa9", NULL },
		{ "language", "=?us-ascii*en?q?a?=", "a", NULL },
		{ "adjacent", "x =?utf-8?q?a?=  =?utf-8?q?b?= y", "x ab y", NULL },
		{ "character in two", "=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\xc3\xa9",
		  NULL },
		{ "unknown charset", "=?x?q?=E9?= a", "=?x?q?=E9?= a", NULL },
		{ "unknown encoding", "=?utf-8?z?=E9?=", "=?utf-8?z?=E9?=", NULL },
		{ "not ended", "=?utf-8?q?=E9?", "=?utf-8?q?=E9?", NULL },
		{ "too many marks", "=?utf-8?q?a?b?=", "=?utf-8?q?a?b?=", NULL },
		{ "too few", "=?utf-8?q?=", "=?utf-8?q?=", NULL },
		{ "shortest", "=?=", "=?=", "=?=" },
		{ "bad hex", "=?utf-8?q?=E?=", "=E", NULL },
		{ "what is none", "=?utf-8?q?=FF=0A=C2=85z?=", "? ?z", NULL },
		{ "in front of one", "\xc3\xa9: =?utf-8?q?a?=", NULL,
		  "=?utf-8?q?=C3=A9=3A_?= =?utf-8?q?a?=" },
		{ "after one", "=?utf-8?q?a?= \xc3\xa9", NULL,
		  "=?utf-8?q?a?= =?utf-8?q?_=C3=A9?=" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf d = BUF_INIT, e = BUF_INIT;

		text_decode_words(&d, str_z(rows[i].in));
		if (rows[i].decoded && !str_eq(buf_view(&d), str_z(rows[i].decoded)))
			fail_msg("%s: decoded \"%s\"", rows[i].name, d.p);
		text_encode_words(&e, str_z(rows[i].in));
		if (rows[i].encoded && !str_eq(buf_view(&e), str_z(rows[i].encoded)))
			fail_msg("%s: encoded \"%s\"", rows[i].name, e.p);
	}
}

/* What was encoded is decoded to the same, and no word is too long. */
static void there_and_back(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT, e = BUF_INIT, d = BUF_INIT;
	struct str rest, word;

	(void)state;
	for (int i = 0; i < 40; i++)
		buf_z(&text, i % 7 ? "\xe2\x82\xac=?_\xf0\x9f\x93\xa8" : "x \xc3\xa9");
	text_encode_words(&e, buf_view(&text));
	rest = buf_view(&e);
	while (rest.n && str_cut(&rest, ' ', &word))
		assert_in_range(word.n, 1, 75);
	assert_true(str_is_ascii(buf_view(&e)));
	text_decode_words(&d, buf_view(&e));
	assert_true(str_eq(buf_view(&d), buf_view(&text)));
}

static void quoted_printable(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "plain", "a b\n", "a b\n" },
		{ "blank at the end", "a \nb\t", "a=20\nb=09" },
		{ "equals", "=\xc3\xa9", "=3D=C3=A9" },
		{ "long",
		  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg"
		  "hhhhhhhhhh",
		  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg"
		  "hhhhh=\nhhhhh" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		text_quoted_printable(&b, str_z(rows[i].in));
		if (!str_eq(buf_view(&b), str_z(rows[i].want)))
			fail_msg("%s: \"%s\"", rows[i].name, b.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors),         cmocka_unit_test(bounds),
		cmocka_unit_test(blocks),         cmocka_unit_test(encoded_words),
		cmocka_unit_test(there_and_back), cmocka_unit_test(quoted_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
