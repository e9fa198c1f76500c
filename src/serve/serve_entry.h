/*
 * serve_entry.h - one message as a listing sees it: envelope, note, and whose it is
 */
#ifndef SERVE_SERVE_ENTRY_H
#define SERVE_SERVE_ENTRY_H

#include "mail/note.h"
#include "spool/list.h"

struct entry {
	const struct list_item *item; /* borrowed */
	uint64_t uid;                 /* whose it is */
	bool owned;                   /* uid is known */
	int64_t size;                 /* octets of the message, without the envelope */
	int64_t submitted;            /* seconds */
	/* The envelope; it borrows from head. bad: it is damaged, and this is why (a
	 * literal); env is empty then. */
	const char *bad;
	struct envelope env;
	size_t head_used; /* octets of head that are envelope */
	size_t attested;  /* octets of head that the file does not have (a drop's) */
	struct buf head;
	/* The note, when it has one; it borrows from note_text. note_bad: damaged. */
	bool noted;
	const char *note_bad;
	struct note note;
	struct buf note_text;
};

/* Reads a message of which the viewer may know: all: every one, else those of uid. 0;
 * -EACCES: not his; -errno: cannot be read. Content is hostile, memory is bounded (by
 * ENVELOPE_MAX and NOTE_FILE_MAX). The caller frees, also after an error. */
int entry_load(struct entry *e, const struct list_item *item, bool all, uint64_t uid);
void entry_free(struct entry *e);

/* What the viewer is told of it; borrowed. */
const char *entry_state(const struct entry *e); /* new, waiting, held, bad, dropped */
struct str entry_route(const struct entry *e);  /* n == 0: none yet */
/* Seconds, 0: none (new, held, bad). */
int64_t entry_due(const struct entry *e);
/* The sender as submitted: "<>", an address, or the submitter's name (in ret). */
struct str entry_sender(const struct entry *e, struct buf *ret);
/* Recipients: those of the plan when there is one, else as submitted; none when the
 * envelope is damaged. */
size_t entry_rcpts(const struct entry *e);
struct entry_rcpt {
	struct str addr;
	enum note_state state;
	int code;
	struct str text; /* last words about it */
} entry_rcpt(const struct entry *e, size_t i);

#endif
