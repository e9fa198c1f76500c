/* DNS answers, the order of hosts, and hosts that need no DNS */
#include "push/resolve.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- Answers ---- */

/* A string literal with NULs in it. */
#define S(lit) lit, sizeof(lit) - 1
/* Header: an answer to one question, with so many records; and the question, "x" SRV or MX. */
#define HEAD(count) "\x12\x34\x81\x80\0\1\0" count "\0\0\0\0"
#define Q_SRV "\1x\0\0\x21\0\1"
#define Q_MX "\1x\0\0\x0f\0\1"
/* A record of the name asked for (a pointer to octet 12), with a TTL and this length. */
#define RR(type, len) "\xc0\x0c\0" type "\0\1\0\0\0\x3c\0" len
#define SRV(len) RR("\x21", len)
#define MX(len) RR("\x0f", len)

struct answer {
	const char *name, *in;
	size_t n;
	enum dns_type type;
	ptrdiff_t want;
	const char *hosts; /* "name:port/priority/weight" with blanks between */
};

static const struct answer answers[] = {
	{ "one", S(HEAD("\1") Q_SRV SRV("\x0c") "\0\1\0\2\2\x4b\2mx\1x\0"), DNS_SRV, 1,
	  "mx.x:587/1/2 " },
	{ "two",
	  S(HEAD("\2") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1a\1x\0" SRV(
	      "\x0b") "\0\0\0\0\1\xd1\1b\1x\0"),
	  DNS_SRV, 2, "a.x:587/1/2 b.x:465/0/0 " },
	{ "a name that points into the question",
	  S(HEAD("\1") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1a\xc0\x0c"
	                                 "\0"),
	  DNS_SRV, -EBADMSG, "" },
	{ "compressed, as nobody should",
	  S(HEAD("\1") Q_SRV SRV("\x0a") "\0\1\0\2\2\x4b\1a\xc0\x0c"), DNS_SRV, 1,
	  "a.x:587/1/2 " },
	{ "a CNAME in front",
	  S(HEAD("\2")
	        Q_SRV RR("\x05", "\3") "\1y\0" SRV("\x0b") "\0\1\0\2\2\x4b\1a\1x\0"),
	  DNS_SRV, 1, "a.x:587/1/2 " },
	{ "only a CNAME", S(HEAD("\1") Q_SRV RR("\x05", "\3") "\1y\0"), DNS_SRV, 0, "" },
	{ "nothing", S(HEAD("\0") Q_SRV), DNS_SRV, 0, "" },
	{ "not offered", S(HEAD("\1") Q_SRV SRV("\7") "\0\0\0\0\0\0\0"), DNS_SRV,
	  -ENOTSUP, "" },
	{ "not offered, and offered",
	  S(HEAD("\2")
	        Q_SRV SRV("\7") "\0\0\0\0\0\0\0" SRV("\x0b") "\0\1\0\2\2\x4b\1a\1x\0"),
	  DNS_SRV, 1, "a.x:587/1/2 " },
	{ "port 0", S(HEAD("\1") Q_SRV SRV("\x0b") "\0\1\0\2\0\0\1a\1x\0"), DNS_SRV,
	  -EADDRNOTAVAIL, "" },
	{ "a name with a blank", S(HEAD("\1") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1 \1x\0"),
	  DNS_SRV, -EADDRNOTAVAIL, "" },
	{ "a name with LF, and a good one",
	  S(HEAD("\2") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1\n\1x\0" SRV(
	      "\x0b") "\0\1\0\2\2\x4b\1a\1x\0"),
	  DNS_SRV, 1, "a.x:587/1/2 " },
	{ "a name with NUL", S(HEAD("\1") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1\0\1x\0"),
	  DNS_SRV, -EADDRNOTAVAIL, "" },
	{ "a name with a dot in it",
	  S(HEAD("\1") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1.\1x\0"), DNS_SRV,
	  -EADDRNOTAVAIL, "" },
	{ "a name that points to itself",
	  S(HEAD("\1") Q_SRV SRV("\x08") "\0\1\0\2\2\x4b\xc0\x25"), DNS_SRV, -EBADMSG,
	  "" },
	{ "two names that point to each other",
	  S(HEAD("\1") Q_SRV SRV("\x0a") "\0\1\0\2\2\x4b\xc0\x27\xc0\x25"), DNS_SRV,
	  -EBADMSG, "" },
	{ "a name that points behind the end",
	  S(HEAD("\1") Q_SRV SRV("\x08") "\0\1\0\2\2\x4b\xc1\xff"), DNS_SRV, -EBADMSG,
	  "" },
	{ "a name that is longer than its record",
	  S(HEAD("\1") Q_SRV SRV("\x08") "\0\1\0\2\2\x4b\5abcde\0"), DNS_SRV, -EBADMSG,
	  "" },
	{ "no name", S(HEAD("\1") Q_SRV SRV("\x06") "\0\1\0\2\2\x4b"), DNS_SRV, -EBADMSG,
	  "" },
	{ "a record that is too short", S(HEAD("\1") Q_SRV SRV("\2") "\0\1"), DNS_SRV,
	  -EBADMSG, "" },
	{ "a record that is cut off", S(HEAD("\1") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1a"),
	  DNS_SRV, -EBADMSG, "" },
	{ "fewer records than are said",
	  S(HEAD("\2") Q_SRV SRV("\x0b") "\0\1\0\2\2\x4b\1a\1x\0"), DNS_SRV, -EBADMSG,
	  "" },
	{ "cut off in the header", S("\x12\x34\x81"), DNS_SRV, -EBADMSG, "" },
	{ "empty", S(""), DNS_SRV, -EBADMSG, "" },
	{ "another type", S(HEAD("\1") Q_SRV MX("\6") "\0\1\2mx\0"), DNS_SRV, 0, "" },
	{ "MX", S(HEAD("\2") Q_MX MX("\6") "\0\x14\2mx\0" MX("\6") "\0\x0a\2my\0"),
	  DNS_MX, 2, "mx:0/20/0 my:0/10/0 " },
	{ "null MX (RFC 7505)", S(HEAD("\1") Q_MX MX("\3") "\0\0\0"), DNS_MX, -ENOTSUP,
	  "" },
};

static void describe(const struct dns_host *list, size_t n, struct buf *b)
{
	buf_z(b, "");
	for (size_t i = 0; i < n; i++)
		buf_fmt(b, "%s:%u/%u/%u ", list[i].name, list[i].port, list[i].priority,
		        list[i].weight);
}

static void reads(void **state)
{
	static struct dns_host list[DNS_RECORDS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		const struct answer *a = &answers[i];
		_cleanup_buf_ struct buf got = BUF_INIT;
		/* Memory that ends where the answer does. */
		unsigned char *copy = malloc(a->n ? a->n : 1);
		ptrdiff_t n;

		memcpy(copy, a->in, a->n);
		n = dns_take(a->type, copy, a->n, list);
		free(copy);
		describe(list, n > 0 ? (size_t)n : 0, &got);
		if (n != a->want || strcmp(got.p, a->hosts) != 0)
			fail_msg("%s: %td %s", a->name, n, got.p);
	}
}

/* Each answer, cut off everywhere and with each octet spoilt: no crash, names are names. */
static void reads_anything(void **state)
{
	static struct dns_host list[DNS_RECORDS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		const struct answer *a = &answers[i];

		for (size_t at = 0; at < 2 * a->n; at++) {
			size_t n = at < a->n ? at : a->n;
			unsigned char *copy = malloc(n ? n : 1);
			ptrdiff_t got;

			memcpy(copy, a->in, n);
			if (at >= a->n)
				copy[at - a->n] ^= (unsigned char)(1 + at * 37 % 255);
			got = dns_take(a->type, copy, n, list);
			free(copy);
			for (ptrdiff_t k = 0; k < got; k++)
				if (!dns_name_ok(str_z(list[k].name)))
					fail_msg("%s, %zu: %s", a->name, at,
					         list[k].name);
		}
	}
}

/* More records than anybody needs. */
static void reads_many(void **state)
{
	static struct dns_host list[DNS_RECORDS_MAX];
	static const unsigned counts[] = { 200, 256, 3000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		unsigned want = counts[i] < DNS_RECORDS_MAX ? counts[i] : DNS_RECORDS_MAX;

		buf_add(&b, S(HEAD("\1") Q_SRV));
		b.p[6] = (char)(counts[i] >> 8);
		b.p[7] = (char)counts[i];
		for (unsigned k = 0; k < counts[i]; k++)
			buf_add(&b, S(SRV("\x0b") "\0\1\0\2\2\x4b\1a\1x\0"));
		assert_int_equal(dns_take(DNS_SRV, (unsigned char *)b.p, b.n, list),
		                 want);
	}
}

/* ---- Order ---- */

static struct dns_host host(const char *name, unsigned priority, unsigned weight)
{
	struct dns_host h = { .port = 587, .priority = priority, .weight = weight };

	memcpy(h.name, name, strlen(name) + 1);
	return h;
}

/* How often each is the first of its priority, of so many draws. */
enum { DRAWS = 20000 };
static const struct {
	const char *name;
	unsigned weight[4];
	double want[4]; /* the share of DRAWS; the hosts of priority 10 */
} weights[] = {
	{ "one", { 5 }, { 1 } },
	{ "alike", { 1, 1, 1, 1 }, { .25, .25, .25, .25 } },
	{ "3 to 1", { 60, 20 }, { .75, .25 } },
	{ "large", { 65535, 65535, 65535, 65535 }, { .25, .25, .25, .25 } },
	{ "all are 0", { 0, 0, 0, 0 }, { .25, .25, .25, .25 } },
	{ "a 0 has a very small chance", { 0, 999 }, { .001, .999 } },
	{ "RFC 2782's: 1 and 3", { 100, 300 }, { .25, .75 } },
};

static void orders(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(weights); i++) {
		static const char *const names[] = { "a", "b", "c", "d" };
		size_t n = strcmp(weights[i].name, "one") == 0 ? 1
		           : weights[i].want[2] > 0            ? 4
		                                               : 2;
		unsigned first[4] = { 0 };
		uint64_t seed = 1;

		for (int k = 0; k < DRAWS; k++) {
			struct dns_host list[6] = { host("late", 20, 9) };
			bool seen[4] = { false };

			for (size_t j = 0; j < n; j++)
				list[j + 1] = host(names[j], 10, weights[i].weight[j]);
			list[n + 1] = host("early", 0, 0);
			dns_order(list, n + 2, &seed);
			assert_string_equal(list[0].name, "early");
			assert_string_equal(list[n + 1].name, "late");
			first[list[1].name[0] - 'a']++;
			for (size_t j = 1; j <= n; j++)
				seen[list[j].name[0] - 'a'] = true;
			for (size_t j = 0; j < n; j++)
				assert_true(seen[j]);
		}
		for (size_t j = 0; j < n; j++) {
			double got = (double)first[j] / DRAWS;

			/* 5 standard deviations of the worst case. */
			if (got < weights[i].want[j] - .018 ||
			    got > weights[i].want[j] + .018)
				fail_msg("%s: %s is first %.3f of the time, wanted %.3f",
				         weights[i].name, names[j], got,
				         weights[i].want[j]);
		}
	}
}

static void order_of_many(void **state)
{
	static struct dns_host list[DNS_RECORDS_MAX];
	uint64_t seed = 7;

	(void)state;
	dns_order(list, 0, &seed);
	for (unsigned i = 0; i < DNS_RECORDS_MAX; i++)
		list[i] = host("a", i * 7919 % 5, i % 3 * 32767);
	dns_order(list, DNS_RECORDS_MAX, &seed);
	for (size_t i = 1; i < DNS_RECORDS_MAX; i++)
		assert_true(list[i - 1].priority <= list[i].priority);
}

/* ---- Names ---- */

static const struct {
	const char *name, *domain;
	bool want;
} withins[] = {
	{ "example.org", "example.org", true },
	{ "mx.example.org", "example.org", true },
	{ "MX.Example.ORG", "example.org", true },
	{ "mx.example.org", "example.org.", true },
	{ "badexample.org", "example.org", false },
	{ "example.org.bad", "example.org", false },
	{ "org", "example.org", false },
	{ "mx.example.org", "", false },
	{ "mx.example.org", ".", false },
	{ "", "example.org", false },
};

static void names(void **state)
{
	static const struct {
		const char *name;
		bool want;
	} ok[] = {
		{ "a", true },     { "mx-1.example.org", true },
		{ "_a.b", true },  { "", false },
		{ ".", false },    { "a.", false },
		{ ".a", false },   { "a..b", false },
		{ "a b", false },  { "a\"b", false },
		{ "a\\b", false }, { "\xc3\xbc", false },
	};
	char label[65] = "", whole[255] = "";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(withins); i++)
		if (dns_within(str_z(withins[i].name), str_z(withins[i].domain)) !=
		    withins[i].want)
			fail_msg("%s in %s", withins[i].name, withins[i].domain);
	for (size_t i = 0; i < ARRAY_LEN(ok); i++)
		if (dns_name_ok(str_z(ok[i].name)) != ok[i].want)
			fail_msg("%s", ok[i].name);
	memset(label, 'a', 64);
	assert_false(dns_name_ok(str_z(label)));
	assert_true(dns_name_ok(str_z(label + 1)));
	for (size_t i = 0; i < 254; i++)
		whole[i] = i % 2 ? '.' : 'a';
	whole[253] = 'a';
	assert_false(dns_name_ok((struct str){ whole, 254 }));
	assert_true(dns_name_ok((struct str){ whole, 253 }));
}

/* ---- Hosts that need no DNS ---- */

static const struct {
	const char *name, *host[4], *want, *why;
} hosts[] = {
	{ "an address",
	  { "[192.0.2.7]" },
	  "[192.0.2.7] [192.0.2.7] 192.0.2.7 port 587\n",
	  "" },
	{ "IPv6",
	  { "[IPv6:2001:db8::7]" },
	  "[IPv6:2001:db8::7] [IPv6:2001:db8::7] 2001:db8::7 port 587\n",
	  "" },
	{ "without its name",
	  { "[2001:db8::7]" },
	  "[2001:db8::7] [2001:db8::7] 2001:db8::7 port 587\n",
	  "" },
	{ "in order",
	  { "[192.0.2.8]", "[2001:db8::7]", "[192.0.2.7]" },
	  "[192.0.2.8] [192.0.2.8] 192.0.2.8 port 587\n"
	  "[2001:db8::7] [2001:db8::7] 2001:db8::7 port 587\n"
	  "[192.0.2.7] [192.0.2.7] 192.0.2.7 port 587\n",
	  "" },
	{ "no address", { "[300.0.2.7]" }, "", "cannot find [300.0.2.7]: " },
	{ "one that is not found, and one that is",
	  { "[x]", "[192.0.2.7]" },
	  "[192.0.2.7] [192.0.2.7] 192.0.2.7 port 587\n",
	  "cannot find [x]: " },
	{ "two that are not found", { "[x]", "[y]" }, "", "cannot find [x]: " },
	{ "none", { NULL }, "", "" },
};

/* All that there are; why as resolve_next() gives it. */
static size_t find_all(const struct smarthost *h, struct target *t, struct buf *why)
{
	struct resolver r;
	size_t n = 0;

	assert_int_equal(resolve_begin(&r, h), 0);
	while (n < RESOLVE_HOSTS_MAX && resolve_next(&r, 10000, -1, &t[n], why))
		n++;
	/* What comes behind the last host. */
	assert_false(resolve_next(&r, 10000, -1, &t[0], why));
	assert_false(r.more);
	resolve_end(&r);
	return n;
}

static void finds(void **state)
{
	static struct target t[RESOLVE_HOSTS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		struct smarthost h = { .port = 587, .tls = CONF_TLS_STARTTLS };
		_cleanup_buf_ struct buf why = BUF_INIT, got = BUF_INIT;
		size_t n;

		for (size_t k = 0; k < 4 && hosts[i].host[k]; k++)
			strv_add(&h.host, str_z(hosts[i].host[k]));
		n = find_all(&h, t, &why);
		buf_z(&got, "");
		buf_z(&why, "");
		for (size_t k = 0; k < n; k++) {
			buf_fmt(&got, "%s %s", t[k].name, t[k].expect);
			for (size_t a = 0; a < t[k].addresses; a++)
				race_words(&t[k].address[a], &got, " ", " port ");
			buf_c(&got, '\n');
			assert_int_equal(t[k].tls, CONF_TLS_STARTTLS);
			assert_null(t[k].asked);
		}
		strv_free(&h.host);
		if (strcmp(got.p, hosts[i].want) != 0)
			fail_msg("%s: %s", hosts[i].name, got.p);
		if (strncmp(why.p, hosts[i].why, strlen(hosts[i].why)) != 0 ||
		    (!hosts[i].why[0] && why.n))
			fail_msg("%s: %s", hosts[i].name, why.p);
	}
}

/* More hosts than there is room for. */
static void finds_no_more(void **state)
{
	static struct target t[RESOLVE_HOSTS_MAX];
	struct smarthost h = { .port = 25 };
	_cleanup_buf_ struct buf why = BUF_INIT;

	(void)state;
	for (int i = 0; i < 100; i++)
		strv_add(&h.host, STR("[192.0.2.7]"));
	assert_int_equal(find_all(&h, t, &why), RESOLVE_HOSTS_MAX);
	assert_int_equal(why.n, 0);
	strv_free(&h.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),         cmocka_unit_test(reads_anything),
		cmocka_unit_test(reads_many),    cmocka_unit_test(orders),
		cmocka_unit_test(order_of_many), cmocka_unit_test(names),
		cmocka_unit_test(finds),         cmocka_unit_test(finds_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
