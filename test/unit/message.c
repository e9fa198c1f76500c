/* Messages as push and the router have them: planned, planned anew, split. */
#include "push/message.h"
#include "base/io.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define ID "0123456789abcdef"
#define OTHER "0000000000000abc"
#define FILE_(envelope)                                                      \
	"mailchute 1\nU1000 eddy Eddy\nT900000\nmailchute-drop 1\n" envelope \
	"\nFrom: e@x.example\nSubject: s\n\nbody\n"
#define ABC "Fold@x.example\nRa@far.example\nRb@far.example\nRc\n"
#define PLAN(recipients) "mailchute-note 1\nSvery.old@x.example\n" recipients ".\n"
#define A "Pisp a@far.example\n"
#define B "Pisp b@far.example\n"
#define C "Pisp c@x.example\n"
#define C_OLD "Pisp c@old.example\n"

static int memory(const char *text)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text, strlen(text)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static int load(struct message *m, const char *file, const char *note, const char **why)
{
	const struct compose_conf c = { .hostname = STR("box.example.org"),
		                        .domain = STR("x.example") };
	struct job_record job = { .due = 7 };

	assert_true(id_from(STR(ID), &job.id));
	return message_load(m, &job, memory(file), note ? memory(note) : -1, &c, why);
}

/* A note in; what a new one would be, the recipients that wait, and whether it is new. */
static void test_note(void **state)
{
	static const struct {
		const char *name, *note, *want;
		size_t pending;
		bool noted;
		unsigned tries;
		const char *told; /* of each recipient: y or n */
	} rows[] = {
		{ .name = "none",
		  NULL,
		  "mailchute-note 1\nSold@x.example\n" A B C ".\n",
		  3,
		  false,
		  0,
		  "nnn" },
		{ .name = "kept as it is",
		  PLAN(A B) "r 1 D 5 250 ok\ne 5\n",
		  PLAN(A B),
		  1,
		  true,
		  1,
		  "nn" },
		{ .name = "anew",
		  PLAN(A B C_OLD) "r 1 T 5 450 x\ne 5\nc 6\n",
		  "mailchute-note 1\nSold@x.example\n" A B C ".\ne 5\n",
		  3,
		  false,
		  1,
		  "nnn" },
		{ .name = "what is settled stays",
		  PLAN(
		      C_OLD B A) "r 1 F 5 550 gone\nr 2 D 5 250 ok\nb 1\nr 3 F 5 550 no\n"
		                 "e 5\nw 6\nd 7 lost\nc 8\n",
		  "mailchute-note 1\nSold@x.example\n" A B C
		  ".\nr 2 D 5 250 ok\nb 1\nr 1 F 5 550 no\ne 5\nw 6\n",
		  1,
		  false,
		  1,
		  "ynn" },
		{ .name = "a part",
		  "mailchute-note 1\nSold@x.example\nO" OTHER "\n" B
		  ".\nr 1 T 5 450 x\ne 5\n"
		  "c 6\n",
		  "mailchute-note 1\nSold@x.example\nO" OTHER "\n" B ".\ne 5\n",
		  1,
		  false,
		  1,
		  "n" },
		{ .name = "told",
		  PLAN(A B C) "e 1\nb 2\nr 1 D 5 250 relayed: ok\nr 2 F 5 550 x\ne 2\n"
		              "r 3 F 5 550 x\n",
		  PLAN(A B C),
		  0,
		  true,
		  2,
		  "yyn" },
		{ .name = "lines twice",
		  PLAN(A) "r 1 D 5 250 ok\ne 2\nb 2\nr 1 D 5 250 ok\ne 2\n",
		  PLAN(A),
		  0,
		  true,
		  2,
		  "n" },
		{ .name = "parts are no reports",
		  PLAN(A) "b 900001\nr 1 F 5 550 x\ne 2\n",
		  PLAN(A),
		  0,
		  true,
		  1,
		  "n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf plan = BUF_INIT, kept = BUF_INIT,
		                         told = BUF_INIT;
		struct message m;
		const char *why = "";

		if (load(&m, FILE_(ABC), rows[i].note, &why) < 0)
			fail_msg("%s: %s", rows[i].name, why);
		message_note(&m, STR("isp"), m.note.origin, NULL, &plan, &kept);
		buf_str(&plan, buf_view(&kept));
		for (size_t k = 0; k < m.note.plan.rcpts; k++)
			buf_c(&told, m.told[k] ? 'y' : 'n');
		if (strcmp(plan.p, rows[i].want) != 0)
			fail_msg("%s: want\n%sgot\n%s", rows[i].name, rows[i].want,
			         plan.p);
		if (m.note.pending != rows[i].pending || m.noted != rows[i].noted ||
		    m.note.tries != rows[i].tries || strcmp(told.p, rows[i].told) != 0)
			fail_msg("%s: pending %zu, noted %d, tries %u, told %s",
			         rows[i].name, m.note.pending, m.noted, m.note.tries,
			         told.p);
		message_free(&m);
	}
}

/* Did the last try end in doubt? And is what was read all of it? */
static void test_doubt(void **state)
{
	static const struct {
		const char *name, *note;
		bool want;
	} rows[] = {
		{ "none", NULL, false },
		{ "the last", PLAN(A) "d 5 lost\ne 5\n", true },
		{ "the first", PLAN(A) "d 5 lost\ne 5\nr 1 T 6 450 x\ne 6\n", false },
		{ "again", PLAN(A) "d 5 lost\ne 5\ne 6\nd 7 lost\ne 7\n", true },
		{ "recomposed", PLAN(A) "d 5 lost\ne 5\nc 6\n", true },
		{ "cut", PLAN(A) "d 5 lost\n", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct message m;
		const char *why = "";

		if (load(&m, FILE_("Fold@x.example\nRa@far.example\n"), rows[i].note,
		         &why) < 0)
			fail_msg("%s: %s", rows[i].name, why);
		if (m.doubted != rows[i].want)
			fail_msg("%s: doubted %d", rows[i].name, m.doubted);
		if (!m.whole || !str_eq(str_from(buf_view(&m.text), (size_t)m.body_at),
		                        STR("body\n")))
			fail_msg("%s: not whole", rows[i].name);
		message_free(&m);
	}
}

/* Around the lengths in which a file is read: the body is where it is, the size is right. */
static void test_lengths(void **state)
{
	static const size_t subject[] = { 1,    7000,  8000,  8100,  8191,
		                          8192, 16000, 65536, 73000, 140000 };
	static const size_t body[] = { 0, 1, 8192 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(subject) * ARRAY_LEN(body); i++) {
		_cleanup_buf_ struct buf file = BUF_INIT, got = BUF_INIT;
		size_t n = body[i % ARRAY_LEN(body)], start;
		struct message m;
		const char *why = "";
		ssize_t r;

		buf_z(&file, "mailchute 1\nU1000 eddy Eddy\nT900000\nmailchute-drop 1\n"
		             "Fold@x.example\nRa@far.example\n\n");
		start = file.n;
		buf_z(&file, "Subject: ");
		for (size_t k = 0; k < subject[i / ARRAY_LEN(body)]; k++)
			buf_z(&file, k % 70 ? "s" : "\n s");
		buf_z(&file, "\n\n");
		for (size_t k = 0; k < n; k++)
			buf_c(&file, k % 2 ? '\n' : 'b');
		assert_int_equal(load(&m, file.p, NULL, &why), 0);
		if (m.size != (int64_t)(file.n - start) ||
		    (m.whole && m.text.n != file.n))
			fail_msg("row %zu: size %lld, whole %d", i, (long long)m.size,
			         m.whole);
		r = pread(m.fd, buf_room(&got, n + 1), n + 1, m.body_at);
		assert_int_equal(r, n);
		if (n &&
		    (got.p[0] != 'b' || !str_starts(m.env.rcpt[0].addr, STR("a@far"))))
			fail_msg("row %zu: body or envelope", i);
		message_free(&m);
	}
}

/* The recipients of one part, with new numbers. */
static void test_part(void **state)
{
	static const bool mine[] = { false, true, true };
	_cleanup_buf_ struct buf plan = BUF_INIT, kept = BUF_INIT;
	struct message m;
	const char *why = "";

	(void)state;
	assert_int_equal(load(&m, FILE_(ABC),
	                      PLAN(A B C) "r 1 D 5 250 ok\nr 3 D 5 250 ok\ne 5\nc 6\n",
	                      &why),
	                 0);
	message_note(&m, STR("hub"), STR(ID), mine, &plan, &kept);
	assert_string_equal(plan.p, "mailchute-note 1\nSold@x.example\nO" ID
	                            "\nPhub b@far.example\nPhub c@x.example\n.\n");
	assert_string_equal(kept.p, "r 2 D 5 250 ok\ne 5\n");
	message_free(&m);
}

/* A part has the Message-ID of the whole. */
static void test_origin(void **state)
{
	struct message m;
	const char *why = "";

	(void)state;
	assert_int_equal(
	    load(&m, FILE_(ABC), "mailchute-note 1\nSa@b\nO" OTHER "\n" B ".\n", &why),
	    0);
	assert_non_null(strstr(m.header.p, "Message-ID: <" OTHER "@box.example.org>\n"));
	assert_non_null(strstr(m.header.p, "id " ID ";"));
	message_free(&m);
}

static void test_damaged(void **state)
{
	static const struct {
		const char *name, *file, *note;
	} rows[] = {
		{ "version", "mailchute 2\n", NULL },
		{ "cut", "mailchute 1\nU1000 eddy\n", NULL },
		{ "note", FILE_(ABC), "mailchute-note 1\nSa@b\n" A },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct message m;
		const char *why = "";
		int e = load(&m, rows[i].file, rows[i].note, &why);

		if (e != -EBADMSG || why[0] == '\0')
			fail_msg("%s: %d %s", rows[i].name, e, why);
		message_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_note),    cmocka_unit_test(test_doubt),
		cmocka_unit_test(test_lengths), cmocka_unit_test(test_part),
		cmocka_unit_test(test_origin),  cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
