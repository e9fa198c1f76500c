#include "daemon/alert.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "prog/shell.h"
#include "spool/usage.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FIRST_MS = 60000,
	LIMIT_MS = 60000,
	LOOK_MS = 30000,     /* for the look, besides the command */
	END_MS = 1000,       /* for the child to end a command that runs */
	EVERY = 300,         /* seconds between looks while mail waits for too long */
	AGAIN_MS = 86400000, /* told once more */
	SAID_MAX = 400,      /* of the command's standard error */
	TROUBLE_MAX = 500,   /* octets about one route... */
	TROUBLES_MAX = 16,   /* ...and of so many */
	HOST_MAX = 255,
	DRAIN_READS = 16,
};

/* What the child says, and then the command's words. */
struct said {
	struct oldest oldest;
	int64_t age; /* seconds */
	bool waits;  /* too long */
	bool ran;    /* the command */
	int error;   /* 0 or -errno of running it */
	int status;  /* of waitpid(2) */
};

/* What the child works with. */
struct task {
	const struct alert *a;
	int64_t odd_seconds; /* that messages with impossible times have waited */
	bool due;            /* nobody knows, or it is to be told once more */
	struct str trouble;
	pid_t parent;
};

/* ---- The child ---- */

static void begin_words(const struct conf *c, struct buf *b)
{
	struct utsname u;

	buf_z(b, "mailchute on ");
	if (c->hostname[0])
		buf_escape(b, str_z(c->hostname), HOST_MAX);
	else
		buf_escape(b, str_z(uname(&u) == 0 ? u.nodename : "?"), HOST_MAX);
}

/* "1 h 5 min": the two largest units. */
static void age_words(struct buf *b, int64_t seconds)
{
	static const struct {
		int64_t unit;
		const char *name;
	} units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
	size_t i = 0;
	int64_t rest;

	while (i < ARRAY_LEN(units) - 1 && seconds < units[i].unit)
		i++;
	buf_fmt(b, "%lld %s", (long long)(seconds / units[i].unit), units[i].name);
	rest = seconds % units[i].unit;
	if (++i < ARRAY_LEN(units) && rest >= units[i].unit)
		buf_fmt(b, " %lld %s", (long long)(rest / units[i].unit), units[i].name);
}

static void count_words(int64_t n, struct buf *b)
{
	if (n == 0)
		buf_z(b, "no message waits");
	else
		buf_fmt(b, "%lld message%s", (long long)n, n == 1 ? " waits" : "s wait");
}

static void waiting_words(const struct task *t, const struct said *said, struct buf *b)
{
	/* Without trouble the others may well go: it is about the oldest. */
	buf_fmt(b,
	        ": mail %s: ", t->trouble.n ? "does not go out" : "waits for too long");
	count_words(said->oldest.messages, b);
	buf_fmt(b, ", the oldest (%s) for ", said->oldest.id.c);
	age_words(b, said->age);
	buf_c(b, '\n');
	buf_str(b, t->trouble);
	if (!t->trouble.n)
		buf_fmt(b,
		        "No smart host is down. What it waits for: mailchute show %s\n",
		        said->oldest.id.c);
}

static void over_words(const struct task *t, const struct said *said, struct buf *b)
{
	buf_z(b, ": the alert is over: ");
	count_words(said->oldest.messages, b);
	if (said->oldest.messages) {
		buf_z(b, ", none of them for ");
		age_words(b, t->a->conf->alert_oldest);
	}
	buf_c(b, '\n');
}

/* Reads some of what the command says, which may be without end; over SAID_MAX it is dropped. */
static void drain(int fd, struct buf *b)
{
	char piece[4096];
	ssize_t n = 1;

	for (int i = 0; i < DRAIN_READS && n > 0; i++) {
		n = read(fd, piece, sizeof(piece));
		if (n > 0)
			buf_str(b, str_head((struct str){ piece, (size_t)n },
			                    SAID_MAX - b->n));
	}
}

/* Until the command has ended: what others that it left behind still hold does not matter.
 * 0, -ETIMEDOUT, or -ECANCELED when signals say that mailchuted is leaving. */
static int watch(const struct alert *a, pid_t pid, int signals, int err,
                 struct said *said, struct buf *words)
{
	int64_t end = clock_ms() + a->limit_ms;
	struct signalfd_siginfo si;

	for (;;) {
		struct pollfd p[] = { { signals, POLLIN, 0 }, { err, POLLIN, 0 } };
		int64_t left = end - clock_ms();
		int e = left > 0 ? 0 : -ETIMEDOUT;

		if (e == 0)
			poll(p, ARRAY_LEN(p), (int)left);
		while (read(signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
			e = si.ssi_signo == SIGCHLD ? e : -ECANCELED;
		drain(err, words);
		if (waitpid(pid, &said->status, WNOHANG) == pid) {
			drain(err, words);
			return 0;
		}
		if (e < 0) {
			shell_end(pid, &said->status);
			return e;
		}
	}
}

static int run(const struct alert *a, struct str text, const char *state,
               struct said *said, struct buf *words)
{
	_cleanup_fd_ int in = io_memfd("alert", text), out = -1, err = -1, signals = -1;
	_cleanup_buf_ struct buf more = BUF_INIT;
	int pair[2];
	sigset_t set;
	pid_t pid;

	if (in < 0)
		return in;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	out = pair[0];
	err = pair[1];
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || fcntl(out, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	buf_fmt(&more, "MAILCHUTE_ALERT=%s", state);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		const struct shell sh = { .command = a->conf->alert_command,
			                  .home = "/",
			                  .user = MAILCHUTE_USER,
			                  .more = more.p,
			                  .in = in,
			                  .out = -1,
			                  .err = err };

		shell_exec(&sh);
	}
	setpgid(pid, pid); /* whoever comes first */
	return watch(a, pid, signals, out, said, words);
}

/* What moves meanwhile may not be seen: that it is over is believed when it was seen twice. */
static int find(const struct task *t, struct said *said)
{
	for (int i = 0; i < 2; i++) {
		int64_t now = clock_real();
		int e =
		    usage_oldest(CHILD_KEPT, now, now - t->odd_seconds, &said->oldest);

		if (e < 0)
			return e;
		said->age = said->oldest.id.c[0] && said->oldest.since < now
		                ? now - said->oldest.since
		                : 0;
		said->waits = said->age >= t->a->conf->alert_oldest;
		if (said->waits || t->a->told != ALERT_TOLD)
			break;
	}
	return 0;
}

static int look(void *arg, struct buf *out)
{
	const struct task *t = arg;
	const struct alert *a = t->a;
	_cleanup_buf_ struct buf text = BUF_INIT, words = BUF_INIT;
	struct said said = { .age = 0 };
	int e;

	/* Not SIGKILL: what the command has started is ended, too. */
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != t->parent)
		return -ECANCELED;
	e = child_apart("mailchute-alert", a->spool->root);
	if (e == 0)
		e = find(t, &said);
	if (e < 0)
		return e;
	said.ran = said.waits ? t->due : a->told == ALERT_TOLD;
	if (said.ran) {
		begin_words(a->conf, &text);
		(said.waits ? waiting_words : over_words)(t, &said, &text);
		said.error = run(a, buf_view(&text), said.waits ? "waiting" : "over",
		                 &said, &words);
	}
	buf_add(out, &said, sizeof(said));
	buf_str(out, buf_view(&words));
	return 0;
}

/* ---- mailchuted ---- */

static bool wanted(const struct alert *a)
{
	return a->conf->alert_command[0] != '\0';
}

static int64_t oldest_ms(const struct alert *a)
{
	return a->conf->alert_oldest * 1000;
}

static int64_t every_ms(const struct alert *a)
{
	return (a->conf->alert_oldest < EVERY ? a->conf->alert_oldest : EVERY) * 1000;
}

void alert_open(struct alert *a, const struct spool *s, const struct conf *c,
                const struct routes *rs)
{
	*a = (struct alert){ .spool = s,
		             .conf = c,
		             .routes = rs,
		             .limit_ms = LIMIT_MS,
		             .first = clock_ms() + FIRST_MS,
		             .at = -1,
		             .odd = -1,
		             .child = CHILD_INIT };
}

void alert_state_print(const struct alert *a, struct buf *b)
{
	if (a->told == ALERT_TOLD)
		buf_fmt(b, "alert %lld\n", (long long)a->again_real);
}

void alert_state_take(struct alert *a, struct str line, int64_t now)
{
	struct str verb = STR("");
	uint64_t again;

	str_cut(&line, ' ', &verb);
	if (!str_eq(verb, STR("alert")) || !str_u64(line, &again))
		return;
	/* Its time has come, or the clock was set back: it is told again. */
	if (again > (uint64_t)now + AGAIN_MS / 1000)
		again = (uint64_t)now;
	a->told = ALERT_TOLD;
	a->again_real = (int64_t)again;
	a->again = clock_ms() + ((int64_t)again - now) * 1000;
	a->at = a->first; /* it may be over */
}

void alert_close(struct alert *a)
{
	int64_t end = clock_ms() + END_MS;
	int e;

	if (a->child.fd >= 0)
		kill(a->child.pid, SIGTERM);
	while (a->child.fd >= 0 && clock_ms() < end) {
		struct pollfd p = { .fd = a->child.fd, .events = POLLIN };

		if (poll(&p, 1, (int)(end - clock_ms())) > 0)
			child_hear(&a->child, &e);
	}
	child_kill(&a->child);
}

void alert_look(struct alert *a)
{
	a->asked = wanted(a);
}

static void begin(struct alert *a, int64_t now)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct task t = { .a = a,
		          .odd_seconds = a->odd < 0 ? 0 : (now - a->odd) / 1000,
		          .due = a->told != ALERT_TOLD || now >= a->again,
		          .parent = getpid() };
	int e;

	routes_trouble(a->routes, TROUBLES_MAX, TROUBLE_MAX, &words);
	t.trouble = buf_view(&words);
	a->asked = a->ending = false;
	a->until = now + LOOK_MS + a->limit_ms;
	a->at = now + every_ms(a); /* when it says nothing, or cannot begin */
	e = child_begin(&a->child, look, &t, sizeof(struct said) + SAID_MAX);
	if (e < 0)
		log_line(LOG_LEVEL_ALERT, "alert state=unknown why=\"%s\"", strerror(-e));
}

/* The count is a hint, and may be wrong until it is counted anew: hence alert_look() now and then.
 * The first to wait has not waited yet, but for what was there at the start; and when the last
 * one has gone, those who were told of it want to know. */
static void count(struct alert *a, int64_t messages, int64_t now)
{
	bool waits = messages > 0;

	if (waits == a->waits)
		return;
	a->waits = waits;
	if (a->told != ALERT_NOBODY)
		a->asked |= !waits;
	else if (waits)
		a->at = now < a->first ? a->first : now + oldest_ms(a);
	else
		a->at = -1;
}

/* Its time is over: first it is asked to. */
static void end(struct alert *a, int64_t now)
{
	if (a->ending) {
		child_kill(&a->child);
		return;
	}
	log_line(
	    LOG_LEVEL_ALERT,
	    "alert state=unknown why=\"looking at the queue takes longer than %d s\"",
	    LOOK_MS / 1000);
	kill(a->child.pid, SIGTERM);
	a->ending = true;
	a->until = now + END_MS;
}

void alert_work(struct alert *a, int64_t messages)
{
	int64_t now = clock_ms();

	if (a->child.fd >= 0 && now >= a->until)
		end(a, now);
	if (!wanted(a)) {
		a->told = ALERT_NOBODY;
		a->asked = a->waits = false;
		a->at = -1;
		return;
	}
	count(a, messages, now);
	if (a->child.fd < 0 && (a->asked || (a->at >= 0 && now >= a->at)))
		begin(a, now);
}

int64_t alert_next(const struct alert *a)
{
	if (a->child.fd >= 0)
		return a->until;
	return a->asked ? 0 : a->at;
}

static void schedule(struct alert *a, const struct said *s, int64_t now)
{
	int64_t left = oldest_ms(a) - s->age * 1000;

	if (a->told != ALERT_NOBODY || left <= 0)
		a->at = now + every_ms(a);
	else if (s->oldest.messages)
		a->at = now + (left > 1000 ? left : 1000);
	else
		a->at = a->waits ? now + oldest_ms(a) : -1;
}

/* Why the command is not to be relied on. */
static bool failure(const struct alert *a, const struct said *s, struct str words,
                    struct buf *line)
{
	_cleanup_buf_ struct buf why = BUF_INIT;

	if (!s->ran || (s->error == 0 && s->status == 0))
		return false;
	buf_z(&why, "the command ");
	if (s->error == -ETIMEDOUT)
		buf_fmt(&why, "took longer than %lld s", (long long)a->limit_ms / 1000);
	else if (s->error < 0)
		buf_fmt(&why, "could not be run: %s", strerror(-s->error));
	else
		shell_words(s->status, &why);
	log_value(line, "why", buf_view(&why));
	log_value(line, "text", str_trim(words));
	return true;
}

/* It was looked at, and those were told who had to be. */
static void take(struct alert *a, const struct said *s, struct str words, int64_t now)
{
	_cleanup_buf_ struct buf line = BUF_INIT;
	bool failed = failure(a, s, words, &line);

	if (s->oldest.odd == 0)
		a->odd = -1;
	else if (a->odd < 0)
		a->odd = now;
	if (s->waits && s->ran) {
		log_line(LOG_LEVEL_ALERT,
		         "alert state=waiting messages=%lld oldest=%s age=%llds%s",
		         (long long)s->oldest.messages, s->oldest.id.c, (long long)s->age,
		         failed ? line.p : "");
		if (!failed) {
			a->told = ALERT_TOLD;
			a->again = now + AGAIN_MS;
			a->again_real = clock_real() + AGAIN_MS / 1000;
		} else if (a->told == ALERT_NOBODY) {
			a->told = ALERT_IN_VAIN;
		}
	} else if (!s->waits && a->told != ALERT_NOBODY) {
		log_line(failed ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
		         "alert state=over messages=%lld%s",
		         (long long)s->oldest.messages, failed ? line.p : "");
		a->told = failed ? a->told : ALERT_NOBODY;
	}
	schedule(a, s, now);
}

void alert_hear(struct alert *a)
{
	struct said said;
	struct str text;
	int e;

	if (!child_hear(&a->child, &e))
		return;
	text = buf_view(&a->child.said);
	if (e == 0 && text.n < sizeof(said))
		e = -EPROTO;
	if (e < 0 && !a->ending)
		log_line(LOG_LEVEL_ALERT, "alert state=unknown why=\"%s\"", strerror(-e));
	if (e == 0) {
		memcpy(&said, text.p, sizeof(said));
		said.oldest.id.c[ID_LEN] = '\0';
		take(a, &said, str_from(text, sizeof(said)), clock_ms());
	}
	buf_free(&a->child.said);
}
