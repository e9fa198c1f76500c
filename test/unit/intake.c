#include "spoolbed.h"
#include "base/clock.h"
#include "daemon/intake.h"
#include "prog/who.h"
#include <poll.h>

enum { OTHERS = 6000, DROPS = 20 };

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	close(fd);
}

static void drop(unsigned n)
{
	char path[64];

	snprintf(path, sizeof(path), "in/drop/%016x", n * 2654435761u);
	touch(path);
}

/* As mailchuted's loop: until there is nothing more to look at. */
static void look(struct intake *in)
{
	for (int i = 0; i < 1000 && in->scan; i++) {
		int64_t wait = in->scan_after - clock_ms();

		if (wait > 0)
			poll(NULL, 0, (int)wait);
		intake_adopt(in);
	}
	assert_false(in->scan);
}

/* A look at many names takes several calls. What is dropped, with a poke, behind the place
 * where it is must not wait for the next poke. */
static void poked_in_the_middle(void **state)
{
	struct bed *b = *state;
	struct conf c = { .max_message_size = 1 << 20 };
	struct intake in;
	char path[64];

	who_ask("/nowhere");
	for (unsigned i = 0; i < OTHERS; i++) {
		snprintf(path, sizeof(path), "in/drop/t.%016x", i * 2654435761u);
		touch(path);
	}
	intake_open(&in, &b->s, &c);
	for (unsigned n = 1; n <= DROPS; n++) {
		in.scan = true;
		for (int i = 0; i < 10 && b->s.drop_at == 0; i++) {
			in.scan_after =
			    0; /* what is left of a crash is looked at first */
			intake_adopt(&in);
		}
		assert_true(b->s.drop_at != 0); /* else this tests nothing */
		drop(n);
		intake_poke(&in);
		look(&in);
		assert_int_equal(count("queue/new"), n);
	}
	intake_close(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(poked_in_the_middle, bed_setup,
		                                bed_teardown),
	};

	return cmocka_run_group_tests_name("intake", tests, NULL, NULL);
}
