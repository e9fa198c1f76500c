#include "spoolbed.h"

enum { OTHER = 65534 };

/* What a spool_adopt() told. */
struct told {
	unsigned adopted, junk, asked;
	struct id last, last_drop;
	int64_t size;
	const char *why;
	unsigned batch[3], all[3]; /* adopted of root, of OTHER, of a third */
	unsigned asked_may, cleared, tellings;
	int64_t kept_uid; /* one that may have no more than cap */
	unsigned cap;
};

static size_t of(uid_t uid)
{
	return uid == 0 ? 0 : uid == OTHER ? 1 : 2;
}

static bool may(void *arg, uid_t uid)
{
	struct told *t = arg;

	if ((int64_t)uid == t->kept_uid && t->asked_may >= t->cap)
		return false;
	t->asked_may += (int64_t)uid == t->kept_uid;
	return true;
}

static void cleared(void *arg, uid_t uid, unsigned names)
{
	struct told *t = arg;

	(void)uid;
	t->cleared += names;
	t->tellings++;
}

static void who(void *arg, uid_t uid, struct buf *ret_login, struct buf *ret_name)
{
	struct told *t = arg;

	(void)uid;
	t->asked++;
	buf_z(ret_login, "eddy");
	buf_z(ret_name, "Eddy Example");
}

static void adopted(void *arg, const struct adopted *a)
{
	struct told *t = arg;

	t->adopted++;
	t->last = a->id;
	t->last_drop = a->drop;
	t->size = a->size;
	t->batch[of(a->uid)]++;
	t->all[of(a->uid)]++;
	assert_true(str_eq(a->login, STR("eddy")));
}

static void junk(void *arg, const char *name, uid_t uid, const char *why)
{
	struct told *t = arg;

	(void)name, (void)uid;
	t->junk++;
	t->why = why;
}

static int adopt(struct bed *b, struct told *t, bool *more)
{
	const struct adopt_ops ops = { .who = who,
		                       .adopted = adopted,
		                       .may = t->kept_uid ? may : NULL,
		                       .junk = junk,
		                       .cleared = cleared,
		                       .arg = t };

	memset(t->batch, 0, sizeof(t->batch));
	return spool_adopt(&b->s, &ops, more);
}

/* Until nothing is left to adopt; how many came. */
static int adopt_all(struct bed *b, struct told *t)
{
	bool more = true;
	int n = 0;

	for (int i = 0; more; i++) {
		int e = adopt(b, t, &more);

		if (e < 0 || i > 100)
			fail_msg("adoption %d: %d", i, e);
		n += e;
	}
	return n;
}

#define DROP "mailchute-drop 1\nRa@b\n\nbody\n"

static void drop(const struct id *id)
{
	put(in("in/drop", id, ""), STR(DROP), 0640);
}

static void one(void **state)
{
	struct bed *b = *state;
	struct told t = { 0 };
	struct id id = nth(1);
	const char *path;
	char want[200];
	struct stat st;

	drop(&id);
	assert_int_equal(
	    utimensat(AT_FDCWD, in("in/drop", &id, ""),
	              (struct timespec[]){ { .tv_sec = 5 }, { .tv_sec = 1234567 } }, 0),
	    0);
	assert_int_equal(adopt_all(b, &t), 1);
	assert_int_equal(t.adopted, 1);
	assert_int_equal(t.junk, 0);
	assert_string_equal(t.last_drop.c, id.c);
	assert_int_equal(count("in/drop") + count("in/taken"), 0);
	assert_int_equal(count("queue/new"), 1);
	path = in("queue/new", &t.last, "");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	/* What is counted when it comes is what is taken away when it goes. */
	assert_int_equal(t.size, st.st_size);
	snprintf(want, sizeof(want),
	         "mailchute 1\nU%u eddy Eddy Example\nT1234567\n" DROP,
	         (unsigned)geteuid());
	assert_string_equal(content(path), want);
	assert_true(b->s.taken_dirty);
	/* Nothing is there: nothing happens. */
	assert_int_equal(adopt_all(b, &t), 0);
	assert_int_equal(count("queue/new"), 1);
}

static void sizes(void **state)
{
	static const size_t rows[] = { 0, 1, 32767, 32768, 32769, 65536, 1000000 };
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct told t = { 0 };
		struct id id = nth((unsigned)i);
		_cleanup_buf_ struct buf text = BUF_INIT, copy = BUF_INIT;
		const char *got;

		buf_z(&text, "");
		for (size_t n = 0; n < rows[i]; n++)
			buf_c(&text, (char)(n % 251));
		put(in("in/drop", &id, ""), buf_view(&text), 0640);
		assert_int_equal(adopt_all(b, &t), 1);
		assert_int_equal(
		    io_slurp_at(AT_FDCWD, in("queue/new", &t.last, ""), &copy, 2 << 20),
		    0);
		assert_int_equal(t.size, copy.n);
		got = strstr(copy.p, "\nT");
		got = got ? strchr(got + 1, '\n') : NULL;
		assert_non_null(got);
		if (copy.n - (size_t)(got + 1 - copy.p) != rows[i] ||
		    (rows[i] && memcmp(got + 1, text.p, rows[i]) != 0))
			fail_msg("%zu octets: changed", rows[i]);
	}
}

/* What is no message stays where it is; the messages beside it are adopted. */
static void junk_stays(void **state)
{
	static const char *const told[] = {
		"in/drop/0000000000000001", /* FIFO */
		"in/drop/0000000000000002", /* symbolic link to a message */
		"in/drop/0000000000000003", /* folder */
		"in/drop/0000000000000004", /* symbolic link to nothing */
	};
	static const char *const silent[] = {
		"in/drop/t.0000000000000005",  "in/drop/000000000000000",
		"in/drop/00000000000000010",   "in/drop/00000000000000AB",
		"in/drop/0000000000000001 ",   "in/drop/.hidden",
		"in/drop/000000000000000\xff", "in/drop/message",
	};
	struct bed *b = *state;
	struct told t = { 0 };
	struct id id = nth(1);

	assert_int_equal(mkfifo(told[0], 0640), 0);
	assert_int_equal(symlink("message", told[1]), 0);
	assert_int_equal(mkdir(told[2], 0750), 0);
	assert_int_equal(symlink("nothing", told[3]), 0);
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		put(silent[i], STR(DROP), 0640);
	drop(&id);
	assert_int_equal(adopt_all(b, &t), 1);
	assert_int_equal(t.adopted, 1);
	assert_int_equal(t.junk % ARRAY_LEN(told), 0);
	assert_string_equal(t.why, "not a regular file");
	for (size_t i = 0; i < ARRAY_LEN(told); i++)
		if (!there(told[i]))
			fail_msg("%s is gone", told[i]);
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		if (!there(silent[i]))
			fail_msg("%s is gone", silent[i]);
	assert_int_equal(count("queue/new"), 1);
}

/* Another user's file, as root only. */
static void others(void **state)
{
	static const struct {
		const char *name;
		mode_t mode;
		bool group, want;
	} rows[] = {
		{ "as the injector makes it", 0640, true, true },
		{ "of another group", 0640, false, false },
		{ "closed to the group", 0600, true, false },
	};
	struct bed *b = *state;

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct told t = { 0 };
		struct id id = nth((unsigned)i);

		drop(&id);
		assert_int_equal(chown(in("in/drop", &id, ""), OTHER,
		                       rows[i].group ? getegid() : OTHER),
		                 0);
		assert_int_equal(chmod(in("in/drop", &id, ""), rows[i].mode), 0);
		if (adopt_all(b, &t) != rows[i].want || t.junk != !rows[i].want)
			fail_msg("%s: %u adopted, %u junk", rows[i].name, t.adopted,
			         t.junk);
		if (rows[i].want &&
		    !strstr(content(in("queue/new", &t.last, "")), "\nU65534 eddy "))
			fail_msg("%s: not attested", rows[i].name);
		unlink(in("in/drop", &id, ""));
	}
}

/* A second name for the file: what is queued is a copy that nobody can change. */
static void two_names(void **state)
{
	struct bed *b = *state;
	struct told t = { 0 };
	struct id id = nth(1);

	drop(&id);
	assert_int_equal(link(in("in/drop", &id, ""), "in/drop/other"), 0);
	assert_int_equal(adopt_all(b, &t), 1);
	put("in/drop/other", STR("changed"), 0640);
	assert_non_null(strstr(content(in("queue/new", &t.last, "")), DROP));
	assert_int_equal(count("in/taken"), 0);
}

static void many(void **state)
{
	struct bed *b = *state;
	struct told t = { 0 };
	bool more = true;

	for (unsigned i = 0; i < 3 * ADOPT_BATCH + 1; i++) {
		struct id id = nth(i);

		drop(&id);
	}
	assert_int_equal(adopt(b, &t, &more), 0); /* taken/ goes first */
	assert_true(more);
	assert_int_equal(adopt(b, &t, &more), ADOPT_BATCH);
	assert_true(more);
	assert_int_equal(count("queue/new"), ADOPT_BATCH);
	assert_int_equal(adopt_all(b, &t), 2 * ADOPT_BATCH + 1);
	assert_int_equal(t.adopted, 3 * ADOPT_BATCH + 1);
	assert_int_equal(count("queue/new"), 3 * ADOPT_BATCH + 1);
	assert_int_equal(count("in/drop") + count("in/taken"), 0);
}

/* taken/ as a crash left it: exactly one message comes of each. */
static void leftovers(void **state)
{
	static const struct {
		const char *name;
		bool taken, copy, temp;
	} rows[] = {
		{ "taken, not copied", true, false, false },
		{ "taken, copy cut short", true, false, true },
		{ "taken and copied", true, true, false },
		{ "taken, copied and begun again", true, true, true },
		{ "copied, drop gone", false, true, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int recover = 1; recover >= 0; recover--) {
			struct bed *b = *state;
			struct told t = { 0 };
			struct id id = nth((unsigned)i);
			const char *where;
			char temp[64];

			spool_close(&b->s);
			snprintf(temp, sizeof(temp), "queue/new/t.%s", id.c);
			if (rows[i].taken)
				put(in("in/taken", &id, ""), STR(DROP), 0640);
			if (rows[i].copy)
				put(in("queue/new", &id, ""),
				    STR("mailchute 1\nU0 -\nT1\n" DROP), 0600);
			if (rows[i].temp)
				put(temp, STR("mailchute 1\nU0"), 0600);
			assert_int_equal(spool_open(&b->s, b->root, true, &where), 0);
			spool_sweep(&b->s, NOW, true);
			if (recover)
				spool_recover(&b->s);
			adopt_all(b, &t);
			if (count("queue/new") != 1 || count("in/taken") != 0 ||
			    count("in/drop") != 0 || !there(in("queue/new", &id, "")))
				fail_msg("%s: %zu messages, %zu taken", rows[i].name,
				         count("queue/new"), count("in/taken"));
			if (!strstr(content(in("queue/new", &id, "")), DROP))
				fail_msg("%s: damaged", rows[i].name);
			unlink(in("queue/new", &id, ""));
		}
}

/* More leftovers than a batch, and fresh ones behind them. */
static void many_leftovers(void **state)
{
	struct bed *b = *state;
	struct told t = { 0 };

	for (unsigned i = 0; i < 2 * ADOPT_BATCH + 10; i++) {
		struct id id = nth(i), fresh = nth(i + 1000);

		put(in("in/taken", &id, ""), STR(DROP), 0640);
		drop(&fresh);
		if (i % 3 == 0)
			put(in("queue/new", &id, ""), STR("complete"), 0600);
	}
	spool_recover(&b->s);
	adopt_all(b, &t);
	assert_int_equal(count("queue/new"), 4 * ADOPT_BATCH + 20);
	assert_int_equal(count("in/taken") + count("in/drop"), 0);
}

/* The spool fails: nothing is lost, nothing is visible, and it says so (a caller that is
 * told of more to do would try again at once, for ever). */
static void failing(void **state)
{
	static const char *const rows[] = { "queue/new", "in/taken" };
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct told t = { 0 };
		bool more = true;
		const char *where;

		for (unsigned n = 0; n < ADOPT_BATCH + 10; n++) {
			struct id id = nth(n);

			drop(&id);
		}
		/* The folder is removed under it: no file can be made there. */
		assert_int_equal(rmdir(rows[i]), 0);
		b->s.taken_left = false;
		if (adopt(b, &t, &more) >= 0 || more)
			fail_msg("%s gone: more %d", rows[i], more);
		assert_int_equal(t.adopted, 0);
		spool_close(&b->s);
		assert_int_equal(spool_open(&b->s, b->root, true, &where), 0);
		spool_recover(&b->s);
		adopt_all(b, &t);
		if (t.adopted != ADOPT_BATCH + 10 ||
		    count("queue/new") != ADOPT_BATCH + 10)
			fail_msg("%s: %u adopted", rows[i], t.adopted);
		for (DIR *d = opendir("queue/new"); d; d = NULL) {
			for (struct dirent *e; (e = readdir(d));)
				if (e->d_name[0] != '.')
					unlinkat(dirfd(d), e->d_name, 0);
			closedir(d);
		}
	}
}

/* After the clock was set back an id may be in use: neither message becomes the other. */
static void id_in_use(void **state)
{
	struct bed *b = *state;
	struct told t = { 0 };
	struct id one, two, id = nth(1);
	uint64_t at;

	b->s.last_id = UINT64_C(0x0fff000000000000); /* the year 2527: ids count on */
	at = b->s.last_id;
	one = spool_new_id(&b->s);
	two = spool_new_id(&b->s);
	b->s.last_id = at;
	put(in("queue/new", &one, ""), STR("first"), 0600);
	put(in("note", &two, ""), STR("second"), 0600);
	drop(&id);
	assert_int_equal(adopt_all(b, &t), 1);
	assert_string_equal(content(in("queue/new", &one, "")), "first");
	assert_true(id_cmp(&t.last, &two) > 0);
	assert_non_null(strstr(content(in("queue/new", &t.last, "")), DROP));
}

/* n drops of a user, from the number on. */
static void drops(uid_t uid, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		struct id id = nth(i);

		drop(&id);
		if (uid)
			assert_int_equal(chown(in("in/drop", &id, ""), uid, getegid()),
			                 0);
	}
}

/* While others wait, nobody gets more than half of a batch; alone, all of it. */
static void shares(void **state)
{
	static const struct {
		const char *name;
		unsigned root, other, third;
	} rows[] = {
		{ "one of another", 600, 1, 0 },
		{ "a few of two others", 100, 5, 5 },
		{ "as many", 100, 100, 0 },
		{ "alone", 150, 0, 0 },
		{ "three", 100, 100, 100 },
		{ "more than one look takes", 700, 40, 0 },
	};
	struct bed *b = *state;

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct told t = { 0 };
		const unsigned want[] = { rows[i].root, rows[i].other, rows[i].third };
		unsigned others = rows[i].other + rows[i].third, calls = 0;
		bool more = true;

		drops(0, 0, rows[i].root);
		drops(OTHER, 10000, rows[i].other);
		drops(1234, 20000, rows[i].third);
		b->s.taken_left = false;
		while (more && calls++ < 500) {
			bool wait = t.all[1] + t.all[2] < others;
			int n = adopt(b, &t, &more);

			if (n < 0)
				fail_msg("%s: %d", rows[i].name, n);
			/* A look of 4096 names finds the few others' wherever they are. */
			if (wait && rows[i].root <= 500 && t.batch[0] > ADOPT_HALF &&
			    t.all[1] + t.all[2] < others)
				fail_msg("%s: %u of one uid in a batch, %u of others",
				         rows[i].name, t.batch[0],
				         t.batch[1] + t.batch[2]);
			if (others == 0 && more && n != ADOPT_BATCH)
				fail_msg("%s: a batch of %d", rows[i].name, n);
		}
		for (size_t u = 0; u < 3; u++)
			if (t.all[u] != want[u])
				fail_msg("%s: %u of %u", rows[i].name, t.all[u], want[u]);
		assert_int_equal(count("in/drop"), 0);
	}
}

/* However many one has dropped, the other's are there after one round through the names. */
static void not_starved(void **state)
{
	enum { FLOOD = 1300 };
	struct bed *b = *state;
	struct told t = { 0 };
	unsigned calls = 0;
	bool more = true;

	if (geteuid() != 0)
		skip();
	drops(0, 0, FLOOD / 2);
	drops(OTHER, 10000, 3);
	drops(0, 20000, FLOOD / 2);
	b->s.taken_left = false;
	while (t.all[1] < 3 && more && calls++ < 200)
		assert_true(adopt(b, &t, &more) >= 0);
	if (t.all[1] < 3 || calls > 2 * FLOOD / ADOPT_BEHIND + 2)
		fail_msg("%u of 3 after %u calls", t.all[1], calls);
}

/* Who has enough waits in the drop, and holds up nobody. */
static void caps(void **state)
{
	static const struct {
		const char *name;
		unsigned cap, his, others;
	} rows[] = {
		{ "none", 0, 100, 10 },
		{ "some", 40, 100, 100 },
		{ "less than half a batch", 7, 150, 20 },
		{ "all", 100, 100, 0 },
	};
	struct bed *b = *state;

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct told t = { .kept_uid = OTHER, .cap = rows[i].cap };

		drops(OTHER, 0, rows[i].his);
		drops(0, 10000, rows[i].others);
		adopt_all(b, &t);
		if (t.all[1] != rows[i].cap || t.all[0] != rows[i].others ||
		    count("in/drop") != rows[i].his - rows[i].cap)
			fail_msg("%s: %u of his, %u of others", rows[i].name, t.all[1],
			         t.all[0]);
		/* Nothing changed: nothing happens. */
		assert_int_equal(adopt_all(b, &t), 0);
		t = (struct told){ 0 };
		assert_int_equal(adopt_all(b, &t), rows[i].his - rows[i].cap);
	}
}

/* Much junk goes, also what is named like a message and cannot be one; what may be being
 * written does not. */
static void much_junk(void **state)
{
	enum { KINDS = 5, EACH = 500, FULL = 20 };
	static const char *const kept[] = {
		"in/drop/t.0000000000000003",
		"in/drop/t.0000000000000004",
	};
	struct bed *b = *state;
	struct told t = { 0 };
	char path[100];

	put(kept[0], STR("being written"), 0640);
	assert_int_equal(symlink("nowhere", kept[1]), 0);
	for (unsigned i = 0; i < KINDS * EACH; i++) {
		snprintf(path, sizeof(path),
		         i % KINDS && i % 2 ? "in/drop/%016x" : "in/drop/junk%u", i);
		if (i % KINDS == 0)
			put(path, STR("file"), 0600);
		else if (i % KINDS == 1)
			assert_int_equal(mkfifo(path, 0600), 0);
		else if (i % KINDS == 2)
			assert_int_equal(symlink("/etc/passwd", path), 0);
		else
			assert_int_equal(mkdir(path, 0700), 0);
	}
	for (unsigned i = 0; i < FULL; i++) {
		snprintf(path, sizeof(path), "in/drop/full%u", i);
		assert_int_equal(mkdir(path, 0700), 0);
		snprintf(path, sizeof(path), "in/drop/full%u/x", i);
		put(path, STR("x"), 0600);
	}
	drops(0, 5, 10);
	assert_int_equal(adopt_all(b, &t), 10);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (!there(kept[i]))
			fail_msg("%s is gone", kept[i]);
	/* All that is over, but the folders that hold something. */
	if (count("in/drop") > ADOPT_JUNK + ARRAY_LEN(kept) + FULL ||
	    count("in/drop") < ADOPT_JUNK + ARRAY_LEN(kept))
		fail_msg("%zu names left", count("in/drop"));
	assert_int_equal(t.cleared,
	                 KINDS * EACH + FULL + ARRAY_LEN(kept) - count("in/drop"));
	assert_true(t.tellings > 0 && t.tellings <= 3);
	/* Files and links are kept for a while; nothing was followed. */
	assert_true(count("junk") > 0 && count("junk") <= 2 * EACH);
	assert_true(there("/etc/passwd"));
	for (unsigned i = 0; i < FULL; i++) {
		snprintf(path, sizeof(path), "in/drop/full%u/x", i);
		assert_true(there(path));
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(one),    T(sizes),       T(junk_stays),     T(others),    T(two_names),
		T(many),   T(leftovers),   T(many_leftovers), T(failing),   T(id_in_use),
		T(shares), T(not_starved), T(caps),           T(much_junk),
	};

	return cmocka_run_group_tests_name("adopt", tests, NULL, NULL);
}
