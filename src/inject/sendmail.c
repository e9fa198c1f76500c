/*
 * sendmail(8): the injector. Frames a message and drops it into the spool, or hands it to
 * mailchuted's socket. Also runq and mailq, which only ask mailchuted.
 *
 * Runs as anybody, with hostile arguments, environment, descriptors and limits: no
 * configuration, no NSS, no locale, no privilege. Exit 0 means the message is safe.
 */
#include "base/io.h"
#include "inject/sm_input.h"
#include "inject/sm_sink.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { WORDS_MAX = 500 }; /* octets of mailchuted's words that are repeated */

/* One line on standard error. A caller that has closed it must not kill us. */
static void complain(const char *name, struct str line)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipe, NULL);
	buf_z(&b, name);
	buf_z(&b, ": ");
	buf_str(&b, line);
	buf_c(&b, '\n');
	(void)io_write(STDERR_FILENO, b.p, b.n);
}

/* A spool of which only the socket is there, as in a container: the folder must be the
 * caller's, too. */
static bool only_socket(const char *spool)
{
	struct sockaddr_un a;
	struct stat st;

	return stat(spool, &st) == 0 && st.st_uid == getauxval(AT_EUID) &&
	       sm_socket_path(spool, &a) == 0 && stat(a.sun_path, &st) == 0 &&
	       S_ISSOCK(st.st_mode);
}

/* Another spool is for tests and for users with one of their own: it must be the caller's,
 * so that nobody's environment leads another user's mail away. */
static int find_spool(const char **ret, struct buf *why)
{
	const char *own = secure_getenv("MAILCHUTE_SPOOL");
	char in[PATH_MAX];
	struct stat st;
	int e = 0;

	*ret = SPOOL_PATH;
	if (!own || !*own)
		return 0;
	if (strlen(own) > sizeof(in) - sizeof("/in"))
		e = -ENAMETOOLONG;
	else if (snprintf(in, sizeof(in), "%s/in", own) < 0 || stat(in, &st) < 0)
		e = -errno;
	if (e < 0 && !only_socket(own)) {
		buf_z(why, "MAILCHUTE_SPOOL: ");
		sm_quote(why, str_z(own));
		buf_fmt(why, ": %s", strerror(-e));
		return EX_TEMPFAIL;
	}
	if (e < 0 || st.st_uid == getauxval(AT_EUID)) /* geteuid(), without the call */
		*ret = own;
	return 0;
}

/* ---- asking mailchuted ---- */

/* Sends a request over an open connection; the answer's lines go to the descriptor out. Its
 * code, its words in why when that is not 0. */
static int ask(struct sm_socket *s, struct str request, int out, struct buf *why)
{
	struct sm_answer a;
	struct str words;
	int code, e = sm_socket_send(s, request.p, request.n);

	/* When it ended the connection at once, it has said why. */
	if (e == 0 || e == -EPIPE || e == -ECONNRESET)
		e = sm_socket_answer(s, out, &a);
	if (e == -EIO && a.output == -EPIPE) /* mailq | head: has seen enough */
		return EX_IOERR;
	if (e == -EIO && a.output < 0)
		return sm_fail(why, EX_IOERR, "cannot write to standard output", NULL,
		               a.output);
	if (e == -ETIMEDOUT)
		return sm_fail(why, EX_TEMPFAIL, "mailchuted does not answer", NULL, 0);
	if (e < 0)
		return sm_fail(why, EX_TEMPFAIL,
		               "the connection to mailchuted was lost before its answer",
		               NULL, 0);
	code = sm_answer_code(&a, &words);
	if (code < 0)
		return sm_fail(why, EX_TEMPFAIL, "mailchuted's answer is not understood",
		               NULL, 0);
	if (code != 0)
		buf_escape(why, words, WORDS_MAX);
	return code;
}

/* Without the socket nobody can say when the run has ended; the poke is what remains. */
static int poke(const char *spool, struct buf *why)
{
	_cleanup_fd_ int in = drop_open_in(spool);

	if (in < 0)
		return sm_fail(why, EX_TEMPFAIL, "cannot open the spool ", spool, in);
	drop_wake(in, 'q');
	return 0;
}

static int flush(const char *spool, struct buf *why)
{
	struct sm_socket s = SM_SOCKET_INIT;
	int e = sm_socket_open(&s, spool);

	if (e < 0)
		return poke(spool, why);
	s.limit_ms = SM_FLUSH_SECONDS * INT64_C(1000);
	e = ask(&s, STR("mailchute-socket 1 flush\n"), -1, why);
	sm_socket_close(&s);
	return e;
}

static int list(const char *spool, struct buf *why)
{
	struct sm_socket s = SM_SOCKET_INIT;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int e = sm_socket_open(&s, spool);

	if (e == -ENOENT || e == -ECONNREFUSED)
		return sm_fail(why, EX_TEMPFAIL,
		               "mailchuted is not running; the queue cannot be shown "
		               "(as root: mailchute queue)",
		               NULL, 0);
	if (e < 0) {
		(void)sm_socket_path(spool, &a);
		return sm_fail(why, EX_TEMPFAIL, "cannot connect to mailchuted at ",
		               a.sun_path, e);
	}
	e = ask(&s, STR("mailchute-socket 1 list mailq\n"), STDOUT_FILENO, why);
	sm_socket_close(&s);
	return e;
}

/* Poking, or a reader of the list that goes away, is no reason to be killed. */
static int ask_without_sigpipe(enum sm_mode mode, const char *spool, struct buf *why)
{
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipe, NULL);
	return mode == SM_FLUSH ? flush(spool, why) : list(spool, why);
}

/* ---- -bs ---- */

/* Becomes mailchute-smtpd, which has what a session takes, and its fence; only comes back when
 * that fails. It is looked for where we are, too: that is LIBEXEC for whoever came by the
 * links in sbin, and the folder of a build for tests. */
static int become_smtpd(const char *spool, struct buf *why)
{
	static const char name[] = "/mailchute-smtpd", self[] = "/proc/self/exe";
	char here[PATH_MAX + sizeof(name)], installed[] = LIBEXEC_PATH "/mailchute-smtpd";
	char bs[] = "-bs", s[] = "-s";
	_cleanup_buf_ struct buf path = BUF_INIT;
	ssize_t n = readlink(self, here, PATH_MAX - 1);
	int e;

	while (n > 0 && here[n - 1] != '/')
		n--;
	buf_z(&path, spool);
	if (n > 0) {
		memcpy(here + n - 1, name, sizeof(name));
		execv(here, (char *[]){ here, bs, s, path.p, NULL });
	}
	execv(installed, (char *[]){ installed, bs, s, path.p, NULL });
	e = -errno;
	return sm_fail(why, EX_UNAVAILABLE, "-bs: cannot start ", installed, e);
}

/* ---- the program ---- */

static int send_message(struct sm_args *args, const char *spool, struct buf *why)
{
	static char block[SM_BLOCK];
	struct sm_source s = SM_SOURCE(STDIN_FILENO);

	s.dot_ends = !args->dot_is_data;
	s.unsure = s.dot_ends;
	return sm_submit(&s, args, spool, block, sizeof(block), why);
}

static int run(struct sm_args *args, struct buf *why)
{
	static const char verify[] = "sendmail: -bv: addresses are not verified here; "
	                             "nothing was sent\n";
	const char *spool;
	int e;

	switch (args->mode) {
	case SM_ALIASES:
		return 0;
	case SM_VERIFY:
		(void)io_write(STDOUT_FILENO, verify, sizeof(verify) - 1);
		return 0;
	case SM_UNAVAILABLE:
		buf_z(why, args->unavailable);
		return EX_UNAVAILABLE;
	case SM_FLUSH:
	case SM_LIST:
	case SM_SEND:
	case SM_SMTP:
		break;
	}
	e = find_spool(&spool, why);
	if (e != 0)
		return e;
	if (args->mode == SM_SEND)
		return send_message(args, spool, why);
	if (args->mode == SM_SMTP)
		return become_smtpd(spool, why);
	return ask_without_sigpipe(args->mode, spool, why);
}

int main(int argc, char *argv[])
{
	struct buf why = BUF_INIT;
	struct sm_args args;
	int e = sm_args_parse(argc, argv, &args, &why);

	if (e == 0)
		e = run(&args, &why);
	if (why.n)
		complain(args.mode == SM_LIST ? "mailq" : "sendmail", buf_view(&why));
	/* Whatever libc would do now could only change what was said. */
	_exit(e);
}
