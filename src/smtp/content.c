#include "smtp/content.h"
#include <errno.h>
#include <unistd.h>

/* Some octets of the body from at on, where the last call ended: 0 at the end, -errno. */
static ssize_t read_some(const struct flight *f, char *p, size_t n, int64_t at)
{
	const struct client_msg *m = f->m;
	ssize_t got;

	if (m->body)
		return m->body->read(m->body->arg, p, n);
	do
		got = pread(m->fd, p, n, m->body_at + at);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Fills c->block from the body. Octets, fewer than a block only at the end; -errno. */
static ssize_t read_block(struct client *c, const struct flight *f, int64_t at)
{
	size_t got = 0;

	c->block_of = NULL;
	if (at == 0 && f->m->body) {
		int e = f->m->body->rewind(f->m->body->arg);

		if (e < 0)
			return e;
	}
	while (got < SESSION_BLOCK) {
		ssize_t n =
		    read_some(f, c->block + got, SESSION_BLOCK - got, at + (int64_t)got);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	if (at == 0 && got < SESSION_BLOCK)
		c->block_of = f;
	return (ssize_t)got;
}

/* Appends the encoded form of the next octets. 0 or -errno; w->end after the last. */
static int walk_on(struct client *c, const struct flight *f, struct walk *w,
                   struct buf *out)
{
	struct str part = str_head(str_from(f->m->header, w->header), SESSION_BLOCK);
	size_t was = out->n;
	ssize_t n;

	w->header += part.n;
	wire_encode(&w->wire, part, out);
	if (w->header == f->m->header.n) {
		/* A body that fits in one block was read before and is still there. */
		if (w->body == 0 && c->block_of == f)
			n = (ssize_t)f->body;
		else
			n = read_block(c, f, w->body);
		if (n < 0)
			return (int)n;
		wire_encode(&w->wire, (struct str){ c->block, (size_t)n }, out);
		w->body += n;
		if (n < SESSION_BLOCK) {
			wire_end(&w->wire, out);
			w->end = true;
		}
	}
	w->put += out->n - was;
	return 0;
}

int content_measure(struct client *c, struct flight *f)
{
	struct walk w = { .end = false };
	struct buf *whole = &c->whole;

	c->whole_of = c->block_of = NULL;
	f->eightbit = false;
	for (buf_reset(whole); !w.end;) {
		int e = walk_on(c, f, &w, whole);

		if (e < 0)
			return e;
		f->eightbit = f->eightbit || !str_is_ascii(buf_view(whole));
		if (w.end && w.put == whole->n)
			c->whole_of = f;
		else
			buf_reset(whole);
	}
	f->size = w.put;
	f->body = w.body;
	return 0;
}

int content_put(struct client *c, struct flight *f)
{
	struct walk *w = &f->walk;
	struct buf *out = &c->conn.out;
	int e;

	if (f->bdat && c->whole_of == f) {
		buf_str(out, buf_view(&c->whole));
		w->end = true;
		return 0;
	}
	w->wire.stuff = !f->bdat;
	e = walk_on(c, f, w, out);
	if (e < 0)
		return e;
	/* A message that is another one now made SIZE a lie, and BDAT's count: what is over
	 * would be taken for commands. */
	if (f->bdat && (w->put > f->size || (w->end && w->put != f->size)))
		return -EIO;
	return w->end && w->body != f->body ? -EIO : 0;
}
