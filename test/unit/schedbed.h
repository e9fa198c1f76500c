/*
 * schedbed.h - a smart host with its route, and a script in the place of its push, for the tests
 * of sched.c
 */
#ifndef TEST_UNIT_SCHEDBED_H
#define TEST_UNIT_SCHEDBED_H

#include "base/clock.h"
#include "daemon/sched.h"
#include "spoolbed.h"
#include <poll.h>
#include <signal.h>

#define MESSAGE "0123456789abcdef"
#define SECOND "0123456789abcd00"

/* A smart host, and what mailchuted has around its route. */
struct hub {
	struct smarthost h;
	struct jobs stuck;
	enum journal_result replayed;
	struct sched s;
};

static void hub_begin(struct hub *u, struct bed *b)
{
	*u = (struct hub){ .h = { .name = str_dup(STR("hub")),
		                  .user = str_dup(STR("")),
		                  .password_file = str_dup(STR("")),
		                  .retry_max = 3600 },
		           .replayed = JOURNAL_DONE,
		           .s = { .spool = &b->s,
		                  .stuck = &u->stuck,
		                  .replayed = &u->replayed,
		                  .libexec = "." } };
}

static void hub_end(struct hub *u)
{
	free(u->h.name);
	free(u->h.user);
	free(u->h.password_file);
}

/* Its route, which begins empty. */
static void hub_open(struct hub *u, struct route *r)
{
	assert_int_equal(route_open(r, &u->s, &u->h, QUEUE_READS_NEW | QUEUE_READS_DUE),
	                 0);
}

/* ---- With a push: a script in its place, whose words are packets ---- */

static void push_says(const char *script)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_fmt(&b, "#!/bin/sh\n%s\n", script);
	unlink("mailchute-push");
	put("mailchute-push", buf_view(&b), 0700);
}

/* Hears it until it is gone, or for a while. */
static void hear_all(struct route *r, const struct sched *s, int64_t now, int wait_ms)
{
	struct pollfd p = { .events = POLLIN };

	while (r->pid && r->sock >= 0) {
		p.fd = r->sock;
		if (poll(&p, 1, wait_ms) <= 0)
			return;
		route_hear(r, s, now);
	}
}

#endif
