/* A main for fuzz targets without a fuzzer: runs every file of the folders named, plus a few
 * thousand deterministic mutations of each, and prints TAP. Used by make test. */
#include "base/io.h"
#include <dirent.h>
#include <fcntl.h>

enum { MUTATIONS = 2000, FILE_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void run_bytes(const struct buf *b)
{
	/* A copy of just this size, so that a sanitizer sees a read past its end. */
	uint8_t *copy = malloc(b->n ? b->n : 1);

	if (!copy)
		die_oom();
	if (b->n)
		memcpy(copy, b->p, b->n);
	LLVMFuzzerTestOneInput(copy, b->n);
	free(copy);
}

static void mutate(const struct buf *from, struct buf *b, uint64_t *state)
{
	static const char special[] = "\r\n\0 .<>\"\\@,;:()[]\t\x7f\xff=";

	buf_reset(b);
	buf_str(b, buf_view(from));
	for (uint64_t n = next_random(state) % 4 + 1; n && b->n; n--) {
		uint64_t at = next_random(state) % b->n, how = next_random(state) % 4;

		if (how == 0)
			b->p[at] = (char)next_random(state);
		else if (how == 1)
			b->p[at] = special[next_random(state) % (sizeof(special) - 1)];
		else if (how == 2)
			buf_cut(b, at);
		else
			buf_add(b, special, next_random(state) % sizeof(special));
	}
}

static bool run_file(int dir, const char *name)
{
	_cleanup_buf_ struct buf b = BUF_INIT, m = BUF_INIT;
	uint64_t state = 88172645463325252u;

	if (io_slurp_at(dir, name, &b, FILE_MAX) < 0)
		return false;
	run_bytes(&b);
	for (int i = 0; i < MUTATIONS; i++) {
		mutate(&b, &m, &state);
		run_bytes(&m);
	}
	return true;
}

int main(int argc, char **argv)
{
	int n = 0, bad = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		const struct dirent *e;

		while (d && (e = readdir(d))) {
			bool ok;

			if (e->d_name[0] == '.')
				continue;
			ok = run_file(dirfd(d), e->d_name);
			bad += !ok;
			printf("%s %d - %s/%s\n", ok ? "ok" : "not ok", ++n, argv[i],
			       e->d_name);
		}
		if (d)
			closedir(d);
	}
	printf("1..%d\n", n);
	return bad != 0;
}
