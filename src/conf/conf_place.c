/* Values that say where: hosts, networks, addresses, places to listen. */
#include "conf/table.h"
#include <arpa/inet.h>
#include <errno.h>
#include <sys/un.h>

enum {
	ADDRESS_MAX = 63,   /* octets of an address as text */
	MAPPED_OCTETS = 12, /* in front of IPv4 in IPv6's form */
};

static int refuse(struct buf *why, const char *text)
{
	buf_z(why, text);
	return -EINVAL;
}

/* The octets of an IPv4 or IPv6 address: 4, 16, or 0: it is none. */
static size_t address(struct str v, unsigned char raw[16])
{
	char z[ADDRESS_MAX + 1];

	if (v.n == 0 || v.n > ADDRESS_MAX || str_chr(v, '\0') >= 0)
		return 0;
	memcpy(z, v.p, v.n);
	z[v.n] = '\0';
	if (inet_pton(AF_INET, z, raw) == 1)
		return 4;
	return inet_pton(AF_INET6, z, raw) == 1 ? 16 : 0;
}

static bool is_address(struct str v)
{
	unsigned char raw[16];

	return address(v, raw) > 0;
}

/* ---- Hosts ---- */

static bool is_name(struct str v)
{
	bool digits = true;

	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] != '.' && (v.p[i] < '0' || v.p[i] > '9'))
			digits = false;
	return !digits && conf_domain_ok(v);
}

/* "srv:" and "mx:": where the hosts are asked for (RFC 6186, RFC 5321 5.1). */
static int looked_up(struct str v, const char *kind, struct buf *ret, struct buf *why)
{
	struct str domain = str_from(v, strlen(kind));

	if (!is_name(domain)) {
		buf_fmt(why, "names no domain; it would look like %sexample.org", kind);
		return -EINVAL;
	}
	buf_z(ret, kind);
	buf_str(ret, domain);
	return 0;
}

int conf_host(struct str v, struct buf *ret, struct buf *why)
{
	struct str in = v;

	if (str_istarts(v, STR("srv:")))
		return looked_up(v, "srv:", ret, why);
	if (str_istarts(v, STR("mx:")))
		return looked_up(v, "mx:", ret, why);
	if (v.n >= 2 && v.p[0] == '[' && v.p[v.n - 1] == ']') {
		in = (struct str){ v.p + 1, v.n - 2 };
		if (str_istarts(in, STR("IPv6:")))
			in = str_from(in, 5);
		if (!is_address(in))
			return refuse(why, "is no address; write it as [192.0.2.7] or "
			                   "[2001:db8::7]");
	}
	if (is_address(in)) {
		buf_c(ret, '[');
		buf_str(ret, in);
		buf_c(ret, ']');
		return 0;
	}
	if (!is_name(v))
		return refuse(why, "is no host; give a name, as smtp.example.org, or an "
		                   "address, as [192.0.2.7]; the port has its own key");
	buf_str(ret, v);
	return 0;
}

int conf_check_source(struct str v, struct buf *why)
{
	if (!is_address(v))
		return refuse(why, "is no address; give one of this machine, as "
		                   "192.0.2.7 or 2001:db8::7");
	return 0;
}

/* ---- Networks ---- */

/* Which bits of octet i count with so long a prefix. */
static unsigned char mask(size_t i, uint64_t prefix)
{
	if (prefix >= 8 * (i + 1))
		return 0xff;
	if (prefix <= 8 * i)
		return 0;
	return (unsigned char)(0xff00U >> (prefix - 8 * i));
}

/* An IPv4 address in IPv6's form (RFC 4291 2.5.5.2) with so many bits that count: our clients
 * never have one, so it would match nobody. */
static int mapped(const unsigned char raw[16], bool whole, uint64_t prefix,
                  struct buf *why)
{
	char v4[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, raw + MAPPED_OCTETS, v4, sizeof(v4));
	buf_fmt(why, "is IPv4 in IPv6's form, which no client has here; write %s", v4);
	if (!whole)
		buf_fmt(why, "/%u", (unsigned)(prefix - 8 * MAPPED_OCTETS));
	return -EINVAL;
}

static bool is_mapped(const unsigned char raw[16])
{
	static const unsigned char in_front[MAPPED_OCTETS] = { [10] = 0xff, [11] = 0xff };

	return memcmp(raw, in_front, sizeof(in_front)) == 0;
}

/* An address, or one and how many of its first bits count. */
int conf_check_network(struct str v, struct buf *why)
{
	ptrdiff_t slash = str_rchr(v, '/');
	struct str in = slash < 0 ? v : str_head(v, (size_t)slash);
	unsigned char raw[16];
	char net[INET6_ADDRSTRLEN];
	size_t octets = address(in, raw);
	uint64_t prefix;
	bool more = false; /* bits than those that count */

	if (octets == 0)
		return refuse(why, "is no network; it would look like 192.0.2.0/24 or "
		                   "2001:db8::/32");
	if (slash < 0)
		return octets == 16 && is_mapped(raw) ? mapped(raw, true, 128, why) : 0;
	if (!str_u64(str_from(v, (size_t)slash + 1), &prefix) || prefix > 8 * octets) {
		buf_fmt(why,
		        "has no length of a network behind its /; give a number "
		        "from 0 to %zu",
		        8 * octets);
		return -EINVAL;
	}
	for (size_t i = 0; i < octets; i++) {
		more |= (raw[i] & ~mask(i, prefix)) != 0;
		raw[i] &= mask(i, prefix);
	}
	if (octets == 16 && prefix >= 8 * MAPPED_OCTETS && is_mapped(raw))
		return mapped(raw, false, prefix, why);
	if (!more)
		return 0;
	inet_ntop(octets == 4 ? AF_INET : AF_INET6, raw, net, sizeof(net));
	buf_fmt(why,
	        "has an address that does not end where the network does; write "
	        "%s/%u, or the address alone",
	        net, (unsigned)prefix);
	return -EINVAL;
}

/* ---- Places to listen ---- */

bool conf_listen_unix(struct str v)
{
	return str_starts(v, STR("unix:"));
}

static int unix_at(struct str path, struct buf *why)
{
	const struct sockaddr_un *un = NULL;

	if (path.n == 0 || path.p[0] != '/')
		return refuse(why, "names no whole path; it would look like "
		                   "unix:/run/mailchute-smtpd/smtp");
	if (path.n >= sizeof(un->sun_path)) {
		buf_fmt(why,
		        "has a path that is too long for a socket; at most %zu "
		        "octets are allowed",
		        sizeof(un->sun_path) - 1);
		return -EINVAL;
	}
	return 0;
}

int conf_listen_at(struct str v, struct buf *why)
{
	ptrdiff_t colon = str_rchr(v, ':');
	struct str in;
	uint64_t port;
	bool brackets;

	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
			return refuse(why, "has a control character; remove it");
	if (conf_listen_unix(v))
		return unix_at(str_from(v, 5), why);
	in = str_head(v, colon < 0 ? 0 : (size_t)colon);
	brackets = in.n >= 2 && in.p[0] == '[' && in.p[in.n - 1] == ']';
	if (colon < 0 || (str_chr(in, ':') >= 0 && !brackets) ||
	    !str_u64(str_from(v, (size_t)colon + 1), &port) || port < 1 || port > 65535)
		return refuse(why, "is no place to listen; it would look like "
		                   "127.0.0.1:25, [::1]:25, :25 (all addresses) or "
		                   "unix:/run/mailchute-smtpd/smtp");
	if (brackets &&
	    (!is_address((struct str){ in.p + 1, in.n - 2 }) || str_chr(in, ':') < 0))
		return refuse(why, "has no IPv6 address in its brackets; it would look "
		                   "like [::1]:25");
	if (in.n && !brackets && !is_address(in))
		return refuse(why,
		              "has no address in front of its port; give one of this "
		              "machine, as 127.0.0.1:25, or none for all");
	return 0;
}

/* Where in one family a place is: everywhere, or at an address; octets 0: not in it. */
struct at_family {
	size_t octets;
	bool all;
	unsigned char raw[16];
};

/* The same for IPv4 and IPv6; the port. */
static uint64_t at_families(struct str v, struct at_family ret[2])
{
	static const unsigned char nowhere[16] = { 0 };
	ptrdiff_t colon = str_rchr(v, ':');
	struct str in = str_head(v, colon < 0 ? 0 : (size_t)colon);
	unsigned char raw[16];
	uint64_t port = 0;
	size_t octets;

	if (in.n && in.p[0] == '[')
		in = (struct str){ in.p + 1, in.n - 2 };
	octets = address(in, raw);
	for (size_t i = 0; i < 2; i++) {
		size_t mine = i == 0 ? 4 : 16;

		ret[i] = (struct at_family){ .octets = 0 };
		if (in.n && octets != mine)
			continue;
		ret[i].octets = mine;
		if (in.n)
			memcpy(ret[i].raw, raw, mine);
		ret[i].all = memcmp(ret[i].raw, nowhere, mine) == 0;
	}
	(void)str_u64(str_from(v, (size_t)colon + 1), &port);
	return port;
}

bool conf_listen_overlap(struct str a, struct str b)
{
	struct at_family x[2], y[2];

	if (conf_listen_unix(a) || conf_listen_unix(b) ||
	    at_families(a, x) != at_families(b, y))
		return false;
	for (size_t i = 0; i < 2; i++)
		if (x[i].octets && y[i].octets &&
		    (x[i].all || y[i].all ||
		     memcmp(x[i].raw, y[i].raw, x[i].octets) == 0))
			return true;
	return false;
}
