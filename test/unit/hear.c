/* What push takes in of mailchuted's packets */
#include "push/push.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* A job whose note got lost on the way, since no more descriptors could be opened, is not
 * taken: its recipients that have the message would get it again. */
static void lost_note(void **state)
{
	static const struct {
		const char *name, *line;
		size_t fds, taken;
	} rows[] = {
		{ "message", "job 0123456789abcdef 00000000\n", 1, 1 },
		{ "with its note", "job 0123456789abcdef 00000000 note\n", 2, 1 },
		{ "note lost", "job 0123456789abcdef 00000000 note\n", 1, 0 },
		{ "both lost", "job 0123456789abcdef 00000000 note\n", 0, 0 },
	};
	static struct push p;
	int pair[2], null = open("/dev/null", O_RDONLY);
	const int fds[] = { null, null };

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pair[0] = fcntl(pair[0], F_DUPFD, 20);
	pair[1] = fcntl(pair[1], F_DUPFD, 20);
	assert_int_equal(dup2(pair[1], JOB_FD_SOCKET), JOB_FD_SOCKET);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t was = p.hand.n;

		assert_int_equal(job_send(pair[0], str_z(rows[i].line), fds, rows[i].fds),
		                 0);
		push_hear(&p, 0);
		if (p.hand.n - was != rows[i].taken)
			fail_msg("%s", rows[i].name);
	}
	job_batch_free(p.batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(lost_note) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
