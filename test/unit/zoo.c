/* The zoo: certificates that a host can show, made here, and what each must come to, under
 * STARTTLS and with TLS from the start. A GnuTLS host in a child shows them as they are. */
#include "zoobed.h"

enum shows {
	LEAF_ONLY,
	WITH_INTER,  /* whoever signed it, and who signed that, but the root */
	WITH_ROOT,   /* these and the root */
	DISORDER,    /* the root before the others */
	LEAF_SECOND, /* the one that signed comes first */
	LONG_CHAIN,
};
enum pin { NO_PIN, PIN, PIN_OTHER };
enum trust { TRUST_ROOTS, TRUST_SYSTEM, TRUST_LEAF };

static const struct row {
	const char *name;
	struct spec c;
	const char *host; /* NULL: HOST */
	const char *tls_name;
	enum shows shows;
	enum pin pin;
	enum trust trust;
	const char *refused; /* NULL: works; else a piece of the words */
} rows[] = {
	{ "good", { .dns = HOST, .by = ROOT }, .refused = NULL },
	{ "intermediate", { .dns = HOST, .by = INTER }, .shows = WITH_INTER },
	{ "the root, too", { .dns = HOST, .by = INTER }, .shows = WITH_ROOT },
	{ "in disorder", { .dns = HOST, .by = INTER }, .shows = DISORDER },
	{ "not the first",
	  { .dns = HOST, .by = INTER },
	  .shows = LEAF_SECOND,
	  .refused = "TLS handshake failed" },
	{ "intermediate missing",
	  { .dns = HOST, .by = INTER },
	  .refused = "CN=Inter, who issued it, is not trusted (tls-ca-file), and the "
	             "host does" },
	{ "chain too long",
	  { .dns = HOST },
	  .shows = LONG_CHAIN,
	  .refused = "is too long, or malformed" },

	{ "expired",
	  { .dns = HOST, .by = ROOT, .from = -30, .to = -2 },
	  .refused = "the certificate has expired on @-2 (today is @0)" },
	{ "not yet",
	  { .dns = HOST, .by = ROOT, .from = 2, .to = 30 },
	  .refused = "the certificate is not valid before @2 (today is @0)" },
	{ "forever", { .dns = HOST, .by = ROOT, .odd = FOREVER }, .refused = NULL },
	{ "intermediate expired",
	  { .dns = HOST, .by = INTER_EXPIRED },
	  .shows = WITH_INTER,
	  .refused = "the CA certificate of CN=Old inter has expired on @-3" },
	{ "intermediate not yet",
	  { .dns = HOST, .by = INTER_EARLY },
	  .shows = WITH_INTER,
	  .refused = "the CA certificate of CN=New inter is not valid before @3" },
	{ "expired, other name: the name",
	  { .dns = "a.example", .by = ROOT, .from = -30, .to = -2 },
	  .refused = "another name" },
	{ "expired, other name: the date",
	  { .dns = "a.example", .by = ROOT, .from = -30, .to = -2 },
	  .refused = "expired on @-2" },

	{ "other name: wanted",
	  { .dns = "a.example", .by = ROOT },
	  .refused = "this is " HOST },
	{ "other name: found",
	  { .dns = "a.example", .by = ROOT },
	  .refused = "is for a.example," },
	{ "CN only", { .cn = HOST, .by = ROOT }, .refused = NULL },
	{ "CN only, other",
	  { .cn = "a.example", .by = ROOT },
	  .refused = "is for CN=a.example," },
	{ "CN right, name wrong",
	  { .cn = HOST, .dns = "a.example", .by = ROOT },
	  .refused = "is for a.example," },
	{ "tls-name", { .dns = "a.example", .by = ROOT }, .tls_name = "a.example" },
	{ "tls-name, other",
	  { .dns = HOST, .by = ROOT },
	  .tls_name = "a.example",
	  .refused = "this is a.example" },
	{ "wildcard", { .dns = "*.zoo.example", .by = ROOT }, .refused = NULL },
	{ "wildcard, two labels",
	  { .dns = "*.zoo.example", .by = ROOT },
	  .host = "a.mx.zoo.example",
	  .refused = "another name" },
	{ "wildcard, no label",
	  { .dns = "*.mx.zoo.example", .by = ROOT },
	  .refused = "another name" },
	{ "wildcard in a part",
	  { .dns = "m*.zoo.example", .by = ROOT },
	  .refused = "another name" },
	{ "wildcard at the end", /* RFC 6125 6.4.3 */
	  { .dns = "*x.zoo.example", .by = ROOT },
	  .refused = NULL },
	{ "wildcard in the middle",
	  { .dns = "mx.*.example", .by = ROOT },
	  .refused = "another name" },
	{ "wildcard of a top level domain",
	  { .dns = "*.example", .by = ROOT },
	  .host = "zoo.example",
	  .refused = "another name" },
	{ "wildcard of all", { .dns = "*", .by = ROOT }, .refused = "another name" },
	{ "wildcard in CN", { .cn = "*.zoo.example", .by = ROOT }, .refused = NULL },
	{ "begins with a dot",
	  { .dns = ".zoo.example", .by = ROOT },
	  .refused = "another name" },
	{ "longer at the front",
	  { .dns = "x" HOST, .by = ROOT },
	  .refused = "another name" },
	{ "NUL", { .odd = NUL_DNS, .by = ROOT }, .refused = "\\x00.evil" },
	{ "NUL in CN", { .odd = NUL_CN, .by = ROOT }, .refused = "another name" },
	{ "hostile CN", { .odd = HOSTILE_CN, .by = ROOT }, .refused = "another name" },
	{ "a long name",
	  { .odd = LONG_NAME, .by = ROOT },
	  .refused = "for a name too long for DNS," },
	{ "upper case", { .dns = "MX.Zoo.EXAMPLE", .by = ROOT }, .refused = NULL },
	{ "upper case wanted", { .dns = HOST, .by = ROOT }, .host = "MX.Zoo.Example" },
	{ "dot wanted", { .dns = HOST, .by = ROOT }, .host = HOST "." },
	{ "dot at the end", { .dns = HOST ".", .by = ROOT }, .refused = "another name" },
	{ "underscore",
	  { .dns = "mx_1.zoo.example", .by = ROOT },
	  .host = "mx_1.zoo.example" },
	{ "IDN",
	  { .dns = "xn--bcher-kva.example", .by = ROOT },
	  .host = "xn--bcher-kva.example" },
	{ "IDN wanted",
	  { .dns = "xn--bcher-kva.example", .by = ROOT },
	  .host = "b\xc3\xbc"
	          "cher.example" },
	{ "IDN, other",
	  { .dns = "bcher.example", .by = ROOT },
	  .host = "xn--bcher-kva.example",
	  .refused = "another name" },
	{ "200 names, the last", { .odd = MANY_NAMES, .by = ROOT }, .refused = NULL },
	{ "200 names",
	  { .odd = MANY_OTHER_NAMES, .by = ROOT },
	  .refused = "and 197 more" },
	{ "no subject", { .dns = HOST, .by = ROOT, .no_dn = true }, .refused = NULL },
	{ "nobody", { .by = ROOT, .no_dn = true }, .refused = "is for nobody," },

	{ "address", { .ip = "127.0.0.1", .by = ROOT }, .host = "127.0.0.1" },
	{ "address literal", { .ip = "127.0.0.1", .by = ROOT }, .host = "[127.0.0.1]" },
	{ "other address",
	  { .ip = "127.0.0.2", .by = ROOT },
	  .host = "127.0.0.1",
	  .refused = "is for 127.0.0.2," },
	{ "address wanted, name found",
	  { .dns = HOST, .by = ROOT },
	  .host = "127.0.0.1",
	  .refused = "is for " HOST },
	{ "name wanted, address found",
	  { .ip = "127.0.0.1", .by = ROOT },
	  .refused = "is for 127.0.0.1," },
	{ "IPv6", { .ip = "2001:db8::1", .by = ROOT }, .host = "[IPv6:2001:DB8:0::1]" },
	{ "IPv6, other",
	  { .ip = "2001:db8::1", .by = ROOT },
	  .host = "2001:db8::2",
	  .refused = "is for 2001:db8::1," },

	{ "permitted", { .dns = HOST, .by = INTER_PERMITS }, .shows = WITH_INTER },
	{ "not permitted",
	  { .dns = "mx.a.example", .by = INTER_PERMITS },
	  .host = "mx.a.example",
	  .shows = WITH_INTER,
	  .refused = "may not issue it" },
	{ "excluded",
	  { .dns = HOST, .by = INTER_EXCLUDES },
	  .shows = WITH_INTER,
	  .refused = "may not issue it" },
	{ "not excluded",
	  { .dns = "mx.a.example", .by = INTER_EXCLUDES },
	  .host = "mx.a.example",
	  .shows = WITH_INTER },
	{ "for servers",
	  { .dns = HOST, .by = ROOT, .eku = GNUTLS_KP_TLS_WWW_SERVER },
	  .refused = NULL },
	{ "for all", { .dns = HOST, .by = ROOT, .eku = GNUTLS_KP_ANY }, .refused = NULL },
	{ "for clients",
	  { .dns = HOST, .by = ROOT, .eku = GNUTLS_KP_TLS_WWW_CLIENT },
	  .refused = "not for servers" },
	{ "for mail",
	  { .dns = HOST, .by = ROOT, .eku = GNUTLS_KP_EMAIL_PROTECTION },
	  .refused = "not for servers" },
	{ "its own CA", { .dns = HOST, .by = ROOT, .ca = true }, .refused = NULL },
	{ "by one that is no CA",
	  { .dns = HOST, .by = INTER_NO_CA },
	  .shows = WITH_INTER,
	  .refused = "issued by CN=Not a CA, which is no CA" },
	{ "below a short path", { .dns = HOST, .by = INTER_SHORT }, .shows = WITH_INTER },
	{ "path too long",
	  { .dns = HOST, .by = INTER_BELOW, .key = K_LEAF },
	  .shows = WITH_INTER,
	  .refused = "may not issue it" },
	{ "unknown, critical",
	  { .dns = HOST, .by = ROOT, .odd = CRITICAL_UNKNOWN },
	  .refused = "critical extension" },
	{ "broken",
	  { .dns = HOST, .by = ROOT, .odd = BROKEN },
	  .refused = "signature is wrong" },

	{ "RSA 1024",
	  { .dns = HOST, .by = ROOT, .key = K_RSA_WEAK },
	  .refused = "weak key: RSA of 1024 bits" },
	{ "RSA 2048", { .dns = HOST, .by = ROOT, .key = K_RSA }, .refused = NULL },
	{ "RSA-PSS", { .dns = HOST, .by = ROOT, .key = K_PSS }, .refused = NULL },
	{ "RSA root", { .dns = HOST, .by = RSA_ROOT }, .refused = NULL },
	{ "Ed25519", { .dns = HOST, .by = ROOT, .key = K_ED25519 }, .refused = NULL },
	{ "P-384",
	  { .dns = HOST, .by = ROOT, .key = K_P384, .digest = GNUTLS_DIG_SHA384 },
	  .refused = NULL },
	{ "SHA-1",
	  { .dns = HOST, .by = ROOT, .digest = GNUTLS_DIG_SHA1 },
	  .refused = "weak signature: ECDSA-SHA1" },
	{ "RSA, SHA-1",
	  { .dns = HOST, .by = RSA_ROOT, .digest = GNUTLS_DIG_SHA1 },
	  .refused = "weak signature: RSA-SHA1" },
	{ "MD5",
	  { .dns = HOST, .by = RSA_ROOT, .digest = GNUTLS_DIG_MD5 },
	  .refused = "weak signature: RSA-MD5" },

	{ "self-signed", { .dns = HOST }, .refused = "is self-signed" },
	{ "self-signed, a CA", { .dns = HOST, .ca = true }, .refused = "is self-signed" },
	{ "self-signed, trusted", { .dns = HOST }, .trust = TRUST_LEAF },
	{ "self-signed, trusted, other name",
	  { .dns = "a.example" },
	  .trust = TRUST_LEAF,
	  .refused = "another name" },
	{ "self-signed, trusted, expired",
	  { .dns = HOST, .from = -9, .to = -2 },
	  .trust = TRUST_LEAF,
	  .refused = "expired on @-2" },
	{ "other CA",
	  { .dns = HOST, .by = OTHER },
	  .refused = "CN=Other root, who issued it, is not trusted" },
	{ "other CA, shown",
	  { .dns = HOST, .by = OTHER },
	  .shows = WITH_ROOT,
	  .refused = "CN=Other root, the last that the host shows, is not trusted" },
	{ "the system's CAs",
	  { .dns = HOST, .by = ROOT },
	  .trust = TRUST_SYSTEM,
	  .refused = "is not trusted" },

	{ "pin, self-signed", { .dns = HOST }, .pin = PIN },
	{ "pin, expired", { .dns = HOST, .from = -9, .to = -2 }, .pin = PIN },
	{ "pin, not yet", { .dns = HOST, .from = 9, .to = 20 }, .pin = PIN },
	{ "pin, other name", { .dns = "a.example", .by = OTHER }, .pin = PIN },
	{ "pin, weak", { .dns = HOST, .key = K_RSA_WEAK }, .pin = PIN },
	{ "other pin",
	  { .dns = HOST, .by = ROOT },
	  .pin = PIN_OTHER,
	  .refused = "the public key is none of tls-pin; it is sha256:" },
	{ "pin of the CA",
	  { .dns = HOST, .by = INTER, .key = K_LEAF },
	  .shows = WITH_INTER,
	  .pin = PIN_OTHER,
	  .refused = "none of tls-pin" },
};

/* ---- The visit ---- */

/* "@-2" in words becomes the date two days ago. */
static void words_wanted(const char *words, int64_t now, struct buf *b)
{
	for (; *words; words++) {
		char *end = NULL;
		char date[16];
		struct tm tm;
		time_t t;

		if (*words != '@') {
			buf_c(b, *words);
			continue;
		}
		t = (time_t)(now + strtol(words + 1, &end, 10) * DAY);
		gmtime_r(&t, &tm);
		strftime(date, sizeof(date), "%Y-%m-%d", &tm);
		buf_z(b, date);
		words = end - 1;
	}
}

static bool words_fit(struct str words, const char *wanted, int64_t now)
{
	_cleanup_buf_ struct buf want = BUF_INIT;

	words_wanted(wanted, now, &want);
	for (size_t i = 0; i < words.n; i++)
		if (words.p[i] < ' ' || words.p[i] > '~')
			return false;
	return memmem(words.p, words.n, want.p, want.n) != NULL;
}

static pid_t host_start(const struct host *h, struct sockaddr_in *ret)
{
	int listener = listen_local(ret);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		host_talk(h, accept(listener, NULL, NULL));
	}
	close(listener);
	return pid;
}

/* refused: NULL, or a piece of the words. Says what is not as it should be; how many. */
static int visit(const char *name, const struct host *h, struct client_conf *conf,
                 const char *refused, int64_t now)
{
	struct sockaddr_in to;
	struct verdict v = { .kind = VERDICT_HOST };
	const char *why = "?";
	struct client *c;
	pid_t pid = host_start(h, &to);
	int e, status, bad;

	conf->tls = h->starttls ? CLIENT_TLS_STARTTLS : CLIENT_TLS_IMPLICIT;
	conf->helo = STR("box.example");
	conf->timeout_scale = 50;
	conf->cancel_fd = -1;
	c = client_new(conf, &why);
	if (!c)
		fail_msg("%s: %s", name, why);
	e = client_open(c, (struct sockaddr *)&to, sizeof(to), &v);
	client_free(c);
	waitpid(pid, &status, 0);
	bad = (e < 0) != (refused != NULL) || status != (refused ? 2 << 8 : 0) ||
	      (refused &&
	       (v.kind != VERDICT_HOST || !words_fit(buf_view(&v.text), refused, now)));
	if (bad || getenv("ZOO_WORDS"))
		print_error("%s: %s (the host: %x)\n", name, e < 0 ? v.text.p : "works",
		            (unsigned)status);
	buf_free(&v.text);
	return bad;
}

static void host_shows(const struct zoo *z, const struct row *t, gnutls_x509_crt_t leaf,
                       struct host *h)
{
	int by = t->c.by;

	if (t->shows == LEAF_SECOND)
		h->crt[h->n++] = z->ca[by];
	h->crt[h->n++] = leaf;
	if (t->shows == LEAF_ONLY || t->shows == LEAF_SECOND)
		return;
	if (t->shows == DISORDER)
		h->crt[h->n++] = z->ca[ROOT];
	for (int i = CHAIN_LONG - 1; t->shows == LONG_CHAIN && i >= 0; i--)
		h->crt[h->n++] = z->longer[i];
	for (; by != SELF && (ca_specs[by].by != SELF || t->shows == WITH_ROOT);
	     by = ca_specs[by].by)
		h->crt[h->n++] = z->ca[by];
}

static int run_row(const struct zoo *z, const struct row *t, bool starttls)
{
	bool longest = t->shows == LONG_CHAIN;
	int by = t->c.by;
	gnutls_x509_crt_t leaf =
	    crt_make(z, &t->c, longest ? z->longer[CHAIN_LONG - 1] : z->ca[by],
	             longest ? K_ROOT : ca_specs[by].key);
	struct host h = { .priority = "NORMAL:%PROFILE_VERY_WEAK",
		          .key = z->key[t->c.key],
		          .starttls = starttls };
	struct client_conf conf = { .host = str_z(t->host ? t->host : HOST),
		                    .tls_name = str_z(t->tls_name),
		                    .tls_verify = true };
	_cleanup_buf_ struct buf own = BUF_INIT, pin = BUF_INIT, name = BUF_INIT;
	unsigned char hash[32];
	size_t n = sizeof(hash);
	int bad;

	buf_fmt(&name, "%s, %s", t->name, starttls ? "STARTTLS" : "implicit");
	host_shows(z, t, leaf, &h);
	add_pem(&own, leaf);
	if (t->trust != TRUST_SYSTEM)
		conf.tls_ca = buf_view(t->trust == TRUST_LEAF ? &own : &z->roots);
	OK(gnutls_x509_crt_get_key_id(t->pin == PIN ? leaf : z->ca[INTER],
	                              GNUTLS_KEYID_USE_SHA256, hash, &n));
	buf_z(&pin, "sha256:");
	for (size_t i = 0; i < n; i++)
		buf_fmt(&pin, "%02x", hash[i]);
	if (t->pin)
		strv_add(&conf.tls_pin, buf_view(&pin));
	bad = visit(name.p, &h, &conf, t->refused, z->now);
	strv_free(&conf.tls_pin);
	gnutls_x509_crt_deinit(leaf);
	return bad;
}

static void test_certificates(void **state)
{
	const struct zoo *z = *state;
	int bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int starttls = 0; starttls < 2; starttls++)
			bad += run_row(z, &rows[i], starttls);
	assert_int_equal(bad, 0);
}

/* ---- What the host's TLS can do ---- */

static void test_protocols(void **state)
{
	static const struct spec good = { .dns = HOST, .by = ROOT };
	static const struct {
		const char *name, *priority, *refused;
		bool asks, clear, hangs_up;
	} protocols[] = {
		{ "TLS 1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.2", .refused = NULL },
		{ "TLS 1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.3", .refused = NULL },
		{ "TLS 1.1", "NORMAL:-VERS-ALL:+VERS-TLS1.1:%VERIFY_ALLOW_SIGN_WITH_SHA1",
		  .refused = "no version of TLS that tls-priority allows (1.2 and 1.3 by "
		             "default)" },
		{ "TLS 1.0", "NORMAL:-VERS-ALL:+VERS-TLS1.0:%VERIFY_ALLOW_SIGN_WITH_SHA1",
		  .refused = "no version of TLS that tls-priority allows" },
		{ "3DES", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+3DES-CBC",
		  .refused = "no cipher or key that tls-priority allows" },
		{ "NULL", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+NULL",
		  .refused = "no cipher or key that tls-priority allows" },
		{ "wants ours, 1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.3",
		  .refused = "the host wants a certificate (tls-certificate)",
		  .asks = true },
		{ "wants ours, 1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.2",
		  .refused = "it asked for a tls-certificate, and got none",
		  .asks = true },
		{ "no TLS at all", "NORMAL",
		  .refused = "does the host speak TLS on this port?", .clear = true },
		{ "hangs up", "NORMAL",
		  .refused = "TLS handshake failed: the host hung up", .hangs_up = true },
	};
	const struct zoo *z = *state;
	int bad = 0;
	gnutls_x509_crt_t leaf = crt_make(z, &good, z->ca[ROOT], K_ROOT);

	for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
		for (int starttls = 0; starttls < 2; starttls++) {
			struct host h = { .priority = protocols[i].priority,
				          .crt = { leaf },
				          .n = 1,
				          .key = z->key[K_LEAF],
				          .starttls = starttls,
				          .asks = protocols[i].asks,
				          .talks_clear = protocols[i].clear,
				          .hangs_up = protocols[i].hangs_up };
			struct client_conf conf = { .host = STR(HOST),
				                    .tls_verify = true,
				                    .tls_ca = buf_view(&z->roots) };

			bad += visit(protocols[i].name, &h, &conf, protocols[i].refused,
			             z->now);
		}
	}
	gnutls_x509_crt_deinit(leaf);
	assert_int_equal(bad, 0);
}

/* A machine without a battery begins in 1970. */
static void test_clock(void **state)
{
	static const struct spec good = { .dns = HOST, .by = ROOT };
	const struct zoo *z = *state;
	gnutls_x509_crt_t leaf = crt_make(z, &good, z->ca[ROOT], K_ROOT);
	struct tls_shown shown = { .name = HOST,
		                   .n = 1,
		                   .status =
		                       GNUTLS_CERT_INVALID | GNUTLS_CERT_NOT_ACTIVATED };
	_cleanup_buf_ struct buf b = BUF_INIT, want = BUF_INIT;
	gnutls_datum_t der;

	OK(gnutls_x509_crt_export2(leaf, GNUTLS_X509_FMT_DER, &der));
	shown.chain = &der;
	tls_words_certificate(&shown, &b);
	words_wanted(
	    "the certificate is not valid before @-100 (today is 1970-01-01): this "
	    "machine's clock is wrong",
	    z->now, &want);
	if (!strstr(b.p, want.p))
		fail_msg("%s", b.p);
	buf_reset(&b);
	shown.now = z->now - 200 * DAY;
	tls_words_certificate(&shown, &b);
	if (!strstr(b.p, "not valid before") || strstr(b.p, "clock"))
		fail_msg("%s", b.p);
	gnutls_free(der.data);
	gnutls_x509_crt_deinit(leaf);
}

static int open_zoo(void **state)
{
	static struct zoo z;

	zoo_open(&z);
	*state = &z;
	return 0;
}

static int close_zoo(void **state)
{
	zoo_close(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, open_zoo, close_zoo);
}
