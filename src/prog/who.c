#include "prog/who.h"
#include "base/clock.h"
#include "prog/child.h"
#include <errno.h>

enum { WHO_TIMEOUT_MS = 5000, WHO_KEPT_MS = 300000, WHO_CACHE = 16, WHO_NAME_MAX = 128 };

struct who {
	bool used;
	uid_t uid;
	int64_t until; /* monotonic, ms */
	char login[WHO_NAME_MAX], name[WHO_NAME_MAX];
};

static const char *who_libexec = LIBEXEC_PATH;

void who_ask(const char *libexec)
{
	who_libexec = libexec;
}

/* Asks mailchute-look for one passwd entry: "uid gid login\ngecos". */
static int ask(const char *kind, const char *key, struct buf *out)
{
	_cleanup_buf_ struct buf path = BUF_INIT, k = BUF_INIT, what = BUF_INIT;

	buf_fmt(&path, "%s/mailchute-look", who_libexec);
	buf_z(&k, kind);
	buf_z(&what, key);
	return child_exec((char *[]){ path.p, k.p, what.p, NULL }, WHO_TIMEOUT_MS, 8192,
	                  out);
}

static void keep(char to[static WHO_NAME_MAX], struct str from)
{
	snprintf(to, WHO_NAME_MAX, "%.*s", (int)from.n, from.n ? from.p : "");
}

static void look_up(struct who *w)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct str rest, line, login = STR(""), name = STR("");
	char key[24];

	w->used = true;
	w->until = clock_ms() + WHO_KEPT_MS;
	w->login[0] = w->name[0] = '\0';
	snprintf(key, sizeof(key), "%llu", (unsigned long long)w->uid);
	if (ask("uid", key, &out) < 0)
		return;
	rest = buf_view(&out);
	if (!str_cut(&rest, '\n', &line) || !str_cut(&line, ' ', &login) ||
	    !str_cut(&line, ' ', &login) || !str_cut(&line, ' ', &login))
		return;
	str_cut(&rest, ',', &name);
	keep(w->login, login);
	keep(w->name, str_trim(name));
}

void who_is(uid_t uid, struct buf *ret_login, struct buf *ret_name)
{
	static struct who cache[WHO_CACHE];
	struct who *w = &cache[0];
	int64_t now = clock_ms();

	for (size_t i = 0; i < WHO_CACHE; i++) {
		if (cache[i].used && cache[i].uid == uid && cache[i].until > now) {
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

int who_named(const char *login, uid_t *ret_uid, gid_t *ret_gid)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct str rest, uid, gid;
	uint64_t u, g;
	int e = ask("login", login, &out);

	if (e < 0)
		return e;
	rest = buf_view(&out);
	if (!str_cut(&rest, ' ', &uid) || !str_cut(&rest, ' ', &gid) ||
	    !str_u64(uid, &u) || !str_u64(gid, &g))
		return -EIO;
	*ret_uid = (uid_t)u;
	*ret_gid = (gid_t)g;
	return 0;
}
