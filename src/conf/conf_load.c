#include "conf/table.h"
#include "base/io.h"
#include "mail/addr.h"
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* libconfuse gives its callbacks no argument of ours, and there are no globals here: the
 * address of struct load travels in an option of every section under a name that no file
 * can have (conf_scan refuses keys in quotes, and this byte outside of them). */
static const char context_key[] = "\001";

/* A key or section that was met. Sections are known by what = -1 - section. */
struct seen {
	const cfg_t *in; /* a section is met in itself */
	long what;
	int line;
};

struct load {
	const char *path;
	struct buf *err;
	unsigned errors;
	struct conf_scan scan;
	size_t closed; /* sections that have ended */
	bool clean;    /* no value was refused: what holds between keys can be checked */
	struct seen *seen;
	size_t seen_n;
};

static void error(struct load *ld, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void error(struct load *ld, int line, const char *fmt, ...)
{
	va_list ap;

	if (ld->errors++ >= CONF_ERRORS_MAX)
		return;
	buf_fmt(ld->err, "%s:%d: ", ld->path, line);
	va_start(ap, fmt);
	buf_vfmt(ld->err, fmt, ap);
	va_end(ap);
	buf_c(ld->err, '\n');
}

static struct load *context(const cfg_t *cfg)
{
	for (const cfg_opt_t *o = cfg->opts; o->name; o++)
		if (o->name[0] == context_key[0])
			return (struct load *)(void *)o->simple_value.ptr;
	abort(); /* every section has one */
}

static const struct seen *find_seen(const struct load *ld, const cfg_t *in, long what)
{
	for (size_t i = 0; i < ld->seen_n; i++)
		if (ld->seen[i].in == in && ld->seen[i].what == what)
			return &ld->seen[i];
	return NULL;
}

static void note_seen(struct load *ld, const cfg_t *in, long what, int line)
{
	struct seen *more = realloc(ld->seen, (ld->seen_n + 1) * sizeof(*more));

	if (!more)
		die_oom();
	ld->seen = more;
	more[ld->seen_n++] = (struct seen){ in, what, line };
}

/* The line of a key of the section, else the section's. */
static int line_of(const struct load *ld, const cfg_t *in, const char *key)
{
	const struct seen *s = NULL;

	for (size_t i = 0; i < ld->seen_n; i++) {
		const struct seen *t = &ld->seen[i];

		if (t->in == in &&
		    (t->what < 0 || strcmp(conf_rows[t->what].key, key) == 0))
			if (!s || s->what < 0)
				s = t;
	}
	return s ? s->line : 1;
}

static bool given(const struct load *ld, const cfg_t *in, const char *key)
{
	for (size_t i = 0; i < ld->seen_n; i++)
		if (ld->seen[i].in == in && ld->seen[i].what >= 0 &&
		    strcmp(conf_rows[ld->seen[i].what].key, key) == 0)
			return true;
	return false;
}

/* ---- What libconfuse says, and what we add to it ---- */

static enum conf_section section_of(const cfg_t *cfg)
{
	for (enum conf_section s = SEC_ROOT; s < SECTIONS; s++)
		if (strcmp(cfg->name, conf_sections[s].name) == 0)
			return s;
	return SEC_ROOT;
}

static void unknown_key(struct load *ld, const cfg_t *cfg, struct str key)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	conf_unknown_key(section_of(cfg), key, &text);
	error(ld, cfg->line, "%s", text.p);
}

static const struct {
	const char *says, *right;
} advice[] = {
	{ "premature end", "; a value or a } is missing" },
	{ "missing equal", "; write it as KEY = \"value\"" },
	{ "missing title", "; write it as: smarthost \"name\" { ... }" },
	{ "missing opening", "; write it as NAME { KEY = \"value\" }" },
	{ "found duplicate title", "; each smarthost needs a name of its own" },
	{ "attempt to append", "; write = instead of +=" },
	{ "unexpected token", "; a value, a comma or a quote is missing before it" },
	{ "", "" },
};

/* Called by libconfuse in place of printing. */
static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	_cleanup_buf_ struct buf raw = BUF_INIT, text = BUF_INIT;
	const struct str unknown = STR("no such option '");
	struct load *ld = context(cfg);

	buf_vfmt(&raw, fmt, ap);
	if (str_starts(buf_view(&raw), unknown)) {
		struct str key = str_from(buf_view(&raw), unknown.n);

		unknown_key(ld, cfg, str_head(key, key.n - 1));
		return;
	}
	buf_escape(&text, buf_view(&raw), 200);
	for (size_t i = 0; i < ARRAY_LEN(advice); i++) {
		if (str_starts(buf_view(&raw), str_z(advice[i].says))) {
			buf_z(&text, advice[i].right);
			break;
		}
	}
	error(ld, cfg->line, "%s", text.p);
}

/* ---- One key, one section, as they are met ---- */

static void check_value(struct load *ld, const cfg_t *cfg, const struct conf_row *row,
                        const char *value)
{
	_cleanup_buf_ struct buf why = BUF_INIT, shown = BUF_INIT;
	int64_t number;

	if (conf_value(row, str_z(value), &number, &why) == 0)
		return;
	buf_escape(&shown, str_z(value), 80);
	error(ld, cfg->line, "%s \"%s\" %s", row->key, shown.n ? shown.p : "", why.p);
}

/* Called by libconfuse behind each value, for a list behind each of its values and at its
 * end. Other than 0 ends the parse. */
static int on_key(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct conf_row *row = &conf_rows[opt->def.number];
	struct load *ld = context(cfg);
	const struct seen *before = find_seen(ld, cfg, opt->def.number);

	if (before && !conf_type_is_list(row->type))
		error(ld, cfg->line, "%s is given twice, first in line %d; remove one",
		      row->key, before->line);
	if (!before) {
		note_seen(ld, cfg, opt->def.number, cfg->line);
		/* Of a section that comes later, only its own line is reported. */
		if (row->later && !conf_sections[row->section].later)
			error(ld, cfg->line, "\"%s\" is not in this version", row->key);
	}
	if (opt->nvalues > CONF_LIST_MAX) {
		error(ld, cfg->line, "%s has too many values; at most %d are allowed",
		      row->key, CONF_LIST_MAX);
		return -1;
	}
	if (!row->later && opt->nvalues)
		check_value(ld, cfg, row, opt->values[opt->nvalues - 1]->string);
	return ld->errors >= CONF_ERRORS_MAX ? -1 : 0;
}

/* Called by libconfuse behind the } of a section. */
static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	struct load *ld = context(cfg);
	enum conf_section sec = (enum conf_section)(-1 - opt->def.number);
	const struct conf_section_row *row = &conf_sections[sec];
	const cfg_t *section = opt->values[opt->nvalues - 1]->section;
	int line = ld->closed < ld->scan.starts ? ld->scan.start[ld->closed] : cfg->line;

	ld->closed++;
	note_seen(ld, section, opt->def.number, line);
	if (row->later)
		error(ld, line, "\"%s\" is not in this version", row->name);
	if (sec == SEC_SMARTHOST && opt->nvalues == 2)
		error(ld, line, "more than one smarthost is not in this version");
	if (sec == SEC_SMARTHOST && !conf_title_ok(str_z(section->title))) {
		_cleanup_buf_ struct buf shown = BUF_INIT;

		buf_escape(&shown, str_z(section->title), 80);
		error(ld, line,
		      "\"%s\" cannot name a smarthost; use 1 to 64 letters, "
		      "digits, dots, dashes, underscores, not a dot or dash first, not "
		      "\"new\"",
		      shown.n ? shown.p : "");
	}
	if (opt->nvalues > CONF_SECTIONS_MAX) {
		error(ld, line, "too many %s sections; at most %d are allowed", row->name,
		      CONF_SECTIONS_MAX);
		return -1;
	}
	return ld->errors >= CONF_ERRORS_MAX ? -1 : 0;
}

static int on_context(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
	(void)cfg, (void)opt, (void)argc, (void)argv;
	return -1;
}

/* ---- libconfuse's arrays, from the table ---- */

struct options {
	cfg_opt_t of[SECTIONS][CONF_KEYS_MAX + 1];
};

static void make_options(struct options *o, struct load *ld)
{
	size_t n[SECTIONS] = { 0 };

	for (size_t i = 0; i < conf_rows_n; i++) {
		const struct conf_row *r = &conf_rows[i];
		bool list = conf_type_is_list(r->type);

		if (n[r->section] + SECTIONS >= CONF_KEYS_MAX)
			abort(); /* the table has grown over its limit */
		o->of[r->section][n[r->section]++] = (cfg_opt_t){
			.name = r->key,
			.type = CFGT_STR,
			.flags = CFGF_NODEFAULT | (list ? CFGF_LIST : 0),
			.def = { .number = (long)i },
			.validcb = on_key,
		};
	}
	for (enum conf_section s = SEC_ROOT + 1; s < SECTIONS; s++) {
		const struct conf_section_row *r = &conf_sections[s];

		o->of[r->parent][n[r->parent]++] = (cfg_opt_t){
			.name = r->name,
			.type = CFGT_SEC,
			.flags = (r->multi ? CFGF_MULTI : 0) |
			         (r->titled ? CFGF_TITLE | CFGF_NO_TITLE_DUPES : 0),
			.subopts = o->of[s],
			.def = { .number = -1 - (long)s },
			.validcb = on_section,
		};
	}
	for (enum conf_section s = SEC_ROOT; s < SECTIONS; s++) {
		o->of[s][n[s]++] = (cfg_opt_t){
			.name = context_key,
			.type = CFGT_FUNC,
			.func = on_context,
			.simple_value = { .ptr = (void **)(void *)ld },
		};
		o->of[s][n[s]] = (cfg_opt_t)CFG_END();
	}
}

/* ---- From libconfuse's values to ours ---- */

static void set_text(const struct conf_row *row, void *field, const char *text)
{
	_cleanup_buf_ struct buf why = BUF_INIT, host = BUF_INIT;
	int64_t number = 0;

	if (row->type == TYPE_STRING || row->type == TYPE_OPTIONAL) {
		char **z = field;

		free(*z);
		*z = text || row->type == TYPE_STRING ? str_dup(str_z(text)) : NULL;
		return;
	}
	if (!text)
		return;
	if (row->type == TYPE_LIST) {
		strv_add(field, str_z(text));
		return;
	}
	if (row->type == TYPE_HOSTS) {
		if (conf_host(str_z(text), &host, &why) == 0)
			strv_add(field, buf_view(&host));
		return;
	}
	if (conf_value(row, str_z(text), &number, &why) < 0)
		return; /* reported by on_key */
	if (row->type == TYPE_BOOL)
		*(bool *)field = number != 0;
	else if (row->type == TYPE_TLS)
		*(enum conf_tls *)field = (enum conf_tls)number;
	else if (row->type == TYPE_REWRITE)
		*(unsigned *)field |= (unsigned)number;
	else
		*(int64_t *)field = number;
}

/* Fills the fields of one section from its values, or from the table's defaults where
 * there are none (cfg NULL: the whole section was not given). */
static void take_section(enum conf_section sec, const cfg_t *cfg, void *object)
{
	for (size_t i = 0; i < conf_rows_n; i++) {
		const struct conf_row *row = &conf_rows[i];
		const cfg_opt_t *opt = cfg ? cfg->opts : NULL;
		void *field;

		if (row->section != sec || row->offset == CONF_NOWHERE)
			continue;
		field = (char *)object + row->offset;
		while (opt && opt->name && strcmp(opt->name, row->key) != 0)
			opt++;
		if (opt && opt->nvalues) {
			for (unsigned j = 0; j < opt->nvalues; j++)
				set_text(row, field, opt->values[j]->string);
		} else if (row->def && conf_type_is_list(row->type)) {
			struct str left = str_z(row->def), word;

			while (str_cut(&left, ' ', &word)) {
				char *z = str_dup(word);

				set_text(row, field, z);
				free(z);
			}
		} else {
			set_text(row, field, row->def);
		}
	}
}

static const cfg_opt_t *section_option(const cfg_t *cfg, enum conf_section sec)
{
	const cfg_opt_t *o = cfg->opts;

	while (o->name && !(o->type == CFGT_SEC && o->def.number == -1 - (long)sec))
		o++;
	return o;
}

/* ---- What must hold between keys ---- */

/* A list that was given empty is seen by no callback. */
static void check_empty_lists(struct load *ld, const cfg_t *cfg)
{
	for (const cfg_opt_t *o = cfg->opts; o->name; o++)
		if (o->type == CFGT_STR && (o->flags & CFGF_MODIFIED) && o->nvalues == 0)
			error(ld, line_of(ld, cfg, o->name),
			      "the list %s is empty; leave it out, or put something in",
			      o->name);
}

static void check_file(struct load *ld, const cfg_t *in, const char *key,
                       const char *path, bool secret)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	_cleanup_fd_ int fd = -1;

	if (path[0] == '\0')
		return;
	if (secret) {
		fd = conf_open_secret(path, &why);
		if (fd < 0)
			error(ld, line_of(ld, in, key), "%s: %s", key, why.p);
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		error(ld, line_of(ld, in, key),
		      "%s: %s cannot be opened: %s; give a file that %s can read", key,
		      path, strerror(errno), MAILCHUTE_USER);
}

static void default_port(const struct load *ld, const cfg_t *in, struct smarthost *h)
{
	bool tls = given(ld, in, "tls");

	if (!given(ld, in, "port"))
		h->port = tls && h->tls == CONF_TLS_IMPLICIT ? 465 : 587;
	if (tls)
		return;
	if (h->port == 465)
		h->tls = CONF_TLS_IMPLICIT;
	else if (h->port == 25 && h->user[0] == '\0')
		h->tls = CONF_TLS_NONE;
	else
		h->tls = CONF_TLS_STARTTLS;
}

static void finish_smarthost(struct load *ld, const cfg_t *in, struct smarthost *h)
{
	_cleanup_buf_ struct buf host = BUF_INIT, why = BUF_INIT;

	default_port(ld, in, h);
	if (!given(ld, in, "host") && conf_title_ok(str_z(h->name))) {
		if (conf_host(str_z(h->name), &host, &why) == 0)
			strv_add(&h->host, buf_view(&host));
		else
			error(ld, h->line,
			      "smarthost \"%s\" has no host, and its name is none; add "
			      "host = \"smtp.example.org\"",
			      h->name);
	}
	if (h->user[0] && !h->password_file[0])
		error(ld, line_of(ld, in, "user"),
		      "user without password-file; add password-file = "
		      "\"/etc/mailchute/password\"");
	if (h->password_file[0] && !h->user[0])
		error(ld, line_of(ld, in, "password-file"),
		      "password-file without user; add user = \"...\"");
	if (h->user[0] && h->tls == CONF_TLS_NONE && !h->auth_insecure)
		error(ld, line_of(ld, in, "tls"),
		      "the password would travel in clear; set tls = \"starttls\" (or "
		      "auth-insecure = \"yes\")");
	if (h->retry_max < h->retry && !given(ld, in, "retry-max"))
		h->retry_max = h->retry;
	if (h->retry_max < h->retry)
		error(ld, line_of(ld, in, "retry-max"),
		      "retry-max is shorter than retry; make it at least as long");
	check_file(ld, in, "tls-ca-file", h->tls_ca_file, false);
	check_file(ld, in, "password-file", h->password_file, true);
}

static void take_smarthosts(struct load *ld, const cfg_t *root, struct conf *c)
{
	const cfg_opt_t *opt = section_option(root, SEC_SMARTHOST);

	c->smarthost = calloc(opt->nvalues + 1, sizeof(*c->smarthost));
	if (!c->smarthost)
		die_oom();
	if (opt->nvalues == 0)
		error(ld, 1,
		      "there is no smarthost; add: smarthost "
		      "\"smtp.isp.example\" { user = \"...\" password-file = "
		      "\"...\" }");
	for (unsigned i = 0; i < opt->nvalues; i++) {
		const cfg_t *in = opt->values[i]->section;
		const cfg_opt_t *t = section_option(in, SEC_TIMEOUTS);
		const cfg_t *times = t->nvalues ? t->values[0]->section : NULL;
		struct smarthost *h = &c->smarthost[c->smarthosts++];
		const struct seen *s = find_seen(ld, in, -1 - (long)SEC_SMARTHOST);

		h->name = str_dup(str_z(in->title));
		h->line = s ? s->line : in->line;
		take_section(SEC_SMARTHOST, in, h);
		take_section(SEC_TIMEOUTS, times, h);
		check_empty_lists(ld, in);
		if (ld->clean)
			finish_smarthost(ld, in, h);
	}
}

/* Tries the template on an address of this machine, so that a rule that can never work is
 * refused here and not found out by each message. */
static void try_rule(struct load *ld, const cfg_t *in, const struct masq_rule *rule,
                     const char *host)
{
	_cleanup_buf_ struct buf made = BUF_INIT, shown = BUF_INIT;
	const struct masq_who who = { STR("eddy"), STR("Eddy Example"), str_z(host) };
	struct str local, domain = STR_NONE;
	int e;

	if (strstr(rule->as, "%h") && host[0] == '\0') {
		error(ld, line_of(ld, in, "as"),
		      "as has %%h, but this machine's name is not known; set hostname");
		return;
	}
	e = masq_address(&made, rule, STR("eddy@box.example.org"), &who);
	if (e == 0)
		addr_split(buf_view(&made), &local, &domain);
	if (domain.n)
		return;
	buf_escape(&shown, str_z(rule->as), 80);
	error(ld, line_of(ld, in, "as"),
	      "as \"%s\" does not make a mail address of eddy@box.example.org; it would "
	      "look like %%u@example.org",
	      shown.n ? shown.p : "");
}

static void take_rules(struct load *ld, const cfg_t *root, struct conf *c)
{
	const cfg_opt_t *opt = section_option(root, SEC_MASQUERADE);

	c->rule = calloc(opt->nvalues + 1, sizeof(*c->rule));
	if (!c->rule)
		die_oom();
	for (unsigned i = 0; i < opt->nvalues; i++) {
		const cfg_t *in = opt->values[i]->section;
		struct masq_rule *r = &c->rule[c->rules++];
		const struct seen *s = find_seen(ld, in, -1 - (long)SEC_MASQUERADE);
		unsigned before = ld->errors;

		r->line = s ? s->line : in->line;
		take_section(SEC_MASQUERADE, in, r);
		check_empty_lists(ld, in);
		if (!r->match[0])
			error(ld, r->line, "masquerade without match; add match = \"*\"");
		if (!r->as[0])
			error(ld, r->line,
			      "masquerade without as; add as = \"eddy@example.org\"");
		if (ld->clean && before == ld->errors)
			try_rule(ld, in, r, c->hostname);
	}
}

static void take_names(struct conf *c)
{
	enum { SYSTEM_FILE_MAX = 256 << 10 };
	_cleanup_buf_ struct buf mailname = BUF_INIT, hosts = BUF_INIT;
	char node[256] = "";

	if (gethostname(node, sizeof(node) - 1) < 0)
		node[0] = '\0';
	/* What cannot be read counts as empty. */
	if (io_slurp_at(AT_FDCWD, "/etc/mailname", &mailname, SYSTEM_FILE_MAX) < 0)
		buf_reset(&mailname);
	if (io_slurp_at(AT_FDCWD, "/etc/hosts", &hosts, SYSTEM_FILE_MAX) < 0)
		buf_reset(&hosts);
	conf_names(c, str_z(node), buf_view(&mailname), buf_view(&hosts));
}

static void take_all(struct load *ld, const cfg_t *root, struct conf *c)
{
	for (enum conf_section s = SEC_ROOT; s < SECTIONS; s++) {
		const cfg_opt_t *opt = section_option(root, s);
		const cfg_t *in = s == SEC_ROOT || !opt->name || !opt->nvalues
		                      ? root
		                      : opt->values[0]->section;

		if (conf_sections[s].of == OF_CONF && !conf_sections[s].multi) {
			take_section(s, in, c);
			check_empty_lists(ld, in);
		}
	}
	ld->clean = ld->errors == 0;
	take_names(c);
	take_smarthosts(ld, root, c);
	take_rules(ld, root, c);
}

/* ---- The whole ---- */

static int read_file(struct load *ld, struct buf *text)
{
	_cleanup_fd_ int fd =
	    open(ld->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int e = fd < 0 ? -errno : 0;
	struct stat st;

	if (e == 0 && fstat(fd, &st) < 0)
		e = -errno;
	if (e == 0 && !S_ISREG(st.st_mode)) {
		error(ld, 1, "it is no regular file; give the name of one");
		return -EINVAL;
	}
	if (e == 0)
		e = io_slurp(fd, text, CONF_FILE_MAX);
	if (e == -EFBIG) {
		error(ld, 1, "the file is larger than 1 MiB; make it shorter");
		return -EINVAL;
	}
	if (e < 0)
		buf_fmt(ld->err, "%s: cannot be read: %s; %s\n", ld->path, strerror(-e),
		        e == -ENOENT ? "write it, mailchute.conf(5) shows how"
		                     : "see to its owner and mode");
	return e;
}

static int parse(struct load *ld, struct conf *c)
{
	struct options o;
	cfg_t *cfg;
	int rc;

	make_options(&o, ld);
	cfg = cfg_init(o.of[SEC_ROOT], CFGF_NONE);
	if (!cfg)
		die_oom();
	cfg_set_error_function(cfg, on_error);
	buf_room(&ld->scan.text, 0);
	rc = cfg_parse_buf(cfg, ld->scan.text.p);
	if (rc == CFG_SUCCESS)
		take_all(ld, cfg, c);
	else if (ld->errors == 0)
		error(ld, cfg->line,
		      "the file cannot be understood from here on; "
		      "mailchute.conf(5) shows its form");
	cfg_free(cfg);
	return ld->errors ? -EINVAL : 0;
}

int conf_load(const char *path, struct conf *ret, struct buf *ret_err)
{
	_cleanup_buf_ struct buf text = BUF_INIT, why = BUF_INIT;
	struct load ld = { .path = path, .err = ret_err };
	struct conf c = { .hostname = NULL };
	int line, e = read_file(&ld, &text);

	if (e == 0) {
		e = conf_scan(buf_view(&text), &ld.scan, &line, &why);
		if (e < 0)
			error(&ld, line, "%s", why.p);
	}
	if (e == 0)
		e = parse(&ld, &c);
	if (e == 0)
		*ret = c;
	else
		conf_free(&c);
	conf_scan_free(&ld.scan);
	free(ld.seen);
	return e;
}
