/* Sessions of mailchute-smtpd: dialogues into a real drop, policy, trouble, time, the fence. */
#include "sessionbed.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

static const char mail[] =
    "EHLO printer\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n";

static void test_message(void **state)
{
	struct sessionbed b;
	struct session_state *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *log;

	assert_true(shared != MAP_FAILED);
	sb_init(&b, *state);
	b.c.state = shared;
	sb_start(&b);
	sb_hear(&b, "220 ");
	assert_string_equal(b.out.p, "220 box.example ESMTP mailchute\r\n");
	/* A transaction of which nothing came is no reason to stay: anybody can begin one. */
	sb_say(&b, "begun", "MAIL FROM:<a@b.c>\r\n", "250 ");
	assert_int_equal(shared->busy, 0);
	sb_say(&b, "given up", "RSET\r\n", "250 ");
	sb_say(&b, "mail", mail, "354 ");
	assert_true(shared->busy > 0);
	assert_string_equal(sb_log(&b), "");
	sb_say(&b, "content", "Subject: x\r\n\r\n..hello\r\n.\r\n", "250 ");
	assert_int_equal(shared->busy, 0);
	assert_int_equal(shared->stored, 1);
	assert_true(shared->heard > 0);
	assert_int_equal(strncmp(b.out.p, "250 2.0.0 Accepted as ", 22), 0);
	log = sb_log(&b);
	assert_non_null(strstr(log, "test: accepted drop="));
	assert_memory_equal(strstr(log, "drop=") + 5, b.out.p + 22, 16);
	assert_non_null(
	    strstr(log, " client=127.0.0.1 helo=printer from=<a@b.c> rcpts=1 size=19\n"));
	assert_string_equal(sb_drop(), "mailchute-drop 1\nC"
	                               "ip=127.0.0.1 helo=printer port=25\n"
	                               "Fa@b.c\nRd@e.f\n\nSubject: x\n\n.hello\n");
	/* Another one, of the old kind, and everything there is of parameters. */
	sb_say(&b, "second",
	       "mail from: <> RET=HDRS ENVID=x+2B BODY=8BITMIME SMTPUTF8\n"
	       "rcpt to: root\nrcpt to:<@x,@y:z@w> NOTIFY=NEVER ORCPT=rfc822;q@r\nDATA\n",
	       "354 ");
	sb_say(&b, "content", ".\r\n", "250 ");
	assert_string_equal(sb_drop(), "mailchute-drop 1\nC"
	                               "ip=127.0.0.1 helo=printer port=25\n"
	                               "DRET=HDRS\tENVID=x+2B\nF\nRroot\n"
	                               "Rz@w\tNOTIFY=NEVER\tORCPT=rfc822;q@r\n\n");
	sb_say(&b, "quit", "QUIT\r\n", "221 ");
	sb_end(&b);
	munmap(shared, sizeof(*shared));
}

/* As sendmail -bs: the owner says who it was. */
static void test_bs(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	b.c.listen = NULL;
	b.c.conf = NULL;
	b.c.trusted = false;
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "mail", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
	sb_say(&b, "content", "x\r\n.\r\n", "250 ");
	assert_string_equal(sb_drop(), "mailchute-drop 1\nFa\nRb\n\nx\n");
	sb_end(&b);
}

/* A program whose input ends inside of a message (or has LF where CRLF must be) must not take it
 * for sent. */
static void test_bs_cut_off(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	b.c.listen = NULL;
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "mail", mail, "354 ");
	sb_write(&b, STR("x\n.\nQUIT\n"));
	shutdown(b.fd, SHUT_WR);
	sb_hear(&b, "421 ");
	assert_non_null(
	    strstr(b.out.p, "421 4.4.1 box.example The input ends inside of"));
	assert_int_equal(sb_wait(&b), EX_DATAERR);
	sb_end(&b);
	assert_int_equal(count("in/drop"), 0);
}

/* Over two pipes, as a program with sendmail -bs. */
static void test_pipes(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	const struct bed *bed = *state;
	struct session_conf c = { .spool = bed->root, .auth_fd = -1, .fence = true };
	int in[2], back[2], status;
	pid_t pid;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(back, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(in[1]);
		close(back[0]);
		_exit(session_run(&c, in[0], back[1]));
	}
	close(in[0]);
	close(back[1]);
	assert_int_equal(io_write(in[1], mail, sizeof(mail) - 1), 0);
	poll(NULL, 0, 200); /* nothing may follow DATA before its reply */
	assert_int_equal(io_write(in[1], "x\r\n.\r\n", 6), 0);
	close(in[1]);
	assert_int_equal(io_slurp(back[0], &out, 65536), 0);
	close(back[0]);
	assert_true(waitpid(pid, &status, 0) == pid && status == 0);
	assert_non_null(strstr(out.p, "\r\n250 2.0.0 Accepted as "));
	assert_string_equal(sb_drop(), "mailchute-drop 1\nFa@b.c\nRd@e.f\n\nx\n");
}

static const struct {
	const char *name, *say, *want;
} addresses[] = {
	{ "null sender", "MAIL FROM:<>\r\n", "250 " },
	{ "bare", "MAIL FROM:<root>\r\n", "250 " },
	{ "quoted", "MAIL FROM:<\"a b\"@c>\r\n", "250 " },
	{ "two @", "MAIL FROM:<a@b@c>\r\n", "501 5.1.7 " },
	{ "an empty domain", "MAIL FROM:<a@>\r\n", "501 5.1.7 " },
	{ "a blank", "MAIL FROM:<a b@c>\r\n", "501 5.1.7 " },
	{ "a backslash", "MAIL FROM:<a\\b@c>\r\n", "501 5.1.7 " },
	{ "TAB", "MAIL FROM:<a\tb@c>\r\n", "501 5.1.7 " },
	{ "ENVID", "MAIL FROM:<a> ENVID=+zz\r\n", "501 5.5.4 " },
	{ "null recipient", "MAIL FROM:<a>\r\nRCPT TO:<>\r\n", "501 5.1.3 " },
	{ "postmaster", "MAIL FROM:<a>\r\nRCPT TO:<Postmaster>\r\n", "250 " },
	{ "a literal", "MAIL FROM:<a>\r\nRCPT TO:<a@[192.0.2.1]>\r\n", "250 " },
	{ "UTF-8", "MAIL FROM:<a> SMTPUTF8\r\nRCPT TO:<j\xc3\xb6rg@\xc3\xb6.de>\r\n",
	  "250 " },
	{ "a route", "MAIL FROM:<a>\r\nRCPT TO:<@[IPv6:::1],@b:c@d>\r\n", "250 " },
	{ "a route to nowhere", "MAIL FROM:<a>\r\nRCPT TO:<@b:>\r\n", "501 5.1.3 " },
	{ "two routes", "MAIL FROM:<a>\r\nRCPT TO:<@b:@c:d@e>\r\n", "501 5.1.3 " },
	{ "only a domain", "MAIL FROM:<a>\r\nRCPT TO:<@b>\r\n", "501 5.1.3 " },
	{ "a comma", "MAIL FROM:<a>\r\nRCPT TO:<a@b,c@d>\r\n", "501 5.1.3 " },
	{ "NOTIFY", "MAIL FROM:<a>\r\nRCPT TO:<a> NOTIFY=NEVER,DELAY\r\n", "501 5.5.4 " },
};

static void test_addresses(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		struct sessionbed b;

		sb_init(&b, *state);
		sb_start(&b);
		sb_hear(&b, "220 ");
		sb_write(&b, str_z(addresses[i].say));
		sb_write(&b, STR("QUIT\r\n"));
		sb_hear(&b, "221 ");
		buf_cut(&b.out, b.out.n - strlen("221 2.0.0 Bye\r\n"));
		b.out.p[b.out.n] = '\0';
		if (!sb_ends(&b.out, addresses[i].want))
			fail_msg("%s: wanted %s, got %s", addresses[i].name,
			         addresses[i].want, b.out.p);
		sb_end(&b);
	}
}

/* ---- policy ---- */

static void test_not_trusted(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	b.c.trusted = false;
	b.c.client_ip = STR("192.0.2.7");
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "rcpt", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", "550 5.7.1 ");
	sb_say(&b, "data", "DATA\r\n", "554 5.5.1 ");
	sb_say(&b, "auth", "AUTH PLAIN AGEAYg==\r\n", "502 ");
	sb_say(&b, "tls", "RSET\r\nSTARTTLS\r\n", "502 ");
	assert_non_null(strstr(sb_log(&b), "refused verb=RCPT code=550 client=192.0.2.7 "
	                                   "text=\"5.7.1 This client"));
	assert_string_equal(sb_drop(), "(none)");
	sb_end(&b);
}

static const struct {
	const char *name, *sender, *senders, *recipients;
	const char *from, *to;
	int want_from, want_to; /* codes */
	const char *stored;
} policies[] = {
	{ "nothing", "", NULL, NULL, "a@b", "c@d", 250, 250, "\nFa@b\nRc@d\n" },
	{ "fixed sender", "p@q", NULL, NULL, "a@b", "c@d", 250, 250, "\nFp@q\nRc@d\n" },
	{ "instead of rubbish", "p@q", NULL, NULL, "a b@c", "c@d", 250, 250,
	  "\nFp@q\nRc@d\n" },
	{ "instead of null", "p@q", NULL, NULL, "", "c@d", 250, 250, "\nFp@q\nRc@d\n" },
	{ "senders", "", "*@b", NULL, "A@B", "c@d", 250, 250, "\nFA@B\nRc@d\n" },
	{ "not in senders", "", "*@b", NULL, "a@x", "c@d", 550, 503, NULL },
	{ "a bare one is completed", "", "*@example.org", NULL, "root", "c@d", 250, 250,
	  "\nFroot\nRc@d\n" },
	{ "the null sender is always one", "", "*@b", NULL, "", "c@d", 250, 250,
	  "\nF\nRc@d\n" },
	{ "senders and rubbish", "p@q", "*@b", NULL, "a b@c", "c@d", 550, 503, NULL },
	{ "recipients", "", NULL, "d", "a@b", "c@d", 250, 250, "\nFa@b\nRc@d\n" },
	{ "not in recipients", "", NULL, "d", "a@b", "c@e", 250, 550, NULL },
	{ "a subdomain", "", NULL, "d", "a@b", "c@x.d", 250, 550, NULL },
	{ "quoted", "", NULL, "d", "a@b", "\"x@d\"@e", 250, 550, NULL },
	{ "postmaster", "", NULL, "d", "a@b", "postmaster", 250, 250,
	  "\nFa@b\nRpostmaster\n" },
};

static void test_policy(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		_cleanup_buf_ struct buf from = BUF_INIT, to = BUF_INIT;
		const char *name = policies[i].name;
		char *pattern[2], code[8];
		struct sessionbed b;

		sb_init(&b, *state);
		b.listen.sender = str_dup(str_z(policies[i].sender));
		pattern[0] = str_dup(str_z(policies[i].senders));
		pattern[1] = str_dup(str_z(policies[i].recipients));
		if (policies[i].senders)
			b.listen.senders = (struct strv){ &pattern[0], 1 };
		if (policies[i].recipients)
			b.listen.recipients = (struct strv){ &pattern[1], 1 };
		buf_fmt(&from, "MAIL FROM:<%s>\r\n", policies[i].from);
		buf_fmt(&to, "RCPT TO:<%s>\r\n", policies[i].to);
		sb_start(&b);
		sb_hear(&b, "220 ");
		snprintf(code, sizeof(code), "%d ", policies[i].want_from);
		sb_say(&b, name, from.p, code);
		snprintf(code, sizeof(code), "%d ", policies[i].want_to);
		sb_say(&b, name, to.p, code);
		if (policies[i].stored) {
			sb_say(&b, name, "DATA\r\n", "354 ");
			sb_say(&b, name, "x\r\n.\r\n", "250 ");
			if (!strstr(sb_drop(), policies[i].stored))
				fail_msg("%s: not %s", name, policies[i].stored);
		}
		sb_end(&b);
		assert_string_equal(sb_drop(), "(none)");
		free(b.listen.sender);
		free(pattern[0]);
		free(pattern[1]);
	}
}

static void test_size(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	b.listen.max_message_size = 1000;
	b.conf.max_message_size = 5000;
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "ehlo", "EHLO x\r\n", "250 SIZE 1000\r\n");
	sb_say(&b, "announced", "MAIL FROM:<a> SIZE=1001\r\n", "552 5.3.4 ");
	sb_say(&b, "fits", "MAIL FROM:<a> SIZE=1000\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
	for (int i = 0; i < 120; i++)
		sb_write(&b, STR("12345678\r\n"));
	sb_say(&b, "end", ".\r\n", "552 5.3.4 ");
	assert_string_equal(sb_drop(), "(none)");
	sb_end(&b);
}

/* ---- trouble ---- */

static void test_cut_off(void **state)
{
	static const char content[] = "Subject: x\r\n\r\nhello\r\n.\r";

	for (size_t n = 0; n < sizeof(content); n += 3) {
		struct sessionbed b;

		sb_init(&b, *state);
		sb_start(&b);
		sb_hear(&b, "220 ");
		sb_say(&b, "mail", mail, "354 ");
		sb_write(&b, str_head(str_z(content), n));
		sb_end(&b);
		if (count("in/drop") != 0)
			fail_msg("%zu octets: something is left", n);
	}
}

static void shut_door(const char *words)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_fmt(&b, "mailchute-door 1\nuser %u %lld %s\n", (unsigned)geteuid(),
	        (long long)clock_real() + 600, words);
	put("in/door", buf_view(&b), 0644);
}

static void test_door(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	sb_start(&b);
	sb_hear(&b, "220 ");
	shut_door("the queue is full");
	sb_say(&b, "at MAIL", "MAIL FROM:<a>\r\n", "452 4.3.1 the queue is full\r\n");
	unlink("in/door");
	sb_say(&b, "open again", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\n", "250 ");
	shut_door("it is full again");
	sb_say(&b, "at DATA", "DATA\r\n", "452 4.3.1 it is full again\r\n");
	unlink("in/door");
	sb_say(&b, "the same envelope", "DATA\r\n", "354 ");
	sb_say(&b, "content", "x\r\n.\r\n", "250 ");
	assert_non_null(strstr(sb_drop(), "\nFa\nRb\n\nx\n"));
	/* Smaller than what comes; and the session knows no size of its own. */
	put("in/door", STR("mailchute-door 1\nsize 200\n"), 0644);
	sb_say(&b, "small", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
	for (int i = 0; i < 30; i++)
		sb_write(&b, STR("12345678\r\n"));
	sb_say(&b, "too big", ".\r\n", "552 5.3.4 ");
	assert_int_equal(count("in/drop"), 0);
	sb_end(&b);
}

/* A file that may not grow, as on a disk that is full: nothing of it stays. */
static void test_no_room(void **state)
{
	struct sessionbed b;
	struct rlimit small = { 100, RLIM_INFINITY }, all;

	sb_init(&b, *state);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	sb_start(&b);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	sb_hear(&b, "220 ");
	sb_say(&b, "mail", mail, "354 ");
	for (int i = 0; i < 30; i++)
		sb_write(&b, STR("12345678\r\n"));
	sb_say(&b, "end", ".\r\n", "552 5.3.4 ");
	assert_int_equal(count("in/drop"), 0);
	/* The next one that fits is taken. */
	sb_say(&b, "mail", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
	sb_say(&b, "content", "x\r\n.\r\n", "250 ");
	sb_end(&b);
	assert_non_null(strstr(sb_drop(), "\nFa\nRb\n\nx\n"));
}

/* A real disk that fills up, while it is written and at the commit. Only root can. */
static void test_disk_full(void **state)
{
	struct sessionbed b;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "in/drop", "tmpfs", 0, "size=1m,mode=0755") < 0)
		skip();
	sb_init(&b, *state);
	sb_start(&b);
	sb_hear(&b, "220 ");
	for (int kib = 600; kib <= 1200; kib += 600) {
		sb_say(&b, "mail", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
		for (int i = 0; i < kib; i++) {
			char line[1025];

			memset(line, 'x', 1022);
			memcpy(line + 1022, "\r\n", 3);
			sb_write(&b, str_z(line));
		}
		/* Half of it is kept for mailchuted's copy. */
		sb_say(&b, "end", ".\r\n", "452 4.3.1 ");
		assert_int_equal(count("in/drop"), 0);
		assert_non_null(strstr(sb_log(&b), "smtpd what=room client=127.0.0.1 "));
	}
	sb_say(&b, "small", "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", "354 ");
	sb_say(&b, "content", "x\r\n.\r\n", "250 ");
	sb_end(&b);
	assert_int_equal(umount("in/drop"), 0);
}

static void test_spool_gone(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	sb_start(&b);
	sb_hear(&b, "220 ");
	assert_int_equal(rmdir("in/drop"), 0);
	/* No second door either: nobody listens at SPOOL/socket. */
	sb_say(&b, "data", mail, "451 4.3.0 Trouble here, try again later\r\n");
	assert_non_null(strstr(sb_log(&b), "smtpd what=spool client=127.0.0.1 "));
	assert_int_equal(mkdir("in/drop", 0700), 0);
	sb_end(&b);
}

/* ---- time ---- */

static void test_idle(void **state)
{
	static const struct {
		const char *name, *say;
		int64_t idle, timeout;
		const char *want;
	} rows[] = {
		{ "idle", "", 1, 60, "421 4.4.2 box.example Idle for too long\r\n" },
		{ "idle in DATA", mail, 1, 60,
		  "421 4.4.2 box.example Idle for too long\r\n" },
		{ "too long", "NOOP\r\n", 60, 1,
		  "421 4.4.2 box.example This session takes too long\r\n" },
	};

	struct sessionbed b[ARRAY_LEN(rows)];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		sb_init(&b[i], *state);
		b[i].listen.idle = rows[i].idle;
		b[i].listen.timeout = rows[i].timeout;
		sb_start(&b[i]);
		sb_write(&b[i], str_z(rows[i].say));
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		sb_hear(&b[i], "421 ");
		if (!sb_ends(&b[i].out, rows[i].want))
			fail_msg("%s: %s", rows[i].name, b[i].out.p);
		assert_string_equal(sb_hear(&b[i], ""), "");
		sb_end(&b[i]);
	}
	assert_int_equal(count("in/drop"), 0);
}

static void test_stopped(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	sb_start(&b);
	sb_hear(&b, "220 ");
	kill(b.pid, SIGTERM);
	sb_hear(&b, "421 ");
	assert_string_equal(b.out.p,
	                    "421 4.3.2 box.example The service is being stopped\r\n");
	sb_end(&b);
	/* A message that is under way may end. */
	sb_init(&b, *state);
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "mail", mail, "354 ");
	kill(b.pid, SIGTERM);
	poll(NULL, 0, 100);
	sb_write(&b, STR("x\r\n.\r\n"));
	sb_hear(&b, "421 ");
	assert_int_equal(strncmp(b.out.p, "250 2.0.0 Accepted", 18), 0);
	assert_non_null(strstr(b.out.p, "\r\n421 4.3.2 "));
	sb_end(&b);
	assert_non_null(strstr(sb_drop(), "\n\nx\n"));
}

/* A client that is never silent gets no more time than others. */
static void test_never_silent(void **state)
{
	_cleanup_buf_ struct buf many = BUF_INIT;
	struct sessionbed b;
	size_t lines = 0;
	const char *at;

	for (int i = 0; i < 2100; i++) /* of which one read takes 683 */
		buf_z(&many, "NOOP\r\n");
	sb_init(&b, *state);
	b.listen.timeout = 1;
	sb_start(&b);
	sb_hear(&b, "220 ");
	kill(b.pid, SIGSTOP);
	sb_write(&b, buf_view(&many));
	poll(NULL, 0, 1200);
	kill(b.pid, SIGCONT);
	sb_hear(&b, "421 ");
	for (at = b.out.p; (at = strstr(at, "250 2.0.0 ")); at++)
		lines++;
	if (lines > 700)
		fail_msg("%zu commands behind the end of its time", lines);
	assert_non_null(strstr(b.out.p, "421 4.4.2 box.example This session takes"));
	sb_end(&b);
}

/* Many refusals are not as many lines of the log. */
static void test_log_is_bounded(void **state)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct sessionbed b;
	const char *at;
	size_t lines = 0;

	sb_init(&b, *state);
	b.c.trusted = false;
	b.listen.errors = 1000;
	sb_start(&b);
	sb_hear(&b, "220 ");
	buf_z(&all, "EHLO a\"b\\c d\r\nMAIL FROM:<a@b>\r\n");
	for (int i = 0; i < 100; i++)
		buf_z(&all, "RCPT TO:<c@d>\r\n");
	buf_z(&all, "QUIT\r\n");
	sb_say(&b, "all", all.p, "221 ");
	for (at = sb_log(&b); (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, 32);
	sb_end(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_message),        T(test_bs),
		T(test_bs_cut_off),     T(test_pipes),
		T(test_addresses),      T(test_not_trusted),
		T(test_policy),         T(test_size),
		T(test_cut_off),        T(test_door),
		T(test_no_room),        T(test_disk_full),
		T(test_spool_gone),     T(test_idle),
		T(test_never_silent),   T(test_stopped),
		T(test_log_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
