#include "push/report.h"
#include "base/io.h"
#include "push/record.h"

void report_send(struct reporter *r, struct str text)
{
	if (!r->broken && record_send(r->sock, text) < 0)
		r->broken = true;
}

void report_packet(struct reporter *r, struct str text, int fd)
{
	if (!r->broken && job_send(r->sock, text, &fd, 1) < 0)
		r->broken = true;
}

void report_journal(struct reporter *r, struct str text)
{
	if (io_write(r->journal, text.p, text.n) < 0)
		r->full = true;
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
	buf_escape(&b, buf_view(&v->text), 400);
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

void report_put_off(struct reporter *r, const struct message *m, int64_t due)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	record_begin(&b, "end", &m->id, m->due);
	buf_fmt(&b, "later %lld\n", (long long)due);
	report_journal(r, buf_view(&b));
	report_send(r, buf_view(&b));
}
