#include "mail/guard.h"
#include "mail/head.h"

/* Is it one of ours: has it "by HOST (mailchute," or "by HOST (mailchute)", as received.h
 * prints it? */
static bool is_ours(struct str body, struct str host)
{
	enum { START, BY, HOST } at = START;
	struct str w;

	while (str_word(&body, &w)) {
		if (at == HOST &&
		    (str_eq(w, STR("(mailchute,")) || str_eq(w, STR("(mailchute)"))))
			return true;
		if (at == BY && str_ieq(w, host))
			at = HOST;
		else
			at = str_ieq(w, STR("by")) ? BY : START;
	}
	return false;
}

static bool has_id(struct str body, struct str id)
{
	struct str w, found;
	bool after_id = false;

	while (str_word(&body, &w)) {
		bool at_id = after_id;

		after_id = str_ieq(w, STR("id"));
		/* The date may stand right behind the semicolon. */
		if (at_id && str_cut(&w, ';', &found) && str_eq(found, id))
			return true;
	}
	return false;
}

const char *guard_loop(struct str header, struct str host, struct str id)
{
	struct head_field f;
	size_t received = 0, ours = 0;

	while (head_next(&header, &f)) {
		if (!str_ieq(f.name, STR("Received")))
			continue;
		received++;
		if (!is_ours(f.body, host))
			continue;
		ours++;
		if (has_id(f.body, id))
			return "554 5.4.6 a mail loop: this very message has left here "
			       "before";
	}
	if (ours > GUARD_OWN_MAX)
		return "554 5.4.6 a mail loop: it has been here more than 10 times";
	if (received > GUARD_RECEIVED_MAX)
		return "554 5.4.6 a mail loop: it has more than 50 Received fields";
	return NULL;
}
