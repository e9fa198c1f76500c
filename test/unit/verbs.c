#include "spoolbed.h"
#include "daemon/verbs.h"
#include "base/log.h"
#include <sysexits.h>

enum { OWNER = 54321, STRANGER = 54322, BUCKET = 7 };
#define NOTE "mailchute-note 1\nSa@b\nPr c@d\n.\nr 1 T 5 450 later\ne 5\n"

/* What the callbacks were told. */
struct told {
	bool in_hand;
	enum verb verb;
	unsigned news, gone, back;
	uid_t uid, by;
	int64_t octets;
};

static bool in_hand(void *arg, const struct id *id, enum verb v, uid_t by)
{
	struct told *t = arg;

	assert_true(id_ok(id->c));
	t->verb = v;
	t->by = by;
	return t->in_hand;
}

static void news(void *arg, uid_t by)
{
	struct told *t = arg;

	t->news++;
	t->by = by;
}

static void gone(void *arg, uid_t uid, int64_t octets)
{
	struct told *t = arg;

	t->gone++;
	t->uid = uid;
	t->octets = octets;
}

static void back(void *arg, uid_t uid, int64_t octets)
{
	struct told *t = arg;

	t->back++;
	t->uid = uid;
	t->octets = octets;
}

static int stderr_was = -1;

/* A failure's words go to the standard error that was, not into the log. */
#define FAIL(...)                      \
	do {                           \
		dup2(stderr_was, 2);   \
		fail_msg(__VA_ARGS__); \
	} while (0)

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

/* Where a message is: "new", "route", "hold", "bad", "drop", "taken", "-". */
static const char *where(const struct id *id)
{
	static const struct {
		const char *folder, *name;
	} places[] = { { "queue/new", "new" }, { "queue/r/00000007", "route" },
		       { "hold", "hold" },     { "bad", "bad" },
		       { "in/drop", "drop" },  { "in/taken", "taken" } };
	const char *ret = "-";

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (there(in(places[i].folder, id, "")))
			ret = ret[0] == '-' ? places[i].name : "twice";
	return ret;
}

/* Its note, wherever it is. */
static const char *note_of(const struct id *id)
{
	if (there(in("note", id, "")))
		return content(in("note", id, ""));
	if (there(in("hold", id, ".note")))
		return content(in("hold", id, ".note"));
	return content(in("bad", id, ".note"));
}

/* Puts a message of OWNER somewhere. */
static void message(const char *at, const struct id *id, bool noted, bool damaged)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *folder = strcmp(at, "new") == 0     ? "queue/new"
	                     : strcmp(at, "route") == 0 ? "queue/r/00000007"
	                     : strcmp(at, "drop") == 0  ? "in/drop"
	                     : strcmp(at, "taken") == 0 ? "in/taken"
	                                                : at;

	buf_fmt(&b, "mailchute %d\nU%d - \nT1\n", damaged ? 9 : 1, OWNER);
	if (strcmp(at, "-") == 0)
		return;
	assert_true(mkdir("queue/r", 0700) == 0 || errno == EEXIST);
	assert_true(mkdir("queue/r/00000007", 0700) == 0 || errno == EEXIST);
	put(in(folder, id, ""), buf_view(&b), 0600);
	if (noted && folder[0] == 'q')
		put(in("note", id, ""), STR(NOTE), 0600);
	else if (noted)
		put(in(folder, id, ".note"), STR(NOTE), 0600);
}

enum { NOTED = 1, IN_HAND = 2, DAMAGED = 4, NEWS = 8, GONE = 16, BACK = 32 };

struct row {
	const char *name, *at;
	unsigned how;
	enum verb verb;
	uid_t asks;
	int code;
	const char *where, *words, *log; /* NULL: nothing is logged */
	unsigned told;
};

static void one_row(struct bed *b, const struct row *r, unsigned n)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	struct told t = { .in_hand = r->how & IN_HAND };
	const struct verb_ops ops = {
		.in_hand = in_hand, .news = news, .gone = gone, .back = back, .arg = &t
	};
	struct id id = nth(n);
	unsigned told;
	int code;

	message(r->at, &id, r->how & NOTED, r->how & DAMAGED);
	assert_int_equal(ftruncate(2, 0), 0);
	code = verb_do(&b->s, &ops, r->verb, r->asks, &id, &words);
	if (code != r->code || strcmp(where(&id), r->where) != 0)
		FAIL("%s: code %d, is in %s: %s", r->name, code, where(&id), words.p);
	if (!strstr(words.p, r->words) || strchr(words.p, '\n'))
		FAIL("%s: %s", r->name, words.p);
	if (r->log ? !strstr(content("log"), r->log) : content("log")[0] != '\0')
		FAIL("%s: log: %s", r->name, content("log"));
	told = (t.news ? NEWS : 0) | (t.gone ? GONE : 0) | (t.back ? BACK : 0);
	if (told != r->told)
		FAIL("%s: told %u", r->name, told);
	if ((t.verb || t.news) && t.by != r->asks)
		FAIL("%s: asked by %u", r->name, t.by);
	if ((t.gone || t.back) && !(r->how & DAMAGED) &&
	    (t.uid != OWNER || t.octets != 25))
		FAIL("%s: of %u, %lld octets", r->name, t.uid, (long long)t.octets);
	if (strcmp(r->where, "-") != 0 && (r->how & NOTED) &&
	    strncmp(note_of(&id), NOTE, strlen(NOTE)) != 0)
		FAIL("%s: its note: %s", r->name, note_of(&id));
	if (strcmp(r->where, "-") == 0 && strcmp(note_of(&id), "(none)") != 0)
		FAIL("%s: its note is left", r->name);
}

static void verbs(void **state)
{
	static const struct row rows[] = {
		{ "hold a new one", "new", 0, VERB_HOLD, 0, 0, "hold", "is held",
		  "held id=", 0 },
		{ "hold a waiting one", "route", NOTED, VERB_HOLD, OWNER, 0, "hold",
		  "is held", "by=54321", 0 },
		{ "hold a held one", "hold", NOTED, VERB_HOLD, OWNER, 0, "hold",
		  "already", NULL, 0 },
		{ "hold a bad one", "bad", NOTED, VERB_HOLD, OWNER, 0, "bad", "bad/",
		  NULL, 0 },
		{ "hold another's", "route", NOTED, VERB_HOLD, STRANGER, EX_NOINPUT,
		  "route", "no such message", NULL, 0 },
		{ "hold one in hand", "route", NOTED | IN_HAND, VERB_HOLD, OWNER, 0,
		  "route", "when its try has ended", "remembered id=", 0 },
		{ "another's in hand", "route", NOTED | IN_HAND, VERB_HOLD, STRANGER,
		  EX_NOINPUT, "route", "no such message", NULL, 0 },
		{ "release a held one", "hold", 0, VERB_RELEASE, OWNER, 0, "new",
		  "is released", "released id=", NEWS },
		{ "release with its note", "hold", NOTED, VERB_RELEASE, 0, 0, "new",
		  "is released", "by=0", NEWS },
		{ "release a bad one", "bad", NOTED, VERB_RELEASE, 0, 0, "new",
		  "is released", "released id=", NEWS | BACK },
		{ "release a free one", "route", 0, VERB_RELEASE, 0, 0, "route",
		  "not held", NULL, 0 },
		{ "release one in hand", "route", IN_HAND, VERB_RELEASE, 0, 0, "route",
		  "not held", "what=release", 0 },
		{ "release another's", "hold", 0, VERB_RELEASE, STRANGER, EX_NOINPUT,
		  "hold", "no such message", NULL, 0 },
		{ "delete a new one", "new", 0, VERB_DELETE, OWNER, 0, "-", "is deleted",
		  "deleted id=", GONE },
		{ "delete a waiting one", "route", NOTED, VERB_DELETE, 0, 0, "-",
		  "is deleted", "deleted id=", GONE },
		{ "delete a held one", "hold", NOTED, VERB_DELETE, OWNER, 0, "-",
		  "is deleted", "deleted id=", GONE },
		{ "delete a bad one", "bad", NOTED, VERB_DELETE, OWNER, 0, "-",
		  "is deleted", "deleted id=", 0 },
		{ "delete another's", "new", 0, VERB_DELETE, STRANGER, EX_NOINPUT, "new",
		  "no such message", NULL, 0 },
		{ "delete one in hand", "new", IN_HAND, VERB_DELETE, OWNER, 0, "new",
		  "deleted when", "what=delete", 0 },
		{ "a damaged one is not its user's", "bad", DAMAGED, VERB_DELETE, OWNER,
		  EX_NOINPUT, "bad", "no such message", NULL, 0 },
		{ "root deletes a damaged one", "route", DAMAGED, VERB_DELETE, 0, 0, "-",
		  "is deleted", "deleted id=", GONE },
		{ "nobody is not the owner of a damaged one", "route", DAMAGED,
		  VERB_DELETE, (uid_t)-1, EX_NOINPUT, "route", "no such message", NULL,
		  0 },
		{ "retry a waiting one", "route", NOTED, VERB_RETRY, OWNER, 0, "new",
		  "tried next", "requeued id=", NEWS },
		{ "retry a new one", "new", 0, VERB_RETRY, OWNER, 0, "new", "tried next",
		  "requeued id=", NEWS },
		{ "retry one in hand", "route", IN_HAND, VERB_RETRY, OWNER, 0, "route",
		  "being tried now", NULL, 0 },
		{ "retry a held one", "hold", 0, VERB_RETRY, OWNER, EX_TEMPFAIL, "hold",
		  "release it", NULL, 0 },
		{ "retry a bad one", "bad", 0, VERB_RETRY, OWNER, EX_TEMPFAIL, "bad",
		  "release it", NULL, 0 },
		{ "retry another's", "route", NOTED, VERB_RETRY, STRANGER, EX_NOINPUT,
		  "route", "no such message", NULL, 0 },
		{ "recompose without a note", "route", 0, VERB_RECOMPOSE, OWNER, 0, "new",
		  "anew", "requeued id=", NEWS },
		{ "recompose one in hand", "route", NOTED | IN_HAND, VERB_RECOMPOSE,
		  OWNER, EX_TEMPFAIL, "route", "ask again", NULL, 0 },
		{ "nowhere", "-", 0, VERB_DELETE, 0, EX_NOINPUT, "-", "no such message",
		  NULL, 0 },
		{ "not yet taken", "drop", 0, VERB_DELETE, 0, EX_TEMPFAIL, "drop", "yet",
		  NULL, 0 },
		{ "being taken", "taken", 0, VERB_HOLD, 0, EX_TEMPFAIL, "taken", "yet",
		  NULL, 0 },
		{ "another's drop", "drop", 0, VERB_DELETE, STRANGER, EX_NOINPUT, "drop",
		  "no such message", NULL, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		one_row(*state, &rows[i], i);
}

static void recompose(void **state)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	const struct verb_ops none = { .arg = NULL };
	struct bed *b = *state;
	struct id id = nth(1);
	const char *line;

	message("route", &id, true, false);
	assert_int_equal(verb_do(&b->s, &none, VERB_RECOMPOSE, OWNER, &id, &words), 0);
	assert_string_equal(where(&id), "new");
	line = note_of(&id);
	assert_int_equal(strncmp(line, NOTE, strlen(NOTE)), 0);
	line += strlen(NOTE);
	assert_int_equal(strncmp(line, "c 1", 3), 0);
	assert_string_equal(strchr(line, '\n'), "\n");
}

/* Somebody's drop with the name of another's message tells its owner nothing. */
static void drop_of_that_name(void **state)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	const struct verb_ops none = { .arg = NULL };
	struct bed *b = *state;
	struct id id = nth(2);

	if (geteuid() != 0)
		skip();
	message("route", &id, false, false);
	message("drop", &id, false, false);
	assert_int_equal(chown(in("in/drop", &id, ""), STRANGER, 0), 0);
	assert_int_equal(verb_do(&b->s, &none, VERB_DELETE, STRANGER, &id, &words),
	                 EX_TEMPFAIL);
	assert_string_equal(where(&id), "twice");
}

static void words_of_verbs(void **state)
{
	static const struct {
		const char *in;
		enum verb want;
	} rows[] = { { "hold", VERB_HOLD },     { "release", VERB_RELEASE },
		     { "delete", VERB_DELETE }, { "retry", VERB_RETRY },
		     { "", VERB_NONE },         { "holds", VERB_NONE },
		     { "hol", VERB_NONE },      { "HOLD", VERB_NONE } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (verb_from(str_z(rows[i].in)) != rows[i].want)
			fail_msg("\"%s\"", rows[i].in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(verbs, setup, teardown),
		cmocka_unit_test_setup_teardown(recompose, setup, teardown),
		cmocka_unit_test_setup_teardown(drop_of_that_name, setup, teardown),
		cmocka_unit_test(words_of_verbs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
