#include "admin/offline.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/apply.h"
#include "spool/adopt.h"
#include "spool/notefile.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 2000 };

/* The spool's owner: nothing in it is parsed as root. */
static int become_owner(const char *path, struct buf *ret)
{
	_cleanup_fd_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		buf_fmt(ret, "mailchuted is not running, and there is no spool %s: %s",
		        path, strerror(errno));
		return EX_TEMPFAIL;
	}
	if (geteuid() != 0 && geteuid() != st.st_uid) {
		buf_z(ret, "mailchuted is not running; until it does, only root can see "
		           "and change its queue");
		return EX_TEMPFAIL;
	}
	if (st.st_uid == 0) {
		buf_fmt(ret, "%s belongs to root, so it is no spool of mailchuted", path);
		return EX_CONFIG;
	}
	if (geteuid() == 0 &&
	    (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
	     setresuid(st.st_uid, st.st_uid, st.st_uid) < 0 || setuid(0) == 0)) {
		buf_fmt(ret, "cannot become the owner of %s: %s", path, strerror(errno));
		return EX_OSERR;
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	umask(077);
	return EX_OK;
}

int offline_open(struct spool *s, const char *path, bool acts, struct buf *ret)
{
	struct jobs stuck = { .v = NULL };
	const char *where = "";
	bool done;
	int e;

	e = become_owner(path, ret);
	if (e)
		return e;
	e = spool_open(s, path, true, &where);
	if (e < 0) {
		buf_fmt(ret, "spool %s/%s: %s", path, where, strerror(-e));
		return EX_TEMPFAIL;
	}
	e = spool_lock(s, LOCK_WAIT_MS);
	if (e == -EWOULDBLOCK) {
		buf_fmt(ret,
		        "there is no mailchuted at the socket, but %s/lock is taken: a "
		        "mailchute-push of it still ends what it has in hand, or it runs "
		        "without this socket; try again in a minute",
		        path);
		return EX_TEMPFAIL;
	}
	if (e < 0) {
		buf_fmt(ret, "spool %s/lock: %s", path, strerror(-e));
		return EX_TEMPFAIL;
	}
	if (!acts)
		return EX_OK;
	/* A journal speaks of messages where they are now: a delivered one that was moved
	 * before this is read would be sent again. */
	spool_recover(s);
	derived_recover(s);
	done = journals_replay(s, clock_real(), NULL, NULL, &stuck) == JOURNAL_DONE;
	jobs_free(&stuck);
	if (done)
		return EX_OK;
	buf_fmt(ret, "%s has no room for what mailchuted learned before it ended", path);
	return EX_TEMPFAIL;
}
