/* What may be sent to this host, and the commands of the envelope (flight.h) */
#include "smtp/flight.h"
#include "smtp/idna.h"

enum {
	/* Octets of an address: as long as src/mail lets them be. */
	ADDRESS_MAX = 1000,
	PARAMETER_MAX = 500,
};

/* The last guard against commands within addresses: no control byte, and outside quotes
 * nothing that would end the path. Who calls us has refused these long before. */
static bool address_ok(struct str a)
{
	bool quoted = false;

	for (size_t i = 0; i < a.n; i++) {
		unsigned char ch = (unsigned char)a.p[i];

		if (ch < 0x20 || ch == 0x7f)
			return false;
		if (quoted && ch == '\\' && i + 1 < a.n &&
		    (unsigned char)a.p[i + 1] >= 0x20 && a.p[i + 1] != 0x7f)
			i++;
		else if (ch == '"')
			quoted = !quoted;
		else if (!quoted && (ch == '<' || ch == '>' || ch == ' '))
			return false;
	}
	return !quoted && a.n <= ADDRESS_MAX;
}

/* May it be a parameter's value? xtext has no byte that parts parameters. */
static bool parameter_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
			return false;
	return s.n > 0 && s.n <= PARAMETER_MAX;
}

/* Appends an address as this host can take it: without SMTPUTF8 an internationalised
 * domain goes out in A-labels. False: it cannot. */
static bool put_address(const struct client *c, struct buf *b, struct str a)
{
	if (!c->ext.smtputf8)
		return idna_address(b, a) == 0;
	buf_str(b, a);
	return true;
}

static bool needs_utf8(const struct client *c, struct str a)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	return !str_is_ascii(a) && !put_address(c, &b, a);
}

static void preflight_rcpt(struct flight *f, const struct client *c, size_t i)
{
	struct str a = f->m->rcpt[i].addr;

	if (!a.n || !address_ok(a))
		flight_refuse(f, i, 553, "5.1.3 the recipient's address is malformed");
	else if (needs_utf8(c, a))
		flight_refuse(f, i, 553,
		              "5.6.7 the address needs SMTPUTF8, which the host does "
		              "not offer");
	else
		f->utf8 = f->utf8 || !str_is_ascii(a);
}

void flight_preflight(struct flight *f, const struct client *c)
{
	const struct ehlo *x = &c->ext;
	struct client_msg *m = f->m;

	if (!address_ok(m->sender)) {
		flight_refuse(f, SIZE_MAX, 553,
		              "5.1.7 the sender's address is malformed");
	} else if (needs_utf8(c, m->sender)) {
		flight_refuse(
		    f, SIZE_MAX, 553,
		    "5.6.7 the sender's address needs SMTPUTF8, which the host does "
		    "not offer");
	} else if (x->size_max && f->size > x->size_max) {
		char text[120];

		snprintf(text, sizeof(text),
		         "5.3.4 message of %llu octets is over the host's limit of %llu",
		         (unsigned long long)f->size, (unsigned long long)x->size_max);
		flight_refuse(f, SIZE_MAX, 552, text);
	}
	f->utf8 = !str_is_ascii(m->sender);
	for (size_t i = 0; i < m->rcpts; i++)
		if (f->state[i] != RCPT_DECIDED)
			preflight_rcpt(f, c, i);
}

static void parameter(struct buf *b, const char *name, struct str value)
{
	if (!parameter_ok(value))
		return;
	buf_z(b, name);
	buf_str(b, value);
}

void flight_put_mail(const struct flight *f, const struct client *c, struct buf *b)
{
	const struct ehlo *x = &c->ext;

	buf_z(b, "MAIL FROM:<");
	put_address(c, b, f->m->sender);
	buf_c(b, '>');
	if (x->size) {
		buf_z(b, " SIZE=");
		buf_u64(b, f->size);
	}
	if (x->eightbit && f->eightbit)
		buf_z(b, " BODY=8BITMIME");
	if (x->smtputf8 && f->utf8)
		buf_z(b, " SMTPUTF8");
	if (x->dsn) {
		parameter(b, " RET=", f->m->ret);
		parameter(b, " ENVID=", f->m->envid);
	}
	buf_z(b, "\r\n");
}

void flight_put_rcpt(const struct flight *f, const struct client *c, struct buf *b)
{
	const struct client_rcpt *r = &f->m->rcpt[f->next];

	buf_z(b, "RCPT TO:<");
	put_address(c, b, r->addr);
	buf_c(b, '>');
	if (c->ext.dsn) {
		parameter(b, " NOTIFY=", r->notify);
		parameter(b, " ORCPT=", r->orcpt);
	}
	buf_z(b, "\r\n");
}
