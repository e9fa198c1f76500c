#include "conf/table.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int check(const struct stat *st, const char *path, bool credential,
                 struct buf *err)
{
	if (!S_ISREG(st->st_mode)) {
		buf_fmt(err, "%s is no regular file; write the secret into one", path);
		return -EINVAL;
	}
	if (st->st_mode & 07) {
		buf_fmt(err, "%s can be read by everyone; chown %s %s; chmod 600 %s",
		        path, MAILCHUTE_USER, path, path);
		return -EPERM;
	}
	/* root can be in any group; what counts then is what the daemon will find. */
	/* The group's bits of a credential are an access list's mask; its folder is closed. */
	if (!credential && (st->st_mode & 070) && geteuid() != 0 &&
	    st->st_gid != getegid()) {
		buf_fmt(err, "%s can be read by group %u; chown %s %s; chmod 600 %s",
		        path, (unsigned)st->st_gid, MAILCHUTE_USER, path, path);
		return -EPERM;
	}
	if (st->st_size > CONF_SECRET_MAX) {
		buf_fmt(err, "%s is larger than 64 KiB; it should hold one secret", path);
		return -EFBIG;
	}
	return 0;
}

/* Line ends are no part of a secret: is there nothing else in a file that is so short? */
static bool blank(int fd, const struct stat *st)
{
	char head[16];
	ssize_t i = 0, n = -1;

	if (st->st_size <= (off_t)sizeof(head))
		n = pread(fd, head, sizeof(head), 0);
	while (i < n && (head[i] == '\n' || head[i] == '\r'))
		i++;
	explicit_bzero(head, sizeof(head));
	return i == n;
}

/* A symbolic link is followed (secrets are often mounted so); what counts is the file
 * that is behind it. O_NONBLOCK: a FIFO must not make us wait. */
int conf_open_secret(const char *path, struct buf *ret_err)
{
	_cleanup_buf_ struct buf below = BUF_INIT;
	bool credential = str_starts(str_z(path), STR(CONF_CREDENTIAL));
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	const char *name = credential ? path + sizeof(CONF_CREDENTIAL) - 1 : path;
	int fd, e;
	struct stat st;

	if (credential && !folder) {
		buf_fmt(ret_err,
		        "%s: mailchuted was started without credentials; add "
		        "LoadCredential=%s:/etc/mailchute/password to its unit",
		        path, name);
		return -ENOENT;
	}
	if (credential) {
		buf_fmt(&below, "%s/%s", folder, name);
		path = below.p;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		e = -errno;
		buf_fmt(ret_err, "%s cannot be opened: %s", path, strerror(-e));
		if (e == -EACCES)
			buf_fmt(ret_err, "; chown %s %s; chmod 600 %s", MAILCHUTE_USER,
			        path, path);
		else if (credential)
			buf_fmt(ret_err,
			        "; add LoadCredential=%s:/etc/mailchute/password to "
			        "mailchuted's unit",
			        name);
		else
			buf_fmt(ret_err, "; write the secret into that file");
		return e;
	}
	e = fstat(fd, &st) < 0 ? -errno : check(&st, path, credential, ret_err);
	if (e == 0 && blank(fd, &st)) {
		buf_fmt(ret_err, "%s is empty; write the secret into it", path);
		e = -EINVAL;
	}
	if (e < 0) {
		close(fd);
		return e;
	}
	return fd;
}
