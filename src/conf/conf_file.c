/* The file itself: its bytes, or who cannot have them. Several users read it. */
#include "conf/load.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

/* Appends the first folder on the way to the file that is closed to us; nothing: none is. */
static void closed_folder(const char *path, struct buf *ret)
{
	for (size_t i = 1; path[0] && path[i]; i++) {
		if (path[i] != '/')
			continue;
		buf_reset(ret);
		buf_str(ret, str_head(str_z(path), i));
		if (faccessat(AT_FDCWD, ret->p, X_OK, AT_EACCESS) < 0)
			return;
	}
	buf_reset(ret);
}

static void say_closed(const struct load *ld)
{
	_cleanup_buf_ struct buf folder = BUF_INIT, user = BUF_INIT;
	const struct passwd *pw = getpwuid(geteuid());

	if (pw)
		buf_fmt(&user, "user %s", pw->pw_name);
	else
		buf_fmt(&user, "uid %u", (unsigned)geteuid());
	closed_folder(ld->path, &folder);
	if (folder.n)
		buf_fmt(ld->err,
		        "%s: cannot be read by %s, to whom its folder %s is closed; "
		        "chmod o+x %s",
		        ld->path, user.p, folder.p, folder.p);
	else
		buf_fmt(ld->err, "%s: cannot be read by %s; chmod o+r %s", ld->path,
		        user.p, ld->path);
	buf_z(ld->err, " (secrets are in files of their own, which stay closed)\n");
}

int load_file(struct load *ld, struct buf *ret)
{
	_cleanup_fd_ int fd =
	    open(ld->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int e = fd < 0 ? -errno : 0;
	struct stat st;

	if (e == 0 && fstat(fd, &st) < 0)
		e = -errno;
	if (e == 0 && !S_ISREG(st.st_mode)) {
		load_error(ld, 1, "it is no regular file; give the name of one");
		return -EINVAL;
	}
	if (e == 0)
		e = io_slurp(fd, ret, CONF_FILE_MAX);
	if (e == -EFBIG) {
		load_error(ld, 1, "the file is larger than 1 MiB; make it shorter");
		return -EINVAL;
	}
	if (e == -EACCES)
		say_closed(ld);
	else if (e < 0)
		buf_fmt(ld->err, "%s: cannot be read: %s; %s\n", ld->path, strerror(-e),
		        e == -ENOENT ? "write it, mailchute.conf(5) shows how"
		                     : "see to its owner and mode");
	return e;
}
