/* The template of a report, its words and subject used: nothing but UTF-8 without control
 * bytes comes out, and of the subject printable ASCII in words of at most 75 octets where
 * they are ours. Octets behind a NUL are a message's subject. */
#include "mail/template.h"
#include "mail/text.h"

static void check_text(struct str s)
{
	while (s.n) {
		size_t n = text_utf8_length(s);
		unsigned char c = (unsigned char)s.p[0];

		if (n == 0 || c == 0x7f || (c < 0x20 && c != '\n' && c != '\t'))
			abort();
		s = str_from(s, n);
	}
}

static void use(const struct template *t, struct str subject)
{
	_cleanup_buf_ struct buf clean = BUF_INIT, decoded = BUF_INIT;

	text_clean(&clean, subject);
	text_decode_words(&decoded, buf_view(&clean));
	check_text(buf_view(&clean));
	check_text(buf_view(&decoded));
	for (int i = 0; i < TEMPLATE_KINDS; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT, line = BUF_INIT, coded = BUF_INIT,
		                         qp = BUF_INIT;
		struct template_values v = { .hostname = STR("box"),
			                     .subject = buf_view(&decoded),
			                     .recipients = STR("    <a@b>\n") };

		template_words(&b, t->block[i].words, &v);
		check_text(buf_view(&b));
		text_quoted_printable(&qp, buf_view(&b));
		if (!memmem(b.p, b.n, "<a@b>", 5) || !str_is_ascii(buf_view(&qp)))
			abort();
		v.subject = buf_view(&clean);
		template_subject(&line, t->block[i].subject, &v);
		check_text(buf_view(&line));
		text_encode_words(&coded, buf_view(&line));
		if (!str_is_ascii(buf_view(&coded)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size }, subject = STR("");
	ptrdiff_t nul = size ? str_chr(text, '\0') : -1;
	struct template t;
	const char *why = NULL;
	int line = 0;

	if (nul >= 0) {
		subject = str_from(text, (size_t)nul + 1);
		text = str_head(text, (size_t)nul);
	}
	if (template_parse(text, &t, &line, &why) < 0) {
		if (!why || line < 1)
			abort();
		return 0;
	}
	use(&t, subject);
	template_free(&t);
	return 0;
}
