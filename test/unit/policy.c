/* Who may send what to whom; the line C; which section an address belongs to. */
#include "sessionbed.h"
#include "listen/policy.h"
#include "mail/envelope.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static void test_networks(void **state)
{
	static const struct {
		const char *network, *ip;
		bool want;
	} rows[] = {
		{ "127.0.0.0/8", "127.255.0.1", true },
		{ "127.0.0.0/8", "128.0.0.1", false },
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.128/25", "192.0.2.128", true },
		{ "192.0.2.6/31", "192.0.2.7", true },
		{ "192.0.2.6/31", "192.0.2.8", false },
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.6", false },
		{ "192.0.2.7/32", "192.0.2.7", true },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "::1", false },
		{ "::/0", "192.0.2.1", false },
		{ "::/0", "2001:db8::1", true },
		{ "::1", "::1", true },
		{ "::1", "0:0:0:0:0:0:0:1", true },
		{ "2001:db8::/32", "2001:db8:ffff::1", true },
		{ "2001:db8::/33", "2001:db8:ffff::1", false },
		{ "2001:db8::/32", "2001:db9::1", false },
		{ "192.0.2.0/33", "192.0.2.1", false },
		{ "192.0.2.0/", "192.0.2.1", false },
		{ "nonsense", "192.0.2.1", false },
		{ "127.0.0.0/8", "", false },
		{ "127.0.0.0/8", "local", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (policy_in_network(str_z(rows[i].network), str_z(rows[i].ip)) !=
		    rows[i].want)
			fail_msg("%s in %s", rows[i].ip, rows[i].network);
}

static void test_allowed(void **state)
{
	static const struct {
		const char *ip;
		bool want;
	} rows[] = {
		{ "127.0.0.1", true },  { "::1", true },  { "", true },
		{ "192.0.2.1", false }, { "::2", false }, { "0.0.0.0", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (session_allowed(session_default(), str_z(rows[i].ip)) != rows[i].want)
			fail_msg("%s", rows[i].ip);
}

static void test_client_line(void **state)
{
	static const struct {
		const char *name;
		struct policy_client c;
		const char *want;
	} rows[] = {
#define S(lit) { lit, sizeof(lit) - 1 }
		{ "nothing", { .port = 0 }, "" },
		{ "all",
		  { S("192.0.2.7"), S("printer"), S("1.3"), S("ann"), 25, true, S("") },
		  "ip=192.0.2.7 helo=printer tls=1.3 auth=ann port=25 with=SMTP" },
		{ "v6",
		  { .ip = S("2001:db8::1"), .port = 587 },
		  "ip=2001:db8::1 port=587" },
		{ "unix:",
		  { .helo = S("x uid=0"), .uid = S("1000") },
		  "uid=1000 helo=x\\x20uid\\x3d0" },
		{ "a helo that says more",
		  { .ip = S("192.0.2.7"), .helo = S("x auth=admin") },
		  "ip=192.0.2.7 helo=x\\x20auth\\x3dadmin" },
		{ "bytes",
		  { .helo = S("a\tb\\c\"(d)\xc3\xa4\x7f\r\n\0e") },
		  "helo=a\\x09b\\x5cc\"(d)\\xc3\\xa4\\x7f\\x0d\\x0a\\x00e" },
		{ "a user", { .auth = S("ann = bob") }, "auth=ann\\x20\\x3d\\x20bob" },
	};
	char longest[1000];
	_cleanup_buf_ struct buf b = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_reset(&b);
		buf_z(&b, "");
		policy_client_line(&b, &rows[i].c);
		if (strcmp(b.p, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, b.p);
		assert_true(envelope_value_ok(buf_view(&b)));
	}
	memset(longest, 'x', sizeof(longest));
	buf_reset(&b);
	policy_client_line(
	    &b, &(struct policy_client){ .helo = { longest, sizeof(longest) } });
	assert_int_equal(b.n, 5 + POLICY_VALUE_MAX);
}

/* A socket bound to an address of ours, and the section that takes it. */
static void test_section(void **state)
{
	static char at[][30] = { ":0", "127.0.0.2:0", "[::1]:0", "unix:smtp",
		                 "127.0.0.1:1" };
	struct listen l[ARRAY_LEN(at)];
	struct conf c = { .listen = l, .listens = ARRAY_LEN(at) };
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct sockaddr_un {
		sa_family_t family;
		char path[108];
	} u = { AF_UNIX, "smtp" };
	socklen_t n = sizeof(a);
	_cleanup_buf_ struct buf ip = BUF_INIT;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port, local, other, p[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		l[i] = (struct listen){ .at = at[i] };
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(at[0], sizeof(at[0]), ":%d", ntohs(a.sin_port));
	snprintf(at[1], sizeof(at[1]), "127.0.0.2:%d", ntohs(a.sin_port));
	snprintf(at[2], sizeof(at[2]), "[::1]:%d", ntohs(a.sin_port));
	assert_ptr_equal(session_section(&c, fd), &l[1]);
	at[1][8] = '3';
	assert_ptr_equal(session_section(&c, fd), &l[0]);
	at[0][0] = '0';
	assert_null(session_section(&c, fd));
	/* One of TCP without a client is not one of this machine. */
	assert_true(session_peer(fd, &ip, &port));
	assert_string_equal(ip.p, "0.0.0.0");
	assert_int_equal(port, ntohs(a.sin_port));
	close(fd);
	local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(local, (struct sockaddr *)&u, sizeof(u)), 0);
	assert_ptr_equal(session_section(&c, local), &l[3]);
	assert_true(session_peer(local, &ip, &port));
	assert_int_equal(ip.n + (size_t)port, 0);
	close(local);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_null(session_section(&c, p[0]));
	assert_false(session_peer(p[0], &ip, &port));
	/* Of another family, as that of virtual machines: nobody knows who that is. */
	other = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(other >= 0);
	assert_true(session_peer(other, &ip, &port));
	assert_false(session_allowed(session_default(), buf_view(&ip)));
	close(other);
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_client_line),
		cmocka_unit_test_setup_teardown(test_section, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
