#include "mail/masq.h"
#include "mail/addr.h"
#include <errno.h>

static bool user_listed(const struct strv *users, struct str login)
{
	for (size_t i = 0; i < users->n; i++)
		if (str_eq(str_z(users->v[i]), login))
			return true;
	return users->n == 0;
}

const struct masq_rule *masq_find(const struct masq_rule *rules, size_t n, unsigned where,
                                  struct str addr, const struct masq_who *who)
{
	if (addr.n == 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if ((rules[i].rewrite & where) &&
		    user_listed(&rules[i].user, who->login) &&
		    addr_glob(str_z(rules[i].match), addr))
			return &rules[i];
	return NULL;
}

/* What the letters of a template stand for. */
struct values {
	struct str local, domain, host;
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

	addr_split(addr, &local, &v.domain);
	addr_words(plain, local, false);
	v.local = buf_view(plain);
	return v;
}

/* The local part is filled in as plain characters and quoted afterwards, so that %u of
 * "a b"@c can stand among other characters. */
int masq_address(struct buf *b, const struct masq_rule *rule, struct str addr,
                 const struct masq_who *who)
{
	_cleanup_buf_ struct buf plain = BUF_INIT, local = BUF_INIT, out = BUF_INIT;
	struct values v = values_of(addr, who, &plain);
	struct str as = str_z(rule->as), as_local = as;
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
