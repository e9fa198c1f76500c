/*
 * sendmail(8): the injector. Frames a message and drops it into the spool.
 *
 * Runs as anybody, with hostile arguments, environment, descriptors and limits: no
 * configuration, no NSS, no locale, no privilege. Exit 0 means the message is safe.
 */
#include "base/io.h"
#include "prog/sm_input.h"
#include "spool/drop.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* One line on standard error. A caller that has closed it must not kill us. */
static void complain(struct str line)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipe, NULL);
	buf_z(&b, "sendmail: ");
	buf_str(&b, line);
	buf_c(&b, '\n');
	(void)io_write(STDERR_FILENO, b.p, b.n);
}

/* Another spool is for tests and for users with one of their own: it must be the caller's,
 * so that nobody's environment leads another user's mail away. */
static int find_spool(const char **ret, struct buf *why)
{
	const char *own = secure_getenv("MAILCHUTE_SPOOL");
	char in[PATH_MAX];
	struct stat st;
	bool found = false;

	*ret = SPOOL_PATH;
	if (!own || !*own)
		return 0;
	if (strlen(own) > sizeof(in) - sizeof("/in"))
		errno = ENAMETOOLONG;
	else if (snprintf(in, sizeof(in), "%s/in", own) > 0 && stat(in, &st) == 0)
		found = true;
	if (!found) {
		buf_z(why, "MAILCHUTE_SPOOL: ");
		sm_quote(why, str_z(own));
		buf_fmt(why, ": %s", strerror(errno));
		return EX_TEMPFAIL;
	}
	if (st.st_uid == getauxval(AT_EUID)) /* geteuid(), without the call */
		*ret = own;
	return 0;
}

static int flush(const char *spool, struct buf *why)
{
	_cleanup_fd_ int in = drop_open_in(spool);

	if (in < 0) {
		buf_z(why, "cannot open the spool ");
		sm_quote(why, str_z(spool));
		buf_fmt(why, ": %s", strerror(-in));
		return EX_TEMPFAIL;
	}
	drop_wake(in, 'q');
	return 0;
}

static int send_message(struct sm_args *args, const char *spool, struct buf *why)
{
	static char block[SM_BLOCK];
	struct sm_source s = SM_SOURCE(STDIN_FILENO);

	s.dot_ends = !args->dot_is_data;
	s.terminal = s.dot_ends && isatty(STDIN_FILENO);
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
	case SM_SEND:
		break;
	}
	e = find_spool(&spool, why);
	if (e != 0)
		return e;
	return args->mode == SM_FLUSH ? flush(spool, why)
	                              : send_message(args, spool, why);
}

int main(int argc, char *argv[])
{
	struct buf why = BUF_INIT;
	struct sm_args args;
	int e = sm_args_parse(argc, argv, &args, &why);

	if (e == 0)
		e = run(&args, &why);
	if (why.n)
		complain(buf_view(&why));
	/* Whatever libc would do now could only change what was said. */
	_exit(e);
}
