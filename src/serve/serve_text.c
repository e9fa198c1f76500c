#include "serve/serve_text.h"
#include <time.h>

/* ---- Lines ---- */

bool out_flush(struct out *o)
{
	if (!o->failed && o->b.n && !o->send(o->arg, buf_view(&o->b)))
		o->failed = true;
	buf_reset(&o->b);
	return !o->failed;
}

bool out_more(struct out *o)
{
	char last;

	if (o->b.n < OUT_PIECE)
		return !o->failed;
	/* The last octet stays: json_comma() looks at it. */
	last = o->b.p[o->b.n - 1];
	buf_cut(&o->b, o->b.n - 1);
	out_flush(o);
	buf_c(&o->b, last);
	return !o->failed;
}

void out_line(struct out *o)
{
	buf_c(&o->b, '\t');
}

void out_end(struct out *o)
{
	buf_c(&o->b, '\n');
	out_more(o);
}

void out_fmt(struct out *o, const char *fmt, ...)
{
	va_list ap;

	out_line(o);
	va_start(ap, fmt);
	buf_vfmt(&o->b, fmt, ap);
	va_end(ap);
	out_end(o);
}

/* ---- Words, sizes, times ---- */

void text_safe(struct buf *b, struct str s, size_t max)
{
	s = str_head(s, max);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			buf_c(b, '\\');
		else
			buf_escape(b, str_head(str_from(s, i), 1), 1);
	}
}

void text_size(struct buf *b, int64_t octets)
{
	static const char unit[] = "KMGT";
	int64_t v = octets > 0 ? octets : 0, tenths;
	size_t i = 0;

	if (v < 1024) {
		buf_fmt(b, "%lld", (long long)v);
		return;
	}
	while (v >= INT64_C(1024) * 1024 && i + 2 < sizeof(unit)) {
		v /= 1024;
		i++;
	}
	tenths = v * 10 / 1024;
	if (tenths < 100)
		buf_fmt(b, "%lld.%lld%c", (long long)tenths / 10, (long long)tenths % 10,
		        unit[i]);
	else
		buf_fmt(b, "%lld%c", (long long)tenths / 10, unit[i]);
}

void text_span(struct buf *b, int64_t seconds)
{
	static const struct {
		int64_t from, unit;
		char c;
	} rows[] = { { 172800, 86400, 'd' }, { 7200, 3600, 'h' }, { 120, 60, 'm' } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (seconds >= rows[i].from) {
			buf_fmt(b, "%lld%c", (long long)(seconds / rows[i].unit),
			        rows[i].c);
			return;
		}
	buf_fmt(b, "%llds", (long long)(seconds > 0 ? seconds : 0));
}

static struct tm utc(int64_t seconds)
{
	/* Up to the year 9999. */
	time_t t = (time_t)(seconds < 0                       ? 0
	                    : seconds > INT64_C(253402300799) ? INT64_C(253402300799)
	                                                      : seconds);
	struct tm tm = { 0 };

	gmtime_r(&t, &tm);
	return tm;
}

void text_time(struct buf *b, int64_t seconds)
{
	struct tm tm = utc(seconds);

	buf_fmt(b, "%04d-%02d-%02d %02d:%02d:%02d UTC", tm.tm_year + 1900, tm.tm_mon + 1,
	        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

void text_ctime(struct buf *b, int64_t seconds)
{
	static const char day[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char month[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct tm tm = utc(seconds);

	buf_fmt(b, "%s %s %2d %02d:%02d", day[tm.tm_wday], month[tm.tm_mon], tm.tm_mday,
	        tm.tm_hour, tm.tm_min);
}

/* ---- JSON ---- */

/* Length of the UTF-8 sequence that s begins with and its code point (RFC 3629 4: no
 * surrogates, nothing overlong, at most 10ffff); 0: it is none. */
static size_t utf8(struct str s, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80       ? 1
	           : c >> 5 == 6  ? 2
	           : c >> 4 == 14 ? 3
	           : c >> 3 == 30 ? 4
	                          : 0;
	uint32_t v = n == 1 ? c : c & (0x7fu >> n);

	if (n == 0 || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		c = (unsigned char)s.p[i];
		if (c >> 6 != 2)
			return 0;
		v = v << 6 | (c & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*ret = v;
	return n;
}

static void json_char(struct buf *b, uint32_t v)
{
	if (v == '"' || v == '\\')
		buf_fmt(b, "\\%c", (char)v);
	else if (v >= 0x20 && v < 0x7f)
		buf_c(b, (char)v);
	else if (v == '\n')
		buf_z(b, "\\n");
	else if (v < 0x10000)
		buf_fmt(b, "\\u%04x", v);
	else
		buf_fmt(b, "\\u%04x\\u%04x", 0xd800 + ((v - 0x10000) >> 10),
		        0xdc00 + ((v - 0x10000) & 0x3ff));
}

void json_str(struct buf *b, struct str s)
{
	buf_c(b, '"');
	while (s.n) {
		uint32_t v = 0;
		size_t n = utf8(s, &v);

		if (n)
			json_char(b, v);
		else
			buf_fmt(b, "\\\\x%02x", (unsigned char)s.p[0]);
		s = str_from(s, n ? n : 1);
	}
	buf_c(b, '"');
}

void json_comma(struct buf *b)
{
	const char last = (char)(b->n ? b->p[b->n - 1] : ',');

	if (last != '{' && last != '[' && last != ',' && last != ':')
		buf_c(b, ',');
}

void json_key(struct buf *b, const char *key)
{
	json_comma(b);
	buf_fmt(b, "\"%s\":", key);
}

void json_int(struct buf *b, const char *key, int64_t v)
{
	json_key(b, key);
	buf_fmt(b, "%lld", (long long)v);
}

void json_text(struct buf *b, const char *key, struct str v)
{
	json_key(b, key);
	json_str(b, v);
}
