#include "spool/id.h"

enum {
	TIME_BITS = 44,
	DERIVED_SHIFT = 16, /* above the random bits: which derived message, 0: none */
	TIME_SHIFT = 20,
	DERIVED_MAX = 15, /* what the four bits hold */
};

static struct id from_number(uint64_t v)
{
	static const char hex[] = "0123456789abcdef";
	struct id id;

	for (int i = ID_LEN; i-- > 0; v >>= 4)
		id.c[i] = hex[v & 15];
	id.c[ID_LEN] = '\0';
	return id;
}

static uint64_t to_number(const struct id *id)
{
	uint64_t v = 0;

	for (int i = 0; i < ID_LEN; i++) {
		char c = id->c[i];

		v = v << 4 | (uint64_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
	}
	return v;
}

bool id_from(struct str s, struct id *ret)
{
	if (s.n != ID_LEN)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
	}
	memcpy(ret->c, s.p, ID_LEN);
	ret->c[ID_LEN] = '\0';
	return true;
}

bool id_ok(const char *name)
{
	struct id ignored;

	/* Names come from a folder that everybody can write to: look no further. */
	return id_from((struct str){ name, strnlen(name, ID_LEN + 1) }, &ignored);
}

struct id id_make(int64_t ms, unsigned random16)
{
	uint64_t t = (uint64_t)ms & ((UINT64_C(1) << TIME_BITS) - 1);

	return from_number(t << TIME_SHIFT | (random16 & 0xffff));
}

/* The four bits tell the first 15 apart from each other and from every made id. Later
 * ones (a message whose recipients fail one by one) also move the low bits, so that all
 * of one parent's differ. */
struct id id_derive(const struct id *parent, unsigned n)
{
	uint64_t v = to_number(parent), low;
	unsigned at = (unsigned)(v >> DERIVED_SHIFT & DERIVED_MAX) + n - 1;

	low = (v + at / DERIVED_MAX) & 0xffff;
	v &= ~((UINT64_C(1) << TIME_SHIFT) - 1);
	return from_number(v | (uint64_t)(at % DERIVED_MAX + 1) << DERIVED_SHIFT | low);
}

int64_t id_ms(const struct id *id)
{
	return (int64_t)(to_number(id) >> TIME_SHIFT);
}

struct str id_str(const struct id *id)
{
	return (struct str){ id->c, ID_LEN };
}

int id_cmp(const struct id *a, const struct id *b)
{
	return memcmp(a->c, b->c, ID_LEN);
}
