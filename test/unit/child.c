#include "prog/child.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
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

/* Says its name, and which descriptors it has; arg: the one that it keeps. */
static int apart(void *arg, struct buf *out)
{
	char name[16] = "";
	int e = child_apart("mailchute-tests", *(const int *)arg);

	if (e < 0)
		return e;
	prctl(PR_GET_NAME, name, 0, 0, 0);
	buf_z(out, name);
	for (int fd = 0; fd < 100; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			buf_fmt(out, " %d", fd);
	raise(SIGHUP);
	buf_fmt(out, " nice %d", getpriority(PRIO_PROCESS, 0));
	return 0;
}

/* One that works for long goes on alone: nothing of ours stays open in it but what it is to
 * have. */
static void goes_apart(void **state)
{
	static const struct {
		const char *name;
		int fd; /* 0: one that is open */
		int e;
	} rows[] = { { "kept", 0, 0 }, { "is none", 99, -EBADF } };
	int pair[2], more = dup(2), was = getpriority(PRIO_PROCESS, 0);

	(void)state;
	assert_int_equal(pipe(pair), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf want = BUF_INIT;
		struct child c = CHILD_INIT;
		int fd = rows[i].fd ? rows[i].fd : pair[0], e;

		if (rows[i].e == 0)
			buf_fmt(&want, "mailchute-tests 0 1 2 %d nice %d", CHILD_KEPT,
			        was + 10 < 19 ? was + 10 : 19);
		assert_int_equal(child_begin(&c, apart, &fd, 1000), 0);
		while (!child_hear(&c, &e))
			;
		if (e != rows[i].e ||
		    strcmp(c.said.n ? c.said.p : "", want.n ? want.p : ""))
			fail_msg("%s: %d, said %s", rows[i].name, e,
			         c.said.n ? c.said.p : "");
		buf_free(&c.said);
	}
	close(pair[0]);
	close(pair[1]);
	close(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ends),
		                            cmocka_unit_test(goes_apart) };

	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
