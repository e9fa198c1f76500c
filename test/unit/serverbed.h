/* A server session whose caller writes down what it is asked. */
#ifndef UNIT_SERVERBED_H
#define UNIT_SERVERBED_H

#include "smtp/server.h"

struct serverbed {
	struct server_conf conf;
	struct server_ops ops;
	struct server s;
	struct buf out;     /* all replies */
	struct buf calls;   /* what was asked, a line each */
	struct buf content; /* of all messages committed, each ended by "|" */
	struct buf piece;   /* of the message that is coming in */
	unsigned mails, begun, committed, resets, refused;
	bool quiet; /* counts only */
	bool open, data;
	int mail_says, rcpt_says, begin_says, content_says, commit_says;
	const char *words;
	const char *wrong; /* the contract was broken */
};

static void bed_words(const struct serverbed *b, struct buf *words)
{
	if (b->words)
		buf_z(words, b->words);
}

static int bed_mail(void *arg, struct str addr, const struct server_params *p,
                    struct buf *words)
{
	struct serverbed *b = arg;

	if (b->open)
		b->wrong = "mail() in a transaction";
	b->mails++;
	bed_words(b, words);
	if (!b->quiet) {
		buf_z(&b->calls, "mail ");
		buf_escape(&b->calls, addr, addr.n);
		if (p->size)
			buf_fmt(&b->calls, " size=%llu", (unsigned long long)p->size);
		if (p->body8)
			buf_z(&b->calls, " body8");
		if (p->smtputf8)
			buf_z(&b->calls, " utf8");
		if (p->ret.n)
			buf_fmt(&b->calls, " ret=%.*s", (int)p->ret.n, p->ret.p);
		if (p->envid.n)
			buf_fmt(&b->calls, " envid=%.*s", (int)p->envid.n, p->envid.p);
		buf_c(&b->calls, '\n');
	}
	b->open = b->mail_says == 0;
	b->data = false;
	return b->mail_says;
}

static int bed_rcpt(void *arg, struct str addr, struct str notify, struct str orcpt,
                    struct buf *words)
{
	struct serverbed *b = arg;

	if (!b->open)
		b->wrong = "rcpt() without mail()";
	bed_words(b, words);
	if (b->quiet)
		return b->rcpt_says;
	buf_z(&b->calls, "rcpt ");
	buf_escape(&b->calls, addr, addr.n);
	if (notify.n)
		buf_fmt(&b->calls, " notify=%.*s", (int)notify.n, notify.p);
	if (orcpt.n)
		buf_fmt(&b->calls, " orcpt=%.*s", (int)orcpt.n, orcpt.p);
	buf_c(&b->calls, '\n');
	return b->rcpt_says;
}

static int bed_begin(void *arg, struct buf *words)
{
	struct serverbed *b = arg;

	if (!b->open || b->data)
		b->wrong = "begin() out of order";
	bed_words(b, words);
	b->begun++;
	b->data = b->begin_says == 0;
	buf_reset(&b->piece);
	return b->begin_says;
}

static int bed_content(void *arg, struct str bytes)
{
	struct serverbed *b = arg;

	if (!b->data || !bytes.n)
		b->wrong = "content() out of order";
	buf_str(&b->piece, bytes);
	return b->content_says;
}

static int bed_commit(void *arg, struct buf *words)
{
	struct serverbed *b = arg;

	if (!b->data)
		b->wrong = "commit() out of order";
	bed_words(b, words);
	if (b->commit_says)
		return b->commit_says;
	b->committed++;
	buf_str(&b->content, buf_view(&b->piece));
	buf_c(&b->content, '|');
	b->open = b->data = false;
	return 0;
}

static void bed_reset(void *arg)
{
	struct serverbed *b = arg;

	if (!b->open)
		b->wrong = "reset() without a transaction";
	b->resets++;
	b->open = b->data = false;
}

/* "user" with "pw" may come in; for "later" it cannot be told. */
static int bed_auth(void *arg, struct str user, struct str password)
{
	struct serverbed *b = arg;

	if (!b->quiet)
		buf_fmt(&b->calls, "auth %.*s %.*s\n", (int)user.n, user.p,
		        (int)password.n, password.p);
	if (str_eq(user, STR("later")))
		return 454;
	return str_eq(user, STR("user")) && str_eq(password, STR("pw")) ? 0 : 535;
}

static void bed_refused(void *arg, const char *verb, int code, struct str words)
{
	struct serverbed *b = arg;

	if (!verb || code < 400 || code > 599 || !words.n)
		b->wrong = "refused() with nonsense";
	b->refused++;
}

static inline void bed_open(struct serverbed *b)
{
	*b = (struct serverbed){
		.conf = { .hostname = STR("box.example"), .trusted = true },
		.ops = { bed_mail, bed_rcpt, bed_begin, bed_content, bed_commit,
		         bed_reset, bed_auth, bed_refused, NULL },
	};
}

/* After what the test sets in b->conf. */
static inline void bed_start(struct serverbed *b)
{
	b->ops.arg = b;
	server_init(&b->s, &b->conf, &b->ops);
}

static inline void bed_close(struct serverbed *b)
{
	server_free(&b->s);
	buf_free(&b->out);
	buf_free(&b->calls);
	buf_free(&b->content);
	buf_free(&b->piece);
}

static inline enum server_event bed_say(struct serverbed *b, struct str in)
{
	return server_input(&b->s, in, &b->out);
}

/* Well-formed replies (RFC 5321 4.2, RFC 2034), nothing else; NULL, or what is wrong. */
static inline const char *bed_bad_replies(struct str out)
{
	char code[3] = "";
	bool more = false;
	struct str line;

	if (out.n && out.p[out.n - 1] != '\n')
		return "no end of line";
	while (out.n && str_cut(&out, '\n', &line)) {
		char first;

		if (line.n < 5 || line.n > 511 || line.p[line.n - 1] != '\r')
			return "no CRLF, or a bad length";
		line.n--;
		for (size_t i = 0; i < line.n; i++)
			if (line.p[i] < 0x20 || line.p[i] > 0x7e)
				return "not printable";
		for (size_t i = 0; i < 3; i++)
			if (line.p[i] < '0' || line.p[i] > '9')
				return "no code";
		first = line.p[0];
		if (first < '2' || first > '5' || (line.p[3] != ' ' && line.p[3] != '-'))
			return "a bad code";
		if (more && memcmp(code, line.p, 3) != 0)
			return "codes differ";
		more = line.p[3] == '-';
		memcpy(code, line.p, 3);
		if ((first == '4' || first == '5') &&
		    (line.n < 10 || line.p[4] != first || line.p[5] != '.'))
			return "no enhanced code";
	}
	return more ? "a reply without its last line" : NULL;
}

#endif
