#include "conf/load.h"

void load_error(struct load *ld, int line, const char *fmt, ...)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	va_list ap;

	if (ld->errors >= CONF_ERRORS_MAX)
		return;
	buf_fmt(&text, "%s:%d: ", ld->path, line);
	va_start(ap, fmt);
	buf_vfmt(&text, fmt, ap);
	va_end(ap);
	buf_c(&text, '\n');
	/* libconfuse shows the last value of a list in braces twice. */
	if (ld->errors && str_eq(str_from(buf_view(ld->err), ld->last), buf_view(&text)))
		return;
	ld->last = ld->err->n;
	buf_str(ld->err, buf_view(&text));
	ld->errors++;
}

void load_note(struct load *ld, struct load_seen what)
{
	struct load_seen *more = realloc(ld->seen, (ld->seen_n + 1) * sizeof(*more));

	if (!more)
		die_oom();
	ld->seen = more;
	more[ld->seen_n++] = what;
}

const struct load_seen *load_find(const struct load *ld, const void *in, long what)
{
	for (size_t i = 0; i < ld->seen_n; i++)
		if (ld->seen[i].in == in && ld->seen[i].what == what)
			return &ld->seen[i];
	return NULL;
}

static const struct load_seen *find_key(const struct load *ld, const void *in,
                                        const char *key)
{
	for (size_t i = 0; i < ld->seen_n; i++)
		if (ld->seen[i].in == in && ld->seen[i].what >= 0 &&
		    strcmp(conf_rows[ld->seen[i].what].key, key) == 0)
			return &ld->seen[i];
	return NULL;
}

static const struct load_seen *find_section(const struct load *ld, const void *in)
{
	for (size_t i = 0; i < ld->seen_n; i++)
		if (ld->seen[i].in == in && ld->seen[i].what < 0)
			return &ld->seen[i];
	return NULL;
}

int load_line(const struct load *ld, const void *in, const char *key)
{
	const struct conf_scan_key *k = load_assigned(ld, in, key, 0);
	const struct load_seen *s = find_key(ld, in, key);

	if (!s && k)
		return k->line;
	if (!s)
		s = find_section(ld, in);
	return s ? s->line : 1;
}

bool load_given(const struct load *ld, const void *in, const char *key)
{
	return find_key(ld, in, key) != NULL;
}

const struct conf_scan_key *load_assigned(const struct load *ld, const void *in,
                                          const char *key, unsigned nth)
{
	for (size_t i = 0; i < ld->scan.keys; i++) {
		const struct conf_scan_key *k = &ld->scan.key[i];
		bool there = in == ld->root ? k->section == 0 : k->in == in;

		if (there && str_eq(k->key, str_z(key)) && nth-- == 0)
			return k;
	}
	return NULL;
}
