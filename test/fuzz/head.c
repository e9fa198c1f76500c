/* Where a header ends, and its fields. */
#include "../unit/props.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	size_t empty, part_empty, length = head_length(text, true, &empty);

	/* A beginning decides nothing that the whole would not. */
	for (size_t n = 0; n <= size && n < 200; n++) {
		size_t part = head_length(str_head(text, n), false, &part_empty);

		PROPS_REQUIRE(part <= n);
		if (part < n || part_empty)
			PROPS_REQUIRE(part == length && part_empty == empty);
	}
	props_head(text);
	return 0;
}
