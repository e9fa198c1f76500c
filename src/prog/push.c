/*
 * mailchute-push ROUTE - takes jobs from mailchuted to the smart host
 *
 * Started by mailchuted only (job.h says how). Reads what it needs, finds the addresses,
 * closes the fence, and only then meets the smart host and the messages. One connection
 * for as long as there is mail; it leaves a few seconds after the last.
 */
#include "base/clock.h"
#include "base/io.h"
#include "prog/fence.h"
#include "prog/report.h"
#include "prog/resolve.h"
#include "smtp/client.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	LINGER_MS = 5000,
	SECOND_LOOK = 3600, /* seconds after which the same refusal is final */
	QUEUED_MAX = 64,
	CONF_MAX = 16 << 20,
	BARREN_MAX = 2, /* connections in a row that settled nothing */
	ASIDE_MAX = 3,  /* messages in a row that met trouble of the host */
	CA_FILE_MAX = 4 << 20,
};

struct queued {
	struct job_record job; /* id and due only */
	int fd, note;
};

struct push {
	struct conf conf;
	const struct smarthost *host;
	struct compose_conf compose;
	struct client_conf cc;
	struct client *client;
	struct buf password, ca;
	struct target target[RESOLVE_MAX];
	size_t targets;
	struct reporter report;
	struct queued queued[QUEUED_MAX];
	size_t queued_n;
	bool stop;        /* no more jobs */
	bool halt;        /* leave what is in hand */
	int64_t accepted; /* when the host last accepted something, 0: not known */
	bool host_told;   /* "host" was sent: leave */
	unsigned barren;  /* connections that settled nothing */
	unsigned settled; /* messages settled on this connection */
	unsigned aside;   /* messages put aside since one was settled */
	const struct message *sending;
	char short_name[65];
};

static void host_verdict(struct push *p, const struct verdict *v)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	buf_escape(&text, buf_view(&v->text), 400);
	report_line(&p->report, "host %s %d %s", smtp_stage_name(v->stage), v->code,
	            text.n ? text.p : "no reply");
	p->host_told = true;
}

static void host_words(struct push *p, enum smtp_stage stage, const char *words)
{
	struct verdict v = { .kind = VERDICT_HOST, .stage = stage };

	buf_z(&v.text, words);
	host_verdict(p, &v);
	buf_free(&v.text);
}

/* Jobs */

static void take_secret(struct push *p, int fd)
{
	int e = fd < 0 ? -EACCES : io_slurp(fd, &p->password, 65536);

	while (e == 0 && p->password.n &&
	       (p->password.p[p->password.n - 1] == '\n' ||
	        p->password.p[p->password.n - 1] == '\r'))
		buf_cut(&p->password, p->password.n - 1);
	if (e < 0)
		host_words(p, STAGE_AUTH, "the password file cannot be read");
	p->cc.password = buf_view(&p->password);
}

static void take_known(struct push *p, struct str rest)
{
	struct str time = STR("");
	uint64_t t;

	str_cut(&rest, ' ', &time);
	if (str_u64(time, &t))
		p->accepted = (int64_t)t;
	p->report.probing = rest.p && str_eq(rest, STR("1"));
}

static void take_packet(struct push *p, struct str text, int fds[static JOB_FDS_MAX])
{
	struct job_record rec;
	struct str line;

	if (!str_cut(&text, '\n', &line) || !job_parse(line, &rec))
		return;
	if (str_eq(rec.verb, STR("secret"))) {
		take_secret(p, fds[0]);
	} else if (str_eq(rec.verb, STR("stop"))) {
		p->stop = true;
	} else if (str_eq(rec.verb, STR("halt"))) {
		p->halt = true;
	} else if (str_eq(rec.verb, STR("known"))) {
		take_known(p, rec.rest);
	} else if (str_eq(rec.verb, STR("job")) && p->queued_n < QUEUED_MAX &&
	           fds[0] >= 0) {
		rec.rest = rec.verb = STR("");
		p->queued[p->queued_n++] =
		    (struct queued){ .job = rec, .fd = fds[0], .note = fds[1] };
		fds[0] = fds[1] = -1;
	}
}

/* Takes in what mailchuted has sent; waits at most wait_ms for the first packet. */
static void hear(struct push *p, int wait_ms)
{
	_cleanup_buf_ struct buf packet = BUF_INIT;
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLIN };
	int fds[JOB_FDS_MAX];

	while (!p->report.broken && p->queued_n < QUEUED_MAX &&
	       poll(&pfd, 1, wait_ms) > 0) {
		ssize_t n = job_recv(JOB_FD_SOCKET, &packet, fds);

		if (n <= 0)
			p->report.broken = true;
		else
			take_packet(p, buf_view(&packet), fds);
		for (size_t i = 0; i < JOB_FDS_MAX; i++)
			cleanup_fd(&fds[i]);
		wait_ms = 0;
	}
}

/* Connections */

static bool try_target(struct push *p, const struct target *t, struct verdict *why)
{
	struct str facts;

	p->report.remote = p->host->host.v[t->host];
	p->cc.host = str_z(p->report.remote);
	buf_free(&why->text);
	*why = (struct verdict){ .kind = VERDICT_HOST };
	if (client_open(p->client, (const struct sockaddr *)&t->addr, t->len, why) < 0)
		return false;
	facts = client_facts(p->client);
	report_line(&p->report, "up relay=%s %.*s", p->report.remote, (int)facts.n,
	            facts.p);
	p->settled = 0;
	return true;
}

/* Opens a connection to the first address that serves. A login that is refused is not
 * tried anywhere else. */
static bool open_any(struct push *p)
{
	struct verdict why = { .kind = VERDICT_HOST };
	bool ok = false;

	for (size_t i = 0; i < p->targets && !ok && !p->report.broken; i++) {
		ok = try_target(p, &p->target[i], &why);
		if (!ok && why.stage == STAGE_AUTH)
			break;
	}
	if (!ok)
		host_verdict(p, &why);
	buf_free(&why.text);
	return ok;
}

/* Messages */

static void on_commit(void *arg)
{
	struct push *p = arg;

	report_commit(&p->report, p->sending);
	if (!p->report.full)
		return;
	/* Nobody would know of a duplicate: so the last octets stay here. */
	report_line(&p->report, "host journal 0 the run journal cannot be written");
	_exit(0);
}

struct sending {
	struct client_msg msg;
	size_t *number; /* of each client_rcpt: index in the plan */
};

/* The recipients that still wait, as the client wants them. */
static void sending_make(struct sending *s, struct push *p, struct message *m,
                         struct verdict *const *of)
{
	const struct plan *plan = &m->note.plan;

	s->msg = (struct client_msg){ .sender = str_z(plan->sender),
		                      .header = buf_view(&m->header),
		                      .fd = m->fd,
		                      .body_at = m->body_at,
		                      .envid = str_z(plan->envid),
		                      .ret = str_z(plan->ret),
		                      .on_commit = on_commit,
		                      .arg = p };
	s->msg.rcpt = calloc(plan->rcpts + 1, sizeof(*s->msg.rcpt));
	s->number = calloc(plan->rcpts + 1, sizeof(*s->number));
	if (!s->msg.rcpt || !s->number)
		die_oom();
	for (size_t i = 0; i < plan->rcpts; i++) {
		if (!of[i] || of[i]->kind != VERDICT_RECONNECT)
			continue;
		s->number[s->msg.rcpts] = i;
		s->msg.rcpt[s->msg.rcpts++] =
		    (struct client_rcpt){ .addr = str_z(plan->rcpt[i].addr),
			                  .notify = str_z(plan->rcpt[i].notify),
			                  .orcpt = str_z(plan->rcpt[i].orcpt) };
	}
}

/* One client_send(); verdicts go to of[]. Returns how many recipients are to be tried on
 * another connection, or -errno when the message could not be read. */
static int send_once(struct push *p, struct message *m, struct verdict *const *of,
                     bool *ret_settled)
{
	struct sending s;
	int e, again = 0;

	sending_make(&s, p, m, of);
	p->sending = m;
	e = client_send(p->client, &s.msg);
	*ret_settled = false;
	for (size_t i = 0; i < s.msg.rcpts; i++) {
		struct verdict *v = of[s.number[i]], *got = &s.msg.rcpt[i].verdict;

		if (e == 0) {
			/* A connection that was good and then closed without a word was idle
			 * for too long, or is used up. */
			if (got->kind == VERDICT_HOST && got->code == 0 && p->settled &&
			    got->stage <= STAGE_MAIL)
				got->kind = VERDICT_RECONNECT;
			again += got->kind == VERDICT_RECONNECT;
			*ret_settled |= got->kind <= VERDICT_FAILED;
			buf_free(&v->text);
			*v = *got;
		} else {
			buf_free(&got->text);
		}
	}
	free(s.msg.rcpt);
	free(s.number);
	return e < 0 ? e : again;
}

/* What looks like the host's trouble may be this message's: 451 4.3.0 of a content filter,
 * silence after a large packet. Its neighbours tell; report_outcome() puts it behind them. */
static bool ask_a_neighbour(struct push *p, const struct verdict *v)
{
	return v->kind != VERDICT_DOUBT && v->stage >= STAGE_MAIL && v->code != 421 &&
	       p->queued_n && ++p->aside < ASIDE_MAX;
}

static void find_host_trouble(struct push *p, const struct message *m,
                              struct verdict *const *of)
{
	for (size_t i = 0; i < m->note.plan.rcpts && !p->host_told; i++)
		if (of[i] &&
		    (of[i]->kind == VERDICT_HOST || of[i]->kind == VERDICT_RECONNECT ||
		     (of[i]->kind == VERDICT_DOUBT && p->barren >= BARREN_MAX))) {
			if (ask_a_neighbour(p, of[i]))
				return;
			host_verdict(p, of[i]);
		}
}

/* Tries a message, over as many connections as it takes while each brings it on. */
static void deliver(struct push *p, struct message *m, struct verdict *const *of)
{
	bool settled;
	int again;

	do {
		if (!client_is_open(p->client) && !open_any(p))
			return;
		again = send_once(p, m, of, &settled);
		if (settled) {
			p->settled++;
			p->barren = p->aside = 0;
		} else if (!client_is_open(p->client)) {
			p->barren++;
		}
	} while (again > 0 && p->barren < BARREN_MAX && !p->report.broken &&
	         !p->report.full);
	if (again < 0)
		report_line(&p->report, "log a unreadable id=%s why=\"%s\"", m->id.c,
		            strerror(-again));
	find_host_trouble(p, m, of);
}

/* Too big for us: known before the host is asked. */
static bool refuse_size(const struct push *p, const struct message *m,
                        struct verdict *const *of)
{
	if (p->conf.max_message_size <= 0 || m->size <= p->conf.max_message_size)
		return false;
	for (size_t i = 0; i < m->note.plan.rcpts; i++) {
		if (!of[i])
			continue;
		of[i]->kind = VERDICT_FAILED;
		of[i]->stage = STAGE_MAIL;
		of[i]->code = 552;
		buf_fmt(&of[i]->text,
		        "552 5.3.4 message of %lld octets is over max-message-size",
		        (long long)m->size);
	}
	return true;
}

/* Has this recipient been refused so before, and is it sure by now that it is its own
 * fault? (breaker.h) */
static bool is_own_fault(const struct push *p, const struct message *m, size_t i,
                         int64_t now)
{
	const struct note_rcpt *before = &m->note.rcpt[i];

	if (p->report.probing || before->state != NOTE_LATER || before->code < 500)
		return false;
	return p->accepted > before->time || now - m->note.first_trouble >= SECOND_LOOK;
}

/* A refusal that any message could have got is not final at first. */
static void suspend(struct push *p, const struct message *m, struct verdict *const *of)
{
	size_t n = m->note.plan.rcpts, done = 0, at = n;
	int64_t now = clock_real();

	for (size_t i = 0; i < n; i++) {
		done += of[i] && of[i]->kind == VERDICT_DONE;
		if (of[i] && verdict_is_common(of[i]))
			at = i;
	}
	if (done) {
		p->accepted = now;
		report_line(&p->report, "good");
	}
	if (done || at == n)
		return;
	/* A host that takes no reports (sender <>) may still take all other mail. */
	if (m->note.plan.sender[0] || p->report.probing)
		report_refused(&p->report, m, of[at]);
	for (size_t i = 0; i < n; i++)
		if (of[i] && of[i]->kind == VERDICT_FAILED && verdict_is_common(of[i]) &&
		    !is_own_fault(p, m, i, now))
			of[i]->kind = VERDICT_LATER;
}

static void work_on(struct push *p, struct message *m)
{
	size_t n = m->note.plan.rcpts;
	struct verdict *v = calloc(n + 1, sizeof(*v));
	struct verdict **of = calloc(n + 1, sizeof(struct verdict *));

	if (!v || !of)
		die_oom();
	for (size_t i = 0; i < n; i++) {
		if (m->note.rcpt[i].state == NOTE_DONE ||
		    m->note.rcpt[i].state == NOTE_FAILED)
			continue;
		v[i].kind = VERDICT_RECONNECT; /* not tried on any connection yet */
		of[i] = &v[i];
	}
	if (!refuse_size(p, m, of))
		deliver(p, m, of);
	suspend(p, m, of);
	hear(p, 0);
	p->report.others = p->queued_n > 0;
	report_outcome(&p->report, m, of, clock_real());
	for (size_t i = 0; i < n; i++)
		buf_free(&v[i].text);
	free(v);
	free(of);
}

static void work(struct push *p)
{
	struct queued q = p->queued[0];
	struct message m;
	const char *why;
	int e;

	memmove(&p->queued[0], &p->queued[1], --p->queued_n * sizeof(p->queued[0]));
	e = message_load(&m, &q.job, q.fd, q.note, &p->compose, &why);
	if (e == 0 && m.note.pending == 0)
		report_settled(&p->report, &m);
	else if (e == 0)
		work_on(p, &m);
	else if (e == -EBADMSG)
		report_bad(&p->report, &q.job.id, q.job.due, why);
	else
		report_line(&p->report, "log a unreadable id=%s why=\"%s\"", q.job.id.c,
		            strerror(-e));
	message_free(&m);
}

static void serve(struct push *p)
{
	while (!p->report.broken && !p->report.full && !p->host_told && !p->halt) {
		hear(p, p->queued_n || p->stop ? 0 : LINGER_MS);
		if (p->report.broken || p->halt || p->queued_n == 0)
			break;
		work(p);
	}
	if (client_is_open(p->client))
		client_quit(p->client);
}

/* Start */

static bool conf_take(struct push *p, const char *route)
{
	_cleanup_buf_ struct buf packed = BUF_INIT;

	if (io_slurp(JOB_FD_CONF, &packed, CONF_MAX) < 0 ||
	    conf_unpack(buf_view(&packed), &p->conf) < 0)
		return false;
	for (size_t i = 0; i < p->conf.smarthosts; i++)
		if (strcmp(p->conf.smarthost[i].name, route) == 0)
			p->host = &p->conf.smarthost[i];
	return p->host != NULL;
}

/* What Received and Message-ID call us when no full name is known: the short one. */
static struct str short_name(char name[static 65])
{
	size_t n = 0;

	if (gethostname(name, 64) < 0)
		name[0] = '\0';
	while (name[n] == '-' || name[n] == '.' || (name[n] >= '0' && name[n] <= '9') ||
	       (ascii_lower(name[n]) >= 'a' && ascii_lower(name[n]) <= 'z'))
		n++;
	if (n == 0 || strcmp(name, "localhost") == 0)
		return STR("mailchute.invalid");
	return (struct str){ name, n };
}

static void client_conf_make(struct push *p)
{
	const struct smarthost *h = p->host;

	p->compose = (struct compose_conf){ .hostname = p->conf.hostname[0]
		                                            ? str_z(p->conf.hostname)
		                                            : short_name(p->short_name),
		                            .domain = str_z(p->conf.domain),
		                            .admin = str_z(p->conf.admin),
		                            .rules = p->conf.rule,
		                            .rules_n = p->conf.rules,
		                            .expose = p->conf.expose };
	p->cc = (struct client_conf){ .tls = h->tls == CONF_TLS_NONE ? CLIENT_TLS_NONE
		                             : h->tls == CONF_TLS_STARTTLS
		                                 ? CLIENT_TLS_STARTTLS
		                                 : CLIENT_TLS_IMPLICIT,
		                      .tls_verify = h->tls_verify,
		                      .tls_name = str_z(h->tls_name),
		                      .tls_pin = h->tls_pin,
		                      .tls_priority = str_z(h->tls_priority),
		                      .user = str_z(h->user),
		                      .password = STR(""),
		                      .auth = h->user[0] != '\0',
		                      .auth_only = str_z(h->auth),
		                      .auth_insecure = h->auth_insecure,
		                      .helo = str_z(p->conf.hostname),
		                      .session_max = h->session_max * 1000,
		                      .timeout_scale = 1000,
		                      .cancel_fd = JOB_FD_SOCKET };
	p->report = (struct reporter){ .sock = JOB_FD_SOCKET,
		                       .journal = JOB_FD_JOURNAL,
		                       .host = h,
		                       .compose = &p->compose,
		                       .remote = h->name };
}

/* Everything that needs files: own CAs, GnuTLS, addresses. */
static bool prepare(struct push *p)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	const char *words = "";

	if (p->host->tls_ca_file[0]) {
		int e = io_slurp_at(AT_FDCWD, p->host->tls_ca_file, &p->ca, CA_FILE_MAX);

		if (e < 0) {
			buf_fmt(&why, "tls-ca-file %s: %s", p->host->tls_ca_file,
			        strerror(-e));
			host_words(p, STAGE_TLS, why.p);
			return false;
		}
		p->cc.tls_ca = buf_view(&p->ca);
	}
	p->client = client_new(&p->cc, &words);
	if (!p->client) {
		host_words(p, STAGE_TLS, words);
		return false;
	}
	p->targets = resolve_hosts(&p->host->host, p->host->port, p->target, &why);
	if (p->targets == 0)
		host_words(p, STAGE_CONNECT, why.p);
	return p->targets > 0;
}

int main(int argc, char **argv)
{
	static struct push p;

	if (argc != 2 || fcntl(JOB_FD_LOCK, F_GETFD) < 0) {
		static const char text[] = "mailchute-push: started by mailchuted only\n";

		(void)io_write(2, text, sizeof(text) - 1);
		return EX_USAGE;
	}
	for (int fd = JOB_FD_SOCKET; fd <= JOB_FD_LOCK; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGINT,
	       SIG_IGN); /* a terminal's ^C is for mailchuted: it asks us to stop */
	if (!conf_take(&p, argv[1]))
		return EX_PROTOCOL;
	client_conf_make(&p);
	if (!prepare(&p))
		return 0;
	(void)
	    clock_ahead(); /* a test's clock is a file: open it while that can be done */
	fence_push();
	serve(&p);
	client_free(p.client);
	return 0;
}
