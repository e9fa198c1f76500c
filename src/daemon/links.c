#include "daemon/links.h"
#include <errno.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKET = 16384, PACKETS_AT_ONCE = 16 };

/* netlink(7) and rtnetlink(7), by hand: a build with musl sees no header of the kernel. */
enum {
	NL_ROUTE = 0,
	NL_GROUPS =
	    0x1 | 0x10 | 0x40 | 0x100 | 0x400, /* links; addresses and routes of IPv4,
	                                                  IPv6 */
	NL_NEWLINK = 16,
	NL_NEWADDR = 20,
	NL_NEWROUTE = 24,
	NL_ALIGN = 4,
};
struct nl_address {
	sa_family_t family;
	uint16_t pad;
	uint32_t pid, groups;
};
struct nl_head {
	uint32_t len;
	uint16_t type, flags;
	uint32_t seq, pid;
};
struct nl_link {
	uint8_t family, pad;
	uint16_t type;
	int32_t index;
	uint32_t flags, change;
};
_Static_assert(sizeof(struct nl_address) == 12, "struct sockaddr_nl");
_Static_assert(sizeof(struct nl_head) == 16, "struct nlmsghdr");
_Static_assert(sizeof(struct nl_link) == 16, "struct ifinfomsg");

void links_init(struct links *l)
{
	*l = (struct links){ .fd = -1, .due = -1 };
}

static int links_open(void)
{
	const struct nl_address at = { .family = AF_NETLINK, .groups = NL_GROUPS };
	struct sockaddr_storage space = { .ss_family = AF_UNSPEC };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NL_ROUTE);

	memcpy(&space, &at, sizeof(at));
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&space, sizeof(at)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void links_want(struct links *l, bool want)
{
	if (!want) {
		if (l->fd >= 0)
			close(l->fd);
		l->fd = -1;
		l->refused = false;
		l->due = -1;
	} else if (l->fd < 0 && !l->refused) {
		l->fd = links_open();
		l->refused = l->fd < 0;
	}
}

bool links_came_up(const void *packet, size_t n)
{
	const char *p = packet;

	while (n >= sizeof(struct nl_head)) {
		struct nl_head h;
		struct nl_link link;
		size_t step;

		memcpy(&h, p, sizeof(h));
		if (h.len < sizeof(h) || h.len > n)
			return false;
		if (h.type == NL_NEWADDR || h.type == NL_NEWROUTE)
			return true;
		if (h.type == NL_NEWLINK && h.len >= sizeof(h) + sizeof(link)) {
			memcpy(&link, p + sizeof(h), sizeof(link));
			if (link.flags & IFF_UP && link.flags & IFF_RUNNING)
				return true;
		}
		step = ((size_t)h.len + NL_ALIGN - 1) / NL_ALIGN * NL_ALIGN;
		if (step > n)
			return false;
		p += step;
		n -= step;
	}
	return false;
}

void links_hear(struct links *l, int64_t now)
{
	char packet[PACKET];
	bool up = false;

	for (int i = 0; i < PACKETS_AT_ONCE && l->fd >= 0; i++) {
		struct sockaddr_storage space = { .ss_family = AF_UNSPEC };
		socklen_t len = sizeof(space);
		ssize_t n = recvfrom(l->fd, packet, sizeof(packet), 0,
		                     (struct sockaddr *)&space, &len);
		struct nl_address from;

		memcpy(&from, &space, sizeof(from));
		if (n < 0 && errno == ENOBUFS)
			up = true; /* more than fits: something among it */
		else if (n < 0)
			break;
		else if (from.pid == 0) /* the kernel's; others may send, too */
			up |= links_came_up(packet, (size_t)n);
	}
	if (!up || l->due >= 0)
		return;
	l->due = now + LINKS_SETTLE_MS;
	if (l->acted && l->due < l->acted + LINKS_EVERY_MS)
		l->due = l->acted + LINKS_EVERY_MS;
}

bool links_act(struct links *l, int64_t now)
{
	if (l->due < 0 || now < l->due)
		return false;
	l->due = -1;
	l->acted = now;
	return true;
}

bool links_listens(const struct links *l)
{
	return l->fd >= 0 && l->due < 0;
}
