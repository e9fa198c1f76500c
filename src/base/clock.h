/*
 * clock.h - the two clocks, and dates as mail writes them
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/str.h"

int64_t clock_ms(void);   /* monotonic, milliseconds: for deadlines */
int64_t clock_real(void); /* seconds since 1970: for queue times and dates */
int64_t clock_real_ms(void);
/* clock_ms() to compare clock_real_ms() with: whatever they differ by later on, the clock was
 * set by that (or the machine slept). */
int64_t clock_steady_ms(void);
/* Seconds by which clock_real() is ahead of the kernel's clock: 0, but in a build for tests
 * (CLOCK_TEST names a file with the number, and behind it how many of them have passed for
 * clock_steady_ms(), too). */
int64_t clock_ahead(void);
/* 2020, in seconds: real clocks are later. */
#define CLOCK_SANE INT64_C(1577836800)
/* Is t of a clock that was not set yet? One that never is, is as good as any to tell ages. */
static inline bool clock_was_unset(int64_t t, int64_t now)
{
	return t < CLOCK_SANE && now >= CLOCK_SANE;
}
/* The last second that a date of mail can say: 9999-12-31. */
#define CLOCK_MAX INT64_C(253402300799)
/* Appends "Sun, 22 Nov 2026 01:46:00 +0000" (RFC 5322 3.3), always in UTC, no locale. What
 * is before 1970 or after CLOCK_MAX becomes the first second of 1970. */
void clock_rfc5322(struct buf *b, int64_t seconds);

#endif
