#include "admin/explain.h"
#include "base/clock.h"
#include "base/io.h"
#include "inject/sm_input.h"
#include "prog/child.h"
#include "prog/who.h"
#include "push/aliases.h"
#include "push/explain.h"
#include "prog/fence.h"
#include "push/maps.h"
#include "spool/list.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	NOBODY = 65534,
	WORDS_MAX =
	    16, /* of the command line that sm_args_parse() is given, but recipients */
	QUEUE_FILE = 1,
	DROP_FILE = 2,
};

/* What the child is given. */
struct work {
	const struct explain_request *q;
	struct conf *conf;
	struct sm_args args; /* sender, name, recipients */
	uid_t uid;           /* who submits it */
	bool is_id;
	struct id id;
	int fd; /* the message, from its beginning; -1: an id, or an address */
};

/* ---- In the child: before it is fenced ---- */

static int say(struct buf *ret, int e, const char *words)
{
	buf_reset(ret);
	buf_z(ret, words);
	return e;
}

/* Root becomes the spool's owner; without a spool, nobody. *ret_owner: the uid that mailchuted
 * runs as, as far as that is known. */
static int become(const char *spool, bool must, uint64_t *ret_owner, struct buf *ret)
{
	struct stat st = { 0 };
	bool there = stat(spool, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid != 0;
	uid_t uid = there ? st.st_uid : NOBODY;
	gid_t gid = there ? st.st_gid : NOBODY;

	*ret_owner = there ? st.st_uid : UINT64_MAX;
	if (must && !there)
		return say(ret, -ENOENT, "there is no spool of mailchuted");
	if (must && geteuid() != 0 && geteuid() != st.st_uid)
		return say(ret, -EACCES,
		           "a message of the queue is explained to root only; "
		           "`mailchute show ID` shows your own");
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	                       setresuid(uid, uid, uid) < 0 || setuid(0) == 0))
		return say(ret, -EPERM, "root's rights cannot be given up");
	return 0;
}

/* Finds the message in the spool. */
static int open_id(struct work *w, int *ret_note, struct buf *ret)
{
	_cleanup_fd_ int root = open(w->q->spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct list_item item = { .fd = -1, .note = -1 };
	struct stat st;
	int e = root < 0 ? -errno : list_find(root, &w->id, &item);

	if (e == -ENOENT)
		return say(ret, e, "there is no such message");
	if (e < 0)
		return say(ret, e, strerror(-e));
	w->fd = item.fd;
	*ret_note = item.note;
	if (item.where == LIST_DROP && fstat(item.fd, &st) == 0)
		w->uid = st.st_uid;
	return 0;
}

/* Nothing of the caller's is in reach of what parses the message. */
static void fence(void)
{
	const struct rlimit cpu = { EXPLAIN_SECONDS, EXPLAIN_SECONDS }, none = { 0, 0 };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 2 && null > 2; fd++)
		dup2(null, fd);
	cleanup_fd(&null);
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_NPROC, &none);
	fence_route();
}

/* ---- In the child: fenced ---- */

/* The envelope's lines for what is no queue file yet. */
static void add_attested(const struct work *w, const struct buf who[static 3],
                         struct buf *b)
{
	envelope_print_submitter(b, w->uid, buf_view(&who[0]), buf_view(&who[1]),
	                         buf_view(&who[2]), clock_real());
}

static int add_drop(const struct work *w, const struct sm_rcpts *rcpts, struct buf *b,
                    struct buf *ret)
{
	struct envelope e = { .has_sender = w->args.has_sender,
		              .sender = buf_view(&w->args.sender),
		              .full_name = w->args.full_name,
		              .rcpts = rcpts->n };

	if (rcpts->n == 0)
		return say(ret, -EBADMSG,
		           "it has no recipients in To, Cc or Bcc; give them behind it");
	e.rcpt = calloc(e.rcpts, sizeof(*e.rcpt));
	if (!e.rcpt)
		die_oom();
	for (size_t i = 0; i < e.rcpts; i++)
		e.rcpt[i].addr = sm_rcpts_at(rcpts, i);
	envelope_print_drop(b, &e);
	free(e.rcpt);
	return 0;
}

/* A plain message: the recipients are those of its header, as with sendmail -t, or those
 * given. */
static int add_plain(struct work *w, struct buf *b, struct buf *ret)
{
	struct sm_source in = SM_SOURCE(w->fd);
	struct sm_head head = { .big = BUF_INIT };
	static char block[SM_BLOCK];
	int e;

	if (w->args.rcpts.n == 0) {
		e = sm_head_read(&in, block, sizeof(block), &head);
		if (e < 0)
			return say(ret, e, strerror(-e));
		e = sm_head_rcpts(str_head(head.text, head.header), &w->args.rcpts, ret);
		buf_free(&head.big);
		if (e)
			return -EBADMSG;
	}
	return add_drop(w, &w->args.rcpts, b, ret);
}

/* Which of our files begins like this? 0: none. */
static int kind_of(int fd)
{
	char p[20];
	ssize_t n = pread(fd, p, sizeof(p), 0);
	struct str s = { p, n < 0 ? 0 : (size_t)n };

	return str_starts(s, STR("mailchute 1\n"))        ? QUEUE_FILE
	       : str_starts(s, STR("mailchute-drop 1\n")) ? DROP_FILE
	                                                  : 0;
}

/* Makes a queue file of what w->fd has; w->fd is used up. Descriptor or -errno. */
static int queue_file(struct work *w, const struct buf who[static 3], struct buf *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	_cleanup_fd_ int in = w->fd;
	int fd, e = 0, kind = kind_of(in);
	int64_t n;

	w->fd = -1;
	if (lseek(in, 0, SEEK_SET) < 0)
		return say(ret, -errno, strerror(errno));
	if (kind == QUEUE_FILE) {
		fd = fcntl(in, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? say(ret, -errno, strerror(errno)) : fd;
	}
	add_attested(w, who, &b);
	w->fd = in;
	if (kind == 0)
		e = add_plain(w, &b, ret);
	w->fd = -1;
	if (e < 0)
		return e;
	fd = memfd_create("message", MFD_CLOEXEC);
	if (fd < 0 || lseek(in, 0, SEEK_SET) < 0)
		return say(ret, -errno, strerror(errno));
	e = io_write(fd, b.p, b.n);
	n = e < 0 ? e : io_copy(in, fd, INT64_MAX, NULL);
	if (n >= 0 && lseek(fd, 0, SEEK_SET) < 0)
		n = -errno;
	if (n >= 0)
		return fd;
	close(fd);
	return say(ret, (int)n, strerror((int)-n));
}

/* Explains what fd has. */
static int explain_fd(const struct explain *x, int fd, int note, struct buf *ret)
{
	const char *why = "";
	int e;

	if (fd < 0) {
		cleanup_fd(&note);
		return fd;
	}
	e = explain_message(x, fd, note, ret, &why);
	trace_free(x->compose->trace);
	if (e == -EBADMSG)
		return say(ret, e, why);
	return e < 0 ? say(ret, e, strerror(-e)) : 0;
}

/* One address: a message from it, for what becomes of a sender; and one of the submitter to
 * it, for what becomes of a recipient. */
static int explain_address(struct work *w, struct explain *x,
                           const struct buf who[static 3], struct buf *ret)
{
	struct str addr = sm_rcpts_at(&w->args.rcpts, 0);
	_cleanup_buf_ struct buf given = w->args.sender; /* -f */
	const bool has_sender = w->args.has_sender;

	w->args.sender = (struct buf)BUF_INIT;
	for (int i = 0; i < 2; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT, drop = BUF_INIT;
		int fd, e;

		w->args.has_sender = i == 0 || has_sender;
		buf_reset(&w->args.sender);
		buf_str(&w->args.sender, i == 0 ? addr : buf_view(&given));
		if (i == 0)
			buf_fmt(&b, "From: %.*s\n", (int)addr.n, addr.p);
		buf_c(&b, '\n');
		add_attested(w, who, &drop);
		e = add_drop(w, &w->args.rcpts, &drop, ret);
		if (e < 0)
			return e;
		buf_str(&drop, buf_view(&b));
		fd = io_memfd("address", buf_view(&drop));
		x->what = i == 0 ? EXPLAIN_SENDER : EXPLAIN_RCPTS;
		if (x->json)
			buf_z(ret, i == 0 ? "{\"as_sender\":" : ",\"as_recipient\":");
		else if (i == 1)
			buf_c(ret, '\n');
		e = explain_fd(x, fd, -1, ret);
		if (e < 0)
			return e;
	}
	if (x->json)
		buf_c(ret, '}');
	return 0;
}

/* What the child does. */
static int work(void *arg, struct buf *ret)
{
	struct work *w = arg;
	struct buf who[3] = { BUF_INIT, BUF_INIT, BUF_INIT }; /* login, name, groups */
	struct trace trace = { .conf = w->q->conf };
	static struct alias_table aliases;
	char name[MESSAGE_NAME_MAX + 1];
	struct compose_conf compose;
	struct explain x = { .conf = w->conf,
		             .conf_path = w->q->conf,
		             .compose = &compose,
		             .id = w->id,
		             .json = w->q->json };
	int note = -1, e;

	message_conf(w->conf, name, &compose);
	compose.trace = &trace;
	e = become(w->q->spool, w->is_id, &compose.own_uid, ret);
	if (e == 0 && w->is_id)
		e = open_id(w, &note, ret);
	if (e < 0)
		return e;
	who_is(w->uid, &who[0], &who[1]);
	who_is_in(w->uid, &who[2]);
	e = maps_read(w->conf, ret);
	if (e < 0)
		return e;
	aliases_read(w->conf->aliases, &aliases);
	compose.aliases = &aliases;
	fence();
	if (w->q->address)
		return explain_address(w, &x, who, ret);
	return explain_fd(&x, queue_file(w, who, ret), note, ret);
}

/* ---- In the parent ---- */

static int fail(int code, const char *about, struct str words)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_z(&b, "mailchute: ");
	if (about) {
		buf_escape(&b, str_z(about), 200);
		buf_z(&b, ": ");
	}
	buf_escape(&b, words, 1000);
	buf_c(&b, '\n');
	(void)io_write(2, b.p, b.n);
	return code;
}

/* Whatever the child says does nothing to a terminal. */
static int print(struct str s)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f))
			buf_c(&b, (char)c);
		else
			buf_fmt(&b, "\\x%02x", c);
	}
	return io_write(1, b.p, b.n) < 0 ? EX_IOERR : EX_OK;
}

static int code_of(int e)
{
	return e == -ENOENT    ? EX_NOINPUT
	       : e == -EACCES  ? EX_NOPERM
	       : e == -EBADMSG ? EX_DATAERR
	       : e == -EPERM   ? EX_OSERR
	                       : EX_TEMPFAIL;
}

/* Copies what cannot be read twice: a pipe, a terminal. Descriptor or -errno. */
static int copy_all(int in)
{
	static char block[SM_BLOCK];
	int fd = memfd_create("message", MFD_CLOEXEC), e = fd < 0 ? -errno : 0;
	int64_t total = 0;

	while (e == 0) {
		ssize_t n = io_read(in, block, sizeof(block));

		total += n;
		e = n < 0 ? (int)n : total > EXPLAIN_FILE_MAX ? -EFBIG : 0;
		if (e == 0 && n > 0)
			e = io_write(fd, block, (size_t)n);
		if (n == 0)
			return fd;
	}
	cleanup_fd(&fd);
	return e;
}

/* With the caller's rights. Descriptor or -errno. */
static int open_file(const char *path)
{
	struct stat st;
	int fd, copy;

	if (strcmp(path, "-") == 0)
		return copy_all(0);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= EXPLAIN_FILE_MAX)
		return fd;
	copy = copy_all(fd);
	close(fd);
	return copy;
}

/* Has the options read as sendmail's are: -f, -F and recipients mean the same. */
static int read_args(struct work *w)
{
	const struct explain_request *q = w->q;
	_cleanup_buf_ struct buf why = BUF_INIT;
	char **argv = calloc((size_t)q->args + WORDS_MAX, sizeof(*argv));
	const char *head[WORDS_MAX] = { "sendmail", "-i" };
	int n = 2, from = q->address ? 0 : 1, code;

	if (!argv)
		die_oom();
	if (q->sender) {
		head[n++] = "-f";
		head[n++] = q->sender;
	}
	if (q->name) {
		head[n++] = "-F";
		head[n++] = q->name;
	}
	if (from == q->args)
		head[n++] = "-t";
	head[n++] = "--";
	for (int i = 0; i < n; i++)
		memcpy(&argv[i], &head[i], sizeof(head[i])); /* not written to */
	for (int i = from; i < q->args; i++)
		argv[n++] = q->arg[i];
	code = sm_args_parse(n, argv, &w->args, &why);
	free(argv);
	return code ? fail(code, NULL, buf_view(&why)) : EX_OK;
}

static int run_child(struct work *w)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	int e =
	    child_run(work, w, EXPLAIN_SECONDS * INT64_C(1000), EXPLAIN_OUT_MAX, &out);

	if (e == 0) {
		if (w->q->json)
			buf_c(&out, '\n');
		return print(buf_view(&out));
	}
	if (out.n == 0 || e == -EIO || e == -ETIMEDOUT) {
		buf_reset(&out);
		buf_z(&out, e == -ETIMEDOUT ? "it took too long" : strerror(-e));
	}
	return fail(code_of(e), w->q->arg[0], buf_view(&out));
}

/* Who submits it, what is to be explained. */
static int prepare(struct work *w)
{
	const struct explain_request *q = w->q;
	struct strv groups = { .n = 0 };
	gid_t gid;
	int e;

	who_ask(q->libexec);
	conf_groups(w->conf, &groups);
	who_ask_groups(&groups);
	strv_free(&groups);
	w->uid = getuid();
	e = q->user ? who_named(q->user, &w->uid, &gid) : 0;
	if (e < 0)
		return fail(EX_NOUSER, q->user,
		            e == -ENOENT    ? STR("there is no such user")
		            : e == -ENOEXEC ? STR("cannot start " LIBEXEC_PATH
		                                  "/mailchute-look to look it up")
		                            : str_z(strerror(-e)));
	w->is_id = !q->address && id_from(str_z(q->arg[0]), &w->id);
	if (w->is_id && q->args > 1)
		return fail(EX_USAGE, q->arg[0],
		            STR("a message of the queue has its recipients"));
	if (!w->is_id && !id_from(STR("0000000000000000"), &w->id))
		return EX_SOFTWARE;
	if (q->address || w->is_id)
		return EX_OK;
	w->fd = open_file(q->arg[0]);
	if (w->fd == -EFBIG)
		return fail(EX_DATAERR, q->arg[0], STR("it is over 256 MB"));
	return w->fd < 0 ? fail(w->fd == -ENOENT ? EX_NOINPUT : EX_NOPERM, q->arg[0],
	                        str_z(strerror(-w->fd)))
	                 : EX_OK;
}

int explain_run(const struct explain_request *q)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct work w = { .q = q, .fd = -1 };
	struct conf conf;
	struct str rest, line;
	int code;

	(void)clock_real(); /* a test's clock is a file: opened while that can be done */
	if (conf_load_some(q->conf, 0, &conf, &err) < 0) {
		rest = buf_view(&err);
		while (rest.n && str_cut(&rest, '\n', &line))
			if (line.n)
				fail(EX_CONFIG, NULL, line);
		return EX_CONFIG;
	}
	conf.listener_uid = q->listener;
	w.conf = &conf;
	code = read_args(&w);
	if (code == EX_OK) {
		code = prepare(&w);
		if (code == EX_OK)
			code = run_child(&w);
		sm_args_free(&w.args);
	}
	cleanup_fd(&w.fd);
	conf_free(&conf);
	return code;
}
