#include "prog/who.h"
#include "base/clock.h"
#include "prog/child.h"
#include <errno.h>
#include <pwd.h>

enum { WHO_TIMEOUT_MS = 5000, WHO_KEPT_MS = 300000, WHO_CACHE = 16, WHO_NAME_MAX = 128 };

struct who {
	bool used;
	uid_t uid;
	int64_t until; /* monotonic, ms */
	char login[WHO_NAME_MAX], name[WHO_NAME_MAX];
};

static int look_up_uid(void *arg, struct buf *out)
{
	const struct passwd *pw = getpwuid(*(const uid_t *)arg);

	if (!pw)
		return -ENOENT;
	buf_z(out, pw->pw_name);
	buf_c(out, '\n');
	buf_z(out, pw->pw_gecos);
	return 0;
}

/* Copies what may stand in a queue file's line; gecos ends at its first comma. */
static void keep(char to[static WHO_NAME_MAX], struct str from, bool blanks)
{
	size_t n = 0;

	for (size_t i = 0; i < from.n && n < WHO_NAME_MAX - 1; i++) {
		unsigned char c = (unsigned char)from.p[i];

		if (c > 0x20 && c != 0x7f && (blanks || c != ','))
			to[n++] = (char)c;
		else if (blanks && c == ' ')
			to[n++] = ' ';
	}
	to[n] = '\0';
}

static void look_up(struct who *w)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct str rest, login = STR(""), name = STR("");

	w->used = true;
	w->until = clock_ms() + WHO_KEPT_MS;
	w->login[0] = w->name[0] = '\0';
	if (child_run(look_up_uid, &w->uid, WHO_TIMEOUT_MS, 8192, &out) < 0)
		return;
	rest = buf_view(&out);
	str_cut(&rest, '\n', &login);
	str_cut(&rest, ',', &name);
	keep(w->login, login, false);
	keep(w->name, str_trim(name), true);
}

void who_is(uid_t uid, struct buf *ret_login, struct buf *ret_name)
{
	static struct who cache[WHO_CACHE];
	struct who *w = &cache[0];

	for (size_t i = 0; i < WHO_CACHE; i++) {
		if (cache[i].used && cache[i].uid == uid && cache[i].until > clock_ms()) {
			w = &cache[i];
			goto out;
		}
		if (cache[i].until < w->until)
			w = &cache[i];
	}
	w->uid = uid;
	look_up(w);
out:
	buf_z(ret_login, w->login);
	buf_z(ret_name, w->name);
}

struct named {
	const char *login;
	uid_t uid;
	gid_t gid;
};

static int look_up_login(void *arg, struct buf *out)
{
	struct named *n = arg;
	const struct passwd *pw = getpwnam(n->login);

	if (!pw)
		return -ENOENT;
	n->uid = pw->pw_uid;
	n->gid = pw->pw_gid;
	buf_add(out, n, sizeof(*n));
	return 0;
}

int who_named(const char *login, uid_t *ret_uid, gid_t *ret_gid)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct named n = { .login = login };
	int e = child_run(look_up_login, &n, WHO_TIMEOUT_MS, sizeof(n), &out);

	if (e < 0)
		return e;
	if (out.n != sizeof(n))
		return -EIO;
	memcpy(&n, out.p, sizeof(n));
	*ret_uid = n.uid;
	*ret_gid = n.gid;
	return 0;
}
