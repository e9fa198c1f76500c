#include "push/message.h"
#include "base/io.h"
#include "mail/addr.h"
#include "mail/head.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	READ_FIRST =
	    8192, /* most messages are smaller: then their text has no spare room */
	READ_AHEAD = 65536,
};

/* What Received and Message-ID call us when no full name is known: the short one. */
static struct str short_name(char name[static MESSAGE_NAME_MAX + 1])
{
	size_t n = 0;

	if (gethostname(name, MESSAGE_NAME_MAX) < 0)
		name[0] = '\0';
	name[MESSAGE_NAME_MAX] = '\0';
	while (name[n] == '-' || name[n] == '.' || (name[n] >= '0' && name[n] <= '9') ||
	       (ascii_lower(name[n]) >= 'a' && ascii_lower(name[n]) <= 'z'))
		n++;
	if (n == 0 || strcmp(name, "localhost") == 0)
		return STR("mailchute.invalid");
	return (struct str){ name, n };
}

void message_conf(const struct conf *conf, char room[static MESSAGE_NAME_MAX + 1],
                  struct compose_conf *ret)
{
	const struct str name = short_name(room);

	*ret =
	    (struct compose_conf){ .hostname =
		                       conf->hostname[0] ? str_z(conf->hostname) : name,
		                   .nodename = str_z(room),
		                   .domain = str_z(conf->domain),
		                   .domain_fits = addr_domain_ok(str_z(conf->domain)),
		                   .domain_given = conf->domain_given,
		                   .admin = str_z(conf->admin),
		                   .rules = conf->rule,
		                   .rules_n = conf->rules,
		                   .expose = conf->expose,
		                   .override = conf->override,
		                   .override_user = conf->override_user,
		                   .own_uid = geteuid(),
		                   .listener_uid = conf->listener_uid };
}

static int read_first(struct message *m, bool *ret_end)
{
	char block[READ_FIRST];
	ssize_t n = io_read(m->fd, block, sizeof(block));

	if (n < 0)
		return (int)n;
	buf_add(&m->text, block, (size_t)n);
	*ret_end = (size_t)n < sizeof(block);
	return 0;
}

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
	e = io_slurp(note, &m->note_text, NOTE_FILE_MAX);
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
	m->told = calloc(m->note.pending + 1, sizeof(*m->told));
	if (!m->note.rcpt || !m->told)
		die_oom();
}

/* A plan of the sender anew and the recipients of the old one: the others of a message that
 * was split are not this part's. */
static void plan_keep_rcpts(struct plan *p, const struct plan *old,
                            const struct envelope *e, const struct compose_conf *c)
{
	struct plan anew = { .sender = p->sender, .ret = p->ret, .envid = p->envid };

	p->sender = p->ret = p->envid = NULL;
	plan_free(p);
	plan_rcpts_again(c, e, old, &anew);
	*p = anew;
}

struct old_rcpt {
	const char *addr;
	size_t number;
};

static int compare_old(const void *a, const void *b)
{
	const struct old_rcpt *x = a, *y = b;

	return strcmp(x->addr, y->addr);
}

/* Finds the recipients of the old plan in the new one, and what is settled of them. */
static void keep_results(struct message *m, const struct note *old)
{
	const struct plan *p = &m->note.plan;
	struct old_rcpt *list = calloc(p->rcpts + 1, sizeof(*list));

	m->renumber = calloc(old->plan.rcpts + 1, sizeof(*m->renumber));
	m->renumbers = old->plan.rcpts;
	if (!list || !m->renumber)
		die_oom();
	for (size_t i = 0; i < p->rcpts; i++)
		list[i] = (struct old_rcpt){ p->rcpt[i].addr, i };
	qsort(list, p->rcpts, sizeof(*list), compare_old);
	for (size_t i = 0; i < old->plan.rcpts; i++) {
		const struct old_rcpt want = { old->plan.rcpt[i].addr, 0 }, *got;

		got = bsearch(&want, list, p->rcpts, sizeof(*list), compare_old);
		if (!got)
			continue;
		m->renumber[i] = got->number + 1;
		if (old->rcpt[i].state != NOTE_DONE && old->rcpt[i].state != NOTE_FAILED)
			continue;
		/* The same address twice in the old plan: delivered once is delivered. */
		m->note.pending -= m->note.rcpt[got->number].state == NOTE_PENDING;
		if (m->note.rcpt[got->number].state != NOTE_DONE)
			m->note.rcpt[got->number] = old->rcpt[i];
	}
	free(list);
}

static void plan_again(struct message *m, const struct compose_conf *c)
{
	struct note old = m->note;

	free(m->told);
	plan_new(m, c);
	if (old.origin.n) {
		plan_keep_rcpts(&m->note.plan, &old.plan, &m->env, c);
		free(m->note.rcpt);
		m->note.pending = m->note.plan.rcpts;
		m->note.rcpt = calloc(m->note.pending + 1, sizeof(*m->note.rcpt));
		m->told = realloc(m->told, (m->note.pending + 1) * sizeof(*m->told));
		if (!m->note.rcpt || !m->told)
			die_oom();
		memset(m->told, 0, m->note.pending + 1);
	}
	keep_results(m, &old);
	m->note.origin = old.origin;
	m->note.route = old.route;
	m->note.tries = old.tries;
	m->note.warned = old.warned;
	m->note.recompose = true;
	m->noted = false;
	note_free(&old);
}

/* A walk over what stands behind the plan in the old note. */
struct outcome_line {
	struct str line;
	char kind; /* its first letter */
	size_t
	    number; /* r: the recipient's index in the plan as it is now plus one; else 0 */
	struct str rest; /* r: behind the number, "D 1795311960 250 ..." */
};

static bool next_outcome(const struct message *m, struct str *text,
                         struct outcome_line *ret)
{
	struct str rest, number;
	uint64_t n;

	/* A last line without LF was cut: it is not there. */
	if (str_chr(*text, '\n') < 0 || !str_cut(text, '\n', &ret->line))
		return false;
	*ret = (struct outcome_line){ .line = ret->line };
	if (ret->line.n < 3 || ret->line.p[1] != ' ')
		return true;
	ret->kind = ret->line.p[0];
	rest = str_from(ret->line, 2);
	if (ret->kind != 'r')
		return true;
	if (!str_cut(&rest, ' ', &number) || !str_u64(number, &n) || !rest.n)
		return true;
	ret->rest = rest;
	if (m->renumber)
		ret->number = n && n <= m->renumbers ? m->renumber[n - 1] : 0;
	else
		ret->number = n <= m->note.plan.rcpts ? (size_t)n : 0;
	return true;
}

/* The note's text behind the plan. */
static struct str outcomes(const struct message *m)
{
	struct str text = buf_view(&m->note_text), line;

	while (text.n && str_cut(&text, '\n', &line))
		if (str_eq(line, STR(".")))
			break;
	return text.p ? text : STR("");
}

/* A report that tells of a try has its line, "b <number of the try>", in the note in front
 * of what it tells. Only a recipient's first final result counts: lines of a journal may
 * come twice. */
static void find_told(struct message *m)
{
	struct str text = outcomes(m), n;
	struct outcome_line l;
	uint64_t ended = 0, report = 0;
	bool doubt = false, *seen = calloc(m->note.plan.rcpts + 1, sizeof(*seen));

	if (!seen)
		die_oom();
	while (next_outcome(m, &text, &l)) {
		n = str_from(l.line, 2);
		if (l.kind == 'e') {
			ended++;
			m->doubted = doubt;
			doubt = false;
		}
		doubt |= l.kind == 'd';
		if (l.kind == 'b' && !str_u64(n, &report))
			report = 0;
		if (l.number == 0 || seen[l.number - 1] ||
		    (l.rest.p[0] != 'D' && l.rest.p[0] != 'F'))
			continue;
		seen[l.number - 1] = true;
		m->told[l.number - 1] = report == ended + 1;
	}
	free(seen);
}

static bool same_plan(const struct plan *a, const struct plan *b)
{
	if (a->rcpts != b->rcpts || strcmp(a->sender, b->sender) != 0)
		return false;
	for (size_t i = 0; i < a->rcpts; i++)
		if (strcmp(a->rcpt[i].addr, b->rcpt[i].addr) != 0 ||
		    !a->rcpt[i].refused != !b->rcpt[i].refused)
			return false;
	return true;
}

/* Does it wait for an alias, and would go on to wait? Then its clock goes on, too. */
static bool waits_still(const struct message *m, const struct compose_conf *c)
{
	const struct note *n = &m->note;
	struct plan anew;
	bool waits = false, same;

	for (size_t i = 0; i < n->plan.rcpts; i++)
		waits |= n->rcpt[i].state == NOTE_LATER &&
		         plan_waits_for_alias(&n->plan.rcpt[i]);
	if (!waits)
		return false;
	compose_plan(c, &m->env, &anew);
	if (n->origin.n)
		plan_keep_rcpts(&anew, &n->plan, &m->env, c);
	same = same_plan(&anew, &n->plan);
	plan_free(&anew);
	return same;
}

static void plan_make(struct message *m, const struct compose_conf *c)
{
	if (!m->noted) {
		plan_new(m, c);
		return;
	}
	m->told = calloc(m->note.plan.rcpts + 1, sizeof(*m->told));
	if (!m->told)
		die_oom();
	if (m->note.recompose && !waits_still(m, c))
		plan_again(m, c);
	find_told(m);
}

static void kept_lines(const struct message *m, const size_t *number, struct buf *b)
{
	struct str text = outcomes(m);
	struct outcome_line l;

	while (m->renumber && next_outcome(m, &text, &l)) {
		if (l.kind == 'e' || l.kind == 'w' || l.kind == 'b' || l.kind == 'u') {
			buf_str(b, l.line);
		} else if (l.number && number[l.number - 1] &&
		           (l.rest.p[0] == 'D' || l.rest.p[0] == 'F')) {
			buf_fmt(b, "r %zu ", number[l.number - 1]);
			buf_str(b, l.rest);
		} else {
			continue;
		}
		buf_c(b, '\n');
	}
}

void message_note(const struct message *m, struct str route, struct str origin,
                  const bool *mine, struct buf *ret_plan, struct buf *ret_kept)
{
	const struct plan *all = &m->note.plan;
	struct plan p = *all; /* borrows all its strings */
	size_t *number = calloc(all->rcpts + 1, sizeof(*number));

	p.rcpt = calloc(all->rcpts + 1, sizeof(*p.rcpt));
	p.rcpts = 0;
	if (!p.rcpt || !number)
		die_oom();
	for (size_t i = 0; i < all->rcpts; i++) {
		if (mine && !mine[i])
			continue;
		p.rcpt[p.rcpts++] = all->rcpt[i];
		number[i] = p.rcpts;
	}
	note_print_plan(ret_plan, &p, route, origin);
	kept_lines(m, number, ret_kept);
	free(p.rcpt);
	free(number);
}

/* Envelope and header; text must be empty. */
static int load_text(struct message *m, const char **ret_why)
{
	struct stat st;
	const char *text;
	size_t used;
	bool end = false;
	int e = read_first(m, &end);

	if (e == 0)
		e = load_envelope(m, &used, &end, ret_why);
	if (e < 0)
		return e;
	text = m->text.p;
	e = load_header(m, used, &end, ret_why);
	if (e < 0)
		return e;
	m->whole = end;
	if (!end && fstat(m->fd, &st) < 0)
		return -errno;
	m->size = (end ? (int64_t)m->text.n : st.st_size) - (int64_t)used;
	/* The envelope borrows from the text, which reading on may have moved. */
	if (m->text.p == text)
		return 0;
	envelope_free(&m->env);
	m->has_env = false;
	e = envelope_parse(buf_view(&m->text), &m->env, &used, ret_why);
	m->has_env = e == 0;
	return e;
}

int message_load(struct message *m, const struct job_record *job, int fd, int note,
                 const struct compose_conf *c, const char **ret_why)
{
	_cleanup_fd_ int note_fd = note;
	int e;

	*m = (struct message){ .id = job->id, .due = job->due, .fd = fd };
	*ret_why = "";
	e = load_text(m, ret_why);
	/* Anybody can write such a line; the listener's is about somebody else. */
	if (e == 0 && (c->listener_uid < 0 || m->env.uid != (uint64_t)c->listener_uid))
		m->env.client = STR("");
	if (e == 0)
		e = load_note(m, note_fd, ret_why);
	if (e < 0)
		return e;
	plan_make(m, c);
	compose_header(c, &m->env, id_str(&m->id), m->note.origin, m->original,
	               &m->header);
	return 0;
}

void message_free(struct message *m)
{
	if (m->has_env)
		envelope_free(&m->env);
	note_free(&m->note);
	free(m->told);
	free(m->renumber);
	buf_free(&m->text);
	buf_free(&m->note_text);
	buf_free(&m->header);
	cleanup_fd(&m->fd);
	*m = (struct message){ .fd = -1 };
}
