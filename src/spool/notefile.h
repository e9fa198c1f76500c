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
 * last line that a crash cut is removed first; note_append_once does not when the note ends with
 * them already, for what is tried again and again. On an error the note is as it was (after
 * note_write: there is none); -EUCLEAN: it may have the text, not durably. */
int note_write(struct spool *s, const struct id *id, struct str text);
int note_append(struct spool *s, const struct id *id, struct str text);
int note_append_once(struct spool *s, const struct id *id, struct str text);

/* Removes the note of a message that is nowhere any more; best effort. */
void note_remove_orphan(struct spool *s, const struct id *id);
/* Does the note ask for a new plan (a "c" line)? Then it is still the old one. */
bool note_to_recompose(struct spool *s, const struct id *id);

/* Writes the n-th message derived from parent (a DSN) to queue/new as d.<parent>.<n>: the
 * attested lines, then drop's bytes. Synced on return. 0 or -errno. */
int derived_prepare(struct spool *s, const struct id *parent, unsigned n, int drop,
                    int64_t most, int64_t now);
/* Gives it its id (id_derive()). Durable on return; 0 also when it was done before. */
int derived_publish(struct spool *s, const struct id *parent, unsigned n);
/* The same for a part of a message that is split over routes (n >= PART_FIRST): d.<parent>.<n>
 * is a hard link of the parent's file at from (a path below queue/), and note is the note
 * of the part, written under its id behind that. Durable on return, published with
 * derived_publish(). Killed in between, or when it is not published: derived_recover()
 * removes both, the note first, so that no note is left that nobody knows of. -EEXIST: the
 * part is there already (or a message of its id), nothing was changed; -errno: nothing is
 * left. */
enum { PART_FIRST = 900001, PART_MAX = 999999 };
int part_prepare(struct spool *s, const struct id *parent, unsigned n, const char *from,
                 struct str note);

/* Takes the name of something prepared apart: d.<parent>.<n>. False: another name. */
bool derived_parse(const char *name, struct id *ret_parent, unsigned *ret_n);
/* Publishes what derived_publish() failed to, before its parent is tried again: with the
 * parent goes the note that tells of it. Costs nothing when nothing failed. False: it failed
 * again. */
bool derived_again(struct spool *s);
/* At the start: what was prepared and not published is published when the parent's note
 * has its "b" line, and removed otherwise, a part together with its note. */
void derived_recover(struct spool *s);

#endif
