/* A packed configuration of any bytes: refused, or packs to the same bytes again, and gives
 * every message one of its smart hosts. */
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf again = BUF_INIT;
	struct str packed = { (const char *)data, size };
	struct conf c;

	if (conf_unpack(packed, &c) < 0)
		return 0;
	conf_pack(&c, &again);
	if (!str_eq(buf_view(&again), packed))
		abort();
	if (c.smarthosts && conf_route(&c, STR("ann@lists.example.org"),
	                               STR("bob@corp.example")) >= c.smarthosts)
		abort();
	conf_free(&c);
	return 0;
}
