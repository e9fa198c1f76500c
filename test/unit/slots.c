/* slots: who may come in, and who goes for it */
#include "listen/slots.h"
#include "base/str.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NOW = 1000000 };

/* One session a word: a client's letter, then what is of it: g begun over a minute ago, b
 * in a transaction of 1 s, B of 10 s, m has sent a message, l leaving; a number: seconds
 * idle. The victim is told by its place. */
static struct slots make(const char *text)
{
	struct slots s = { .n = 0 };
	struct str rest = str_z(text), word;

	while (rest.n && str_cut(&rest, ' ', &word)) {
		struct slot k = { .pid = (pid_t)(100 + s.n), .begun = NOW - 10000 };
		int64_t idle = 0;

		k.client = (struct slots_client){ AF_INET, (uint64_t)word.p[0] };
		for (size_t i = 1; i < word.n; i++) {
			char c = word.p[i];

			if (c == 'g')
				k.begun = NOW - SLOTS_GRACE_MS - 1;
			else if (c == 'b')
				k.busy = NOW - 1000;
			else if (c == 'B')
				k.busy = NOW - 10000;
			else if (c == 'm')
				k.stored = 1;
			else if (c == 'l')
				k.leaving = true;
			else
				idle = idle * 10 + (c - '0');
		}
		k.heard = NOW - idle * 1000;
		slots_add(&s, &k);
	}
	return s;
}

static void ask(void **state)
{
	static const struct {
		const char *name, *there;
		char who;
		int64_t max, per_client;
		enum slots_say want;
		size_t victim;
	} rows[] = {
		{ "nobody there", "", 'a', 1, 1, SLOTS_COME, 0 },
		{ "one is left", "a b", 'c', 3, 9, SLOTS_COME, 0 },
		{ "the longest idle", "a1 b7 c3", 'd', 3, 9, SLOTS_EVICT, 1 },
		{ "not one with a transaction", "a9b b1 c9B", 'd', 3, 9, SLOTS_EVICT, 1 },
		{ "all have one", "ab bb cB", 'd', 3, 9, SLOTS_FULL, 0 },
		{ "who holds most goes first", "a9 b1 b2 c9", 'd', 4, 9, SLOTS_EVICT, 2 },
		{ "not who holds less than the newcomer would", "a9 b8 b8b b8b", 'b', 4,
		  9, SLOTS_EVICT, 1 },
		{ "nobody for who holds most", "a9 bb bb", 'b', 3, 9, SLOTS_FULL, 0 },
		{ "for itself its own", "a9 b1 b6", 'b', 3, 9, SLOTS_EVICT, 2 },
		{ "not at once", "a9 b1 b2", 'b', 3, 9, SLOTS_FULL, 0 },
		{ "no exchange for the same number", "a9 a8 b1", 'b', 3, 9, SLOTS_FULL,
		  0 },
		{ "but from who holds more", "a9 a8 a7 b1", 'b', 4, 9, SLOTS_EVICT, 0 },
		{ "for the fourth its own", "a9 b1 b2 b5", 'b', 4, 9, SLOTS_EVICT, 3 },
		{ "no message in a minute", "a9 a1g a9", 'b', 3, 9, SLOTS_EVICT, 1 },
		{ "a message long ago", "a9 a1gm a8", 'b', 3, 9, SLOTS_EVICT, 0 },
		{ "all busy: the slow of the many", "aB bB bB bb", 'c', 4, 9, SLOTS_EVICT,
		  1 },
		{ "all busy, but not for long", "ab bb bb bb", 'c', 4, 9, SLOTS_FULL, 0 },
		{ "all busy, one each", "aB bB cB", 'd', 3, 9, SLOTS_FULL, 0 },
		{ "all silent in a transaction: the longest", "a11B b12B c11B", 'd', 3, 9,
		  SLOTS_EVICT, 1 },
		{ "one silent, the others get on", "aB b10B cB", 'd', 3, 9, SLOTS_EVICT,
		  1 },
		{ "idle goes before silent", "a11B b12B c3", 'd', 3, 9, SLOTS_EVICT, 2 },
		{ "not silent for long", "a9B b9B c9B", 'd', 3, 9, SLOTS_FULL, 0 },
		{ "silent, of who holds no more", "a11B b c", 'c', 3, 9, SLOTS_FULL, 0 },
		{ "silent at its own limit", "a11Bg a3B", 'a', 9, 2, SLOTS_EVICT, 0 },
		{ "busy at its own limit", "a3Bg a3B", 'a', 9, 2, SLOTS_CLIENT, 0 },
		{ "who leaves does not count", "a b cl", 'd', 3, 9, SLOTS_COME, 0 },
		{ "and is not told twice", "a1 b1 c9l d2", 'e', 3, 9, SLOTS_EVICT, 3 },
		{ "as many as one may have", "a a a", 'a', 9, 3, SLOTS_CLIENT, 0 },
		{ "others may", "a a a", 'b', 9, 3, SLOTS_COME, 0 },
		{ "one of them is forgotten", "a9 a1g a2g", 'a', 9, 3, SLOTS_EVICT, 2 },
		{ "forgotten, but busy", "agb agB a", 'a', 9, 3, SLOTS_CLIENT, 0 },
		{ "none at all", "", 'a', 0, 3, SLOTS_FULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slots s = make(rows[i].there);
		size_t victim = 0;
		enum slots_say got = slots_ask(
		    &s, 0, (struct slots_client){ AF_INET, (uint64_t)rows[i].who },
		    rows[i].max, rows[i].per_client, NOW, &victim);

		if (got != rows[i].want || victim != rows[i].victim)
			fail_msg("%s: %d, victim %zu", rows[i].name, (int)got, victim);
		slots_free(&s);
	}
}

/* Limits are a section's own. */
static void sections(void **state)
{
	struct slots s = make("a a a");
	size_t victim = 99;

	(void)state;
	assert_int_equal(slots_ask(&s, 1, s.v[0].client, 1, 1, NOW, &victim), SLOTS_COME);
	assert_int_equal(slots_ask(&s, 0, s.v[0].client, 1, 1, NOW, &victim),
	                 SLOTS_CLIENT);
	assert_int_equal(victim, 99);
	slots_free(&s);
}

static void list(void **state)
{
	struct slots s = make("a b c d");

	(void)state;
	assert_int_equal(slots_find(&s, 102), 2);
	assert_int_equal(slots_find(&s, 99), -1);
	slots_remove(&s, 1);
	assert_int_equal(s.n, 3);
	assert_int_equal(slots_find(&s, 101), -1);
	assert_int_equal(slots_find(&s, 103), 1);
	slots_remove(&s, 2);
	slots_remove(&s, 0);
	slots_remove(&s, 0);
	assert_int_equal(s.n, 0);
	slots_free(&s);
}

static void clients(void **state)
{
	static const struct {
		const char *name, *a, *b;
		bool same;
	} rows[] = {
		{ "an address", "192.0.2.1", "192.0.2.1", true },
		{ "another", "192.0.2.1", "192.0.2.2", false },
		{ "one /64", "2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", true },
		{ "another /64", "2001:db8:1:2::1", "2001:db8:1:3::1", false },
		{ "IPv4 in IPv6's form", "192.0.2.1", "::ffff:192.0.2.1", true },
		{ "the same number in another family", "0.0.0.0", "::1", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *text[] = { rows[i].a, rows[i].b };
		struct slots_client c[2];

		for (size_t k = 0; k < 2; k++) {
			struct sockaddr_in v4 = { .sin_family = AF_INET };
			struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

			if (inet_pton(AF_INET, text[k], &v4.sin_addr) == 1)
				c[k] = slots_client_of((const void *)&v4, 0);
			else if (inet_pton(AF_INET6, text[k], &v6.sin6_addr) == 1)
				c[k] = slots_client_of((const void *)&v6, 0);
		}
		if ((c[0].family == c[1].family && c[0].who == c[1].who) != rows[i].same)
			fail_msg("%s", rows[i].name);
	}
	const struct sockaddr un = { .sa_family = AF_UNIX };

	assert_int_equal(slots_client_of(&un, 1000).who, 1000);
}

/* An attacker with every slot, from many addresses, in DATA and not: a client with none gets
 * one, each time it comes, as soon as the transactions are a few seconds old. */
static void flood(void **state)
{
	enum { SLOTS = 100, CLIENTS = 5 };
	struct slots s = { .n = 0 };
	size_t victim;

	(void)state;
	for (int i = 0; i < SLOTS; i++) {
		const struct slot k = { .pid = i,
			                .client = { AF_INET, (uint64_t)(i % CLIENTS) },
			                .begun = NOW,
			                .heard = NOW,
			                .busy = NOW };
		slots_add(&s, &k);
	}
	for (int i = 0; i < SLOTS - CLIENTS * 2; i++) {
		const struct slot k = { .client = { AF_INET, 77 }, .busy = NOW };

		assert_int_equal(
		    slots_ask(&s, 0, k.client, SLOTS, 20, NOW + SLOTS_SLOW_MS, &victim),
		    SLOTS_EVICT);
		assert_true(victim < s.n && s.v[victim].client.who < CLIENTS);
		slots_remove(&s, victim);
		slots_add(&s, &k);
		/* It has sent its page and goes; the attacker comes back. */
		slots_remove(&s, s.n - 1);
		slots_add(&s, &(struct slot){ .client = { AF_INET, (uint64_t)(i % 5) },
		                              .busy = NOW });
	}
	slots_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ask),   cmocka_unit_test(sections),
		cmocka_unit_test(list),  cmocka_unit_test(clients),
		cmocka_unit_test(flood),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
