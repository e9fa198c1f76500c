#include "mail/alias.h"
#include "mail/addr.h"
#include "mail/alias_value.h"

enum { LISTS_TOTAL_MAX = 16 << 20 }; /* octets of all lists together */

static void *grow(void *p, size_t n, size_t size)
{
	/* Room doubles whenever the number is a power of two. */
	if (n & (n - 1))
		return p;
	p = realloc(p, (n ? n * 2 : 1) * size);
	if (!p)
		die_oom();
	return p;
}

static void fault(struct alias_table *t, const char *path, size_t line, const char *why)
{
	if (t->faults < ALIAS_FAULTS_MAX)
		t->fault[t->faults] = (struct alias_fault){ .path = str_dup(str_z(path)),
			                                    .line = line,
			                                    .why = why };
	t->faults++;
}

static void want_list(struct alias_table *t, struct str path, const char *in, size_t line)
{
	for (size_t i = 0; i < t->lists; i++)
		if (str_eq(str_z(t->list[i].path), path))
			return;
	if (t->lists >= ALIAS_LISTS_MAX) {
		fault(t, in, line, "more than 256 files are included");
		return;
	}
	t->list = grow(t->list, t->lists, sizeof(*t->list));
	t->list[t->lists++] =
	    (struct alias_list){ .path = str_dup(path), .text = BUF_INIT };
}

/* Looks at every value once, to note what is damaged and which lists are wanted. Returns
 * how many are good. */
static size_t look_at(struct alias_table *t, const char *path, struct str text,
                      size_t line, bool lines)
{
	static const char program[] = "a program: mailchute runs none",
	                  file[] = "a file: mailchute writes none";
	struct alias_value v = { .text = BUF_INIT };
	const char *seen = text.p;
	struct str rest = text;
	size_t good = 0;

	while (alias_value_next(&rest, lines, &v)) {
		for (; seen < v.at; seen++)
			line += *seen == '\n';
		if (v.kind == ALIAS_BAD)
			fault(t, path, line, v.why);
		else if (v.kind == ALIAS_INCLUDE)
			want_list(t, buf_view(&v.text), path, line);
		else if (v.kind == ALIAS_PROGRAM || v.kind == ALIAS_FILE)
			fault(t, path, line, v.kind == ALIAS_PROGRAM ? program : file);
		good += v.kind != ALIAS_BAD;
	}
	buf_free(&v.text);
	return good;
}

/* ---- Lines ---- */

static bool is_idle(struct str line)
{
	line = str_trim(line);
	return line.n == 0 || line.p[0] == '#';
}

static bool goes_on(struct str line)
{
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line.n && line.p[line.n - 1] == '\\';
}

/* Takes a line with all those it goes on in; *number is that of its first. */
static bool take_logical(struct str *text, size_t *next, size_t *number, struct str *ret)
{
	struct str rest = *text, line;
	bool open = false;

	*ret = STR_NONE;
	while (rest.n) {
		const char *begin = rest.p;
		bool begins, idle;

		str_cut(&rest, '\n', &line);
		idle = !open && is_idle(line);
		begins = !idle && !open && line.p[0] != ' ' && line.p[0] != '\t';
		if (begins && ret->p)
			break; /* it is the next one's */
		*text = rest.p ? rest : STR("");
		*next += 1;
		if (idle)
			continue;
		if (!ret->p) {
			ret->p = begin;
			*number = *next;
		}
		ret->n = (size_t)(line.p + line.n - ret->p);
		open = goes_on(line);
		rest = *text;
	}
	return ret->p != NULL;
}

/* Takes the name and its colon; NULL, or what is wrong. */
static const char *take_name(struct str *line, struct buf *ret)
{
	_cleanup_buf_ struct buf local = BUF_INIT;
	ptrdiff_t colon;

	if (line->p[0] == '"') {
		if (!alias_unquote(line, ret))
			return "a quote is not closed";
		*line = str_trim(*line);
		if (line->n == 0 || line->p[0] != ':')
			return "no colon behind the name";
		*line = str_from(*line, 1);
	} else {
		struct str name;

		colon = str_chr(*line, ':');
		if (colon < 0)
			return "no colon behind the name";
		name = str_trim(str_head(*line, (size_t)colon));
		*line = str_from(*line, (size_t)colon + 1);
		if (str_chr(name, '@') >= 0)
			return "a name with a domain: only names of this machine can be "
			       "aliases";
		for (size_t i = 0; i < name.n; i++)
			if (ascii_space(name.p[i]) || name.p[i] == '"')
				return "a name with a blank or a quote in it";
		buf_str(ret, name);
	}
	addr_local(&local, buf_view(ret));
	if (ret->n == 0 || !addr_envelope_ok(buf_view(&local)))
		return "a name that no mail can have";
	for (size_t i = 0; i < ret->n; i++)
		ret->p[i] = ascii_lower(ret->p[i]);
	return NULL;
}

static void take_entry(struct alias_table *t, struct str line, size_t number)
{
	_cleanup_buf_ struct buf name = BUF_INIT;
	size_t faults = t->faults;
	const char *why;

	if (line.p[0] == ' ' || line.p[0] == '\t') {
		fault(t, t->path, number, "it goes on where nothing began");
		return;
	}
	why = take_name(&line, &name);
	if (why) {
		fault(t, t->path, number, why);
		return;
	}
	if (look_at(t, t->path, line, number, false) == 0) {
		if (t->faults == faults)
			fault(t, t->path, number, "an alias for nobody");
		return;
	}
	t->entry = grow(t->entry, t->entries, sizeof(*t->entry));
	t->entry[t->entries++] = (struct alias_entry){ .name = str_dup(buf_view(&name)),
		                                       .value = line,
		                                       .line = number };
}

static int compare_entries(const void *a, const void *b)
{
	const struct alias_entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* Of a name that is there twice the first counts, as everywhere. */
static void sort_entries(struct alias_table *t)
{
	size_t kept = 0;

	if (t->entries)
		qsort(t->entry, t->entries, sizeof(*t->entry), compare_entries);
	for (size_t i = 0; i < t->entries; i++) {
		if (kept && strcmp(t->entry[kept - 1].name, t->entry[i].name) == 0) {
			fault(t, t->path, t->entry[i].line,
			      "a name that was there before: the first counts");
			free(t->entry[i].name);
		} else {
			t->entry[kept++] = t->entry[i];
		}
	}
	t->entries = kept;
}

/* ---- Files ---- */

static void take_over(struct buf *to, struct buf *from)
{
	buf_free(to);
	*to = *from;
	*from = (struct buf)BUF_INIT;
}

void alias_parse(struct alias_table *t, const char *path, struct buf *text)
{
	struct str rest, line;
	size_t next = 0, number = 0;

	if (text->n > ALIAS_FILE_MAX) {
		alias_unreadable(t, path, "it is over 4 MiB");
		buf_free(text);
		return;
	}
	t->path = str_dup(str_z(path));
	take_over(&t->text, text);
	rest = buf_view(&t->text);
	while (take_logical(&rest, &next, &number, &line)) {
		if (t->entries >= ALIAS_ENTRIES_MAX) {
			fault(t, path, number, "more than 100000 aliases");
			break;
		}
		take_entry(t, line, number);
	}
	sort_entries(t);
}

void alias_unreadable(struct alias_table *t, const char *path, const char *why)
{
	t->path = str_dup(str_z(path));
	t->why = str_dup(str_z(why));
	fault(t, path, 0, "it cannot be read");
}

void alias_list_parse(struct alias_table *t, size_t i, struct buf *text)
{
	size_t all = text->n;

	for (size_t j = 0; j < t->lists; j++)
		all += t->list[j].text.n;
	if (text->n > ALIAS_FILE_MAX || all > LISTS_TOTAL_MAX) {
		alias_list_unreadable(t, i,
		                      text->n > ALIAS_FILE_MAX
		                          ? "it is over 4 MiB"
		                          : "the lists are over 16 MiB together");
		buf_free(text);
		return;
	}
	take_over(&t->list[i].text, text);
	look_at(t, t->list[i].path, buf_view(&t->list[i].text), 1, true);
}

void alias_list_unreadable(struct alias_table *t, size_t i, const char *why)
{
	t->list[i].why = str_dup(str_z(why));
	fault(t, t->list[i].path, 0, "it cannot be read");
}

void alias_free(struct alias_table *t)
{
	for (size_t i = 0; i < t->entries; i++)
		free(t->entry[i].name);
	for (size_t i = 0; i < t->lists; i++) {
		free(t->list[i].path);
		free(t->list[i].why);
		buf_free(&t->list[i].text);
	}
	for (size_t i = 0; i < t->faults && i < ALIAS_FAULTS_MAX; i++)
		free(t->fault[i].path);
	free(t->entry);
	free(t->list);
	free(t->path);
	free(t->why);
	buf_free(&t->text);
	*t = (struct alias_table){ .entries = 0 };
}

/* ---- Looking up ---- */

static int compare_name(const void *key, const void *entry)
{
	const struct alias_entry *e = entry;

	return strcmp(key, e->name);
}

static const struct alias_entry *find_exact(const struct alias_table *t, struct str name)
{
	_cleanup_buf_ struct buf key = BUF_INIT;

	for (size_t i = 0; i < name.n; i++)
		buf_c(&key, ascii_lower(name.p[i]));
	if (key.n == 0 || t->entries == 0)
		return NULL;
	return bsearch(key.p, t->entry, t->entries, sizeof(*t->entry), compare_name);
}

const struct alias_entry *alias_find(const struct alias_table *t, struct str name)
{
	const struct alias_entry *e = find_exact(t, name);
	ptrdiff_t plus = str_chr(name, '+');

	if (!e && plus > 0)
		e = find_exact(t, str_head(name, (size_t)plus));
	return e;
}

static bool is_name_here(const struct alias_here *h, struct str domain)
{
	if (domain.n && domain.p[domain.n - 1] == '.')
		domain.n--; /* the same name (RFC 1034 3.1) */
	if (domain.n && str_ieq(domain, h->elsewhere))
		return false;
	return str_ieq(domain, STR("localhost")) ||
	       str_ieq(domain, STR("localhost.localdomain")) ||
	       (domain.n &&
	        (str_ieq(domain, h->hostname) || str_ieq(domain, h->nodename)));
}

bool alias_is_here(const struct alias_here *h, struct str addr)
{
	struct str local, domain;

	addr_split(addr, &local, &domain);
	return domain.n == 0 || is_name_here(h, domain);
}
