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

/* What a rule asks besides the address. */
static bool is_for(const struct masq_rule *r, const struct masq_who *who)
{
	if (r->user.n && !masq_user_listed(&r->user, who))
		return false;
	for (size_t i = 0; i < r->client.n; i++)
		if (who->client.n && addr_glob(str_z(r->client.v[i]), who->client))
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
                                  struct str addr, const struct masq_who *who)
{
	int line;

	for (size_t i = 0; i < n; i++)
		if ((rules[i].rewrite & where) && is_for(&rules[i], who) &&
		    masq_template(&rules[i], addr, &line))
			return &rules[i];
	return NULL;
}

/* What the letters of a template stand for. */
struct values {
	struct str local, base, detail, domain, host;
	struct str name; /* p == NULL: %n is not known here */
};

/* Appends the template. False: a % that stands for nothing. It ends once max octets are
 * there: with one value more at most. */
static bool expand(struct buf *b, struct str template, const struct values *v, size_t max)
{
	for (size_t i = 0; i < template.n && b->n < max; i++) {
		struct str next = str_head(str_from(template, i + 1), 1);
		char letter = '\0';

		if (template.p[i] != '%') {
			buf_c(b, template.p[i]);
			continue;
		}
		i++;
		if (next.n)
			letter = next.p[0];
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

/* The local part is filled in as plain characters and quoted afterwards, so that %u of
 * "a b"@c can stand among other characters. */
int masq_expand(struct buf *b, const char *template, struct str addr,
                const struct masq_who *who)
{
	_cleanup_buf_ struct buf plain = BUF_INIT, local = BUF_INIT, out = BUF_INIT;
	struct values v = values_of(addr, who, &plain);
	struct str as = str_z(template), as_local = as;
	ptrdiff_t at = str_rchr(as, '@');

	if (at >= 0)
		as_local = str_head(as, (size_t)at);
	if (as_local.n > 1 && as_local.p[0] == '"' && as_local.p[as_local.n - 1] == '"')
		as_local = str_head(str_from(as_local, 1), as_local.n - 2);
	if (!expand(&local, as_local, &v, ADDR_LENGTH_MAX + 1) || local.n == 0)
		return -EINVAL;
	addr_local(&out, buf_view(&local));
	if (at >= 0) {
		buf_c(&out, '@');
		buf_reset(&local);
		if (!expand(&local, str_from(as, (size_t)at + 1), &v,
		            ADDR_LENGTH_MAX + 1))
			return -EINVAL;
		buf_str(&out, buf_view(&local));
	}
	if (!addr_envelope_ok(buf_view(&out)))
		return -EINVAL;
	buf_str(b, buf_view(&out));
	return 0;
}

int masq_address(struct buf *b, const struct masq_rule *rule, struct str addr,
                 const struct masq_who *who)
{
	int line;
	const char *as = masq_template(rule, addr, &line);

	return as ? masq_expand(b, as, addr, who) : -EINVAL;
}

static bool is_utf8_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

void masq_name(struct buf *b, const struct masq_rule *rule, struct str addr,
               struct str old, const struct masq_who *who)
{
	_cleanup_buf_ struct buf plain = BUF_INIT, out = BUF_INIT;
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
