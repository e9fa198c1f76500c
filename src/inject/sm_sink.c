#include "inject/sm_sink.h"
#include "inject/sm_args.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

enum { WORDS_MAX = 500 }; /* octets of mailchuted's words that are repeated */

int sm_fail(struct buf *why, int code, const char *what, const char *path, int e)
{
	buf_z(why, what);
	if (path)
		sm_quote(why, str_z(path));
	if (e < 0)
		buf_fmt(why, ": %s", strerror(-e));
	return code;
}

/* ---- signals ---- */

/* Holds back, until the exit, the signals that would end this process and leave its file;
 * SIGXFSZ and SIGPIPE are then errors of write(2). */
static void block_signals(sigset_t *ret_ending)
{
	static const int ending[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
		                      SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU };
	sigset_t all;

	sigemptyset(ret_ending);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		sigaddset(ret_ending, ending[i]);
	all = *ret_ending;
	sigaddset(&all, SIGXFSZ);
	sigaddset(&all, SIGPIPE);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

/* A descriptor that tells of one of them; nohup's caller does not want to hear of SIGHUP.
 */
static int open_stop(sigset_t *ending)
{
	for (int i = 1; i < NSIG; i++) {
		struct sigaction was;

		if (sigismember(ending, i) == 1 && sigaction(i, NULL, &was) == 0 &&
		    was.sa_handler == SIG_IGN)
			sigdelset(ending, i);
	}
	return signalfd(-1, ending, SFD_CLOEXEC | SFD_NONBLOCK);
}

int sm_sink_watch(struct sm_sink *k, struct buf *why)
{
	if (k->stop < 0)
		k->stop = open_stop(&k->ending);
	if (k->stop < 0)
		return sm_fail(why, EX_TEMPFAIL, "cannot watch for signals", NULL,
		               -errno);
	return 0;
}

static void close_stop(struct sm_sink *k)
{
	cleanup_fd(&k->stop);
	k->stop = k->socket.stop_fd = -1;
}

/* ---- the socket ---- */

static bool keeps_out(int e)
{
	return e == -EROFS || e == -EACCES || e == -EPERM || e == -ENOENT ||
	       e == -ENOTDIR;
}

/* What mailchuted answers, and the status that is. */
static int answered(struct sm_sink *k, bool committed, struct buf *why)
{
	struct sm_answer a;
	struct str words;
	int e = sm_socket_answer(&k->socket, -1, &a), code;

	if (e < 0)
		return e;
	code = sm_answer_code(&a, &words);
	if (code < 0 || (code == 0 && !committed)) {
		buf_z(why, "mailchuted's answer is not understood: \"");
		buf_escape(why, (struct str){ a.last, a.n }, WORDS_MAX);
		buf_z(why, committed ? "\"; the message may have been taken" : "\"");
		return EX_TEMPFAIL;
	}
	if (code != 0) {
		buf_z(why, "mailchuted does not take the message: ");
		buf_escape(why, words, WORDS_MAX);
	}
	return code;
}

/* Nothing can be sent any more: before the last chunk, so nothing is stored. */
static int broken(struct sm_sink *k, int e, struct buf *why)
{
	if (e == -EPIPE || e == -ECONNRESET) {
		int code = answered(k, false, why);

		if (code > 0)
			return code;
		return sm_fail(why, EX_TEMPFAIL,
		               "mailchuted ended the connection, nothing is stored; "
		               "try again later",
		               NULL, 0);
	}
	if (e == -ECANCELED)
		return sm_fail(why, EX_TEMPFAIL, "ended by a signal, nothing is stored",
		               NULL, 0);
	return sm_fail(why, EX_TEMPFAIL, "cannot send to mailchuted, nothing is stored",
	               NULL, e);
}

static int open_second(struct sm_sink *k, const char *spool, int first, struct buf *why)
{
	static const char request[] = "mailchute-socket 1 submit\n";
	struct sockaddr_un a;
	int e = sm_sink_watch(k, why);

	if (e != 0)
		return e;
	k->second = true;
	k->socket.stop_fd = k->stop;
	e = sm_socket_open(&k->socket, spool);
	if (e == 0) {
		e = sm_socket_send(&k->socket, request, sizeof(request) - 1);
		return e < 0 ? broken(k, e, why) : 0;
	}
	if (e == -ECANCELED)
		return broken(k, e, why);
	sm_fail(why, 0, "cannot create a file in the spool ", spool, first);
	if (sm_socket_path(spool, &a) == 0)
		sm_fail(why, 0, "; nor connect to mailchuted at ", a.sun_path, e);
	if (e == -ENOENT || e == -ECONNREFUSED)
		buf_z(why, "; is it running?");
	return EX_TEMPFAIL;
}

/* Sends the first n of the octets held back. */
static int send_held(struct sm_sink *k, size_t n)
{
	int e = sm_socket_chunks(&k->socket, k->held, n);

	k->held_n -= n;
	memmove(k->held, k->held + n, k->held_n);
	return e;
}

/* Sends all but the last SM_HELD octets. */
static int write_second(struct sm_sink *k, const char *p, size_t n)
{
	size_t now = 0, old = k->held_n;
	int e;

	if (n > sizeof(k->held))
		now = n - sizeof(k->held);
	if (n < sizeof(k->held) && old > sizeof(k->held) - n)
		old -= sizeof(k->held) - n;
	else if (n < sizeof(k->held))
		old = 0;
	e = send_held(k, old);
	if (e == 0)
		e = sm_socket_chunks(&k->socket, p, now);
	memcpy(k->held + k->held_n, p + now, n - now);
	k->held_n += n - now;
	return e;
}

/* From the last chunk on mailchuted may have the message, and only its answer tells. When that
 * is lost, the status is EX_TEMPFAIL, so that the caller tries again: the message comes at
 * least once. Status 0 would lose it when it was not stored; and asking by another
 * connection could not tell a message that is on its way from one that never came. */
static int commit_second(struct sm_sink *k, struct buf *why)
{
	static const char last[] = "00000000\n";
	int e;

	/* Ended here by a signal, the caller would know as little: it waits. */
	k->socket.stop_fd = -1;
	e = send_held(k, k->held_n);
	if (e == 0)
		e = sm_socket_send(&k->socket, last, sizeof(last) - 1);
	if (e < 0)
		return broken(k, e, why);
	e = answered(k, true, why);
	if (e >= 0)
		return e;
	return sm_fail(why, EX_TEMPFAIL,
	               e == -ETIMEDOUT
	                   ? "mailchuted does not answer; the message may have been "
	                     "taken: sent again, it may arrive twice"
	                   : "the connection to mailchuted was lost before its answer; "
	                     "the message may have been taken: sent again, it may "
	                     "arrive twice",
	               NULL, 0);
}

/* ---- the drop ---- */

static int no_room(struct buf *why)
{
	return sm_fail(why, EX_TEMPFAIL, "the spool has no room for this message now",
	               NULL, -ENOSPC);
}

static int commit_first(struct sm_sink *k, struct buf *why)
{
	int e = drop_commit(&k->drop);

	if (e == -EFBIG) {
		buf_fmt(why,
		        "the message is too large: mailchuted takes up to %" PRIu64
		        " octets (max-message-size)",
		        k->drop.limit);
		return EX_UNAVAILABLE;
	}
	if (e == -ENOSPC)
		return no_room(why);
	return e == 0 ? 0
	              : sm_fail(why, EX_TEMPFAIL, "cannot commit the message", NULL, e);
}

/* ---- both ---- */

int sm_sink_open(struct sm_sink *k, const char *spool, struct buf *why)
{
	int e;

	block_signals(&k->ending);
	e = drop_begin(&k->drop, spool);
	if (e == 0)
		return 0;
	if (e == -EBUSY) {
		buf_z(why, "mail is not taken now: ");
		buf_escape(why, k->drop.refusal, WORDS_MAX);
		return EX_TEMPFAIL;
	}
	if (keeps_out(e))
		return open_second(k, spool, e, why);
	return sm_fail(why, EX_TEMPFAIL, "cannot create a file in the spool ", spool, e);
}

int sm_sink_write(struct sm_sink *k, const void *p, size_t n, struct buf *why)
{
	int e;

	if (k->second) {
		e = write_second(k, p, n);
		return e < 0 ? broken(k, e, why) : 0;
	}
	e = drop_write(&k->drop, p, n);
	if (e == -ENOSPC)
		return no_room(why);
	return e < 0 ? sm_fail(why, EX_TEMPFAIL, "cannot write the message", NULL, e) : 0;
}

int sm_sink_idle(struct sm_sink *k, struct buf *why)
{
	int e = k->held_n ? send_held(k, 1) : 0;

	return e < 0 ? broken(k, e, why) : 0;
}

int sm_sink_commit(struct sm_sink *k, struct buf *why)
{
	int e = k->second ? commit_second(k, why) : commit_first(k, why);

	if (k->stop >= 0)
		close_stop(k);
	return e;
}

void sm_sink_abort(struct sm_sink *k)
{
	drop_abort(&k->drop);
	sm_socket_close(&k->socket);
	close_stop(k);
}
