#include "serve/fence_serve.h"
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From linux/landlock.h, which the C library we are linked with may not have. */
enum { LANDLOCK_VERSION = 1, LANDLOCK_PATH_BENEATH = 1 };
enum { MAY_READ_FILE = 1 << 2, MAY_READ_DIR = 1 << 3 };
struct ruleset {
	uint64_t files;
};
struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

enum {
	FENCE_FILES = 64,
	FENCE_MEMORY = 512 << 20, /* far above what the largest legal note needs */
};

/* The rights of Landlock's first ABI are 13 bits, of the second one more, of the third
 * another: asking for rights that the kernel does not know would be refused. */
static uint64_t all_rights(long abi)
{
	uint64_t rights = (UINT64_C(1) << 13) - 1;

	if (abi >= 2)
		rights |= UINT64_C(1) << 13; /* REFER */
	if (abi >= 3)
		rights |= UINT64_C(1) << 14; /* TRUNCATE */
	return rights;
}

static int landlock_read_below(int root)
{
	long abi =
	    syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION);
	const struct path_beneath rule = { .allowed = MAY_READ_FILE | MAY_READ_DIR,
		                           .parent = root };
	struct ruleset all;
	int fd;

	if (abi <= 0)
		return 0;
	all.files = all_rights(abi);
	fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (fd < 0)
		return 0;
	/* Without the rule listings would be empty: then rather no fence of this kind. */
	if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_PATH_BENEATH, &rule, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		abi = 0;
	close(fd);
	return (int)abi;
}

int fence_serve(int root)
{
	const struct rlimit none = { 0, 0 }, files = { FENCE_FILES, FENCE_FILES };
#ifndef __SANITIZE_ADDRESS__ /* whose shadow is larger than any limit */
	const struct rlimit memory = { FENCE_MEMORY, FENCE_MEMORY };

	setrlimit(RLIMIT_DATA, &memory);
#endif
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NPROC, &none);
	setrlimit(RLIMIT_NOFILE, &files);
	return landlock_read_below(root);
}
