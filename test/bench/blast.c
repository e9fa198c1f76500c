/* blast PORT SESSIONS MESSAGES EACH SIZE: so many messages of so many octets to
 * 127.0.0.1:PORT, over so many sessions at a time, EACH of them over one connection; each
 * command waits for its reply, as devices do. Prints the nanoseconds from the first
 * connection to the last reply, or ends with 1 and the words that were no 2xx or 3xx. */
#include "base/str.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

NORETURN static void fail(const char *what)
{
	fprintf(stderr, "blast: %s\n", what);
	exit(1);
}

/* Reads one reply; its class must be as wanted. */
static void reply(int fd, char want)
{
	char text[4096];
	size_t n = 0;

	for (;;) {
		ssize_t r = read(fd, text + n, sizeof(text) - 1 - n);
		char *last;

		if (r <= 0)
			fail("the connection has ended");
		n += (size_t)r;
		text[n] = '\0';
		if (text[n - 1] != '\n')
			continue;
		text[n - 1] = '\0';
		last = strrchr(text, '\n');
		last = last ? last + 1 : text;
		if (strlen(last) < 4 || last[3] == '-') {
			text[n - 1] = '\n';
			continue;
		}
		if (last[0] != want)
			fail(text);
		return;
	}
}

static void say(int fd, const char *text, size_t n, char want)
{
	if (write(fd, text, n) != (ssize_t)n)
		fail("write");
	reply(fd, want);
}

static void say_z(int fd, const char *text, char want)
{
	say(fd, text, strlen(text), want);
}

static int connected(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		                  .sin_port = htons((uint16_t)port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || connect(fd, (void *)&to, sizeof(to)) < 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	reply(fd, '2');
	say_z(fd, "EHLO blast.example\r\n", '2');
	return fd;
}

static void session(int port, long messages, long each, struct str content)
{
	int fd = -1;

	for (long i = 0; i < messages; i++) {
		if (i % each == 0)
			fd = connected(port);
		say_z(fd, "MAIL FROM:<printer@lan.example>\r\n", '2');
		say_z(fd, "RCPT TO:<friend@far.example>\r\n", '2');
		say_z(fd, "DATA\r\n", '3');
		say(fd, content.p, content.n, '2');
		if (i % each == each - 1 || i == messages - 1) {
			say_z(fd, "QUIT\r\n", '2');
			close(fd);
		}
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	_cleanup_buf_ struct buf content = BUF_INIT;
	struct timespec a, b;
	long v[5] = { 0 };
	int bad = 0, status;

	if (argc != 6)
		fail("usage: blast PORT SESSIONS MESSAGES EACH SIZE");
	for (int i = 0; i < 5; i++)
		v[i] = strtol(argv[i + 1], NULL, 10);
	if (v[1] < 1 || v[3] < 1)
		fail("usage");
	buf_z(&content, "From: printer@lan.example\r\nTo: friend@far.example\r\n"
	                "Subject: a page\r\n\r\n");
	while (content.n < (size_t)v[4])
		buf_z(&content, "2024-03-01 02:11:07 page 3 of 7 printed, no error\r\n");
	buf_z(&content, ".\r\n");
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (long i = 0; i < v[1]; i++)
		if (fork() == 0)
			session((int)v[0], v[2] / v[1], v[3], buf_view(&content));
	while (wait(&status) > 0)
		bad |= status;
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (bad)
		return 1;
	printf("%lld\n",
	       (long long)(b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec);
	return 0;
}
