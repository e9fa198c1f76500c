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
#include "push/maps.h"
#include "push/push.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	CONF_MAX = 16 << 20,
	PEM_FILE_MAX = 4 << 20,
	KEY_FILE_MAX = 64 << 10, /* as of a secret */
};

static void host_words(struct push *p, enum smtp_stage stage, const char *words)
{
	struct verdict v = { .kind = VERDICT_HOST, .stage = stage };

	buf_z(&v.text, words);
	push_host(p, &v);
	buf_free(&v.text);
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
	p->cc =
	    (struct client_conf){ .tls = h->tls == CONF_TLS_NONE ? CLIENT_TLS_NONE
		                         : h->tls == CONF_TLS_STARTTLS
		                             ? CLIENT_TLS_STARTTLS
		                             : CLIENT_TLS_IMPLICIT,
		                  .tls_verify = h->tls_verify,
		                  .tls_name = str_z(h->tls_name),
		                  .tls_pin = h->tls_pin,
		                  .tls_priority = str_z(h->tls_priority),
		                  .user = str_z(h->user),
		                  .password = STR(""),
		                  .token = h->token_command[0] != '\0',
		                  .auth = h->user[0] || strcmp(h->auth, "external") == 0,
		                  .auth_only = str_z(h->auth),
		                  .auth_insecure = h->auth_insecure,
		                  .source = str_z(h->source_address),
		                  .helo = str_z(p->conf.hostname),
		                  .session_max = h->session_max * 1000,
		                  .timeout_scale = 1000,
		                  .stream = h->stream,
		                  .max_ambiguous = (unsigned)h->max_ambiguous,
		                  .connection_messages = (unsigned)h->connection_messages,
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

/* Who prints the password or token, if a command does. */
static bool secret_begin(struct push *p)
{
	const char *command = p->host->token_command;
	int e;

	p->secret = (struct secret)SECRET_INIT;
	if (command[0] == '\0')
		command = p->host->password_command;
	if (command[0] == '\0')
		return true;
	e = secret_start(&p->secret, command, SECRET_COMMAND_SECONDS);
	if (e < 0) {
		host_words(p, STAGE_AUTH, strerror(-e));
		return false;
	}
	p->cc.secret = push_secret;
	p->cc.secret_arg = p;
	return true;
}

/* A file of TLS as a whole. False: it was said why not. One that was emptied is no file that
 * was not named: the system's CAs trust others. */
static bool pem_take(struct push *p, const char *key, const char *path, struct buf *ret)
{
	static const char mark[] = "CERTIFICATE-----";
	_cleanup_buf_ struct buf why = BUF_INIT;
	int e = io_slurp_at(AT_FDCWD, path, ret, PEM_FILE_MAX);

	if (e == 0 && memmem(buf_view(ret).p, ret->n, mark, sizeof(mark) - 1))
		return true;
	buf_fmt(&why, "%s %s: %s", key, path,
	        e < 0 ? strerror(-e) : "there is no certificate in it");
	host_words(p, STAGE_TLS, why.p);
	return false;
}

/* The key is nobody else's to read: as the password's file. */
static bool key_take(struct push *p)
{
	_cleanup_buf_ struct buf why = BUF_INIT, text = BUF_INIT;
	_cleanup_fd_ int fd = conf_open_secret(p->host->tls_key, &why);

	/* So that it does not grow and leave copies behind. */
	buf_room(&p->tls_key, KEY_FILE_MAX);
	if (fd >= 0 && io_slurp(fd, &p->tls_key, KEY_FILE_MAX) == 0 && p->tls_key.n) {
		p->cc.tls_key = buf_view(&p->tls_key);
		return true;
	}
	buf_fmt(&text, "tls-key %s", fd < 0 ? why.p : "cannot be read");
	host_words(p, STAGE_TLS, text.p);
	return false;
}

/* Own CAs, and our certificate. */
static bool tls_take(struct push *p)
{
	const struct smarthost *h = p->host;

	if (p->cc.tls == CLIENT_TLS_NONE)
		return true;
	if (h->tls_ca_file[0] && !pem_take(p, "tls-ca-file", h->tls_ca_file, &p->ca))
		return false;
	p->cc.tls_ca = buf_view(&p->ca);
	if (!h->tls_certificate[0])
		return true;
	if (!pem_take(p, "tls-certificate", h->tls_certificate, &p->tls_certificate))
		return false;
	p->cc.tls_certificate = buf_view(&p->tls_certificate);
	return !h->tls_key[0] || key_take(p);
}

/* Everything that needs files: maps, aliases, CAs, our certificate, GnuTLS, the template. */
static bool prepare(struct push *p)
{
	const char *words = "";

	if (!maps_take(p))
		return false;
	aliases_take(p);
	if (!tls_take(p))
		return false;
	p->client = client_new(&p->cc, &words);
	if (!p->client) {
		host_words(p, STAGE_TLS, words);
		return false;
	}
	template_read(p);
	return true;
}

int main(int argc, char **argv)
{
	static struct push p;
	int e;

	if (argc != 2 || fcntl(JOB_FD_LOCK, F_GETFD) < 0) {
		static const char text[] = "mailchute-push: started by mailchuted only\n";

		(void)io_write(2, text, sizeof(text) - 1);
		return EX_USAGE;
	}
	for (int fd = JOB_FD_SOCKET; fd <= JOB_FD_LOCK; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* The fence comes after our certificate's key. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGINT,
	       SIG_IGN); /* a terminal's ^C is for mailchuted: it asks us to stop */
	p.began_real = clock_real_ms();
	p.began = clock_steady_ms();
	if (!conf_take(&p, argv[1]))
		return EX_PROTOCOL;
	client_conf_make(&p);
	/* Before there is anything that its child is not to see; and it looks up names while we
	 * read files. */
	e = resolve_begin(&p.resolver, p.host);
	if (e < 0)
		host_words(&p, STAGE_CONNECT, strerror(-e));
	else if (secret_begin(&p) && prepare(&p)) {
		p.cc.auth = p.cc.auth || p.cc.tls_certificate.n;
		/* A test's clock is a file: open it while that can be done. */
		(void)clock_ahead();
		fence_push();
		push_serve(&p);
	}
	push_flush(&p);
	resolve_end(&p.resolver);
	secret_stop(&p.secret);
	client_free(p.client);
	return 0;
}
