#include "serve/fence_serve.h"
#include <errno.h>
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

/* The filter that push/fence.c gives the router; from linux/seccomp.h, filter.h, audit.h. */
#if defined(__x86_64__)
#define FENCE_ARCH 0xc000003eu
#elif defined(__aarch64__)
#define FENCE_ARCH 0xc00000b7u
#endif

#ifdef FENCE_ARCH
enum { BPF_LOAD = 0x20, BPF_EQUAL = 0x15, BPF_AT_LEAST = 0x35, BPF_RETURN = 0x06 };
enum { AT_NR = 0, AT_ARCH = 4, SECCOMP_FILTER = 2 };
#define ALLOW 0x7fff0000u
#define REFUSE (0x00050000u | EPERM)
struct insn {
	uint16_t code;
	uint8_t yes, no;
	uint32_t k;
};

/* Taken over, it could come to mailchuted's socket, where its uid is an administrator's, or
 * end mailchuted and its children. */
static const unsigned refused_calls[] = {
	SYS_socket,         SYS_socketpair, SYS_connect,          SYS_bind,
	SYS_listen,         SYS_accept,     SYS_accept4,          SYS_execve,
	SYS_execveat,       SYS_ptrace,     SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_kill,           SYS_tkill,      SYS_pidfd_open,       SYS_pidfd_send_signal,
	SYS_io_uring_setup, SYS_bpf,        SYS_rt_sigqueueinfo,  SYS_prlimit64,
	SYS_unshare,
};

/* Best effort: a kernel without seccomp goes on without. */
static void refuse_calls(void)
{
	enum { CALLS = ARRAY_LEN(refused_calls), HEAD = 5 };
	struct insn f[HEAD + CALLS + 2] = {
		{ BPF_LOAD, 0, 0, AT_ARCH },
		{ BPF_EQUAL, 1, 0, FENCE_ARCH },
		{ BPF_RETURN, 0, 0, REFUSE },
		{ BPF_LOAD, 0, 0, AT_NR },
		/* x32: the same calls under other numbers. */
		{ BPF_AT_LEAST, CALLS + 1, 0, 0x40000000 },
	};
	const struct {
		uint16_t n;
		const struct insn *v;
	} program = { ARRAY_LEN(f), f };

	for (unsigned i = 0; i < CALLS; i++)
		f[HEAD + i] =
		    (struct insn){ BPF_EQUAL, (uint8_t)(CALLS - i), 0, refused_calls[i] };
	f[HEAD + CALLS] = (struct insn){ BPF_RETURN, 0, 0, ALLOW };
	f[HEAD + CALLS + 1] = (struct insn){ BPF_RETURN, 0, 0, REFUSE };
	prctl(PR_SET_SECCOMP, SECCOMP_FILTER, &program, 0, 0);
}
#else
static void refuse_calls(void)
{
}
#endif

int fence_serve(int root)
{
	int abi;

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
	abi = landlock_read_below(root);
	refuse_calls();
	return abi;
}
