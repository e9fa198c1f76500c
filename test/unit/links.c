#include "daemon/links.h"
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct packet {
	struct nlmsghdr h;
	struct ifinfomsg link;
};

static void packets(void **state)
{
	static const struct {
		const char *name;
		unsigned short type;
		unsigned len, flags;
		bool want;
	} rows[] = {
		{ "link up", RTM_NEWLINK, 32, IFF_UP | IFF_RUNNING, true },
		{ "up, no carrier", RTM_NEWLINK, 32, IFF_UP, false },
		{ "down", RTM_NEWLINK, 32, 0, false },
		{ "link gone", RTM_DELLINK, 32, IFF_UP | IFF_RUNNING, false },
		{ "address", RTM_NEWADDR, 32, 0, true },
		{ "route", RTM_NEWROUTE, 32, 0, true },
		{ "address gone", RTM_DELADDR, 32, 0, false },
		{ "short link", RTM_NEWLINK, 20, IFF_UP | IFF_RUNNING, false },
		{ "too long", RTM_NEWADDR, 33, 0, false },
		{ "too short", RTM_NEWADDR, 15, 0, false },
		{ "no length", RTM_NEWADDR, 0, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct packet p = { .h = { .nlmsg_len = rows[i].len,
			                   .nlmsg_type = rows[i].type },
			            .link = { .ifi_flags = rows[i].flags } };

		if (links_came_up(&p, sizeof(p)) != rows[i].want)
			fail_msg("%s", rows[i].name);
		for (size_t n = 0; n < sizeof(p.h); n++)
			if (links_came_up(&p, n))
				fail_msg("%s, cut", rows[i].name);
	}
	/* Behind another one. */
	struct packet two[2] = { { .h = { .nlmsg_len = 32, .nlmsg_type = RTM_DELADDR } },
		                 { .h = { .nlmsg_len = 32,
		                          .nlmsg_type = RTM_NEWADDR } } };
	assert_true(links_came_up(two, sizeof(two)));
	two[0].h.nlmsg_len = 31; /* padded to 32 */
	assert_true(links_came_up(two, sizeof(two)));
	two[0].h.nlmsg_len = 32;
	assert_false(links_came_up(two, sizeof(two) - 1));
}

/* At most once a minute, a moment after what came first; the socket is only looked at while
 * there is something to learn. */
static void damped(void **state)
{
	struct links l;

	(void)state;
	links_init(&l);
	assert_false(links_listens(&l));
	links_want(&l, true);
	if (l.fd < 0)
		skip();
	assert_true(links_listens(&l));
	links_hear(&l, 1000); /* nothing came */
	assert_int_equal(l.due, -1);
	l.due = 2000;
	assert_false(links_listens(&l));
	assert_false(links_act(&l, 1999));
	assert_true(links_act(&l, 2000));
	assert_false(links_act(&l, 2001));
	assert_true(links_listens(&l));
	links_want(&l, false);
	assert_int_equal(l.fd, -1);
	assert_int_equal(l.acted, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets),
		cmocka_unit_test(damped),
	};

	return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
