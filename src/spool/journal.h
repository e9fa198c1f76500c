/*
 * journal.h - the run journals: what push learned, for the case that it or mailchuted
 * dies
 *
 * One file a push in run/, named by an id, made by mailchuted, written by push with one
 * write(2) a record through its descriptor (O_APPEND). Not synced: it is for kill -9; the
 * sync interval covers a power cut. Records are those of prog/job.h, behind a first line
 * "mailchute-run 1 <route>".
 * Beside it <id>.given is mailchuted's list of what that push was given, "<id> <due>" a line:
 * of other messages its journal can say nothing, also when only the next mailchuted reads it.
 */
#ifndef SPOOL_JOURNAL_H
#define SPOOL_JOURNAL_H

#include "spool/queue.h"

/* Makes a journal. Descriptor (write, append, close-on-exec) or -errno. */
int journal_create(struct spool *s, const struct id *run, const char *route);
/* Makes the list of a journal. Descriptor (write, append, close-on-exec) or -errno: without a
 * list the journal is believed of any message. */
int journal_list(struct spool *s, const struct id *run);
/* Removes the list alone: it could not be kept complete. */
void journal_unlist(struct spool *s, const struct id *run);
/* The list, sorted, for journal_listed(). 0; -ENOENT: there is none; -errno. */
int journal_read_list(struct spool *s, const struct id *run, struct buf *ret);
bool journal_listed(const struct buf *list, const struct id *id, uint32_t due);
enum { JOURNAL_LIST_LINE = ID_LEN + 10 }; /* octets of "<id> <due>\n" */
/* Calls line() for every whole line behind the first, in order; a journal ends where a line is
 * longer than push can say (JOB_PACKET_MAX), or after JOURNAL_MAX octets. Input may be hostile.
 * 0; -ENOENT; -EBADMSG: unknown version, or such an end; -errno. */
enum { JOURNAL_MAX = 1 << 30 };
int journal_read(struct spool *s, const struct id *run,
                 void (*line)(void *arg, struct str line), void *arg);
/* The route of a journal, from its first line. 0; -ENODATA: that line was cut by a crash,
 * so no push ever had this journal; -EBADMSG: unknown version; -errno. */
int journal_route(struct spool *s, const struct id *run,
                  char route[static QUEUE_ROUTE_MAX + 1]);
/* Removes it and its list. Its file and some space are kept for the next one ("spare"). */
void journal_remove(struct spool *s, const struct id *run);
/* Makes the spare where there is none; run: a new id. Best effort. */
void journal_spare(struct spool *s, const struct id *run);
/* The oldest journal younger than after (NULL: of all) for which busy(arg, id) is not true
 * (busy may be NULL: any). 1; 0: there is none; -errno: nobody knows. */
int journal_find(struct spool *s, bool (*busy)(void *arg, const struct id *id), void *arg,
                 const struct id *after, struct id *ret);

#endif
