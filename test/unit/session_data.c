/* Smuggling at our door: each way through a session into a real drop. */
#include "sessionbed.h"
#include "smuggle.h"

/* The message of a drop, behind the empty line. */
static struct str content_of(const char *drop)
{
	const char *at = strstr(drop, "\n\n");

	assert_non_null(at);
	return str_z(at + 2);
}

/* How many lines of the envelope begin with this letter. */
static size_t lines_with(const char *drop, char letter)
{
	struct str rest = str_z(drop), line;
	size_t n = 0;

	while (str_cut(&rest, '\n', &line) && line.n)
		n += line.p[0] == letter;
	return n;
}

/* Reads it anew: a drop may hold NUL. */
static struct str whole_drop(struct buf *b)
{
	DIR *d = opendir("in/drop");
	char path[300] = "";
	struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			snprintf(path, sizeof(path), "in/drop/%s", e->d_name);
			n++;
		}
	closedir(d);
	buf_reset(b);
	if (n != 1)
		return STR_NONE;
	assert_int_equal(io_slurp_at(AT_FDCWD, path, b, 1 << 20), 0);
	unlink(path);
	return buf_view(b);
}

/* cut: the content goes out in two pieces, with a pause; by any way it is one message, and
 * what comes after it is answered as if nothing was. */
static void run_variant(struct sessionbed *b, const struct variant *v, size_t cut)
{
	_cleanup_buf_ struct buf in = BUF_INIT, want = BUF_INIT, drop = BUF_INIT;
	struct str got, content;

	buf_z(&in, "Subject: harmless\r\n\r\nhello");
	buf_str(&in, v->end);
	buf_z(&in, SMUGGLED END);
	assert_int_equal(reference(buf_view(&in), &want), in.n);
	buf_cut(&want, want.n - 1); /* its | */
	sb_say(b, v->name, "MAIL FROM:<good@x>\r\nRCPT TO:<good@y>\r\nDATA\r\n", "354 ");
	sb_write(b, str_head(buf_view(&in), cut));
	if (cut < in.n)
		poll(NULL, 0, 5);
	sb_write(b, str_from(buf_view(&in), cut));
	sb_hear(b, "250 ");
	if (!sb_ends(&b->out, "250 ") || strchr(b->out.p, '\n')[1])
		fail_msg("%s: not one reply: %s", v->name, b->out.p);
	sb_say(b, v->name, "NOOP\r\n", "250 2.0.0 Nothing done");
	if (strchr(b->out.p, '\n')[1])
		fail_msg("%s: another reply: %s", v->name, b->out.p);
	got = whole_drop(&drop);
	if (!got.n)
		fail_msg("%s: not one drop", v->name);
	if (lines_with(got.p, 'R') != 1 || !strstr(got.p, "\nFgood@x\nRgood@y\n\n"))
		fail_msg("%s: another envelope: %s", v->name, got.p);
	content = content_of(got.p);
	content.n = got.n - (size_t)(content.p - got.p);
	if (!str_eq(content, buf_view(&want)))
		fail_msg("%s: another content", v->name);
}

static void test_variants(void **state)
{
	struct sessionbed b;

	assert_true(ARRAY_LEN(variants) > 40);
	sb_init(&b, *state);
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "EHLO", "EHLO evil\r\n", "250 ");
	for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
		size_t head = strlen("Subject: harmless\r\n\r\nhello");

		run_variant(&b, &variants[i], SIZE_MAX);
		/* In the middle of what is no end, and right behind it. */
		run_variant(&b, &variants[i], head + variants[i].end.n / 2);
		run_variant(&b, &variants[i], head + variants[i].end.n);
	}
	sb_end(&b);
}

/* A strict end is one: else the test above could not fail. */
static void test_real_end(void **state)
{
	struct sessionbed b;

	sb_init(&b, *state);
	sb_start(&b);
	sb_hear(&b, "220 ");
	sb_say(&b, "DATA", "MAIL FROM:<good@x>\r\nRCPT TO:<good@y>\r\nDATA\r\n", "354 ");
	sb_write(&b,
	         STR("hello" END "MAIL FROM:<evil@x>\r\nRCPT TO:<evil@y>\r\nDATA\r\n"));
	sb_hear(&b, "354 ");
	sb_say(&b, "its content", "boo" END, "250 ");
	assert_int_equal(count("in/drop"), 2);
	sb_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_variants, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_real_end, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
