/* A note of any bytes: refused with a reason, or what is in it can be printed again and
 * gives the same plan. */
#include "mail/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf again = BUF_INIT;
	struct str text = { (const char *)data, size };
	struct note n, m;
	const char *why = NULL;

	if (note_parse(text, &n, &why) < 0) {
		if (!why)
			abort();
		return 0;
	}
	note_print_plan(&again, &n.plan, n.route, n.origin);
	for (size_t i = 0; i < n.plan.rcpts; i++)
		if (n.rcpt[i].state != NOTE_PENDING)
			note_print_result(&again, i + 1, n.rcpt[i].state, n.rcpt[i].time,
			                  n.rcpt[i].code, n.rcpt[i].text);
	if (note_parse(buf_view(&again), &m, &why) < 0)
		abort();
	if (m.plan.rcpts != n.plan.rcpts || m.pending != n.pending ||
	    !str_eq(m.origin, n.origin))
		abort();
	for (size_t i = 0; i < n.plan.rcpts; i++)
		if (m.rcpt[i].state != n.rcpt[i].state ||
		    strcmp(m.plan.rcpt[i].addr, n.plan.rcpt[i].addr) != 0)
			abort();
	note_free(&n);
	note_free(&m);
	return 0;
}
