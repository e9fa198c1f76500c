#include "prog/fence.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	PUSH_FILES = 4096, /* its jobs have two each (push/hand.h) */
	SERVE_FILES = 64,
	SERVE_MEMORY = 512 << 20,  /* far above what the largest legal note needs */
	SESSION_MEMORY = 64 << 20, /* the largest legal envelope several times, and TLS */
};

/* ---- Landlock: files ---- */

/* From linux/landlock.h, which the C library we are linked with may not have. */
enum { LANDLOCK_VERSION = 1, LANDLOCK_PATH_BENEATH = 1 };
enum {
	MAY_WRITE_FILE = 1 << 1,
	MAY_READ_FILE = 1 << 2,
	MAY_READ_DIR = 1 << 3,
	MAY_REMOVE_FILE = 1 << 5,
	MAY_MAKE_FILE = 1 << 8,
};
struct ruleset {
	uint64_t files;
};
struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

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

int fence_landlock(void)
{
	long abi =
	    syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION);

	return abi > 0 ? (int)abi : 0;
}

/* Closes all files but what the rules allow. A rule whose folder is not there (< 0) opens
 * nothing. When one is refused, rather no fence of this kind than one that stops the work. */
static int close_files(const struct path_beneath *rule, size_t rules)
{
	int abi = fence_landlock();
	struct ruleset all;
	int fd;

	if (abi <= 0)
		return 0;
	all.files = all_rights(abi);
	fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (fd < 0)
		return 0;
	for (size_t i = 0; i < rules && abi; i++)
		if (rule[i].parent >= 0 &&
		    syscall(SYS_landlock_add_rule, fd, LANDLOCK_PATH_BENEATH, &rule[i],
		            0) < 0)
			abi = 0;
	if (abi && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		abi = 0;
	close(fd);
	return abi;
}

/* ---- seccomp: system calls ---- */

/* Which machine's system calls these are: another one's (32 bits on 64) have other numbers. */
#if defined(__x86_64__)
#define FENCE_ARCH 0xc000003eu
#elif defined(__aarch64__)
#define FENCE_ARCH 0xc00000b7u
#endif

#ifdef FENCE_ARCH
/* From linux/seccomp.h, filter.h, audit.h. */
enum { BPF_LOAD = 0x20, BPF_EQUAL = 0x15, BPF_AT_LEAST = 0x35, BPF_RETURN = 0x06 };
enum {
	AT_NR = 0,
	AT_ARCH = 4,
	AT_FIRST_ARG = 16,
	SECCOMP_FILTER = 2
}; /* both machines
                                                                           are little-endian */
#define ALLOW 0x7fff0000u
#define REFUSE (0x00050000u | EPERM)
struct insn {
	uint16_t code;
	uint8_t yes, no;
	uint32_t k;
};

/* What a process that was taken over could reach others with: mailchuted's socket, where its
 * uid may be an administrator's; mailchuted and its children, whom it could end. */
static const unsigned refused_calls[] = {
	SYS_socketpair,
	SYS_bind,
	SYS_listen,
	SYS_accept,
	SYS_accept4,
	SYS_execve,
	SYS_execveat,
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_kill,
	SYS_tkill,
	SYS_tgkill, /* abort(3) ends the process all the same */
	SYS_pidfd_open,
	SYS_pidfd_send_signal,
	SYS_rt_sigqueueinfo,
	SYS_prlimit64,
	SYS_io_uring_setup,
	SYS_bpf,
	SYS_keyctl,
	SYS_add_key,
	SYS_shmget,
	SYS_msgget,
	SYS_semget,
	SYS_mount,
	SYS_unshare,
	SYS_setns,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_connect, /* the last: not refused with unix_sockets */
};

static void refuse_calls(bool unix_sockets)
{
	enum { CALLS = ARRAY_LEN(refused_calls), HEAD = 5, SOCKET = 5 };
	const unsigned calls = CALLS - (unix_sockets ? 1 : 0);
	struct insn f[HEAD + CALLS + SOCKET] = {
		{ BPF_LOAD, 0, 0, AT_ARCH },
		{ BPF_EQUAL, 1, 0, FENCE_ARCH },
		{ BPF_RETURN, 0, 0, REFUSE },
		{ BPF_LOAD, 0, 0, AT_NR },
		/* x32: the same calls under other numbers. */
		{ BPF_AT_LEAST, (uint8_t)(calls + SOCKET - 1), 0, 0x40000000 },
	};
	struct insn *end = f + HEAD + calls;
	const struct {
		uint16_t n;
		const struct insn *v;
	} program = { (uint16_t)(HEAD + calls + SOCKET), f };

	for (unsigned i = 0; i < calls; i++)
		f[HEAD + i] = (struct insn){ BPF_EQUAL, (uint8_t)(calls + SOCKET - 2 - i),
			                     0, refused_calls[i] };
	/* socket(2), by its family; all else is allowed. */
	end[0] = (struct insn){ BPF_EQUAL, 0, 2, SYS_socket };
	end[1] = (struct insn){ BPF_LOAD, 0, 0, AT_FIRST_ARG };
	end[2] = (struct insn){ BPF_EQUAL, 0, 1, unix_sockets ? AF_UNIX : UINT32_MAX };
	end[3] = (struct insn){ BPF_RETURN, 0, 0, ALLOW };
	end[4] = (struct insn){ BPF_RETURN, 0, 0, REFUSE };
	prctl(PR_SET_SECCOMP, SECCOMP_FILTER, &program, 0, 0);
}
#else
static void refuse_calls(bool unix_sockets)
{
	(void)unix_sockets;
}
#endif

/* ---- The fences ---- */

static void give_up(rlim_t files)
{
	const struct rlimit no_core = { 0, 0 };
	struct rlimit few = { files, files }, now;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	/* The soft limit goes up to the hard one, which cannot be raised. */
	if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_max < files)
		few = (struct rlimit){ now.rlim_max, now.rlim_max };
	setrlimit(RLIMIT_NOFILE, &few);
}

static void bound(rlim_t octets)
{
	const struct rlimit none = { 0, 0 };
#ifndef __SANITIZE_ADDRESS__ /* whose shadow is larger than any limit */
	const struct rlimit memory = { octets, octets };

	setrlimit(RLIMIT_DATA, &memory);
#else
	(void)octets;
#endif
	setrlimit(RLIMIT_NPROC, &none);
}

int fence_push(void)
{
	give_up(PUSH_FILES);
	return close_files(NULL, 0);
}

int fence_route(void)
{
	int abi = fence_push();

	refuse_calls(false);
	return abi;
}

int fence_serve(int root)
{
	const struct path_beneath rule = { .allowed = MAY_READ_FILE | MAY_READ_DIR,
		                           .parent = root };
	int abi;

	give_up(SERVE_FILES);
	bound(SERVE_MEMORY);
	abi = close_files(&rule, 1);
	refuse_calls(false);
	return abi;
}

int fence_session(const char *spool)
{
	_cleanup_buf_ struct buf in = BUF_INIT, drop = BUF_INIT;
	_cleanup_fd_ int in_fd = -1, drop_fd = -1;
	int abi;

	buf_fmt(&in, "%s/in", spool);
	buf_fmt(&drop, "%s/in/drop", spool);
	in_fd = open(in.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
	drop_fd = open(drop.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* in/door is replaced at each change, so that no rule could be for it alone. */
	const struct path_beneath rules[] = {
		{ .allowed = MAY_READ_FILE | MAY_WRITE_FILE, .parent = in_fd },
		{ .allowed = MAY_READ_DIR | MAY_MAKE_FILE | MAY_REMOVE_FILE,
		  .parent = drop_fd },
	};

	give_up(SERVE_FILES);
	bound(SESSION_MEMORY);
	abi = close_files(rules, ARRAY_LEN(rules));
	refuse_calls(true);
	return abi;
}
