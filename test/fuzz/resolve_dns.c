/* DNS answers: any octets. Names that come out are names; the order is one of the same hosts. */
#include "push/resolve_dns.h"
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_host list[DNS_RECORDS_MAX];
	uint64_t seed = size, before = 0, after = 0;
	ptrdiff_t n;

	if (size == 0)
		return 0;
	n = dns_take(data[0] & 1 ? DNS_MX : DNS_SRV, data + 1, size - 1, list);
	if (n > DNS_RECORDS_MAX ||
	    (n < 0 && n != -ENOTSUP && n != -EBADMSG && n != -EADDRNOTAVAIL))
		abort();
	for (ptrdiff_t i = 0; i < n; i++) {
		before += list[i].port + ((uint64_t)list[i].weight << 20);
		if (!dns_name_ok(str_z(list[i].name)))
			abort();
	}
	if (n > 0)
		dns_order(list, (size_t)n, &seed);
	for (ptrdiff_t i = 0; i < n; i++) {
		after += list[i].port + ((uint64_t)list[i].weight << 20);
		if (i && list[i - 1].priority > list[i].priority)
			abort();
	}
	if (before != after)
		abort();
	return 0;
}
