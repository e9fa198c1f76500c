#include "conf/load.h"
#include "base/io.h"
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* libconfuse gives its callbacks no argument of ours, and there are no globals here: the
 * address of struct load travels in an option of every section under a name that no file
 * can have (conf_scan refuses keys in quotes, and this byte outside of them). */
static const char context_key[] = "\001";

static struct load *context(const cfg_t *cfg)
{
	for (const cfg_opt_t *o = cfg->opts; o->name; o++)
		if (o->name[0] == context_key[0])
			return (struct load *)(void *)o->simple_value.ptr;
	abort(); /* every section has one */
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
	load_error(ld, cfg->line, "%s", text.p);
}

static const struct {
	const char *says, *right;
} advice[] = {
	{ "premature end", "; a value or a } is missing" },
	{ "missing equal", "; write it as KEY = \"value\"" },
	{ "missing title for section 'listen'",
	  "; write it as: listen \"127.0.0.1:25\" { ... }" },
	{ "missing title", "; write it as: smarthost \"name\" { ... }" },
	{ "missing opening", "; write it as NAME { KEY = \"value\" }" },
	{ "found duplicate title", "; each section needs a name of its own" },
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
	load_error(ld, cfg->line, "%s", text.p);
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
	load_error(ld, cfg->line, "%s \"%s\" %s", row->key, shown.n ? shown.p : "",
	           why.p);
}

static bool is_none(const struct conf_row *row, const char *value)
{
	return value[0] == '\0' || (row->none && strcmp(value, row->none) == 0);
}

/* What the last value of a list is among the others. */
static void check_among(struct load *ld, const cfg_t *cfg, const struct conf_row *row,
                        const cfg_opt_t *opt)
{
	unsigned n = opt->nvalues;

	if ((row->type == TYPE_SPANS && n > CONF_SPANS_MAX) ||
	    (row->type == TYPE_RATES && n > CONF_RATES_MAX))
		load_error(ld, cfg->line,
		           "%s has too many values; at most %d are allowed", row->key,
		           CONF_SPANS_MAX);
	if (row->empty && n > 1 &&
	    (is_none(row, opt->values[0]->string) ||
	     is_none(row, opt->values[n - 1]->string)))
		load_error(ld, cfg->line,
		           "%s has \"%s\" among other values; write one or "
		           "the others",
		           row->key, row->none ? row->none : "");
}

/* Called by libconfuse behind each value, for a list behind each of its values and at its
 * end. Other than 0 ends the parse. */
static int on_key(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct conf_row *row = &conf_rows[opt->def.number];
	struct load *ld = context(cfg);
	const struct load_seen *before = load_find(ld, cfg, opt->def.number);

	if (before && !conf_type_is_list(row->type))
		load_error(ld, cfg->line,
		           "%s is given twice, first in line %d; remove one", row->key,
		           before->line);
	if (!before)
		load_note(ld, (struct load_seen){ cfg, opt->def.number, cfg->line });
	if (opt->nvalues > CONF_LIST_MAX) {
		load_error(ld, cfg->line,
		           "%s has too many values; at most %d are allowed", row->key,
		           CONF_LIST_MAX);
		return -1;
	}
	if (opt->nvalues) {
		check_value(ld, cfg, row, opt->values[opt->nvalues - 1]->string);
		check_among(ld, cfg, row, opt);
	}
	return ld->errors >= CONF_ERRORS_MAX ? -1 : 0;
}

static void check_title(struct load *ld, int line, enum conf_section sec,
                        struct str title)
{
	_cleanup_buf_ struct buf shown = BUF_INIT, why = BUF_INIT;

	buf_escape(&shown, title, 80);
	if (sec == SEC_SMARTHOST && !conf_title_ok(title))
		load_error(
		    ld, line,
		    "\"%s\" cannot name a smarthost; use 1 to 64 letters, "
		    "digits, dots, dashes, underscores, not a dot or dash first, not "
		    "\"new\"",
		    shown.n ? shown.p : "");
	if (sec == SEC_LISTEN && conf_listen_at(title, &why) < 0)
		load_error(ld, line, "listen \"%s\" %s", shown.n ? shown.p : "", why.p);
}

/* Called by libconfuse behind the } of a section. */
static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	struct load *ld = context(cfg);
	enum conf_section sec = (enum conf_section)(-1 - opt->def.number);
	const struct conf_section_row *row = &conf_sections[sec];
	const cfg_t *section = opt->values[opt->nvalues - 1]->section;
	struct conf_scan_section begun = { .line = cfg->line };
	int line;

	if (ld->closed < ld->scan.starts)
		begun = ld->scan.start[ld->closed];
	line = begun.line;
	ld->closed++;
	load_note(ld, (struct load_seen){ section, opt->def.number, line });
	for (size_t i = 0; i < ld->scan.keys; i++)
		if (ld->scan.key[i].section == begun.id && begun.id)
			ld->scan.key[i].in = section;
	if (row->titled)
		check_title(ld, line, sec, str_z(section->title));
	if (opt->nvalues > CONF_SECTIONS_MAX) {
		load_error(ld, line, "too many %s sections; at most %d are allowed",
		           row->name, CONF_SECTIONS_MAX);
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

/* Keeps them ascending; 0 is none, and one is no two. on_key() has counted them. */
static void add_span(struct conf_spans *s, int64_t v)
{
	size_t at = 0;

	while (at < s->n && s->v[at] < v)
		at++;
	if (v == 0 || s->n == CONF_SPANS_MAX || (at < s->n && s->v[at] == v))
		return;
	memmove(&s->v[at + 1], &s->v[at], (s->n - at) * sizeof(s->v[0]));
	s->v[at] = v;
	s->n++;
}

static void set_text(const struct conf_row *row, void *field, const char *text)
{
	_cleanup_buf_ struct buf why = BUF_INIT, host = BUF_INIT;
	struct conf_rate rate;
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
		if (!is_none(row, text))
			strv_add(field, str_z(text));
		return;
	}
	if (row->type == TYPE_HOSTS) {
		if (conf_host(str_z(text), &host, &why) == 0)
			strv_add(field, buf_view(&host));
		return;
	}
	if (row->type == TYPE_RATES) {
		if (conf_rate(str_z(text), &rate, &why) == 0)
			conf_rates_add(row, field, &rate);
		return;
	}
	if (conf_value(row, str_z(text), &number, &why) < 0)
		return; /* reported by on_key */
	if (row->type == TYPE_BOOL || row->type == TYPE_RETURN ||
	    row->type == TYPE_STREAM)
		*(bool *)field = number != 0;
	else if (row->type == TYPE_TLS)
		*(enum conf_tls *)field = (enum conf_tls)number;
	else if (row->type == TYPE_LISTEN_TLS)
		*(enum conf_listen_tls *)field = (enum conf_listen_tls)number;
	else if (row->type == TYPE_REWRITE)
		*(unsigned *)field |= (unsigned)number;
	else if (row->type == TYPE_NOTIFY)
		conf_notify_add(row, field, number);
	else if (row->type == TYPE_SPANS)
		add_span(field, number);
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
		/* An empty list that is allowed stays as it is. */
		if (opt && opt->name && row->empty && (opt->flags & CFGF_MODIFIED) &&
		    !opt->nvalues)
			continue;
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

/* Of an empty list no callback is told, nor that a list is given twice: only the scan has
 * seen that. */
static void check_lists(struct load *ld, const cfg_t *cfg)
{
	for (const cfg_opt_t *o = cfg->opts; o->name; o++) {
		const struct conf_scan_key *first, *again;

		if (o->type != CFGT_STR || !(o->flags & CFGF_LIST) ||
		    !(o->flags & CFGF_MODIFIED))
			continue;
		first = load_assigned(ld, cfg, o->name, 0);
		again = load_assigned(ld, cfg, o->name, 1);
		if (o->nvalues == 0 && !conf_rows[o->def.number].empty)
			load_error(
			    ld, load_line(ld, cfg, o->name),
			    "the list %s is empty; leave it out, or put something in",
			    o->name);
		if (first && again)
			load_error(ld, again->line,
			           "%s is given twice, first in line %d; write both as "
			           "one list, { \"...\", \"...\" }",
			           o->name, first->line);
	}
}

static void take_smarthosts(struct load *ld, const cfg_t *root, struct conf *c)
{
	const cfg_opt_t *opt = section_option(root, SEC_SMARTHOST);

	c->smarthost = calloc(opt->nvalues + 1, sizeof(*c->smarthost));
	if (!c->smarthost)
		die_oom();
	if (opt->nvalues == 0)
		load_error(ld, 1,
		           "there is no smarthost; add: smarthost "
		           "\"smtp.isp.example\" { user = \"...\" password-file = "
		           "\"...\" }");
	for (unsigned i = 0; i < opt->nvalues; i++) {
		const cfg_t *in = opt->values[i]->section;
		const cfg_opt_t *t = section_option(in, SEC_TIMEOUTS);
		const cfg_t *times = t->nvalues ? t->values[0]->section : NULL;
		struct smarthost *h = &c->smarthost[c->smarthosts++];
		const struct load_seen *s = load_find(ld, in, -1 - (long)SEC_SMARTHOST);

		h->name = str_dup(str_z(in->title));
		h->line = s ? s->line : in->line;
		take_section(SEC_SMARTHOST, in, h);
		take_section(SEC_TIMEOUTS, times, h);
		check_lists(ld, in);
		if (ld->clean)
			load_smarthost(ld, in, c, i);
	}
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
		const struct load_seen *s = load_find(ld, in, -1 - (long)SEC_MASQUERADE);
		unsigned before = ld->errors;

		r->line = s ? s->line : in->line;
		take_section(SEC_MASQUERADE, in, r);
		check_lists(ld, in);
		load_rule_keys(ld, in, r);
		if (ld->clean && before == ld->errors)
			load_rule(ld, in, r, c->hostname);
	}
}

static void take_listens(struct load *ld, const cfg_t *root, struct conf *c)
{
	const cfg_opt_t *opt = section_option(root, SEC_LISTEN);

	c->listen = calloc(opt->nvalues + 1, sizeof(*c->listen));
	if (!c->listen)
		die_oom();
	for (unsigned i = 0; i < opt->nvalues; i++) {
		const cfg_t *in = opt->values[i]->section;
		struct listen *l = &c->listen[c->listens++];
		const struct load_seen *s = load_find(ld, in, -1 - (long)SEC_LISTEN);

		l->at = str_dup(str_z(in->title));
		l->line = s ? s->line : in->line;
		take_section(SEC_LISTEN, in, l);
		check_lists(ld, in);
		if (ld->clean)
			load_listen(ld, in, l);
	}
	if (ld->clean)
		load_listens(ld, c);
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
			check_lists(ld, in);
		}
	}
	c->domain_given = load_given(ld, root, "domain");
	load_override(ld, root, c);
	ld->clean = ld->errors == 0;
	take_names(c);
	take_smarthosts(ld, root, c);
	take_rules(ld, root, c);
	take_listens(ld, root, c);
	if (ld->clean) {
		const cfg_opt_t *bounce = section_option(root, SEC_BOUNCE);
		const cfg_opt_t *alert = section_option(root, SEC_ALERT);

		load_groups(ld, c);
		load_aliases(ld, root, c);
		load_admin(c);
		load_bounce(ld, bounce->nvalues ? bounce->values[0]->section : root, c);
		load_alert(ld, alert->nvalues ? alert->values[0]->section : root, c);
	}
}

/* ---- The whole ---- */

static int parse(struct load *ld, struct conf *c)
{
	struct options o;
	cfg_t *cfg;
	int rc;

	make_options(&o, ld);
	cfg = cfg_init(o.of[SEC_ROOT], CFGF_NONE);
	if (!cfg)
		die_oom();
	ld->root = cfg;
	cfg_set_error_function(cfg, on_error);
	buf_room(&ld->scan.text, 0);
	rc = cfg_parse_buf(cfg, ld->scan.text.p);
	if (rc == CFG_SUCCESS)
		take_all(ld, cfg, c);
	else if (ld->errors == 0)
		load_error(ld, cfg->line,
		           "the file cannot be understood from here on; "
		           "mailchute.conf(5) shows its form");
	cfg_free(cfg);
	return ld->errors ? -EINVAL : 0;
}

int conf_load_some(const char *path, unsigned files, struct conf *ret,
                   struct buf *ret_err)
{
	_cleanup_buf_ struct buf text = BUF_INIT, why = BUF_INIT;
	struct load ld = { .path = path, .err = ret_err, .files = files };
	struct conf c = { .listener_uid = -1 };
	int line, e = load_file(&ld, &text);

	if (e == 0) {
		e = conf_scan(buf_view(&text), &ld.scan, &line, &why);
		if (e < 0)
			load_error(&ld, line, "%s", why.p);
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

int conf_load(const char *path, struct conf *ret, struct buf *ret_err)
{
	return conf_load_some(
	    path, CONF_FILES_SENDING | CONF_FILES_LISTENING | CONF_FILES_USERS, ret,
	    ret_err);
}
