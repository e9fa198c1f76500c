/* Replies: any bytes, also as they come in one by one; and what is made of them. */
#include <errno.h>

#include "smtp/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct reply *r)
{
	_cleanup_buf_ struct buf line = BUF_INIT;

	if (r->code < 200 || r->code > 599 || r->text.n > REPLY_MAX)
		abort();
	reply_line(&line, r);
	if (line.n < 3 || line.n > 400)
		abort();
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] < 0x20 || line.p[i] > 0x7e)
			abort();
	for (int s = STAGE_CONNECT; s <= STAGE_QUIT; s++)
		if (verdict_of((enum smtp_stage)s, r, 1, 1) == VERDICT_DOUBT)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = { (const char *)data, size };
	struct reply r = { 0 };
	ptrdiff_t all = reply_take(in, &r), part = 0;

	if (all > (ptrdiff_t)size || all > REPLY_MAX ||
	    (all < 0 && all != -EBADMSG && all != -EMSGSIZE))
		abort();
	if (all > 0)
		check(&r);
	/* Byte by byte the same comes out, and it comes out once. */
	for (size_t n = 0; n <= size && n < 600 && part == 0; n++)
		part = reply_take(str_head(in, n), &r);
	if (part != 0 && part != all)
		abort();
	reply_free(&r);
	return 0;
}
