#include "spool/usage.h"
#include "spool/queue.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define OTHERS ((uid_t)-1)

static struct usage_user *look_up(struct usage *u, uid_t uid)
{
	for (size_t i = 0; i < u->users; i++)
		if (u->user[i].uid == uid)
			return &u->user[i];
	return NULL;
}

/* The last place is kept for all who find none. NULL: there is nothing to take away. */
static struct usage_user *find(struct usage *u, uid_t uid, bool make)
{
	struct usage_user *his = look_up(u, uid);

	if (!his && (!make || u->users >= USAGE_USERS_MAX - 1)) {
		uid = OTHERS;
		his = look_up(u, uid);
	}
	if (his || !make)
		return his;
	u->user[u->users] = (struct usage_user){ .uid = uid };
	return &u->user[u->users++];
}

static void add(struct usage *u, uid_t uid, int64_t messages, int64_t octets)
{
	struct usage_user *his = find(u, uid, messages > 0);

	u->messages += messages;
	u->octets += octets;
	u->messages = u->messages > 0 ? u->messages : 0;
	u->octets = u->octets > 0 ? u->octets : 0;
	if (!his)
		return;
	his->messages += messages;
	his->octets += octets;
	his->octets = his->octets > 0 ? his->octets : 0;
	if (his->messages <= 0)
		*his = u->user[--u->users];
}

void usage_add(struct usage *u, uid_t uid, int64_t octets, int sign)
{
	add(u, uid, sign, sign * octets);
}

int64_t usage_of(const struct usage *u, uid_t uid)
{
	int64_t others = 0;

	for (size_t i = 0; i < u->users; i++) {
		if (u->user[i].uid == uid)
			return u->user[i].messages;
		if (u->user[i].uid == OTHERS)
			others = u->user[i].messages;
	}
	return u->users >= USAGE_USERS_MAX - 1 ? others : 0;
}

static bool number(struct str *line, uint64_t max, uint64_t *ret)
{
	struct str word;

	return str_cut(line, ' ', &word) && str_u64(word, ret) && *ret <= max;
}

void usage_take(struct usage *u, struct str text)
{
	enum { MANY = 1 << 30 }; /* messages: sums of it do not overflow */
	struct str line;
	uint64_t uid, messages, octets;

	while (text.n && str_cut(&text, '\n', &line))
		if (number(&line, UINT32_MAX, &uid) && number(&line, MANY, &messages) &&
		    number(&line, INT64_MAX / 4096, &octets) && messages)
			add(u, (uid_t)uid, (int64_t)messages, (int64_t)octets);
}

/* ---- In a child ---- */

/* All messages of a folder. One that cannot be opened is gone: it moved. */
static void count_folder(struct usage *u, int at, const char *name)
{
	struct window *w = NULL;
	char path[QUEUE_ROUTE_MAX + ID_LEN + 16];
	struct id id;

	if (!window_open(&w, at, name))
		return;
	while (window_next(w, &id)) {
		_cleanup_fd_ int fd = -1;
		uid_t uid = OTHERS;
		int64_t size = 0;

		snprintf(path, sizeof(path), "%s/%s", name, id.c);
		fd = openat(at, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (queue_owner(fd, &uid, &size) == 0)
			usage_add(u, uid, size, 1);
		else
			usage_add(u, OTHERS, 0, 1);
	}
	window_close(&w);
}

static int count_route(struct usage *u, int queue, const char *route)
{
	DIR *d = dir_open(queue, route);
	const struct dirent *e;
	uint32_t b;

	if (!d)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	while ((e = readdir(d)))
		if (dir_bucket(e->d_name, &b))
			count_folder(u, dirfd(d), e->d_name);
	closedir(d);
	return 0;
}

int usage_count(int root, struct buf *ret)
{
	struct usage u = { .users = 0 };
	DIR *d = dir_open(root, "queue");
	const struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d)))
		if (dir_route(e->d_name))
			r = count_route(&u, dirfd(d), e->d_name);
	count_folder(&u, dirfd(d), "new");
	closedir(d);
	count_folder(&u, root, "hold");
	for (size_t i = 0; i < u.users; i++)
		buf_fmt(ret, "%llu %lld %lld\n", (unsigned long long)u.user[i].uid,
		        (long long)u.user[i].messages, (long long)u.user[i].octets);
	return r;
}
