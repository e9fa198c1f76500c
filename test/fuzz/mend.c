/* A message, mended for a host that takes nothing: legal, not mended again, the same however
 * it is cut; what is legal is not touched. The first octet says where to cut and for whom. */
#include "mail/head.h"
#include "mail/mend.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct str piece(struct str *in, size_t most)
{
	struct str p = str_head(*in, most);

	*in = str_from(*in, p.n);
	return p;
}

static unsigned look(const struct mend_host *h, struct str in, size_t cut)
{
	struct mend_look l = { .faults = 0 };

	while (in.n)
		mend_look_add(&l, piece(&in, cut));
	return mend_look_end(&l, h);
}

/* False: it was refused. */
static bool mend_it(const struct mend_host *h, struct str header, struct str body,
                    size_t cut, struct buf *ret_header, struct buf *ret_body)
{
	struct mend_scan s;
	struct mend m = { .part = 0 };
	bool ok;

	mend_scan_start(&s, h, header);
	for (struct str in = body; in.n;)
		mend_scan_add(&s, piece(&in, cut));
	mend_scan_end(&s);
	ok = mend_refusal(&s).n == 0;
	if (ok) {
		mend_header(&s, h, header, ret_header);
		mend_start(&m, &s, header);
		for (struct str in = body; in.n;)
			mend_add(&m, piece(&in, cut), ret_body);
		mend_end(&m, ret_body);
	}
	mend_free(&m);
	mend_scan_free(&s);
	return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf header = BUF_INIT, body = BUF_INIT, header2 = BUF_INIT,
	                         body2 = BUF_INIT, only = BUF_INIT;
	struct str text = { (const char *)data, size }, head;
	struct mend_host h;
	size_t length, empty, cut;
	bool ok;

	if (size == 0)
		return 0;
	h = (struct mend_host){ .eightbit = data[0] & 1, .utf8 = data[0] & 2 };
	cut = (size_t)(data[0] >> 2) + 1;
	text = str_from(text, 1);
	length = head_length(text, true, &empty);
	head = str_head(text, length);
	text = str_from(text, length);
	mend_header(NULL, &h, head, &only);
	require(mend_header_faults(&h, buf_view(&only)) == 0);
	if (look(&h, text, cut) == 0)
		return 0;
	ok = mend_it(&h, head, text, SIZE_MAX, &header, &body);
	require(ok == mend_it(&h, head, text, cut, &header2, &body2));
	require(str_eq(buf_view(&header), buf_view(&header2)));
	require(str_eq(buf_view(&body), buf_view(&body2)));
	if (!ok)
		return 0;
	require(look(&h, buf_view(&body), SIZE_MAX) == 0);
	require(mend_header_faults(&h, buf_view(&header)) == 0);
	return 0;
}
