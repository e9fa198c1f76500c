/* A queue file, as it goes out: the header stays a header. */
#include "../unit/props.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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
	PROPS_REQUIRE(p.rcpts > 0 && p.rcpts <= e.rcpts);
	props_compose(&c, &e, str_head(text, length - empty));
	plan_free(&p);
	envelope_free(&e);
	return 0;
}
