/*
 * log.h - one line an event, key=value
 *
 * Used by src/prog only. A line is "event key=value key=value ..."; the caller writes the
 * text, log_value() makes a value safe. Lines go to standard error, or to syslog(3) with
 * facility mail. Logging never fails and never blocks mail: errors are ignored.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/str.h"

enum log_level { LOG_LEVEL_ALERT, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* prog: the name in front of every line; must live for ever. */
void log_open(const char *prog, bool to_syslog, bool debug);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Appends " key=value"; the value is quoted when it has a blank or a quote, is escaped by
 * buf_escape otherwise, at most 300 bytes of it. Nothing is added for an empty value. */
void log_value(struct buf *line, const char *key, struct str value);
/* The same for what was escaped before, as a reply (smtp/reply.h) is: a backslash stays, so
 * that nothing is escaped twice. */
void log_text(struct buf *line, const char *key, struct str value);

#endif
