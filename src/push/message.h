/*
 * message.h - a queued message in the hands of push or the router: read, planned, composed
 */
#ifndef PUSH_MESSAGE_H
#define PUSH_MESSAGE_H

#include "conf/conf.h"
#include "mail/compose.h"
#include "mail/note.h"
#include "prog/job.h"

struct message {
	struct id id;
	uint32_t due;
	int fd;
	struct buf text; /* the beginning of the queue file: envelope and header */
	bool whole;      /* text is all of the file */
	struct envelope env;
	bool has_env;
	struct buf note_text;
	struct note note; /* with a plan; made from the envelope when there is none yet */
	bool noted;     /* its note holds this plan; else a whole note is to be written */
	bool doubted;   /* its last try ended in doubt */
	bool committed; /* for its keeper: the journal has an "s" of it (job.h) */
	/* Of each recipient: has a report told what became of it? */
	bool *told;
	/* Composed anew: of each recipient of the old note its index in the new plan plus one,
	 * 0: it is not there any more. */
	size_t *renumber;
	size_t renumbers;
	struct str original; /* the header as it came, without its empty line */
	int64_t body_at;     /* in fd */
	int64_t size;        /* octets of the message as it came */
	struct buf header;   /* as it goes out */
};

/* What composing needs of the configuration. Borrows from conf, and from room: a short name
 * of this host, for when no full one is known. */
enum { MESSAGE_NAME_MAX = 64 };
void message_conf(const struct conf *conf, char room[static MESSAGE_NAME_MAX + 1],
                  struct compose_conf *ret);

/* Reads the message (and the note, when note >= 0), makes the plan if there is none, and
 * composes the header. When somebody asked to have it composed anew (note.h, c), the plan
 * is made again: what is settled of addresses that are still in it stays settled, and the
 * message's clock begins anew. Takes both descriptors over. 0; -EBADMSG with *ret_why (a literal): damaged, for bad/;
 * -errno: it could not be read now. Input is hostile. The caller calls message_free() in any case. */
int message_load(struct message *m, const struct job_record *job, int fd, int note,
                 const struct compose_conf *c, const char **ret_why);
void message_free(struct message *m);

/* Appends the plan (note.h) for a new note, and to ret_kept the lines of the old note that
 * still count. mine: for each recipient whether it is in it; NULL: all are. */
void message_note(const struct message *m, struct str route, struct str origin,
                  const bool *mine, struct buf *ret_plan, struct buf *ret_kept);

#endif
