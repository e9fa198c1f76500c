#include "base/clock.h"
#include <time.h>
#ifdef CLOCK_TEST
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

static int64_t now_ms(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_ms(void)
{
	return now_ms(CLOCK_MONOTONIC);
}

#ifdef CLOCK_TEST
/* A week passes in a second: the file is mapped once, since push cannot open it later. */
static int64_t test_says(unsigned i)
{
	static const volatile int64_t *says;

	if (!says) {
		int fd = open(CLOCK_TEST, O_RDONLY | O_CLOEXEC);
		void *p = mmap(NULL, 2 * sizeof(*says), PROT_READ, MAP_SHARED, fd, 0);

		if (p == MAP_FAILED)
			die_oom();
		close(fd);
		says = p;
	}
	return says[i];
}
#else
static int64_t test_says(unsigned i)
{
	(void)i;
	return 0;
}
#endif

int64_t clock_ahead(void)
{
	return test_says(0);
}

int64_t clock_steady_ms(void)
{
	return clock_ms() + test_says(1) * 1000;
}

int64_t clock_real_ms(void)
{
	return now_ms(CLOCK_REALTIME) + clock_ahead() * 1000;
}

int64_t clock_real(void)
{
	return clock_real_ms() / 1000;
}

static void add_digits(char *to, unsigned v, unsigned digits)
{
	while (digits--) {
		to[digits] = (char)('0' + v % 10);
		v /= 10;
	}
}

/* By hand: gmtime_r() and printf() cost more than the rest of a small message's header. */
void clock_rfc5322(struct buf *b, int64_t seconds)
{
	static const char day[][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
	static const char month[][4] = { "Mar", "Apr", "May", "Jun", "Jul", "Aug",
		                         "Sep", "Oct", "Nov", "Dec", "Jan", "Feb" };
	char text[] = "Thu, 01 Jan 1970 00:00:00 +0000";
	unsigned days, era, of_era, year, of_year, m, time;

	if (seconds < 0 || seconds > CLOCK_MAX)
		seconds = 0;
	/* Years of 400 years, counted from 1 March: leap days are at their end. */
	days = (unsigned)(seconds / 86400) + 719468;
	time = (unsigned)(seconds % 86400);
	memcpy(text, day[(days - 719468) % 7], 3);
	era = days / 146097;
	of_era = days % 146097;
	year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year + year / 4 - year / 100);
	m = (5 * of_year + 2) / 153;
	add_digits(text + 5, of_year - (153 * m + 2) / 5 + 1, 2);
	memcpy(text + 8, month[m], 3);
	add_digits(text + 12, era * 400 + year + (m >= 10), 4);
	add_digits(text + 17, time / 3600, 2);
	add_digits(text + 20, time / 60 % 60, 2);
	add_digits(text + 23, time % 60, 2);
	buf_add(b, text, sizeof(text) - 1);
}
