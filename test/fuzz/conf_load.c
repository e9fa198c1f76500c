/* A configuration file of any bytes: never a crash, an exit or a word on standard output;
 * refused with lines that name the file, or packs and unpacks. */
#include "base/io.h"
#include "conf/conf.h"
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf err = BUF_INIT, packed = BUF_INIT;
	_cleanup_fd_ int fd = io_memfd("conf", (struct str){ (const char *)data, size });
	char path[64];
	struct conf c, d;

	if (fd < 0)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (conf_load(path, &c, &err) < 0) {
		if (!str_starts(buf_view(&err), str_z(path)) || err.p[err.n - 1] != '\n')
			abort();
		return 0;
	}
	if (err.n)
		abort();
	conf_pack(&c, &packed);
	if (conf_unpack(buf_view(&packed), &d) < 0)
		abort();
	conf_free(&c);
	conf_free(&d);
	return 0;
}
