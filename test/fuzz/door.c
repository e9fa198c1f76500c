/* A door of any bytes: open, or with bounds that hold; what it says is printed and read again
 * the same. */
#include "spool/door.h"

enum { NOW = 1800000000, UID = 7 };

static void same(const struct door *a, const struct door *b)
{
	if (a->size != b->size || a->free != b->free || a->inodes != b->inodes ||
	    a->shut_until != b->shut_until || a->users != b->users ||
	    !str_eq(door_refuses(a, UID), door_refuses(b, UID)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct door d, again;
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct str words;

	if (!door_read((struct str){ (const char *)data, size }, UID, NOW, &d)) {
		if (d.size || d.free || d.shut_until || d.users ||
		    door_refuses(&d, UID).n || door_refuses(&d, 0).n)
			abort();
		return 0;
	}
	if (d.size < 0 || d.free < 0 || d.inodes < 0 || d.users > 1 ||
	    (d.shut_until && d.shut_until <= NOW))
		abort();
	words = door_refuses(&d, UID);
	if (words.n > DOOR_WORDS_MAX)
		abort();
	for (size_t i = 0; i < words.n; i++)
		if ((unsigned char)words.p[i] < 0x20 || (unsigned char)words.p[i] >= 0x7f)
			abort();
	door_print(&text, &d);
	if (text.n > DOOR_MAX || !door_read(buf_view(&text), UID, NOW, &again))
		abort();
	same(&d, &again);
	return 0;
}
