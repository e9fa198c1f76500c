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
/* Which groups who_is_in() is to know of, from now on; copies. Looking them up can be slow
 * where there is a directory service: hence only those that somebody needs. */
void who_ask_groups(const struct strv *groups);
/* Those of these groups that a uid with a login is in, parted by commas (envelope.h); empty
 * when it is in none or the lookup took over 5 s. */
void who_is_in(uid_t uid, struct buf *ret_groups);
/* who_is() and who_is_in() as the operations of adopt.h and desk.h; arg is not used. */
void who_op(void *arg, uid_t uid, struct buf *ret_login, struct buf *ret_name);
void who_op_groups(void *arg, uid_t uid, struct buf *ret_groups);
/* uid and gid of a login. 0, -ENOENT, -errno. */
int who_named(const char *login, uid_t *ret_uid, gid_t *ret_gid);

#endif
