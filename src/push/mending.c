#include "push/mending.h"
#include "base/log.h"
#include "mail/head.h"
#include <errno.h>
#include <unistd.h>

/* A piece of the body, from at on; n == 0: its end. 0 or -errno. */
static int read_body(struct mending *g, int64_t at, struct str *ret)
{
	const struct message *m = g->m;
	ssize_t n;

	if (m->whole) {
		*ret = str_head(str_from(buf_view(&m->text), (size_t)(m->body_at + at)),
		                MENDING_BLOCK);
		return 0;
	}
	if (!g->block)
		g->block = malloc(MENDING_BLOCK);
	if (!g->block)
		die_oom();
	do
		n = pread(m->fd, g->block, MENDING_BLOCK, m->body_at + at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret = (struct str){ g->block, (size_t)n };
	return 0;
}

/* Is it legal? Nearly always. */
static int look(struct mending *g)
{
	struct mend_look l = { .faults = 0 };
	struct str part;
	int64_t at = 0;
	int e;

	while ((e = read_body(g, at, &part)) == 0 && part.n) {
		mend_look_add(&l, part);
		at += (int64_t)part.n;
	}
	g->body_faults = mend_look_end(&l, &g->host);
	return e;
}

static int scan(struct mending *g)
{
	struct str part;
	int64_t at = 0;
	int e;

	while ((e = read_body(g, at, &part)) == 0 && part.n) {
		mend_scan_add(&g->scan, part);
		at += (int64_t)part.n;
	}
	if (e == 0)
		mend_scan_end(&g->scan);
	return e;
}

int mending_start(struct mending *g, const struct message *m, const struct mend_host *h)
{
	struct str header = buf_view(&m->header);
	int e;

	g->m = m;
	g->host = *h;
	g->header_faults = mend_header_faults(h, header);
	e = look(g);
	if (e == 0 && g->body_faults) {
		mend_scan_start(&g->scan, h, header);
		e = scan(g);
	}
	if (e == 0 && mending_any(g) && mending_refusal(g).n == 0)
		mend_header(g->body_faults ? &g->scan : NULL, h, header, &g->header);
	return e;
}

void mending_free(struct mending *g)
{
	mend_free(&g->mend);
	mend_scan_free(&g->scan);
	buf_free(&g->header);
	buf_free(&g->ready);
	free(g->block);
	g->block = NULL;
}

struct str mending_refusal(const struct mending *g)
{
	return mend_refusal(&g->scan);
}

bool mending_any(const struct mending *g)
{
	return g->header_faults || g->body_faults;
}

static int body_rewind(void *arg)
{
	struct mending *g = arg;

	mend_free(&g->mend);
	mend_start(&g->mend, &g->scan, buf_view(&g->m->header));
	buf_reset(&g->ready);
	g->given = 0;
	g->at = 0;
	g->end = false;
	return 0;
}

/* More octets of the mended body: 0, also at the end, or -errno. */
static int body_more(struct mending *g)
{
	struct str part;
	int e = read_body(g, g->at, &part);

	if (e < 0)
		return e;
	buf_reset(&g->ready);
	g->given = 0;
	g->at += (int64_t)part.n;
	g->end = part.n == 0;
	if (part.n)
		mend_add(&g->mend, part, &g->ready);
	else
		mend_end(&g->mend, &g->ready);
	return 0;
}

static ssize_t body_read(void *arg, char *p, size_t n)
{
	struct mending *g = arg;
	struct str part;

	while (g->given == g->ready.n && !g->end) {
		int e = body_more(g);

		if (e < 0)
			return e;
	}
	part = str_head(str_from(buf_view(&g->ready), g->given), n);
	if (part.n)
		memcpy(p, part.p, part.n);
	g->given += part.n;
	return (ssize_t)part.n;
}

void mending_apply(struct mending *g, struct client_msg *msg)
{
	if (g->header.n)
		msg->header = buf_view(&g->header);
	if (!g->body_faults)
		return;
	g->body = (struct client_body){ body_rewind, body_read, g };
	msg->body = &g->body;
}

static bool is_signed(const struct message *m)
{
	struct str header = buf_view(&m->header);
	struct head_field f;

	while (head_next(&header, &f))
		if (str_ieq(f.name, STR("DKIM-Signature")))
			return true;
	return false;
}

void mending_words(const struct mending *g, struct buf *b)
{
	_cleanup_buf_ struct buf why = BUF_INIT, how = BUF_INIT;

	mend_words(g->body_faults ? &g->scan : NULL, g->header_faults, &why, &how);
	log_value(b, "why", buf_view(&why));
	log_value(b, "how", buf_view(&how));
	if (is_signed(g->m))
		buf_z(b, " dkim=broken");
}
