#include "mail/guard.h"
#include "mail/compose.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define HOST "box.example.org"
#define ID "0123456789abcdef"
#define OURS(id)                                                        \
	"Received: by " HOST " (mailchute, from userid 1000)\n\tid " id \
	"; Sun, 22 Nov 2026 01:46:00 +0000\n"
#define THEIRS \
	"Received: from a by b with ESMTP id " ID "; Sun, 22 Nov 2026 01:46:00 +0000\n"

static void test_loop(void **state)
{
	static const struct {
		const char *name, *field;
		size_t times;
		const char *want; /* NULL: none; else part of the reply */
	} rows[] = {
		{ "none", "Subject: x\n", 60, NULL },
		{ "50", THEIRS, 50, NULL },
		{ "51", THEIRS, 51, "50 Received" },
		{ "case", "RECEIVED : x\n", 51, "50 Received" },
		{ "like it", "X-Received: x\n", 60, NULL },
		{ "own id", OURS(ID), 1, "this very message" },
		{ "own id in one line",
		  "Received: by BOX.example.org (mailchute, from userid 1) id " ID ";x\n",
		  1, "this very message" },
		{ "CR LF", "Received: by " HOST "\r\n\t(mailchute, x)\r\n id " ID "\r\n",
		  1, "this very message" },
		{ "own id, from a client",
		  "Received: from by ([192.0.2.7])\n\tby " HOST
		  " (mailchute) with ESMTPS\n"
		  "\tid " ID "; x\n",
		  1, "this very message" },
		{ "a client's HELO like us",
		  "Received: from " HOST " (mailchute)\n\tby b with ESMTP\n\tid " ID
		  "; x\n",
		  1, NULL },
		{ "other id", OURS("0123456789abcdee"), 10, NULL },
		{ "other id too often", OURS("0123456789abcdee"), 11, "10 times" },
		{ "another host's", "Received: by box (mailchute, x) id " ID ";\n", 11,
		  NULL },
		{ "another program's", "Received: by " HOST " (Postfix, x) id " ID ";\n",
		  11, NULL },
		{ "cut", "Received: by " HOST " (mailchute,\n", 1, NULL },
		{ "empty", "Received:\n", 1, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		const char *why;

		for (size_t k = 0; k < rows[i].times; k++)
			buf_z(&b, rows[i].field);
		why = guard_loop(buf_view(&b), STR(HOST), STR(ID));
		if (!why != !rows[i].want || (why && !strstr(why, rows[i].want)))
			fail_msg("%s: %s", rows[i].name, why ? why : "nothing");
		if (why && strncmp(why, "554 5.4.6 ", 10) != 0)
			fail_msg("%s: no reply: %s", rows[i].name, why);
	}
}

/* What compose makes is what guard knows. */
static void test_compose(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const struct compose_conf c = { .hostname = STR(HOST), .domain = STR("d") };
	const struct envelope e = { .uid = 1,
		                    .login = STR("x"),
		                    .time = 1795311960,
		                    .client = STR("192.0.2.7") };

	(void)state;
	compose_header(&c, &e, STR(ID), STR_NONE, STR("Subject: x\n"), &b);
	assert_non_null(guard_loop(buf_view(&b), STR(HOST), STR(ID)));
	assert_null(guard_loop(buf_view(&b), STR(HOST), STR("0123456789abcdee")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_compose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
