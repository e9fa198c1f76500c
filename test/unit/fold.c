/* Lines of a header that are too long: folded, and where that would change what is read, encoded. */
#include "mail/fold.h"
#include "mail/addr.h"
#include "mail/head.h"
#include "mail/phrase.h"
#include "mail/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>

enum { MAX = 998, RUN = 1200 };

/* Appends text; '~' is a run of RUN times x, '^' of 600, '$' of so many ",y". */
static void expand(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (*text == '~' || *text == '^' || *text == '$')
			for (int i = 0; i < (*text == '^' ? 600 : RUN); i++)
				buf_z(b, *text == '$' ? ",y" : "x");
		else
			buf_c(b, *text);
	}
}

static void fold(const char *name, struct str field, struct buf *ret)
{
	struct str rest, line;

	buf_z(ret, "Before: 1\n");
	buf_str(ret, field);
	fold_long_lines(ret, 10, MAX);
	rest = buf_view(ret);
	while (rest.n && str_cut(&rest, '\n', &line))
		if (line.n > MAX || str_trim(line).n == 0 || line.p[line.n - 1] == '\r')
			fail_msg("%s: a line of %zu", name, line.n);
	if (!str_starts(buf_view(ret), STR("Before: 1\n")))
		fail_msg("%s: what is before it changed", name);
}

/* What a reader is shown of an unstructured field. */
/* A break behind a CR: with the LF it would be one line end. */
static void test_cr(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT, want = BUF_INIT;

	(void)state;
	expand(&in, "X-A: ^\r\r ^\n");
	expand(&want, "Before: 1\nX-A: ^\n ^\n");
	fold("CR", buf_view(&in), &out);
	assert_string_equal(out.p, want.p);
}

static void test_text(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "a word", "Subject: ~\n", "~" },
		{ "one that just has no blank in the second half", "Subject: a ^ b ^\n",
		  "a ^ b ^" },
		{ "words about it", "Subject: one  two ~ three\n", "one  two ~ three" },
		{ "commas", "Subject: z$\n", "z$" },
		{ "an encoded word before", "Subject: =?utf-8?q?a?= ~ b\n", "a ~ b" },
		{ "and behind", "Comments: ~ =?utf-8?q?a?= =?utf-8?q?b?= c ~\n",
		  "~ ab c ~" },
		{ "folded before", "Subject: a\n ~\n\tb\n", "a ~ b" },
		{ "in UTF-8", "Subject: \xc3\xa9~\n", "\xc3\xa9~" },
		{ "another case", "SUBJECT:~\n", "~" },
		{ "what looks like the end of one", "Subject: ?=~\n", "?=~" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT, flat = BUF_INIT,
		                         got = BUF_INIT, want = BUF_INIT;
		struct str rest;
		struct head_field f;

		expand(&in, rows[i].in);
		expand(&want, rows[i].want);
		fold(rows[i].name, buf_view(&in), &out);
		rest = str_from(buf_view(&out), 10);
		assert_true(head_next(&rest, &f));
		head_unfold(&flat, f.body);
		text_decode_words(&got, str_trim(buf_view(&flat)));
		if (rest.n || !str_eq(buf_view(&got), buf_view(&want)))
			fail_msg("%s: %s", rows[i].name, out.p);
	}
}

/* Addresses stay, and so do the names that readers show. */
static void test_names(void **state)
{
	static const struct {
		const char *name, *in, *addr[3], *want[3];
	} rows[] = {
		{ "quoted", "From: \"~\" <a@b>\n", { "a@b" }, { "~" } },
		{ "an atom", "To: ~ <a@b>\n", { "a@b" }, { "~" } },
		{ "without blanks around it", "Cc:\"~\"<a@b>\n", { "a@b" }, { "~" } },
		{ "quoted pairs", "From: \"\\\"~\\\\\" <a@b>\n", { "a@b" }, { "\"~\\" } },
		{ "commas in quotes", "From: \"z$\" <a@b>\n", { "a@b" }, { "z$" } },
		{ "one of several",
		  "To: c@d,\"~\" <a@b>,\n \"E F\" <e@f>\n",
		  { "c@d", "a@b", "e@f" },
		  { "", "~", "E F" } },
		{ "two",
		  "To: \"~\" <a@b>, \"~ 2\" <c@d>\n",
		  { "a@b", "c@d" },
		  { "~", "~ 2" } },
		{ "with an encoded word",
		  "To: =?utf-8?q?E?= ~ <a@b>\n",
		  { "a@b" },
		  { "E ~" } },
		{ "in a group", "To: G: \"~\" <a@b>;\n", { "a@b" }, { "~" } },
		{ "many blanks", "From: \"a  ~ b\" <a@b>\n", { "a@b" }, { "a  ~ b" } },
		{ "resent", "Resent-To: \"~\" <a@b>\n", { "a@b" }, { "~" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;
		struct addr_list l;
		struct addr a;
		struct str rest;
		struct head_field f;
		size_t n = 0;

		expand(&in, rows[i].in);
		fold(rows[i].name, buf_view(&in), &out);
		rest = str_from(buf_view(&out), 10);
		assert_true(head_next(&rest, &f));
		for (addr_list_start(&l, f.body); addr_list_next(&l, &a); n++) {
			_cleanup_buf_ struct buf words = BUF_INIT, name = BUF_INIT,
			                         want = BUF_INIT, plain = BUF_INIT;

			assert_true(n < 3 && rows[i].addr[n]);
			expand(&want, rows[i].want[n]);
			addr_words(&words, a.phrase, true);
			text_decode_words(&name, buf_view(&words));
			addr_plain(&plain, &a);
			if (!str_eq(buf_view(&name), buf_view(&want)) ||
			    !str_eq(buf_view(&plain), str_z(rows[i].addr[n])))
				fail_msg("%s: %s", rows[i].name, out.p);
		}
		if (rest.n || l.bad || n == 0 || (n < 3 && rows[i].addr[n]))
			fail_msg("%s: %zu mailboxes in %s", rows[i].name, n, out.p);
	}
}

/* Nothing is encoded where blanks do, or where nobody would decode it. */
static void test_folded(void **state)
{
	static const char *const rows[] = {
		"X-Token: ~\n",          "References: <~@x>\n",
		"DKIM-Signature: b=~\n", "Subject: x y ^ z\n",
		"To: a@b, (~) c@d\n",    "From: \"x\" (~) <a@b>\n",
		"From: ~@b\n",           "From: \"a b c d e\" <a@b>, \"~\n", /* no end */
	};
	static const char *const texts[] = { "Subject: ", "From: \"", "To: a@b, \"" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;

		expand(&in, rows[i]);
		fold(rows[i], buf_view(&in), &out);
		if (memmem(out.p, out.n, "=?", 2))
			fail_msg("%s: %s", rows[i], out.p);
	}
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;

		buf_z(&in, texts[i]);
		for (int n = 0; n < 500; n++)
			buf_z(&in, "ab c ");
		buf_z(&in, i ? "\" <e@f>\n" : "\n");
		fold(texts[i], buf_view(&in), &out);
		if (memmem(out.p, out.n, "=?", 2))
			fail_msg("%s: %s", texts[i], out.p);
	}
}

/* Whatever it is made of, a field of 2 MB takes no time. */
static void test_linear(void **state)
{
	static const char *const fronts[] = { "Subject: ", "To: ", "To: \"" };
	static const char *const units[] = { "x",    "=?utf-8?q?x?= ", "\"x\" ", "(",
		                             ",",    "<a@b>",          "\\",     "=?",
		                             " x\n " };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fronts) * ARRAY_LEN(units); i++) {
		const char *unit = units[i % ARRAY_LEN(units)];
		_cleanup_buf_ struct buf in = BUF_INIT, out = BUF_INIT;
		clock_t start = clock();

		buf_z(&in, fronts[i / ARRAY_LEN(units)]);
		expand(&in, "~ ");
		while (in.n < 2 << 20)
			buf_z(&in, unit);
		expand(&in, "~\n");
		fold(unit, buf_view(&in), &out);
		if (clock() - start > 2 * CLOCKS_PER_SEC)
			fail_msg("%s: %ld", unit, (long)(clock() - start));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cr),     cmocka_unit_test(test_text),
		cmocka_unit_test(test_names),  cmocka_unit_test(test_folded),
		cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
