#include "push/maps.h"
#include "base/io.h"
#include "mail/masq_map.h"
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
	return S_ISREG(st.st_mode) ? io_slurp(fd, ret, MASQ_MAP_MAX) : -EINVAL;
}

static int read_map(struct masq_rule *rule, struct buf *ret_why)
{
	_cleanup_buf_ struct buf text = BUF_INIT, why = BUF_INIT;
	int line = 0, e = read_file(rule->map, &text);

	if (e < 0) {
		buf_fmt(ret_why, "masquerade map %s: %s", rule->map, strerror(-e));
		return e;
	}
	masq_map_free(rule->table);
	rule->table = NULL;
	e = masq_map_parse(buf_view(&text), &rule->table, &line, &why);
	if (e < 0)
		buf_fmt(ret_why, "masquerade map %s:%d: %s", rule->map, line, why.p);
	return e;
}

int maps_read(struct conf *c, struct buf *ret_why)
{
	int e = 0;

	for (size_t i = 0; i < c->rules && e == 0; i++)
		if (c->rule[i].map[0])
			e = read_map(&c->rule[i], ret_why);
	return e;
}
