#include "mail/alias_value.h"
#include "mail/addr.h"

#define INCLUDE STR(":include:")

/* Does s begin with a line end? */
static bool at_eol(struct str s)
{
	return str_starts(s, STR("\n")) || str_starts(s, STR("\r\n"));
}

/* Blanks, and the backslash with which a line says that it goes on. */
static struct str trim(struct str s)
{
	for (;;) {
		struct str t = str_trim(s), behind;

		if (!t.n)
			return t;
		behind = str_from(s, (size_t)(t.p + t.n - s.p));
		if (t.p[0] == '\\' && (t.n == 1 || at_eol(str_from(t, 1))))
			t = str_from(s, (size_t)(t.p + 1 - s.p));
		else if (t.p[t.n - 1] == '\\' && at_eol(behind))
			t = str_head(t, t.n - 1);
		else
			return t;
		s = t;
	}
}

/* Where the reader is within a value. */
struct scan {
	bool quoted;
	unsigned comments; /* that are open */
};

/* The octets that the scan takes at s, which is not empty; 0: the value ends here. */
static size_t step(struct scan *k, struct str s, bool after_blank, bool lines)
{
	char c = s.p[0];

	if (c == '\n' && lines)
		return 0;
	if (c == '\\')
		return s.n > 1 && !(s.p[1] == '\n' && lines) ? 2 : 1;
	if (k->quoted) {
		k->quoted = c != '"';
	} else if (c == '(') {
		k->comments++;
	} else if (k->comments) {
		k->comments -= c == ')';
	} else if (c == '"') {
		k->quoted = true;
	} else if (c == ',' || (c == '#' && after_blank)) {
		return 0;
	}
	return 1;
}

/* Takes what stands up to the next comma, comment or end, and that with it. False: a quoted
 * string or comment in it has no end. */
static bool take(struct str *rest, bool lines, struct str *ret)
{
	struct scan k = { .quoted = false };
	size_t n = 0, used;

	while (n < rest->n &&
	       (used = step(&k, str_from(*rest, n), n == 0 || ascii_space(rest->p[n - 1]),
	                    lines)) > 0)
		n += used;
	*ret = str_head(*rest, n);
	if (n < rest->n && rest->p[n] == '#') {
		ptrdiff_t lf = str_chr(str_from(*rest, n), '\n');

		n = lf < 0 ? rest->n : n + (size_t)lf;
		*rest = str_from(*rest, n);
	} else {
		*rest = str_from(*rest, n + 1);
	}
	return !k.quoted && k.comments == 0;
}

bool alias_unquote(struct str *rest, struct buf *ret)
{
	size_t i = 1;

	for (; i < rest->n && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		buf_c(ret, rest->p[i]);
	}
	if (i >= rest->n)
		return false;
	*rest = str_from(*rest, i + 1);
	return true;
}

static void bad(struct alias_value *v, const char *why)
{
	v->kind = ALIAS_BAD;
	v->why = why;
}

static void read_address(struct alias_value *v, struct str text, enum alias_kind kind)
{
	struct addr_list l;
	struct addr a, more;

	v->kind = kind;
	addr_list_start(&l, text);
	if (!addr_list_next(&l, &a) || addr_list_next(&l, &more) || l.bad ||
	    a.spec.n == 0) {
		bad(v, "not an address");
		return;
	}
	buf_reset(&v->text);
	addr_plain(&v->text, &a);
	if (!addr_envelope_ok(buf_view(&v->text)))
		bad(v, "not an address that mail can go to");
}

static void read_path(struct alias_value *v, struct str path)
{
	_cleanup_buf_ struct buf plain = BUF_INIT;

	v->kind = ALIAS_INCLUDE;
	path = str_trim(path);
	if (path.n && path.p[0] == '"') {
		if (!alias_unquote(&path, &plain) || str_trim(path).n) {
			bad(v, "not the name of one file");
			return;
		}
		path = buf_view(&plain);
	}
	buf_reset(&v->text);
	buf_str(&v->text, path);
	if (path.n == 0 || path.p[0] != '/')
		bad(v, ":include: without a name that begins with /");
	else if (memchr(path.p, '\0', path.n) || memchr(path.p, '\n', path.n))
		bad(v, "not the name of one file");
}

/* What is neither an address nor a name. */
static bool read_special(struct alias_value *v, struct str s)
{
	if (s.n && s.p[0] == '|')
		v->kind = ALIAS_PROGRAM;
	else if (s.n && s.p[0] == '/')
		v->kind = ALIAS_FILE;
	else if (str_istarts(s, INCLUDE))
		read_path(v, str_from(s, INCLUDE.n));
	else
		return false;
	return true;
}

/* A value that is one quoted string: what it holds is what is meant. */
static void read_quoted(struct alias_value *v, struct str inner, bool literal)
{
	_cleanup_buf_ struct buf local = BUF_INIT;

	if (read_special(v, inner))
		return;
	v->kind = literal ? ALIAS_LITERAL : ALIAS_ADDRESS;
	if (str_chr(inner, '@') < 0 || !addr_envelope_ok(inner)) {
		addr_local(&local, inner);
		inner = buf_view(&local);
	}
	buf_reset(&v->text);
	buf_str(&v->text, inner);
	if (!addr_envelope_ok(inner))
		bad(v, "not an address that mail can go to");
}

static void read_value(struct alias_value *v, struct str s)
{
	_cleanup_buf_ struct buf inner = BUF_INIT;
	struct str rest = s;

	if (s.p[0] == '"' && alias_unquote(&rest, &inner) && rest.n == 0)
		read_quoted(v, buf_view(&inner), s.p[1] == '\\');
	else if (s.p[0] == '\\')
		read_address(v, str_from(s, 1), ALIAS_LITERAL);
	else if (!read_special(v, s))
		read_address(v, s, ALIAS_ADDRESS);
}

bool alias_value_next(struct str *rest, bool lines, struct alias_value *ret)
{
	struct str s;
	bool whole;

	while (rest->n) {
		whole = take(rest, lines, &s);
		s = trim(s);
		if (s.n == 0)
			continue;
		ret->at = s.p;
		buf_reset(&ret->text);
		if (whole)
			read_value(ret, s);
		else
			bad(ret, "a quote or a parenthesis is not closed");
		return true;
	}
	return false;
}
