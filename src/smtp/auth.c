#include "smtp/auth.h"
#include <errno.h>

/* RFC 4616: no authorization identity, NUL, user, NUL, password. */
static int answer_plain(const struct auth_creds *a, unsigned step, struct str challenge,
                        struct buf *ret)
{
	(void)challenge;
	if (step > 0)
		return -EPROTO;
	if (str_chr(a->user, '\0') >= 0 || str_chr(a->password, '\0') >= 0)
		return -EINVAL;
	buf_c(ret, '\0');
	buf_str(ret, a->user);
	buf_c(ret, '\0');
	buf_str(ret, a->password);
	return 0;
}

/* The challenges ("Username:", "User Name", translated ones) are not compared: hosts
 * differ, the order does not. */
static int answer_login(const struct auth_creds *a, unsigned step, struct str challenge,
                        struct buf *ret)
{
	(void)challenge;
	if (step > 1)
		return -EPROTO;
	buf_str(ret, step == 0 ? a->user : a->password);
	return 0;
}

/* In the order in which they are liked. */
static const struct auth_mech mechs[] = {
	{ "PLAIN", "plain", .plaintext = true, .initial = true, .answer = answer_plain },
	{ "LOGIN", "login", .plaintext = true, .initial = false, .answer = answer_login },
};

const struct auth_mech *auth_pick(struct str offered, struct str only, bool safe)
{
	bool any = only.n == 0 || str_ieq(only, STR("auto"));

	for (size_t i = 0; i < ARRAY_LEN(mechs); i++) {
		struct str rest = offered, word;

		if (mechs[i].plaintext && !safe)
			continue;
		if (!any && !str_ieq(only, str_z(mechs[i].name)))
			continue;
		while (str_cut(&rest, ' ', &word))
			if (str_ieq(word, str_z(mechs[i].name)))
				return &mechs[i];
	}
	return NULL;
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
