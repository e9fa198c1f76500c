/*
 * smuggle.h - ways to smuggle a message in another one's content, and what a content means
 */
#ifndef TEST_UNIT_SMUGGLE_H
#define TEST_UNIT_SMUGGLE_H

#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { STREAM_MAX = 512 };

/* STR() in a static table. */
#define BYTES(lit)                   \
	{                            \
		lit, sizeof(lit) - 1 \
	}
#define END "\r\n.\r\n"

/* What a stream behind DATA means, without a state machine: the end is where CRLF.CRLF is
 * found for the first time, the CRLF of DATA counted; lines are what stands between CRLF.
 * Gives where the end is; stream.n + 1: there is none. */
static size_t reference(struct str stream, struct buf *ret)
{
	char all[STREAM_MAX] = "\r\n";
	size_t n = stream.n + 2, end = 0, start;

	assert_true(n <= sizeof(all));
	memcpy(all + 2, stream.p, stream.n);
	buf_reset(ret);
	while (end + 5 <= n && memcmp(all + end, END, 5) != 0)
		end++;
	if (end + 5 > n)
		return stream.n + 1;
	start = 2;
	for (size_t i = 2; i < end + 2; i++) {
		if (all[i] != '\r' || all[i + 1] != '\n')
			continue;
		if (i > start && all[start] == '.')
			start++;
		buf_add(ret, all + start, i - start);
		buf_c(ret, '\n');
		i++;
		start = i + 1;
	}
	buf_c(ret, '|');
	return end + 3;
}

struct variant {
	const char *name;
	struct str end; /* what some server took for the end of the content */
};

/* CVE-2023-51764, -51765, -51766, VU#302671, sec-consult's and other lists, and what they
 * leave out. */
static const struct variant variants[] = {
	{ "LF.LF", BYTES("\n.\n") },
	{ "LF.CRLF", BYTES("\n.\r\n") },
	{ "CRLF.LF", BYTES("\r\n.\n") },
	{ "CR.CR", BYTES("\r.\r") },
	{ "CRLF.CR", BYTES("\r\n.\r") },
	{ "CR.CRLF", BYTES("\r.\r\n") },
	{ "LF.CR", BYTES("\n.\r") },
	{ "CR.LF", BYTES("\r.\n") },
	{ "LFCR.LFCR", BYTES("\n\r.\n\r") },
	{ "LFCR.CRLF", BYTES("\n\r.\r\n") },
	{ "CRLF.CRCRLF", BYTES("\r\n.\r\r\n") },
	{ "CRLF.CRCR", BYTES("\r\n.\r\r") },
	{ "CR.CRCRLF", BYTES("\r.\r\r\n") },
	{ "LFLF.LFLF", BYTES("\n\n.\n\n") },
	{ "CRCR.CRCR", BYTES("\r\r.\r\r") },
	{ "LF.LFCRLF", BYTES("\n.\n\r\n") },
	{ "CRLF.LFCRLF", BYTES("\r\n.\n\r\n") },
	{ "CRLF NUL.CRLF", BYTES("\r\n\0.\r\n") },
	{ "CRLF.NUL CRLF", BYTES("\r\n.\0\r\n") },
	{ "CR NUL LF.CRLF", BYTES("\r\0\n.\r\n") },
	{ "CRLF.CR NUL LF", BYTES("\r\n.\r\0\n") },
	{ "LF NUL.LF", BYTES("\n\0.\n") },
	{ "LF.NUL LF", BYTES("\n.\0\n") },
	{ "NUL.NUL", BYTES("\0.\0") },
	{ "NUL LF.CRLF", BYTES("\0\n.\r\n") },
	{ "CRLF..CRLF", BYTES("\r\n..\r\n") },
	{ "CRLF..LF", BYTES("\r\n..\n") },
	{ "CRLF..CR", BYTES("\r\n..\r") },
	{ "CRLF blank.CRLF", BYTES("\r\n .\r\n") },
	{ "CRLF.blank CRLF", BYTES("\r\n. \r\n") },
	{ "CRLF TAB.CRLF", BYTES("\r\n\t.\r\n") },
	{ "CRLF.TAB CRLF", BYTES("\r\n.\t\r\n") },
	{ "CR blank LF.CRLF", BYTES("\r \n.\r\n") },
	{ "CRLF.CR blank LF", BYTES("\r\n.\r \n") },
	{ "VT.VT", BYTES("\v.\v") },
	{ "FF.FF", BYTES("\f.\f") },
	{ "CRLF.FF", BYTES("\r\n.\f") },
	{ "backspace", BYTES("\r\nx\b.\r\n") },
	{ "CRLF.DEL CRLF", BYTES("\r\n.\x7f\r\n") },
	{ "CRLF.^Z CRLF", BYTES("\r\n.\x1a\r\n") },
	{ "NEL.NEL", BYTES("\x85.\x85") },
	{ "UTF-8 NEL", BYTES("\xc2\x85.\xc2\x85") },
	{ "UTF-8 line separator", BYTES("\xe2\x80\xa8.\xe2\x80\xa8") },
	{ "UTF-8 full width dot", BYTES("\r\n\xef\xbc\x8e\r\n") },
	{ "UTF-8 long form of a dot", BYTES("\r\n\xc0\xae\r\n") },
	{ "the eighth bit", BYTES("\x8d\x8a\xae\x8d\x8a") },
	{ "a dot with the eighth bit", BYTES("\r\n\xae\r\n") },
	{ "UTF-16", BYTES("\r\0\n\0.\0\r\0\n\0") },
	{ "the escape of C", BYTES("\\r\\n.\\r\\n") },
	{ "BOM", BYTES("\r\n\xef\xbb\xbf.\r\n") },
};

#define SMUGGLED \
	"MAIL FROM:<evil@x>\r\nRCPT TO:<evil@y>\r\nDATA\r\nSubject: smuggled\r\n\r\nboo"

#endif
