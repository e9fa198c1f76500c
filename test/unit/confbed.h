/* confbed.h - a scratch folder with files that a configuration can name. Every test works in
 * one; "@/" in a text stands for its path. */
#include "conf/table.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/mailchute-conf-XXXXXX";

static void put(const char *name, struct str content, mode_t mode)
{
	_cleanup_buf_ struct buf path = BUF_INIT;

	buf_fmt(&path, "%s/%s", dir, name);
	unlink(path.p);
	{
		_cleanup_fd_ int fd = open(path.p, O_WRONLY | O_CREAT | O_EXCL, 0600);

		assert_true(fd >= 0);
		assert_int_equal(io_write(fd, content.p, content.n), 0);
		assert_int_equal(fchmod(fd, mode), 0);
	}
}

/* Loads a text; "@/" in it becomes the folder. */
static int load(const char *text, struct conf *c, struct buf *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT, file = BUF_INIT;

	for (const char *p = text; *p; p++) {
		if (p[0] == '@' && p[1] == '/')
			buf_z(&file, dir);
		else
			buf_c(&file, *p);
	}
	put("conf", buf_view(&file), 0600);
	buf_fmt(&path, "%s/conf", dir);
	return conf_load(path.p, c, err);
}

/* Must be refused, with want in what stands behind the file's name; right behind it when
 * want begins with ':'. */
static inline void refused_row(const char *name, const char *in, const char *want)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;
	const char *text, *at;

	if (load(in, &c, &err) != -EINVAL)
		fail_msg("%s: not refused", name);
	text = err.p + strlen(dir) + strlen("/conf");
	at = strstr(text, want);
	if (!at || (want[0] == ':' && at != text))
		fail_msg("%s: wanted \"%s\", got:\n%s", name, want, err.p);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	put("pw", STR("secret\n"), 0600);
	put("open", STR("secret\n"), 0644);
	put("empty", STR(""), 0600);
	put("ca", STR("-----BEGIN CERTIFICATE-----\n"), 0644);
	put("pem", STR("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"),
	    0600);
	put("words", STR("[failed]\nIt did not work.\n"), 0644);
	put("map", STR("ann@box.example a@example.org\n"), 0644);
	put("bad-map", STR("# x\nann@box.example\n"), 0644);
	put("bad-words", STR("[failed]\n\n100% sure\n"), 0644);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "pw",    "open",      "empty",   "ca",
		                             "words", "bad-words", "conf",    "big",
		                             "link",  "map",       "bad-map", "pem" };
	_cleanup_buf_ struct buf path = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		buf_reset(&path);
		buf_fmt(&path, "%s/%s", dir, names[i]);
		unlink(path.p);
	}
	return rmdir(dir);
}
