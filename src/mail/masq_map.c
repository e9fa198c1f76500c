#include "mail/masq_map.h"
#include "mail/addr.h"
#include "mail/masq.h"
#include <errno.h>

struct entry {
	const char *key, *as; /* in text; key is in lower case unless it is a glob */
	int line;
};

struct masq_map {
	struct buf text; /* the file; keys and templates end in NUL there */
	struct entry *entry;
	size_t n;
	uint32_t *slot; /* hash table: index of an entry plus one; 0: empty */
	size_t slots;   /* a power of two, more than twice the entries */
	size_t glob[MASQ_MAP_GLOBS];
	size_t globs;
};

/* The file is the administrator's: nobody can aim at its collisions. */
static size_t hash(struct str key)
{
	uint64_t h = str_hash(STR_HASH, key);

	return (size_t)(h ^ (h >> 32));
}

/* The slot of a key, or the empty one where it would be. */
static uint32_t *slot_of(const struct masq_map *m, struct str key)
{
	size_t at = hash(key);

	for (;; at++) {
		uint32_t *s = &m->slot[at & (m->slots - 1)];

		if (*s == 0 || str_eq(str_z(m->entry[*s - 1].key), key))
			return s;
	}
}

/* "base+*@domain" has a place in the table like an address: it is looked up as it stands. */
static bool is_glob(struct str key)
{
	struct str local = key, domain;
	ptrdiff_t at = str_rchr(key, '@');

	if (at >= 0) {
		local = str_head(key, (size_t)at);
		domain = str_from(key, (size_t)at + 1);
		if (str_iends(local, STR("+*")) && local.n > 2)
			local.n -= 2;
		if (str_chr(domain, '*') >= 0 || str_chr(domain, '?') >= 0)
			return true;
	}
	return str_chr(local, '*') >= 0 || str_chr(local, '?') >= 0;
}

/* ---- Reading ---- */

struct reader {
	struct masq_map *m;
	struct buf *why;
};

static int wrong(const struct reader *r, const char *words)
{
	buf_z(r->why, words);
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes the next word; a local part in quotes may hold blanks. The byte behind it becomes
 * NUL: the word is a C string then. */
static char *take_word(char **rest)
{
	char *p = *rest, *word;
	bool quoted = false;

	while (is_blank(*p))
		p++;
	word = p;
	for (; *p && (quoted || !is_blank(*p)); p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		else if (*p == '"')
			quoted = !quoted;
	}
	*rest = *p ? p + 1 : p;
	*p = '\0';
	return word;
}

static int check_line(const struct reader *r, struct str line)
{
	if (line.n > MASQ_MAP_LINE_MAX)
		return wrong(r, "the line is over 2048 octets long; make it shorter");
	for (size_t i = 0; i < line.n; i++)
		if (((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t') ||
		    line.p[i] == 0x7f)
			return wrong(r, line.p[i] == '\r'
			                    ? "a carriage return; save the file with "
			                      "Unix line ends"
			                    : "a control character; remove it");
	return 0;
}

static int check_key(const struct reader *r, struct str key)
{
	ptrdiff_t at = str_rchr(key, '@');
	_cleanup_buf_ struct buf probe = BUF_INIT;

	if (at < 0)
		return wrong(r, "an address without a domain; write root@* for every "
		                "domain, or root@example.org");
	if (at == 0)
		return wrong(r, "begins with @; for a whole domain write *@example.org");
	/* Stars and question marks stand for letters. */
	for (size_t i = 0; i < key.n; i++)
		buf_c(&probe, (ptrdiff_t)i > at && (key.p[i] == '*' || key.p[i] == '?')
		                  ? 'x'
		                  : key.p[i]);
	if (!addr_envelope_ok(buf_view(&probe)))
		return wrong(r, "the first word is no address; it would look like "
		                "ann@example.org or *@example.org");
	return 0;
}

/* Tried on an address, so that one that can never work is found here. */
static int check_as(const struct reader *r, const char *as)
{
	const struct masq_who who = { .host = STR("box.example.org") };
	_cleanup_buf_ struct buf made = BUF_INIT;
	struct str local, domain = STR_NONE;

	if (masq_expand(&made, as, STR("eddy+x@box.example.org"), &who) == 0)
		addr_split(buf_view(&made), &local, &domain);
	if (domain.n)
		return 0;
	return wrong(r, "the second word makes no mail address; it would look like "
	                "ann@example.org or %u@example.org");
}

static int add_entry(const struct reader *r, char *key, const char *as, int line)
{
	struct masq_map *m = r->m;
	struct str k = str_z(key);
	uint32_t *s;

	m->entry[m->n] = (struct entry){ .key = key, .as = as, .line = line };
	if (is_glob(k)) {
		if (m->globs == MASQ_MAP_GLOBS)
			return wrong(r, "more than 1000 patterns; addresses without * "
			                "and ? are not counted");
		m->glob[m->globs++] = m->n++;
		return 0;
	}
	for (char *p = key; *p; p++)
		*p = ascii_lower(*p);
	s = slot_of(m, k);
	if (*s) {
		buf_fmt(r->why, "this address stands in line %d already; remove one",
		        m->entry[*s - 1].line);
		return -EINVAL;
	}
	*s = (uint32_t)++m->n;
	return 0;
}

static int take_line(const struct reader *r, char *p, int line)
{
	int e = check_line(r, str_z(p));
	char *key, *as, *more;

	if (e < 0)
		return e;
	key = take_word(&p);
	if (key[0] == '\0' || key[0] == '#')
		return 0;
	as = take_word(&p);
	more = take_word(&p);
	if (as[0] == '\0' || as[0] == '#')
		return wrong(r, "only one word; write an address and what it becomes");
	if (more[0] && more[0] != '#')
		return wrong(r, "more than two words; a comment begins with #");
	e = check_key(r, str_z(key));
	if (e == 0)
		e = check_as(r, as);
	return e < 0 ? e : add_entry(r, key, as, line);
}

static int take_lines(const struct reader *r, int *ret_line)
{
	struct masq_map *m = r->m;
	char *p = m->text.p, *end = p + m->text.n;
	int e = 0;

	if (str_starts(buf_view(&m->text), STR("\xef\xbb\xbf")))
		p += 3;
	for (*ret_line = 0; e == 0 && p < end;) {
		char *lf = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((lf ? lf : end) - p);

		++*ret_line;
		if (memchr(p, '\0', n))
			return wrong(r, "a control character; remove it");
		if (lf)
			*lf = '\0';
		e = take_line(r, p, *ret_line);
		p += n + 1;
	}
	return e;
}

/* Memory for as many entries as there are lines. */
static void make_room(struct masq_map *m, size_t lines)
{
	m->slots = 16;
	while (m->slots <= 2 * lines)
		m->slots *= 2;
	m->entry = calloc(lines + 1, sizeof(*m->entry));
	m->slot = calloc(m->slots, sizeof(*m->slot));
	if (!m->entry || !m->slot)
		die_oom();
}

int masq_map_parse(struct str text, struct masq_map **ret, int *ret_line,
                   struct buf *ret_why)
{
	struct masq_map *m = calloc(1, sizeof(*m));
	const struct reader r = { .m = m, .why = ret_why };
	size_t lines = 1;
	int e;

	if (!m)
		die_oom();
	for (size_t i = 0; i < text.n && lines <= MASQ_MAP_LINES + 1; i++)
		lines += text.p[i] == '\n' && i + 1 < text.n;
	*ret_line = 1;
	if (text.n > MASQ_MAP_MAX) {
		e = wrong(&r, "the file is over 4 MiB; make it shorter");
	} else if (lines > MASQ_MAP_LINES) {
		*ret_line = MASQ_MAP_LINES + 1;
		e = wrong(&r, "the file has over 100000 lines; make it shorter");
	} else {
		buf_str(&m->text, text);
		make_room(m, lines);
		e = take_lines(&r, ret_line);
	}
	if (e < 0)
		masq_map_free(m);
	else
		*ret = m;
	return e;
}

void masq_map_free(struct masq_map *m)
{
	if (!m)
		return;
	buf_free(&m->text);
	free(m->entry);
	free(m->slot);
	free(m);
}

/* ---- Looking up ---- */

static const struct entry *get(const struct masq_map *m, const struct buf *key)
{
	const uint32_t *s = slot_of(m, buf_view(key));

	return *s ? &m->entry[*s - 1] : NULL;
}

static const struct entry *find_exact(const struct masq_map *m, struct str addr)
{
	_cleanup_buf_ struct buf key = BUF_INIT, other = BUF_INIT;
	struct str local, domain;
	const struct entry *e;
	ptrdiff_t plus;

	for (size_t i = 0; i < addr.n; i++)
		buf_c(&key, ascii_lower(addr.p[i]));
	e = get(m, &key);
	if (e)
		return e;
	addr_split(buf_view(&key), &local, &domain);
	plus = str_chr(local, '+');
	if (plus <= 0 || local.p[0] == '"')
		return NULL;
	buf_str(&other, str_head(local, (size_t)plus));
	buf_z(&other, "+*@");
	buf_str(&other, domain);
	e = get(m, &other);
	if (e)
		return e;
	buf_cut(&other, (size_t)plus);
	buf_c(&other, '@');
	buf_str(&other, domain);
	return get(m, &other);
}

const char *masq_map_find(const struct masq_map *m, struct str addr, int *ret_line)
{
	const struct entry *e = addr.n ? find_exact(m, addr) : NULL;

	for (size_t i = 0; i < m->globs && !e && addr.n; i++)
		if (addr_glob(str_z(m->entry[m->glob[i]].key), addr))
			e = &m->entry[m->glob[i]];
	if (!e)
		return NULL;
	*ret_line = e->line;
	return e->as;
}
