/*
 * The socket's answer as sendmail(8) and mailq read it: whole, and cut where the first byte
 * says. Both must come to the same; what goes to a terminal is plain.
 */
#include "inject/sm_socket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf whole = BUF_INIT, parts = BUF_INIT;
	struct sm_answer a = { .done = false }, b = { .done = false };
	struct str in = { size ? (const char *)data + 1 : "", size ? size - 1 : 0 };
	struct str words = STR(""), other = STR("");
	size_t step = size ? data[0] + 1U : 1;

	sm_answer_feed(&a, in, &whole);
	for (size_t at = 0; at < in.n; at += step)
		sm_answer_feed(&b, str_head(str_from(in, at), step), &parts);
	need(a.done == b.done && a.n == b.n && a.n <= SM_LAST_MAX);
	need(str_eq(buf_view(&whole), buf_view(&parts)));
	need(sm_answer_code(&a, &words) == sm_answer_code(&b, &other));
	need(str_eq(words, other) && str_chr(words, '\n') < 0);
	need(whole.n < in.n + 1);
	for (size_t i = 0; i < whole.n; i++)
		need(whole.p[i] == '\n' || whole.p[i] == '\t' ||
		     (whole.p[i] >= ' ' && whole.p[i] <= '~'));
	return 0;
}
