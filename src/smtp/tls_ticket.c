#include "smtp/tls_ticket.h"
#include "smtp/auth.h"
#include <gnutls/crypto.h>

enum {
	VERSION = '1', /* of the text */
	TIME_BYTES = 8,
	HEAD = 1 + TICKET_BOUND + TIME_BYTES,
	SUM =
	    32, /* SHA-256 of all before it, at the end: GnuTLS does not survive data that is cut */
};

static void hash_bytes(gnutls_hash_hd_t h, struct str s)
{
	unsigned char n[TIME_BYTES];

	/* With its length, so that no two lists of fields are alike. */
	for (size_t i = 0; i < sizeof(n); i++)
		n[i] = (unsigned char)((uint64_t)s.n >> (8 * i));
	(void)gnutls_hash(h, n, sizeof(n));
	(void)gnutls_hash(h, s.p, s.n);
}

static void hash_all(struct str s, unsigned char ret[static SUM])
{
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, s.p, s.n, ret) < 0)
		die_oom();
}

void ticket_bind(const struct client_conf *c, const char *name, unsigned port,
                 unsigned char ret[static TICKET_BOUND])
{
	const struct str text[] = { str_z(name), c->host, c->tls_ca, c->tls_priority,
		                    c->tls_certificate };
	_cleanup_buf_ struct buf b = BUF_INIT;
	gnutls_hash_hd_t h;

	/* It fails where SHA-256 is missing: there is no TLS either. */
	if (gnutls_hash_init(&h, GNUTLS_DIG_SHA256) < 0)
		die_oom();
	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		hash_bytes(h, text[i]);
	for (size_t i = 0; i < c->tls_pin.n; i++)
		hash_bytes(h, str_z(c->tls_pin.v[i]));
	buf_fmt(&b, "%u %d %d", port, (int)c->tls, (int)c->tls_verify);
	hash_bytes(h, buf_view(&b));
	gnutls_hash_deinit(h, ret);
}

bool ticket_holds(const struct ticket *t, const unsigned char bound[static TICKET_BOUND],
                  int64_t now)
{
	/* An end too far off was made by a clock that was wrong. */
	return t->data.n && now < t->ends && t->ends - now <= TICKET_SECONDS &&
	       memcmp(t->bound, bound, TICKET_BOUND) == 0;
}

void ticket_forget(struct ticket *t)
{
	auth_wipe(&t->data);
	memset(t->bound, 0, sizeof(t->bound));
	t->ends = 0;
}

void ticket_print(const struct ticket *t, struct buf *b)
{
	_cleanup_buf_ struct buf raw = BUF_INIT;
	unsigned char sum[SUM];

	if (t->data.n == 0 || (HEAD + t->data.n + SUM + 2) / 3 * 4 > CLIENT_TICKET_MAX)
		return;
	buf_room(&raw, HEAD + t->data.n + SUM);
	buf_room(b, CLIENT_TICKET_MAX);
	buf_c(&raw, VERSION);
	buf_add(&raw, t->bound, TICKET_BOUND);
	for (int i = TIME_BYTES - 1; i >= 0; i--)
		buf_c(&raw, (char)((uint64_t)t->ends >> (8 * i) & 0xff));
	buf_str(&raw, buf_view(&t->data));
	hash_all(buf_view(&raw), sum);
	buf_add(&raw, sum, SUM);
	auth_base64(b, buf_view(&raw));
	auth_wipe(&raw);
}

bool ticket_parse(struct str text, struct ticket *ret)
{
	struct buf raw = BUF_INIT;
	unsigned char sum[SUM];
	uint64_t ends = 0;
	bool ok;

	ticket_forget(ret);
	if (text.n == 0 || text.n > CLIENT_TICKET_MAX)
		return false;
	buf_room(&raw, text.n);
	ok = auth_unbase64(&raw, text) == 0 && raw.n > HEAD + SUM && raw.p[0] == VERSION;
	if (ok) {
		hash_all(str_head(buf_view(&raw), raw.n - SUM), sum);
		ok = memcmp(raw.p + raw.n - SUM, sum, SUM) == 0;
	}
	if (ok) {
		for (size_t i = 0; i < TIME_BYTES; i++)
			ends = ends << 8 | (unsigned char)raw.p[1 + TICKET_BOUND + i];
		ok = ends <= INT64_MAX;
	}
	if (ok) {
		ret->ends = (int64_t)ends;
		memcpy(ret->bound, raw.p + 1, TICKET_BOUND);
		buf_cut(&raw, raw.n - SUM);
		buf_room(&ret->data, raw.n - HEAD);
		buf_str(&ret->data, str_from(buf_view(&raw), HEAD));
	}
	auth_wipe(&raw);
	return ok;
}
