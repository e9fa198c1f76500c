/*
 * record.h - records that push and the router send to mailchuted (job.h), being put together
 */
#ifndef PUSH_RECORD_H
#define PUSH_RECORD_H

#include "prog/job.h"

/* Appends "<verb> <id> <due> ": the caller goes on, and ends the line. */
void record_begin(struct buf *b, const char *verb, const struct id *id, uint32_t due);
/* Appends one record for each line of lines. */
void record_lines(struct buf *b, const char *verb, const struct id *id, uint32_t due,
                  struct str lines);
/* Sends records in packets, cut at line ends. 0 or -errno. Blocks while mailchuted does not
 * read. */
int record_send(int sock, struct str text);

#endif
