#include "mail/addr_bytes.h"

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
			return i == s.n || addr_is_mark(s.p[i]) || ascii_space(s.p[i])
			           ? i
			           : 0;
		}
		if (parts < 2 && (c == '?' || addr_is_mark((char)c)) &&
		    (c != '?' || i == 2))
			return 0;
		parts += c == '?';
	}
	return 0;
}

static size_t atom_length(struct str s)
{
	size_t i = 0;

	while (i < s.n && !addr_is_mark(s.p[i]) && !addr_is_blank(s.p[i]))
		i += s.p[i] == '\\' && i + 1 < s.n ? 2 : 1;
	return i;
}

static void token_next(struct cursor *c)
{
	struct str s = c->rest;
	size_t n = 1;
	bool ok;

	while (s.n && addr_is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	if (s.n == 0) {
		n = 0;
		c->kind = TOKEN_END;
	} else if (s.p[0] == '"') {
		n = addr_quoted_length(s);
		c->kind = n ? TOKEN_QUOTED : TOKEN_BROKEN;
	} else if (s.p[0] == '(') {
		n = comment_length(s);
		c->kind = n ? TOKEN_COMMENT : TOKEN_BROKEN;
	} else if (s.p[0] == '[') {
		n = literal_length(s, &ok);
		c->kind = ok ? TOKEN_LITERAL : TOKEN_MARK;
	} else if (addr_is_mark(s.p[0])) {
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

/* ---- What nearly all mailboxes are, found without the grammar and as that would find it.
 * Whatever is not recognized here is for the grammar to say. ---- */

/* Length of the "local@domain" or "local" that s begins with, of nothing but atoms and dots,
 * in a domain single ones, up to a blank, a mark or the end. 0: there is none. */
static size_t simple_spec(struct str s, struct addr *ret)
{
	size_t at = addr_plain_length(s), end = at;

	/* = may begin an encoded word, which may hold marks. */
	if (at == 0 || memchr(s.p, '=', at))
		return 0;
	if (at < s.n && s.p[at] == '@') {
		for (end = at + 1; end < s.n && addr_is_host(s.p[end]); end++)
			if (s.p[end] == '.' && (end == at + 1 || s.p[end - 1] == '.'))
				return 0;
		if (end == at + 1)
			return 0;
		ret->domain = (struct str){ s.p + at + 1, end - at - 1 };
	}
	if (end < s.n && !addr_is_mark(s.p[end]) && !addr_is_blank(s.p[end]))
		return 0;
	ret->local = str_head(s, at);
	ret->spec = str_head(s, end);
	return end;
}

static void skip_blanks(struct str *s)
{
	while (s->n && addr_is_blank(s->p[0])) {
		s->p++;
		s->n--;
	}
}

/* Takes what may stand behind a mailbox, of which ret->whole has the beginning: comments, and
 * the separator. False: something else is there. */
static bool simple_end(struct str *rest, struct addr *ret)
{
	size_t n;

	for (;;) {
		skip_blanks(rest);
		if (rest->n == 0)
			return true;
		if (rest->p[0] != '(')
			break;
		n = comment_length(*rest);
		if (n == 0)
			return false;
		ret->comment = (struct str){ rest->p + 1, n - 2 };
		ret->whole.n = (size_t)(rest->p - ret->whole.p) + n;
		*rest = str_from(*rest, n);
	}
	if (rest->p[0] != ',' && rest->p[0] != ';')
		return false;
	*rest = str_from(*rest, 1);
	return true;
}

/* Length of the words, or of the quoted string, that s begins with and a blank and "<" come
 * behind; *ret_angle: where that "<" is. 0: there are none. */
static size_t simple_phrase(struct str s, size_t *ret_angle)
{
	size_t end = s.n && s.p[0] == '"' ? addr_quoted_length(s) : 0, i = end;

	for (; i < s.n && (addr_is_blank(s.p[i]) || (addr_class(s.p[i]) <= CLASS_SIGN));
	     i++)
		if (!addr_is_blank(s.p[i]))
			end = i + 1;
	*ret_angle = i;
	return i < s.n && s.p[i] == '<' && i > end ? end : 0;
}

/* Takes a member with its separator: "spec", "words <spec>" or "<spec>", each with comments
 * behind it. False: it is none of these. */
static bool simple_take(struct str *rest, struct addr *ret)
{
	struct str s = *rest, after;
	size_t n, angle = 0;

	*ret = (struct addr){ .angled = false };
	skip_blanks(&s);
	ret->whole = s;
	n = simple_spec(s, ret);
	after = str_from(s, n);
	ret->whole.n = n;
	if (n && simple_end(&after, ret)) {
		*rest = after;
		return true;
	}
	*ret = (struct addr){ .angled = true, .whole = s };
	n = simple_phrase(s, &angle);
	if (n)
		ret->phrase = str_head(s, n);
	else if (s.n == 0 || s.p[0] != '<')
		return false;
	else
		angle = 0;
	after = str_from(s, angle + 1);
	n = simple_spec(after, ret);
	if (n == 0 || n == after.n || after.p[n] != '>')
		return false;
	ret->whole.n = angle + 1 + n + 1;
	after = str_from(after, n + 1);
	if (!simple_end(&after, ret))
		return false;
	*rest = after;
	return true;
}

/* ---- The grammar ---- */

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
		enum member m;

		if (simple_take(&l->rest, &a)) {
			*ret = a;
			return true;
		}
		m = member_take(&c, &a);
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

/* Are these words what they stand for: atoms and dots, with single SPs between when those
 * are kept? */
static bool words_stand(struct str words, bool keep_blanks)
{
	size_t n = addr_plain_length(words);

	while (keep_blanks && n > 0 && n + 1 < words.n && words.p[n] == ' ') {
		size_t more = addr_plain_length(str_from(words, n + 1));

		if (more == 0)
			return false;
		n += 1 + more;
	}
	return n == words.n;
}

void addr_words(struct buf *b, struct str words, bool keep_blanks)
{
	struct cursor c = { .rest = words };
	const char *end = NULL;

	if (words_stand(words, keep_blanks)) {
		buf_str(b, words);
		return;
	}
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
	_cleanup_buf_ struct buf raw = BUF_SMALL;

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
