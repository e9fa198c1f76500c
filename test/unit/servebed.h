/* What the tests of mailchute-serve share. */
#ifndef TEST_UNIT_SERVEBED_H
#define TEST_UNIT_SERVEBED_H

#include "serve/serve_entry.h"
#include "serve/serve_frame.h"
#include "serve/serve_list.h"
#include "serve/serve_text.h"
#include "base/clock.h"
#include "prog/job.h"
#include <sysexits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#endif
