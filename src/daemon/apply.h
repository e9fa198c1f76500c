/*
 * apply.h - what push said of a message becomes true on disk
 *
 * Order: the DSN is committed, then the note, then the message is moved or removed; so a
 * crash in between only repeats steps that are the same when done twice.
 */
#ifndef DAEMON_APPLY_H
#define DAEMON_APPLY_H

#include "daemon/sched.h"

/* Collects one record of a job; *fd: a descriptor that came with it, taken over (and set
 * to -1) by "dsn". True when the record ends the try: apply it. */
bool job_take(struct job *j, const struct job_record *rec, int *fd);
/* A part of the message, its note in fd (not taken over): prepared under the spool's hidden
 * name, published when the message's own note is durable. */
void job_part(struct job *j, struct spool *s, const struct job_record *rec, int fd);
/* Applies an "ok" or "end" record. True: the job is settled. False: the spool failed
 * (logged); the message stays as it was. */
bool job_apply(struct job *j, struct queue *q, struct spool *s,
               const struct job_record *rec, int64_t now);
/* Do the new lines of its note say that this try ended in doubt? (note.h) */
bool job_in_doubt(const struct job *j);
/* Applies what a journal holds that was not applied; logs possible duplicates. Messages
 * already settled are passed over. in_hand: what push had not settled by the end of its run,
 * and all others are passed over unseen; NULL: nobody knows. Adds the messages to *stuck that
 * JOURNAL_STUCK is about. What was applied is durable, unless it is JOURNAL_KEPT. Input may be
 * hostile. */
enum journal_result journal_apply(struct spool *s, const struct id *run,
                                  const struct jobs *in_hand, struct jobs *stuck,
                                  int64_t now);
/* Applies the journals that an earlier mailchuted or push left, and removes those that are
 * done; not those of pushes at work, for which busy() is true (NULL: there are none). *stuck is
 * brought up to date. The worst of their results. */
enum journal_result journals_replay(struct spool *s, int64_t now,
                                    bool (*busy)(void *arg, const struct id *id),
                                    void *arg, struct jobs *stuck);

/* The same for a mailchuted at work: what it led to is in s->stuck and *s->replayed. */
enum journal_result journals_settle(const struct sched *s, int64_t now);

#endif
