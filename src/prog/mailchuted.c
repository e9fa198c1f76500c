/*
 * mailchuted - owns the spool, adopts what was dropped, starts push while mail is due
 *
 * One thread, one poll(). Asleep it holds no library but libc and no timer but the next due
 * time: what needs more (libconfuse, NSS, GnuTLS) are programs of their own.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "prog/apply.h"
#include "prog/child.h"
#include "prog/sched.h"
#include "prog/who.h"
#include "spool/adopt.h"
#include "spool/journal.h"
#include "spool/notefile.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	SCAN_EVERY_MS = 50,
	SYNC_EVERY_MS = 1000,
	SYNC_EVERY_REMOVALS = 500,
	RESCAN_EVERY = 3600,    /* seconds: in case a wake was lost */
	ADOPT_RETRY_MS = 10000, /* after the disk was full */
	LOCK_WAIT_MS = 60000,
	LEAVE_WAIT_MS = 30000,
	CONF_TIMEOUT_MS = 20000,
	JUNK_REMEMBERED = 64,
};

struct daemon {
	const char *conf_path, *spool_path, *libexec, *user;
	bool to_stderr, debug;
	struct conf conf;
	struct buf packed;
	struct spool spool;
	struct sched sched;
	struct route route;
	int signals, timer;
	bool scan;           /* in/drop may hold something */
	int64_t scan_after;  /* monotonic ms: not before */
	int64_t alert_after; /* monotonic ms: about a full disk */
	int64_t sync_at;     /* monotonic ms, -1: nothing to sync */
	int64_t rescan;      /* real seconds */
	int64_t due_at;      /* what the timer was armed for, and when: real seconds */
	int64_t armed_at;
	int64_t leave_until; /* monotonic ms, 0: not leaving */
	struct buf state;    /* as last written */
	uint64_t junk[JUNK_REMEMBERED];
	unsigned junk_n;
};

/* Configuration */

/* Reads the configuration; on any error the one in force stays. */
static int conf_read(struct daemon *d)
{
	_cleanup_buf_ struct buf out = BUF_INIT, look = BUF_INIT, path = BUF_INIT;
	char verb[] = "conf";
	struct conf fresh;
	int e;

	buf_fmt(&look, "%s/mailchute-look", d->libexec);
	buf_z(&path, d->conf_path);
	e = child_exec((char *[]){ look.p, verb, path.p, NULL }, CONF_TIMEOUT_MS,
	               16 << 20, &out);

	if (e == 0)
		e = conf_unpack(buf_view(&out), &fresh);
	if (e < 0) {
		struct str rest = buf_view(&out), line;

		if (out.n == 0)
			log_line(LOG_LEVEL_ALERT, "configuration %s: %s", d->conf_path,
			         strerror(-e));
		while (rest.n && str_cut(&rest, '\n', &line))
			if (line.n)
				log_line(LOG_LEVEL_ALERT, "configuration %.*s",
				         (int)line.n, line.p);
		return e;
	}
	conf_free(&d->conf);
	d->conf = fresh;
	buf_reset(&d->packed);
	buf_str(&d->packed, buf_view(&out));
	d->sched.packed = buf_view(&d->packed);
	log_open("mailchuted", !d->to_stderr && strcmp(d->conf.log_to, "syslog") == 0,
	         d->debug);
	return 0;
}

/* Adoption */

static void adopted(void *arg, const struct adopted *a)
{
	struct daemon *d = arg;
	_cleanup_buf_ struct buf line = BUF_INIT;

	log_value(&line, "login", a->login);
	log_line(LOG_LEVEL_INFO, "adopted id=%s uid=%u%s size=%lld drop=%s", a->id.c,
	         (unsigned)a->uid, line.n ? line.p : "", (long long)a->size,
	         a->drop.c[0] ? a->drop.c : "-");
	(void)d;
}

static void junk(void *arg, const char *name, uid_t uid, const char *why)
{
	struct daemon *d = arg;
	uint64_t hash = 1469598103934665603u;

	for (const char *p = name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 1099511628211u;
	for (unsigned i = 0; i < d->junk_n; i++)
		if (d->junk[i] == hash)
			return;
	if (d->junk_n == JUNK_REMEMBERED)
		return; /* more is not reported until the next rescan */
	d->junk[d->junk_n++] = hash;
	log_line(LOG_LEVEL_WARNING, "junk name=in/drop/%s uid=%u why=\"%s\"", name,
	         (unsigned)uid, why);
}

static void who(void *arg, uid_t uid, struct buf *ret_login, struct buf *ret_name)
{
	(void)arg;
	who_is(uid, ret_login, ret_name);
}

static void adopt(struct daemon *d)
{
	const struct adopt_ops ops = { who, adopted, junk, d };
	int64_t now = clock_ms();
	bool more = false;
	int n;

	if (!d->scan || now < d->scan_after)
		return;
	d->scan = false;
	n = spool_adopt(&d->spool, &ops, &more);
	d->scan_after = now + (n < 0 ? ADOPT_RETRY_MS : more ? 0 : SCAN_EVERY_MS);
	d->scan = more || n < 0;
	if (n < 0 && now >= d->alert_after) {
		d->alert_after = now + ADOPT_RETRY_MS;
		log_line(LOG_LEVEL_ALERT, "adoption-stopped why=\"%s\" retry=%ds",
		         strerror(-n), ADOPT_RETRY_MS / 1000);
	}
	if (n != 0)
		route_news(&d->route);
}

/* Events */

static void on_signal(struct daemon *d, int64_t now)
{
	struct signalfd_siginfo si;

	while (read(d->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			bool ok = conf_read(d) == 0;

			log_line(LOG_LEVEL_INFO, "reload result=%s",
			         ok ? "ok" : "kept-the-old");
			route_reload(&d->route, &d->conf.smarthost[0], now);
			d->scan = true;
		} else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT) {
			log_line(LOG_LEVEL_INFO, "leaving signal=%u", si.ssi_signo);
			d->sched.leaving = true;
			d->leave_until = clock_ms() + LEAVE_WAIT_MS;
			if (d->route.sock >= 0)
				job_send(d->route.sock, STR("stop\n"), NULL, 0);
		}
	}
}

static void state_save(struct daemon *d)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_z(&b, "mailchute-state 1\n");
	route_state_print(&d->route, &b);
	if (str_eq(buf_view(&b), buf_view(&d->state)))
		return;
	spool_state_write(&d->spool, buf_view(&b));
	buf_reset(&d->state);
	buf_str(&d->state, buf_view(&b));
}

static void state_load(struct daemon *d, int64_t now)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct str rest, line;

	if (spool_state_read(&d->spool, &b) < 0)
		return;
	rest = buf_view(&b);
	if (!str_cut(&rest, '\n', &line) || !str_eq(line, STR("mailchute-state 1")))
		return;
	while (rest.n && str_cut(&rest, '\n', &line))
		route_state_take(&d->route, line, now);
}

static void sync_removals(struct daemon *d)
{
	struct queue *q = &d->route.queue;
	int64_t now = clock_ms();
	int e;

	if (q->removed == 0 && !d->spool.taken_dirty) {
		d->sync_at = -1;
		return;
	}
	if (d->sync_at < 0)
		d->sync_at = now + SYNC_EVERY_MS;
	if (now < d->sync_at && q->removed < SYNC_EVERY_REMOVALS)
		return;
	e = queue_sync(q);
	if (e < 0)
		log_line(LOG_LEVEL_ALERT, "spool-error what=sync why=\"%s\"",
		         strerror(-e));
	d->sync_at = -1;
}

/* Arms the timer for the next thing that is due by the real clock; a clock that is set
 * wakes us too (TFD_TIMER_CANCEL_ON_SET). */
static void arm(struct daemon *d, int64_t now)
{
	struct itimerspec it = { 0 };
	int64_t next = route_next(&d->route, now);

	if (next < 0 || d->rescan < next)
		next = d->rescan;
	d->due_at = next;
	d->armed_at = now;
	it.it_value.tv_sec = (time_t)((next > now ? next : now) - clock_ahead());
	it.it_value.tv_nsec = 1000000;
	timerfd_settime(d->timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &it, NULL);
}

/* Milliseconds that poll() may sleep for what the monotonic clock governs. */
static int sleep_ms(const struct daemon *d)
{
	int64_t now = clock_ms(), until = -1;
	const int64_t at[] = { d->scan ? d->scan_after : -1, d->sync_at,
		               d->leave_until ? d->leave_until : -1 };

	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		if (at[i] >= 0 && (until < 0 || at[i] < until))
			until = at[i];
	if (until < 0)
		return -1;
	return until > now ? (int)(until - now) : 0;
}

static void wait_and_hear(struct daemon *d)
{
	/* While a scan is about to begin there is nothing to learn from the FIFO, which
	 * anybody can fill as fast as it is read. */
	bool awake = d->scan && d->scan_after <= clock_ms() + SCAN_EVERY_MS;
	struct pollfd p[] = { { .fd = d->signals, .events = POLLIN },
		              { .fd = awake ? -1 : d->spool.wake, .events = POLLIN },
		              { .fd = d->timer, .events = POLLIN },
		              { .fd = d->route.sock, .events = POLLIN } };
	uint64_t ticks;
	int64_t now;

	if (poll(p, ARRAY_LEN(p), sleep_ms(d)) < 0)
		return;
	now = clock_real();
	if (p[0].revents)
		on_signal(d, now);
	if (p[1].revents) {
		if (spool_wake_drain(&d->spool))
			route_try_now(&d->route, now, false);
		/* Also after a full disk: what is new may be small enough. */
		d->scan = true;
		if (d->scan_after > clock_ms() + SCAN_EVERY_MS)
			d->scan_after = clock_ms() + SCAN_EVERY_MS;
	}
	if (p[2].revents) {
		(void)!read(d->timer, &ticks, sizeof(ticks));
	}
	if (p[3].revents && d->route.sock >= 0)
		route_hear(&d->route, &d->sched, now);
	if (now >= d->rescan || d->rescan > now + RESCAN_EVERY) {
		d->rescan = now + RESCAN_EVERY;
		d->scan = true;
		spool_sweep(&d->spool, now);
		if (d->junk_n == JUNK_REMEMBERED)
			d->junk_n = 0;
	}
}

static void serve(struct daemon *d)
{
	for (;;) {
		int64_t now = clock_real();

		if (!d->sched.leaving)
			adopt(d);
		/* Its time has come; or the clock was set back, and times far ahead are
		 * not to be believed. */
		if (now >= d->due_at || now < d->armed_at)
			route_due(&d->route);
		route_work(&d->route, &d->sched, now);
		sync_removals(d);
		state_save(d);
		if (d->sched.leaving &&
		    (d->route.sock < 0 || clock_ms() >= d->leave_until))
			return;
		arm(d, now);
		wait_and_hear(d);
	}
}

/* Start */

static int become(const char *login)
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

static void harden(void)
{
	const struct rlimit none = { 0, 0 };

	umask(077);
	clearenv();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
}

static void fds_open(void)
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

static sigset_t signals_set(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return set;
}

/* First of all: a SIGHUP that comes too early must not end us. */
static void signals_block(void)
{
	sigset_t set = signals_set();

	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int signals_open(struct daemon *d)
{
	sigset_t set = signals_set();

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	d->timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	return d->signals < 0 || d->timer < 0 ? -errno : 0;
}

/* Waits for the old push; SIGTERM and SIGINT end that. */
static int lock_wait(struct daemon *d)
{
	int64_t until = clock_ms() + LOCK_WAIT_MS;
	struct signalfd_siginfo si;
	int e;

	do {
		e = spool_lock(&d->spool, 200);
		while (read(d->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
			if (si.ssi_signo != SIGHUP)
				return -EINTR;
	} while (e == -EWOULDBLOCK && clock_ms() < until);
	return e;
}

static int spool_begin(struct daemon *d)
{
	const char *where;
	int e = spool_open(&d->spool, d->spool_path, true, &where);

	if (e < 0) {
		log_line(LOG_LEVEL_ALERT,
		         "spool %s/%s: %s; it must be a folder of user %s", d->spool_path,
		         where, strerror(-e), MAILCHUTE_USER);
		return EX_CANTCREAT;
	}
	e = spool_lock(&d->spool, 0);
	if (e == -EWOULDBLOCK) {
		log_line(LOG_LEVEL_INFO,
		         "waiting why=\"another mailchuted, or its push, is "
		         "still at work in %s\"",
		         d->spool_path);
		e = lock_wait(d);
	}
	if (e == -EINTR)
		return EX_TEMPFAIL;
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT,
		         "spool %s/lock: %s; is another mailchuted running?",
		         d->spool_path, strerror(-e));
		return EX_TEMPFAIL;
	}
	return 0;
}

static int begin(struct daemon *d)
{
	int64_t now = clock_real();
	int e = spool_begin(d);
	struct id run;

	if (e)
		return e;
	d->sched.spool = &d->spool;
	d->sched.libexec = d->libexec;
	spool_sweep(&d->spool, now);
	spool_recover(&d->spool);
	derived_recover(&d->spool);
	/* Before the routes: a journal speaks of the folders as they were. */
	journals_replay(&d->spool, now);
	run = spool_new_id(&d->spool);
	journal_spare(&d->spool, &run);
	e = route_open(&d->route, &d->sched, &d->conf.smarthost[0]);
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT, "spool %s/queue/%s: %s", d->spool_path,
		         d->conf.smarthost[0].name, strerror(-e));
		return EX_CANTCREAT;
	}
	state_load(d, now);
	d->scan = true;
	d->sync_at = -1;
	d->rescan = now + RESCAN_EVERY;
	queue_rewind(&d->route.queue, false);
	log_line(LOG_LEVEL_INFO, "ready version=%s spool=%s route=%s", MAILCHUTE_VERSION,
	         d->spool_path, d->route.queue.route);
	return 0;
}

static void usage(void)
{
	static const char text[] =
	    "usage: mailchuted [-d] [-e] [-c FILE] [-s SPOOL] [-l FOLDER] [-u USER]\n"
	    "  -c FILE    configuration (" CONF_PATH ")\n"
	    "  -s SPOOL   spool folder (" SPOOL_PATH ")\n"
	    "  -l FOLDER  where mailchute-push is (" LIBEXEC_PATH ")\n"
	    "  -u USER    when root starts it: become this user (" MAILCHUTE_USER ")\n"
	    "  -e         log to standard error, whatever the configuration says\n"
	    "  -d         log more\n";

	(void)io_write(2, text, sizeof(text) - 1);
	exit(EX_USAGE);
}

int main(int argc, char **argv)
{
	static struct daemon d = { .conf_path = CONF_PATH,
		                   .spool_path = SPOOL_PATH,
		                   .libexec = LIBEXEC_PATH,
		                   .user = MAILCHUTE_USER };
	int opt, e;

	fds_open();
	signals_block();
	while ((opt = getopt(argc, argv, "c:s:l:u:ed")) != -1) {
		if (opt == 'c')
			d.conf_path = optarg;
		else if (opt == 's')
			d.spool_path = optarg;
		else if (opt == 'l')
			d.libexec = optarg;
		else if (opt == 'u')
			d.user = optarg;
		else if (opt == 'e')
			d.to_stderr = true;
		else if (opt == 'd')
			d.debug = true;
		else
			usage();
	}
	if (optind != argc)
		usage();
	log_open("mailchuted", false, d.debug);
	who_ask(d.libexec);
	e = become(d.user);
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT,
		         "cannot become user %s: %s; create it (useradd --system "
		         "--home-dir %s --shell /usr/sbin/nologin %s) or name "
		         "another with -u, not root",
		         d.user, strerror(-e), SPOOL_PATH, MAILCHUTE_USER);
		return EX_NOUSER;
	}
	harden();
	if (signals_open(&d) < 0)
		return EX_OSERR;
	if (conf_read(&d) < 0)
		return EX_CONFIG;
	e = begin(&d);
	if (e)
		return e;
	serve(&d);
	route_close(&d.route);
	spool_close(&d.spool);
	log_line(LOG_LEVEL_INFO, "left");
	return 0;
}
