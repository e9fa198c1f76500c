#include "conf/table.h"
#include <errno.h>

/* What libconfuse 3.3 does that must not happen to a configuration file (all seen): it
 * drops characters that it does not know outside quotes ("match = *" loses its star),
 * takes an unclosed comment for the end of the file, prints a backslash that ends the
 * file, makes other bytes of "\x41" and "\n", replaces ${VAR} by nothing when it is not
 * set, counts a line too many behind each comment of the other kind, and finds keys of
 * sections under "section|key". */

struct scan {
	struct str in;
	size_t at;
	int line;
	struct conf_scan *out;
	struct buf *why;
	struct conf_scan_section open[CONF_DEPTH_MAX]; /* braces; line 0: a list */
	size_t depth;
	unsigned sections; /* begun so far */
	struct str key;    /* the last word that is no value */
	int key_line;
	int word_line;    /* where the first word since the last mark began */
	bool assigned;    /* the last mark was "=" and no value has come yet */
	bool last_quoted; /* the last token was a quoted string */
};

static char peek(const struct scan *s, size_t ahead)
{
	if (s->at + ahead >= s->in.n)
		return '\0';
	return s->in.p[s->at + ahead];
}

/* Copies the next byte, or a blank in its place; a line end always stays one. */
static void take(struct scan *s, bool keep)
{
	char c = s->in.p[s->at++];

	if (c == '\n')
		s->line++;
	if (!keep && c != '\n')
		c = ' ';
	buf_c(&s->out->text, c);
}

static int fail(struct scan *s, const char *why)
{
	buf_z(s->why, why);
	return -EINVAL;
}

static int take_comment(struct scan *s)
{
	int from = s->line;

	if (peek(s, 0) != '/' || peek(s, 1) != '*') {
		while (s->at < s->in.n && peek(s, 0) != '\n')
			take(s, false);
		return 0;
	}
	take(s, false);
	take(s, false);
	while (s->at < s->in.n) {
		if (peek(s, 0) == '*' && peek(s, 1) == '/') {
			take(s, false);
			take(s, false);
			return 0;
		}
		take(s, false);
	}
	s->line = from;
	return fail(s, "the comment that begins here does not end; end it with */");
}

static int take_quoted(struct scan *s)
{
	char quote = peek(s, 0);
	int from = s->line;

	take(s, true);
	while (s->at < s->in.n) {
		char c = peek(s, 0);

		if (c == '\n')
			break;
		if (c == '$' && peek(s, 1) == '{' && quote == '"')
			return fail(
			    s,
			    "${...} is not replaced by anything; write the value itself");
		if (c == '\\' && quote == '"' && peek(s, 1) != '"' &&
		    peek(s, 1) != '\\' && s->at + 1 < s->in.n && peek(s, 1) != '\n')
			return fail(s, "a backslash in double quotes stands before a \" "
			               "or another backslash; write \\\\ for one, or "
			               "put the string into single quotes");
		take(s, true);
		if (c == quote)
			return 0;
		if (c == '\\' && s->at < s->in.n && peek(s, 0) != '\n')
			take(s, true);
	}
	s->line = from;
	return fail(s, quote == '"'
	                   ? "the string does not end on its line; close it with \""
	                   : "the string does not end on its line; close it with '");
}

static bool word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':' ||
	       c == '/' || c == '@';
}

/* Remembers what is assigned where. */
static void note_key(struct scan *s)
{
	struct conf_scan *out = s->out;
	struct conf_scan_key *more;

	if (out->keys == CONF_ASSIGNED_MAX)
		return;
	more = realloc(out->key, (out->keys + 1) * sizeof(*more));
	if (!more)
		die_oom();
	out->key = more;
	more[out->keys++] = (struct conf_scan_key){
		.section = s->depth ? s->open[s->depth - 1].id : 0,
		.line = s->key_line,
		.key = s->key,
	};
}

static int take_close(struct scan *s)
{
	struct conf_scan *out = s->out;
	struct conf_scan_section begun;

	if (s->depth == 0)
		return fail(s, "this } closes nothing; remove it");
	begun = s->open[--s->depth];
	if (begun.line) {
		struct conf_scan_section *more =
		    realloc(out->start, (out->starts + 1) * sizeof(*more));

		if (!more)
			die_oom();
		out->start = more;
		more[out->starts++] = begun;
	}
	s->word_line = 0;
	s->assigned = false;
	return 0;
}

static int take_mark(struct scan *s, char c)
{
	if (c == '+' && peek(s, 1) != '=')
		return fail(s, "a value with + in it needs quotes; write \"...\"");
	if (c == '{') {
		if (s->depth == CONF_DEPTH_MAX)
			return fail(s, "braces are nested too deeply; close some");
		if (s->assigned)
			s->open[s->depth++] = (struct conf_scan_section){ .line = 0 };
		else
			s->open[s->depth++] = (struct conf_scan_section){
				.line = s->word_line ? s->word_line : s->line,
				.id = ++s->sections,
			};
		s->word_line = 0;
		s->assigned = false;
	} else if (c == '=' || c == '+') {
		if (s->last_quoted)
			return fail(
			    s,
			    "a key stands without quotes, and every value behind one =");
		note_key(s);
		s->assigned = true;
		s->word_line = 0;
	} else if (c == '}') {
		int e = take_close(s);

		if (e < 0)
			return e;
	}
	if (c == '+')
		take(s, true);
	take(s, true);
	s->last_quoted = false;
	return 0;
}

static int take_token(struct scan *s)
{
	char c = peek(s, 0);
	size_t from;
	bool slash = c == '/' && (peek(s, 1) == '/' || peek(s, 1) == '*');

	if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
		take(s, c != '\r');
		return 0;
	}
	if (c == '#' || slash)
		return take_comment(s);
	if (c == '{' || c == '}' || c == '=' || c == '+' || c == ',')
		return take_mark(s, c);
	if (c == '$' && peek(s, 1) == '{')
		return fail(s,
		            "${...} is not replaced by anything; write the value itself");
	if (c != '"' && c != '\'' && !word_byte(c)) {
		buf_z(s->why, "the character '");
		buf_escape(s->why, (struct str){ &c, 1 }, 1);
		buf_z(s->why,
		      "' cannot stand outside quotes; write the value as \"...\"");
		return -EINVAL;
	}
	/* The value behind "=" ends what began with the key. */
	s->word_line = s->assigned ? 0 : s->word_line ? s->word_line : s->line;
	from = s->assigned ? SIZE_MAX : s->at;
	s->assigned = false;
	s->last_quoted = c == '"' || c == '\'';
	if (s->last_quoted)
		return take_quoted(s);
	while (s->at < s->in.n && word_byte(peek(s, 0)))
		take(s, true);
	if (from != SIZE_MAX) {
		s->key = str_head(str_from(s->in, from), s->at - from);
		s->key_line = s->line;
	}
	return 0;
}

int conf_scan(struct str in, struct conf_scan *ret, int *ret_line, struct buf *why)
{
	struct scan s = { .in = in, .line = 1, .out = ret, .why = why };
	int e = 0;

	/* Editors of Windows put a byte order mark in front. */
	if (str_starts(in, STR("\xef\xbb\xbf")))
		s.in = in = str_from(in, 3);
	for (size_t i = 0; i < in.n && e == 0; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if ((c < 0x20 && !ascii_space((char)c)) || c == 0x7f)
			e = fail(&s, "a control character; the file must be plain text");
		else if (c == '\n')
			s.line++;
	}
	if (e == 0)
		s.line = 1;
	while (e == 0 && s.at < in.n)
		e = take_token(&s);
	if (e == 0 && s.depth) {
		if (s.open[s.depth - 1].line)
			s.line = s.open[s.depth - 1].line;
		e = fail(&s, "the section or list that begins here does not end; "
		             "close it with }");
	}
	*ret_line = s.line;
	return e;
}

void conf_scan_free(struct conf_scan *s)
{
	buf_free(&s->text);
	free(s->start);
	free(s->key);
	s->start = NULL;
	s->key = NULL;
	s->starts = s->keys = 0;
}
