#include "smtp/idna.h"
#include <errno.h>
#include <gnutls/gnutls.h>

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* What comes out of the mapping goes into a command: letters, digits, hyphens, and labels
 * that are not empty. */
static bool is_host(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char l = ascii_lower(s.p[i]);

		if (l == '.' && (i == 0 || s.p[i - 1] == '.'))
			return false;
		if (!(l >= 'a' && l <= 'z') && !(l >= '0' && l <= '9') && l != '-' &&
		    l != '.' && l != '_')
			return false;
	}
	return s.n > 0 && s.n <= IDNA_DOMAIN_MAX;
}

int idna_address(struct buf *b, struct str addr)
{
	ptrdiff_t at = str_rchr(addr, '@');
	struct str domain = str_from(addr, (size_t)(at + 1));
	gnutls_datum_t out = { .data = NULL };
	int r = -EINVAL;

	if (is_ascii(addr)) {
		buf_str(b, addr);
		return 0;
	}
	/* No character of UTF-8 has more than 4 octets, nor less than one in A-labels. */
	if (at <= 0 || !is_ascii(str_head(addr, (size_t)at)) ||
	    domain.n > 4 * IDNA_DOMAIN_MAX || str_chr(domain, '\0') >= 0)
		return -EINVAL;
	if (gnutls_idna_map(domain.p, (unsigned)domain.n, &out, 0) != GNUTLS_E_SUCCESS)
		return -EINVAL;
	domain = (struct str){ (const char *)out.data, out.size };
	if (is_host(domain)) {
		buf_str(b, str_head(addr, (size_t)at + 1));
		buf_str(b, domain);
		r = 0;
	}
	gnutls_free(out.data);
	return r;
}
