/*
 * check_inside.h - what check.c and its parts share
 */
#ifndef ADMIN_CHECK_INSIDE_H
#define ADMIN_CHECK_INSIDE_H

#include "conf/conf.h"
#include <pwd.h>

struct check {
	const char *conf_path, *spool_path;
	unsigned wrong;
	struct buf out;
};

/* A line each, of what is right and of what is not. */
void check_good(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void check_wrong(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same of each line of a text. */
void check_wrong_lines(struct check *c, struct str text);

enum { CHECK_LOOK_MS = 10000 /* for a child that reads files */ };

/* In a child: this user, if we are root, to see what he sees. 0 or -errno. */
int check_become(const struct passwd *pw);

/* check_listen.c: can mailchute-smtpd read its configuration and the files of its sections, is
 * a certificate of use, and does it listen? Blocks a few seconds a section at most. */
void check_listen(struct check *c, const struct conf *conf);

#endif
