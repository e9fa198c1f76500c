/*
 * The SMTP client against a scripted host.
 *
 * A script is a list of strings; the first letter says what to do:
 *	S...  send            s...  send octet by octet, each in a segment of its own
 *	C...  a line that begins so must come
 *	N     nothing more may have come (nothing was pipelined)
 *	B...  content must come, exactly this before the lone dot
 *	b...  content must come, as much as this, and no more is read (it begins so)
 *	M     takes all up to DATA, answers when nothing more comes; at most 50 unread
 *	W     wait 150 ms, w  wait 8 ms (a host that is not near)
 *	Z     keep silent until the client closes
 *	X     close, R  close with a reset
 *	K     what is sent from here on stays in the host's kernel, and R drops it
 *	F     says "250 x" without end, reads nothing, until the client closes
 * At the end of the script the client must close without another octet. The host is a
 * child; what it did not like is its exit status and a line on standard error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "smtp/client.h"
#include "smtp/learned.h"
#include "smtp/session.h"

enum { SCRIPT_MAX = 120, RCPTS_MAX = 4, FED_MAX = 60, HOST_PATIENCE_MS = 5000 };

/* ---- the host ---- */

struct host {
	int fd;
	struct buf in;
	const char *name;
};

static void host_fails(const struct host *h, const char *what)
{
	_cleanup_buf_ struct buf shown = BUF_INIT;

	buf_escape(&shown, buf_view(&h->in), 200);
	fprintf(stderr, "%s: host: %s; there is: %s\n", h->name, what,
	        shown.p ? shown.p : "");
	_exit(1);
}

/* More input: false at the end, or when nothing came for so long. */
static bool host_reads(struct host *h, int ms)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return false;
	n = read(h->fd, buf_room(&h->in, 65536), 65536);
	if (n <= 0)
		return false;
	h->in.n += (size_t)n;
	h->in.p[h->in.n] = '\0';
	return true;
}

static void host_line(struct host *h, const char *want)
{
	struct str all;
	ptrdiff_t lf;

	while (lf = str_chr(buf_view(&h->in), '\n'), lf < 0)
		if (!host_reads(h, HOST_PATIENCE_MS))
			host_fails(h, want);
	all = str_head(buf_view(&h->in), (size_t)lf + 1);
	if (!str_starts(all, str_z(want)) || !str_iends(all, STR("\r\n")))
		host_fails(h, want);
	buf_drop(&h->in, (size_t)lf + 1);
}

static void host_content(struct host *h, const char *want, bool whole)
{
	_cleanup_buf_ struct buf w = BUF_INIT;

	buf_z(&w, want);
	if (whole)
		buf_z(&w, ".\r\n");
	while (h->in.n < w.n)
		if (!host_reads(h, HOST_PATIENCE_MS))
			host_fails(h, want);
	if (!str_starts(buf_view(&h->in), buf_view(&w)))
		host_fails(h, want);
	buf_drop(&h->in, w.n);
}

static void host_drips(const struct host *h, const char *s)
{
	for (; *s; s++) {
		if (io_write(h->fd, s, 1) < 0)
			_exit(0); /* the client has had enough, as it should */
		usleep(300);
	}
}

static void host_resets(const struct host *h)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(h->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(h->fd);
	_exit(0);
}

static void host_mail(struct host *h)
{
	for (;;) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		int commands = 0;

		if (!h->in.n && !host_reads(h, HOST_PATIENCE_MS))
			host_fails(h, "no DATA");
		while (host_reads(h, 20))
			;
		for (ptrdiff_t lf; lf = str_chr(buf_view(&h->in), '\n'), lf >= 0;) {
			bool data = str_starts(buf_view(&h->in), STR("DATA\r\n"));

			buf_z(&out, data ? "354 go\r\n" : "250 ok\r\n");
			buf_drop(&h->in, (size_t)lf + 1);
			if (++commands > 50)
				host_fails(h, "more than 50 commands unread");
			if (!data)
				continue;
			if (h->in.n)
				host_fails(h, "something behind DATA");
			if (io_write(h->fd, out.p, out.n) < 0)
				host_fails(h, "cannot send");
			return;
		}
		if (io_write(h->fd, out.p, out.n) < 0)
			host_fails(h, "cannot send");
	}
}

static void host_does(struct host *h, const char *step)
{
	switch (step[0]) {
	case 'S':
		if (io_write(h->fd, step + 1, strlen(step + 1)) < 0)
			host_fails(h, "cannot send");
		break;
	case 's':
		host_drips(h, step + 1);
		break;
	case 'C':
		host_line(h, step + 1);
		break;
	case 'N':
		if (h->in.n || host_reads(h, 20))
			host_fails(h, "pipelined");
		break;
	case 'B':
		host_content(h, step + 1, true);
		break;
	case 'b':
		host_content(h, step + 1, false);
		break;
	case 'M':
		host_mail(h);
		break;
	case 'W':
		usleep(150000);
		break;
	case 'w':
		usleep(8000);
		break;
	case 'Z':
		while (host_reads(h, HOST_PATIENCE_MS))
			;
		_exit(0);
	case 'R':
		host_resets(h);
		break;
	case 'K':
		/* Segments that are not full wait for 200 ms, and for ever behind a reset. */
		setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 0 }, sizeof(int));
		setsockopt(h->fd, IPPROTO_TCP, TCP_CORK, &(int){ 1 }, sizeof(int));
		break;
	case 'F':
		while (send(h->fd, "250 x\r\n250 x\r\n", 14, MSG_NOSIGNAL) > 0)
			;
		_exit(0);
	case 'X':
		_exit(0);
	default:
		host_fails(h, "bad script");
	}
}

static pid_t host_start(const char *name, const char *const *script, int listener)
{
	struct host h = { .fd = -1, .name = name };
	int on = 1;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
	h.fd = accept(listener, NULL, NULL);
	setsockopt(h.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (size_t i = 0; i < SCRIPT_MAX && script[i]; i++)
		host_does(&h, script[i]);
	while (host_reads(&h, HOST_PATIENCE_MS))
		;
	if (h.in.n)
		host_fails(&h, "more than the script has");
	_exit(0);
}

/* ---- rows ---- */

#define GREET "S220 mx.example\r\n", "CEHLO box.example\r\n"
#define PIPE "S250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
#define PLAIN "S250 mx.example\r\n"
#define MAIL "CMAIL FROM:<a@example.org>"
#define R1 "CRCPT TO:<r1@example.org>\r\n"
#define R2 "CRCPT TO:<r2@example.org>\r\n"
#define R3 "CRCPT TO:<r3@example.org>\r\n"
#define DATA "CDATA\r\n"
#define BODY "BSubject: x\r\n\r\nhello\r\n..dot\r\nlast\r\n"
#define QUIT "CQUIT\r\n", "S221 bye\r\n"
#define OK "S250 2.0.0 ok\r\n"

/* A host that does BDAT and is not near. */
#define FAR GREET, "w", "S250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 1000\r\n"
#define RSET "CRSET\r\n"
#define BDAT "CBDAT 33 LAST\r\n", "bSubject: x\r\n\r\nhello\r\n.dot\r\nlast\r\n"
#define FIRST MAIL " SIZE=33\r\n", R1, BDAT
#define NEXT RSET, FIRST
#define OK3 OK, OK, OK
/* A yes to a message must look like none to what stands around it. */
#define DONE "S250 2.0.0 ok: queued\r\n"
#define YES OK, OK, DONE /* to FIRST; to NEXT: OK, YES */
#define CANARY \
	"CMAIL FROM:<a@example.org> SIZE=8\r\n", "CBDAT 8 LAST\r\n", "CXCANAR\r\n", RSET
#define KNOWN "stream:1:100:0"
/* The canary comes back well, with the first message's group; its replies to MAIL, and the
 * message's to MAIL and RCPT, are given. Then the content. */
#define WELL(mail, first_mail, rcpt)                                                \
	CANARY, MAIL, R1, DATA, "N", mail, "S554 nobody\r\n", OK, first_mail, rcpt, \
	    "S354 go\r\n", BODY
#define MAIL_OK "S250 2.1.0 ok\r\n"
/* The next message by DATA, behind the content: what that is answered is given. */
#define NEXT_DATA(done) RSET, MAIL, R1, DATA, "N", done, OK3, "S354 go\r\n", BODY

/* recipients: how many (r1@, r2@...); 'u': the first has 8-bit octets.  want: a letter for
 * each: Done, Later, Failed, Host, reConnect ('C'), douBt ('B'); messages parted by '|';
 * "!STAGE": client_open() fails there. */
static const struct row {
	const char *name;
	const char *want;
	const char *text; /* of the first recipient's verdict, or of the failure */
	int rcpts, messages, commits;
	bool open; /* at the end */
	bool auth, insecure, starttls;
	const char *only;
	bool utf8;
	int scale;  /* 0: 1000 */
	int within; /* ms, if not 0 */
	const char *sender;
	bool fed;            /* all messages at once, as a stream, BDAT allowed */
	const char *learned; /* level and so on; the hash is added */
	const char *learns;  /* what client_learned() must begin with; "" for nothing */
	unsigned connection_messages;
	size_t more; /* octets of the body behind what all have */
	const char *script[SCRIPT_MAX];
} rows[] = {
	{ "plain", "D", "250 2.0.0 ok", 1, 1, 1, true,
	  .script = { GREET, PLAIN, MAIL "\r\n", "N", OK, R1, "N", OK, DATA, "N",
	              "S354 go\r\n", BODY, OK, QUIT } },
	{ "pipelined", "DDD", "250 2.0.0 ok", 3, 1, 1, true,
	  .script = { GREET, PIPE, MAIL " SIZE=33\r\n", R1, R2, R3, DATA, "N", OK, OK, OK,
	              OK, "S354 go\r\n", BODY, OK, QUIT } },
	{ "two messages", "D|D", NULL, 1, 2, 2, true,
	  .script = { GREET,       PIPE,
	              MAIL,        R1,
	              DATA,        OK,
	              OK,          "S354 go\r\n",
	              BODY,        OK,
	              "CRSET\r\n", MAIL,
	              R1,          DATA,
	              OK,          OK,
	              OK,          "S354 go\r\n",
	              BODY,        OK,
	              QUIT } },
	{ "replies octet by octet", "DF", NULL, 2, 1, 1, true,
	  .script = { "s220-mx.example\r\n220 hi\r\n", "CEHLO ",
	              "s250-mx\r\n250-PIPELINING\r\n250 SIZE 1000\r\n", MAIL, R1, R2,
	              DATA,
	              "s250-a\r\n250-b\r\n250 c\r\n250 ok\r\n550-5.1.1 no\r\n550 5.1.1 "
	              "user\r\n354 "
	              "go\r\n",
	              BODY, "s250-2.0.0 o\r\n250 2.0.0 k\r\n", QUIT } },
	{ "replies in one segment", "DF", NULL, 2, 1, 1, true,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA,
	              "S250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n", BODY, OK,
	              QUIT } },

	{ "greeting 554", "!greeting", "554 no", 1, .script = { "S554 no\r\n" } },
	{ "greeting 421", "!greeting", "421 busy", 1, .script = { "S421 busy\r\n" } },
	{ "greeting garbage", "!greeting", "malformed reply to greeting: SSH-2.0", 1,
	  .script = { "SSSH-2.0-x\r\n" } },
	{ "greeting twice", "!EHLO", "out of turn", 1,
	  .script = { "S220 hi\r\n220 hi\r\n" } },
	{ "greeting endless", "!greeting", "endless", 1,
	  .script = { "S220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n"
	              "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n"
	              "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n"
	              "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n"
	              "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n"
	              "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n"
	              "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n"
	              "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-"
	              "a\r\n220-a\r\n",
	              "Z" } },
	{ "greeting silence", "!greeting", "no reply to greeting in time", 1, .scale = 1,
	  .script = { "Z" } },
	{ "greeting drips for ever", "!greeting", "no reply", 1, .scale = 1,
	  .script = { "s220-"
	              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	              "aa",
	              "Z" } },
	{ "closed at once", "!greeting", "connection lost at greeting", 1,
	  .script = { "X" } },
	{ "EHLO refused, HELO", "D", NULL, 1, 1, 1, true,
	  .script = { GREET, "S502 what\r\n", "CHELO box.example\r\n", PLAIN, MAIL "\r\n",
	              OK, R1, OK, DATA, "S354 go\r\n", BODY, OK, QUIT } },
	{ "EHLO and HELO refused", "!EHLO", "550 no", 1,
	  .script = { GREET, "S550 no\r\n", "CHELO ", "S550 no\r\n" } },
	{ "EHLO 421", "!EHLO", "421", 1, .script = { GREET, "S421 busy\r\n" } },

	{ "no STARTTLS", "!STARTTLS", "does not offer STARTTLS", 1, .starttls = true,
	  .auth = true, .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n" } },
	{ "STARTTLS after HELO", "!STARTTLS", "does not offer STARTTLS", 1,
	  .starttls = true, .script = { GREET, "S500 no\r\n", "CHELO ", "S250 mx\r\n" } },
	{ "STARTTLS 454", "!STARTTLS", "454", 1, .starttls = true, .auth = true,
	  .script = { GREET, "S250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
	              "CSTARTTLS\r\n", "S454 no\r\n" } },
	{ "STARTTLS with more behind it", "!STARTTLS", "in the clear", 1,
	  .starttls = true,
	  .script = { GREET, "S250-mx\r\n250 STARTTLS\r\n", "CSTARTTLS\r\n",
	              "S220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n" } },
	{ "STARTTLS with garbage behind it", "!STARTTLS", "in the clear", 1,
	  .starttls = true,
	  .script = { GREET, "S250-mx\r\n250 STARTTLS\r\n", "CSTARTTLS\r\n",
	              "S220 go\r\nx" } },
	{ "STARTTLS closed", "!STARTTLS", NULL, 1, .starttls = true,
	  .script = { GREET, "S250-mx\r\n250 STARTTLS\r\n", "CSTARTTLS\r\n",
	              "S220 go\r\n", "X" } },
	{ "STARTTLS silence", "!STARTTLS", "no answer in time", 1, .starttls = true,
	  .scale = 1,
	  .script = { GREET, "S250-mx\r\n250 STARTTLS\r\n", "CSTARTTLS\r\n",
	              "S220 go\r\n", "Z" } },

	{ "no AUTH without TLS", "!AUTH", "without TLS", 1, .auth = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN LOGIN\r\n" } },
	{ "AUTH PLAIN", "D", NULL, 1, 1, 1, true, .auth = true, .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH LOGIN PLAIN\r\n",
	              "CAUTH PLAIN AGVkZHkAc2VjcmV0LXdvcmQ=\r\n", "S235 ok\r\n", MAIL, OK,
	              R1, OK, DATA, "S354 go\r\n", BODY, OK, QUIT } },
	{ "AUTH LOGIN", "D", NULL, 1, 1, 1, true, .auth = true, .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH=LOGIN X\r\n", "CAUTH LOGIN\r\n",
	              "S334 VXNlcm5hbWU6\r\n", "CZWRkeQ==\r\n", "S334 whatever\r\n",
	              "Cc2VjcmV0LXdvcmQ=\r\n", "S235 ok\r\n", MAIL, OK, R1, OK, DATA,
	              "S354 go\r\n", BODY, OK, QUIT } },
	{ "AUTH LOGIN asked for", "!AUTH", "535 5.7.8", 1, .auth = true, .insecure = true,
	  .only = "login",
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN LOGIN\r\n", "CAUTH LOGIN\r\n",
	              "S535 5.7.8 wrong\r\n" } },
	{ "AUTH PLAIN asked for, not offered", "!AUTH", "auth = \"plain\" is not what", 1,
	  .auth = true, .insecure = true, .only = "plain",
	  .script = { GREET, "S250-mx\r\n250 AUTH LOGIN\r\n" } },
	{ "AUTH 535", "!AUTH", "535 5.7.8 wrong", 1, .auth = true, .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "S535 5.7.8 wrong\r\n" } },
	{ "AUTH repeats the password", "!AUTH", "not shown", 1, .auth = true,
	  .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "S500 what: AUTH PLAIN AGVkZHkAc2VjcmV0LXdvcmQ=\r\n" } },
	{ "AUTH repeats a part of the password", "!AUTH", "not shown", 1, .auth = true,
	  .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "S500-what: AUTH PLAIN AGVkZHkAc2V\r\n500 jcmV0LXdvcmQ=\r\n" } },
	{ "AUTH echoed instead of a reply", "!AUTH", "(not shown)", 1, .auth = true,
	  .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "SAUTH PLAIN AGVkZHkAc2VjcmV0LXdvcmQ=\r\n" } },
	{ "MAIL repeats the password", "H", "421 (the reply repeats the password", 1, 1,
	  .auth = true, .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "S235 ok\r\n", MAIL, "S421 4.0.0 secret-word bye\r\n", "X" } },
	{ "RCPT repeats the login", "F", "550 (the reply repeats the password", 1, 1, 0,
	  true, .auth = true, .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "S235 ok\r\n", MAIL, OK, R1,
	              "S550 5.1.1 (AUTH PLAIN AGVkZHkAc2VjcmV0LXdvcmQ=)\r\n", QUIT } },
	{ "MAIL answered by the login", "H", "malformed reply to MAIL: (not shown)", 1, 1,
	  .auth = true, .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "S235 ok\r\n", MAIL, "SAUTH PLAIN AGVkZHkAc2VjcmV0LXdvcmQ=\r\n" } },
	{ "a mechanism refused, the next is good", "D", NULL, 1, 1, 1, true, .auth = true,
	  .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN SCRAM-SHA-1 SCRAM-SHA-256\r\n",
	              "CAUTH SCRAM-SHA-256 ", "S535 no\r\n", "CAUTH PLAIN ",
	              "S235 ok\r\n", MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY, OK,
	              QUIT } },
	{ "AUTH 334 for ever", "!AUTH", "more than there is", 1, .auth = true,
	  .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH PLAIN\r\n", "CAUTH PLAIN ",
	              "S334 \r\n" } },
	{ "AUTH not offered", "!AUTH", "offers no AUTH", 1, .auth = true,
	  .insecure = true, .script = { GREET, PLAIN } },
	{ "AUTH unknown", "!AUTH", "knows for a password: DIGEST-MD5 NTLM", 1,
	  .auth = true, .insecure = true,
	  .script = { GREET, "S250-mx\r\n250 AUTH DIGEST-MD5 NTLM\r\n" } },

	{ "MAIL 550, lockstep", "FF", "550 no", 2, 1, 0, true,
	  .script = { GREET, PLAIN, MAIL, "S550 no\r\n", QUIT } },
	{ "MAIL 451, pipelined", "LL", "451 later", 2, 1, 0, true,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA, "S451 later\r\n", "S503 no\r\n",
	              "S503 no\r\n", "S554 no valid recipients\r\n", QUIT } },
	{ "MAIL 550, yet 354", "F", "550 no", 1, 1, 0, true,
	  .script = { GREET, PIPE, MAIL, R1, DATA, "S550 no\r\n", "S503 no\r\n",
	              "S354 go\r\n", "C.\r\n", "S554 no\r\n", QUIT } },
	{ "MAIL 451 4.3.0", "HH", "451 4.3.0 disk", 2, 1, 0, false,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA, "S451 4.3.0 disk\r\n" } },
	{ "MAIL 530", "H", "530", 1, 1, 0, false,
	  .script = { GREET, PLAIN, MAIL, "S530 log in\r\n" } },
	{ "RCPT mixed", "DFL", "250", 3, 1, 1, true,
	  .script = { GREET, PIPE, MAIL, R1, R2, R3, DATA, OK, OK, "S550 5.1.1 no\r\n",
	              "S451 4.7.1 grey\r\n", "S354 go\r\n", BODY, OK, QUIT } },
	{ "RCPT mixed, lockstep", "FDL", "550 5.1.1 no", 3, 1, 1, true,
	  .script = { GREET, PLAIN, MAIL, OK, R1, "S550 5.1.1 no\r\n", R2, OK, R3,
	              "S450 busy\r\n", DATA, "S354 go\r\n", BODY, OK, QUIT } },
	{ "no recipient, lockstep: no DATA", "FL", NULL, 2, 1, 0, true,
	  .script = { GREET, PLAIN, MAIL, OK, R1, "S550 no\r\n", R2, "S450 no\r\n",
	              QUIT } },
	{ "no recipient, pipelined", "LF", "451 4.7.1 grey", 2, 1, 0, true,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA, OK, "S451 4.7.1 grey\r\n",
	              "S550 no\r\n", "S554 5.5.1 no valid recipients\r\n", QUIT } },
	{ "no recipient, yet 354", "F|D", "550 no", 1, 2, 1, true,
	  .script = { GREET,
	              PIPE,
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              "S550 no\r\n",
	              "S354 go\r\n",
	              "C.\r\n",
	              "S554 nobody\r\n",
	              "CRSET\r\n",
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              OK,
	              QUIT } },
	{ "too many recipients", "DDD", NULL, 3, 1, 1, true,
	  .script = { GREET,
	              PIPE,
	              MAIL,
	              R1,
	              R2,
	              R3,
	              DATA,
	              OK,
	              OK,
	              "S452 4.5.3 many\r\n",
	              "S452 4.5.3 many\r\n",
	              "S354 go\r\n",
	              BODY,
	              OK,
	              "CRSET\r\n",
	              MAIL,
	              R2,
	              R3,
	              DATA,
	              OK,
	              OK,
	              OK,
	              "S452 many\r\n",
	              "S354 go\r\n",
	              BODY,
	              OK,
	              "CRSET\r\n",
	              MAIL,
	              R3,
	              DATA,
	              OK,
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              OK,
	              QUIT } },
	{ "too many recipients, lockstep", "DD", NULL, 2, 1, 1, true,
	  .script = { GREET,       PLAIN,
	              MAIL,        OK,
	              R1,          OK,
	              R2,          "S452 4.5.3 many\r\n",
	              DATA,        "S354 go\r\n",
	              BODY,        OK,
	              "CRSET\r\n", OK,
	              MAIL,        OK,
	              R2,          OK,
	              DATA,        "S354 go\r\n",
	              BODY,        OK,
	              QUIT } },
	{ "RCPT 421", "FHH", NULL, 3, 1, 0, false,
	  .script = { GREET, PIPE, MAIL, R1, R2, R3, DATA, OK, "S550 5.1.1 no\r\n",
	              "S421 bye\r\n", "X" } },
	{ "RCPT 421 after a success", "D|C", NULL, 1, 2, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY, OK,
	              "CRSET\r\n", OK, MAIL, OK, R1, "S421 enough\r\n", "X" } },
	{ "MAIL 452 after a success", "D|C", NULL, 1, 2, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY, OK,
	              "CRSET\r\n", OK, MAIL, "S452 4.5.3 too many\r\n" } },
	{ "RSET refused", "F|C", NULL, 1, 2, 0, false,
	  .script = { GREET, PLAIN, MAIL, "S550 no\r\n", "CRSET\r\n",
	              "S554 too many nonmail commands\r\n" } },
	{ "gone between messages", "D|C", NULL, 1, 2, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY, OK,
	              "X" } },
	{ "421 between messages", "D|C", NULL, 1, 2, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY,
	              "S250 ok\r\n421 idle\r\n" } },
	{ "a reply too many", "D|H", NULL, 1, 2, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY,
	              "S250 ok\r\n250 ok\r\n" } },
	{ "DATA 451", "LF", "451 later", 2, 1, 0, true,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA, OK, OK, "S550 no\r\n",
	              "S451 later\r\n", QUIT } },
	{ "DATA 250", "H", NULL, 1, 1, 0, false,
	  .script = { GREET, PIPE, MAIL, R1, DATA, OK, OK, OK } },

	{ "content 550", "FL", "550 5.7.1 spam", 2, 1, 1, true,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA, OK, OK, "S450 4.2.1 no\r\n",
	              "S354 go\r\n", BODY, "S550 5.7.1 spam\r\n", QUIT } },
	{ "content 451", "L", "451", 1, 1, 1, true,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY,
	              "S451 later\r\n", QUIT } },
	{ "content 452 4.3.1", "H", "452 4.3.1", 1, 1, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY,
	              "S452 4.3.1 disk\r\n" } },
	{ "closed before DATA's reply", "H", "connection lost at DATA", 1, 1, 0, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "X" } },
	{ "closed after the dot", "BF", "connection lost at content", 2, 1, 1, false,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA, OK, OK, "S550 no\r\n",
	              "S354 go\r\n", BODY, "X" } },
	{ "closed after the dot, a rest unsent", "BH", "connection lost", 2, 1, 1, false,
	  .script = { GREET, PIPE, MAIL, R1, R2, DATA, OK, OK, "S452 4.5.3 many\r\n",
	              "S354 go\r\n", BODY, "X" } },
	{ "reset after the dot", "B", "connection lost at content", 1, 1, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY, "R" } },
	{ "half a reply after the dot", "B", NULL, 1, 1, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY,
	              "S250 2.0", "X" } },
	{ "garbage after the dot", "B", "malformed", 1, 1, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY,
	              "Sfine!\r\n" } },
	{ "354 after the dot", "B", "354", 1, 1, 1, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", BODY,
	              "S354 go\r\n" } },
	{ "silence after the dot", "B", "no reply to content in time", 1, 1, 1, false,
	  .scale = 1,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", "Z" } },
	{ "silence after MAIL", "H", "no reply to MAIL in time", 1, 1, 0, false,
	  .scale = 1, .script = { GREET, PLAIN, MAIL, "Z" } },
	{ "the dot refused before it came", "H", "out of turn", 1, 1, 0, false,
	  .script = { GREET, PLAIN, MAIL, OK, R1, OK, DATA,
	              "S354 go\r\n250 2.0.0 already\r\n" } },

	{ "sender with a line end", "FF", "553 5.1.7", 2, 1, 0, true,
	  .sender = "a@example.org>\r\nRSET", .script = { GREET, PIPE, QUIT } },
	{ "sender with a parameter", "F", "553 5.1.7", 1, 1, 0, true,
	  .sender = "a@example.org> SIZE=1", .script = { GREET, PIPE, QUIT } },
	{ "sender null", "D", NULL, 1, 1, 1, true, .sender = "",
	  .script = { GREET, PLAIN, "CMAIL FROM:<>\r\n", OK, R1, OK, DATA, "S354 go\r\n",
	              BODY, OK, QUIT } },
	{ "sender quoted", "D", NULL, 1, 1, 1, true, .sender = "\"a> b\"@example.org",
	  .script = { GREET, PLAIN, "CMAIL FROM:<\"a> b\"@example.org>\r\n", OK, R1, OK,
	              DATA, "S354 go\r\n", BODY, OK, QUIT } },
	{ "8-bit recipient, no SMTPUTF8", "FD", "553 5.6.7", 2, 1, 1, true, .utf8 = true,
	  .script = { GREET, PIPE, MAIL " SIZE=33\r\n", R2, DATA, OK, OK, "S354 go\r\n",
	              BODY, OK, QUIT } },
	{ "8-bit sender, no SMTPUTF8", "FF", "553 5.6.7", 2, 1, 0, true,
	  .sender = "\xc3\xa4@example.org", .script = { GREET, PIPE, QUIT } },
	{ "8-bit domain, no SMTPUTF8", "D", NULL, 1, 1, 1, true,
	  .sender = "a@\xc3\xa4.example",
	  .script = { GREET, PLAIN, "CMAIL FROM:<a@xn--4ca.example>\r\n", OK, R1, OK,
	              DATA, "S354 go\r\n", BODY, OK, QUIT } },
	{ "8-bit recipient, SMTPUTF8", "D", NULL, 1, 1, 1, true, .utf8 = true,
	  .script = { GREET, "S250-mx\r\n250-SMTPUTF8\r\n250 SIZE\r\n",
	              MAIL " SIZE=33 SMTPUTF8\r\n", OK,
	              "CRCPT TO:<\xc3\xa4@example.org>\r\n", OK, DATA, "S354 go\r\n",
	              BODY, OK, QUIT } },
	{ "DSN", "D", NULL, 1, 1, 1, true,
	  .script = { GREET, "S250-mx\r\n250 dsn\r\n", MAIL " RET=HDRS ENVID=e+2B1\r\n",
	              OK,
	              "CRCPT TO:<r1@example.org> NOTIFY=NEVER "
	              "ORCPT=rfc822;o@example.org\r\n",
	              OK, DATA, "S354 go\r\n", BODY, OK, QUIT } },
	{ "size over the limit", "FF", "552 5.3.4 message of 33", 2, 1, 0, true,
	  .script = { GREET, "S250-mx\r\n250 SIZE 32\r\n", QUIT } },
	{ "size at the limit", "D", NULL, 1, 1, 1, true,
	  .script = { GREET, "S250-mx\r\n250 SIZE 33\r\n", MAIL " SIZE=33\r\n", OK, R1,
	              OK, DATA, "S354 go\r\n", BODY, OK, QUIT } },

	/* ---- many at once ---- */
	{ "combo", "D|D|D", NULL, 1, 3, 3, true, .fed = true, .learns = "",
	  .script = { GREET,
	              PIPE,
	              MAIL,
	              R1,
	              DATA,
	              "N",
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              RSET,
	              MAIL,
	              R1,
	              DATA,
	              "N",
	              OK,
	              OK,
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              RSET,
	              MAIL,
	              R1,
	              DATA,
	              "N",
	              OK,
	              OK,
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              "N",
	              OK,
	              QUIT } },
	{ "combo, the first one refused", "F|D", "550 5.7.1 no", 1, 2, 2, true,
	  .fed = true, .script = { GREET, PIPE,
	                           MAIL,  R1,
	                           DATA,  OK,
	                           OK,    "S354 go\r\n",
	                           BODY,  RSET,
	                           MAIL,  R1,
	                           DATA,  "S550 5.7.1 no\r\n",
	                           OK,    OK,
	                           OK,    "S354 go\r\n",
	                           BODY,  OK,
	                           QUIT } },
	{ "combo, 421 to the content", "D|C|C", NULL, 1, 3, 2, false,
	  .fed = true, .script = { GREET, PIPE,
	                           MAIL,  R1,
	                           DATA,  OK,
	                           OK,    "S354 go\r\n",
	                           BODY,  RSET,
	                           MAIL,  R1,
	                           DATA,  OK,
	                           OK,    OK,
	                           OK,    "S354 go\r\n",
	                           BODY,  RSET,
	                           MAIL,  R1,
	                           DATA,  "S421 bye\r\n" } },
	{ "combo, closed behind the content", "B|C", NULL, 1, 2, 1, false, .fed = true,
	  .learns = "1:stream:0:0:1:",
	  .script = { GREET, PIPE, MAIL, R1, DATA, OK, OK, "S354 go\r\n", BODY, RSET,
	              MAIL, R1, DATA, "X" } },
	{ "combo, the second time: pipe", "B|C", NULL, 1, 2, 1, false, .fed = true,
	  .learned = "stream:0:0:1", .learns = "1:pipe:0:0:0:",
	  .script = { GREET, "w", PIPE, MAIL, R1, DATA, OK, OK, "S354 go\r\n", BODY, RSET,
	              MAIL, R1, DATA, "X" } },
	{ "combo is not liked", "D|C", NULL, 1, 2, 1, false, .fed = true,
	  .learns = "1:pipe:0:0:0:",
	  .script = { GREET, PIPE, MAIL, R1, DATA, OK, OK, "S354 go\r\n", BODY, RSET,
	              MAIL, R1, DATA, OK, "S500 5.5.1 Pipelining not supported\r\n" } },
	{ "pipe is not liked", "C", "500 5.5.1 Invalid", 1, 1, 0, false, .fed = true,
	  .learns = "1:lockstep:0:0:0:",
	  .script = { GREET, PIPE, MAIL, R1, DATA,
	              "S500 5.5.1 Invalid command: Pipelining not supported\r\n" } },
	{ "pipe remembered", "D|D", NULL, 1, 2, 2, true, .fed = true,
	  .learned = "pipe:0:0:0", .learns = "1:pipe:0:0:0:",
	  .script = { GREET,         PIPE, MAIL,          R1,   DATA, "N",  OK, OK,
	              "S354 go\r\n", BODY, "N",           OK,   RSET, MAIL, R1, DATA,
	              "N",           OK3,  "S354 go\r\n", BODY, OK,   QUIT } },
	{ "lockstep remembered", "D|D", NULL, 1, 2, 2, true, .fed = true,
	  .learned = "lockstep:0:0:0",
	  .script = { GREET, PIPE, MAIL, "N",           OK,   R1,  "N",
	              OK,    DATA, "N",  "S354 go\r\n", BODY, "N", OK,
	              RSET,  "N",  OK,   MAIL,          "N",  OK,  R1,
	              "N",   OK,   DATA, "S354 go\r\n", BODY, OK,  QUIT } },
	{ "two failed: only what the recipients allow", "F|F|F|D", NULL, 1, 4, 1, true,
	  .fed = true,
	  .script = { GREET,
	              PIPE,
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              "S550 no\r\n",
	              "S554 no\r\n",
	              RSET,
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK,
	              "S550 no\r\n",
	              "S554 no\r\n",
	              RSET,
	              MAIL,
	              R1,
	              "N",
	              OK,
	              OK,
	              "S550 no\r\n",
	              RSET,
	              MAIL,
	              R1,
	              "N",
	              OK3,
	              DATA,
	              "S354 go\r\n",
	              BODY,
	              OK,
	              QUIT } },
	{ "canary, then a stream", "D|D|D|D", NULL, 1, 4, 4, true, .fed = true,
	  .learns = "1:stream:1:134:0:",
	  .script = { FAR, WELL(OK, OK, OK), NEXT_DATA(DONE), NEXT, NEXT, "N", DONE, OK,
	              YES, OK, YES, QUIT } },
	{ "canary: MAIL's yes is told from RSET's", "D|D|D", NULL, 1, 3, 3, true,
	  .fed = true, .learns = "1:stream:1:134:0:",
	  .script = { FAR, WELL(MAIL_OK, OK, OK), NEXT, NEXT, "N", DONE, OK, YES, OK, YES,
	              QUIT } },
	{ "canary: and the content's looks like RSET's", "D|D|D", NULL, 1, 3, 3, true,
	  .fed = true, .learns = "1:combo:0:",
	  .script = { FAR, WELL(MAIL_OK, MAIL_OK, OK), NEXT, NEXT, "N", OK, OK, MAIL_OK,
	              OK, OK, OK, MAIL_OK, OK, OK, QUIT } },
	{ "canary: and the content is answered twice", "D|D|B", NULL, 1, 3, 3, false,
	  .fed = true, .learns = "1:combo:0:",
	  .script = { FAR, WELL(MAIL_OK, MAIL_OK, OK), NEXT, NEXT, "N", OK, OK, MAIL_OK,
	              OK, OK, OK, OK } },
	{ "canary: each yes looks alike", "D|D|D", NULL, 1, 3, 3, true, .fed = true,
	  .learns = "1:combo:0:0:0:",
	  .script = { FAR, WELL(OK, OK, OK), NEXT_DATA(OK), NEXT_DATA(OK), OK, QUIT } },
	{ "canary: the content's yes looks like RCPT's", "D|D|D", NULL, 1, 3, 3, true,
	  .fed = true, .learns = "1:combo:0:0:0:",
	  .script = { FAR, WELL(OK, OK, DONE), NEXT_DATA(DONE), NEXT_DATA(OK), OK,
	              QUIT } },
	{ "canary: 421 to BDAT", "C|C|C", "421", 1, 3, 0, false, .fed = true,
	  .learns = "1:combo:0:0:0:",
	  .script = { FAR, CANARY, MAIL, R1, DATA, OK, "S421 bye\r\n", "X" } },
	{ "canary: 421 to what has leaked", "C|C|C", "421", 1, 3, 0, false, .fed = true,
	  .learns = "1:combo:0:0:0:",
	  .script = { FAR, CANARY, MAIL, R1, DATA, OK, "S503 no\r\n", "S421 bye\r\n",
	              "X" } },
	{ "a group: one is answered, and closed", "H", NULL, 1, 1, 0, false, .fed = true,
	  .learns = "1:stream:0:0:1:",
	  .script = { GREET, PIPE, MAIL, R1, DATA, OK, "X" } },
	{ "a group: the second time: lockstep", "H", NULL, 1, 1, 0, false, .fed = true,
	  .learned = "stream:0:0:1", .learns = "1:lockstep:0:0:0:",
	  .script = { GREET, "w", PIPE, MAIL, R1, DATA, OK, "X" } },
	{ "a group: the rest is thrown away", "H", NULL, 1, 1, 0, false, .fed = true,
	  .learned = "stream:0:0:1", .learns = "1:lockstep:0:0:0:", .scale = 1,
	  .script = { GREET, "w", PIPE, MAIL, R1, DATA, OK, "W" } },
	{ "a group: 421 for it", "C", "421 4.7.0 improper", 1, 1, 0, false, .fed = true,
	  .learns = "1:lockstep:0:0:0:",
	  .script = { GREET, PIPE, MAIL, R1, DATA,
	              "S421 4.7.0 improper command pipelining, closing\r\n" } },
	{ "no complaint: a list of that name", "F", "554 5.7.1 the", 1, 1, 0, true,
	  .fed = true, .learns = "",
	  .script = { GREET, PIPE, MAIL, R1, DATA, OK,
	              "S554 5.7.1 the list pipelining takes no mail from you\r\n",
	              "S503 nobody\r\n", QUIT } },
	{ "no complaint: another word", "F", "554 the", 1, 1, 0, true, .fed = true,
	  .learns = "",
	  .script = { GREET, PIPE, MAIL, R1, DATA, OK,
	              "S554 the list pipeline-builds takes no mail from you\r\n",
	              "S503 nobody\r\n", QUIT } },
	{ "no canary for two", "D|D", NULL, 1, 2, 2, true, .fed = true, .learns = "",
	  .script = { FAR,  MAIL,          R1,   DATA, "N",  OK, OK, "S354 go\r\n",
	              BODY, RSET,          MAIL, R1,   DATA, OK, OK, OK,
	              OK,   "S354 go\r\n", BODY, OK,   QUIT } },
	{ "canary: the chunk is read as a command", "C|C|C", NULL, 1, 3, 0, false,
	  .fed = true, .learns = "1:combo:0:0:0:",
	  .script = { FAR, CANARY, MAIL, R1, DATA, OK, "S502 no\r\n", "S500 what\r\n",
	              OK } },
	{ "canary: closed", "C|C|C", NULL, 1, 3, 0, false, .fed = true,
	  .learns = "1:combo:0:0:0:",
	  .script = { FAR, CANARY, MAIL, R1, DATA, OK, "X" } },
	{ "canary: BDAT for nobody is fine", "D|D|D", NULL, 1, 3, 3, true, .fed = true,
	  .learns = "1:combo:0:0:0:",
	  .script = { FAR,           CANARY, MAIL, R1,   DATA, OK3,  OK, OK,
	              "S354 go\r\n", BODY,   RSET, MAIL, R1,   DATA, OK, OK3,
	              "S354 go\r\n", BODY,   RSET, MAIL, R1,   DATA, OK, OK3,
	              "S354 go\r\n", BODY,   OK,   QUIT } },
	{ "canary: 421", "H|C|C", "421", 1, 3, 0, false, .fed = true, .learns = "",
	  .script = { FAR, CANARY, MAIL, R1, DATA, "S421 busy\r\n" } },
	{ "no stream without a limit of SIZE", "D|D", NULL, 1, 2, 2, true, .fed = true,
	  .learned = KNOWN,
	  .script = { GREET,
	              "w",
	              "S250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE\r\n",
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              RSET,
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK3,
	              "S354 go\r\n",
	              BODY,
	              OK,
	              QUIT } },
	{ "stream", "D|D|D|D", NULL, 1, 4, 4, true, .fed = true, .learned = KNOWN,
	  .learns = "1:stream:1:140:0:",
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, "N", YES, OK, YES, OK, YES, OK, YES,
	              QUIT } },
	{ "stream: one after the other", "D|F|L|D|F|L|D", NULL, 1, 7, 7, true,
	  .fed = true, .learned = KNOWN,
	  .script = { FAR,
	              FIRST,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              "N",
	              YES,
	              OK,
	              "S550 no\r\n",
	              "S503 5.5.1 MAIL first\r\n",
	              "S503 5.5.1 RCPT first\r\n",
	              OK,
	              OK,
	              "S451 4.7.1 grey\r\n",
	              "S554 5.5.1 nobody\r\n",
	              OK,
	              YES,
	              OK,
	              OK,
	              OK,
	              "S554 5.6.0 content\r\n",
	              OK,
	              OK,
	              OK,
	              "S451 4.6.0 later\r\n",
	              OK,
	              YES,
	              QUIT } },
	{ "stream: recipients", "DFL", NULL, 3, 1, 1, true, .fed = true, .learned = KNOWN,
	  .script = { FAR, MAIL, R1, R2, R3, BDAT, OK, OK, "S550 no\r\n", "S450 no\r\n",
	              DONE, QUIT } },
	{ "stream: too many recipients", "DDD|DDD", NULL, 3, 2, 2, true, .fed = true,
	  .learned = KNOWN, .connection_messages = 20,
	  .script = { FAR,  MAIL, R1,   R2,   R3,  BDAT, RSET, MAIL,
	              R1,   R2,   R3,   BDAT, OK,  OK,   OK,   "S452 4.5.3 many\r\n",
	              DONE, OK,   OK,   OK,   OK,  OK,   DONE, RSET,
	              MAIL, R3,   BDAT, OK,   YES, QUIT } },
	{ "stream: 421 in the middle", "D|C|C|C", NULL, 1, 4, 4, false, .fed = true,
	  .learned = KNOWN, .learns = "1:stream:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK, OK, "S421 bye\r\n", "X" } },
	{ "stream: 421 in the middle, and a reset", "D|C|C|C", NULL, 1, 4, 4, false,
	  .fed = true, .learned = KNOWN, .learns = "1:stream:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK, OK, "S421 bye\r\n", "W",
	              "R" } },
	{ "stream: 421 to each command that is there", "D|C|C|C", NULL, 1, 4, 4, false,
	  .fed = true, .learned = KNOWN, .learns = "1:stream:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK, OK,
	              "S421 bye\r\n421 bye\r\n421 bye\r\n", "W", "R" } },
	/* As Postfix does when there were too many errors, and each of these was one. */
	{ "stream: no to MAIL, echoes of it, and 421", "D|H|C|C", NULL, 1, 4, 4, false,
	  .fed = true, .learned = KNOWN, .learns = "1:stream:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK, "S450 4.7.1 too much\r\n",
	              "S503 no\r\n503 no\r\n", OK, "S421 bye\r\n", "W", "R" } },
	/* Its end is not waited for without end. */
	{ "stream: no to MAIL, then 421, and no end", "D|H|C|B", NULL, 1, 4, 4, false,
	  .fed = true, .learned = KNOWN, .learns = "1:stream:1:", .scale = 20,
	  .within = 2000,
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK, "S450 4.7.1 too much\r\n",
	              "S503 no\r\n503 no\r\n", OK, "S421 bye\r\n", "Z" } },
	{ "stream: 421, and yet it goes on", "D|C|D|B", NULL, 1, 4, 4, false, .fed = true,
	  .learned = KNOWN,
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK, "S421 bye\r\n",
	              "S503 no\r\n503 no\r\n", OK, YES, OK, OK, "X" } },
	/* The fourth was taken, and the kernel of the host drops the reply. */
	{ "stream: 421, it goes on, and a reset", "D|C|D|B", NULL, 1, 4, 4, false,
	  .fed = true, .learned = KNOWN,
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK, "S421 bye\r\n",
	              "S503 no\r\n503 no\r\n", OK, YES, "W", "K", YES, OK, "R" } },
	{ "stream: 452 to MAIL after a success", "D|C|D", NULL, 1, 3, 3, false,
	  .fed = true, .learned = KNOWN, .learns = "1:stream:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, YES, OK, "S452 4.5.3 many\r\n",
	              "S503 no\r\n503 no\r\n", OK, YES } },
	{ "stream: RSET refused, too many nonmail", "D|B|B", NULL, 1, 3, 3, false,
	  .fed = true, .learned = KNOWN, .learns = "1:stream:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, YES, "S554 Too many nonmail commands\r\n",
	              "X" } },
	{ "stream: RSET unknown", "D|B|B", NULL, 1, 3, 3, false, .fed = true,
	  .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, NEXT, YES, "S500 what\r\n" } },
	{ "stream: closed", "D|B|B", NULL, 1, 3, 3, false, .fed = true, .learned = KNOWN,
	  .learns = "1:stream:1:131:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, YES, OK, "X" } },
	{ "stream: closed before anything was said", "B|B", NULL, 1, 2, 2, false,
	  .fed = true, .learned = "stream:1:100:1",
	  .learns = "1:combo:1:", .script = { FAR, FIRST, NEXT, "R" } },
	{ "stream: yes to a message for nobody", "B|B|B", NULL, 1, 3, 3, false,
	  .fed = true, .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, NEXT, OK, "S550 no\r\n", OK } },
	{ "stream: yes though MAIL was refused", "B|B", NULL, 1, 2, 2, false, .fed = true,
	  .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, "S550 no\r\n503 no\r\n250 ok\r\n" } },
	{ "stream: 354 to BDAT", "B|B", NULL, 1, 2, 2, false, .fed = true,
	  .learned = KNOWN,
	  .learns = "1:combo:", .script = { FAR, FIRST, NEXT, OK, OK, "S354 go\r\n" } },
	{ "stream: no SMTP", "B|B", NULL, 1, 2, 2, false, .fed = true, .learned = KNOWN,
	  .learns = "1:combo:", .script = { FAR, FIRST, NEXT, OK, OK, "Shello\r\n" } },
	{ "stream: BDAT unknown after all", "C|C", NULL, 1, 2, 2, false, .fed = true,
	  .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, OK, OK, "S502 what\r\n", OK, OK, OK,
	              "S502 what\r\n" } },
	{ "stream: synchronization error", "D|B|B", NULL, 1, 3, 3, false, .fed = true,
	  .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, NEXT, YES,
	              "S554 SMTP synchronization error\r\n" } },
	{ "stream: two replies to BDAT", "D|D|B|B", NULL, 1, 4, 4, false, .fed = true,
	  .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, YES, OK3, DONE,
	              "S250 2.0.0 also ok\r\n" } },
	{ "stream: a reply too many", "D|B", NULL, 1, 2, 2, false, .fed = true,
	  .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, YES, OK3, "S250 2.1.5 ok\r\n" } },
	{ "stream: a yes that looks like RCPT's", "B|B", NULL, 1, 2, 2, false,
	  .fed = true, .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, OK, "S250 accepted 1\r\n",
	              "S250 accepted 2\r\n" } },
	{ "stream: names of their own in each reply", "D|D|D", NULL, 1, 3, 3, true,
	  .fed = true, .learned = KNOWN,
	  .script = { FAR, FIRST, NEXT, NEXT, "N", OK, OK, "S250 queued as abc\r\n",
	              "S250 Flushed dead - mx\r\n", OK, OK, "S250 queued as b1\r\n",
	              "S250 Flushed beef - mx\r\n", OK, OK, "S250 queued as b2\r\n",
	              QUIT } },
	{ "stream: the host shows another's octets", "D|D|D|B|B", NULL, 1, 5, 5, false,
	  .fed = true, .learned = KNOWN, .learns = "1:combo:",
	  .script = { FAR, FIRST, NEXT, NEXT, NEXT, NEXT, OK, OK,
	              "S250 33 bytes queued\r\n", OK3,
	              "S250-33 byte chunk, total 33\r\n250 OK\r\n", OK3,
	              "S250 ok: 33 bytes\r\n", OK3, "S250 ok: 34 bytes\r\n" } },
	{ "stream: the host counts otherwise", "D|D", NULL, 1, 2, 2, true, .fed = true,
	  .learned = KNOWN,
	  .script = { FAR, FIRST, NEXT, OK, OK, "S250 40 bytes queued\r\n", OK3,
	              "S250 41 bytes queued\r\n", QUIT } },
	{ "stream: 10 messages to Exim", "D|D|D|D|D|D|D|D|D|D|?|?", NULL, 1, 12, 10,
	  false, .fed = true, .learned = KNOWN,
	  .script = { "S220 mx.example ESMTP Exim 4.96 Sun, 22 Nov 2026\r\n",
	              "CEHLO ",
	              "w",
	              "S250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 1000\r\n",
	              FIRST,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              NEXT,
	              "N",
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              OK,
	              YES,
	              QUIT } },
	/* With so much unsent, who reads what it says? */
	{ "stream: a chunk refused early, and the host talks on", "F", "552 5.3.4 no", 1,
	  1, 0, false, .fed = true, .learned = KNOWN, .scale = 20, .more = 900000,
	  .script = { GREET, "w",
	              "S250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 9000000\r\n",
	              MAIL, R1, "CBDAT 9", OK, OK, "S552 5.3.4 no\r\n", "W", "F" } },
	{ "MAILMAX", "D|D|?", NULL, 1, 3, 2, false, .fed = true,
	  .script = { GREET,
	              "S250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=9 MAILMAX=2\r\n",
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              RSET,
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK3,
	              "S354 go\r\n",
	              BODY,
	              "N",
	              OK,
	              QUIT } },
	{ "RCPTMAX", "DDD", NULL, 3, 1, 1, true, .fed = true,
	  .script = { GREET, "S250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2\r\n",
	              MAIL,  R1,
	              R2,    DATA,
	              OK,    OK,
	              OK,    "S354 go\r\n",
	              BODY,  OK,
	              RSET,  MAIL,
	              R3,    DATA,
	              OK3,   "S354 go\r\n",
	              BODY,  OK,
	              QUIT } },
	{ "MAILMAX leaves no room for a canary", "D|D|?", NULL, 1, 3, 2, false,
	  .fed = true,
	  .script = { GREET,
	              "w",
	              "S250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 1000\r\n"
	              "250 LIMITS MAILMAX=2\r\n",
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK,
	              "S354 go\r\n",
	              BODY,
	              RSET,
	              MAIL,
	              R1,
	              DATA,
	              OK,
	              OK3,
	              "S354 go\r\n",
	              BODY,
	              OK,
	              QUIT } },
	{ "stream: RSET's reply has a number of its own", "D|D|D", NULL, 1, 3, 3, true,
	  .fed = true, .learned = KNOWN,
	  .script = { FAR, FIRST, NEXT, NEXT, YES,
	              "S250 2.1.5 Flushed a12sm1.7 - gsmtp\r\n", YES,
	              "S250 2.1.5 Flushed a12sm1.12 - gsmtp\r\n", YES, QUIT } },
	{ "stream: a refused address that looks like a complaint", "D|F|D", NULL, 1, 3, 3,
	  true, .fed = true, .learned = KNOWN, .learns = "1:stream:1:",
	  .script = { FAR, FIRST, NEXT, NEXT, YES, OK, OK,
	              "S554 5.7.1 <pipelining@x.example>: Relay access denied\r\n",
	              "S554 5.5.1 nobody\r\n", OK, YES, QUIT } },
	{ "QUIT unanswered is nobody's verdict", "DDC", NULL, 3, 1, 1, false, .fed = true,
	  .connection_messages = 1, .scale = 20,
	  .script = { GREET, "S250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2\r\n",
	              MAIL, R1, R2, DATA, OK, OK, OK, "S354 go\r\n", BODY, OK,
	              "CQUIT\r\n", "Z" } },
	{ "connection-messages", "D|?", NULL, 1, 2, 1, false, .fed = true,
	  .connection_messages = 1,
	  .script = { GREET, PIPE, MAIL, R1, DATA, OK, OK, "S354 go\r\n", BODY, OK,
	              QUIT } },
};

/* ---- the client's side ---- */

static const char body_text[] = "hello\n.dot\nlast";

static int listen_local(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &n), 0);
	return fd;
}

static struct client_conf conf_of(const struct row *t)
{
	return (struct client_conf){
		.host = STR("mx.example"),
		.tls = t->starttls ? CLIENT_TLS_STARTTLS : CLIENT_TLS_NONE,
		.user = STR("eddy"),
		.password = STR("secret-word"),
		.auth = t->auth,
		.auth_insecure = t->insecure,
		.auth_only = str_z(t->only),
		.helo = STR("box.example"),
		.session_max = 20000,
		.timeout_scale = t->scale ? t->scale : 1000,
		.stream = t->fed,
		.connection_messages = t->connection_messages,
		.cancel_fd = -1,
	};
}

static char letter(enum verdict_kind k)
{
	static const char of[] = {
		[VERDICT_DONE] = 'D',      [VERDICT_LATER] = 'L', [VERDICT_FAILED] = 'F',
		[VERDICT_HOST] = 'H',      [VERDICT_REST] = '?',  [VERDICT_DOUBT] = 'B',
		[VERDICT_RECONNECT] = 'C',
	};

	return of[k];
}

static void count(void *arg)
{
	(*(int *)arg)++;
}

/* Sends the row's message; appends the letters to got, keeps the first text. */
static void send_one(struct client *c, const struct row *t, int fd, int *commits,
                     struct buf *got, struct buf *text)
{
	static const char *const names[RCPTS_MAX] = { "r1@example.org", "r2@example.org",
		                                      "r3@example.org",
		                                      "r4@example.org" };
	struct client_rcpt rcpt[RCPTS_MAX] = { 0 };
	struct client_msg m = {
		.sender = str_z(t->sender ? t->sender : "a@example.org"),
		.header = STR("Subject: x\n\n"),
		.fd = fd,
		.body_at = 3,
		.envid = STR("e+2B1"),
		.ret = STR("HDRS"),
		.rcpt = rcpt,
		.rcpts = (size_t)t->rcpts,
		.on_commit = count,
		.arg = commits,
	};

	for (size_t i = 0; i < m.rcpts; i++)
		rcpt[i].addr = str_z(names[i]);
	if (t->utf8)
		rcpt[0].addr = STR("\xc3\xa4@example.org");
	rcpt[0].notify = STR("NEVER");
	rcpt[0].orcpt = STR("rfc822;o@example.org");
	if (client_send(c, &m) != 0)
		buf_z(got, "(error)");
	for (size_t i = 0; i < m.rcpts; i++) {
		buf_c(got, letter(rcpt[i].verdict.kind));
		if (i == 0 && !text->n)
			buf_str(text, buf_view(&rcpt[0].verdict.text));
		buf_free(&rcpt[i].verdict.text);
	}
}

static unsigned failures; /* of rows */

#define ROW_FAILS(...)                        \
	do {                                  \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr);          \
		failures++;                   \
	} while (0)

/* All of a row's messages, fed as the client asks. */
struct fed {
	struct client_msg msg[FED_MAX];
	struct client_rcpt rcpt[FED_MAX][RCPTS_MAX];
	char letters[FED_MAX][RCPTS_MAX + 1];
	int next, messages;
	struct buf *text;
};

static struct client_msg *fed_next(void *arg, bool idle)
{
	struct fed *f = arg;

	(void)idle;
	return f->next < f->messages ? &f->msg[f->next++] : NULL;
}

static void fed_done(void *arg, struct client_msg *m, int error)
{
	struct fed *f = arg;
	ptrdiff_t k = m - f->msg;

	assert_int_equal(error, 0);
	assert_int_equal(f->letters[k][0], '?'); /* once */
	for (size_t i = 0; i < m->rcpts; i++) {
		f->letters[k][i] = letter(m->rcpt[i].verdict.kind);
		if (i == 0 && !f->text->n)
			buf_str(f->text, buf_view(&m->rcpt[0].verdict.text));
		buf_free(&m->rcpt[i].verdict.text);
	}
}

static void send_fed(struct client *c, const struct row *t, int fd, int *commits,
                     struct buf *got, struct buf *text)
{
	static const char *const names[RCPTS_MAX] = { "r1@example.org", "r2@example.org",
		                                      "r3@example.org",
		                                      "r4@example.org" };
	struct fed f = { .messages = t->messages, .text = text };
	const struct client_feed feed = {
		.next = fed_next, .done = fed_done, .fd = -1, .arg = &f
	};

	for (int k = 0; k < t->messages; k++) {
		f.msg[k] = (struct client_msg){ .sender = STR("a@example.org"),
			                        .header = STR("Subject: x\n\n"),
			                        .fd = fd,
			                        .body_at = 3,
			                        .rcpt = f.rcpt[k],
			                        .rcpts = (size_t)t->rcpts,
			                        .on_commit = count,
			                        .arg = commits };
		f.letters[k][0] = '?';
		for (int i = 0; i < t->rcpts; i++)
			f.rcpt[k][i].addr = str_z(names[i]);
	}
	client_stream(c, &feed);
	for (int k = 0; k < t->messages; k++)
		buf_fmt(got, "%s%s", k ? "|" : "", f.letters[k]);
}

/* What a host was remembered by: the row says all but the time and the hash, which is that
 * of what the row's host says. */
static void put_learned(const struct row *t, struct buf *b)
{
	struct str rest = STR(""), line, word;
	uint64_t h = learned_greeting(str_from(str_z(t->script[0]), 5));
	size_t at = 2;

	if (!t->learned)
		return;
	if (t->script[at][0] == 'w')
		at++;
	rest = str_from(str_z(t->script[at]), 1);
	str_cut(&rest, '\n', &line);
	while (str_cut(&rest, '\n', &line) && line.n) {
		line = str_trim(str_from(line, 4));
		str_cut(&line, ' ', &word);
		h = learned_keyword(h, word);
	}
	buf_fmt(b, "1:%s:%lld:%016llx", t->learned, (long long)clock_real() - 60,
	        (unsigned long long)h);
}

static void check_learned(const struct client *c, const struct row *t)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	client_learned(c, &b);
	if (!t->learns)
		return;
	if (t->learns[0] ? !str_starts(buf_view(&b), str_z(t->learns)) : b.n > 0)
		ROW_FAILS("%s: learned %s", t->name, b.n ? b.p : "nothing");
}

static int body_file(size_t more)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int fd;

	buf_fmt(&b, "xyz%s", body_text);
	for (size_t i = 0; i < more; i++)
		buf_c(&b, i % 70 ? 'x' : '\n');
	fd = io_memfd("body", buf_view(&b));
	assert_true(fd >= 0);
	return fd;
}

/* Plays the row; got and text as send_one() gives them. */
static bool play(const struct row *t, const struct sockaddr_in *to, struct buf *got,
                 struct buf *text, int *commits)
{
	struct client_conf conf = conf_of(t);
	const char *why = "?";
	struct client *c = client_new(&conf, &why);
	struct verdict v = { 0 };
	int64_t start = clock_ms();
	_cleanup_fd_ int fd = body_file(t->more);
	_cleanup_buf_ struct buf learned = BUF_INIT;
	bool open;

	if (!c)
		fail_msg("%s: %s", t->name, why);
	put_learned(t, &learned);
	conf.learned = buf_view(&learned);
	if (client_open(c, (const struct sockaddr *)to, sizeof(*to), &v) < 0) {
		buf_fmt(got, "!%s%s", smtp_stage_name(v.stage),
		        v.kind == VERDICT_HOST ? "" : " (not HOST)");
		buf_str(text, buf_view(&v.text));
		buf_free(&v.text);
	} else if (t->fed) {
		send_fed(c, t, fd, commits, got, text);
	} else {
		for (int i = 0; i < t->messages && client_is_open(c); i++) {
			buf_z(got, i ? "|" : "");
			send_one(c, t, fd, commits, got, text);
		}
	}
	if (t->within && clock_ms() - start > t->within)
		ROW_FAILS("%s: it takes more than %d ms", t->name, t->within);
	open = client_is_open(c);
	check_learned(c, t);
	client_quit(c);
	client_free(c);
	return open;
}

static int64_t cpu_ms(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000) +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static void run_row(const struct row *t)
{
	_cleanup_buf_ struct buf got = BUF_INIT, text = BUF_INIT;
	struct sockaddr_in to;
	int listener = listen_local(&to), status = 0, commits = 0, few = 4096;
	int64_t busy = cpu_ms();
	bool open;
	pid_t pid;

	/* What it does not read is not to fit into its kernel. */
	if (t->more)
		setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few));
	pid = host_start(t->name, t->script, listener);
	close(listener);
	open = play(t, &to, &got, &text, &commits);
	if (cpu_ms() - busy > 500)
		ROW_FAILS("%s: it spins", t->name);
	waitpid(pid, &status, 0);
	buf_c(&text, ' ');
	if (!str_eq(buf_view(&got), str_z(t->want)))
		ROW_FAILS("%s: got %s, want %s (%s)", t->name, got.p, t->want, text.p);
	if (status != 0)
		ROW_FAILS("%s: the host saw something else", t->name);
	if (t->text && !strstr(text.p, t->text))
		ROW_FAILS("%s: says %s", t->name, text.p);
	if (strstr(text.p, "secret-word") || strstr(text.p, "c2VjcmV0"))
		ROW_FAILS("%s: shows the password", t->name);
	if (commits != t->commits)
		ROW_FAILS("%s: %d commits", t->name, commits);
	if (open != t->open)
		ROW_FAILS("%s: open %d", t->name, open);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run_row(&rows[i]);
	assert_int_equal(failures, 0);
}

/* A host that must not be reached. */
static void test_refused(void **state)
{
	struct sockaddr_in to;
	struct row t = { .name = "refused" };
	struct client_conf conf = conf_of(&t);
	const char *why;
	struct client *c = client_new(&conf, &why);
	struct verdict v = { 0 };

	(void)state;
	close(listen_local(&to));
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), -1);
	assert_int_equal(v.kind, VERDICT_HOST);
	assert_int_equal(v.stage, STAGE_CONNECT);
	assert_non_null(strstr(v.text.p, "127.0.0.1 port"));
	buf_free(&v.text);
	client_free(c);
}

/* A host that takes the connection and never greets is left early for another one. */
static void test_hurry(void **state)
{
	static const struct {
		const char *name;
		bool others;
		int64_t least, most; /* milliseconds, of a second that has 2 */
	} hurry[] = {
		{ "others", true, CLIENT_HURRY * 2, 400 },
		{ "no others", false, 600, 10000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hurry); i++) {
		struct row t = { .name = hurry[i].name, .scale = 2 };
		struct client_conf conf = conf_of(&t);
		struct sockaddr_in to;
		int listener = listen_local(&to);
		struct race_address one = { .len = sizeof(to) };
		struct client_way way = { .to = &one, .n = 1, .others = hurry[i].others };
		const char *why;
		struct client *c = client_new(&conf, &why);
		struct verdict v = { 0 };
		int64_t took = clock_ms();

		memcpy(&one.addr, &to, sizeof(to));
		way.at = 7;
		assert_int_equal(client_open_any(c, &way, &v), -1);
		took = clock_ms() - took;
		if (v.stage != STAGE_GREETING || way.at != 0 || took < hurry[i].least ||
		    took > hurry[i].most)
			fail_msg("%s: %s, %lld ms", t.name, v.text.p, (long long)took);
		buf_free(&v.text);
		client_free(c);
		close(listener);
	}
}

/* A big message against a host that answers early, or stops reading, or goes. */
static void send_big(const char *name, const char *const *script, int scale, char want,
                     const char *text)
{
	struct row t = { .name = name, .scale = scale };
	struct sockaddr_in to;
	int listener = listen_local(&to), status, fd = io_memfd("big", STR("xyz")),
	    commits = 0;
	pid_t pid = host_start(name, script, listener);
	struct client_conf conf = conf_of(&t);
	const char *why;
	struct client *c = client_new(&conf, &why);
	struct client_rcpt r = { .addr = STR("r1@example.org") };
	struct client_msg m = { .sender = STR("a@example.org"),
		                .header = STR("A: b\n\n"),
		                .rcpt = &r,
		                .rcpts = 1,
		                .on_commit = count,
		                .arg = &commits };
	struct verdict v = { 0 };

	close(listener);
	close(fd);
	fd = memfd_create("big", 0);
	for (int i = 0; i < 32; i++) {
		char block[1 << 20];

		memset(block, 'a' + i % 3, sizeof(block));
		for (size_t k = 70; k < sizeof(block); k += 71)
			block[k] = '\n';
		assert_int_equal(io_write(fd, block, sizeof(block)), 0);
	}
	m.fd = fd;
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	assert_int_equal(client_send(c, &m), 0);
	if (letter(r.verdict.kind) != want || !strstr(r.verdict.text.p, text))
		fail_msg("%s: %c %s", name, letter(r.verdict.kind), r.verdict.text.p);
	if (commits != 0 || client_is_open(c))
		fail_msg("%s: %d commits, open %d", name, commits, client_is_open(c));
	buf_free(&r.verdict.text);
	client_free(c);
	close(fd);
	waitpid(pid, &status, 0);
	if (status)
		fail_msg("%s: the host saw something else", name);
}

static void test_big(void **state)
{
	static const char *const early[] = { GREET,
		                             PLAIN,
		                             MAIL,
		                             OK,
		                             R1,
		                             OK,
		                             DATA,
		                             "S354 go\r\n",
		                             "bA: b\r\n\r\naaa",
		                             "S552 5.3.4 too big\r\n",
		                             "Z",
		                             NULL };
	static const char *const early_close[] = { GREET,
		                                   PLAIN,
		                                   MAIL,
		                                   OK,
		                                   R1,
		                                   OK,
		                                   DATA,
		                                   "S354 go\r\n",
		                                   "bA: b\r\n\r\naaa",
		                                   "S552 5.3.4 too big\r\n",
		                                   "X",
		                                   NULL };
	static const char *const gone[] = {
		GREET, PLAIN, MAIL, OK, R1, OK, DATA, "S354 go\r\n", "bA: b\r\n\r\naaa",
		"R",   NULL
	};
	static const char *const deaf[] = { GREET, PLAIN, MAIL,          OK,  R1,
		                            OK,    DATA,  "S354 go\r\n", "W", "W",
		                            "W",   "R",   NULL };
	static const char *const yes[] = { GREET,
		                           PLAIN,
		                           MAIL,
		                           OK,
		                           R1,
		                           OK,
		                           DATA,
		                           "S354 go\r\n",
		                           "bA: b\r\n\r\naaa",
		                           "S250 thanks\r\n",
		                           "Z",
		                           NULL };

	(void)state;
	send_big("refused early", early, 0, 'F', "552 5.3.4 too big");
	send_big("refused early and closed", early_close, 0, 'F', "552 5.3.4 too big");
	send_big("gone in the content", gone, 0, 'H', "connection lost at content");
	send_big("stops reading", deaf, 1, 'H', "takes no more data");
	send_big("accepted early", yes, 0, 'H', "does not have yet");
}

/* More recipients than go into one group, and than go into one transaction. */
static void test_many(void **state)
{
	enum { MANY = 230 };
	struct row t = { .name = "many" };
	struct client_conf conf = conf_of(&t);
	struct sockaddr_in to;
	int listener = listen_local(&to), status, commits = 0;
	static const char *const more[] = { GREET, PIPE, "M", BODY, OK, "M",
		                            BODY,  OK,   "M", BODY, OK, NULL };
	pid_t pid = host_start("many", more, listener);
	struct client_rcpt rcpt[MANY] = { 0 };
	struct client_msg m = { .sender = STR("a@example.org"),
		                .header = STR("Subject: x\n\n"),
		                .fd = body_file(0),
		                .body_at = 3,
		                .rcpt = rcpt,
		                .rcpts = MANY,
		                .on_commit = count,
		                .arg = &commits };
	struct verdict v = { 0 };
	const char *why;
	struct client *c = client_new(&conf, &why);

	(void)state;
	close(listener);
	for (size_t i = 0; i < MANY; i++)
		rcpt[i].addr = STR("r@example.org");
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	assert_int_equal(client_send(c, &m), 0);
	for (size_t i = 0; i < MANY; i++) {
		if (rcpt[i].verdict.kind != VERDICT_DONE)
			fail_msg("%zu: %s", i, rcpt[i].verdict.text.p);
		buf_free(&rcpt[i].verdict.text);
	}
	assert_int_equal(commits, 1);
	client_free(c);
	close(m.fd);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

/* Plays one message while another process hangs up the cancel descriptor after some
 * time. */
static void cancel_one(const char *const *script, int hangup_ms, int scale, char want,
                       const char *text)
{
	struct row t = { .name = "cancel", .scale = scale, .rcpts = 1 };
	struct client_conf conf = conf_of(&t);
	struct sockaddr_in to;
	int listener = listen_local(&to), status, pair[2], fd = body_file(0), commits = 0;
	_cleanup_buf_ struct buf got = BUF_INIT, said = BUF_INIT;
	struct verdict v = { 0 };
	const char *why;
	struct client *c = client_new(&conf, &why);
	pid_t pid = host_start("cancel", script, listener), other = -1;

	close(listener);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	conf.cancel_fd = pair[0];
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	if (hangup_ms == 0) {
		close(pair[1]);
	} else if ((other = fork()) == 0) {
		usleep((useconds_t)hangup_ms * 1000);
		shutdown(pair[1], SHUT_RDWR);
		_exit(0);
	}
	send_one(c, &t, fd, &commits, &got, &said);
	if (got.p[0] != want || !strstr(said.p, text))
		fail_msg("cancel after %d ms: %s %s", hangup_ms, got.p, said.p);
	client_free(c);
	waitpid(pid, &status, 0);
	if (status)
		fail_msg("cancel after %d ms: the host saw something else", hangup_ms);
	if (other > 0)
		waitpid(other, &status, 0);
	close(pair[0]);
	if (hangup_ms)
		close(pair[1]);
	close(fd);
}

static void hang_up(void *arg)
{
	close(*(int *)arg);
}

/* Hung up between the note of the commit and the last octets: these stay here, so there is
 * nothing to doubt. */
static void test_cancel_at_commit(void **state)
{
	static const char *const script[] = { GREET, PLAIN, MAIL,          OK,  R1,
		                              OK,    DATA,  "S354 go\r\n", NULL };
	struct row t = { .name = "commit" };
	struct client_conf conf = conf_of(&t);
	struct sockaddr_in to;
	int listener = listen_local(&to), status, pair[2];
	pid_t pid = host_start("commit", script, listener);
	struct client_rcpt r = { .addr = STR("r1@example.org") };
	struct client_msg m = { .sender = STR("a@example.org"),
		                .header = STR("A: b\n\n"),
		                .fd = body_file(0),
		                .rcpt = &r,
		                .rcpts = 1,
		                .on_commit = hang_up,
		                .arg = &pair[1] };
	struct verdict v = { 0 };
	const char *why;
	struct client *c = client_new(&conf, &why);

	(void)state;
	close(listener);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	conf.cancel_fd = pair[0];
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	assert_int_equal(client_send(c, &m), 0);
	assert_int_equal(r.verdict.kind, VERDICT_HOST);
	buf_free(&r.verdict.text);
	client_free(c);
	close(pair[0]);
	close(m.fd);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

/* Several large messages in flight when the host goes, having read little: those that were
 * not all with the kernel were certainly not taken. And when we are to leave: the same, but
 * what the host still says counts. */
static void send_large(const char *const *script, bool cancel, const char *want)
{
	enum { LARGE = 60 };
	struct row t = { .name = "large ones", .fed = true, .learned = KNOWN };
	struct client_conf conf = conf_of(&t);
	struct sockaddr_in to;
	int listener = listen_local(&to), status, commits = 0, pair[2];
	pid_t pid = host_start("large ones", script, listener), other = -1;
	_cleanup_buf_ struct buf body = BUF_INIT, learned = BUF_INIT, text = BUF_INIT;
	struct fed f = { .messages = LARGE, .text = &text };
	const struct client_feed feed = {
		.next = fed_next, .done = fed_done, .fd = -1, .arg = &f
	};
	struct verdict v = { 0 };
	const char *why;
	struct client *c;
	char got[LARGE + 1] = "";
	size_t n = 0;
	int fd;

	close(listener);
	memcpy(t.script, script, 4 * sizeof(*script));
	put_learned(&t, &learned);
	conf.learned = buf_view(&learned);
	while (body.n < 20000)
		buf_z(&body, "0123456789012345678901234567890123456789012345678901234\n");
	fd = io_memfd("body", buf_view(&body));
	for (int k = 0; k < LARGE; k++) {
		f.msg[k] = (struct client_msg){ .sender = STR("a@example.org"),
			                        .header = STR("A: b\n\n"),
			                        .fd = fd,
			                        .rcpt = f.rcpt[k],
			                        .rcpts = 1,
			                        .on_commit = count,
			                        .arg = &commits };
		f.letters[k][0] = '?';
		f.rcpt[k][0].addr = STR("r1@example.org");
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	conf.cancel_fd = pair[0];
	if (cancel && (other = fork()) == 0) {
		usleep(60000);
		shutdown(pair[1], SHUT_RDWR);
		_exit(0);
	}
	c = client_new(&conf, &why);
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	client_stream(c, &feed);
	/* Runs of the same letter are one: how much the kernel takes is its own affair. */
	for (int k = 0; k < LARGE; k++)
		if (n == 0 || got[n - 1] != f.letters[k][0])
			got[n++] = f.letters[k][0];
	if (strcmp(got, want) != 0)
		fail_msg("large ones: %s, want %s: %s", got, want, text.p);
	client_free(c);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	if (other > 0)
		waitpid(other, &status, 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

#define FAR_LARGE \
	GREET, "w", "S250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 9000000\r\n"

static void test_stream_partial(void **state)
{
	static const char *const gone[] = { FAR_LARGE, MAIL, R1, "W", "R", NULL };
	static const char *const slow[] = { FAR_LARGE, MAIL, R1,  "W", OK,
		                            OK,        DONE, "W", "R", NULL };

	(void)state;
	send_large(gone, false, "BC?");
	send_large(slow, true, "DBC?");
}

/* A message that is read twice, and cannot be read the second time; or that is whole blocks. */
struct odd {
	size_t n, at, fails_at; /* 0: it does not */
	int passes, commits;
	struct client *c;
	uint64_t put; /* the most that was to be written before on_commit */
};

static int odd_rewind(void *arg)
{
	struct odd *o = arg;

	o->at = 0;
	o->passes++;
	return 0;
}

static ssize_t odd_read(void *arg, char *p, size_t n)
{
	struct odd *o = arg;

	if (o->passes > 1 && o->fails_at && o->at >= o->fails_at)
		return -EIO;
	n = n < 4096 ? n : 4096;
	n = n < o->n - o->at ? n : o->n - o->at;
	memset(p, 'x', n);
	for (size_t i = 31; i < n; i += 32)
		p[i] = '\n';
	o->at += n;
	return (ssize_t)n;
}

static void odd_commit(void *arg)
{
	struct odd *o = arg;

	o->commits++;
	assert_true(o->put < conn_put(&o->c->conn));
}

static void odd_flush(void *arg)
{
	struct fed *f = arg;
	struct odd *o = f->msg[f->messages - 1].arg;

	if (!o->commits)
		o->put = conn_put(&o->c->conn);
}

static void odd_done(void *arg, struct client_msg *m, int error)
{
	struct fed *f = arg;
	ptrdiff_t k = m - f->msg;

	assert_int_equal(f->letters[k][0], '?');
	f->letters[k][0] = error ? 'E' : letter(m->rcpt[0].verdict.kind);
	buf_free(&m->rcpt[0].verdict.text);
}

/* Some small ones and one that is odd. */
static void send_odd(const char *name, const char *const *script, struct odd *o,
                     const char *want)
{
	struct row t = {
		.name = name, .fed = true, .learned = KNOWN, .scale = o->fails_at ? 0 : 1
	};
	struct client_conf conf = conf_of(&t);
	struct sockaddr_in to;
	int listener = listen_local(&to), status, commits = 0, n = (int)strlen(want);
	pid_t pid = host_start(name, script, listener);
	_cleanup_fd_ int fd = body_file(0);
	_cleanup_buf_ struct buf learned = BUF_INIT;
	const struct client_body body = { odd_rewind, odd_read, o };
	struct fed f = { .messages = n };
	const struct client_feed feed = { .next = fed_next,
		                          .done = odd_done,
		                          .fd = -1,
		                          .flush = odd_flush,
		                          .arg = &f };
	struct verdict v = { 0 };
	const char *why;

	close(listener);
	memcpy(t.script, script, 4 * sizeof(*script));
	put_learned(&t, &learned);
	conf.learned = buf_view(&learned);
	for (int k = 0; k < n; k++) {
		f.msg[k] = (struct client_msg){ .sender = STR("a@example.org"),
			                        .header = STR("Subject: x\n\n"),
			                        .fd = fd,
			                        .body_at = 3,
			                        .rcpt = f.rcpt[k],
			                        .rcpts = 1,
			                        .on_commit = count,
			                        .arg = &commits };
		f.letters[k][0] = '?';
		f.rcpt[k][0].addr = STR("r1@example.org");
	}
	f.msg[n - 1].body = &body;
	f.msg[n - 1].on_commit = odd_commit;
	f.msg[n - 1].arg = o;
	o->c = client_new(&conf, &why);
	assert_int_equal(client_open(o->c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	client_stream(o->c, &feed);
	for (int k = 0; k < n; k++)
		if (f.letters[k][0] != want[k])
			fail_msg("%s: message %d is %c, want %s", name, k,
			         f.letters[k][0], want);
	client_free(o->c);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

/* What is in flight in front of a message that cannot be read is answered all the same. */
static void test_stream_unreadable(void **state)
{
	static const char *const out[] = { FAR_LARGE, FIRST, NEXT, "W", YES,
		                           OK3,       DONE,  "W",  "X", NULL };
	static const char *const not_out[] = { FAR_LARGE, "W", "X", NULL };
	struct odd late = { .n = 400000, .fails_at = 300000 };
	struct odd early = { .n = 400000, .fails_at = 1 };

	(void)state;
	send_odd("unreadable", out, &late, "DDE");
	send_odd("unreadable, nothing out", not_out, &early, "CCE");
}

/* The last octets of a message do not go out before on_commit, whatever its size. */
static void test_stream_commit(void **state)
{
	static const char *const script[] = { FAR_LARGE, MAIL, R1, "Z", NULL };

	(void)state;
	for (size_t n = 2 * 65536; n <= 4 * 65536; n += 2 * 65536) {
		struct odd o = { .n = n };

		send_odd("whole blocks", script, &o, "B");
		assert_int_equal(o.commits, 1);
	}
}

/* The canceller hangs up: nothing more is sent, the reply due is still taken. */
static void test_cancel(void **state)
{
	static const char *const nothing[] = { GREET, PLAIN, NULL };
	static const char *const slow[] = { GREET, PLAIN,         MAIL, OK,  R1, OK,
		                            DATA,  "S354 go\r\n", BODY, "W", OK, NULL };
	static const char *const never[] = { GREET, PLAIN,         MAIL, OK,  R1,  OK,
		                             DATA,  "S354 go\r\n", BODY, "Z", NULL };
	static const char *const mail[] = { GREET, PLAIN, MAIL, "W", OK, NULL };

	(void)state;
	cancel_one(nothing, 0, 1000, 'H', "mailchuted is gone");
	cancel_one(slow, 40, 1000, 'D', "250");
	cancel_one(never, 40, 1, 'B', "mailchuted is gone");
	cancel_one(mail, 40, 1000, 'H', "mailchuted is gone");
}

/* The whole session has a limit. */
static void test_session_max(void **state)
{
	static const char *const script[] = { GREET, PLAIN, MAIL, "Z", NULL };
	struct row t = { .name = "session", .rcpts = 1 };
	struct client_conf conf = conf_of(&t);
	struct sockaddr_in to;
	int listener = listen_local(&to), status, fd = body_file(0), commits = 0;
	_cleanup_buf_ struct buf got = BUF_INIT, text = BUF_INIT;
	struct verdict v = { 0 };
	const char *why;
	struct client *c;
	pid_t pid = host_start("session", script, listener);

	(void)state;
	close(listener);
	conf.session_max = 150;
	c = client_new(&conf, &why);
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	send_one(c, &t, fd, &commits, &got, &text);
	assert_string_equal(got.p, "H");
	assert_non_null(strstr(text.p, "took too long"));
	client_free(c);
	waitpid(pid, &status, 0);
	close(fd);
}

/* But a large message has more: here it is the reply's own limit that ends it. */
static void test_session_max_large(void **state)
{
	static const char *const script[] = { GREET, PLAIN, MAIL, "Z", NULL };
	struct row t = { .name = "large", .scale = 1 };
	struct client_conf conf = conf_of(&t);
	struct sockaddr_in to;
	int listener = listen_local(&to), status;
	_cleanup_buf_ struct buf header = BUF_INIT;
	struct client_rcpt r = { .addr = STR("r1@example.org") };
	struct client_msg m = {
		.sender = STR("a@example.org"), .fd = body_file(0), .rcpt = &r, .rcpts = 1
	};
	struct verdict v = { 0 };
	const char *why;
	struct client *c;
	pid_t pid = host_start("large", script, listener);

	(void)state;
	close(listener);
	while (header.n < 500000)
		buf_z(&header, "A: 0123456789012345678901234567890123456789\n");
	buf_c(&header, '\n');
	m.header = buf_view(&header);
	conf.session_max = 150;
	c = client_new(&conf, &why);
	assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v), 0);
	assert_int_equal(client_send(c, &m), 0);
	assert_int_equal(r.verdict.kind, VERDICT_HOST);
	if (!strstr(r.verdict.text.p, "no reply to MAIL"))
		fail_msg("%s", r.verdict.text.p);
	buf_free(&r.verdict.text);
	client_free(c);
	waitpid(pid, &status, 0);
	close(m.fd);
}

/* Connections go to one host and to another in turn: each is asked for its canary once, also
 * when what was learned goes from one client to the next. */
static void test_two_hosts(void **state)
{
#define OTHER_SAYS(more)                                              \
	"S220 other.example ESMTP\r\n", "CEHLO box.example\r\n", "w", \
	    "S250-other\r\n250-PIPELINING\r\n" more "250-CHUNKING\r\n250 SIZE 1000\r\n"
#define OTHER OTHER_SAYS("")
#define ASKED WELL(OK, OK, OK), NEXT_DATA(DONE), NEXT, "N", DONE, OK, YES, QUIT
#define TRUSTED FIRST, NEXT, NEXT, "N", YES, OK, YES, OK, YES, QUIT
	static const struct row visits[] = {
		{ .name = "one", .script = { FAR, ASKED } },
		{ .name = "other", .script = { OTHER, ASKED } },
		{ .name = "one again", .script = { FAR, TRUSTED } },
		{ .name = "other again", .script = { OTHER, TRUSTED } },
		{ .name = "one, another client", .script = { FAR, TRUSTED } },
		{ .name = "other, another client", .script = { OTHER, TRUSTED } },
		{ .name = "other, with another keyword",
		  .script = { OTHER_SAYS("250-HELP\r\n"), ASKED } },
	};
	struct row how = { .name = "two hosts", .rcpts = 1, .messages = 3, .fed = true };
	struct client_conf conf = conf_of(&how);
	_cleanup_buf_ struct buf learned = BUF_INIT;
	_cleanup_fd_ int fd = body_file(0);
	struct client *c = NULL;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(visits); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT, text = BUF_INIT;
		struct verdict v = { 0 };
		struct sockaddr_in to;
		int listener = listen_local(&to), status = 0, commits = 0;
		pid_t pid = host_start(visits[i].name, visits[i].script, listener);

		close(listener);
		if (i % 4 == 0) {
			client_free(c);
			c = client_new(&conf, &why);
		}
		assert_int_equal(client_open(c, (struct sockaddr *)&to, sizeof(to), &v),
		                 0);
		send_fed(c, &how, fd, &commits, &got, &text);
		client_quit(c);
		buf_reset(&learned);
		client_learned(c, &learned);
		conf.learned = buf_view(&learned);
		waitpid(pid, &status, 0);
		if (!str_eq(buf_view(&got), STR("D|D|D")) || status != 0)
			fail_msg("%s: %s, status %d; %s", visits[i].name, got.p, status,
			         learned.p);
	}
	client_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_two_hosts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_hurry),
		cmocka_unit_test(test_big),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_stream_partial),
		cmocka_unit_test(test_stream_unreadable),
		cmocka_unit_test(test_stream_commit),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancel_at_commit),
		cmocka_unit_test(test_session_max),
		cmocka_unit_test(test_session_max_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
