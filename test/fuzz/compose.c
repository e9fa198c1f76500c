/* A queue file, as it goes out: the header stays a header. */
#include "mail/compose.h"
#include "mail/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_header(struct str header)
{
	size_t empty, first = 0, from = 0;
	struct head_field f;

	require(head_length(header, true, &empty) == header.n && empty == 1);
	while (head_next(&header, &f)) {
		if (first++ == 0)
			require(str_eq(f.name, STR("Received")));
		from += str_ieq(f.name, STR("From"));
		require(!str_ieq(f.name, STR("Bcc")));
	}
	require(from > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf once = BUF_INIT, again = BUF_INIT;
	struct str text = { (const char *)data, size };
	char any[] = "*", box[] = "*@box", as[] = "eddy@isp.example",
	     as_box[] = "%u+%h@isp.example";
	char name[] = "%n at %h", exposed[] = "postmaster@*", *expose[] = { exposed };
	const struct masq_rule rules[] = {
		{ .match = box,
		  .as = as_box,
		  .rewrite = MASQ_DEFAULT | MASQ_TO | MASQ_REPLY_TO },
		{ .match = any, .as = as, .name = name, .rewrite = MASQ_DEFAULT },
	};
	const struct compose_conf c = {
		.hostname = STR("box.example.org"),
		.domain = STR("box"),
		.rules = rules,
		.rules_n = size % 3,
		.expose = { .v = expose, .n = 1 },
	};
	struct envelope e;
	struct plan p;
	size_t used, length, empty;
	const char *why;

	if (envelope_parse(text, &e, &used, &why) < 0)
		return 0;
	text = str_from(text, used);
	length = head_length(text, true, &empty);
	compose_plan(&c, &e, &p);
	require(p.rcpts > 0 && p.rcpts <= e.rcpts);
	compose_header(&c, &e, STR("0123456789abcdef"), STR_NONE,
	               str_head(text, length - empty), &once);
	compose_header(&c, &e, STR("0123456789abcdef"), STR_NONE,
	               str_head(text, length - empty), &again);
	require(str_eq(buf_view(&once), buf_view(&again)));
	check_header(buf_view(&once));
	plan_free(&p);
	envelope_free(&e);
	return 0;
}
