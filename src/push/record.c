#include "push/record.h"

enum { PACKET_FILL = 32768 };

void record_begin(struct buf *b, const char *verb, const struct id *id, uint32_t due)
{
	buf_z(b, verb);
	buf_c(b, ' ');
	buf_add(b, id->c, ID_LEN);
	buf_c(b, ' ');
	buf_hex8(b, due);
	buf_c(b, ' ');
}

void record_lines(struct buf *b, const char *verb, const struct id *id, uint32_t due,
                  struct str lines)
{
	struct str line;

	while (lines.n && str_cut(&lines, '\n', &line)) {
		record_begin(b, verb, id, due);
		buf_str(b, line);
		buf_c(b, '\n');
	}
}

int record_send(int sock, struct str text)
{
	int e = 0;

	while (e == 0 && text.n) {
		struct str part = str_head(text, PACKET_FILL);
		ptrdiff_t lf =
		    part.n < text.n ? str_rchr(part, '\n') : (ptrdiff_t)part.n - 1;

		part.n = lf < 0 ? part.n : (size_t)lf + 1;
		e = job_send(sock, part, NULL, 0);
		text = str_from(text, part.n);
	}
	return e;
}
