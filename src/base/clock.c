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
int64_t clock_ahead(void)
{
	static const volatile int64_t *ahead;

	if (!ahead) {
		int fd = open(CLOCK_TEST, O_RDONLY | O_CLOEXEC);
		void *p = mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, fd, 0);

		if (p == MAP_FAILED)
			die_oom();
		close(fd);
		ahead = p;
	}
	return *ahead;
}
#else
int64_t clock_ahead(void)
{
	return 0;
}
#endif

int64_t clock_real_ms(void)
{
	return now_ms(CLOCK_REALTIME) + clock_ahead() * 1000;
}

int64_t clock_real(void)
{
	return clock_real_ms() / 1000;
}

void clock_rfc5322(struct buf *b, int64_t seconds)
{
	static const char day[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char month[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm)) {
		t = 0;
		gmtime_r(&t, &tm);
	}
	buf_fmt(b, "%s, %02d %s %04d %02d:%02d:%02d +0000", day[tm.tm_wday], tm.tm_mday,
	        month[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}
