#include "daemon/intake.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "prog/who.h"
#include "spool/door.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
	SCAN_EVERY_MS = 50,
	SCAN_SHARE = 3,           /* scans in vain take at most a quarter of the time */
	REST_MS = 100,            /* at most, behind a batch while drops pour in... */
	REST_FOR_MS = 5000,       /* ...and not for longer than this */
	CLEARED_AFTER_MS = 5000,  /* then what was cleared since the first is told... */
	CLEARED_EVERY_MS = 60000, /* ...and no more often */
	KEPT_MS = 1000,           /* after one has left: those kept waiting may come in */
	ADOPT_RETRY_MS = 10000,   /* after the disk was full */
	CENSUS_AFTER_MS = 1000,   /* what goes at once need not be counted */
	CENSUS_AGAIN_MS = 300000, /* after one that failed */
	CENSUS_MAX = 1 << 20,     /* octets that the counting child may say */
	DOOR_SHUT = 600,          /* seconds that a shut door stays so without us */
	DOOR_RENEW = 300,
	CLIENT_AHEAD = 2048, /* octets of a queue file up to its line C, and that */
	DISK_PART = 16,      /* the floor is at most this part of a small disk */
	INODES = 1024,
	INODES_PART = 64,
};

/* ---- What waits ---- */

/* In a child: reads whole folders. */
static int census(void *arg, struct buf *out)
{
	const struct spool *s = arg;
	int e = child_apart("mailchute-count", s->root);

	return e < 0 ? e : usage_count(CHILD_KEPT, out);
}

static void census_begin(struct intake *in)
{
	in->census_at = -1;
	if (child_begin(&in->census, census, in->spool, CENSUS_MAX) < 0) {
		in->census_at = clock_ms() + CENSUS_AFTER_MS;
		return;
	}
	in->spool->uncounted = false;
	memset(&in->gone, 0, sizeof(in->gone));
}

/* Counts go wrong by what comes and goes during a count, and by what no push lived to tell: so
 * a door is not kept shut by a count that is old. */
static void count(struct intake *in, int64_t now)
{
	bool due = (in->door_renew && now >= in->door_renew) || in->spool->uncounted;

	if (in->census_at >= 0)
		due = clock_ms() >= in->census_at;
	if (due && in->census.fd < 0)
		census_begin(in);
}

/* What left during the count may have been seen before: rather too few than too many, which
 * would keep its sender out. */
static void census_take(struct intake *in)
{
	memset(&in->usage, 0, sizeof(in->usage));
	usage_take(&in->usage, buf_view(&in->census.said));
	for (size_t i = 0; i < in->gone.users; i++) {
		const struct usage_user *u = &in->gone.user[i];

		for (int64_t n = u->messages; n > 0; n--)
			usage_add(&in->usage, u->uid, n == 1 ? u->octets : 0, -1);
	}
}

void intake_census(struct intake *in)
{
	int e;

	if (!child_hear(&in->census, &e))
		return;
	if (e == 0) {
		census_take(in);
		in->changed = true;
		log_line(LOG_LEVEL_DEBUG, "counted messages=%lld octets=%lld",
		         (long long)in->usage.messages, (long long)in->usage.octets);
	} else {
		log_line(LOG_LEVEL_WARNING, "spool-error what=count why=\"%s\"",
		         strerror(-e));
		in->census_at = clock_ms() + CENSUS_AGAIN_MS;
	}
	buf_free(&in->census.said);
}

void intake_count(struct intake *in, uid_t uid, int64_t octets, int sign)
{
	usage_add(&in->usage, uid, octets, sign);
	if (in->census.fd >= 0 && sign < 0)
		usage_add(&in->gone, uid, octets, 1);
	in->changed = true;
	if (sign > 0 || !in->kept)
		return;
	in->kept = false;
	in->scan = true;
	if (in->scan_after < clock_ms() + KEPT_MS)
		in->scan_after = clock_ms() + KEPT_MS;
}

/* ---- The door ---- */

static bool over(int64_t value, int64_t limit, bool shut)
{
	/* A door that is shut opens when a tenth is free again. */
	return limit > 0 && value >= (shut ? limit - limit / 10 : limit);
}

/* more: messages that are about to be added. */
static bool all_refused(const struct intake *in, bool shut, int64_t more,
                        struct buf *words)
{
	const struct conf *c = in->conf;

	if (over(in->usage.messages + more, c->max_messages, shut)) {
		if (words)
			buf_fmt(words, "%lld messages wait already (max-messages)",
			        (long long)in->usage.messages);
		return true;
	}
	if (over(in->usage.octets, c->max_bytes, shut)) {
		if (words)
			buf_fmt(words, "%lld octets wait already (max-bytes)",
			        (long long)in->usage.octets);
		return true;
	}
	return false;
}

/* his, all: messages that are about to be added, of this uid and of all. */
static bool may_more(const struct intake *in, uid_t uid, int64_t his, int64_t all,
                     struct buf *ret_words)
{
	/* Our own are the reports; root must be heard when something is wrong. */
	if (uid == 0 || uid == geteuid())
		return true;
	if (all_refused(in, in->shut, all, ret_words))
		return false;
	his += usage_of(&in->usage, uid);
	if (!over(his, in->conf->max_per_user, false))
		return true;
	if (ret_words)
		buf_fmt(ret_words, "%lld messages of yours wait already (max-per-user)",
		        (long long)his);
	return false;
}

bool intake_may(const struct intake *in, uid_t uid, struct buf *ret_words)
{
	return may_more(in, uid, 0, 0, ret_words);
}

static bool disk_floors(const struct intake *in, struct door *d, int64_t *ret_free,
                        int64_t *ret_inodes)
{
	struct statvfs v;
	int64_t disk;

	if (fstatvfs(in->spool->new, &v) < 0)
		return false;
	/* A tmpfs may have no limit, and some file systems have no inodes to count. */
	disk = (int64_t)(v.f_blocks * v.f_frsize);
	d->free =
	    in->conf->min_free < disk / DISK_PART ? in->conf->min_free : disk / DISK_PART;
	d->inodes = (int64_t)v.f_files / INODES_PART;
	d->inodes = d->inodes < INODES ? d->inodes : INODES;
	*ret_free = v.f_blocks ? (int64_t)(v.f_bavail * v.f_frsize) : INT64_MAX;
	*ret_inodes = v.f_files ? (int64_t)v.f_favail : INT64_MAX;
	return true;
}

bool intake_room(const struct intake *in, uid_t uid, int64_t octets)
{
	struct door d = { 0 };
	int64_t left, inodes;
	int share = uid == 0 ? 2 : 1;

	if (!disk_floors(in, &d, &left, &inodes))
		return true;
	return left - octets >= d.free / share && inodes >= d.inodes / share;
}

static void door_users(struct intake *in, struct door *d, struct buf *words, int64_t now)
{
	const struct usage *u = &in->usage;

	for (size_t i = 0; i < u->users && d->users < DOOR_USERS_MAX; i++) {
		struct buf *w = &words[d->users];

		buf_reset(w);
		if (u->user[i].uid == (uid_t)-1 || intake_may(in, u->user[i].uid, w))
			continue;
		d->user[d->users++] =
		    (struct door_user){ u->user[i].uid, now + DOOR_SHUT, buf_view(w) };
	}
}

void intake_door(struct intake *in, int64_t now)
{
	struct buf words[DOOR_USERS_MAX + 1] = { 0 };
	_cleanup_buf_ struct buf why = BUF_INIT, text = BUF_INIT;
	int64_t left, inodes;
	struct door d = { .size = in->conf->max_message_size };
	bool was_shut = in->shut;

	count(in, now);
	if (!in->changed && (in->door_renew == 0 || now < in->door_renew))
		return;
	in->changed = false;
	disk_floors(in, &d, &left, &inodes);
	in->shut = all_refused(in, in->shut, 0, &why);
	if (in->shut) {
		d.shut_until = now + DOOR_SHUT;
		d.shut_words = buf_view(&why);
	} else {
		door_users(in, &d, words, now);
	}
	if (in->shut != was_shut)
		log_line(in->shut ? LOG_LEVEL_ALERT : LOG_LEVEL_INFO, "door %s%s%s%s",
		         in->shut ? "state=shut" : "state=open",
		         in->shut ? " why=\"" : "", in->shut ? why.p : "",
		         in->shut ? "\"" : "");
	in->door_renew = in->shut || d.users ? now + DOOR_RENEW : 0;
	door_print(&text, &d);
	door_write(in->spool, buf_view(&text));
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		buf_free(&words[i]);
}

/* ---- Adoption ---- */

/* Whose mail it is that mailchute-smtpd took: its line C, just behind the drop's first. */
void intake_client(const struct intake *in, const struct id *id, uid_t uid,
                   struct buf *line)
{
	static const char mark[] = "\nmailchute-drop 1\nC";
	char head[CLIENT_AHEAD];
	_cleanup_fd_ int fd = -1;
	const char *at;
	struct str rest, client;
	ssize_t n;

	if (in->conf->listener_uid < 0 || uid != (uint64_t)in->conf->listener_uid)
		return;
	fd = openat(in->spool->new, id->c, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	n = fd < 0 ? -1 : io_read(fd, head, sizeof(head));
	at = n < 0 ? NULL : memmem(head, (size_t)n, mark, sizeof(mark) - 1);
	if (!at)
		return;
	rest = str_from((struct str){ head, (size_t)n },
	                (size_t)(at - head) + sizeof(mark) - 1);
	if (str_chr(rest, '\n') >= 0 && str_cut(&rest, '\n', &client))
		log_value(line, "client", client);
}

static void adopted(void *arg, const struct adopted *a)
{
	struct intake *in = arg;
	_cleanup_buf_ struct buf line = BUF_INIT;

	log_value(&line, "login", a->login);
	intake_client(in, &a->id, a->uid, &line);
	log_line(LOG_LEVEL_INFO, "adopted id=%s uid=%u%s size=%lld drop=%s", a->id.c,
	         (unsigned)a->uid, line.n ? line.p : "", (long long)a->size,
	         a->drop.c[0] ? a->drop.c : "-");
	in->adopted++;
	intake_count(in, a->uid, a->size, 1);
}

static void junk(void *arg, const char *name, uid_t uid, const char *why)
{
	struct intake *in = arg;
	uint64_t hash = str_hash(STR_HASH, str_z(name));

	for (unsigned i = 0; i < in->junk_n; i++)
		if (in->junk[i] == hash)
			return;
	if (in->junk_n == JUNK_REMEMBERED)
		return; /* more is not reported until the next rescan */
	in->junk[in->junk_n++] = hash;
	log_line(LOG_LEVEL_WARNING, "junk name=in/drop/%s uid=%u why=\"%s\"", name,
	         (unsigned)uid, why);
}

/* A flood is cleared in many calls; one alert tells of them. */
static void cleared(void *arg, uid_t uid, unsigned names)
{
	struct intake *in = arg;
	int64_t soon = clock_ms() + CLEARED_AFTER_MS;
	size_t i = 0;

	while (i < in->cleareds && in->cleared[i].uid != uid)
		i++;
	if (i == CLEARED_USERS)
		i--;
	if (in->cleareds == 0 && in->tell_cleared < soon)
		in->tell_cleared = soon;
	if (i == in->cleareds)
		in->cleared[in->cleareds++] = (struct cleared){ .uid = uid };
	in->cleared[i].names += names;
}

static void tell_cleared(struct intake *in, int64_t now)
{
	if (in->cleareds == 0 || now < in->tell_cleared)
		return;
	for (size_t i = 0; i < in->cleareds; i++)
		log_line(LOG_LEVEL_ALERT, "junk-cleared uid=%u names=%u",
		         (unsigned)in->cleared[i].uid, in->cleared[i].names);
	in->cleareds = 0;
	in->tell_cleared = now + CLEARED_EVERY_MS;
}

static bool may(void *arg, uid_t uid)
{
	struct intake *in = arg;
	size_t i = 0;
	bool yes;

	while (i < in->takens && in->taken[i].uid != uid)
		i++;
	yes = may_more(in, uid, i < in->takens ? in->taken[i].n : 0, in->taken_n, NULL);
	in->kept |= !yes;
	if (!yes || in->taken_n == ADOPT_BATCH)
		return yes;
	if (i == in->takens)
		in->taken[in->takens++] = (struct taking_of){ .uid = uid };
	in->taken[i].n++;
	in->taken_n++;
	return true;
}

void intake_open(struct intake *in, struct spool *s, const struct conf *c)
{
	*in =
	    (struct intake){ .spool = s, .conf = c, .census = CHILD_INIT, .scan = true };
	in->changed = true;
	in->census_at = clock_ms() + CENSUS_AFTER_MS;
}

void intake_close(struct intake *in)
{
	in->tell_cleared = 0;
	tell_cleared(in, 0);
	child_kill(&in->census);
}

void intake_reload(struct intake *in, const struct conf *c)
{
	in->conf = c;
	in->changed = in->scan = true;
}

void intake_poke(struct intake *in)
{
	int64_t soon = clock_ms() + SCAN_EVERY_MS;

	in->again |= in->spool->drop_at != 0;
	in->scan = true;
	in->stopped = false;
	/* Also after a full disk: what is new may be small enough. */
	soon = soon > in->pace ? soon : in->pace;
	if (in->scan_after > soon)
		in->scan_after = soon;
}

void intake_rescan(struct intake *in)
{
	in->scan = in->changed = true;
	if (in->junk_n == JUNK_REMEMBERED)
		in->junk_n = 0;
}

/* While drops pour in, those who wait for a 250 or an exit come first: adoption takes half of the
 * time, not all of a processor and of the disk. But not for long, since what is not adopted is
 * not counted against anybody's limits. What stands in the FIFO shows it: nobody reads that
 * while there is more to adopt. */
static int64_t rest(struct intake *in, int64_t now, int64_t took)
{
	int waiting = 0;
	bool pours;

	if (ioctl(in->spool->wake, FIONREAD, &waiting) < 0)
		return 0;
	pours = waiting > 0 && waiting != in->waiting;
	in->waiting = waiting;
	if (!pours)
		in->pours_since = 0;
	else if (!in->pours_since)
		in->pours_since = now;
	if (!pours || now - in->pours_since > REST_FOR_MS)
		return 0;
	return took < REST_MS ? took : REST_MS;
}

bool intake_adopt(struct intake *in)
{
	const struct adopt_ops ops = { .who = who_op,
		                       .groups = who_op_groups,
		                       .adopted = adopted,
		                       .may = may,
		                       .junk = junk,
		                       .cleared = cleared,
		                       .arg = in };
	int64_t now = clock_ms(), took;
	bool more = false;
	int n;

	tell_cleared(in, now);
	if (!in->scan || now < in->scan_after)
		return false;
	in->scan = false;
	in->takens = in->taken_n = 0;
	n = spool_adopt(in->spool, &ops, &more);
	took = clock_ms() - now;
	if (n > 0 && more)
		took += rest(in, now, took);
	/* What many names cost is theirs who put them there: others get their share. */
	in->pace = now + took + (n > 0 ? 0 : took * SCAN_SHARE);
	in->scan_after = now + took + (n < 0 ? ADOPT_RETRY_MS : more ? 0 : SCAN_EVERY_MS);
	if (in->scan_after < in->pace)
		in->scan_after = in->pace;
	/* A look in several pieces may have passed a name by before it was there. */
	in->scan = more || n < 0 || (in->again && in->spool->drop_at == 0);
	in->again = in->again && in->spool->drop_at != 0;
	in->stopped = n < 0;
	if (n < 0 && now >= in->alert_after) {
		in->alert_after = now + ADOPT_RETRY_MS;
		log_line(LOG_LEVEL_ALERT, "adoption-stopped why=\"%s\" retry=%ds",
		         strerror(-n), ADOPT_RETRY_MS / 1000);
	}
	return n != 0;
}

int64_t intake_next(const struct intake *in)
{
	const int64_t at[] = { in->cleareds ? in->tell_cleared : -1, in->census_at,
		               in->scan ? in->scan_after : -1 };
	int64_t next = -1;

	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		if (at[i] >= 0 && (next < 0 || at[i] < next))
			next = at[i];
	return next;
}

bool intake_awake(const struct intake *in)
{
	return in->scan && in->scan_after <= clock_ms() + SCAN_EVERY_MS;
}
