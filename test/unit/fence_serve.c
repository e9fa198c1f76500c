/* fence_serve: what a mailchute-serve that was taken over can still do */
#include "serve/fence_serve.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int no_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int no_signal(void)
{
	return kill(getppid(), 0);
}

static int no_program(void)
{
	char path[] = "/bin/true";

	return execve(path, (char *[]){ path, NULL }, (char *[]){ NULL });
}

static int may_read(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

/* As mailchuted's own user it would be an administrator at the socket, which it can find. */
static void reaches_nobody(void **state)
{
	static const struct {
		const char *name;
		int (*f)(void);
		bool may;
	} rows[] = {
		{ "a socket of its own", no_socket, false },
		{ "a signal to mailchuted", no_signal, false },
		{ "another program", no_program, false },
		{ "a file below the folder it got", may_read, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			int root = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			fence_serve(root);
			_exit(rows[i].f() >= 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != rows[i].may)
			fail_msg("%s: status %x", rows[i].name, (unsigned)status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reaches_nobody) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
