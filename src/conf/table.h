/*
 * table.h - inside src/conf: every section and key there is, and what is done with them
 *
 * One table makes libconfuse's option arrays, the defaults, the packed form and the test
 * that compares it with mailchute.conf(5). The table is frozen: a key whose feature comes
 * later stands in it as .later and is refused by name.
 */
#ifndef CONF_TABLE_H
#define CONF_TABLE_H

#include "conf/conf.h"

enum {
	CONF_FILE_MAX = 1 << 20,      /* octets of the file */
	CONF_VALUE_MAX = 1024,        /* octets of one value */
	CONF_LIST_MAX = 1000,         /* values of one list */
	CONF_SECTIONS_MAX = 1000,     /* sections of one kind */
	CONF_DEPTH_MAX = 8,           /* open braces */
	CONF_ERRORS_MAX = 20,         /* lines of errors; parsing ends there */
	CONF_TITLE_MAX = 64,          /* octets of a smart host's name */
	CONF_SECRET_MAX = 64 << 10,   /* octets of a password file */
	CONF_KEYS_MAX = 48,           /* keys of one section, checked by a test */
	CONF_ASSIGNED_MAX = 10000,    /* assignments whose lines are known */
	CONF_GROUPS_MAX = 500,        /* different groups that rules name */
	CONF_CONNECTIONS_MAX = 10000, /* of one place to listen: descriptors, processes */
	CONF_RATE_SPAN_MAX = 31 * 86400, /* seconds that a rate is counted over */
};

enum conf_section {
	SEC_ROOT,
	SEC_SMARTHOST,
	SEC_TIMEOUTS,
	SEC_MASQUERADE,
	SEC_QUEUE,
	SEC_BOUNCE,
	SEC_LISTEN,
	SEC_ALERT,
	SEC_LOG,
	SECTIONS
};

/* The struct that a section's offsets are in. */
enum conf_of { OF_CONF, OF_SMARTHOST, OF_RULE, OF_LISTEN };

struct conf_section_row {
	const char *name;
	enum conf_section parent;
	bool multi, titled;
	enum conf_of of;
};
extern const struct conf_section_row conf_sections[SECTIONS];

enum conf_type {
	TYPE_STRING,     /* char *, "" when not given */
	TYPE_OPTIONAL,   /* char *, NULL when not given */
	TYPE_LIST,       /* struct strv */
	TYPE_HOSTS,      /* struct strv; addresses are kept in brackets */
	TYPE_PORT,       /* int64_t, 0 when not given */
	TYPE_SPAN,       /* int64_t, seconds */
	TYPE_SPANS,      /* struct conf_spans: ascending, none twice */
	TYPE_SIZE,       /* int64_t, octets */
	TYPE_COUNT,      /* int64_t; 0: no limit */
	TYPE_BOOL,       /* bool */
	TYPE_TLS,        /* enum conf_tls */
	TYPE_REWRITE,    /* unsigned, MASQ_ bits; a list in the file */
	TYPE_NOTIFY,     /* notify_failure and notify_delay of struct conf; a list */
	TYPE_RETURN,     /* bool: the whole message */
	TYPE_STREAM,     /* bool: "auto" */
	TYPE_LISTEN_TLS, /* enum conf_listen_tls */
	TYPE_RATES,      /* rate and rates of struct smarthost; a list */
};

/* Looks at one value. 0, or -EINVAL with "is ...; what would be right" in why. */
typedef int conf_check(struct str v, struct buf *why);

struct conf_row {
	enum conf_section section;
	const char *key;
	enum conf_type type;
	const char *def;  /* as it would stand in the file; NULL: none */
	const char *none; /* this word is the number 0: no limit, never; or NULL */
	bool empty;       /* "" and the empty list mean the same */
	int64_t least;    /* of a TYPE_COUNT; more than 0: there is no "no limit" */
	int64_t most;     /* of a TYPE_COUNT; 0: what the type has */
	size_t offset;    /* CONF_NOWHERE: checked, not kept */
	conf_check *check;
};
#define CONF_NOWHERE SIZE_MAX
extern const struct conf_row conf_rows[];
extern const size_t conf_rows_n;

bool conf_type_is_list(enum conf_type t);

/* A TYPE_NOTIFY row has two fields, one of which it names; as a number they are these. */
enum { NOTIFY_FAILURE = 1, NOTIFY_DELAY = 2 };
int64_t conf_notify(const struct conf_row *row, const void *field);
void conf_notify_add(const struct conf_row *row, void *field, int64_t bits);

/* The smart host that a TYPE_RATES row's field is in; one more rate of it, false: there are
 * CONF_RATES_MAX. */
const struct smarthost *conf_rates(const struct conf_row *row, const void *field);
bool conf_rates_add(const struct conf_row *row, void *field, const struct conf_rate *r);

/* conf_value.c: one value as text. ret_number is set for all types but strings (a TLS,
 * MASQ_ or NOTIFY_ constant, 0 or 1, seconds, octets, a count). 0, or -EINVAL with why. */
int conf_value(const struct conf_row *row, struct str v, int64_t *ret_number,
               struct buf *why);
/* Appends the host as it is kept: a name, or "[address]". 0, or -EINVAL with why. */
int conf_host(struct str v, struct buf *ret, struct buf *why);
bool conf_domain_ok(
    struct str v);                /* letters, digits, - _ in labels; at most 253 octets */
bool conf_is_local(struct str v); /* localhost and its kin: never a name of ours */
bool conf_title_ok(struct str v);
/* "30/1m", "500 recipients/1d". 0, or -EINVAL with why. */
int conf_rate(struct str v, struct conf_rate *ret, struct buf *why);
/* Where a listen section listens, its title. 0, or -EINVAL with why. */
int conf_listen_at(struct str v, struct buf *why);
bool conf_listen_unix(struct str v); /* "unix:/path" */
/* Would one take connections of the other, as ":25" those of "127.0.0.1:25"? Both are such titles;
 * not for unix: sockets. */
bool conf_listen_overlap(struct str a, struct str b);
conf_check conf_check_user, conf_check_client, conf_check_name, conf_check_address,
    conf_check_path, conf_check_auth, conf_check_secret, conf_check_pin, conf_check_as,
    conf_check_display, conf_check_log, conf_check_pattern, conf_check_glob,
    conf_check_to, conf_check_network, conf_check_source;

/* conf_scan.c: the file before libconfuse sees it. Comments become blanks (libconfuse
 * miscounts lines behind them), and what it would silently drop, expand, print or exit
 * for is refused. 0, or -EINVAL with the line and why. ret is to be freed in any case; its
 * keys borrow from in. */
struct conf_scan_section {
	int line;    /* on which it begins */
	unsigned id; /* counted from 1 in the order in which they begin */
};
struct conf_scan_key {
	unsigned section; /* id, 0: outside of sections */
	int line;
	struct str key;
	const void *in; /* what the section became; conf_load.c fills it in */
};
struct conf_scan {
	struct buf text;
	struct conf_scan_section *start; /* in the order in which they end */
	size_t starts;
	struct conf_scan_key *key; /* each "KEY =", the first CONF_ASSIGNED_MAX */
	size_t keys;
};
int conf_scan(struct str in, struct conf_scan *ret, int *ret_line, struct buf *why);
void conf_scan_free(struct conf_scan *s);

/* conf_suggest.c: appends "unknown key ...; what was meant". */
void conf_unknown_key(enum conf_section sec, struct str key, struct buf *text);

/* conf_names.c: fills hostname and domain where they are still "". nodename: what
 * gethostname() says; mailname, hosts: contents of /etc/mailname and /etc/hosts. No name
 * is looked up: that could block. */
void conf_names(struct conf *c, struct str nodename, struct str mailname,
                struct str hosts);

#endif
