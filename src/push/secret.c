#include "push/secret.h"
#include "base/clock.h"
#include "prog/job.h"
#include "prog/shell.h"
#include "smtp/auth.h"
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_MS = 10 };

/* The helper's answer: this, then what was printed, then what was said. */
struct head {
	int32_t error;  /* 0 or -errno of starting it, or of its time or size */
	int32_t status; /* of waitpid(2) */
	uint32_t out, err;
};

/* One run of the command. */
struct run {
	int out, err, ask; /* ask: push; it hangs up */
	int seconds;
	struct buf printed, said;
};

/* ---- The helper ---- */

NORETURN static void command_exec(const char *command, int out, int err)
{
	const struct passwd *pw = getpwuid(geteuid());
	const struct shell sh = { .command = command,
		                  .home = pw && pw->pw_dir ? pw->pw_dir : "/",
		                  .user = pw ? pw->pw_name : "",
		                  .in = -1,
		                  .out = out,
		                  .err = err };

	shell_exec(&sh);
}

/* Reads what is there. At its end *fd is closed. Over max the rest is dropped (keep), or it is
 * too much. */
static int drain(int *fd, struct buf *b, size_t max, bool keep)
{
	char piece[4096];
	ssize_t n;

	while (n = read(*fd, piece, sizeof(piece)), n > 0) {
		size_t room = max - b->n;

		if ((size_t)n > room && !keep)
			return -EFBIG;
		buf_add(b, piece, (size_t)n < room ? (size_t)n : room);
	}
	explicit_bzero(piece, sizeof(piece));
	if (n == 0) {
		close(*fd);
		*fd = -1;
	}
	return 0;
}

static int drain_all(struct run *r)
{
	int e = r->out >= 0 ? drain(&r->out, &r->printed, SECRET_MAX, false) : 0;

	if (r->err >= 0)
		(void)drain(&r->err, &r->said, SECRET_WORDS_MAX, true);
	return e;
}

/* Until the command has ended: what others that it left behind still hold does not matter. */
static int watch(struct run *r, pid_t pid, int *ret_status)
{
	int64_t end = clock_ms() + INT64_C(1000) * r->seconds;

	for (;;) {
		struct pollfd p[] = { { r->ask, POLLRDHUP, 0 },
			              { r->out, POLLIN, 0 },
			              { r->err, POLLIN, 0 } };
		bool over = waitpid(pid, ret_status, WNOHANG) == pid;
		int e = drain_all(r);

		if (over)
			return e;
		if (e == 0 && clock_ms() >= end)
			e = -ETIMEDOUT;
		if (e == 0 && poll(p, ARRAY_LEN(p), TICK_MS) > 0 && p[0].revents)
			e = -ECANCELED;
		if (e < 0) {
			shell_end(pid, ret_status);
			return e;
		}
	}
}

static int command_run(struct run *r, const char *command, int *ret_status)
{
	_cleanup_fd_ int out = -1, err = -1;
	int pair[2];
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	r->out = pair[0];
	out = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	r->err = pair[0];
	err = pair[1];
	if (fcntl(r->out, F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(r->err, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		command_exec(command, out, err);
	setpgid(pid, pid); /* whoever comes first */
	return watch(r, pid, ret_status);
}

static void answer(int ask, const char *command, int seconds)
{
	struct buf b = BUF_INIT;
	struct run r = { .out = -1, .err = -1, .ask = ask, .seconds = seconds };
	struct head h = { .error = 0 };
	int status = 0;

	buf_room(&r.printed, SECRET_MAX);
	h.error = command_run(&r, command, &status);
	h.status = status;
	if (h.error < 0)
		buf_reset(&r.printed);
	h.out = (uint32_t)r.printed.n;
	h.err = (uint32_t)r.said.n;
	buf_room(&b, sizeof(h) + r.printed.n + r.said.n);
	buf_add(&b, &h, sizeof(h));
	buf_str(&b, buf_view(&r.printed));
	buf_str(&b, buf_view(&r.said));
	(void)send(ask, b.p, b.n, MSG_NOSIGNAL);
	auth_wipe(&b);
	auth_wipe(&r.printed);
	buf_free(&r.said);
	cleanup_fd(&r.out);
	cleanup_fd(&r.err);
}

NORETURN static void helper(int ask, const char *command, int seconds, pid_t parent)
{
	char c;

	/* No PR_SET_PDEATHSIG: when push is killed, the end of ask says so, and what the command
	 * has started is ended, too. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "mailchute-sec", 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
	/* The lock, above all: who holds it keeps the next mailchuted waiting. */
	for (int fd = JOB_FD_SOCKET; fd <= JOB_FD_LOCK; fd++)
		if (fd != ask)
			close(fd);
	while (recv(ask, &c, 1, 0) == 1)
		answer(ask, command, seconds);
	_exit(0);
}

/* ---- Push ---- */

int secret_start(struct secret *s, const char *command, int seconds)
{
	int pair[2], e;
	pid_t parent = getpid(), pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		helper(pair[1], command, seconds, parent);
	}
	e = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (e < 0) {
		close(pair[0]);
		return e;
	}
	*s = (struct secret){
		.fd = pair[0], .pid = pid, .seconds = seconds, .command = command
	};
	return 0;
}

bool secret_parse(struct str printed, struct str *ret, uint64_t *ret_seconds)
{
	struct str rest = printed, first = STR(""), line;
	uint64_t n;

	str_cut(&rest, '\n', &first);
	while (first.n && first.p[first.n - 1] == '\r')
		first.n--;
	while (str_cut(&rest, '\n', &line)) {
		line = str_trim(line);
		if (str_starts(line, STR("expires=")) && str_u64(str_from(line, 8), &n))
			*ret_seconds = n;
	}
	*ret = first;
	return first.n > 0;
}

bool secret_holds(const struct secret *s)
{
	return s->ends > 0 && clock_ms() < s->ends;
}

void secret_forget(struct secret *s)
{
	s->ends = s->until = 0;
}

/* A command that was corrected gives another secret. */
static void put_command(const struct secret *s, struct buf *b)
{
	unsigned char hash[32];

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, s->command, strlen(s->command), hash) < 0)
		explicit_bzero(hash, sizeof(hash));
	auth_base64(b, (struct str){ (const char *)hash, sizeof(hash) });
}

void secret_print(const struct secret *s, struct str secret, struct buf *b)
{
	if (!secret_holds(s) || s->until == 0)
		return;
	buf_room(b, 2 * secret.n + 128);
	buf_fmt(b, "%lld:", (long long)s->until);
	put_command(s, b);
	buf_c(b, ':');
	auth_base64(b, secret);
}

bool secret_recall(struct secret *s, struct str word, struct buf *ret)
{
	_cleanup_buf_ struct buf command = BUF_INIT;
	struct str until = STR(""), of = STR("");
	int64_t now = clock_real();
	uint64_t t = 0;

	buf_reset(ret);
	if (s->fd < 0 || !str_cut(&word, ':', &until) || !str_cut(&word, ':', &of) ||
	    !str_u64(until, &t) || t > INT64_MAX || (int64_t)t <= now ||
	    (int64_t)t - now > SECRET_EXPIRES_MAX)
		return false;
	put_command(s, &command);
	if (!str_eq(of, buf_view(&command)))
		return false;
	buf_room(ret, word.n);
	if (auth_unbase64(ret, word) < 0 || ret->n == 0)
		return false;
	s->until = (int64_t)t;
	s->ends = clock_ms() + ((int64_t)t - now) * 1000;
	return true;
}

/* Waits for the helper's packet. Octets or -errno. */
static ssize_t hear(const struct secret *s, int cancel_fd, struct buf *b)
{
	int64_t end = clock_ms() + INT64_C(1000) * (s->seconds + 5);
	const size_t most = sizeof(struct head) + SECRET_MAX + SECRET_WORDS_MAX;
	char c = '?';
	ssize_t n;

	if (send(s->fd, &c, 1, MSG_NOSIGNAL) != 1)
		return -EPIPE;
	for (;;) {
		struct pollfd p[] = { { s->fd, POLLIN, 0 }, { cancel_fd, POLLRDHUP, 0 } };
		int64_t left = end - clock_ms();

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(p, ARRAY_LEN(p), (int)left) <= 0)
			continue;
		if (p[0].revents)
			break;
		if (p[1].revents)
			return -ECANCELED;
	}
	n = recv(s->fd, buf_room(b, most), most, 0);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	b->n = (size_t)n;
	b->p[b->n] = '\0';
	return n;
}

/* Why a command that ran gave nothing; it is told with what it said itself. */
static void explain(const struct head *h, int seconds, struct buf *why)
{
	if (h->error == -ETIMEDOUT)
		buf_fmt(why, "took longer than %d s", seconds);
	else if (h->error == -EFBIG)
		buf_fmt(why, "printed more than %d octets", SECRET_MAX);
	else if (h->error < 0)
		buf_fmt(why, "could not be run: %s", strerror(-h->error));
	else if (h->status)
		shell_words(h->status, why);
	else
		buf_z(why, "printed nothing");
}

/* Is the secret in the text, or so much of it that it tells something? Also in base64. */
static bool shows(struct str text, struct str secret)
{
	enum { TELLS = 8 };
	struct buf coded = BUF_INIT;
	bool found = auth_shows(text, secret, TELLS);

	buf_room(&coded, 2 * secret.n + 4);
	auth_base64(&coded, secret);
	/* How it ends depends on what is behind the secret. */
	found |= coded.n > TELLS && auth_shows(text, buf_view(&coded), TELLS);
	auth_wipe(&coded);
	return found;
}

/* "> Authorization: Basic ..." of curl -v: how the command itself logs in. */
static bool is_login(struct str line)
{
	const struct str word = STR("authorization");

	for (; line.n > word.n; line = str_from(line, 1)) {
		size_t at = word.n;

		if (!str_istarts(line, word))
			continue;
		while (at < line.n && (ascii_space(line.p[at]) || line.p[at] == '"' ||
		                       line.p[at] == '\''))
			at++;
		if (at < line.n && (line.p[at] == ':' || line.p[at] == '='))
			return true;
	}
	return false;
}

/* What of it can go to the log. */
static void put_said(struct str said, struct buf *why)
{
	_cleanup_buf_ struct buf kept = BUF_INIT;
	bool left_out = false;
	struct str line;

	while (said.n && str_cut(&said, '\n', &line)) {
		if (is_login(line)) {
			left_out = true;
			continue;
		}
		if (kept.n)
			buf_c(&kept, '\n');
		buf_str(&kept, line);
	}
	buf_escape(why, str_trim(buf_view(&kept)), SECRET_WORDS_MAX);
	if (left_out)
		buf_fmt(why, "%s(how it logs in is not shown)", kept.n ? " " : "");
}

/* The trace of "sh -x": it shows all that the command knows, and not only what it prints. */
static bool traces(struct str text)
{
	struct str line;

	while (str_cut(&text, '\n', &line)) {
		size_t deep = 0;

		while (deep < line.n && line.p[deep] == '+')
			deep++;
		if (deep && deep < line.n && line.p[deep] == ' ')
			return true;
	}
	return false;
}

/* What the command said, as far as it can go to the log. */
static void add_words(const struct head *h, struct str printed, struct str said,
                      struct str secret, struct buf *why)
{
	/* What it would have printed is not known, and could be in it. */
	if (h->error < 0)
		buf_z(why, "(its words are not shown, as it did not end)");
	else if (traces(said))
		buf_z(why, "(its words are a trace of sh -x, and are not shown)");
	else if (shows(said, secret) || (h->status && shows(said, str_trim(printed))))
		buf_z(why, "(its words repeat what it printed, and are not shown)");
	else
		put_said(str_trim(said), why);
}

static int take(struct secret *s, struct str answer_text, struct buf *ret,
                struct buf *why)
{
	struct head h;
	struct str text = str_from(answer_text, sizeof(h)), secret = STR("");
	uint64_t seconds = UINT64_MAX;
	bool good, said;

	if (answer_text.n < sizeof(h))
		return -EPROTO;
	memcpy(&h, answer_text.p, sizeof(h));
	if (h.out > text.n || h.err != text.n - h.out)
		return -EPROTO;
	good = secret_parse(str_head(text, h.out), &secret, &seconds) && h.error == 0 &&
	       h.status == 0;
	if (!good)
		explain(&h, s->seconds, why);
	if (h.err && !good)
		buf_z(why, ": ");
	/* "curl -v" */
	if (h.err)
		add_words(&h, str_head(text, h.out), str_from(text, h.out), secret, why);
	if (!good)
		return -EACCES;
	buf_room(ret, secret.n);
	buf_str(ret, secret);
	said = seconds != UINT64_MAX;
	if (seconds > SECRET_EXPIRES_MAX)
		seconds = SECRET_EXPIRES_MAX;
	/* What ends at once is good for one login. */
	seconds = seconds > SECRET_MARGIN ? seconds - SECRET_MARGIN : 0;
	s->ends = clock_ms() + (int64_t)seconds * 1000 + 1;
	s->until = said && seconds ? clock_real() + (int64_t)seconds : 0;
	return 0;
}

int secret_get(struct secret *s, int cancel_fd, struct buf *ret, struct buf *ret_why)
{
	struct buf b = BUF_INIT;
	ssize_t n;
	int e;

	if (secret_holds(s))
		return 0;
	if (ret->cap)
		explicit_bzero(ret->p, ret->cap);
	buf_reset(ret);
	secret_forget(s);
	n = s->fd < 0 ? -EPIPE : hear(s, cancel_fd, &b);
	e = n < 0 ? (int)n : take(s, buf_view(&b), ret, ret_why);
	if (e < 0 && !ret_why->n)
		buf_fmt(ret_why, "could not be run: %s", strerror(-e));
	auth_wipe(&b);
	return e;
}

void secret_stop(struct secret *s)
{
	if (s->fd < 0)
		return;
	close(s->fd);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*s = (struct secret)SECRET_INIT;
}
