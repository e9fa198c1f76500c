/*
 * mailchute-look conf FILE | uid N | login NAME
 *
 * Looks things up for mailchuted and ends: libconfuse and NSS stay out of the process that
 * sleeps for months, and one that hangs is killed without harm. Writes the packed
 * configuration, or "uid gid login" and the gecos field on a line each. Its exit status is
 * an errno; then standard output says why.
 */
#include "base/io.h"
#include "conf/conf.h"
#include <errno.h>
#include <pwd.h>

static int look_conf(const char *path, struct buf *out)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;
	int e = conf_load(path, &c, &err);

	if (e < 0)
		buf_str(out, buf_view(&err));
	else
		conf_pack(&c, out);
	return e;
}

static int look_pw(const struct passwd *pw, struct buf *out)
{
	if (!pw)
		return -ENOENT;
	buf_fmt(out, "%u %u %s\n%s", (unsigned)pw->pw_uid, (unsigned)pw->pw_gid,
	        pw->pw_name, pw->pw_gecos);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	uint64_t uid;
	int e = -EINVAL;

	if (argc == 3 && strcmp(argv[1], "conf") == 0)
		e = look_conf(argv[2], &out);
	else if (argc == 3 && strcmp(argv[1], "uid") == 0 &&
	         str_u64(str_z(argv[2]), &uid))
		e = look_pw(getpwuid((uid_t)uid), &out);
	else if (argc == 3 && strcmp(argv[1], "login") == 0)
		e = look_pw(getpwnam(argv[2]), &out);
	if (io_write(1, out.p, out.n) < 0)
		return EIO;
	return e < 0 ? (-e < 128 ? -e : EIO) : 0;
}
