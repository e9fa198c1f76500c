#include "conf/conf.h"
#include "mail/addr.h"

/* A name with a dot at its end is the same name (RFC 1034 3.1). */
static struct str without_dot(struct str domain)
{
	if (domain.n && domain.p[domain.n - 1] == '.')
		domain.n--;
	return domain;
}

/* Local part and domain are matched each for itself, so that no star reaches over the @ and
 * nothing in a quoted local part is taken for a domain. An address without a domain is
 * matched by no pattern with one. */
bool conf_match(const struct strv *patterns, struct str addr)
{
	struct str local, domain;

	addr_split(addr, &local, &domain);
	domain = without_dot(domain);
	for (size_t i = 0; i < patterns->n; i++) {
		struct str p = str_z(patterns->v[i]);
		ptrdiff_t at = str_rchr(p, '@');

		if (at < 0 ? addr_glob(p, domain)
		           : domain.n && addr_glob(str_head(p, (size_t)at), local) &&
		                 addr_glob(str_from(p, (size_t)at + 1), domain))
			return true;
	}
	return false;
}

size_t conf_route(const struct conf *c, struct str sender, struct str rcpt)
{
	for (size_t i = 1; i < c->smarthosts; i++) {
		const struct smarthost *h = &c->smarthost[i];

		if (h->for_.n == 0 && h->from.n == 0)
			continue; /* conf_load() refuses it */
		if (h->for_.n && !conf_match(&h->for_, rcpt))
			continue;
		if (h->from.n && (sender.n == 0 || !conf_match(&h->from, sender)))
			continue;
		return i;
	}
	return 0;
}
