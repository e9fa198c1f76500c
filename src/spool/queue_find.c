#include "spool/queue_inside.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* "mailchute 1", U, a number of up to 10 digits, and the blank behind it. */
enum { OWNER_LINES = 32, ENVELOPE_FIRST = 4096 /* holds the envelope of most */ };

static bool is_there(int dir, const char *path)
{
	return faccessat(dir, path, F_OK, 0) == 0;
}

/* Asks the buckets of a route. */
static int find_in(int queue, const char *route, struct place *p)
{
	char path[16 + ID_LEN];
	DIR *d = dir_open(queue, route);
	const struct dirent *e;
	int r = -ENOENT;
	uint32_t b;

	if (!d)
		return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
	while (r == -ENOENT && (e = readdir(d))) {
		if (!dir_bucket(e->d_name, &b))
			continue;
		snprintf(path, sizeof(path), "%08x/%s", b, p->id.c);
		if (is_there(dirfd(d), path)) {
			p->due = b;
			r = 0;
		} else if (errno != ENOENT && errno != ENOTDIR) {
			r = -errno;
		}
	}
	closedir(d);
	return r;
}

int queue_find(struct spool *s, const struct id *id,
               char ret_route[static QUEUE_ROUTE_MAX + 1], struct place *ret)
{
	struct place p = { .id = *id };
	const struct dirent *e;
	int r = -ENOENT;
	DIR *d;

	if (is_there(s->new, id->c)) {
		snprintf(ret_route, QUEUE_ROUTE_MAX + 1, "new");
		*ret = p;
		return 0;
	}
	if (errno != ENOENT)
		return -errno;
	d = dir_open(s->queue, ".");
	if (!d)
		return -errno;
	while (r == -ENOENT && (e = readdir(d))) {
		if (!dir_route(e->d_name))
			continue;
		r = find_in(s->queue, e->d_name, &p);
		if (r == 0)
			memcpy(ret_route, e->d_name, strlen(e->d_name) + 1);
	}
	closedir(d);
	if (r == 0)
		*ret = p;
	return r;
}

int queue_owner(int fd, uid_t *ret_uid, int64_t *ret_size)
{
	char text[OWNER_LINES];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	struct str line, rest, word;
	struct stat st;
	uint64_t uid;

	if (n < 0 || fstat(fd, &st) < 0)
		return -errno;
	rest = (struct str){ text, (size_t)n };
	if (!str_cut(&rest, '\n', &line) || !str_eq(line, STR("mailchute 1")) ||
	    rest.n == 0 || rest.p[0] != 'U')
		return -EBADMSG;
	rest = str_from(rest, 1);
	if (!str_cut(&rest, ' ', &word) || !rest.p || !str_u64(word, &uid) ||
	    uid > UINT32_MAX)
		return -EBADMSG;
	*ret_uid = (uid_t)uid;
	*ret_size = st.st_size;
	return 0;
}

/* Each step doubles what is there, so that all of the parsing costs no more than a few times the
 * last one. */
int queue_envelope(int fd, struct buf *text, struct envelope *ret, size_t *ret_used,
                   const char **ret_why)
{
	size_t missing = text->n, want = ENVELOPE_FIRST;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		ssize_t n =
		    pread(fd, buf_room(text, want), want, (off_t)(text->n - missing));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text->n += (size_t)n;
		text->p[text->n] = '\0';
		r = envelope_parse(buf_view(text), ret, ret_used, ret_why);
		if (r == -EAGAIN && n == 0) {
			*ret_why = "it ends within the envelope";
			r = -EBADMSG;
		}
		want = text->n;
	}
	return r;
}
