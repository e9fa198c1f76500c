#include "mail/dsn_words.h"
#include "base/clock.h"
#include "mail/head.h"
#include "mail/template.h"
#include "mail/text.h"
#include <assert.h>

/* Both in the order in which a report tells of them. */
static_assert((int)DSN_FAILED == (int)TEMPLATE_FAILED, "the first block");
static_assert((int)DSN_DELAYED == (int)TEMPLATE_DELAYED, "the second block");
static_assert((int)DSN_RELAYED == (int)TEMPLATE_RELAYED, "the third block");

void dsn_ascii(struct buf *b, struct str s, size_t max)
{
	s = str_head(s, max);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			buf_c(b, '\\');
		else
			buf_escape(b, str_head(str_from(s, i), 1), 1);
	}
}

void dsn_lay_out(struct buf *b, const char *first, const char *next, struct str text)
{
	size_t column = strlen(first);
	struct str word;
	bool fresh = true;

	buf_z(b, first);
	text = str_trim(text);
	while (str_cut(&text, ' ', &word)) {
		while (word.n) {
			struct str piece = str_head(word, DSN_WORD_MAX);
			bool space = !fresh;

			if (column + space + piece.n > DSN_WIDTH &&
			    (space || column > strlen(next))) {
				while (b->n && b->p[b->n - 1] == ' ')
					buf_cut(b, b->n - 1);
				buf_c(b, '\n');
				buf_z(b, next);
				column = strlen(next);
				space = false;
			}
			if (space)
				buf_c(b, ' ');
			buf_str(b, piece);
			column += space + piece.n;
			fresh = false;
			word = str_from(word, piece.n);
		}
	}
	buf_c(b, '\n');
}

bool dsn_has(const struct dsn *d, enum dsn_action action)
{
	for (size_t i = 0; i < d->rcpts; i++)
		if (d->rcpt[i].action == action)
			return true;
	return false;
}

/* ---- What the words are about ---- */

static const char * or (struct str s, const char *other, struct buf *room)
{
	dsn_ascii(room, s, 255);
	return room->n ? room->p : other;
}

static void span_words(struct buf *b, int64_t seconds)
{
	static const struct {
		int64_t unit;
		const char *name;
	} units[] = {
		{ 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" }
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (seconds % units[i].unit == 0) {
			int64_t n = seconds / units[i].unit;

			buf_fmt(b, "%lld %s%s", (long long)n, units[i].name,
			        n == 1 ? "" : "s");
			return;
		}
	}
}

/* The message's subject as its header has it, unfolded, clean, cut. */
static void old_subject(struct buf *b, const struct dsn *d)
{
	_cleanup_buf_ struct buf old = BUF_INIT;
	struct str rest = d->original_header, words;
	struct head_field f;

	while (head_next(&rest, &f))
		if (str_ieq(f.name, STR("Subject"))) {
			head_unfold(&old, f.body);
			break;
		}
	words = str_trim(buf_view(&old));
	/* Cut between words, so that no encoded word (RFC 2047) is cut in two. */
	if (words.n > DSN_SUBJECT_MAX) {
		ptrdiff_t at = str_rchr(str_head(words, DSN_SUBJECT_MAX), ' ');

		words = at > 0 ? str_head(words, (size_t)at)
		               : str_head(words, DSN_SUBJECT_MAX / 2);
	}
	text_clean(b, words);
}

/* Templates are for senders: what the administrator is told about a message that has none
 * stays in our words. */
static const struct template_block *block_of(const struct dsn *d, enum dsn_action action)
{
	return d->template && !d->for_admin ? &d->template->block[action] : NULL;
}

struct values {
	struct buf hostname, id, subject, queued, lifetime, until, admin;
};

static void date(struct buf *b, int64_t seconds)
{
	if (seconds > 0)
		clock_rfc5322(b, seconds);
}

static struct template_values values_make(struct values *v, const struct dsn *d,
                                          bool decode)
{
	_cleanup_buf_ struct buf subject = BUF_INIT;

	buf_z(&v->hostname, "");
	dsn_ascii(&v->hostname, d->conf->hostname, 255);
	dsn_ascii(&v->id, d->id, 32);
	dsn_ascii(&v->admin, d->conf->admin, 255);
	old_subject(&subject, d);
	if (decode)
		text_decode_words(&v->subject, buf_view(&subject));
	else
		buf_str(&v->subject, buf_view(&subject));
	date(&v->queued, d->arrived);
	date(&v->until, d->until);
	span_words(&v->lifetime, d->lifetime);
	return (struct template_values){
		.hostname = buf_view(&v->hostname),
		.id = buf_view(&v->id),
		.subject = buf_view(&v->subject),
		.queued = buf_view(&v->queued),
		.lifetime = buf_view(&v->lifetime),
		.until = buf_view(&v->until),
		.admin = buf_view(&v->admin),
	};
}

static void values_free(struct values *v)
{
	buf_free(&v->hostname);
	buf_free(&v->id);
	buf_free(&v->subject);
	buf_free(&v->queued);
	buf_free(&v->lifetime);
	buf_free(&v->until);
	buf_free(&v->admin);
}

void dsn_subject(struct buf *b, const struct dsn *d)
{
	static const char *const what[] = {
		[DSN_FAILED] = "Undelivered Mail",
		[DSN_DELAYED] = "Delayed Mail (still being tried)",
		[DSN_RELAYED] = "Mail relayed",
	};
	enum dsn_action first = dsn_has(d, DSN_FAILED)    ? DSN_FAILED
	                        : dsn_has(d, DSN_DELAYED) ? DSN_DELAYED
	                                                  : DSN_RELAYED;
	const struct template_block *block = block_of(d, first);
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct values room = { .id = BUF_INIT };
	const struct template_values v = values_make(&room, d, false);

	if (block && block->subject.n) {
		template_subject(&text, block->subject, &v);
	} else {
		buf_z(&text, what[first]);
		if (d->for_admin)
			buf_z(&text, " without a sender");
		if (v.subject.n)
			buf_z(&text, ": ");
		buf_str(&text, v.subject);
	}
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\t')
			text.p[i] = ' ';
	text_encode_words(b, buf_view(&text));
	values_free(&room);
}

/* ---- The words ---- */

static void one_rcpt(struct buf *b, const struct dsn *d, const struct dsn_rcpt *r)
{
	_cleanup_buf_ struct buf room = BUF_INIT, text = BUF_INIT, says = BUF_INIT;
	const char *remote = or (d->remote, "the mail server", &room);
	bool last = d->expired && r->action == DSN_FAILED;

	buf_c(&text, '<');
	dsn_ascii(&text, r->addr, DSN_TEXT_MAX);
	buf_c(&text, '>');
	dsn_lay_out(b, "    ", "    ", buf_view(&text));
	buf_reset(&text);
	dsn_ascii(&text, str_trim(r->text), DSN_TEXT_MAX);
	if (text.n == 0 && r->code == 0)
		return;
	if (r->code == 0)
		buf_z(&says, "because:");
	else
		buf_fmt(&says, last ? "%s said at last:" : "%s said:", remote);
	dsn_lay_out(b, "      ", "      ", buf_view(&says));
	if (text.n == 0)
		buf_fmt(&text, "%d", r->code);
	dsn_lay_out(b, "        ", "        ", buf_view(&text));
}

static void list_rcpts(struct buf *b, const struct dsn *d, enum dsn_action action)
{
	size_t n = 0;

	for (size_t i = 0; i < d->rcpts; i++) {
		if (d->rcpt[i].action != action || n++ >= DSN_PEOPLE_MAX)
			continue;
		if (n > 1)
			buf_c(b, '\n');
		one_rcpt(b, d, &d->rcpt[i]);
	}
	if (n > DSN_PEOPLE_MAX)
		buf_fmt(b, "\n    and %zu others, which the next part lists.\n",
		        n - DSN_PEOPLE_MAX);
}

/* What was done with the message; the recipients follow. */
static void lead(struct buf *b, const struct dsn *d, enum dsn_action action)
{
	_cleanup_buf_ struct buf room = BUF_INIT, text = BUF_INIT;

	if (d->for_admin) {
		buf_z(&text,
		      "A message that has no sender (most likely a report about another "
		      "message)");
	} else if (d->from.n) {
		buf_z(&text, "A message from <");
		dsn_ascii(&text, d->from, DSN_TEXT_MAX);
		buf_c(&text, '>');
	} else {
		buf_z(&text, "Your message");
	}
	switch (action) {
	case DSN_FAILED:
		buf_z(&text, " could not be delivered to:");
		break;
	case DSN_DELAYED:
		buf_z(&text, " has not been delivered yet to:");
		break;
	case DSN_RELAYED:
		buf_fmt(&text, " was handed to %s for:",
		        or (d->remote, "the next mail server", &room));
		break;
	}
	dsn_lay_out(b, "", "", buf_view(&text));
}

static bool was_refused(const struct dsn *d)
{
	for (size_t i = 0; i < d->rcpts; i++)
		if (d->rcpt[i].action == DSN_FAILED && d->rcpt[i].code)
			return true;
	return false;
}

static void advice_failed(struct buf *text, const struct dsn *d)
{
	if (d->expired) {
		buf_z(text, "This went on for ");
		span_words(text, d->lifetime);
		buf_z(text, ". ");
	}
	buf_z(text, dsn_has(d, DSN_DELAYED)
	                ? "No more tries will be made for the addresses above."
	                : "No more tries will be made.");
	if (d->for_admin)
		buf_z(text,
		      " Since there is no sender, nobody but you has been told. If the "
		      "message is a report about another one, then whoever sent that "
		      "one does not know that it failed.");
	else if (d->expired)
		buf_z(text,
		      " If the message still matters, send it again; if that fails "
		      "too, show this report to the administrator of this machine.");
	else if (was_refused(d))
		buf_z(text,
		      " Look for a mistake in the address. If there is none, the words "
		      "above tell what was wrong: change that and send the message "
		      "again, or show this report to the administrator of this machine.");
	else
		buf_z(text,
		      " The words above tell what was wrong: change that and send the "
		      "message again, or show this report to the administrator of this "
		      "machine.");
}

static void advice(struct buf *b, const struct dsn *d, enum dsn_action action)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	switch (action) {
	case DSN_FAILED:
		advice_failed(&text, d);
		break;
	case DSN_DELAYED:
		buf_z(&text, "You need not do anything: it is tried again and again");
		if (d->until > 0) {
			buf_z(&text, " until ");
			clock_rfc5322(&text, d->until);
			buf_z(&text, ", and given up only then");
		}
		buf_z(&text, ". Please do not send it again meanwhile: it could arrive "
		             "twice.");
		break;
	case DSN_RELAYED:
		buf_z(&text,
		      "That mail server accepted the message, but it does not report "
		      "deliveries. So this is no proof that the message has arrived, "
		      "and no other report of its delivery will come. You need not do "
		      "anything.");
		break;
	}
	dsn_lay_out(b, "", "", buf_view(&text));
}

static void own_words(struct buf *b, const struct dsn *d, enum dsn_action action,
                      struct str rcpts)
{
	lead(b, d, action);
	buf_c(b, '\n');
	buf_str(b, rcpts);
	buf_c(b, '\n');
	advice(b, d, action);
}

static void opening(struct buf *b, const struct dsn *d)
{
	_cleanup_buf_ struct buf room = BUF_INIT, text = BUF_INIT;

	buf_fmt(&text, "This is the mail relay of %s.",
	        or (d->conf->hostname, "this machine", &room));
	if (d->for_admin)
		buf_z(&text, " You are told as its administrator.");
	dsn_lay_out(b, "", "", buf_view(&text));
	buf_c(b, '\n');
}

static void closing(struct buf *b, const struct dsn *d)
{
	buf_z(b, "\nThe message was queued here as ");
	dsn_ascii(b, d->id, 32);
	if (d->arrived > 0) {
		buf_z(b, "\non ");
		clock_rfc5322(b, d->arrived);
	}
	buf_z(b, ".\n");
	buf_z(b, d->full && dsn_has(d, DSN_FAILED)
	             ? "The message itself is attached.\n"
	             : "The header of the message is attached.\n");
}

void dsn_words(struct buf *b, const struct dsn *d)
{
	static const enum dsn_action order[] = { DSN_FAILED, DSN_DELAYED, DSN_RELAYED };
	_cleanup_buf_ struct buf text = BUF_INIT, rcpts = BUF_INIT;
	struct values room = { .id = BUF_INIT };
	struct template_values v = values_make(&room, d, true);
	bool ours = false;

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		const struct template_block *block = block_of(d, order[i]);

		if (!dsn_has(d, order[i]))
			continue;
		buf_reset(&rcpts);
		list_rcpts(&rcpts, d, order[i]);
		if (text.n)
			buf_c(&text, '\n');
		if (block && block->words.n) {
			v.recipients = buf_view(&rcpts);
			template_words(&text, block->words, &v);
		} else {
			own_words(&text, d, order[i], buf_view(&rcpts));
			ours = true;
		}
	}
	/* Who has his own words for all of it has said what he wants to say. */
	if (ours)
		opening(b, d);
	buf_str(b, buf_view(&text));
	if (ours)
		closing(b, d);
	values_free(&room);
}
