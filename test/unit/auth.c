/* SASL mechanisms: the RFCs' vectors, refusals, and which one is chosen */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>

#include "smtp/auth.h"

enum { STEPS_MAX = 5 };

static const struct auth_mech *mech(const char *name, bool binding)
{
	_cleanup_buf_ struct buf word = BUF_INIT;
	struct auth_choice c = { .offered = str_z(name),
		                 .safe = true,
		                 .binding = binding };

	buf_z(&word, name);
	for (size_t i = 0; i < word.n; i++)
		word.p[i] = ascii_lower(word.p[i]);
	c.only = buf_view(&word);
	return auth_pick(&c, NULL);
}

#define NONCE_1 "fyko+d2lbbFgONRv9qkxdawL"
#define FIRST_1 "n,,n=user,r=" NONCE_1
#define SERVER_1 "r=" NONCE_1 "3rfcNHYJY1ZVvWVs7j"
#define SALT_1 ",s=QSXCR+Q6sek8bf92"
#define FINAL_1 "c=biws," SERVER_1 ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
#define NONCE_256 "rOprNGfwEbeRWgbNEkqO"
#define SERVER_256 "r=" NONCE_256 "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define TOKEN "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
#define BAD_TOKEN "{\"status\":\"invalid_token\"}"

/* in: the host's challenges from the first on; out: our answers, one more; or !why. */
static const struct row {
	const char *name, *mech, *user, *password, *nonce;
	const char *binding, *binding_name;
	bool plus;
	int error;
	const char *out[STEPS_MAX], *in[STEPS_MAX];
	bool unproved;   /* at the end nothing of the password was given */
	bool unaccepted; /* a yes of the host would not be believed then */
	const char *said;
} rows[] = {
	{ "RFC 4616", "PLAIN", "tim", "tanstaaftanstaaf",
	  .out = { "\\x00tim\\x00tanstaaftanstaaf" } },
	{ "PLAIN asked on", "PLAIN", "u", "p", .error = -EPROTO, .in = { "what?" },
	  .out = { "\\x00u\\x00p", "!more than there is" } },
	{ "LOGIN", "LOGIN", "eddy", "pass word", .in = { "Password:" },
	  .out = { "eddy", "pass word" } },
	{ "LOGIN asked on", "LOGIN", "u", "p", .error = -EPROTO, .in = { "a", "b" },
	  .out = { "u", "p", "!more than there is" } },
	{ "RFC 5802", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
	  .out = { FIRST_1, FINAL_1, "" } },
	{ "RFC 7677", "SCRAM-SHA-256", "user", "pencil", NONCE_256,
	  .in = { SERVER_256 ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	          "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
	  .out = { "n,,n=user,r=" NONCE_256,
	           "c=biws," SERVER_256 ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	           "" } },
	{ "extensions behind", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096,x=y", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=,z=1" },
	  .error = -EPROTO, .unaccepted = true,
	  .out = { FIRST_1, "c=biws," SERVER_1 ",p=gFDIAMYbdy33TxcEYV+GYzRIMJg=",
	           "!cannot prove" } },
	{ "final message, extended", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=,x=1" },
	  .out = { FIRST_1, FINAL_1, "" } },
	{ "another host's proof", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKA=" },
	  .error = -EPROTO, .unaccepted = true,
	  .out = { FIRST_1, FINAL_1, "!cannot prove that it knows the password" } },
	{ "short proof", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096", "v=rmF9" }, .error = -EPROTO,
	  .unaccepted = true, .out = { FIRST_1, FINAL_1, "!cannot prove" } },
	{ "empty proof", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096", "v=" }, .error = -EPROTO, .unaccepted = true,
	  .out = { FIRST_1, FINAL_1, "!cannot prove" } },
	{ "no final message", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .unaccepted = true, .in = { SERVER_1 SALT_1 ",i=4096" },
	  .out = { FIRST_1, FINAL_1 } },
	{ "a yes at once", "SCRAM-SHA-1", "user", "pencil", NONCE_1, .unaccepted = true,
	  .unproved = true, .out = { FIRST_1 } },
	{ "refused at the end", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096", "e=invalid-proof" }, .error = -ECONNREFUSED,
	  .unaccepted = true, .said = "invalid-proof",
	  .out = { FIRST_1, FINAL_1, "!refuses the login" } },
	{ "refused at the beginning", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { "e=unknown-user" }, .error = -ECONNREFUSED, .unproved = true,
	  .unaccepted = true, .said = "unknown-user",
	  .out = { FIRST_1, "!refuses the login" } },
	{ "asked a fourth time", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", "v=x" },
	  .error = -EPROTO, .out = { FIRST_1, FINAL_1, "", "!more than there is" } },
	{ "too few iterations", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4095" }, .error = -EPROTO, .unproved = true,
	  .unaccepted = true, .out = { FIRST_1, "!fewer than 4096" } },
	{ "too many iterations", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=600001" }, .error = -EPROTO, .unproved = true,
	  .unaccepted = true, .out = { FIRST_1, "!more than 600000" } },
	{ "endless iterations", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=99999999999999999999" }, .error = -EPROTO,
	  .unproved = true, .unaccepted = true, .out = { FIRST_1, "!malformed" } },
	{ "our nonce alone", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { "r=" NONCE_1 SALT_1 ",i=4096" }, .error = -EPROTO, .unproved = true,
	  .unaccepted = true, .out = { FIRST_1, "!does not go on from ours" } },
	{ "another nonce", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { "r=x" NONCE_1 "y" SALT_1 ",i=4096" }, .error = -EPROTO,
	  .unproved = true, .unaccepted = true,
	  .out = { FIRST_1, "!does not go on from ours" } },
	{ "a nonce with an octet that none has", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { "r=" NONCE_1 "\x01" SALT_1 ",i=4096" }, .error = -EPROTO,
	  .unproved = true, .unaccepted = true,
	  .out = { FIRST_1, "!nonce is malformed" } },
	{ "no salt", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 ",s=,i=4096" }, .error = -EPROTO, .unproved = true,
	  .unaccepted = true, .out = { FIRST_1, "!salt" } },
	{ "salt that is no base64", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { SERVER_1 ",s=*,i=4096" }, .error = -EPROTO, .unproved = true,
	  .unaccepted = true, .out = { FIRST_1, "!salt" } },
	{ "an extension that must be known", "SCRAM-SHA-1", "user", "pencil", NONCE_1,
	  .in = { "m=x," SERVER_1 SALT_1 ",i=4096" }, .error = -EPROTO, .unproved = true,
	  .unaccepted = true, .out = { FIRST_1, "!malformed" } },
	{ "empty challenge", "SCRAM-SHA-1", "user", "pencil", NONCE_1, .in = { "" },
	  .error = -EPROTO, .unproved = true, .unaccepted = true,
	  .out = { FIRST_1, "!malformed" } },
	{ "names with = and ,", "SCRAM-SHA-1", "a=b,c", "x", "N", .unproved = true,
	  .unaccepted = true, .out = { "n,,n=a=3Db=2Cc,r=N" } },
	{ "a name that is no UTF-8", "SCRAM-SHA-1", "a\xff", "x", "N", .error = -EINVAL,
	  .unproved = true, .unaccepted = true, .out = { "!user cannot be written" } },
	{ "a password that is no UTF-8", "SCRAM-SHA-1", "user", "a\xff", NONCE_1,
	  .error = -EINVAL, .unproved = true, .unaccepted = true,
	  .out = { "!password cannot be written" } },
	{ "a password with a tab", "SCRAM-SHA-256", "user", "a\tb", NONCE_256,
	  .error = -EINVAL, .unproved = true, .unaccepted = true,
	  .out = { "!password cannot be written" } },
	/* Two ways to write the same letter give the same proof. */
	{ "w\xc3\xb6rd, composed", "SCRAM-SHA-1", "user", "w\xc3\xb6rd", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096" }, .unaccepted = true,
	  .out = { FIRST_1, "c=biws," SERVER_1 ",p=z73qpBMj/0Gy04EfX4/i9rpBnqw=" } },
	{ "w\xc3\xb6rd, decomposed", "SCRAM-SHA-1", "user", "wo\xcc\x88rd", NONCE_1,
	  .in = { SERVER_1 SALT_1 ",i=4096" }, .unaccepted = true,
	  .out = { FIRST_1, "c=biws," SERVER_1 ",p=z73qpBMj/0Gy04EfX4/i9rpBnqw=" } },
	{ "binding not offered", "SCRAM-SHA-1", "user", "pencil", "N", "data",
	  "tls-exporter", .unproved = true, .unaccepted = true,
	  .out = { "y,,n=user,r=N" } },
	{ "binding offered, not wanted", "SCRAM-SHA-1", "user", "pencil", "N", "data",
	  "tls-exporter", .plus = true, .unproved = true, .unaccepted = true,
	  .out = { "n,,n=user,r=N" } },
	{ "bound", "SCRAM-SHA-1-PLUS", "user", "pencil", NONCE_1, "data", "tls-exporter",
	  .plus = true, .unaccepted = true, .in = { SERVER_1 SALT_1 ",i=4096" },
	  .out = { "p=tls-exporter,,n=user,r=" NONCE_1,
	           "c=cD10bHMtZXhwb3J0ZXIsLGRhdGE=," SERVER_1
	           ",p=QMZKLLMWxhhq92wnDtA9UGrS5xk=" } },
	{ "RFC 2195", "CRAM-MD5", "tim", "tanstaaftanstaaf", .unproved = true,
	  .in = { "" }, .out = { "!challenge is empty" }, .error = -EPROTO },
	{ "EXTERNAL", "EXTERNAL", "", "", .out = { "" } },
	{ "EXTERNAL as somebody", "EXTERNAL", "eddy", "", .out = { "eddy" } },
	{ "EXTERNAL asked on", "EXTERNAL", "eddy", "", .error = -EPROTO, .in = { "x" },
	  .out = { "eddy", "!more than there is" } },
	{ "RFC 7628", "OAUTHBEARER", "user@example.com", TOKEN,
	  .out = { "n,a=user@example.com,\\x01host=server.example.com\\x01port=143"
	           "\\x01auth=Bearer " TOKEN "\\x01\\x01" } },
	{ "OAUTHBEARER refused", "OAUTHBEARER", "user@example.com", TOKEN,
	  .in = { BAD_TOKEN }, .said = BAD_TOKEN,
	  .out = { "n,a=user@example.com,\\x01host=server.example.com\\x01port=143"
	           "\\x01auth=Bearer " TOKEN "\\x01\\x01",
	           "\\x01" } },
	{ "XOAUTH2", "XOAUTH2", "someuser@example.com", "ya29." TOKEN,
	  .out = { "user=someuser@example.com\\x01auth=Bearer ya29." TOKEN
	           "\\x01\\x01" } },
	{ "XOAUTH2 refused", "XOAUTH2", "u", "t", .in = { "{\"status\":\"401\"}" },
	  .said = "{\"status\":\"401\"}",
	  .out = { "user=u\\x01auth=Bearer t\\x01\\x01", "" } },
	{ "XOAUTH2 refused for ever", "XOAUTH2", "u", "t", .error = -EPROTO,
	  .in = { "no", "no" }, .said = "no",
	  .out = { "user=u\\x01auth=Bearer t\\x01\\x01", "", "!more than there is" } },
	{ "a token of two words", "XOAUTH2", "u", "t t", .error = -EINVAL,
	  .unproved = true, .out = { "!the token has a blank" } },
	{ "no token", "OAUTHBEARER", "u", "", .error = -EINVAL, .unproved = true,
	  .out = { "!the token has a blank" } },
};

#define ROW_FAILS(...)                        \
	do {                                  \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr);          \
		return false;                 \
	} while (0)

static bool dialogue(const struct row *t, struct auth *a)
{
	int e = 0;

	for (size_t i = 0; i < STEPS_MAX && t->out[i]; i++) {
		_cleanup_buf_ struct buf ret = BUF_INIT, shown = BUF_INIT;

		if (e < 0)
			ROW_FAILS("%s: %d too early: %s", t->name, e, a->why);
		e = auth_answer(a, str_z(i ? t->in[i - 1] : ""), &ret);
		buf_escape(&shown, buf_view(&ret), ret.n);
		if (t->out[i][0] == '!' && e < 0 && strstr(a->why, t->out[i] + 1))
			continue;
		if (e < 0 || !str_eq(buf_view(&shown), str_z(t->out[i])))
			ROW_FAILS("%s: step %zu: %d %s; %s", t->name, i, e,
			          shown.n ? shown.p : "", a->why);
	}
	if (e != t->error)
		ROW_FAILS("%s: ended with %d", t->name, e);
	if (a->proved == t->unproved || auth_accept(a) == t->unaccepted)
		ROW_FAILS("%s: proved %d, accepted %d", t->name, a->proved,
		          auth_accept(a));
	if (!str_eq(buf_view(&a->said), str_z(t->said)))
		ROW_FAILS("%s: the host said %s", t->name, a->said.p);
	return true;
}

static void test_dialogues(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *t = &rows[i];
		const struct auth_creds creds = { .user = str_z(t->user),
			                          .password = str_z(t->password),
			                          .host = STR("server.example.com"),
			                          .port = 143,
			                          .nonce = str_z(t->nonce),
			                          .binding = str_z(t->binding),
			                          .binding_name = str_z(t->binding_name),
			                          .plus = t->plus };
		struct auth a;

		auth_init(&a, mech(t->mech, t->binding != NULL), &creds);
		assert_non_null(a.mech);
		bad += !dialogue(t, &a);
		auth_free(&a);
	}
	assert_int_equal(bad, 0);
}

/* RFC 2195 2: the challenge comes before the first answer. */
static void test_cram(void **state)
{
	const struct auth_creds creds = { .user = STR("tim"),
		                          .password = STR("tanstaaftanstaaf") };
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct auth a;

	(void)state;
	auth_init(&a, mech("CRAM-MD5", false), &creds);
	assert_int_equal(
	    auth_answer(&a, STR("<1896.697170952@postoffice.reston.mci.net>"), &b), 0);
	assert_string_equal(b.p, "tim b913a602c7eda7a495b4e6e7334d3890");
	assert_int_equal(auth_answer(&a, STR("<x>"), &b), -EPROTO);
	auth_free(&a);
}

/* PLAIN cannot carry a NUL, whoever wrote it. */
static void test_nul(void **state)
{
	const struct auth_creds creds = { .user = STR("u"), .password = STR("a\0b") };
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct auth a;

	(void)state;
	auth_init(&a, mech("PLAIN", false), &creds);
	assert_int_equal(auth_answer(&a, STR(""), &b), -EINVAL);
	assert_false(a.proved);
	auth_free(&a);
}

static const struct shows_row {
	const char *text, *secret;
	size_t least;
	bool want;
} shown[] = {
	{ "", "", 8, false },
	{ "text", "", 8, false },
	{ "", "secret", 8, false },
	{ "a secret.", "secret", 8, true },
	{ "a secre.", "secret", 8, false },
	{ "the long-secret is", "a-long-secret-word", 8, true },
	{ "the long-se is", "a-long-secret-word", 8, false },
	{ "secret-w", "a-long-secret-word", 8, true },
	{ "ecret-w", "a-long-secret-word", 8, false },
	{ "secre.t-word, secret-", "a-long-secret-word", 8, false },
	{ "secre.secret-word", "a-long-secret-word", 8, true },
};

static void test_shows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shown); i++)
		if (auth_shows(str_z(shown[i].text), str_z(shown[i].secret),
		               shown[i].least) != shown[i].want)
			fail_msg("%s, %s", shown[i].text, shown[i].secret);
}

/* Without a nonce of the test's each login has its own. */
static void test_nonce(void **state)
{
	const struct auth_creds creds = { .user = STR("u"), .password = STR("p") };
	_cleanup_buf_ struct buf one = BUF_INIT, other = BUF_INIT;
	struct auth a;

	(void)state;
	for (int i = 0; i < 2; i++) {
		auth_init(&a, mech("SCRAM-SHA-256", false), &creds);
		assert_int_equal(auth_answer(&a, STR(""), i ? &other : &one), 0);
		auth_free(&a);
	}
	assert_int_equal(one.n, 9 - 1 + 24 + 1);
	assert_string_not_equal(one.p, other.p);
}

#define SCRAMS "SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-256"
#define ALL "LOGIN PLAIN CRAM-MD5 " SCRAMS " EXTERNAL XOAUTH2 OAUTHBEARER NTLM"

/* want: the mechanisms in the order in which they would be tried. */
static const struct choice_row {
	const char *name, *offered, *only;
	enum auth_proof proof;
	bool safe, verified, binding;
	const char *want;
} choices[] = {
	{ "all, under TLS", ALL, "", AUTH_PASSWORD, true, true, true,
	  "scram-sha-256-plus scram-sha-256 scram-sha-1-plus scram-sha-1 plain login "
	  "cram-md5" },
	{ "no channel binding", ALL, "auto", AUTH_PASSWORD, true, true, false,
	  "scram-sha-256 scram-sha-1 plain login cram-md5" },
	{ "TLS with anybody", ALL, "", AUTH_PASSWORD, true, false, false,
	  "scram-sha-256 scram-sha-1 cram-md5 plain login" },
	{ "no TLS", ALL, "", AUTH_PASSWORD, false, false, false,
	  "scram-sha-256 scram-sha-1 cram-md5" },
	{ "no TLS, nothing but plain", "PLAIN LOGIN", "", AUTH_PASSWORD, false, false,
	  false, "" },
	{ "no TLS, token", ALL, "", AUTH_TOKEN, false, false, false, "" },
	{ "token", ALL, "", AUTH_TOKEN, true, true, true, "oauthbearer xoauth2" },
	{ "certificate", ALL, "", AUTH_CERTIFICATE, true, true, true, "external" },
	{ "pinned", ALL, "login", AUTH_PASSWORD, true, true, true, "login" },
	{ "pinned, without binding", ALL, "scram-sha-256", AUTH_PASSWORD, true, true,
	  true, "scram-sha-256" },
	{ "pinned, not safe", ALL, "plain", AUTH_PASSWORD, false, false, false, "" },
	{ "pinned, not offered", "PLAIN", "login", AUTH_PASSWORD, true, true, true, "" },
	{ "pinned external, with a password", ALL, "external", AUTH_PASSWORD, true, true,
	  true, "external" },
	{ "case", "login plain", "", AUTH_PASSWORD, true, true, true, "plain login" },
	{ "none of ours", "NTLM GSSAPI DIGEST-MD5", "", AUTH_PASSWORD, true, true, true,
	  "" },
	{ "nothing", "", "", AUTH_PASSWORD, true, true, true, "" },
	{ "parts of names", "PLAI PLAINX SCRAM-SHA-", "", AUTH_PASSWORD, true, true, true,
	  "" },
};

static void test_choice(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
		const struct choice_row *t = &choices[i];
		const struct auth_choice c = { .offered = str_z(t->offered),
			                       .only = str_z(t->only),
			                       .proof = t->proof,
			                       .safe = t->safe,
			                       .verified = t->verified,
			                       .binding = t->binding };
		_cleanup_buf_ struct buf got = BUF_INIT;

		for (const struct auth_mech *m = NULL; m = auth_pick(&c, m), m;)
			buf_fmt(&got, "%s%s", got.n ? " " : "", m->word);
		if (str_eq(buf_view(&got), str_z(t->want)))
			continue;
		bad++;
		fprintf(stderr, "%s: %s\n", t->name, got.n ? got.p : "");
	}
	assert_int_equal(bad, 0);
	{
		/* Those that are known to be refused; the numbers are in files. */
		const struct auth_choice c = {
			.offered = STR(ALL), .safe = true, .verified = true, .vain = 2 | 8
		};
		_cleanup_buf_ struct buf words = BUF_INIT;

		assert_string_equal(auth_pick(&c, NULL)->word, "plain");
		auth_words(c.vain, &words);
		assert_string_equal(words.p, "scram-sha-256,scram-sha-1");
	}
	assert_true(auth_offers_binding(STR("PLAIN SCRAM-SHA-1-PLUS")));
	assert_false(auth_offers_binding(STR("PLAIN SCRAM-SHA-1")));
}

/* RFC 4648 10, and what is not base64. */
static void test_base64(void **state)
{
	static const char *const pair[][2] = { { "", "" },
		                               { "f", "Zg==" },
		                               { "fo", "Zm8=" },
		                               { "foo", "Zm9v" },
		                               { "foob", "Zm9vYg==" },
		                               { "fooba", "Zm9vYmE=" },
		                               { "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Z",      "Zg=",    "Zg",       "=",
		                           "Z===",   "====",   "Zg==Zg==", "Zm 9v",
		                           "Zm9v\n", "Z\x80gg" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pair); i++) {
		_cleanup_buf_ struct buf to = BUF_INIT, from = BUF_INIT;

		auth_base64(&to, str_z(pair[i][0]));
		assert_true(str_eq(buf_view(&to), str_z(pair[i][1])));
		assert_int_equal(auth_unbase64(&from, str_z(pair[i][1])), 0);
		assert_true(str_eq(buf_view(&from), str_z(pair[i][0])));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_buf_ struct buf from = BUF_INIT;

		if (auth_unbase64(&from, str_z(bad[i])) != -EBADMSG || from.n)
			fail_msg("%s was taken for base64", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues), cmocka_unit_test(test_cram),
		cmocka_unit_test(test_nul),       cmocka_unit_test(test_nonce),
		cmocka_unit_test(test_shows),     cmocka_unit_test(test_choice),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
