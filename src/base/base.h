/*
 * base.h - what every file of mailchute starts with
 *
 * Functions of the libraries (everything outside src/prog) return 0 or -errno, never log
 * and never exit; what they give back through a ret_ parameter is untouched on failure.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN __attribute__((noreturn))

/* Out of memory, or a bug: say so on standard error and abort. Crash-only is safe here,
 * since every state of the spool is a legal one. */
NORETURN void die_oom(void);

/* Closes *fd if it is open (>= 0) and keeps errno; for _cleanup_fd_. */
void cleanup_fd(const int *fd);
#define _cleanup_fd_ __attribute__((cleanup(cleanup_fd)))

#pragma GCC poison strcpy strcat sprintf strtok atoi gets localtime
#endif
