#include "conf/table.h"
#include "mail/addr.h"
#include <errno.h>

struct word {
	const char *name;
	int64_t value;
};
static const struct word words_tls[] = { { "none", CONF_TLS_NONE },
	                                 { "starttls", CONF_TLS_STARTTLS },
	                                 { "implicit", CONF_TLS_IMPLICIT } };
static const struct word words_listen[] = { { "none", LISTEN_TLS_NONE },
	                                    { "starttls", LISTEN_TLS_STARTTLS },
	                                    { "implicit", LISTEN_TLS_IMPLICIT } };
static const struct word words_stream[] = { { "auto", 1 }, { "off", 0 } };
static const struct word words_bool[] = { { "yes", 1 },   { "no", 0 }, { "true", 1 },
	                                  { "false", 0 }, { "on", 1 }, { "off", 0 } };
static const struct word words_rewrite[] = {
	{ "envelope", MASQ_ENVELOPE },
	{ "from", MASQ_FROM },
	{ "sender", MASQ_SENDER },
	{ "reply-to", MASQ_REPLY_TO },
	{ "to", MASQ_TO },
	{ "cc", MASQ_CC },
	{ "resent-from", MASQ_RESENT_FROM },
	{ "resent-sender", MASQ_RESENT_SENDER },
	{ "resent-reply-to", MASQ_RESENT_REPLY_TO },
	{ "resent-to", MASQ_RESENT_TO },
	{ "resent-cc", MASQ_RESENT_CC },
	{ "recipient", MASQ_RECIPIENT },
};
static const struct word units_span[] = {
	{ "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 }
};
static const struct word units_size[] = {
	{ "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }
};

static const struct word units_count[] = { { "", 1 }, { "K", 1000 }, { "M", 1000000 } };
static const struct word words_notify[] = { { "failure", NOTIFY_FAILURE },
	                                    { "delay", NOTIFY_DELAY } };
static const struct word words_return[] = { { "headers", 0 }, { "message", 1 } };

enum {
	SPAN_MAX = 366 * 86400, /* seconds: a year is longer than any mail waits */
	COUNT_MAX = 1000000000, /* messages: more than fit on any disk */
};
#define SIZE_LIMIT ((int64_t)1 << 40)

static bool find(const struct word *w, size_t n, struct str v, int64_t *ret)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(v, str_z(w[i].name))) {
			*ret = w[i].value;
			return true;
		}
	}
	return false;
}

static int refuse(struct buf *why, const char *text)
{
	buf_z(why, text);
	return -EINVAL;
}

bool conf_domain_ok(struct str v)
{
	char before = '.';

	if (v.n == 0 || v.n > 253)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i], l = ascii_lower(c);
		bool plain = (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_';

		if (!plain && (before == '.' || (c != '-' && c != '.')))
			return false;
		if (c == '.' && before == '-')
			return false;
		before = c;
	}
	return before != '.' && before != '-';
}

bool conf_is_local(struct str v)
{
	return str_ieq(v, STR("localhost")) || str_istarts(v, STR("localhost.")) ||
	       str_istarts(v, STR("localhost6")) || str_iends(v, STR(".localhost")) ||
	       str_iends(v, STR(".localdomain"));
}

bool conf_title_ok(struct str v)
{
	if (v.n == 0 || v.n > CONF_TITLE_MAX || v.p[0] == '.' || v.p[0] == '-' ||
	    str_eq(v, STR("new")))
		return false;
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i], l = ascii_lower(c);

		if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
		      c == '_' || c == '-'))
			return false;
	}
	return true;
}

/* A login, "@group" or "uid:N"; groups are parted by commas where they are attested. */
int conf_check_user(struct str v, struct buf *why)
{
	uint64_t uid;

	if (str_eq(v, STR("@")))
		return refuse(why, "names no group; write it as @wheel");
	if (v.p[0] == '@' && str_chr(v, ',') >= 0)
		return refuse(why, "is no group; write several as { \"@a\", \"@b\" }");
	if (str_starts(v, STR("uid:")) &&
	    (!str_u64(str_from(v, 4), &uid) || uid > UINT32_MAX))
		return refuse(why, "is no user number; it would look like uid:1000");
	if (str_chr(v, ' ') >= 0 || str_chr(v, ',') >= 0)
		return refuse(why, "is no login; write several as { \"ann\", \"bob\" }");
	return 0;
}

/* A pattern of a client's address, or of another word of those that the listener says of it
 * (mail/masq.c). */
int conf_check_client(struct str v, struct buf *why)
{
	const struct str keys[] = { STR("ip"),   STR("helo"), STR("tls"), STR("auth"),
		                    STR("port"), STR("with"), STR("uid") };
	struct str key = STR("ip"), rest = v;

	if (str_chr(v, '=') >= 0)
		str_cut(&rest, '=', &key);
	if (str_chr(rest, '/') >= 0 && str_eq(key, STR("ip")))
		return refuse(why, "is a network; write a pattern, as 192.0.2.*");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (rest.n && str_eq(key, keys[i]))
			return 0;
	return refuse(why, "is no pattern of a client; it would look like 192.0.2.* or "
	                   "auth=scanner");
}

int conf_check_name(struct str v, struct buf *why)
{
	if (conf_is_local(v))
		return refuse(why,
		              "means every machine; give a name that others know, as "
		              "box.example.org");
	if (!conf_domain_ok(v))
		return refuse(why, "is no domain name; it would look like "
		                   "box.example.org");
	return 0;
}

int conf_check_address(struct str v, struct buf *why)
{
	struct str local, domain;

	if (!addr_envelope_ok(v))
		return refuse(why, "is no mail address; it would look like "
		                   "eddy@example.org");
	addr_split(v, &local, &domain);
	if (domain.n == 0)
		return refuse(why, "has no domain; it would look like eddy@example.org");
	return 0;
}

int conf_check_to(struct str v, struct buf *why)
{
	if (str_eq(v, STR("sender")) || str_eq(v, STR("admin")))
		return 0;
	if (conf_check_address(v, why) == 0)
		return 0;
	buf_z(why, ", or be \"sender\" or \"admin\"");
	return -EINVAL;
}

/* A domain as a pattern: stars and question marks anywhere. */
static bool pattern_domain_ok(struct str v)
{
	bool literal = v.n && v.p[0] == '[';
	char before = '.';

	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i], l = ascii_lower(c);
		bool plain = (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') ||
		             (unsigned char)c >= 0x80 || c == '*' || c == '?' ||
		             c == '-' || c == '_';

		if (!plain && (c != '.' || before == '.') &&
		    !(literal && (c == '[' || c == ']' || c == ':')))
			return false;
		before = c;
	}
	return before != '.';
}

/* A pattern of whole addresses, which all have a domain: what can match none is not what was
 * meant. */
int conf_check_glob(struct str v, struct buf *why)
{
	ptrdiff_t at = str_chr(v, '@');

	if (at == 0)
		return refuse(why,
		              "begins with @; for a whole domain write *@example.org");
	if (at >= 0 && (size_t)at + 1 == v.n)
		return refuse(why,
		              "has nothing behind its @; for every domain write root@*");
	if (at < 0 && v.n && str_chr(v, '*') < 0 && str_chr(v, '?') < 0)
		return refuse(why,
		              "matches no address, since each has a domain; for every "
		              "domain write root@*");
	return 0;
}

/* What a pattern would look like that somebody meant who is used to other programs. */
int conf_check_pattern(struct str v, struct buf *why)
{
	_cleanup_buf_ struct buf address = BUF_INIT;
	ptrdiff_t at = str_rchr(v, '@');
	struct str domain = at < 0 ? v : str_from(v, (size_t)at + 1);

	if (at == 0)
		return refuse(why, "begins with @; for a whole domain write example.org "
		                   "or *@example.org");
	if (domain.n == 0)
		return refuse(why,
		              "has nothing behind its @; for every domain write root@*");
	if (domain.p[0] == '.')
		return refuse(why, "has a domain that begins with a dot; for all below "
		                   "a domain write *.example.org");
	if (!pattern_domain_ok(domain))
		return refuse(why, "is no pattern; it would look like example.org, "
		                   "*.example.org or ann@example.org");
	if (at < 0)
		return 0;
	/* Stars and question marks are plain letters of a local part. */
	buf_str(&address, str_head(v, (size_t)at));
	buf_z(&address, "@x");
	if (!addr_envelope_ok(buf_view(&address)))
		return refuse(why, "is no pattern of an address; it would look like "
		                   "ann@example.org or *@example.org");
	return 0;
}

int conf_check_path(struct str v, struct buf *why)
{
	if (v.p[0] == '~')
		return refuse(why, "begins with ~, which is not expanded; give the whole "
		                   "path, beginning with /");
	if (v.p[0] != '/')
		return refuse(why, "is no whole path; begin it with /");
	return 0;
}

/* A path, or a credential of systemd's (conf_secret.c). */
int conf_check_secret(struct str v, struct buf *why)
{
	struct str name = str_from(v, sizeof(CONF_CREDENTIAL) - 1);

	if (!str_starts(v, STR(CONF_CREDENTIAL)))
		return conf_check_path(v, why);
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == '/' || name.p[i] <= ' ' || name.p[i] > '~')
			return refuse(
			    why, "is no credential's name; as in credential:password");
	if (name.n == 0 || name.p[0] == '.')
		return refuse(why, "is no credential's name; as in credential:password");
	return 0;
}

int conf_check_auth(struct str v, struct buf *why)
{
	static const char *const known[] = { "auto",        "plain",         "login",
		                             "cram-md5",    "scram-sha-1",   "external",
		                             "oauthbearer", "scram-sha-256", "xoauth2" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(v, str_z(known[i])))
			return 0;
	return refuse(why,
	              "is no way to log in; use auto, or plain, login, cram-md5, "
	              "scram-sha-1, scram-sha-256, external, xoauth2 or oauthbearer");
}

int conf_check_pin(struct str v, struct buf *why)
{
	struct str hex = str_from(v, 7);
	bool ok = str_starts(v, STR("sha256:")) && hex.n == 64;

	for (size_t i = 0; i < hex.n; i++) {
		char c = ascii_lower(hex.p[i]);

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			ok = false;
	}
	if (!ok)
		return refuse(why, "is no pin; write sha256: and the 64 hexadecimal "
		                   "digits of the public key's SHA-256");
	return 0;
}

static int check_letters(struct str v, const char *letters, struct buf *why)
{
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] != '%')
			continue;
		i++;
		if (i == v.n || !strchr(letters, v.p[i]) || v.p[i] == '\0') {
			buf_z(why, "has an unknown %");
			buf_escape(why, str_head(str_from(v, i), 1), 1);
			buf_z(why, "; there are");
			for (const char *l = letters; *l; l++)
				buf_fmt(why, " %%%c", *l);
			return -EINVAL;
		}
	}
	return 0;
}

int conf_check_as(struct str v, struct buf *why)
{
	return check_letters(v, "ubt+dh%", why);
}

int conf_check_display(struct str v, struct buf *why)
{
	return check_letters(v, "ubt+dhn%", why);
}

int conf_check_log(struct str v, struct buf *why)
{
	if (str_eq(v, STR("syslog")) || str_eq(v, STR("stderr")))
		return 0;
	return refuse(why, "is no place to log to; use syslog or stderr");
}

static int value_port(struct str v, int64_t *ret, struct buf *why)
{
	uint64_t n;

	if (!str_u64(v, &n) || n < 1 || n > 65535)
		return refuse(why, "is no port; give a number from 1 to 65535, as 587");
	*ret = (int64_t)n;
	return 0;
}

/* A number of at most 12 digits and the rest of v. */
static bool number_unit(struct str v, int64_t *ret_number, struct str *ret_unit)
{
	size_t n = 0;
	uint64_t number;

	while (n < v.n && v.p[n] >= '0' && v.p[n] <= '9')
		n++;
	if (n > 12 || !str_u64(str_head(v, n), &number))
		return false;
	*ret_number = (int64_t)number;
	*ret_unit = str_from(v, n);
	return true;
}

static int value_span(struct str v, int64_t *ret, struct buf *why)
{
	struct str unit;
	int64_t number, each;

	if (!number_unit(v, &number, &unit) ||
	    !find(units_span, ARRAY_LEN(units_span), unit, &each))
		return refuse(why, "is no time; write a number and a unit, as 30s, 5m, "
		                   "4h or 5d");
	if (number < 1 || number > SPAN_MAX / each)
		return refuse(why, "is out of range; give at least 1s and at most 366d");
	*ret = number * each;
	return 0;
}

static int value_size(struct str v, int64_t *ret, struct buf *why)
{
	struct str unit;
	int64_t number, each;

	if (!number_unit(v, &number, &unit) ||
	    !find(units_size, ARRAY_LEN(units_size), unit, &each))
		return refuse(why, "is no size; write a number and a unit, as 100K, 50M "
		                   "or 1G");
	if (number > SIZE_LIMIT / each || number * each < 1024)
		return refuse(why, "is out of range; give at least 1K and at most 1024G");
	*ret = number * each;
	return 0;
}

static int value_count(struct str v, const struct conf_row *row, int64_t *ret,
                       struct buf *why)
{
	const int64_t most = row->most ? row->most : COUNT_MAX;
	const char *none = row->least > 0 ? "" : ", or 0 for no limit";
	struct str unit;
	int64_t number, each;

	if (!number_unit(v, &number, &unit) ||
	    !find(units_count, ARRAY_LEN(units_count), unit, &each))
		buf_fmt(why, "is no number; write one as 500, 100K or 1M%s", none);
	else if (number < row->least)
		buf_fmt(why, "is out of range; give at least %lld",
		        (long long)row->least);
	else if (number > most / each && row->most)
		buf_fmt(why, "is out of range; give at most %lld", (long long)most);
	else if (number > most / each)
		buf_fmt(why, "is out of range; give at most 1000M%s", none);
	else {
		*ret = number * each;
		return 0;
	}
	return -EINVAL;
}

int conf_rate(struct str v, struct conf_rate *ret, struct buf *why)
{
	const struct str word = STR(" recipients");
	struct str n, span = v;
	struct conf_rate r = { .n = 0 };
	const struct conf_row count = { .least = 1 };

	if (str_chr(v, '/') < 0)
		return refuse(why, "is no rate; it would look like 30/1m, or "
		                   "500 recipients/1d");
	str_cut(&span, '/', &n);
	r.recipients = str_iends(n, word);
	if (r.recipients)
		n = str_head(n, n.n - word.n);
	if (value_count(n, &count, &r.n, why) < 0 ||
	    value_span(span, &r.seconds, why) < 0) {
		buf_z(why, "; a rate would look like 30/1m, or 500 recipients/1d");
		return -EINVAL;
	}
	if (r.seconds > CONF_RATE_SPAN_MAX)
		return refuse(why, "is counted over too long a time; give at most 31d");
	*ret = r;
	return 0;
}

static int value_word(enum conf_type type, struct str v, int64_t *ret, struct buf *why)
{
	if (type == TYPE_NOTIFY)
		return find(words_notify, ARRAY_LEN(words_notify), v, ret)
		           ? 0
		           : refuse(why, "is nothing to be told of; use failure, delay");
	if (type == TYPE_RETURN)
		return find(words_return, ARRAY_LEN(words_return), v, ret)
		           ? 0
		           : refuse(why, "is nothing to return; use headers or message");
	if (type == TYPE_STREAM)
		return find(words_stream, ARRAY_LEN(words_stream), v, ret)
		           ? 0
		           : refuse(why, "is neither auto nor off");
	if (type == TYPE_LISTEN_TLS)
		return find(words_listen, ARRAY_LEN(words_listen), v, ret)
		           ? 0
		           : refuse(why,
		                    "is no kind of TLS; use starttls, implicit or none");
	if (type == TYPE_TLS)
		return find(words_tls, ARRAY_LEN(words_tls), v, ret)
		           ? 0
		           : refuse(why,
		                    "is no kind of TLS; use implicit, starttls or none");
	if (type == TYPE_BOOL)
		return find(words_bool, ARRAY_LEN(words_bool), v, ret)
		           ? 0
		           : refuse(why, "is neither yes nor no");
	return find(words_rewrite, ARRAY_LEN(words_rewrite), v, ret)
	           ? 0
	           : refuse(why, "is nothing that can be rewritten; use envelope, "
	                         "recipient, from, sender, reply-to, to or cc, or "
	                         "resent-from and so on");
}

static int value_typed(const struct conf_row *row, struct str v, int64_t *ret_number,
                       struct buf *why)
{
	_cleanup_buf_ struct buf host = BUF_INIT;
	struct conf_rate rate;

	switch (row->type) {
	case TYPE_PORT:
		return value_port(v, ret_number, why);
	case TYPE_SPAN:
	case TYPE_SPANS:
		return value_span(v, ret_number, why);
	case TYPE_SIZE:
		return value_size(v, ret_number, why);
	case TYPE_COUNT:
		return value_count(v, row, ret_number, why);
	case TYPE_BOOL:
	case TYPE_TLS:
	case TYPE_REWRITE:
	case TYPE_NOTIFY:
	case TYPE_RETURN:
	case TYPE_STREAM:
	case TYPE_LISTEN_TLS:
		return value_word(row->type, v, ret_number, why);
	case TYPE_HOSTS:
		return conf_host(v, &host, why);
	case TYPE_RATES:
		return conf_rate(v, &rate, why);
	case TYPE_STRING:
	case TYPE_OPTIONAL:
	case TYPE_LIST:
		break;
	}
	return row->check ? row->check(v, why) : 0;
}

int conf_value(const struct conf_row *row, struct str v, int64_t *ret_number,
               struct buf *why)
{
	int e;

	if ((v.n == 0 && row->empty) || (row->none && str_eq(v, str_z(row->none)))) {
		*ret_number = 0;
		return 0;
	}
	if (v.n == 0)
		return refuse(why, "is empty; leave the key out, or give it a value");
	if (v.n > CONF_VALUE_MAX)
		return refuse(why, "is longer than 1024 octets");
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
			return refuse(why, "has a control character; remove it");
	e = value_typed(row, v, ret_number, why);
	if (e < 0 && row->none)
		buf_fmt(why, ", or \"%s\"", row->none);
	return e;
}
