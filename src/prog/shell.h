/*
 * shell.h - an administrator's command line for sh(1): what it finds when it starts
 */
#ifndef PROG_SHELL_H
#define PROG_SHELL_H

#include "base/str.h"
#include <sys/types.h>

struct shell {
	const char *command;
	const char *home, *user; /* HOME and USER of its environment */
	const char *more;        /* one more NAME=value of it; NULL: none */
	int in, out, err;        /* over 2; -1: /dev/null */
};

/* Becomes the command: in a child that was forked for it. It gets nothing of ours but our user:
 * PATH, HOME and USER, the folder /, a mask of 077, signals as they are by default, and a
 * process group of its own, so that all of it can be ended. It ends when we do. Status 126 or
 * 127: it could not be started. */
NORETURN void shell_exec(const struct shell *s);

/* Ends what shell_exec() became, with all of its group, and waits for it. *ret_status: as of
 * waitpid(2). */
void shell_end(pid_t pid, int *ret_status);

/* Why a command that has ended is not to be relied on: "ended with status 3". Nothing for
 * status 0. */
void shell_words(int status, struct buf *b);

#endif
