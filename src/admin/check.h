/*
 * check.h - `mailchute check`: can mail leave this machine?
 */
#ifndef ADMIN_CHECK_H
#define ADMIN_CHECK_H

#include "base/base.h"

/* Looks and prints; changes nothing. EX_OK, or EX_CONFIG: something is wrong. */
int check_run(const char *conf_path, const char *spool_path);

#endif
