/*
 * journal.h - the run journals: what push learned, for the case that it or mailchuted
 * dies
 *
 * One file a push in run/, named by an id, made by mailchuted, written by push with one
 * write(2) a record through its descriptor (O_APPEND). Not synced: it is for kill -9; the
 * sync interval covers a power cut. Records are those of prog/job.h, behind a first line
 * "mailchute-run 1 <route>".
 */
#ifndef SPOOL_JOURNAL_H
#define SPOOL_JOURNAL_H

#include "spool/queue.h"

/* Makes a journal. Descriptor (write, append, close-on-exec) or -errno. */
int journal_create(struct spool *s, const struct id *run, const char *route);
/* Calls line() for every whole line behind the first, in order. 0; -ENOENT; -EBADMSG:
 * unknown version; -errno. */
int journal_read(struct spool *s, const struct id *run,
                 void (*line)(void *arg, struct str line), void *arg);
/* The route of a journal, from its first line. 0; -ENODATA: that line was cut by a crash,
 * so no push ever had this journal; -EBADMSG: unknown version; -errno. */
int journal_route(struct spool *s, const struct id *run,
                  char route[static QUEUE_ROUTE_MAX + 1]);
/* Its file and some space are kept for the next one ("spare"). */
void journal_remove(struct spool *s, const struct id *run);
/* Makes the spare where there is none; run: a new id. Best effort. */
void journal_spare(struct spool *s, const struct id *run);
/* The oldest journal for which busy(arg, id) is not true (busy may be NULL: any). False:
 * none. */
bool journal_find(struct spool *s, bool (*busy)(void *arg, const struct id *id),
                  void *arg, struct id *ret);

#endif
