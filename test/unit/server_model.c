/* Random sequences of commands against a reference model, which is a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <limits.h>

#include "serverbed.h"

enum { SEQUENCES = 150000, STEPS_MAX = 14 };

/* The model's states; small letters before the login, capitals behind it. A client that
 * is not logged in may not relay, so it gets no recipient. */
static const char states[] = "isISRulpqd";
/*	i  nothing       s  a sender
 *	I  nothing       S  a sender     R  a recipient, too    d  in the content
 *	u  334 for a name, l  for PLAIN, p  for the password of "user", q  of another name
 *	-  closed
 */

struct row {
	const char *line;
	/* For each state: the class of the reply (0: none), the next state. */
	const char *cells;
};

/* clang-format off: a table */
static const struct row model[] = {
	/*                           i  s  I  S  R  u  l  p  q  d  */
	{ "EHLO x", "2i 2i 2I 2I 2I 5i 5i 5i 5i 0d" },
	{ "helo x", "2i 2i 2I 2I 2I 5i 5i 5i 5i 0d" },
	{ "EHLO", "5i 5s 5I 5S 5R 3q 5i 5i 5i 0d" },
	{ "MAIL FROM:<a@b>", "2s 5s 2S 5S 5R 5i 5i 5i 5i 0d" },
	{ "mail from: a@b SIZE=9", "2s 5s 2S 5S 5R 5i 5i 5i 5i 0d" },
	{ "MAIL FROM:<a@b> SIZE=9999", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "MAIL FROM:<a@b> X=9", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "MAIL", "5i 5s 5I 5S 5R 3q 5i 5i 5i 0d" },
	{ "RCPT TO:<c@d>", "5i 5s 5I 2R 2R 5i 5i 5i 5i 0d" },
	{ "Rcpt To: c@d", "5i 5s 5I 2R 2R 5i 5i 5i 5i 0d" },
	{ "RCPT TO:<c@d> ORCPT=x", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "RCPT TO:<>", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "DATA", "5i 5s 5I 5S 3d 3q 5i 5i 5i 0d" },
	{ "data", "5i 5s 5I 5S 3d 3q 5i 5i 5i 0d" },
	{ ".", "5i 5s 5I 5S 5R 5i 5i 5i 5i 2I" },
	{ "..", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "RSET", "2i 2i 2I 2I 2I 3q 5i 5i 5i 0d" },
	{ "RSET x", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "NOOP", "2i 2s 2I 2S 2R 3q 5i 5i 5i 0d" },
	{ "HELP me", "2i 2s 2I 2S 2R 5i 5i 5i 5i 0d" },
	{ "VRFY a", "2i 2s 2I 2S 2R 5i 5i 5i 5i 0d" },
	{ "EXPN a", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "STARTTLS", "5i 5s 5I 5S 5R 3q 5i 5i 5i 0d" },
	{ "what", "5i 5s 5I 5S 5R 3q 5i 5i 5i 0d" },
	{ "", "5i 5s 5I 5S 5R 3q 5i 5i 5i 0d" },
	{ "AUTH LOGIN", "3u 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "AUTH LOGIN dXNlcg==", "3p 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "AUTH PLAIN", "3l 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "AUTH PLAIN AHVzZXIAcHc=", "2I 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "AUTH PLAIN AHVzZXIAcHd4", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "AUTH XX", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "dXNlcg==", "5i 5s 5I 5S 5R 3p 5i 5i 5i 0d" },
	{ "cHc=", "5i 5s 5I 5S 5R 3q 5i 2I 5i 0d" },
	{ "AHVzZXIAcHc=", "5i 5s 5I 5S 5R 3q 2I 5i 5i 0d" },
	{ "*", "5i 5s 5I 5S 5R 5i 5i 5i 5i 0d" },
	{ "QUIT", "2- 2- 2- 2- 2- 3q 5i 5i 5i 0d" },
	{ "BDAT 3 LAST", "5- 5- 5- 5- 5- 5i 5i 5i 5i 0d" },
	{ "GET / HTTP/1.1", "5- 5- 5- 5- 5- 5i 5i 5i 5i 0d" },
};
/* clang-format on */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Class of the reply in out, '0': there is none. */
static char class_of(struct str out)
{
	return out.n ? out.p[0] : '0';
}

/* Does the session think it is where the model is? */
static bool agree(const struct serverbed *b, char at)
{
	bool in = strchr("ISRd", at) != NULL;

	if (at == '-')
		return b->s.state == SERVER_CLOSED && !b->open;
	return in == (b->s.user.n > 0) && b->open == (strchr("sSRd", at) != NULL) &&
	       (b->s.rcpts > 0) == (strchr("Rd", at) != NULL) &&
	       (b->s.state == SERVER_DATA) == (at == 'd');
}

/* One sequence; notes in seen, for each row, the states in which it was tried. */
static void sequence(uint64_t *random, unsigned *seen)
{
	_cleanup_buf_ struct buf said = BUF_INIT;
	uint64_t steps = next_random(random) % STEPS_MAX + 1;
	struct serverbed b;
	char at = 'i';

	bed_open(&b);
	b.quiet = true;
	b.conf.trusted = false;
	b.conf.auth_offered = b.conf.auth_insecure = true;
	b.conf.errors_max = b.conf.auth_max = UINT_MAX;
	b.conf.size_max = 1000;
	bed_start(&b);
	while (steps-- && at != '-') {
		/* Often one that leads on, so that the deep states are met. */
		static const size_t on[] = { 3, 8, 12, 14, 28 };
		size_t k = next_random(random) % 3
		               ? next_random(random) % ARRAY_LEN(model)
		               : on[next_random(random) % ARRAY_LEN(on)];
		const struct row *row = &model[k];
		size_t column = (size_t)(strchr(states, at) - states);
		const char *cell = row->cells + 3 * column;
		const char *why;

		buf_fmt(&said, "%s | ", row->line);
		buf_reset(&b.out);
		bed_say(&b, str_z(row->line));
		bed_say(&b, STR("\r\n"));
		seen[k] |= 1U << column;
		why = bed_bad_replies(buf_view(&b.out));
		if (why || b.wrong)
			fail_msg("%s: %s", said.p, why ? why : b.wrong);
		if (class_of(buf_view(&b.out)) != cell[0] || !agree(&b, cell[1]))
			fail_msg("%s from %c: want %.2s, got %s", said.p, at, cell,
			         b.out.n ? b.out.p : "nothing");
		at = cell[1];
	}
	bed_close(&b);
	if (b.open)
		fail_msg("%s: the transaction stayed open", said.p);
}

static void test_model(void **state)
{
	unsigned seen[ARRAY_LEN(model)] = { 0 };
	uint64_t random = 88172645463325252u;

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(model); k++)
		assert_int_equal(strlen(model[k].cells), 3 * (sizeof(states) - 1) - 1);
	for (unsigned i = 0; i < SEQUENCES; i++)
		sequence(&random, seen);
	/* Each cell of the table was tried. */
	for (size_t k = 0; k < ARRAY_LEN(model); k++)
		if (seen[k] != (1U << (sizeof(states) - 1)) - 1)
			fail_msg("%s: not tried in each state", model[k].line);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
