/*
 * spoolbed.h - a spool of its own for every test, in a temporary folder that is the
 * current one
 */
#ifndef TEST_UNIT_SPOOLBED_H
#define TEST_UNIT_SPOOLBED_H

#include "base/io.h"
#include "spool/adopt.h"
#include "spool/journal.h"
#include "spool/notefile.h"
#include "spool/queue.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST = 4 * 3600 };
#define NOW INT64_C(1800000000)

struct bed {
	char top[4096]; /* where the test was started: the tree's top */
	char root[64];
	struct spool s;
};

__attribute__((unused)) static int bed_setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	const char *where;

	if (!b || !getcwd(b->top, sizeof(b->top)))
		return -1;
	snprintf(b->root, sizeof(b->root), "/tmp/mailchute-unit-XXXXXX");
	if (!mkdtemp(b->root) || chdir(b->root) < 0)
		return -1;
	*state = b;
	return spool_open(&b->s, b->root, true, &where);
}

static int bed_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

__attribute__((unused)) static int bed_teardown(void **state)
{
	struct bed *b = *state;

	spool_close(&b->s);
	if (chdir(b->top) < 0)
		return -1;
	nftw(b->root, bed_remove, 16, FTW_DEPTH | FTW_PHYS);
	free(b);
	return 0;
}

/* How many names there are in a folder, but . and .. */
__attribute__((unused)) static size_t count(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

__attribute__((unused)) static bool there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

__attribute__((unused)) static void put(const char *path, struct str text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text.p, text.n), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* The file's content; valid until the next call. */
__attribute__((unused)) static const char *content(const char *path)
{
	static struct buf b = BUF_INIT;

	buf_reset(&b);
	buf_z(&b, "");
	if (io_slurp_at(AT_FDCWD, path, &b, 1 << 24) < 0)
		return "(none)";
	return b.p;
}

/* The n-th id of a test. */
__attribute__((unused)) static struct id nth(unsigned n)
{
	return id_make(1700000000000 + n / 8, n % 8);
}

/* "folder/<id><more>"; valid until the fourth call from now. */
__attribute__((unused)) static const char *in(const char *folder, const struct id *id,
                                              const char *more)
{
	static char path[4][200];
	static unsigned at;
	char *p = path[at++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s%s", folder, id->c, more);
	return p;
}

#endif
