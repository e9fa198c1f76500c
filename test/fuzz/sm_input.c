/*
 * Standard input of sendmail(8): the dot, the header, recipients, Bcc. The first byte
 * chooses how; the rest is the message. Nothing is stored.
 */
#include "inject/sm_input.h"
#include "base/io.h"
#include "mail/addr.h"
#include "mail/head.h"
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void check_rcpts(struct str header)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct sm_rcpts r = SM_RCPTS_INIT;
	int e = sm_head_rcpts(header, &r, &why);

	need((e == 0) == (why.n == 0));
	need(envelope_value_ok(buf_view(&why))); /* one plain line */
	for (size_t i = 0; i < r.n; i++)
		need(addr_envelope_ok(sm_rcpts_at(&r, i)));
	sm_rcpts_free(&r);
}

/* What is left has no Bcc, and taking it away once more changes nothing. */
static void check_print(struct str header)
{
	_cleanup_buf_ struct buf once = BUF_INIT, twice = BUF_INIT;
	struct head_field f;
	struct str rest;

	sm_head_print(&once, header);
	need(once.n <= header.n);
	rest = buf_view(&once);
	while (head_next(&rest, &f))
		need(!str_ieq(f.name, STR("bcc")) && !str_ieq(f.name, STR("resent-bcc")));
	sm_head_print(&twice, buf_view(&once));
	need(str_eq(buf_view(&once), buf_view(&twice)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char block[256];
	struct sm_source s = SM_SOURCE(-1);
	struct sm_head h;
	unsigned how = size ? data[0] : 0;
	struct str text = { size ? (const char *)data + 1 : "", size ? size - 1 : 0 };

	s.fd = io_memfd("fuzz", text);
	need(s.fd >= 0);
	s.dot_ends = how & 1;
	s.terminal = how & 2;
	if (sm_head_read(&s, block, SM_BLOCK_MIN + (how >> 2), &h) == 0) {
		need(h.header <= h.text.n && h.text.n <= text.n);
		need(h.text.n == 0 || memcmp(h.text.p, text.p, h.text.n) == 0);
		check_rcpts(str_head(h.text, h.header));
		check_print(str_head(h.text, h.header));
		buf_free(&h.big);
	}
	close(s.fd);
	return 0;
}
