#include "mail/masq.h"
#include "mail/addr.h"
#include "mail/masq_map.h"
#include <errno.h>

/* Is word one of the names in a list that is parted by commas? */
static bool among(struct str list, struct str word)
{
	struct str one;

	while (list.n && str_cut(&list, ',', &one))
		if (str_eq(one, word))
			return true;
	return false;
}

static bool is_user(struct str user, const struct masq_who *who)
{
	uint64_t uid;

	if (str_starts(user, STR("@")))
		return user.n > 1 && among(who->groups, str_from(user, 1));
	if (str_starts(user, STR("uid:")))
		return str_u64(str_from(user, 4), &uid) && uid == who->uid;
	return user.n > 0 && str_eq(user, who->login);
}

bool masq_user_listed(const struct strv *users, const struct masq_who *who)
{
	for (size_t i = 0; i < users->n; i++)
		if (is_user(str_z(users->v[i]), who))
			return true;
	return false;
}

/* Does one of the client's words, as "ip=192.0.2.7", match the pattern? One without a key is
 * for the address. Words have no blanks and no other "=" in them (listen/policy.h). */
static bool is_client(struct str pattern, struct str client)
{
	struct str key = STR("ip"), word, name;

	if (str_chr(pattern, '=') >= 0)
		str_cut(&pattern, '=', &key);
	while (client.n && str_cut(&client, ' ', &word))
		if (str_chr(word, '=') >= 0 && str_cut(&word, '=', &name) &&
		    str_eq(name, key) && addr_glob(pattern, word))
			return true;
	return false;
}

/* What a rule asks besides the address. */
static bool is_for(const struct masq_rule *r, const struct masq_who *who)
{
	if (r->user.n && !masq_user_listed(&r->user, who))
		return false;
	for (size_t i = 0; i < r->client.n; i++)
		if (is_client(str_z(r->client.v[i]), who->client))
			return true;
	return r->client.n == 0;
}

const char *masq_template(const struct masq_rule *rule, struct str addr, int *ret_line)
{
	*ret_line = 0;
	if (addr.n == 0 || !addr_glob(str_z(rule->match), addr))
		return NULL;
	if (rule->map && rule->map[0])
		return rule->table ? masq_map_find(rule->table, addr, ret_line) : NULL;
	return rule->as;
}

const struct masq_rule *masq_find(const struct masq_rule *rules, size_t n, unsigned where,
                                  struct str addr, const struct masq_who *who,
                                  const char **ret_as)
{
	int line;

	for (size_t i = 0; i < n; i++)
		if ((rules[i].rewrite & where) && is_for(&rules[i], who) &&
		    (*ret_as = masq_template(&rules[i], addr, &line)))
			return &rules[i];
	return NULL;
}

/* What the letters of a template stand for. */
struct values {
	struct str local, base, detail, domain, host;
	struct str name; /* p == NULL: %n is not known here */
};

/* Appends what the letter behind a % stands for. False: nothing. */
static bool expand_letter(struct buf *b, char letter, const struct values *v)
{
	if (letter == 'u')
		buf_str(b, v->local);
	else if (letter == 'b')
		buf_str(b, v->base);
	else if (letter == 't' || (letter == '+' && v->detail.n == 0))
		buf_str(b, v->detail);
	else if (letter == '+')
		buf_str(b, (struct str){ v->detail.p - 1, v->detail.n + 1 });
	else if (letter == 'd')
		buf_str(b, v->domain);
	else if (letter == 'h')
		buf_str(b, v->host);
	else if (letter == 'n' && v->name.p)
		buf_str(b, v->name);
	else if (letter == '%')
		buf_c(b, '%');
	else
		return false;
	return true;
}

/* Appends the template. False: a % that stands for nothing. It ends once max octets were
 * added: with one value more at most. */
static bool expand(struct buf *b, struct str template, const struct values *v, size_t max)
{
	const size_t end = b->n + max;

	while (template.n && b->n < end) {
		ptrdiff_t mark = str_chr(template, '%');
		struct str text = str_head(template, (size_t)mark); /* -1: all of it */

		buf_str(b, str_head(text, end - b->n));
		template = str_from(template, text.n);
		if (template.n == 0 || b->n == end)
			break;
		if (!expand_letter(b, template.n > 1 ? template.p[1] : '\0', v))
			return false;
		template = str_from(template, 2);
	}
	return true;
}

/* The values of an address; plain keeps the characters of the local part. */
static struct values values_of(struct str addr, const struct masq_who *who,
                               struct buf *plain)
{
	struct values v = { .host = who->host };
	struct str local;
	ptrdiff_t plus;

	addr_split(addr, &local, &v.domain);
	addr_words(plain, local, false);
	v.local = v.base = buf_view(plain);
	plus = str_chr(v.local, '+');
	if (plus > 0) {
		v.base = str_head(v.local, (size_t)plus);
		v.detail = str_from(v.local, (size_t)plus + 1);
	} else {
		v.detail = str_head(v.local, 0);
	}
	return v;
}

/* Appends the local part of a template. It is filled in as plain characters and quoted
 * afterwards, so that %u of "a b"@c can stand among other characters. */
static bool expand_local(struct buf *b, struct str as, const struct values *v)
{
	size_t start = b->n;

	if (as.n > 1 && as.p[0] == '"' && as.p[as.n - 1] == '"')
		as = str_head(str_from(as, 1), as.n - 2);
	if (!expand(b, as, v, ADDR_LENGTH_MAX + 1) || b->n == start)
		return false;
	if (!addr_is_dot_atom(str_from(buf_view(b), start))) {
		_cleanup_buf_ struct buf raw = BUF_SMALL;

		buf_str(&raw, str_from(buf_view(b), start));
		buf_cut(b, start);
		addr_local(b, buf_view(&raw));
	}
	return true;
}

static bool expand_address(struct buf *b, struct str as, const struct values *v)
{
	ptrdiff_t at = str_rchr(as, '@');

	if (!expand_local(b, str_head(as, (size_t)at), v)) /* -1: all of it */
		return false;
	if (at < 0)
		return true;
	buf_c(b, '@');
	return expand(b, str_from(as, (size_t)at + 1), v, ADDR_LENGTH_MAX + 1);
}

/* The same for one with a %. */
static bool expand_values(struct buf *b, struct str as, struct str addr,
                          const struct masq_who *who)
{
	_cleanup_buf_ struct buf plain = BUF_SMALL;
	struct values v = values_of(addr, who, &plain);

	return expand_address(b, as, &v);
}

int masq_expand(struct buf *b, const char *template, struct str addr,
                const struct masq_who *who)
{
	static const struct values none;
	struct str as = str_z(template);
	size_t start = b->n;
	bool ok, filled = str_chr(as, '%') >= 0;

	if (!filled && addr_is_simple(as)) {
		buf_str(b, as);
		return 0;
	}
	ok = filled ? expand_values(b, as, addr, who) : expand_address(b, as, &none);
	if (ok && addr_envelope_ok(str_from(buf_view(b), start)))
		return 0;
	buf_cut(b, start);
	return -EINVAL;
}

static bool is_utf8_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

void masq_name(struct buf *b, const struct masq_rule *rule, struct str addr,
               struct str old, const struct masq_who *who)
{
	_cleanup_buf_ struct buf plain = BUF_SMALL, out = BUF_SMALL;
	struct values v = values_of(addr, who, &plain);
	size_t n;

	v.name = old.n ? old : who->full_name;
	if (v.name.n == 0)
		v.name = who->login;
	v.name = str_head(v.name, MASQ_NAME_MAX);
	if (!v.name.p)
		v.name = STR("");
	if (!expand(&out, str_z(rule->name), &v, MASQ_NAME_MAX)) {
		buf_reset(&out); /* src/conf refuses such a template */
		buf_str(&out, v.name);
	}
	n = out.n;
	if (n > MASQ_NAME_MAX)
		for (n = MASQ_NAME_MAX; n > 0 && is_utf8_tail(out.p[n]);)
			n--;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)out.p[i] < 0x20 || out.p[i] == 0x7f)
			out.p[i] = ' ';
		buf_c(b, out.p[i]);
	}
}
