/*
 * who.h - names of uids, looked up by mailchute-look (NSS can block), remembered for a while
 */
#ifndef PROG_WHO_H
#define PROG_WHO_H

#include "base/str.h"
#include <sys/types.h>

/* Which program to ask; before the first use. */
void who_ask(const char *libexec);
/* Login and full name (the first part of gecos) of a uid; empty when it has none or the
 * lookup took over 5 s. Bytes that must not stand in a queue file are left out. */
void who_is(uid_t uid, struct buf *ret_login, struct buf *ret_name);
/* uid and gid of a login. 0, -ENOENT, -errno. */
int who_named(const char *login, uid_t *ret_uid, gid_t *ret_gid);

#endif
