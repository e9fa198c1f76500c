/*
 * mailchute-smtpd - the front desk: SMTP sessions with printers, appliances and programs
 *
 * With -d it listens and starts a process for each connection (accept.h). Otherwise it is
 * one session on its standard input and output: for inetd and systemd's Accept=yes, and
 * as sendmail -bs. Only a session reads what a client says, behind its fence.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "listen/accept.h"
#include "listen/session.h"
#include "prog/child.h"
#include "prog/fence.h"
#include "prog/who.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

enum { CONF_TIMEOUT_MS = 20000, CONF_MAX = 16 << 20 };

enum mode { ONE_SESSION, ACCEPTOR, SENDMAIL_BS };

struct smtpd {
	const char *conf_path, *spool, *libexec, *user;
	bool to_stderr, debug;
	enum mode mode;
	bool root; /* we are, until the sockets are open */
	uid_t uid; /* whom we become */
	gid_t gid;
};

/* ---- Rights ---- */

/* Finds out whom to become, and gives up root's groups. */
static int become_begin(struct smtpd *d)
{
	int e;

	d->root = geteuid() == 0;
	if (!d->root)
		return 0;
	e = who_named(d->user, &d->uid, &d->gid);
	if (e < 0)
		return e;
	if (d->uid == 0)
		return -EPERM;
	return setgroups(0, NULL) < 0 || setresgid(d->gid, d->gid, d->gid) < 0 ? -errno
	                                                                       : 0;
}

/* The user for good. Of root's rights one stays when it is wanted: low ports, for reloads. */
static int become(struct smtpd *d, bool low_ports)
{
	const struct __user_cap_header_struct head = { .version =
		                                           _LINUX_CAPABILITY_VERSION_3 };
	const unsigned bind = 1U << CAP_NET_BIND_SERVICE;
	const struct __user_cap_data_struct one[2] = { { bind, bind, 0 }, { 0, 0, 0 } },
	                                    none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	if (!d->root)
		return 0;
	if (low_ports)
		prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (setresuid(d->uid, d->uid, d->uid) < 0)
		return -errno;
	d->root = false;
	/* Without it (a container's) reloads cannot open low ports, and say so; the others must
	 * go all the same. */
	if (low_ports && syscall(SYS_capset, &head, one) < 0 &&
	    syscall(SYS_capset, &head, none) < 0)
		return -errno;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return setuid(0) == 0 ? -EPERM : 0;
}

static void harden(void)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit files;

	umask(077);
	clearenv();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Descriptors 0 to 2 are open: no other file gets their numbers. */
static void fill_stdio(void)
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

/* ---- Configuration ---- */

/* Whatever parses a file is not root: a program that is started now has the user's rights
 * alone, and we come back. */
static int read_packed(const struct smtpd *d, char *const argv[], struct buf *ret)
{
	int e;

	if (d->root && setresuid(d->uid, d->uid, 0) < 0)
		return -errno;
	e = child_exec(argv, CONF_TIMEOUT_MS, CONF_MAX, ret);
	if (d->root && setresuid(0, 0, 0) < 0)
		return -errno;
	return e;
}

static int conf_read(void *arg, struct conf *ret)
{
	const struct smtpd *d = arg;
	_cleanup_buf_ struct buf look = BUF_INIT, path = BUF_INIT, packed = BUF_INIT;
	char verb[] = "conf-listen";
	struct str rest, line;
	int e;

	buf_fmt(&look, "%s/mailchute-look", d->libexec);
	buf_z(&path, d->conf_path);
	e = read_packed(d, (char *[]){ look.p, verb, path.p, NULL }, &packed);
	if (e == 0)
		e = conf_unpack(buf_view(&packed), ret);
	if (e == 0)
		return 0;
	rest = buf_view(&packed);
	if (rest.n == 0 || e == -EBADMSG)
		log_line(LOG_LEVEL_ALERT, "configuration %s: %s", d->conf_path,
		         strerror(-e));
	else
		while (rest.n && str_cut(&rest, '\n', &line))
			if (line.n)
				log_line(LOG_LEVEL_ALERT, "configuration %.*s",
				         (int)line.n, line.p);
	return e;
}

static void conf_taken(void *arg, const struct conf *c)
{
	const struct smtpd *d = arg;

	log_open("mailchute-smtpd", !d->to_stderr && strcmp(c->log_to, "syslog") == 0,
	         d->debug);
}

/* ---- The acceptor ---- */

static int signals_open(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int log_user(const struct smtpd *d, int e)
{
	log_line(LOG_LEVEL_ALERT,
	         "cannot become user %s: %s; create it (useradd --system --home-dir %s "
	         "--shell /usr/sbin/nologin %s) or name another with -u, not root",
	         d->user, strerror(-e), d->spool, d->user);
	return EX_NOUSER;
}

/* 78 stays until somebody mends it, so it is only for what is wrong with the file. */
static int exit_code(int e)
{
	return e == -EINVAL || e == -ENOENT || e == -EACCES ? EX_CONFIG : EX_TEMPFAIL;
}

static int run_acceptor(struct smtpd *d)
{
	struct acceptor a = { .conf_read = conf_read,
		              .conf_taken = conf_taken,
		              .arg = d,
		              .spool = d->spool };
	int e;

	places_given(&a.given);
	a.guesses = users_guesses_new();
	a.quiet = quiet_new();
	a.signals = signals_open();
	if (a.signals < 0)
		return EX_OSERR;
	harden();
	e = become_begin(d);
	if (e < 0)
		return log_user(d, e);
	e = acceptor_open(&a);
	if (e < 0)
		return exit_code(e);
	e = become(d, true);
	if (e < 0)
		return log_user(d, e);
	log_line(LOG_LEVEL_INFO, "smtpd version=%s spool=%s sections=%zu",
	         MAILCHUTE_VERSION, d->spool, a.conf.listens);
	if (fence_landlock() == 0)
		log_line(LOG_LEVEL_INFO,
		         "fence landlock=no why=\"this kernel lacks it, or it is "
		         "switched off; "
		         "sessions are shut off by user and modes alone from files\"");
	acceptor_run(&a);
	acceptor_close(&a);
	log_line(LOG_LEVEL_INFO, "left");
	return EX_OK;
}

/* ---- One session on standard input and output ----
 *
 * What such a process still holds behind its fence is the exit's. */

NORETURN static void run_bs(const struct smtpd *d)
{
	const struct session_conf c = {
		.spool = d->spool, .trusted = true, .fence = true, .auth_fd = -1
	};

	_exit(session_run(&c, STDIN_FILENO, STDOUT_FILENO));
}

static int run_one(struct smtpd *d)
{
	static const char no_conf[] = "421 4.3.0 the configuration has an error\r\n";
	_cleanup_buf_ struct buf ip = BUF_INIT;
	struct session_conf c = { .spool = d->spool, .fence = true, .auth_fd = -1 };
	struct conf conf;
	int e;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	harden();
	e = become_begin(d);
	if (e == 0)
		e = become(d, false);
	if (e < 0)
		return log_user(d, e);
	if (conf_read(d, &conf) < 0) {
		(void)io_write(STDOUT_FILENO, no_conf, sizeof(no_conf) - 1);
		return EX_CONFIG;
	}
	conf_taken(d, &conf);
	c.conf = &conf;
	c.listen = session_section(&conf, STDIN_FILENO);
	if (!c.listen)
		c.listen = session_default();
	(void)session_peer(STDIN_FILENO, &ip, &c.port);
	c.client.who = session_client(STDIN_FILENO);
	c.client_ip = buf_view(&ip);
	c.trusted = session_allowed(c.listen, c.client_ip);
	_exit(session_run(&c, STDIN_FILENO, STDOUT_FILENO));
}

/* ---- The command line ---- */

NORETURN static void usage(void)
{
	static const char text[] =
	    "usage: mailchute-smtpd [-dev] [-c FILE] [-s SPOOL] [-l FOLDER] [-u USER]\n"
	    "       mailchute-smtpd -bs [-s SPOOL]\n"
	    "  -d         listen as the configuration says; without: one session on\n"
	    "             standard input and output\n"
	    "  -bs        one session for the caller, as sendmail -bs\n"
	    "  -c FILE    configuration (" CONF_PATH ")\n"
	    "  -s SPOOL   spool folder (" SPOOL_PATH ")\n"
	    "  -l FOLDER  where mailchute-look is (" LIBEXEC_PATH ")\n"
	    "  -u USER    when root starts it: become this user (" MAILCHUTE_IN_USER ")\n"
	    "  -e         log to standard error, whatever the configuration says\n"
	    "  -v         log more\n";

	(void)io_write(2, text, sizeof(text) - 1);
	exit(EX_USAGE);
}

static void options(struct smtpd *d, int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "b:c:s:l:u:dev")) != -1) {
		if (opt == 'b' && strcmp(optarg, "s") == 0)
			d->mode = SENDMAIL_BS;
		else if (opt == 'c')
			d->conf_path = optarg;
		else if (opt == 's')
			d->spool = optarg;
		else if (opt == 'l')
			d->libexec = optarg;
		else if (opt == 'u')
			d->user = optarg;
		else if (opt == 'd')
			d->mode = ACCEPTOR;
		else if (opt == 'e')
			d->to_stderr = true;
		else if (opt == 'v')
			d->debug = true;
		else
			usage();
	}
	if (optind != argc)
		usage();
}

int main(int argc, char **argv)
{
	static struct smtpd d = { .conf_path = CONF_PATH,
		                  .spool = SPOOL_PATH,
		                  .libexec = LIBEXEC_PATH,
		                  .user = MAILCHUTE_IN_USER };

	fill_stdio();
	signal(SIGCHLD, SIG_DFL); /* it may be inherited as ignored (prog/child.h) */
	options(&d, argc, argv);
	/* In the other modes standard error may be the client, too. */
	log_open("mailchute-smtpd", !d.to_stderr && d.mode != ACCEPTOR, d.debug);
	(void)clock_ahead(); /* a build for tests reads a file, which it cannot later */
	if (d.mode == SENDMAIL_BS)
		run_bs(&d);
	who_ask(d.libexec);
	return d.mode == ACCEPTOR ? run_acceptor(&d) : run_one(&d);
}
