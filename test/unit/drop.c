#include "spool/drop.h"
#include "base/io.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_ROOM = 200 };

/* A spool of its own for every test; the test runs inside of it. */
struct spool {
	char root[PATH_ROOM];
	int wake;
};

static int setup(void **state)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	snprintf(s->root, sizeof(s->root), "/tmp/mailchute-drop-XXXXXX");
	if (!mkdtemp(s->root) || chdir(s->root) < 0 || mkdir("in", 0711) < 0 ||
	    mkdir("in/drop", 0777) < 0 || chmod("in/drop", 03777) < 0 ||
	    mkfifo("in/wake", 0622) < 0)
		return -1;
	s->wake = open("in/wake", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	*state = s;
	return s->wake < 0 ? -1 : 0;
}

/* The names in a folder, sorted enough for one or none: joined. */
static void list(struct buf *b, const char *path)
{
	DIR *d = opendir(path);

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.') {
			buf_z(b, e->d_name);
			buf_c(b, ' ');
		}
	closedir(d);
}

static size_t count(const char *path)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t n = 0;

	list(&b, path);
	for (size_t i = 0; i < b.n; i++)
		n += b.p[i] == ' ';
	return n;
}

static int teardown(void **state)
{
	struct spool *s = *state;
	DIR *d = opendir("in/drop");

	for (struct dirent *e; d && (e = readdir(d));)
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	close(s->wake);
	rmdir("in/drop");
	unlink("in/drop");
	unlink("in/wake");
	unlink("in/target");
	rmdir("in");
	if (chdir("/") < 0)
		return -1;
	rmdir(s->root);
	free(s);
	return 0;
}

static void read_back(const struct id *id, struct buf *b)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof(path), "in/drop/%s", id->c);
	assert_int_equal(io_slurp_at(AT_FDCWD, path, b, 1 << 20), 0);
}

static size_t wakes(const struct spool *s)
{
	char b[100];
	ssize_t r = read(s->wake, b, sizeof(b));

	for (ssize_t i = 0; i < r; i++)
		assert_int_equal(b[i], 'w');
	return r < 0 ? 0 : (size_t)r;
}

static void test_commit(void **state)
{
	static const mode_t masks[] = { 0, 022, 077, 0777 };
	const struct spool *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct drop d = DROP_INIT;
		char path[PATH_ROOM];
		struct stat st;
		mode_t was = umask(masks[i]);

		assert_int_equal(drop_begin(&d, s->root), 0);
		umask(was);
		assert_int_equal(drop_write(&d, "hello ", 6), 0);
		assert_int_equal(drop_write(&d, "world", 5), 0);
		assert_int_equal(count("in/drop"), i + 1);
		assert_int_equal(wakes(s), 0);
		assert_int_equal(drop_commit(&d), 0);
		assert_int_equal(wakes(s), 1);
		read_back(&d.id, &got);
		assert_true(str_eq(buf_view(&got), STR("hello world")));
		snprintf(path, sizeof(path), "in/drop/%s", d.id.c);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0640);
		assert_int_equal(st.st_nlink, 1);
		drop_abort(&d); /* too late: the message stays */
		assert_int_equal(d.fd, -1);
		assert_int_equal(count("in/drop"), i + 1);
	}
}

static void test_signals_blocked(void **state)
{
	const struct spool *s = *state;
	struct drop d = DROP_INIT;
	sigset_t was, now;

	sigprocmask(SIG_SETMASK, NULL, &was);
	assert_int_equal(drop_begin(&d, s->root), 0);
	assert_int_equal(drop_commit(&d), 0);
	sigprocmask(SIG_SETMASK, &was, &now);
	assert_true(sigismember(&now, SIGTERM) && sigismember(&now, SIGALRM));
	drop_abort(&d);
}

static void test_abort(void **state)
{
	const struct spool *s = *state;
	struct drop d = DROP_INIT;

	drop_abort(&d);
	assert_int_equal(drop_begin(&d, s->root), 0);
	assert_int_equal(count("in/drop"), 1);
	drop_abort(&d);
	drop_abort(&d);
	assert_int_equal(count("in/drop"), 0);
	assert_int_equal(wakes(s), 0);
}

/* Another message of the same id is never replaced. */
static void test_taken(void **state)
{
	const struct spool *s = *state;
	_cleanup_buf_ struct buf got = BUF_INIT;
	struct drop d = DROP_INIT;
	struct id first;
	char path[PATH_ROOM];
	int fd;

	assert_int_equal(drop_begin(&d, s->root), 0);
	first = d.id;
	snprintf(path, sizeof(path), "in/drop/%s", d.id.c);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && io_write(fd, "theirs", 6) == 0);
	close(fd);
	assert_int_equal(drop_write(&d, "ours", 4), 0);
	assert_int_equal(drop_commit(&d), 0);
	assert_true(id_cmp(&first, &d.id) != 0);
	read_back(&d.id, &got);
	assert_true(str_eq(buf_view(&got), STR("ours")));
	buf_reset(&got);
	read_back(&first, &got);
	assert_true(str_eq(buf_view(&got), STR("theirs")));
	assert_int_equal(count("in/drop"), 2);
	drop_abort(&d);
}

static void test_full(void **state)
{
	static const struct {
		const char *name;
		rlim_t limit;
	} rows[] = { { "nothing fits", 0 }, { "one octet", 1 }, { "not all", 9 } };
	const struct spool *s = *state;
	struct rlimit was, now;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drop d = DROP_INIT;
		int written, committed;

		assert_int_equal(drop_begin(&d, s->root), 0);
		now = was;
		now.rlim_cur = rows[i].limit;
		setrlimit(RLIMIT_FSIZE, &now);
		written = drop_write(&d, "0123456789", 10);
		setrlimit(RLIMIT_FSIZE, &was);
		committed = drop_commit(&d); /* the caller forgot to look */
		if (written != -EFBIG || committed != -EIO || count("in/drop") != 0)
			fail_msg("%s: write %d, commit %d", rows[i].name, written,
			         committed);
	}
}

/* The file vanished (somebody removed it): nothing may be claimed. */
static void test_vanished(void **state)
{
	const struct spool *s = *state;
	struct drop d = DROP_INIT;
	char path[PATH_ROOM];

	assert_int_equal(drop_begin(&d, s->root), 0);
	snprintf(path, sizeof(path), "in/drop/t.%s", d.temp.c);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(drop_commit(&d), -ENOENT);
	assert_int_equal(wakes(s), 0);
}

static void test_refused(void **state)
{
	const struct spool *s = *state;
	_cleanup_buf_ struct buf longer = BUF_INIT;
	struct drop d = DROP_INIT;

	for (int i = 0; i < 5000; i++)
		buf_c(&longer, '/');
	assert_int_equal(drop_begin(&d, "/nonexistent/spool"), -ENOENT);
	assert_int_equal(drop_begin(&d, longer.p), -ENAMETOOLONG);
	assert_int_equal(drop_begin(&d, "/dev/null"), -ENOTDIR);
	rmdir("in/drop");
	assert_int_equal(drop_begin(&d, s->root), -ENOENT);
	assert_int_equal(d.fd, -1);
}

/* With 0, 1 and 2 closed no file of the spool may land there. */
static void test_closed(void **state)
{
	const struct spool *s = *state;
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		struct drop d = DROP_INIT;

		close(0);
		close(1);
		close(2);
		_exit(drop_begin(&d, s->root) == 0 && d.fd > 2 && d.dir > 2 &&
		              fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 &&
		              fcntl(2, F_GETFD) < 0 &&
		              fcntl(d.fd, F_GETFD) == FD_CLOEXEC &&
		              drop_write(&d, "x", 1) == 0 && drop_commit(&d) == 0
		          ? 0
		          : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(count("in/drop"), 1);
}

static void test_few_descriptors(void **state)
{
	const struct spool *s = *state;

	for (rlim_t limit = 3; limit < 8; limit++) {
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (child == 0) {
			struct rlimit l = { limit, limit };
			struct drop d = DROP_INIT;

			close(0);
			setrlimit(RLIMIT_NOFILE, &l);
			_exit(drop_begin(&d, s->root) == 0 ? 1 : 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		if (status == 0 && count("in/drop") != 0)
			fail_msg("limit %d: a file was left", (int)limit);
		if (status != 0)
			break;
	}
}

/* drop_wake() touches nothing but a FIFO that somebody listens to. */
static void test_wake(void **state)
{
	static const char *const kinds[] = { "file", "link", "nothing", "no listener" };
	struct spool *s = *state;
	int in = drop_open_in(s->root), null;
	struct stat st;

	assert_true(in > 2);
	drop_wake(in, 'w');
	assert_int_equal(wakes(s), 1);
	null = open("in/target", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	close(null);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		unlink("in/wake");
		if (i == 0)
			assert_int_equal(link("in/target", "in/wake"), 0);
		if (i == 1)
			assert_int_equal(symlink("target", "in/wake"), 0);
		if (i == 3)
			assert_int_equal(mkfifo("in/wake", 0622), 0);
		drop_wake(in, 'w');
		assert_int_equal(stat("in/target", &st), 0);
		if (st.st_size != 0)
			fail_msg("%s was written to", kinds[i]);
		if (i == 2 && access("in/wake", F_OK) == 0)
			fail_msg("%s: was made", kinds[i]);
	}
	close(in);
}

static void test_ids(void **state)
{
	enum { MANY = 200 };
	const struct spool *s = *state;
	struct drop d[MANY];

	for (int i = 0; i < MANY; i++) {
		assert_int_equal(drop_begin(&d[i], s->root), 0);
		assert_true(id_ok(d[i].id.c));
	}
	assert_int_equal(count("in/drop"), MANY);
	for (int i = 0; i < MANY; i++)
		drop_abort(&d[i]);
	assert_int_equal(count("in/drop"), 0);
}

static void door(const char *text)
{
	int fd = open("in/door", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0 && io_write(fd, text, strlen(text)) == 0);
	close(fd);
}

#define HEAD "mailchute-door 1\n"
#define LATER "%lld"

/* Before anything is written; as a user, for root is not shut out. */
static void test_door(void **state)
{
	static const struct {
		const char *name, *text;
		int seconds; /* until when, from now */
		bool root;
		const char *refusal;
	} rows[] = {
		{ "open", HEAD, 0, false, NULL },
		{ "shut", HEAD "shut %lld the spool is full\n", 60, false,
		  "the spool is full" },
		{ "shut for others", HEAD "shut %lld the spool is full\n", 60, true,
		  NULL },
		{ "was shut", HEAD "shut %lld the spool is full\n", -1, false, NULL },
		{ "this user", HEAD "user 65534 %lld enough\n", 60, false, "enough" },
		{ "another user", HEAD "user 65533 %lld enough\n", 60, false, NULL },
		{ "damaged", HEAD "shut %lld the spool is full", 60, false, NULL },
		{ "empty", "", 60, false, NULL },
	};
	const struct spool *s = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(s->root, 0755), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf text = BUF_INIT;
		struct drop d = DROP_INIT;
		const char *at = strstr(rows[i].text, LATER);
		size_t front = at ? (size_t)(at - rows[i].text) : strlen(rows[i].text);
		int e, want = rows[i].refusal ? -EBUSY : 0;

		buf_add(&text, rows[i].text, front);
		if (at) {
			buf_fmt(&text, "%lld", (long long)time(NULL) + rows[i].seconds);
			buf_z(&text, at + strlen(LATER));
		}
		door(text.p);
		if (!rows[i].root)
			assert_int_equal(seteuid(65534), 0);
		e = drop_begin(&d, s->root);
		assert_int_equal(seteuid(0), 0);
		if (e != want || count("in/drop") != (e == 0) ||
		    (want && !str_eq(d.refusal, str_z(rows[i].refusal))))
			fail_msg("%s: %d, %.*s", rows[i].name, e, (int)d.refusal.n,
			         d.refusal.p);
		drop_abort(&d);
		assert_int_equal(count("in/drop"), 0);
	}
}

static int drop_one(const struct spool *s, struct drop_keep *k)
{
	struct drop d = DROP_INIT;
	int e = drop_begin_kept(&d, s->root, k);

	if (e == 0)
		e = drop_write(&d, "hello", 5);
	if (e == 0)
		e = drop_commit(&d);
	drop_abort(&d);
	return e;
}

/* One after the other, with what need not be opened anew: the door is another one at once, and so
 * is the FIFO of another mailchuted; the folder after DROP_KEEP_MS. */
static void test_kept(void **state)
{
	static const char small[] = HEAD "size 3\n", large[] = HEAD "size 9\n";
	struct spool *s = *state;
	struct drop_keep k = DROP_KEEP_INIT;
	sigset_t was;
	int dir;

	sigprocmask(SIG_SETMASK, NULL, &was);
	assert_int_equal(drop_one(s, &k), 0);
	dir = k.dir;
	assert_true(dir > 2);
	door(small);
	assert_int_equal(drop_one(s, &k), -EFBIG);
	door(large);
	assert_int_equal(drop_one(s, &k), 0);
	door(small);
	assert_int_equal(rename("in/door", "in/target"), 0);
	door(large);
	assert_int_equal(rename("in/target", "in/door"), 0);
	assert_int_equal(drop_one(s, &k), -EFBIG);
	assert_int_equal(unlink("in/door"), 0);
	assert_int_equal(drop_one(s, &k), 0);
	assert_int_equal(k.dir, dir);
	assert_int_equal(wakes(s), 3);
	assert_int_equal(count("in/drop"), 3);
	/* mailchuted has gone, and comes back. */
	close(s->wake);
	assert_int_equal(drop_one(s, &k), 0);
	unlink("in/wake");
	assert_int_equal(mkfifo("in/wake", 0622), 0);
	s->wake = open("in/wake", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(drop_one(s, &k), 0);
	assert_int_equal(wakes(s), 1);
	assert_int_equal(rename("in/drop", "in/target"), 0);
	assert_int_equal(mkdir("in/drop", 0777), 0);
	k.from -= DROP_KEEP_MS;
	assert_int_equal(drop_one(s, &k), 0);
	assert_int_equal(count("in/drop"), 1);
	assert_int_equal(count("in/target"), 5);
	drop_keep_close(&k);
	sigprocmask(SIG_SETMASK, &was, NULL);
	/* For the teardown. */
	assert_int_equal(rename("in/drop", "in/target/drop"), 0);
	assert_int_equal(rename("in/target", "in/drop"), 0);
	assert_int_equal(system("rm -r in/drop/drop"), 0);
}

/* Whatever is in the door's place, it holds nobody up. */
static void test_no_door(void **state)
{
	static const char *const kinds[] = { "nothing", "folder", "FIFO", "link" };
	const struct spool *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct drop d = DROP_INIT;

		if (i == 1)
			assert_int_equal(mkdir("in/door", 0700), 0);
		if (i == 2)
			assert_int_equal(mkfifo("in/door", 0644), 0);
		if (i == 3)
			assert_int_equal(symlink("/dev/zero", "in/door"), 0);
		if (drop_begin(&d, s->root) != 0 || drop_commit(&d) != 0)
			fail_msg("%s: refused", kinds[i]);
		drop_abort(&d);
		if (i)
			assert_int_equal(remove("in/door"), 0);
	}
}

/* A drop of the largest size goes through, one octet more does not, however it is written;
 * and what is over is not stored. */
static void test_too_large(void **state)
{
	static const struct {
		const char *name;
		size_t size, piece;
		int want;
	} rows[] = {
		{ "the largest", 100, 100, 0 },
		{ "the largest, bit by bit", 100, 1, 0 },
		{ "one more", 101, 101, -EFBIG },
		{ "one more, bit by bit", 101, 1, -EFBIG },
		{ "much more", 100000, 1000, -EFBIG },
	};
	const struct spool *s = *state;

	door(HEAD "size 100\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		static const char zero[1000];
		struct drop d = DROP_INIT;
		struct stat st;
		size_t before = count("in/drop");
		int e;

		assert_int_equal(drop_begin(&d, s->root), 0);
		for (size_t n = 0; n < rows[i].size; n += rows[i].piece)
			assert_int_equal(drop_write(&d, zero, rows[i].piece), 0);
		assert_int_equal(fstat(d.fd, &st), 0);
		assert_true(st.st_size <= 100);
		e = drop_commit(&d);
		if (e != rows[i].want || d.limit != 100 ||
		    count("in/drop") != before + (e == 0))
			fail_msg("%s: %d", rows[i].name, e);
		drop_abort(&d);
	}
}

/* Drops that are never finished leave the floor free, too; on the disk of test_floors(). */
static void test_unfinished(const struct spool *s)
{
	enum { FLOOR = 900000, WRITERS = 3 };
	static char block[100000];
	struct drop d[WRITERS] = { DROP_INIT, DROP_INIT, DROP_INIT };
	bool full[WRITERS] = { false };
	struct statvfs v;

	door(HEAD "free 900000 0\n");
	assert_int_equal(unlink("in/fill"), 0);
	assert_int_equal(seteuid(65534), 0);
	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(drop_begin(&d[i], s->root), 0);
	assert_int_equal(drop_room(&d[0]), 0);
	for (int n = 0; n < 200; n++)
		for (size_t i = 0; i < WRITERS; i++) {
			int e = full[i] ? 0 : drop_write(&d[i], block, sizeof(block));

			assert_true(e == 0 || e == -ENOSPC);
			full[i] |= e < 0;
		}
	assert_true(full[0] && full[1] && full[2]);
	assert_int_equal(statvfs("in", &v), 0);
	if (v.f_bavail * v.f_frsize < FLOOR)
		fail_msg("%llu octets left",
		         (unsigned long long)(v.f_bavail * v.f_frsize));
	for (size_t i = 0; i < WRITERS; i++)
		drop_abort(&d[i]);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(count("in/drop"), 0);
}

/* The floors of the door, on a small disk of its own: a sixteenth of it at most; root goes to
 * half of that. */
static void test_floors(void **state)
{
	enum { DISK = 16 << 20, PART = DISK / 16 };
	static const struct {
		const char *name, *text;
		int64_t left; /* free when the drop is committed, about */
		bool root;
		int want;
	} rows[] = {
		{ "no door", "", PART / 2, false, 0 },
		{ "a floor below", HEAD "free 300000 0\n", PART / 2, false, 0 },
		{ "a floor above", HEAD "free 900000 0\n", PART / 2, false, -ENOSPC },
		{ "half of it, root", HEAD "free 900000 0\n", PART / 2, true, 0 },
		{ "too high a floor", HEAD "free 99999999999 0\n", 2 * PART, false, 0 },
		{ "too high a floor, less", HEAD "free 99999999999 0\n", PART * 3 / 4,
		  false, -ENOSPC },
		{ "too high a floor, root", HEAD "free 99999999999 0\n", PART * 3 / 4,
		  true, 0 },
		{ "inodes", HEAD "free 0 999999999\n", 4 * PART, false, 0 },
	};
	struct spool *s = *state;
	char path[PATH_ROOM + 8];

	snprintf(path, sizeof(path), "%s/in", s->root);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", path, "tmpfs", 0, "size=16m,mode=0755") < 0)
		skip();
	assert_int_equal(mkdir("in/drop", 0777), 0);
	assert_int_equal(chmod("in/drop", 03777), 0);
	assert_int_equal(chmod(s->root, 0755), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drop d = DROP_INIT;
		int fd = open("in/fill", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), e;

		assert_true(fd >= 0 && posix_fallocate(fd, 0, DISK - rows[i].left) == 0);
		close(fd);
		door(rows[i].text);
		if (!rows[i].root)
			assert_int_equal(seteuid(65534), 0);
		assert_int_equal(drop_begin(&d, s->root), 0);
		assert_int_equal(drop_write(&d, "x", 1), 0);
		e = drop_commit(&d);
		if (e == 0)
			unlinkat(d.dir, d.id.c, 0);
		drop_abort(&d);
		assert_int_equal(seteuid(0), 0);
		if (e != rows[i].want || count("in/drop") != 0)
			fail_msg("%s: %d", rows[i].name, e);
	}
	test_unfinished(s);
	assert_int_equal(umount(path), 0);
}

#define IN_SPOOL(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SPOOL(test_commit),  IN_SPOOL(test_signals_blocked),
		IN_SPOOL(test_abort),   IN_SPOOL(test_taken),
		IN_SPOOL(test_full),    IN_SPOOL(test_vanished),
		IN_SPOOL(test_refused), IN_SPOOL(test_closed),
		IN_SPOOL(test_wake),    IN_SPOOL(test_few_descriptors),
		IN_SPOOL(test_ids),     IN_SPOOL(test_door),
		IN_SPOOL(test_no_door), IN_SPOOL(test_too_large),
		IN_SPOOL(test_floors),  IN_SPOOL(test_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
