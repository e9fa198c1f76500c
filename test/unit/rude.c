/*
 * The rude host's table: at each stage of a session every rudeness there is, and the one thing
 * that must come of it.
 *
 * Each cell is a process with client_stream() and a host of its own: five messages for two
 * recipients each; the host is rude once, on the first connection, and polite from then on.
 * Beside the outcome in the table must hold: all is delivered by the second connection, but
 * for what was refused; nothing twice, but for what was said to be in doubt; no other message
 * is blamed; no descriptor is left; it ends within the (scaled) time.
 */
#include "rudebed.h"

/* ---- The table ---- */

/*
 * What becomes of the message that met it (its first recipient), and of the others:
 *
 *	D  delivered, as all others, on this connection
 *	N  delivered; others on a new connection, at once
 *	W  delivered; others wait: the host is left alone for a while
 *	L  deferred; the others are delivered on this connection
 *	l  deferred; the others on a new connection, at once
 *	F  failed, the sender is told; the others are delivered on this connection
 *	f  failed; the others on a new connection, at once
 *	R  goes, as do others, by a new connection, at once
 *	H  waits, as do others: the host is left alone for a while, no message is blamed
 *	?  in doubt: sent again, alone and logged, and may be there twice then
 *
 * In a stream (BDAT) there is no DATA; what was sent to its last octet before the connection
 * broke is in doubt, and only a host that half closes tells nobody whether it took it.
 */
/* clang-format off */
static const struct row rows[] = {
	/*   421
	 *   | 4XX
	 *   | | 5XX
	 *   | | | FIN
	 *   | | | | RST
	 *   | | | | |  silence
	 *   | | | | |  | tarpit
	 *   | | | | |  | | garbage
	 *   | | | | |  | | |  NUL
	 *   | | | | |  | | |  | 8BIT
	 *   | | | | |  | | |  | | LONG
	 *   | | | | |  | | |  | | | ENDLESS
	 *   | | | | |  | | |  | | | | OTHER
	 *   | | | | |  | | |  | | | | | CODE
	 *   | | | | |  | | |  | | | | | |  NO_CR
	 *   | | | | |  | | |  | | | | | |  |  BARE_CR
	 *   | | | | |  | | |  | | | | | |  |  | EXTRA
	 *   | | | | |  | | |  | | | | | |  |  | | SPLIT
	 *   | | | | |  | | |  | | | | | |  |  | | | ALERT */
	{ "connect", S_CONNECT, FIRST, false,
	  { "H H H H H  H H H  H H H H H H  H  H H D H" } },
	{ "greeting", S_GREETING, FIRST, false,
	  { "H H H H H  H H H  H D H H H H  D  H H D H" } },
	{ "EHLO", S_EHLO, FIRST, false,
	  { "H H H H H  H H H  H D H H H H  D  H H D H" } },
	{ "STARTTLS", S_STARTTLS, FIRST, false,
	  { "H H H H H  H H H  H D H H H H  D  H H D H" } },
	{ "EHLO 2", S_EHLO_TLS, FIRST, false,
	  { "H H H H H  H H H  H D H H H H  D  H H D H" } },
	{ "AUTH", S_AUTH, FIRST, false,
	  { "H H H H H  H H H  H D H H H H  D  H H D H" } },
	/* The connection's first message; lockstep, combo, stream. */
	{ "MAIL", S_MAIL, FIRST, false,
	  { "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?" } },
	{ "RCPT", S_RCPT, FIRST, false,
	  { "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?" } },
	{ "DATA", S_DATA, FIRST, false,
	  { "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F H H  H H H  H D H H H H  D  H H D H" } },
	{ "body", S_BODY, FIRST, false,
	  { "H l f H H  H H H  H H H H H H  H  H H H H",
	    "H l f H H  H H H  H H H H H H  H  H H H H",
	    "H L F H H  H H R  R R R R R R  R  R R R H" } },
	{ "dot", S_DOT, FIRST, false,
	  { "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? N D ?" } },
	/* A later one. After 4XX and 5XX to a RSET in a stream the host goes on. */
	{ "RSET", S_RSET, THIRD, false,
	  { "R R R R R  H H H  H D H H H H  D  H H D H",
	    "R R R R R  H H R  R D R R R R  D  R H D R",
	    "R D D ? ?  ? ? ?  ? ? ? ? ? ?  D  ? ? D ?" } },
	{ "MAIL, later", S_MAIL, THIRD, false,
	  { "R L F H H  H H H  H D H H H H  D  H H D H",
	    "R L F H H  H H R  R D R R R R  D  R H D H",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?" } },
	{ "RCPT, later", S_RCPT, THIRD, false,
	  { "R L F H H  H H H  H D H H H H  D  H H D H",
	    "R L F H H  H H R  R D R R R R  D  R H D H",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?" } },
	{ "DATA, later", S_DATA, THIRD, false,
	  { "R L F H H  H H H  H D H H H H  D  H H D H",
	    "R L F H H  H H R  R D R R R R  D  R H D H" } },
	{ "body, later", S_BODY, THIRD, false,
	  { "R l f H H  H H H  H H H H H H  H  H H H H",
	    "R l f H H  H H R  R H R R R R  H  R H H H",
	    "R L F R R  H H R  R R R R R R  R  R R R R" } },
	{ "dot, later", S_DOT, THIRD, false,
	  { "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? N D ?" } },
	{ "QUIT", S_QUIT, FIRST, false,
	  { "D D D D D  D D D  D D D D D D  D  D D D D",
	    "D D D D D  D D D  D D D D D D  D  D D D D",
	    "D D D D D  D D D  D D D D D D  D  D D D D" } },
};
/* clang-format on */

/* Not of the table: a host that closes the connection at once when a second command comes with
 * the first, whatever it offered. */
static const struct row no_groups = { "no groups", S_QUIT, FIRST, true, { NULL } };

static const char *const action_name[] = { "421",   "4XX",     "5XX",    "FIN",
	                                   "RST",   "silence", "tarpit", "garbage",
	                                   "NUL",   "8BIT",    "LONG",   "ENDLESS",
	                                   "OTHER", "CODE",    "NO_CR",  "BARE_CR",
	                                   "EXTRA", "SPLIT",   "ALERT" };
static const char *const level_name[] = { "lockstep", "combo", "stream" };

/* ---- The queue ---- */

struct post {
	struct client_msg msg;
	struct client_rcpt rcpt[RCPTS];
	int number[RCPTS];
	char sender[16], addr[RCPTS][16];
	struct buf text;
	int given; /* octets of the text that were read */
	enum verdict_kind last[RCPTS];
	bool open[RCPTS], doubt[RCPTS]; /* still to be sent; was in doubt */
	bool flying, tried, committed, alone;
};

struct queue {
	struct cell *x;
	struct post m[MESSAGES];
};

static void on_commit(void *arg)
{
	struct post *m = arg;

	m->committed = true;
}

static struct client_msg *q_next(void *arg, bool idle)
{
	struct queue *q = arg;

	(void)idle;
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct post *m = &q->m[i];

		if (m->flying || m->tried || (!m->open[0] && !m->open[1]))
			continue;
		m->flying = m->tried = true;
		m->committed = false;
		m->msg.alone = m->alone;
		m->msg.rcpts = 0;
		for (int k = 0; k < RCPTS; k++)
			if (m->open[k]) {
				m->number[m->msg.rcpts] = k;
				m->rcpt[m->msg.rcpts++] =
				    (struct client_rcpt){ .addr = str_z(m->addr[k]) };
			}
		return &m->msg;
	}
	return NULL;
}

static void settle(struct queue *q, unsigned i, int k, enum verdict_kind kind)
{
	const struct row *row = q->x->row;
	struct post *m = &q->m[i];

	m->last[k] = kind;
	if (kind == VERDICT_DONE && !q->x->accepted[i][k])
		wrong(q->x, "%u.%d is done, but was not accepted", i, k);
	if (kind == VERDICT_DOUBT && !m->committed)
		wrong(q->x, "%u.%d is in doubt, but was not committed", i, k);
	if (kind == VERDICT_DOUBT)
		m->doubt[k] = m->alone = true;
	if ((kind == VERDICT_LATER || kind == VERDICT_FAILED) &&
	    (i != row->target || (row->stage == S_RCPT && k != 0) ||
	     q->x->action == A_EXTRA))
		wrong(q->x, "%u.%d is blamed: %s", i, k, m->rcpt[k].verdict.text.p);
	if (kind == VERDICT_DOUBT && q->x->level != STREAM && i != row->target)
		wrong(q->x, "%u.%d is in doubt", i, k);
	if (kind == VERDICT_DONE || kind == VERDICT_FAILED)
		m->open[k] = false;
}

static void q_done(void *arg, struct client_msg *msg, int error)
{
	struct queue *q = arg;
	unsigned i = 0;

	while (&q->m[i].msg != msg)
		i++;
	if (error || !q->m[i].flying)
		wrong(q->x, "message %u: error %d", i, error);
	q->m[i].flying = false;
	for (size_t r = 0; r < msg->rcpts; r++) {
		settle(q, i, q->m[i].number[r], msg->rcpt[r].verdict.kind);
		buf_free(&msg->rcpt[r].verdict.text);
	}
}

static void q_init(struct queue *q)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct post *m = &q->m[i];

		make_text(q->x, i, false, &m->text);
		snprintf(m->sender, sizeof(m->sender), "s%u@x.example", i);
		for (int k = 0; k < RCPTS; k++) {
			snprintf(m->addr[k], sizeof(m->addr[k]), "r%d.%u@x.example", k,
			         i);
			m->open[k] = true;
			m->last[k] = VERDICT_RECONNECT;
		}
		m->msg = (struct client_msg){ .sender = str_z(m->sender),
			                      .fd = io_memfd("m", buf_view(&m->text)),
			                      .rcpt = m->rcpt,
			                      .on_commit = on_commit,
			                      .arg = m };
		/* All of it is body: the header is in front. */
		m->msg.header = STR("");
	}
}

static bool q_any(struct queue *q)
{
	bool any = false;

	for (unsigned i = 0; i < MESSAGES; i++) {
		any = any || q->m[i].open[0] || q->m[i].open[1];
		q->m[i].tried = false;
	}
	return any;
}

/* The outcome of the first connection, as the table has it. */
static char outcome(const struct queue *q, bool opened)
{
	const struct post *t = &q->m[q->x->row->target];
	bool all = true, host = false;

	if (!opened)
		return 'H';
	for (unsigned i = 0; i < MESSAGES; i++)
		for (int k = 0; k < RCPTS; k++) {
			if (i == q->x->row->target &&
			    (k == 0 || q->x->row->stage != S_RCPT))
				continue;
			all = all && q->m[i].last[k] == VERDICT_DONE;
			host = host || q->m[i].last[k] == VERDICT_HOST;
		}
	switch (t->last[0]) {
	case VERDICT_DONE:
		return all ? 'D' : host ? 'W' : 'N';
	case VERDICT_LATER:
		return all ? 'L' : host ? '1' : 'l';
	case VERDICT_FAILED:
		return all ? 'F' : host ? '5' : 'f';
	case VERDICT_RECONNECT:
		return 'R';
	case VERDICT_HOST:
		return 'H';
	case VERDICT_DOUBT:
		return '?';
	case VERDICT_REST:
		break;
	}
	return '!';
}

static void check_end(const struct queue *q)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		for (int k = 0; k < RCPTS; k++) {
			unsigned n = q->x->accepted[i][k];

			if (q->m[i].open[k])
				wrong(q->x, "%u.%d still waits", i, k);
			else if (q->m[i].last[k] == VERDICT_FAILED ? n > 0 : n == 0)
				wrong(q->x, "%u.%d was accepted %u times", i, k, n);
			else if (n > 1 && !(n == 2 && q->m[i].doubt[k]))
				wrong(q->x, "%u.%d came %u times", i, k, n);
		}
}

/* ---- A cell ---- */

static int listen_local(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 16384;
	socklen_t n = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (bind(fd, (struct sockaddr *)ret, sizeof(*ret)) < 0 || listen(fd, 4) < 0 ||
	    getsockname(fd, (struct sockaddr *)ret, &n) < 0)
		_exit(3);
	return fd;
}

static unsigned descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* The most memory that was ever in use, in KiB. */
static long memory_most(void)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *at;

	if (io_slurp_at(AT_FDCWD, "/proc/self/status", &b, 1 << 16) < 0)
		return 0;
	at = strstr(b.p, "VmHWM:");
	return at ? strtol(at + 6, NULL, 10) : 0;
}

static void check_span(struct cell *x, int64_t ms)
{
	/* The longest wait for one reply, and what a loaded machine takes for the rest. */
	int64_t most = (x->timed ? 600 * x->scale : 0) + 8000;

	if (ms > most)
		wrong(x, "took %lld ms", (long long)ms);
}

/* Connection after connection, as mailchute-push does it. */
static void drain_queue(struct queue *q, struct client *c, const struct sockaddr_in *to)
{
	struct cell *x = q->x;
	const struct client_feed feed = {
		.next = q_next, .done = q_done, .fd = -1, .arg = q
	};

	for (int n = 0; q_any(q); n++) {
		struct verdict v = { 0 };
		int64_t since = clock_ms();
		bool opened;

		if (n == CONNECTIONS_MAX + (x->row->no_groups)) {
			wrong(x, "not all is delivered by connection %d", n);
			return;
		}
		opened =
		    client_open(c, (const struct sockaddr *)to, sizeof(*to), &v) == 0;
		if (opened)
			client_stream(c, &feed);
		if (!opened && (v.kind != VERDICT_HOST || !v.text.n))
			wrong(x, "no words for it");
		client_quit(c);
		buf_free(&v.text);
		check_span(x, clock_ms() - since);
		for (unsigned i = 0; i < MESSAGES; i++)
			if (q->m[i].flying)
				wrong(x, "message %u was not given back", i);
		if (n == 0)
			x->got = outcome(q, opened);
	}
}

static struct client_conf conf_of(const struct bed *bed, const struct cell *x)
{
	enum client_tls tls =
	    x->level == LOCKSTEP ? CLIENT_TLS_NONE : CLIENT_TLS_STARTTLS;

	if (x->row->stage < S_MAIL)
		tls = x->row->stage == S_CONNECT ? CLIENT_TLS_IMPLICIT
		                                 : CLIENT_TLS_STARTTLS;
	return (struct client_conf){ .host = STR("mx"),
		                     .tls = tls,
		                     .auth = true,
		                     .auth_insecure = true,
		                     .user = STR("me"),
		                     .password = STR("open sesame"),
		                     .helo = STR("box"),
		                     .timeout_scale = x->scale,
		                     .stream = true,
		                     .learned = str_z(bed->learned),
		                     .cancel_fd = -1 };
}

/* In a process of its own. learn: keeps what the client learned of the polite host. */
static void cell_run(struct bed *bed, struct cell *x, bool learn)
{
	struct queue *q = calloc(1, sizeof(*q));
	struct client_conf conf = conf_of(bed, x);
	struct sockaddr_in to;
	int listener = listen_local(&to);
	unsigned fds;
	const char *why = "";
	struct client *c;
	struct buf learned = BUF_INIT;
	pid_t host;
	long kb;

	q->x = x;
	q_init(q);
	host = host_start(bed, x, listener);
	close(listener);
	fds = descriptors();
	kb = memory_most();
	c = client_new(&conf, &why);
	if (!c) {
		wrong(x, "client_new: %s", why);
		_exit(0);
	}
	drain_queue(q, c, &to);
	if (learn) {
		client_learned(c, &learned);
		snprintf(bed->learned, sizeof(bed->learned), "%s",
		         learned.n ? learned.p : "");
	}
	client_free(c);
	if (descriptors() != fds)
		wrong(x, "descriptors: %u, %u before", descriptors(), fds);
	kb = memory_most() - kb;
#ifndef __SANITIZE_ADDRESS__
	if (kb > GROWTH_MAX_KB)
		wrong(x, "memory grew by %ld KiB", kb);
#endif
	usleep(1000); /* what was sent last */
	kill(host, SIGKILL);
	waitpid(host, NULL, 0);
	check_end(q);
	_exit(0);
}

/* ---- All cells ---- */

static bool is_timed(const struct cell *x)
{
	return x->action == A_SILENCE || x->action == A_TARPIT;
}

static void cell_start(struct bed *bed, struct cell *x)
{
	pid_t pid;

	x->began = clock_ms();
	pid = fork();
	if (pid) {
		x->pid = pid;
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	cell_run(bed, x, false);
}

static bool cell_good(const struct cell *x)
{
	return x->got == x->want && !x->why[0];
}

/* One more that has ended, or is late. True: it is to run again. */
static bool cell_end(struct cell *x, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		wrong(x, "died, status %d", status);
	x->pid = 0;
	if (cell_good(x) || !x->timed || x->again)
		return false;
	/* The scaled time is short: was it the machine? */
	*x = (struct cell){ .row = x->row,
		            .level = x->level,
		            .action = x->action,
		            .want = x->want,
		            .scale = SCALE_AGAIN,
		            .timed = true,
		            .again = true };
	return true;
}

static void run_all(struct bed *bed)
{
	size_t begun = 0, running = 0;

	while (begun < bed->n || running) {
		int status = 0;
		pid_t pid;

		while (begun < bed->n && running < AT_ONCE) {
			cell_start(bed, &bed->cells[begun++]);
			running++;
		}
		pid = waitpid(-1, &status, WNOHANG);
		if (pid == 0)
			usleep(500);
		for (size_t i = 0; i < begun; i++) {
			struct cell *x = &bed->cells[i];

			if (x->pid && x->pid == pid && !cell_end(x, status))
				running--;
			else if (x->pid == 0 && x->again && !x->began)
				cell_start(bed, x);
			else if (x->pid && clock_ms() - x->began > CELL_MS) {
				wrong(x, "it hangs");
				kill(x->pid, SIGKILL);
			}
		}
	}
}

static void add_row(struct bed *bed, const struct row *row, enum level level, bool timed)
{
	unsigned a = 0;

	for (const char *p = row->out[level]; *p; p++) {
		struct cell *x = &bed->cells[bed->n];

		if (*p == ' ')
			continue;
		*x = (struct cell){
			.row = row, .level = level, .action = a++, .want = *p
		};
		/* Before MAIL there are no levels: the whole ladder's way. */
		if (!row->out[COMBO])
			x->level = STREAM;
		x->timed = is_timed(x);
		x->scale = x->timed ? SCALE_TIMED : SCALE;
		bed->n += x->timed == timed;
	}
	assert_int_equal(a, ACTIONS);
}

static void make_cells(struct bed *bed)
{
	size_t size = (ARRAY_LEN(rows) * LEVELS * ACTIONS + 2) * sizeof(struct cell);

	bed->cells =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(bed->cells, MAP_FAILED);
	for (int timed = 1; timed >= 0; timed--)
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			for (enum level l = 0; l < LEVELS; l++)
				if (rows[i].out[l])
					add_row(bed, &rows[i], l, timed);
}

static void make_creds(struct bed *bed)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;

	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	                             GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_serial(crt, "\1", 1);
	gnutls_x509_crt_set_activation_time(crt, time(NULL) - 86400);
	gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 86400);
	gnutls_x509_crt_set_dn(crt, "CN=mx", NULL);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	gnutls_certificate_allocate_credentials(&bed->creds);
	assert_int_equal(gnutls_certificate_set_x509_key(bed->creds, &crt, 1, key), 0);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

/* One session with a polite host that is streamed to. */
static void learn(struct bed *bed)
{
	struct cell *x = &bed->cells[bed->n];
	struct bed *shared = mmap(NULL, sizeof(*bed), PROT_READ | PROT_WRITE,
	                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const struct row row = { "learn", S_QUIT, FIRST, false, { NULL } };
	int status;
	pid_t pid;

	*shared = *bed;
	*x = (struct cell){
		.row = &row, .level = STREAM, .action = A_SPLIT, .scale = 1000
	};
	pid = fork();
	if (pid == 0)
		cell_run(shared, x, true);
	waitpid(pid, &status, 0);
	if (x->got != 'D' || x->why[0] || !shared->learned[0])
		fail_msg("the polite host: %c %s", x->got, x->why);
	memcpy(bed->learned, shared->learned, sizeof(bed->learned));
	munmap(shared, sizeof(*shared));
}

static void add_no_groups(struct bed *bed, enum level level)
{
	bed->cells[bed->n++] = (struct cell){ .row = &no_groups,
		                              .level = level,
		                              .action = A_FIN,
		                              .want = 'H',
		                              .scale = SCALE };
}

static void test_table(void **state)
{
	struct bed bed = { .n = 0 };
	unsigned bad = 0;

	(void)state;
	make_creds(&bed);
	make_cells(&bed);
	add_no_groups(&bed, COMBO);
	learn(&bed);
	run_all(&bed);
	for (size_t i = 0; i < bed.n; i++) {
		const struct cell *x = &bed.cells[i];

		if (cell_good(x))
			continue;
		bad++;
		print_error("%s, %s, %s: %c, want %c: %s\n", x->row->name,
		            action_name[x->action], level_name[x->level],
		            x->got ? x->got : ' ', x->want, x->why);
	}
	print_message("%zu cells\n", bed.n);
	assert_int_equal(bad, 0);
	gnutls_certificate_free_credentials(bed.creds);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_table) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
