/* sink [-e EXTENSIONS] [-s CERTIFICATE KEY] [-i] [-a] [-o LEDGER] [-k N TIMES] [-n COUNT]:
 * an SMTP server on a port of 127.0.0.1 that accepts everything, for measuring clients: one
 * process, epoll, no disk. What is read at once is answered at once.
 *   -e  what EHLO offers, commas between; default "PIPELINING,CHUNKING,8BITMIME,SIZE
 *       52428800"; "" for lockstep
 *   -s  offers STARTTLS;  -i: TLS from the first octet
 *   -a  offers AUTH PLAIN (under TLS if there is any), and wants it before MAIL; any will do
 *   -o  writes what it accepts: "message CONNECTION OCTETS SENDER RECIPIENT..." and LF, the
 *       octets, LF
 *   -k  a connection whose Nth message was accepted is reset when all that was read with it
 *       has been taken, without the replies; TIMES connections, as if its server had died
 *   -n  says when so many messages are there
 * Standard output: "port PORT", "connection NS", "first NS" and "reached NS" (CLOCK_MONOTONIC,
 * in nanoseconds), "reset MESSAGES UNANSWERED" for each -k; at SIGTERM "total messages=..
 * connections=.. tls=.. resumed=.. octets=..". */
#include "base/str.h"
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_AT_ONCE = 256 << 10,
	RECORD = 16 << 10,
	LINE_LIMIT = 64 << 10,
	EVENTS = 64,
};

enum state { COMMAND, SECRET, DATA, CHUNK };

struct peer {
	int fd;
	long number;
	gnutls_session_t tls; /* NULL: none (yet) */
	bool shaking, logged_in, mail, closing, starttls;
	enum state state;
	struct buf in, out, content, envelope;
	uint64_t left; /* of the chunk */
	bool last;
	unsigned rcpts;
	uint64_t octets; /* of this message so far */
	long accepted, unanswered;
};

struct sink {
	int epoll;
	const char *extensions;
	gnutls_certificate_credentials_t cred; /* NULL: no TLS */
	gnutls_priority_t priority;
	gnutls_datum_t ticket_key;
	bool implicit, auth;
	FILE *ledger;
	long kill_at, kills, count;
	long messages, connections, tls, resumed;
	uint64_t octets;
};

NORETURN static void fail(const char *what)
{
	fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say_time(const char *what)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	printf("%s %lld\n", what, (long long)t.tv_sec * 1000000000LL + t.tv_nsec);
}

static void reply(struct peer *p, const char *text)
{
	buf_z(&p->out, text);
	buf_z(&p->out, "\r\n");
}

/* ---- messages ---- */

static void forget(struct peer *p)
{
	p->mail = false;
	p->rcpts = 0;
	p->octets = 0;
	buf_reset(&p->content);
	buf_reset(&p->envelope);
}

static void accepted(struct sink *s, struct peer *p)
{
	char words[80];

	snprintf(words, sizeof(words), "250 2.0.0 Ok: %llu bytes queued",
	         (unsigned long long)p->octets);
	reply(p, words);
	if (s->ledger) {
		fprintf(s->ledger, "message %ld %zu%.*s\n", p->number, p->content.n,
		        (int)p->envelope.n, p->envelope.p);
		fwrite(p->content.p, 1, p->content.n, s->ledger);
		fputc('\n', s->ledger);
	}
	s->octets += p->octets;
	p->accepted++;
	p->unanswered++;
	if (++s->messages == 1)
		say_time("first");
	if (s->messages == s->count)
		say_time("reached");
	forget(p);
}

static void chunk_done(struct sink *s, struct peer *p)
{
	p->state = COMMAND;
	if (!p->mail || !p->rcpts) {
		reply(p, p->mail ? "554 5.5.1 Error: no valid recipients"
		                 : "503 5.5.1 Error: need MAIL command");
		buf_reset(&p->content);
		p->octets = 0;
	} else if (p->last) {
		accepted(s, p);
	} else {
		reply(p, "250 2.0.0 Ok");
	}
}

/* A line of DATA, with its CRLF. */
static void data_line(struct sink *s, struct peer *p, struct str line)
{
	if (line.n == 3 && line.p[0] == '.') {
		p->state = COMMAND;
		accepted(s, p);
		return;
	}
	if (line.n && line.p[0] == '.')
		line = str_from(line, 1);
	p->octets += line.n;
	if (s->ledger)
		buf_str(&p->content, line);
}

/* ---- commands ---- */

static void ehlo(const struct sink *s, struct peer *p)
{
	struct str rest = str_z(s->extensions), one;
	const bool secure = p->tls || !s->cred;

	buf_z(&p->out, "250-sink.example\r\n");
	while (rest.n) {
		if (!str_cut(&rest, ',', &one)) {
			one = rest;
			rest = STR_NONE;
		}
		buf_fmt(&p->out, "250-%.*s\r\n", (int)one.n, one.p);
	}
	if (s->cred && !p->tls)
		buf_z(&p->out, "250-STARTTLS\r\n");
	if (s->auth && secure)
		buf_z(&p->out, "250-AUTH PLAIN\r\n");
	buf_z(&p->out, "250 ENHANCEDSTATUSCODES\r\n");
}

/* Of "MAIL FROM:<a> ..." a, into the envelope behind a blank. */
static void address(struct peer *p, struct str line)
{
	const ptrdiff_t a = str_chr(line, '<'), b = str_chr(line, '>');

	buf_c(&p->envelope, ' ');
	if (a >= 0 && b > a + 1)
		buf_add(&p->envelope, line.p + a + 1, (size_t)(b - a - 1));
	else
		buf_c(&p->envelope, '-');
}

static void bdat(struct peer *p, struct str arg)
{
	struct str number;

	p->last = str_iends(arg, STR("LAST"));
	if (!str_cut(&arg, ' ', &number))
		number = arg;
	if (!str_u64(number, &p->left)) {
		reply(p, "501 5.5.4 Syntax: BDAT count [LAST]");
		p->closing = true;
		return;
	}
	p->state = CHUNK;
}

static void mail(const struct sink *s, struct peer *p, struct str line)
{
	if (s->auth && !p->logged_in) {
		reply(p, "530 5.7.0 Authentication required");
	} else if (p->mail) {
		reply(p, "503 5.5.1 Error: nested MAIL command");
	} else {
		forget(p);
		p->mail = true;
		address(p, line);
		reply(p, "250 2.1.0 Ok");
	}
}

static void rcpt(struct peer *p, struct str line)
{
	if (!p->mail) {
		reply(p, "503 5.5.1 Error: need MAIL command");
		return;
	}
	p->rcpts++;
	address(p, line);
	reply(p, "250 2.1.5 Ok");
}

static void login(struct peer *p, struct str line)
{
	if (!str_istarts(line, STR("AUTH PLAIN"))) {
		reply(p, "504 5.5.4 Unknown mechanism");
	} else if (line.n > strlen("AUTH PLAIN ")) {
		p->logged_in = true;
		reply(p, "235 2.7.0 Authentication successful");
	} else {
		p->state = SECRET;
		reply(p, "334 ");
	}
}

static void command(const struct sink *s, struct peer *p, struct str line)
{
	if (str_istarts(line, STR("MAIL "))) {
		mail(s, p, line);
	} else if (str_istarts(line, STR("RCPT "))) {
		rcpt(p, line);
	} else if (str_istarts(line, STR("BDAT "))) {
		bdat(p, str_from(line, 5));
	} else if (str_istarts(line, STR("RSET"))) {
		forget(p);
		reply(p, "250 2.0.0 Ok");
	} else if (str_istarts(line, STR("EHLO "))) {
		ehlo(s, p);
	} else if (str_istarts(line, STR("HELO "))) {
		reply(p, "250 sink.example");
	} else if (str_istarts(line, STR("DATA"))) {
		p->state = p->rcpts ? DATA : COMMAND;
		reply(p, p->rcpts ? "354 End data with <CR><LF>.<CR><LF>"
		                  : "554 5.5.1 Error: no valid recipients");
	} else if (str_istarts(line, STR("STARTTLS")) && s->cred && !p->tls) {
		p->starttls = true;
		reply(p, "220 2.0.0 Ready to start TLS");
	} else if (str_istarts(line, STR("AUTH ")) && s->auth) {
		login(p, line);
	} else if (str_istarts(line, STR("QUIT"))) {
		p->closing = true;
		reply(p, "221 2.0.0 Bye");
	} else {
		reply(p, "500 5.5.2 Error: command not recognized");
	}
}

/* Takes what is whole of the input. */
static void take(struct sink *s, struct peer *p)
{
	struct str in = buf_view(&p->in);

	while (!p->closing && !p->starttls) {
		ptrdiff_t end;

		if (p->state == CHUNK) {
			const size_t n = in.n < p->left ? in.n : (size_t)p->left;

			if (s->ledger)
				buf_add(&p->content, in.p, n);
			p->left -= n;
			p->octets += n;
			in = str_from(in, n);
			if (p->left)
				break;
			chunk_done(s, p);
			continue;
		}
		end = str_chr(in, '\n');
		if (end < 0) {
			p->closing = in.n > LINE_LIMIT;
			break;
		}
		if (p->state == DATA) {
			data_line(s, p, str_head(in, (size_t)end + 1));
		} else if (p->state == SECRET) {
			p->state = COMMAND;
			p->logged_in = true;
			reply(p, "235 2.7.0 Authentication successful");
		} else {
			command(s, p, str_trim(str_head(in, (size_t)end)));
		}
		in = str_from(in, (size_t)end + 1);
	}
	buf_drop(&p->in, p->in.n - in.n);
}

/* ---- connections ---- */

static void drop(struct peer *p, bool reset)
{
	const struct linger abrupt = { .l_onoff = 1 };

	if (reset)
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
	if (p->tls)
		gnutls_deinit(p->tls);
	close(p->fd);
	buf_free(&p->in);
	buf_free(&p->out);
	buf_free(&p->content);
	buf_free(&p->envelope);
	free(p);
}

static void start_tls(const struct sink *s, struct peer *p)
{
	if (gnutls_init(&p->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK) < 0 ||
	    gnutls_priority_set(p->tls, s->priority) < 0 ||
	    gnutls_session_ticket_enable_server(p->tls, &s->ticket_key) < 0 ||
	    gnutls_credentials_set(p->tls, GNUTLS_CRD_CERTIFICATE, s->cred) < 0)
		fail("GnuTLS");
	gnutls_transport_set_int(p->tls, p->fd);
	p->shaking = true;
	buf_reset(&p->in);
}

/* Octets read, 0: the end, -EAGAIN: none now, or another -errno. */
static ssize_t receive(struct peer *p)
{
	char *room = buf_room(&p->in, READ_AT_ONCE);
	ssize_t n;

	if (!p->tls) {
		n = read(p->fd, room, READ_AT_ONCE);
		if (n < 0)
			return -errno;
	} else {
		n = gnutls_record_recv(p->tls, room, READ_AT_ONCE);
		if (n < 0)
			return gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
	}
	p->in.n += (size_t)n;
	return n;
}

/* Writes what there is: 1: all, 0: the kernel is full, -1: the connection is gone. */
static int put(struct peer *p)
{
	size_t at = 0;

	while (at < p->out.n) {
		const size_t left = p->out.n - at;
		ssize_t n;

		if (p->tls && !p->shaking)
			n = gnutls_record_send(p->tls, p->out.p + at,
			                       left < RECORD ? left : RECORD);
		else
			n = write(p->fd, p->out.p + at, left);
		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		buf_drop(&p->out, at);
		if (p->tls && !p->shaking)
			return gnutls_error_is_fatal((int)n) ? -1 : 0;
		return errno == EAGAIN ? 0 : -1;
	}
	buf_reset(&p->out);
	p->unanswered = 0;
	return 1;
}

static void want(const struct sink *s, struct peer *p, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = p };

	if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, p->fd, &e) < 0)
		fail("epoll_ctl");
}

/* False: it is over. */
static bool shake(struct sink *s, struct peer *p)
{
	const int e = gnutls_handshake(p->tls);

	if (e < 0)
		return !gnutls_error_is_fatal(e);
	p->shaking = false;
	s->tls++;
	s->resumed += gnutls_session_is_resumed(p->tls) != 0;
	if (s->implicit)
		reply(p, "220 sink.example ESMTP");
	return put(p) >= 0;
}

static bool serve(struct sink *s, struct peer *p)
{
	ssize_t n = 1;
	int done = 1;

	while (n > 0 && p->out.n < READ_AT_ONCE) {
		n = receive(p);
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return false;
		take(s, p);
		if (!p->tls || p->closing || p->starttls)
			break; /* TLS may have records that poll() does not know of */
	}
	if (s->kills && s->kill_at && p->accepted >= s->kill_at) {
		s->kills--;
		printf("reset %ld %ld\n", p->accepted, p->unanswered);
		p->closing = true;
		buf_reset(&p->out);
		return false;
	}
	done = put(p);
	if (done == 1 && p->starttls) {
		p->starttls = false;
		start_tls(s, p);
	} else if (done == 0) {
		want(s, p, EPOLLOUT);
	}
	return done >= 0 && !p->closing;
}

/* False: it is over. */
static bool event(struct sink *s, struct peer *p, uint32_t events)
{
	if (p->out.n && (events & EPOLLOUT)) {
		const int done = put(p);

		if (done == 1)
			want(s, p, EPOLLIN);
		if (done <= 0 || p->closing)
			return done == 0;
		return !p->tls || !gnutls_record_check_pending(p->tls) || serve(s, p);
	}
	if (p->shaking) {
		if (!shake(s, p))
			return false;
		return p->shaking || !gnutls_record_check_pending(p->tls) || serve(s, p);
	}
	return serve(s, p);
}

static void greet(struct sink *s, int listening)
{
	struct epoll_event e = { .events = EPOLLIN };
	struct peer *p;
	int on = 1, fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	p = calloc(1, sizeof(*p));
	if (!p)
		fail("calloc");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	p->fd = fd;
	p->number = ++s->connections;
	say_time("connection");
	e.data.ptr = p;
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		fail("epoll_ctl");
	if (s->implicit) {
		start_tls(s, p);
		return;
	}
	reply(p, "220 sink.example ESMTP");
	put(p);
}

/* ---- start and end ---- */

static void total(struct sink *s)
{
	printf("total messages=%ld connections=%ld tls=%ld resumed=%ld octets=%llu\n",
	       s->messages, s->connections, s->tls, s->resumed,
	       (unsigned long long)s->octets);
	fflush(stdout);
	if (s->ledger && fclose(s->ledger) != 0)
		fail("ledger");
	_exit(0);
}

static void run(struct sink *s, int listening, int signals)
{
	struct epoll_event e[EVENTS];
	struct epoll_event one = { .events = EPOLLIN, .data.ptr = &listening };

	epoll_ctl(s->epoll, EPOLL_CTL_ADD, listening, &one);
	one.data.ptr = &signals;
	epoll_ctl(s->epoll, EPOLL_CTL_ADD, signals, &one);
	for (;;) {
		const int n = epoll_wait(s->epoll, e, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct peer *p = e[i].data.ptr;

			if (e[i].data.ptr == &signals)
				total(s);
			else if (e[i].data.ptr == &listening)
				greet(s, listening);
			else if (!event(s, p, e[i].events))
				drop(p, s->kill_at && p->accepted >= s->kill_at);
		}
	}
}

static int listener(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (void *)&at, n) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (void *)&at, &n) < 0)
		fail("listen");
	printf("port %d\n", ntohs(at.sin_port));
	return fd;
}

static void options(struct sink *s, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *o = argv[i];
		const int left = argc - i - 1;

		if (!strcmp(o, "-i")) {
			s->implicit = true;
		} else if (!strcmp(o, "-a")) {
			s->auth = true;
		} else if (!strcmp(o, "-e") && left >= 1) {
			s->extensions = argv[++i];
		} else if (!strcmp(o, "-n") && left >= 1) {
			s->count = strtol(argv[++i], NULL, 10);
		} else if (!strcmp(o, "-o") && left >= 1) {
			s->ledger = fopen(argv[++i], "we");
			if (!s->ledger)
				fail(argv[i]);
		} else if (!strcmp(o, "-k") && left >= 2) {
			s->kill_at = strtol(argv[++i], NULL, 10);
			s->kills = strtol(argv[++i], NULL, 10);
		} else if (!strcmp(o, "-s") && left >= 2) {
			if (gnutls_certificate_allocate_credentials(&s->cred) < 0 ||
			    gnutls_certificate_set_x509_key_file(
			        s->cred, argv[i + 1], argv[i + 2], GNUTLS_X509_FMT_PEM) <
			        0 ||
			    gnutls_priority_init(&s->priority, NULL, NULL) < 0 ||
			    gnutls_session_ticket_key_generate(&s->ticket_key) < 0)
				fail("GnuTLS");
			i += 2;
		} else {
			fprintf(stderr, "sink: %s is no option, or incomplete\n", o);
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct sink s = { .extensions = "PIPELINING,CHUNKING,8BITMIME,SIZE 52428800" };
	sigset_t end;

	setvbuf(stdout, NULL, _IOLBF, 0);
	options(&s, argc, argv);
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	signal(SIGPIPE, SIG_IGN);
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s.epoll < 0)
		fail("epoll_create1");
	run(&s, listener(), signalfd(-1, &end, SFD_CLOEXEC));
}
