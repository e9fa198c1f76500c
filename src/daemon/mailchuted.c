/*
 * mailchuted - owns the spool, adopts what was dropped, starts push while mail is due
 *
 * One thread, one poll(). Asleep it holds no library but libc and no timer but the next due
 * time: what needs more (libconfuse, NSS, GnuTLS) are programs of their own.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "daemon/alert.h"
#include "daemon/answers.h"
#include "daemon/apply.h"
#include "daemon/boot.h"
#include "daemon/state.h"
#include "prog/child.h"
#include "prog/fence.h"
#include "prog/who.h"
#include "spool/journal.h"
#include "spool/notefile.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	SYNC_EVERY_MS = 1000,
	SYNC_EVERY_REMOVALS = 500,
	RESCAN_EVERY = 3600, /* seconds: in case a wake was lost */
	LOCK_WAIT_MS = 60000,
	LEAVE_WAIT_MS = 30000,
	CONF_TIMEOUT_MS = 20000,
	SWEEP_NOTES_MS = 1000, /* between two pieces of the notes' sweep */
	FIXED_POLLS = 5,
	STUCK_MAX = 200000, /* two journals' messages */
	FILES_OURS = 128,   /* descriptors that a process gets besides jobs' */
};

struct daemon {
	const char *conf_path, *spool_path, *libexec, *user, *socket_path;
	bool to_stderr, debug;
	struct conf conf;
	struct buf packed;
	struct utsname names; /* sched.here */
	struct spool spool;
	struct sched sched;
	struct intake intake;
	struct routes routes;
	struct jobs stuck; /* sched.stuck, .replayed */
	enum journal_result replayed;
	struct answers answers;
	struct alert alert;
	int signals, timer;
	int64_t sync_at; /* monotonic ms, -1: nothing to sync */
	int64_t rescan;  /* real seconds */
	int64_t due_at;  /* what the timer was armed for, and when: real seconds */
	int64_t armed_at;
	int64_t armed_for;   /* 0: it has rung, or was cancelled */
	int64_t leave_until; /* monotonic ms, 0: not leaving */
	int64_t sweep_at; /* monotonic ms: the next piece of the notes' sweep; -1: none */
	long sweep;       /* up to here the notes were looked at */
	struct state state;
	int64_t watch_at; /* monotonic ms: routes_watch() is due; -1: not */
};

/* Configuration */

/* Reads the configuration. On any error that is logged, and nothing has changed. */
static int conf_read(const struct daemon *d, struct conf *ret, struct buf *ret_packed)
{
	_cleanup_buf_ struct buf look = BUF_INIT, path = BUF_INIT;
	char verb[] = "conf";
	struct str rest, line;
	int e;

	buf_fmt(&look, "%s/mailchute-look", d->libexec);
	buf_z(&path, d->conf_path);
	e = child_exec((char *[]){ look.p, verb, path.p, NULL }, CONF_TIMEOUT_MS,
	               16 << 20, ret_packed);
	if (e == 0)
		e = conf_unpack(buf_view(ret_packed), ret);
	if (e == 0)
		return 0;
	rest = buf_view(ret_packed);
	if (rest.n == 0)
		log_line(LOG_LEVEL_ALERT, "configuration %s: %s", d->conf_path,
		         strerror(-e));
	while (rest.n && str_cut(&rest, '\n', &line))
		if (line.n)
			log_line(LOG_LEVEL_ALERT, "configuration %.*s", (int)line.n,
			         line.p);
	return e;
}

/* It is in force now. Takes both over. */
static void conf_take(struct daemon *d, struct conf *fresh, struct buf *packed)
{
	struct strv groups = { .n = 0 };

	conf_free(&d->conf);
	d->conf = *fresh;
	buf_free(&d->packed);
	d->packed = *packed;
	*packed = (struct buf)BUF_INIT;
	d->sched.packed = buf_view(&d->packed);
	d->sched.here = (struct alias_here){
		.hostname = str_z(d->conf.hostname),
		.nodename = str_z(uname(&d->names) == 0 ? d->names.nodename : ""),
		.elsewhere = d->conf.domain_given ? str_z(d->conf.domain) : STR_NONE
	};
	conf_groups(&d->conf, &groups);
	who_ask_groups(&groups);
	strv_free(&groups);
	log_open("mailchuted", !d->to_stderr && strcmp(d->conf.log_to, "syslog") == 0,
	         d->debug);
}

/* The same before anything uses it. */
static void conf_again(struct daemon *d)
{
	_cleanup_buf_ struct buf packed = BUF_INIT;
	struct conf fresh;
	bool ok = conf_read(d, &fresh, &packed) == 0;

	if (ok)
		conf_take(d, &fresh, &packed);
	log_line(LOG_LEVEL_INFO, "reload result=%s", ok ? "ok" : "kept-the-old");
}

static void reload(struct daemon *d)
{
	_cleanup_buf_ struct buf packed = BUF_INIT;
	struct conf fresh;
	bool ok = conf_read(d, &fresh, &packed) == 0;
	int64_t now = clock_real();

	/* That took a while, and a push whose host has let it in is not to be cut off. */
	routes_hear_all(&d->routes, &d->sched, now);
	if (ok && routes_reload(&d->routes, &d->sched, &fresh, now) == 0) {
		conf_take(d, &fresh, &packed);
	} else if (ok) {
		conf_free(&fresh);
		ok = false;
	}
	log_line(LOG_LEVEL_INFO, "reload result=%s", ok ? "ok" : "kept-the-old");
	if (!ok)
		routes_try_now(&d->routes, STR(""), now, true);
	intake_reload(&d->intake, &d->conf);
	alert_look(&d->alert);
}

/* What the parts want of one another */

static void on_news(void *arg)
{
	struct daemon *d = arg;

	routes_news(&d->routes);
}

static void on_count(void *arg, uid_t uid, int64_t octets, int sign)
{
	struct daemon *d = arg;

	intake_count(&d->intake, uid, octets, sign);
}

/* Events */

static void on_signal(struct daemon *d)
{
	struct signalfd_siginfo si;

	while (read(d->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			reload(d);
		} else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT) {
			log_line(LOG_LEVEL_INFO, "leaving signal=%u", si.ssi_signo);
			d->sched.leaving = true;
			d->leave_until = clock_ms() + LEAVE_WAIT_MS;
			routes_stop(&d->routes);
		}
	}
}

static void sync_removals(struct daemon *d)
{
	unsigned removed = routes_removed(&d->routes);
	int64_t now = clock_ms();
	int e;

	if (removed == 0 && !d->spool.taken_dirty) {
		d->sync_at = -1;
		return;
	}
	if (d->sync_at < 0)
		d->sync_at = now + SYNC_EVERY_MS;
	if (now < d->sync_at && removed < SYNC_EVERY_REMOVALS)
		return;
	e = routes_sync(&d->routes);
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
	/* What nobody takes up while leaving must not wake us again and again. */
	int64_t next = d->sched.leaving ? -1 : routes_next(&d->routes, now);

	if (next < 0 || d->rescan < next)
		next = d->rescan;
	if (d->intake.door_renew && d->intake.door_renew < next)
		next = d->intake.door_renew;
	d->due_at = next;
	d->armed_at = now;
	next = (next > now ? next : now) - clock_ahead();
	if (next == d->armed_for)
		return;
	d->armed_for = next;
	it.it_value.tv_sec = (time_t)next;
	it.it_value.tv_nsec = 1000000;
	timerfd_settime(d->timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &it, NULL);
}

/* Milliseconds that poll() may sleep for what the monotonic clock governs. */
static int sleep_ms(const struct daemon *d)
{
	int64_t now = clock_ms(), until = -1;
	bool leaving = d->sched.leaving; /* what nobody takes up then is not waited for */
	const int64_t at[] = { leaving ? -1 : intake_next(&d->intake),
		               d->sync_at,
		               d->sweep_at,
		               leaving ? -1 : desk_next(d->answers.desk),
		               d->watch_at,
		               leaving ? -1 : alert_next(&d->alert),
		               d->state.at ? d->state.at : -1,
		               d->leave_until ? d->leave_until : -1 };

	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		if (at[i] >= 0 && (until < 0 || at[i] < until))
			until = at[i];
	if (until < 0)
		return -1;
	return until > now ? (int)(until - now < INT_MAX ? until - now : INT_MAX) : 0;
}

static void rescan(struct daemon *d, int64_t now)
{
	d->rescan = now + RESCAN_EVERY;
	intake_rescan(&d->intake);
	alert_look(&d->alert);
	spool_sweep(&d->spool, now, false);
	/* What could not be published when it should. */
	if (!routes_at_work(&d->routes))
		derived_recover(&d->spool);
	d->sweep_at = clock_ms();
	d->sweep = 0;
}

static void sweep_notes(struct daemon *d, int64_t now)
{
	if (d->sweep_at < 0 || clock_ms() < d->sweep_at)
		return;
	spool_sweep_notes(&d->spool, now, &d->sweep);
	d->sweep_at = d->sweep ? clock_ms() + SWEEP_NOTES_MS : -1;
}

static void hear_fixed(struct daemon *d, const struct pollfd p[FIXED_POLLS], int64_t now)
{
	uint64_t ticks;

	if (p[0].revents)
		on_signal(d);
	if (p[1].revents) {
		if (spool_wake_drain(&d->spool))
			routes_try_now(&d->routes, STR(""), now, false);
		intake_poke(&d->intake);
	}
	if (p[2].revents) {
		(void)!read(d->timer, &ticks, sizeof(ticks));
		d->armed_for = 0;
	}
	if (p[3].revents && d->intake.census.fd >= 0)
		intake_census(&d->intake);
	if (p[4].revents && d->alert.child.fd >= 0)
		alert_hear(&d->alert);
}

static void wait_and_hear(struct daemon *d)
{
	size_t desk_n = 0, routes_n;
	struct pollfd *p =
	    calloc(FIXED_POLLS + DESK_POLLS + routes_polls_max(&d->routes), sizeof(*p));
	struct pollfd *of_routes;
	int64_t now;

	if (!p)
		die_oom();
	/* While a scan is about to begin there is nothing to learn from the FIFO, which
	 * anybody can fill as fast as it is read. */
	p[0] = (struct pollfd){ .fd = d->signals, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = intake_awake(&d->intake) ? -1 : d->spool.wake,
		                .events = POLLIN };
	p[2] = (struct pollfd){ .fd = d->timer, .events = POLLIN };
	p[3] = (struct pollfd){ .fd = d->intake.census.fd, .events = POLLIN };
	p[4] = (struct pollfd){ .fd = d->alert.child.fd, .events = POLLIN };
	if (!d->sched.leaving)
		desk_n = desk_polls(d->answers.desk, p + FIXED_POLLS);
	of_routes = p + FIXED_POLLS + desk_n;
	routes_n = routes_polls(&d->routes, of_routes);
	if (poll(p, FIXED_POLLS + desk_n + routes_n, sleep_ms(d)) >= 0) {
		now = clock_real();
		hear_fixed(d, p, now);
		routes_hear(&d->routes, &d->sched, of_routes, routes_n, now);
		if (!d->sched.leaving)
			desk_hear(d->answers.desk, p + FIXED_POLLS, desk_n);
		if (now >= d->rescan || d->rescan > now + RESCAN_EVERY)
			rescan(d, now);
		sweep_notes(d, now);
	}
	free(p);
}

static void serve(struct daemon *d)
{
	for (;;) {
		int64_t now = clock_real();

		if (!d->sched.leaving && intake_adopt(&d->intake))
			routes_news(&d->routes);
		/* Its time has come; or the clock was set back, and times far ahead are
		 * not to be believed. */
		if (now >= d->due_at || now < d->armed_at)
			routes_due(&d->routes);
		routes_work(&d->routes, &d->sched, now);
		intake_door(&d->intake, now);
		if (!d->sched.leaving)
			alert_work(&d->alert, d->intake.usage.messages);
		answers_flush(&d->answers);
		sync_removals(d);
		state_save(&d->state, &d->spool, &d->routes, &d->alert, d->sched.leaving);
		if (d->sched.leaving &&
		    (!routes_at_work(&d->routes) || clock_ms() >= d->leave_until))
			return;
		d->watch_at = routes_watch(&d->routes);
		arm(d, now);
		wait_and_hear(d);
	}
}

/* Start */

/* Waits for the old push; SIGTERM and SIGINT end that: we are leaving. SIGHUP is for what begins
 * then. */
static int lock_wait(struct daemon *d)
{
	int64_t until = clock_ms() + LOCK_WAIT_MS;
	struct signalfd_siginfo si;
	bool again = false;
	int e;

	do {
		e = spool_lock(&d->spool, 200);
		while (read(d->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
			if (si.ssi_signo == SIGHUP) {
				again = true;
				continue;
			}
			log_line(LOG_LEVEL_INFO, "leaving signal=%u", si.ssi_signo);
			d->sched.leaving = true;
			return 0;
		}
	} while (e == -EWOULDBLOCK && clock_ms() < until);
	if (e == 0 && again)
		conf_again(d);
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
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT,
		         "spool %s/lock: %s; is another mailchuted running?",
		         d->spool_path, strerror(-e));
		return EX_TEMPFAIL;
	}
	return 0;
}

/* How many messages one push can have: two descriptors each. Where few may be open, a part of
 * them. */
static unsigned jobs_max(unsigned files)
{
	unsigned ours = files / 4 * 3 < FILES_OURS ? files / 4 * 3 : FILES_OURS;

	if (files < BOOT_FILES_MIN)
		log_line(LOG_LEVEL_ALERT,
		         "few-files limit=%u why=\"at least %d open files are needed "
		         "(LimitNOFILE= of the service, ulimit -Hn)\"",
		         files, BOOT_FILES_MIN);
	return files > ours + 2 ? (files - ours) / 2 : 1;
}

/* 0: also when it is leaving already, and nothing was begun. */
static int begin(struct daemon *d)
{
	int e = spool_begin(d);
	const char *name;
	struct id run;
	int64_t now;

	if (e || d->sched.leaving)
		return e;
	now = clock_real();
	d->sched.spool = &d->spool;
	d->sched.libexec = d->libexec;
	d->sched.jobs_max = jobs_max(boot_files());
	d->sched.placed = routes_placed;
	d->sched.at_work = routes_journal;
	d->sched.routes = &d->routes;
	d->stuck.max = STUCK_MAX;
	d->sched.stuck = &d->stuck;
	d->sched.replayed = &d->replayed;
	d->sched.count = on_count;
	d->sched.news = on_news;
	d->sched.arg = d;
	spool_sweep(&d->spool, now, true);
	spool_recover(&d->spool);
	derived_recover(&d->spool);
	/* Before the routes: a journal speaks of the folders as they were. */
	d->replayed = journals_replay(&d->spool, now, NULL, NULL, &d->stuck);
	run = spool_new_id(&d->spool);
	journal_spare(&d->spool, &run);
	e = routes_open(&d->routes, &d->sched, &d->conf, &name);
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT, "spool %s/queue/%s: %s", d->spool_path, name,
		         strerror(-e));
		return EX_CANTCREAT;
	}
	alert_open(&d->alert, &d->spool, &d->conf, &d->routes);
	state_load(&d->spool, &d->routes, &d->alert, now);
	intake_open(&d->intake, &d->spool, &d->conf);
	d->answers = (struct answers){ .intake = &d->intake,
		                       .routes = &d->routes,
		                       .sched = &d->sched,
		                       .conf = &d->conf };
	answers_open(&d->answers, d->socket_path, d->libexec);
	d->sync_at = d->sweep_at = d->watch_at = -1;
	d->rescan = now + RESCAN_EVERY;
	log_line(LOG_LEVEL_INFO, "ready version=%s spool=%s route=%s", MAILCHUTE_VERSION,
	         d->spool_path, d->routes.v[0]->queue.route);
	if (fence_landlock() == 0)
		log_line(
		    LOG_LEVEL_INFO,
		    "fence landlock=no why=\"this kernel lacks it, or it is switched "
		    "off; push can open what user mailchute can\"");
	return 0;
}

static void end(struct daemon *d)
{
	alert_close(&d->alert);
	answers_close(&d->answers);
	intake_close(&d->intake);
	routes_close(&d->routes);
	jobs_free(&d->stuck);
	spool_close(&d->spool);
}

/* The spool that is compiled in has its socket below /run, in a folder that only root can
 * make. */
static void find_socket(struct daemon *d)
{
	static char path[108];

	if (d->socket_path)
		return;
	d->socket_path = SOCKET_PATH;
	if (strcmp(d->spool_path, SPOOL_PATH) == 0) {
		boot_run_folder(SOCKET_PATH, d->user);
	} else {
		snprintf(path, sizeof(path), "%s/socket", d->spool_path);
		d->socket_path = path;
	}
}

static void usage(void)
{
	static const char text[] =
	    "usage: mailchuted [-d] [-e] [-c FILE] [-s SPOOL] [-S SOCKET] [-l FOLDER] "
	    "[-u USER]\n"
	    "  -c FILE    configuration (" CONF_PATH ")\n"
	    "  -s SPOOL   spool folder (" SPOOL_PATH ")\n"
	    "  -S SOCKET  where it listens (" SOCKET_PATH "; SPOOL/socket with -s)\n"
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
	struct buf packed = BUF_INIT;
	struct conf conf;
	int opt, e;

	boot_fds();
	boot_signals_block();
	while ((opt = getopt(argc, argv, "c:s:S:l:u:ed")) != -1) {
		if (opt == 'c')
			d.conf_path = optarg;
		else if (opt == 's')
			d.spool_path = optarg;
		else if (opt == 'S')
			d.socket_path = optarg;
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
	find_socket(&d);
	e = boot_become(d.user);
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT,
		         "cannot become user %s: %s; create it (useradd --system "
		         "--home-dir %s --shell /usr/sbin/nologin %s) or name "
		         "another with -u, not root",
		         d.user, strerror(-e), SPOOL_PATH, MAILCHUTE_USER);
		return EX_NOUSER;
	}
	boot_harden();
	d.signals = boot_signals_open();
	d.timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (d.signals < 0 || d.timer < 0)
		return EX_OSERR;
	if (conf_read(&d, &conf, &packed) < 0)
		return EX_CONFIG;
	conf_take(&d, &conf, &packed);
	e = begin(&d);
	if (e)
		return e;
	if (!d.sched.leaving) {
		serve(&d);
		end(&d);
	}
	log_line(LOG_LEVEL_INFO, "left");
	return 0;
}
