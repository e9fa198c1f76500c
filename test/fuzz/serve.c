/* What a client of the socket sends, of any bytes: a request line, then chunks of a drop. In
 * pieces of any size it gives the same as in one. */
#include "serve/serve_frame.h"
#include <errno.h>

/* The whole of a connection: CHUNK_END (all of it is good), CHUNK_MORE, or -errno. */
static int connection(struct str in, size_t step, struct buf *ret)
{
	struct chunks c = { .head = 0 };
	struct drop_watch w;
	const char *why = NULL;
	int r = CHUNK_MORE;

	drop_watch_begin(&w);
	while (r == CHUNK_MORE && in.n) {
		struct str part = str_head(in, step), data;

		in = str_from(in, part.n);
		while ((r = chunk_next(&c, &part, &data)) == CHUNK_DATA) {
			if (data.n == 0)
				abort();
			buf_str(ret, data);
			r = drop_watch_feed(&w, data, &why);
			if (r < 0)
				break;
		}
	}
	if (r == CHUNK_END)
		r = drop_watch_end(&w, &why) < 0 ? -EBADMSG : CHUNK_END;
	drop_watch_free(&w);
	return r;
}

static void request(struct str line)
{
	struct request r;
	const char *why = NULL;
	struct id id;
	size_t n = 0;

	if (request_parse(line, &r, &why) < 0) {
		if (!why)
			abort();
		return;
	}
	if (r.verb == REQUEST_FLUSH && r.route.n > REQUEST_MAX)
		abort();
	while (request_id(&r, &id)) {
		if (!id_ok(id.c))
			abort();
		n++;
	}
	if (n > REQUEST_MAX / ID_LEN || r.ids.p)
		abort();
}

/* What was taken as good is a queue file behind the attested lines. */
static void check_drop(struct str drop)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	struct envelope e;
	const char *why;
	size_t used;

	envelope_print_attested(&file, 4294967295, STR("login"), STR("Full Name"),
	                        1800000000);
	buf_str(&file, drop);
	if (envelope_parse(buf_view(&file), &e, &used, &why) < 0)
		abort();
	envelope_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = { 1, 2, 7, 64 };
	_cleanup_buf_ struct buf whole = BUF_INIT;
	struct str in = { (const char *)data, size }, line;
	int want;

	if (size == 0)
		return 0;
	str_cut(&in, '\n', &line);
	request(line);
	if (!in.p)
		return 0;
	want = connection(in, size, &whole);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		_cleanup_buf_ struct buf pieces = BUF_INIT;
		int got = connection(in, steps[i], &pieces);

		if ((got < 0) != (want < 0) || (got >= 0 && got != want))
			abort();
		/* A damaged drop is seen sooner in small pieces. */
		if (want >= 0 && !str_eq(buf_view(&whole), buf_view(&pieces)))
			abort();
	}
	if (want == CHUNK_END)
		check_drop(buf_view(&whole));
	return 0;
}
