#include "base/log.h"
#include "base/io.h"
#include <syslog.h>
#include <unistd.h>

static const char *log_prog = "mailchute";
static bool log_syslog, log_debug;

void log_open(const char *prog, bool to_syslog, bool debug)
{
	if (log_syslog)
		closelog();
	log_prog = prog;
	log_syslog = to_syslog;
	log_debug = debug;
	if (to_syslog)
		openlog(prog, LOG_NDELAY | LOG_PID, LOG_MAIL);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const int prio[] = { [LOG_LEVEL_ALERT] = LOG_ALERT,
		                    [LOG_LEVEL_WARNING] = LOG_WARNING,
		                    [LOG_LEVEL_INFO] = LOG_INFO,
		                    [LOG_LEVEL_DEBUG] = LOG_DEBUG };
	char room[512] = ""; /* nearly all lines */
	_cleanup_buf_ struct buf b = buf_on(room, sizeof(room));
	va_list ap;

	if (level == LOG_LEVEL_DEBUG && !log_debug)
		return;
	if (!log_syslog) {
		buf_z(&b, log_prog);
		buf_z(&b, ": ");
	}
	va_start(ap, fmt);
	buf_vfmt(&b, fmt, ap);
	va_end(ap);
	if (log_syslog) {
		syslog(prio[level], "%s", b.p);
	} else {
		buf_c(&b, '\n');
		(void)io_write(2, b.p, b.n);
	}
}

static void add_value(struct buf *line, const char *key, struct str value,
                      void (*escape)(struct buf *b, struct str s, size_t max))
{
	bool quote = false;

	if (value.n == 0)
		return;
	for (size_t i = 0; i < value.n; i++)
		quote |= value.p[i] == ' ' || value.p[i] == '"' || value.p[i] == '=';
	buf_c(line, ' ');
	buf_z(line, key);
	buf_c(line, '=');
	if (!quote) {
		escape(line, value, 300);
		return;
	}
	buf_c(line, '"');
	value = str_head(value, 300);
	while (value.n) {
		ptrdiff_t q = str_chr(value, '"');
		struct str part = q < 0 ? value : str_head(value, (size_t)q);

		escape(line, part, part.n);
		if (q >= 0)
			buf_z(line, "\\\"");
		value = str_from(value, part.n + (q >= 0));
	}
	buf_c(line, '"');
}

void log_value(struct buf *line, const char *key, struct str value)
{
	add_value(line, key, value, buf_escape);
}

void log_text(struct buf *line, const char *key, struct str value)
{
	add_value(line, key, value, buf_escape_rest);
}
