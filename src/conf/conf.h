/*
 * conf.h - the configuration: one table drives libconfuse, defaults, packing and checks
 *
 * conf_load() needs libconfuse and is called in a child of mailchuted; the other
 * processes get the packed form (a sealed memfd) and unpack it without libconfuse.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "mail/masq.h"

enum conf_tls { CONF_TLS_NONE, CONF_TLS_STARTTLS, CONF_TLS_IMPLICIT };
enum conf_bool3 { CONF_NO, CONF_YES, CONF_AUTO };

enum { CONF_SPANS_MAX = 8 };
struct conf_spans {
	int64_t v[CONF_SPANS_MAX]; /* seconds */
	size_t n;
};

/* "30/1m", "500 recipients/1d": at most so many in so much time. */
enum { CONF_RATES_MAX = 8 };
struct conf_rate {
	int64_t n, seconds;
	bool recipients; /* else messages */
};

struct smarthost {
	char *name;       /* title: names the queue directory */
	struct strv host; /* default: the title */
	int64_t port;
	enum conf_tls tls;
	bool tls_verify;
	char *tls_ca_file, *tls_name, *tls_certificate, *tls_key, *tls_priority;
	struct strv tls_pin;
	char *user, *password_file, *auth;
	bool auth_insecure;
	char *password_command, *token_command; /* shell command lines; "": none */
	char *source_address;                   /* numeric, "": the system's choice */
	struct strv for_, from;                 /* patterns: what this route is for */
	int64_t lifetime, retry, retry_max;     /* seconds */
	struct conf_spans warn_after;           /* ascending */
	int64_t give_up;                        /* seconds; 0: never */
	int64_t session_max;                    /* seconds: timeouts.session */
	bool stream;                 /* "auto"; false: "off", at most one message's
	                                       commands ahead (RFC 2920) */
	int64_t max_ambiguous;       /* messages in flight at most */
	int64_t connection_messages; /* messages of one connection at most; 0: as
	                                       many as the host takes */
	bool hold;                   /* only when somebody asks (flush, -q) */
	struct conf_rate rate[CONF_RATES_MAX];
	size_t rates;
	int line;
};

enum conf_listen_tls { LISTEN_TLS_NONE, LISTEN_TLS_STARTTLS, LISTEN_TLS_IMPLICIT };

/* A place where mailchute-smtpd listens. */
struct listen {
	char *at; /* title: "127.0.0.1:25", "[::1]:587", ":25" (all), "unix:/path" */
	struct strv allow; /* networks "192.0.2.0/24", "2001:db8::/32", that may relay
	                      without AUTH; default: loopback. unix: all may */
	enum conf_listen_tls tls; /* default: starttls with a certificate, else none */
	char *tls_certificate, *tls_key, *users_file; /* paths; "": none */
	char *tls_priority;                           /* of GnuTLS; "": link.h's own */
	bool auth_insecure;                           /* AUTH without TLS, too */
	struct strv senders, recipients;              /* patterns; empty: all */
	char *sender;            /* the envelope sender of everything; "": the client's */
	int64_t max_connections; /* 100 */
	int64_t max_per_client;  /* 20 */
	int64_t max_message_size; /* octets; 0: as queue.max-message-size */
	int64_t errors;           /* 20 */
	int64_t idle, timeout;    /* seconds: 5m, 1h */
	int line;
};

/* Strings are never NULL: "" is not given. */
struct conf {
	char *hostname;    /* resolved: FQDN, /etc/mailname, host.domain, or "" (address
	                   literal) */
	char *domain;      /* default: /etc/mailname, else hostname */
	bool domain_given; /* the file has it: names without a domain are then others' */
	char *admin;   /* default: what the masquerade rule for "*" makes of everybody */
	char *aliases; /* path; "": none */
	struct strv expose;
	enum masq_override override; /* sender-override */
	struct strv override_user;   /* MASQ_OVERRIDE_LIST: as in masq_rule.user */
	struct smarthost *smarthost;
	size_t smarthosts;
	struct masq_rule *rule;
	size_t rules;
	int64_t max_message_size; /* octets */
	/* 0: no limit */
	int64_t max_messages, max_bytes, max_per_user, min_free;
	bool notify_failure, notify_delay; /* of messages that do not say */
	char *bounce_to;                   /* "sender", "admin" or an address */
	char *bounce_from;                 /* for hosts that refuse <>; "": none */
	char *bounce_template;             /* path; "": ours */
	bool bounce_whole;                 /* return the message, not just its header */
	int64_t alert_oldest; /* seconds: mail that waits longer is worth an alert */
	char *alert_command;  /* shell command line; "": none, and no alerts */
	char *log_to;         /* "syslog" | "stderr" */
	struct listen *listen;
	size_t listens;
	int64_t listener_uid; /* of MAILCHUTE_IN_USER; -1: there is none. Set by
	                         mailchute-look, not in the file */
};

/* Reads and validates the file. 0 and *ret (caller frees); or -EINVAL (or -errno of the
 * open) and ret_err holds one or more lines "file:line: what is wrong; what would be
 * right". Nothing of a bad file is used. */
int conf_load(const char *path, struct conf *ret, struct buf *ret_err);
/* The files that a configuration names, by who needs them. */
enum conf_files {
	CONF_FILES_SENDING = 1, /* passwords, certificates, maps ... of all but listen */
	CONF_FILES_LISTENING = 2, /* the certificates of listen sections */
	CONF_FILES_USERS = 4,     /* the users-files of those, which few may read */
};
/* The same, but only these files (CONF_FILES_ bits) are looked at: the others may be missing,
 * broken, or closed to the caller. */
int conf_load_some(const char *path, unsigned files, struct conf *ret,
                   struct buf *ret_err);
void conf_free(struct conf *c);

/* Adds the groups whose members rules and sender-override are for, each once, at
 * most CONF_GROUPS_MAX (table.h). The daemon
 * attests just these (G of the queue file). */
void conf_groups(const struct conf *c, struct strv *ret);

/* The packed form, versioned; conf_unpack() of it gives the same conf, but for the maps
 * (masq_rule.table), which are read anew. -EBADMSG: not ours. */
void conf_pack(const struct conf *c, struct buf *b);
int conf_unpack(struct str packed, struct conf *ret);

/* Which smart host takes mail from sender ("" is <>) to rcpt, both as they go out: an index
 * into c->smarthost. In the order of the file behind the first, whose `for` and `from`
 * match; else the first. Input may be hostile. */
size_t conf_route(const struct conf *c, struct str sender, struct str rcpt);
/* Does one of the patterns match, as in `for` and `from` (mailchute.conf(5), ROUTES)? */
bool conf_match(const struct strv *patterns, struct str addr);

/* Opens a secret named by the configuration: regular file, not readable by others, group
 * when it is our egid, at most 64 KiB. "credential:NAME" is NAME below $CREDENTIALS_DIRECTORY
 * (systemd.exec(5)), which only mailchuted has. Descriptor, or -errno with a line of why
 * (also what would be right) in ret_err. */
#define CONF_CREDENTIAL "credential:"
int conf_open_secret(const char *path, struct buf *ret_err);

#endif
