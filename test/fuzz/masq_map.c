/* Masquerade maps of any bytes. Up to a NUL: the address that is looked up; behind it the
 * file. A map that is refused has a reason and a line; what is found stands on that line, is
 * the same for the address in capitals, and makes an address or nothing. */
#include "mail/addr.h"
#include "mail/masq.h"
#include "mail/masq_map.h"
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void look_up(const struct masq_map *m, struct str addr, size_t lines)
{
	const struct masq_who who = { .login = STR("ann"), .host = STR("box.example") };
	_cleanup_buf_ struct buf upper = BUF_INIT, made = BUF_INIT;
	int line = 0, again = 0;
	const char *as = masq_map_find(m, addr, &line);

	for (size_t i = 0; i < addr.n; i++)
		buf_c(&upper, addr.p[i] >= 'a' && addr.p[i] <= 'z'
		                  ? (char)(addr.p[i] - 'a' + 'A')
		                  : addr.p[i]);
	require(masq_map_find(m, buf_view(&upper), &again) == as && again == line);
	if (!as)
		return;
	require(line > 0 && (size_t)line <= lines);
	if (masq_expand(&made, as, addr, &who) == 0)
		require(addr_envelope_ok(buf_view(&made)));
	else
		require(made.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct str text = { (const char *)data, size }, addr = STR("");
	struct masq_map *m = NULL;
	size_t lines = 1;
	int line = 0;

	str_cut(&text, '\0', &addr);
	if (!text.p)
		text = STR("");
	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	if (masq_map_parse(text, &m, &line, &why) < 0) {
		require(!m && why.n && line > 0 && (size_t)line <= lines);
		return 0;
	}
	require(why.n == 0);
	if (addr_envelope_ok(addr))
		look_up(m, addr, lines);
	masq_map_free(m);
	return 0;
}
