#include "spool/list.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	KEYS = 1 << 18, /* buckets sorted at once; 2 MB */
	FIND_PASSES = 2,
	LIST_PATH = QUEUE_ROUTE_MAX + ID_LEN + 32,
};

static const struct folder {
	enum list_where where;
	const char *path;
} before[] = { { LIST_DROP, "in/taken" },
	       { LIST_DROP, "in/drop" },
	       { LIST_NEW, "queue/new" } },
  behind[] = { { LIST_HOLD, "hold" }, { LIST_BAD, "bad" } };

struct lister {
	int root;
	bool (*item)(void *arg, const struct list_item *it);
	void *arg;
	bool ended; /* by item() */
	char route[LIST_ROUTES][QUEUE_ROUTE_MAX + 1];
	size_t routes;
};

/* Opens the file and the note of an item in a folder. */
static int item_open(int root, const char *folder, struct list_item *it)
{
	char path[LIST_PATH];
	struct stat st;

	it->note = -1;
	snprintf(path, sizeof(path), "%s/%s", folder, it->place.id.c);
	/* A drop's name may be anything: a FIFO holds up nobody. */
	it->fd =
	    openat(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (it->fd < 0)
		return -errno;
	if (fstat(it->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(it->fd);
		return -ENOENT;
	}
	if (it->where == LIST_DROP)
		return 0;
	if (it->where == LIST_HOLD || it->where == LIST_BAD) {
		snprintf(path, sizeof(path), "%s/%s.note", folder, it->place.id.c);
		it->note = openat(root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (it->note < 0) {
		snprintf(path, sizeof(path), "note/%s", it->place.id.c);
		it->note = openat(root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	}
	return 0;
}

/* All messages of a folder; it: where and of which route and due time they are. */
static void folder_each(struct lister *l, const char *folder, struct list_item *it)
{
	struct window *w = NULL;

	if (!window_open(&w, l->root, folder))
		return;
	while (!l->ended && window_next(w, &it->place.id)) {
		if (item_open(l->root, folder, it) < 0)
			continue;
		l->ended = !l->item(l->arg, it);
		cleanup_fd(&it->fd);
		cleanup_fd(&it->note);
	}
	window_close(&w);
}

static int routes_read(int root, struct lister *l)
{
	DIR *d = dir_open(root, "queue");
	const struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d)) && l->routes < LIST_ROUTES)
		if (dir_route(e->d_name))
			memcpy(l->route[l->routes++], e->d_name, strlen(e->d_name) + 1);
	closedir(d);
	return 0;
}

/* A bucket as a number that sorts: its due time, and which route. */
static uint64_t key_of(uint32_t due, size_t route)
{
	return (uint64_t)due << 32 | route;
}

static int by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The first keys behind `after`, at most KEYS of them, sorted. When there are more than that,
 * the later half is dropped each time: it is found again by the next call. */
static size_t keys_read(const struct lister *l, uint64_t after, uint64_t *keys,
                        bool *ret_more)
{
	uint64_t until = UINT64_MAX;
	const struct dirent *e;
	size_t n = 0;
	uint32_t due;

	*ret_more = false;
	for (size_t r = 0; r < l->routes; r++) {
		char path[LIST_PATH];
		DIR *d;

		snprintf(path, sizeof(path), "queue/%s", l->route[r]);
		d = dir_open(l->root, path);
		while (d && (e = readdir(d))) {
			if (!dir_bucket(e->d_name, &due) || key_of(due, r) <= after ||
			    key_of(due, r) > until)
				continue;
			keys[n++] = key_of(due, r);
			if (n < KEYS)
				continue;
			qsort(keys, n, sizeof(*keys), by_key);
			n /= 2;
			until = keys[n - 1];
			*ret_more = true;
		}
		if (d)
			closedir(d);
	}
	qsort(keys, n, sizeof(*keys), by_key);
	return n;
}

static void buckets_each(struct lister *l)
{
	uint64_t *keys = malloc(KEYS * sizeof(*keys)), after = 0;
	bool more = true;

	if (!keys)
		die_oom();
	while (more && !l->ended) {
		size_t n = keys_read(l, after, keys, &more);

		for (size_t i = 0; i < n && !l->ended; i++) {
			const char *route = l->route[keys[i] & UINT32_MAX];
			struct list_item it = { .where = LIST_ROUTE };
			char path[LIST_PATH];

			it.place.due = (uint32_t)(keys[i] >> 32);
			memcpy(it.route, route, sizeof(it.route));
			snprintf(path, sizeof(path), "queue/%s/%08x", route,
			         it.place.due);
			folder_each(l, path, &it);
		}
		if (n)
			after = keys[n - 1];
	}
	free(keys);
}

int list_each(int root, bool (*item)(void *arg, const struct list_item *it), void *arg)
{
	struct lister l = { .root = root, .item = item, .arg = arg };
	int e = routes_read(root, &l);

	if (e < 0)
		return e;
	for (size_t i = 0; i < ARRAY_LEN(before); i++) {
		struct list_item it = { .where = before[i].where };

		folder_each(&l, before[i].path, &it);
	}
	buckets_each(&l);
	for (size_t i = 0; i < ARRAY_LEN(behind); i++) {
		struct list_item it = { .where = behind[i].where };

		folder_each(&l, behind[i].path, &it);
	}
	return 0;
}

/* ---- One ---- */

static int find_in_queue(int root, struct list_item *it)
{
	char path[LIST_PATH];
	struct spool s = { .queue = -1, .new = -1 };
	int e = 0;

	s.queue = openat(root, "queue", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	s.new =
	    openat(root, "queue/new", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s.queue < 0 || s.new < 0)
		e = -errno;
	if (e == 0)
		e = queue_find(&s, &it->place.id, it->route, &it->place);
	cleanup_fd(&s.queue);
	cleanup_fd(&s.new);
	if (e < 0)
		return e;
	it->where = it->place.due ? LIST_ROUTE : LIST_NEW;
	if (it->place.due)
		snprintf(path, sizeof(path), "queue/%s/%08x", it->route, it->place.due);
	else
		snprintf(path, sizeof(path), "queue/new");
	if (!it->place.due)
		it->route[0] = '\0';
	return item_open(root, path, it);
}

static int find_in_folders(int root, const struct folder *f, size_t n,
                           struct list_item *it)
{
	int e = -ENOENT;

	for (size_t i = 0; i < n && e < 0; i++) {
		it->where = f[i].where;
		e = item_open(root, f[i].path, it);
	}
	return e;
}

int list_find(int root, const struct id *id, struct list_item *ret)
{
	struct list_item it;
	int e = -ENOENT;

	for (int i = 0; i < FIND_PASSES && e < 0; i++) {
		int r = -ENOENT;

		it = (struct list_item){ .place = { .id = *id } };
		e = find_in_folders(root, before, ARRAY_LEN(before), &it);
		if (e < 0)
			r = e = find_in_queue(root, &it);
		if (e < 0)
			e = find_in_folders(root, behind, ARRAY_LEN(behind), &it);
		/* Not found, and not by reason of an error. */
		if (e == -ENOENT && r != -ENOENT)
			e = r;
	}
	if (e == 0)
		*ret = it;
	return e;
}
