#include "mail/fold_words.h"
#include "mail/addr.h"
#include "mail/fold.h"
#include "mail/head.h"
#include "mail/text.h"

enum {
	ENCODE_BEFORE =
	    40, /* column from which encoded words begin a line of their own */
};

enum field_kind {
	FIELD_OTHER,
	FIELD_TEXT,
	FIELD_ADDRESSES,
};

static enum field_kind kind_of(struct str name)
{
	static const struct {
		const char *name;
		enum field_kind kind;
	} rows[] = {
		{ "Subject", FIELD_TEXT },
		{ "Comments", FIELD_TEXT },
		{ "From", FIELD_ADDRESSES },
		{ "Sender", FIELD_ADDRESSES },
		{ "Reply-To", FIELD_ADDRESSES },
		{ "To", FIELD_ADDRESSES },
		{ "Cc", FIELD_ADDRESSES },
		{ "Resent-From", FIELD_ADDRESSES },
		{ "Resent-Sender", FIELD_ADDRESSES },
		{ "Resent-Reply-To", FIELD_ADDRESSES },
		{ "Resent-To", FIELD_ADDRESSES },
		{ "Resent-Cc", FIELD_ADDRESSES },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_ieq(name, str_z(rows[i].name)))
			return rows[i].kind;
	return FIELD_OTHER;
}

/* Is there a word that fold.c cannot be sure to find a blank beside? It looks for one in the
 * second half of a line. */
static bool has_long(struct str s, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		n = ascii_space(s.p[i]) ? 0 : n + 1;
		if (n >= max / 2 - 1)
			return true;
	}
	return false;
}

/* The next word of text that is an encoded word; n == 0: none. */
static struct str encoded_word(struct str text)
{
	size_t i = 0;

	while (i < text.n) {
		size_t n = i;

		while (n < text.n && !ascii_space(text.p[n]))
			n++;
		if (n > i && text_is_encoded(str_head(str_from(text, i), n - i)))
			return str_head(str_from(text, i), n - i);
		i = n + 1;
	}
	return str_from(text, text.n);
}

/* Appends text as encoded words. Those that it has stay; blanks between them are not shown, so
 * that those beside one are encoded with what is on their other side. */
static void encode(struct buf *b, struct str text)
{
	bool first = true;

	text = str_trim(text);
	while (text.n) {
		struct str word = encoded_word(text);
		struct str run = str_head(text, (size_t)(word.p - text.p));

		if (str_trim(run).n) {
			if (!first || fold_column(b) > ENCODE_BEFORE)
				buf_z(b, "\n ");
			text_encode_all(b, run, fold_column(b));
			first = false;
		}
		if (word.n) {
			if (!first || fold_column(b) > ENCODE_BEFORE)
				buf_z(b, "\n ");
			buf_str(b, word);
			first = false;
		}
		text = str_from(text, run.n + word.n);
	}
}

/* A comment between the words of a name would be lost with them. */
static bool has_comment(struct str phrase)
{
	bool quoted = false;

	for (size_t i = 0; i < phrase.n; i++) {
		if (phrase.p[i] == '\\')
			i++;
		else if (phrase.p[i] == '"')
			quoted = !quoted;
		else if (phrase.p[i] == '(' && !quoted)
			return true;
	}
	return false;
}

/* Appends the mailbox with its name, text, in encoded words. */
static void encode_name(struct buf *b, const struct addr *a, struct str text)
{
	size_t before = (size_t)(a->phrase.p - a->whole.p);
	struct str behind = str_from(a->whole, before + a->phrase.n);

	buf_str(b, str_head(a->whole, before));
	if (b->n && !ascii_space(b->p[b->n - 1]))
		buf_c(b, ' ');
	encode(b, text);
	/* RFC 2047 5 (3): it stands alone. */
	if (behind.n && !ascii_space(behind.p[0]))
		buf_c(b, ' ');
	buf_str(b, behind);
}

static bool encode_names(struct buf *b, const struct head_field *f, size_t max)
{
	struct str todo = f->raw;
	struct addr_list l;
	struct addr a;
	bool any = false;

	addr_list_start(&l, f->body);
	while (addr_list_next(&l, &a)) {
		_cleanup_buf_ struct buf text = BUF_INIT;

		if (!has_long(a.phrase, max) || has_comment(a.phrase))
			continue;
		addr_words(&text, a.phrase, true);
		buf_str(b, str_head(todo, (size_t)(a.whole.p - todo.p)));
		encode_name(b, &a, buf_view(&text));
		todo = str_from(todo, (size_t)(a.whole.p - todo.p) + a.whole.n);
		any = true;
	}
	if (any)
		buf_str(b, todo);
	return any;
}

static bool encode_text(struct buf *b, const struct head_field *f, size_t max)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	if (!has_long(f->body, max))
		return false;
	head_unfold(&text, f->body);
	buf_str(b, f->name);
	buf_z(b, ": ");
	encode(b, buf_view(&text));
	buf_c(b, '\n');
	return true;
}

bool fold_words(struct buf *b, struct str field, size_t max)
{
	struct head_field f;
	enum field_kind kind;

	if (!head_next(&field, &f))
		return false;
	kind = kind_of(f.name);
	return kind == FIELD_TEXT        ? encode_text(b, &f, max)
	       : kind == FIELD_ADDRESSES ? encode_names(b, &f, max)
	                                 : false;
}
