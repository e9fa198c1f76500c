/*
 * message.h - a queued message in push's hands: read, planned, composed
 */
#ifndef PROG_MESSAGE_H
#define PROG_MESSAGE_H

#include "conf/conf.h"
#include "mail/compose.h"
#include "mail/note.h"
#include "prog/job.h"

struct message {
	struct id id;
	uint32_t due;
	int fd;
	struct buf text; /* the beginning of the queue file: envelope and header */
	struct envelope env;
	bool has_env;
	struct buf note_text;
	struct note note; /* with a plan; made from the envelope when there is none yet */
	bool noted;       /* it came with a note */
	struct str original; /* the header as it came, without its empty line */
	int64_t body_at;     /* in fd */
	int64_t size;        /* octets of the message as it came */
	struct buf header;   /* as it goes out */
};

/* Reads the message (and the note, when note >= 0), makes the plan if there is none, and
 * composes the header. Takes both descriptors over. 0; -EBADMSG with *ret_why (a literal): damaged, for bad/;
 * -errno: it could not be read now. Input is hostile. The caller calls message_free() in any case. */
int message_load(struct message *m, const struct job_record *job, int fd, int note,
                 const struct compose_conf *c, const char **ret_why);
void message_free(struct message *m);

#endif
