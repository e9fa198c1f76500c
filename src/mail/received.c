#include "mail/received.h"

enum { HOST_MAX = 255 };

static bool is_letter_or_digit(char c)
{
	char l = ascii_lower(c);

	return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9');
}

static bool is_hostly(char c)
{
	return is_letter_or_digit(c) || c == '-' || c == '.' || c == '_';
}

/* May this stand as a host in Received and Message-ID? */
static bool host_ok(struct str h)
{
	for (size_t i = 0; i < h.n; i++)
		if (!is_hostly(h.p[i]) && h.p[i] != ':' && h.p[i] != '[' && h.p[i] != ']')
			return false;
	return h.n > 0 && h.n <= HOST_MAX;
}

struct str received_host(const struct compose_conf *c)
{
	if (host_ok(c->hostname))
		return c->hostname;
	return host_ok(c->domain) ? c->domain : STR("mailchute.invalid");
}

/* ---- A client of the listener ---- */

/* The words of its line that are told; borrowed. n == 0: not known. */
struct client {
	struct str ip, uid, helo, tls, auth, with;
};

static struct client client_parse(struct str line)
{
	struct client c = { .ip = STR("") };
	const struct {
		struct str key;
		struct str *value;
	} words[] = {
		{ STR("ip="), &c.ip },     { STR("uid="), &c.uid },
		{ STR("helo="), &c.helo }, { STR("tls="), &c.tls },
		{ STR("auth="), &c.auth }, { STR("with="), &c.with },
	};
	struct str word;

	while (line.n && str_cut(&line, ' ', &word))
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			if (words[i].value->n == 0 && str_starts(word, words[i].key))
				*words[i].value = str_from(word, words[i].key.n);
	return c;
}

/* Adds a value of the line; \xNN is one octet that cannot stand here, as every other octet but
 * letters, digits, - . _ and those of also. */
static void add_value(struct buf *b, struct str v, const char *also)
{
	size_t most = b->n + RECEIVED_WORD_MAX;

	for (size_t i = 0; i < v.n && b->n < most; i++) {
		if (is_hostly(v.p[i]) || (v.p[i] && strchr(also, v.p[i])))
			buf_c(b, v.p[i]);
		else
			buf_c(b, '?');
		if (v.p[i] == '\\')
			i += 3;
	}
}

/* RFC 5321 4.1.3 */
static void add_literal(struct buf *b, struct str ip)
{
	buf_z(b, str_chr(ip, ':') >= 0 ? "[IPv6:" : "[");
	add_value(b, ip, ":");
	buf_c(b, ']');
}

/* The inside of a literal as it may be in HELO: hex digits, dots, colons, "IPv6:". */
static bool is_literal(struct str s)
{
	if (s.n < 3 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	for (size_t i = 1; i + 1 < s.n; i++)
		if (!is_hostly(s.p[i]) && s.p[i] != ':')
			return false;
	return true;
}

static void add_client(struct buf *b, struct str line, struct str host)
{
	const struct client c = client_parse(line);

	buf_z(b, "Received: from ");
	if (c.helo.n == 0 && c.ip.n)
		add_literal(b, c.ip);
	else if (c.helo.n == 0)
		buf_z(b, "unknown");
	else
		add_value(b, c.helo, is_literal(c.helo) ? "[:]" : "");
	if (c.ip.n) {
		buf_z(b, " (");
		add_literal(b, c.ip);
		buf_c(b, ')');
	} else if (c.uid.n) {
		buf_z(b, " (userid ");
		add_value(b, c.uid, "");
		buf_c(b, ')');
	}
	if (c.auth.n) {
		/* A line of its own: HELO and USER may be long. */
		buf_z(b, c.helo.n + c.ip.n + c.auth.n > 40 ? "\n\t" : " ");
		buf_z(b, "(authenticated as ");
		add_value(b, c.auth, "@+");
		buf_c(b, ')');
	}
	buf_z(b, "\n\tby ");
	buf_str(b, host);
	/* RFC 3848 has no word for the older SMTP with TLS or AUTH: these are ESMTP's. */
	buf_z(b, str_eq(c.with, STR("SMTP")) && !c.tls.n && !c.auth.n
	             ? " (mailchute) with SMTP"
	             : " (mailchute) with ESMTP");
	if (c.tls.n)
		buf_c(b, 'S');
	if (c.auth.n)
		buf_c(b, 'A');
}

void received_add(struct buf *b, struct str host, const struct envelope *e, struct str id,
                  struct str date)
{
	if (e->client.n) {
		add_client(b, e->client, host);
	} else {
		buf_z(b, "Received: by ");
		buf_str(b, host);
		buf_z(b, " (mailchute, from userid ");
		buf_u64(b, e->uid);
		buf_c(b, ')');
	}
	buf_z(b, "\n\tid ");
	buf_str(b, id);
	buf_z(b, "; ");
	buf_str(b, date);
	buf_c(b, '\n');
}
