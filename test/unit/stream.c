/*
 * Property test of client_stream(): random queues against a model of a host that keeps what it
 * accepted, with random refusals, closed connections, 421s, delays and cuts.
 *
 * What must hold: every message gets its verdicts, which are those that the host gives to this
 * message, whatever the level; none is DONE that was not accepted; none is accepted twice
 * unless DOUBT was said; nothing of a message is ever read as a command.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "smtp/client.h"

enum { MESSAGES_MAX = 150, RCPTS_MAX = 3, CONNECTIONS_MAX = 300, ROUNDS = 60 };

/* What the host and the test share. */
struct shared {
	unsigned accepted[MESSAGES_MAX][RCPTS_MAX];
	unsigned violations;
	char why[200];
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static uint64_t roll(uint64_t *state)
{
	return mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

/* The host of a round: what it offers and how it behaves. */
struct model {
	uint64_t seed;
	bool pipelining, chunking, far, leaky, exim, hoards, nonmail;
	unsigned faults; /* a connection in so many has none; 0: never any */
	int refusals;    /* of 100 */
};

/* What it says of message m's MAIL (k < 0), recipient k, or content (k == RCPTS_MAX): 2, 4, 5. */
static int opinion(const struct model *o, unsigned m, int k)
{
	uint64_t r = mix(o->seed * 1000003 + m * 101 + (uint64_t)(k + 1)) % 100;

	if ((int)r >= o->refusals)
		return 2;
	return r % 2 ? 4 : 5;
}

enum fault {
	FAULT_NONE,
	FAULT_421,       /* and the end */
	FAULT_421_LATER, /* and it goes on all the same for a while */
	FAULT_CLOSE,
	FAULT_RESET,
	FAULT_HOST, /* 451 4.3.0 to a MAIL */
	FAULT_SYNC,
	FAULTS
};

/* One connection of the host. */
struct peer {
	const struct model *o;
	struct shared *sh;
	int fd;
	struct buf in, out;
	uint64_t dice;
	enum fault fault;
	unsigned fault_at, replies, failures;
	/* The transaction: */
	bool ahead; /* a command came before its predecessor was answered */
	bool stays; /* has said 421, and is about to go on */
	int sender; /* -1: none */
	uint64_t size;
	bool rcpt[RCPTS_MAX];
};

static void violation(struct peer *p, const char *what, struct str line)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_escape(&b, line, 60);
	p->sh->violations++;
	snprintf(p->sh->why, sizeof(p->sh->why), "%s: %s", what, b.n ? b.p : "");
}

static void flush(struct peer *p)
{
	size_t at = 0;

	while (at < p->out.n) {
		size_t n = p->out.n - at;

		/* Now and then in pieces. */
		if (roll(&p->dice) % 4 == 0)
			n = 1 + roll(&p->dice) % n;
		if (io_write(p->fd, p->out.p + at, n) < 0)
			_exit(0);
		at += n;
	}
	buf_reset(&p->out);
}

static bool more(struct peer *p)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN };
	ssize_t n;

	/* Like Postfix: replies go out when the input runs dry. */
	if (poll(&f, 1, 0) <= 0)
		flush(p);
	n = read(p->fd, buf_room(&p->in, 65536),
	         p->in.n > 100000 ? 65536 : 1 + roll(&p->dice) % 8192);
	if (n <= 0)
		return false;
	p->in.n += (size_t)n;
	p->in.p[p->in.n] = '\0';
	return true;
}

static void leave(struct peer *p, bool reset)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	if (!reset)
		flush(p);
	if (reset)
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(p->fd);
	_exit(0);
}

/* When 421 is the last that is heard of a host, it has taken nothing more (src/README): who went
 * on sees to it that this shows before its kernel drops replies in a reset. */
static void shows(struct peer *p)
{
	int unsent = 1;

	flush(p);
	for (int ms = 0; unsent > 0 && ms < 500; ms++) {
		if (ioctl(p->fd, SIOCOUTQ, &unsent) < 0)
			return;
		usleep(1000);
	}
}

/* A reply, unless its time has come for a fault. True: it was said. */
static bool say(struct peer *p, const char *reply)
{
	bool first = p->stays;

	if (p->fault != FAULT_NONE && p->replies++ == p->fault_at) {
		enum fault f = p->fault;

		p->fault = FAULT_NONE;
		if (f == FAULT_SYNC && !p->ahead)
			f = FAULT_CLOSE;
		switch (f) {
		case FAULT_421:
			buf_z(&p->out, "421 4.7.0 enough\r\n");
			leave(p, false);
			break;
		case FAULT_421_LATER:
			buf_z(&p->out, "421 4.7.0 enough, but I stay\r\n");
			p->stays = true;
			return false;
		case FAULT_CLOSE:
			leave(p, false);
			break;
		case FAULT_RESET:
			leave(p, true);
			break;
		case FAULT_HOST:
			buf_z(&p->out, "451 4.3.0 disk\r\n");
			return false;
		case FAULT_SYNC:
			buf_z(&p->out, "554 SMTP synchronization error\r\n");
			leave(p, false);
			break;
		case FAULT_NONE:
		case FAULTS:
			break;
		}
	}
	buf_z(&p->out, reply);
	if (first)
		shows(p);
	p->stays = false;
	if (!p->o->hoards)
		flush(p);
	return true;
}

static void forget(struct peer *p)
{
	p->sender = -1;
	memset(p->rcpt, 0, sizeof(p->rcpt));
}

static bool anybody(const struct peer *p)
{
	return p->rcpt[0] || p->rcpt[1] || p->rcpt[2];
}

static const char *word(int opinion, const char *yes, const char *later, const char *no)
{
	return opinion == 2 ? yes : opinion == 4 ? later : no;
}

/* What the messages look like: some are larger than others, some have lines that are commands. */
static void make_body(unsigned m, struct buf *b)
{
	buf_fmt(b, "message %u\n.\n..\nRSET\nMAIL FROM:<evil@x>\nBDAT 5 LAST\n", m);
	for (unsigned i = 0; i < m % 7 * 40; i++)
		buf_fmt(b, "line %u of %u, as long as a line is.\n", i, m);
	if (m % 100 == 99)
		for (unsigned i = 0; i < 40000; i++)
			buf_fmt(b, "%u: a large message has many lines\n", i);
	buf_z(b, "QUIT");
}

static void make_wire(unsigned m, bool stuffed, struct buf *b)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct str rest, line;

	buf_fmt(&text, "Subject: %u\n\n", m);
	make_body(m, &text);
	rest = buf_view(&text);
	while (str_cut(&rest, '\n', &line)) {
		if (stuffed && line.n && line.p[0] == '.')
			buf_c(b, '.');
		buf_str(b, line);
		buf_z(b, "\r\n");
	}
}

/* The content is there: keeps it, answers. */
static void content(struct peer *p, struct str got, bool stuffed)
{
	_cleanup_buf_ struct buf want = BUF_INIT;
	bool told = p->fault != FAULT_NONE && p->replies == p->fault_at &&
	            p->fault != FAULT_CLOSE && p->fault != FAULT_RESET;
	int yes;

	make_wire((unsigned)p->sender, stuffed, &want);
	if (!str_eq(got, buf_view(&want)))
		violation(p, "content", got);
	yes = opinion(p->o, (unsigned)p->sender, RCPTS_MAX);
	/* What is said instead of yes is the truth, but for what cannot come here. */
	if (told && p->fault == FAULT_SYNC)
		p->fault = FAULT_CLOSE;
	else if (told)
		yes = 4;
	/* As a real one: it is kept before it is said. */
	for (int k = 0; k < RCPTS_MAX && yes == 2; k++)
		if (p->rcpt[k])
			p->sh->accepted[p->sender][k]++;
	if (yes != 2)
		p->failures++;
	forget(p);
	say(p,
	    word(yes, "250 2.0.0 kept\r\n", "451 4.6.0 later\r\n", "554 5.6.0 no\r\n"));
}

static void do_mail(struct peer *p, struct str line)
{
	uint64_t m = 0, size = 0;
	struct str number, rest = str_from(line, 12); /* MAIL FROM:<s */
	ptrdiff_t at = str_chr(line, '=');

	if (p->sender >= 0) {
		violation(p, "nested MAIL", line);
		return;
	}
	str_cut(&rest, '@', &number);
	if (!str_u64(number, &m) || at < 0 ||
	    !str_u64(str_from(line, (size_t)at + 1), &size) || m >= MESSAGES_MAX) {
		violation(p, "MAIL", line);
		return;
	}
	if (!say(p, word(opinion(p->o, (unsigned)m, -1), "250 2.1.0 ok\r\n",
	                 "450 4.1.8 later\r\n", "550 5.1.8 no\r\n")) ||
	    opinion(p->o, (unsigned)m, -1) != 2) {
		p->failures++;
		return;
	}
	p->sender = (int)m;
	p->size = size;
}

static void do_rcpt(struct peer *p, struct str line)
{
	int k = line.n > 10 ? line.p[10] - '0' : 0, yes; /* RCPT TO:<r */

	if (p->sender < 0) {
		say(p, "503 5.5.1 MAIL first\r\n");
		return;
	}
	if (k < 0 || k >= RCPTS_MAX) {
		violation(p, "RCPT", line);
		return;
	}
	yes = opinion(p->o, (unsigned)p->sender, k);
	if (say(p,
	        word(yes, "250 2.1.5 ok\r\n", "450 4.7.1 later\r\n", "550 5.1.1 no\r\n")))
		p->rcpt[k] = yes == 2;
}

static void do_bdat(struct peer *p, struct str line)
{
	struct str number = str_from(line, 5), part;
	uint64_t n = 0;

	str_cut(&number, ' ', &part);
	if (!str_u64(part, &n) || n > 8000000) {
		violation(p, "BDAT", line);
		return;
	}
	if (!anybody(p)) {
		if (p->o->leaky) {
			say(p, "502 5.5.1 no\r\n");
			return;
		}
		while (p->in.n < n)
			if (!more(p))
				_exit(0);
		buf_drop(&p->in, n);
		p->failures++;
		forget(p);
		say(p, "554 5.5.1 nobody\r\n");
		return;
	}
	if (n != p->size)
		violation(p, "BDAT is not SIZE", line);
	while (p->in.n < n)
		if (!more(p))
			_exit(0);
	{
		_cleanup_buf_ struct buf got = BUF_INIT;

		buf_str(&got, str_head(buf_view(&p->in), n));
		buf_drop(&p->in, n);
		content(p, buf_view(&got), false);
	}
}

static char *content_end(const struct buf *b, size_t seen)
{
	size_t at = seen > 4 ? seen - 4 : 0;

	return b->n ? memmem(b->p + at, b->n - at, "\r\n.\r\n", 5) : NULL;
}

static void do_data(struct peer *p)
{
	_cleanup_buf_ struct buf got = BUF_INIT;
	char *end;

	if (!anybody(p)) {
		say(p, "554 5.5.1 nobody\r\n");
		return;
	}
	if (p->in.n)
		violation(p, "something behind DATA", buf_view(&p->in));
	if (!say(p, "354 go\r\n"))
		return;
	flush(p);
	for (size_t seen = 0; !(end = content_end(&p->in, seen));) {
		seen = p->in.n;
		if (!more(p))
			_exit(0);
	}
	buf_add(&got, p->in.p, (size_t)(end - p->in.p) + 2);
	buf_drop(&p->in, got.n + 3);
	content(p, buf_view(&got), true);
}

static void command(struct peer *p, struct str line)
{
	if (str_starts(line, STR("RSET"))) {
		forget(p);
		if (p->o->nonmail && p->failures > 5) {
			buf_z(&p->out, "554 Too many nonmail commands\r\n");
			leave(p, false);
		}
		say(p, "250 2.0.0 reset\r\n");
	} else if (str_starts(line, STR("MAIL FROM:<s"))) {
		do_mail(p, line);
	} else if (str_starts(line, STR("RCPT TO:<r"))) {
		do_rcpt(p, line);
	} else if (str_starts(line, STR("BDAT "))) {
		do_bdat(p, line);
	} else if (str_starts(line, STR("DATA"))) {
		do_data(p);
	} else if (str_starts(line, STR("QUIT"))) {
		buf_z(&p->out, "221 bye\r\n");
		leave(p, false);
	} else {
		if (!str_starts(line, STR("XCANAR")))
			violation(p, "command", line);
		say(p, "500 5.5.1 what\r\n");
	}
	if (!p->o->pipelining && p->in.n)
		violation(p, "pipelined", buf_view(&p->in));
}

static void serve(const struct model *o, struct shared *sh, int fd, uint64_t dice)
{
	struct peer p = { .o = o, .sh = sh, .fd = fd, .dice = dice, .sender = -1 };
	_cleanup_buf_ struct buf line = BUF_INIT;
	bool hello = true;

	if (o->faults && roll(&p.dice) % o->faults) {
		p.fault = (enum fault)(1 + roll(&p.dice) % (FAULTS - 1));
		p.fault_at = (unsigned)(roll(&p.dice) % (roll(&p.dice) % 3 ? 400 : 20));
	}
	buf_fmt(&p.out, "220 mx ESMTP %s\r\n", o->exim ? "Exim 4.96" : "x");
	flush(&p);
	for (;;) {
		ptrdiff_t lf;

		while (lf = str_chr(buf_view(&p.in), '\n'), lf < 0)
			if (!more(&p))
				_exit(0);
		buf_reset(&line);
		buf_str(&line, str_trim(str_head(buf_view(&p.in), (size_t)lf + 1)));
		buf_drop(&p.in, (size_t)lf + 1);
		p.ahead = p.ahead || (!hello && p.in.n > 0);
		if (!hello) {
			command(&p, buf_view(&line));
			continue;
		}
		hello = false;
		usleep(o->far ? 7000 : 0);
		buf_fmt(&p.out, "250-mx\r\n%s%s250 SIZE 10000000\r\n",
		        o->pipelining ? "250-PIPELINING\r\n" : "",
		        o->chunking ? "250-CHUNKING\r\n" : "");
		flush(&p);
	}
}

static pid_t host_start(const struct model *o, struct shared *sh, int listener)
{
	pid_t pid = fork();
	int on = 1;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (uint64_t n = 1;; n++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(1);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(o, sh, fd, o->seed + n * 7919);
		}
		close(fd);
		/* One connection at a time: what was accepted last is kept before the next. */
		waitpid(pid, NULL, 0);
	}
}

/* ---- the queue ---- */

enum state { WAITS, IN_FLIGHT, SETTLED };

struct queue {
	const struct model *o;
	struct shared *sh;
	unsigned n, left, flying, most, commits;
	uint64_t dice;
	struct {
		struct client_msg msg;
		struct client_rcpt rcpt[RCPTS_MAX];
		int number[RCPTS_MAX]; /* of each rcpt[] */
		char addr[RCPTS_MAX][24], sender[24], header[32];
		char got[RCPTS_MAX]; /* D L F, 0: waits */
		bool doubt[RCPTS_MAX];
		enum state state;
		bool alone, committed;
	} m[MESSAGES_MAX];
};

static void on_commit(void *arg)
{
	bool *committed = arg;

	assert_false(*committed);
	*committed = true;
}

static struct client_msg *q_next(void *arg, bool idle)
{
	struct queue *q = arg;

	if (!idle && roll(&q->dice) % 16 == 0)
		return NULL;
	for (unsigned i = 0; i < q->n; i++) {
		struct client_msg *m = &q->m[i].msg;

		if (q->m[i].state != WAITS)
			continue;
		q->m[i].state = IN_FLIGHT;
		q->m[i].committed = false;
		m->alone = q->m[i].alone;
		m->rcpts = 0;
		for (int k = 0; k < RCPTS_MAX; k++)
			if (!q->m[i].got[k]) {
				q->m[i].number[m->rcpts] = k;
				q->m[i].rcpt[m->rcpts++] =
				    (struct client_rcpt){ .addr =
					                      str_z(q->m[i].addr[k]) };
			}
		q->flying++;
		if (q->flying > q->most)
			q->most = q->flying;
		return m;
	}
	return NULL;
}

static void settle(struct queue *q, unsigned i, int k, const struct verdict *v)
{
	enum verdict_kind kind = v->kind;
	int mail = opinion(q->o, i, -1), rcpt = opinion(q->o, i, k),
	    all = opinion(q->o, i, RCPTS_MAX);
	int want = mail != 2 ? mail : rcpt != 2 ? rcpt : all;

	switch (kind) {
	case VERDICT_DONE:
		q->m[i].got[k] = 'D';
		if (want != 2 || q->sh->accepted[i][k] == 0)
			fail_msg("seed %llu: %u.%d is done, but was not accepted",
			         (unsigned long long)q->o->seed, i, k);
		break;
	case VERDICT_LATER:
	case VERDICT_FAILED:
		q->m[i].got[k] = kind == VERDICT_LATER ? 'L' : 'F';
		if (want != (kind == VERDICT_LATER ? 4 : 5))
			fail_msg("seed %llu: %u.%d is %d, want %d: %s at %s",
			         (unsigned long long)q->o->seed, i, k, kind, want,
			         v->text.p, smtp_stage_name(v->stage));
		break;
	case VERDICT_DOUBT:
		if (!q->m[i].committed)
			fail_msg("seed %llu: %u.%d in doubt, not committed",
			         (unsigned long long)q->o->seed, i, k);
		q->m[i].doubt[k] = q->m[i].alone = true;
		break;
	case VERDICT_HOST:
	case VERDICT_RECONNECT:
		break;
	case VERDICT_REST:
		fail_msg("REST");
	}
}

static void q_done(void *arg, struct client_msg *m, int error)
{
	struct queue *q = arg;
	unsigned i = 0;

	while (&q->m[i].msg != m)
		i++;
	assert_int_equal(error, 0);
	assert_int_equal(q->m[i].state, IN_FLIGHT);
	for (size_t r = 0; r < m->rcpts; r++) {
		settle(q, i, q->m[i].number[r], &m->rcpt[r].verdict);
		buf_free(&m->rcpt[r].verdict.text);
	}
	q->flying--;
	q->m[i].state = SETTLED;
	for (int k = 0; k < RCPTS_MAX; k++)
		if (!q->m[i].got[k])
			q->m[i].state = WAITS;
	q->left -= q->m[i].state == SETTLED;
}

static void q_init(struct queue *q)
{
	for (unsigned i = 0; i < q->n; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct client_msg *m = &q->m[i].msg;

		make_body(i, &b);
		snprintf(q->m[i].sender, sizeof(q->m[i].sender), "s%u@x.example", i);
		snprintf(q->m[i].header, sizeof(q->m[i].header), "Subject: %u\n\n", i);
		for (int k = 0; k < RCPTS_MAX; k++)
			snprintf(q->m[i].addr[k], sizeof(q->m[i].addr[k]),
			         "r%d.%u@x.example", k, i);
		*m = (struct client_msg){ .sender = str_z(q->m[i].sender),
			                  .header = str_z(q->m[i].header),
			                  .fd = io_memfd("m", buf_view(&b)),
			                  .rcpt = q->m[i].rcpt,
			                  .on_commit = on_commit,
			                  .arg = &q->m[i].committed };
	}
}

static int listen_local(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &n), 0);
	return fd;
}

/* Connection after connection until all are settled. */
static void drain(struct queue *q, const struct sockaddr_in *to)
{
	const struct client_feed feed = {
		.next = q_next, .done = q_done, .fd = -1, .arg = q
	};
	struct client_conf conf = { .host = STR("mx"),
		                    .helo = STR("box"),
		                    .timeout_scale = 1000,
		                    .stream = true,
		                    .cancel_fd = -1 };
	const char *why;
	struct client *c = client_new(&conf, &why);
	unsigned connections = 0;

	conf.max_ambiguous = (unsigned)(roll(&q->dice) % 4 ? 0 : roll(&q->dice) % 9);
	while (q->left) {
		struct verdict v = { 0 };

		if (connections++ == CONNECTIONS_MAX)
			fail_msg("seed %llu: it does not end, %u left",
			         (unsigned long long)q->o->seed, q->left);
		if (client_open(c, (const struct sockaddr *)to, sizeof(*to), &v) < 0) {
			buf_free(&v.text);
			continue;
		}
		client_stream(c, &feed);
		assert_int_equal(q->flying, 0);
	}
	client_quit(c);
	client_free(c);
}

static unsigned round_of(uint64_t seed)
{
	uint64_t dice = seed;
	struct model o = { .seed = seed,
		           .pipelining = roll(&dice) % 8 != 0,
		           .chunking = roll(&dice) % 4 != 0,
		           .far = roll(&dice) % 4 != 0,
		           .leaky = roll(&dice) % 8 == 0,
		           .exim = roll(&dice) % 8 == 0,
		           .hoards = roll(&dice) % 2 == 0,
		           .nonmail = roll(&dice) % 4 == 0,
		           .faults = (unsigned)(roll(&dice) % 5),
		           .refusals = (int)(roll(&dice) % 3 * 12) };
	struct queue *q = calloc(1, sizeof(*q));
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
	                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sockaddr_in to;
	int listener = listen_local(&to), status;
	unsigned most;
	pid_t pid;

	*q = (struct queue){ .o = &o,
		             .sh = sh,
		             .n = 1 + (unsigned)(roll(&dice) % MESSAGES_MAX),
		             .dice = dice };
	q->left = q->n;
	q_init(q);
	pid = host_start(&o, sh, listener);
	drain(q, &to);
	close(listener);
	usleep(2000);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (sh->violations)
		fail_msg("seed %llu: %s", (unsigned long long)seed, sh->why);
	for (unsigned i = 0; i < q->n; i++) {
		for (int k = 0; k < RCPTS_MAX; k++) {
			unsigned n = sh->accepted[i][k];

			if (q->m[i].doubt[k] ? q->m[i].got[k] == 'D' && n == 0
			                     : n != (q->m[i].got[k] == 'D'))
				fail_msg("seed %llu: %u.%d is %c, accepted %u times",
				         (unsigned long long)seed, i, k, q->m[i].got[k],
				         n);
		}
		close(q->m[i].msg.fd);
	}
	most = q->most;
	free(q);
	munmap(sh, sizeof(*sh));
	return most;
}

static void test_rounds(void **state)
{
	const char *from = getenv("SEED"), *rounds = getenv("ROUNDS");
	uint64_t seed = from ? strtoull(from, NULL, 10) : 1;
	uint64_t n = rounds ? strtoull(rounds, NULL, 10) : ROUNDS;
	unsigned most = 0;

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		unsigned m = round_of(seed + i);

		most = m > most ? m : most;
	}
	/* It would prove little if nothing had ever been streamed. */
	if (n >= ROUNDS)
		assert_true(most > 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rounds) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
