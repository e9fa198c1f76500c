/*
 * dir.h - inside of spool: reading folders, names in windows
 */
#ifndef SPOOL_DIR_H
#define SPOOL_DIR_H

#include "spool/id.h"
#include <dirent.h>

enum { DIR_WINDOW = 256 };

/* A folder, not through a symbolic link, with an offset of its own also when name is ".".
 * NULL: errno says why. */
DIR *dir_open(int at, const char *name);
/* Is it the name of a bucket, 8 digits and not 0? */
bool dir_bucket(const char *name, uint32_t *ret);
/* May it be a route's folder in queue/? Not "new", and no longer than a route's name is. */
bool dir_route(const char *name);

/* The ids of a folder, DIR_WINDOW at a time: by age within a window. */
struct window;
/* Replaces *w, which may be NULL. False: there is no such folder (errno), *w is NULL. */
bool window_open(struct window **w, int at, const char *name);
/* The next one; false: no more, or w is NULL. */
bool window_next(struct window *w, struct id *ret);
/* Has all that was read been given out? True also of NULL. */
bool window_used(const struct window *w);
void window_close(struct window **w);

#endif
