#include "confbed.h"

#define H "smarthost \"hub\" { "
#define M "masquerade { match = \"*\" as = \"e@x.example\" }\n"

/* want: how the first line of errors goes on behind the file's name. */
static const struct {
	const char *name, *in, *want;
} bad[] = {
	{ "no smarthost", M, ":1: there is no smarthost; add" },
	{ "unknown key", "\n\nhostnam = \"a.b\"\n",
	  ":3: unknown key \"hostnam\"; did you mean "
	  "\"hostname\"?" },
	{ "unknown in section", H "pasword-file = x }",
	  ":1: unknown key \"pasword-file\" in smarthost; did you mean "
	  "\"password-file\"?" },
	{ "underscore", H "tls_verify = no }", "did you mean \"tls-verify\"?" },
	{ "key in the wrong place", "port = 25\n", "\"port\"; it belongs in smarthost" },
	{ "root key in section", H "hostname = a.b }", "it belongs outside of sections" },
	{ "nothing near", "xyzzy = 1\n", "unknown key \"xyzzy\"; mailchute.conf(5)" },
	{ "section typo", "smarthos \"x\" { }\n", "did you mean \"smarthost\"?" },
	{ "key with bar", H "}\nsmarthost|port = 5\n",
	  ":2: the character '|' cannot stand" },
	{ "quoted key", "\"hostname\" = \"a.b\"\n", ":1: a key stands without quotes" },
	{ "secret name", "\"\\001\" = 1\n", ":1: a backslash in double quotes" },
	{ "secret function", "'\\001' ( x )\n", "'(' cannot stand" },
	{ "included file", "include(\"/etc/passwd\")\n", "'(' cannot stand" },
	{ "bare star", "masquerade { match = * as = x }\n",
	  "'*' cannot stand outside quotes" },
	{ "variable", H "user = \"${HOME}\" }", ":1: ${...} is not replaced" },
	{ "bare variable", H "user = ${HOME} }", ":1: ${...} is not replaced" },
	{ "open string", "\nhostname = \"a.b\n\"", ":2: the string does not end" },
	{ "open string at end", "hostname = \"a\\", ":1: the string does not end" },
	{ "open comment", "\n/* x\n\n", ":2: the comment that begins here does not end" },
	{ "open section", "\n" H "\n\nport = 25\n",
	  ":2: the section or list that begins here" },
	{ "closed too often", H "}\n}\n", ":2: this } closes nothing" },
	{ "too deep", "a{a{a{a{a{a{a{a{a{", "nested too deeply" },
	{ "NUL", "\001", ":1: a control character" },
	{ "no value", H "port = }", ":1: unexpected token '}'" },
	{ "no equal sign", "hostname \"a.b\"\n", "missing equal sign" },
	{ "no title", "smarthost { }\n",
	  ":1: missing title for section 'smarthost'; write it as: smarthost \"name\"" },
	{ "backslash", "\nadmin = \"eddy\\x41@example.org\"\n",
	  ":2: a backslash in double quotes stands before a \" or another backslash; "
	  "write \\\\ for one" },
	{ "backslash, octal", "admin = \"\\101@example.org\"\n", ":1: a backslash in" },
	{ "backslash, letter", "admin = \"a\\q@example.org\"\n", ":1: a backslash in" },
	{ "backslash, apostrophe", "admin = \"a\\'@example.org\"\n", ":1: a backslash" },
	{ "line behind comment", "/* a\n b */ /* c */\nxyzzy = 1\n", ":3: unknown key" },
	{ "line behind #", "# a\n// b\nxyzzy = 1\n", ":3: unknown key" },

	{ "twice", H "port = 25\nport = 26 }",
	  ":2: port is given twice, first in line 1" },
	{ "same title", H "}\n" H "}\n", ":2: found duplicate title 'hub'" },
	{ "title new", "smarthost \"new\" { }", "cannot name a smarthost" },
	{ "title with slash", "smarthost \"../x\" { }", "cannot name a smarthost" },
	{ "title with dash", "smarthost \"-x\" { }", "cannot name a smarthost" },
	{ "empty title", "smarthost \"\" { }", "cannot name a smarthost" },
	{ "title no host", "smarthost \"a..b\" { }",
	  "has no host, and its name is none" },

	{ "aliases", "aliases = \"aliases\"\n", "is no whole path" },
	{ "aliases missing", H "}\naliases = \"@/none\"\n", ":2: aliases: /" },
	{ "aliases folder", H "}\naliases = \"@/\"\n", "is no regular file" },
	{ "alert without command", H "}\nalert {\n oldest = \"1h\"\n}\n",
	  ":3: alert without command" },
	{ "empty alert", H "}\nalert { }\n", ":2: alert without command" },
	{ "alert at once", H "}\nalert { oldest = 0s command = x }\n", "oldest" },
	{ "override, mixed", H "}\nsender-override = { ann, \"no\" }",
	  ":2: sender-override has \"no\" among users" },
	{ "override, both", H "}\nsender-override = { yes, no }",
	  "has \"yes\" among users" },
	{ "override, empty", H "}\nsender-override = { }",
	  ":2: the list sender-override is empty" },
	{ "override, two in one", H "}\nsender-override = \"ann bob\"", "is no login" },
	{ "group without name", H "}\nsender-override = \"@\"", "names no group" },
	{ "groups in one", H "}\nsender-override = \"@a,b\"",
	  "is no group; write several" },
	{ "client", H "}\nmasquerade { match = x as = \"a@b\" client = \"10.0.0.0/8\" }",
	  "is a network; write a pattern, as 192.0.2.*" },
	{ "client", H "}\nmasquerade { match = x as = \"a@b\" client = \"helo=\" }",
	  "is no pattern of a client" },
	{ "client", H "}\nmasquerade { match = x as = \"a@b\" client = \"name=x\" }",
	  "is no pattern of a client" },
	{ "uid", H "}\nmasquerade { match = x as = \"a@b\" user = \"uid:ann\" }",
	  "is no user number; it would look like uid:1000" },
	{ "uid large",
	  H "}\nmasquerade { match = x as = \"a@b\" user = \"uid:4294967296\" }",
	  "is no user number" },
	{ "map and as", H "}\nmasquerade { map = \"@/map\"\nas = \"a@b\" }",
	  ":2: masquerade with both as and map" },
	{ "map missing", H "}\nmasquerade {\nmap = \"@/none\" }", ":3: map: /" },
	{ "map folder", H "}\nmasquerade { map = \"@/\" }", "is no regular file" },
	{ "map relative", H "}\nmasquerade { map = \"map\" }", "is no whole path" },
	{ "map damaged", H "}\n\nmasquerade { map = \"@/bad-map\" }", ":3: map: /" },
	{ "map damaged, line", H "}\nmasquerade { map = \"@/bad-map\" }",
	  "/bad-map:2: only one word" },
	{ "keep-original", H "}\nmasquerade { keep-original = x }",
	  "is neither yes nor no" },

	{ "port 0", H "port = 0 }", "port \"0\" is no port; give" },
	{ "port large", H "port = 65536 }", "is no port" },
	{ "port name", H "port = smtp }", "is no port" },
	{ "tls", H "tls = ssl }", "tls \"ssl\" is no kind of TLS; use implicit" },
	{ "bool", H "tls-verify = maybe }", "is neither yes nor no" },
	{ "span without unit", H "retry = 5 }", "is no time; write a number and a unit" },
	{ "span 0", H "retry = 0s }", "is out of range" },
	{ "span large", H "lifetime = 9999999d }", "is out of range" },
	{ "span huge", H "lifetime = 99999999999999999999d }", "is no time" },
	{ "size", "queue { max-message-size = 5X }", "is no size" },
	{ "size small", "queue { max-message-size = 5 }", "is out of range" },
	{ "size large", "queue { max-message-size = 999999999999G }", "is out of range" },
	{ "retries", H "retry = 1h retry-max = 5m }", "retry-max is shorter than retry" },
	{ "host with port", H "host = \"a.b:25\" }", "is no host" },
	{ "host digits", H "host = \"1.2.3\" }", "is no host" },
	{ "bad literal", H "host = \"[300.1.1.1]\" }", "is no address" },
	{ "second of a list", H "host = { \"a.b\", \"c d\" } }",
	  "host \"c d\" is no host" },
	{ "empty list", H "\n\nhost = {\n} }", ":3: the list host is empty" },
	{ "empty list outside", "\n\nexpose = { } # x\n",
	  ":3: the list expose is empty" },
	{ "empty list in the second", H "}" M "masquerade { match = \"*\"\nuser = { } }",
	  ":3: the list user is empty" },
	{ "list twice", H "host = \"a.b\" }\nexpose = \"x@*\"\n\nexpose = \"y@*\"",
	  ":4: expose is given twice, first in line 2; write both" },
	{ "list twice, braces", H "host = { \"a.b\" }\nhost += { \"c.d\" } }",
	  ":2: host is given twice, first in line 1" },
	{ "list twice, empty", H "}" M "masquerade { user = x user = { }\n}",
	  "conf:2: user is given twice" },
	{ "list twice, section in parts",
	  H "}\nbounce { notify = delay }\nbounce {\nnotify = failure }",
	  ":4: notify is given twice, first in line 2" },
	{ "empty value", "domain = \"\"\n", "is empty; leave the key out" },
	{ "control byte", "admin = \"a\tb@b\"\n", "has a control character" },
	{ "localhost", "hostname = \"LocalHost.localdomain\"\n", "means every machine" },
	{ "domain", "domain = \"a b\"\n", "is no domain name" },
	{ "admin", "admin = \"root\"\n", "has no domain" },
	{ "pin", H "tls-pin = \"sha256:00\" }", "is no pin" },
	{ "log", "log { to = file }", "is no place to log to" },

	{ "user alone", H "\nuser = x }", ":2: user without password-file" },
	{ "password alone", H "password-file = \"@/pw\" }",
	  "password-file without user" },
	{ "clear", H "tls = none user = x\npassword-file = \"@/pw\" }",
	  ":1: the password would" },
	{ "no such file", H "user = x\npassword-file = \"@/none\" }",
	  ":2: password-file: /" },
	{ "open to others", H "user = x password-file = \"@/open\" }",
	  "can be read by everyone; "
	  "chown mailchute /" },
	{ "tilde", H "user = x password-file = \"~/pw\" }",
	  "begins with ~, which is not" },
	{ "relative", H "user = x password-file = \"pw\" }", "is no whole path" },
	{ "ca", H "tls-ca-file = \"@/none\" }", "cannot be opened: No such file" },
	{ "ca is none", H "\ntls-ca-file = \"@/pw\" }", ":2: tls-ca-file: /" },
	{ "ca is none, why", H "tls-ca-file = \"@/pw\" }",
	  "holds no certificate; give a" },
	{ "ca is empty", H "tls-ca-file = \"@/empty\" }", "holds no certificate" },
	{ "ca is a folder", H "tls-ca-file = \"@/\" }", "is no regular file" },

	{ "match without domain", H "}\nmasquerade { match = root as = \"a@b\" }",
	  ":2: match \"root\" matches no address, since each has a domain; for every "
	  "domain "
	  "write root@*" },
	{ "match, @ first", H "}\nmasquerade { match = \"@b.example\" as = \"a@b\" }",
	  "begins with @; for a whole domain write *@example.org" },
	{ "match, @ last", H "}\nmasquerade { match = \"root@\" as = \"a@b\" }",
	  "has nothing behind its @" },
	{ "expose without domain", H "}\nexpose = { \"a@*\", root }",
	  ":2: expose \"root\" matches no address" },
	{ "no match", H "}\n\nmasquerade {\n as = \"a@b\" }",
	  ":3: masquerade without match" },
	{ "no as", H "}\nmasquerade { match = \"*\" }", ":2: masquerade without as" },
	{ "letter", H "}\nmasquerade { match = \"*\"\n as = \"%x@b\" }",
	  ":3: as \"%x@b\" has an unknown %x; there are %u %b %t %+ %d %h %%" },
	{ "letter n in as", H "}\nmasquerade { match = \"*\" as = \"%n@b\" }",
	  "unknown %n" },
	{ "percent at end", H "}\nmasquerade { match = \"*\" as = \"a@b\" name = \"%\" }",
	  "has an unknown %" },
	{ "illegal address", H "}\nmasquerade { match = \"*\"\n as = \"%u@b c\" }",
	  ":3: as \"%u@b c\" does not make a mail address" },
	{ "no domain", H "}\nmasquerade { match = \"*\" as = \"%u\" }", "does not make" },
	{ "rewrite",
	  H "}\nmasquerade { match = \"*\" as = \"a@b\" rewrite = { \"bcc\" } }",
	  "is nothing that can be rewritten" },
};

static void refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT;
		struct conf c = { .log_to = dir };
		struct str rest, line, start;
		int e = load(bad[i].in, &c, &err);
		size_t path = strlen(dir) + strlen("/conf");

		if (e != -EINVAL)
			fail_msg("%s: got %d", bad[i].name, e);
		if (c.log_to != dir || c.hostname)
			fail_msg("%s: ret was touched", bad[i].name);
		start = rest = buf_view(&err);
		if (!str_starts(start, str_z(dir)) ||
		    !strstr(err.p + path, bad[i].want) ||
		    (bad[i].want[0] == ':' && strstr(err.p, bad[i].want) != err.p + path))
			fail_msg("%s: wanted \"%s\", got:\n%s", bad[i].name, bad[i].want,
			         err.p);
		if (err.p[err.n - 1] != '\n')
			fail_msg("%s: the last line has no end: %s", bad[i].name, err.p);
		while (rest.n && str_cut(&rest, '\n', &line))
			if (line.n && !str_starts(line, str_z(dir)))
				fail_msg("%s: a line without its file: %s", bad[i].name,
				         err.p);
	}
}

static void several_errors(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT, many = BUF_INIT;
	struct conf c;
	unsigned lines = 0;

	(void)state;
	assert_int_equal(load(H "\nport = 0\ntls = x\nretry = 1 }", &c, &err), -EINVAL);
	assert_non_null(strstr(err.p, "conf:2: port"));
	assert_non_null(strstr(err.p, "conf:3: tls"));
	assert_non_null(strstr(err.p, "conf:4: retry"));
	buf_reset(&err);
	for (int i = 0; i < 100; i++)
		buf_z(&many, "masquerade { as = \"%x\" }\n");
	assert_int_equal(load(many.p, &c, &err), -EINVAL);
	for (size_t i = 0; i < err.n; i++)
		lines += err.p[i] == '\n';
	assert_int_equal(lines, CONF_ERRORS_MAX);
}

/* As editors of Windows save it. */
static void windows(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;

	(void)state;
	if (load("\xef\xbb\xbf" H "\r\n# x\r\nport = 26\r\n}\r\n", &c, &err) < 0)
		fail_msg("%s", err.p);
	assert_int_equal(c.smarthost[0].port, 26);
	conf_free(&c);
	assert_int_equal(load("\xef\xbb\xbf\r\n\xef\xbb\xbf\r\n", &c, &err), -EINVAL);
	assert_non_null(strstr(err.p, ":2: the character"));
}

static void two_lines(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT;
	struct conf c;
	const struct smarthost *h;

	(void)state;
	if (load("smarthost \"smtp.isp.example\" { user = \"eddy@isp.example\" "
	         "password-file = \"@/pw\" }\n"
	         "masquerade { match = \"*\" as = \"eddy@isp.example\" }\n",
	         &c, &err) < 0)
		fail_msg("%s", err.p);
	h = c.smarthost;
	assert_int_equal(c.smarthosts, 1);
	assert_string_equal(h->name, "smtp.isp.example");
	assert_int_equal(h->host.n, 1);
	assert_string_equal(h->host.v[0], "smtp.isp.example");
	assert_int_equal(h->port, 587);
	assert_int_equal(h->tls, CONF_TLS_STARTTLS);
	assert_true(h->tls_verify);
	assert_string_equal(h->tls_certificate, "");
	assert_string_equal(h->auth, "auto");
	assert_false(h->auth_insecure);
	assert_int_equal(h->lifetime, 432000);
	assert_int_equal(h->retry, 300);
	assert_int_equal(h->retry_max, 14400);
	assert_int_equal(h->session_max, 3600);
	assert_int_equal(h->line, 1);
	assert_int_equal(c.rules, 1);
	assert_int_equal(c.rule[0].line, 2);
	assert_int_equal(c.rule[0].rewrite, MASQ_DEFAULT);
	assert_null(c.rule[0].name);
	assert_int_equal(c.max_message_size, 50 << 20);
	assert_string_equal(c.log_to, "syslog");
	assert_string_equal(c.admin, "eddy@isp.example");
	assert_int_equal(h->for_.n + h->from.n, 0);
	assert_int_equal(h->warn_after.n, 1);
	assert_int_equal(h->warn_after.v[0], 14400);
	assert_int_equal(h->give_up, 0);
	assert_int_equal(c.max_messages, 0);
	assert_int_equal(c.max_bytes, 0);
	assert_int_equal(c.max_per_user, 100000);
	assert_int_equal(c.min_free, 16 << 20);
	assert_true(c.notify_failure && c.notify_delay && !c.bounce_whole);
	assert_string_equal(c.bounce_to, "sender");
	assert_string_equal(c.bounce_from, "");
	assert_string_equal(c.bounce_template, "");
	assert_string_equal(c.aliases, "/etc/aliases");
	assert_false(c.domain_given);
	assert_int_equal(c.override, MASQ_OVERRIDE_YES);
	assert_int_equal(c.override_user.n, 0);
	assert_false(c.rule[0].keep_original);
	assert_string_equal(c.rule[0].map, "");
	assert_false(conf_is_local(str_z(c.hostname)));
	conf_free(&c);
}

static void ports(void **state)
{
	static const struct {
		const char *name, *in;
		int port;
		enum conf_tls tls;
	} rows[] = {
		{ "none given", H "}", 587, CONF_TLS_STARTTLS },
		{ "465", H "port = 465 }", 465, CONF_TLS_IMPLICIT },
		{ "587", H "port = 587 }", 587, CONF_TLS_STARTTLS },
		{ "25", H "port = 25 }", 25, CONF_TLS_NONE },
		{ "25 with user", H "port = 25 user = x password-file = \"@/pw\" }", 25,
		  CONF_TLS_STARTTLS },
		{ "other", H "port = 2525 }", 2525, CONF_TLS_STARTTLS },
		{ "implicit", H "tls = implicit }", 465, CONF_TLS_IMPLICIT },
		{ "starttls", H "tls = starttls }", 587, CONF_TLS_STARTTLS },
		{ "none", H "tls = none }", 587, CONF_TLS_NONE },
		{ "both", H "tls = none port = 465 }", 465, CONF_TLS_NONE },
		{ "insecure",
		  H "tls = none user = x password-file = \"@/pw\" "
		    "auth-insecure = yes }",
		  587, CONF_TLS_NONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf err = BUF_INIT;
		struct conf c;

		if (load(rows[i].in, &c, &err) < 0)
			fail_msg("%s: %s", rows[i].name, err.p);
		if (c.smarthost[0].port != rows[i].port ||
		    c.smarthost[0].tls != rows[i].tls)
			fail_msg("%s: port %d, tls %d", rows[i].name,
			         (int)c.smarthost[0].port, (int)c.smarthost[0].tls);
		conf_free(&c);
	}
}

/* Every key that there is, with other than its default. */
static const char everything[] =
    "hostname = \"box.example.org\" domain = 'example.org'\n"
    "admin = \"sys\\\"admin\\\"@example.org\" /* a */\n"
    "expose = { \"postmaster@*\", \"abuse@*\" } aliases = \"@/pw\"\n"
    "sender-override = { ann, \"@mail\" }\n"
    "smarthost \"hub.example.org\" {\n"
    " host = { \"a.example.org\", \"[192.0.2.7]\", \"2001:db8::7\", \"192.0.2.8\" }\n"
    " port = 1025 tls = starttls tls-verify = no tls-ca-file = \"@/ca\"\n"
    " tls-pin = { \"sha256:"
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\" }\n"
    " tls-name = \"mx.example.org\" tls-priority = \"NORMAL\"\n"
    " user = \"caf\xc3\xa9\" password-file = \"@/pw\" auth = login auth-insecure = yes\n"
    " tls-certificate = \"@/ca\" tls-key = \"@/pw\" source-address = \"2001:db8::1\"\n"
    " stream = off max-ambiguous = 7 connection-messages = 10 hold = yes\n"
    " rate = { \"30/1m\", \"5K recipients/31d\" }\n"
    " lifetime = 1d retry = 30s retry-max = 2h timeouts { session = 20m }\n"
    " warn-after = { \"2d\", \"4h\" } give-up = 3d }\n"
    "queue { max-message-size = 1G max-messages = 5K max-bytes = 2G max-per-user = 7\n"
    " min-free = 0 } log { to = stderr }\n"
    "alert { oldest = 2h command = \"logger -p mail.alert\" }\n"
    "masquerade { match = \"root@*\" as = \"alerts+%h@example.org\" name = \"%n at %h\"\n"
    " rewrite = { \"from\", \"reply-to\", \"to\", \"cc\" } user = { \"www-data\", "
    "\"@mail\" }\n"
    " client = \"192.0.2.*\" keep-original = yes } masquerade { map = \"@/map\" user = "
    "\"@adm\"\n"
    " rewrite = { recipient, resent-cc } }\n"
    "masquerade { match = \"*\" as = \"%u@example.org\" user = ann }\n"
    "smarthost corp { for = { \"corp.example\", \"*.corp.example\" }\n"
    " from = { \"*@example.org\" } user = ann password-command = \"cat /x | head -n 1\" "
    "}\n"
    "smarthost cloud { host = { \"srv:cloud.example\", \"MX:cloud.example\" }\n"
    " for = \"cloud.example\" user = ann token-command = \"oauth 'ann'\" auth = xoauth2 "
    "}\n"
    "listen \"127.0.0.1:25\" { allow = { \"192.0.2.0/24\", \"2001:db8::/32\", \"::1\" }\n"
    " tls = implicit tls-certificate = \"@/ca\" tls-key = \"@/pw\" users-file = "
    "\"@/pw\"\n"
    " auth-insecure = yes senders = { \"lan.example\", \"a@*\" } recipients = "
    "\"*.example\"\n"
    " sender = \"printer@example.org\" max-connections = 7 max-per-client = 3\n"
    " max-message-size = 5M errors = 4 idle = 30s timeout = 20m }\n"
    "listen \"unix:/run/mailchute/smtp\" { }\n"
    "bounce { notify = delay to = admin bounce-from = \"b@example.org\"\n"
    " template = \"@/words\" return = message }\n";

/* Of everything. */
static void new_keys(const struct conf *c)
{
	const struct smarthost *h = c->smarthost;
	const struct listen *l = c->listen;

	assert_true(str_iends(str_z(h->tls_certificate), STR("/ca")));
	assert_true(str_iends(str_z(h->tls_key), STR("/pw")));
	assert_string_equal(h->source_address, "2001:db8::1");
	assert_true(!h->stream && h->hold);
	assert_int_equal(h->max_ambiguous, 7);
	assert_int_equal(h->connection_messages, 10);
	assert_int_equal(h->rates, 2);
	assert_true(h->rate[0].n == 30 && h->rate[0].seconds == 60 &&
	            !h->rate[0].recipients);
	assert_true(h->rate[1].n == 5000 && h->rate[1].seconds == 31 * 86400 &&
	            h->rate[1].recipients);
	assert_true(h[1].stream && !h[1].hold && h[1].rates == 0);
	assert_int_equal(h[1].max_ambiguous, 500);
	assert_string_equal(h[1].password_command, "cat /x | head -n 1");
	assert_string_equal(h[2].token_command, "oauth 'ann'");
	assert_string_equal(h[2].auth, "xoauth2");
	assert_string_equal(h[2].host.v[0], "srv:cloud.example");
	assert_string_equal(h[2].host.v[1], "mx:cloud.example");

	assert_int_equal(c->listener_uid, 4294967294);
	assert_int_equal(c->listens, 2);
	assert_string_equal(l->at, "127.0.0.1:25");
	assert_int_equal(l->line, 28);
	assert_int_equal(l->allow.n, 3);
	assert_string_equal(l->allow.v[1], "2001:db8::/32");
	assert_int_equal(l->tls, LISTEN_TLS_IMPLICIT);
	assert_true(l->tls_certificate[0] && l->tls_key[0] && l->users_file[0]);
	assert_true(l->auth_insecure);
	assert_string_equal(l->senders.v[1], "a@*");
	assert_string_equal(l->recipients.v[0], "*.example");
	assert_string_equal(l->sender, "printer@example.org");
	assert_int_equal(l->max_connections, 7);
	assert_int_equal(l->max_per_client, 3);
	assert_int_equal(l->max_message_size, 5 << 20);
	assert_int_equal(l->errors, 4);
	assert_int_equal(l->idle, 30);
	assert_int_equal(l->timeout, 1200);
	assert_string_equal(l[1].at, "unix:/run/mailchute/smtp");
}

static void all_keys(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT, one = BUF_INIT, two = BUF_INIT;
	struct conf c, again;

	(void)state;
	for (size_t i = 0; i < conf_rows_n; i++)
		if (!strstr(everything, conf_rows[i].key))
			fail_msg("%s is not in this test", conf_rows[i].key);
	/* The address is in quotes on purpose: it is none. */
	assert_int_equal(load(everything, &c, &err), -EINVAL);
	assert_non_null(
	    strstr(err.p, ":2: admin \"sys\"admin\"@example.org\" is no mail"));
	{
		_cleanup_buf_ struct buf good = BUF_INIT;
		const char *cut = strstr(everything, "sys\\");

		buf_add(&good, everything, (size_t)(cut - everything));
		buf_z(&good, "sysadmin");
		buf_z(&good, strstr(cut, "@example"));
		buf_reset(&err);
		if (load(good.p, &c, &err) < 0)
			fail_msg("%s", err.p);
	}
	assert_int_equal(c.smarthost[0].host.n, 4);
	assert_string_equal(c.smarthost[0].host.v[1], "[192.0.2.7]");
	assert_string_equal(c.smarthost[0].host.v[2], "[2001:db8::7]");
	assert_string_equal(c.smarthost[0].host.v[3], "[192.0.2.8]");
	assert_int_equal(c.smarthost[0].line, 5);
	assert_int_equal(c.smarthost[0].session_max, 1200);
	assert_int_equal(c.listener_uid, -1);
	c.listener_uid = 4294967294;
	assert_int_equal(c.rule[0].rewrite,
	                 MASQ_FROM | MASQ_REPLY_TO | MASQ_TO | MASQ_CC);
	assert_string_equal(c.rule[0].user.v[0], "www-data");
	assert_int_equal(c.rule[2].line, 23);
	assert_int_equal(c.max_message_size, 1 << 30);
	assert_int_equal(c.smarthost[1].line, 24);

	/* Packed, unpacked and packed again it is the same; cut or longer it is refused. */
	conf_pack(&c, &one);
	assert_int_equal(conf_unpack(buf_view(&one), &again), 0);
	conf_pack(&again, &two);
	assert_true(str_eq(buf_view(&one), buf_view(&two)));
	assert_string_equal(again.smarthost[0].user, "caf\xc3\xa9");
	assert_string_equal(again.rule[0].name, "%n at %h");
	assert_null(again.rule[2].name);
	assert_true(again.rule[0].keep_original && !again.rule[2].keep_original);
	assert_string_equal(again.rule[0].client.v[0], "192.0.2.*");
	assert_string_equal(again.rule[1].match, "*");
	assert_true(str_iends(str_z(again.rule[1].map), STR("/map")));
	assert_null(again.rule[1].table);
	assert_int_equal(again.rule[1].rewrite, MASQ_RECIPIENT | MASQ_RESENT_CC);
	assert_true(again.domain_given);
	assert_true(str_iends(str_z(again.aliases), STR("/pw")));
	assert_int_equal(again.override, MASQ_OVERRIDE_LIST);
	assert_string_equal(again.override_user.v[1], "@mail");
	{
		struct strv groups = { .n = 0 };

		conf_groups(&again, &groups);
		assert_int_equal(groups.n, 2);
		assert_string_equal(groups.v[0], "mail");
		assert_string_equal(groups.v[1], "adm");
		strv_free(&groups);
	}
	new_keys(&again);
	assert_int_equal(again.smarthost[0].warn_after.n, 2);
	assert_int_equal(again.smarthost[0].warn_after.v[0], 14400);
	assert_int_equal(again.smarthost[0].warn_after.v[1], 172800);
	assert_int_equal(again.smarthost[0].give_up, 259200);
	assert_string_equal(again.smarthost[1].for_.v[1], "*.corp.example");
	assert_string_equal(again.smarthost[1].from.v[0], "*@example.org");
	assert_int_equal(again.smarthost[1].give_up, 432000);
	assert_int_equal(again.max_messages, 5000);
	assert_int_equal(again.max_bytes, (int64_t)2 << 30);
	assert_int_equal(again.max_per_user, 7);
	assert_int_equal(again.min_free, 0);
	assert_true(!again.notify_failure && again.notify_delay && again.bounce_whole);
	assert_string_equal(again.bounce_to, "admin");
	assert_string_equal(again.bounce_from, "b@example.org");
	assert_true(str_iends(str_z(again.bounce_template), STR("/words")));
	for (size_t i = 0; i < one.n; i++)
		if (conf_unpack(str_head(buf_view(&one), i), &c) != -EBADMSG)
			fail_msg("cut at %zu: accepted", i);
	buf_c(&two, '\0');
	assert_int_equal(conf_unpack(buf_view(&two), &c), -EBADMSG);
	/* Each changed octet gives another conf or is refused; nothing crashes. */
	for (size_t i = 0; i < one.n; i++) {
		_cleanup_buf_ struct buf three = BUF_INIT;
		struct conf d;

		one.p[i] = (char)(one.p[i] ^ 0x81);
		if (conf_unpack(buf_view(&one), &d) == 0) {
			conf_pack(&d, &three);
			assert_true(str_eq(buf_view(&one), buf_view(&three)));
			conf_free(&d);
		}
		one.p[i] = (char)(one.p[i] ^ 0x81);
	}
	conf_free(&c);
	conf_free(&again);
	conf_free(&again); /* twice is fine */
}

static void secrets(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT, path = BUF_INIT, big = BUF_INIT;
	int fd;

	(void)state;
	buf_room(&big, 70000);
	memset(big.p, 'x', 70000);
	big.n = 70000;
	put("big", buf_view(&big), 0600);
	buf_fmt(&path, "%s/link", dir);
	assert_int_equal(symlink("pw", path.p), 0);
	fd = conf_open_secret(path.p, &err);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	buf_reset(&path);
	buf_fmt(&path, "%s/big", dir);
	assert_int_equal(conf_open_secret(path.p, &err), -EFBIG);
	buf_reset(&path);
	buf_fmt(&path, "%s/empty", dir);
	assert_int_equal(conf_open_secret(path.p, &err), -EINVAL);
	/* So is one with line ends and nothing else. */
	put("blank", STR("\r\n\n"), 0600);
	buf_reset(&path);
	buf_reset(&err);
	buf_fmt(&path, "%s/blank", dir);
	assert_int_equal(conf_open_secret(path.p, &err), -EINVAL);
	assert_non_null(strstr(err.p, "is empty"));
	put("blank", STR("\n \n"), 0600);
	fd = conf_open_secret(path.p, &err);
	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	close(fd);
	unlink(path.p);
	assert_int_equal(conf_open_secret(dir, &err), -EINVAL);
	assert_int_equal(conf_open_secret("/nowhere/at/all", &err), -ENOENT);
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	buf_reset(&err);
	assert_int_equal(conf_open_secret("credential:of-isp", &err), -ENOENT);
	assert_non_null(strstr(err.p, "; add LoadCredential=of-isp:/"));
	unsetenv("CREDENTIALS_DIRECTORY");
	buf_reset(&path);
	buf_fmt(&path, "%s/open", dir);
	buf_reset(&err);
	assert_int_equal(conf_open_secret(path.p, &err), -EPERM);
	assert_non_null(strstr(err.p, "; chmod 600 "));
}

static void files(void **state)
{
	_cleanup_buf_ struct buf err = BUF_INIT, big = BUF_INIT;
	struct conf c;

	(void)state;
	assert_int_equal(conf_load("/nowhere/x.conf", &c, &err), -ENOENT);
	assert_non_null(strstr(err.p, "/nowhere/x.conf: cannot be read: No such file"));
	buf_reset(&err);
	assert_int_equal(conf_load(dir, &c, &err), -EINVAL);
	assert_non_null(strstr(err.p, "no regular file"));
	buf_reset(&err);
	for (size_t i = 0; i < (1 << 20) / 8 + 1; i++)
		buf_z(&big, "# 56789\n");
	assert_int_equal(load(big.p, &c, &err), -EINVAL);
	assert_non_null(strstr(err.p, "larger than 1 MiB"));
	buf_reset(&err);
	buf_reset(&big);
	for (size_t i = 0; i < 20000; i++)
		buf_z(&big, "masquerade { }\n");
	assert_int_equal(load(big.p, &c, &err), -EINVAL);
	assert_non_null(strstr(err.p, ":1001: too many masquerade sections"));
}

static void names(void **state)
{
	static const struct {
		const char *name, *host, *domain, *node, *mailname, *hosts;
		const char *want_host, *want_domain;
	} rows[] = {
		{ "given", "a.b", "b", "n", "m.x", "", "a.b", "b" },
		{ "nodename", "", "", "n.x.example", "", "", "n.x.example",
		  "n.x.example" },
		{ "mailname", "", "", "n", " m.x.example \n", "", "m.x.example",
		  "m.x.example" },
		{ "mailname for domain", "", "", "n.x.example", "x.example\n", "",
		  "n.x.example", "x.example" },
		{ "hosts", "", "", "n", "",
		  "127.0.0.1 localhost\n127.0.1.1\tn.y.example n # x\n", "n.y.example",
		  "n.y.example" },
		{ "hosts without dot", "", "", "n", "", "127.0.1.1 n\n", "", "" },
		{ "hosts, comment", "", "", "n", "", "#127.0.1.1 n.y.example n\n", "",
		  "" },
		{ "hosts, localhost", "", "", "n", "",
		  "127.0.0.1 localhost.localdomain n\n", "", "" },
		{ "with domain", "", "z.example", "n", "", "", "n.z.example",
		  "z.example" },
		{ "nothing", "", "", "n", "", "", "", "" },
		{ "localhost", "", "z.example", "localhost", "localhost\n", "", "",
		  "z.example" },
		{ "localdomain", "", "", "localhost.localdomain", "", "", "", "" },
		{ "bad nodename", "", "z.example", "n x", "", "", "", "z.example" },
		{ "empty nodename", "", "", "", "", " \n x\n", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf c = { .hostname = str_dup(str_z(rows[i].host)),
			          .domain = str_dup(str_z(rows[i].domain)) };

		conf_names(&c, str_z(rows[i].node), str_z(rows[i].mailname),
		           str_z(rows[i].hosts));
		if (strcmp(c.hostname, rows[i].want_host) != 0 ||
		    strcmp(c.domain, rows[i].want_domain) != 0)
			fail_msg("%s: hostname \"%s\", domain \"%s\"", rows[i].name,
			         c.hostname, c.domain);
		conf_free(&c);
	}
}

/* Is there a line ".It Ic KEY" or ".Sh"/".Ss" with the key of this section? */
static bool in_manual(const char *man, const struct conf_row *row)
{
	_cleanup_buf_ struct buf want = BUF_INIT;
	const char *from = man, *to, *title;

	buf_fmt(&want, "\n.Ss %s\n",
	        row->section == SEC_ROOT ? "Outside of sections"
	                                 : conf_sections[row->section].name);
	from = strstr(man, want.p);
	if (!from)
		return false;
	/* The section ends where the next title stands, of either rank. */
	to = strstr(from + 1, "\n.Ss ");
	title = strstr(from + 1, "\n.Sh ");
	if (title && (!to || title < to))
		to = title;
	buf_reset(&want);
	buf_fmt(&want, "\n.It Ic %s\n", row->key);
	from = strstr(from, want.p);
	return from && (!to || from < to);
}

static void manual(void **state)
{
	_cleanup_buf_ struct buf man = BUF_INIT;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "man/mailchute.conf.5", &man, 1 << 20), 0);
	for (size_t i = 0; i < conf_rows_n; i++)
		if (!in_manual(man.p, &conf_rows[i]))
			fail_msg("%s of %s is not in mailchute.conf(5)", conf_rows[i].key,
			         conf_sections[conf_rows[i].section].name);
}

/* The sample as it is shipped, but for its secret's path. */
static void sample(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT, err = BUF_INIT, mine = BUF_INIT;
	const char *path = "\"/etc/mailchute/password\"", *at;
	struct conf c;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "etc/mailchute.conf", &text, 1 << 20), 0);
	at = strstr(text.p, path);
	assert_non_null(at);
	buf_add(&mine, text.p, (size_t)(at - text.p));
	buf_z(&mine, "\"@/pw\"");
	buf_z(&mine, at + strlen(path));
	if (load(mine.p, &c, &err) < 0)
		fail_msg("%s", err.p);
	assert_int_equal(c.smarthosts, 1);
	assert_int_equal(c.rules, 1);
	conf_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),   cmocka_unit_test(several_errors),
		cmocka_unit_test(two_lines), cmocka_unit_test(ports),
		cmocka_unit_test(all_keys),  cmocka_unit_test(secrets),
		cmocka_unit_test(files),     cmocka_unit_test(names),
		cmocka_unit_test(manual),    cmocka_unit_test(sample),
		cmocka_unit_test(windows),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
