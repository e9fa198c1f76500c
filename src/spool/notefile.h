/*
 * notefile.h - what is kept of a message that met trouble: its note, and the DSN that the
 * trouble led to
 *
 * A DSN is made known together with the note that tells of it: it is prepared under a name
 * that nobody looks at, the note gets the line "b <n>", then the DSN gets its id and is a
 * message like others. After a crash in between, the note says whether it is to be.
 */
#ifndef SPOOL_NOTEFILE_H
#define SPOOL_NOTEFILE_H

#include "spool/spool.h"

/* Notes. Durable on return: text is written and synced before a message is moved.
 * note_write makes it anew (the plan and what follows), note_append adds whole lines; a
 * last line that a crash cut is removed first. On an error the note is as it was (after
 * note_write: there is none); -EUCLEAN: it may have the text, not durably. */
int note_write(struct spool *s, const struct id *id, struct str text);
int note_append(struct spool *s, const struct id *id, struct str text);

/* Writes the n-th message derived from parent (a DSN) to queue/new as d.<parent>.<n>: the
 * attested lines, then drop's bytes. Synced on return. 0 or -errno. */
int derived_prepare(struct spool *s, const struct id *parent, unsigned n, int drop,
                    int64_t now);
/* Gives it its id (id_derive()). Durable on return; 0 also when it was done before. */
int derived_publish(struct spool *s, const struct id *parent, unsigned n);
/* At the start: what was prepared and not published is published when the parent's note
 * has its "b" line, and removed otherwise. */
void derived_recover(struct spool *s);

#endif
