#include "daemon/boot.h"
#include "prog/who.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

int boot_become(const char *login)
{
	uid_t uid;
	gid_t gid;
	int e;

	if (geteuid() != 0)
		return 0;
	e = who_named(login, &uid, &gid);
	if (e < 0)
		return e;
	if (uid == 0)
		return -EPERM;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return -errno;
	return setuid(0) == 0 ? -EPERM : 0;
}

void boot_harden(void)
{
	const struct rlimit none = { 0, 0 };

	/* For conf_open_secret(). */
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	char *kept = credentials ? strdup(credentials) : NULL;

	umask(077);
	clearenv();
	if (kept)
		setenv("CREDENTIALS_DIRECTORY", kept, 1);
	free(kept);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
}

void boot_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
	if (fd < 0)
		exit(EX_OSERR);
}

unsigned boot_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return BOOT_FILES_MIN;
	if (l.rlim_cur < l.rlim_max && l.rlim_cur < BOOT_FILES_MAX) {
		l.rlim_cur = l.rlim_max < BOOT_FILES_MAX ? l.rlim_max : BOOT_FILES_MAX;
		setrlimit(RLIMIT_NOFILE, &l);
		getrlimit(RLIMIT_NOFILE, &l);
	}
	return l.rlim_cur < BOOT_FILES_MAX ? (unsigned)l.rlim_cur : BOOT_FILES_MAX;
}

static sigset_t signals_set(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return set;
}

void boot_signals_block(void)
{
	sigset_t set = signals_set();

	/* Who starts us may ignore it: then no child's status would be left to us. */
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int boot_signals_open(void)
{
	sigset_t set = signals_set();
	int fd;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

void boot_run_folder(const char *path, const char *login)
{
	char folder[108];
	uid_t uid;
	gid_t gid;

	snprintf(folder, sizeof(folder), "%s", path);
	if (geteuid() != 0 || !strrchr(folder, '/') || who_named(login, &uid, &gid) < 0 ||
	    uid == 0)
		return;
	*strrchr(folder, '/') = '\0';
	if (mkdir(folder, 0755) == 0 || errno == EEXIST)
		(void)!lchown(folder, uid, gid);
}
