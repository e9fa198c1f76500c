/*
 * boot.h - what mailchuted does before it does anything: descriptors, signals, rights
 */
#ifndef DAEMON_BOOT_H
#define DAEMON_BOOT_H

#include "base/str.h"

/* Opens descriptors 0 to 2 that are closed; nothing of ours gets their numbers. */
void boot_fds(void);
/* Raises the number of descriptors that may be open, for us and our children, to what the
 * system allows, and not more than is of use: some programs that a configuration starts close
 * them all one by one. Returns that number; below BOOT_FILES_MIN not everything may work. */
enum { BOOT_FILES_MIN = 64, BOOT_FILES_MAX = 16384 };
unsigned boot_files(void);
/* First of all: a SIGHUP that comes too early must not end us. */
void boot_signals_block(void);
/* A signalfd for SIGHUP, SIGTERM and SIGINT; SIGPIPE and SIGXFSZ are ignored from now on.
 * Descriptor or -errno. */
int boot_signals_open(void);
/* As root: makes the folder of the socket for the user login, when it is of the system (a
 * folder below /run, which only root can make). Best effort. */
void boot_run_folder(const char *path, const char *login);
/* As root: becomes the user, for good. 0 also when we are not root; -ENOENT; -EPERM: that
 * is root, too; -errno. */
int boot_become(const char *login);
/* No environment, no core files, no new rights. */
void boot_harden(void);

#endif
