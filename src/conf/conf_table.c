#include "conf/table.h"

const struct conf_section_row conf_sections[SECTIONS] = {
	[SEC_ROOT] = { .name = "root", .of = OF_CONF },
	[SEC_SMARTHOST] = { .name = "smarthost",
	                    .multi = true,
	                    .titled = true,
	                    .of = OF_SMARTHOST },
	[SEC_TIMEOUTS] = { .name = "timeouts",
	                   .parent = SEC_SMARTHOST,
	                   .of = OF_SMARTHOST },
	[SEC_MASQUERADE] = { .name = "masquerade", .multi = true, .of = OF_RULE },
	[SEC_QUEUE] = { .name = "queue", .of = OF_CONF },
	[SEC_BOUNCE] = { .name = "bounce", .of = OF_CONF },
	[SEC_LISTEN] = { .name = "listen",
	                 .multi = true,
	                 .titled = true,
	                 .of = OF_LISTEN },
	[SEC_ALERT] = { .name = "alert", .of = OF_CONF },
	[SEC_LOG] = { .name = "log", .of = OF_CONF },
};

#define KEPT(sec, k, t, s, field, ...)                                                   \
	{                                                                                \
		.section = (sec), .key = (k), .type = (t), .offset = offsetof(s, field), \
		__VA_ARGS__                                                              \
	}
#define TOP(k, t, field, ...) KEPT(SEC_ROOT, k, t, struct conf, field, __VA_ARGS__)
#define HOST(k, t, field, ...) \
	KEPT(SEC_SMARTHOST, k, t, struct smarthost, field, __VA_ARGS__)
#define QUEUE(k, t, field, ...) KEPT(SEC_QUEUE, k, t, struct conf, field, __VA_ARGS__)
#define LISTEN(k, t, field, ...) KEPT(SEC_LISTEN, k, t, struct listen, field, __VA_ARGS__)
#define BOUNCE(k, t, field, ...) KEPT(SEC_BOUNCE, k, t, struct conf, field, __VA_ARGS__)
#define ALERT(k, t, field, ...) KEPT(SEC_ALERT, k, t, struct conf, field, __VA_ARGS__)
#define RULE(k, t, field, ...) \
	KEPT(SEC_MASQUERADE, k, t, struct masq_rule, field, __VA_ARGS__)

const struct conf_row conf_rows[] = {
	TOP("hostname", TYPE_STRING, hostname, .check = conf_check_name),
	TOP("domain", TYPE_STRING, domain, .check = conf_check_name),
	TOP("admin", TYPE_STRING, admin, .check = conf_check_address),
	TOP("aliases", TYPE_STRING, aliases, .def = "/etc/aliases", .empty = true,
	    .check = conf_check_path),
	TOP("expose", TYPE_LIST, expose, .check = conf_check_glob),
	TOP("sender-override", TYPE_LIST, override_user, .def = "yes",
	    .check = conf_check_user),

	HOST("host", TYPE_HOSTS, host, .check = NULL),
	HOST("port", TYPE_PORT, port, .check = NULL),
	HOST("tls", TYPE_TLS, tls, .check = NULL),
	HOST("tls-verify", TYPE_BOOL, tls_verify, .def = "yes"),
	HOST("tls-ca-file", TYPE_STRING, tls_ca_file, .check = conf_check_path),
	HOST("tls-pin", TYPE_LIST, tls_pin, .check = conf_check_pin),
	HOST("tls-name", TYPE_STRING, tls_name, .check = conf_check_name),
	HOST("tls-certificate", TYPE_STRING, tls_certificate, .check = conf_check_path),
	HOST("tls-key", TYPE_STRING, tls_key, .check = conf_check_path),
	HOST("tls-priority", TYPE_STRING, tls_priority, .check = NULL),
	HOST("user", TYPE_STRING, user, .check = NULL),
	HOST("password-file", TYPE_STRING, password_file, .check = conf_check_secret),
	HOST("password-command", TYPE_STRING, password_command, .check = NULL),
	HOST("token-command", TYPE_STRING, token_command, .check = NULL),
	HOST("auth", TYPE_STRING, auth, .def = "auto", .check = conf_check_auth),
	HOST("auth-insecure", TYPE_BOOL, auth_insecure, .def = "no"),
	HOST("for", TYPE_LIST, for_, .check = conf_check_pattern),
	HOST("from", TYPE_LIST, from, .check = conf_check_pattern),
	HOST("lifetime", TYPE_SPAN, lifetime, .def = "5d"),
	HOST("retry", TYPE_SPAN, retry, .def = "5m"),
	HOST("retry-max", TYPE_SPAN, retry_max, .def = "4h"),
	HOST("warn-after", TYPE_SPANS, warn_after, .def = "4h", .none = "never",
	     .empty = true),
	HOST("give-up", TYPE_SPAN, give_up, .none = "never"),
	HOST("rate", TYPE_RATES, rate, .check = NULL),
	HOST("stream", TYPE_STREAM, stream, .def = "auto"),
	HOST("max-ambiguous", TYPE_COUNT, max_ambiguous, .def = "500", .least = 1),
	HOST("connection-messages", TYPE_COUNT, connection_messages, .def = "0"),
	HOST("hold", TYPE_BOOL, hold, .def = "no"),
	HOST("source-address", TYPE_STRING, source_address, .check = conf_check_source),
	KEPT(SEC_TIMEOUTS, "session", TYPE_SPAN, struct smarthost, session_max,
	     .def = "1h"),

	RULE("match", TYPE_STRING, match, .check = conf_check_glob),
	RULE("as", TYPE_STRING, as, .check = conf_check_as),
	RULE("map", TYPE_STRING, map, .check = conf_check_path),
	RULE("name", TYPE_OPTIONAL, name, .check = conf_check_display),
	RULE("rewrite", TYPE_REWRITE, rewrite, .def = "envelope from sender"),
	RULE("user", TYPE_LIST, user, .check = conf_check_user),
	RULE("client", TYPE_LIST, client, .check = conf_check_client),
	RULE("keep-original", TYPE_BOOL, keep_original, .def = "no"),

	QUEUE("max-messages", TYPE_COUNT, max_messages, .def = "0"),
	QUEUE("max-bytes", TYPE_SIZE, max_bytes, .def = "0", .none = "0"),
	QUEUE("max-per-user", TYPE_COUNT, max_per_user, .def = "100000"),
	QUEUE("min-free", TYPE_SIZE, min_free, .def = "16M", .none = "0"),
	QUEUE("max-message-size", TYPE_SIZE, max_message_size, .def = "50M"),

	BOUNCE("notify", TYPE_NOTIFY, notify_failure, .def = "failure delay",
	       .none = "never", .empty = true),
	BOUNCE("to", TYPE_STRING, bounce_to, .def = "sender", .check = conf_check_to),
	BOUNCE("bounce-from", TYPE_STRING, bounce_from, .check = conf_check_address),
	BOUNCE("template", TYPE_STRING, bounce_template, .check = conf_check_path),
	BOUNCE("return", TYPE_RETURN, bounce_whole, .def = "headers"),

	LISTEN("allow", TYPE_LIST, allow, .def = "127.0.0.0/8 ::1", .none = "none",
	       .empty = true, .check = conf_check_network),
	LISTEN("tls", TYPE_LISTEN_TLS, tls, .check = NULL),
	LISTEN("tls-certificate", TYPE_STRING, tls_certificate, .check = conf_check_path),
	LISTEN("tls-key", TYPE_STRING, tls_key, .check = conf_check_path),
	LISTEN("tls-priority", TYPE_STRING, tls_priority, .check = NULL),
	LISTEN("users-file", TYPE_STRING, users_file, .check = conf_check_path),
	LISTEN("auth-insecure", TYPE_BOOL, auth_insecure, .def = "no"),
	LISTEN("senders", TYPE_LIST, senders, .check = conf_check_pattern),
	LISTEN("recipients", TYPE_LIST, recipients, .check = conf_check_pattern),
	LISTEN("sender", TYPE_STRING, sender, .check = conf_check_address),
	LISTEN("max-connections", TYPE_COUNT, max_connections, .def = "100", .least = 1,
	       .most = CONF_CONNECTIONS_MAX),
	LISTEN("max-per-client", TYPE_COUNT, max_per_client, .def = "20", .least = 1,
	       .most = CONF_CONNECTIONS_MAX),
	LISTEN("max-message-size", TYPE_SIZE, max_message_size, .def = "0", .none = "0"),
	LISTEN("errors", TYPE_COUNT, errors, .def = "20", .least = 1),
	LISTEN("idle", TYPE_SPAN, idle, .def = "5m"),
	LISTEN("timeout", TYPE_SPAN, timeout, .def = "1h"),

	ALERT("oldest", TYPE_SPAN, alert_oldest, .def = "1h"),
	ALERT("command", TYPE_STRING, alert_command, .check = NULL),

	KEPT(SEC_LOG, "to", TYPE_STRING, struct conf, log_to, .def = "syslog",
	     .check = conf_check_log),
};
const size_t conf_rows_n = ARRAY_LEN(conf_rows);

bool conf_type_is_list(enum conf_type t)
{
	return t == TYPE_LIST || t == TYPE_HOSTS || t == TYPE_SPANS ||
	       t == TYPE_REWRITE || t == TYPE_NOTIFY || t == TYPE_RATES;
}

int64_t conf_notify(const struct conf_row *row, const void *field)
{
	const struct conf *c = (const void *)((const char *)field - row->offset);

	return (c->notify_failure ? NOTIFY_FAILURE : 0) |
	       (c->notify_delay ? NOTIFY_DELAY : 0);
}

void conf_notify_add(const struct conf_row *row, void *field, int64_t bits)
{
	struct conf *c = (void *)((char *)field - row->offset);

	c->notify_failure = c->notify_failure || (bits & NOTIFY_FAILURE);
	c->notify_delay = c->notify_delay || (bits & NOTIFY_DELAY);
}

const struct smarthost *conf_rates(const struct conf_row *row, const void *field)
{
	return (const void *)((const char *)field - row->offset);
}

bool conf_rates_add(const struct conf_row *row, void *field, const struct conf_rate *r)
{
	struct smarthost *h = (void *)((char *)field - row->offset);

	if (h->rates == CONF_RATES_MAX)
		return false;
	h->rate[h->rates++] = *r;
	return true;
}
