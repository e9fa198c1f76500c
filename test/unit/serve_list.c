#include "servebed.h"
#include "serve/serve_list.h"
#include "spoolbed.h"

#define QUEUE_FILE(uid, rcpts, header)                                         \
	"mailchute 1\nU" uid " eddy Eddy Moe\nT1799999000\nmailchute-drop 1\n" \
	"Feddy@example.org\n" rcpts "\n" header

#define NOTE                                                          \
	"mailchute-note 1\nSeddy@isp.example\nPhub bob@example.net\n" \
	"Phub ann@example.net\tNOTIFY=NEVER\n.\n"                     \
	"r 1 T 1799999100 450 450 4.2.1 busy \\xe9\n"                 \
	"r 2 D 1799999100 250 250 2.0.0 ok\ne 1799999101\n"           \
	"w 1799999200\nb 2\nb 900001\nd 1799999300 connection lost\n" \
	"r 1 T 1799999400 451 451 4.3.0 still \x1b[2J busy\ne 1799999401\n"

struct sink {
	struct buf all;
	unsigned calls;
	unsigned deaf_after; /* 0: never */
};

static bool sink_send(void *arg, struct str s)
{
	struct sink *k = arg;

	buf_str(&k->all, s);
	return ++k->calls != k->deaf_after;
}

static void sink_free(struct sink *k)
{
	buf_free(&k->all);
}

/* Lists for uid (0: an administrator). */
static int list(const struct bed *b, struct sink *k, uint64_t uid,
                enum request_format format, size_t *ret_n)
{
	struct out o = { .b = BUF_INIT, .send = sink_send, .arg = k };
	const struct serve_view v = { .root = b->s.root,
		                      .uid = uid,
		                      .admin = uid == 0,
		                      .format = format,
		                      .now = NOW,
		                      .out = &o };
	int e = serve_list(&v, ret_n);

	buf_free(&o.b);
	return e;
}

static int show(const struct bed *b, struct sink *k, uint64_t uid,
                enum request_format format, const struct id *id)
{
	struct out o = { .b = BUF_INIT, .send = sink_send, .arg = k };
	const struct serve_view v = { .root = b->s.root,
		                      .uid = uid,
		                      .admin = uid == 0,
		                      .format = format,
		                      .now = NOW,
		                      .out = &o };
	int e = serve_show(&v, id);

	buf_free(&o.b);
	return e;
}

/* All that goes out is lines behind tabs, of printable ASCII. */
static void check_safe(const char *name, struct str all)
{
	bool begin = true;

	for (size_t i = 0; i < all.n; i++) {
		char c = all.p[i];

		if (begin ? c != '\t'
		          : (c != '\n' && c != '\t' && (c < 0x20 || c > 0x7e)))
			fail_msg("%s: octet %zu is %02x", name, i, (unsigned char)c);
		begin = c == '\n';
	}
	if (!begin)
		fail_msg("%s: the last line has no end", name);
}

static void check_has(const char *name, const struct sink *k, const char *want)
{
	if (!strstr(k->all.p, want))
		fail_msg("%s: no '%s' in\n%s", name, want, k->all.p);
}

static void check_not(const char *name, const struct sink *k, const char * not )
{
	if (strstr(k->all.p, not ))
		fail_msg("%s: '%s' in\n%s", name, not, k->all.p);
}

/* new (1000), waiting with a note (1000), held (1001), bad and damaged, dropped (ours). */
static void fill(void)
{
	struct id n[5];
	char path[40];

	for (unsigned i = 0; i < 5; i++)
		n[i] = nth(i);
	put(in("queue/new", &n[0], ""),
	    STR(QUEUE_FILE("1000", "Rzoe@example.net\n", "Subject: new\n\nx\n")), 0600);
	mkdir("queue/hub", 0700);
	snprintf(path, sizeof(path), "queue/hub/%08x",
	         (unsigned)(NOW / QUEUE_BUCKET_SECONDS + 5));
	mkdir(path, 0700);
	put(in(path, &n[1], ""),
	    STR(QUEUE_FILE("1000", "Rbob\nRann\n",
	                   "Subject: \x1b]0;x\r\n\tfold\nX: y\n\nz")),
	    0600);
	put(in("note", &n[1], ""), STR(NOTE), 0600);
	put(in("hold", &n[2], ""), STR(QUEUE_FILE("1001", "Rheld@example.net\n", "\nx")),
	    0600);
	put(in("bad", &n[3], ""), STR("mailchute 1\nU1000 eddy\nT1\nrubbish\x1b[2J\n"),
	    0600);
	put(in("in/drop", &n[4], ""),
	    STR("mailchute-drop 1\nRdropped@example.net\n\nSubject: d\n\nx\n"), 0640);
	put("state",
	    STR("mailchute-state 1\nfault hub\n"
	        "down hub 1799990000 1800000300 5 AUTH 535 535 5.7.8 secret\x1b words\n"
	        "down x y z\n"),
	    0600);
}

static void text(void **state)
{
	const struct bed *b = *state;
	struct sink k = { .all = BUF_INIT };
	size_t n = 0;

	fill();
	assert_int_equal(list(b, &k, 0, REQUEST_TEXT, &n), 0);
	assert_int_equal(n, 5);
	check_safe("text", buf_view(&k.all));
	check_has("fault", &k, "\troute hub refuses all messages alike");
	check_has("down", &k,
	          "\troute hub is down since 2027-01-15 05:13:20 UTC: AUTH: 535 5.7.8 "
	          "secret\\x1b words; it is tried next in 5m\n");
	check_has("head", &k, "\tID                AGE   SIZE  SENDER\n");
	check_has("new", &k,
	          "  16m     16  eddy@example.org\n\t    new\n\t    zoe@example.net\n");
	check_has("where", &k, "\t    route hub, next try in 5m, 2 tries so far\n");
	check_has("words", &k, "\t    bob@example.net: 451 4.3.0 still \\x1b[2J busy\n");
	check_not("delivered", &k, "ann@example.net");
	check_has("bad", &k, "(damaged: ");
	check_has("held", &k, "\t    held\n\t    held@example.net\n");
	check_has("dropped", &k, "\t    not taken by mailchuted yet\n");
	sink_free(&k);
}

/* What keeps a route is said in one sentence. */
static void routes(void **state)
{
	static const struct {
		const char *name, *lines, *want;
	} rows[] = {
		{ "down",
		  "down hub 1799990000 1800000300 5 connect 0 nobody\ntried hub 1\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: connect: nobody; "
		  "it is "
		  "tried next in 5m\n" },
		{ "its time has come",
		  "down hub 1799990000 1799990001 5 connect 0 nobody\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: connect: nobody; "
		  "it is tried when there is mail for it\n" },
		{ "down and on hold",
		  "down hub 1799990000 1799990001 5 connect 0 nobody\ntried hub 1\n"
		  "learned hub x\nwaits hub 0 on hold until somebody asks\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: connect: nobody; "
		  "on "
		  "hold until somebody asks\n" },
		{ "it was down, and throttles",
		  "down hub 1799990000 1799990001 5 MAIL 450 450 busy\nslow hub "
		  "1800000054\n"
		  "waits hub 1800000054 the host asks us to slow down\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: MAIL: 450 busy; "
		  "the "
		  "host asks us to slow down; more in 54s\n" },
		{ "throttles", "waits hub 1800000054 the host asks us to slow down\n",
		  "\troute hub: the host asks us to slow down; more in 54s\n" },
		{ "asked for",
		  "down hub 1799990000 1799990001 5 connect 0 nobody\n"
		  "asked hub 1800000037\nasked sat 1799999999\nasked hub soon\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: connect: nobody; "
		  "asked for; it is tried in 37 s\n"
		  "\troute sat: asked for; it is tried now\n" },
		{ "down, and nonsense",
		  "down hub 1799990000 1800000300 5 connect 0 nobody\nwaits hub soon x\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: connect: nobody; "
		  "it is tried next in 5m\n" },
		{ "the router",
		  "down new 1799990000 1800000300 5 push 0 map:1: one word\n",
		  "\troute new (mailchute-route, which chooses the smart host) is down "
		  "since 2027-01-15 05:13:20 UTC: map:1: one word; it is tried next in "
		  "5m\n" },
		{ "an alert", "alert 1800000300\n", "" },
		{ "two",
		  "down hub 1799990000 1799990001 5 AUTH 535 no\n"
		  "down sat 1799990000 1799990001 5 AUTH 535 no\nwaits sat 0 on hold\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: AUTH: no; it is "
		  "tried when there is mail for it\n\troute sat is down since 2027-01-15 "
		  "05:13:20 UTC: AUTH: "
		  "no; on "
		  "hold\n" },
		{ "of another one",
		  "down hub 1799990000 1799990001 5 AUTH 535 no\nwaits sat 0 on hold\n",
		  "\troute hub is down since 2027-01-15 05:13:20 UTC: AUTH: no; it is "
		  "tried when there is mail for it\n\troute sat: on hold\n" },
	};
	const struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf file = BUF_INIT, want = BUF_INIT;
		struct sink k = { .all = BUF_INIT };
		size_t n = 0;

		buf_fmt(&file, "mailchute-state 1\n%s", rows[i].lines);
		unlink("state");
		put("state", buf_view(&file), 0600);
		assert_int_equal(list(b, &k, 0, REQUEST_TEXT, &n), 0);
		buf_fmt(&want, "%s\tthe queue is empty\n", rows[i].want);
		if (strcmp(k.all.p, want.p) != 0)
			fail_msg("%s: %s", rows[i].name, k.all.p);
		sink_free(&k);
	}
}

/* The line C of one who is not the listener is anybody's invention. */
static void clients(void **state)
{
	static const struct {
		const char *name;
		int64_t listener;
		bool shown;
	} rows[] = {
		{ "the listener's", 1000, true },
		{ "another user's", 1001, false },
		{ "there is no listener", -1, false },
	};
	const struct bed *b = *state;
	struct id id = nth(0);

	put(in("queue/new", &id, ""),
	    STR("mailchute 1\nU1000 eddy\nT1799999000\nmailchute-drop 1\n"
	        "Cip=192.0.2.7 helo=x\nFa@b\nRc@d\n\n"),
	    0600);
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		struct sink k = { .all = BUF_INIT };
		struct out o = { .b = BUF_INIT, .send = sink_send, .arg = &k };
		const struct serve_view v = { .root = b->s.root,
			                      .admin = true,
			                      .listener = rows[i / 2].listener,
			                      .format =
			                          i % 2 ? REQUEST_JSON : REQUEST_TEXT,
			                      .now = NOW,
			                      .out = &o };

		assert_int_equal(serve_show(&v, &id), 0);
		if (rows[i / 2].shown)
			check_has(rows[i / 2].name, &k, "192.0.2.7");
		else
			check_not(rows[i / 2].name, &k, "192.0.2.7");
		buf_free(&o.b);
		sink_free(&k);
	}
}

static void text_of_a_user(void **state)
{
	const struct bed *b = *state;
	struct sink k = { .all = BUF_INIT };
	size_t n = 0;

	fill();
	assert_int_equal(list(b, &k, 1001, REQUEST_TEXT, &n), 0);
	assert_int_equal(n, 1);
	check_has("his", &k, "held@example.net");
	check_not("others'", &k, "zoe");
	check_not("others' drops", &k, "dropped@");
	check_has("down", &k, "UTC: AUTH 535; it is tried");
	check_not("the host's words", &k, "secret");
	sink_free(&k);
	/* The damaged one is of 1000 by its attested line. */
	assert_int_equal(list(b, &k, 1000, REQUEST_TEXT, &n), 0);
	assert_int_equal(n, 3);
	sink_free(&k);
	assert_int_equal(list(b, &k, 4711, REQUEST_TEXT, &n), 0);
	assert_int_equal(n, 0);
	check_has("nothing", &k, "\tthe queue is empty\n");
	sink_free(&k);
}

static void mailq(void **state)
{
	const struct bed *b = *state;
	struct sink k = { .all = BUF_INIT };
	size_t n = 0;
	struct str rest, line;
	unsigned ids = 0;
	struct id id;

	assert_int_equal(list(b, &k, 0, REQUEST_MAILQ, &n), 0);
	assert_string_equal(k.all.p,
	                    "\t" SPOOL_PATH " is empty\n\t\t\tTotal requests: 0\n");
	sink_free(&k);
	fill();
	assert_int_equal(list(b, &k, 0, REQUEST_MAILQ, &n), 0);
	check_safe("mailq", buf_view(&k.all));
	check_has("total", &k, "; it is tried next in 5m\n\t\t\tTotal requests: 5\n");
	check_has("fault", &k, "\troute hub refuses all messages alike");
	check_not("not empty", &k, "is empty");
	check_has("message", &k, "       16 Fri Jan 15 07:43 <eddy@example.org>\n");
	check_has("deferred", &k, "(Deferred: 451 4.3.0 still \\x1b[2J busy)\n");
	check_has("rcpt", &k, "     <bob@example.net>\n");
	rest = buf_view(&k.all);
	while (str_cut(&rest, '\n', &line))
		ids += id_from(str_head(str_from(line, 1), ID_LEN), &id);
	assert_int_equal(ids, 5);
	sink_free(&k);
}

static void json(void **state)
{
	const struct bed *b = *state;
	struct sink k = { .all = BUF_INIT };
	struct id id = nth(1);
	char want[1000];
	size_t n = 0;

	fill();
	assert_int_equal(list(b, &k, 0, REQUEST_JSON, &n), 0);
	check_safe("json", buf_view(&k.all));
	snprintf(
	    want, sizeof(want),
	    "\t{\"id\":\"%s\",\"state\":\"waiting\",\"route\":\"hub\",\"uid\":1000,"
	    "\"login\":\"eddy\",\"size\":29,\"submitted\":1799999000,"
	    "\"due\":1800000320,\"tries\":2,\"sender\":\"eddy@example.org\","
	    "\"recipients\":[{\"address\":\"bob@example.net\",\"state\":\"deferred\","
	    "\"code\":451,\"text\":\"451 4.3.0 still \\u001b[2J busy\"},"
	    "{\"address\":\"ann@example.net\",\"state\":\"delivered\",\"code\":250,"
	    "\"text\":\"250 2.0.0 ok\"}]}\n",
	    id.c);
	check_has("waiting", &k, want);
	check_has("new", &k, "\"state\":\"new\",\"route\":\"\",\"uid\":1000,");
	check_has("bad", &k, "\"error\":\"");
	check_has("dropped", &k, "\"state\":\"dropped\"");
	check_not("routes", &k, "\troute");
	sink_free(&k);
	assert_int_equal(list(b, &k, 4711, REQUEST_JSON, &n), 0);
	assert_int_equal(k.all.n, 0);
	sink_free(&k);
}

static void shown(void **state)
{
	const struct bed *b = *state;
	struct sink k = { .all = BUF_INIT };
	struct id id = nth(1), dsn = id_derive(&id, 2), part = id_derive(&id, 900001);
	char want[200];

	fill();
	assert_int_equal(show(b, &k, 1000, REQUEST_TEXT, &id), 0);
	check_safe("show", buf_view(&k.all));
	check_has("by", &k, "\tby          uid 1000 eddy (Eddy Moe)\n");
	check_has("out", &k, "\tgoes out as eddy@isp.example\n");
	check_has("warned", &k, "\twarned      2027-01-15 07:46:40 UTC\n");
	check_has("doubt", &k, "UTC connection lost\n");
	snprintf(want, sizeof(want), "\treport      %s ", dsn.c);
	check_has("report", &k, want);
	snprintf(want, sizeof(want), "\tpart        %s ", part.c);
	check_has("part", &k, want);
	check_has(
	    "history", &k,
	    "\trecipient   bob@example.net  deferred\n"
	    "\t    2027-01-15 07:45:00 UTC  deferred: 450 4.2.1 busy \\xe9\n"
	    "\t    2027-01-15 07:50:00 UTC  deferred: 451 4.3.0 still \\x1b[2J busy\n"
	    "\trecipient   ann@example.net  delivered  NOTIFY=NEVER\n"
	    "\t    2027-01-15 07:45:00 UTC  delivered: 250 2.0.0 ok\n");
	check_has("header", &k,
	          "\theader\n\t    Subject: \\x1b]0;x\n\t     fold\n\t    X: y\n");
	sink_free(&k);
	assert_int_equal(show(b, &k, 1000, REQUEST_JSON, &id), 0);
	check_safe("show json", buf_view(&k.all));
	check_has("warnings", &k, "\"warnings\":[1799999200]");
	check_has("tried", &k, "\"tried\":[1799999101,1799999401]");
	snprintf(want, sizeof(want), "\"reports\":[\"%s\"],\"parts\":[\"%s\"]", dsn.c,
	         part.c);
	check_has("reports", &k, want);
	check_has("history", &k,
	          "\"history\":[{\"time\":1799999100,\"state\":\"deferred\",\"code\":450,"
	          "\"text\":\"450 4.2.1 busy \\\\xe9\"},{\"time\":1799999400,");
	check_has("header", &k,
	          "\"header\":\"Subject: \\u001b]0;x\\u000d\\n\\u0009fold\\nX: y\\n\"}");
	sink_free(&k);
}

static void shown_to_whom(void **state)
{
	const struct bed *b = *state;
	struct sink k = { .all = BUF_INIT };

	fill();
	for (unsigned i = 0; i < 5; i++) {
		struct id id = nth(i);

		assert_int_equal(show(b, &k, 0, REQUEST_TEXT, &id), 0);
		assert_int_equal(show(b, &k, 0, REQUEST_JSON, &id), 0);
		check_safe("show", buf_view(&k.all));
		sink_free(&k);
		assert_int_equal(show(b, &k, 4711, REQUEST_TEXT, &id), -ENOENT);
		assert_int_equal(show(b, &k, 4711, REQUEST_JSON, &id), -ENOENT);
		assert_int_equal(k.all.n, 0);
	}
	sink_free(&k);
}

/* The first message is out before the last is read; who does not listen ends it. */
static void streams(void **state)
{
	const struct bed *b = *state;
	struct sink k = { .all = BUF_INIT };
	size_t n = 0;

	for (unsigned i = 0; i < 20; i++) {
		struct id id = nth(i);

		put(in("queue/new", &id, ""),
		    STR(QUEUE_FILE("1000", "Rzoe@example.net\n", "\nx\n")), 0600);
	}
	assert_int_equal(list(b, &k, 0, REQUEST_JSON, &n), 0);
	assert_true(k.calls >= 20);
	sink_free(&k);
	k = (struct sink){ .all = BUF_INIT, .deaf_after = 2 };
	assert_int_equal(list(b, &k, 0, REQUEST_JSON, &n), -EPIPE);
	assert_int_equal(k.calls, 2);
	sink_free(&k);
}

/* Damage of all kinds: each is a line, and none ends the listing. */
static void hostile(void **state)
{
	static const struct {
		const char *name, *file, *note;
		const char *want; /* in the listing of an administrator */
	} rows[] = {
		{ "empty", "", NULL, "(damaged: it ends within the envelope)" },
		{ "cut", "mailchute 1\nU1000 e", NULL, "it ends within the envelope" },
		{ "binary",
		  "\x7f"
		  "ELF\x01\x02",
		  NULL, "(damaged: " },
		{ "control", QUEUE_FILE("1000", "Ra\x1b[2J@b\n", "x"), NULL,
		  "control byte" },
		{ "bad note", QUEUE_FILE("1000", "Ra@b\n", "x"), "rubbish\x1b\n",
		  "(its note is damaged: not a note of version 1)" },
		{ "cut note", QUEUE_FILE("1000", "Ra@b\n", "x"), "mailchute-note 1\nSa",
		  "(its note is damaged: the plan has no end)" },
		{ "results cut", QUEUE_FILE("1000", "Ra@b\n", "x"),
		  "mailchute-note 1\nS\nPhub a@b\n.\nr 1 T\nr 1\nr \nb \nr 1 T 5 4",
		  "a@b" },
		{ "large numbers", QUEUE_FILE("1000", "Ra@b\n", "x"),
		  "mailchute-note 1\nS\nPhub a@b\n.\nb 9999999999999999999\n"
		  "w 9223372036854775807\nr 1 T 9223372036854775807 999 \n",
		  "a@b" },
		{ "UTF-8", QUEUE_FILE("1000", "Rj\xc3\xbcrgen@b\xc3\xbc.example\n", "x"),
		  NULL, "j\\xc3\\xbcrgen@b\\xc3\\xbc.example" },
	};
	const struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = nth((unsigned)i);

		put(in("queue/new", &id, ""), str_z(rows[i].file), 0600);
		if (rows[i].note)
			put(in("note", &id, ""), str_z(rows[i].note), 0600);
	}
	for (enum request_format f = REQUEST_TEXT; f <= REQUEST_JSON; f++) {
		struct sink k = { .all = BUF_INIT };
		size_t n = 0;

		assert_int_equal(list(b, &k, 0, f, &n), 0);
		assert_int_equal(n, ARRAY_LEN(rows));
		check_safe("list", buf_view(&k.all));
		for (size_t i = 0; f == REQUEST_TEXT && i < ARRAY_LEN(rows); i++)
			check_has(rows[i].name, &k, rows[i].want);
		sink_free(&k);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct id id = nth((unsigned)i);
		struct sink k = { .all = BUF_INIT };

		if (show(b, &k, 0, REQUEST_TEXT, &id) < 0 ||
		    show(b, &k, 0, REQUEST_JSON, &id) < 0)
			fail_msg("%s: not shown", rows[i].name);
		check_safe(rows[i].name, buf_view(&k.all));
		sink_free(&k);
	}
}

/* Many recipients: the table names some, JSON all, in pieces. */
static void many(void **state)
{
	const struct bed *b = *state;
	_cleanup_buf_ struct buf file = BUF_INIT;
	struct sink k = { .all = BUF_INIT };
	struct id id = nth(0);
	size_t n = 0;

	buf_z(&file, "mailchute 1\nU1000 eddy\nT1799999000\nmailchute-drop 1\nF\n");
	for (unsigned i = 0; i < 20000; i++)
		buf_fmt(&file, "Rr%u@example.net\n", i);
	buf_z(&file, "\nSubject: x\n\nx\n");
	put(in("queue/new", &id, ""), buf_view(&file), 0600);
	assert_int_equal(list(b, &k, 0, REQUEST_TEXT, &n), 0);
	check_has("more", &k, "\t    r49@example.net\n\t    and 19950 more\n");
	check_has("null sender", &k, "  <>\n");
	check_not("more", &k, "r50@");
	sink_free(&k);
	k = (struct sink){ .all = BUF_INIT };
	assert_int_equal(list(b, &k, 0, REQUEST_JSON, &n), 0);
	assert_true(k.calls > 10);
	check_has("last", &k, "},{\"address\":\"r19999@example.net\",");
	check_not("comma", &k, "}{");
	check_not("comma", &k, "}\"");
	sink_free(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(text, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(text_of_a_user, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(routes, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(clients, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(mailq, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(json, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(shown, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(shown_to_whom, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(streams, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(hostile, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(many, bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests_name("serve_list", tests, NULL, NULL);
}
