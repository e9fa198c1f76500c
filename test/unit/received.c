#include "mail/received.h"
#include "mail/guard.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ID "0123456789abcdef"
#define TAIL "\n\tid " ID "; Sun, 22 Nov 2026 01:46:00 +0000\n"
#define BY "\n\tby box.example.org (mailchute) with "

static const struct compose_conf conf = { .hostname = { "box.example.org", 15 } };

static void received(struct str client, struct buf *ret)
{
	const struct envelope e = { .client = client, .uid = 1000 };

	received_add(ret, received_host(&conf), &e, STR(ID),
	             STR("Sun, 22 Nov 2026 01:46:00 +0000"));
}

static void test_words(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "none", "",
		  "Received: by box.example.org (mailchute, from userid 1000)" TAIL },
		{ "plain", "ip=192.0.2.7 helo=printer port=25",
		  "Received: from printer ([192.0.2.7])" BY "ESMTP" TAIL },
		{ "HELO", "ip=192.0.2.7 helo=printer port=25 with=SMTP",
		  "Received: from printer ([192.0.2.7])" BY "SMTP" TAIL },
		{ "HELO under TLS", "ip=192.0.2.7 helo=printer tls=1.3 with=SMTP",
		  "Received: from printer ([192.0.2.7])" BY "ESMTPS" TAIL },
		{ "another with", "ip=192.0.2.7 helo=printer with=X",
		  "Received: from printer ([192.0.2.7])" BY "ESMTP" TAIL },
		{ "TLS", "ip=192.0.2.7 helo=printer tls=1.3",
		  "Received: from printer ([192.0.2.7])" BY "ESMTPS" TAIL },
		{ "login", "auth=ann+x@b.example ip=192.0.2.7 helo=printer",
		  "Received: from printer ([192.0.2.7]) (authenticated as "
		  "ann+x@b.example)" BY "ESMTPA" TAIL },
		{ "both", "ip=192.0.2.7 helo=printer tls=1.3 auth=ann port=587",
		  "Received: from printer ([192.0.2.7]) (authenticated as ann)" BY
		  "ESMTPSA" TAIL },
		{ "long login",
		  "ip=192.0.2.7 helo=printer.example.org auth=a@long.example.org",
		  "Received: from printer.example.org ([192.0.2.7])\n"
		  "\t(authenticated as a@long.example.org)" BY "ESMTPA" TAIL },
		{ "IPv6", "ip=2001:db8::1 helo=[IPv6:2001:db8::1]",
		  "Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])" BY
		  "ESMTP" TAIL },
		{ "no HELO", "ip=192.0.2.7",
		  "Received: from [192.0.2.7] ([192.0.2.7])" BY "ESMTP" TAIL },
		{ "no address", "helo=x", "Received: from x" BY "ESMTP" TAIL },
		{ "unix:", "uid=1000 helo=payroll",
		  "Received: from payroll (userid 1000)" BY "ESMTP" TAIL },
		{ "unix:, no HELO", "uid=1000",
		  "Received: from unknown (userid 1000)" BY "ESMTP" TAIL },
		{ "unix:, hostile HELO", "uid=1000 helo=x\\x20(userid\\x200)",
		  "Received: from x??userid?0? (userid 1000)" BY "ESMTP" TAIL },
		{ "hostile uid", "uid=1)(x helo=x",
		  "Received: from x (userid 1??x)" BY "ESMTP" TAIL },
		{ "nothing known", "port=25", "Received: from unknown" BY "ESMTP" TAIL },
		{ "no words", "printer, [192.0.2.7]",
		  "Received: from unknown" BY "ESMTP" TAIL },
		{ "hostile HELO", "ip=192.0.2.7 helo=a(b)\\x20by\\x0d\\x0a<>;\"\\xff",
		  "Received: from a?b??by??????? ([192.0.2.7])" BY "ESMTP" TAIL },
		{ "half a literal", "helo=[192.0.2.7",
		  "Received: from ?192.0.2.7" BY "ESMTP" TAIL },
		{ "cut escape", "helo=a\\x", "Received: from a?" BY "ESMTP" TAIL },
		{ "hostile login", "ip=192.0.2.7 helo=x auth=a)(b\\x5c",
		  "Received: from x ([192.0.2.7]) (authenticated as a??b?)" BY
		  "ESMTPA" TAIL },
		{ "hostile address", "ip=1](x) helo=x",
		  "Received: from x ([1??x?])" BY "ESMTP" TAIL },
		{ "the first counts", "helo=a helo=b ip=192.0.2.7 ip=192.0.2.8",
		  "Received: from a ([192.0.2.7])" BY "ESMTP" TAIL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;

		received(str_z(rows[i].in), &got);
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: got:\n%s", rows[i].name, got.p);
		if (guard_loop(buf_view(&got), conf.hostname, STR(ID)) == NULL)
			fail_msg("%s: guard does not know it", rows[i].name);
	}
}

/* Any byte in any word: the field stays one, of legal lines, with its comments closed. */
static void test_hostile(void **state)
{
	static const char *const keys[] = { "ip=", "uid=", "helo=", "auth=", "tls=", "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys) * 256; i++) {
		_cleanup_buf_ struct buf line = BUF_INIT, got = BUF_INIT;
		size_t lines = 0, depth = 0;
		struct str rest, one;

		buf_z(&line, keys[i / 256]);
		for (size_t n = 0; n < 5000; n++)
			buf_c(&line, n % 2 ? 'x' : (char)(i % 256));
		received(buf_view(&line), &got);
		rest = buf_view(&got);
		while (rest.n && str_cut(&rest, '\n', &one)) {
			if (one.n > 600 || (lines++ > 0) != (one.n && one.p[0] == '\t'))
				fail_msg("%s byte %zu: %s", keys[i / 256], i % 256,
				         got.p);
		}
		for (size_t n = 0; n < got.n; n++) {
			depth += got.p[n] == '(';
			if ((got.p[n] == ')' && depth-- == 0) || depth > 1 ||
			    (unsigned char)got.p[n] >= 0x7f)
				fail_msg("%s byte %zu: %s", keys[i / 256], i % 256,
				         got.p);
		}
		if (depth || lines > 4)
			fail_msg("%s byte %zu: %s", keys[i / 256], i % 256, got.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
