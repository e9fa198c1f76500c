/* Address lists, envelope addresses and globs. */
#include "mail/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void inside(struct str text, struct str span)
{
	require(span.n == 0 || (span.p >= text.p && span.p + span.n <= text.p + text.n));
}

/* The plain form of an address that is fit for an envelope is read back as itself. */
static void check_plain(struct str plain)
{
	_cleanup_buf_ struct buf again = BUF_INIT;
	struct addr_list l;
	struct addr a;
	struct str local, domain;

	addr_split(plain, &local, &domain);
	require(local.n > 0);
	if (str_chr(local, '@') >= 0 && local.p[0] != '"')
		return; /* "a@b"@c with the quotes around a later word */
	addr_list_start(&l, plain);
	require(addr_list_next(&l, &a) && !l.bad);
	addr_plain(&again, &a);
	require(str_eq(buf_view(&again), plain));
	require(!addr_list_next(&l, &a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct addr_list l;
	struct addr a;
	size_t n = 0;

	addr_list_start(&l, text);
	while (addr_list_next(&l, &a)) {
		_cleanup_buf_ struct buf plain = BUF_INIT;

		require(++n <= size);
		inside(text, a.spec);
		inside(text, a.local);
		inside(text, a.domain);
		inside(text, a.phrase);
		inside(text, a.comment);
		inside(text, a.whole);
		inside(a.whole, a.spec);
		addr_plain(&plain, &a);
		if (addr_envelope_ok(buf_view(&plain)))
			check_plain(buf_view(&plain));
	}
	if (addr_envelope_ok(text)) {
		struct str local, domain;

		addr_split(text, &local, &domain);
		require(local.n > 0 && memchr(data, '\n', size) == NULL);
		require(addr_glob(text, text) || memchr(data, '*', size) != NULL);
	}
	addr_glob(str_head(text, size / 2), str_from(text, size / 2));
	return 0;
}
