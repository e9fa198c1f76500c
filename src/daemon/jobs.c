#include "daemon/jobs.h"
#include "base/io.h"

enum { JOBS_ROOM_FIRST = 32 };

void job_clear(struct job *j)
{
	buf_free(&j->lines);
	cleanup_fd(&j->dsn);
	*j = (struct job){ .dsn = -1 };
}

/* FNV-1a. Ids come from mailchuted, not from users: nobody can choose ones that collide. */
static unsigned chain_of(const struct jobs *h, const struct id *id)
{
	uint32_t x = 2166136261u;

	for (unsigned i = 0; i < ID_LEN; i++)
		x = (x ^ (unsigned char)id->c[i]) * 16777619u;
	return (x ^ x >> 15) % h->room;
}

static void chain_in(struct jobs *h, unsigned at)
{
	unsigned *head = &h->head[chain_of(h, &h->v[at].place.id)];

	h->v[at].next = *head;
	*head = at + 1;
}

static unsigned most(const struct jobs *h)
{
	return h->max ? h->max : JOBS_MAX;
}

/* Twice the room. As many chains as places. */
static void grow(struct jobs *h)
{
	unsigned was = h->room;

	h->room = was ? was * 2 : JOBS_ROOM_FIRST;
	h->room = h->room < most(h) ? h->room : most(h);
	h->v = realloc(h->v, h->room * sizeof(*h->v));
	free(h->head);
	h->head = calloc(h->room, sizeof(*h->head));
	if (!h->v || !h->head)
		die_oom();
	/* It is full: none is spare but the new ones. */
	for (unsigned i = 0; i < was; i++)
		chain_in(h, i);
	h->spare = 0;
	for (unsigned i = h->room; i-- > was;) {
		h->v[i] = (struct job){ .dsn = -1, .next = h->spare };
		h->spare = i + 1;
	}
}

struct job *jobs_add(struct jobs *h, const struct place *p)
{
	unsigned at;

	if (h->n == most(h) || jobs_find(h, &p->id))
		return NULL;
	if (h->n == h->room)
		grow(h);
	at = h->spare - 1;
	h->spare = h->v[at].next;
	h->v[at] = (struct job){ .place = *p, .used = true, .dsn = -1 };
	chain_in(h, at);
	h->n++;
	return &h->v[at];
}

static int64_t counted(int64_t size)
{
	return size > JOBS_BIG ? size : 0;
}

void jobs_size(struct jobs *h, struct job *j, int64_t size)
{
	h->octets += counted(size) - counted(j->size);
	j->size = size;
	h->largest = size > h->largest ? size : h->largest;
}

void jobs_rcpts(struct jobs *h, struct job *j, int64_t rcpts, bool more)
{
	h->rcpts += rcpts - j->rcpts;
	h->more += more - j->more_rcpts;
	j->rcpts = rcpts;
	j->more_rcpts = more;
}

struct job *jobs_find(const struct jobs *h, const struct id *id)
{
	if (h->n == 0)
		return NULL;
	for (unsigned i = h->head[chain_of(h, id)]; i; i = h->v[i - 1].next)
		if (id_cmp(&h->v[i - 1].place.id, id) == 0)
			return &h->v[i - 1];
	return NULL;
}

struct job *jobs_find_place(const struct jobs *h, const struct id *id, uint32_t due)
{
	struct job *j = jobs_find(h, id);

	return j && j->place.due == due ? j : NULL;
}

struct job *jobs_next(const struct jobs *h, const struct job *j)
{
	for (size_t i = j ? (size_t)(j - h->v) + 1 : 0; i < h->room; i++)
		if (h->v[i].used)
			return &h->v[i];
	return NULL;
}

void jobs_drop(struct jobs *h, struct job *j)
{
	unsigned at = (unsigned)(j - h->v);
	unsigned *link = &h->head[chain_of(h, &j->place.id)];

	while (*link != at + 1)
		link = &h->v[*link - 1].next;
	*link = j->next;
	h->octets -= counted(j->size);
	jobs_rcpts(h, j, 0, false);
	h->lines -= j->said;
	job_clear(j);
	j->next = h->spare;
	h->spare = at + 1;
	h->n--;
}

void jobs_free(struct jobs *h)
{
	for (unsigned i = 0; i < h->room; i++)
		job_clear(&h->v[i]);
	free(h->v);
	free(h->head);
	*h = (struct jobs){ .max = h->max };
}
