/* Which host of several is tried when, what is said of those that are passed over, and what the
 * next push is told: reach.c with an engine, hosts and clocks of the test's own. */
#include "push/push.h"
#include "base/clock.h"
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { NOW = 1800000000 };

/* What a host does: o opens, t is too slow for somebody in a hurry (and refuses who waits),
 * T the same and opens for who waits, any other refuses. */
static struct scene {
	char does[RESOLVE_HOSTS_MAX + 1];
	size_t missing; /* so many more that are not found, behind those */
	size_t found;
	int64_t uptime_ms, real;
	const char *passed;
	struct push p;
	struct smarthost host;
	int other_end;
	struct buf lines, tried, verdict;
} * now;

/* ---- What reach.c uses ---- */

int64_t clock_ms(void)
{
	return now->uptime_ms;
}

int64_t clock_real(void)
{
	return now->real;
}

int64_t push_now(struct push *p)
{
	(void)p;
	return now->real;
}

void push_flush(struct push *p)
{
	(void)p;
}

void push_host(struct push *p, const struct verdict *v)
{
	(void)p;
	buf_str(&now->verdict, buf_view(&v->text));
}

void report_line(struct reporter *r, const char *fmt, ...)
{
	va_list ap;

	(void)r;
	va_start(ap, fmt);
	buf_vfmt(&now->lines, fmt, ap);
	va_end(ap);
	buf_c(&now->lines, '\n');
}

int64_t report_age(const struct reporter *r, int64_t time, int64_t at)
{
	(void)r;
	return at - time;
}

int secret_get(struct secret *s, int cancel_fd, struct buf *ret, struct buf *ret_why)
{
	(void)s;
	(void)cancel_fd;
	(void)ret;
	(void)ret_why;
	return 0;
}

void secret_forget(struct secret *s)
{
	(void)s;
}

struct str client_passed(const struct client *c)
{
	(void)c;
	return str_z(now->passed);
}

static struct target target(size_t n)
{
	struct target t = { .port = 25, .addresses = 1 };
	const struct sockaddr_in to = { .sin_family = AF_INET,
		                        .sin_port = htons((uint16_t)n) };

	t.name[0] = (char)('a' + n);
	t.address[0].len = sizeof(to);
	memcpy(&t.address[0].addr, &to, sizeof(to));
	return t;
}

bool resolve_next(struct resolver *r, int wait_ms, int cancel_fd, struct target *ret,
                  struct buf *ret_why)
{
	bool is_found = now->does[now->found] != '\0';

	(void)wait_ms;
	(void)cancel_fd;
	if (is_found) {
		*ret = target(now->found++);
	} else if (now->missing) {
		now->missing--;
		buf_fmt(ret_why, "%sgone", ret_why->n ? "; " : "cannot find ");
	}
	r->more = now->does[now->found] || now->missing;
	return is_found;
}

/* The host's number is its port. */
int client_open_any(struct client *c, struct client_way *way, struct verdict *ret_why)
{
	struct sockaddr_in to;
	size_t n;

	(void)c;
	memcpy(&to, &way->to[0].addr, sizeof(to));
	n = ntohs(to.sin_port);
	buf_fmt(&now->tried, "%c%s", (char)('a' + n), way->others ? "" : "!");
	way->at = 0;
	way->hurried = way->others && (now->does[n] == 't' || now->does[n] == 'T');
	if (now->does[n] == 'o' || (now->does[n] == 'T' && !way->others))
		return 0;
	ret_why->stage = STAGE_GREETING;
	buf_fmt(&ret_why->text, "%c %s", (char)('a' + n),
	        way->hurried ? "says nothing" : "says no");
	return -1;
}

struct str client_facts(const struct client *c)
{
	(void)c;
	return STR("tls=none");
}

/* ---- One run ---- */

static void scene_begin(struct scene *s, const char *does, size_t missing)
{
	static char isp[] = "isp";
	int pair[2];

	*s = (struct scene){ .missing = missing, .uptime_ms = 1000000000, .real = NOW };
	now = s;
	s->host = (struct smarthost){ .name = isp };
	s->p.host = &s->host;
	memcpy(s->does, does, strlen(does));
	s->p.resolver.more = does[0] || missing;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	/* Where it is asked whether mailchuted has gone. */
	if (pair[0] != JOB_FD_SOCKET) {
		assert_int_equal(dup2(pair[0], JOB_FD_SOCKET), JOB_FD_SOCKET);
		close(pair[0]);
	}
	s->other_end = pair[1];
}

static void scene_end(struct scene *s)
{
	close(s->other_end);
	close(JOB_FD_SOCKET);
	buf_free(&s->lines);
	buf_free(&s->tried);
	buf_free(&s->verdict);
	buf_free(&s->p.missing);
	buf_free(&s->p.learned);
}

static void same(const char *name, const char *what, const struct buf *is,
                 const char *want)
{
	if (!str_eq(buf_view(is), str_z(want)))
		fail_msg("%s: %s: \"%s\", not \"%s\"", name, what, is->n ? is->p : "",
		         want);
}

static void test_open(void **state)
{
#define SKIP(host, why) "log w host-skipped relay=" host " why=\"" why "\"\n"
	static const struct {
		const char *name, *does;
		size_t missing;
		bool open;
		const char *tried, *lines, *verdict;
	} rows[] = {
		{ "one", "o", 0, true, "a!", "up relay=a tls=none\n", "" },
		{ "the second", "no", 0, true, "ab!",
		  SKIP("a", "a says no") "up relay=b tls=none\n", "" },
		{ "none serves", "nn", 0, false, "ab!", SKIP("a", "a says no"),
		  "b says no" },
		{ "none is found", "", 1, false, "", "", "cannot find gone" },
		{ "none at all", "", 0, false, "", "", "no host was found" },
		{ "some are not found", "n", 2, false, "a",
		  "log w host-skipped why=\"cannot find gone\"\n"
		  "log w host-skipped why=\"cannot find gone\"\n",
		  "a says no" },
		{ "a slow one opens", "Tn", 0, true, "ab!a!",
		  SKIP("a", "a says nothing")
		      SKIP("b", "b says no") "up relay=a tls=none\n",
		  "" },
		{ "a slow one does not", "tn", 0, false, "ab!a!",
		  SKIP("a", "a says nothing") SKIP("b", "b says no"), "a says no" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		static struct scene s;

		scene_begin(&s, rows[i].does, rows[i].missing);
		if (push_open(&s.p) != rows[i].open)
			fail_msg("%s: open: %d", rows[i].name, !rows[i].open);
		same(rows[i].name, "tried", &s.tried, rows[i].tried);
		same(rows[i].name, "lines", &s.lines, rows[i].lines);
		same(rows[i].name, "verdict", &s.verdict, rows[i].verdict);
		scene_end(&s);
	}
#undef SKIP
}

/* Mechanisms that were refused are said once, of each connection. */
static void test_refused(void **state)
{
	static struct scene s;

	(void)state;
	scene_begin(&s, "no", 0);
	s.passed = "plain,login";
	assert_true(push_open(&s.p));
	same("login", "lines", &s.lines,
	     "log w host-skipped relay=a why=\"a says no\"\nup relay=b tls=none\n"
	     "log i auth-refused route=isp refused=plain,login\n");
	scene_end(&s);
}

/* A host that failed comes last, also for the next push, for ten minutes and no longer: also
 * soon after the machine has started. */
static void test_lately(void **state)
{
	static struct scene s;
	_cleanup_buf_ struct buf learned = BUF_INIT;

	(void)state;
	scene_begin(&s, "no", 0);
	assert_true(push_open(&s.p));
	push_learned(&s.p, STR("v1"), &learned);
	scene_end(&s);

	scene_begin(&s, "oo", 0);
	s.uptime_ms = 60000;
	s.real = NOW + 599;
	buf_str(&s.p.learned, buf_view(&learned));
	assert_true(push_open(&s.p));
	s.uptime_ms += 2000;
	s.real += 2;
	assert_true(push_open(&s.p));
	same("ten minutes", "tried", &s.tried, "ba");
	buf_reset(&learned);
	push_learned(&s.p, STR("v1"), &learned);
	same("afterwards", "learned", &learned, "v1");
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lately),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
