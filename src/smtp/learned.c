#include "smtp/learned.h"

/* The eighth is not always there. */
enum { VERSION = 1, FIELDS = 7, FIELDS_MAX = 8, GREETING_MAX = 512 };

static const char *const level_name[] = {
	[LEVEL_LOCKSTEP] = "lockstep",
	[LEVEL_PIPE] = "pipe",
	[LEVEL_COMBO] = "combo",
	[LEVEL_STREAM] = "stream",
};

void learned_forget(struct learned *l, uint64_t host)
{
	*l = (struct learned){ .host = host, .level = LEVEL_STREAM };
}

/* A time to come is from a clock that was wrong: how old it is cannot be said. */
bool learned_holds(const struct learned *l, uint64_t host, int64_t now)
{
	return l->host && l->host == host && l->since <= now &&
	       now - l->since < LEARNED_SECONDS;
}

bool learned_demote(struct learned *l, enum level level, int64_t now)
{
	l->strikes = 0;
	if (l->level <= level)
		return false;
	l->level = level;
	l->since = now;
	return true;
}

void learned_strike(struct learned *l, enum level level, int64_t now)
{
	if (level == LEVEL_LOCKSTEP)
		return;
	if (l->strikes + 1 >= LEARNED_STRIKES) {
		learned_demote(l, level - 1, now);
		return;
	}
	l->strikes++;
	if (!l->since)
		l->since = now;
}

void learned_print(const struct learned *l, struct buf *b)
{
	if (!l->host || !l->since)
		return;
	buf_fmt(b, "%d:%s:%d:%u:%u:%lld:%016llx", VERSION, level_name[l->level],
	        l->canary ? 1 : 0, l->window, l->strikes, (long long)l->since,
	        (unsigned long long)l->host);
	if (l->vain)
		buf_fmt(b, ":%u", l->vain);
}

static bool take_level(struct str s, enum level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_name); i++)
		if (str_eq(s, str_z(level_name[i]))) {
			*ret = (enum level)i;
			return true;
		}
	return false;
}

static bool take_number(struct str s, uint64_t most, uint64_t *ret)
{
	return str_u64(s, ret) && *ret <= most;
}

/* 16 lower-case hexadecimal digits, not all 0. */
static bool take_hash(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n != 16)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return v != 0;
}

bool learned_parse(struct str s, struct learned *ret)
{
	struct str f[FIELDS_MAX], rest = s, part;
	uint64_t version, canary, window, strikes, since, vain = 0;
	struct learned l = { 0 };
	size_t n = 0;

	while (str_cut(&rest, ':', &part)) {
		if (n == FIELDS_MAX)
			return false;
		f[n++] = part;
	}
	if (n > FIELDS && (!take_number(f[FIELDS], LEARNED_VAIN_MAX, &vain) || vain == 0))
		return false;
	if (n < FIELDS || !take_number(f[0], VERSION, &version) || version != VERSION ||
	    !take_level(f[1], &l.level) || !take_number(f[2], 1, &canary) ||
	    !take_number(f[3], LEARNED_WINDOW_MAX, &window) ||
	    !take_number(f[4], LEARNED_STRIKES, &strikes) ||
	    !take_number(f[5], INT64_MAX, &since) || since == 0 ||
	    !take_hash(f[6], &l.host))
		return false;
	l.canary = canary == 1;
	l.window = (unsigned)window;
	l.strikes = (unsigned)strikes;
	l.vain = (unsigned)vain;
	l.since = (int64_t)since;
	*ret = l;
	return true;
}

void learned_keep(struct learned_hosts *all, const struct learned *l)
{
	const struct learned now = *l; /* it may be one of them */
	size_t at = 0;

	while (at < all->n && all->of[at].host != now.host)
		at++;
	if (at < all->n) {
		all->n--;
		memmove(&all->of[at], &all->of[at + 1], (all->n - at) * sizeof(now));
	}
	if (!now.host || !now.since)
		return;
	if (all->n == LEARNED_HOSTS)
		all->n--;
	memmove(&all->of[1], &all->of[0], all->n * sizeof(now));
	all->of[0] = now;
	all->n++;
}

bool learned_find(const struct learned_hosts *all, uint64_t host, struct learned *ret)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->of[i].host == host) {
			*ret = all->of[i];
			return true;
		}
	return false;
}

void learned_print_all(const struct learned_hosts *all, size_t max, struct buf *b)
{
	size_t begin = b->n;

	for (size_t i = 0; i < all->n; i++) {
		size_t before = b->n;

		if (before > begin)
			buf_c(b, ',');
		learned_print(&all->of[i], b);
		if (b->n - begin > max)
			buf_cut(b, before);
	}
}

void learned_parse_all(struct str s, struct learned_hosts *ret)
{
	struct learned_hosts found = { .n = 0 };
	struct str part;
	struct learned l;

	*ret = found;
	while (found.n < LEARNED_HOSTS && str_cut(&s, ',', &part))
		if (learned_parse(part, &l))
			found.of[found.n++] = l;
	/* The first is to be kept last; and twice the same host is none. */
	while (found.n)
		learned_keep(ret, &found.of[--found.n]);
}

/* Only to tell one host from another, and its own word is all there is. */
uint64_t learned_keyword(uint64_t hash, struct str word)
{
	for (size_t i = 0; i < word.n; i++)
		hash = str_hash_byte(hash, ascii_lower(word.p[i]));
	hash = str_hash_byte(hash, '\n');
	return hash ? hash : 1;
}

static bool is_date_word(struct str w)
{
	static const char *const words[] = { "sun", "mon", "tue", "wed", "thu", "fri",
		                             "sat", "jan", "feb", "mar", "apr", "may",
		                             "jun", "jul", "aug", "sep", "oct", "nov",
		                             "dec", "at",  "utc", "gmt" };

	if (w.n && w.p[w.n - 1] == ',')
		w.n--;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_ieq(w, str_z(words[i])))
			return true;
	return false;
}

/* Words that stay the same from one connection to the next: those without digits (no session
 * ids, no names of one of many machines) that are not part of a date, and version numbers. */
static bool is_steady(struct str w)
{
	size_t digits = 0, dots = 0;

	for (size_t i = 0; i < w.n; i++) {
		digits += w.p[i] >= '0' && w.p[i] <= '9';
		dots += w.p[i] == '.';
	}
	if (digits == 0)
		return w.n > 1 && !is_date_word(w);
	return dots > 0 && digits + dots == w.n;
}

uint64_t learned_greeting(struct str text)
{
	uint64_t h = STR_HASH;
	struct str word;

	text = str_head(text, GREETING_MAX);
	while (str_word(&text, &word))
		if (is_steady(word))
			h = learned_keyword(h, word);
	return h ? h : 1;
}
