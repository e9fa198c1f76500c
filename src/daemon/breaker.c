#include "daemon/breaker.h"

bool breaker_accepted(struct breaker *b, int64_t now)
{
	bool was_open = b->open;

	b->open = false;
	b->n = 0;
	b->accepted = now;
	return was_open;
}

/* Stage and code make refusals alike; the words may name the message. */
static void key_of(struct str what, char key[static BREAKER_KEY])
{
	struct str stage = STR(""), code = STR("");

	str_cut(&what, ' ', &stage);
	str_cut(&what, ' ', &code);
	snprintf(key, BREAKER_KEY, "%.*s %.*s", (int)(stage.n < 20 ? stage.n : 20),
	         stage.p, (int)(code.n < 20 ? code.n : 20), code.p);
}

bool breaker_refused(struct breaker *b, const struct id *id, struct str what)
{
	char key[BREAKER_KEY];

	key_of(what, key);
	if (strcmp(key, b->key) != 0)
		b->n = 0;
	memcpy(b->key, key, sizeof(key));
	for (unsigned i = 0; i < b->n; i++)
		if (id_cmp(&b->ids[i], id) == 0)
			return false; /* the same one again */
	if (b->open || b->n == BREAKER_RUN)
		return false;
	b->ids[b->n++] = *id;
	b->open = b->n == BREAKER_RUN;
	return b->open;
}
