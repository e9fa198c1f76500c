#include "spoolbed.h"
#include "base/clock.h"
#include "daemon/alert.h"
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* What the command of a test leaves behind, in the bed's folder. */
static char to_file[200], command[800];

/* A command line in which @ stands for the file; the command's folder is another one. */
static char *says(const struct bed *b, const char *line)
{
	struct buf c = buf_on(command, sizeof(command));

	snprintf(to_file, sizeof(to_file), "%s/told", b->root);
	for (; *line; line++) {
		if (*line == '@')
			buf_z(&c, to_file);
		else
			buf_c(&c, *line);
	}
	assert_true(c.n < sizeof(command));
	return command;
}

#define TELLS "(echo $MAILCHUTE_ALERT; cat) >@"

static char host[] = "box.example.org";

static struct conf conf_of(const struct bed *b, int64_t oldest, const char *line)
{
	return (struct conf){ .hostname = host,
		              .alert_oldest = oldest,
		              .alert_command = says(b, line) };
}

/* A message that has waited for so many seconds. */
static struct id wait_for(int64_t age, unsigned n)
{
	int64_t since = clock_real() - age;
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = since } };
	struct id id = id_make(since * 1000, n);
	const char *path = in("queue/new", &id, "");

	put(path, STR("mailchute 1\nU5 -\n"), 0600);
	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
	return id;
}

/* Until its child has ended. */
static void look(struct alert *a, int64_t messages)
{
	int64_t end = clock_ms() + 10000;

	alert_work(a, messages);
	while (a->child.fd >= 0) {
		struct pollfd p = { .fd = a->child.fd, .events = POLLIN };

		assert_true(clock_ms() < end);
		if (poll(&p, 1, 100) > 0)
			alert_hear(a);
	}
}

/* Until the command has written its process id. */
static pid_t started(struct alert *a)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	uint64_t pid = 0;

	alert_work(a, 1);
	assert_true(a->child.fd >= 0);
	for (int i = 0; i < 300 && text.n == 0; i++) {
		usleep(10000);
		buf_reset(&text);
		if (there(to_file))
			assert_int_equal(io_slurp_at(AT_FDCWD, to_file, &text, 100), 0);
	}
	assert_true(str_u64(str_trim(buf_view(&text)), &pid) && pid > 1);
	assert_int_equal(kill((pid_t)pid, 0), 0);
	return (pid_t)pid;
}

static void assert_ends(pid_t pid)
{
	/* Orphans become ours: see main(). */
	for (int i = 0; i < 200 && kill(pid, 0) == 0; i++) {
		waitpid(pid, NULL, WNOHANG);
		usleep(10000);
	}
	if (kill(pid, 0) == 0) {
		kill(pid, SIGKILL);
		fail_msg("what the command started is still there");
	}
}

/* ---- One look ---- */

enum { NONE = -1, NEVER = -1 };
static const struct row {
	const char *name;
	int64_t oldest, age; /* seconds; NONE: nothing waits */
	int64_t count;       /* what mailchuted believes */
	enum alert_told told;
	int64_t again; /* seconds until it is to be told again */
	const char *command;
	const char *ran; /* the file's first line; "": it did not run */
	enum alert_told then;
	int64_t next; /* seconds */
} rows[] = {
	{ "nothing", 3600, NONE, 0, ALERT_NOBODY, 0, TELLS, "", ALERT_NOBODY, NEVER },
	{ "a wrong count", 3600, NONE, 1, ALERT_NOBODY, 0, TELLS, "", ALERT_NOBODY,
	  3600 },
	{ "a count too low", 3600, 600, 0, ALERT_NOBODY, 0, TELLS, "", ALERT_NOBODY,
	  3000 },
	{ "young", 3600, 600, 1, ALERT_NOBODY, 0, TELLS, "", ALERT_NOBODY, 3000 },
	{ "old", 3600, 3900, 1, ALERT_NOBODY, 0, TELLS, "waiting\n", ALERT_TOLD, 300 },
	{ "old at once", 60, 61, 1, ALERT_NOBODY, 0, TELLS, "waiting\n", ALERT_TOLD, 60 },
	{ "told", 3600, 3900, 1, ALERT_TOLD, 60, TELLS, "", ALERT_TOLD, 300 },
	{ "told a day ago", 3600, 3900, 1, ALERT_TOLD, 0, TELLS, "waiting\n", ALERT_TOLD,
	  300 },
	{ "told in vain", 3600, 3900, 1, ALERT_IN_VAIN, 60, TELLS, "waiting\n",
	  ALERT_TOLD, 300 },
	{ "over", 3600, 10, 1, ALERT_TOLD, 60, TELLS, "over\n", ALERT_NOBODY, 3590 },
	{ "over, none waits", 3600, NONE, 0, ALERT_TOLD, 0, TELLS, "over\n", ALERT_NOBODY,
	  NEVER },
	{ "over, nobody knew", 3600, 10, 1, ALERT_IN_VAIN, 60, TELLS, "", ALERT_NOBODY,
	  3590 },
	{ "it fails", 3600, 3900, 1, ALERT_NOBODY, 0, TELLS "; exit 3", "waiting\n",
	  ALERT_IN_VAIN, 300 },
	{ "it fails a day later", 3600, 3900, 1, ALERT_TOLD, 0, TELLS "; exit 3",
	  "waiting\n", ALERT_TOLD, 300 },
	{ "it fails again", 3600, 3900, 1, ALERT_IN_VAIN, 0, TELLS "; exit 3",
	  "waiting\n", ALERT_IN_VAIN, 300 },
	{ "it is no command", 3600, 3900, 1, ALERT_NOBODY, 0, "/nonexistent/x", "",
	  ALERT_IN_VAIN, 300 },
	{ "it fails at the end", 3600, 10, 1, ALERT_TOLD, 60, TELLS "; kill -9 $$",
	  "over\n", ALERT_TOLD, 300 },
	{ "it does not read", 3600, 3900, 1, ALERT_NOBODY, 0, "echo waiting >@",
	  "waiting\n", ALERT_TOLD, 300 },
	{ "it says much", 3600, 3900, 1, ALERT_NOBODY, 0,
	  "echo waiting >@; seq 99999; seq 99999 >&2", "waiting\n", ALERT_TOLD, 300 },
	{ "it leaves somebody behind", 3600, 3900, 1, ALERT_NOBODY, 0,
	  "echo waiting >@; sleep 4 &", "waiting\n", ALERT_TOLD, 300 },
};

static void one_look(struct bed *b, const struct row *t)
{
	struct conf c = conf_of(b, t->oldest, t->command);
	const struct routes rs = { .live = 0 };
	struct id id = { "" };
	struct alert a;
	int64_t next;

	if (t->age != NONE)
		id = wait_for(t->age, 1);
	unlink(to_file);
	alert_open(&a, &b->s, &c, &rs);
	a.waits = t->count > 0;
	a.told = t->told;
	a.again = clock_ms() + t->again * 1000;
	assert_int_equal(alert_next(&a), -1);
	alert_look(&a);
	assert_int_equal(alert_next(&a), 0);
	look(&a, t->count);
	next = alert_next(&a);
	next = next < 0 ? NEVER : (next - clock_ms() + 500) / 1000;
	if ((t->ran[0] != '\0') != there(to_file) ||
	    (t->ran[0] && !str_starts(str_z(content(to_file)), str_z(t->ran))))
		fail_msg("%s: told %s", t->name, content(to_file));
	if (a.told != t->then || next > t->next || next < t->next - 2)
		fail_msg("%s: %d, next in %lld s", t->name, (int)a.told, (long long)next);
	if (id.c[0])
		unlink(in("queue/new", &id, ""));
	alert_close(&a);
}

static void looks(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		one_look(*state, &rows[i]);
}

/* ---- When it looks ---- */

/* What messages there are, one after the other, and when the next look is then. */
static void times(void **state)
{
	enum { FIRST = 60, OLDEST = 3600, AT_ONCE = 0 };
	static const struct {
		const char *name;
		int64_t since_start, messages;
		enum alert_told told;
		int64_t next;
	} steps[] = {
		{ "nothing waits", 0, 0, ALERT_NOBODY, NEVER },
		{ "what was there at the start", 2, 5, ALERT_NOBODY, FIRST },
		{ "one more", 30, 6, ALERT_NOBODY, FIRST },
		{ "all have gone", 40, 0, ALERT_NOBODY, NEVER },
		{ "later", 1000, 0, ALERT_NOBODY, NEVER },
		{ "one comes", 1000, 1, ALERT_NOBODY, 1000 + OLDEST },
		{ "another", 2000, 2, ALERT_NOBODY, 1000 + OLDEST },
		{ "they go", 2001, 0, ALERT_NOBODY, NEVER },
		{ "another", 3000, 1, ALERT_NOBODY, 3000 + OLDEST },
		{ "told meanwhile, and over", 3001, 0, ALERT_TOLD, AT_ONCE },
	};
	struct bed *b = *state;
	struct conf c = conf_of(b, OLDEST, TELLS);
	const struct routes rs = { .live = 0 };
	int64_t start;
	struct alert a;

	alert_open(&a, &b->s, &c, &rs);
	start = clock_ms();
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		/* The clock stays: what it is compared with moves. */
		int64_t ago = steps[i].since_start * 1000, next;

		start = clock_ms() - ago;
		a.first = start + FIRST * 1000;
		a.told = steps[i].told;
		alert_work(&a, steps[i].messages);
		if (steps[i].next == AT_ONCE) {
			assert_true(a.child.fd >= 0);
			break;
		}
		assert_int_equal(a.child.fd, -1);
		next = alert_next(&a);
		next = next < 0 ? NEVER : (next - start + 500) / 1000;
		/* It was set when another step was the present. */
		if (i && steps[i].next == steps[i - 1].next && next >= 0)
			next -= steps[i].since_start - steps[i - 1].since_start;
		if (next != steps[i].next)
			fail_msg("%s: next at %lld s", steps[i].name, (long long)next);
	}
	alert_close(&a);
	/* Without a command there is nothing to do. */
	c.alert_command = c.alert_command + strlen(c.alert_command);
	alert_open(&a, &b->s, &c, &rs);
	alert_look(&a);
	alert_work(&a, 7);
	assert_int_equal(a.child.fd, -1);
	assert_int_equal(alert_next(&a), -1);
	alert_close(&a);
}

/* ---- What it says ---- */

static void words(void **state)
{
	static const struct {
		const char *name;
		int64_t age[3]; /* 0: no more */
		bool down;
		enum alert_told told;
		const char *want; /* @: the oldest's id */
	} cases[] = {
		{ "one",
		  { 3905 },
		  false,
		  ALERT_NOBODY,
		  "waiting\nmailchute on box.example.org: mail waits for too long: 1 "
		  "message "
		  "waits, the oldest (@) for 1 h 5 min\n"
		  "No smart host is down. What it waits for: mailchute show @\n" },
		{ "three, host down",
		  { 3 * 86400 + 7205, 4000, 5 },
		  true,
		  ALERT_NOBODY,
		  "waiting\nmailchute on box.example.org: mail does not go out: 3 "
		  "messages "
		  "wait, the oldest (@) for 3 d 2 h\n"
		  "isp: connect: nobody\\x07 there; really\n"
		  "asked: greeting: not now\n" },
		{ "over",
		  { 5, 7 },
		  true,
		  ALERT_TOLD,
		  "over\nmailchute on box.example.org: the alert is over: 2 messages "
		  "wait, "
		  "none of them for 1 h\n" },
		{ "over, none",
		  { 0 },
		  false,
		  ALERT_TOLD,
		  "over\nmailchute on box.example.org: the alert is over: no message "
		  "waits\n" },
	};
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, TELLS);
	struct route isp = { .queue.route = "isp", .state = ROUTE_AT_WORK };
	struct route fine = { .queue.route = "fine" };
	/* SIGHUP came when push had said that, and had not left yet. */
	struct route asked = { .queue.route = "asked", .state = ROUTE_READY, .pid = 1 };
	struct route *v[] = { &fine, &isp, &asked };

	buf_z(&isp.why, "connect 0 nobody\a there; really");
	buf_z(&asked.why, "greeting 421 not now");
	buf_z(&fine.why, "connect 0 an old story"); /* no mail since */
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct routes rs = { .v = v, .live = cases[i].down ? 3 : 1 };
		_cleanup_buf_ struct buf want = BUF_INIT;
		struct id id[3] = { { "" } };
		struct alert a;

		unlink(to_file);
		for (unsigned n = 0; n < 3 && cases[i].age[n]; n++)
			id[n] = wait_for(cases[i].age[n], n);
		for (const char *p = cases[i].want; *p; p++)
			buf_add(&want, *p == '@' ? id[0].c : p, *p == '@' ? ID_LEN : 1);
		alert_open(&a, &b->s, &c, &rs);
		a.told = cases[i].told;
		alert_look(&a);
		look(&a, 1);
		if (strcmp(content(to_file), want.p) != 0)
			fail_msg("%s: %s", cases[i].name, content(to_file));
		for (unsigned n = 0; n < 3 && cases[i].age[n]; n++)
			unlink(in("queue/new", &id[n], ""));
		alert_close(&a);
	}
	buf_free(&isp.why);
	buf_free(&fine.why);
	buf_free(&asked.why);
}

/* Whom it told it knows after a restart: the line of the state file. */
static void restarts(void **state)
{
	enum { DAY = 86400 };
	static const struct {
		const char *name, *line; /* @: now */
		int64_t plus;
		bool told;
		int64_t again; /* seconds from now */
	} lines[] = {
		{ "an hour ago", "alert @", DAY - 3600, true, DAY - 3600 },
		{ "it is time", "alert @", -5, true, -5 },
		{ "the clock was set back", "alert @", 2 * DAY, true, 0 },
		{ "absurd", "alert 9223372036854775807", 0, true, 0 },
		{ "no number", "alert soon", 0, false, 0 },
		{ "nothing", "alert", 0, false, 0 },
		{ "another line", "down hub @ 1 2", 0, false, 0 },
	};
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, TELLS);
	const struct routes rs = { .live = 0 };
	int64_t now = clock_real();

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		_cleanup_buf_ struct buf line = BUF_INIT, out = BUF_INIT, want = BUF_INIT;
		struct alert a;

		for (const char *p = lines[i].line; *p; p++) {
			if (*p == '@')
				buf_fmt(&line, "%lld", (long long)(now + lines[i].plus));
			else
				buf_c(&line, *p);
		}
		alert_open(&a, &b->s, &c, &rs);
		alert_state_take(&a, buf_view(&line), now);
		if ((a.told == ALERT_TOLD) != lines[i].told)
			fail_msg("%s: %d", lines[i].name, (int)a.told);
		alert_state_print(&a, &out);
		if (!lines[i].told) {
			assert_int_equal(out.n, 0);
			assert_int_equal(alert_next(&a), -1);
			continue;
		}
		buf_fmt(&want, "alert %lld\n", (long long)(now + lines[i].again));
		if (strcmp(out.p, want.p) != 0)
			fail_msg("%s: %s", lines[i].name, out.p);
		assert_in_range(a.again - clock_ms() + DAY * 1000LL,
		                (DAY + lines[i].again - 2) * 1000,
		                (DAY + lines[i].again) * 1000);
		/* It looks, though nothing may wait, and says that it is over. */
		assert_int_equal(alert_next(&a), a.first);
		unlink(to_file);
		a.at = 0;
		look(&a, 0);
		assert_true(str_starts(str_z(content(to_file)), STR("over\n")));
		buf_reset(&out);
		alert_state_print(&a, &out);
		assert_int_equal(out.n, 0);
		alert_close(&a);
	}
}

/* Told, and the daily repeat fails: it is tried again at the next look, also after a restart, and
 * those who were told learn that it is over. */
static void repeat_in_vain(void **state)
{
	static const struct {
		const char *name;
		bool waits, fails;
		const char *want;
		bool told; /* then */
	} looks[] = {
		{ "the repeat fails", true, true, "waiting\n", true },
		{ "once more", true, true, "waiting\n", true },
		{ "it is over, in vain", false, true, "over\n", true },
		{ "it is over", false, false, "over\n", false },
	};
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, TELLS "; exit 3");
	const struct routes rs = { .live = 0 };
	int64_t now = clock_real();
	_cleanup_buf_ struct buf line = BUF_INIT;

	buf_fmt(&line, "alert %lld\n", (long long)now - 5);
	for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
		struct id id = looks[i].waits ? wait_for(4000, 1) : (struct id){ "" };
		struct alert a;

		c.alert_command = says(b, looks[i].fails ? TELLS "; exit 3" : TELLS);
		unlink(to_file);
		alert_open(&a, &b->s, &c, &rs);
		alert_state_take(&a, str_head(buf_view(&line), line.n - 1), now);
		alert_look(&a);
		look(&a, looks[i].waits);
		if (!there(to_file) ||
		    !str_starts(str_z(content(to_file)), str_z(looks[i].want)))
			fail_msg("%s: told %s", looks[i].name, content(to_file));
		buf_reset(&line);
		alert_state_print(&a, &line);
		if ((line.n > 0) != looks[i].told)
			fail_msg("%s: kept: %s", looks[i].name, line.n ? line.p : "");
		if (id.c[0])
			unlink(in("queue/new", &id, ""));
		alert_close(&a);
	}
}

/* What a command finds: nothing of mailchuted. */
static void environment(void **state)
{
	struct bed *b = *state;
	struct conf c = conf_of(
	    b, 3600, "exec >@; env | grep -v ^PWD= | sort; pwd; umask; ls /proc/self/fd");
	const struct routes rs = { .live = 0 };
	struct alert a;

	wait_for(4000, 1);
	alert_open(&a, &b->s, &c, &rs);
	alert_look(&a);
	look(&a, 1);
	/* 3 is what ls itself reads. */
	assert_string_equal(content(to_file),
	                    "HOME=/\nMAILCHUTE_ALERT=waiting\n"
	                    "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"
	                    "USER=" MAILCHUTE_USER "\n/\n0077\n0\n1\n2\n3\n");
	alert_close(&a);
}

/* ---- What takes too long ---- */

static void hangs(void **state)
{
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, "trap '' TERM; sleep 100 & echo $! >@; wait");
	const struct routes rs = { .live = 0 };
	int64_t since = clock_ms();
	struct alert a;
	pid_t pid;

	wait_for(4000, 1);
	alert_open(&a, &b->s, &c, &rs);
	a.limit_ms = 700;
	alert_look(&a);
	pid = started(&a);
	look(&a, 1);
	assert_int_equal(a.told, ALERT_IN_VAIN);
	assert_in_range(clock_ms() - since, 700, 4000);
	assert_ends(pid);
	alert_close(&a);

	c = conf_of(b, 3600, "exec yes >&2");
	alert_open(&a, &b->s, &c, &rs);
	a.limit_ms = 300;
	alert_look(&a);
	since = clock_ms();
	look(&a, 1);
	assert_int_equal(a.told, ALERT_IN_VAIN);
	assert_in_range(clock_ms() - since, 300, 2000);
	alert_close(&a);
}

/* mailchuted leaves, or is killed: nothing stays behind. */
static void leaving(void **state)
{
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, "sleep 100 & echo $! >@; wait; true");
	const struct routes rs = { .live = 0 };
	int64_t since;
	struct alert a;
	pid_t pid, daemon;

	wait_for(4000, 1);
	alert_open(&a, &b->s, &c, &rs);
	alert_look(&a);
	pid = started(&a);
	since = clock_ms();
	alert_close(&a);
	assert_true(clock_ms() - since < 900);
	assert_ends(pid);

	unlink(to_file);
	daemon = fork();
	if (daemon == 0) {
		alert_open(&a, &b->s, &c, &rs);
		alert_look(&a);
		look(&a, 1);
		_exit(0);
	}
	for (int i = 0; i < 300 && (!there(to_file) || !content(to_file)[0]); i++)
		usleep(10000);
	pid = (pid_t)strtol(content(to_file), NULL, 10);
	assert_true(pid > 1);
	kill(daemon, SIGKILL);
	assert_ends(pid);
}

/* A client's connection that mailchuted closes meanwhile is closed. */
static void keeps_nothing_open(void **state)
{
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, "echo $$ >@; exec sleep 100");
	const struct routes rs = { .live = 0 };
	struct alert a;
	int pair[2];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	wait_for(4000, 1);
	alert_open(&a, &b->s, &c, &rs);
	alert_look(&a);
	started(&a);
	close(pair[0]);
	assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
	close(pair[1]);
	alert_close(&a);
}

/* A look that hangs is ended, at first kindly. */
static void stuck(void **state)
{
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, "echo $$ >@; exec sleep 100");
	const struct routes rs = { .live = 0 };
	struct alert a;
	pid_t pid;

	wait_for(4000, 1);
	alert_open(&a, &b->s, &c, &rs);
	alert_look(&a);
	pid = started(&a);
	assert_true(alert_next(&a) - clock_ms() > 80000);
	a.until = clock_ms();
	look(&a, 1);
	assert_true(a.ending);
	assert_ends(pid);
	assert_true(alert_next(&a) > clock_ms());

	unlink(to_file);
	a.told = ALERT_NOBODY;
	alert_look(&a);
	pid = started(&a);
	kill(a.child.pid, SIGSTOP); /* as one that waits for a dead disk */
	a.until = clock_ms();
	alert_work(&a, 1);
	assert_true(a.child.fd >= 0);
	a.until = clock_ms();
	alert_work(&a, 1);
	assert_int_equal(a.child.fd, -1);
	assert_ends(pid);
	assert_true(alert_next(&a) > clock_ms());
	alert_close(&a);
}

/* The clock was wrong when the message came: its age counts from the first look on. */
static void wrong_clock(void **state)
{
	struct bed *b = *state;
	struct conf c = conf_of(b, 3600, TELLS);
	const struct routes rs = { .live = 0 };
	struct id id = wait_for(-86400, 1);
	struct alert a;

	alert_open(&a, &b->s, &c, &rs);
	alert_look(&a);
	look(&a, 1);
	assert_int_equal(a.told, ALERT_NOBODY);
	assert_in_range(clock_ms() - a.odd, 0, 5000);
	assert_in_range(alert_next(&a) - clock_ms(), 3590000, 3600000);
	a.odd -= 3600 * 1000;
	alert_look(&a);
	look(&a, 1);
	assert_int_equal(a.told, ALERT_TOLD);
	unlink(in("queue/new", &id, ""));
	look(&a, 0);
	assert_int_equal(a.told, ALERT_NOBODY);
	assert_int_equal(a.odd, -1);
	alert_close(&a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(looks),       T(times),    T(words),         T(environment),
		T(hangs),       T(leaving),  T(stuck),         T(keeps_nothing_open),
		T(wrong_clock), T(restarts), T(repeat_in_vain)
	};

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	return cmocka_run_group_tests_name("alert", tests, NULL, NULL);
}
