#include "prog/child.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static int says(void *arg, struct buf *out)
{
	buf_z(out, arg);
	return 0;
}

static int fails(void *arg, struct buf *out)
{
	(void)arg;
	(void)out;
	return -ENOENT;
}

static int dies(void *arg, struct buf *out)
{
	(void)arg;
	(void)out;
	raise(SIGKILL);
	return 0;
}

static int hangs(void *arg, struct buf *out)
{
	(void)arg;
	(void)out;
	pause();
	return 0;
}

/* What a child said, and how it ended; also where SIGCHLD is ignored, so that nobody knows. */
static void ends(void **state)
{
	static char words[] = "words";
	static const struct {
		const char *name;
		int (*work)(void *arg, struct buf *out);
		size_t max;
		int e, ignored; /* ignored: with SIGCHLD so */
		const char *said;
	} rows[] = {
		{ "says", says, 100, 0, -ECHILD, "words" },
		{ "says too much", says, 3, -EIO, -EIO, "words" },
		{ "fails", fails, 100, -ENOENT, -ECHILD, "" },
		{ "dies", dies, 100, -EIO, -ECHILD, "" },
		{ "hangs", hangs, 100, -ETIMEDOUT, -ETIMEDOUT, "" },
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		bool ignored = i % 2;
		int e, want = ignored ? rows[i / 2].ignored : rows[i / 2].e;

		signal(SIGCHLD, ignored ? SIG_IGN : SIG_DFL);
		e = child_run(rows[i / 2].work, words,
		              rows[i / 2].work == hangs ? 100 : 5000, rows[i / 2].max,
		              &out);
		signal(SIGCHLD, SIG_DFL);
		if (e != want || strcmp(out.n ? out.p : "", rows[i / 2].said) != 0)
			fail_msg("%s: %d, said %s", rows[i / 2].name, e,
			         out.n ? out.p : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ends) };

	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
