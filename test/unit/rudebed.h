/*
 * rudebed.h - a host that is rude once, in a way and at a stage of choice, for rude.c
 */
#ifndef TEST_RUDEBED_H
#define TEST_RUDEBED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "smtp/client.h"

enum action {
	A_421,     /* and the end */
	A_4XX,     /* 450 4.2.0 */
	A_5XX,     /* 550 5.1.0 */
	A_FIN,     /* says nothing more, but goes on taking */
	A_RST,     /* reset */
	A_SILENCE, /* as FIN, without the end */
	A_TARPIT,  /* an octet each 10 seconds */
	A_GARBAGE, /* no SMTP; it takes more, says no more (the same from here to A_CODE) */
	A_NUL,     /* in a good reply */
	A_8BIT,    /* in a good reply */
	A_LONG,    /* a line of 1 MiB */
	A_ENDLESS, /* 250- for ever */
	A_OTHER,   /* lines with different codes */
	A_CODE,    /* 0, 99, 600 or 2500 */
	A_NO_CR,   /* a good reply that ends with LF */
	A_BARE_CR, /* in a good reply */
	A_EXTRA,   /* a good reply, and 250 */
	A_SPLIT,   /* a good reply, octet by octet */
	A_ALERT,   /* of TLS, and the end; in the clear its octets */
	ACTIONS
};

enum stage {
	S_CONNECT, /* in place of the handshake of TLS from the first octet on */
	S_GREETING,
	S_EHLO,
	S_STARTTLS, /* the alert: in place of the handshake */
	S_EHLO_TLS,
	S_AUTH,
	S_MAIL,
	S_RCPT, /* of the first recipient */
	S_DATA,
	S_BODY, /* with 64 KiB of the content read */
	S_DOT,  /* also the reply to BDAT */
	S_RSET,
	S_QUIT,
};

enum level { LOCKSTEP, COMBO, STREAM, LEVELS };

enum { FIRST = 0, THIRD = 2 };

/* One row of the table. */
struct row {
	const char *name;
	enum stage stage;
	unsigned target; /* the message that meets it */
	bool no_groups;  /* closes when a second command comes with the first, too */
	const char *out[LEVELS]; /* of each action; see rude.c */
};

enum {
	MESSAGES = 5,
	RCPTS = 2,
	LARGE_LINES = 16000, /* of S_BODY: more than the kernel holds */
	SIZE_MAX_WANTED = 900000,
	BODY_READ = 65536,
	CONNECTIONS_MAX = 2,
	AT_ONCE = 12,        /* cells that run at the same time */
	SCALE = 100,         /* milliseconds of a second */
	SCALE_TIMED = 2,     /* ... where the outcome is that time passes */
	SCALE_AGAIN = 10,    /* ... where a loaded machine was slower than that */
	CELL_MS = 30000,     /* of a cell's life */
	FAR_MS = 7,          /* of a reply to EHLO, so that streaming is worth it */
	GROWTH_MAX_KB = 6144 /* of the client's memory */
};

struct cell {
	const struct row *row;
	enum level level;
	enum action action;
	char want;
	int scale;
	bool timed;
	/* Written by the cell and its host. */
	char got;
	unsigned accepted[MESSAGES][RCPTS];
	char why[240]; /* empty: all is well, but for got */
	/* By the parent. */
	pid_t pid;
	int64_t began;
	bool again;
};

/* What all share. */
struct bed {
	gnutls_certificate_credentials_t creds;
	char learned[CLIENT_LEARNED_MAX + 1];
	struct cell *cells;
	size_t n;
};

static void wrong(struct cell *x, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void wrong(struct cell *x, const char *fmt, ...)
{
	va_list ap;

	if (x->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(x->why, sizeof(x->why), fmt, ap);
	va_end(ap);
}

/* The encoded form is the same but for line ends, and dots at their beginning. */
static void make_text(const struct cell *x, unsigned m, bool wire, struct buf *b)
{
	const char *end = wire ? "\r\n" : "\n";
	bool large = x->row->stage == S_BODY && m == x->row->target;

	buf_fmt(b, "Subject: %u%s%s", m, end, end);
	buf_fmt(b, "RSET%sMAIL FROM:<evil@x>%sQUIT%s", end, end, end);
	for (unsigned i = 0; i < (large ? LARGE_LINES : 15); i++)
		buf_fmt(b, "%u: a line as long as most of them are%s", m, end);
}

/* ---- The host ---- */

struct peer {
	struct cell *x;
	const struct bed *bed;
	int fd;
	gnutls_session_t tls;
	struct buf in;
	bool first, rude, mute, drains, single; /* first: the first connection */
	int sender;                             /* -1: no transaction */
	bool rcpt[RCPTS];
	bool refused; /* the reply that was just given */
};

static void leave(struct peer *p)
{
	close(p->fd);
	buf_free(&p->in);
	_exit(0);
}

static void put(struct peer *p, const char *s, size_t n)
{
	while (n && !p->mute) {
		ssize_t k = p->tls ? gnutls_record_send(p->tls, s, n)
		                   : send(p->fd, s, n, MSG_NOSIGNAL);

		if (k < 0)
			leave(p);
		s += k;
		n -= (size_t)k;
	}
}

static void more(struct peer *p)
{
	char *to = buf_room(&p->in, 16384);
	ssize_t n =
	    p->tls ? gnutls_record_recv(p->tls, to, 16384) : read(p->fd, to, 16384);

	if (n <= 0)
		leave(p);
	p->in.n += (size_t)n;
	p->in.p[p->in.n] = '\0';
	if (p->drains)
		buf_reset(&p->in);
}

/* Nothing more is said or taken; the client may go when it likes. */
static void drain(struct peer *p)
{
	shutdown(p->fd, SHUT_WR);
	p->drains = true;
	for (;;)
		more(p);
}

static void drip(struct peer *p, struct str s, useconds_t pause)
{
	for (size_t i = 0; i < s.n; i++) {
		put(p, s.p + i, 1);
		usleep(pause);
	}
}

static void say_long(struct peer *p, bool endless)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	while (b.n < 65536)
		buf_z(&b, endless ? "250-and so on\r\n" : "xxxxxxxxxxxxxxxx");
	if (!endless)
		put(p, "250 ", 4);
	for (int i = 0; endless || i < 16; i++)
		put(p, b.p, b.n);
	put(p, "\r\n", 2);
}

static void say_odd(struct peer *p, struct str reply)
{
	static const char *const codes[] = { "0 ok\r\n", "99 ok\r\n", "600 ok\r\n",
		                             "2500 ok\r\n" };
	static const char alert[] = "\x15\3\3\0\2\2\x28";
	const struct cell *x = p->x;
	const char *code = codes[(x->row->stage + x->level) % ARRAY_LEN(codes)];
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	if (x->action == A_RST) {
		usleep(20000); /* what was said before has arrived */
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		leave(p);
	} else if (x->action == A_TARPIT) {
		put(p, reply.p, 4);
		for (;;)
			drip(p, STR("tar"), (useconds_t)x->scale * 10000);
	} else if (x->action == A_GARBAGE) {
		put(p, "Login: \r\n", 9);
	} else if (x->action == A_NUL) {
		put(p, reply.p, 3);
		put(p, " a\0b\r\n", 6);
	} else if (x->action == A_LONG || x->action == A_ENDLESS) {
		say_long(p, x->action == A_ENDLESS);
	} else if (x->action == A_OTHER) {
		put(p, "250-one\r\n550 two\r\n", 18);
	} else if (x->action == A_CODE) {
		put(p, code, strlen(code));
	} else if (x->action == A_BARE_CR) {
		put(p, reply.p, 3);
		put(p, " a\rb\r\n", 6);
	} else if (x->action == A_ALERT && p->tls) {
		gnutls_alert_send(p->tls, GNUTLS_AL_FATAL, GNUTLS_A_INTERNAL_ERROR);
	} else if (x->action == A_ALERT) {
		put(p, alert, sizeof(alert) - 1);
		p->drains = true;
	}
	if (x->action == A_FIN || x->action == A_ALERT)
		shutdown(p->fd, SHUT_WR);
	/* As it was not clear: it may have been meant as yes, and is taken so here. */
	p->mute = true;
	if ((x->action == A_SILENCE || x->action == A_TARPIT) && x->row->stage == S_BODY)
		pause();
}

/* A reply that is yes, in its way. */
static void say_well(struct peer *p, struct str reply)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	ptrdiff_t cr = str_chr(reply, '\r');

	if (p->x->action == A_SPLIT) {
		drip(p, reply, 200);
		return;
	}
	for (size_t i = 0; i < reply.n; i++) {
		if (p->x->action == A_8BIT && (ptrdiff_t)i == cr - 1)
			buf_c(&b, '\xe9');
		else if (p->x->action != A_NO_CR || reply.p[i] != '\r')
			buf_c(&b, reply.p[i]);
	}
	if (p->x->action == A_EXTRA)
		buf_z(&b, "250 2.0.0 and more\r\n");
	put(p, b.p, b.n);
}

/* Once. */
static void be_rude(struct peer *p, struct str reply)
{
	enum action a = p->x->action;

	p->rude = false;
	if (a == A_421) {
		put(p, "421 4.3.2 closing\r\n", 19);
		drain(p);
	} else if (a == A_4XX) {
		put(p, "450 4.2.0 not now\r\n", 19);
		p->refused = true;
	} else if (a == A_5XX) {
		put(p, "550 5.1.0 never\r\n", 17);
		p->refused = true;
	} else if (a == A_8BIT || a == A_NO_CR || a == A_EXTRA || a == A_SPLIT) {
		say_well(p, reply);
	} else {
		say_odd(p, reply);
	}
}

/* message: -1: none's. True: the client was not refused. */
static bool say(struct peer *p, enum stage stage, int message, const char *reply)
{
	p->refused = false;
	if (p->rude && p->x->row->stage == stage &&
	    (message < 0 || message == (int)p->x->row->target))
		be_rude(p, str_z(reply));
	else
		put(p, reply, strlen(reply));
	return !p->refused;
}

static struct str line(struct peer *p, struct buf *b)
{
	ptrdiff_t lf;

	while (lf = str_chr(buf_view(&p->in), '\n'), lf < 0)
		more(p);
	buf_reset(b);
	buf_str(b, str_trim(str_head(buf_view(&p->in), (size_t)lf + 1)));
	buf_drop(&p->in, (size_t)lf + 1);
	return buf_view(b);
}

static ssize_t push(gnutls_transport_ptr_t at, const void *data, size_t n)
{
	const struct peer *p = at;

	return send(p->fd, data, p->single ? 1 : n, MSG_NOSIGNAL);
}

static ssize_t pull(gnutls_transport_ptr_t at, void *data, size_t n)
{
	const struct peer *p = at;

	return recv(p->fd, data, n, 0);
}

/* single: the handshake's octets go out one by one. */
static void secure(struct peer *p, bool single)
{
	gnutls_session_t s;
	int e;

	gnutls_init(&s, GNUTLS_SERVER | GNUTLS_NO_SIGNAL);
	gnutls_set_default_priority(s);
	gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, p->bed->creds);
	gnutls_transport_set_ptr(s, p);
	gnutls_transport_set_push_function(s, push);
	gnutls_transport_set_pull_function(s, pull);
	p->single = single;
	do
		e = gnutls_handshake(s);
	while (e < 0 && !gnutls_error_is_fatal(e));
	if (e < 0)
		leave(p);
	p->single = false;
	p->tls = s;
}

/* The content has come: keeps it. */
static void keep(struct peer *p, struct str got)
{
	_cleanup_buf_ struct buf want = BUF_INIT;
	const struct cell *x = p->x;
	bool no = p->rude && x->row->stage == S_DOT && p->sender == (int)x->row->target &&
	          x->action <= A_5XX;
	int m = p->sender;

	make_text(x, (unsigned)m, true, &want);
	if (!str_eq(got, buf_view(&want)))
		wrong(p->x, "message %d is not as it was", m);
	/* As a real one: it is kept before it is said. */
	for (int k = 0; k < RCPTS && !no; k++)
		p->x->accepted[m][k] += p->rcpt[k];
	p->sender = -1;
	say(p, S_DOT, m, "250 2.0.0 kept\r\n");
}

/* Has it read so much of the body that it is time to be rude? True: that was the reply. */
static bool in_body(struct peer *p)
{
	if (!p->rude || p->x->row->stage != S_BODY ||
	    p->sender != (int)p->x->row->target || p->in.n < BODY_READ)
		return false;
	say(p, S_BODY, p->sender, "250 2.0.0 kept already\r\n");
	return true;
}

static void do_bdat(struct peer *p, struct str word)
{
	bool anybody = p->sender >= 0 && (p->rcpt[0] || p->rcpt[1]), said = false;
	struct str part;
	uint64_t n = 0;

	str_cut(&word, ' ', &part);
	if (!str_u64(part, &n) || n > SIZE_MAX_WANTED)
		wrong(p->x, "BDAT of %llu", (unsigned long long)n);
	while (p->in.n < n) {
		more(p);
		said = said || (anybody && in_body(p));
	}
	if (said)
		p->sender = -1;
	else if (!anybody)
		say(p, S_DOT, -2, "503 5.5.1 nobody\r\n");
	else
		keep(p, str_head(buf_view(&p->in), n));
	buf_drop(&p->in, n);
}

static char *content_end(const struct peer *p, size_t seen)
{
	size_t at = seen > 4 ? seen - 4 : 0;

	return p->in.n ? memmem(p->in.p + at, p->in.n - at, "\r\n.\r\n", 5) : NULL;
}

static void do_data(struct peer *p)
{
	bool said = false;
	char *end;
	size_t n;

	if (p->sender < 0 || (!p->rcpt[0] && !p->rcpt[1])) {
		put(p, "503 5.5.1 nobody\r\n", 18);
		return;
	}
	if (!say(p, S_DATA, p->sender, "354 go\r\n"))
		return;
	for (size_t seen = 0; !(end = content_end(p, seen));) {
		seen = p->in.n;
		more(p);
		said = said || in_body(p);
	}
	n = (size_t)(end - p->in.p) + 2;
	if (said)
		p->sender = -1;
	else
		keep(p, str_head(buf_view(&p->in), n));
	buf_drop(&p->in, n + 3);
}

static void do_rcpt(struct peer *p, struct str l)
{
	int k = l.n > 10 ? l.p[10] - '0' : 0; /* RCPT TO:<r */

	if (p->sender < 0) {
		put(p, "503 5.5.1 no\r\n", 14);
		return;
	}
	if (k < 0 || k >= RCPTS) {
		wrong(p->x, "RCPT");
		return;
	}
	if (k == 0 && p->first && p->x->action == A_EXTRA && p->x->row->stage == S_MAIL &&
	    p->sender == (int)p->x->row->target) {
		/* One reply too many: this is not to be taken for the next one's. */
		put(p, "550 5.1.1 nobody here\r\n", 23);
		return;
	}
	if (k > 0)
		put(p, "250 2.1.5 ok\r\n", 14);
	p->rcpt[k] = k > 0 || say(p, S_RCPT, p->sender, "250 2.1.5 ok\r\n");
}

static void do_mail(struct peer *p, struct str l)
{
	int m = l.n > 12 ? l.p[12] - '0' : 0; /* MAIL FROM:<s */

	if (p->sender >= 0)
		wrong(p->x, "nested MAIL");
	if (m < 0 || m >= MESSAGES)
		wrong(p->x, "MAIL");
	else if (say(p, S_MAIL, m, "250 2.1.0 ok\r\n"))
		p->sender = m;
	memset(p->rcpt, 0, sizeof(p->rcpt));
}

static void do_ehlo(struct peer *p)
{
	static const char *const offers[] = {
		"", "250-PIPELINING\r\n",
		"250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 9000000\r\n"
	};
	bool starttls = !p->tls && (p->x->level != LOCKSTEP || p->x->row->stage < S_MAIL);
	char b[200];

	usleep(p->x->level == STREAM ? FAR_MS * 1000 : 0);
	snprintf(b, sizeof(b), "250-mx\r\n%s%s", offers[p->x->level],
	         starttls ? "250 STARTTLS\r\n" : "250 AUTH PLAIN\r\n");
	say(p, p->tls ? S_EHLO_TLS : S_EHLO, -1, b);
}

static void command(struct peer *p, struct str l)
{
	/* The message whose RSET it is: the one that follows those that are decided. */
	static int resets;

	if (str_starts(l, STR("EHLO "))) {
		do_ehlo(p);
	} else if (str_starts(l, STR("HELO "))) {
		put(p, "250 mx\r\n", 8);
	} else if (str_eq(l, STR("STARTTLS"))) {
		bool alert =
		    p->rude && p->x->row->stage == S_STARTTLS && p->x->action == A_ALERT;

		if (alert)
			put(p, "220 go\r\n", 8);
		if (say(p, S_STARTTLS, -1, "220 go\r\n") && !p->mute)
			secure(p, false);
	} else if (str_starts(l, STR("AUTH PLAIN "))) {
		say(p, S_AUTH, -1, "235 2.7.0 ok\r\n");
	} else if (str_starts(l, STR("MAIL FROM:<s"))) {
		do_mail(p, l);
	} else if (str_starts(l, STR("RCPT TO:<r"))) {
		do_rcpt(p, l);
	} else if (str_eq(l, STR("DATA"))) {
		do_data(p);
	} else if (str_starts(l, STR("BDAT "))) {
		do_bdat(p, str_from(l, 5));
	} else if (str_eq(l, STR("RSET"))) {
		p->sender = -1;
		say(p, S_RSET, ++resets, "250 2.0.0 reset\r\n");
	} else if (str_eq(l, STR("QUIT"))) {
		say(p, S_QUIT, -1, "221 bye\r\n");
		leave(p);
	} else {
		if (!str_eq(l, STR("XCANAR")))
			wrong(p->x, "content taken for a command: %.*s",
			      (int)(l.n < 60 ? l.n : 60), l.p);
		put(p, "500 5.5.1 what\r\n", 16);
	}
}

static void serve(const struct bed *bed, struct cell *x, int fd, bool rude)
{
	struct peer p = {
		.bed = bed, .x = x, .fd = fd, .first = rude, .rude = rude, .sender = -1
	};
	struct buf b = BUF_INIT;

	if (x->row->stage == S_CONNECT) {
		if (rude && x->action != A_SPLIT)
			say(&p, S_CONNECT, -1, "220 mx\r\n");
		while (p.mute)
			more(&p);
		secure(&p, rude && x->action == A_SPLIT);
	}
	say(&p, S_GREETING, -1, "220 mx ESMTP host\r\n");
	for (;;) {
		struct str l = line(&p, &b);

		if (x->row->no_groups && p.in.n)
			leave(&p);
		command(&p, l);
	}
}

/* One connection after the other, each in a process: what the last one kept is known. */
static pid_t host_start(const struct bed *bed, struct cell *x, int listener)
{
	pid_t pid = fork();
	int on = 1;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (int n = 0;; n++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(1);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(bed, x, fd, n == 0);
		}
		close(fd);
	}
}

#endif
