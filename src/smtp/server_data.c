#include "smtp/server_inside.h"

/* Decoded octets held back, so that content() is called seldom. */
enum { PIECE_MAX = 8192 };

static void content_failed(struct server *s, int code)
{
	s->content_error = code;
	server_give_up(s); /* what is stored so far takes room that others need */
}

static void pass_on(struct server *s, struct str bytes)
{
	int r;

	if (s->content_error || !bytes.n)
		return;
	if (s->conf->size_max && bytes.n > s->conf->size_max - s->size) {
		content_failed(s, 552);
		return;
	}
	s->size += bytes.n;
	r = s->ops->content(s->ops->arg, bytes);
	if (r)
		content_failed(s, r);
}

static void flush(struct server *s)
{
	pass_on(s, buf_view(&s->piece));
	buf_reset(&s->piece);
}

static void put(struct server *s, struct str bytes)
{
	if (bytes.n > PIECE_MAX - s->piece.n)
		flush(s);
	if (bytes.n > PIECE_MAX)
		pass_on(s, bytes);
	else
		buf_str(&s->piece, bytes);
}

/* The octet behind a CR that is no part of CRLF: the CR stays, the octet is looked at
 * again unless it is a CR, too. */
static bool bare_cr(struct server *s, char next)
{
	put(s, STR("\r"));
	s->undot = next == '\r' ? UNDOT_CR : UNDOT_TEXT;
	return next == '\r';
}

/* Up to the end of bytes, or the LF of CRLF.CRLF (*ret_end). Gives the octets used. */
static size_t undot(struct server *s, struct str bytes, bool *ret_end)
{
	size_t at = 0;

	while (at < bytes.n && !*ret_end) {
		struct str rest = str_from(bytes, at);
		char c = bytes.p[at];
		ptrdiff_t cr;

		switch (s->undot) {
		case UNDOT_BEGIN:
			s->undot = c == '.' ? UNDOT_DOT : UNDOT_TEXT;
			at += c == '.';
			break;
		case UNDOT_TEXT:
			cr = str_chr(rest, '\r');
			put(s, cr < 0 ? rest : str_head(rest, (size_t)cr));
			at += cr < 0 ? rest.n : (size_t)cr + 1;
			if (cr >= 0)
				s->undot = UNDOT_CR;
			break;
		case UNDOT_CR:
			if (c == '\n') {
				put(s, STR("\n"));
				s->undot = UNDOT_BEGIN;
				at++;
			} else {
				at += bare_cr(s, c);
			}
			break;
		case UNDOT_DOT:
			/* Any other octet: the dot was a doubled one (RFC 5321 4.5.2). */
			s->undot = c == '\r' ? UNDOT_DOT_CR : UNDOT_TEXT;
			at += c == '\r';
			break;
		case UNDOT_DOT_CR:
			*ret_end = c == '\n';
			at += *ret_end || bare_cr(s, c);
			break;
		}
	}
	return at;
}

static void finish(struct server *s, struct buf *out)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	int r = s->content_error;

	s->state = SERVER_COMMAND;
	buf_free(&s->piece); /* between messages a session holds little */
	if (!r)
		r = s->ops->commit(s->ops->arg, &words);
	if (r) {
		server_give_up(s);
		server_say_theirs(s, out, r, buf_view(&words));
		return;
	}
	s->open = false;
	s->rcpts = 0;
	s->errors = 0;
	s->messages++;
	server_say_words(s, out, 250, buf_view(&words));
}

void server_content_begin(struct server *s)
{
	s->state = SERVER_DATA;
	s->undot = UNDOT_BEGIN;
	s->size = 0;
	s->content_error = 0;
}

size_t server_content(struct server *s, struct str bytes, struct buf *out)
{
	bool end = false;
	size_t used = undot(s, bytes, &end);

	flush(s);
	if (end)
		finish(s, out);
	return used;
}
