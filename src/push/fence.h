/*
 * fence.h - giving up what a process exposed to hostile bytes does not need
 */
#ifndef PUSH_FENCE_H
#define PUSH_FENCE_H

#include "base/base.h"

/* No new privileges, not dumpable, no core files, few descriptors; and where the kernel has
 * Landlock, no file can be opened by its path any more. Open descriptors and the network
 * stay. Returns the Landlock ABI in force, 0: the kernel has none. Never fails: the fence
 * is a second wall. */
int fence_push(void);
/* The same, and no sockets of its own, no programs, no signals to others: what was given is
 * all there is. */
int fence_route(void);

#endif
