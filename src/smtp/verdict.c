#include "smtp/verdict.h"

enum when {
	ALWAYS,
	AFTER_SUCCESS, /* a message was accepted on this connection before */
	AFTER_RCPT,    /* a recipient of this transaction was accepted before */
};

enum { ANY = -1 };

/* One row: the first that fits rules. */
struct rule {
	int code;            /* ANY; 1..9: every code that begins so; or one code */
	int subject, detail; /* of the enhanced code; ANY also means: without one */
	enum smtp_stage from, to;
	enum when when;
	enum verdict_kind kind;
};

#define ALL STAGE_CONNECT, STAGE_QUIT
#define ONLY(s) STAGE_##s, STAGE_##s
#define PLAIN ANY, ANY
enum { NO_ENHANCED = -2 };

/* The table of the design, section 5: a reply belongs to a message only if it can be true
 * of this message and not of its neighbours. */
static const struct rule rules[] = {
	/* What success looks like; the same code at another stage is out of step. */
	{ 220, PLAIN, ONLY(GREETING), ALWAYS, VERDICT_DONE },
	{ 2, PLAIN, ONLY(EHLO), ALWAYS, VERDICT_DONE },
	{ 220, PLAIN, ONLY(TLS), ALWAYS, VERDICT_DONE },
	{ 235, PLAIN, ONLY(AUTH), ALWAYS, VERDICT_DONE },
	{ 2, PLAIN, ONLY(MAIL), ALWAYS, VERDICT_DONE },
	{ 2, PLAIN, ONLY(RCPT), ALWAYS, VERDICT_DONE },
	{ 354, PLAIN, ONLY(DATA), ALWAYS, VERDICT_DONE },
	{ 2, PLAIN, ONLY(CONTENT), ALWAYS, VERDICT_DONE },
	{ 2, PLAIN, ONLY(RSET), ALWAYS, VERDICT_DONE },
	{ 2, PLAIN, ONLY(QUIT), ALWAYS, VERDICT_DONE },

	/* Before MAIL nothing is about a message. */
	{ ANY, PLAIN, STAGE_CONNECT, STAGE_AUTH, ALWAYS, VERDICT_HOST },
	{ 2, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 3, PLAIN, ALL, ALWAYS, VERDICT_HOST },

	/* The connection is used up. */
	{ 421, PLAIN, ALL, AFTER_SUCCESS, VERDICT_RECONNECT },
	{ 452, PLAIN, ONLY(MAIL), AFTER_SUCCESS, VERDICT_RECONNECT },

	/* The host, or our account there. */
	{ 421, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 432, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 521, PLAIN, ALL, ALWAYS, VERDICT_HOST }, /* takes no mail at all: RFC 7504 */
	{ 530, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 534, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 535, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 538, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ ANY, 7, 8, ALL, ALWAYS, VERDICT_HOST },  /* credentials invalid */
	{ ANY, 7, 9, ALL, ALWAYS, VERDICT_HOST },  /* mechanism too weak */
	{ ANY, 7, 11, ALL, ALWAYS, VERDICT_HOST }, /* encryption needed */
	{ ANY, 7, 30, ALL, ALWAYS, VERDICT_HOST }, /* REQUIRETLS */
	{ ANY, 4, 5, ALL, ALWAYS, VERDICT_HOST },  /* congestion */
	{ 4, 3, 4, ALL, ALWAYS, VERDICT_LATER },  /* too big for the host: this message */
	{ 4, 3, ANY, ALL, ALWAYS, VERDICT_HOST }, /* mail system status */
	{ 4, 7, ANY, ONLY(MAIL), ALWAYS, VERDICT_HOST }, /* at RCPT it is greylisting */

	/* Before MAIL and after a transaction: any answer but yes ends the connection,
	 * and on the next one no RSET is needed, so this cannot go on for ever. */
	{ ANY, PLAIN, ONLY(RSET), ALWAYS, VERDICT_RECONNECT },

	/* Out of step. */
	{ 500, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 502, PLAIN, ALL, ALWAYS, VERDICT_HOST },
	{ 503, PLAIN, ALL, ALWAYS, VERDICT_HOST },

	/* Too many recipients, also in the words of RFC 821 (RFC 5321 4.5.3.1.10). The
	 * first recipient of a transaction cannot be one too many. */
	{ ANY, 5, 3, ONLY(RCPT), AFTER_RCPT, VERDICT_REST },
	{ 452, NO_ENHANCED, ANY, ONLY(RCPT), AFTER_RCPT, VERDICT_REST },
	{ 552, NO_ENHANCED, ANY, ONLY(RCPT), AFTER_RCPT, VERDICT_REST },

	/* All others: this sender, recipient or content. */
	{ 4, PLAIN, STAGE_MAIL, STAGE_CONTENT, ALWAYS, VERDICT_LATER },
	{ 5, PLAIN, STAGE_MAIL, STAGE_CONTENT, ALWAYS, VERDICT_FAILED },
	{ ANY, PLAIN, ALL, ALWAYS, VERDICT_HOST },
};

static bool fits(const struct rule *u, enum smtp_stage stage, const struct reply *r)
{
	if (stage < u->from || stage > u->to)
		return false;
	if (u->code != ANY && u->code != (u->code < 10 ? r->code / 100 : r->code))
		return false;
	if (u->subject == NO_ENHANCED)
		return r->enhanced[0] == 0;
	if (u->subject != ANY && (r->enhanced[0] == 0 || u->subject != r->enhanced[1]))
		return false;
	return u->detail == ANY || u->detail == r->enhanced[2];
}

enum verdict_kind verdict_of(enum smtp_stage stage, const struct reply *r,
                             unsigned successes, unsigned accepted_rcpts)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct rule *u = &rules[i];

		if (u->when == AFTER_SUCCESS && successes == 0)
			continue;
		if (u->when == AFTER_RCPT && accepted_rcpts == 0)
			continue;
		if (fits(u, stage, r))
			return u->kind;
	}
	return VERDICT_HOST;
}

/* The enhanced code in a verdict's text ("550 5.7.1 ..."). */
static bool text_enhanced(struct str text, uint64_t *ret_subject, uint64_t *ret_detail)
{
	struct str word, part;
	uint64_t class;

	return str_cut(&text, ' ', &word) && str_cut(&text, ' ', &word) &&
	       str_cut(&word, '.', &part) && str_u64(part, &class) &&
	       str_cut(&word, '.', &part) && str_u64(part, ret_subject) &&
	       str_u64(word.p ? word : STR(""), ret_detail);
}

static bool speaks_of_relaying(struct str text)
{
	for (size_t i = 0; i + 5 <= text.n; i++)
		if (str_ieq(str_head(str_from(text, i), 5), STR("relay")))
			return true;
	return false;
}

bool verdict_is_common(const struct verdict *v)
{
	struct str text = buf_view(&v->text);
	uint64_t subject = 0, detail = 0;
	bool known = text_enhanced(text, &subject, &detail);

	if (v->kind != VERDICT_FAILED && v->kind != VERDICT_LATER)
		return false;
	if (subject == 6 || (subject == 3 && detail == 4))
		return false;
	if (v->stage == STAGE_MAIL)
		return true;
	if (v->kind != VERDICT_FAILED)
		return false;
	if (v->stage == STAGE_RCPT)
		return known ? subject == 7 : speaks_of_relaying(text);
	return v->stage == STAGE_DATA || v->stage == STAGE_CONTENT;
}

const char *smtp_stage_name(enum smtp_stage stage)
{
	static const char *const name[] = {
		[STAGE_CONNECT] = "connect", [STAGE_GREETING] = "greeting",
		[STAGE_EHLO] = "EHLO",       [STAGE_TLS] = "STARTTLS",
		[STAGE_AUTH] = "AUTH",       [STAGE_MAIL] = "MAIL",
		[STAGE_RCPT] = "RCPT",       [STAGE_DATA] = "DATA",
		[STAGE_CONTENT] = "content", [STAGE_RSET] = "RSET",
		[STAGE_QUIT] = "QUIT",
	};

	return (size_t)stage < ARRAY_LEN(name) ? name[stage] : "?";
}
