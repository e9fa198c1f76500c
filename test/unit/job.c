#include "base/io.h"
#include "prog/job.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID "0123456789abcdef"

/* Every record there is, frozen. */
static void golden(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	struct str rest, line;
	struct job_record r;
	unsigned n = 0;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "test/golden/job-1", &file, 65536), 0);
	rest = buf_view(&file);
	while (rest.n && str_cut(&rest, '\n', &line)) {
		if (!job_parse(line, &r))
			fail_msg("%.*s", (int)line.n, line.p);
		n++;
	}
	assert_int_equal(n, 19);
}

static void parse(void **state)
{
	static const struct {
		const char *name, *in;
		bool want;
		const char *verb, *id;
		uint32_t due;
		const char *rest;
	} rows[] = {
		{ "job", "job " ID " 00000000", true, "job", ID, 0, "" },
		{ "job with note", "job " ID " 01aeb9d3 note", true, "job", ID, 0x1aeb9d3,
		  "note" },
		{ "s", "s " ID " ffffffff", true, "s", ID, 0xffffffff, "" },
		{ "s, blank behind", "s " ID " ffffffff ", true, "s", ID, 0xffffffff,
		  "" },
		{ "ok", "ok " ID " 00000001 250 ", true, "ok", ID, 1, "250 " },
		{ "p", "p " ID " 00000001 mailchute-note 1", true, "p", ID, 1,
		  "mailchute-note 1" },
		{ "n, empty line", "n " ID " 00000001 ", true, "n", ID, 1, "" },
		{ "n, blanks kept", "n " ID " 00000001  a  b ", true, "n", ID, 1,
		  " a  b " },
		{ "dsn", "dsn " ID " 00000001 3", true, "dsn", ID, 1, "3" },
		{ "end", "end " ID " 00000001 later 5", true, "end", ID, 1, "later 5" },
		{ "host", "host CONNECT 0 no reply", true, "host", "", 0,
		  "CONNECT 0 no reply" },
		{ "host alone", "host", true, "host", "", 0, "" },
		{ "up", "up relay=a", true, "up", "", 0, "relay=a" },
		{ "log", "log w text", true, "log", "", 0, "w text" },
		{ "secret", "secret", true, "secret", "", 0, "" },
		{ "stop", "stop", true, "stop", "", 0, "" },
		{ "learned", "learned s=1", true, "learned", "", 0, "s=1" },
		{ "ticket", "ticket abc", true, "ticket", "", 0, "abc" },
		{ "slow", "slow 60", true, "slow", "", 0, "60" },
		{ "took", "took 3 5", true, "took", "", 0, "3 5" },
		{ "empty", "", false, "", "", 0, "" },
		{ "blank", " ", false, "", "", 0, "" },
		{ "blank in front", " s " ID " 00000001", false, "", "", 0, "" },
		{ "unknown", "nothing " ID " 00000001", false, "", "", 0, "" },
		{ "part of a verb", "hos", false, "", "", 0, "" },
		{ "more than a verb", "hosts", false, "", "", 0, "" },
		{ "capitals", "OK " ID " 00000001", false, "", "", 0, "" },
		{ "no id", "ok", false, "", "", 0, "" },
		{ "empty id", "ok  00000001", false, "", "", 0, "" },
		{ "short id", "ok 0123456789abcde 00000001", false, "", "", 0, "" },
		{ "long id", "ok " ID "0 00000001", false, "", "", 0, "" },
		{ "id in capitals", "ok 0123456789ABCDEF 00000001", false, "", "", 0,
		  "" },
		{ "path as id", "ok ../../../../etc/ 00000001", false, "", "", 0, "" },
		{ "no due", "ok " ID, false, "", "", 0, "" },
		{ "empty due", "ok " ID " ", false, "", "", 0, "" },
		{ "short due", "ok " ID " 0000001", false, "", "", 0, "" },
		{ "long due", "ok " ID " 000000001", false, "", "", 0, "" },
		{ "due in capitals", "ok " ID " 0000000A", false, "", "", 0, "" },
		{ "signed due", "ok " ID " -0000001", false, "", "", 0, "" },
		{ "tab", "ok\t" ID "\t00000001", false, "", "", 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct job_record rec;
		bool got = job_parse(str_z(rows[i].in), &rec);

		if (got != rows[i].want)
			fail_msg("%s: %s", rows[i].name, got ? "accepted" : "refused");
		if (got && (!str_eq(rec.verb, str_z(rows[i].verb)) ||
		            strcmp(rec.id.c, rows[i].id) != 0 || rec.due != rows[i].due ||
		            !str_eq(rec.rest, str_z(rows[i].rest))))
			fail_msg("%s: verb %.*s id %s due %08x rest '%.*s'", rows[i].name,
			         (int)rec.verb.n, rec.verb.p, rec.id.c, rec.due,
			         (int)rec.rest.n, rec.rest.p);
	}
}

/* Every line of one octet changed, cut or added: nothing breaks (under the sanitizers),
 * and what is accepted has an id that is one. */
static void parse_changed(void **state)
{
	static const char line[] = "end " ID " 00000001 later 5";

	(void)state;
	for (size_t at = 0; at < sizeof(line) - 1; at++)
		for (unsigned c = 0; c < 256; c++) {
			char *copy = str_dup(str_z(line));
			struct job_record rec;

			copy[at] = (char)c;
			if (job_parse((struct str){ copy, sizeof(line) - 1 }, &rec) &&
			    !id_ok(rec.id.c))
				fail_msg("octet %zu is %u: id '%s'", at, c, rec.id.c);
			free(copy);
		}
	for (size_t n = 0; n < sizeof(line); n++) {
		char *copy = malloc(n + 1);
		struct job_record rec;

		assert_non_null(copy);
		memcpy(copy, line, n);
		if (job_parse((struct str){ copy, n }, &rec) != (n >= 29))
			fail_msg("cut to %zu", n);
		free(copy);
	}
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino &&
	       sa.st_dev == sb.st_dev;
}

static void packets(void **state)
{
	static const struct {
		const char *name, *text;
		size_t fds;
	} rows[] = { { "text", "up x\n", 0 },
		     { "one", "job\n", 1 },
		     { "two", "job note\n", 2 },
		     { "none again", "stop\n", 0 } };
	_cleanup_buf_ struct buf text = BUF_INIT;
	int pair[2], file[2], fds[JOB_FDS_MAX];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(pipe(file), 0);
	assert_int_equal(job_recv(pair[1], &text, fds), -EAGAIN);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
		    job_send(pair[0], str_z(rows[i].text), file, rows[i].fds), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ssize_t n = job_recv(pair[1], &text, fds);

		if (n != (ssize_t)strlen(rows[i].text) ||
		    strcmp(text.p, rows[i].text) != 0)
			fail_msg("%s: %zd octets", rows[i].name, n);
		for (size_t f = 0; f < JOB_FDS_MAX; f++) {
			if ((fds[f] >= 0) != (f < rows[i].fds))
				fail_msg("%s: descriptor %zu is %d", rows[i].name, f,
				         fds[f]);
			if (fds[f] >= 0 && (!same_file(fds[f], file[f]) ||
			                    !(fcntl(fds[f], F_GETFD) & FD_CLOEXEC)))
				fail_msg("%s: descriptor %zu is another", rows[i].name,
				         f);
			cleanup_fd(&fds[f]);
		}
	}
	close(pair[0]);
	assert_int_equal(job_recv(pair[1], &text, fds), 0);
	/* The other side is gone: an error, not a signal. */
	assert_int_equal(job_send(pair[1], STR("x"), NULL, 0), -EPIPE);
	close(pair[1]);
	close(file[0]);
	close(file[1]);
}

/* A peer that was taken over sends more descriptors, and more text, than there may be. */
static void too_much(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 10)];
		struct cmsghdr align;
	} space = { 0 };
	struct iovec iov = { .iov_base = &(char[]){ "many" }, .iov_len = 4 };
	struct msghdr m = { .msg_iov = &iov,
		            .msg_iovlen = 1,
		            .msg_control = space.bytes,
		            .msg_controllen = sizeof(space.bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int pair[2], fds[JOB_FDS_MAX], size = 1 << 20, before, after;
	char *big = calloc(1, JOB_PACKET_MAX + 100);

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * 10);
	for (int i = 0; i < 10; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &pair[0], sizeof(int));
	before = dup(0);
	close(before);
	assert_int_equal(sendmsg(pair[0], &m, 0), 4);
	assert_int_equal(job_recv(pair[1], &text, fds), 4);
	for (size_t i = 0; i < JOB_FDS_MAX; i++) {
		assert_true(fds[i] >= 0);
		close(fds[i]);
	}
	after = dup(0);
	close(after);
	assert_int_equal(before, after);

	assert_non_null(big);
	memset(big, 'x', JOB_PACKET_MAX + 100);
	assert_int_equal(
	    job_send(pair[0], (struct str){ big, JOB_PACKET_MAX + 100 }, NULL, 0), 0);
	assert_int_equal(job_recv(pair[1], &text, fds), JOB_PACKET_MAX);
	assert_int_equal(text.n, JOB_PACKET_MAX);
	free(big);
	close(pair[0]);
	close(pair[1]);
}

/* Many in one call, each with its own descriptors; as many as there is room for. */
static void many(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct job_packet v[JOB_MANY_MAX];
	int pair[2], file[2], fds[JOB_FDS_MAX], n, sent = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(pipe(file), 0);
	for (int i = 0; i < JOB_MANY_MAX; i++) {
		v[i] = (struct job_packet){ .fds = { file[i % 2], file[(i + 1) % 2] },
			                    .n = (unsigned)(i % 3) };
		snprintf(v[i].text, sizeof(v[i].text), "job %d\n", i);
	}
	assert_int_equal(job_send_many(pair[0], v, JOB_MANY_MAX), JOB_MANY_MAX);
	for (int i = 0; i < JOB_MANY_MAX; i++) {
		assert_true(job_recv(pair[1], &text, fds) > 0);
		assert_string_equal(text.p, v[i].text);
		for (unsigned k = 0; k < JOB_FDS_MAX; k++) {
			assert_int_equal(fds[k] >= 0, k < v[i].n);
			if (fds[k] >= 0)
				assert_true(same_file(fds[k], v[i].fds[k]));
			cleanup_fd(&fds[k]);
		}
	}
	while ((n = job_send_many(pair[0], v, JOB_MANY_MAX)) > 0 && sent < 100000)
		sent += n;
	assert_int_equal(n, -EAGAIN);
	for (int i = 0; i < sent; i++) {
		assert_true(job_recv(pair[1], &text, fds) > 0);
		assert_string_equal(text.p, v[i % JOB_MANY_MAX].text);
		cleanup_fd(&fds[0]);
		cleanup_fd(&fds[1]);
	}
	assert_int_equal(job_recv(pair[1], &text, fds), -EAGAIN);
	close(pair[1]);
	assert_int_equal(job_send_many(pair[0], v, 1), -EPIPE);
	close(pair[0]);
	close(file[0]);
	close(file[1]);
}

static void full(void **state)
{
	char text[1000];
	int pair[2], e = 0, n = 0;

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	while (e == 0 && n++ < 100000)
		e = job_send(pair[0], (struct str){ text, sizeof(text) }, NULL, 0);
	assert_int_equal(e, -EAGAIN);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),        cmocka_unit_test(parse),
		cmocka_unit_test(parse_changed), cmocka_unit_test(packets),
		cmocka_unit_test(too_much),      cmocka_unit_test(full),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
