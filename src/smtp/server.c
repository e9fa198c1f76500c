#include "smtp/server_inside.h"
#include "smtp/auth.h"
#include <errno.h>

enum {
	ERRORS_MAX = 20,  /* when the configuration says 0 */
	LINE_KEPT = 4096, /* octets that an idle session keeps for its next line */
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Does s begin with an enhanced code (RFC 3463) that goes with the code? */
static bool enhanced(struct str s, int code)
{
	size_t at = 1;

	if (!s.n || s.p[0] != (char)('0' + code / 100))
		return false;
	for (int part = 0; part < 2; part++) {
		size_t start = at + 1;

		if (at >= s.n || s.p[at] != '.')
			return false;
		for (at = start; at < s.n && digit(s.p[at]); at++)
			;
		if (at == start || at - start > 3)
			return false;
	}
	return at == s.n || s.p[at] == ' ';
}

/* What is said for a code of the caller's functions without words. */
static const char *stock_words(int code)
{
	static const struct {
		int code;
		const char *words;
	} stock[] = {
		{ 250, "2.0.0 Accepted" },
		{ 421, "4.3.2 Closing, come back later" },
		{ 450, "4.2.0 Not now, try again later" },
		{ 451, "4.3.0 Trouble here, try again later" },
		{ 452, "4.3.1 No room now, try again later" },
		{ 501, "5.5.4 Not understood" },
		{ 530, "5.7.0 Log in first" },
		{ 550, "5.7.1 Refused" },
		{ 552, "5.3.4 The message is too big" },
		{ 553, "5.1.3 This is no address" },
	};

	for (size_t i = 0; i < ARRAY_LEN(stock); i++)
		if (stock[i].code == code)
			return stock[i].words;
	return code / 100 == 4 ? "4.0.0 Not now" : "5.0.0 Refused";
}

void server_line(struct server *s, struct buf *out, int code, struct str words)
{
	size_t start;

	buf_fmt(out, "%d ", code);
	start = out->n;
	words = str_head(words, SERVER_WORDS_MAX);
	for (size_t i = 0; i < words.n; i++)
		if (words.p[i] >= 0x20 && words.p[i] < 0x7f)
			buf_c(out, words.p[i]);
		else
			buf_c(out, '?');
	if (code >= 400 && s->ops->refused)
		s->ops->refused(s->ops->arg, s->verb, code,
		                (struct str){ out->p + start, out->n - start });
	buf_z(out, "\r\n");
}

void server_close_with(struct server *s, struct buf *out, struct str words)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	ptrdiff_t blank = str_chr(words, ' ');

	/* RFC 5321 4.2.3: who says so. Behind the enhanced code, if there is one. */
	if (enhanced(words, 421) && blank > 0) {
		buf_str(&b, str_head(words, (size_t)blank + 1));
		words = str_from(words, (size_t)blank + 1);
	} else {
		buf_z(&b, "4.0.0 ");
	}
	buf_str(&b, s->conf->hostname);
	buf_c(&b, ' ');
	buf_str(&b, words);
	server_line(s, out, 421, buf_view(&b));
	server_give_up(s);
	s->state = SERVER_CLOSED;
}

void server_say(struct server *s, struct buf *out, int code, const char *words)
{
	unsigned max = s->conf->errors_max ? s->conf->errors_max : ERRORS_MAX;

	if (code == 421)
		server_close_with(s, out, str_z(words));
	else if (code >= 500 && ++s->errors >= max)
		server_close_with(s, out, STR("4.7.0 Too many errors"));
	else
		server_line(s, out, code, str_z(words));
}

void server_say_words(struct server *s, struct buf *out, int code, struct str words)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *stock = stock_words(code);

	if (!words.n) {
		buf_z(&b, stock);
	} else {
		if (!enhanced(words, code))
			buf_add(&b, stock, strcspn(stock, " ") + 1);
		buf_str(&b, words);
	}
	if (code == 421)
		server_close_with(s, out, buf_view(&b));
	else
		server_line(s, out, code, buf_view(&b));
}

void server_say_theirs(struct server *s, struct buf *out, int code, struct str words)
{
	if (code == -ENOSPC || code == -EDQUOT)
		code = 452;
	else if (code < 400 || code > 599)
		code = 451;
	server_say_words(s, out, code, words);
}

void server_give_up(struct server *s)
{
	if (s->open)
		s->ops->reset(s->ops->arg);
	s->open = false;
	s->rcpts = 0;
}

static bool in_auth(const struct server *s)
{
	return s->state == SERVER_AUTH_PLAIN || s->state == SERVER_AUTH_USER ||
	       s->state == SERVER_AUTH_PASSWORD;
}

/* Octets that the line may have: known for sure when SERVER_LINE_MAX are there. */
static size_t line_max(const struct server *s)
{
	bool long_one = in_auth(s) || str_istarts(buf_view(&s->line), STR("AUTH "));

	return SERVER_LINE_MAX + (long_one ? (size_t)SERVER_AUTH_MAX : 0);
}

/* Adds to the line up to its limit and the CR. A line may hold a password, so memory it
 * leaves is wiped. */
static void line_add(struct server *s, struct str piece, size_t max)
{
	struct str part = str_head(piece, max + 1 - s->line.n);

	if (s->line.n + part.n >= s->line.cap) {
		struct buf b = BUF_INIT;

		buf_room(&b, s->line.n + part.n < 256 ? 256 : max + 1);
		buf_str(&b, buf_view(&s->line));
		auth_wipe(&s->line);
		s->line = b;
	}
	buf_str(&s->line, part);
	s->too_long = part.n < piece.n;
}

static void run_line(struct server *s, struct buf *out)
{
	struct str line = buf_view(&s->line);

	s->verb = "?";
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (s->too_long || line.n > line_max(s)) {
		if (in_auth(s))
			server_say(s, out, 500, "5.5.6 Line too long");
		else
			server_say(s, out, 500, "5.5.2 Line too long");
		if (s->state != SERVER_CLOSED)
			s->state = SERVER_COMMAND;
		return;
	}
	while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	if (in_auth(s)) {
		s->verb = "AUTH";
		server_auth_line(s, line, out);
	} else {
		server_command(s, line, out);
	}
}

/* Takes up to the end of a line, or all. Gives the octets used. */
static size_t take_line(struct server *s, struct str bytes, struct buf *out)
{
	ptrdiff_t lf = str_chr(bytes, '\n');
	struct str piece = lf < 0 ? bytes : str_head(bytes, (size_t)lf);

	if (!s->too_long) {
		size_t first = SERVER_LINE_MAX + 1;

		first = s->line.n < first ? first - s->line.n : 0;
		line_add(s, str_head(piece, first), SERVER_LINE_MAX + SERVER_AUTH_MAX);
		line_add(s, str_from(piece, first), line_max(s));
	}
	if (lf < 0)
		return bytes.n;
	s->more = bytes.n > (size_t)lf + 1;
	run_line(s, out);
	s->too_long = false;
	if (s->line.n)
		explicit_bzero(s->line.p, s->line.n);
	buf_reset(&s->line);
	if (s->line.cap > LINE_KEPT)
		buf_free(&s->line);
	return (size_t)lf + 1;
}

enum server_event server_input(struct server *s, struct str bytes, struct buf *out)
{
	if (s->state == SERVER_TLS_WAIT) /* not what the contract says */
		s->state = SERVER_CLOSED;
	while (bytes.n && s->state != SERVER_CLOSED) {
		size_t used = s->state == SERVER_DATA ? server_content(s, bytes, out)
		                                      : take_line(s, bytes, out);

		bytes = str_from(bytes, used);
	}
	if (s->state == SERVER_TLS_WAIT)
		return SERVER_STARTTLS;
	return s->state == SERVER_CLOSED ? SERVER_CLOSE : SERVER_GO_ON;
}

void server_init(struct server *s, const struct server_conf *conf,
                 const struct server_ops *ops)
{
	*s = (struct server){ .conf = conf, .ops = ops, .tls = conf->tls, .verb = "?" };
}

void server_free(struct server *s)
{
	server_give_up(s);
	auth_wipe(&s->line);
	auth_wipe(&s->name);
	buf_free(&s->piece);
	buf_free(&s->helo);
	buf_free(&s->user);
	s->state = SERVER_CLOSED;
}

void server_greet(struct server *s, struct buf *out)
{
	buf_z(out, "220 ");
	buf_str(out, s->conf->hostname);
	buf_z(out, " ESMTP mailchute\r\n");
}

void server_tls(struct server *s)
{
	server_give_up(s);
	buf_reset(&s->helo);
	buf_reset(&s->user);
	s->esmtp = false;
	s->tls = true;
	s->state = SERVER_COMMAND;
}

void server_bye(struct server *s, struct str words, struct buf *out)
{
	s->verb = "?";
	if (s->state != SERVER_CLOSED)
		server_close_with(s, out, words);
}
