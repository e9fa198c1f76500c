/*
 * maps.h - the maps of masquerade rules, read before the fence
 */
#ifndef PUSH_MAPS_H
#define PUSH_MAPS_H

#include "conf/conf.h"

/* Reads the files that rules name (masq_rule.map) into them; conf_free() gives them back.
 * What stands in them now counts, not what did when the configuration was read. -errno:
 * one cannot be read or is damaged, ret_why says which, and why; then nothing may be sent,
 * as addresses would go out that nobody knows there. */
int maps_read(struct conf *c, struct buf *ret_why);

#endif
