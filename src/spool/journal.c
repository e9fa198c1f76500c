#include "spool/journal.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Of a journal that ended there remains its file, empty, with this much space: on a full disk
 * messages can still go out, which is what makes room. */
enum { SPARE_OCTETS = 65536, READ_OCTETS = 32768, LINE_OCTETS = 65536 };
#define SPARE_NAME "spare"
#define FIRST_LINE STR("mailchute-run 1 ")

int journal_create(struct spool *s, const struct id *run, const char *route)
{
	_cleanup_buf_ struct buf head = BUF_INIT;
	bool spare = io_rename_new(s->run, SPARE_NAME, s->run, run->c) == 0;
	int e, fd = openat(s->run, run->c,
	                   O_WRONLY | O_CREAT | (spare ? 0 : O_EXCL) | O_APPEND |
	                       O_NOFOLLOW | O_CLOEXEC,
	                   0600);

	if (fd < 0)
		return -errno;
	buf_str(&head, FIRST_LINE);
	buf_fmt(&head, "%s\n", route);
	e = io_write(fd, head.p, head.n);
	if (e < 0) {
		close(fd);
		unlinkat(s->run, run->c, 0);
		return e;
	}
	return fd;
}

/* Hands out the whole lines at the front of b and removes them from it. */
static void lines_out(struct buf *b, void (*line)(void *arg, struct str line), void *arg)
{
	struct str rest = buf_view(b);
	ptrdiff_t lf;

	while ((lf = str_chr(rest, '\n')) >= 0) {
		line(arg, str_head(rest, (size_t)lf));
		rest = str_from(rest, (size_t)lf + 1);
	}
	buf_drop(b, b->n - rest.n);
}

struct first {
	bool seen, ok;
	void (*line)(void *arg, struct str line);
	void *arg;
};

static void skip_first(void *arg, struct str line)
{
	struct first *f = arg;

	if (!f->seen)
		f->ok = str_starts(line, FIRST_LINE);
	else if (f->ok)
		f->line(f->arg, line);
	f->seen = true;
}

int journal_read(struct spool *s, const struct id *run,
                 void (*line)(void *arg, struct str line), void *arg)
{
	_cleanup_fd_ int fd = openat(s->run, run->c, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct first first = { .line = line, .arg = arg };
	int64_t octets = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = io_read(fd, buf_room(&b, READ_OCTETS), READ_OCTETS);

		if (n < 0)
			return (int)n;
		b.n += (size_t)n;
		octets += n;
		lines_out(&b, skip_first, &first);
		if (n == READ_OCTETS && (b.n > LINE_OCTETS || octets > JOURNAL_MAX))
			return -EBADMSG;
		if (n < READ_OCTETS)
			return first.seen && !first.ok ? -EBADMSG : 0;
	}
}

int journal_route(struct spool *s, const struct id *run,
                  char route[static QUEUE_ROUTE_MAX + 1])
{
	_cleanup_fd_ int fd = openat(s->run, run->c, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char head[128];
	struct str text, line;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = io_read(fd, head, sizeof(head));
	if (n < 0)
		return (int)n;
	text = (struct str){ head, (size_t)n };
	if (text.n < sizeof(head) && str_chr(text, '\n') < 0)
		return -ENODATA;
	if (str_chr(text, '\n') < 0 || !str_cut(&text, '\n', &line) ||
	    !str_starts(line, FIRST_LINE) || line.n - FIRST_LINE.n > QUEUE_ROUTE_MAX)
		return -EBADMSG;
	line = str_from(line, FIRST_LINE.n);
	if (line.n == 0 || str_chr(line, '/') >= 0 || line.p[0] == '.')
		return -EBADMSG;
	snprintf(route, QUEUE_ROUTE_MAX + 1, "%.*s", (int)line.n, line.p);
	return 0;
}

enum { LIST_NAME = ID_LEN + 8 };

static void list_name(char name[static LIST_NAME], const struct id *run)
{
	snprintf(name, LIST_NAME, "%s.given", run->c);
}

int journal_list(struct spool *s, const struct id *run)
{
	char name[LIST_NAME];
	int fd;

	list_name(name, run);
	fd =
	    openat(s->run, name,
	           O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

void journal_unlist(struct spool *s, const struct id *run)
{
	char name[LIST_NAME];

	list_name(name, run);
	unlinkat(s->run, name, 0);
}

static int compare_lines(const void *a, const void *b)
{
	return memcmp(a, b, JOURNAL_LIST_LINE);
}

int journal_read_list(struct spool *s, const struct id *run, struct buf *ret)
{
	char name[LIST_NAME];
	int e;

	list_name(name, run);
	e = io_slurp_at(s->run, name, ret, JOURNAL_MAX);
	if (e < 0)
		return e;
	/* What mailchuted was killed in the middle of was not given to push. */
	buf_cut(ret, ret->n - ret->n % JOURNAL_LIST_LINE);
	if (ret->n)
		qsort(ret->p, ret->n / JOURNAL_LIST_LINE, JOURNAL_LIST_LINE,
		      compare_lines);
	return 0;
}

bool journal_listed(const struct buf *list, const struct id *id, uint32_t due)
{
	char line[JOURNAL_LIST_LINE + 1];

	snprintf(line, sizeof(line), "%s %08x\n", id->c, due);
	return list->n && bsearch(line, list->p, list->n / JOURNAL_LIST_LINE,
	                          JOURNAL_LIST_LINE, compare_lines);
}

void journal_remove(struct spool *s, const struct id *run)
{
	_cleanup_fd_ int fd =
	    openat(s->run, run->c, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);

	journal_unlist(s, run);
	if (fd < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SPARE_OCTETS) < 0 ||
	    renameat(s->run, run->c, s->run, SPARE_NAME) < 0)
		unlinkat(s->run, run->c, 0);
}

void journal_spare(struct spool *s, const struct id *run)
{
	int fd = faccessat(s->run, SPARE_NAME, F_OK, 0) == 0
	             ? -1
	             : openat(s->run, run->c,
	                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	/* It has no first line: after a crash here it is a journal that push never had. */
	if (fd < 0)
		return;
	close(fd);
	journal_remove(s, run);
}

int journal_find(struct spool *s, bool (*busy)(void *arg, const struct id *id), void *arg,
                 const struct id *after, struct id *ret)
{
	DIR *d = dir_open(s->run, ".");
	const struct dirent *e;
	struct id id;
	bool found = false;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (!id_from(str_z(e->d_name), &id) || (busy && busy(arg, &id)) ||
		    (after && id_cmp(&id, after) <= 0))
			continue;
		if (!found || id_cmp(&id, ret) < 0)
			*ret = id;
		found = true;
	}
	closedir(d);
	return found;
}
