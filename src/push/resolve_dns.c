#include "push/resolve_dns.h"
#include <arpa/nameser.h>
#include <errno.h>
#include <resolv.h>

enum {
	LABEL_MAX = 63,
	/* Octets (RFC 1035 4.1): the header; behind the name of a question type and class; behind
	 * that of a record besides a TTL and the length of its data. */
	HEAD_FIXED = 12,
	QUESTION_FIXED = 4,
	RECORD_FIXED = 10,
	/* Octets of a record's data in front of the name: SRV has priority, weight and port,
	 * MX its preference. */
	SRV_FIXED = 6,
	MX_FIXED = 2,
};

bool dns_name_ok(struct str name)
{
	struct str label;

	if (name.n == 0 || name.n > DNS_NAME_MAX)
		return false;
	while (str_cut(&name, '.', &label)) {
		if (label.n == 0 || label.n > LABEL_MAX)
			return false;
		for (size_t i = 0; i < label.n; i++) {
			char c = ascii_lower(label.p[i]);

			if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			      c == '-' || c == '_'))
				return false;
		}
	}
	return true;
}

bool dns_within(struct str name, struct str domain)
{
	size_t more;

	if (domain.n && domain.p[domain.n - 1] == '.')
		domain.n--;
	if (domain.n == 0 || name.n < domain.n)
		return false;
	more = name.n - domain.n;
	return str_ieq(str_from(name, more), domain) &&
	       (more == 0 || name.p[more - 1] == '.');
}

static unsigned number(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* A whole answer, and how far it was read. */
struct reader {
	const unsigned char *begin, *at, *end;
};

struct record {
	unsigned type, class;
	const unsigned char *data;
	size_t n;
};

static size_t left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

/* Moves behind a name and so many octets more (RFC 1035 4.1.2, 4.1.3). */
static bool skip_name(struct reader *r, size_t more)
{
	int e = dn_skipname(r->at, r->end);

	if (e < 0 || (size_t)e > left(r) || more > left(r) - (size_t)e)
		return false;
	r->at += (size_t)e + more;
	return true;
}

static bool next_record(struct reader *r, struct record *ret)
{
	const unsigned char *fixed;

	if (!skip_name(r, RECORD_FIXED))
		return false;
	fixed = r->at - RECORD_FIXED;
	*ret = (struct record){ .type = number(fixed),
		                .class = number(fixed + 2),
		                .data = r->at,
		                .n = number(fixed + 8) };
	if (ret->n > left(r))
		return false;
	r->at += ret->n;
	return true;
}

/* 1: *ret is one; 0: it is of no use; -ENOTSUP: "."; -EBADMSG. */
static int take_record(enum dns_type type, const struct reader *r,
                       const struct record *rec, struct dns_host *ret)
{
	const size_t fixed = type == DNS_SRV ? SRV_FIXED : MX_FIXED;
	char name[NS_MAXDNAME];
	struct str s;
	int e;

	if (rec->n <= fixed)
		return -EBADMSG;
	/* It follows no more pointers than there are octets. */
	e = dn_expand(r->begin, rec->data + rec->n, rec->data + fixed, name,
	              sizeof(name));
	if (e < 0 || (size_t)e + fixed != rec->n)
		return -EBADMSG;
	s = str_z(name);
	if (s.n == 0 || str_eq(s, STR(".")))
		return -ENOTSUP;
	*ret = (struct dns_host){ .priority = number(rec->data) };
	if (type == DNS_SRV) {
		ret->weight = number(rec->data + 2);
		ret->port = number(rec->data + 4);
		if (ret->port == 0)
			return 0;
	}
	if (!dns_name_ok(s))
		return 0;
	memcpy(ret->name, s.p, s.n);
	return 1;
}

ptrdiff_t dns_take(enum dns_type type, const unsigned char *answer, size_t n,
                   struct dns_host *ret)
{
	const unsigned want = type == DNS_SRV ? ns_t_srv : ns_t_mx;
	struct reader r = { answer, answer + n, answer + n };
	bool none = false, useless = false;
	unsigned questions, answers;
	struct record rec;
	ptrdiff_t got = 0;

	if (n < HEAD_FIXED)
		return -EBADMSG;
	questions = number(answer + 4);
	answers = number(answer + 6);
	r.at = answer + HEAD_FIXED;
	while (questions--)
		if (!skip_name(&r, QUESTION_FIXED))
			return -EBADMSG;
	while (answers-- && got < DNS_RECORDS_MAX) {
		int e;

		if (!next_record(&r, &rec))
			return -EBADMSG;
		/* CNAMEs are in front of what they lead to. */
		if (rec.type != want || rec.class != ns_c_in)
			continue;
		e = take_record(type, &r, &rec, &ret[got]);
		if (e == -EBADMSG)
			return e;
		none |= e == -ENOTSUP;
		useless |= e == 0;
		got += e > 0;
	}
	if (got)
		return got;
	return none ? -ENOTSUP : useless ? -EADDRNOTAVAIL : 0;
}

/* splitmix64: which host is tried first is no secret. */
static uint64_t any(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* By priority; those of weight 0 first, so that they are chosen only by a 0 (RFC 2782). */
static int by_priority(const void *a, const void *b)
{
	const struct dns_host *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return (x->weight > 0) - (y->weight > 0);
}

/* One of the n hosts of a priority, of this weight in all. */
static size_t draw(const struct dns_host *list, size_t n, uint64_t weight, uint64_t *seed)
{
	/* RFC 2782 counts from 0 to the sum, so that a weight of 0 has a small chance; where
	 * there is none, that would prefer the first. */
	bool zero = list[0].weight == 0;
	uint64_t left;
	size_t i = 0;

	if (weight == 0)
		return (size_t)(any(seed) % n);
	left = any(seed) % (weight + zero) + !zero;
	while (i + 1 < n && left > list[i].weight) {
		left -= list[i].weight;
		i++;
	}
	return i;
}

/* Moves list[i] to its beginning; the others keep their order. */
static void to_front(struct dns_host *list, size_t i)
{
	struct dns_host h = list[i];

	memmove(list + 1, list, i * sizeof(*list));
	list[0] = h;
}

void dns_order(struct dns_host *list, size_t n, uint64_t *seed)
{
	qsort(list, n, sizeof(*list), by_priority);
	for (size_t at = 0; at < n;) {
		uint64_t weight = 0;
		size_t end = at;

		while (end < n && list[end].priority == list[at].priority)
			weight += list[end++].weight;
		for (; at < end; at++) {
			to_front(list + at, draw(list + at, end - at, weight, seed));
			weight -= list[at].weight;
		}
	}
}
