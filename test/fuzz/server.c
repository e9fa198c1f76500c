/* A server session: two bytes say how it is set up and how the rest, which is what the
 * client says, is cut. Whatever comes: replies are well formed, the caller is asked in
 * order, a message is committed behind CRLF.CRLF only, memory is bounded, and the cut makes
 * no difference. */
#include "../unit/serverbed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Long inputs are for long lines: octet by octet they would take all the time. */
enum { BYTEWISE_MAX = 400, IN_MAX = 4096 };
enum { LINE_ROOM = 2 * (SERVER_LINE_MAX + SERVER_AUTH_MAX) };

struct watch {
	struct serverbed b;
	struct str in; /* all of it */
	size_t fed;    /* octets the session has been given */
	bool bytewise;
};

static int watch_mail(void *arg, struct str addr, const struct server_params *p,
                      struct buf *words)
{
	struct watch *w = arg;

	/* What is asked decides, so that it is the same for each cut. */
	w->b.mail_says = addr.n && addr.p[0] == 'x' ? 550 : 0;
	return bed_mail(&w->b, addr, p, words);
}

static int watch_rcpt(void *arg, struct str addr, struct str notify, struct str orcpt,
                      struct buf *words)
{
	struct watch *w = arg;
	char c = addr.p[0];

	buf_str(words, addr); /* hostile words */
	w->b.rcpt_says = c == 'x' ? 550 : c == 'y' ? -5 : c == 'z' ? 421 : 0;
	return bed_rcpt(&w->b, addr, notify, orcpt, words);
}

static int watch_begin(void *arg, struct buf *words)
{
	return bed_begin(&((struct watch *)arg)->b, words);
}

static int watch_content(void *arg, struct str bytes)
{
	return bed_content(&((struct watch *)arg)->b, bytes);
}

static int watch_commit(void *arg, struct buf *words)
{
	struct watch *w = arg;

	if (w->fed < 4 || w->fed > w->in.n)
		abort();
	/* Octet by octet it is known where the end is. The line end before the dot is that
	 * of DATA when the message is empty, and that may be an LF alone. */
	if (w->bytewise) {
		const char *end = w->in.p + w->fed;

		if (memcmp(end - 4, "\n.\r\n", 4) != 0)
			abort();
		if (w->b.piece.n && memcmp(end - 5, "\r\n.\r\n", 5) != 0)
			abort();
	}
	return bed_commit(&w->b, words);
}

static void watch_reset(void *arg)
{
	bed_reset(&((struct watch *)arg)->b);
}

static int watch_auth(void *arg, struct str user, struct str password)
{
	return bed_auth(&((struct watch *)arg)->b, user, password);
}

static void watch_refused(void *arg, const char *verb, int code, struct str words)
{
	bed_refused(&((struct watch *)arg)->b, verb, code, words);
}

/* The session's whole life, piece by piece. */
static void live(struct watch *w, struct str in, uint8_t how, size_t piece)
{
	struct serverbed *b = &w->b;
	enum server_event e = SERVER_GO_ON;

	*w = (struct watch){ .in = in, .bytewise = piece == 1 };
	bed_open(b);
	b->ops = (struct server_ops){ watch_mail,    watch_rcpt,    watch_begin,
		                      watch_content, watch_commit,  watch_reset,
		                      watch_auth,    watch_refused, w };
	b->conf.trusted = how & 1;
	b->conf.tls_offered = how & 2;
	b->conf.auth_offered = how & 4;
	b->conf.auth_insecure = how & 8;
	b->conf.size_max = how & 16 ? 40 : 0;
	b->begin_says = how & 32 ? 452 : 0;
	b->conf.rcpt_max = how & 64 ? 2 : 0;
	b->conf.errors_max = how & 128 ? 200 : 0;
	server_init(&b->s, &b->conf, &b->ops);
	server_greet(&b->s, &b->out);
	while (w->fed < in.n && e != SERVER_CLOSE) {
		struct str part = str_head(str_from(in, w->fed), piece);
		size_t was = b->out.n;

		w->fed += part.n;
		e = server_input(&b->s, part, &b->out);
		if (b->out.n - was > 100 * part.n + 1000 || b->s.line.cap > LINE_ROOM ||
		    b->s.name.cap > LINE_ROOM || b->s.helo.n > SERVER_HELO_MAX)
			abort();
		if (e == SERVER_STARTTLS)
			server_tls(&b->s);
	}
	if (b->s.open != b->open)
		abort();
	server_free(&b->s);
	if (b->wrong || b->open || bed_bad_replies(buf_view(&b->out)))
		abort();
}

/* One stream, two ways to cut it: the same, up to octets that came too early in a. */
static void same(const struct watch *a, const struct watch *b)
{
	struct str x = buf_view(&a->b.out), y = buf_view(&b->b.out);
	bool early = x.n && strstr(x.p, "Nothing may follow");

	if (strstr(y.n ? y.p : "", "Nothing may follow"))
		return; /* in longer pieces, both may have such octets, elsewhere */
	if (early) {
		x.n -= 2;
		x.n = (size_t)(str_rchr(x, '\n') + 1);
		if (!str_starts(y, x))
			abort();
		if (!str_starts(buf_view(&b->b.content), buf_view(&a->b.content)))
			abort();
		return;
	}
	if (!str_eq(x, y) || !str_eq(buf_view(&a->b.calls), buf_view(&b->b.calls)) ||
	    !str_eq(buf_view(&a->b.content), buf_view(&b->b.content)))
		abort();
}

static void forget(struct watch *w)
{
	buf_free(&w->b.out);
	buf_free(&w->b.calls);
	buf_free(&w->b.content);
	buf_free(&w->b.piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct watch one, other;
	struct str in;

	if (size < 2 || size > IN_MAX)
		return 0;
	in = (struct str){ (const char *)data + 2, size - 2 };
	live(&other, in, data[0], in.n > BYTEWISE_MAX ? 97 : 1);
	live(&one, in, data[0], SIZE_MAX);
	same(&one, &other);
	forget(&one);
	live(&one, in, data[0], (size_t)data[1] + 1);
	same(&one, &other);
	forget(&one);
	forget(&other);
	return 0;
}
