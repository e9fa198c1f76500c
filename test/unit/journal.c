#include "spoolbed.h"

struct heard {
	unsigned n;
	struct buf all;
};

static void hear(void *arg, struct str line)
{
	struct heard *h = arg;

	h->n++;
	buf_str(&h->all, line);
	buf_c(&h->all, '|');
}

static bool is_it(void *arg, const struct id *id)
{
	return id_cmp(arg, id) == 0;
}

static void create(void **state)
{
	struct bed *b = *state;
	struct heard h = { 0, BUF_INIT };
	char route[QUEUE_ROUTE_MAX + 1];
	struct id id = nth(1);
	struct stat st;
	int fd = journal_create(&b->s, &id, "isp");

	assert_true(fd >= 0);
	assert_string_equal(content(in("run", &id, "")), "mailchute-run 1 isp\n");
	assert_int_equal(stat(in("run", &id, ""), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_APPEND);
	assert_int_equal(journal_read(&b->s, &id, hear, &h), 0);
	assert_int_equal(h.n, 0);
	/* Each write goes to the end, whoever else has moved there. */
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(io_write(fd, "one\n", 4), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(io_write(fd, "two\n", 4), 0);
	close(fd);
	assert_int_equal(journal_create(&b->s, &id, "isp"), -EEXIST);
	assert_int_equal(journal_read(&b->s, &id, hear, &h), 0);
	assert_true(str_eq(buf_view(&h.all), STR("one|two|")));
	assert_int_equal(journal_route(&b->s, &id, route), 0);
	assert_string_equal(route, "isp");
	journal_remove(&b->s, &id);
	assert_int_equal(journal_read(&b->s, &id, hear, &h), -ENOENT);
	assert_int_equal(journal_route(&b->s, &id, route), -ENOENT);
	buf_free(&h.all);
}

#define R16 "0123456789abcdef"
#define R64 R16 R16 R16 R16

static void read_back(void **state)
{
	static const struct {
		const char *name, *in, *want; /* want: what is heard */
		int e, route_e;
		const char *route;
	} rows[] = {
		{ "no record", "mailchute-run 1 r\n", "", 0, 0, "r" },
		{ "whole", "mailchute-run 1 r\na b\nc\n", "a b|c|", 0, 0, "r" },
		{ "torn last line", "mailchute-run 1 r\na b\nc", "a b|", 0, 0, "r" },
		{ "empty line", "mailchute-run 1 r\n\nc\n", "|c|", 0, 0, "r" },
		{ "empty file", "", "", 0, -ENODATA, "" },
		{ "torn first line", "mailchute-run 1 r", "", 0, -ENODATA, "" },
		{ "torn in the word", "mailch", "", 0, -ENODATA, "" },
		{ "unknown version", "mailchute-run 2 r\na\n", "", -EBADMSG, -EBADMSG,
		  "" },
		{ "something else", "a\nb\n", "", -EBADMSG, -EBADMSG, "" },
		{ "no route", "mailchute-run 1 \n", "", 0, -EBADMSG, "" },
		{ "another folder", "mailchute-run 1 a/b\n", "", 0, -EBADMSG, "" },
		{ "upwards", "mailchute-run 1 ..\n", "", 0, -EBADMSG, "" },
		{ "64 octets", "mailchute-run 1 " R64 "\n", "", 0, 0, R64 },
		{ "65 octets", "mailchute-run 1 " R64 "x\n", "", 0, -EBADMSG, "" },
		{ "200 octets", "mailchute-run 1 " R64 R64 R64 "\n", "", 0, -EBADMSG,
		  "" },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct heard h = { 0, BUF_INIT };
		char route[QUEUE_ROUTE_MAX + 1] = "";
		struct id id = nth((unsigned)i);
		int e, route_e;

		put(in("run", &id, ""), str_z(rows[i].in), 0600);
		e = journal_read(&b->s, &id, hear, &h);
		route_e = journal_route(&b->s, &id, route);
		if (e != rows[i].e || route_e != rows[i].route_e)
			fail_msg("%s: %d, route %d", rows[i].name, e, route_e);
		if (strcmp(route, rows[i].route) != 0)
			fail_msg("%s: route '%s'", rows[i].name, route);
		if (!str_eq(buf_view(&h.all), str_z(rows[i].want)))
			fail_msg("%s: heard %.*s", rows[i].name, (int)h.all.n, h.all.p);
		buf_free(&h.all);
	}
}

/* Longer than what is read at once, lines across the border, one line longer than it. */
static void big(void **state)
{
	struct bed *b = *state;
	_cleanup_buf_ struct buf text = BUF_INIT, want = BUF_INIT;
	struct heard h = { 0, BUF_INIT };
	struct id id = nth(1);

	buf_z(&text, "mailchute-run 1 r\n");
	for (unsigned i = 0; i < 20000; i++) {
		buf_fmt(&text, "line %u\n", i);
		buf_fmt(&want, "line %u|", i);
	}
	for (unsigned i = 0; i < 60000; i++) {
		buf_c(&text, 'x');
		buf_c(&want, 'x');
	}
	buf_z(&text, "\ntorn");
	buf_c(&want, '|');
	put(in("run", &id, ""), buf_view(&text), 0600);
	assert_int_equal(journal_read(&b->s, &id, hear, &h), 0);
	assert_int_equal(h.n, 20001);
	assert_true(str_eq(buf_view(&h.all), buf_view(&want)));
	buf_free(&h.all);
	/* Longer than anything that push can say: what is behind it is no journal's. */
	for (unsigned i = 0; i < 200000; i++)
		buf_c(&text, 'x');
	put(in("run", &id, ""), buf_view(&text), 0600);
	h.n = 0;
	assert_int_equal(journal_read(&b->s, &id, hear, &h), -EBADMSG);
	assert_int_equal(h.n, 20001);
	buf_free(&h.all);
}

static void find(void **state)
{
	struct bed *b = *state;
	struct id one = nth(1), two = nth(2), three = nth(3), got;

	assert_int_equal(journal_find(&b->s, NULL, NULL, NULL, &got), 0);
	put("run/junk", STR(""), 0600);
	assert_int_equal(journal_find(&b->s, NULL, NULL, NULL, &got), 0);
	put(in("run", &three, ""), STR(""), 0600);
	put(in("run", &one, ""), STR(""), 0600);
	put(in("run", &two, ""), STR(""), 0600);
	assert_int_equal(journal_find(&b->s, NULL, NULL, NULL, &got), 1);
	assert_string_equal(got.c, one.c);
	assert_int_equal(journal_find(&b->s, is_it, &one, NULL, &got), 1);
	assert_string_equal(got.c, two.c);
	assert_int_equal(journal_find(&b->s, NULL, NULL, &two, &got), 1);
	assert_string_equal(got.c, three.c);
	assert_int_equal(journal_find(&b->s, NULL, NULL, &three, &got), 0);
	journal_remove(&b->s, &one);
	journal_remove(&b->s, &three);
	assert_int_equal(journal_find(&b->s, NULL, NULL, NULL, &got), 1);
	assert_string_equal(got.c, two.c);
	assert_int_equal(journal_find(&b->s, is_it, &two, NULL, &got), 0);
	/* A symbolic link is not followed. */
	journal_remove(&b->s, &two);
	assert_int_equal(symlink("../lock", in("run", &one, "")), 0);
	assert_int_equal(journal_read(&b->s, &one, hear, NULL), -ELOOP);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = { T(create), T(read_back), T(big), T(find) };

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
