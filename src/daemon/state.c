#include "daemon/state.h"
#include "base/clock.h"

enum { STATE_EVERY_MS = 1000 };

#define STATE_FIRST "mailchute-state 1"

void state_save(struct state *st, struct spool *s, const struct routes *r,
                const struct alert *a, bool at_once)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int64_t now = clock_ms();
	size_t down = routes_down(r);

	st->at = 0;
	buf_z(&b, STATE_FIRST "\n");
	routes_state_print(r, &b);
	alert_state_print(a, &b);
	if (str_eq(buf_view(&b), buf_view(&st->text)))
		return;
	if (!at_once && down == st->down && now < st->next) {
		st->at = st->next;
		return;
	}
	st->next = now + STATE_EVERY_MS;
	st->down = down;
	spool_state_write(s, buf_view(&b));
	buf_reset(&st->text);
	buf_str(&st->text, buf_view(&b));
}

void state_load(struct spool *s, struct routes *r, struct alert *a, int64_t now)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct str rest, line;

	if (spool_state_read(s, &b) < 0)
		return;
	rest = buf_view(&b);
	if (!str_cut(&rest, '\n', &line) || !str_eq(line, STR(STATE_FIRST)))
		return;
	while (rest.n && str_cut(&rest, '\n', &line)) {
		routes_state_take(r, line, now);
		alert_state_take(a, line, now);
	}
	routes_state_taken(r, now);
}
