#include "mail/template.h"
#include "mail/text.h"
#include <errno.h>

static const struct {
	const char *name;
	bool until; /* is there a time until which tries go on? */
} kinds[TEMPLATE_KINDS] = {
	[TEMPLATE_FAILED] = { "[failed]", false },
	[TEMPLATE_DELAYED] = { "[delayed]", true },
	[TEMPLATE_RELAYED] = { "[relayed]", false },
};

/* Where the parser is. */
struct reader {
	struct template *t;
	int kind; /* block that is being read; -1: in front of the first */
	bool seen[TEMPLATE_KINDS];
	bool opened;     /* the last line was the block's name */
	bool recipients; /* the block has its %r */
	const char *why;
};

static int wrong(struct reader *r, const char *why)
{
	r->why = why;
	return -EINVAL;
}

/* What a line of any block must be. */
static int check_bytes(struct reader *r, struct str line)
{
	if (line.n > TEMPLATE_LINE_MAX)
		return wrong(r, "the line is over 900 octets long; break it");
	while (line.n) {
		size_t n = text_utf8_length(line);

		if (n == 0)
			return wrong(r, "not UTF-8; save the file as UTF-8");
		if (line.p[0] == '\r')
			return wrong(r, "a carriage return; save the file with Unix "
			                "line ends");
		if (((unsigned char)line.p[0] < 0x20 && line.p[0] != '\t') ||
		    line.p[0] == 0x7f)
			return wrong(r, "a control character; only TAB may be there");
		line = str_from(line, n);
	}
	return 0;
}

static int check_variables(struct reader *r, struct str line, bool subject)
{
	for (size_t i = 0; i < line.n; i++) {
		char c = '\0';

		if (line.p[i] != '%')
			continue;
		if (i + 1 < line.n)
			c = line.p[i + 1];
		i++;
		if (c == '\0' || str_chr(STR("histlura%"), c) < 0)
			return wrong(r, "no such variable; there are %h %i %s %t %l %u "
			                "%r %a, and %% for a per cent sign");
		if (c == 'u' && !kinds[r->kind].until)
			return wrong(r, "%u is known in [delayed] only");
		if (c != 'r')
			continue;
		if (subject)
			return wrong(r, "%r is for the words, not for a subject");
		if (!str_eq(str_trim(line), STR("%r")))
			return wrong(r, "%r must be alone on its line");
		if (r->recipients)
			return wrong(r, "%r is there twice in this block");
		r->recipients = true;
	}
	return 0;
}

static int open_block(struct reader *r, struct str name)
{
	for (int k = 0; k < TEMPLATE_KINDS; k++) {
		if (!str_eq(name, str_z(kinds[k].name)))
			continue;
		if (r->seen[k])
			return wrong(r, "this block is there twice");
		r->seen[k] = true;
		r->kind = k;
		r->opened = true;
		r->recipients = false;
		return 0;
	}
	return wrong(r, "no such block; there are [failed], [delayed] and [relayed]");
}

static int take_subject(struct reader *r, struct str line)
{
	struct str s = str_trim(str_from(line, strlen("Subject:")));

	if (s.n == 0)
		return wrong(r, "an empty subject; leave the line out");
	r->t->block[r->kind].subject = s;
	return check_variables(r, s, true);
}

static int take_line(struct reader *r, struct str line)
{
	struct str bare = str_trim(line);
	bool opened = r->opened;
	int e = check_bytes(r, line);

	r->opened = false;
	if (e < 0)
		return e;
	if (bare.n && bare.p[0] == '[' && bare.p[bare.n - 1] == ']')
		return open_block(r, bare);
	if (r->kind < 0) {
		if (bare.n == 0 || line.p[0] == '#')
			return 0;
		return wrong(r, "words in front of the first block; begin with "
		                "[failed], [delayed] or [relayed]");
	}
	if (opened && str_istarts(line, STR("Subject:")))
		return take_subject(r, line);
	if (bare.n) {
		struct str *words = &r->t->block[r->kind].words;

		/* From the first line that is not empty to the end of the last one. */
		if (words->n == 0)
			words->p = line.p;
		words->n = (size_t)(line.p + line.n - words->p);
	}
	return check_variables(r, line, false);
}

int template_parse(struct str text, struct template *ret, int *ret_line,
                   const char **ret_why)
{
	struct template t = { .text = BUF_INIT };
	struct reader r = { .t = &t, .kind = -1 };
	struct str rest, line;
	int e = 0, number = 0;

	if (text.n > TEMPLATE_MAX) {
		*ret_line = 1;
		*ret_why = "the file is over 64 KiB";
		return -EINVAL;
	}
	buf_str(&t.text, text);
	rest = buf_view(&t.text);
	/* Some editors begin UTF-8 with a byte order mark. */
	if (str_starts(rest, STR("\xef\xbb\xbf")))
		rest = str_from(rest, 3);
	while (e == 0 && rest.n && str_cut(&rest, '\n', &line)) {
		number++;
		e = take_line(&r, line);
	}
	if (e == 0 && r.kind < 0) {
		number = number ? number : 1;
		e = wrong(&r, "no block; there are [failed], [delayed] and [relayed]");
	}
	if (e < 0) {
		template_free(&t);
		*ret_line = number;
		*ret_why = r.why;
		return e;
	}
	*ret = t;
	return 0;
}

void template_free(struct template *t)
{
	buf_free(&t->text);
	*t = (struct template){ .text = BUF_INIT };
}

/* ---- Using it ---- */

/* Cut between characters, should it be too long. */
static void add_value(struct buf *b, struct str s)
{
	if (s.n > TEMPLATE_VALUE_MAX) {
		s.n = TEMPLATE_VALUE_MAX;
		while (s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
			s.n--;
	}
	buf_str(b, s);
}

static void expand(struct buf *b, struct str line, const struct template_values *v)
{
	for (size_t i = 0; i < line.n; i++) {
		char c = line.p[i];

		if (c != '%' || i + 1 == line.n) {
			buf_c(b, c);
			continue;
		}
		i++;
		switch (line.p[i]) {
		case 'h':
			add_value(b, v->hostname);
			break;
		case 'i':
			add_value(b, v->id);
			break;
		case 's':
			add_value(b, v->subject);
			break;
		case 't':
			add_value(b, v->queued);
			break;
		case 'l':
			add_value(b, v->lifetime);
			break;
		case 'u':
			add_value(b, v->until);
			break;
		case 'a':
			add_value(b, v->admin);
			break;
		default:
			buf_c(b, line.p[i]);
			break;
		}
	}
}

void template_words(struct buf *b, struct str words, const struct template_values *v)
{
	bool told = false;
	struct str line;

	while (words.n && str_cut(&words, '\n', &line)) {
		if (str_eq(str_trim(line), STR("%r"))) {
			buf_str(b, v->recipients);
			told = true;
			continue;
		}
		expand(b, line, v);
		buf_c(b, '\n');
	}
	if (!told) {
		buf_c(b, '\n');
		buf_str(b, v->recipients);
	}
}

void template_subject(struct buf *b, struct str subject, const struct template_values *v)
{
	expand(b, subject, v);
}
