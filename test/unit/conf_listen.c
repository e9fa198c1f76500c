/* Where mail is taken (listen), and how a smart host is spoken to. */
#include "confbed.h"

#define H "smarthost isp { }\n"
#define S(keys) "smarthost isp {\n" keys " }\n"
#define L(at, keys) H "listen \"" at "\" {\n" keys " }\n"
#define TCP(keys) L("127.0.0.1:25", keys)
#define CERT "tls-certificate = \"@/ca\" tls-key = \"@/pw\"\n"

/* want: how an error goes on behind the file's name. */
static const struct {
	const char *name, *in, *want;
} bad[] = {
	{ "no place", L("x", ""), "or unix:/run/mailchute-smtpd/smtp\n" },
	{ "no port", L("127.0.0.1", ""),
	  ":2: listen \"127.0.0.1\" is no place to listen; it would look like 127" },
	{ "port 0", L("127.0.0.1:0", ""), "is no place to listen" },
	{ "port large", L("127.0.0.1:65536", ""), "is no place to listen" },
	{ "port name", L(":smtp", ""), "is no place to listen" },
	{ "empty title", L("", ""), "is no place to listen" },
	{ "host name", L("localhost:25", ""), ":2: listen \"localhost:25\" has no addr" },
	{ "star", L("*:25", ""), "has no address in front of its port" },
	{ "IPv6 bare", L("::1:25", ""), "is no place to listen" },
	{ "IPv4 in brackets", L("[127.0.0.1]:25", ""), "has no IPv6 address in its" },
	{ "IPv6 damaged", L("[::x]:25", ""), "has no IPv6 address in its" },
	{ "empty brackets", L("[]:25", ""), "has no IPv6 address" },
	{ "unix relative", L("unix:smtp", ""),
	  "names no whole path; it would look like unix:/run/mailchute-smtpd/smtp\n" },
	{ "unix empty", L("unix:", ""), "names no whole path" },
	{ "unix long",
	  L("unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	    ""),
	  "too long for a socket; at most 107" },
	{ "control", L("unix:/x\\ty", ""), ":2: a backslash in double quotes stands" },
	{ "tab", L("unix:/x\ty", ""), "has a control character" },
	{ "twice", TCP("") "listen \"127.0.0.1:25\" { }\n",
	  ":4: found duplicate title '127.0.0.1:25'; each section" },
	{ "all and one", TCP("") "listen \":25\" { }\n",
	  ":4: listen \":25\" has connections in common with listen \"127.0.0.1:25\" of "
	  "line 2; remove one, or name each address of its own\n" },
	{ "one and all", L(":25", "") "listen \"127.0.0.1:25\" { }\n",
	  ":4: listen \"127.0.0.1:25\" has connections in common with listen \":25\" "
	  "of" },
	{ "one and all of IPv4", TCP("") "listen \"0.0.0.0:25\" { }\n",
	  ":4: listen \"0.0.0.0:25\" has" },
	{ "one and all of IPv6", L("[::]:25", "") "listen \"[::1]:25\" { }\n",
	  ":4: listen \"[::1]:25\" has" },
	{ "all, and all of IPv6", L("[::]:25", "") "listen \":25\" { }\n",
	  ":4: listen \":25\" has" },
	{ "one in two ways", L("[::1]:25", "") "listen \"[0:0::1]:025\" { }\n",
	  ":4: listen \"[0:0::1]:025\" has" },
	{ "no title", H "listen { }\n",
	  ":2: missing title for section 'listen'; write it as: listen \"127.0" },
	{ "unknown key", TCP("alow = \"::1\""),
	  ":3: unknown key \"alow\" in listen; did you mean \"allow\"?" },

	{ "network", TCP("allow = \"lan\""),
	  ":3: allow \"lan\" is no network; it would look like 192.0.2.0/24" },
	{ "network short", TCP("allow = \"192.0.2/24\""), "is no network" },
	{ "network bracket", TCP("allow = \"[::1]\""), "is no network" },
	{ "prefix none", TCP("allow = \"192.0.2.0/\""),
	  "has no length of a network behind its /; give a number from 0 to 32" },
	{ "prefix 33", TCP("allow = \"192.0.2.0/33\""), "from 0 to 32, or \"none\"" },
	{ "prefix 129", TCP("allow = \"2001:db8::/129\""), "from 0 to 128" },
	{ "prefix mask", TCP("allow = \"192.0.2.0/255.255.255.0\""), "no length" },
	{ "host bits", TCP("allow = \"192.0.2.7/24\""),
	  "does not end where the network does; write 192.0.2.0/24, or the" },
	{ "host bits, odd", TCP("allow = \"192.0.2.255/27\""), "write 192.0.2.224/27" },
	{ "host bits, 0", TCP("allow = \"192.0.2.0/0\""), "write 0.0.0.0/0" },
	{ "host bits, IPv6", TCP("allow = \"2001:db8::1/33\""), "write 2001:db8::/33" },
	{ "mapped", TCP("allow = \"::ffff:127.0.0.1\""),
	  ":3: allow \"::ffff:127.0.0.1\" is IPv4 in IPv6's form, which no client has "
	  "here; write 127.0.0.1, or" },
	{ "mapped network", TCP("allow = \"::ffff:192.0.2.0/120\""),
	  "write 192.0.2.0/24, or" },
	{ "mapped, host bits", TCP("allow = \"::ffff:192.0.2.7/120\""),
	  "write 192.0.2.0/24, or" },
	{ "mapped, all", TCP("allow = \"::ffff:0:0/96\""), "write 0.0.0.0/0, or" },
	{ "none among", TCP("allow = { \"none\", \"::1\" }"),
	  "allow has \"none\" among other values" },
	{ "nobody", TCP("allow = { }"), ":3: allow names nobody, and there is no users" },
	{ "unix allow", L("unix:/x", "allow = \"::1\""), ":3: allow has no meaning for" },
	{ "unix allow none", L("unix:/x", "allow = { }"), ":3: allow has no meaning" },

	{ "tls", TCP("tls = yes"), ":3: tls \"yes\" is no kind of TLS; use starttls" },
	{ "tls alone", TCP("tls = starttls"), ":3: tls without tls-certificate" },
	{ "implicit alone", TCP("tls = implicit"), ":3: tls without tls-certificate" },
	{ "certificate alone", TCP("tls-certificate = \"@/ca\""),
	  ":3: tls-certificate without tls-key" },
	{ "key alone", TCP("tls-key = \"@/pw\""), ":3: tls-key without tls-certificate" },
	{ "certificate missing", TCP("tls-key = \"@/pw\"\ntls-certificate = \"@/none\""),
	  ":4: tls-certificate: /" },
	{ "certificate missing, why",
	  TCP("tls-key = \"@/pw\"\ntls-certificate = \"@/none\""),
	  "cannot be found: No such file or directory; write it there" },
	{ "certificate is none", TCP("tls-key = \"@/pw\" tls-certificate = \"@/pw\""),
	  "holds no certificate; give a PEM file, as /etc/mailchute/certificate.pem" },
	{ "certificate folder", TCP("tls-key = \"@/pw\" tls-certificate = \"@/\""),
	  "is no regular file" },
	{ "key open", TCP("tls-certificate = \"@/ca\"\ntls-key = \"@/open\""),
	  ":4: tls-key: /" },
	{ "key open, why", TCP("tls-certificate = \"@/ca\" tls-key = \"@/open\""),
	  "can be read by everyone; chown mailchute-in /" },
	{ "key missing", TCP("tls-certificate = \"@/ca\" tls-key = \"@/none\""),
	  "tls-key: /" },
	{ "key relative", TCP("tls-certificate = \"@/ca\" tls-key = \"pw\""),
	  "is no whole path" },
	{ "users in clear", TCP("users-file = \"@/pw\""),
	  ":3: users-file without TLS: passwords would travel in clear" },
	{ "users open", TCP(CERT "users-file = \"@/open\""), ":4: users-file: /" },
	{ "users missing", TCP(CERT "users-file = \"@/none\""), "cannot be found" },
	{ "users FIFO", TCP(CERT "users-file = \"/dev/null\""), "is no regular file" },

	{ "senders", TCP("senders = { \"lan.example\", \".lan\" }"),
	  ":3: senders \".lan\" has a domain that begins with a dot" },
	{ "recipients", TCP("recipients = \"@lan\""), "begins with @" },
	{ "recipients empty", TCP("recipients = { }"), "the list recipients is empty" },
	{ "sender", TCP("sender = \"printer\""), ":3: sender \"printer\" has no domain" },
	{ "sender null", TCP("sender = \"<>\""), "is no mail address" },
	{ "connections 0", TCP("max-connections = 0"),
	  ":3: max-connections \"0\" is out of range; give at least 1" },
	{ "connections", TCP("max-connections = 10001"), "give at most 10000" },
	{ "connections K", TCP("max-connections = 1M"), "give at most 10000" },
	{ "per client", TCP("max-per-client = x"),
	  "is no number; write one as 500, 100K or 1M\n" },
	{ "errors", TCP("errors = 0"), "give at least 1" },
	{ "size", TCP("max-message-size = 5"), "is out of range; give at least 1K" },
	{ "idle", TCP("idle = 0s"), "is out of range" },
	{ "timeout", TCP("timeout = 5"), "is no time" },

	{ "pin of a key alone", S("tls-key = \"@/pw\""),
	  ":2: tls-key without tls-certificate" },
	{ "certificate without key", S("tls-certificate = \"@/ca\""),
	  ":2: tls-certificate without tls-key" },
	{ "smarthost's key open", S("tls-certificate = \"@/ca\"\ntls-key = \"@/open\""),
	  ":3: tls-key: /" },
	{ "smarthost's certificate", S("tls-key = \"@/pw\"\ntls-certificate = \"@/pw\""),
	  "holds no certificate; give a PEM file, as /etc/mailchute/cert" },
	{ "certificate without TLS", S("tls = none\n" CERT),
	  ":3: tls-certificate without TLS" },
	{ "two proofs",
	  S("user = x password-file = \"@/pw\"\npassword-command = \"echo x\""),
	  ":3: password-command besides password-file; remove one" },
	{ "two commands", S("user = x password-command = a\ntoken-command = b"),
	  ":3: token-command besides password-command; remove one" },
	{ "file and token", S("user = x token-command = b\npassword-file = \"@/pw\""),
	  ":2: token-command besides password-file" },
	{ "command without user", S("password-command = a"),
	  ":2: password-command without user; add user =" },
	{ "token without user", S("token-command = a"),
	  ":2: token-command without user" },
	{ "command empty", S("user = x password-command = \"\""), "is empty; leave" },
	{ "command in clear", S("tls = none user = x password-command = a"),
	  "the password would travel in clear" },
	{ "token in clear", S("tls = none user = x token-command = a"),
	  "the password would travel in clear" },
	{ "auth", S("auth = gssapi"),
	  "auth \"gssapi\" is no way to log in; use auto, or" },
	{ "auth capital", S("auth = \"PLAIN\""), "is no way to log in" },
	{ "auth without user", S("\nauth = plain"), ":3: auth \"plain\" without user" },
	{ "xoauth2 alone", S("user = x password-file = \"@/pw\"\nauth = xoauth2"),
	  ":3: auth \"xoauth2\" without token-command" },
	{ "token, plain", S("user = x token-command = a\nauth = plain"),
	  ":2: token-command with auth \"plain\", which takes no token" },
	{ "external alone", S("auth = external"),
	  ":2: auth \"external\" without tls-certificate" },
	{ "external, password",
	  S("auth = external user = x password-file = \"@/pw\" " CERT),
	  ":2: auth \"external\" with a password" },

	{ "source", S("source-address = \"box.example.org\""),
	  ":2: source-address \"box.example.org\" is no address; give one of this" },
	{ "source with brackets", S("source-address = \"[::1]\""), "is no address" },
	{ "source with scope", S("source-address = \"fe80::1%eth0\""), "is no address" },
	{ "srv without domain", S("host = \"srv:\""),
	  ":2: host \"srv:\" names no domain; it would look like srv:example.org" },
	{ "mx of an address", S("host = \"mx:192.0.2.7\""), "like mx:example.org" },
	{ "srv with a port", S("host = \"srv:example.org:25\""), "names no domain" },
	{ "stream", S("stream = yes"), ":2: stream \"yes\" is neither auto nor off" },
	{ "hold", S("hold = x"), "is neither yes nor no" },
	{ "ambiguous 0", S("max-ambiguous = 0"), "is out of range; give at least 1" },
	{ "connection-messages", S("connection-messages = -1"), "or 0 for no limit" },
	{ "rate without time", S("rate = 30"),
	  ":2: rate \"30\" is no rate; it would look like 30/1m, or 500 recipients/1d" },
	{ "rate unit alone", S("rate = { \"5/1h\", \"30/m\" }"),
	  ":2: rate \"30/m\" is no time; write a number and a unit, as 30s, 5m, 4h or "
	  "5d; a rate would" },
	{ "rate 0", S("rate = \"0/1m\""), "is out of range; give at least 1; a rate" },
	{ "rate 0s", S("rate = \"1/0s\""), "is out of range" },
	{ "rate 32d", S("rate = \"1/32d\""), "over too long a time; give at most 31d" },
	{ "rate words", S("rate = \"5 mails/1m\""), "is no number" },
	{ "rate recipients", S("rate = \"recipients/1m\""), "is no number" },
	{ "rate twice /", S("rate = \"1/1m/1h\""), "is no time" },
	{ "rates",
	  S("rate = { \"1/1s\", \"1/2s\", \"1/3s\", \"1/4s\", \"1/5s\", "
	    "\"1/6s\", \"1/7s\", \"1/8s\", \"1/9s\" }"),
	  ":2: rate has too many values; at most 8" },
};

static void refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused_row(bad[i].name, bad[i].in, bad[i].want);
}

static const struct {
	const char *name, *in;
} good[] = {
	{ "all addresses", L(":25", "") },
	{ "IPv6", L("[::1]:587", "") },
	{ "IPv6, all", L("[::]:25", "") },
	{ "unix", L("unix:/run/mailchute-smtpd/smtp", "") },
	{ "unix with TLS and users", L("unix:/x", CERT "users-file = \"@/pw\"") },
	{ "two", TCP("") "listen \"[::1]:25\" { }\n" },
	{ "all of IPv4 and of IPv6", L("0.0.0.0:25", "") "listen \"[::]:25\" { }\n" },
	{ "all of two ports", L(":25", "") "listen \":587\" { }\n" },
	{ "unix and all", L("unix:/x:25", "") "listen \":25\" { }\n" },
	{ "TLS of old", TCP(CERT "tls-priority = \"NORMAL\"") },
	{ "networks", TCP("allow = { \"0.0.0.0/0\", \"::/0\", \"192.0.2.7/32\", "
	                  "\"10.0.0.0/8\", \"192.0.2.224/27\", \"2001:db8::/33\", "
	                  "\"::fffe:0:0/96\", \"::/80\", \"192.0.2.9\" }") },
	{ "all must log in", TCP("allow = none " CERT "users-file = \"@/pw\"") },
	{ "insecure", TCP("users-file = \"@/pw\" auth-insecure = yes") },
	{ "one file for both", TCP("tls-certificate = \"@/pem\" tls-key = \"@/pem\"") },
	{ "TLS given", TCP("tls = implicit " CERT) },
	{ "TLS off", TCP("tls = none " CERT) },
	{ "of a size", TCP("max-message-size = 0") },

	{ "command", S("user = x password-command = \"pass show 'mail'\"") },
	{ "token", S("user = x token-command = \"oauth\"") },
	{ "token, named", S("user = x token-command = \"oauth\" auth = oauthbearer") },
	{ "external", S("auth = external " CERT) },
	{ "external, user", S("auth = external user = x " CERT) },
	{ "certificate", S(CERT) },
	{ "scram in clear", S("tls = none user = x password-file = \"@/pw\" "
	                      "auth = scram-sha-256") },
	{ "cram in clear", S("tls = none user = x password-file = \"@/pw\" "
	                     "auth = cram-md5") },
	{ "source", S("source-address = \"192.0.2.7\"") },
	{ "rates", S("rate = { \"1/1s\", \"1K/31d\", \"7 recipients/1h\" }") },
	{ "rate alone", S("rate = \"30/1m\"") },
};

static void taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, one = BUF_INIT, two = BUF_INIT;
		struct conf c, again;

		if (load(good[i].in, &c, &err) < 0)
			fail_msg("%s: %s", good[i].name, err.p);
		conf_pack(&c, &one);
		if (conf_unpack(buf_view(&one), &again) < 0)
			fail_msg("%s: not unpacked", good[i].name);
		conf_pack(&again, &two);
		if (!str_eq(buf_view(&one), buf_view(&two)))
			fail_msg("%s: packed anew it is another", good[i].name);
		conf_free(&c);
		conf_free(&again);
	}
}

static void listen_defaults(void **state)
{
	static const struct {
		const char *name, *in;
		enum conf_listen_tls tls;
		size_t allow;
	} rows[] = {
		{ "none", TCP(""), LISTEN_TLS_NONE, 2 },
		{ "certificate", TCP(CERT), LISTEN_TLS_STARTTLS, 2 },
		{ "none with certificate", TCP("tls = none " CERT), LISTEN_TLS_NONE, 2 },
		{ "implicit", TCP("tls = implicit " CERT), LISTEN_TLS_IMPLICIT, 2 },
		{ "one network", TCP("allow = \"10.0.0.0/8\""), LISTEN_TLS_NONE, 1 },
		{ "no network", TCP("allow = { } " CERT "users-file = \"@/pw\""),
		  LISTEN_TLS_STARTTLS, 0 },
		{ "no network, word", TCP("allow = none " CERT "users-file = \"@/pw\""),
		  LISTEN_TLS_STARTTLS, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT;
		const struct listen *l;
		struct conf c;

		if (load(rows[i].in, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].name, err.p);
		l = c.listen;
		if (l->tls != rows[i].tls || l->allow.n != rows[i].allow)
			fail_msg("%s: tls %d, allow %zu", rows[i].name, (int)l->tls,
			         l->allow.n);
		assert_int_equal(c.listens, 1);
		assert_int_equal(l->line, 2);
		assert_int_equal(l->max_connections, 100);
		assert_int_equal(l->max_per_client, 20);
		assert_int_equal(l->max_message_size, 0);
		assert_int_equal(l->errors, 20);
		assert_int_equal(l->idle, 300);
		assert_int_equal(l->timeout, 3600);
		assert_string_equal(l->sender, "");
		assert_false(l->auth_insecure);
		conf_free(&c);
	}
}

static void mx_port(void **state)
{
	static const struct {
		const char *in;
		int port;
		enum conf_tls tls;
	} rows[] = {
		{ S("host = \"mx:example.org\""), 25, CONF_TLS_NONE },
		{ S("host = \"mx:example.org\" tls = starttls"), 25, CONF_TLS_STARTTLS },
		{ S("host = \"mx:example.org\" tls = implicit"), 465, CONF_TLS_IMPLICIT },
		{ S("host = \"mx:example.org\" port = 2525"), 2525, CONF_TLS_STARTTLS },
		{ S("host = \"srv:example.org\""), 587, CONF_TLS_STARTTLS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT;
		struct conf c;

		if (load(rows[i].in, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].in, err.p);
		if (c.smarthost[0].port != rows[i].port ||
		    c.smarthost[0].tls != rows[i].tls)
			fail_msg("%s: port %d, tls %d", rows[i].in,
			         (int)c.smarthost[0].port, (int)c.smarthost[0].tls);
		conf_free(&c);
	}
}

/* Who sends nothing may not be able to read any of it. */
static void no_files(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT, path = BUF_INIT;
	struct conf c;

	(void)state;
	assert_int_equal(load("smarthost isp { user = x password-file = \"@/open\" "
	                      "tls-certificate = \"@/ca\" tls-key = \"@/open\" "
	                      "tls-ca-file = \"@/none\" }\n"
	                      "masquerade { map = \"@/none\" }\n"
	                      "aliases = \"@/none\"\n"
	                      "bounce { template = \"@/none\" }\n"
	                      "listen \":25\" { tls-certificate = \"@/ca\" tls-key = "
	                      "\"@/open\" users-file = \"@/none\" }\n",
	                      &c, &err),
	                 -EINVAL);
	assert_non_null(strstr(err.p, "password-file: "));
	assert_non_null(strstr(err.p, "tls-key: "));
	assert_non_null(strstr(err.p, "users-file: "));
	assert_non_null(strstr(err.p, "tls-ca-file: "));
	assert_non_null(strstr(err.p, "map: "));
	assert_non_null(strstr(err.p, "aliases: "));
	assert_non_null(strstr(err.p, "template: "));
	buf_fmt(&path, "%s/conf", dir);
	buf_reset(&err);
	if (conf_load_some(path.p, CONF_FILES_LISTENING, &c, &err) < 0)
		fail_msg("%s", err.p);
	conf_free(&c);
}

/* The listener looks at its certificates; who does not listen needs none of them. */
static void alone(void **state)
{
	static const struct {
		const char *name, *in, *listener, *alone; /* NULL: taken */
	} rows[] = {
		{ "missing", TCP("tls-certificate = \"@/none\" tls-key = \"@/none\""),
		  "cannot be found", NULL },
		{ "none", TCP("tls-certificate = \"@/pw\" tls-key = \"@/pw\""),
		  "holds no certificate", NULL },
		{ "a folder", TCP("tls-certificate = \"@/\" tls-key = \"@/pw\""),
		  "is no regular file", NULL },
		{ "good", TCP(CERT), NULL, NULL },
		{ "without a key", TCP("tls-certificate = \"@/ca\""),
		  "tls-certificate without tls-key", "tls-certificate without tls-key" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT, path = BUF_INIT;
		struct conf c;

		/* Writes the file; how conf_load() takes it is others' matter. */
		if (load(rows[i].in, &c, &err) == 0)
			conf_free(&c);
		buf_fmt(&path, "%s/conf", dir);
		for (int k = 0; k < 2; k++) {
			const char *want = k ? rows[i].alone : rows[i].listener;
			int e;

			buf_reset(&err);
			e = k ? conf_load_some(path.p, 0, &c, &err)
			      : conf_load_some(path.p, CONF_FILES_LISTENING, &c, &err);
			if (e == 0)
				conf_free(&c);
			if ((e == 0) != !want || (want && !strstr(err.p, want)))
				fail_msg("%s, %s: %d %s", rows[i].name,
				         k ? "alone" : "the listener's", e,
				         err.n ? err.p : "");
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),         cmocka_unit_test(taken),
		cmocka_unit_test(listen_defaults), cmocka_unit_test(mx_port),
		cmocka_unit_test(no_files),        cmocka_unit_test(alone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
