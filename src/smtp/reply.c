#include "smtp/reply.h"
#include "smtp/auth.h"
#include "smtp/learned.h"
#include <errno.h>

enum { REPLY_LINE_MAX = 400 }; /* octets that reply_line() gives */

/* One line of a reply: where it stands, and what it says. */
struct line {
	int code;
	bool last;
	struct str text;
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The code in front: 0, 1 while it may still come, or -EBADMSG as soon as it cannot. */
static int take_code(struct str in, int *ret)
{
	int code = 0;

	for (size_t i = 0; i < 3; i++) {
		if (i == in.n)
			return 1;
		if (!digit(in.p[i]) || (i == 0 && (in.p[i] < '2' || in.p[i] > '5')))
			return -EBADMSG;
		code = code * 10 + (in.p[i] - '0');
	}
	*ret = code;
	return 0;
}

/* Length of the line in front with its end; 0: not all there; -EBADMSG. *ret_text is the
 * length without line end. */
static ptrdiff_t line_length(struct str in, size_t *ret_text)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\0' || (in.p[i] != '\n' && i > 0 && in.p[i - 1] == '\r'))
			return -EBADMSG;
		if (in.p[i] == '\n') {
			*ret_text = i > 0 && in.p[i - 1] == '\r' ? i - 1 : i;
			return (ptrdiff_t)i + 1;
		}
	}
	return 0;
}

/* One line: octets used, 0: more is needed, -EBADMSG. Judges what is there even when the
 * line is not complete: garbage must not be waited for. */
static ptrdiff_t take_line(struct str in, struct line *ret)
{
	int code = 0, e = take_code(in, &code);
	size_t text = 0;
	ptrdiff_t n;

	if (e)
		return e < 0 ? e : 0;
	if (in.n == 3)
		return 0;
	if (in.p[3] != ' ' && in.p[3] != '-' && in.p[3] != '\r' && in.p[3] != '\n')
		return -EBADMSG;
	n = line_length(in, &text);
	if (n <= 0)
		return n;
	*ret = (struct line){ .code = code, .last = in.p[3] != '-' };
	if (text > 4)
		ret->text = str_from(str_head(in, text), 4);
	return n;
}

/* Octets of an enhanced status code (RFC 3463) in front of s; 0: there is none. */
static size_t enhanced(struct str s, int ret[3])
{
	int v[3] = { 0, 0, 0 };
	size_t at = 0;

	for (size_t i = 0; i < 3; i++) {
		size_t start;

		if (i > 0 && (at == s.n || s.p[at++] != '.'))
			return 0;
		start = at;
		while (at < s.n && digit(s.p[at]) && at - start < 3)
			v[i] = v[i] * 10 + (s.p[at++] - '0');
		if (at == start)
			return 0;
	}
	if ((v[0] != 2 && v[0] != 4 && v[0] != 5) || (at < s.n && !ascii_space(s.p[at])))
		return 0;
	memcpy(ret, v, sizeof(v));
	return at;
}

ptrdiff_t reply_take(struct str in, struct reply *ret)
{
	struct str all = str_head(in, REPLY_MAX);
	size_t used = 0;

	buf_reset(&ret->text);
	ret->code = 0;
	memset(ret->enhanced, 0, sizeof(ret->enhanced));
	for (unsigned lines = 0; lines < REPLY_LINES_MAX; lines++) {
		struct line l = { .last = false };
		ptrdiff_t n = take_line(str_from(all, used), &l);

		if (n < 0)
			return n;
		if (n == 0)
			return in.n > REPLY_MAX ? -EMSGSIZE : 0;
		if (lines > 0 && l.code != ret->code)
			return -EBADMSG;
		if (lines == 0)
			enhanced(l.text, ret->enhanced);
		else
			buf_c(&ret->text, '\n');
		ret->code = l.code;
		buf_str(&ret->text, l.text);
		used += (size_t)n;
		if (l.last)
			return (ptrdiff_t)used;
	}
	return -EMSGSIZE;
}

void reply_free(struct reply *r)
{
	buf_free(&r->text);
}

/* Escapes as much of s as fits in room octets; returns what is left of the room. */
static size_t escape_fit(struct buf *b, struct str s, size_t room)
{
	for (size_t i = 0; i < s.n; i++) {
		size_t was = b->n;

		buf_escape(b, str_from(str_head(s, i + 1), i), 1);
		if (b->n - was > room) {
			buf_cut(b, was);
			return 0;
		}
		room -= b->n - was;
	}
	return room;
}

bool reply_shows(const struct reply_secret *s, struct str text)
{
	/* What is shorter is in many words by chance, and in longer ones a part of so many
	 * octets is none. */
	enum { SHORT = 6, LONG = 16 };
	struct str rest = buf_view(&s->sent), line;

	if (s->plain.n >= SHORT && auth_shows(text, s->plain, LONG))
		return true;
	while (rest.n && str_cut(&rest, '\n', &line))
		if (line.n >= SHORT && auth_shows(text, line, LONG))
			return true;
	return false;
}

void reply_line(struct buf *b, const struct reply *r)
{
	struct str rest = buf_view(&r->text), line;
	size_t room = REPLY_LINE_MAX - 3;
	bool first = true;

	buf_fmt(b, "%03d", r->code % 1000);
	if (r->secret && reply_shows(r->secret, buf_view(&r->text))) {
		buf_z(b, " (the reply repeats the password and is not shown)");
		return;
	}
	while (room && str_cut(&rest, '\n', &line)) {
		int code[3];

		if (!first)
			line = str_from(line, enhanced(line, code)); /* say it once */
		first = false;
		line = str_trim(line);
		if (!line.n)
			continue;
		room = escape_fit(b, STR(" "), room);
		room = escape_fit(b, line, room);
	}
}

uint64_t reply_shape(const struct reply *r)
{
	struct str rest = buf_view(&r->text), word;
	size_t words, first = r->enhanced[0] ? 1 : 0; /* the code is a word, too */
	uint64_t h = STR_HASH;

	for (words = 0; str_word(&rest, &word); words++) {
		size_t digits = 0;

		for (size_t i = 0; i < word.n; i++)
			digits += digit(word.p[i]);
		if (words < first || (words == first && digits == 0))
			h = learned_keyword(h, word);
	}
	h = str_hash_byte(h, (char)words);
	return h ? h : 1;
}
