#include "spoolbed.h"
#include "daemon/apply.h"
#include "base/log.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define PLAN "mailchute-note 1\nSa@b\nPr c@d\nPr e@f\n.\n"
#define CUT "d 1800000000 the last octets were going out when push ended\ne 1800000000\n"

static struct jobs stuck;

/* What was logged since the last call; the log is standard error. */
static const char *logged(void)
{
	static struct buf b = BUF_INIT;

	buf_reset(&b);
	buf_z(&b, "");
	assert_int_equal(lseek(2, 0, SEEK_SET), 0);
	assert_int_equal(io_slurp(2, &b, 1 << 20), 0);
	assert_int_equal(ftruncate(2, 0), 0);
	assert_int_equal(lseek(2, 0, SEEK_SET), 0);
	return b.p;
}

static int stderr_was = -1;

static int setup(void **state)
{
	int e = bed_setup(state), fd;

	if (e < 0)
		return e;
	stderr_was = dup(2);
	fd = open("log", O_RDWR | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, 2) < 0)
		return -1;
	close(fd);
	log_open("test", false, true);
	return 0;
}

static int teardown(void **state)
{
	dup2(stderr_was, 2);
	close(stderr_was);
	return bed_teardown(state);
}

static void message(const struct place *p)
{
	char path[100];

	if (p->due) {
		snprintf(path, sizeof(path), "queue/r/%08x", p->due);
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		snprintf(path, sizeof(path), "queue/r/%08x/%s", p->due, p->id.c);
		put(path, STR("x"), 0600);
	} else {
		put(in("queue/new", &p->id, ""), STR("x"), 0600);
	}
}

/* Where a message is: "new", a bucket, "bad", or "-". */
static const char *where(const struct id *id)
{
	static char bucket[9];
	char path[100];
	DIR *d = opendir("queue/r");
	const char *ret = "-";
	unsigned n = 0;

	if (there(in("queue/new", id, "")))
		ret = "new", n++;
	if (there(in("bad", id, "")))
		ret = "bad", n++;
	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(path, sizeof(path), "queue/r/%.8s/%s", e->d_name, id->c);
		if (e->d_name[0] == '.' || !there(path))
			continue;
		snprintf(bucket, sizeof(bucket), "%.8s", e->d_name);
		ret = bucket;
		n++;
	}
	if (d)
		closedir(d);
	return n > 1 ? "twice" : ret;
}

/* Says the lines to a job; the last one must be the one that ends it. */
static bool say(struct bed *b, struct queue *q, struct job *j, const char *const *lines,
                int fd)
{
	for (; *lines; lines++) {
		_cleanup_buf_ struct buf line = BUF_INIT;
		struct str verb, rest = str_z(*lines);
		struct job_record rec;

		str_cut(&rest, ' ', &verb);
		buf_fmt(&line, "%.*s %s %08x %.*s", (int)verb.n, verb.p, j->place.id.c,
		        j->place.due, (int)rest.n, rest.n ? rest.p : "");
		assert_true(job_parse(buf_view(&line), &rec));
		if (job_take(j, &rec, &fd) != (lines[1] == NULL))
			fail_msg("%s: ends the job too early or too late", *lines);
		if (!lines[1])
			return job_apply(j, q, &b->s, &rec, NOW);
	}
	return false;
}

static void apply(void **state)
{
	static const struct {
		const char *name;
		uint32_t due;
		const char *note; /* before */
		const char *lines[6];
		bool want;
		const char *where, *after; /* after: the note */
	} rows[] = {
		{ "accepted", 0, NULL, { "ok 250 " }, true, "-", NULL },
		{ "accepted, noted", 7, PLAN, { "ok 250 " }, true, "-", NULL },
		{ "done", 7, PLAN, { "n r 1 D 1 250 ok", "end done" }, true, "-", NULL },
		{ "done at the first try",
		  0,
		  NULL,
		  { "p mailchute-note 1", "n r 1 D 1 250 ok", "end done" },
		  true,
		  "-",
		  NULL },
		{ "later",
		  0,
		  NULL,
		  { "p one", "p two", "n three", "end later 64000" },
		  true,
		  "000003e8",
		  "one\ntwo\nthree\n" },
		{ "later again",
		  7,
		  PLAN,
		  { "n r 1 T 1 450 no", "n e 1", "end later 64000" },
		  true,
		  "000003e8",
		  PLAN "r 1 T 1 450 no\ne 1\n" },
		{ "later, nothing to note",
		  7,
		  NULL,
		  { "end later 64000" },
		  true,
		  "000003e8",
		  NULL },
		{ "later at no time",
		  7,
		  PLAN,
		  { "n e 1", "end later soon" },
		  false,
		  "00000007",
		  PLAN "e 1\n" },
		{ "later without a time",
		  7,
		  NULL,
		  { "end later" },
		  false,
		  "00000007",
		  NULL },
		{ "later at a time beyond numbers",
		  7,
		  NULL,
		  { "end later 9999999999999999999" },
		  true,
		  "00000001",
		  NULL },
		{ "bad",
		  0,
		  NULL,
		  { "end bad it is \x1b[31mdamaged" },
		  true,
		  "bad",
		  NULL },
		{ "bad, noted", 7, PLAN, { "end bad" }, true, "bad", NULL },
		{ "an unknown end", 7, PLAN, { "end never" }, false, "00000007", PLAN },
		{ "an empty end", 7, NULL, { "end " }, false, "00000007", NULL },
	};
	struct bed *b = *state;
	struct queue q;

	assert_int_equal(queue_open(&q, &b->s, "r", QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct place p = { nth((unsigned)i), rows[i].due };
		struct job j = { .place = p, .used = true, .dsn = -1 };
		bool got;

		message(&p);
		if (rows[i].note) {
			put(in("note", &p.id, ""), str_z(rows[i].note), 0600);
			j.noted = true;
		}
		got = say(b, &q, &j, rows[i].lines, -1);
		job_clear(&j);
		if (got != rows[i].want)
			fail_msg("%s: %s", rows[i].name, got ? "settled" : "not settled");
		if (strcmp(where(&p.id), rows[i].where) != 0)
			fail_msg("%s: at %s, want %s", rows[i].name, where(&p.id),
			         rows[i].where);
		if (rows[i].after ? strcmp(content(in("note", &p.id, "")), rows[i].after)
		                  : there(in("note", &p.id, "")))
			fail_msg("%s: note %s", rows[i].name,
			         content(in("note", &p.id, "")));
		if (strchr(logged(), '\x1b'))
			fail_msg("%s: a control character in the log", rows[i].name);
	}
	queue_close(&q);
}

static int dsn_fd(void)
{
	return io_memfd("dsn", STR("mailchute-drop 1\nF\nRa@b\n\ndsn\n"));
}

static void dsn(void **state)
{
	static const char *const lines[] = { "dsn 1", "n r 1 F 1 550 no", "end done",
		                             NULL };
	struct bed *b = *state;
	struct queue q;

	assert_int_equal(queue_open(&q, &b->s, "r", QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
	/* The second time is what a crash makes: the DSN is there already. */
	for (int again = 0; again < 2; again++) {
		struct place p = { nth(1), 7 };
		struct job j = { .place = p, .used = true, .noted = true, .dsn = -1 };
		struct id derived = id_derive(&p.id, 1);

		message(&p);
		put(in("note", &p.id, ""), STR(PLAN), 0600);
		assert_true(say(b, &q, &j, lines, dsn_fd()));
		assert_string_equal(where(&p.id), "-");
		assert_string_equal(where(&derived), "new");
		assert_int_equal(count("queue/new"), 1);
		assert_false(there(in("note", &p.id, "")));
		assert_non_null(strstr(logged(), derived.c));
		job_clear(&j);
	}
	queue_close(&q);
}

/* What a push that was taken over may say instead. */
static void dsn_hostile(void **state)
{
	static const struct {
		const char *name, *line;
		bool fd, want;
	} rows[] = {
		{ "good", "dsn 2", true, true },
		{ "no descriptor", "dsn 2", false, false },
		{ "no number", "dsn ", true, false },
		{ "not a number", "dsn x", true, false },
		{ "negative", "dsn -1", true, false },
		{ "huge", "dsn 99999999999", true, false },
	};
	struct bed *b = *state;
	struct job j = { .place = { nth(1), 0 }, .used = true, .dsn = -1 };
	int many = 0;

	(void)b;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf line = BUF_INIT;
		int fd = rows[i].fd ? dsn_fd() : -1;
		struct job_record rec;

		buf_fmt(&line, "dsn %s 00000000%s", j.place.id.c, rows[i].line + 3);
		assert_true(job_parse(buf_view(&line), &rec));
		assert_false(job_take(&j, &rec, &fd));
		if ((j.dsn >= 0) != rows[i].want ||
		    (fd >= 0) != (rows[i].fd && !rows[i].want))
			fail_msg("%s: dsn %d, left %d", rows[i].name, j.dsn, fd);
		cleanup_fd(&fd);
		job_clear(&j);
		j.place.id = nth(1);
	}
	/* Many of one job: the descriptors of all but the last are closed. */
	for (int i = 0; i < 100; i++) {
		_cleanup_buf_ struct buf line = BUF_INIT;
		struct job_record rec;
		int fd = dsn_fd();

		buf_fmt(&line, "dsn %s 00000000 1", j.place.id.c);
		assert_true(job_parse(buf_view(&line), &rec));
		job_take(&j, &rec, &fd);
		many = j.dsn > many ? j.dsn : many;
	}
	assert_true(many < 50);
	job_clear(&j);
}

/* A pipe that nobody writes to: whoever reads it waits for ever. And a file of a terabyte. */
static void no_file(void **state)
{
	struct bed *b = *state;
	struct place p = { nth(1), 0 };
	struct job j = { .place = p, .used = true, .dsn = -1 };
	struct job_record rec = { .id = p.id, .rest = STR("1") };
	int pair[2], hole = dsn_fd(), keep;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	/* Should it be read, the test ends. */
	assert_int_equal(write(pair[1], PLAN, strlen(PLAN)), (ssize_t)strlen(PLAN));
	close(pair[1]);
	message(&p);
	rec.verb = STR("dsn");
	keep = pair[0];
	assert_false(job_take(&j, &rec, &keep));
	assert_int_equal(j.dsn, -1);
	cleanup_fd(&hole);
	hole = memfd_create("dsn", MFD_CLOEXEC);
	assert_int_equal(ftruncate(hole, (off_t)1 << 40), 0);
	keep = hole;
	assert_false(job_take(&j, &rec, &keep));
	assert_int_equal(j.dsn, -1);
	rec.verb = STR("part");
	rec.rest = STR("900001");
	job_part(&j, &b->s, &rec, pair[0]);
	assert_true(j.no_parts && j.parts == 0);
	close(hole);
	close(pair[0]);
	job_clear(&j);
}

/* The note cannot be written: the message stays as it is. */
static void spool_fails(void **state)
{
	static const char *const lines[] = { "p one", "n two", "end later 64000", NULL };
	struct bed *b = *state;
	struct place p = { nth(1), 7 };
	struct job j = { .place = p, .used = true, .dsn = -1 };
	struct queue q;

	assert_int_equal(queue_open(&q, &b->s, "r", QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
	message(&p);
	assert_int_equal(rmdir("note"), 0);
	assert_false(say(b, &q, &j, lines, -1));
	assert_string_equal(where(&p.id), "00000007");
	assert_non_null(strstr(logged(), "spool-error id="));
	job_clear(&j);
	queue_close(&q);
}

/* Journals. @ stands for the message's id. */
static void replay(void **state)
{
	static const struct {
		const char *name;
		uint32_t due;
		const char *note, *journal;
		const char *where, *after, *log; /* log: one of these words, or nothing */
	} rows[] = {
		{ "nothing", 0, NULL, "", "new", NULL, "" },
		{ "begun", 0, NULL, "s @ 00000000 \n", "new", NULL,
		  "possible-duplicate" },
		{ "begun in a bucket", 7, PLAN, "s @ 00000007 \n", "00000007", PLAN CUT,
		  "possible-duplicate" },
		{ "accepted", 0, NULL, "s @ 00000000 \nok @ 00000000 250 \n", "-", NULL,
		  "recovered" },
		{ "accepted, no s", 0, NULL, "ok @ 00000000 250 \n", "-", NULL,
		  "recovered" },
		{ "accepted, torn", 0, NULL, "s @ 00000000 \nok @ 00000000 250", "new",
		  NULL, "possible-duplicate" },
		{ "accepted, of another bucket", 7, PLAN,
		  "s @ 00000000 \nok @ 00000000 250 \n", "00000007", PLAN, "" },
		{ "begun, of another bucket", 7, PLAN, "s @ 00000008 \n", "00000007",
		  PLAN, "" },
		{ "later", 0, NULL,
		  "s @ 00000000 \np @ 00000000 one\nn @ 00000000 two\n"
		  "end @ 00000000 later 64000\n",
		  "000003e8", "one\ntwo\n", "recovered" },
		{ "later, noted", 7, PLAN,
		  "n @ 00000007 r 1 D 1 250 ok\nn @ 00000007 e 1\nend @ 00000007 later "
		  "64000\n",
		  "000003e8", PLAN "r 1 D 1 250 ok\ne 1\n",
		  " to=c@d outcome=delivered code=250 text=ok" },
		{ "later, and a torn line", 7, PLAN "r 2 F 1 55",
		  "n @ 00000007 r 1 D 1 250 ok\nn @ 00000007 e 1\nend @ 00000007 later "
		  "64000\n",
		  "000003e8", PLAN "r 1 D 1 250 ok\ne 1\n",
		  " to=c@d outcome=delivered code=250" },
		{ "later, and noted already", 7,
		  PLAN "r 1 D 1 250 ok\nr 2 T 1 450 x\ne 1\n",
		  "n @ 00000007 r 1 D 1 250 ok\nn @ 00000007 e 1\nend @ 00000007 later "
		  "64000\n",
		  "000003e8",
		  PLAN "r 1 D 1 250 ok\nr 2 T 1 450 x\ne 1\nr 1 D 1 250 ok\ne 1\n",
		  " to=c@d outcome=delivered" },
		{ "later, an earlier try is noted", 7, PLAN "r 1 T 1 450 x\ne 1\n",
		  "n @ 00000007 r 1 T 9 450 x\nn @ 00000007 e 9\nend @ 00000007 later "
		  "64000\n",
		  "000003e8", PLAN "r 1 T 1 450 x\ne 1\nr 1 T 9 450 x\ne 9\n",
		  "recovered" },
		{ "failed, note torn", 7, PLAN "r 1 F 1 550 no\nr 2 F 1 55",
		  "n @ 00000007 e 1\nend @ 00000007 later 64000\n", "000003e8",
		  PLAN "r 1 F 1 550 no\ne 1\n", "recovered" },
		{ "all failed, and noted already", 7,
		  PLAN "r 1 F 1 550 no\nr 2 F 1 550 no\ne 1\n",
		  "n @ 00000007 e 1\nend @ 00000007 later 64000\n", "000003e8",
		  PLAN "r 1 F 1 550 no\nr 2 F 1 550 no\ne 1\ne 1\n", "recovered" },
		{ "all failed at the first try, and noted already", 0,
		  PLAN "r 1 F 1 550 no\nr 2 F 1 550 no\ne 1\n",
		  "p @ 00000000 mailchute-note 1\nn @ 00000000 e 1\nend @ 00000000 later "
		  "64000\n",
		  "000003e8", PLAN "r 1 F 1 550 no\nr 2 F 1 550 no\ne 1\n", "recovered" },
		{ "in doubt", 7, PLAN,
		  "s @ 00000007 \nn @ 00000007 d 1 lost\nn @ 00000007 e 1\nend @ "
		  "00000007 later 64000\n",
		  "000003e8", PLAN "d 1 lost\ne 1\n", "possible-duplicate" },
		{ "later, torn before its end", 7, PLAN,
		  "s @ 00000007 \nn @ 00000007 r 1 D 1 250 ok\nn @ 00000007 e 1\nend @ "
		  "0000",
		  "00000007", PLAN CUT, "possible-duplicate" },
		{ "done", 7, PLAN, "n @ 00000007 r 1 D 1 250 ok\nend @ 00000007 done\n",
		  "-", NULL, " to=c@d outcome=delivered" },
		{ "a plan and its outcomes", 0, NULL,
		  "p @ 00000000 mailchute-note 1\nn @ 00000000 Sa\nn @ 00000000 Pr c\n"
		  "n @ 00000000 Pr e\nn @ 00000000 .\nn @ 00000000 r 2 T 1 450 x\n"
		  "n @ 00000000 e 1\nend @ 00000000 later 64000\n",
		  "000003e8", "mailchute-note 1\nSa\nPr c\nPr e\n.\nr 2 T 1 450 x\ne 1\n",
		  " to=e outcome=deferred code=450 text=x" },
		{ "bad", 0, NULL, "end @ 00000000 bad \x1b[31mwords\n", "bad", NULL,
		  "recovered" },
		{ "later, and begun again where it went", 1000, PLAN,
		  "s @ 00000000 \nend @ 00000000 later 64000\ns @ 000003e8 \n",
		  "000003e8", PLAN CUT, "possible-duplicate" },
		{ "in doubt, then accepted in a second try", 0, NULL,
		  "s @ 00000000 \ns @ 00000000 \nok @ 00000000 250 \n", "-", NULL,
		  "recovered" },
		{ "a dsn that has no file", 7, PLAN,
		  "dsn @ 00000007 1\nend @ 00000007 done\n", "-", NULL, "recovered" },
		{ "lines that are none", 0, NULL,
		  "\n \nhost x\nlog a b\nok\nok @\nok @ 0\nend @ 00000000 \nup x\n",
		  "new", NULL, "spool-error" },
	};
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf text = BUF_INIT, after = BUF_INIT;
		struct place p = { nth((unsigned)i), rows[i].due };
		struct id run = nth(1000);
		struct queue q;
		const char *log;

		assert_int_equal(
		    queue_open(&q, &b->s, "r", QUEUE_READS_NEW | QUEUE_READS_DUE), 0);
		queue_close(&q);
		message(&p);
		if (rows[i].note)
			put(in("note", &p.id, ""), str_z(rows[i].note), 0600);
		buf_z(&text, "mailchute-run 1 r\n");
		for (const char *c = rows[i].journal; *c; c++) {
			if (*c == '@')
				buf_z(&text, p.id.c);
			else
				buf_c(&text, *c);
		}
		put(in("run", &run, ""), buf_view(&text), 0600);
		/* Twice: a crash may come before the journal is removed. */
		for (int again = 0; again < 2; again++) {
			journal_apply(&b->s, &run, NULL, &stuck, NOW);
			if (strcmp(where(&p.id), rows[i].where) != 0)
				fail_msg("%s (%d): at %s, want %s", rows[i].name, again,
				         where(&p.id), rows[i].where);
			/* That it was going out may be noted twice. */
			buf_reset(&after);
			buf_z(&after, rows[i].after ? rows[i].after : "");
			if (again && str_iends(buf_view(&after), STR(CUT)))
				buf_z(&after, CUT);
			if (rows[i].after
			        ? strcmp(content(in("note", &p.id, "")), after.p)
			        : there(in("note", &p.id, "")))
				fail_msg("%s (%d): note %s", rows[i].name, again,
				         content(in("note", &p.id, "")));
			log = logged();
			if (strchr(log, '\x1b'))
				fail_msg("%s: a control character in the log",
				         rows[i].name);
			if (again == 0 &&
			    (rows[i].log[0] ? !strstr(log, rows[i].log) : log[0] != '\0'))
				fail_msg("%s: log %s", rows[i].name, log);
			if (strcmp(rows[i].log, "possible-duplicate") != 0 &&
			    strstr(log, "possible-duplicate"))
				fail_msg("%s: log %s", rows[i].name, log);
		}
	}
}

/* The journal has no failed recipient. A new note that was written before the crash has:
 * it stays as it is. */
static void replay_noted(void **state)
{
	struct bed *b = *state;
	struct place p = { nth(8), 7 };
	struct id run = nth(1000);
	_cleanup_buf_ struct buf text = BUF_INIT;

	assert_int_equal(mkdir("queue/r", 0700), 0);
	message(&p);
	put(in("note", &p.id, ""), STR(PLAN "b 1\nr 1 F 1 550 no\ne 1\n"), 0600);
	buf_fmt(&text,
	        "mailchute-run 1 r\np %s 00000007 e 1\nend %s 00000007 later 64000\n",
	        p.id.c, p.id.c);
	put(in("run", &run, ""), buf_view(&text), 0600);
	journal_apply(&b->s, &run, NULL, &stuck, NOW);
	assert_string_equal(where(&p.id), "000003e8");
	assert_string_equal(content(in("note", &p.id, "")),
	                    PLAN "b 1\nr 1 F 1 550 no\ne 1\n");
	logged();
}

static void golden(void **state)
{
	struct bed *b = *state;
	struct id run = nth(1000), id[4];
	static const struct {
		const char *id;
		uint32_t due;
	} msgs[] = { { "1a2000000000aaaa", 0 },
		     { "1a2000000000bbbb", 0 },
		     { "1a2000000000cccc", 0x01ad2748 },
		     { "1a2000000000dddd", 0 } };
	_cleanup_buf_ struct buf file = BUF_INIT, path = BUF_INIT;
	struct queue q;

	buf_fmt(&path, "%s/test/golden/run-1", b->top);
	assert_int_equal(io_slurp_at(AT_FDCWD, path.p, &file, 65536), 0);
	put(in("run", &run, ""), buf_view(&file), 0600);
	assert_int_equal(queue_open(&q, &b->s, "hub", QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
	assert_int_equal(mkdir("queue/hub/01ad2748", 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(msgs); i++) {
		const char *where_to = msgs[i].due ? "queue/hub/01ad2748" : "queue/new";

		assert_true(id_from(str_z(msgs[i].id), &id[i]));
		put(in(where_to, &id[i], ""), STR("x"), 0600);
	}
	put(in("note", &id[2], ""), STR(PLAN), 0600);
	journals_replay(&b->s, NOW, NULL, NULL, &stuck);
	assert_non_null(strstr(logged(), "possible-duplicate id=1a2000000000dddd"));
	assert_false(there("queue/new/1a2000000000aaaa"));
	assert_true(there("queue/hub/01ad274d/1a2000000000bbbb"));
	assert_false(there("queue/hub/01ad2748/1a2000000000cccc"));
	assert_true(there("queue/new/1a2000000000dddd"));
	assert_false(there(in("run", &run, "")));
	queue_close(&q);
}

/* Journals that cannot be read are no reason to end. */
static void replay_damaged(void **state)
{
	static const struct {
		const char *name, *journal, *log;
	} rows[] = {
		{ "empty", "", "" },
		{ "torn first line", "mailchute-run 1", "" },
		{ "unknown version", "mailchute-run 2 r\n", "journal-error" },
		{ "a path for a route", "mailchute-run 1 ../x\n", "journal-error" },
		{ "the folder of new ones", "mailchute-run 1 new\n", "" },
	};
	struct bed *b = *state;
	struct id run = nth(1);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *log;

		put(in("run", &run, ""), str_z(rows[i].journal), 0600);
		journal_apply(&b->s, &run, NULL, &stuck, NOW);
		log = logged();
		if (rows[i].log[0] ? !strstr(log, rows[i].log) : log[0] != '\0')
			fail_msg("%s: log %s", rows[i].name, log);
	}
	run = nth(2);
	journal_apply(&b->s, &run, NULL, &stuck, NOW);
	assert_non_null(strstr(logged(), "journal-error"));
	assert_true(fcntl(0, F_GETFD) >= 0); /* nothing of others was closed */
}

/* What was settled while push ran is not looked at again; what was not, is. */
static void replay_in_hand(void **state)
{
	struct bed *b = *state;
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct place p[3] = { { nth(1), 0 }, { nth(2), 0 }, { nth(3), 0 } };
	struct id run = nth(5000);
	struct jobs in_hand = { .v = NULL };

	assert_int_equal(mkdir("queue/r", 0700), 0);
	buf_z(&text, "mailchute-run 1 r\n");
	for (size_t i = 0; i < ARRAY_LEN(p); i++) {
		message(&p[i]);
		buf_fmt(&text, "s %s 00000000 \n", p[i].id.c);
		if (i < 2)
			buf_fmt(&text, "ok %s 00000000 250 \n", p[i].id.c);
	}
	put(in("run", &run, ""), buf_view(&text), 0600);
	assert_int_equal(journal_apply(&b->s, &run, &in_hand, &stuck, NOW), JOURNAL_DONE);
	assert_string_equal(logged(), "");
	assert_int_equal(count("queue/new"), 3);
	jobs_add(&in_hand, &p[1]);
	assert_int_equal(journal_apply(&b->s, &run, &in_hand, &stuck, NOW), JOURNAL_DONE);
	assert_non_null(strstr(logged(), "recovered id="));
	assert_null(strstr(logged(), p[2].id.c));
	assert_true(there(in("queue/new", &p[0].id, "")));
	assert_false(there(in("queue/new", &p[1].id, "")));
	jobs_drop(&in_hand, jobs_find(&in_hand, &p[1].id));
	jobs_add(&in_hand, &p[2]);
	assert_int_equal(journal_apply(&b->s, &run, &in_hand, &stuck, NOW), JOURNAL_DONE);
	assert_non_null(strstr(logged(), "possible-duplicate"));
	assert_true(there(in("queue/new", &p[2].id, "")));
	jobs_free(&in_hand);
}

/* A push that was taken over, and mailchuted killed: only what push was given can be spoilt. */
static void replay_forged(void **state)
{
	struct bed *b = *state;
	_cleanup_buf_ struct buf text = BUF_INIT, list = BUF_INIT;
	struct place p[3] = { { nth(1), 0 }, { nth(2), 0 }, { nth(3), 0 } };
	struct id run = nth(5000);

	assert_int_equal(mkdir("queue/r", 0700), 0);
	buf_z(&text, "mailchute-run 1 r\n");
	for (size_t i = 0; i < ARRAY_LEN(p); i++) {
		message(&p[i]);
		buf_fmt(&text, "end %s 00000000 done\n", p[i].id.c);
	}
	put(in("run", &run, ""), buf_view(&text), 0600);
	/* Not in order; a message of another time; a line that was cut. */
	buf_fmt(&list, "%s 00000000\n%s 00000007\n%s 00000000\n%s", nth(9).c, p[1].id.c,
	        p[0].id.c, p[2].id.c);
	put(in("run", &run, ".given"), buf_view(&list), 0600);
	assert_int_equal(journals_replay(&b->s, NOW, NULL, NULL, &stuck), JOURNAL_DONE);
	assert_false(there(in("queue/new", &p[0].id, "")));
	assert_true(there(in("queue/new", &p[1].id, "")));
	assert_true(there(in("queue/new", &p[2].id, "")));
	assert_false(there(in("run", &run, "")));
	assert_false(there(in("run", &run, ".given")));
}

/* While the spool fails nothing is forgotten, and only what it concerns is held back. */
static void replay_stuck(void **state)
{
	struct bed *b = *state;
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct place p[3] = { { nth(1), 0 }, { nth(2), 0 }, { nth(3), 0 } };
	struct id run = nth(5000);
	struct rlimit was, none;
	char note[64], name[64];

	assert_int_equal(mkdir("queue/r", 0700), 0);
	buf_z(&text, "mailchute-run 1 r\n");
	for (size_t i = 0; i < ARRAY_LEN(p); i++)
		message(&p[i]);
	buf_fmt(&text, "p %s 00000000 mailchute-note 1\np %s 00000000 .\n", p[0].id.c,
	        p[0].id.c);
	buf_fmt(&text, "end %s 00000000 later %lld\n", p[0].id.c, (long long)NOW);
	buf_fmt(&text, "ok %s 00000000 250 \ns %s 00000000 \n", p[1].id.c, p[2].id.c);
	put(in("run", &run, ""), buf_view(&text), 0600);
	/* No descriptors. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ 3, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(journals_replay(&b->s, NOW, NULL, NULL, &stuck), JOURNAL_UNREAD);
	assert_int_equal(journal_apply(&b->s, &run, NULL, &stuck, NOW), JOURNAL_UNREAD);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_true(there(in("run", &run, "")));
	/* A message that cannot be opened. */
	snprintf(note, sizeof(note), "note/%s", p[0].id.c);
	snprintf(name, sizeof(name), "queue/new/%s", p[0].id.c);
	assert_int_equal(rename(name, "aside"), 0);
	assert_int_equal(symlink("../../aside", name), 0);
	logged();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(journals_replay(&b->s, NOW, NULL, NULL, &stuck),
		                 JOURNAL_STUCK);
		assert_non_null(jobs_find(&stuck, &p[0].id));
		assert_null(jobs_find(&stuck, &p[1].id));
		assert_non_null(jobs_find(&stuck, &p[2].id));
		assert_null(strstr(logged(), "possible-duplicate"));
	}
	assert_false(there(in("queue/new", &p[1].id, "")));
	assert_true(there(in("run", &run, "")));
	assert_int_equal(rename("aside", name), 0);
	assert_int_equal(journals_replay(&b->s, NOW, NULL, NULL, &stuck), JOURNAL_DONE);
	assert_int_equal(stuck.n, 0);
	assert_non_null(strstr(logged(), "possible-duplicate"));
	assert_false(there(in("queue/new", &p[0].id, "")));
	assert_true(there(note));
	assert_false(there(in("run", &run, "")));
}

/* As many jobs as can be in hand, and a long run before them. */
static void replay_many(void **state)
{
	struct bed *b = *state;
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct id run = nth(5000);
	const char *log;
	unsigned n = 0;

	assert_int_equal(mkdir("queue/r", 0700), 0);
	buf_z(&text, "mailchute-run 1 r\n");
	for (unsigned i = 0; i < 2000 + ROUTE_JOBS_MAX; i++) {
		struct place p = { nth(i), 0 };

		message(&p);
		buf_fmt(&text, "s %s 00000000 \n", p.id.c);
		if (i < 2000)
			buf_fmt(&text, "ok %s 00000000 250 \n", p.id.c);
	}
	put(in("run", &run, ""), buf_view(&text), 0600);
	journal_apply(&b->s, &run, NULL, &stuck, NOW);
	assert_int_equal(count("queue/new"), ROUTE_JOBS_MAX);
	log = logged();
	while ((log = strstr(log, "possible-duplicate"))) {
		log++;
		n++;
	}
	assert_int_equal(n, ROUTE_JOBS_MAX);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(apply),        T(dsn),           T(dsn_hostile),
		T(apply),        T(dsn),           T(no_file),
		T(spool_fails),  T(replay),        T(replay_damaged),
		T(replay_noted), T(golden),        T(replay_in_hand),
		T(replay_stuck), T(replay_forged), T(replay_many),
	};

	return cmocka_run_group_tests_name("apply", tests, NULL, NULL);
}
