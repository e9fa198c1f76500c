/* Queue files: what parses is printed back as it was. */
#include "mail/envelope.h"
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf out = BUF_INIT, both = BUF_INIT;
	struct str text = { (const char *)data, size };
	struct envelope e;
	size_t used = 0;
	const char *why = NULL;
	int r = envelope_parse(text, &e, &used, &why);

	if (r == -EBADMSG)
		require(why != NULL);
	if (r != 0)
		return 0;
	require(used <= size && e.rcpts > 0);
	envelope_print_drop(&out, &e);
	require(out.n < used);
	require(str_eq(buf_view(&out), str_from(str_head(text, used), used - out.n)));
	envelope_print_attested(&both, e.uid, e.login, e.gecos, e.time);
	buf_str(&both, buf_view(&out));
	envelope_free(&e);
	require(envelope_parse(buf_view(&both), &e, &used, &why) == 0 && used == both.n);
	envelope_free(&e);
	/* No beginning of it is an envelope, or damaged. */
	for (size_t n = 0; n < both.n && n < 200; n++)
		require(envelope_parse(str_head(buf_view(&both), n), &e, &used, &why) ==
		        -EAGAIN);
	return 0;
}
