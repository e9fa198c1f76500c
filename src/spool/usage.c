#include "spool/usage.h"
#include "base/clock.h"
#include "spool/queue.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
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

/* What is done with each message: its path is below at. */
struct walk {
	void (*each)(void *arg, int at, const char *path, const struct id *id);
	void *arg;
};

/* A folder could not be opened: 0 when it is not there, or is none, else -errno. */
static int gone(void)
{
	return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
}

/* All messages of a folder. */
static int walk_folder(const struct walk *k, int at, const char *name)
{
	struct window *w = NULL;
	char path[QUEUE_ROUTE_MAX + ID_LEN + 16];
	struct id id;

	if (!window_open(&w, at, name))
		return gone();
	while (window_next(w, &id)) {
		snprintf(path, sizeof(path), "%s/%s", name, id.c);
		k->each(k->arg, at, path, &id);
	}
	window_close(&w);
	return 0;
}

static int walk_route(const struct walk *k, int queue, const char *route)
{
	DIR *d = dir_open(queue, route);
	const struct dirent *e;
	uint32_t b;
	int r = 0;

	if (!d)
		return gone();
	while (r == 0 && (e = readdir(d)))
		if (dir_bucket(e->d_name, &b))
			r = walk_folder(k, dirfd(d), e->d_name);
	closedir(d);
	return r;
}

static int walk_queue(const struct walk *k, int root)
{
	DIR *d = dir_open(root, "queue");
	const struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d)))
		if (dir_route(e->d_name))
			r = walk_route(k, dirfd(d), e->d_name);
	if (r == 0)
		r = walk_folder(k, dirfd(d), "new");
	closedir(d);
	return r;
}

/* One that cannot be opened is gone: it moved. */
static void count_one(void *arg, int at, const char *path, const struct id *id)
{
	_cleanup_fd_ int fd =
	    openat(at, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uid_t uid = OTHERS;
	int64_t size = 0;

	(void)id;
	if (fd < 0)
		return;
	if (queue_owner(fd, &uid, &size) == 0)
		usage_add(arg, uid, size, 1);
	else
		usage_add(arg, OTHERS, 0, 1);
}

int usage_count(int root, struct buf *ret)
{
	struct usage u = { .users = 0 };
	const struct walk k = { count_one, &u };
	int r = walk_queue(&k, root);

	if (r == 0)
		r = walk_folder(&k, root, "hold");
	for (size_t i = 0; i < u.users; i++)
		buf_fmt(ret, "%llu %lld %lld\n", (unsigned long long)u.user[i].uid,
		        (long long)u.user[i].messages, (long long)u.user[i].octets);
	return r;
}

struct search {
	struct oldest found;
	int64_t now, odd_since;
};

static bool odd(int64_t t, int64_t now)
{
	return t > now + USAGE_AHEAD || clock_was_unset(t, now);
}

/* A file is hardly older than its id: what is younger by that need not be asked. */
static void look_at(void *arg, int at, const char *path, const struct id *id)
{
	struct search *s = arg;
	struct oldest *o = &s->found;
	struct stat st;
	int64_t since = id_ms(id) / 1000;

	o->messages++;
	if (o->id.c[0] && since > o->since && !odd(since, s->now))
		return;
	if (fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	since = st.st_mtime;
	if (odd(since, s->now)) {
		o->odd++;
		since = s->odd_since;
	}
	if (o->id.c[0] && since >= o->since)
		return;
	o->since = since;
	o->id = *id;
}

int usage_oldest(int root, int64_t now, int64_t odd_since, struct oldest *ret)
{
	struct search s = { .now = now, .odd_since = odd_since };
	const struct walk k = { look_at, &s };
	int r = walk_queue(&k, root);

	if (r == 0)
		*ret = s.found;
	return r;
}
