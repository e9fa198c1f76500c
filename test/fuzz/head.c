/* Where a header ends, and its fields. */
#include "mail/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size }, rest;
	size_t empty, part_empty, length = head_length(text, true, &empty);
	struct head_field f;
	const char *at = text.p;

	require(length <= size && empty <= length);
	/* A beginning decides nothing that the whole would not. */
	for (size_t n = 0; n <= size && n < 200; n++) {
		size_t part = head_length(str_head(text, n), false, &part_empty);

		require(part <= n);
		if (part < n || part_empty)
			require(part == length && part_empty == empty);
	}
	/* The fields are the header, without gaps but for a first mbox line. */
	rest = str_head(text, length - empty);
	while (head_next(&rest, &f)) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		require(f.name.n > 0 && f.name.p == f.raw.p);
		require(f.raw.p == at || at == text.p);
		require(f.body.p + f.body.n <= f.raw.p + f.raw.n);
		at = f.raw.p + f.raw.n;
		require(rest.p == at);
		head_unfold(&b, f.body);
		for (size_t i = 0; i < b.n; i++)
			require((unsigned char)b.p[i] >= 0x20 && b.p[i] != 0x7f);
	}
	require(at == text.p || (size_t)(at - text.p) == length - empty);
	return 0;
}
