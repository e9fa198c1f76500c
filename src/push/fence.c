#include "push/fence.h"
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From linux/landlock.h, seccomp.h, filter.h and audit.h, which the C library we are linked
 * with may not have. */
enum { LANDLOCK_VERSION = 1, SECCOMP_FILTER = 2 };
struct ruleset {
	uint64_t files;
};
enum { BPF_LOAD = 0x20, BPF_EQUAL = 0x15, BPF_AT_LEAST = 0x35, BPF_RETURN = 0x06 };
enum { AT_NR = 0, AT_ARCH = 4 }; /* in struct seccomp_data */
#define ALLOW 0x7fff0000u
#define REFUSE (0x00050000u | EPERM)
struct insn {
	uint16_t code;
	uint8_t yes, no;
	uint32_t k;
};
struct insns {
	uint16_t n;
	const struct insn *v;
};

/* The rights of Landlock's first ABI are 13 bits, of the second one more, of the third
 * another: asking for rights that the kernel does not know would be refused. */
static uint64_t landlock_rights(int abi)
{
	uint64_t rights = (UINT64_C(1) << 13) - 1;

	if (abi >= 2)
		rights |= UINT64_C(1) << 13; /* REFER */
	if (abi >= 3)
		rights |= UINT64_C(1) << 14; /* TRUNCATE */
	return rights;
}

static int landlock_close_files(void)
{
	long abi =
	    syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION);
	struct ruleset attr;
	int fd;

	if (abi <= 0)
		return 0;
	attr.files = landlock_rights((int)abi);
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (fd < 0)
		return 0;
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		abi = 0;
	close(fd);
	return (int)abi;
}

int fence_push(void)
{
	const struct rlimit no_core = { 0, 0 }, few = { 256, 256 };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	setrlimit(RLIMIT_NOFILE, &few);
	return landlock_close_files();
}

/* Which machine's system calls these are: another one's (32 bits on 64) have other numbers. */
#if defined(__x86_64__)
#define FENCE_ARCH 0xc000003eu
#elif defined(__aarch64__)
#define FENCE_ARCH 0xc00000b7u
#endif

#ifdef FENCE_ARCH
/* What the router, taken over, could reach others with. */
static const unsigned refused_calls[] = {
	SYS_socket,         SYS_socketpair, SYS_connect,          SYS_bind,
	SYS_listen,         SYS_accept,     SYS_accept4,          SYS_execve,
	SYS_execveat,       SYS_ptrace,     SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_kill,           SYS_tkill,      SYS_pidfd_open,       SYS_pidfd_send_signal,
	SYS_io_uring_setup, SYS_bpf,        SYS_keyctl,           SYS_add_key,
	SYS_shmget,         SYS_msgget,     SYS_semget,           SYS_mount,
	SYS_unshare,        SYS_setns,      SYS_perf_event_open,  SYS_userfaultfd,
};

/* Best effort, as all of the fence: a kernel without seccomp goes on without. */
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
	const struct insns p = { ARRAY_LEN(f), f };

	for (unsigned i = 0; i < CALLS; i++)
		f[HEAD + i] =
		    (struct insn){ BPF_EQUAL, (uint8_t)(CALLS - i), 0, refused_calls[i] };
	f[HEAD + CALLS] = (struct insn){ BPF_RETURN, 0, 0, ALLOW };
	f[HEAD + CALLS + 1] = (struct insn){ BPF_RETURN, 0, 0, REFUSE };
	prctl(PR_SET_SECCOMP, SECCOMP_FILTER, &p, 0, 0);
}
#else
static void refuse_calls(void)
{
}
#endif

int fence_route(void)
{
	int abi = fence_push();

	refuse_calls();
	return abi;
}
