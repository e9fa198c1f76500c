#include "listen/accept_inside.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>

enum { NO_SECTION = INT32_MAX };

void places_free(struct place *v, size_t n)
{
	for (size_t i = 0; v && i < n; i++)
		place_close(&v[i], true);
	free(v);
}

/* The place of before with this title; NULL: there was none, or it is taken already. */
static struct place *place_of_before(const struct acceptor *a, const char *at)
{
	for (size_t i = 0; a->place && i < a->conf.listens; i++)
		if (a->place[i].at && strcmp(a->place[i].at, at) == 0)
			return &a->place[i];
	return NULL;
}

static bool is_section(const struct conf *c, const char *at)
{
	for (size_t i = 0; i < c->listens; i++)
		if (strcmp(c->listen[i].at, at) == 0)
			return true;
	return false;
}

static bool same_port(const char *a, const char *b)
{
	const char *x = strrchr(a, ':'), *y = strrchr(b, ':');

	return strncmp(a, "unix:", 5) != 0 && strncmp(b, "unix:", 5) != 0 && x && y &&
	       strcmp(x, y) == 0;
}

/* Closes the sockets of sections that c has no more and that are in the way of at, as
 * "127.0.0.1:25" is for ":25": for some microseconds nobody listens there. True: there were
 * some. */
static bool places_give_way(struct acceptor *a, const struct conf *c, const char *at)
{
	bool any = false;

	for (size_t i = 0; a->place && i < a->conf.listens; i++) {
		struct place *p = &a->place[i];

		if (!p->at || !p->fds || p->given || !same_port(p->at, at) ||
		    is_section(c, p->at))
			continue;
		place_shut(p);
		any = true;
	}
	return any;
}

static void log_place(const char *at, const struct place *p, int e)
{
	if (e < 0)
		log_line(LOG_LEVEL_ALERT, "cannot-listen at=\"%s\" why=\"%s\"", at,
		         strerror(-e));
	else if (p->absent)
		log_line(LOG_LEVEL_WARNING,
		         "listen at=\"%s\" why=\"this machine does not have the address "
		         "yet; connections come once it has\"",
		         at);
	else
		log_line(LOG_LEVEL_INFO, "listen at=\"%s\"", at);
}

void places_reopen(struct acceptor *a)
{
	bool any = false;

	for (size_t i = 0; a->place && i < a->conf.listens; i++) {
		struct place *p = &a->place[i];
		int e;

		if (!p->at || p->fds)
			continue;
		e = place_reopen(p, &a->given);
		if (e == 0 || !p->told)
			log_place(p->at, p, e);
		p->told = e < 0;
		any |= e < 0;
	}
	a->reopen_at = any ? clock_ms() + ACCEPT_REOPEN_MS : 0;
}

/* Opens what was not open before; the others stay where they are for now, but those that are
 * in the way. At the start one that cannot be opened does not keep the others from it: one there
 * must be. Later its file is refused: who wrote it is there to be told. */
static int places_open(struct acceptor *a, const struct conf *c, struct place *v)
{
	size_t open = 0;

	for (size_t i = 0; i < c->listens; i++) {
		const char *at = c->listen[i].at;
		int e;

		if (place_of_before(a, at))
			continue;
		e = place_open(at, &a->given, &v[i]);
		if (e == -EADDRINUSE && places_give_way(a, c, at))
			e = place_open(at, &a->given, &v[i]);
		log_place(at, &v[i], e);
		if (e < 0 && a->place)
			return e;
		open += e == 0;
		if (e < 0)
			v[i] = place_pending(at);
	}
	return a->place || open ? 0 : -EAGAIN;
}

/* Sessions that are there count for the section of the same name. */
static void slots_renumber(struct acceptor *a, const struct conf *fresh)
{
	for (size_t i = 0; i < a->slots.n; i++) {
		struct slot *s = &a->slots.v[i];
		unsigned to = NO_SECTION;

		for (size_t k = 0; s->section < a->conf.listens && k < fresh->listens;
		     k++)
			if (strcmp(a->conf.listen[s->section].at, fresh->listen[k].at) ==
			    0)
				to = (unsigned)k;
		s->section = to;
	}
}

/* Puts a configuration in force, with the sockets that it has in common with the one before.
 * Takes it over. On an error nothing has changed. */
static int conf_take(struct acceptor *a, struct conf *fresh)
{
	struct place *v = calloc(fresh->listens + 1, sizeof(*v));
	int e;

	if (!v)
		die_oom();
	if (fresh->listens == 0)
		log_line(LOG_LEVEL_ALERT,
		         "configuration there is no listen section; add listen "
		         "\"127.0.0.1:25\" {}");
	/* Who waits at a place that will be closed was there in time. */
	for (size_t i = 0; a->place && i < a->conf.listens; i++)
		for (size_t k = 0; k < a->place[i].fds; k++)
			accept_some(a, (unsigned)i, a->place[i].fd[k]);
	e = fresh->listens ? places_open(a, fresh, v) : -EINVAL;
	if (e < 0) {
		places_free(v, fresh->listens);
		places_reopen(a); /* those that gave way */
		conf_free(fresh);
		return e;
	}
	for (size_t i = 0; i < fresh->listens; i++) {
		struct place *old =
		    v[i].at ? NULL : place_of_before(a, fresh->listen[i].at);

		if (old) {
			v[i] = *old;
			*old = (struct place){ .at = NULL };
		}
	}
	slots_renumber(a, fresh);
	places_free(a->place, a->conf.listens);
	conf_free(&a->conf);
	a->conf = *fresh;
	a->place = v;
	a->reopen_at = clock_ms() + ACCEPT_REOPEN_MS;
	a->conf_taken(a->arg, &a->conf);
	return 0;
}

int acceptor_open(struct acceptor *a)
{
	struct conf fresh;
	int e = a->conf_read(a->arg, &fresh);

	return e < 0 ? e : conf_take(a, &fresh);
}
