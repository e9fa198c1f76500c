/*
 * mailchute-push ROUTE - takes jobs from mailchuted to the smart host
 *
 * Started by mailchuted only (job.h says how). Reads what it needs, finds the addresses,
 * closes the fence, and only then meets the smart host and the messages. One connection
 * for as long as there is mail; it leaves a few seconds after the last.
 */
#include "base/clock.h"
#include "base/io.h"
#include "push/fence.h"
#include "push/maps.h"
#include "push/push.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	LINGER_MS = 5000,
	CONF_MAX = 16 << 20,
	CA_FILE_MAX = 4 << 20,
};

void push_host(struct push *p, const struct verdict *v)
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
	push_host(p, &v);
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
	struct str word[3] = { STR(""), STR(""), STR("") };
	uint64_t t;

	for (size_t i = 0; i < ARRAY_LEN(word); i++)
		str_cut(&rest, ' ', &word[i]);
	if (str_u64(word[0], &t))
		p->accepted = (int64_t)t;
	p->report.probing = str_eq(word[1], STR("1"));
	if (str_u64(word[2], &t))
		p->down_since = (int64_t)t;
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
	} else if (str_eq(rec.verb, STR("job")) && p->queued_n < PUSH_QUEUED_MAX &&
	           fds[0] >= 0) {
		rec.rest = rec.verb = STR("");
		p->queued[p->queued_n++] =
		    (struct queued){ .job = rec, .fd = fds[0], .note = fds[1] };
		fds[0] = fds[1] = -1;
	}
}

void push_hear(struct push *p, int wait_ms)
{
	_cleanup_buf_ struct buf packet = BUF_INIT;
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLIN };
	int fds[JOB_FDS_MAX];

	while (!p->report.broken && !p->report.leaving && p->queued_n < PUSH_QUEUED_MAX &&
	       poll(&pfd, 1, wait_ms) > 0) {
		ssize_t n = job_recv(JOB_FD_SOCKET, &packet, fds);

		/* It is gone, or it wants to be: then it still hears what we say. */
		if (n <= 0)
			p->report.leaving = p->halt = true;
		else
			take_packet(p, buf_view(&packet), fds);
		for (size_t i = 0; i < JOB_FDS_MAX; i++)
			cleanup_fd(&fds[i]);
		wait_ms = 0;
	}
}

static void serve(struct push *p)
{
	while (!p->report.broken && !p->report.full && !p->host_told && !p->halt) {
		push_hear(p, p->queued_n || p->stop ? 0 : LINGER_MS);
		if (p->report.broken || p->halt || p->queued_n == 0)
			break;
		push_work(p);
	}
	/* All that was in hand is given up or put off. */
	if (p->report.gave_up && !p->host_told)
		push_host(p, &p->why);
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

static void client_conf_make(struct push *p)
{
	const struct smarthost *h = p->host;

	message_conf(&p->conf, p->short_name, &p->compose);
	compose_complete(&p->compose, str_z(p->conf.bounce_from), &p->bounce_from);
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
		                       .conf = &p->conf,
		                       .host = h,
		                       .compose = &p->compose,
		                       .remote = h->name };
}

/* Words that cannot be read any more are no reason to keep a report back. */
static void template_read(struct push *p)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	const char *path = p->conf.bounce_template, *words = "";
	int line = 0, e;

	if (path[0] == '\0')
		return;
	e = io_slurp_at(AT_FDCWD, path, &text, TEMPLATE_MAX);
	if (e == 0)
		e = template_parse(buf_view(&text), &p->template, &line, &words);
	if (e == 0)
		p->report.template = &p->template;
	else
		report_line(&p->report, "log a template why=\"%s: line %d: %s\"", path,
		            line, line ? words : strerror(-e));
}

/* Without them mail would go out with addresses that were to be rewritten: it waits. */
static bool maps_take(struct push *p)
{
	_cleanup_buf_ struct buf why = BUF_INIT, text = BUF_INIT;

	if (maps_read(&p->conf, &why) == 0)
		return true;
	buf_escape(&text, buf_view(&why), 400);
	report_line(&p->report, "host push 0 %s", text.p);
	return false;
}

/* What is wrong in them is said once a start; the rest of them works. */
static void aliases_take(struct push *p)
{
	aliases_read(p->conf.aliases, &p->aliases);
	p->compose.aliases = &p->aliases;
	for (size_t i = 0; i < p->aliases.faults && i < ALIAS_FAULTS_MAX; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		aliases_fault(&p->aliases, i, &b);
		report_line(&p->report, "%s", b.p);
	}
}

/* Everything that needs files: maps, aliases, own CAs, GnuTLS, the template, addresses. */
static bool prepare(struct push *p)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	const char *words = "";

	if (!maps_take(p))
		return false;
	aliases_take(p);
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
	/* What to do without is decided when mailchuted has said how long it has been so. */
	if (p->targets == 0)
		buf_str(&p->why.text, buf_view(&why));
	template_read(p);
	return true;
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
