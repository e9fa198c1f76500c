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

/* ---- The table ---- */

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
static const struct row {
	const char *name;
	enum stage stage;
	unsigned target;         /* the message that meets it */
	const char *out[LEVELS]; /* NULL: does not depend on the level, or is not there */
} rows[] = {
/*                                421          silence   NUL                NO_CR
	 *                                | 4XX        | tarpit  | 8BIT             |  BARE_CR
	 *                                | | 5XX      | |       | | LONG           |  | EXTRA
	 *                                | | | FIN    | |       | | | ENDLESS      |  | | SPLIT
	 *                                | | | | RST  | | GARB. | | | | OTHER CODE |  | | | ALERT */
#define ROW(name, stage, target, ...) \
	{                             \
		name, stage, target,  \
		{                     \
			__VA_ARGS__   \
		}                     \
	}
	ROW("connect", S_CONNECT, FIRST, "H H H H H  H H H  H H H H H H  H  H H D H"),
	ROW("greeting", S_GREETING, FIRST, "H H H H H  H H H  H D H H H H  D  H H D H"),
	ROW("EHLO", S_EHLO, FIRST, "H H H H H  H H H  H D H H H H  D  H H D H"),
	ROW("STARTTLS", S_STARTTLS, FIRST, "H H H H H  H H H  H D H H H H  D  H H D H"),
	ROW("EHLO 2", S_EHLO_TLS, FIRST, "H H H H H  H H H  H D H H H H  D  H H D H"),
	ROW("AUTH", S_AUTH, FIRST, "H H H H H  H H H  H D H H H H  D  H H D H"),
	/* The connection's first message; lockstep, combo, stream. */
	ROW("MAIL", S_MAIL, FIRST, "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?"),
	ROW("RCPT", S_RCPT, FIRST, "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?"),
	ROW("DATA", S_DATA, FIRST, "H L F H H  H H H  H D H H H H  D  H H D H",
	    "H L F H H  H H H  H D H H H H  D  H H D H", NULL),
	ROW("body", S_BODY, FIRST, "H l f H H  H H H  H H H H H H  H  H H H H",
	    "H l f H H  H H H  H H H H H H  H  H H H H",
	    "H L F H H  H H R  R R R R R R  R  R R R H"),
	ROW("dot", S_DOT, FIRST, "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "H L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? N D ?"),
	/* A later one. After 4XX and 5XX to a RSET in a stream the host goes on. */
	ROW("RSET", S_RSET, THIRD, "R R R R R  H H H  H D H H H H  D  H H D H",
	    "R R R R R  H H R  R D R R R R  D  R H D R",
	    "R D D ? ?  ? ? ?  ? ? ? ? ? ?  D  ? ? D ?"),
	ROW("MAIL, later", S_MAIL, THIRD, "R L F H H  H H H  H D H H H H  D  H H D H",
	    "R L F H H  H H R  R D R R R R  D  R H D H",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?"),
	ROW("RCPT, later", S_RCPT, THIRD, "R L F H H  H H H  H D H H H H  D  H H D H",
	    "R L F H H  H H R  R D R R R R  D  R H D H",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? ? D ?"),
	ROW("DATA, later", S_DATA, THIRD, "R L F H H  H H H  H D H H H H  D  H H D H",
	    "R L F H H  H H R  R D R R R R  D  R H D H", NULL),
	ROW("body, later", S_BODY, THIRD, "R l f H H  H H H  H H H H H H  H  H H H H",
	    "R l f H H  H H R  R H R R R R  H  R H H H",
	    "R L F R R  H H R  R R R R R R  R  R R R R"),
	ROW("dot, later", S_DOT, THIRD, "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? W D ?",
	    "R L F ? ?  ? ? ?  ? D ? ? ? ?  D  ? N D ?"),
	ROW("QUIT", S_QUIT, FIRST, "D D D D D  D D D  D D D D D D  D  D D D D",
	    "D D D D D  D D D  D D D D D D  D  D D D D",
	    "D D D D D  D D D  D D D D D D  D  D D D D"),
};

/* Not of the table: a host that closes the connection at once when a second command comes with
 * the first, whatever it offered. */
static const struct row no_groups = { "no groups", S_QUIT, FIRST, { NULL } };

static const char *const action_name[] = { "421",   "4XX",     "5XX",    "FIN",
	                                   "RST",   "silence", "tarpit", "garbage",
	                                   "NUL",   "8BIT",    "LONG",   "ENDLESS",
	                                   "OTHER", "CODE",    "NO_CR",  "BARE_CR",
	                                   "EXTRA", "SPLIT",   "ALERT" };
static const char *const level_name[] = { "lockstep", "combo", "stream" };

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

		if (x->row == &no_groups && p.in.n)
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

		if (n == CONNECTIONS_MAX + (x->row == &no_groups)) {
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
	const struct row row = { "learn", S_QUIT, FIRST, { NULL } };
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
