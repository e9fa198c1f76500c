#include "prog/shell.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const int to_default[] = { SIGPIPE, SIGXFSZ, SIGINT, SIGTERM, SIGHUP };

/* fd becomes number to. */
static bool put(int fd, int null, int to)
{
	return dup2(fd >= 0 ? fd : null, to) == to;
}

void shell_exec(const struct shell *s)
{
	char path[] = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
	char sh[] = "sh", c[] = "-c";
	char *argv[] = { sh, c, str_dup(str_z(s->command)), NULL };
	_cleanup_buf_ struct buf home = BUF_INIT, user = BUF_INIT, more = BUF_INIT;
	char *env[] = { path, NULL, NULL, NULL, NULL };
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	buf_fmt(&home, "HOME=%s", s->home);
	buf_fmt(&user, "USER=%s", s->user);
	buf_z(&more, s->more);
	env[1] = home.p;
	env[2] = user.p;
	env[3] = s->more ? more.p : NULL;
	for (size_t i = 0; i < ARRAY_LEN(to_default); i++)
		signal(to_default[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	setpgid(0, 0);
	umask(077);
	if (null < 0 || !put(s->in, null, 0) || !put(s->out, null, 1) ||
	    !put(s->err, null, 2) || chdir("/") < 0)
		_exit(126);
	/* Who started us may have left some open. */
	syscall(SYS_close_range, 3, ~0U, 0);
	execve("/bin/sh", argv, env);
	_exit(127);
}

void shell_end(pid_t pid, int *ret_status)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL); /* it may not have its group yet */
	while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
}

void shell_words(int status, struct buf *b)
{
	if (WIFSIGNALED(status))
		buf_fmt(b, "was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		buf_fmt(b, "ended with status %d", WEXITSTATUS(status));
}
