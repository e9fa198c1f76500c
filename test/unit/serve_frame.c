#include "servebed.h"
#include "base/io.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ID "0123456789abcdef"
#define ID2 "fedcba9876543210"
#define DROP "mailchute-drop 1\nFa@example.org\nRbob@example.net\n\nhello\n"

static void requests(void **state)
{
	static const struct {
		const char *name, *in;
		int want; /* the verb, or -1 */
		enum request_format format;
		bool all, recompose;
		const char *route;
		unsigned ids;
	} rows[] = {
		{ "submit", "1 submit", REQUEST_SUBMIT, .route = "" },
		{ "list", "1 list", REQUEST_LIST, .route = "" },
		{ "list all mailq", "1 list all mailq", REQUEST_LIST, REQUEST_MAILQ, true,
		  .route = "" },
		{ "list json", "1 list json", REQUEST_LIST, REQUEST_JSON, .route = "" },
		{ "show", "1 show " ID, REQUEST_SHOW, .route = "", .ids = 1 },
		{ "show json", "1 show " ID " json", REQUEST_SHOW, REQUEST_JSON,
		  .route = "", .ids = 1 },
		{ "flush", "1 flush", REQUEST_FLUSH, .route = "" },
		{ "flush hub", "1 flush hub", REQUEST_FLUSH, .route = "hub" },
		{ "hold two", "1 hold " ID " " ID2, REQUEST_HOLD, .route = "", .ids = 2 },
		{ "release all", "1 release all", REQUEST_RELEASE, .all = true,
		  .route = "" },
		{ "delete", "1 delete " ID, REQUEST_DELETE, .route = "", .ids = 1 },
		{ "retry", "1 retry " ID, REQUEST_RETRY, .route = "", .ids = 1 },
		{ "recompose", "1 retry recompose " ID, REQUEST_RETRY, .recompose = true,
		  .route = "", .ids = 1 },
		{ "recompose all", "1 retry recompose all", REQUEST_RETRY,
		  .recompose = true, .all = true, .route = "" },
		{ "nothing", "", .want = -1 },
		{ "no verb", "1", .want = -1 },
		{ "empty verb", "1 ", .want = -1 },
		{ "version 2", "2 submit", .want = -1 },
		{ "version 11", "11 submit", .want = -1 },
		{ "unknown verb", "1 steal " ID, .want = -1 },
		{ "part of a verb", "1 lis", .want = -1 },
		{ "capitals", "1 LIST", .want = -1 },
		{ "submit with more", "1 submit x", .want = -1 },
		{ "submit, blank", "1 submit ", .want = -1 },
		{ "two blanks", "1  submit", .want = -1 },
		{ "list, unknown format", "1 list xml", .want = -1 },
		{ "list, two formats", "1 list json text", .want = -1 },
		{ "list, all last", "1 list json all", .want = -1 },
		{ "list, blank", "1 list ", .want = -1 },
		{ "show nothing", "1 show", .want = -1 },
		{ "show two", "1 show " ID " " ID2, .want = -1 },
		{ "show all", "1 show all", .want = -1 },
		{ "show a path", "1 show ../../etc/passwd.", .want = -1 },
		{ "show mailq", "1 show " ID " mailq", .want = -1 },
		{ "flush two", "1 flush a b", .want = -1 },
		{ "flush, blank", "1 flush ", .want = -1 },
		{ "hold nothing", "1 hold", .want = -1 },
		{ "hold, blank", "1 hold ", .want = -1 },
		{ "hold a short id", "1 hold 0123456789abcde", .want = -1 },
		{ "hold in capitals", "1 hold 0123456789ABCDEF", .want = -1 },
		{ "hold good and bad", "1 hold " ID " x", .want = -1 },
		{ "hold all and one", "1 hold all " ID, .want = -1 },
		{ "hold, blank behind", "1 hold " ID " ", .want = -1 },
		{ "hold recompose", "1 hold recompose " ID, .want = -1 },
		{ "recompose nothing", "1 retry recompose", .want = -1 },
		{ "CR", "1 list\r", .want = -1 },
		{ "TAB", "1\tlist", .want = -1 },
		{ "escape", "1 flush \x1b[2J", .want = -1 },
		{ "high bit", "1 flush \xc3\xa4", .want = -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf line = BUF_INIT;
		struct request r = { .route = STR("") };
		const char *why = NULL;
		struct id id;
		unsigned ids = 0;
		int e;

		buf_fmt(&line, "mailchute-socket %s", rows[i].in);
		e = request_parse(buf_view(&line), &r, &why);
		if (rows[i].want < 0) {
			if (e != -EINVAL || !why)
				fail_msg("%s: %d", rows[i].name, e);
			continue;
		}
		if (e < 0)
			fail_msg("%s: %s", rows[i].name, why);
		if ((int)r.verb != rows[i].want || r.format != rows[i].format ||
		    r.all != rows[i].all || r.recompose != rows[i].recompose ||
		    !str_eq(r.route, str_z(rows[i].route)))
			fail_msg("%s: verb %d format %d all %d recompose %d route %.*s",
			         rows[i].name, (int)r.verb, (int)r.format, r.all,
			         r.recompose, (int)r.route.n, r.route.p);
		while (request_id(&r, &id))
			ids++;
		if (ids != rows[i].ids)
			fail_msg("%s: %u ids", rows[i].name, ids);
	}
}

static void other_protocol(void **state)
{
	static const char *const rows[] = { "", "mailchute-socket", "GET / HTTP/1.0",
		                            "mailchute-sockets 1 list", "EHLO x" };
	_cleanup_buf_ struct buf line = BUF_INIT;
	struct request r;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (request_parse(str_z(rows[i]), &r, &why) != -EINVAL)
			fail_msg("taken: %s", rows[i]);
	buf_z(&line, "mailchute-socket 1 hold " ID);
	while (line.n < REQUEST_MAX)
		buf_z(&line, " " ID);
	assert_int_equal(request_parse(buf_view(&line), &r, &why), -EINVAL);
	buf_cut(&line, 24 + 16 + 17 * ((REQUEST_MAX - 1 - 40) / 17));
	assert_int_equal(request_parse(buf_view(&line), &r, &why), 0);
}

/* Feeds frames in pieces of `step` octets; what they carry goes to ret. CHUNK_MORE, CHUNK_END
 * or -errno. */
static int feed(struct str all, size_t step, struct buf *ret)
{
	struct chunks c = { .head = 0 };
	int r = CHUNK_MORE;

	while (r == CHUNK_MORE && all.n) {
		struct str part = str_head(all, step), data;

		all = str_from(all, part.n);
		while ((r = chunk_next(&c, &part, &data)) == CHUNK_DATA)
			buf_str(ret, data);
	}
	return r;
}

static void chunks(void **state)
{
	static const struct {
		const char *name, *in;
		int want;
		const char *data;
	} rows[] = {
		{ "none", "", CHUNK_MORE, "" },
		{ "commit", "00000000\n", CHUNK_END, "" },
		{ "one", "00000003\nabc00000000\n", CHUNK_END, "abc" },
		{ "two", "00000001\na00000002\nbc00000000\n", CHUNK_END, "abc" },
		{ "like a commit", "00000009\n00000000\n00000000\n", CHUNK_END,
		  "00000000\n" },
		{ "behind the commit", "00000000\nxyz", CHUNK_END, "" },
		{ "sixteen", "00000010\n0123456789abcdef00000000\n", CHUNK_END,
		  "0123456789abcdef" },
		{ "cut in the head", "0000000", CHUNK_MORE, "" },
		{ "cut before LF", "00000000", CHUNK_MORE, "" },
		{ "cut in the data", "00000003\nab", CHUNK_MORE, "ab" },
		{ "cut before the commit", "00000003\nabc", CHUNK_MORE, "abc" },
		{ "the largest", "ffffffff\nabc", CHUNK_MORE, "abc" },
		{ "capitals", "0000000A\n", -EBADMSG, "" },
		{ "no digits", "mailchute-drop 1\n", -EBADMSG, "" },
		{ "short", "0003\nabc", -EBADMSG, "" },
		{ "long", "000000003\nabc", -EBADMSG, "" },
		{ "CRLF", "00000003\r\nabc", -EBADMSG, "" },
		{ "sign", "-0000003\nabc", -EBADMSG, "" },
		{ "blank", " 0000003\nabc", -EBADMSG, "" },
		{ "NUL length", "0x000003\nabc", -EBADMSG, "" },
		{ "too much data", "00000002\nabc00000000\n", -EBADMSG, "ab" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t step = 1; step < 40; step++) {
			_cleanup_buf_ struct buf got = BUF_INIT;
			int r = feed(str_z(rows[i].in), step, &got);

			if (r != rows[i].want ||
			    !str_eq(buf_view(&got), str_z(rows[i].data)))
				fail_msg("%s, by %zu: %d '%s'", rows[i].name, step, r,
				         got.n ? got.p : "");
		}
}

static int watch(struct str all, size_t step, const char **why)
{
	struct drop_watch w;
	int e = 0;

	drop_watch_begin(&w);
	while (e == 0 && all.n) {
		e = drop_watch_feed(&w, str_head(all, step), why);
		all = str_from(all, step);
	}
	if (e == 0)
		e = drop_watch_end(&w, why);
	drop_watch_free(&w);
	return e;
}

static void drops(void **state)
{
	static const struct {
		const char *name, *in;
		int want;
	} rows[] = {
		{ "good", DROP, 0 },
		{ "no body", "mailchute-drop 1\nRbob\n\n", 0 },
		{ "body with empty lines", "mailchute-drop 1\nRbob\n\n\n\nx\n\n", 0 },
		{ "null sender", "mailchute-drop 1\nF\nRbob\n\nx", 0 },
		{ "nothing", "", -EBADMSG },
		{ "empty line", "\n", -EBADMSG },
		{ "empty line in front", "\n" DROP, -EBADMSG },
		{ "no recipient", "mailchute-drop 1\nFa@b\n\nx", -EBADMSG },
		{ "no end", "mailchute-drop 1\nRbob\n", -EBADMSG },
		{ "attested lines", "mailchute 1\nU0 root\nT0\n" DROP, -EBADMSG },
		{ "attested lines within", "mailchute-drop 1\nU0 root\nRbob\n\nx",
		  -EBADMSG },
		{ "version 2", "mailchute-drop 2\nRbob\n\nx", -EBADMSG },
		{ "bad recipient", "mailchute-drop 1\nRbob>\r\n\nx", -EBADMSG },
		{ "a bare message", "Subject: x\n\nhello\n", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t step = 1; step < 60; step++) {
			const char *why = NULL;
			int e = watch(str_z(rows[i].in), step, &why);

			if (e != rows[i].want || (e && !why))
				fail_msg("%s, by %zu: %d %s", rows[i].name, step, e,
				         why ? why : "");
		}
}

/* An envelope of the largest size, one that is larger, and one without an end: memory and
 * time are bounded, also octet by octet. */
static void large(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *why = NULL;

	(void)state;
	buf_z(&b, "mailchute-drop 1\n");
	for (unsigned i = 0; i < ENVELOPE_RCPT_MAX; i++)
		buf_fmt(&b, "Rrecipient-%050u@example.net\n", i);
	buf_c(&b, '\n');
	assert_true(b.n < ENVELOPE_MAX);
	assert_int_equal(watch(buf_view(&b), 65536, &why), 0);
	assert_int_equal(watch(buf_view(&b), 1, &why), 0);
	buf_cut(&b, b.n - 1);
	buf_z(&b, "Rone-more\n\n");
	assert_int_equal(watch(buf_view(&b), 65536, &why), -EBADMSG);
	buf_reset(&b);
	buf_z(&b, "mailchute-drop 1\nR");
	while (b.n < ENVELOPE_MAX + 100)
		buf_z(&b, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	assert_int_equal(watch(buf_view(&b), 65536, &why), -EBADMSG);
	assert_string_equal(why, "the envelope is too long");
}

/* Every request there is, and a submission. Frozen. */
static void golden(void **state)
{
	_cleanup_buf_ struct buf file = BUF_INIT, got = BUF_INIT;
	struct str rest, line = STR("");
	const char *why = "";
	struct request r;
	unsigned n = 0;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "test/golden/socket-1", &file, 65536), 0);
	rest = buf_view(&file);
	while (str_cut(&rest, '\n', &line) && line.n) {
		if (request_parse(line, &r, &why) < 0)
			fail_msg("%.*s: %s", (int)line.n, line.p, why);
		n++;
	}
	assert_int_equal(n, 22);
	assert_int_equal(feed(rest, 7, &got), CHUNK_END);
	assert_string_equal(got.p, "mailchute-drop 1\nF\"eddy moe\"@example.org\n"
	                           "Rbob@example.net\n\nhello\n\n");
	assert_int_equal(watch(buf_view(&got), 3, &why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests), cmocka_unit_test(other_protocol),
		cmocka_unit_test(chunks),   cmocka_unit_test(drops),
		cmocka_unit_test(large),    cmocka_unit_test(golden),
	};

	return cmocka_run_group_tests_name("serve_frame", tests, NULL, NULL);
}
