/* Connections to the smart host: which address, and what when there is none (push.h) */
#include "base/clock.h"
#include "push/push.h"
#include <poll.h>

static bool try_target(struct push *p, const struct target *t, struct verdict *why)
{
	struct str facts;

	p->report.remote = p->host->host.v[t->host];
	p->cc.host = str_z(p->report.remote);
	buf_free(&why->text);
	*why = (struct verdict){ .kind = VERDICT_HOST };
	if (client_open(p->client, (const struct sockaddr *)&t->addr, t->len, why) < 0)
		return false;
	facts = client_facts(p->client);
	report_line(&p->report, "up relay=%s %.*s", p->report.remote, (int)facts.n,
	            facts.p);
	p->settled = 0;
	p->down_since = 0;
	return true;
}

/* A host that was not reached for so long is dead. Who refuses our login is not: that is
 * somebody's to put right, and no message's fault. */
static bool gives_up(const struct push *p, const struct verdict *why)
{
	return p->host->give_up > 0 && p->down_since > 0 && why->stage != STAGE_AUTH &&
	       clock_real() - p->down_since > p->host->give_up;
}

static void not_open(struct push *p, struct verdict *why)
{
	struct pollfd pfd = { .fd = JOB_FD_SOCKET, .events = POLLRDHUP };

	if (poll(&pfd, 1, 0) > 0 && pfd.revents) {
		p->report.leaving = p->halt = true;
	} else if (gives_up(p, why)) {
		p->report.gave_up = true;
		buf_free(&p->why.text);
		p->why = *why;
		why->text = (struct buf)BUF_INIT;
	} else {
		push_host(p, why);
	}
}

bool push_open(struct push *p)
{
	struct verdict why = { .kind = VERDICT_HOST };
	bool ok = false;

	if (p->targets == 0)
		buf_str(&why.text, buf_view(&p->why.text));
	for (size_t i = 0; i < p->targets && !ok && !p->report.broken; i++) {
		ok = try_target(p, &p->target[i], &why);
		/* A login that is refused is not tried anywhere else. */
		if (!ok && why.stage == STAGE_AUTH)
			break;
	}
	if (!ok)
		not_open(p, &why);
	buf_free(&why.text);
	return ok;
}
