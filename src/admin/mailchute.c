/*
 * mailchute - the administrator's command: a client of mailchuted's socket; while there is
 * no mailchuted, root's commands do its part themselves
 */
#include "base/io.h"
#include "base/log.h"
#include "admin/ask.h"
#include "admin/check.h"
#include "admin/explain.h"
#include "admin/offline.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum { IDS_AT_ONCE = 200 /* what a request has room for */ };

struct command;

struct options {
	const struct command *command;
	const char *conf, *spool, *libexec, *socket; /* socket NULL: the spool's */
	const char *sender, *name, *user;            /* explain's -f, -F, -u */
	bool all, extra; /* extra: the command's long option */
	bool address;    /* explain's other one */
	char *const *arg;
	int args;
};

struct command {
	const char *name;
	const char *letters; /* options it takes */
	const char *extra,
	    *asked;   /* its long option, and the word for that in a request */
	int min, max; /* arguments */
	bool ids;     /* they are ids, or `all` */
	bool acts;    /* changes something */
	int (*run)(const struct options *o);
};

/* ---- To mailchuted, or instead of it ---- */

struct reach {
	const struct options *o;
	struct sockaddr_un addr;
	int fd;       /* a connection that is not used yet, or -1 */
	bool offline; /* the spool is ours */
	struct spool spool;
	uid_t uid; /* who asks */
};

static int fail(int code, const char *words)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_fmt(&b, "mailchute: %s\n", words);
	(void)io_write(2, b.p, b.n);
	return code;
}

static int reach_failed(const struct reach *r, int e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_fmt(&b, "%s: %s", r->addr.sun_path, strerror(-e));
	return fail(EX_TEMPFAIL, b.p);
}

/* EX_OK, or another code (said). */
static int reach_open(struct reach *r, const struct options *o)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	int e;

	*r = (struct reach){ .o = o, .fd = -1, .uid = geteuid() };
	if (ask_path(o->socket, o->spool, &r->addr) < 0)
		return fail(EX_USAGE, "the path of the socket is too long");
	r->fd = ask_connect(&r->addr);
	if (r->fd >= 0)
		return EX_OK;
	if (r->fd != -ENOENT && r->fd != -ECONNREFUSED)
		return reach_failed(r, r->fd);
	r->fd = -1;
	if (strcmp(o->command->name, "flush") == 0)
		return fail(EX_TEMPFAIL,
		            "mailchuted is not running: nothing can be sent");
	log_open("mailchute", true, false);
	e = offline_open(&r->spool, o->spool, o->command->acts, &words);
	r->offline = e == EX_OK;
	return e == EX_OK ? e : fail(e, words.p);
}

static void reach_close(struct reach *r)
{
	cleanup_fd(&r->fd);
	if (r->offline)
		spool_close(&r->spool);
}

static int64_t listener(void *arg)
{
	const struct passwd *pw = getpwnam(MAILCHUTE_IN_USER);

	(void)arg;
	return pw ? (int64_t)pw->pw_uid : -1;
}

static int request_offline(struct reach *r, struct str request, struct buf *words)
{
	const struct desk_ops ops = { .listener = listener };
	struct desk *d;
	int pair[2], e = 0, code;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return reach_failed(r, -errno);
	d = desk_single(pair[1], r->uid, &r->spool, r->o->libexec, &ops, &e);
	close(pair[1]);
	if (d) {
		code = ask(pair[0], d, request, words);
	} else {
		buf_fmt(words, "mailchute-serve: %s", strerror(e));
		code = EX_OSERR;
	}
	desk_close(d);
	close(pair[0]);
	return code;
}

static int request_online(struct reach *r, struct str request, struct buf *words)
{
	int fd = r->fd >= 0 ? r->fd : ask_connect(&r->addr), code;

	r->fd = -1;
	if (fd < 0) {
		buf_fmt(words, "%s: %s", r->addr.sun_path, strerror(-fd));
		return EX_TEMPFAIL;
	}
	code = ask(fd, NULL, request, words);
	close(fd);
	return code;
}

/* One request; its lines go to standard output, its words there or to standard error. With
 * one id the words are about it and do not name it. */
static int request(struct reach *r, struct str line)
{
	_cleanup_buf_ struct buf words = BUF_INIT, b = BUF_INIT;
	const struct options *o = r->o;
	bool one = o->command->ids && o->args == 1 && strcmp(o->arg[0], "all") != 0;
	int code = r->offline ? request_offline(r, line, &words)
	                      : request_online(r, line, &words);

	if (one)
		buf_fmt(&b, "%s%s ", o->arg[0], code ? ":" : "");
	buf_str(&b, words.n ? buf_view(&words) : STR("mailchuted gives no reason"));
	if (code != EX_OK)
		return fail(code, b.p);
	if (!o->command->acts || !words.n)
		return EX_OK;
	buf_c(&b, '\n');
	return io_write(1, b.p, b.n) < 0 ? EX_IOERR : EX_OK;
}

/* ---- Commands ---- */

static void add_word(struct buf *b, const char *word)
{
	if (b->n)
		buf_c(b, ' ');
	buf_z(b, word);
}

static int run_queue(const struct options *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct reach r;
	int code = reach_open(&r, o);

	if (code)
		return code;
	add_word(&b, "list");
	if (o->all)
		add_word(&b, "all");
	add_word(&b, o->extra ? "json" : "text");
	code = request(&r, buf_view(&b));
	reach_close(&r);
	return code;
}

static int run_show(const struct options *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct reach r;
	int code = reach_open(&r, o);

	if (code)
		return code;
	add_word(&b, "show");
	add_word(&b, o->arg[0]);
	if (o->extra)
		add_word(&b, "json");
	code = request(&r, buf_view(&b));
	reach_close(&r);
	return code;
}

static int run_flush(const struct options *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct reach r;
	int code;

	add_word(&b, "flush");
	if (o->args)
		add_word(&b, o->arg[0]);
	if (b.n > ASK_REQUEST_MAX / 2 || (o->args && strpbrk(o->arg[0], " \n")))
		return fail(EX_USAGE, "that is no name of a route");
	code = reach_open(&r, o);
	if (code)
		return code;
	code = request(&r, buf_view(&b));
	reach_close(&r);
	return code;
}

/* hold, release, delete, retry: as many at once as fit. The first code that is not 0 is
 * that of all. */
static int run_ids(const struct options *o)
{
	struct reach r;
	int code = reach_open(&r, o);

	if (code)
		return code;
	for (int at = 0; at < o->args;) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		int e;

		add_word(&b, o->command->name);
		if (o->extra)
			add_word(&b, o->command->asked);
		for (int n = 0; n < IDS_AT_ONCE && at < o->args; n++)
			add_word(&b, o->arg[at++]);
		e = request(&r, buf_view(&b));
		code = code ? code : e;
	}
	reach_close(&r);
	return code;
}

static int run_check(const struct options *o)
{
	return check_run(o->conf, o->spool);
}

static int run_explain(const struct options *o)
{
	const struct explain_request q = { .listener = listener(NULL),
		                           .conf = o->conf,
		                           .spool = o->spool,
		                           .libexec = o->libexec,
		                           .sender = o->sender,
		                           .name = o->name,
		                           .user = o->user,
		                           .json = o->extra,
		                           .address = o->address,
		                           .arg = o->arg,
		                           .args = o->args };

	return explain_run(&q);
}

static const char usage_text[] =
    "usage: mailchute check [-c FILE] [-s SPOOL]\n"
    "       mailchute queue [--json] [-a]     what waits, and why\n"
    "       mailchute show [--json] ID        one message: its history, its header\n"
    "       mailchute flush [ROUTE]           try everything now; waits for the end\n"
    "       mailchute hold ID...              not to be tried\n"
    "       mailchute release ID...           to be tried again (also from bad/)\n"
    "       mailchute delete ID...            removed; its sender is not told\n"
    "       mailchute retry [--recompose] ID...\n"
    "                                         tried next; composed anew\n"
    "       mailchute explain [-f ADDR] [-F NAME] [-u USER] [--json] ID | FILE | -\n"
    "                                         what becomes of a message, and why\n"
    "       mailchute explain [-u USER] [--json] --address ADDR\n"
    "       mailchute help\n"
    "All but check and help take -s SPOOL, -S SOCKET, -l FOLDER (of mailchute-serve).\n"
    "`all` instead of IDs: every message; for root.\n"
    "setup, test, status, health, metrics and import are not in this version.\n";

static int usage(void)
{
	(void)io_write(2, usage_text, sizeof(usage_text) - 1);
	return EX_USAGE;
}

static int run_help(const struct options *o)
{
	(void)o;
	return io_write(1, usage_text, sizeof(usage_text) - 1) < 0 ? EX_IOERR : EX_OK;
}

static const struct command commands[] = {
	{ "check", "cs", NULL, NULL, 0, 0, false, false, run_check },
	{ "queue", "sSla", "--json", "json", 0, 0, false, false, run_queue },
	{ "show", "sSl", "--json", "json", 1, 1, true, false, run_show },
	{ "flush", "sSl", NULL, NULL, 0, 1, false, true, run_flush },
	{ "hold", "sSl", NULL, NULL, 1, INT32_MAX, true, true, run_ids },
	{ "release", "sSl", NULL, NULL, 1, INT32_MAX, true, true, run_ids },
	{ "delete", "sSl", NULL, NULL, 1, INT32_MAX, true, true, run_ids },
	{ "retry", "sSl", "--recompose", "recompose", 1, INT32_MAX, true, true, run_ids },
	{ "explain", "csfFul", "--json", NULL, 1, INT32_MAX, false, false, run_explain },
	{ "help", "", NULL, NULL, 0, 0, false, false, run_help },
};

/* ---- The command line ---- */

/* Takes the long option out of argv: getopt(3) knows letters only. */
static bool take_long(int *argc, char **argv, const char *word)
{
	bool found = false;
	int to = 1, i = 1;

	for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		if (word && strcmp(argv[i], word) == 0)
			found = true;
		else
			argv[to++] = argv[i];
	}
	while (i < *argc)
		argv[to++] = argv[i++];
	argv[to] = NULL;
	*argc = to;
	return found;
}

static bool take_option(struct options *o, int letter)
{
	if (letter == '?' || !strchr(o->command->letters, letter))
		return false;
	if (letter == 'c')
		o->conf = optarg;
	else if (letter == 's')
		o->spool = optarg;
	else if (letter == 'S')
		o->socket = optarg;
	else if (letter == 'l')
		o->libexec = optarg;
	else if (letter == 'f')
		o->sender = optarg;
	else if (letter == 'F')
		o->name = optarg;
	else if (letter == 'u')
		o->user = optarg;
	else
		o->all = true;
	return true;
}

/* Nothing is done when one of them is none. */
static bool ids_ok(const struct options *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct id id;

	for (int i = 0; i < o->args; i++) {
		struct str s = str_z(o->arg[i]);

		if (id_from(s, &id) ||
		    (o->args == 1 && o->command->acts && str_eq(s, STR("all"))))
			continue;
		buf_escape(&b, s, 100);
		buf_z(&b, " is not the id of a message (16 digits 0-9 a-f)");
		fail(EX_USAGE, b.p);
		return false;
	}
	return true;
}

/* What a caller has closed is not to be opened anew as a file of the spool or the socket, and
 * then be written to as standard output or error. */
static void fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= 2);
	cleanup_fd(&fd);
}

int main(int argc, char **argv)
{
	struct options o = { .conf = CONF_PATH,
		             .spool = SPOOL_PATH,
		             .libexec = LIBEXEC_PATH };
	int opt;

	fill_stdio();
	signal(SIGCHLD, SIG_DFL); /* it may be inherited as ignored (prog/child.h) */
	for (size_t i = 0; argc >= 2 && i < ARRAY_LEN(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			o.command = &commands[i];
	if (!o.command)
		return usage();
	argv++;
	argc--;
	o.extra = take_long(&argc, argv, o.command->extra);
	o.address =
	    take_long(&argc, argv, o.command->run == run_explain ? "--address" : NULL);
	while ((opt = getopt(argc, argv, "c:s:S:l:f:F:u:a")) != -1)
		if (!take_option(&o, opt))
			return usage();
	o.arg = argv + optind;
	o.args = argc - optind;
	if (o.args < o.command->min || o.args > o.command->max ||
	    (o.address && o.args > 1))
		return usage();
	if (o.command->ids && !ids_ok(&o))
		return EX_USAGE;
	return o.command->run(&o);
}
