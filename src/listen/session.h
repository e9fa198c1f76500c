/*
 * session.h - one session with a client on two descriptors (mailchute-smtpd)
 *
 * A process of its own: session_run() blocks signals, shuts the process off (prog/fence.h),
 * and may leave memory and descriptors to the exit. It logs; log_open() was the caller's.
 */
#ifndef LISTEN_SESSION_H
#define LISTEN_SESSION_H

#include "conf/conf.h"
#include "listen/quiet.h"
#include "listen/users.h"
#include <stdatomic.h>

enum {
	SESSION_LEAVE_MS = 4000,  /* from SIGTERM to the end, if a message is under way */
	SESSION_REPLY_MS = 60000, /* for a client to take a reply */
	SESSION_GOODBYE_MS = 500, /* for the last one, when nobody waits for it */
	SESSION_HANDSHAKE_MS = 30000 /* of TLS */
};

/* What a session tells its acceptor, in memory that both share: a hint, since who takes a
 * session over can write there what he likes. Times are clock_ms(). */
struct session_state {
	_Atomic int64_t heard;   /* the last octets of the client */
	_Atomic int64_t busy;    /* since when there is a recipient; 0: there is none */
	_Atomic uint64_t stored; /* messages */
	_Atomic bool working;    /* it is our turn, not the client's */
	_Atomic bool gone; /* the last reply is on its way: no slot is needed for it */
};

struct session_conf {
	/* The section; NULL: -bs, whose client is the uid we run as: trusted, without TLS,
	 * AUTH and a line C. Somewhere else without a section: session_default(). */
	const struct listen *listen;
	/* NULL: none could be read (-bs). */
	const struct conf *conf;
	const char *spool;
	struct str client_ip; /* numeric, IPv4 never in IPv6's form; n == 0: none */
	int port;             /* ours; 0: none */
	bool trusted;         /* may relay without AUTH: session_allowed() */
	bool fence;           /* false: for tests */
	/* A descriptor of a users_serve() (users.h) that was started before; -1: where
	 * listen->users_file is given, session_run() forks one. */
	int auth_fd;
	/* Otherwise its guesses are counted here; session_run() takes that out of the session.
	 * client.who is also whose uid is told, and who is counted as quiet says. */
	struct users_client client;
	const struct quiet *quiet;   /* lines that clients can cause; NULL: no limit */
	struct session_state *state; /* NULL: nobody asks */
};

/* Runs the session from the greeting to its end, when both descriptors are closed. Sockets are
 * made non-blocking by nobody: others may share them. in and out may be the same.
 * SIGTERM ends it in good order: at once with 421 4.3.2 when no transaction is open, or the
 * client was silent for SLOTS_SILENT_MS, else behind that message, or after SESSION_LEAVE_MS; a message that was not answered with 250 is
 * not stored. Gives a code of sysexits(3): 0, also for clients that go without a word;
 * EX_DATAERR: -bs, and its input has ended inside of a message (its last word is 421);
 * EX_CONFIG: a section of implicit TLS whose certificate or key cannot be used (logged
 * where that is news to quiet; the client hears nothing). With STARTTLS that is logged likewise, and
 * STARTTLS is not offered. Blocks as long as listen->timeout says, or without a section until the
 * client ends it. */
int session_run(const struct session_conf *c, int in, int out);

/* May a client at ip relay without AUTH? n == 0 is one of this machine (unix: socket). */
bool session_allowed(const struct listen *l, struct str ip);
/* The section whose address fd (a socket) was accepted at: the exact address before one for
 * all addresses; NULL: none. For inetd and systemd's Accept=yes. */
const struct listen *session_section(const struct conf *c, int fd);
/* What holds where no section does: loopback only, no TLS, no AUTH. */
const struct listen *session_default(void);
/* Who is at the other end of a socket, for client_ip and port above. *ip: empty for a
 * unix: socket; "0.0.0.0" when it cannot be told. False: fd is no socket (a pipe, a terminal). */
bool session_peer(int fd, struct buf *ip, int *ret_port);
/* The same as for limits (slots.h), and the uid at the other end of a unix: socket. */
struct slots_client session_client(int fd);

#endif
