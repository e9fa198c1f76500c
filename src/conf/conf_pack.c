#include "conf/table.h"
#include "mail/masq_map.h"
#include <errno.h>

/* The packed form, made by one process of an installation for another:
 *
 *	"mailchute-conf 4\n"
 *	rows of OF_CONF; then override, domain_given, and listener_uid + 1
 *	count, then for each smart host: name, line, rows of OF_SMARTHOST
 *	count, then for each rule: line, rows of OF_RULE
 *	count, then for each place to listen: title, line, rows of OF_LISTEN
 *
 * Rows are in the order of the table, those that are kept. A number is 8 octets, the
 * least significant first; a string its length as a number and its octets; a list its
 * count and strings, or its count and numbers (three of each rate); an optional string a list of none or one. */

static const struct str magic = { "mailchute-conf 4\n", 17 };

static bool kept(const struct conf_row *row, enum conf_of of)
{
	return row->offset != CONF_NOWHERE && conf_sections[row->section].of == of;
}

static void put_number(struct buf *b, int64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		buf_c(b, (char)(((uint64_t)v >> (8 * i)) & 0xff));
}

static void put_string(struct buf *b, const char *z)
{
	struct str s = str_z(z);

	put_number(b, (int64_t)s.n);
	buf_str(b, s);
}

static void put_spans(struct buf *b, const struct conf_spans *s)
{
	put_number(b, (int64_t)s->n);
	for (size_t i = 0; i < s->n; i++)
		put_number(b, s->v[i]);
}

static void put_rates(struct buf *b, const struct smarthost *h)
{
	put_number(b, (int64_t)h->rates);
	for (size_t i = 0; i < h->rates; i++) {
		put_number(b, h->rate[i].n);
		put_number(b, h->rate[i].seconds);
		put_number(b, h->rate[i].recipients);
	}
}

static void put_row(struct buf *b, const struct conf_row *row, const void *field)
{
	const struct strv *l = field;
	const char *const *z = field;

	switch (row->type) {
	case TYPE_STRING:
		put_string(b, *z);
		break;
	case TYPE_OPTIONAL:
		put_number(b, *z ? 1 : 0);
		if (*z)
			put_string(b, *z);
		break;
	case TYPE_LIST:
	case TYPE_HOSTS:
		put_number(b, (int64_t)l->n);
		for (size_t i = 0; i < l->n; i++)
			put_string(b, l->v[i]);
		break;
	case TYPE_PORT:
	case TYPE_SPAN:
	case TYPE_SIZE:
	case TYPE_COUNT:
		put_number(b, *(const int64_t *)field);
		break;
	case TYPE_SPANS:
		put_spans(b, field);
		break;
	case TYPE_NOTIFY:
		put_number(b, conf_notify(row, field));
		break;
	case TYPE_BOOL:
	case TYPE_RETURN:
	case TYPE_STREAM:
		put_number(b, *(const bool *)field);
		break;
	case TYPE_LISTEN_TLS:
		put_number(b, *(const enum conf_listen_tls *)field);
		break;
	case TYPE_RATES:
		put_rates(b, conf_rates(row, field));
		break;
	case TYPE_TLS:
		put_number(b, *(const enum conf_tls *)field);
		break;
	case TYPE_REWRITE:
		put_number(b, *(const unsigned *)field);
		break;
	}
}

static void put_rows(struct buf *b, enum conf_of of, const void *object)
{
	for (size_t i = 0; i < conf_rows_n; i++)
		if (kept(&conf_rows[i], of))
			put_row(b, &conf_rows[i],
			        (const char *)object + conf_rows[i].offset);
}

void conf_pack(const struct conf *c, struct buf *b)
{
	buf_str(b, magic);
	put_rows(b, OF_CONF, c);
	put_number(b, c->override);
	put_number(b, c->domain_given);
	put_number(b, c->listener_uid + 1);
	put_number(b, (int64_t)c->smarthosts);
	for (size_t i = 0; i < c->smarthosts; i++) {
		put_string(b, c->smarthost[i].name);
		put_number(b, c->smarthost[i].line);
		put_rows(b, OF_SMARTHOST, &c->smarthost[i]);
	}
	put_number(b, (int64_t)c->rules);
	for (size_t i = 0; i < c->rules; i++) {
		put_number(b, c->rule[i].line);
		put_rows(b, OF_RULE, &c->rule[i]);
	}
	put_number(b, (int64_t)c->listens);
	for (size_t i = 0; i < c->listens; i++) {
		put_string(b, c->listen[i].at);
		put_number(b, c->listen[i].line);
		put_rows(b, OF_LISTEN, &c->listen[i]);
	}
}

/* A number from 0 to max. */
static bool get_number(struct str *in, int64_t max, int64_t *ret)
{
	uint64_t v = 0;

	if (in->n < 8)
		return false;
	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)(unsigned char)in->p[i] << (8 * i);
	*in = str_from(*in, 8);
	if (v > (uint64_t)max)
		return false;
	*ret = (int64_t)v;
	return true;
}

static bool get_string(struct str *in, struct str *ret)
{
	int64_t n;

	if (!get_number(in, CONF_VALUE_MAX, &n) || (size_t)n > in->n)
		return false;
	*ret = str_head(*in, (size_t)n);
	*in = str_from(*in, (size_t)n);
	return str_chr(*ret, '\0') < 0;
}

static bool get_list(struct str *in, struct strv *ret)
{
	int64_t n;
	struct str s;

	if (!get_number(in, CONF_LIST_MAX, &n))
		return false;
	for (; n > 0; n--) {
		if (!get_string(in, &s))
			return false;
		strv_add(ret, s);
	}
	return true;
}

static bool get_spans(struct str *in, struct conf_spans *ret)
{
	int64_t n;

	if (!get_number(in, CONF_SPANS_MAX, &n))
		return false;
	for (; n > 0; n--, ret->n++)
		if (!get_number(in, INT64_MAX, &ret->v[ret->n]) ||
		    ret->v[ret->n] <= (ret->n ? ret->v[ret->n - 1] : 0))
			return false;
	return true;
}

static bool get_rates(struct str *in, const struct conf_row *row, void *field)
{
	int64_t n, recipients;

	if (!get_number(in, CONF_RATES_MAX, &n))
		return false;
	for (; n > 0; n--) {
		struct conf_rate r;

		if (!get_number(in, INT64_MAX, &r.n) ||
		    !get_number(in, CONF_RATE_SPAN_MAX, &r.seconds) ||
		    !get_number(in, 1, &recipients) || r.n < 1 || r.seconds < 1)
			return false;
		r.recipients = recipients != 0;
		conf_rates_add(row, field, &r);
	}
	return true;
}

static bool get_text(struct str *in, bool optional, char **ret)
{
	struct str s;
	int64_t there = 1;

	if (optional && !get_number(in, 1, &there))
		return false;
	if (!there)
		return true;
	if (!get_string(in, &s))
		return false;
	*ret = str_dup(s);
	return true;
}

static bool get_row(struct str *in, const struct conf_row *row, void *field)
{
	int64_t v = 0;

	switch (row->type) {
	case TYPE_STRING:
	case TYPE_OPTIONAL:
		return get_text(in, row->type == TYPE_OPTIONAL, field);
	case TYPE_LIST:
	case TYPE_HOSTS:
		return get_list(in, field);
	case TYPE_PORT:
		return get_number(in, 65535, field);
	case TYPE_SPAN:
	case TYPE_SIZE:
	case TYPE_COUNT:
		return get_number(in, INT64_MAX, field);
	case TYPE_SPANS:
		return get_spans(in, field);
	case TYPE_NOTIFY:
		if (!get_number(in, NOTIFY_FAILURE | NOTIFY_DELAY, &v))
			return false;
		conf_notify_add(row, field, v);
		return true;
	case TYPE_RATES:
		return get_rates(in, row, field);
	case TYPE_LISTEN_TLS:
		if (!get_number(in, LISTEN_TLS_IMPLICIT, &v))
			return false;
		*(enum conf_listen_tls *)field = (enum conf_listen_tls)v;
		return true;
	case TYPE_BOOL:
	case TYPE_RETURN:
	case TYPE_STREAM:
		if (!get_number(in, 1, &v))
			return false;
		*(bool *)field = v != 0;
		return true;
	case TYPE_TLS:
		if (!get_number(in, CONF_TLS_IMPLICIT, &v))
			return false;
		*(enum conf_tls *)field = (enum conf_tls)v;
		return true;
	case TYPE_REWRITE:
		if (!get_number(in, MASQ_ALL, &v))
			return false;
		*(unsigned *)field = (unsigned)v;
		return true;
	}
	return false;
}

static bool get_rows(struct str *in, enum conf_of of, void *object)
{
	for (size_t i = 0; i < conf_rows_n; i++)
		if (kept(&conf_rows[i], of) &&
		    !get_row(in, &conf_rows[i], (char *)object + conf_rows[i].offset))
			return false;
	return true;
}

static bool get_line(struct str *in, int *ret)
{
	int64_t v;

	if (!get_number(in, INT32_MAX, &v))
		return false;
	*ret = (int)v;
	return true;
}

/* A count and zeroed memory for as many objects, and one more: calloc(0) may be NULL. */
static void *get_array(struct str *in, size_t size, int64_t *ret_n)
{
	void *p;

	if (!get_number(in, CONF_SECTIONS_MAX, ret_n))
		return NULL;
	p = calloc((size_t)*ret_n + 1, size);
	if (!p)
		die_oom();
	return p;
}

static bool get_listens(struct str *in, struct conf *c)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	int64_t n;

	c->listen = get_array(in, sizeof(*c->listen), &n);
	if (!c->listen)
		return false;
	for (; n > 0; n--) {
		struct listen *l = &c->listen[c->listens++];

		if (!get_text(in, false, &l->at) || !get_line(in, &l->line) ||
		    !get_rows(in, OF_LISTEN, l) || conf_listen_at(str_z(l->at), &why) < 0)
			return false;
	}
	return true;
}

static bool get_conf(struct str *in, struct conf *c)
{
	int64_t n, given, listener;

	if (!str_starts(*in, magic))
		return false;
	*in = str_from(*in, magic.n);
	if (!get_rows(in, OF_CONF, c) || !get_number(in, MASQ_OVERRIDE_LIST, &n) ||
	    !get_number(in, 1, &given) ||
	    !get_number(in, (int64_t)UINT32_MAX + 1, &listener))
		return false;
	c->override = (enum masq_override)n;
	c->domain_given = given != 0;
	c->listener_uid = listener - 1;
	c->smarthost = get_array(in, sizeof(*c->smarthost), &n);
	if (!c->smarthost)
		return false;
	for (; n > 0; n--) {
		struct smarthost *h = &c->smarthost[c->smarthosts++];

		if (!get_text(in, false, &h->name) || !get_line(in, &h->line) ||
		    !get_rows(in, OF_SMARTHOST, h) || !conf_title_ok(str_z(h->name)))
			return false;
	}
	c->rule = get_array(in, sizeof(*c->rule), &n);
	if (!c->rule)
		return false;
	for (; n > 0; n--) {
		struct masq_rule *r = &c->rule[c->rules++];

		if (!get_line(in, &r->line) || !get_rows(in, OF_RULE, r))
			return false;
	}
	return get_listens(in, c) && in->n == 0;
}

int conf_unpack(struct str packed, struct conf *ret)
{
	struct conf c = { .hostname = NULL };

	if (!get_conf(&packed, &c)) {
		conf_free(&c);
		return -EBADMSG;
	}
	*ret = c;
	return 0;
}

static void free_rows(enum conf_of of, void *object)
{
	for (size_t i = 0; i < conf_rows_n; i++) {
		const struct conf_row *row = &conf_rows[i];
		void *field;

		if (!kept(row, of))
			continue;
		field = (char *)object + row->offset;
		if (row->type == TYPE_LIST || row->type == TYPE_HOSTS)
			strv_free(field);
		else if (row->type == TYPE_STRING || row->type == TYPE_OPTIONAL)
			free(*(char **)field);
	}
}

void conf_free(struct conf *c)
{
	for (size_t i = 0; i < c->smarthosts; i++) {
		free_rows(OF_SMARTHOST, &c->smarthost[i]);
		free(c->smarthost[i].name);
	}
	for (size_t i = 0; i < c->rules; i++) {
		free_rows(OF_RULE, &c->rule[i]);
		masq_map_free(c->rule[i].table);
	}
	for (size_t i = 0; i < c->listens; i++) {
		free_rows(OF_LISTEN, &c->listen[i]);
		free(c->listen[i].at);
	}
	free_rows(OF_CONF, c);
	free(c->smarthost);
	free(c->rule);
	free(c->listen);
	*c = (struct conf){ .hostname = NULL };
}
