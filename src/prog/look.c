/*
 * mailchute-look conf FILE | conf-listen FILE | uid N [GROUP...] | login NAME
 *
 * Looks things up for mailchuted and ends: libconfuse and NSS stay out of the process that
 * sleeps for months, and one that hangs is killed without harm. Writes the packed
 * configuration, or "uid gid login", the gecos field, and those of the groups that the user is
 * in, parted by commas, on a line each. Of the files that the configuration names, conf looks at
 * those for sending, conf-listen at the certificates of listen sections: the others are for
 * other users to read. Its exit status is an errno; then standard output says why.
 */
#include "base/io.h"
#include "conf/conf.h"
#include "mail/envelope.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>

/* Whose word about its clients is believed. A user of the system is in /etc/passwd; other
 * sources can hang, and are asked only when somebody listens. */
static int64_t listener_uid(const struct conf *c)
{
	FILE *f = fopen("/etc/passwd", "re");
	const struct passwd *pw = NULL;
	int64_t uid = -1;

	while (f && (pw = fgetpwent(f)) && strcmp(pw->pw_name, MAILCHUTE_IN_USER) != 0)
		;
	if (!pw && c->listens)
		pw = getpwnam(MAILCHUTE_IN_USER);
	if (pw)
		uid = (int64_t)pw->pw_uid;
	if (f)
		fclose(f);
	return uid;
}

static int look_conf(const char *path, unsigned files, struct buf *out)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;
	int e = conf_load_some(path, files, &c, &err);

	if (e < 0) {
		buf_str(out, buf_view(&err));
		return e;
	}
	c.listener_uid = listener_uid(&c);
	conf_pack(&c, out);
	conf_free(&c);
	return 0;
}

static int look_pw(const struct passwd *pw, struct buf *out)
{
	if (!pw)
		return -ENOENT;
	buf_fmt(out, "%u %u %s\n%s", (unsigned)pw->pw_uid, (unsigned)pw->pw_gid,
	        pw->pw_name, pw->pw_gecos);
	return 0;
}

enum { GROUPS_MAX = 65536 /* of one user, as the kernel has it */ };

/* All gids of the user; NULL: they are not to be had. */
static gid_t *gids_of(const struct passwd *pw, int *ret_n)
{
	gid_t *v = NULL;

	for (int room = 64; room <= GROUPS_MAX; room *= 2) {
		gid_t *more = realloc(v, (size_t)room * sizeof(*v));
		int n = room;

		if (!more)
			die_oom();
		v = more;
		if (getgrouplist(pw->pw_name, pw->pw_gid, v, &n) >= 0) {
			*ret_n = n;
			return v;
		}
	}
	free(v);
	return NULL;
}

static bool is_in(const gid_t *gids, int n, const char *name)
{
	const struct group *gr = getgrnam(name);

	for (int i = 0; gr && i < n; i++)
		if (gids[i] == gr->gr_gid)
			return true;
	return false;
}

/* What cannot stand in a queue file, or is too much for it, is left out. */
static void look_groups(const struct passwd *pw, char *const *names, struct buf *out)
{
	_cleanup_buf_ struct buf list = BUF_INIT;
	int n = 0;
	gid_t *gids = names[0] ? gids_of(pw, &n) : NULL;

	for (; gids && *names; names++) {
		size_t before = list.n;

		if (str_chr(str_z(*names), ',') >= 0 || !is_in(gids, n, *names))
			continue;
		if (list.n)
			buf_c(&list, ',');
		buf_z(&list, *names);
		if (!envelope_groups_ok(buf_view(&list)))
			buf_cut(&list, before);
	}
	free(gids);
	buf_c(out, '\n');
	buf_str(out, buf_view(&list));
}

static int look_uid(uid_t uid, char *const *groups, struct buf *out)
{
	const struct passwd *pw = getpwuid(uid);
	int e = look_pw(pw, out);

	if (e == 0)
		look_groups(pw, groups, out);
	return e;
}

int main(int argc, char **argv)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	uint64_t uid;
	int e = -EINVAL;

	if (argc == 3 && strcmp(argv[1], "conf") == 0)
		e = look_conf(argv[2], CONF_FILES_SENDING, &out);
	else if (argc == 3 && strcmp(argv[1], "conf-listen") == 0)
		e = look_conf(argv[2], CONF_FILES_LISTENING, &out);
	else if (argc >= 3 && strcmp(argv[1], "uid") == 0 &&
	         str_u64(str_z(argv[2]), &uid))
		e = look_uid((uid_t)uid, argv + 3, &out);
	else if (argc == 3 && strcmp(argv[1], "login") == 0)
		e = look_pw(getpwnam(argv[2]), &out);
	if (io_write(1, out.p, out.n) < 0)
		return EIO;
	return e < 0 ? (-e < 128 ? -e : EIO) : 0;
}
