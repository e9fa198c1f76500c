#include "push/report.h"
#include "base/io.h"
#include "push/record.h"

enum { FLUSH_AT = 32768 };

/* The journal first: what mailchuted is told must not be news to it after a crash. */
void report_flush(struct reporter *r)
{
	if (r->file.n && io_write(r->journal, r->file.p, r->file.n) < 0)
		r->full = true;
	buf_reset(&r->file);
	if (r->up.n && !r->broken && record_send(r->sock, buf_view(&r->up)) < 0)
		r->broken = true;
	buf_reset(&r->up);
}

void report_send(struct reporter *r, struct str text)
{
	buf_str(&r->up, text);
	if (r->up.n >= FLUSH_AT)
		report_flush(r);
}

void report_packet(struct reporter *r, struct str text, int fd)
{
	report_flush(r);
	if (!r->broken && job_send(r->sock, text, &fd, 1) < 0)
		r->broken = true;
}

void report_journal(struct reporter *r, struct str text)
{
	buf_str(&r->file, text);
}

void report_line(struct reporter *r, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vfmt(&b, fmt, ap);
	va_end(ap);
	buf_c(&b, '\n');
	report_send(r, buf_view(&b));
}

int64_t report_age(const struct reporter *r, int64_t time, int64_t now)
{
	int64_t steady = now - r->jumped;

	/* What is later than that was written after the jump. */
	return r->jumped > 0 && time <= steady ? steady - time : now - time;
}

void report_commit(struct reporter *r, const struct message *m)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	record_begin(&b, "s", &m->id, m->due);
	buf_c(&b, '\n');
	report_journal(r, buf_view(&b));
}

void report_refused(struct reporter *r, const struct message *m, const struct verdict *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	record_begin(&b, "refused", &m->id, m->due);
	buf_fmt(&b, "%s %d ", smtp_stage_name(v->stage), v->code);
	buf_escape_rest(&b, buf_view(&v->text), 400);
	buf_c(&b, '\n');
	report_send(r, buf_view(&b));
}

void report_bad(struct reporter *r, const struct id *id, uint32_t due, const char *why)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	record_begin(&b, "end", id, due);
	buf_fmt(&b, "bad %s\n", why);
	report_send(r, buf_view(&b));
}

void report_put_off(struct reporter *r, const struct message *m, int64_t due, bool host)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	record_begin(&b, "end", &m->id, m->due);
	buf_fmt(&b, "later %lld%s\n", (long long)due, host ? " host" : "");
	report_journal(r, buf_view(&b));
	report_send(r, buf_view(&b));
}
