#include "spool/door.h"
#include "base/io.h"
#include "spool/spool.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE "mailchute-door 1\n"

static void print_words(struct buf *b, struct str words)
{
	words = str_head(words, DOOR_WORDS_MAX);
	for (size_t i = 0; i < words.n; i++) {
		unsigned char c = (unsigned char)words.p[i];

		buf_c(b, c < 0x20 || c >= 0x7f ? '?' : words.p[i]);
	}
	buf_c(b, '\n');
}

void door_print(struct buf *b, const struct door *d)
{
	size_t start = b->n;

	buf_z(b, FIRST_LINE);
	if (d->size > 0)
		buf_fmt(b, "size %lld\n", (long long)d->size);
	if (d->free > 0 || d->inodes > 0)
		buf_fmt(b, "free %lld %lld\n", (long long)d->free, (long long)d->inodes);
	if (d->shut_until > 0) {
		buf_fmt(b, "shut %lld ", (long long)d->shut_until);
		print_words(b, d->shut_words);
	}
	for (size_t i = 0; i < d->users && i < DOOR_USERS_MAX; i++) {
		size_t before = b->n;

		buf_fmt(b, "user %llu %lld ", (unsigned long long)d->user[i].uid,
		        (long long)d->user[i].until);
		print_words(b, d->user[i].words);
		if (b->n - start > DOOR_MAX) {
			buf_cut(b, before);
			return;
		}
	}
}

static int replace(struct spool *s, struct str text)
{
	_cleanup_fd_ int fd = -1;
	int e;

	/* Of a writer that was killed; nobody else can make names in in/. */
	unlinkat(s->in, "t.door", 0);
	fd = openat(s->in, "t.door", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	            0644);
	if (fd < 0)
		return -errno;
	e = io_write(fd, text.p, text.n);
	/* Whatever the umask: who cannot read it takes the door for open. */
	if (e == 0 && fchmod(fd, 0644) < 0)
		e = -errno;
	if (e == 0 && renameat(s->in, "t.door", s->in, "door") < 0)
		e = -errno;
	if (e < 0)
		unlinkat(s->in, "t.door", 0);
	return e;
}

int door_write(struct spool *s, struct str text)
{
	_cleanup_buf_ struct buf old = BUF_INIT;

	if (io_slurp_at(s->in, "door", &old, DOOR_MAX) == 0 &&
	    str_eq(buf_view(&old), text))
		return 0;
	return replace(s, text);
}

/* The next word of a line, a number. */
static bool number(struct str *rest, int64_t *ret)
{
	struct str word;
	uint64_t v;

	if (!rest->p || !str_cut(rest, ' ', &word) || !str_u64(word, &v) || v > INT64_MAX)
		return false;
	*ret = (int64_t)v;
	return true;
}

/* A time and words, to the end of the line. *ret_until 0: void. */
static bool refusal(struct str rest, int64_t now, int64_t *ret_until,
                    struct str *ret_words)
{
	int64_t until;

	if (!number(&rest, &until) || !rest.p)
		return false;
	rest = str_head(rest, DOOR_WORDS_MAX);
	for (size_t i = 0; i < rest.n; i++)
		if ((unsigned char)rest.p[i] < 0x20 || (unsigned char)rest.p[i] >= 0x7f)
			return false;
	if (until <= now || until - DOOR_AHEAD_MAX > now)
		return true;
	*ret_until = until;
	*ret_words = rest;
	return true;
}

static bool take_user(struct str rest, uid_t uid, int64_t now, struct door *d)
{
	struct door_user u = { .uid = uid };
	int64_t of;

	if (!number(&rest, &of) || of > UINT32_MAX || !rest.p ||
	    !refusal(rest, now, &u.until, &u.words))
		return false;
	if ((uid_t)of != uid || u.until == 0)
		return true;
	d->user[0] = u;
	d->users = 1;
	return true;
}

static bool take(struct str line, uid_t uid, int64_t now, struct door *d)
{
	struct str rest = line, name = STR("");

	str_cut(&rest, ' ', &name);
	if (str_eq(name, STR("size")))
		return number(&rest, &d->size) && !rest.p;
	if (str_eq(name, STR("free")))
		return number(&rest, &d->free) && number(&rest, &d->inodes) && !rest.p;
	if (str_eq(name, STR("shut")))
		return refusal(rest, now, &d->shut_until, &d->shut_words);
	if (str_eq(name, STR("user")))
		return take_user(rest, uid, now, d);
	return true;
}

bool door_read(struct str text, uid_t uid, int64_t now, struct door *ret)
{
	struct str line;

	memset(ret, 0, sizeof(*ret));
	/* A file that ends inside of a line was cut; a longer one was never ours. */
	if (text.n > DOOR_MAX || !str_starts(text, STR(FIRST_LINE)) ||
	    text.p[text.n - 1] != '\n')
		return false;
	text = str_from(text, sizeof(FIRST_LINE) - 1);
	while (text.n && str_cut(&text, '\n', &line))
		if (!take(line, uid, now, ret)) {
			memset(ret, 0, sizeof(*ret));
			return false;
		}
	return true;
}

struct str door_refuses(const struct door *d, uid_t uid)
{
	if (d->shut_until && uid != 0)
		return d->shut_words.n ? d->shut_words : STR("mailchuted is shut");
	for (size_t i = 0; i < d->users; i++)
		if (d->user[i].uid == uid)
			return d->user[i].words.n ? d->user[i].words
			                          : STR("too much of yours waits");
	return STR("");
}
