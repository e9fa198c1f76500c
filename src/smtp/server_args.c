#include "smtp/server_args.h"

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct str skip_blanks(struct str s)
{
	while (s.n && blank(s.p[0]))
		s = str_from(s, 1);
	return s;
}

/* The first octet outside of a quoted string that is end, or blank if that is asked for;
 * s.n: there is none. */
static size_t find_outside(struct str s, char end, bool or_blank)
{
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"')
			quoted = !quoted;
		else if (quoted && s.p[i] == '\\')
			i++;
		else if (!quoted && (s.p[i] == end || (or_blank && blank(s.p[i]))))
			return i;
	}
	return s.n;
}

/* Strict clients write FROM:<a@b>; old ones leave out < and > or put blanks around the
 * colon and inside of the brackets. */
bool server_path(struct str *arg, struct str word, struct str *ret_addr)
{
	struct str s = skip_blanks(*arg), addr;
	size_t end;

	if (!str_istarts(s, word))
		return false;
	s = skip_blanks(str_from(s, word.n));
	if (!s.n || s.p[0] != ':')
		return false;
	s = skip_blanks(str_from(s, 1));
	if (s.n && s.p[0] == '<') {
		s = str_from(s, 1);
		end = find_outside(s, '>', false);
		if (end == s.n)
			return false;
		addr = str_trim(str_head(s, end));
		s = str_from(s, end + 1);
		if (s.n && !blank(s.p[0]))
			return false;
	} else {
		end = find_outside(s, ' ', true);
		addr = str_head(s, end);
		s = str_from(s, end);
		if (!addr.n || str_chr(addr, '<') >= 0 || str_chr(addr, '>') >= 0)
			return false;
	}
	*ret_addr = addr;
	*arg = s;
	return true;
}

/* RFC 3461 4. */
static bool xtext_ok(struct str v, size_t max)
{
	if (v.n == 0 || v.n > max)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] <= 0x20 || v.p[i] >= 0x7f || v.p[i] == '=')
			return false;
		if (v.p[i] != '+')
			continue;
		if (v.n - i < 3)
			return false;
		for (size_t k = i + 1; k < i + 3; k++)
			if (!(v.p[k] >= '0' && v.p[k] <= '9') &&
			    !(v.p[k] >= 'A' && v.p[k] <= 'F'))
				return false;
		i += 2;
	}
	return true;
}

struct params {
	struct str rest;
	unsigned n;
};

struct param {
	struct str key, value;
	bool has_value;
};

/* 1: there is one; 0: no more; 501. */
static int next_param(struct params *l, struct param *ret)
{
	size_t end = 0;
	struct str word;
	ptrdiff_t eq;

	l->rest = skip_blanks(l->rest);
	if (!l->rest.n)
		return 0;
	if (l->n++ == SERVER_PARAMS_MAX)
		return 501;
	while (end < l->rest.n && !blank(l->rest.p[end]))
		end++;
	word = str_head(l->rest, end);
	l->rest = str_from(l->rest, end);
	eq = str_chr(word, '=');
	ret->has_value = eq >= 0;
	ret->key = eq >= 0 ? str_head(word, (size_t)eq) : word;
	ret->value = eq >= 0 ? str_from(word, (size_t)eq + 1) : STR_NONE;
	if (!ret->key.n || (ret->has_value && !ret->value.n))
		return 501;
	return 1;
}

enum mail_param { MAIL_SIZE, MAIL_BODY, MAIL_UTF8, MAIL_RET, MAIL_ENVID, MAIL_AUTH };

/* False: a bad value. */
static bool mail_param(enum mail_param which, const struct param *in,
                       struct server_params *p)
{
	if (in->has_value == (which == MAIL_UTF8))
		return false;
	switch (which) {
	case MAIL_SIZE:
		return str_u64(in->value, &p->size);
	case MAIL_BODY:
		p->body8 = str_ieq(in->value, STR("8BITMIME"));
		return p->body8 || str_ieq(in->value, STR("7BIT"));
	case MAIL_UTF8:
		p->smtputf8 = true;
		return true;
	case MAIL_RET:
		if (str_ieq(in->value, STR("FULL")))
			p->ret = STR("FULL");
		else if (str_ieq(in->value, STR("HDRS")))
			p->ret = STR("HDRS");
		return p->ret.n > 0;
	case MAIL_ENVID:
		p->envid = in->value;
		return xtext_ok(in->value, SERVER_ENVID_MAX);
	case MAIL_AUTH: /* RFC 4954 5; nobody here makes use of it */
		return true;
	}
	return false;
}

int server_mail_params(struct str rest, struct server_params *ret)
{
	static const char *const names[] = {
		[MAIL_SIZE] = "SIZE", [MAIL_BODY] = "BODY",   [MAIL_UTF8] = "SMTPUTF8",
		[MAIL_RET] = "RET",   [MAIL_ENVID] = "ENVID", [MAIL_AUTH] = "AUTH",
	};
	struct params l = { .rest = rest };
	struct server_params p = { .size = 0 };
	struct param one;
	unsigned seen = 0;
	int r;

	while ((r = next_param(&l, &one)) == 1) {
		unsigned i = 0;

		while (i < ARRAY_LEN(names) && !str_ieq(one.key, str_z(names[i])))
			i++;
		if (i == ARRAY_LEN(names))
			return 555;
		if (seen & 1U << i || !mail_param((enum mail_param)i, &one, &p))
			return 501;
		seen |= 1U << i;
	}
	if (!r)
		*ret = p;
	return r;
}

/* A list of words, each at most once, or NEVER alone; in upper case into p->room. */
static bool take_notify(struct str v, struct server_rcpt_params *p)
{
	static const char *const words[] = { "SUCCESS", "FAILURE", "DELAY" };
	struct str word;
	unsigned seen = 0;
	size_t n = 0;

	if (str_ieq(v, STR("NEVER"))) {
		p->notify = STR("NEVER");
		return true;
	}
	while (str_cut(&v, ',', &word)) {
		unsigned i = 0;

		while (i < ARRAY_LEN(words) && !str_ieq(word, str_z(words[i])))
			i++;
		if (i == ARRAY_LEN(words) || seen & 1U << i)
			return false;
		seen |= 1U << i;
		if (n)
			p->room[n++] = ',';
		memcpy(p->room + n, words[i], word.n);
		n += word.n;
	}
	p->notify = (struct str){ p->room, n };
	return true;
}

/* addr-type ";" xtext (RFC 3461 4.2). */
static bool orcpt_ok(struct str v)
{
	size_t all = v.n;
	struct str type;

	if (all > SERVER_ORCPT_MAX || !str_cut(&v, ';', &type) || !type.n)
		return false;
	for (size_t i = 0; i < type.n; i++) {
		char l = ascii_lower(type.p[i]);

		if (!(l >= 'a' && l <= 'z') && !(l >= '0' && l <= '9') && l != '-')
			return false;
	}
	return xtext_ok(v, SERVER_ORCPT_MAX); /* not when there was no ";" */
}

int server_rcpt_params(struct str rest, struct server_rcpt_params *ret)
{
	struct params l = { .rest = rest };
	struct param one;
	int r;

	ret->notify = ret->orcpt = STR_NONE;
	while ((r = next_param(&l, &one)) == 1) {
		if (str_ieq(one.key, STR("NOTIFY"))) {
			if (ret->notify.n || !one.has_value ||
			    !take_notify(one.value, ret))
				return 501;
		} else if (str_ieq(one.key, STR("ORCPT"))) {
			if (ret->orcpt.n || !orcpt_ok(one.value))
				return 501;
			ret->orcpt = one.value;
		} else {
			return 555;
		}
	}
	return r;
}
