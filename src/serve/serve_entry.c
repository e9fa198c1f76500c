#include "serve/serve_entry.h"
#include "base/io.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static int load_envelope(struct entry *e)
{
	int r = queue_envelope(e->item->fd, &e->head, &e->env, &e->head_used, &e->bad);

	/* Then e->bad says why. */
	return r == -EBADMSG ? 0 : r;
}

/* fstat has the size and a drop's owner; who owns a queue file is in its attested lines. */
static int load_owner(struct entry *e)
{
	struct stat st;
	int64_t size;
	uid_t uid;

	if (fstat(e->item->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	e->size = st.st_size;
	e->submitted = st.st_mtime;
	e->owned = true;
	if (e->item->where == LIST_DROP) {
		e->uid = st.st_uid;
		envelope_print_attested(&e->head, st.st_uid, STR("-"), STR(""),
		                        st.st_mtime);
		e->attested = e->head.n;
	} else if (queue_owner(e->item->fd, &uid, &size) == 0) {
		e->uid = uid;
	} else {
		e->owned = false;
	}
	return 0;
}

static void load_note(struct entry *e)
{
	int r;

	if (e->item->note < 0)
		return;
	if (lseek(e->item->note, 0, SEEK_SET) < 0 ||
	    io_slurp(e->item->note, &e->note_text, NOTE_FILE_MAX) < 0) {
		e->note_bad = "it cannot be read";
		return;
	}
	r = note_parse(buf_view(&e->note_text), &e->note, &e->note_bad);
	e->noted = r == 0;
	if (e->noted)
		e->note_bad = NULL;
}

int entry_load(struct entry *e, const struct list_item *item, bool all, uint64_t uid)
{
	int r;

	*e = (struct entry){ .item = item, .head = BUF_INIT, .note_text = BUF_INIT };
	r = load_owner(e);
	if (r < 0)
		return r;
	if (!all && (!e->owned || e->uid != uid))
		return -EACCES;
	r = load_envelope(e);
	if (r < 0)
		return r;
	if (!e->bad) {
		int64_t envelope = (int64_t)(e->head_used - e->attested);

		e->submitted = e->env.time;
		e->size = e->size > envelope ? e->size - envelope : 0;
	}
	load_note(e);
	return 0;
}

void entry_free(struct entry *e)
{
	if (!e->bad)
		envelope_free(&e->env);
	if (e->noted)
		note_free(&e->note);
	buf_free(&e->head);
	buf_free(&e->note_text);
}

const char *entry_state(const struct entry *e)
{
	static const char *const names[] = { [LIST_DROP] = "dropped",
		                             [LIST_NEW] = "new",
		                             [LIST_ROUTE] = "waiting",
		                             [LIST_HOLD] = "held",
		                             [LIST_BAD] = "bad" };

	return names[e->item->where];
}

struct str entry_route(const struct entry *e)
{
	if (e->item->route[0])
		return str_z(e->item->route);
	return e->noted ? e->note.route : STR("");
}

int64_t entry_due(const struct entry *e)
{
	uint32_t due = e->item->place.due;

	/* The first bucket is where the router puts what is to be tried at once; the last
	 * ones are of what waits for its host only. */
	return due > 1 && due < QUEUE_PUT_OFF ? (int64_t)due * QUEUE_BUCKET_SECONDS : 0;
}

struct str entry_sender(const struct entry *e, struct buf *ret)
{
	if (e->bad)
		return STR("");
	if (e->env.has_sender)
		return e->env.sender.n ? e->env.sender : STR("<>");
	return compose_login(&e->env, ret);
}

size_t entry_rcpts(const struct entry *e)
{
	if (e->noted)
		return e->note.plan.rcpts;
	return e->bad ? 0 : e->env.rcpts;
}

struct entry_rcpt entry_rcpt(const struct entry *e, size_t i)
{
	if (!e->noted)
		return (struct entry_rcpt){ .addr = e->env.rcpt[i].addr };
	return (struct entry_rcpt){ .addr = str_z(e->note.plan.rcpt[i].addr),
		                    .state = e->note.rcpt[i].state,
		                    .code = e->note.rcpt[i].code,
		                    .text = e->note.rcpt[i].text };
}
