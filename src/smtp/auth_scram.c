/* SCRAM (RFC 5802, RFC 7677), with and without channel binding (auth.h) */
#include "smtp/auth.h"
#include <errno.h>
#include <gnutls/crypto.h>

enum {
	NONCE_BYTES = 18,
	SALT_MAX = 1024,
	/* The host's part of the nonce; what is longer serves nobody. */
	NONCE_MAX = 1024,
};

struct digest {
	const char *name;
	gnutls_mac_algorithm_t mac;
	gnutls_digest_algorithm_t hash;
	size_t n;
};

static const struct digest digests[] = {
	{ "SHA-256", GNUTLS_MAC_SHA256, GNUTLS_DIG_SHA256, 32 },
	{ "SHA-1", GNUTLS_MAC_SHA1, GNUTLS_DIG_SHA1, 20 },
};

/* All that must not stay in memory. */
struct keys {
	unsigned char salted[AUTH_DIGEST_MAX], client[AUTH_DIGEST_MAX],
	    stored[AUTH_DIGEST_MAX], server[AUTH_DIGEST_MAX], proof[AUTH_DIGEST_MAX];
};

static int fails(struct auth *a, const char *why)
{
	a->why = why;
	return -EPROTO;
}

/* The host refuses in a challenge ("e=..."): it expects no answer but "*". */
static int refused(struct auth *a, struct str value)
{
	a->stopped = true;
	a->why = "the host refuses the login";
	buf_reset(&a->said);
	buf_str(&a->said, value);
	return -ECONNREFUSED;
}

static const struct digest *digest_of(const struct auth *a)
{
	for (size_t i = 0; i < ARRAY_LEN(digests); i++)
		if (strcmp(digests[i].name, a->mech->digest) == 0)
			return &digests[i];
	return NULL;
}

/* RFC 5802 5.1: n: we know no channel binding; y: we do, and believe that the host does not,
 * so that it can see when somebody in between took its offer away. */
static void put_head(const struct auth *a, struct buf *b)
{
	const struct auth_creds *c = a->creds;

	if (a->mech->binding) {
		buf_z(b, "p=");
		buf_str(b, c->binding_name);
	} else {
		buf_c(b, c->binding.n && !c->plus ? 'y' : 'n');
	}
	buf_z(b, ",,");
}

/* Appends s as RFC 4013 wants it; letters beyond ASCII by RFC 8265, which took its place and
 * is what GnuTLS does. ASCII without control characters is the same in both. */
static int put_prepared(struct buf *b, struct str s)
{
	gnutls_datum_t out = { NULL, 0 };
	bool ascii = true;

	for (size_t i = 0; i < s.n; i++)
		ascii = ascii && s.p[i] >= ' ' && s.p[i] <= '~';
	if (ascii) {
		buf_str(b, s);
		return s.n ? 0 : -EINVAL;
	}
	if (gnutls_utf8_password_normalize((const unsigned char *)s.p, (unsigned)s.n,
	                                   &out, 0) < 0)
		return -EINVAL;
	buf_add(b, out.data, out.size);
	explicit_bzero(out.data, out.size);
	gnutls_free(out.data);
	return 0;
}

/* Is it known before anything is said: then the host sees no login that cannot come to
 * anything, and another mechanism may do. */
static int check_password(struct auth *a)
{
	struct buf password = BUF_INIT;
	int e;

	buf_room(&password, 4 * a->creds->password.n + 16);
	e = put_prepared(&password, a->creds->password);
	auth_wipe(&password);
	if (e < 0)
		a->why = "password cannot be written as RFC 4013 wants it (is it UTF-8, "
		         "without control characters?)";
	return e;
}

static int client_first(struct auth *a, struct buf *ret)
{
	_cleanup_buf_ struct buf user = BUF_INIT;
	unsigned char nonce[NONCE_BYTES];

	if (check_password(a) < 0)
		return -EINVAL;
	if (put_prepared(&user, a->creds->user) < 0) {
		a->why = "user cannot be written as RFC 4013 wants it (is it UTF-8?)";
		return -EINVAL;
	}
	if (a->creds->nonce.n) {
		buf_str(&a->nonce, a->creds->nonce);
	} else {
		if (gnutls_rnd(GNUTLS_RND_NONCE, nonce, sizeof(nonce)) < 0)
			return fails(a, "no random numbers");
		auth_base64(&a->nonce,
		            (struct str){ (const char *)nonce, sizeof(nonce) });
	}
	buf_z(&a->first, "n=");
	auth_saslname(&a->first, buf_view(&user));
	buf_z(&a->first, ",r=");
	buf_str(&a->first, buf_view(&a->nonce));
	put_head(a, ret);
	buf_str(ret, buf_view(&a->first));
	return 0;
}

/* What the host says first. */
struct server_first {
	struct str nonce, salt; /* salt: base64 */
	uint64_t iterations;
};

/* Takes "<letter>=value" from the front of rest. */
static bool take(struct str *rest, char letter, struct str *ret)
{
	struct str part;

	if (!str_cut(rest, ',', &part) || part.n < 2 || part.p[0] != letter ||
	    part.p[1] != '=')
		return false;
	*ret = str_from(part, 2);
	return true;
}

static int parse_first(struct auth *a, struct str s, struct server_first *ret)
{
	struct str rest = s, count, ours = buf_view(&a->nonce);

	if (str_starts(s, STR("e=")))
		return refused(a, str_from(s, 2));
	if (!take(&rest, 'r', &ret->nonce) || !take(&rest, 's', &ret->salt) ||
	    !take(&rest, 'i', &count) || !str_u64(count, &ret->iterations))
		return fails(a, "the host's first message is malformed");
	if (!str_starts(ret->nonce, ours) || ret->nonce.n == ours.n)
		return fails(a, "the host's nonce does not go on from ours");
	if (ret->nonce.n > ours.n + NONCE_MAX)
		return fails(a, "the host's nonce is too long");
	for (size_t i = 0; i < ret->nonce.n; i++)
		if (ret->nonce.p[i] <= ' ' || ret->nonce.p[i] > '~')
			return fails(a, "the host's nonce is malformed");
	if (ret->iterations < AUTH_ITERATIONS_MIN)
		return fails(a, "the host wants fewer than 4096 iterations: who listens "
		                "could guess the password");
	if (ret->iterations > AUTH_ITERATIONS_MAX)
		return fails(a, "the host wants more than 600000 iterations");
	return 0;
}

static int hmac(const struct digest *d, const unsigned char *key, struct str text,
                unsigned char *ret)
{
	return gnutls_hmac_fast(d->mac, key, d->n, text.p, text.n, ret);
}

/* RFC 5802 3: the salted password, and the keys that come from it. */
static int make_keys(struct auth *a, const struct digest *d, const struct server_first *f,
                     struct keys *k)
{
	_cleanup_buf_ struct buf salt = BUF_INIT;
	struct buf password = BUF_INIT;
	gnutls_datum_t key, s;
	int e;

	if (auth_unbase64(&salt, f->salt) < 0 || salt.n == 0 || salt.n > SALT_MAX)
		return fails(a, "the host's salt is malformed");
	buf_room(&password, 4 * a->creds->password.n + 16);
	if (put_prepared(&password, a->creds->password) < 0) {
		auth_wipe(&password);
		return fails(a, "password cannot be written as RFC 4013 wants it");
	}
	key = (gnutls_datum_t){ (unsigned char *)password.p, (unsigned)password.n };
	s = (gnutls_datum_t){ (unsigned char *)salt.p, (unsigned)salt.n };
	e = gnutls_pbkdf2(d->mac, &key, &s, (unsigned)f->iterations, k->salted, d->n);
	auth_wipe(&password);
	if (e < 0 || hmac(d, k->salted, STR("Client Key"), k->client) < 0 ||
	    hmac(d, k->salted, STR("Server Key"), k->server) < 0 ||
	    gnutls_hash_fast(d->hash, k->client, d->n, k->stored) < 0)
		return fails(a, "GnuTLS cannot do SCRAM on this machine");
	return 0;
}

/* Our last message but for its proof: head and channel binding once more, the whole nonce. */
static void put_bound(const struct auth *a, struct str nonce, struct buf *ret)
{
	_cleanup_buf_ struct buf bound = BUF_INIT;

	put_head(a, &bound);
	if (a->mech->binding)
		buf_str(&bound, a->creds->binding);
	buf_z(ret, "c=");
	auth_base64(ret, buf_view(&bound));
	buf_z(ret, ",r=");
	buf_str(ret, nonce);
}

static int client_final(struct auth *a, struct str challenge, struct buf *ret)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	const struct digest *d = digest_of(a);
	struct server_first f;
	struct keys k;
	size_t at = ret->n;
	int e = parse_first(a, challenge, &f);

	if (e < 0)
		return e;
	e = make_keys(a, d, &f, &k);
	if (e < 0) {
		explicit_bzero(&k, sizeof(k));
		return e;
	}
	put_bound(a, f.nonce, ret);
	buf_str(&all, buf_view(&a->first));
	buf_c(&all, ',');
	buf_str(&all, challenge);
	buf_c(&all, ',');
	buf_str(&all, str_from(buf_view(ret), at));
	if (hmac(d, k.stored, buf_view(&all), k.proof) < 0 ||
	    hmac(d, k.server, buf_view(&all), a->signature) < 0)
		e = fails(a, "GnuTLS cannot do SCRAM on this machine");
	for (size_t i = 0; i < d->n; i++)
		k.proof[i] ^= k.client[i];
	buf_z(ret, ",p=");
	auth_base64(ret, (struct str){ (const char *)k.proof, d->n });
	explicit_bzero(&k, sizeof(k));
	a->proved = e == 0;
	return e;
}

/* RFC 5802 7: server-final-message. An impostor that does not know the password cannot make
 * it. */
static int server_final(struct auth *a, struct str challenge)
{
	_cleanup_buf_ struct buf signature = BUF_INIT;
	const struct digest *d = digest_of(a);
	struct str rest = challenge, v;

	if (str_starts(challenge, STR("e=")))
		return refused(a, str_from(challenge, 2));
	if (!take(&rest, 'v', &v) || auth_unbase64(&signature, v) < 0 ||
	    signature.n != d->n || gnutls_memcmp(signature.p, a->signature, d->n) != 0)
		return fails(
		    a, "the host cannot prove that it knows the password: it may be "
		       "an impostor");
	a->verified = true;
	return 0;
}

int auth_scram(struct auth *a, struct str challenge, struct buf *ret)
{
	switch (a->step) {
	case 0:
		return client_first(a, ret);
	case 1:
		return client_final(a, challenge, ret);
	case 2:
		return server_final(a, challenge);
	default:
		return fails(a, "the host asks for more than there is");
	}
}
