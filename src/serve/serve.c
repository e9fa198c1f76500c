/*
 * mailchute-serve UID ADMIN [LISTENER] - one connection of mailchuted's socket
 *
 * Started by mailchuted with the connection, the control socket and the spool's folder as
 * descriptors 3, 4 and 5. UID is who is at the other end (SO_PEERCRED), ADMIN 1 when he may
 * see everything. LISTENER is the uid whose word about its clients is believed. Logs nothing: what is worth a line, mailchuted does and logs.
 */
#include "prog/fence.h"
#include "serve/serve_run.h"
#include "base/clock.h"
#include "base/str.h"
#include <signal.h>
#include <sysexits.h>

enum { FD_CONNECTION = 3, FD_CONTROL, FD_ROOT };

int main(int argc, char **argv)
{
	struct serve s = { .conn = FD_CONNECTION,
		           .control = FD_CONTROL,
		           .root = FD_ROOT,
		           .limits = SERVE_LIMITS };
	uint64_t listener = 0;

	if (argc < 3 || argc > 4 || !str_u64(str_z(argv[1]), &s.uid) ||
	    s.uid > UINT32_MAX ||
	    (argc == 4 &&
	     (!str_u64(str_z(argv[3]), &listener) || listener > UINT32_MAX))) {
		fputs("mailchute-serve is started by mailchuted\n", stderr);
		return EX_USAGE;
	}
	s.listener = argc == 4 ? (int64_t)listener : -1;
	s.admin = strcmp(argv[2], "1") == 0;
	signal(SIGPIPE, SIG_IGN);
	(void)clock_ahead(); /* a build for tests reads a file, which it cannot later */
	fence_serve(FD_ROOT);
	(void)serve_run(&s);
	return EX_OK;
}
