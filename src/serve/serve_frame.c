#include "serve/serve_frame.h"
#include "spool/queue.h"
#include <assert.h>
#include <errno.h>

/* ---- The request ---- */

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

static bool take_word(struct str *rest, struct str word)
{
	struct str copy = *rest, part;

	if (!str_cut(&copy, ' ', &part) || !str_eq(part, word))
		return false;
	*rest = copy;
	return true;
}

static bool take_format(struct str *rest, struct request *r)
{
	if (take_word(rest, STR("json")))
		r->format = REQUEST_JSON;
	else if (take_word(rest, STR("mailq")))
		r->format = REQUEST_MAILQ;
	else
		return take_word(rest, STR("text"));
	return true;
}

/* All that is left must be ids. */
static int take_ids(struct str rest, struct request *r, const char **ret_why)
{
	struct str part;
	struct id id;

	if (!rest.p)
		return bad(ret_why, "which message? no id is given");
	r->ids = rest;
	while (str_cut(&rest, ' ', &part))
		if (!id_from(part, &id))
			return bad(ret_why, "an id has 16 digits of 0-9 and a-f");
	return 0;
}

static int take_list(struct str rest, struct request *r, const char **ret_why)
{
	r->all = take_word(&rest, STR("all"));
	if (rest.p)
		take_format(&rest, r);
	return rest.p ? bad(ret_why, "list takes: [all] [text|mailq|json]") : 0;
}

static int take_show(struct str rest, struct request *r, const char **ret_why)
{
	struct str id;

	if (!str_cut(&rest, ' ', &id))
		return bad(ret_why, "which message? no id is given");
	if (rest.p && take_word(&rest, STR("json")))
		r->format = REQUEST_JSON;
	return rest.p ? bad(ret_why, "show takes: ID [json]") : take_ids(id, r, ret_why);
}

static int take_flush(struct str rest, struct request *r, const char **ret_why)
{
	if (!rest.p)
		return 0;
	if (rest.n == 0 || str_chr(rest, ' ') >= 0)
		return bad(ret_why, "flush takes: [ROUTE]");
	if (rest.n > QUEUE_ROUTE_MAX)
		return bad(ret_why, "that is no name of a route");
	r->route = rest;
	return 0;
}

static int take_messages(struct str rest, struct request *r, const char **ret_why)
{
	r->recompose =
	    r->verb == REQUEST_RETRY && rest.p && take_word(&rest, STR("recompose"));
	r->all = rest.p && str_eq(rest, STR("all"));
	return r->all ? 0 : take_ids(rest, r, ret_why);
}

static int take_nothing(struct str rest, struct request *r, const char **ret_why)
{
	(void)r;
	return rest.p ? bad(ret_why, "submit takes no arguments") : 0;
}

static const struct verb_row {
	const char *word;
	enum request_verb verb;
	int (*take)(struct str rest, struct request *r, const char **ret_why);
} verbs[] = {
	{ "submit", REQUEST_SUBMIT, take_nothing },
	{ "list", REQUEST_LIST, take_list },
	{ "show", REQUEST_SHOW, take_show },
	{ "flush", REQUEST_FLUSH, take_flush },
	{ "hold", REQUEST_HOLD, take_messages },
	{ "release", REQUEST_RELEASE, take_messages },
	{ "delete", REQUEST_DELETE, take_messages },
	{ "retry", REQUEST_RETRY, take_messages },
};

int request_parse(struct str line, struct request *ret, const char **ret_why)
{
	struct request r = { .route = STR(""), .ids = STR_NONE };
	struct str word = STR_NONE;
	int e;

	if (line.n >= REQUEST_MAX)
		return bad(ret_why, "the request is too long");
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] < 0x20 || line.p[i] >= 0x7f)
			return bad(ret_why, "a byte that is not printable ASCII");
	if (!take_word(&line, STR("mailchute-socket")))
		return bad(ret_why, "not a request of mailchute-socket");
	if (!line.p || !take_word(&line, STR("1")))
		return bad(ret_why, "not version 1 of mailchute-socket");
	str_cut(&line, ' ', &word);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!str_eq(word, str_z(verbs[i].word)))
			continue;
		r.verb = verbs[i].verb;
		e = verbs[i].take(line, &r, ret_why);
		if (e == 0)
			*ret = r;
		return e;
	}
	return bad(ret_why, "an unknown verb");
}

bool request_id(struct request *r, struct id *ret)
{
	struct str part;

	return str_cut(&r->ids, ' ', &part) && id_from(part, ret);
}

/* ---- Chunks ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int chunk_next(struct chunks *c, struct str *in, struct str *ret)
{
	while (in->n && c->head < CHUNK_HEAD) {
		char next = in->p[0];
		int digit = hex_digit(next);

		if (c->head == CHUNK_HEAD - 1 ? next != '\n' : digit < 0)
			return -EBADMSG;
		if (c->head < CHUNK_HEAD - 1)
			c->left = c->left << 4 | (unsigned)digit;
		c->head++;
		*in = str_from(*in, 1);
	}
	if (c->head < CHUNK_HEAD)
		return CHUNK_MORE;
	if (c->left == 0)
		return CHUNK_END;
	if (in->n == 0)
		return CHUNK_MORE;
	*ret = str_head(*in, c->left < in->n ? (size_t)c->left : in->n);
	*in = str_from(*in, ret->n);
	c->left -= ret->n;
	if (c->left == 0)
		*c = (struct chunks){ .head = 0 };
	return CHUNK_DATA;
}

/* ---- The drop ---- */

/* What the attested lines that mailchuted writes may have more than ours. */
enum { ATTESTED_MAX = 1024 };
static_assert(ATTESTED_MAX > 2 * ENVELOPE_NAME_MAX + 100, "");

void drop_watch_begin(struct drop_watch *w)
{
	*w = (struct drop_watch){ .head = BUF_INIT };
	envelope_print_attested(&w->head, 0, STR("-"), STR(""), 0);
}

void drop_watch_free(struct drop_watch *w)
{
	buf_free(&w->head);
}

static int damaged(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EBADMSG;
}

int drop_watch_feed(struct drop_watch *w, struct str data, const char **ret_why)
{
	size_t room = ENVELOPE_MAX - ATTESTED_MAX - w->head.n, used,
	       from = w->head.n ? w->head.n - 1 : 0;
	struct envelope e;
	struct str new;
	const char *end;

	if (w->good)
		return 0;
	buf_str(&w->head, str_head(data, room));
	/* An envelope ends at the first empty line; before that, nothing is parsed: the work
	 * must not grow with the number of chunks. */
	new = str_from(buf_view(&w->head), from);
	end = new.n ? memmem(new.p, new.n, "\n\n", 2) : NULL;
	if (!end)
		return data.n >= room ? damaged(ret_why, "the envelope is too long") : 0;
	if (envelope_parse(buf_view(&w->head), &e, &used, ret_why) < 0)
		return -EBADMSG;
	envelope_free(&e);
	buf_free(&w->head);
	w->good = true;
	return 0;
}

int drop_watch_end(const struct drop_watch *w, const char **ret_why)
{
	return w->good ? 0 : damaged(ret_why, "the envelope is not complete");
}
