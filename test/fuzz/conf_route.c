/* Routes for any bytes. The first line is the sender, the second the recipient; then "f" and
 * "r" lines are patterns of for and from, any other line begins the next smart host. Never
 * out of range, the same in capitals; a smart host that is taken has patterns; what
 * conf_load() would refuse as a pattern does no harm. */
#include "conf/table.h"

enum { HOSTS = 8 };

static struct str upper(struct buf *b, struct str s)
{
	buf_room(b, 0);
	for (size_t i = 0; i < s.n; i++)
		buf_c(b, s.p[i] >= 'a' && s.p[i] <= 'z' ? (char)(s.p[i] - 'a' + 'A')
		                                        : s.p[i]);
	return buf_view(b);
}

static void add_pattern(struct strv *l, struct str line)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct str v = str_from(line, 1);

	if (v.n == 0 || str_chr(v, '\0') >= 0)
		return;
	if (conf_check_pattern(v, &why) < 0 && why.n == 0)
		abort();
	strv_add(l, v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf high1 = BUF_INIT, high2 = BUF_INIT;
	struct smarthost host[HOSTS] = { { .name = NULL } };
	struct conf c = { .smarthost = host, .smarthosts = 2 };
	struct str in = { (const char *)data, size }, sender = STR(""), rcpt = STR(""),
	           line;
	size_t got;

	str_cut(&in, '\n', &sender);
	str_cut(&in, '\n', &rcpt);
	while (str_cut(&in, '\n', &line)) {
		if (str_starts(line, STR("f")))
			add_pattern(&host[c.smarthosts - 1].for_, line);
		else if (str_starts(line, STR("r")))
			add_pattern(&host[c.smarthosts - 1].from, line);
		else if (c.smarthosts < HOSTS)
			c.smarthosts++;
	}
	got = conf_route(&c, sender, rcpt);
	if (got >= c.smarthosts || (got && !host[got].for_.n && !host[got].from.n) ||
	    (got && !sender.n && host[got].from.n))
		abort();
	if (got != conf_route(&c, upper(&high1, sender), upper(&high2, rcpt)))
		abort();
	for (size_t i = 0; i < HOSTS; i++) {
		strv_free(&host[i].for_);
		strv_free(&host[i].from);
	}
	return 0;
}
