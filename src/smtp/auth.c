#include "smtp/auth.h"
#include <errno.h>
#include <gnutls/crypto.h>

static int fails(struct auth *a, int e, const char *why)
{
	a->why = why;
	return e;
}

static int more_than_there_is(struct auth *a)
{
	return fails(a, -EPROTO, "the host asks for more than there is");
}

/* RFC 4616: no authorization identity, NUL, user, NUL, password. */
static int answer_plain(struct auth *a, struct str challenge, struct buf *ret)
{
	const struct auth_creds *c = a->creds;

	(void)challenge;
	if (a->step > 0)
		return more_than_there_is(a);
	if (str_chr(c->user, '\0') >= 0 || str_chr(c->password, '\0') >= 0)
		return fails(a, -EINVAL, "user or password has a NUL");
	a->proved = true;
	buf_c(ret, '\0');
	buf_str(ret, c->user);
	buf_c(ret, '\0');
	buf_str(ret, c->password);
	return 0;
}

/* The challenges ("Username:", "User Name", translated ones) are not compared: hosts
 * differ, the order does not. */
static int answer_login(struct auth *a, struct str challenge, struct buf *ret)
{
	(void)challenge;
	if (a->step > 1)
		return more_than_there_is(a);
	a->proved = true;
	buf_str(ret, a->step == 0 ? a->creds->user : a->creds->password);
	return 0;
}

/* RFC 2195 */
static int answer_cram(struct auth *a, struct str challenge, struct buf *ret)
{
	enum { MD5 = 16 };
	const struct auth_creds *c = a->creds;
	unsigned char mac[MD5];

	if (a->step > 0)
		return more_than_there_is(a);
	if (challenge.n == 0)
		return fails(a, -EPROTO, "the host's challenge is empty");
	if (gnutls_hmac_fast(GNUTLS_MAC_MD5, c->password.p, c->password.n, challenge.p,
	                     challenge.n, mac) < 0)
		return fails(a, -EPROTO, "MD5 is not allowed on this machine");
	a->proved = true;
	buf_str(ret, c->user);
	buf_c(ret, ' ');
	for (size_t i = 0; i < MD5; i++)
		buf_fmt(ret, "%02x", mac[i]);
	return 0;
}

/* RFC 4422 A: the authorization identity, or nothing: who the certificate says. */
static int answer_external(struct auth *a, struct str challenge, struct buf *ret)
{
	(void)challenge;
	if (a->step > 0)
		return more_than_there_is(a);
	if (str_chr(a->creds->user, '\0') >= 0)
		return fails(a, -EINVAL, "user has a NUL");
	a->proved = true;
	buf_str(ret, a->creds->user);
	return 0;
}

/* RFC 6750 2.1; what separates the parts of these messages must not be in it. */
static bool token_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.n > 0;
}

/* The second challenge is the host's refusal, in JSON; when we have said that we have seen it
 * comes the reply. */
static int token_refused(struct auth *a, struct str challenge, struct str seen,
                         struct buf *ret)
{
	if (a->step > 1)
		return more_than_there_is(a);
	buf_reset(&a->said);
	buf_str(&a->said, challenge);
	buf_str(ret, seen);
	return 0;
}

static int token_check(struct auth *a)
{
	if (!token_ok(a->creds->password))
		return fails(a, -EINVAL,
		             "the token has a blank or another octet that no "
		             "token has");
	if (str_chr(a->creds->user, '\1') >= 0 || str_chr(a->creds->user, '\0') >= 0)
		return fails(a, -EINVAL, "user has a control character");
	a->proved = true;
	return 0;
}

/* Google's, which others took over: "user=" user ^A "auth=Bearer " token ^A ^A */
static int answer_xoauth2(struct auth *a, struct str challenge, struct buf *ret)
{
	int e;

	if (a->step > 0)
		return token_refused(a, challenge, STR(""), ret);
	e = token_check(a);
	if (e < 0)
		return e;
	buf_z(ret, "user=");
	buf_str(ret, a->creds->user);
	buf_z(ret, "\1auth=Bearer ");
	buf_str(ret, a->creds->password);
	buf_z(ret, "\1\1");
	return 0;
}

void auth_saslname(struct buf *b, struct str name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == '=' || name.p[i] == ',')
			buf_z(b, name.p[i] == '=' ? "=3D" : "=2C");
		else
			buf_c(b, name.p[i]);
}

/* RFC 7628 3.1 */
static int answer_oauthbearer(struct auth *a, struct str challenge, struct buf *ret)
{
	const struct auth_creds *c = a->creds;
	int e;

	if (a->step > 0)
		return token_refused(a, challenge, STR("\1"), ret);
	e = token_check(a);
	if (e < 0)
		return e;
	buf_z(ret, "n,a=");
	auth_saslname(ret, c->user);
	buf_z(ret, ",\1");
	if (c->host.n && str_chr(c->host, '\1') < 0) {
		buf_z(ret, "host=");
		buf_str(ret, c->host);
		buf_c(ret, '\1');
	}
	if (c->port)
		buf_fmt(ret, "port=%u\1", c->port);
	buf_z(ret, "auth=Bearer ");
	buf_str(ret, c->password);
	buf_z(ret, "\1\1");
	return 0;
}

/* In the order in which they are liked. */
static const struct auth_mech mechs[] = {
	{ "SCRAM-SHA-256-PLUS", "scram-sha-256-plus", 1, .initial = true, .binding = true,
	  .mutual = true, .digest = "SHA-256", .answer = auth_scram },
	{ "SCRAM-SHA-256", "scram-sha-256", 2, .initial = true, .mutual = true,
	  .digest = "SHA-256", .answer = auth_scram },
	{ "SCRAM-SHA-1-PLUS", "scram-sha-1-plus", 4, .initial = true, .binding = true,
	  .mutual = true, .digest = "SHA-1", .answer = auth_scram },
	{ "SCRAM-SHA-1", "scram-sha-1", 8, .initial = true, .mutual = true,
	  .digest = "SHA-1", .answer = auth_scram },
	{ "PLAIN", "plain", 16, .plaintext = true, .initial = true,
	  .answer = answer_plain },
	{ "LOGIN", "login", 32, .plaintext = true, .answer = answer_login },
	/* Behind them: a host that is known to be the right one, and heard by nobody else,
	 * gains nothing by it, and must keep the password itself to check it. */
	{ "CRAM-MD5", "cram-md5", 64, .answer = answer_cram },
	{ "OAUTHBEARER", "oauthbearer", 128, .proof = AUTH_TOKEN, .plaintext = true,
	  .initial = true, .answer = answer_oauthbearer },
	{ "XOAUTH2", "xoauth2", 256, .proof = AUTH_TOKEN, .plaintext = true,
	  .initial = true, .answer = answer_xoauth2 },
	{ "EXTERNAL", "external", 512, .proof = AUTH_CERTIFICATE, .initial = true,
	  .answer = answer_external },
};

static bool offers(struct str offered, const struct auth_mech *m)
{
	struct str rest = offered, word;

	while (str_cut(&rest, ' ', &word))
		if (str_ieq(word, str_z(m->name)))
			return true;
	return false;
}

bool auth_offers_binding(struct str offered)
{
	for (size_t i = 0; i < ARRAY_LEN(mechs); i++)
		if (mechs[i].binding && offers(offered, &mechs[i]))
			return true;
	return false;
}

static bool may(const struct auth_choice *c, const struct auth_mech *m)
{
	bool any = c->only.n == 0 || str_ieq(c->only, STR("auto"));

	if ((m->plaintext && !c->safe) || (m->binding && !c->binding) ||
	    (c->vain & m->bit))
		return false;
	if (any ? m->proof != c->proof : !str_ieq(c->only, str_z(m->word)))
		return false;
	return offers(c->offered, m);
}

/* Where a mechanism stands: that which shows the password is the last when who gets to see it
 * may be anybody. */
static size_t rank(const struct auth_choice *c, const struct auth_mech *m)
{
	size_t at = (size_t)(m - mechs);

	return m->plaintext && !c->verified ? at + ARRAY_LEN(mechs) : at;
}

const struct auth_mech *auth_pick(const struct auth_choice *c,
                                  const struct auth_mech *after)
{
	const struct auth_mech *best = NULL;

	for (size_t i = 0; i < ARRAY_LEN(mechs); i++) {
		const struct auth_mech *m = &mechs[i];

		if (!may(c, m) || (after && rank(c, m) <= rank(c, after)))
			continue;
		if (!best || rank(c, m) < rank(c, best))
			best = m;
	}
	return best;
}

void auth_words(unsigned bits, struct buf *b)
{
	const char *comma = "";

	for (size_t i = 0; i < ARRAY_LEN(mechs); i++)
		if (bits & mechs[i].bit) {
			buf_fmt(b, "%s%s", comma, mechs[i].word);
			comma = ",";
		}
}

void auth_init(struct auth *a, const struct auth_mech *mech,
               const struct auth_creds *creds)
{
	*a = (struct auth){ .mech = mech, .creds = creds, .why = "" };
}

int auth_answer(struct auth *a, struct str challenge, struct buf *ret)
{
	int e;

	if (a->step >= AUTH_ROUNDS_MAX)
		return more_than_there_is(a);
	e = a->mech->answer(a, challenge, ret);
	a->step++;
	return e;
}

bool auth_accept(struct auth *a)
{
	if (!a->mech->mutual || a->verified)
		return true;
	a->why = "the host let us in without proof that it knows the password: it may be "
	         "an impostor";
	return false;
}

void auth_free(struct auth *a)
{
	buf_free(&a->said);
	buf_free(&a->nonce);
	buf_free(&a->first);
	explicit_bzero(a->signature, sizeof(a->signature));
}

bool auth_shows(struct str text, struct str secret, size_t least)
{
	bool in[256] = { false };
	size_t run = 0;

	if (secret.n < least)
		return secret.n && memmem(text.p, text.n, secret.p, secret.n);
	for (size_t i = 0; i < secret.n; i++)
		in[(unsigned char)secret.p[i]] = true;
	/* Only where so many of its octets are in a row is it searched. */
	for (size_t i = 0; i < text.n; i++) {
		run = in[(unsigned char)text.p[i]] ? run + 1 : 0;
		if (run >= least &&
		    memmem(secret.p, secret.n, text.p + i + 1 - least, least))
			return true;
	}
	return false;
}

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void auth_base64(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i += 3) {
		size_t left = s.n - i;
		uint32_t v = (uint32_t)(unsigned char)s.p[i] << 16;
		char q[4];

		if (left > 1)
			v |= (uint32_t)(unsigned char)s.p[i + 1] << 8;
		if (left > 2)
			v |= (uint32_t)(unsigned char)s.p[i + 2];
		q[0] = digits[v >> 18];
		q[1] = digits[(v >> 12) & 63];
		q[2] = '=';
		q[3] = '=';
		if (left > 1)
			q[2] = digits[(v >> 6) & 63];
		if (left > 2)
			q[3] = digits[v & 63];
		buf_add(b, q, sizeof(q));
	}
}

static int digit_of(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

int auth_unbase64(struct buf *b, struct str s)
{
	size_t was = b->n;

	if (s.n % 4)
		return -EBADMSG;
	for (size_t i = 0; i < s.n; i += 4) {
		size_t pad = i + 4 < s.n ? 0 : (size_t)(s.p[i + 3] == '=');
		uint32_t v = 0;
		char out[3];

		if (pad && s.p[i + 2] == '=')
			pad = 2;
		for (size_t k = 0; k < 4; k++) {
			int d = k < 4 - pad ? digit_of(s.p[i + k]) : 0;

			if (d < 0) {
				buf_cut(b, was);
				return -EBADMSG;
			}
			v = v << 6 | (uint32_t)d;
		}
		out[0] = (char)(v >> 16);
		out[1] = (char)(v >> 8 & 255);
		out[2] = (char)(v & 255);
		buf_add(b, out, 3 - pad);
	}
	return 0;
}

void auth_wipe(struct buf *b)
{
	if (b->cap)
		explicit_bzero(b->p, b->cap);
	buf_free(b);
}
