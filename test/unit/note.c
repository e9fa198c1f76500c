#include "mail/note.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PLAN "mailchute-note 1\nSa@b\nPhub c@d\nPhub e@f\n.\n"

static void golden(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT, again = BUF_INIT;
	struct note n;
	const char *why;
	size_t end;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "test/golden/note-1", &file, 65536), 0);
	assert_int_equal(note_parse(buf_view(&file), &n, &why), 0);
	assert_string_equal(n.plan.sender, "eddy@isp.example");
	assert_string_equal(n.plan.ret, "HDRS");
	assert_string_equal(n.plan.envid, "QQ314159");
	assert_int_equal(n.plan.rcpts, 3);
	assert_string_equal(n.plan.rcpt[0].notify, "FAILURE,DELAY");
	assert_string_equal(n.plan.rcpt[0].orcpt, "rfc822;ann@example.org");
	assert_string_equal(n.plan.rcpt[2].addr, "\"c d\"@example.com");
	assert_true(str_eq(n.route, STR("smtp.isp.example")));
	assert_int_equal(n.rcpt[0].state, NOTE_DONE);
	assert_int_equal(n.rcpt[1].state, NOTE_FAILED);
	assert_int_equal(n.rcpt[1].code, 550);
	assert_int_equal(n.rcpt[1].time, 1795312600);
	assert_true(str_eq(n.rcpt[1].text, STR("550 5.1.1 <bob@example.net>: unknown")));
	assert_int_equal(n.rcpt[2].state, NOTE_PENDING);
	assert_int_equal(n.first_trouble, 1795312000);
	assert_int_equal(n.tries, 2);
	assert_int_equal(n.doubts, 1);
	assert_int_equal(n.pending, 1);

	/* The printer makes the same bytes. */
	note_print_plan(&again, &n.plan, n.route, n.origin);
	end = again.n;
	assert_true(str_eq(buf_view(&again), str_head(buf_view(&file), end)));
	note_print_result(&again, 1, NOTE_DONE, 1795312000, 250,
	                  STR("250 2.0.0 Ok: queued as 4F1D22A"));
	note_print_result(&again, 2, NOTE_LATER, 1795312000, 450,
	                  STR("450 4.2.1 <bob@example.net>: mailbox busy \xe9"));
	assert_true(str_starts(buf_view(&file), buf_view(&again)));
	note_free(&n);
}

static void split(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT, again = BUF_INIT;
	struct note n;
	const char *why;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "test/golden/note-1-split", &file, 65536),
	                 0);
	assert_int_equal(note_parse(buf_view(&file), &n, &why), 0);
	assert_true(str_eq(n.origin, STR("0189abcdef012345")));
	assert_string_equal(n.plan.ret, "FULL");
	assert_int_equal(n.plan.rcpts, 2);
	assert_int_equal(n.doubts, 3);
	assert_int_equal(n.first_trouble, 1795312900);
	assert_int_equal(n.tries, 4);
	assert_int_equal(n.warned, 1);
	assert_true(n.recompose);
	assert_int_equal(n.pending, 2);
	note_print_plan(&again, &n.plan, n.route, n.origin);
	assert_true(str_starts(buf_view(&file), buf_view(&again)));
	assert_true(str_starts(str_from(buf_view(&file), again.n), STR("d 1795312000 ")));
	note_free(&n);
}

static void damage(void **state)
{
	static const struct {
		const char *name, *in;
		int want;
	} rows[] = {
		{ "plan alone", PLAN, 0 },
		{ "null sender", "mailchute-note 1\nS\nPhub c@d\n.\n", 0 },
		{ "empty", "", -EBADMSG },
		{ "version", "mailchute-note 2\nSa@b\nPhub c@d\n.\n", -EBADMSG },
		{ "no end", "mailchute-note 1\nSa@b\nPhub c@d\n", -EBADMSG },
		{ "end without LF", "mailchute-note 1\nSa@b\nPhub c@d\n.", -EBADMSG },
		{ "no recipient", "mailchute-note 1\nSa@b\n.\n", -EBADMSG },
		{ "no sender", "mailchute-note 1\nPhub c@d\n.\n", -EBADMSG },
		{ "two senders", "mailchute-note 1\nSa@b\nSa@b\nPhub c@d\n.\n",
		  -EBADMSG },
		{ "bad sender", "mailchute-note 1\nSa b\nPhub c@d\n.\n", -EBADMSG },
		{ "bad recipient", "mailchute-note 1\nS\nPhub c>d\n.\n", -EBADMSG },
		{ "no route", "mailchute-note 1\nS\nP c@d\n.\n", -EBADMSG },
		{ "bad route", "mailchute-note 1\nS\nPa/b c@d\n.\n", -EBADMSG },
		{ "bad RET", "mailchute-note 1\nS\nDRET=X\nPhub c@d\n.\n", -EBADMSG },
		{ "RET twice", "mailchute-note 1\nS\nDRET=FULL\tRET=FULL\nPhub c@d\n.\n",
		  -EBADMSG },
		{ "D behind P", "mailchute-note 1\nS\nPhub c@d\nDRET=FULL\n.\n",
		  -EBADMSG },
		{ "origin", "mailchute-note 1\nS\nO0189abcdef012345\nPhub c@d\n.\n", 0 },
		{ "origin twice",
		  "mailchute-note 1\nS\nO0189abcdef012345\nO0189abcdef012345\nPhub "
		  "c@d\n.\n",
		  -EBADMSG },
		{ "short origin", "mailchute-note 1\nS\nO0189abcdef01234\nPhub c@d\n.\n",
		  -EBADMSG },
		{ "long origin", "mailchute-note 1\nS\nO0189abcdef0123456\nPhub c@d\n.\n",
		  -EBADMSG },
		{ "empty origin", "mailchute-note 1\nS\nO\nPhub c@d\n.\n", -EBADMSG },
		{ "origin in upper case",
		  "mailchute-note 1\nS\nO0189ABCDEF012345\nPhub c@d\n.\n", -EBADMSG },
		{ "origin is a path",
		  "mailchute-note 1\nS\nO../../etc/passwd\nPhub c@d\n.\n", -EBADMSG },
		{ "origin before S",
		  "mailchute-note 1\nO0189abcdef012345\nS\nPhub c@d\n.\n", -EBADMSG },
		{ "origin before D",
		  "mailchute-note 1\nS\nO0189abcdef012345\nDRET=FULL\nPhub c@d\n.\n",
		  -EBADMSG },
		{ "origin behind P",
		  "mailchute-note 1\nS\nPhub c@d\nO0189abcdef012345\n.\n", -EBADMSG },
		{ "bad w", PLAN "w x\n", -EBADMSG },
		{ "bad c", PLAN "c -1\n", -EBADMSG },
		{ "w of letters", PLAN "wx\n", -EBADMSG },
		{ "cut w", PLAN "w\n", 0 },
		{ "cut c", PLAN "c \n", 0 },
		{ "CR", "mailchute-note 1\nS\nPhub c@d\tORCPT=x\r\n.\n", -EBADMSG },
		{ "unknown parameter", "mailchute-note 1\nS\nPhub c@d\tX=1\n.\n",
		  -EBADMSG },
		{ "empty parameter", "mailchute-note 1\nS\nPhub c@d\tNOTIFY=\n.\n",
		  -EBADMSG },
		{ "unknown outcome", PLAN "x 1\n", -EBADMSG },
		{ "number 0", PLAN "r 0 D 5 250 x\n", -EBADMSG },
		{ "number too large", PLAN "r 3 D 5 250 x\n", -EBADMSG },
		{ "letter", PLAN "r 1 X 5 250 x\n", -EBADMSG },
		{ "code", PLAN "r 1 D 5 2500 x\n", -EBADMSG },
		{ "time", PLAN "r 1 D 9999999999999999999 250 x\n", -EBADMSG },
		{ "negative time", PLAN "r 1 D -5 250 x\n", -EBADMSG },
		{ "bad e", PLAN "e x\n", -EBADMSG },
		{ "cut r", PLAN "r\n", 0 },
		{ "cut number", PLAN "r 2\n", 0 },
		{ "cut time", PLAN "r 2 D 17\n", 0 },
		{ "cut code", PLAN "r 2 D 17 25\n", 0 },
		{ "empty line", PLAN "\n", 0 },
		{ "no LF", PLAN "x 1", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct note n;
		const char *why = NULL;
		int e = note_parse(str_z(rows[i].in), &n, &why);

		if (e != rows[i].want || (e < 0) != (why != NULL))
			fail_msg("%s: got %d (%s)", rows[i].name, e, why ? why : "-");
		if (e == 0) {
			if (n.pending != n.plan.rcpts)
				fail_msg("%s: pending %zu", rows[i].name, n.pending);
			note_free(&n);
		}
	}
}

/* A note cut anywhere in its outcomes is a good note, with at most one outcome less. */
static void cut_anywhere(const char *name, size_t rcpt)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	ptrdiff_t plan;
	struct note n;
	const char *why;

	assert_int_equal(io_slurp_at(AT_FDCWD, name, &file, 65536), 0);
	plan = (char *)memmem(file.p, file.n, "\n.\n", 3) - file.p + 3;
	for (size_t i = 0; i <= file.n; i++) {
		_cleanup_buf_ struct buf mended = BUF_INIT;
		int e = note_parse(str_head(buf_view(&file), i), &n, &why);

		if ((e == 0) != (i >= (size_t)plan))
			fail_msg("cut at %zu: %d", i, e);
		if (e < 0)
			continue;
		note_free(&n);
		/* And what a writer adds behind such a line, with an LF first. */
		buf_str(&mended, str_head(buf_view(&file), i));
		buf_z(&mended, "\n");
		buf_fmt(&mended, "r %zu D 1795312700 250 ok\n", rcpt);
		e = note_parse(buf_view(&mended), &n, &why);
		if (e < 0)
			fail_msg("cut at %zu and mended: %s", i, why);
		if (n.rcpt[rcpt - 1].state != NOTE_DONE)
			fail_msg("cut at %zu and mended: outcome lost", i);
		note_free(&n);
	}
}

static void cuts(void **state)
{
	(void)state;
	cut_anywhere("test/golden/note-1", 3);
	cut_anywhere("test/golden/note-1-split", 2);
}

static void outcomes(void **state)
{
	static const struct {
		const char *name, *in;
		char want1;
		size_t pending;
		int64_t trouble;
	} rows[] = {
		{ "T", PLAN "r 1 T 7 450 x\n", 'T', 2, 7 },
		{ "T of time 0", PLAN "r 1 T 0 450 x\n", 'T', 2, 1 },
		{ "first T counts", PLAN "r 2 T 7 450 x\nr 1 T 9 450 x\n", 'T', 2, 7 },
		{ "F", PLAN "r 1 F 7 550 x\n", 'F', 1, 0 },
		{ "replayed D", PLAN "r 1 D 7 250 x\nr 1 D 7 250 x\n", 'D', 1, 0 },
		{ "late T", PLAN "r 1 D 7 250 x\nr 1 T 8 450 x\n", 'D', 1, 8 },
		{ "T behind F", PLAN "r 1 F 7 550 x\nr 1 T 8 450 x\n", 'F', 1, 8 },
		{ "D behind F", PLAN "r 1 F 7 550 x\nr 1 D 8 250 x\n", 'D', 1, 0 },
		{ "F behind D", PLAN "r 1 D 7 250 x\nr 1 F 8 550 x\n", 'D', 1, 0 },
		{ "two doubts", PLAN "d 5 x\nd 6 x\n", 0, 2, 0 },
		{ "third doubt", PLAN "d 5 x\nd 6 x\nd 7 x\nd 8 x\n", 0, 2, 7 },
		{ "third doubt at 0", PLAN "d 0 x\nd 0 x\nd 0 x\n", 0, 2, 1 },
		{ "T before the doubts", PLAN "r 1 T 3 450 x\nd 5 x\nd 6 x\nd 7 x\n", 'T',
		  2, 3 },
		{ "T between doubts", PLAN "d 5 x\nd 6 x\nr 1 T 7 450 x\nd 8 x\n", 'T', 2,
		  7 },
		{ "T behind the doubts", PLAN "d 5 x\nd 6 x\nd 7 x\nr 1 T 9 450 x\n", 'T',
		  2, 7 },
		{ "a cut doubt is none", PLAN "d 5 x\nd 6 x\nd 7\n", 0, 2, 0 },
		{ "no text", PLAN "r 1 F 7 550 \n", 'F', 1, 0 },
		{ "released, all failed",
		  PLAN "r 1 T 5 450 x\nr 1 F 7 550 x\nr 2 F 7 550 x\nu 8\n", 0, 2, 0 },
		{ "released, one delivered", PLAN "r 1 D 7 250 x\nr 2 F 7 550 x\nu 8\n",
		  'D', 1, 0 },
		{ "released, one pending", PLAN "r 1 F 7 550 x\nr 2 T 7 450 x\nu 8\n",
		  'F', 1, 0 },
		{ "released, failed again",
		  PLAN "r 1 F 7 550 x\nr 2 D 7 250 x\nu 8\nr 1 F 9 550 x\n", 'F', 0, 0 },
		{ "a cut release is none", PLAN "r 1 F 7 550 x\nr 2 F 7 550 x\nu \n", 'F',
		  0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct note n;
		const char *why;

		if (note_parse(str_z(rows[i].in), &n, &why) < 0)
			fail_msg("%s: %s", rows[i].name, why);
		if ((char)n.rcpt[0].state != rows[i].want1 ||
		    n.pending != rows[i].pending || n.first_trouble != rows[i].trouble)
			fail_msg("%s: state %c, pending %zu, first trouble %lld",
			         rows[i].name, (char)n.rcpt[0].state, n.pending,
			         (long long)n.first_trouble);
		note_free(&n);
	}
}

/* Lines that were cut count as nothing. */
static void counters(void **state)
{
	static const struct {
		const char *name, *in;
		unsigned warned;
		bool recompose;
	} rows[] = {
		{ "none", PLAN, 0, false },
		{ "warned", PLAN "w 5\n", 1, false },
		{ "warned twice", PLAN "w 5\ne 6\nw 7\n", 2, false },
		{ "cut w", PLAN "w\nw \nw 5", 0, false },
		{ "recompose", PLAN "c 5\n", 0, true },
		{ "recompose stays", PLAN "c 5\nr 1 T 6 450 x\ne 6\n", 0, true },
		{ "cut c", PLAN "c\nc \nc 5", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct note n;
		const char *why;

		if (note_parse(str_z(rows[i].in), &n, &why) < 0)
			fail_msg("%s: %s", rows[i].name, why);
		if (n.warned != rows[i].warned || n.recompose != rows[i].recompose)
			fail_msg("%s: warned %u, recompose %d", rows[i].name, n.warned,
			         n.recompose);
		note_free(&n);
	}
}

static void hostile_text(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT, all = BUF_INIT, text = BUF_INIT;
	struct note n;
	const char *why;

	(void)state;
	for (int c = 0; c < 256; c++)
		buf_c(&text, (char)c);
	buf_z(&b, PLAN);
	note_print_result(&b, 1, NOTE_FAILED, 5, 550, buf_view(&text));
	assert_int_equal(note_parse(buf_view(&b), &n, &why), 0);
	assert_int_equal(n.rcpt[0].state, NOTE_FAILED);
	for (size_t i = 0; i < n.rcpt[0].text.n; i++)
		assert_in_range((unsigned char)n.rcpt[0].text.p[i], 0x20, 0x7e);
	/* Printed again, it is the same: nothing is escaped twice. */
	note_print_result(&all, 1, NOTE_FAILED, 5, 550, n.rcpt[0].text);
	assert_true(str_starts(buf_view(&all), STR("r 1 F 5 550 \\x00\\x01")));
	assert_null(strstr(all.p, "\\x5cx"));
	note_free(&n);
	buf_reset(&b);
	for (int i = 0; i < 40; i++)
		buf_str(&text, STR("0123456789abcdefghijklmnopqrstuvwxyz"));
	note_print_result(&b, 1, NOTE_FAILED, 5, 550, str_from(buf_view(&text), 256));
	assert_int_equal(b.n, strlen("r 1 F 5 550 \n") + NOTE_TEXT_MAX);
}

static void backoff(void **state)
{
	static const struct {
		int64_t age, retry, max, low, high;
	} rows[] = {
		{ 0, 300, 14400, 263, 300 },
		{ 300, 300, 14400, 263, 300 },
		{ 1200, 300, 14400, 525, 600 },
		{ 86400, 300, 14400, 12600, 14400 },
		{ INT64_MAX, 300, 14400, 12600, 14400 },
		{ 0, 1, 14400, 1, 1 },
		{ 0, 300, 10, 263, 300 },
		{ -5, 300, 14400, 263, 300 },
		{ 0, 0, 0, 1, 1 },
	};
	char id[17];
	bool differ = false;
	int64_t before = -1;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int j = 0; j < 1000; j++) {
			int64_t w;

			snprintf(id, sizeof(id), "%016x", (unsigned)j * 2654435761u);
			w = note_backoff(rows[i].age, rows[i].retry, rows[i].max,
			                 str_z(id));
			if (w < rows[i].low || w > rows[i].high)
				fail_msg("row %zu, id %s: %lld", i, id, (long long)w);
			assert_int_equal(w, note_backoff(rows[i].age, rows[i].retry,
			                                 rows[i].max, str_z(id)));
			differ |= before >= 0 && w != before;
			before = w;
		}
	}
	assert_true(differ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),       cmocka_unit_test(damage),
		cmocka_unit_test(cuts),         cmocka_unit_test(outcomes),
		cmocka_unit_test(hostile_text), cmocka_unit_test(backoff),
		cmocka_unit_test(split),        cmocka_unit_test(counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
