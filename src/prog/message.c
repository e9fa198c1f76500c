#include "prog/message.h"
#include "base/io.h"
#include "mail/head.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_AHEAD = 65536, NOTE_MAX = 64 << 20 };

/* Reads on, twice as far each time: what was read is parsed again. */
static int read_on(struct message *m, bool *ret_end)
{
	size_t want = m->text.n > READ_AHEAD ? m->text.n : READ_AHEAD;
	ssize_t n = io_read(m->fd, buf_room(&m->text, want), want);

	if (n < 0)
		return (int)n;
	m->text.n += (size_t)n;
	*ret_end = (size_t)n < want;
	return 0;
}

static int load_envelope(struct message *m, size_t *ret_used, bool *end,
                         const char **ret_why)
{
	for (;;) {
		int e = envelope_parse(buf_view(&m->text), &m->env, ret_used, ret_why);

		if (e == 0) {
			m->has_env = true;
			return 0;
		}
		if (e != -EAGAIN)
			return e;
		*ret_why = "its envelope is cut short";
		if (*end || m->text.n > ENVELOPE_MAX)
			return -EBADMSG;
		e = read_on(m, end);
		if (e < 0)
			return e;
	}
}

/* Finds the header behind the envelope, reading as far as it goes. */
static int load_header(struct message *m, size_t used, bool *end, const char **ret_why)
{
	for (;;) {
		struct str rest = str_from(buf_view(&m->text), used);
		size_t empty, n = head_length(rest, *end, &empty);
		int e;

		if (n < rest.n || *end) {
			m->original = str_head(rest, n - empty);
			m->body_at = (int64_t)(used + n);
			return 0;
		}
		if (rest.n > HEAD_MAX) {
			*ret_why = "its header is over 16 MB";
			return -EBADMSG;
		}
		e = read_on(m, end);
		if (e < 0)
			return e;
	}
}

static int load_note(struct message *m, int note, const char **ret_why)
{
	int e;

	if (note < 0)
		return 0;
	e = io_slurp(note, &m->note_text, NOTE_MAX);
	if (e == 0)
		e = note_parse(buf_view(&m->note_text), &m->note, ret_why);
	m->noted = e == 0;
	return e;
}

static void plan_new(struct message *m, const struct compose_conf *c)
{
	m->note = (struct note){ .route = STR("") };
	compose_plan(c, &m->env, &m->note.plan);
	m->note.pending = m->note.plan.rcpts;
	m->note.rcpt = calloc(m->note.pending + 1, sizeof(*m->note.rcpt));
	if (!m->note.rcpt)
		die_oom();
}

int message_load(struct message *m, const struct job_record *job, int fd, int note,
                 const struct compose_conf *c, const char **ret_why)
{
	_cleanup_fd_ int note_fd = note;
	struct stat st;
	size_t used;
	bool end = false;
	int e;

	*m = (struct message){ .id = job->id, .due = job->due, .fd = fd };
	*ret_why = "";
	if (fstat(fd, &st) < 0)
		return -errno;
	e = read_on(m, &end);
	if (e == 0)
		e = load_envelope(m, &used, &end, ret_why);
	if (e < 0)
		return e;
	/* Parsing again: reading on may move the text that the envelope borrows from. */
	e = load_header(m, used, &end, ret_why);
	if (e < 0)
		return e;
	m->size = st.st_size - (int64_t)used;
	envelope_free(&m->env);
	e = envelope_parse(buf_view(&m->text), &m->env, &used, ret_why);
	if (e == 0)
		e = load_note(m, note_fd, ret_why);
	if (e < 0)
		return e;
	if (!m->noted)
		plan_new(m, c);
	compose_header(c, &m->env, &m->note.plan, id_str(&m->id), m->original,
	               &m->header);
	return 0;
}

void message_free(struct message *m)
{
	if (m->has_env)
		envelope_free(&m->env);
	note_free(&m->note);
	buf_free(&m->text);
	buf_free(&m->note_text);
	buf_free(&m->header);
	cleanup_fd(&m->fd);
	*m = (struct message){ .fd = -1 };
}
