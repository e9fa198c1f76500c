#include "prog/who.h"
#include "base/clock.h"
#include "mail/envelope.h"
#include "prog/child.h"
#include <errno.h>

enum {
	WHO_TIMEOUT_MS = 5000,
	WHO_KEPT_MS = 300000,
	WHO_CACHE = 16,
	WHO_NAME_MAX = 128,
	WHO_ANSWER_MAX = 8192 + ENVELOPE_GROUPS_MAX
};

struct who {
	bool used;
	uid_t uid;
	int64_t until; /* monotonic, ms */
	char login[WHO_NAME_MAX], name[WHO_NAME_MAX];
	struct buf groups;
};

static const char *who_libexec = LIBEXEC_PATH;
static struct strv who_wanted; /* groups that are asked for */
static struct who who_cache[WHO_CACHE];

void who_ask(const char *libexec)
{
	who_libexec = libexec;
}

void who_ask_groups(const struct strv *groups)
{
	bool same = groups->n == who_wanted.n;

	for (size_t i = 0; same && i < groups->n; i++)
		same = strcmp(groups->v[i], who_wanted.v[i]) == 0;
	if (same)
		return;
	strv_free(&who_wanted);
	for (size_t i = 0; i < groups->n; i++)
		strv_add(&who_wanted, str_z(groups->v[i]));
	for (size_t i = 0; i < WHO_CACHE; i++)
		who_cache[i].used = false;
}

/* Asks mailchute-look for one passwd entry: "uid gid login\ngecos\ngroups". */
static int ask(const char *kind, const char *key, const struct strv *groups,
               struct buf *out)
{
	_cleanup_buf_ struct buf path = BUF_INIT, k = BUF_INIT, what = BUF_INIT;
	char **argv = calloc(groups->n + 4, sizeof(*argv));
	int e;

	if (!argv)
		die_oom();
	buf_fmt(&path, "%s/mailchute-look", who_libexec);
	buf_z(&k, kind);
	buf_z(&what, key);
	argv[0] = path.p;
	argv[1] = k.p;
	argv[2] = what.p;
	for (size_t i = 0; i < groups->n; i++)
		argv[3 + i] = groups->v[i];
	e = child_exec(argv, WHO_TIMEOUT_MS, WHO_ANSWER_MAX, out);
	free(argv);
	return e;
}

static void keep(char to[static WHO_NAME_MAX], struct str from)
{
	snprintf(to, WHO_NAME_MAX, "%.*s", (int)from.n, from.n ? from.p : "");
}

static void look_up(struct who *w)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct str rest, line, login = STR(""), gecos = STR(""), name = STR("");
	char key[24];

	w->used = true;
	w->until = clock_ms() + WHO_KEPT_MS;
	w->login[0] = w->name[0] = '\0';
	buf_reset(&w->groups);
	snprintf(key, sizeof(key), "%llu", (unsigned long long)w->uid);
	if (ask("uid", key, &who_wanted, &out) < 0)
		return;
	rest = buf_view(&out);
	if (!str_cut(&rest, '\n', &line) || !str_cut(&line, ' ', &login) ||
	    !str_cut(&line, ' ', &login) || !str_cut(&line, ' ', &login))
		return;
	str_cut(&rest, '\n', &gecos);
	str_cut(&gecos, ',', &name);
	keep(w->login, login);
	keep(w->name, str_trim(name));
	buf_str(&w->groups, str_trim(rest));
}

static const struct who *find(uid_t uid)
{
	struct who *w = &who_cache[0];
	int64_t now = clock_ms();

	for (size_t i = 0; i < WHO_CACHE; i++) {
		struct who *c = &who_cache[i];

		if (c->used && c->uid == uid && c->until > now)
			return c;
		if (!c->used || c->until < w->until)
			w = c;
	}
	w->uid = uid;
	look_up(w);
	return w;
}

void who_is(uid_t uid, struct buf *ret_login, struct buf *ret_name)
{
	const struct who *w = find(uid);

	buf_z(ret_login, w->login);
	buf_z(ret_name, w->name);
}

void who_is_in(uid_t uid, struct buf *ret_groups)
{
	if (who_wanted.n)
		buf_str(ret_groups, buf_view(&find(uid)->groups));
}

int who_named(const char *login, uid_t *ret_uid, gid_t *ret_gid)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct str rest, uid, gid;
	uint64_t u, g;
	const struct strv none = { .n = 0 };
	int e = ask("login", login, &none, &out);

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

void who_op(void *arg, uid_t uid, struct buf *ret_login, struct buf *ret_name)
{
	(void)arg;
	who_is(uid, ret_login, ret_name);
}

void who_op_groups(void *arg, uid_t uid, struct buf *ret_groups)
{
	(void)arg;
	who_is_in(uid, ret_groups);
}
