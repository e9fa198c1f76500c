#include "conf/table.h"

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edits (insert, remove, change) that make b of a; both are cut at 40 bytes. */
static size_t distance(struct str a, struct str b)
{
	size_t row[41], diagonal, above;

	a = str_head(a, ARRAY_LEN(row) - 1);
	b = str_head(b, ARRAY_LEN(row) - 1);
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			bool same = ascii_lower(a.p[i - 1]) == ascii_lower(b.p[j - 1]);

			above = row[j];
			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + !same);
			diagonal = above;
		}
	}
	return row[b.n];
}

static const char *nearest(enum conf_section sec, struct str key)
{
	size_t best = key.n / 3 + 2, d;
	const char *name = NULL;

	for (size_t i = 0; i < conf_rows_n; i++) {
		if (conf_rows[i].section != sec)
			continue;
		d = distance(key, str_z(conf_rows[i].key));
		if (d < best) {
			best = d;
			name = conf_rows[i].key;
		}
	}
	for (enum conf_section s = SEC_ROOT + 1; s < SECTIONS; s++) {
		if (conf_sections[s].parent != sec)
			continue;
		d = distance(key, str_z(conf_sections[s].name));
		if (d < best) {
			best = d;
			name = conf_sections[s].name;
		}
	}
	return name;
}

void conf_unknown_key(enum conf_section sec, struct str key, struct buf *text)
{
	const char *near = nearest(sec, key);

	buf_z(text, "unknown key \"");
	buf_escape(text, key, 64);
	buf_fmt(text, "\"%s%s", sec == SEC_ROOT ? "" : " in ",
	        sec == SEC_ROOT ? "" : conf_sections[sec].name);
	for (size_t i = 0; i < conf_rows_n; i++) {
		enum conf_section other = conf_rows[i].section;

		if (!str_eq(key, str_z(conf_rows[i].key)))
			continue;
		if (other == SEC_ROOT)
			buf_z(text, "; it belongs outside of sections");
		else
			buf_fmt(text, "; it belongs in %s %s{ }",
			        conf_sections[other].name,
			        conf_sections[other].titled ? "\"...\" " : "");
		return;
	}
	if (near)
		buf_fmt(text, "; did you mean \"%s\"?", near);
	else
		buf_z(text, "; mailchute.conf(5) lists the keys");
}
