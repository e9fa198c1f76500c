/* Logins against a users-file, and the helper that may read it. */
#include "sessionbed.h"
#include "listen/users.h"
#include <crypt.h>

#define SHA "$5$saltsalt$"

static void test_match(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	static const struct {
		const char *name, *user, *password;
		bool want;
	} rows[] = {
		{ "right", "ann", "secret", true },
		{ "right with more fields", "bob", "other", true },
		{ "wrong", "ann", "Secret", false },
		{ "another one's", "ann", "other", false },
		{ "longer", "ann", "secret1", false },
		{ "nothing", "ann", "", false },
		{ "nobody", "joe", "secret", false },
		{ "no name", "", "secret", false },
		{ "a comment's", "#ann", "secret", false },
		{ "locked", "locked", "*", false },
		{ "locked, the hash", "locked", "!", false },
		{ "no hash", "empty", "", false },
		{ "a hash that is a password", "plain", "plain", false },
		{ "the first line counts", "ann", "second", false },
		{ "a name with the hash", "ann:" SHA, "secret", false },
		{ "blanks around", "carl", "third", true },
	};

	(void)state;
	buf_fmt(&file, "# people\n\n#ann:%s\n", crypt("secret", SHA));
	buf_fmt(&file, "ann:%s\n", crypt("secret", SHA));
	buf_fmt(&file, "bob:%s:more:of it\nlocked:*\nempty:\nnothing\nplain:plain\n",
	        crypt("other", SHA));
	buf_fmt(&file, "  carl:%s \r\nann:", crypt("third", SHA));
	buf_fmt(&file, "%s", crypt("second", SHA));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (users_match(buf_view(&file), str_z(rows[i].user),
		                str_z(rows[i].password)) != rows[i].want)
			fail_msg("%s", rows[i].name);
	assert_false(users_match(STR(""), STR("ann"), STR("secret")));
	assert_false(users_match(STR("ann:\n"), STR("ann"), STR("")));
}

static void test_open(void **state)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	int fd;

	(void)state;
	put("users", STR("a:b\n"), 0640);
	fd = users_open("users", &why);
	assert_true(fd >= 0);
	close(fd);
	put("users", STR("a:b\n"), 0644);
	assert_int_equal(users_open("users", &why), -EPERM);
	assert_non_null(strstr(why.p, "can be read by everyone; chmod 640 users"));
	assert_int_equal(users_open("none", &why), -ENOENT);
	assert_int_equal(users_open("in", &why), -EINVAL);
}

/* A helper in a child. */
static pid_t start_for(int *ret_fd, int file, unsigned attempts, int delay_ms,
                       const struct users_client *client)
{
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pair[0]);
		users_serve(pair[1], file, attempts, delay_ms, client);
		_exit(0);
	}
	close(pair[1]);
	*ret_fd = pair[0];
	return pid;
}

static pid_t start_slow(int *ret_fd, int file, unsigned attempts, int delay_ms)
{
	const struct users_client nobody = { .who = { 0 } };

	return start_for(ret_fd, file, attempts, delay_ms, &nobody);
}

static pid_t start(int *ret_fd, int file, unsigned attempts)
{
	return start_slow(ret_fd, file, attempts, 0);
}

/* How long a refusal takes does not tell whether there is such a user, or what hash he has. */
static void test_time(void **state)
{
	enum { DELAY = 800 };
	_cleanup_buf_ struct buf file = BUF_INIT, why = BUF_INIT;
	int64_t begun = clock_ms(), hashing, took;
	int fd, from;
	pid_t pid;

	(void)state;
	buf_fmt(&file, "locked:*\nann:%s\n", crypt("x", "$6$rounds=50000$saltsalt$"));
	hashing = clock_ms() - begun;
	put("users", buf_view(&file), 0600);
	from = users_open("users", &why);
	pid = start_slow(&fd, from, 3, DELAY);
	begun = clock_ms();
	assert_int_equal(users_ask(fd, STR("ann"), STR("y")), 535);
	took = clock_ms() - begun;
	close(fd);
	close(from);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	if (hashing < DELAY / 2 && took > DELAY + hashing / 2)
		fail_msg("%d ms, with a hash of %d", (int)took, (int)hashing);
	assert_true(took >= DELAY);
}

static void test_helper(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT, why = BUF_INIT;
	int fd, from, status;
	char answer;
	pid_t pid;

	(void)state;
	buf_fmt(&file, "ann:%s\n", crypt("secret", SHA));
	put("users", buf_view(&file), 0600);
	from = users_open("users", &why);
	pid = start(&fd, from, 3);
	assert_int_equal(users_ask(fd, STR("ann"), STR("secret")), 0);
	assert_int_equal(users_ask(fd, STR("ann"), STR("x")), 535);
	assert_int_equal(users_ask(fd, STR("ann"), STR("secret")), 0);
	/* No NUL in it: what nobody of us asks. */
	assert_int_equal(send(fd, "ann", 3, 0), 3);
	assert_int_equal(recv(fd, &answer, 1, 0), 1);
	assert_int_equal(answer, '1');
	assert_int_equal(users_ask(fd, STR("joe"), STR("secret")), 535);
	/* It has been asked enough, whoever asks. */
	assert_int_equal(users_ask(fd, STR("ann"), STR("secret")), 454);
	assert_true(waitpid(pid, &status, 0) == pid && status == 0);
	close(fd);
	/* Nothing to read: nothing is known. It ends with its other end. */
	pid = start(&fd, -1, 3);
	assert_int_equal(users_ask(fd, STR("ann"), STR("secret")), 454);
	close(fd);
	assert_true(waitpid(pid, &status, 0) == pid && status == 0);
	close(from);
}

static int asks(int from, const struct users_client *c, struct str user,
                struct str password)
{
	int fd, r;

	start_for(&fd, from, 3, 0, c);
	r = users_ask(fd, user, password);
	close(fd);
	return r;
}

/* Over all helpers of a client, not one more than the limits is looked at; others are asked. */
static void test_guesses(void **state)
{
	const struct users_guesses g = users_guesses_new();
	const struct users_client eve = { g, { AF_INET, 7 } },
	                          ann = { g, { AF_INET, 8 } },
	                          cob = { g, { AF_INET, 9 } };
	_cleanup_buf_ struct buf file = BUF_INIT, why = BUF_INIT;
	int fd, from, wrong = 0, r;

	(void)state;
	buf_fmt(&file, "ann:%s\nbob:%s\n", crypt("secret", SHA), crypt("secret", SHA));
	put("users", buf_view(&file), 0600);
	from = users_open("users", &why);
	for (int i = 0; i < USERS_GUESSES; i++) {
		start_for(&fd, from, 3, 0, &eve);
		for (int k = 0; k < 3; k++) {
			r = users_ask(fd, STR("ann"), STR("x"));
			wrong += r == 535;
			assert_true(r == 535 || r == 450);
		}
		close(fd);
	}
	assert_int_equal(wrong, USERS_GUESSES);
	assert_int_equal(asks(from, &eve, STR("ann"), STR("secret")), 450);
	/* What is not looked at does not count against other names. */
	assert_int_equal(asks(from, &eve, STR("bob"), STR("secret")), 0);
	assert_int_equal(asks(from, &ann, STR("ann"), STR("secret")), 0);
	for (int i = USERS_GUESSES; i < USERS_GUESSES_ALL; i++) {
		char name[] = { (char)('0' + i / 10), (char)('0' + i % 10) };

		assert_int_equal(asks(from, &eve, (struct str){ name, 2 }, STR("x")),
		                 535);
	}
	assert_int_equal(asks(from, &eve, STR("bob"), STR("secret")), 450);
	assert_int_equal(asks(from, &ann, STR("bob"), STR("secret")), 0);
	/* No other bits of a name make up for those of the address. */
	for (int i = 0; i < USERS_GUESSES; i++)
		assert_int_equal(asks(from, &cob, STR("`nn"), STR("x")), 535);
	assert_int_equal(asks(from, &ann, STR("ann"), STR("secret")), 0);
	while (wait(NULL) > 0)
		;
	close(from);
	users_guesses_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test_setup_teardown(test_open, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_helper, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_guesses, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_time, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
