#include "listen/policy.h"
#include "mail/addr.h"
#include <arpa/inet.h>

enum { IP_MAX = INET6_ADDRSTRLEN };

/* Octets of the address: 4 or 16, as they go over the wire; 0: it is none. */
static size_t parse_ip(struct str s, unsigned char *ret)
{
	char z[IP_MAX];

	if (s.n == 0 || s.n >= sizeof(z))
		return 0;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	if (inet_pton(AF_INET, z, ret) == 1)
		return 4;
	return inet_pton(AF_INET6, z, ret) == 1 ? 16 : 0;
}

bool policy_in_network(struct str network, struct str ip)
{
	ptrdiff_t slash = str_rchr(network, '/');
	unsigned char net[16], addr[16];
	struct str base = slash < 0 ? network : str_head(network, (size_t)slash);
	size_t n = parse_ip(base, net);
	uint64_t bits = 8 * n;

	if (n == 0 || parse_ip(ip, addr) != n)
		return false;
	if (slash >= 0 &&
	    (!str_u64(str_from(network, (size_t)slash + 1), &bits) || bits > 8 * n))
		return false;
	for (size_t i = 0; i < n && bits; i++) {
		unsigned here = bits < 8 ? (unsigned)bits : 8;

		if ((net[i] ^ addr[i]) & (0xff00U >> here & 0xffU))
			return false;
		bits -= here;
	}
	return true;
}

/* Where the route "@a,@[IPv6:::1]:" ends; 0: there is none. */
static size_t route_end(struct str s)
{
	bool literal = false;

	if (!s.n || s.p[0] != '@')
		return 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '[' || s.p[i] == ']')
			literal = s.p[i] == '[';
		else if (s.p[i] == '"')
			return 0;
		else if (s.p[i] == ':' && !literal)
			return i + 1;
	}
	return 0;
}

bool policy_address(struct str given, struct str *ret)
{
	struct str a = str_from(given, route_end(given));

	if (!addr_envelope_ok(a))
		return false;
	*ret = a;
	return true;
}

bool policy_listed(const struct strv *patterns, struct str addr, struct str domain)
{
	_cleanup_buf_ struct buf whole = BUF_INIT;
	struct str local, given;

	if (patterns->n == 0)
		return true;
	addr_split(addr, &local, &given);
	buf_str(&whole, addr);
	if (!given.n && domain.n) {
		buf_c(&whole, '@');
		buf_str(&whole, domain);
	}
	return conf_match(patterns, buf_view(&whole));
}

bool policy_postmaster(struct str addr)
{
	return str_ieq(addr, STR("postmaster"));
}

static void word(struct buf *b, const char *key, struct str value)
{
	static const char hex[] = "0123456789abcdef";

	if (!value.n)
		return;
	if (b->n)
		buf_c(b, ' ');
	buf_z(b, key);
	buf_c(b, '=');
	value = str_head(value, POLICY_VALUE_MAX);
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c > ' ' && c < 0x7f && c != '=' && c != '\\') {
			buf_c(b, value.p[i]);
		} else {
			buf_z(b, "\\x");
			buf_c(b, hex[c >> 4]);
			buf_c(b, hex[c & 15]);
		}
	}
}

void policy_client_line(struct buf *b, const struct policy_client *c)
{
	_cleanup_buf_ struct buf port = BUF_INIT;

	if (c->port > 0)
		buf_fmt(&port, "%d", c->port);
	word(b, "ip", c->ip);
	word(b, "uid", c->uid);
	word(b, "helo", c->helo);
	word(b, "tls", c->tls);
	word(b, "auth", c->auth);
	word(b, "port", buf_view(&port));
	word(b, "with", c->smtp ? STR("SMTP") : STR(""));
}
