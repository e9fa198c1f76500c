#include "daemon/apply.h"
#include "base/io.h"
#include "base/log.h"
#include "daemon/deal.h"
#include "mail/note.h"
#include "spool/journal.h"
#include "spool/notefile.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOB_LINES_MAX = 16 << 20, DSN_WORDS_MAX = 64 << 20 };

/* Is it a file that can be read without waiting, and of a believable size? Of a pipe nobody
 * says that it ever ends. */
static bool is_file(int fd, int64_t most)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size <= most;
}

bool job_take(struct job *j, const struct job_record *rec, int *fd)
{
	uint64_t n;

	if (str_eq(rec->verb, STR("p")) || str_eq(rec->verb, STR("n"))) {
		j->plan |= str_eq(rec->verb, STR("p"));
		j->cut |= j->lines.n + rec->rest.n >= JOB_LINES_MAX;
		if (!j->cut) {
			buf_str(&j->lines, rec->rest);
			buf_c(&j->lines, '\n');
		}
		return false;
	}
	if (str_eq(rec->verb, STR("dsn"))) {
		/* The message, and words about each recipient. */
		if (is_file(*fd, j->size + DSN_WORDS_MAX) && str_u64(rec->rest, &n) &&
		    n < 1000000) {
			cleanup_fd(&j->dsn);
			j->dsn = *fd;
			*fd = -1;
			j->dsn_n = (unsigned)n;
		}
		return false;
	}
	return str_eq(rec->verb, STR("ok")) || str_eq(rec->verb, STR("end"));
}

void job_part(struct job *j, struct spool *s, const struct job_record *rec, int fd)
{
	_cleanup_buf_ struct buf note = BUF_INIT;
	char from[8 + ID_LEN];
	uint64_t n;
	int e;

	/* In order and without gaps: so the count says which there are. */
	if (!is_file(fd, JOB_LINES_MAX) || j->place.due || !str_u64(rec->rest, &n) ||
	    n != PART_FIRST + j->parts || j->parts == ROUTE_PARTS_MAX || j->no_parts)
		e = -EPROTO;
	else
		e = io_slurp(fd, &note, JOB_LINES_MAX);
	/* The router reads nothing else. */
	snprintf(from, sizeof(from), "new/%s", j->place.id.c);
	if (e == 0)
		e = part_prepare(s, &j->place.id, (unsigned)n, from, buf_view(&note));
	if (e == 0) {
		j->parts++;
		return;
	}
	j->no_parts = true;
	log_line(LOG_LEVEL_ALERT, "spool-error id=%s what=part why=\"%s\"", j->place.id.c,
	         strerror(-e));
}

static int parts_publish(struct job *j, struct spool *s)
{
	int e = 0;

	for (unsigned i = 0; i < j->parts && e == 0; i++) {
		e = derived_publish(s, &j->place.id, PART_FIRST + i);
		if (e == 0)
			log_line(LOG_LEVEL_INFO, "split id=%s part=%s", j->place.id.c,
			         id_derive(&j->place.id, PART_FIRST + i).c);
	}
	return e;
}

static bool failed(struct job *j, const char *what, int e)
{
	/* These stay as they are; anything else may be over in a while. */
	j->again =
	    e != -EPROTO && e != -ENOENT && e != -EEXIST && e != -EBADMSG && e != -EFBIG;
	if (!j->told)
		log_line(LOG_LEVEL_ALERT, "spool-error id=%s what=%s why=\"%s\"",
		         j->place.id.c, what, strerror(-e));
	return false;
}

/* The DSN and the note, durable. */
static int job_note(struct job *j, struct spool *s, int64_t now)
{
	int e = j->cut ? -EFBIG : 0;

	if (e == 0 && j->dsn >= 0)
		e = derived_prepare(s, &j->place.id, j->dsn_n, j->dsn,
		                    j->size + DSN_WORDS_MAX, now);
	if (e < 0 || j->lines.n == 0)
		return e;
	e = j->plan   ? note_write(s, &j->place.id, buf_view(&j->lines))
	    : j->told ? note_append_once(s, &j->place.id, buf_view(&j->lines))
	              : note_append(s, &j->place.id, buf_view(&j->lines));
	if (e < 0)
		return e;
	j->noted = true;
	e = parts_publish(j, s);
	if (e < 0 || j->dsn < 0)
		return e;
	e = derived_publish(s, &j->place.id, j->dsn_n);
	if (e == 0)
		log_line(LOG_LEVEL_INFO, "returned id=%s dsn=%s", j->place.id.c,
		         id_derive(&j->place.id, j->dsn_n).c);
	return e;
}

bool job_apply(struct job *j, struct queue *q, struct spool *s,
               const struct job_record *rec, int64_t now)
{
	struct str rest = rec->rest, what = STR("done"), time = STR("");
	uint64_t due;
	int e;

	if (str_eq(rec->verb, STR("end")) && !str_cut(&rest, ' ', &what))
		return failed(j, "protocol", -EPROTO);
	if (str_eq(what, STR("done"))) {
		/* A note just for a message that is about to go would be work in vain. */
		if (j->dsn < 0) {
			buf_reset(&j->lines);
			j->cut = false;
		}
		e = job_note(j, s, now);
		if (e == 0)
			e = queue_remove(q, &j->place, j->noted);
		if (e < 0)
			return failed(j, "remove", e);
		j->left = true;
		log_line(LOG_LEVEL_INFO, "done id=%s", j->place.id.c);
		return true;
	}
	/* Without all its parts the note must not become true: it would forget recipients. */
	e = j->no_parts ? -EIO : job_note(j, s, now);
	if (e < 0)
		return failed(j, "note", e);
	if (str_eq(what, STR("later")) && str_cut(&rest, ' ', &time) &&
	    str_u64(time, &due)) {
		/* When the host is back, this goes at once. */
		j->put_off = rest.p && str_eq(rest, STR("host"));
		e = queue_defer(q, &j->place,
		                j->put_off ? deal_put_off_due(now) : (int64_t)due);
		return e < 0 ? failed(j, "defer", e) : true;
	}
	if (str_eq(what, STR("route")) && j->target) {
		e = queue_route(q, &j->place, j->target, QUEUE_BUCKET_SECONDS);
		return e < 0 ? failed(j, "route", e) : true;
	}
	if (str_eq(what, STR("bad"))) {
		_cleanup_buf_ struct buf line = BUF_INIT;

		log_value(&line, "why", rest.p ? rest : STR(""));
		log_line(LOG_LEVEL_ALERT, "bad id=%s%s", j->place.id.c,
		         line.n ? line.p : "");
		e = queue_put_aside(q, &j->place, s->bad);
		j->left = e == 0;
		return e < 0 ? failed(j, "bad", e) : true;
	}
	return failed(j, "protocol", -EPROTO);
}

/* Journals */

struct replay {
	struct spool *s;
	struct queue q;
	int64_t now;
	const struct jobs *in_hand; /* NULL: not known */
	struct buf list;            /* then: of these alone; or of any */
	bool has_list;
	struct jobs jobs; /* those with an "s" and no end yet */
	struct jobs *stuck;
	enum journal_result result;
};

static struct job *replay_job(struct replay *r, const struct job_record *rec)
{
	struct job *j = jobs_find(&r->jobs, &rec->id);

	/* Again, at a later time: of the earlier one nothing came. */
	if (j && j->place.due != rec->due) {
		jobs_drop(&r->jobs, j);
		j = NULL;
	}
	if (!j)
		j = jobs_add(&r->jobs, &(struct place){ rec->id, rec->due });
	if (j)
		j->told = jobs_find(r->stuck, &rec->id);
	return j;
}

/* It could not be applied now, or not be seen whether it must be. */
static void stuck(struct replay *r, const struct place *p)
{
	struct job *held = jobs_find(r->stuck, &p->id);

	if (!held)
		held = jobs_add(r->stuck, p);
	if (held)
		held->again = true;
	if (r->result != JOURNAL_UNREAD)
		r->result = held ? JOURNAL_STUCK : JOURNAL_UNREAD;
}

static bool still_there(struct replay *r, struct job *j)
{
	int fd = -1, note = -1, e = queue_get(&r->q, &j->place, &fd, &note);

	if (e < 0 && e != -ENOENT) {
		failed(j, "open", e);
		stuck(r, &j->place);
	}
	if (e < 0)
		return false;
	j->noted = note >= 0;
	cleanup_fd(&fd);
	cleanup_fd(&note);
	return true;
}

static void possible_duplicate(const struct job *j, const char *why)
{
	log_line(LOG_LEVEL_WARNING, "possible-duplicate id=%s why=\"%s\"", j->place.id.c,
	         why);
}

bool job_in_doubt(const struct job *j)
{
	struct str rest = buf_view(&j->lines), line;

	while (rest.n && str_cut(&rest, '\n', &line))
		if (str_starts(line, STR("d ")))
			return true;
	return false;
}

/* Who has it, and who has not. note: the message's; lines: those of this try, which end it. */
static void say_outcomes(const struct id *id, struct str note, struct str lines)
{
	struct str line, number;
	struct note n;
	const char *why;
	uint64_t i;

	if (note_parse(note, &n, &why) < 0)
		return;
	while (lines.n && str_cut(&lines, '\n', &line)) {
		_cleanup_buf_ struct buf text = BUF_INIT;
		const struct note_rcpt *r;

		if (!str_starts(line, STR("r ")))
			continue;
		line = str_from(line, 2);
		str_cut(&line, ' ', &number);
		if (!str_u64(number, &i) || i < 1 || i > n.plan.rcpts)
			continue;
		r = &n.rcpt[i - 1];
		log_value(&text, "to", str_z(n.plan.rcpt[i - 1].addr));
		buf_fmt(&text, " outcome=%s code=%d",
		        r->state == NOTE_DONE     ? "delivered"
		        : r->state == NOTE_FAILED ? "failed"
		                                  : "deferred",
		        r->code);
		log_value(&text, "text", r->text);
		log_line(LOG_LEVEL_INFO, "recovered id=%s%s", id->c, text.p);
	}
	note_free(&n);
}

/* Applies what came of it, and logs that: push may not have lived to do so. */
static void settle(struct replay *r, struct job *j, const struct job_record *rec)
{
	_cleanup_buf_ struct buf note = BUF_INIT, lines = BUF_INIT;
	_cleanup_buf_ struct buf outcome = BUF_INIT, text = BUF_INIT;
	/* A new note is written whole or not at all, and then has more than the journal: the
	 * failed recipients. (Unless it is the old one, which was to be made anew.) Lines that
	 * were appended may come twice; that says the same. */
	bool whole = j->plan && j->noted && !note_to_recompose(r->s, &rec->id);
	bool doubt = job_in_doubt(j);

	buf_str(&lines, buf_view(&j->lines));
	if (whole)
		buf_reset(&j->lines);
	/* Before it is gone, with the message. */
	if (lines.n && j->noted && (whole || !j->plan) &&
	    io_slurp_at(r->s->note, rec->id.c, &note, NOTE_FILE_MAX) < 0)
		buf_reset(&note);
	while (note.n && note.p[note.n - 1] != '\n')
		note.n--; /* cut by a crash */
	buf_str(&note, buf_view(&j->lines));
	if (!job_apply(j, &r->q, r->s, rec, r->now))
		return;
	say_outcomes(&rec->id, buf_view(&note), buf_view(&lines));
	buf_str(&outcome, rec->verb);
	buf_c(&outcome, ' ');
	buf_str(&outcome, str_head(rec->rest, 60));
	log_value(&text, "outcome", buf_view(&outcome));
	log_line(LOG_LEVEL_INFO, "recovered id=%s%s", rec->id.c, text.p);
	r->s->uncounted |= j->left;
	if (doubt)
		possible_duplicate(j, "connection lost before the last reply");
}

static void replay_line(void *arg, struct str line)
{
	struct replay *r = arg;
	struct job_record rec;
	struct job *j;
	int no_fd = -1;

	if (!job_parse(line, &rec) || rec.id.c[0] == '\0')
		return;
	if (r->in_hand ? !jobs_find_place(r->in_hand, &rec.id, rec.due)
	               : r->has_list && !journal_listed(&r->list, &rec.id, rec.due))
		return;
	j = replay_job(r, &rec);
	if (!j || !job_take(j, &rec, &no_fd))
		return;
	if (!still_there(r, j)) {
		if (j->again)
			goto out;
		/* It may have been removed a moment before the crash. */
		queue_dirty(&r->q, rec.due);
		/* Which may have come between the message and its note. */
		note_remove_orphan(r->s, &rec.id);
		goto out;
	}
	settle(r, j, &rec);
out:
	if (j->again)
		stuck(r, &j->place);
	jobs_drop(&r->jobs, j);
}

/* Going out when push ended. As one in doubt it goes alone the next time, when its note can say
 * so; without a note there is no plan yet, which is push's to make (src/README). */
static void cut_off(struct replay *r, struct job *j)
{
	static const char why[] = "the last octets were going out when push ended";
	int e = 0;

	possible_duplicate(j, why);
	if (j->noted) {
		buf_reset(&j->lines);
		buf_fmt(&j->lines, "d %lld %s\ne %lld\n", (long long)r->now, why,
		        (long long)r->now);
		e = note_append(r->s, &j->place.id, buf_view(&j->lines));
	}
	if (e < 0)
		failed(j, "note", e);
}

/* What the journal has only an "s" of. While something is stuck it is kept, and is met again. */
static void replay_end(struct replay *r)
{
	const bool again = r->result != JOURNAL_DONE;

	for (struct job *j = jobs_next(&r->jobs, NULL); j; j = jobs_next(&r->jobs, j)) {
		if (!still_there(r, j))
			continue;
		if (!again)
			cut_off(r, j);
		if (again || j->again)
			stuck(r, &j->place);
	}
}

/* The journal's first line says which route's folders its <due> belong to. */
static int replay_open(struct replay *r, struct spool *s, const struct id *run)
{
	char route[QUEUE_ROUTE_MAX + 1];
	int e = journal_route(s, run, route);

	return e < 0 ? e : queue_open(&r->q, s, route, QUEUE_READS_DUE);
}

/* What push was given. Without a list it is believed of any message. */
static int replay_list(struct replay *r, struct spool *s, const struct id *run)
{
	int e = journal_read_list(s, run, &r->list);

	r->has_list = e == 0;
	return e == -ENOENT ? 0 : e;
}

/* It cannot be read now: all that push was given may be in it. */
static void all_stuck(struct replay *r)
{
	struct str list = buf_view(&r->list), line;

	if (!r->in_hand && !r->has_list)
		r->result = JOURNAL_UNREAD;
	for (struct job *j = r->in_hand ? jobs_next(r->in_hand, NULL) : NULL; j;
	     j = jobs_next(r->in_hand, j))
		stuck(r, &j->place);
	while (!r->in_hand && list.n && str_cut(&list, '\n', &line)) {
		struct place p = { .due = 0 };

		if (id_from(str_head(line, ID_LEN), &p.id))
			stuck(r, &p);
	}
}

enum journal_result journal_apply(struct spool *s, const struct id *run,
                                  const struct jobs *in_hand, struct jobs *stuck_ones,
                                  int64_t now)
{
	struct replay r = { .s = s, .in_hand = in_hand, .stuck = stuck_ones, .now = now };
	int e;

	if (in_hand && in_hand->n == 0)
		return JOURNAL_DONE;
	e = in_hand ? 0 : replay_list(&r, s, run);
	if (e == 0)
		e = replay_open(&r, s, run);
	if (e == 0)
		e = journal_read(s, run, replay_line, &r);
	if (e == -ENODATA)
		e = 0; /* its first line was cut: push never had it */
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT, "journal-error run=%s why=\"%s\"", run->c,
		         strerror(-e));
		/* What is no journal will never be one. */
		if (e != -EBADMSG && e != -ENOENT && e != -ELOOP)
			all_stuck(&r);
	}
	buf_free(&r.list);
	if (!r.q.s)
		return r.result;
	replay_end(&r);
	jobs_free(&r.jobs);
	e = queue_sync(&r.q);
	if (e < 0) {
		log_line(LOG_LEVEL_ALERT, "spool-error what=sync why=\"%s\"",
		         strerror(-e));
		r.result = r.result == JOURNAL_DONE ? JOURNAL_KEPT : r.result;
	}
	queue_close(&r.q);
	return r.result;
}

enum journal_result journals_replay(struct spool *s, int64_t now,
                                    bool (*busy)(void *arg, const struct id *id),
                                    void *arg, struct jobs *stuck_ones)
{
	enum journal_result result = JOURNAL_DONE, one;
	struct id id, last;
	const struct id *after = NULL;
	int found;

	for (struct job *j = jobs_next(stuck_ones, NULL); j; j = jobs_next(stuck_ones, j))
		j->again = false;
	while ((found = journal_find(s, busy, arg, after, &id)) > 0) {
		one = journal_apply(s, &id, NULL, stuck_ones, now);
		if (one == JOURNAL_DONE)
			journal_remove(s, &id);
		result = one > result ? one : result;
		last = id;
		after = &last;
	}
	if (found < 0 || result == JOURNAL_UNREAD)
		return JOURNAL_UNREAD;
	for (struct job *j = jobs_next(stuck_ones, NULL), *next; j; j = next) {
		next = jobs_next(stuck_ones, j);
		if (!j->again)
			jobs_drop(stuck_ones, j);
	}
	return result;
}

enum journal_result journals_settle(const struct sched *s, int64_t now)
{
	*s->replayed = journals_replay(s->spool, now, s->at_work, s->routes, s->stuck);
	return *s->replayed;
}
