/* Whom a reply is about: the design's table, written down a second time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "smtp/verdict.h"

#define DONE VERDICT_DONE
#define LATER VERDICT_LATER
#define FAILED VERDICT_FAILED
#define HOST VERDICT_HOST
#define RECONNECT VERDICT_RECONNECT
#define REST VERDICT_REST

static const struct row {
	const char *reply;
	enum smtp_stage stage;
	unsigned successes, accepted;
	enum verdict_kind want;
} rows[] = {
	{ "220 hi", STAGE_GREETING, 0, 0, DONE },
	{ "250 hi", STAGE_GREETING, 0, 0, HOST },
	{ "554 no service", STAGE_GREETING, 0, 0, HOST },
	{ "421 busy", STAGE_GREETING, 0, 0, HOST },
	{ "250 me", STAGE_EHLO, 0, 0, DONE },
	{ "550 go away", STAGE_EHLO, 0, 0, HOST },
	{ "454 4.7.0 TLS not available", STAGE_TLS, 0, 0, HOST },
	{ "220 go ahead", STAGE_TLS, 0, 0, DONE },
	{ "235 2.7.0 ok", STAGE_AUTH, 0, 0, DONE },
	{ "250 ok", STAGE_AUTH, 0, 0, HOST },
	{ "535 5.7.8 no", STAGE_AUTH, 0, 0, HOST },
	{ "454 4.7.0 later", STAGE_AUTH, 0, 0, HOST },
	{ "501 5.5.2 what", STAGE_AUTH, 0, 0, HOST },

	{ "250 2.1.0 ok", STAGE_MAIL, 0, 0, DONE },
	{ "354 go", STAGE_MAIL, 0, 0, HOST },
	{ "451 later", STAGE_MAIL, 0, 0, LATER },
	{ "550 5.7.1 not you", STAGE_MAIL, 0, 0, FAILED },
	{ "553 5.1.8 sender", STAGE_MAIL, 3, 0, FAILED },
	{ "552 5.3.4 too big", STAGE_MAIL, 0, 0, FAILED },
	{ "451 4.3.0 trouble", STAGE_MAIL, 0, 0, HOST },
	{ "452 4.3.1 disk full", STAGE_MAIL, 0, 0, HOST },
	{ "452 4.3.4 too big now", STAGE_MAIL, 0, 0, LATER },
	{ "450 4.7.1 rate", STAGE_MAIL, 0, 0, HOST },
	{ "452 4.5.3 too many messages", STAGE_MAIL, 0, 0, LATER },
	{ "452 4.5.3 too many messages", STAGE_MAIL, 1, 0, RECONNECT },
	{ "452 too many", STAGE_MAIL, 7, 0, RECONNECT },
	{ "421 4.7.0 too many", STAGE_MAIL, 0, 0, HOST },
	{ "421 too many", STAGE_MAIL, 1, 0, RECONNECT },
	{ "432 4.3.2 throttled", STAGE_MAIL, 1, 0, HOST },
	{ "530 5.7.0 STARTTLS first", STAGE_MAIL, 0, 0, HOST },
	{ "530 5.7.1 Authentication required", STAGE_MAIL, 2, 0, HOST },
	{ "534 5.7.9 weak", STAGE_MAIL, 0, 0, HOST },
	{ "535 no", STAGE_MAIL, 0, 0, HOST },
	{ "538 no", STAGE_MAIL, 0, 0, HOST },
	{ "550 5.7.8 credentials", STAGE_MAIL, 0, 0, HOST },
	{ "550 5.7.11 encrypt", STAGE_MAIL, 0, 0, HOST },
	{ "550 5.7.30 requiretls", STAGE_MAIL, 0, 0, HOST },
	{ "503 5.5.1 nested MAIL", STAGE_MAIL, 0, 0, HOST },
	{ "500 what", STAGE_MAIL, 0, 0, HOST },
	{ "502 not implemented", STAGE_MAIL, 0, 0, HOST },
	{ "501 5.1.7 syntax", STAGE_MAIL, 0, 0, FAILED },
	{ "555 parameters", STAGE_MAIL, 0, 0, FAILED },
	{ "521 no mail here", STAGE_MAIL, 0, 0, HOST },

	{ "250 ok", STAGE_RCPT, 0, 0, DONE },
	{ "251 will forward", STAGE_RCPT, 0, 0, DONE },
	{ "252 try", STAGE_RCPT, 0, 0, DONE },
	{ "550 5.1.1 no such user", STAGE_RCPT, 0, 0, FAILED },
	{ "550 no such user", STAGE_RCPT, 0, 5, FAILED },
	{ "554 5.7.1 relaying denied", STAGE_RCPT, 0, 0, FAILED },
	{ "450 4.7.1 greylisted", STAGE_RCPT, 0, 0, LATER },
	{ "451 4.7.1 greylisted", STAGE_RCPT, 2, 1, LATER },
	{ "452 4.2.2 mailbox full", STAGE_RCPT, 1, 1, LATER },
	{ "452 4.5.3 too many", STAGE_RCPT, 0, 0, LATER },
	{ "452 4.5.3 too many", STAGE_RCPT, 0, 1, REST },
	{ "452 too many", STAGE_RCPT, 0, 100, REST },
	{ "452 too many", STAGE_RCPT, 0, 0, LATER },
	{ "552 too many", STAGE_RCPT, 0, 100, REST },
	{ "552 too many", STAGE_RCPT, 0, 0, FAILED },
	{ "552 5.2.2 over quota", STAGE_RCPT, 0, 1, FAILED },
	{ "550 5.5.3 too many", STAGE_RCPT, 0, 1, REST },
	{ "452 4.3.1 disk full", STAGE_RCPT, 0, 1, HOST },
	{ "451 4.3.0 lookup", STAGE_RCPT, 0, 0, HOST },
	{ "451 4.4.5 congestion", STAGE_RCPT, 0, 0, HOST },
	{ "421 bye", STAGE_RCPT, 0, 1, HOST },
	{ "421 bye", STAGE_RCPT, 1, 1, RECONNECT },
	{ "503 need MAIL", STAGE_RCPT, 0, 0, HOST },
	{ "530 5.7.0 log in", STAGE_RCPT, 0, 0, HOST },

	{ "354 go", STAGE_DATA, 0, 1, DONE },
	{ "250 ok", STAGE_DATA, 0, 1, HOST },
	{ "451 4.7.1 later", STAGE_DATA, 0, 1, LATER },
	{ "554 5.5.1 no", STAGE_DATA, 0, 1, FAILED },
	{ "503 5.5.1 need RCPT", STAGE_DATA, 0, 1, HOST },

	{ "250 2.0.0 queued as 1", STAGE_CONTENT, 0, 1, DONE },
	{ "550 5.7.1 spam", STAGE_CONTENT, 0, 1, FAILED },
	{ "554 rejected", STAGE_CONTENT, 5, 1, FAILED },
	{ "451 4.7.1 later", STAGE_CONTENT, 0, 1, LATER },
	{ "451 4.3.0 queue file", STAGE_CONTENT, 0, 1, HOST },
	{ "552 5.3.4 too big", STAGE_CONTENT, 0, 1, FAILED },
	{ "421 bye", STAGE_CONTENT, 0, 1, HOST },
	{ "421 bye", STAGE_CONTENT, 1, 1, RECONNECT },

	{ "250 flushed", STAGE_RSET, 0, 0, DONE },
	{ "554 too many nonmail commands", STAGE_RSET, 0, 0, RECONNECT },
	{ "421 bye", STAGE_RSET, 1, 0, RECONNECT },
	{ "421 bye", STAGE_RSET, 0, 0, HOST },
	{ "221 bye", STAGE_QUIT, 0, 0, DONE },
};

static void test_rows(void **state)
{
	struct reply r = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *t = &rows[i];
		_cleanup_buf_ struct buf in = BUF_INIT;
		enum verdict_kind got;

		buf_fmt(&in, "%s\r\n", t->reply);
		assert_true(reply_take(buf_view(&in), &r) > 0);
		got = verdict_of(t->stage, &r, t->successes, t->accepted);
		if (got != t->want)
			fail_msg("%s at %s (%u, %u): %d, want %d", t->reply,
			         smtp_stage_name(t->stage), t->successes, t->accepted,
			         (int)got, (int)t->want);
	}
	reply_free(&r);
}

/* Properties over every code, with and without an enhanced one. */
static void test_all(void **state)
{
	struct reply r = { 0 };

	(void)state;
	for (int s = STAGE_CONNECT; s <= STAGE_QUIT; s++) {
		for (int i = 0; i < 400 * 33 * 4; i++) {
			enum smtp_stage stage = (enum smtp_stage)s;
			unsigned succ = i & 1, acc = i >> 1 & 1;
			enum verdict_kind k;

			r.code = 200 + i / 4 % 400;
			r.enhanced[0] = i / 1600 ? r.code / 100 : 0;
			r.enhanced[1] = i / 1600 % 8;
			r.enhanced[2] = i / 1600 % 12;
			k = verdict_of(stage, &r, succ, acc);
			if (k == VERDICT_DOUBT)
				fail_msg("%d at %s: in doubt", r.code,
				         smtp_stage_name(stage));
			if (stage < STAGE_MAIL && k != DONE && k != HOST &&
			    k != RECONNECT)
				fail_msg("%d at %s blames a message", r.code,
				         smtp_stage_name(stage));
			if (k == FAILED && r.code < 500)
				fail_msg("%d at %s is permanent", r.code,
				         smtp_stage_name(stage));
			if (k == LATER && (r.code < 400 || r.code > 499))
				fail_msg("%d at %s is temporary", r.code,
				         smtp_stage_name(stage));
			if (k == DONE && r.code > 399)
				fail_msg("%d at %s is a success", r.code,
				         smtp_stage_name(stage));
			if (k == REST && (!acc || stage != STAGE_RCPT))
				fail_msg("%d at %s leaves a rest", r.code,
				         smtp_stage_name(stage));
			if (k == RECONNECT && !succ && stage != STAGE_RSET)
				fail_msg("%d at %s reconnects for ever", r.code,
				         smtp_stage_name(stage));
		}
	}
}

static void test_common(void **state)
{
	static const struct {
		const char *text;
		enum smtp_stage stage;
		enum verdict_kind kind;
		bool want;
	} common[] = {
		{ "553 5.7.1 not your address", STAGE_MAIL, FAILED, true },
		{ "550 sender not owned", STAGE_MAIL, FAILED, true },
		{ "451 4.1.8 try later", STAGE_MAIL, LATER, true },
		{ "552 5.3.4 too big", STAGE_MAIL, FAILED, false },
		{ "552 5.3.4 too big", STAGE_CONTENT, FAILED, false },
		{ "553 5.6.7 no SMTPUTF8", STAGE_MAIL, FAILED, false },
		{ "554 5.7.1 Relay access denied", STAGE_RCPT, FAILED, true },
		{ "550 relay not permitted", STAGE_RCPT, FAILED, true },
		{ "550 5.1.1 no such user", STAGE_RCPT, FAILED, false },
		{ "550 5.1.1 relay says no such user", STAGE_RCPT, FAILED, false },
		{ "550 no such user", STAGE_RCPT, FAILED, false },
		{ "450 4.7.1 greylisted", STAGE_RCPT, LATER, false },
		{ "554 5.7.1 spam", STAGE_CONTENT, FAILED, true },
		{ "554 no", STAGE_DATA, FAILED, true },
		{ "451 4.7.1 later", STAGE_CONTENT, LATER, false },
		{ "250 2.0.0 ok", STAGE_MAIL, DONE, false },
		{ "535 5.7.8 no", STAGE_MAIL, HOST, false },
		{ "", STAGE_CONTENT, FAILED, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(common); i++) {
		struct verdict v = { .kind = common[i].kind, .stage = common[i].stage };

		buf_z(&v.text, common[i].text);
		if (verdict_is_common(&v) != common[i].want)
			fail_msg("%s at %s", common[i].text,
			         smtp_stage_name(common[i].stage));
		buf_free(&v.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_common),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
