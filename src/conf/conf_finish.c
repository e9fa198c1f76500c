#include "conf/load.h"
#include "base/io.h"
#include "mail/addr.h"
#include "mail/masq_map.h"
#include "mail/template.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	CA_FILE_MAX = 4 << 20, /* octets; Debian's bundle has 0.2 MiB */
	ALIASES_MAX = 4 << 20,
};

/* Reads a file that the key names; -ENODATA: none is looked at. The descriptor's kind is looked
 * at before anything is read, and O_NONBLOCK: a FIFO must not make us wait. */
static int read_named(struct load *ld, int line, const char *key, const char *path,
                      struct buf *ret, size_t max)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int e = 0;

	if (!(ld->files & CONF_FILES_SENDING))
		return -ENODATA;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		e = -errno;
		load_error(ld, line,
		           "%s: %s cannot be opened: %s; give a file that %s can read",
		           key, path, strerror(-e), MAILCHUTE_USER);
		return e;
	}
	if (fstat(fd, &st) < 0)
		e = -errno;
	else if (!S_ISREG(st.st_mode))
		e = -EINVAL;
	else
		e = io_slurp(fd, ret, max);
	if (e == -EINVAL)
		load_error(ld, line, "%s: %s is no regular file; give the name of one",
		           key, path);
	else if (e == -EFBIG)
		load_error(ld, line, "%s: %s is larger than %zu KiB; make it shorter",
		           key, path, max >> 10);
	else if (e < 0)
		load_error(ld, line, "%s: %s cannot be read: %s; give another file", key,
		           path, strerror(-e));
	return e;
}

/* ---- A smart host ---- */

/* Whether GnuTLS can use what is in it is seen by who uses it. */
void load_certificate(struct load *ld, int line, const char *key, const char *path,
                      struct str text)
{
	static const char mark[] = "CERTIFICATE-----";

	if (text.n == 0 || !memmem(text.p, text.n, mark, sizeof(mark) - 1))
		load_error(
		    ld, line, "%s: %s holds no certificate; give a PEM file, as %s", key,
		    path,
		    strcmp(key, "tls-ca-file") == 0 ? "/etc/ssl/certs/ca-certificates.crt"
		                                    : "/etc/mailchute/certificate.pem");
}

static void check_certificate(struct load *ld, const void *in, const char *key,
                              const char *path)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	int line = load_line(ld, in, key);

	if (path[0] && read_named(ld, line, key, path, &text, CA_FILE_MAX) == 0)
		load_certificate(ld, line, key, path, buf_view(&text));
}

static void check_secret(struct load *ld, const void *in, const char *key,
                         const char *path)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	_cleanup_fd_ int fd = -1;

	/* Where credentials are, only mailchuted knows. */
	if (path[0] == '\0' || !(ld->files & CONF_FILES_SENDING) ||
	    str_starts(str_z(path), STR(CONF_CREDENTIAL)))
		return;
	fd = conf_open_secret(path, &why);
	if (fd < 0)
		load_error(ld, load_line(ld, in, key), "%s: %s", key, why.p);
}

static void default_port(const struct load *ld, const void *in, struct smarthost *h)
{
	bool tls = load_given(ld, in, "tls");

	if (!load_given(ld, in, "port"))
		h->port = tls && h->tls == CONF_TLS_IMPLICIT                  ? 465
		          : h->host.n && strncmp(h->host.v[0], "mx:", 3) == 0 ? 25
		                                                              : 587;
	if (tls)
		return;
	if (h->port == 465)
		h->tls = CONF_TLS_IMPLICIT;
	else if (h->port == 25 && h->user[0] == '\0')
		h->tls = CONF_TLS_NONE;
	else
		h->tls = CONF_TLS_STARTTLS;
}

static void default_host(struct load *ld, const void *in, struct smarthost *h)
{
	_cleanup_buf_ struct buf host = BUF_INIT, why = BUF_INIT;

	if (load_given(ld, in, "host") || !conf_title_ok(str_z(h->name)))
		return;
	if (conf_host(str_z(h->name), &host, &why) == 0)
		strv_add(&h->host, buf_view(&host));
	else
		load_error(ld, h->line,
		           "smarthost \"%s\" has no host, and its name is none; add "
		           "host = \"smtp.example.org\"",
		           h->name);
}

static bool is_auth(const struct smarthost *h, const char *one, const char *other)
{
	return strcmp(h->auth, one) == 0 || strcmp(h->auth, other) == 0;
}

/* One of three keys says what proves who user is. */
static void check_proof(struct load *ld, const void *in, const struct smarthost *h)
{
	const struct {
		const char *key, *value;
	} proof[] = { { "password-file", h->password_file },
		      { "password-command", h->password_command },
		      { "token-command", h->token_command } };
	const char *first = NULL;

	for (size_t i = 0; i < ARRAY_LEN(proof); i++) {
		int line = load_line(ld, in, proof[i].key);

		if (proof[i].value[0] == '\0')
			continue;
		if (!h->user[0])
			load_error(ld, line, "%s without user; add user = \"...\"",
			           proof[i].key);
		if (first)
			load_error(ld, line, "%s besides %s; remove one", proof[i].key,
			           first);
		first = proof[i].key;
	}
	if (h->user[0] && !first && !is_auth(h, "external", "external"))
		load_error(ld, load_line(ld, in, "user"),
		           "user without password-file; add password-file = "
		           "\"/etc/mailchute/password\"");
}

/* Does the way to log in go with what there is? */
static void check_auth(struct load *ld, const void *in, const struct smarthost *h)
{
	int line = load_line(ld, in, "auth");
	bool token = is_auth(h, "xoauth2", "oauthbearer");
	bool external = is_auth(h, "external", "external");

	if (strcmp(h->auth, "auto") == 0)
		return;
	if (token && !h->token_command[0])
		load_error(ld, line,
		           "auth \"%s\" without token-command; add token-command = "
		           "\"...\", which prints an access token",
		           h->auth);
	if (!token && h->token_command[0])
		load_error(ld, load_line(ld, in, "token-command"),
		           "token-command with auth \"%s\", which takes no token; set "
		           "auth to auto, xoauth2 or oauthbearer",
		           h->auth);
	if (external && !h->tls_certificate[0])
		load_error(ld, line,
		           "auth \"external\" without tls-certificate, which would say "
		           "who we are; add tls-certificate and tls-key");
	if (external && (h->password_file[0] || h->password_command[0]))
		load_error(ld, line,
		           "auth \"external\" with a password, which it does not take; "
		           "remove the password, or set auth to auto");
	if (!external && !h->user[0])
		load_error(ld, line, "auth \"%s\" without user; add user = \"...\"",
		           h->auth);
}

static void check_login(struct load *ld, const void *in, const struct smarthost *h)
{
	/* These do not show the password to who listens. */
	bool hidden = is_auth(h, "cram-md5", "scram-sha-1") ||
	              is_auth(h, "scram-sha-256", "external");

	check_proof(ld, in, h);
	check_auth(ld, in, h);
	if (h->user[0] && h->tls == CONF_TLS_NONE && !h->auth_insecure && !hidden)
		load_error(ld, load_line(ld, in, "tls"),
		           "the password would travel in clear; set tls = \"starttls\" "
		           "(or auth-insecure = \"yes\")");
	if (h->tls_certificate[0] && h->tls == CONF_TLS_NONE)
		load_error(ld, load_line(ld, in, "tls-certificate"),
		           "tls-certificate without TLS; set tls = \"starttls\", or "
		           "remove it");
	load_pair(ld, in, h->tls_certificate, h->tls_key);
	check_secret(ld, in, "password-file", h->password_file);
	check_secret(ld, in, "tls-key", h->tls_key);
}

/* The first takes what no other does. There `for` would be read as "nothing else goes
 * there", which is not so: it is refused, as is another that could never be used. */
static void check_patterns(struct load *ld, const void *in, const struct smarthost *h,
                           bool first)
{
	static const char *const keys[] = { "for", "from" };

	for (size_t i = 0; first && i < ARRAY_LEN(keys); i++)
		if (load_given(ld, in, keys[i]))
			load_error(ld, load_line(ld, in, keys[i]),
			           "%s in the first smarthost, which takes all that no "
			           "other is for; remove it, or put another smarthost "
			           "before this one",
			           keys[i]);
	if (!first && h->for_.n == 0 && h->from.n == 0)
		load_error(
		    ld, h->line,
		    "smarthost \"%s\" would never be used, as it is not the first; "
		    "add for = { \"example.org\" } or from = { "
		    "\"*@example.org\" }",
		    h->name);
}

void load_smarthost(struct load *ld, const void *in, struct conf *c, size_t i)
{
	struct smarthost *h = &c->smarthost[i];

	default_port(ld, in, h);
	default_host(ld, in, h);
	check_login(ld, in, h);
	if (h->retry_max < h->retry && !load_given(ld, in, "retry-max"))
		h->retry_max = h->retry;
	if (h->retry_max < h->retry)
		load_error(ld, load_line(ld, in, "retry-max"),
		           "retry-max is shorter than retry; make it at least as long");
	if (i > 0 && !load_given(ld, in, "give-up"))
		h->give_up = h->lifetime;
	check_patterns(ld, in, h, i == 0);
	check_certificate(ld, in, "tls-ca-file", h->tls_ca_file);
	check_certificate(ld, in, "tls-certificate", h->tls_certificate);
}

/* ---- Rules, the administrator, reports ---- */

/* Tries a template on an address of this machine. */
static void check_as(struct load *ld, const void *in, const struct masq_rule *rule,
                     const struct masq_who *who)
{
	_cleanup_buf_ struct buf made = BUF_INIT, shown = BUF_INIT;
	struct str local, domain = STR_NONE;

	if (masq_expand(&made, rule->as, STR("eddy@box.example.org"), who) == 0)
		addr_split(buf_view(&made), &local, &domain);
	if (domain.n)
		return;
	buf_escape(&shown, str_z(rule->as), 80);
	load_error(ld, load_line(ld, in, "as"),
	           "as \"%s\" does not make a mail address of eddy@box.example.org; it "
	           "would look like %%u@example.org",
	           shown.n ? shown.p : "");
}

static void check_map(struct load *ld, const void *in, const struct masq_rule *rule)
{
	_cleanup_buf_ struct buf text = BUF_INIT, why = BUF_INIT;
	int line = load_line(ld, in, "map"), at = 1;
	struct masq_map *m = NULL;

	if (read_named(ld, line, "map", rule->map, &text, MASQ_MAP_MAX) < 0)
		return;
	if (masq_map_parse(buf_view(&text), &m, &at, &why) < 0)
		load_error(ld, line, "map: %s:%d: %s", rule->map, at, why.p);
	masq_map_free(m);
}

void load_rule(struct load *ld, const void *in, const struct masq_rule *rule,
               const char *host)
{
	const struct masq_who who = { .login = STR("eddy"),
		                      .full_name = STR("Eddy Example"),
		                      .host = str_z(host) };

	if (strstr(rule->as, "%h") && host[0] == '\0')
		load_error(
		    ld, load_line(ld, in, "as"),
		    "as has %%h, but this machine's name is not known; set hostname");
	else if (rule->map[0])
		check_map(ld, in, rule);
	else
		check_as(ld, in, rule, &who);
}

/* How a rule's keys go together, and what stands for those that are not there. */
void load_rule_keys(struct load *ld, const void *in, struct masq_rule *rule)
{
	if (rule->map[0] && rule->as[0])
		load_error(ld, load_line(ld, in, "map"),
		           "masquerade with both as and map; the map's lines say what "
		           "addresses become, so remove as, or make another section "
		           "with it");
	if (rule->map[0] && !rule->match[0]) {
		free(rule->match);
		rule->match = str_dup(STR("*"));
	}
	if (!rule->match[0])
		load_error(ld, rule->line, "masquerade without match; add match = \"*\"");
	if (!rule->as[0] && !rule->map[0])
		load_error(ld, rule->line,
		           "masquerade without as; add as = \"eddy@example.org\"");
}

void load_override(struct load *ld, const void *in, struct conf *c)
{
	struct strv *l = &c->override_user;

	c->override = MASQ_OVERRIDE_LIST;
	for (size_t i = 0; i < l->n; i++) {
		bool yes = strcmp(l->v[i], "yes") == 0, no = strcmp(l->v[i], "no") == 0;

		if ((yes || no) && l->n > 1)
			load_error(ld, load_line(ld, in, "sender-override"),
			           "sender-override has \"%s\" among users; write it "
			           "alone, or only users",
			           l->v[i]);
		if (yes || no)
			c->override = yes ? MASQ_OVERRIDE_YES : MASQ_OVERRIDE_NO;
	}
	if (c->override != MASQ_OVERRIDE_LIST)
		strv_free(l);
}

/* /etc/aliases need not be there; what somebody names must. What is wrong in it spoils its
 * line only, and is told when it is read. */
void load_aliases(struct load *ld, const void *in, const struct conf *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	if (c->aliases[0] && load_given(ld, in, "aliases"))
		read_named(ld, load_line(ld, in, "aliases"), "aliases", c->aliases, &text,
		           ALIASES_MAX);
}

void load_groups(struct load *ld, const struct conf *c)
{
	struct strv groups = { .n = 0 };

	conf_groups(c, &groups);
	if (groups.n == CONF_GROUPS_MAX)
		load_error(ld, 1,
		           "too many different groups in user and sender-override; name "
		           "less than %d",
		           CONF_GROUPS_MAX);
	strv_free(&groups);
}

/* A rule that gives everybody one and the same address names the account's owner. */
void load_admin(struct conf *c)
{
	const struct masq_who who = { .host = str_z(c->hostname) };

	for (size_t i = 0; c->admin[0] == '\0' && i < c->rules; i++) {
		const struct masq_rule *r = &c->rule[i];
		_cleanup_buf_ struct buf made = BUF_INIT;

		if ((strcmp(r->match, "*") != 0 && strcmp(r->match, "*@*") != 0) ||
		    r->user.n || r->client.n || r->map[0] || strchr(r->as, '%') ||
		    !(r->rewrite & MASQ_DEFAULT) ||
		    masq_expand(&made, r->as, STR("eddy@box.example.org"), &who) < 0)
			continue;
		free(c->admin);
		c->admin = str_dup(buf_view(&made));
	}
}

void load_bounce(struct load *ld, const void *in, const struct conf *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	int line = load_line(ld, in, "template"), at = 1;
	struct template t;
	const char *why;

	if (strcmp(c->bounce_to, "admin") == 0 && c->admin[0] == '\0')
		load_error(ld, load_line(ld, in, "to"),
		           "to is admin, but there is none; set admin = "
		           "\"eddy@example.org\" outside of sections");
	if (c->bounce_template[0] == '\0' ||
	    read_named(ld, line, "template", c->bounce_template, &text, TEMPLATE_MAX) < 0)
		return;
	if (template_parse(buf_view(&text), &t, &at, &why) < 0)
		load_error(ld, line, "template: %s:%d: %s", c->bounce_template, at, why);
	else
		template_free(&t);
}

void load_alert(struct load *ld, const void *in, const struct conf *c)
{
	if (load_find(ld, in, -1 - (long)SEC_ALERT) && !c->alert_command[0])
		load_error(
		    ld, load_line(ld, in, "oldest"),
		    "alert without command; add command = \"...\", which tells you "
		    "in another way than by mail");
}
