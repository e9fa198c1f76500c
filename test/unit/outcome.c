/* What a try comes to: records, journal, note lines, the report. */
#include "push/report.h"
#include "base/io.h"
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define ID "0123456789abcdef"
#define DUE "00000007"
#define NOW 1000000
#define QUEUED "mailchute 1\nU1000 eddy Eddy\nT900000\nmailchute-drop 1\n"
#define CONTENT "\nFrom: e@x.example\nSubject: s\n\nbody\n"
#define PLAN1 "mailchute-note 1\nSe@x.example\nPisp a@far.example\n.\n"
#define PLAN0 "mailchute-note 1\nS\nPisp a@far.example\n.\n"
#define T(time) "r 1 T " time " 450 450 later\ne " time "\n"
#define UP(verb, rest) verb " " ID " " DUE " " rest "\n"
#define N(rest) UP("n", rest)
#define HOUR 3600

struct row {
	const char *name;
	const char *envelope; /* lines of the drop behind its first */
	const char *note;     /* NULL: none */
	/* Of each recipient: D delivered, R to a host without DSN, T 450, F 550, C 552, H host,
	 * X 550 with escaped words, ? doubt, - not tried; NULL: report_settled(). */
	const char *results;
	const char *up;   /* records, without "log"; "dsn" where it was sent */
	const char *file; /* journal */
	const char *dsn;  /* what must be in the report; NULL: there must be none */
	const char *not_dsn;
	int64_t now; /* 0: NOW */
	const char *admin, *to;
	const char *log; /* what must be in the log; NULL: anything */
	bool quiet, whole, probing, gave_up;
	size_t warns;
	int64_t jumped;
};

static int memory(const char *text)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write(fd, text, strlen(text)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void take_verdicts(struct result *res, size_t n, const char *kinds)
{
	static const struct {
		char c;
		enum verdict_kind kind;
		enum smtp_stage stage;
		int code;
		const char *text;
	} kind[] = {
		{ 'D', VERDICT_DONE, STAGE_CONTENT, 250, "250 ok" },
		{ 'R', VERDICT_DONE, STAGE_CONTENT, 250, "250 ok" },
		{ 'T', VERDICT_LATER, STAGE_RCPT, 450, "450 4.2.1 later" },
		{ 'F', VERDICT_FAILED, STAGE_RCPT, 550, "550 5.1.1 no" },
		{ 'C', VERDICT_FAILED, STAGE_CONTENT, 552, "552 5.3.4 big" },
		{ 'X', VERDICT_FAILED, STAGE_RCPT, 550, "550 \\x07 \"C:\\x5cx\"" },
		{ 'H', VERDICT_HOST, STAGE_CONNECT, 0, "cannot connect" },
		{ '?', VERDICT_DOUBT, STAGE_CONTENT, 0, "connection lost" },
	};

	assert_int_equal(strlen(kinds), n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < ARRAY_LEN(kind); k++) {
			if (kinds[i] != kind[k].c)
				continue;
			res[i].open = true;
			res[i].no_dsn = kinds[i] == 'R';
			res[i].verdict.kind = kind[k].kind;
			res[i].verdict.stage = kind[k].stage;
			res[i].verdict.code = kind[k].code;
			buf_z(&res[i].verdict.text, kind[k].text);
		}
}

/* All that was sent; the report's bytes go to dsn. */
static void hear(int sock, struct buf *up, struct buf *dsn, struct buf *logs)
{
	_cleanup_buf_ struct buf packet = BUF_INIT;
	int fds[JOB_FDS_MAX];

	while (job_recv(sock, &packet, fds) > 0) {
		struct str rest = buf_view(&packet), line;

		while (rest.n && str_cut(&rest, '\n', &line)) {
			struct buf *to = str_starts(line, STR("log ")) ? logs : up;

			buf_str(to, line);
			buf_c(to, '\n');
		}
		if (fds[0] >= 0) {
			assert_int_equal(lseek(fds[0], 0, SEEK_SET), 0);
			assert_int_equal(io_slurp(fds[0], dsn, 1 << 20), 0);
		}
		for (size_t i = 0; i < JOB_FDS_MAX; i++)
			cleanup_fd(&fds[i]);
	}
}

/* Times of later tries have jitter: those in the future become "on". */
static void tidy(struct buf *b)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct str rest, line;

	buf_str(&all, buf_view(b));
	buf_reset(b);
	rest = buf_view(&all);
	while (rest.n && str_cut(&rest, '\n', &line)) {
		ptrdiff_t blank = str_rchr(line, ' ');
		struct str word = str_from(line, (size_t)(blank + 1));
		uint64_t time;

		if (str_starts(line, STR("end ")) && str_u64(word, &time) && time > NOW) {
			buf_str(b, str_head(line, (size_t)(blank + 1)));
			buf_z(b, "on\n");
			continue;
		}
		buf_str(b, line);
		buf_c(b, '\n');
	}
}

static void same(const char *name, const char *what, const struct buf *got,
                 const char *want)
{
	if (!str_eq(buf_view(got), str_z(want)))
		fail_msg("%s: %s: want\n%s\ngot\n%.*s", name, what, want, (int)got->n,
		         got->n ? got->p : "");
}

static void check(const struct row *t, struct buf *up, struct buf *file, struct buf *dsn)
{
	tidy(up);
	tidy(file);
	buf_add(dsn, "", 1);
	same(t->name, "records", up, t->up);
	same(t->name, "journal", file, t->file ? t->file : "");
	if (!t->dsn && dsn->n > 1)
		fail_msg("%s: a report: %s", t->name, dsn->p);
	if (t->dsn && !strstr(dsn->p, t->dsn))
		fail_msg("%s: the report has no \"%s\": %s", t->name, t->dsn, dsn->p);
	if (t->not_dsn && strstr(dsn->p, t->not_dsn))
		fail_msg("%s: the report has \"%s\": %s", t->name, t->not_dsn, dsn->p);
}

static void report(const struct row *t, struct reporter *r, struct message *m)
{
	size_t n = m->note.plan.rcpts;
	struct result *res;

	if (!t->results) {
		report_settled(r, m, t->now ? t->now : NOW);
		return;
	}
	res = calloc(n + 1, sizeof(*res));
	assert_non_null(res);
	take_verdicts(res, n, t->results);
	report_outcome(r, m, res, t->now ? t->now : NOW);
	for (size_t i = 0; i < n; i++)
		buf_free(&res[i].verdict.text);
	free(res);
}

static void run(const struct row *t)
{
	_cleanup_buf_ struct buf text = BUF_INIT, up = BUF_INIT, file = BUF_INIT,
	                         dsn = BUF_INIT, logs = BUF_INIT;
	char isp[] = "isp", sender[] = "sender", none[] = "", *admin = NULL, *to = NULL;
	struct smarthost host = { .name = isp,
		                  .lifetime = 5 * 86400,
		                  .retry = 300,
		                  .retry_max = 4 * HOUR,
		                  .give_up = 86400,
		                  .warn_after = { { 4 * HOUR, 24 * HOUR }, t->warns } };
	struct conf conf = { .admin = none,
		             .bounce_to = sender,
		             .bounce_whole = t->whole,
		             .notify_failure = !t->quiet,
		             .notify_delay = !t->quiet };
	const struct compose_conf c = { .hostname = STR("box.example.org"),
		                        .domain = STR("x.example") };
	struct reporter r = { .conf = &conf,
		              .host = &host,
		              .compose = &c,
		              .remote = "mx",
		              .probing = t->probing,
		              .gave_up = t->gave_up,
		              .jumped = t->jumped,
		              .journal = memory("") };
	struct job_record job = { .due = 7 };
	struct message m;
	const char *why;
	int pair[2];

	if (t->admin)
		conf.admin = admin = str_dup(str_z(t->admin));
	if (t->to)
		conf.bounce_to = to = str_dup(str_z(t->to));
	assert_true(id_from(STR(ID), &job.id));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	r.sock = pair[0];
	buf_fmt(&text, "%s%s%s", QUEUED, t->envelope, CONTENT);
	if (message_load(&m, &job, memory(text.p), t->note ? memory(t->note) : -1, &c,
	                 &why) < 0)
		fail_msg("%s: %s", t->name, why);
	report(t, &r, &m);
	report_flush(&r);
	buf_free(&r.up);
	buf_free(&r.file);
	close(pair[0]);
	hear(pair[1], &up, &dsn, &logs);
	if (t->log && (!logs.n || !strstr(logs.p, t->log)))
		fail_msg("%s: the log has no %s: %s", t->name, t->log,
		         logs.n ? logs.p : "");
	assert_int_equal(lseek(r.journal, 0, SEEK_SET), 0);
	assert_int_equal(io_slurp(r.journal, &file, 1 << 20), 0);
	check(t, &up, &file, &dsn);
	message_free(&m);
	close(pair[1]);
	close(r.journal);
	free(admin);
	free(to);
}

#define ONE "Fe@x.example\nRa@far.example\n"
#define NULL1 "F\nRa@far.example\n"
#define NOTIFY(words) "Fe@x.example\nRa@far.example\tNOTIFY=" words "\n"
#define P_ONE                       \
	UP("p", "mailchute-note 1") \
	UP("p", "Se@x.example") UP("p", "Pisp a@far.example") UP("p", ".")
#define P_NULL                      \
	UP("p", "mailchute-note 1") \
	UP("p", "S")                \
	UP("p", "Pisp a@far.example") UP("p", ".")
#define P_NOTIFY(words)             \
	UP("p", "mailchute-note 1") \
	UP("p", "Se@x.example")     \
	UP("p", "Pisp a@far.example\tNOTIFY=" words) UP("p", ".")
#define E N("e 1000000")
#define R_D N("r 1 D 1000000 250 250 ok")
#define R_R N("r 1 D 1000000 250 relayed: 250 ok")
#define R_T N("r 1 T 1000000 450 450 4.2.1 later")
#define R_F N("r 1 F 1000000 550 550 5.1.1 no")
#define DONE UP("end", "done")
#define SOON UP("end", "later 999936")
#define BAD UP("end", "bad it has no sender to return it to")
#define DSN(n) UP("dsn", n)

static void test_failed(void **state)
{
	static const struct row rows[] = {
		{ .name = "accepted",
		  ONE,
		  NULL,
		  "D",
		  UP("ok", "250 "),
		  UP("ok", "250 ") },
		{ .name = "failed",
		  ONE,
		  NULL,
		  "F",
		  DSN("1") P_ONE N("b 1") R_F E DONE,
		  P_ONE E SOON,
		  "Action: failed" },
		{ .name = "second try",
		  ONE,
		  PLAN1 T("999000"),
		  "F",
		  DSN("2") N("b 2") R_F E DONE,
		  E SOON,
		  "Re@x.example\n" },
		{ .name = "never",
		  NOTIFY("NEVER"),
		  NULL,
		  "F",
		  P_NOTIFY("NEVER") R_F E DONE,
		  P_NOTIFY("NEVER") E SOON },
		{ .name = "only of success",
		  NOTIFY("SUCCESS"),
		  NULL,
		  "F",
		  P_NOTIFY("SUCCESS") R_F E DONE,
		  P_NOTIFY("SUCCESS") E SOON },
		{ .name = "not by configuration",
		  ONE,
		  NULL,
		  "F",
		  P_ONE R_F E DONE,
		  P_ONE E SOON,
		  .quiet = true },
		{ .name = "asked for",
		  NOTIFY("FAILURE"),
		  NULL,
		  "F",
		  DSN("1") P_NOTIFY("FAILURE") N("b 1") R_F E DONE,
		  P_NOTIFY("FAILURE") E SOON,
		  "Action: failed",
		  .quiet = true },
		{ .name = "header",
		  ONE,
		  NULL,
		  "F",
		  DSN("1") P_ONE N("b 1") R_F E DONE,
		  P_ONE E SOON,
		  "Subject: s\n",
		  "body\n" },
		{ .name = "whole",
		  ONE,
		  NULL,
		  "F",
		  DSN("1") P_ONE N("b 1") R_F E DONE,
		  P_ONE E SOON,
		  "body\n",
		  .whole = true },
		{ .name = "too big",
		  ONE,
		  NULL,
		  "C",
		  DSN("1") P_ONE N("b 1") N("r 1 F 1000000 552 552 5.3.4 big") E DONE,
		  P_ONE E SOON,
		  "Subject: s\n",
		  "body\n",
		  .whole = true },
		{ .name = "to admin",
		  ONE,
		  NULL,
		  "F",
		  DSN("1") P_ONE N("b 1") R_F E DONE,
		  P_ONE E SOON,
		  "\nRadm@x.example\n",
		  .to = "admin",
		  .admin = "adm" },
		{ .name = "to nobody known",
		  ONE,
		  NULL,
		  "F",
		  DSN("1") P_ONE N("b 1") R_F E DONE,
		  P_ONE E SOON,
		  "\nRe@x.example\n",
		  .to = "admin" },
		{ .name = "to an address",
		  ONE,
		  NULL,
		  "F",
		  DSN("1") P_ONE N("b 1") R_F E DONE,
		  P_ONE E SOON,
		  "\nRb@c.example\n",
		  .to = "b@c.example" },
		{ .name = "given up",
		  ONE,
		  NULL,
		  "F",
		  DSN("1") P_ONE N("b 1") R_F E DONE,
		  P_ONE E SOON,
		  "This went on for 1 day.",
		  .gave_up = true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(&rows[i]);
}

static void test_null_sender(void **state)
{
	static const struct row rows[] = {
		{ .name = "no admin", NULL1, NULL, "F", P_NULL R_F E BAD, P_NULL E SOON },
		{ .name = "admin",
		  NULL1,
		  NULL,
		  "F",
		  DSN("1") P_NULL N("b 1") R_F E DONE,
		  P_NULL E SOON,
		  "\nRadm@x.example\n",
		  .admin = "adm" },
		{ .name = "whole",
		  NULL1,
		  NULL,
		  "F",
		  DSN("1") P_NULL N("b 1") R_F E DONE,
		  P_NULL E SOON,
		  "body\n",
		  .admin = "adm" },
		{ .name = "admin failed himself",
		  NULL1,
		  NULL,
		  "F",
		  P_NULL R_F E BAD,
		  P_NULL E SOON,
		  .admin = "A@far.example" },
		/* It was his report, and an alias or a rule led it elsewhere. */
		{ .name = "for the admin, who has another address",
		  "F\nRADM@x.example\n",
		  PLAN0,
		  "F",
		  R_F E BAD,
		  E SOON,
		  .admin = "adm" },
		{ .name = "for the admin and others",
		  "F\nRadm@x.example\nRb@far.example\n",
		  PLAN0,
		  "F",
		  DSN("1") N("b 1") R_F E DONE,
		  E SOON,
		  "550 5.1.1 no",
		  .admin = "adm" },
		{ .name = "not by configuration",
		  NULL1,
		  NULL,
		  "F",
		  P_NULL R_F E BAD,
		  P_NULL E SOON,
		  .quiet = true },
		{ .name = "no warning",
		  NULL1,
		  PLAN0 T("900000"),
		  "T",
		  R_T E UP("end", "later on"),
		  R_T E UP("end", "later on"),
		  .admin = "adm",
		  .warns = 1 },
		{ .name = "settled, told",
		  NULL1,
		  PLAN0 "b 1\nr 1 F 5 550 no\ne 5\n",
		  NULL,
		  DONE,
		  .admin = "adm" },
		{ .name = "settled, untold",
		  NULL1,
		  PLAN0 "r 1 F 5 550 550 no\ne 5\n",
		  NULL,
		  DSN("2") N("b 2") E DONE,
		  "",
		  "550 no",
		  .admin = "adm" },
		{ .name = "settled, nobody to tell",
		  NULL1,
		  PLAN0 "r 1 F 5 550 550 no\ne 5\n",
		  NULL,
		  BAD },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(&rows[i]);
}

static void test_delayed(void **state)
{
#define LATER UP("end", "later on")
	static const struct row rows[] = {
		{ .name = "first",
		  ONE,
		  NULL,
		  "T",
		  P_ONE R_T E UP("end", "later on"),
		  P_ONE R_T E UP("end", "later on"),
		  .warns = 1 },
		{ .name = "not yet",
		  ONE,
		  PLAN1 T("985601"),
		  "T",
		  R_T E UP("end", "later on"),
		  R_T E UP("end", "later on"),
		  .warns = 1 },
		{ .name = "now",
		  ONE,
		  PLAN1 T("985600"),
		  "T",
		  DSN("2") N("b 2") N("w 1000000") R_T E UP("end", "later on"),
		  R_T E UP("end", "later on"),
		  "Action: delayed",
		  "body\n",
		  .warns = 1,
		  .whole = true },
		{ .name = "now, but for the clock that jumped",
		  ONE,
		  PLAN1 T("985600"),
		  "T",
		  R_T E UP("end", "later on"),
		  R_T E UP("end", "later on"),
		  .warns = 1,
		  .jumped = 1000 },
		{ .name = "once",
		  ONE,
		  PLAN1 T("985000") "b 2\nw 999999\n" T("999999"),
		  "T",
		  R_T E UP("end", "later on"),
		  R_T E UP("end", "later on"),
		  .warns = 1 },
		{ .name = "two at once",
		  ONE,
		  PLAN1 T("900000"),
		  "T",
		  DSN("2") N("b 2") N("w 1000000") N("w 1000000") R_T E LATER,
		  R_T E LATER,
		  "Action: delayed",
		  .warns = 2 },
		{ .name = "the second",
		  ONE,
		  PLAN1 T("900000") "w 950000\n",
		  "T",
		  DSN("2") N("b 2") N("w 1000000") R_T E LATER,
		  R_T E LATER,
		  "Action: delayed",
		  .warns = 2 },
		{ .name = "never",
		  ONE,
		  PLAN1 T("900000"),
		  "T",
		  R_T E LATER,
		  R_T E LATER },
		{ .name = "not by configuration",
		  ONE,
		  PLAN1 T("900000"),
		  "T",
		  R_T E LATER,
		  R_T E LATER,
		  .warns = 1,
		  .quiet = true },
		{ .name = "route fault",
		  ONE,
		  PLAN1 T("900000"),
		  "T",
		  R_T E LATER,
		  R_T E LATER,
		  .warns = 1,
		  .probing = true },
		{ .name = "host", ONE, PLAN1 T("900000"), "H", "", .warns = 1 },
		{ .name = "expired",
		  ONE,
		  PLAN1 T("500000") T("600000"),
		  "T",
		  DSN("3") N("b 3") N("r 1 F 1000000 450 450 4.2.1 later") E DONE,
		  E SOON,
		  "Action: failed",
		  "Action: delayed",
		  .log = "log w expired id=" ID " to=a@far.example",
		  .warns = 1 },
		{ .name = "expired, but for the clock that jumped",
		  ONE,
		  PLAN1 T("500000") T("600000"),
		  "T",
		  R_T E LATER,
		  R_T E LATER,
		  .jumped = 100000 },
		{ .name = "expired; the clock jumped, and that before the first try",
		  ONE,
		  PLAN1 T("500000") T("600000"),
		  "T",
		  DSN("3") N("b 3") N("r 1 F 1000000 450 450 4.2.1 later") E DONE,
		  E SOON,
		  "Action: failed",
		  .jumped = 600000 },
		{ .name = "expired; the clock went back",
		  ONE,
		  PLAN1 T("500000") T("600000"),
		  "T",
		  DSN("3") N("b 3") N("r 1 F 1000000 450 450 4.2.1 later") E DONE,
		  E SOON,
		  "Action: failed",
		  .jumped = -100000 },
		{ .name = "refused for good in the last try",
		  ONE,
		  PLAN1 T("500000") T("600000"),
		  "F",
		  DSN("3") N("b 3") R_F E DONE,
		  E SOON,
		  "Status: 5.1.1",
		  "This went on for",
		  .log = "log w failed id=" ID " to=a@far.example" },
		{ .name = "what was escaped",
		  ONE,
		  PLAN1,
		  "X",
		  DSN("1") N("b 1") N("r 1 F 1000000 550 550 \\x07 \"C:\\x5cx\"") E DONE,
		  E SOON,
		  "\\x07 \"C:\\x5cx\"",
		  .log = " text=\"550 \\x07 \\\"C:\\x5cx\\\"\"\n" },
		{ .name = "two tries are not enough",
		  ONE,
		  PLAN1 T("500000"),
		  "T",
		  R_T E LATER,
		  R_T E LATER,
		  .warns = 1 },
		{ .name = "doubt",
		  ONE,
		  NULL,
		  "?",
		  P_ONE N("d 1000000 connection lost before the last reply")
		      E UP("end", "later on"),
		  P_ONE N("d 1000000 connection lost before the last reply")
		      E UP("end", "later on") },
		{ .name = "doubt, expired",
		  ONE,
		  PLAN1 "d 1 x\ne 1\nd 2 x\ne 2\nd 3 x\ne 3\n",
		  "?",
		  DSN("4") N("b 4") N("r 1 F 1000000 0 connection lost") E DONE,
		  E SOON,
		  "Action: failed" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(&rows[i]);
}

#define TWO "Fe@x.example\nRa@far.example\tNOTIFY=SUCCESS\nRb@far.example\n"
#define PLAN2                                                                  \
	"mailchute-note 1\nSe@x.example\nPisp a@far.example\tNOTIFY=SUCCESS\n" \
	"Pisp b@far.example\n.\n"

static void test_relayed(void **state)
{
	static const struct row rows[] = {
		{ .name = "not asked for",
		  ONE,
		  NULL,
		  "R",
		  UP("ok", "250 "),
		  UP("ok", "250 ") },
		{ .name = "the host tells",
		  NOTIFY("SUCCESS"),
		  NULL,
		  "D",
		  UP("ok", "250 "),
		  UP("ok", "250 ") },
		{ .name = "relayed",
		  NOTIFY("SUCCESS,FAILURE"),
		  NULL,
		  "R",
		  DSN("1") P_NOTIFY("SUCCESS,FAILURE") N("b 1") R_R E DONE,
		  P_NOTIFY("SUCCESS,FAILURE") R_R E SOON,
		  "Action: relayed" },
		{ .name = "combined",
		  TWO,
		  PLAN2,
		  "RF",
		  DSN("1") N("b 1") R_R N("r 2 F 1000000 550 550 5.1.1 no") E DONE,
		  R_R E SOON,
		  "Action: relayed" },
		{ .name = "combined, other half",
		  TWO,
		  PLAN2,
		  "RF",
		  DSN("1") N("b 1") R_R N("r 2 F 1000000 550 550 5.1.1 no") E DONE,
		  R_R E SOON,
		  "Action: failed" },
		{ .name = "settled, told",
		  NOTIFY("SUCCESS"),
		  PLAN2 "b 1\nr 1 D 5 250 relayed: 250 ok\nr 2 D 5 250 ok\ne 5\n",
		  NULL,
		  DONE },
		{ .name = "settled, untold",
		  NOTIFY("SUCCESS"),
		  PLAN2 "r 1 D 5 250 relayed: 250 ok\nr 2 D 5 250 ok\ne 5\n",
		  NULL,
		  DSN("2") N("b 2") E DONE,
		  "",
		  "Action: relayed" },
		{ .name = "settled, lines twice",
		  NOTIFY("SUCCESS"),
		  PLAN2 "b 1\nr 1 D 5 250 relayed: 250 ok\nr 2 D 5 250 ok\ne 5\n"
		        "r 1 D 5 250 relayed: 250 ok\nr 2 D 5 250 ok\ne 5\n",
		  NULL,
		  DONE },
		{ .name = "told with the next",
		  TWO,
		  PLAN2 "r 1 D 5 250 relayed: 250 ok\nr 2 T 5 450 x\ne 5\n",
		  "-D",
		  DSN("2") N("b 2") N("r 2 D 1000000 250 250 ok") E DONE,
		  N("r 2 D 1000000 250 250 ok") E SOON,
		  "Action: relayed" },
		{ .name = "told of an earlier one",
		  TWO,
		  PLAN2 "b 1\nr 1 D 5 250 relayed: 250 ok\nr 2 T 5 450 x\ne 5\n",
		  "-D",
		  N("r 2 D 1000000 250 250 ok") E DONE,
		  N("r 2 D 1000000 250 250 ok") E DONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(&rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_null_sender),
		cmocka_unit_test(test_delayed),
		cmocka_unit_test(test_relayed),
	};

	return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
