#include "mail/envelope.h"
#include "mail/addr.h"
#include <assert.h>
#include <errno.h>

/* A walk over the lines of an envelope. */
struct lines {
	struct str rest;
	struct str line; /* the line at hand, without LF */
	const char *why;
};

enum { UID_DIGITS_MAX = 10 };

bool envelope_value_ok(struct str v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
			return false;
	return true;
}

static bool is_upper_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

bool envelope_xtext_ok(struct str v, size_t max)
{
	if (v.n == 0 || v.n > max)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] <= 0x20 || v.p[i] >= 0x7f || v.p[i] == '=')
			return false;
		if (v.p[i] != '+')
			continue;
		if (v.n - i < 3 || !is_upper_hex(v.p[i + 1]) || !is_upper_hex(v.p[i + 2]))
			return false;
		i += 2;
	}
	return true;
}

bool envelope_notify_ok(struct str v)
{
	const struct str words[] = { STR("SUCCESS"), STR("FAILURE"), STR("DELAY") };
	unsigned seen = 0;
	struct str word;

	if (v.n == 0)
		return false;
	if (str_eq(v, STR("NEVER")))
		return true;
	while (str_cut(&v, ',', &word)) {
		unsigned bit = 0;

		for (unsigned i = 0; i < ARRAY_LEN(words); i++)
			if (str_eq(word, words[i]))
				bit = 1U << i;
		if (bit == 0 || seen & bit)
			return false;
		seen |= bit;
	}
	return true;
}

bool envelope_orcpt_ok(struct str v)
{
	ptrdiff_t semicolon = str_chr(v, ';');

	if (semicolon <= 0 || v.n > ENVELOPE_ORCPT_MAX)
		return false;
	for (size_t i = 0; i < (size_t)semicolon; i++) {
		char l = ascii_lower(v.p[i]);

		if (!(l >= 'a' && l <= 'z') && !(l >= '0' && l <= '9') && l != '-')
			return false;
	}
	return envelope_xtext_ok(str_from(v, (size_t)semicolon + 1), ENVELOPE_ORCPT_MAX);
}

static int damaged(struct lines *l, const char *why)
{
	l->why = why;
	return -EBADMSG;
}

/* Takes the next line. 0, -EAGAIN when it is not all there, -EBADMSG. */
static int line_next(struct lines *l)
{
	ptrdiff_t lf = str_chr(l->rest, '\n');

	if (lf < 0)
		return -EAGAIN;
	l->line = str_head(l->rest, (size_t)lf);
	l->rest = str_from(l->rest, (size_t)lf + 1);
	/* TAB is judged where lines may have it. */
	for (size_t i = 0; i < l->line.n; i++)
		if (((unsigned char)l->line.p[i] < 0x20 && l->line.p[i] != '\t') ||
		    l->line.p[i] == 0x7f)
			return damaged(l, "a control byte in the envelope");
	return 0;
}

/* The next line is this one. What cannot become it is refused before its end is seen. */
static int line_expect(struct lines *l, struct str want, const char *why)
{
	struct str start = str_head(l->rest, want.n + 1);

	if (!str_starts(want, str_head(start, want.n)) ||
	    (start.n > want.n && start.p[want.n] != '\n'))
		return damaged(l, why);
	return line_next(l);
}

/* If the line at hand begins with the letter: gives its value, takes the next line and
 * returns 1. 0: another line. Negative: error, or the value is empty or has a TAB. */
static int line_value(struct lines *l, char letter, struct str *ret)
{
	int e;

	if (l->line.n == 0 || l->line.p[0] != letter)
		return 0;
	*ret = str_from(l->line, 1);
	if (!envelope_value_ok(*ret))
		return damaged(l, "a TAB in the envelope where none may be");
	if (ret->n == 0 && letter != 'F')
		return damaged(l, "an empty value in the envelope");
	e = line_next(l);
	return e < 0 ? e : 1;
}

static int take_attested(struct lines *l, struct envelope *e)
{
	struct str v = STR_NONE, uid = STR_NONE, login = STR_NONE;
	int r = line_value(l, 'U', &v);

	if (r < 0)
		return r;
	if (r == 0 || !str_cut(&v, ' ', &uid) || !str_cut(&v, ' ', &login) ||
	    login.n == 0)
		return damaged(l, "no line that says whose message it is");
	if (uid.n > UID_DIGITS_MAX || !str_u64(uid, &e->uid) || e->uid > UINT32_MAX ||
	    (uid.n > 1 && uid.p[0] == '0'))
		return damaged(l, "a bad user number");
	e->login = str_eq(login, STR("-")) ? str_head(login, 0) : login;
	e->gecos = v.p ? v : str_head(login, 0);
	return 0;
}

bool envelope_groups_ok(struct str v)
{
	struct str one;

	if (v.n == 0 || v.n > ENVELOPE_GROUPS_MAX || !envelope_value_ok(v))
		return false;
	while (str_cut(&v, ',', &one))
		if (one.n == 0)
			return false;
	return true;
}

static int take_groups(struct lines *l, struct envelope *e)
{
	int r = line_value(l, 'G', &e->groups);

	if (r > 0 && !envelope_groups_ok(e->groups))
		return damaged(l, "a bad list of groups");
	return r < 0 ? r : 0;
}

static int take_time(struct lines *l, struct envelope *e)
{
	struct str v = STR_NONE;
	int r = line_value(l, 'T', &v);
	uint64_t t;
	bool negative;

	if (r < 0)
		return r;
	negative = r && v.p[0] == '-';
	if (r == 0 || !str_u64(str_from(v, negative), &t))
		return damaged(l, "no line that says when it was submitted");
	e->time = negative ? 0 : ENVELOPE_TIME_MAX;
	if (!negative && t < (uint64_t)ENVELOPE_TIME_MAX)
		e->time = (int64_t)t;
	return 0;
}

/* If *rest begins with the name, takes its value up to a TAB or the end. */
static bool parameter(struct str *rest, struct str name, struct str *ret)
{
	if (!rest->p || !str_starts(*rest, name))
		return false;
	str_cut(rest, '\t', ret);
	*ret = str_from(*ret, name.n);
	return true;
}

static int take_dsn(struct lines *l, struct envelope *e)
{
	struct str v;
	bool ret, envid;

	if (l->line.n == 0 || l->line.p[0] != 'D')
		return 0;
	v = str_from(l->line, 1);
	ret = parameter(&v, STR("RET="), &e->ret);
	envid = parameter(&v, STR("ENVID="), &e->envid);
	if (v.p || (!ret && !envid) ||
	    (ret && !str_eq(e->ret, STR("FULL")) && !str_eq(e->ret, STR("HDRS"))) ||
	    (envid && !envelope_xtext_ok(e->envid, ENVELOPE_ENVID_MAX)))
		return damaged(l, "a bad RET or ENVID");
	return line_next(l);
}

static int take_rcpt(struct lines *l, struct env_rcpt *r)
{
	struct str v = str_from(l->line, 1);
	bool notify, orcpt;

	*r = (struct env_rcpt){ .addr = STR_NONE };
	if (l->line.p[0] != 'R' || !str_cut(&v, '\t', &r->addr))
		return damaged(l, "an unknown line, or one out of order");
	if (!addr_envelope_ok(r->addr))
		return damaged(l, "a bad recipient");
	notify = parameter(&v, STR("NOTIFY="), &r->notify);
	orcpt = parameter(&v, STR("ORCPT="), &r->orcpt);
	if (v.p || (notify && !envelope_notify_ok(r->notify)) ||
	    (orcpt && !envelope_orcpt_ok(r->orcpt)))
		return damaged(l, "a bad NOTIFY or ORCPT");
	return line_next(l);
}

/* All R lines and the empty line behind them. */
static int take_rcpts(struct lines *l, struct envelope *e)
{
	size_t room = 0;

	while (l->line.n) {
		struct env_rcpt *more;
		int r;

		if (e->rcpts == ENVELOPE_RCPT_MAX)
			return damaged(l, "too many recipients");
		if (e->rcpts == room) {
			room = room ? room * 2 : 4;
			more = realloc(e->rcpt, room * sizeof(*more));
			if (!more)
				die_oom();
			e->rcpt = more;
		}
		r = take_rcpt(l, &e->rcpt[e->rcpts]);
		if (r < 0)
			return r;
		e->rcpts++;
	}
	return e->rcpts ? 0 : damaged(l, "no recipient");
}

static int take_drop(struct lines *l, struct envelope *e)
{
	int r = line_value(l, 'C', &e->client);

	if (r >= 0)
		r = line_value(l, 'L', &e->hint);
	if (r >= 0)
		r = line_value(l, 'N', &e->full_name);
	if (r >= 0)
		r = take_dsn(l, e);
	if (r >= 0)
		r = line_value(l, 'F', &e->sender);
	if (r < 0)
		return r;
	e->has_sender = r > 0;
	if (e->sender.n && !addr_envelope_ok(e->sender))
		return damaged(l, "a bad sender");
	return take_rcpts(l, e);
}

static int take_all(struct lines *l, struct envelope *e)
{
	int r = line_expect(l, STR("mailchute 1"), "not a queue file of version 1");

	if (r == 0)
		r = line_next(l);
	if (r == 0)
		r = take_attested(l, e);
	if (r == 0)
		r = take_groups(l, e);
	if (r == 0)
		r = take_time(l, e);
	if (r < 0)
		return r;
	if (!str_eq(l->line, STR("mailchute-drop 1")))
		return damaged(l, "not a drop of version 1");
	r = line_next(l);
	return r < 0 ? r : take_drop(l, e);
}

int envelope_parse(struct str text, struct envelope *ret, size_t *ret_used,
                   const char **ret_why)
{
	struct lines l = { .rest = str_head(text, ENVELOPE_MAX) };
	struct envelope e = { .uid = 0 };
	int r = take_all(&l, &e);

	if (r == -EAGAIN && text.n >= ENVELOPE_MAX)
		r = damaged(&l, "the envelope is too long");
	if (r < 0) {
		envelope_free(&e);
		if (r == -EBADMSG)
			*ret_why = l.why;
		return r;
	}
	*ret = e;
	*ret_used = (size_t)(l.rest.p - text.p);
	return 0;
}

void envelope_free(struct envelope *e)
{
	free(e->rcpt);
	e->rcpt = NULL;
	e->rcpts = 0;
}

/* A line, unless there is no value. */
static void print_value(struct buf *b, char letter, struct str v)
{
	assert(envelope_value_ok(v));
	if (v.n == 0)
		return;
	buf_c(b, letter);
	buf_str(b, v);
	buf_c(b, '\n');
}

/* A parameter, unless there is no value; parted from one before it. */
static void print_parameter(struct buf *b, bool *first, const char *name, struct str v)
{
	if (v.n == 0)
		return;
	if (!*first)
		buf_c(b, '\t');
	*first = false;
	buf_z(b, name);
	buf_str(b, v);
}

static void print_rcpt(struct buf *b, const struct env_rcpt *r)
{
	bool first = false;

	assert(addr_envelope_ok(r->addr));
	assert(r->notify.n == 0 || envelope_notify_ok(r->notify));
	assert(r->orcpt.n == 0 || envelope_orcpt_ok(r->orcpt));
	buf_c(b, 'R');
	buf_str(b, r->addr);
	print_parameter(b, &first, "NOTIFY=", r->notify);
	print_parameter(b, &first, "ORCPT=", r->orcpt);
	buf_c(b, '\n');
}

void envelope_print_drop(struct buf *b, const struct envelope *e)
{
	assert(e->rcpts > 0 && e->rcpts <= ENVELOPE_RCPT_MAX);
	assert(e->ret.n == 0 || str_eq(e->ret, STR("FULL")) ||
	       str_eq(e->ret, STR("HDRS")));
	assert(e->envid.n == 0 || envelope_xtext_ok(e->envid, ENVELOPE_ENVID_MAX));
	assert(e->sender.n == 0 || addr_envelope_ok(e->sender));
	buf_z(b, "mailchute-drop 1\n");
	print_value(b, 'C', e->client);
	print_value(b, 'L', e->hint);
	print_value(b, 'N', e->full_name);
	if (e->ret.n || e->envid.n) {
		bool first = true;

		buf_c(b, 'D');
		print_parameter(b, &first, "RET=", e->ret);
		print_parameter(b, &first, "ENVID=", e->envid);
		buf_c(b, '\n');
	}
	if (e->has_sender) {
		buf_c(b, 'F');
		buf_str(b, e->sender);
		buf_c(b, '\n');
	}
	for (size_t i = 0; i < e->rcpts; i++)
		print_rcpt(b, &e->rcpt[i]);
	buf_c(b, '\n');
}

void envelope_print_submitter(struct buf *b, uint64_t uid, struct str login,
                              struct str gecos, struct str groups, int64_t time)
{
	if (login.n == 0 || login.n > ENVELOPE_NAME_MAX || !envelope_value_ok(login) ||
	    str_chr(login, ' ') >= 0)
		login = STR("-");
	gecos = str_head(str_trim(gecos), ENVELOPE_NAME_MAX);
	buf_fmt(b, "mailchute 1\nU%llu ", (unsigned long long)uid);
	buf_str(b, login);
	if (gecos.n)
		buf_c(b, ' ');
	for (size_t i = 0; i < gecos.n; i++)
		buf_str(b, envelope_value_ok(str_head(str_from(gecos, i), 1))
		               ? str_head(str_from(gecos, i), 1)
		               : STR(" "));
	if (envelope_groups_ok(groups)) {
		buf_z(b, "\nG");
		buf_str(b, groups);
	}
	buf_fmt(b, "\nT%lld\n", (long long)time);
}

void envelope_print_attested(struct buf *b, uint64_t uid, struct str login,
                             struct str gecos, int64_t time)
{
	envelope_print_submitter(b, uid, login, gecos, STR_NONE, time);
}
