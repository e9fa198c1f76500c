/* The host's side of a login: the first byte says which mechanism, the second how we are set up,
 * then come the challenges, one a line. Whatever comes: no mechanism goes on for ever, says more
 * than is due, or believes a host that has not shown the one right proof. */
#include "../../src/smtp/auth.h"
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The challenges of RFC 5802's and 7677's examples go on from these. */
static const char *const nonces[] = { "fyko+d2lbbFgONRv9qkxdawL",
	                              "rOprNGfwEbeRWgbNEkqO" };
static const char *const names[] = {
	"scram-sha-256-plus", "scram-sha-256", "scram-sha-1-plus",
	"scram-sha-1",        "plain",         "login",
	"cram-md5",           "oauthbearer",   "xoauth2",
	"external",
};
#define OFFERED                                                                      \
	"SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN " \
	"CRAM-MD5 "                                                                  \
	"OAUTHBEARER XOAUTH2 EXTERNAL"

enum { IN_MAX = 8192, SAID_MAX = 65536 };

/* Each iteration takes time: only few are done here. */
static bool is_slow(struct str s)
{
	for (size_t i = 0; i + 2 < s.n; i++) {
		uint64_t n = 0;
		size_t k = i + 2;

		if (s.p[i] != 'i' || s.p[i + 1] != '=')
			continue;
		while (k < s.n && s.p[k] >= '0' && s.p[k] <= '9' &&
		       n <= AUTH_ITERATIONS_MAX)
			n = n * 10 + (uint64_t)(s.p[k++] - '0');
		if (n > AUTH_ITERATIONS_MIN && n <= AUTH_ITERATIONS_MAX)
			return true;
	}
	return false;
}

static void live(const struct auth_mech *m, const struct auth_creds *creds, struct str in)
{
	struct str line = STR("");
	struct auth a;
	unsigned rounds = 0;
	int e = 0;

	auth_init(&a, m, creds);
	for (;;) {
		_cleanup_buf_ struct buf said = BUF_INIT;

		e = auth_answer(&a, line, &said);
		if (said.n > SAID_MAX || ++rounds > AUTH_ROUNDS_MAX + 1)
			abort();
		if (e < 0 && a.why[0] == '\0')
			abort();
		if (e < 0 || !str_cut(&in, '\n', &line))
			break;
	}
	/* The example's own, or one that this input cannot hold by chance. */
	if (m->mutual && auth_accept(&a) && (!a.verified || rounds < 3))
		abort();
	if (a.stopped != (e == -ECONNREFUSED))
		abort();
	auth_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct auth_choice c = { .offered = STR(OFFERED), .safe = true, .binding = true };
	struct auth_creds creds = { .user = STR("user"), .password = STR("pencil") };
	const struct auth_mech *m;
	struct str in;

	if (size < 2 || size > IN_MAX)
		return 0;
	in = (struct str){ (const char *)data + 2, size - 2 };
	/* The list of mechanisms is the host's, too. */
	for (m = NULL;
	     m = auth_pick(&(struct auth_choice){ .offered = in, .safe = true }, m), m;)
		;
	(void)auth_offers_binding(in);
	if (is_slow(in))
		return 0;
	c.only = str_z(names[data[0] % ARRAY_LEN(names)]);
	m = auth_pick(&c, NULL);
	if (!m)
		abort();
	creds.nonce = str_z(nonces[data[1] & 1]);
	creds.plus = data[1] & 2;
	if (m->binding || data[1] & 4) {
		creds.binding = STR("0123456789ab");
		creds.binding_name = STR("tls-unique");
	}
	live(m, &creds, in);
	return 0;
}
