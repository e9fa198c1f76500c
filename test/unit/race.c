/* Races to addresses: over loopback, with what refuses, is silent, or cannot be reached */
#include "base/clock.h"
#include "smtp/race.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Places, by letter: G takes connections (127.0.0.1), g the same on ::1; C is closed, c on
 * ::1; S is silent (its backlog is full); U cannot be reached (IPv6 documentation prefix:
 * either there is no route, or nobody there). */
static struct race_address place[128];
static int silent[3] = { -1, -1, -1 };

static struct race_address make(int family, const char *text, unsigned port)
{
	struct sockaddr_in four = { .sin_family = AF_INET,
		                    .sin_port = htons((uint16_t)port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6,
		                    .sin6_port = htons((uint16_t)port) };
	struct race_address a = { .len = family == AF_INET ? sizeof(four) : sizeof(six) };

	if (family == AF_INET) {
		assert_int_equal(inet_pton(AF_INET, text, &four.sin_addr), 1);
		memcpy(&a.addr, &four, sizeof(four));
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
		memcpy(&a.addr, &six, sizeof(six));
	}
	return a;
}

/* A socket bound to a port of its own; listening with room for so many, or (-1) not. */
static int bound(int family, int backlog, struct race_address *ret)
{
	struct race_address a = make(family, family == AF_INET ? "127.0.0.1" : "::1", 0);
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a.addr, a.len) < 0) {
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a.addr, &a.len), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	*ret = a;
	return fd;
}

static int set_up(void **state)
{
	(void)state;
	assert_true(bound(AF_INET, 64, &place['G']) >= 0);
	assert_true(bound(AF_INET, -1, &place['C']) >= 0);
	if (bound(AF_INET6, 64, &place['g']) >= 0)
		bound(AF_INET6, -1, &place['c']);
	silent[0] = bound(AF_INET, 0, &place['S']);
	for (size_t i = 1; i < ARRAY_LEN(silent); i++) {
		silent[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(silent[i], (struct sockaddr *)&place['S'].addr,
		              place['S'].len);
	}
	place['U'] = make(AF_INET6, "2001:db8::1", 25);
	return 0;
}

struct row {
	const char *name, *to;
	char want; /* who wins, or 0 */
	const char *from;
	int error;           /* when nobody does */
	int64_t least, most; /* milliseconds */
	const char *words;   /* in the reason */
};

static const struct row rows[] = {
	{ "one", "G", 'G', "", 0, 0, 150, "" },
	{ "closed", "C", 0, "", -ECONNREFUSED, 0, 150, "port " },
	{ "closed says so", "C", 0, "", -ECONNREFUSED, 0, 150, ": Connection refused" },
	{ "closed, then one that is there", "CG", 'G', "", 0, 0, 150, "" },
	{ "many closed", "CCCCCCCG", 'G', "", 0, 0, 150, "" },
	{ "one more than are tried", "CCCCCCCCG", 0, "", -ECONNREFUSED, 0, 150, "" },
	{ "silent", "S", 0, "", -ETIMEDOUT, 900, 1400, "Connection timed out" },
	{ "silent, then one that is there", "SG", 'G', "", 0, 240, 450, "" },
	{ "two are silent", "SSG", 'G', "", 0, 490, 750, "" },
	{ "silent, then closed: a reason each", "SC", 0, "", -ETIMEDOUT, 900, 1400,
	  "Connection timed out; 127.0.0.1 port " },
	{ "silent, closed, there: nobody waits behind what failed", "SCG", 'G', "", 0,
	  240, 450, "" },
	{ "IPv6 that leads nowhere", "UG", 'G', "", 0, 0, 450, "" },
	{ "none at all", "", 0, "", -EADDRNOTAVAIL, 0, 150, "" },
	{ "IPv6", "g", 'g', "", 0, 0, 150, "" },
	{ "IPv6 that is closed", "cG", 'G', "", 0, 0, 150, "" },
	{ "in turn: the other kind before the second of the first", "SSg", 'g', "", 0,
	  240, 450, "" },
	{ "the preferred one wins", "gG", 'g', "", 0, 0, 150, "" },
	{ "from an address", "G", 'G', "127.0.0.9", 0, 0, 150, "" },
	{ "from one that is not ours", "G", 0, "192.0.2.77", -EADDRNOTAVAIL, 0, 150,
	  "source-address 192.0.2.77 is no address that this machine has" },
	{ "from one of the other kind", "G", 0, "::1", -EADDRNOTAVAIL, 0, 150,
	  "not tried, as source-address ::1 is of the other kind" },
	{ "the other kind is left out", "UG", 'G', "127.0.0.9", 0, 0, 150, "" },
	{ "from IPv6", "Gg", 'g', "::1", 0, 0, 150, "" },
	{ "from what is no address", "G", 0, "box.example", -EINVAL, 0, 150,
	  "no address" },
	{ "from a long one", "G", 0,
	  "11111111111111111111111111111111111111111111111111111111111111111111111",
	  -EINVAL, 0, 150, "no address" },
};

static void check_peer(const struct row *r, int fd)
{
	struct race_address a = { .len = sizeof(a.addr) };
	_cleanup_buf_ struct buf b = BUF_INIT, want = BUF_INIT;

	assert_int_equal(getpeername(fd, (struct sockaddr *)&a.addr, &a.len), 0);
	race_words(&a, &b, "", " ");
	race_words(&place[(int)r->want], &want, "", " ");
	if (strcmp(b.p, want.p) != 0)
		fail_msg("%s: connected to %s, wanted %s", r->name, b.p, want.p);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a.addr, &a.len), 0);
	buf_reset(&b);
	race_words(&a, &b, "", " ");
	if (strncmp(b.p, r->from, strlen(r->from)) != 0)
		fail_msg("%s: connected from %s", r->name, b.p);
}

static size_t open_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 100; fd++) {
		struct sockaddr_storage s;
		socklen_t len = sizeof(s);

		n += getsockname(fd, (struct sockaddr *)&s, &len) == 0;
	}
	return n;
}

/* Milliseconds that it took. */
static int64_t once(const struct row *r)
{
	struct race_address to[16];
	struct race race = { .to = to, .from = str_z(r->from), .cancel_fd = -1 };
	_cleanup_buf_ struct buf why = BUF_INIT;
	size_t won = 99, before = open_fds();
	int64_t since = clock_ms(), ms;
	int fd;

	for (const char *p = r->to; *p; p++)
		to[race.n++] = place[(int)*p];
	race.deadline = since + 1000;
	fd = race_connect(&race, &won, &why);
	ms = clock_ms() - since;
	if (r->want ? fd < 0 : fd != r->error)
		fail_msg("%s: %d %s", r->name, fd, why.n ? why.p : "");
	if (r->want && r->to[won] != r->want)
		fail_msg("%s: won by %zu", r->name, won);
	if (!r->want && r->words[0] && !strstr(why.n ? why.p : "", r->words))
		fail_msg("%s: %s", r->name, why.n ? why.p : "");
	if (fd >= 0) {
		check_peer(r, fd);
		close(fd);
	}
	if (open_fds() != before)
		fail_msg("%s: sockets are left open", r->name);
	return ms;
}

static void races(void **state)
{
	enum { TRIES = 4 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		int64_t ms = INT64_MAX;

		if (strpbrk(r->to, "gc") && !place['g'].len) {
			print_message("no IPv6 here: %s left out\n", r->name);
			continue;
		}
		/* A machine under load may be slow now and then. */
		for (int k = 0; k < TRIES && ms > r->most; k++) {
			ms = once(r);
			if (ms < r->least)
				fail_msg("%s: took only %lld ms", r->name, (long long)ms);
		}
		if (ms > r->most)
			fail_msg("%s: took %lld ms", r->name, (long long)ms);
	}
}

/* Whoever asked for it may hang up meanwhile. */
static void cancelled(void **state)
{
	struct race race = { .to = &place['S'], .n = 1 };
	_cleanup_buf_ struct buf why = BUF_INIT;
	int pair[2];
	size_t won;
	int64_t since = clock_ms();

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	race.cancel_fd = pair[0];
	race.deadline = since + 5000;
	close(pair[1]);
	assert_int_equal(race_connect(&race, &won, &why), -ECANCELED);
	assert_true(clock_ms() - since < 2000);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(races),
		cmocka_unit_test(cancelled),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
