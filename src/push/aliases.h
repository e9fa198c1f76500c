/*
 * aliases.h - the files of aliases(5), read before the fence
 */
#ifndef PUSH_ALIASES_H
#define PUSH_ALIASES_H

#include "mail/alias.h"

/* Reads aliases (path; "": none) and all files they include into an empty table. Regular
 * files only. A file that is not there has no aliases; any other that cannot be read, and
 * any list, refuses whom it is about for now (alias.h). Never fails: what is wrong is in
 * ret->fault. Can block as long as a file system does. */
void aliases_read(const char *path, struct alias_table *ret);
/* Appends one fault of a table as a record for mailchuted (job.h): "log w aliases ...", without LF. i: below
 * ret->faults and ALIAS_FAULTS_MAX. */
void aliases_fault(const struct alias_table *t, size_t i, struct buf *ret);

#endif
