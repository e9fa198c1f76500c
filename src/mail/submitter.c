#include "mail/addr.h"
#include "mail/compose.h"

struct masq_who compose_who(const struct compose_conf *c, const struct envelope *e)
{
	return (struct masq_who){ .login = e->login,
		                  .host = c->hostname,
		                  .uid = e->uid,
		                  .groups = e->groups,
		                  .client = e->client };
}

bool compose_may_override(const struct compose_conf *c, const struct envelope *e)
{
	if (c->override == MASQ_OVERRIDE_LIST) {
		const struct masq_who who = compose_who(c, e);

		if (masq_user_listed(&c->override_user, &who))
			return true;
	}
	return c->override == MASQ_OVERRIDE_YES || e->uid == c->own_uid;
}

/* The case of a local part counts: logins are different that differ in it. */
static bool same(struct str a, struct str b)
{
	struct str al, ad, bl, bd;

	addr_split(a, &al, &ad);
	addr_split(b, &bl, &bd);
	return str_eq(al, bl) && str_ieq(ad, bd);
}

void compose_own(const struct compose_conf *c, const struct envelope *e, struct buf *ret)
{
	_cleanup_buf_ struct buf login = BUF_SMALL;
	struct envelope attested = *e;

	attested.hint = STR("");
	compose_submitter(&attested, &login);
	compose_complete(c, buf_view(&login), ret);
}

bool compose_is_own(const struct compose_conf *c, const struct envelope *e,
                    unsigned where, struct str addr)
{
	_cleanup_buf_ struct buf own = BUF_SMALL, made = BUF_SMALL, full = BUF_SMALL;
	struct compose_conf quiet = *c;

	quiet.trace = NULL; /* nothing is changed here */
	compose_own(c, e, &own);
	compose_complete(c, addr, &full);
	if (same(buf_view(&full), buf_view(&own)))
		return true;
	compose_address(&quiet, e, where, buf_view(&own), &made);
	return same(buf_view(&full), buf_view(&made));
}
