#include "push/aliases.h"
#include "base/io.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* O_NONBLOCK, and a look at what it is: a FIFO must not make us wait. */
static int read_file(const char *path, struct buf *ret)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? io_slurp(fd, ret, ALIAS_FILE_MAX) : -EINVAL;
}

static const char *words(int e)
{
	return e == -EINVAL  ? "it is not a regular file"
	       : e == -EFBIG ? "it is over 4 MiB"
	                     : strerror(-e);
}

void aliases_read(const char *path, struct alias_table *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	int e;

	if (path[0] == '\0')
		return;
	e = read_file(path, &text);
	if (e == 0)
		alias_parse(ret, path, &text);
	else if (e != -ENOENT)
		alias_unreadable(ret, path, words(e));
	/* Each list may add others behind it. */
	for (size_t i = 0; i < ret->lists; i++) {
		buf_reset(&text);
		e = read_file(ret->list[i].path, &text);
		if (e == 0)
			alias_list_parse(ret, i, &text);
		else
			alias_list_unreadable(ret, i, words(e));
	}
}

/* The reason why a whole file could not be read. */
static const char *reason(const struct alias_table *t, const char *path)
{
	if (t->why && strcmp(path, t->path) == 0)
		return t->why;
	for (size_t i = 0; i < t->lists; i++)
		if (t->list[i].why && strcmp(path, t->list[i].path) == 0)
			return t->list[i].why;
	return "";
}

void aliases_fault(const struct alias_table *t, size_t i, struct buf *ret)
{
	const struct alias_fault *f = &t->fault[i];

	buf_z(ret, "log w aliases");
	log_value(ret, "file", str_z(f->path));
	if (f->line)
		buf_fmt(ret, " line=%zu", f->line);
	log_value(ret, "why", str_z(f->line ? f->why : reason(t, f->path)));
	if (i + 1 == ALIAS_FAULTS_MAX && t->faults > ALIAS_FAULTS_MAX)
		buf_fmt(ret, " more=%zu", t->faults - ALIAS_FAULTS_MAX);
}
