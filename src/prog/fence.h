/*
 * fence.h - giving up what a process exposed to hostile bytes does not need
 *
 * A second wall, behind the one of users and modes: where the kernel has no Landlock or no
 * seccomp, or where it is another machine than those known here, that part is missing and
 * the process goes on. So none of these fails. There is no way back.
 *
 * All of them: no new privileges, not dumpable, no core files, few descriptors. Open
 * descriptors stay usable. Each returns the Landlock ABI in force, 0: the kernel has none.
 */
#ifndef PROG_FENCE_H
#define PROG_FENCE_H

#include "base/base.h"

/* The Landlock ABI that this kernel has, without giving up anything; 0: none. */
int fence_landlock(void);

/* No file can be opened by its path any more. The network stays. */
int fence_push(void);

/* The same, and no sockets of its own, no programs, no signals to others: what was given is
 * all there is. */
int fence_route(void);

/* As fence_route(), with bounded memory and no child processes; but what is below root (a
 * folder's descriptor) can be read. */
int fence_serve(int root);

/* For a session with a client. Bounded memory, no child processes, no programs, no signals to
 * others, no sockets but those of AF_UNIX (to mailchuted's and the log's). Of files only a
 * message can be dropped in SPOOL (a path): read and write what is below SPOOL/in, make and
 * remove in SPOOL/in/drop, both as far as the uid may. A spool that is not there cannot be
 * used later either. */
int fence_session(const char *spool);

#endif
