/* mailchute-route, the program: jobs in, records out. Skipped where it is not built. */
#include "conf/conf.h"
#include "prog/job.h"
#include "base/io.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ID "0123456789abcdef"
#define HEAD ID " 00000007 "
#define FILE_(envelope)                                                      \
	"mailchute 1\nU1000 eddy Eddy\nT900000\nmailchute-drop 1\n" envelope \
	"\nFrom: e@x.example\nSubject: s\n\nbody\n"
#define NOTE(sender, rest) "mailchute-note 1\nS" sender "\n" rest

static int memory(struct str text)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text.p, text.n), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* isp is the default; corp for *.corp.example; list for mail from *@lists.example. */
static int packed_conf(void)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	static const char *const name[] = { "isp", "corp", "list" };
	struct conf c = { .smarthost = calloc(3, sizeof(struct smarthost)),
		          .smarthosts = 3 };
	struct conf empty;
	int fd;

	assert_non_null(c.smarthost);
	for (size_t i = 0; i < 3; i++) {
		struct smarthost *h = &c.smarthost[i];
		char **text[] = { &h->tls_ca_file,     &h->tls_name,
			          &h->tls_certificate, &h->tls_key,
			          &h->tls_priority,    &h->user,
			          &h->password_file,   &h->auth };

		for (size_t k = 0; k < ARRAY_LEN(text); k++)
			*text[k] = str_dup(STR(""));
		h->name = str_dup(str_z(name[i]));
		strv_add(&h->host, STR("127.0.0.1"));
	}
	strv_add(&c.smarthost[1].for_, STR("*.corp.example"));
	strv_add(&c.smarthost[2].from, STR("*@lists.example"));
	c.hostname = str_dup(STR("box.example.org"));
	c.domain = str_dup(STR("x.example"));
	c.admin = str_dup(STR(""));
	c.bounce_to = str_dup(STR("sender"));
	c.bounce_from = str_dup(STR(""));
	c.bounce_template = str_dup(STR(""));
	c.log_to = str_dup(STR("stderr"));
	conf_pack(&c, &b);
	assert_int_equal(conf_unpack(buf_view(&b), &empty), 0);
	fd = memory(buf_view(&b));
	conf_free(&empty);
	conf_free(&c);
	return fd;
}

static pid_t start(const char *path, int sock, int conf)
{
	/* Behind its fence the leak checker cannot look at its own threads. */
	char leaks[] = "ASAN_OPTIONS=detect_leaks=0";
	pid_t pid = fork();

	if (pid == 0) {
		char *argv[] = { strdup(path), strdup("new"), NULL },
		     *envp[] = { leaks, NULL };
		int fds[4] = { sock, conf, memory(STR("")), memory(STR("")) };

		for (int i = 0; i < 4; i++)
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
		for (int i = 0; i < 4; i++)
			dup2(fds[i], JOB_FD_SOCKET + i);
		execve(path, argv, envp);
		_exit(127);
	}
	return pid;
}

/* All it says until it leaves; notes of parts indented behind their record. */
static void hear(int sock, struct buf *out)
{
	_cleanup_buf_ struct buf packet = BUF_INIT;
	int fds[JOB_FDS_MAX];

	while (job_recv(sock, &packet, fds) > 0) {
		_cleanup_buf_ struct buf note = BUF_INIT;
		struct str rest, line;

		buf_str(out, buf_view(&packet));
		if (fds[0] >= 0) {
			assert_int_equal(io_slurp(fds[0], &note, 1 << 20), 0);
			rest = buf_view(&note);
			while (rest.n && str_cut(&rest, '\n', &line)) {
				buf_c(out, '\t');
				buf_str(out, line);
				buf_c(out, '\n');
			}
		}
		for (size_t i = 0; i < JOB_FDS_MAX; i++)
			cleanup_fd(&fds[i]);
	}
}

struct row {
	const char *name, *file, *note, *want;
};

static void run(const char *path, const struct row *t)
{
	_cleanup_buf_ struct buf got = BUF_INIT;
	int pair[2], conf = packed_conf(), status,
	             fds[2] = { memory(str_z(t->file)), -1 };
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	if (t->note)
		fds[1] = memory(str_z(t->note));
	pid = start(path, pair[1], conf);
	assert_true(pid > 0);
	close(pair[1]);
	assert_int_equal(job_send(pair[0], STR("known 0 0 0\n"), NULL, 0), 0);
	assert_int_equal(
	    job_send(pair[0],
	             t->note ? STR("job " HEAD "note\n") : STR("job " ID " 00000007\n"),
	             fds, t->note ? 2 : 1),
	    0);
	hear(pair[0], &got);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s: status %x", t->name, (unsigned)status);
	if (!str_eq(buf_view(&got), str_z(t->want)))
		fail_msg("%s: want\n%sgot\n%s", t->name, t->want, got.p ? got.p : "");
	close(pair[0]);
	close(conf);
	close(fds[0]);
	cleanup_fd(&fds[1]);
}

#define END(where) "end " HEAD "route " where "\n"

static void test_rows(void **state)
{
	static const struct row rows[] = {
		{ "default", FILE_("Fa@b.example\nRa@far.example\n"), NULL, END("isp") },
		{ "by recipient", FILE_("Fa@b.example\nRa@x.CORP.example\n"), NULL,
		  END("corp") },
		{ "by sender", FILE_("Fa@lists.example\nRa@far.example\n"), NULL,
		  END("list") },
		{ "first match", FILE_("Fa@lists.example\nRa@x.corp.example\n"), NULL,
		  END("corp") },
		{ "null sender", FILE_("F\nRa@far.example\n"), NULL, END("isp") },
		{ "split",
		  FILE_("Fa@b.example\nRa@x.corp.example\nRb@far.example\tNOTIFY=NEVER\n"
		        "Rc@y.corp.example\nRd@far.example\n"),
		  NULL,
		  "part " HEAD "900001\n"
		  "\tmailchute-note 1\n\tSa@b.example\n\tO" ID
		  "\n\tPisp b@far.example\tNOTIFY=NEVER\n\tPisp d@far.example\n\t.\n"
		  "p " HEAD "mailchute-note 1\np " HEAD "Sa@b.example\np " HEAD "O" ID
		  "\np " HEAD "Pcorp a@x.corp.example\np " HEAD
		  "Pcorp c@y.corp.example\np " HEAD ".\n"
		  "n " HEAD "b 900001\n" END("corp") },
		{ "a note keeps its route", FILE_("Fa@b.example\nRa@x.corp.example\n"),
		  NOTE("a@b.example", "Plist a@x.corp.example\n.\n"), END("list") },
		{ "a route that is gone", FILE_("Fa@b.example\nRa@x.corp.example\n"),
		  NOTE("a@b.example", "Pold a@far.example\nPold a@x.corp.example\n.\n"
		                      "r 1 D 5 250 ok\n"),
		  END("corp") },
		{ "anew", FILE_("Fa@b.example\nRa@x.corp.example\n"),
		  NOTE("a@b.example", "Plist a@x.corp.example\n.\nc 5\n"), END("corp") },
		{ "anew, split",
		  FILE_("Fa@b.example\nRb@far.example\nRa@x.corp.example\n"
		        "Rc@far.example\n"),
		  NOTE("a@b.example", "Pisp a@x.corp.example\nPisp c@far.example\n.\nr 2 "
		                      "D 5 250 ok\ne 5\nc 5\n"),
		  "part " HEAD "900001\n"
		  "\tmailchute-note 1\n\tSa@b.example\n\tO" ID
		  "\n\tPcorp a@x.corp.example\n\t.\n\te 5\n"
		  "p " HEAD "mailchute-note 1\np " HEAD "Sa@b.example\np " HEAD "O" ID
		  "\np " HEAD "Pisp b@far.example\np " HEAD "Pisp c@far.example\np " HEAD
		  ".\n"
		  "n " HEAD "r 2 D 5 250 ok\nn " HEAD "e 5\n"
		  "n " HEAD "b 900001\n" END("isp") },
		{ "a part is not split",
		  FILE_("Fa@b.example\nRb@far.example\nRa@x.corp.example\n"),
		  NOTE("a@b.example",
		       "O" ID "\nPlist a@x.corp.example\nPlist b@far.example\n"
		       ".\nc 5\n"),
		  END("corp") },
		{ "damaged", "what\n", NULL,
		  "end " HEAD "bad not a queue file of version 1\n" },
	};
	const char *b = getenv("B");
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s/mailchute-route", b ? b : "build");
	if (access(path, X_OK) < 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(path, &rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
