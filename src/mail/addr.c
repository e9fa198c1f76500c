#include "mail/addr.h"

/* Tokens of RFC 5322 3.2; blanks lie between them and are never one. */
enum token {
	TOKEN_END,
	TOKEN_ATOM, /* also with backslash pairs, which RFC 821 had outside quotes; or an
	                * encoded word (RFC 2047), whatever marks it holds */
	TOKEN_QUOTED,  /* with its quotes */
	TOKEN_LITERAL, /* with its brackets */
	TOKEN_COMMENT, /* with its parentheses, nested ones inside */
	TOKEN_MARK,    /* one of . @ < > , ; : or a ) ] [ out of place */
	TOKEN_BROKEN,  /* unclosed quotes or comment, or too deep: all the rest */
};

enum { ENCODED_MAX = 200 }; /* octets of an encoded word; RFC 2047 has 75 */

struct cursor {
	struct str rest;
	enum token kind;
	struct str text;
};

/* What ends an atom: marks and blanks. A table, as every byte of a list is looked up. */
enum { CLASS_MARK = 1, CLASS_BLANK = 2 };

static const unsigned char classes[256] = {
	[' '] = CLASS_BLANK,  ['\t'] = CLASS_BLANK, ['\r'] = CLASS_BLANK,
	['\n'] = CLASS_BLANK, ['('] = CLASS_MARK,   [')'] = CLASS_MARK,
	['<'] = CLASS_MARK,   ['>'] = CLASS_MARK,   ['['] = CLASS_MARK,
	[']'] = CLASS_MARK,   [':'] = CLASS_MARK,   [';'] = CLASS_MARK,
	['@'] = CLASS_MARK,   [','] = CLASS_MARK,   ['.'] = CLASS_MARK,
	['"'] = CLASS_MARK,
};

static unsigned class_of(char c)
{
	return classes[(unsigned char)c];
}

static bool is_mark(char c)
{
	return class_of(c) == CLASS_MARK;
}

/* Length of the quoted string that s begins with; 0: unclosed. */
static size_t quoted_length(struct str s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

/* Length of the comment that s begins with; 0: unclosed or nested too deep. */
static size_t comment_length(struct str s)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(' && ++depth > ADDR_DEPTH_MAX)
			return 0;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return 0;
}

/* Length of the domain literal that s begins with. When there is none, *ret_ok is false
 * and the length is that of the bytes looked at: no byte is looked at twice for it. */
static size_t literal_length(struct str s, bool *ret_ok)
{
	size_t i = 1;

	while (i < s.n && s.p[i] != '\0' && !strchr("[],<>@()\";", s.p[i]))
		i += s.p[i] == '\\' && i + 1 < s.n ? 2 : 1; /* obs-dtext */
	*ret_ok = i < s.n && s.p[i] == ']';
	return *ret_ok ? i + 1 : i;
}

/* Length of the encoded word that s begins with, up to a blank, a mark or the end; 0: it is
 * none. In a phrase it must not hold marks (RFC 2047 5 (3)), but in real mail it does. One
 * with @ is none, so that no address that is put somewhere makes its neighbours one. */
static size_t encoded_length(struct str s)
{
	size_t i = 2, parts = 0;

	s = str_head(s, ENCODED_MAX);
	if (s.n < 2 || s.p[0] != '=' || s.p[1] != '?')
		return 0;
	for (; i + 1 < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '@')
			return 0;
		if (parts == 2 && c == '?') {
			if (s.p[i + 1] != '=')
				return 0;
			i += 2;
			return i == s.n || is_mark(s.p[i]) || ascii_space(s.p[i]) ? i : 0;
		}
		if (parts < 2 && (c == '?' || is_mark((char)c)) && (c != '?' || i == 2))
			return 0;
		parts += c == '?';
	}
	return 0;
}

static size_t atom_length(struct str s)
{
	size_t i = 0;

	while (i < s.n && !class_of(s.p[i]))
		i += s.p[i] == '\\' && i + 1 < s.n ? 2 : 1;
	return i;
}

static void token_next(struct cursor *c)
{
	struct str s = c->rest;
	size_t n = 1;
	bool ok;

	while (s.n && class_of(s.p[0]) == CLASS_BLANK) {
		s.p++;
		s.n--;
	}
	if (s.n == 0) {
		n = 0;
		c->kind = TOKEN_END;
	} else if (s.p[0] == '"') {
		n = quoted_length(s);
		c->kind = n ? TOKEN_QUOTED : TOKEN_BROKEN;
	} else if (s.p[0] == '(') {
		n = comment_length(s);
		c->kind = n ? TOKEN_COMMENT : TOKEN_BROKEN;
	} else if (s.p[0] == '[') {
		n = literal_length(s, &ok);
		c->kind = ok ? TOKEN_LITERAL : TOKEN_MARK;
	} else if (is_mark(s.p[0])) {
		c->kind = TOKEN_MARK;
	} else {
		n = s.p[0] == '=' ? encoded_length(s) : 0;
		if (n == 0)
			n = atom_length(s);
		c->kind = TOKEN_ATOM;
	}
	if (c->kind == TOKEN_BROKEN)
		n = s.n;
	c->text = str_head(s, n);
	c->rest = str_from(s, n);
}

static bool token_is(const struct cursor *c, char mark)
{
	return c->kind == TOKEN_MARK && c->text.p[0] == mark;
}

static bool token_ends_member(const struct cursor *c)
{
	return c->kind == TOKEN_END || token_is(c, ',') || token_is(c, ';');
}

/* Makes *span reach to the end of the token. */
static void span_add(struct str *span, struct str token)
{
	if (!span->p)
		*span = token;
	else
		span->n = (size_t)(token.p - span->p) + token.n;
}

/* An addr-spec, token by token. Doubled, leading and trailing dots are let through:
 * they are in use, and addr_plain() quotes them. */
struct spec {
	enum {
		SPEC_START,
		SPEC_WORD,
		SPEC_DOT,
		SPEC_AT,
		SPEC_LABEL,
		SPEC_LABEL_DOT,
		SPEC_LITERAL,
		SPEC_BAD
	} state;
	struct str local, domain;
};

static void spec_take(struct spec *s, const struct cursor *c)
{
	bool word = c->kind == TOKEN_ATOM || c->kind == TOKEN_QUOTED;
	bool in_local =
	    s->state == SPEC_START || s->state == SPEC_WORD || s->state == SPEC_DOT;
	bool wants_label = s->state == SPEC_AT || s->state == SPEC_LABEL_DOT;

	if (in_local && s->state != SPEC_WORD && word)
		s->state = SPEC_WORD;
	else if (in_local && token_is(c, '.'))
		s->state = SPEC_DOT;
	else if (in_local && s->state != SPEC_START && token_is(c, '@'))
		s->state = SPEC_AT;
	else if (wants_label && c->kind == TOKEN_ATOM && str_chr(c->text, '\\') < 0)
		s->state = SPEC_LABEL;
	else if (s->state == SPEC_AT && c->kind == TOKEN_LITERAL)
		s->state = SPEC_LITERAL;
	else if (s->state == SPEC_LABEL && token_is(c, '.'))
		s->state = SPEC_LABEL_DOT;
	else
		s->state = SPEC_BAD;
	if (s->state == SPEC_WORD || s->state == SPEC_DOT)
		span_add(&s->local, c->text);
	else if (s->state > SPEC_AT && s->state < SPEC_BAD)
		span_add(&s->domain, c->text);
}

static bool spec_done(const struct spec *s)
{
	return s->state != SPEC_START && s->state != SPEC_AT && s->state != SPEC_BAD;
}

/* Skips the source route that begins with the token at hand (RFC 5322 4.4: obs-route) and
 * its colon. */
static bool route_skip(struct cursor *c)
{
	while (!token_is(c, ':')) {
		if (c->kind == TOKEN_END || c->kind == TOKEN_BROKEN ||
		    c->kind == TOKEN_QUOTED || token_is(c, '<') || token_is(c, '>') ||
		    token_is(c, ';'))
			return false;
		token_next(c);
	}
	token_next(c);
	return true;
}

enum angle { ANGLE_OK, ANGLE_OPEN, ANGLE_BAD };

/* Takes what follows "<", the ">" included. ANGLE_BAD: no address; the cursor then stands
 * on the token that was wrong, which may be a comma. ANGLE_OPEN: an address, but a comma or
 * the end, on which the cursor stands, instead of ">". */
static enum angle angle_take(struct cursor *c, struct addr *ret)
{
	struct spec spec = { .state = SPEC_START };
	struct str span = STR_NONE;

	ret->spec = str_head(c->rest, 0);
	token_next(c);
	while (c->kind == TOKEN_COMMENT || token_is(c, ',')) {
		struct cursor ahead = *c;

		/* obs-domain-list may begin with empty members. */
		token_next(&ahead);
		if (token_is(c, ',') && !token_is(&ahead, ',') &&
		    !token_is(&ahead, '@') && ahead.kind != TOKEN_COMMENT)
			break;
		if (token_is(c, ','))
			span_add(&span, c->text);
		*c = ahead;
	}
	if (token_is(c, '@')) {
		span_add(&span, c->text);
		if (!route_skip(c))
			return ANGLE_BAD;
	}
	for (; !token_is(c, '>'); token_next(c)) {
		if (c->kind == TOKEN_COMMENT)
			continue;
		if (token_ends_member(c) && spec_done(&spec) && spec.domain.p)
			break;
		if (token_ends_member(c) || c->kind == TOKEN_BROKEN)
			return ANGLE_BAD;
		spec_take(&spec, c);
		if (spec.state == SPEC_BAD)
			return ANGLE_BAD;
		span_add(&span, c->text);
	}
	if (span.p && !spec_done(&spec))
		return ANGLE_BAD;
	if (span.p)
		ret->spec = span;
	ret->local = spec.local;
	ret->domain = spec.domain;
	return token_is(c, '>') ? ANGLE_OK : ANGLE_OPEN;
}

enum member { MEMBER_NONE, MEMBER_ADDR, MEMBER_BAD };

static enum member member_end(const struct spec *bare, struct addr *a)
{
	if (a->angled)
		return MEMBER_ADDR;
	if (!a->phrase.p)
		return MEMBER_NONE;
	if (!spec_done(bare))
		return MEMBER_BAD;
	a->local = bare->local;
	a->domain = bare->domain;
	a->spec = a->phrase;
	a->phrase = STR_NONE;
	return MEMBER_ADDR;
}

/* Takes one member of a list up to and with its separator. On MEMBER_BAD the cursor
 * stands on the token that was wrong. Words in front of "<" are the phrase; until it is
 * seen they are tried as a bare addr-spec too. */
static enum member member_take(struct cursor *c, struct addr *a)
{
	struct spec bare = { .state = SPEC_START };

	*a = (struct addr){ .angled = false };
	for (;;) {
		token_next(c);
		if (token_ends_member(c))
			return member_end(&bare, a);
		if (token_is(c, ':')) { /* what stood before is a group's name */
			if (a->angled || !a->phrase.p || bare.domain.p ||
			    bare.state == SPEC_AT)
				return MEMBER_BAD;
			*a = (struct addr){ .angled = false };
			bare = (struct spec){ .state = SPEC_START };
			continue;
		}
		if (c->kind == TOKEN_BROKEN)
			return MEMBER_BAD;
		span_add(&a->whole, c->text);
		if (c->kind == TOKEN_COMMENT) {
			a->comment = (struct str){ c->text.p + 1, c->text.n - 2 };
		} else if (a->angled) {
			return MEMBER_BAD;
		} else if (token_is(c, '<')) {
			enum angle angle = angle_take(c, a);

			if (angle == ANGLE_BAD)
				return MEMBER_BAD;
			a->angled = true;
			a->open = angle == ANGLE_OPEN;
			span_add(&a->whole, a->open ? a->spec : c->text);
			if (a->open)
				return MEMBER_ADDR;
		} else {
			span_add(&a->phrase, c->text);
			spec_take(&bare, c);
		}
	}
}

void addr_list_start(struct addr_list *l, struct str text)
{
	*l = (struct addr_list){ .rest = text };
}

bool addr_list_next(struct addr_list *l, struct addr *ret)
{
	while (l->rest.n) {
		struct cursor c = { .rest = l->rest };
		struct addr a;
		enum member m = member_take(&c, &a);

		if (m == MEMBER_BAD) {
			l->bad = true;
			while (!token_ends_member(&c))
				token_next(&c);
		}
		l->rest = c.rest;
		l->bad = l->bad || a.open;
		if (m == MEMBER_ADDR) {
			*ret = a;
			return true;
		}
	}
	return false;
}

/* atext of RFC 5322 3.2.3, and the bytes of UTF-8 (RFC 6532 3.2). */
static bool is_atext(char c)
{
	unsigned char u = (unsigned char)c;

	return u > 0x20 && u != 0x7f && u != '\\' && !is_mark(c);
}

/* dot-atom of RFC 5322 3.2.3. */
static bool is_dot_atom(struct str s)
{
	bool dot = true;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.' ? dot : !is_atext(s.p[i]))
			return false;
		dot = s.p[i] == '.';
	}
	return !dot;
}

void addr_local(struct buf *b, struct str raw)
{
	if (is_dot_atom(raw)) {
		buf_str(b, raw);
		return;
	}
	buf_c(b, '"');
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '"' || raw.p[i] == '\\')
			buf_c(b, '\\');
		buf_c(b, raw.p[i]);
	}
	buf_c(b, '"');
}

/* Adds the characters a token stands for: without quotes, backslashes and line ends. */
static void token_plain(struct buf *b, const struct cursor *c)
{
	struct str s = c->text;

	if (c->kind == TOKEN_QUOTED)
		s = (struct str){ s.p + 1, s.n - 2 };
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		else if (s.p[i] == '\r' || s.p[i] == '\n')
			continue;
		buf_c(b, s.p[i]);
	}
}

void addr_words(struct buf *b, struct str words, bool keep_blanks)
{
	struct cursor c = { .rest = words };
	const char *end = NULL;

	for (;;) {
		token_next(&c);
		if (c.kind == TOKEN_END)
			return;
		if (c.kind == TOKEN_COMMENT)
			continue;
		if (keep_blanks && end && end < c.text.p)
			buf_c(b, ' ');
		token_plain(b, &c);
		end = c.text.p + c.text.n;
	}
}

void addr_plain(struct buf *b, const struct addr *a)
{
	_cleanup_buf_ struct buf raw = BUF_INIT;

	if (a->local.n == 0)
		return;
	addr_words(&raw, a->local, false);
	addr_local(b, buf_view(&raw));
	if (a->domain.n == 0)
		return;
	buf_c(b, '@');
	buf_reset(&raw);
	addr_words(&raw, a->domain, false);
	/* "example.org." is the same domain, and not in the grammar of SMTP. */
	if (raw.n > 1 && raw.p[raw.n - 1] == '.')
		buf_cut(&raw, raw.n - 1);
	for (size_t i = 0; i < raw.n; i++)
		if (!ascii_space(raw.p[i])) /* a literal may be folded */
			buf_c(b, raw.p[i]);
}

/* Length of the local part that a begins with, up to its last @ outside quotes, or all;
 * a.n + 1: the quotes are not as they must be. */
static size_t local_length(struct str a)
{
	size_t n = a.n;
	bool word_begins = true;

	for (size_t i = 0; i < a.n; i++) {
		if (a.p[i] == '"') {
			size_t q = quoted_length(str_from(a, i));

			if (!word_begins || q == 0)
				return a.n + 1;
			i += q - 1;
			if (i + 1 < a.n && a.p[i + 1] != '.' && a.p[i + 1] != '@')
				return a.n + 1;
		} else if (a.p[i] == '@') {
			n = i;
		}
		word_begins = a.p[i] == '.';
	}
	return n;
}

static bool domain_ok(struct str d)
{
	bool literal = d.n > 2 && d.p[0] == '[' && d.p[d.n - 1] == ']';

	if (literal)
		d = str_head(str_from(d, 1), d.n - 2);
	for (size_t i = 0; i < d.n; i++) {
		char c = d.p[i], l = ascii_lower(c);

		if (c == '.' && !literal && (i == 0 || d.p[i - 1] == '.'))
			return false;
		if (!(l >= 'a' && l <= 'z') && !(c >= '0' && c <= '9') &&
		    (unsigned char)c < 0x80 && c != '-' && c != '.' && c != '_' &&
		    !(c == ':' && literal))
			return false;
	}
	return d.n > 0;
}

bool addr_envelope_ok(struct str a)
{
	size_t local;
	bool quoted = false;

	if (a.n == 0 || a.n > ADDR_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if ((unsigned char)a.p[i] < 0x20 || a.p[i] == 0x7f)
			return false;
	local = local_length(a);
	if (local == 0 || local > a.n)
		return false;
	for (size_t i = 0; i < local; i++) {
		if (quoted && a.p[i] == '\\')
			i++;
		else if (a.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && strchr(" <>[],:;()\\@", a.p[i]))
			return false;
	}
	return local == a.n || domain_ok(str_from(a, local + 1));
}

void addr_split(struct str a, struct str *ret_local, struct str *ret_domain)
{
	size_t n = local_length(a);

	*ret_local = str_head(a, n);
	*ret_domain = n < a.n ? str_from(a, n + 1) : str_from(a, a.n);
}

bool addr_glob(struct str pattern, struct str a)
{
	size_t p = 0, i = 0, star = SIZE_MAX, from = 0;

	/* Only the last star met needs to be tried with more bytes. */
	while (i < a.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			from = i;
		} else if (p < pattern.n &&
		           (pattern.p[p] == '?' ||
		            ascii_lower(pattern.p[p]) == ascii_lower(a.p[i]))) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}
