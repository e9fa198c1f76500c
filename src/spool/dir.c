#include "spool/dir.h"
#include "spool/queue.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct window {
	DIR *d;
	struct id names[DIR_WINDOW];
	size_t n, at;
};

DIR *dir_open(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		cleanup_fd(&fd);
	return d;
}

bool dir_bucket(const char *name, uint32_t *ret)
{
	enum { DIGITS = 8 };
	uint32_t v = 0;

	for (int i = 0; i < DIGITS; i++) {
		char c = name[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false; /* also at the end of a name that is too short */
	}
	*ret = v;
	return name[DIGITS] == '\0' && v != 0;
}

bool dir_route(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strcmp(name, "new") != 0 &&
	       !strchr(name, '/') &&
	       strnlen(name, QUEUE_ROUTE_MAX + 1) <= QUEUE_ROUTE_MAX;
}

void window_close(struct window **w)
{
	if (*w && (*w)->d)
		closedir((*w)->d);
	free(*w);
	*w = NULL;
}

bool window_open(struct window **w, int at, const char *name)
{
	DIR *d = dir_open(at, name);
	int e = errno;

	window_close(w);
	errno = e;
	if (!d)
		return false;
	*w = calloc(1, sizeof(**w));
	if (!*w)
		die_oom();
	(*w)->d = d;
	return true;
}

/* By age. Shell's way: in place, and without qsort()'s calls for each comparison and move. */
static void sort_names(struct id *v, size_t n)
{
	static const size_t gaps[] = { 57, 23, 10, 4, 1 };

	for (size_t g = 0; g < ARRAY_LEN(gaps); g++)
		for (size_t i = gaps[g]; i < n; i++) {
			const struct id id = v[i];
			size_t k = i;

			for (; k >= gaps[g] && id_cmp(&v[k - gaps[g]], &id) > 0;
			     k -= gaps[g])
				v[k] = v[k - gaps[g]];
			v[k] = id;
		}
}

bool window_next(struct window *w, struct id *ret)
{
	const struct dirent *e;

	if (!w)
		return false;
	if (w->at == w->n) {
		w->n = w->at = 0;
		while (w->n < DIR_WINDOW && (e = readdir(w->d)))
			w->n += id_from(
			    (struct str){ e->d_name, strnlen(e->d_name, ID_LEN + 1) },
			    &w->names[w->n]);
		sort_names(w->names, w->n);
	}
	if (w->at == w->n)
		return false;
	*ret = w->names[w->at++];
	return true;
}

bool window_used(const struct window *w)
{
	return !w || w->at == w->n;
}
