/*
 * mailchute-route new - tells mailchuted which route each new message takes
 *
 * Started by mailchuted only, and only when there is more than one smart host (job.h says
 * how). It parses envelopes and notes, which are hostile, so it is fenced; it reaches
 * nobody but mailchuted and gives no verdicts. A message whose recipients go different ways
 * is split: those of the first one's route stay, each other route gets a part, which is the
 * same file under an id of its own with a note that names its recipients only.
 *
 * A message that has a note was planned before and is never split (again): its parts would
 * have the ids of the first ones.
 */
#include "base/clock.h"
#include "base/io.h"
#include "push/aliases.h"
#include "prog/fence.h"
#include "push/maps.h"
#include "push/message.h"
#include "push/record.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	LINGER_MS = 100, /* it is cheap to start */
	CONF_MAX = 16 << 20,
	PART_FIRST = 900001, /* as in spool/notefile.h, which is no business of ours */
};

struct router {
	struct conf conf;
	struct compose_conf compose;
	struct alias_table aliases;
	char name[MESSAGE_NAME_MAX + 1];
	bool stop;
};

/* One message on its way to its routes. */
struct routing {
	const struct router *r;
	const struct message *m;
	size_t *to;   /* of each recipient: index of its smart host */
	bool *mine;   /* recipients of the part in hand */
	bool *parted; /* smart hosts that have a part already */
	struct str origin;
	unsigned parts;
	struct buf notes; /* "n" records: which parts there are */
};

static void say(struct router *r, struct str text)
{
	if (record_send(JOB_FD_SOCKET, text) < 0)
		r->stop = true; /* mailchuted is gone */
}

static void say_end(struct router *r, const struct job_record *job, const char *what,
                    const char *more)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	record_begin(&b, "end", &job->id, job->due);
	buf_fmt(&b, "%s %s\n", what, more);
	say(r, buf_view(&b));
}

static void say_unreadable(struct router *r, const struct job_record *job, int e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_fmt(&b, "log a unreadable id=%s why=\"%s\"\n", job->id.c, strerror(-e));
	say(r, buf_view(&b));
}

static bool waits(const struct message *m, size_t i)
{
	return m->note.rcpt[i].state != NOTE_DONE && m->note.rcpt[i].state != NOTE_FAILED;
}

static size_t route_of(const struct routing *g, size_t i)
{
	const struct plan *p = &g->m->note.plan;

	return conf_route(&g->r->conf, str_z(p->sender), str_z(p->rcpt[i].addr));
}

/* The first recipient that waits; 0 when none does. */
static size_t first_waiting(const struct message *m)
{
	for (size_t i = 0; i < m->note.plan.rcpts; i++)
		if (waits(m, i))
			return i;
	return 0;
}

/* The route of what stays. A note's own, as long as it is configured. */
static size_t main_route(const struct routing *g)
{
	const struct conf *c = &g->r->conf;

	if (g->m->noted)
		for (size_t i = 0; i < c->smarthosts; i++)
			if (str_eq(g->m->note.route, str_z(c->smarthost[i].name)))
				return i;
	return route_of(g, first_waiting(g->m));
}

/* One part: the recipients whose way is by smart host `by`. False: mailchuted is gone, or
 * there is no memory for its note. */
static bool say_part(struct routing *g, size_t by)
{
	_cleanup_buf_ struct buf plan = BUF_INIT, kept = BUF_INIT, b = BUF_INIT;
	_cleanup_fd_ int fd = -1;
	unsigned n = PART_FIRST + g->parts;

	for (size_t i = 0; i < g->m->note.plan.rcpts; i++)
		g->mine[i] = waits(g->m, i) && g->to[i] == by;
	message_note(g->m, str_z(g->r->conf.smarthost[by].name), g->origin, g->mine,
	             &plan, &kept);
	buf_str(&plan, buf_view(&kept));
	fd = io_memfd("note", buf_view(&plan));
	if (fd < 0)
		return false;
	record_begin(&b, "part", &g->m->id, g->m->due);
	buf_fmt(&b, "%u\n", n);
	if (job_send(JOB_FD_SOCKET, buf_view(&b), &fd, 1) < 0)
		return false;
	g->parts++;
	record_begin(&g->notes, "n", &g->m->id, g->m->due);
	buf_fmt(&g->notes, "b %u\n", n);
	return true;
}

/* The note of what stays. */
static void say_rest(struct router *r, struct routing *g, size_t by)
{
	_cleanup_buf_ struct buf plan = BUF_INIT, kept = BUF_INIT, b = BUF_INIT;

	for (size_t i = 0; i < g->m->note.plan.rcpts; i++)
		g->mine[i] = !waits(g->m, i) || g->to[i] == by;
	message_note(g->m, str_z(r->conf.smarthost[by].name), g->origin, g->mine, &plan,
	             &kept);
	record_lines(&b, "p", &g->m->id, g->m->due, buf_view(&plan));
	record_lines(&b, "n", &g->m->id, g->m->due, buf_view(&kept));
	buf_str(&b, buf_view(&g->notes));
	say(r, buf_view(&b));
}

static void place(struct router *r, struct routing *g, const struct job_record *job)
{
	const struct message *m = g->m;
	size_t rcpts = m->note.plan.rcpts, stay = main_route(g);

	for (size_t i = 0; i < rcpts; i++)
		g->to[i] = m->noted || m->note.origin.n ? stay : route_of(g, i);
	g->parted[stay] = true;
	for (size_t i = 0; i < rcpts; i++) {
		if (!waits(m, i) || g->parted[g->to[i]])
			continue;
		g->parted[g->to[i]] = true;
		if (!say_part(g, g->to[i])) {
			/* Without its end it was not tried; parts go with the job. */
			r->stop = true;
			return;
		}
	}
	if (g->parts)
		say_rest(r, g, stay);
	say_end(r, job, "route", r->conf.smarthost[stay].name);
}

static void route_message(struct router *r, const struct message *m,
                          const struct job_record *job)
{
	struct routing g = { .r = r, .m = m };

	g.to = calloc(m->note.plan.rcpts + 1, sizeof(*g.to));
	g.mine = calloc(m->note.plan.rcpts + 1, sizeof(*g.mine));
	g.parted = calloc(r->conf.smarthosts + 1, sizeof(*g.parted));
	if (!g.to || !g.mine || !g.parted)
		die_oom();
	g.origin = m->note.origin.n ? m->note.origin : id_str(&m->id);
	place(r, &g, job);
	free(g.to);
	free(g.mine);
	free(g.parted);
	buf_free(&g.notes);
}

static void work(struct router *r, const struct job_record *job, int fd, int note)
{
	struct message m;
	const char *why;
	int e = message_load(&m, job, fd, note, &r->compose, &why);

	if (e == 0)
		route_message(r, &m, job);
	else if (e == -EBADMSG)
		say_end(r, job, "bad", why);
	else
		say_unreadable(r, job, e);
	message_free(&m);
}

static void take_packet(struct router *r, struct str text, int fds[static JOB_FDS_MAX])
{
	struct job_record rec;
	struct str line;

	if (!str_cut(&text, '\n', &line) || !job_parse(line, &rec))
		return;
	if (str_eq(rec.verb, STR("stop")) || str_eq(rec.verb, STR("halt"))) {
		r->stop = true;
	} else if (str_eq(rec.verb, STR("job")) && fds[0] >= 0) {
		work(r, &rec, fds[0], fds[1]);
		fds[0] = fds[1] = -1;
	}
}

static void serve(struct router *r)
{
	_cleanup_buf_ struct buf packet = BUF_INIT;
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLIN };
	int fds[JOB_FDS_MAX];

	while (!r->stop && poll(&pfd, 1, LINGER_MS) > 0) {
		ssize_t n = job_recv(JOB_FD_SOCKET, &packet, fds);

		if (n <= 0)
			return;
		take_packet(r, buf_view(&packet), fds);
		for (size_t i = 0; i < JOB_FDS_MAX; i++)
			cleanup_fd(&fds[i]);
	}
}

static bool conf_take(struct router *r)
{
	_cleanup_buf_ struct buf packed = BUF_INIT;

	if (io_slurp(JOB_FD_CONF, &packed, CONF_MAX) < 0 ||
	    conf_unpack(buf_view(&packed), &r->conf) < 0)
		return false;
	message_conf(&r->conf, r->name, &r->compose);
	return r->conf.smarthosts > 0;
}

/* Without them the sender by which a route is chosen would be the wrong one. */
static bool maps_take(struct router *r)
{
	_cleanup_buf_ struct buf why = BUF_INIT, text = BUF_INIT, b = BUF_INIT;

	if (maps_read(&r->conf, &why) == 0)
		return true;
	buf_escape(&text, buf_view(&why), 400);
	buf_fmt(&b, "host push 0 %s\n", text.p);
	say(r, buf_view(&b));
	return false;
}

int main(int argc, char **argv)
{
	static struct router r;

	(void)argv;
	if (argc != 2 || fcntl(JOB_FD_LOCK, F_GETFD) < 0) {
		static const char text[] =
		    "mailchute-route: started by mailchuted only\n";

		(void)io_write(2, text, sizeof(text) - 1);
		return EX_USAGE;
	}
	for (int fd = JOB_FD_SOCKET; fd <= JOB_FD_LOCK; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* as in push.c */
	if (!conf_take(&r))
		return EX_PROTOCOL;
	if (!maps_take(&r))
		return 0;
	/* Push says what is wrong in them. */
	aliases_read(r.conf.aliases, &r.aliases);
	r.compose.aliases = &r.aliases;
	(void)
	    clock_ahead(); /* a test's clock is a file: open it while that can be done */
	fence_route();
	serve(&r);
	return 0;
}
