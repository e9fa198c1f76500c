/*
 * job.h - the job protocol, version 1: mailchuted and a push over a SOCK_SEQPACKET pair
 *
 * A packet is text, one or more lines, at most JOB_PACKET_MAX octets, and descriptors.
 * Push is started with the descriptors JOB_FD_*.
 *
 * Down (mailchuted to push):
 *	job <id> <due> [note]      + message [+ note]; due: 8 hex digits, to be echoed
 *	secret                     + the password file, or without a descriptor: it failed
 *	known <time> <open> <since>    when the host last accepted something; 1 while it
 *	                           refuses everything alike; since when it is down, 0: it is not
 *	learned <text>             what push said of the hosts at an earlier time
 *	ticket <text>              what push gave to be kept for the next start
 *	stop                       finish what is in hand, then leave
 *	halt                       leave what is in hand
 * Up, and (without descriptors) the run journal's records:
 *	s <id> <due>               journal only: the last octets are about to go out
 *	ok <id> <due> <code> <text>    every recipient accepted; no note needed
 *	refused <id> <due> <stage> <code> <text>    as any message could have been (breaker.h)
 *	good                       some recipient was accepted
 *	p <id> <due> <line>        a line of a new note (the plan comes first)
 *	n <id> <due> <line>        a line to append to the note
 *	dsn <id> <due> <n>         + a drop: commit it as the n-th message derived from id
 *	part <id> <due> <n>        + a note: the router split the message; n from PART_FIRST on
 *	end <id> <due> done        all recipients settled: apply p, n, dsn; remove
 *	end <id> <due> later <time>    some are pending: apply; due at time
 *	end <id> <due> later <time> host    the same, but only because of the host: when that
 *	                           is back it goes at once
 *	end <id> <due> route <name>    the router's: apply; goes to that route
 *	end <id> <due> bad <why>   apply; put into bad/
 *	host <stage> <code> <text> the host's trouble: no message is touched; push leaves
 *	up <facts>                 a session is ready for messages
 *	learned <text>             about the hosts, at most 400 octets: kept in the state file
 *	ticket <text>              at most 16000 octets: kept in memory (TLS resumption, and
 *	                           a token that its command said how long it holds)
 *	slow <seconds>             the host throttles: nothing new for so long (JOB_SLOW_MAX)
 *	took <messages> <recipients>    accepted since the last such line (rate budgets)
 *	log <level> <text>         a line for the log: a(lert) w(arning) i(nfo) d(ebug)
 * Jobs without "ok" or "end" when push has left were not tried, unless the journal has
 * their "s": then they are possible duplicates. The journal holds no line of a failed
 * recipient: such a recipient is simply tried again.
 */
#ifndef PROG_JOB_H
#define PROG_JOB_H

#include "spool/id.h"

enum {
	JOB_PACKET_MAX = 65536,
	JOB_FDS_MAX = 2,
	JOB_MANY_MAX = 32, /* packets of one job_send_many() */
	JOB_LEARNED_MAX = 400,
	JOB_TICKET_MAX = 16000,
	JOB_SLOW_MAX = 3600, /* seconds that a host can ask for */
	JOB_FD_SOCKET = 3,
	JOB_FD_CONF,
	JOB_FD_JOURNAL,
	JOB_FD_LOCK,
};

/* Sends one packet. 0, -EAGAIN (a non-blocking socket is full), -errno. The descriptors
 * stay the caller's. */
int job_send(int sock, struct str text, const int *fds, size_t n);
/* Several packets of a line and its descriptors, in one system call. How many went out, from
 * the first on; -EAGAIN: none, the socket is full; -ETOOMANYREFS: none, too many descriptors
 * are under way; -errno. The descriptors stay the caller's. */
struct job_packet {
	char text[64];
	int fds[JOB_FDS_MAX];
	unsigned n; /* descriptors */
};
int job_send_many(int sock, const struct job_packet *v, unsigned n);
/* Receives one packet; text is reset first. Octets; 0: the other side is gone; -EAGAIN;
 * -errno. Descriptors go to fds (JOB_FDS_MAX; the rest -1), close-on-exec, owned by the
 * caller. */
ssize_t job_recv(int sock, struct buf *text, int fds[static JOB_FDS_MAX]);

/* Many packets received with one system call. */
enum { JOB_BATCH = 16 };
struct job_batch;
struct job_got {
	struct str text; /* borrowed from the batch, until it is used again */
	int fds[JOB_FDS_MAX];
};
struct job_batch *job_batch_new(void);
void job_batch_free(struct job_batch *b); /* NULL is fine */
/* Receives what is there, at most n packets (1 to JOB_BATCH), never waits. How many, at least
 * one; 0: the other side is gone; -EAGAIN; -errno. Descriptors as those of job_recv(). */
int job_recv_batch(int sock, struct job_batch *b, struct job_got *ret, size_t n);

/* A record taken apart; borrowed from the line. */
struct job_record {
	struct str verb;
	struct id id; /* of those that have one */
	uint32_t due;
	struct str rest; /* what follows */
};
/* Takes a line apart. False: malformed. Input may be hostile (a push is exposed). */
bool job_parse(struct str line, struct job_record *ret);
/* Of "host AUTH": is that code (0: none) an answer about the login? (RFC 4954 6.) Others, like
 * 454, or a connection that ends, are not. */
static inline bool job_refuses_login(uint64_t code)
{
	return code == 432 || code >= 500;
}

#endif
