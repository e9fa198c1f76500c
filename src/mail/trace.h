/*
 * trace.h - why composing changed something: what `mailchute explain` tells
 *
 * Whoever composes for explain gives compose_conf a struct trace; without one (NULL) nothing
 * is recorded, and every call here returns at once.
 */
#ifndef MAIL_TRACE_H
#define MAIL_TRACE_H

#include "base/str.h"

enum {
	TRACE_MAX = 10000,     /* entries; later ones are only counted */
	TRACE_TEXT_MAX = 1000, /* octets that are kept of each text */
};

/* The places beside the fields of the header, which are named as they are there; no field has a
 * blank in its name. */
#define TRACE_ENVELOPE_SENDER "envelope sender"
#define TRACE_ENVELOPE_RCPT "envelope recipient"

struct trace_entry {
	char *place;     /* a place, or a field's name */
	size_t field;    /* which field of the header as it came, from 1; 0: none */
	char *old, *new; /* "" when it was not there, or is not there any more */
	char *why;
};

struct trace {
	const char *conf; /* the configuration's path, for reasons; not owned */
	struct trace_entry *entry;
	size_t n, cap;
	size_t lost;          /* entries that were over TRACE_MAX */
	char *place;          /* where what is added now happens; NULL: nowhere yet */
	size_t field, fields; /* which one it is; how many there were so far */
};

/* What is added from now on happens there; place is copied. */
void trace_place(struct trace *t, struct str place);
static inline void trace_at(struct trace *t, struct str place)
{
	if (t)
		trace_place(t, place);
}
/* The same in the next field of the header. */
void trace_next(struct trace *t, struct str name);
static inline void trace_field(struct trace *t, struct str name)
{
	if (t)
		trace_next(t, name);
}
/* Adds an entry: old became new, for that reason. All copied, and cut to TRACE_TEXT_MAX. */
void trace_add(struct trace *t, struct str old, struct str new, const char *why, ...)
    PRINTF_LIKE(4, 5);
/* Adds that a field was made; what follows is added to it. */
static inline void trace_made(struct trace *t, const char *field, const char *why)
{
	if (!t)
		return;
	trace_place(t, str_z(field));
	trace_add(t, STR(""), STR(""), "%s", why);
}
/* As trace_add(), when old and new differ. */
void trace_change(struct trace *t, struct str old, struct str new, const char *why);
/* Adds that a masquerade rule made new of old (a whole address), where the rule stands, or
 * the line of its map that was used. */
struct masq_rule;
void trace_rule(struct trace *t, const struct masq_rule *rule, struct str old,
                struct str new);
/* Takes back all but the first n entries: what they tell of is done anew, from the first field
 * on. */
void trace_cut(struct trace *t, size_t n);
void trace_free(struct trace *t);

#endif
