/* The translations that mailchute.conf(5) gives for other programs' settings (MASQUERADE AS
 * ELSEWHERE): each stands in the manual as it is here, and does what is said. */
#include "confbed.h"
#include "mail/compose.h"
#include "push/maps.h"
#include "push/message.h"

enum { LINES = 8, SAMPLES = 9 };

/* place: "envelope" (its sender), "recipient", or a field. want NULL: the field is there with
 * what From had. */
static const struct {
	const char *name;
	const char *conf[LINES];
	const char *map; /* what the file that it names holds */
	struct {
		const char *place, *in, *want;
	} sample[SAMPLES];
} rows[] = {
	{ .name = "sendmail: MASQUERADE_AS(`example.org')",
	  .conf = { "masquerade { match = \"*@box.example.org\"  as = \"%u@example.org\"",
	            "             rewrite = { \"from\", \"sender\", \"reply-to\" } }" },
	  .sample = { { "From", "root", "root@example.org" },
	              { "From", "Root <root@box.example.org>",
	                "Root <root@example.org>" },
	              { "Reply-To", "ann@box.example.org", "ann@example.org" },
	              { "Sender", "ann@box.example.org", "ann@example.org" },
	              { "From", "ann@other.example", "ann@other.example" },
	              { "To", "ann@box.example.org", "ann@box.example.org" },
	              { "envelope", "ann", "ann@box.example.org" } } },
	{ .name = "sendmail: MASQUERADE_DOMAIN(`lan.example')",
	  .conf = { "masquerade { match = \"*@lan.example\"  as = \"%u@example.org\"",
	            "             rewrite = { \"from\", \"sender\", \"reply-to\" } }" },
	  .sample = { { "From", "ann@lan.example", "ann@example.org" },
	              { "From", "ann@pc.lan.example", "ann@pc.lan.example" },
	              { "From", "ann@vlan.example", "ann@vlan.example" } } },
	{ .name = "sendmail: FEATURE(`masquerade_entire_domain')",
	  .conf = { "masquerade { match = \"*@lan.example\"  as = \"%u@example.org\"",
	            "             rewrite = { \"from\", \"sender\", \"reply-to\" } }",
	            "masquerade { match = \"*@*.lan.example\"  as = \"%u@example.org\"",
	            "             rewrite = { \"from\", \"sender\", \"reply-to\" } }" },
	  .sample = { { "From", "ann@lan.example", "ann@example.org" },
	              { "From", "ann@pc.lan.example", "ann@example.org" },
	              { "From", "ann@vlan.example", "ann@vlan.example" } } },
	{ .name = "sendmail: FEATURE(`masquerade_envelope')",
	  .conf = { "masquerade { match = \"*@box.example.org\"  as = \"%u@example.org\"",
	            "             rewrite = { \"envelope\", \"from\", \"sender\", "
	            "\"reply-to\" } }" },
	  .sample = { { "envelope", "ann", "ann@example.org" },
	              { "envelope", "ann@other.example", "ann@other.example" },
	              { "envelope", "", "" },
	              { "From", "ann", "ann@example.org" } } },
	{ .name = "sendmail: FEATURE(`allmasquerade')",
	  .conf = { "masquerade { match = \"*@box.example.org\"  as = \"%u@example.org\"",
	            "             rewrite = { \"from\", \"sender\", \"reply-to\", "
	            "\"to\", \"cc\" } }" },
	  .sample = { { "To", "ann, bob@far.example",
	                "ann@example.org, bob@far.example" },
	              { "Cc", "ann@box.example.org", "ann@example.org" },
	              { "envelope", "ann", "ann@box.example.org" },
	              { "recipient", "ann@box.example.org", "ann@box.example.org" } } },
	{ .name = "sendmail: EXPOSED_USER(`root')",
	  .conf = { "expose = { \"root@*\" }",
	            "masquerade { match = \"*\"  as = \"%u@example.org\" }" },
	  .sample = { { "From", "root", "root@box.example.org" },
	              { "envelope", "root", "root@box.example.org" },
	              { "From", "ann", "ann@example.org" } } },
	{ .name = "sendmail: LIMITED_MASQUERADE",
	  .conf = { "masquerade { match = \"*@lan.example\"  as = \"%u@example.org\"",
	            "             rewrite = { \"from\", \"sender\", \"reply-to\" } }" },
	  .sample = { { "From", "ann", "ann@box.example.org" },
	              { "From", "ann@lan.example", "ann@example.org" } } },
	{ .name =
	      "sendmail: FEATURE(`genericstable'), GENERICS_DOMAIN(`box.example.org')",
	  .conf = { "masquerade { match = \"*@box.example.org\"  map = "
	            "\"/etc/mailchute/generics\"",
	            "             rewrite = { \"from\", \"sender\", \"reply-to\" } }" },
	  .map = "ann@box.example.org            ann.smith@example.org\n"
	         "old+*@box.example.org          new+%t@example.org\n"
	         "*@box.example.org              staff@example.org\n",
	  .sample = { { "From", "ann", "ann.smith@example.org" },
	              { "From", "ann+x@box.example.org", "ann.smith@example.org" },
	              { "From", "old+x@box.example.org", "new+x@example.org" },
	              { "From", "old", "staff@example.org" },
	              { "From", "Ann (x) <ANN@Box.example.org>",
	                "Ann (x) <ann.smith@example.org>" },
	              { "From", "ann@lan.example", "ann@lan.example" },
	              { "envelope", "ann", "ann@box.example.org" } } },
	{ .name = "Postfix: smtp_generic_maps",
	  .conf = { "masquerade { map = \"/etc/mailchute/generic\"",
	            "             rewrite = { \"envelope\", \"recipient\", \"from\", "
	            "\"sender\",",
	            "                         \"reply-to\", \"to\", \"cc\" } }" },
	  .map = "ann@box.example.org            ann.smith@example.org\n"
	         "*@local.example                %u@example.org\n",
	  .sample = { { "From", "ann", "ann.smith@example.org" },
	              { "envelope", "ann", "ann.smith@example.org" },
	              { "recipient", "ann@box.example.org", "ann.smith@example.org" },
	              { "To", "Ann <ann@box.example.org>",
	                "Ann <ann.smith@example.org>" },
	              { "Cc", "bob@local.example", "bob@example.org" },
	              { "recipient", "bob@far.example", "bob@far.example" },
	              { "envelope", "bob+x@local.example", "bob+x@example.org" },
	              { "envelope", "", "" } } },
	{ .name = "Postfix: masquerade_domains = example.com",
	  .conf = { "masquerade { match = \"*@*.example.com\"  as = \"%u@example.com\"",
	            "             rewrite = { \"envelope\", \"from\", \"sender\", "
	            "\"reply-to\", \"to\", \"cc\" } }" },
	  .sample = { { "From", "ann@a.b.example.com", "ann@example.com" },
	              { "envelope", "ann@a.example.com", "ann@example.com" },
	              { "To", "ann@a.example.com", "ann@example.com" },
	              { "recipient", "ann@a.example.com", "ann@a.example.com" },
	              { "From", "ann@example.com", "ann@example.com" },
	              { "From", "ann@myexample.com", "ann@myexample.com" } } },
	{ .name = "Postfix: masquerade_domains = !host.example.com example.com",
	  .conf = { "masquerade { match = \"*@host.example.com\"    as = \"%u@%d\"",
	            "             rewrite = { \"envelope\", \"from\", \"sender\", "
	            "\"reply-to\", \"to\", \"cc\" } }",
	            "masquerade { match = \"*@*.host.example.com\"  as = \"%u@%d\"",
	            "             rewrite = { \"envelope\", \"from\", \"sender\", "
	            "\"reply-to\", \"to\", \"cc\" } }",
	            "masquerade { match = \"*@*.example.com\"       as = "
	            "\"%u@example.com\"",
	            "             rewrite = { \"envelope\", \"from\", \"sender\", "
	            "\"reply-to\", \"to\", \"cc\" } }" },
	  .sample = { { "From", "ann@host.example.com", "ann@host.example.com" },
	              { "From", "ann@x.host.example.com", "ann@x.host.example.com" },
	              { "From", "ann@a.example.com", "ann@example.com" },
	              { "envelope", "\"a b\"@host.example.com",
	                "\"a b\"@host.example.com" } } },
	{ .name = "Postfix: masquerade_exceptions = root",
	  .conf = { "expose = { \"root@*\" }",
	            "masquerade { match = \"*@*.example.com\"  as = \"%u@example.com\"",
	            "             rewrite = { \"envelope\", \"from\", \"sender\", "
	            "\"reply-to\", \"to\", \"cc\" } }" },
	  .sample = { { "From", "root@a.example.com", "root@a.example.com" },
	              { "From", "ann@a.example.com", "ann@example.com" } } },
	{ .name = "Postfix: masquerade_classes = envelope_sender, envelope_recipient, "
	          "header_sender, header_recipient",
	  .conf = { "masquerade { match = \"*@*.example.com\"  as = \"%u@example.com\"",
	            "             rewrite = { \"envelope\", \"recipient\", \"from\", "
	            "\"sender\",",
	            "                         \"reply-to\", \"to\", \"cc\" } }" },
	  .sample = { { "envelope", "ann@a.example.com", "ann@example.com" },
	              { "recipient", "ann@a.example.com", "ann@example.com" },
	              { "From", "ann@a.example.com", "ann@example.com" },
	              { "Reply-To", "ann@a.example.com", "ann@example.com" },
	              { "Cc", "ann@a.example.com", "ann@example.com" } } },
	{ .name = "ssmtp: revaliases: eddy:eddy@isp.example:smtp.isp.example",
	  .conf = { "smarthost \"smtp.isp.example\" { from = \"eddy@isp.example\" }",
	            "masquerade { match = \"*@box.example.org\"  as = "
	            "\"eddy@isp.example\"  user = \"eddy\" }" },
	  .sample = { { "envelope", "eddy", "eddy@isp.example" },
	              { "From", "eddy", "eddy@isp.example" },
	              { "From", "x@far.example", "x@far.example" } } },
	{ .name = "ssmtp: root=eddy@isp.example",
	  .conf = { "admin = \"eddy@isp.example\"", "aliases = \"\"" },
	  .sample = { { "recipient", "root", "eddy@isp.example" },
	              { "recipient", "daemon", "eddy@isp.example" },
	              { "recipient", "ann", "eddy@isp.example" },
	              { "recipient", "bob@far.example", "bob@far.example" },
	              { "From", "root", "root@box.example.org" } } },
	{ .name = "ssmtp: rewriteDomain=example.org",
	  .conf = { "domain = \"example.org\"" },
	  .sample = { { "envelope", "eddy", "eddy@example.org" },
	              { "From", "Eddy <eddy>", "Eddy <eddy@example.org>" } } },
	{ .name = "ssmtp: FromLineOverride=YES",
	  .conf = { "sender-override = \"yes\"" },
	  .sample = { { "From", "x@far.example", "x@far.example" },
	              { "envelope", "x@far.example", "x@far.example" } } },
	{ .name = "ssmtp: FromLineOverride=NO",
	  .conf = { "sender-override = \"no\"" },
	  .sample = { { "From", "x@far.example",
	                "\"Eddy Example\" <eddy@box.example.org>" },
	              { "envelope", "x@far.example", "eddy@box.example.org" },
	              { "From", "Me <eddy>", "Me <eddy@box.example.org>" },
	              { "X-Original-From", "x@far.example", NULL } } },
	{ .name = "nullmailer: allmailfrom: eddy@isp.example",
	  .conf = { "masquerade { match = \"*\"  as = \"eddy@isp.example\"  rewrite = "
	            "\"envelope\" }" },
	  .sample = { { "envelope", "x@far.example", "eddy@isp.example" },
	              { "envelope", "", "" },
	              { "From", "x@far.example", "x@far.example" } } },
	{ .name = "nullmailer: adminaddr: eddy@isp.example",
	  .conf = { "admin = \"eddy@isp.example\"", "aliases = \"\"" },
	  .sample = { { "recipient", "ann", "eddy@isp.example" },
	              { "recipient", "ann@localhost", "eddy@isp.example" },
	              { "recipient", "bob@far.example", "bob@far.example" } } },
	{ .name = "nullmailer: defaulthost: box.example.org, defaultdomain: example.org",
	  .conf = { "domain = \"box.example.org\"",
	            "masquerade { match = \"*@*.*\"  as = \"%u@%d\"",
	            "             rewrite = { \"envelope\", \"recipient\", \"from\", "
	            "\"sender\",",
	            "                         \"reply-to\", \"to\", \"cc\" } }",
	            "masquerade { match = \"*\"      as = \"%u@%d.example.org\"",
	            "             rewrite = { \"envelope\", \"recipient\", \"from\", "
	            "\"sender\",",
	            "                         \"reply-to\", \"to\", \"cc\" } }" },
	  .sample = { { "envelope", "eddy", "eddy@box.example.org" },
	              { "envelope", "eddy@lab", "eddy@lab.example.org" },
	              { "To", "ann@lab, bob",
	                "ann@lab.example.org, bob@box.example.org" },
	              { "recipient", "ann@lab", "ann@lab.example.org" },
	              { "recipient", "ann@far.example", "ann@far.example" } } },
	{ .name = "msmtp: from eddy@isp.example",
	  .conf = { "masquerade { match = \"*@box.example.org\"  as = "
	            "\"eddy@isp.example\"  rewrite = \"envelope\" }" },
	  .sample = { { "envelope", "eddy", "eddy@isp.example" },
	              { "envelope", "x@far.example", "x@far.example" },
	              { "From", "eddy", "eddy@box.example.org" } } },
	{ .name = "msmtp: allow_from_override off",
	  .conf = { "masquerade { match = \"*\"  as = \"eddy@isp.example\"  rewrite = "
	            "\"envelope\" }" },
	  .sample = { { "envelope", "x@far.example", "eddy@isp.example" },
	              { "From", "x@far.example", "x@far.example" } } },
	{ .name = "msmtp: set_from_header on",
	  .conf = { "masquerade { match = \"*\"  as = \"eddy@isp.example\"  rewrite = { "
	            "\"envelope\", \"from\" } }" },
	  .sample = { { "envelope", "x@far.example", "eddy@isp.example" },
	              { "From", "X <x@far.example>", "X <eddy@isp.example>" },
	              { "Sender", "x@far.example", "x@far.example" } } },
	{ .name = "msmtp: aliases /etc/aliases, with default: eddy@isp.example in it",
	  .conf = { "admin = \"eddy@isp.example\"" },
	  .sample = { { "recipient", "ann", "eddy@isp.example" },
	              { "recipient", "bob@far.example", "bob@far.example" } } },
	{ .name = "dma: MASQUERADE example.org",
	  .conf = { "domain = \"example.org\"" },
	  .sample = { { "envelope", "eddy", "eddy@example.org" },
	              { "From", "x@far.example", "x@far.example" } } },
	{ .name = "dma: MASQUERADE eddy@isp.example",
	  .conf = { "masquerade { match = \"*@box.example.org\"  as = "
	            "\"eddy@isp.example\"",
	            "             rewrite = { \"envelope\", \"from\" } }" },
	  .sample = { { "envelope", "eddy", "eddy@isp.example" },
	              { "envelope", "x@far.example", "x@far.example" },
	              { "From", "eddy", "eddy@isp.example" } } },
};

/* The configuration around a row's lines. */
static void load_row(size_t i, struct conf *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT, err = BUF_INIT;
	bool domain = false;

	for (size_t k = 0; k < LINES && rows[i].conf[k]; k++)
		domain = domain || str_starts(str_z(rows[i].conf[k]), STR("domain")) ||
		         str_starts(str_z(rows[i].conf[k]), STR("admin"));
	buf_z(&text, "hostname = \"box.example.org\"\nsmarthost isp { }\n");
	if (!domain)
		buf_z(&text, "domain = \"box.example.org\" aliases = \"\"\n");
	for (size_t k = 0; k < LINES && rows[i].conf[k]; k++) {
		const char *line = rows[i].conf[k],
		           *path = strstr(line, "/etc/mailchute/");

		if (path) {
			buf_add(&text, line, (size_t)(path - line));
			buf_z(&text, "@/map\"");
			line = strchr(path, '"') + 1;
		}
		buf_z(&text, line);
		buf_c(&text, '\n');
	}
	if (rows[i].map)
		put("map", str_z(rows[i].map), 0644);
	if (load(text.p, c, &err) < 0 || maps_read(c, &err) < 0)
		fail_msg("%s: %s", rows[i].name, err.p);
}

static void run_sample(size_t i, size_t k, const struct compose_conf *c)
{
	const char *place = rows[i].sample[k].place, *in = rows[i].sample[k].in;
	const char *want = rows[i].sample[k].want;
	struct env_rcpt rcpt = { .addr = STR("friend@far.example") };
	struct envelope e = { .uid = 1000,
		              .login = STR("eddy"),
		              .gecos = STR("Eddy Example"),
		              .rcpt = &rcpt,
		              .rcpts = 1 };
	_cleanup_buf_ struct buf head = BUF_INIT, out = BUF_INIT, line = BUF_INIT;
	struct plan p;

	if (strcmp(place, "envelope") == 0) {
		e.has_sender = true;
		e.sender = str_z(in);
	} else if (strcmp(place, "recipient") == 0) {
		rcpt.addr = str_z(in);
	} else {
		buf_fmt(&head, "%s: %s\n", want ? place : "From", in);
	}
	compose_plan(c, &e, &p);
	compose_header(c, &e, STR("0123456789abcdef"), STR(""), buf_view(&head), &out);
	buf_fmt(&line, "\n%s: %s\n", place, want ? want : in);
	if (strcmp(place, "envelope") == 0) {
		if (strcmp(p.sender, want) != 0)
			fail_msg("%s: sender %s: %s", rows[i].name, in, p.sender);
	} else if (strcmp(place, "recipient") == 0) {
		if (strcmp(p.rcpt[0].addr, want) != 0)
			fail_msg("%s: recipient %s: %s", rows[i].name, in,
			         p.rcpt[0].addr);
	} else if (!strstr(out.p, line.p)) {
		fail_msg("%s: want \"%s\", got:\n%s", rows[i].name, line.p + 1, out.p);
	}
	plan_free(&p);
}

static void translations(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char room[MESSAGE_NAME_MAX + 1];
		struct compose_conf cc;
		struct conf c;

		load_row(i, &c);
		message_conf(&c, room, &cc);
		cc.own_uid = UINT32_MAX; /* these are nobody's who runs the tests */
		for (size_t k = 0; k < SAMPLES && rows[i].sample[k].place; k++)
			run_sample(i, k, &cc);
		conf_free(&c);
	}
}

/* Line by line as it stands in the manual, in the right order. */
static void in_manual(void **state)
{
	_cleanup_buf_ struct buf man = BUF_INIT;
	const char *at;

	(void)state;
	assert_int_equal(io_slurp_at(AT_FDCWD, "man/mailchute.conf.5", &man, 1 << 20), 0);
	at = strstr(man.p, "\n.Sh MASQUERADE AS ELSEWHERE\n");
	assert_non_null(at);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_buf_ struct buf block = BUF_INIT;

		buf_c(&block, '\n');
		for (size_t k = 0; k < LINES && rows[i].conf[k]; k++)
			buf_fmt(&block, "%s\n", rows[i].conf[k]);
		at = strstr(at, block.p);
		if (!at)
			fail_msg("%s is not in the manual, or not in its place:%s",
			         rows[i].name, block.p);
		at += block.n - 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translations),
		cmocka_unit_test(in_manual),
	};

	return cmocka_run_group_tests_name("masq_table", tests, setup, teardown);
}
