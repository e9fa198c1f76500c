/* The wire encoder: the first byte says how (stuffing, where it is cut), the rest is the
 * message. What comes out must keep the rules, and not depend on the cut. */
#include "smtp/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(struct str a, struct str b, bool stuff, struct buf *ret)
{
	struct wire w = { .stuff = stuff };

	wire_encode(&w, a, ret);
	wire_encode(&w, b, ret);
	wire_end(&w, ret);
}

static void check(struct str out, bool stuff)
{
	size_t start = 0;

	if (out.n && (out.n < 2 || memcmp(out.p + out.n - 2, "\r\n", 2) != 0))
		abort();
	for (size_t i = 0; i < out.n; i++) {
		bool dot = stuff && out.p[start] == '.';

		if (out.p[i] == '\0')
			abort();
		if (out.p[i] == '\r' && (i + 1 == out.n || out.p[i + 1] != '\n'))
			abort();
		if (out.p[i] != '\n')
			continue;
		if (i == 0 || out.p[i - 1] != '\r')
			abort();
		if (dot && out.p[start + 1] != '.')
			abort();
		if (i - 1 - start > WIRE_LINE_MAX + (dot ? 1U : 0U))
			abort();
		start = i + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
	struct str in = { (const char *)data + 1, size ? size - 1 : 0 };
	size_t at;
	bool stuff;

	if (!size)
		return 0;
	stuff = data[0] & 1;
	at = in.n * (data[0] >> 1) / 128;
	encode(in, STR_NONE, stuff, &a);
	check(buf_view(&a), stuff);
	encode(str_head(in, at), str_from(in, at), stuff, &b);
	if (!str_eq(buf_view(&a), buf_view(&b)))
		abort();
	if (!stuff) {
		buf_reset(&b);
		encode(buf_view(&a), STR_NONE, false, &b);
		if (!str_eq(buf_view(&a), buf_view(&b)))
			abort();
	}
	return 0;
}
