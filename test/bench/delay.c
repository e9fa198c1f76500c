/* delay PORT RTT [RATE]: a line between 127.0.0.1:PORT and whoever connects to the port that it
 * prints ("port N"): octets come through RTT/2 milliseconds later, in each direction, however
 * many are on their way (nothing waits for what is before it), up to WINDOW octets. With RATE
 * (bits a second) all connections share a line of that rate in each direction, full duplex,
 * behind a queue of QUEUE octets; only the payload is counted. A connection is made upstream
 * RTT * 3/2 after it came: so the greeting takes as long as it does on such a line, although
 * connect() ends at once. No slow start, no loss. At SIGTERM "total forth=OCTETS back=OCTETS". */
#include "base/base.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	WINDOW = 4 << 20,
	QUEUE = 16 << 10,
	READ_AT_ONCE = 64 << 10,
	PACKET = 1460, /* what a slow line carries at once */
	EVENTS = 64,
};

struct chunk {
	struct chunk *next;
	int64_t due;
	size_t n, at;
	char bytes[];
};

/* One direction of a connection. */
struct pipe {
	int from, to; /* -1: closed */
	struct chunk *first, **last;
	size_t held;
	bool ended;       /* nothing more comes in */
	bool reset;       /* and that abruptly */
	bool full;        /* the other end does not read */
	int64_t *free_at; /* when the line is free again */
	uint64_t *octets;
};

struct link {
	struct link *next;
	int client, server; /* server -1: not yet */
	int64_t open_at;    /* when it is connected upstream */
	struct pipe forth, back;
};

struct line {
	int epoll, port;
	int64_t half; /* nanoseconds */
	int64_t rate; /* bits a second; 0: none */
	int64_t free_at[2];
	uint64_t octets[2];
	struct link *links;
};

NORETURN static void fail(const char *what)
{
	fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void watch(const struct line *l, int fd, struct link *k, int how)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP,
		                 .data.ptr = k };
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(l->epoll, how, fd, &e) < 0)
		fail("epoll_ctl");
}

static void add(const struct line *l, struct pipe *p, const char *bytes, size_t n)
{
	const int64_t now = now_ns();
	struct chunk *c = malloc(sizeof(*c) + n);

	if (!c)
		die_oom();
	*c = (struct chunk){ .n = n };
	memcpy(c->bytes, bytes, n);
	c->due = now + l->half;
	if (l->rate) {
		if (*p->free_at < now)
			*p->free_at = now;
		*p->free_at += (int64_t)n * 8 * 1000000000 / l->rate;
		c->due = *p->free_at + l->half;
	}
	*p->last = c;
	p->last = &c->next;
	p->held += n;
	*p->octets += n;
}

/* Reads all there is and there is room for. */
static void fill(const struct line *l, struct pipe *p)
{
	const size_t room = l->rate ? QUEUE : WINDOW,
	             most = l->rate ? PACKET : READ_AT_ONCE;
	char bytes[READ_AT_ONCE];

	while (!p->ended && p->held < room) {
		const ssize_t n = read(p->from, bytes, most);

		if (n > 0)
			add(l, p, bytes, (size_t)n);
		else if (n < 0 && errno == EAGAIN)
			return;
		else
			p->ended = true;
		p->reset |= n < 0;
	}
}

static void empty(struct pipe *p)
{
	while (p->first) {
		struct chunk *c = p->first;

		p->first = c->next;
		free(c);
	}
	p->last = &p->first;
	p->held = 0;
}

/* Writes what is due; *wake is when there is more. What was on its way still comes when one
 * end has died. False: all has come, and the connection was reset. */
static bool drain(struct pipe *p, int64_t now, int64_t *wake)
{
	while (p->first && p->first->due <= now && !p->full) {
		struct chunk *c = p->first;
		const ssize_t n = write(p->to, c->bytes + c->at, c->n - c->at);

		if (n < 0 && errno == EAGAIN) {
			p->full = true;
		} else if (n < 0) {
			empty(p);
			break;
		} else {
			c->at += (size_t)n;
		}
		if (c->at < c->n)
			continue;
		p->held -= c->n;
		p->first = c->next;
		if (!p->first)
			p->last = &p->first;
		free(c);
	}
	if (p->first && !p->full && p->first->due < *wake)
		*wake = p->first->due;
	if (!p->first && p->ended && p->to >= 0) {
		if (!p->reset)
			shutdown(p->to, SHUT_WR);
		p->to = -1;
	}
	return p->to >= 0 || !p->reset;
}

static bool upstream(const struct line *l, struct link *k)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		                  .sin_port = htons((uint16_t)l->port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (connect(fd, (void *)&to, sizeof(to)) < 0 && errno != EINPROGRESS))
		return false;
	k->server = fd;
	k->forth.from = k->back.to = k->client;
	k->forth.to = k->back.from = fd;
	k->forth.full = true; /* until it is connected */
	watch(l, fd, k, EPOLL_CTL_ADD);
	return true;
}

static bool move(const struct line *l, struct link *k, int64_t *wake)
{
	const int64_t now = now_ns();

	if (k->server < 0) {
		if (now < k->open_at) {
			if (k->open_at < *wake)
				*wake = k->open_at;
			return true;
		}
		if (!upstream(l, k))
			return false;
	}
	for (int i = 0; i < 2; i++) {
		struct pipe *p = i ? &k->back : &k->forth;

		fill(l, p);
		if (!drain(p, now, wake))
			return false;
		fill(l, p);
		if (p->first && !p->full && p->first->due < *wake)
			*wake = p->first->due;
	}
	return k->forth.to >= 0 || k->back.to >= 0;
}

static void arrive(struct line *l, int listening)
{
	struct link *k;
	int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	k = calloc(1, sizeof(*k));
	if (!k)
		die_oom();
	k->client = fd;
	k->server = -1;
	k->open_at = now_ns() + 3 * l->half;
	k->forth.last = &k->forth.first;
	k->back.last = &k->back.first;
	k->forth.free_at = &l->free_at[0];
	k->back.free_at = &l->free_at[1];
	k->forth.octets = &l->octets[0];
	k->back.octets = &l->octets[1];
	k->next = l->links;
	l->links = k;
	watch(l, fd, k, EPOLL_CTL_ADD);
}

/* All connections; the time at which there is something to do. */
static int64_t move_all(struct line *l)
{
	int64_t wake = INT64_MAX;

	for (struct link **at = &l->links; *at;) {
		struct link *k = *at;
		const struct linger abrupt = { .l_onoff = 1 };

		if (move(l, k, &wake)) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		if (k->forth.to >= 0 || k->back.to >= 0 || k->server < 0)
			setsockopt(k->client, SOL_SOCKET, SO_LINGER, &abrupt,
			           sizeof(abrupt));
		close(k->client);
		if (k->server >= 0)
			close(k->server);
		empty(&k->forth);
		empty(&k->back);
		free(k);
	}
	return wake;
}

static void note(struct link *k, uint32_t events)
{
	if (events & EPOLLOUT)
		k->forth.full = k->back.full = false; /* the next write tells */
}

static void run(struct line *l, int listening, int signals)
{
	struct epoll_event e[EVENTS], one = { .events = EPOLLIN, .data.ptr = &listening };

	epoll_ctl(l->epoll, EPOLL_CTL_ADD, listening, &one);
	one.data.ptr = &signals;
	epoll_ctl(l->epoll, EPOLL_CTL_ADD, signals, &one);
	for (;;) {
		const int64_t wake = move_all(l), left = wake - now_ns();
		const struct timespec t = { .tv_sec = left > 0 ? left / 1000000000 : 0,
			                    .tv_nsec = left > 0 ? left % 1000000000 : 0 };
		const int n = epoll_pwait2(l->epoll, e, EVENTS,
		                           wake == INT64_MAX ? NULL : &t, NULL);

		for (int i = 0; i < n; i++) {
			if (e[i].data.ptr == &signals) {
				printf("total forth=%llu back=%llu\n",
				       (unsigned long long)l->octets[0],
				       (unsigned long long)l->octets[1]);
				return;
			}
			if (e[i].data.ptr == &listening)
				arrive(l, listening);
			else
				note(e[i].data.ptr, e[i].events);
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct line l = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t n = sizeof(at);
	sigset_t end;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: delay PORT RTT [RATE]\n");
		return 2;
	}
	l.port = (int)strtol(argv[1], NULL, 10);
	l.half = strtol(argv[2], NULL, 10) * 500000;
	l.rate = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (fd < 0 || bind(fd, (void *)&at, n) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (void *)&at, &n) < 0)
		fail("listen");
	printf("port %d\n", ntohs(at.sin_port));
	fflush(stdout);
	run(&l, fd, signalfd(-1, &end, SFD_CLOEXEC));
	return 0;
}
