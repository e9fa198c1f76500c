/*
 * fence_serve.h - the fence around the process that serves a connection
 */
#ifndef SERVE_FENCE_SERVE_H
#define SERVE_FENCE_SERVE_H

#include "base/base.h"

/* No new privileges, not dumpable, no core files, no child processes, few descriptors,
 * bounded memory; and where the kernel has Landlock, nothing can be opened but for reading,
 * and only what is below root (a folder's descriptor); and where it has seccomp, no sockets of
 * its own, no programs, no signals to others. Open descriptors stay usable. Returns
 * the Landlock ABI in force, 0: the kernel has none. Never fails: the fence is a second
 * wall. */
int fence_serve(int root);

#endif
