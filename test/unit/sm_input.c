#include "inject/sm_input.h"
#include "base/clock.h"
#include "base/io.h"
#include "mail/head.h"
#include "inject/sm_sink.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- the dot ---- */

/* What is left of the input, said in the plainest way. */
static struct str dot_rule(struct str s, bool terminal)
{
	static const struct str ends[] = { { ".", 1 }, { ".\n", 2 }, { ".\r\n", 3 } };
	struct str rest = s, line;
	size_t at = 0;

	while (terminal && rest.n) {
		ptrdiff_t lf = str_chr(rest, '\n');

		line = lf < 0 ? rest : str_head(rest, (size_t)lf + 1);
		if (str_eq(line, ends[1]) || str_eq(line, ends[2]))
			return str_head(s, at);
		at += line.n;
		rest = str_from(rest, line.n);
	}
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t n = ends[i].n;

		if (s.n >= n && str_eq(str_from(s, s.n - n), ends[i]) &&
		    (s.n == n || s.p[s.n - n - 1] == '\n'))
			return str_head(s, s.n - n);
	}
	return s;
}

/* Reads text through the source, cut after every byte whose bit is set. */
static void through(struct str text, unsigned cuts, bool terminal, struct buf *ret)
{
	struct sm_source s = SM_SOURCE(-1);
	int pair[2];
	char block[16];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0, from = 0; i < text.n; i++) {
		if (i + 1 < text.n && !(cuts & 1U << i))
			continue;
		assert_int_equal(io_write(pair[1], text.p + from, i + 1 - from), 0);
		from = i + 1;
	}
	close(pair[1]);
	s.fd = pair[0];
	s.dot_ends = true;
	s.terminal = terminal;
	for (;;) {
		ssize_t r = sm_source_read(&s, block, sizeof(block));

		assert_true(r >= 0);
		if (r == 0)
			break;
		buf_add(ret, block, (size_t)r);
	}
	close(pair[0]);
}

/* All texts of up to 5 bytes out of . CR LF x, cut in all ways. */
static void test_dot(void **state)
{
	static const char alphabet[] = ".\r\nx";
	enum { LONGEST = 5 };

	(void)state;
	for (unsigned n = 0; n <= LONGEST; n++) {
		for (unsigned v = 0; v < 1U << (2 * n); v++) {
			char t[LONGEST + 1] = "";
			struct str text = { t, n };

			for (unsigned i = 0; i < n; i++)
				t[i] = alphabet[v >> (2 * i) & 3];
			for (unsigned cuts = 0; cuts < (n ? 1U << (n - 1) : 1); cuts++) {
				_cleanup_buf_ struct buf got = BUF_INIT, why = BUF_INIT;
				bool tty = v % 2 == cuts % 2;

				through(text, cuts, tty, &got);
				buf_escape(&why, text, text.n);
				if (!str_eq(buf_view(&got), dot_rule(text, tty)))
					fail_msg("%s cut %u tty %d", why.p, cuts, tty);
			}
		}
	}
}

static void test_source(void **state)
{
	struct sm_source s = SM_SOURCE(-1);
	char b[16];
	int p[2], stop[2];

	(void)state;
	assert_int_equal(sm_source_read(&s, b, sizeof(b)), -EBADF);
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	s.fd = p[0];
	s.deadline = clock_ms() + 20;
	assert_int_equal(sm_source_read(&s, b, sizeof(b)), -ETIME);
	s.deadline = clock_ms() + 5000;
	s.stop_fd = stop[0];
	assert_int_equal(write(stop[1], "x", 1), 1);
	assert_int_equal(sm_source_read(&s, b, sizeof(b)), -ECANCELED);
	s.stop_fd = -1;
	assert_int_equal(write(p[1], ".", 1), 1);
	assert_int_equal(sm_source_read(&s, b, sizeof(b)), 1);
	close(p[1]);
	assert_int_equal(sm_source_read(&s, b, sizeof(b)), 0);
	assert_int_equal(sm_source_read(&s, b, sizeof(b)), 0);
	close(p[0]);
	close(stop[0]);
	close(stop[1]);
}

/* ---- the header ---- */

static void test_head_rcpts(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "to cc bcc", "To: a@x\nCc: b@x\nBcc: c@x\n\n", "a@x b@x c@x" },
		{ "case", "TO: a@x\ncc: b@x\nbCC: c@x\n", "a@x b@x c@x" },
		{ "several", "To: a@x\nSubject: b@x\nTo: c@x, a@x\n", "a@x c@x" },
		{ "folded", "To: A <a@x>,\n B\n\t<b@x>\nX: c@x\n", "a@x b@x" },
		{ "folded CRLF", "To: A <a@x>,\r\n B <b@x>\r\n\r\n", "a@x b@x" },
		{ "comment", "To: a@x (b@x, c@x)\n", "a@x" },
		{ "quoted comma", "To: \"b@x, c\" <a@x>\n", "a@x" },
		{ "group", "To: g: a@x, b@x;, c@x\n", "a@x b@x c@x" },
		{ "empty group", "To: undisclosed-recipients:;\nBcc: a@x\n", "a@x" },
		{ "blank before colon", "To : a@x\nBcc\t: b@x\n", "a@x b@x" },
		{ "empty", "To:\nCc: \nBcc: a@x\n", "a@x" },
		{ "names alike", "X-To: a@x\nTom: b@x\nApparently-To: c@x\n", "" },
		{ "mbox line", "From me Sat\nTo: a@x\n\n", "a@x" },
		{ "resent", "Resent-To: r@x\nTo: a@x\nBcc: b@x\n", "r@x" },
		{ "resent below", "To: a@x\nresent-bcc: r@x\n", "r@x" },
		{ "resent all",
		  "Resent-To: r@x\nResent-Cc: s@x\nResent-To: t@x\nTo: a@x\n",
		  "r@x s@x t@x" },
		{ "resent from alone", "Resent-From: r@x\nTo: a@x\n", "a@x" },
		{ "resent empty", "Resent-To:\nTo: a@x\n", "" },
		{ "none", "Subject: x\n\n", "" },
		{ "nothing", "", "" },
		{ "bad", "To: a@x, b c, d@x\n", "!To: not a recipient: \"b c, d@x\"" },
		{ "bad only", "Cc: @\n", "!Cc: not a recipient: \"@\"" },
		{ "NUL", "To: a%@x\n", "!To: not a recipient: \"a\\x00@x\"" },
		{ "bare CR", "To: a\rb@x\n", "!To: not a recipient: \"a\\x0db@x\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT, why = BUF_INIT;
		struct sm_rcpts r = SM_RCPTS_INIT;
		int e;

		buf_z(&in, rows[i].in);
		for (size_t k = 0; k < in.n; k++)
			if (in.p[k] == '%')
				in.p[k] = '\0';
		e = sm_head_rcpts(buf_view(&in), &r, &why);
		if (e == EX_DATAERR) {
			buf_c(&got, '!');
			buf_str(&got, buf_view(&why));
		}
		for (size_t k = 0; e == 0 && k < r.n; k++) {
			buf_z(&got, k ? " " : "");
			buf_str(&got, sm_rcpts_at(&r, k));
		}
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: want %s, got %.*s", rows[i].name, rows[i].want,
			         (int)got.n, got.n ? got.p : "");
		sm_rcpts_free(&r);
	}
}

static void test_head_print(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "none", "To: a\n\n", "To: a\n\n" },
		{ "first", "Bcc: b\nTo: a\n\n", "To: a\n\n" },
		{ "last", "To: a\nBcc: b\n\n", "To: a\n\n" },
		{ "only", "Bcc: b\n\n", "\n" },
		{ "no empty line", "To: a\nBcc: b", "To: a\n" },
		{ "folded", "Bcc: b,\n c,\n\td\nTo: a\n\n", "To: a\n\n" },
		{ "several", "bcc: b\nTo: a\nBCC: c\nBcc: d\nX: y\n\n",
		  "To: a\nX: y\n\n" },
		{ "blank", "Bcc : b\nBcc\t: c\nX: y\n", "X: y\n" },
		{ "resent", "Resent-Bcc: b\nResent-To: a\n\n", "Resent-To: a\n\n" },
		{ "CRLF", "To: a\r\nBcc: b,\r\n c\r\n\r\n", "To: a\r\n\r\n" },
		{ "alike", "X-Bcc: b\nBccx: c\n\n", "X-Bcc: b\nBccx: c\n\n" },
		{ "mbox line", "From me\nBcc: b\nTo: a\n", "From me\nTo: a\n" },
		{ "empty", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;

		sm_head_print(&got, str_z(rows[i].in));
		if (!str_eq(buf_view(&got), str_z(rows[i].want)))
			fail_msg("%s: got %.*s", rows[i].name, (int)got.n,
			         got.n ? got.p : "");
	}
}

/* ---- storing ---- */

struct spool {
	char root[100];
};

static int setup(void **state)
{
	static struct spool s;

	snprintf(s.root, sizeof(s.root), "/tmp/mailchute-input-XXXXXX");
	*state = &s;
	unsetenv("LOGNAME");
	unsetenv("USER");
	return mkdtemp(s.root) && chdir(s.root) == 0 && mkdir("in", 0711) == 0 &&
	               mkdir("in/drop", 0777) == 0
	           ? 0
	           : -1;
}

/* Moves everything that is in the drop into b. */
static void collect(struct buf *b)
{
	DIR *d = opendir("in/drop");

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		buf_z(b, e->d_name[0] == 't' ? "UNFINISHED " : "");
		assert_int_equal(io_slurp_at(dirfd(d), e->d_name, b, 64 << 20), 0);
		assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
	}
	closedir(d);
}

static int teardown(void **state)
{
	const struct spool *s = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;

	collect(&b);
	rmdir("in/drop");
	rmdir("in");
	return chdir("/") == 0 ? rmdir(s->root) : -1;
}

static int submit(const char *spool, struct str in, const char *options, size_t block,
                  struct buf *ret)
{
	_cleanup_buf_ struct buf room = BUF_INIT;
	_cleanup_fd_ int fd = io_memfd("input", in);
	struct sm_source s = SM_SOURCE(fd);
	struct sm_args a;
	char *argv[3];
	int e, argc = 0;

	argv[argc++] = str_dup(STR("sendmail"));
	argv[argc++] = str_dup(str_z(options));
	if (!strchr(options, 't'))
		argv[argc++] = str_dup(STR("arg@x"));
	assert_int_equal(sm_args_parse(argc, argv, &a, ret), 0);
	s.dot_ends = !a.dot_is_data;
	e = sm_submit(&s, &a, spool, buf_room(&room, block), block, ret);
	sm_args_free(&a);
	while (argc > 0)
		free(argv[--argc]);
	return e;
}

#define D "mailchute-drop 1\n"

static void test_submit(void **state)
{
	static const struct {
		const char *name, *options, *in, *want;
		int status;
	} rows[] = {
		{ "plain", "-i", "Subject: x\n\nbody\n",
		  D "Rarg@x\n\nSubject: x\n\nbody\n", 0 },
		{ "empty", "-i", "", D "Rarg@x\n\n", 0 },
		{ "no header", "-i", "just text\nmore: text\n",
		  D "Rarg@x\n\njust text\nmore: text\n", 0 },
		{ "no header, bcc in the body", "-i", "just text\nBcc: b@x\n",
		  D "Rarg@x\n\njust text\nBcc: b@x\n", 0 },
		{ "empty line first", "-i", "\nBcc: b@x\n", D "Rarg@x\n\n\nBcc: b@x\n",
		  0 },
		{ "only a header", "-i", "Subject: x\n", D "Rarg@x\n\nSubject: x\n", 0 },
		{ "no last newline", "-i", "S: x\n\nbody", D "Rarg@x\n\nS: x\n\nbody",
		  0 },
		{ "header then text", "-i", "Bcc: b@x\nTo: a\ntext\nBcc: c\n",
		  D "Rarg@x\n\nTo: a\ntext\nBcc: c\n", 0 },
		{ "bcc", "-i", "Bcc: b@x\nTo: a@x\n\nBcc: c@x\n",
		  D "Rarg@x\n\nTo: a@x\n\nBcc: c@x\n", 0 },
		{ "only bcc, then text", "-i", "Bcc: b@x\nFrom the cellar:\n",
		  D "Rarg@x\n\n\nFrom the cellar:\n", 0 },
		{ "CRLF and CR", "-i", "To: a\r\nBcc: b\r\n\r\nx\ry\r\r\n",
		  D "Rarg@x\n\nTo: a\r\n\r\nx\ry\r\r\n", 0 },
		{ "-t", "-it", "To: A <a@x>\nBcc: b@x\n\nbody\n",
		  D "Ra@x\nRb@x\n\nTo: A <a@x>\n\nbody\n", 0 },
		{ "-t resent", "-it", "Resent-To: r@x\nTo: a@x\nBcc: b@x\n\n",
		  D "Rr@x\n\nResent-To: r@x\nTo: a@x\n\n", 0 },
		{ "-t nobody", "-it", "Subject: x\n\nTo: a@x\n", "no recipients",
		  EX_USAGE },
		{ "-t bad", "-it", "To: a@x, b@\n\n", "To: not a recipient: \"b@\"",
		  EX_DATAERR },
		{ "dots are data", "-i", "S: x\n\n.\nmore\n.\n",
		  D "Rarg@x\n\nS: x\n\n.\nmore\n.\n", 0 },
		{ "the last dot", "-oem", "S: x\n\n.\nmore\n.\n",
		  D "Rarg@x\n\nS: x\n\n.\nmore\n", 0 },
		{ "only a dot", "-oem", ".\n", D "Rarg@x\n\n", 0 },
		{ "a dot for a body", "-oem", "S: x\n\n.", D "Rarg@x\n\nS: x\n\n", 0 },
	};
	static const size_t blocks[] = { 8, 9, 13, 40, 200, SM_BLOCK };
	const struct spool *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(blocks); i++) {
		size_t row = i / ARRAY_LEN(blocks), block = blocks[i % ARRAY_LEN(blocks)];
		_cleanup_buf_ struct buf got = BUF_INIT, stored = BUF_INIT;
		int e =
		    submit(s->root, str_z(rows[row].in), rows[row].options, block, &got);

		collect(e == 0 ? &got : &stored);
		if (e != rows[row].status || stored.n ||
		    !str_eq(buf_view(&got), str_z(rows[row].want)))
			fail_msg("%s, block %d: %d: want %s got %s and stored %d",
			         rows[row].name, (int)block, e, rows[row].want, got.p,
			         (int)stored.n);
	}
}

/* Bytes come out as they went in: every one of them, and many. */
static void test_bytes(void **state)
{
	static const size_t sizes[] = { 256,      SM_BLOCK - 40, SM_BLOCK - 8,
		                        SM_BLOCK, SM_BLOCK + 1,  5 * SM_BLOCK };
	const struct spool *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT, want = BUF_INIT;

		buf_z(&in, "S: x\n\n");
		for (size_t k = 0; k < sizes[i]; k++)
			buf_c(&in, (char)(k * 7));
		buf_z(&want, D "Rarg@x\n\n");
		buf_str(&want, buf_view(&in));
		assert_int_equal(submit(s->root, buf_view(&in), "-i", SM_BLOCK, &got), 0);
		collect(&got);
		if (!str_eq(buf_view(&got), buf_view(&want)))
			fail_msg("%d bytes", (int)sizes[i]);
	}
}

static void test_huge_header(void **state)
{
	static const struct {
		const char *name;
		size_t lines;
		int status;
	} rows[] = { { "2 MiB", 20000, 0 }, { "over the limit", 200000, EX_DATAERR } };
	const struct spool *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT, stored = BUF_INIT;
		int e;

		buf_z(&in, "Bcc: secret@x\n");
		for (size_t k = 0; k < rows[i].lines; k++)
			buf_fmt(&in, "X-Field-%090d: x\n", (int)k);
		buf_z(&in, "Bcc: secret@x\nTo: a@x\n\nbody\n");
		e = submit(s->root, buf_view(&in), "-it", SM_BLOCK, &got);
		collect(&stored);
		if (e != rows[i].status || (e != 0) != (stored.n == 0))
			fail_msg("%s: %d, stored %d", rows[i].name, e, (int)stored.n);
		if (e == 0)
			assert_int_equal(stored.n,
			                 in.n - 28 + strlen(D "Rsecret@x\nRa@x\n\n"));
	}
}

/* A megabyte of base64 on one line is no field's name, and no header to be held. */
static void test_long_line(void **state)
{
	enum { LONG = 17 << 20 };
	const struct spool *s = *state;
	_cleanup_buf_ struct buf in = BUF_INIT, got = BUF_INIT;

	memset(buf_room(&in, LONG), 'A', LONG);
	in.n = LONG;
	assert_int_equal(submit(s->root, buf_view(&in), "-i", SM_BLOCK, &got), 0);
	collect(&got);
	assert_int_equal(got.n, LONG + strlen(D "Rarg@x\n\n"));
}

static void test_failures(void **state)
{
	const struct spool *s = *state;
	_cleanup_buf_ struct buf why = BUF_INIT;

	assert_int_equal(submit("/nonexistent", STR("x"), "-i", 64, &why), EX_TEMPFAIL);
	assert_true(str_eq(buf_view(&why), STR("cannot create a file in the spool "
	                                       "\"/nonexistent\": No such file or "
	                                       "directory; nor connect to mailchuted at "
	                                       "\"/nonexistent/socket\": No such file or "
	                                       "directory; is it running?")));
	buf_reset(&why);
	assert_int_equal(chmod("in/drop", 0777), 0);
	assert_int_equal(rmdir("in/drop"), 0);
	assert_int_equal(submit(s->root, STR("x"), "-i", 64, &why), EX_TEMPFAIL);
	assert_int_equal(mkdir("in/drop", 0777), 0);
}

/* ---- the second door ---- */

/* A child that takes one connection, writes all that comes into the file "got" and answers when
 * the input ends with the last chunk. */
static pid_t serve(const char *answer)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static char all[1 << 20];
	size_t n = 0;
	pid_t pid;

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	pid = fork();
	if (pid != 0) {
		close(fd);
		return pid;
	}
	fd = accept(fd, NULL, NULL);
	while (n < sizeof(all)) {
		ssize_t r = read(fd, all + n, sizeof(all) - n);

		if (r <= 0)
			break;
		n += (size_t)r;
		if (n >= 9 && memcmp(all + n - 9, "00000000\n", 9) == 0)
			break;
	}
	(void)io_write(fd, answer, strlen(answer));
	fd = open("got", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	_exit(io_write(fd, all, n) == 0 ? 0 : 1);
}

/* What came, without the request and the chunks' frames. */
static void served(pid_t pid, struct buf *ret, unsigned *ret_chunks)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct str rest, line;
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(io_slurp_at(AT_FDCWD, "got", &all, 1 << 20), 0);
	assert_int_equal(unlink("got"), 0);
	assert_int_equal(unlink("socket"), 0);
	rest = buf_view(&all);
	assert_true(str_cut(&rest, '\n', &line));
	assert_true(str_eq(line, STR("mailchute-socket 1 submit")));
	for (*ret_chunks = 0; str_cut(&rest, '\n', &line) && line.n == 8; ++*ret_chunks) {
		char hex[9] = "";
		size_t n;

		memcpy(hex, line.p, 8);
		n = strtoul(hex, NULL, 16);
		assert_true(n <= SM_CHUNK_MAX && n <= rest.n);
		buf_str(ret, str_head(rest, n));
		rest = str_from(rest, n);
	}
}

static void test_second_door(void **state)
{
	static const struct {
		const char *name, *answer;
		int status;
		const char *why;
	} rows[] = {
		{ "done", "0 done\n", 0, "" },
		{ "refused", "69 too large\n", EX_UNAVAILABLE,
		  "mailchuted does not take the message: too large" },
		{ "no words", "75\n", EX_TEMPFAIL,
		  "mailchuted does not take the message: " },
		{ "lost", "0 do", EX_TEMPFAIL,
		  "the connection to mailchuted was lost before its answer; the message "
		  "may "
		  "have been taken: sent again, it may arrive twice" },
		{ "rubbish", "hello\n", EX_TEMPFAIL,
		  "mailchuted's answer is not understood: \"hello\"; the message may "
		  "have been "
		  "taken" },
	};
	static const size_t sizes[] = { 0, 1, 200, 300, 9000, 300000 };
	const struct spool *s = *state;

	assert_int_equal(rmdir("in/drop"), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(sizes); i++) {
		size_t row = i / ARRAY_LEN(sizes), size = sizes[i % ARRAY_LEN(sizes)];
		_cleanup_buf_ struct buf in = BUF_INIT, why = BUF_INIT, got = BUF_INIT,
		                         want = BUF_INIT;
		pid_t pid = serve(rows[row].answer);
		unsigned chunks;
		int e;

		buf_z(&in, "S: x\n\n");
		for (size_t k = 0; k < size; k++)
			buf_c(&in, (char)(k * 7));
		buf_z(&want, D "Rarg@x\n\n");
		buf_str(&want, buf_view(&in));
		e = submit(s->root, buf_view(&in), "-i", 512, &why);
		served(pid, &got, &chunks);
		if (e != rows[row].status ||
		    !str_eq(buf_view(&why), str_z(rows[row].why)))
			fail_msg("%s, %d octets: %d: %s", rows[row].name, (int)size, e,
			         why.n ? why.p : "");
		if (!str_eq(buf_view(&got), buf_view(&want)))
			fail_msg("%s, %d octets: not what was sent", rows[row].name,
			         (int)size);
	}
	assert_int_equal(mkdir("in/drop", 0777), 0);
}

/* A caller that pauses: mailchuted hears of it again and again, and gets every octet once. */
static void test_pause(void **state)
{
	const struct spool *s = *state;
	_cleanup_buf_ struct buf why = BUF_INIT, got = BUF_INIT, want = BUF_INIT;
	char line[] = "S: x\n\na line of text that is longer than the block\n", block[16];
	char name[] = "sendmail", rcpt[] = "arg@x", *argv[] = { name, rcpt };
	struct sm_source source = SM_SOURCE(-1);
	struct sm_args a;
	unsigned chunks;
	int in[2], status;
	pid_t pid, writer;

	assert_int_equal(rmdir("in/drop"), 0);
	pid = serve("0 done\n");
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	writer = fork();
	if (writer == 0) {
		bool ok = io_write(in[1], line, strlen(line)) == 0;

		nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
		_exit(ok && io_write(in[1], "end\n", 4) == 0 ? 0 : 1);
	}
	close(in[1]);
	source.fd = in[0];
	source.idle_ms = 10;
	assert_int_equal(sm_args_parse(2, argv, &a, &why), 0);
	assert_int_equal(sm_submit(&source, &a, s->root, block, sizeof(block), &why), 0);
	sm_args_free(&a);
	close(in[0]);
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_int_equal(status, 0);
	served(pid, &got, &chunks);
	buf_fmt(&want, D "Rarg@x\n\n%send\n", line);
	assert_true(str_eq(buf_view(&got), buf_view(&want)));
	/* One every 10 ms of the 300, on a slow machine fewer. */
	if (chunks < 8)
		fail_msg("only %u chunks", chunks);
	assert_int_equal(mkdir("in/drop", 0777), 0);
}

/* What is held back comes out in order, whatever the sizes of the pieces. */
static void test_sink(void **state)
{
	static const size_t sizes[] = { 1, 255, 256, 257, 3, 512, 254, 2, 0, 600, 100 };
	const struct spool *s = *state;
	_cleanup_buf_ struct buf why = BUF_INIT, got = BUF_INIT, want = BUF_INIT;
	struct sm_sink k = SM_SINK_INIT;
	unsigned chunks;
	pid_t pid;

	assert_int_equal(rmdir("in/drop"), 0);
	pid = serve("0 done\n");
	assert_int_equal(sm_sink_open(&k, s->root, &why), 0);
	assert_true(k.second);
	for (size_t i = 0; i < ARRAY_LEN(sizes) * 3; i++) {
		char piece[600];

		for (size_t c = 0; c < sizeof(piece); c++)
			piece[c] = (char)(want.n + c * 3);
		buf_add(&want, piece, sizes[i % ARRAY_LEN(sizes)]);
		assert_int_equal(
		    sm_sink_write(&k, piece, sizes[i % ARRAY_LEN(sizes)], &why), 0);
		assert_int_equal(sm_sink_idle(&k, &why), 0);
	}
	for (int i = 0; i < 2 * SM_HELD; i++)
		assert_int_equal(sm_sink_idle(&k, &why), 0);
	assert_int_equal(sm_sink_commit(&k, &why), 0);
	sm_sink_abort(&k);
	served(pid, &got, &chunks);
	assert_true(str_eq(buf_view(&got), buf_view(&want)));
	assert_int_equal(mkdir("in/drop", 0777), 0);
}

#define IN_SPOOL(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dot),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_head_rcpts),
		cmocka_unit_test(test_head_print),
		IN_SPOOL(test_submit),
		IN_SPOOL(test_bytes),
		IN_SPOOL(test_huge_header),
		IN_SPOOL(test_long_line),
		IN_SPOOL(test_failures),
		IN_SPOOL(test_second_door),
		IN_SPOOL(test_pause),
		IN_SPOOL(test_sink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
