/* Address lists, envelope addresses and globs. */
#include "../unit/props.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };

	props_addr(text);
	if (addr_envelope_ok(text)) {
		struct str local, domain;

		addr_split(text, &local, &domain);
		PROPS_REQUIRE(local.n > 0 && memchr(data, '\n', size) == NULL);
		PROPS_REQUIRE(addr_glob(text, text) || memchr(data, '*', size) != NULL);
	}
	addr_glob(str_head(text, size / 2), str_from(text, size / 2));
	return 0;
}
